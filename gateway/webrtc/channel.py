"""The data channel that carries events: the first that the peer opens, whatever it calls it."""

import asyncio
from collections.abc import Callable
from functools import partial

from aiortc import RTCDataChannel

from gateway.webrtc.config import PeerCounters
from gateway.webrtc.dtls import Dtls
from gateway.webrtc.sctp import Association


class DataChannel:
    """Accepts all channels of a peer, and speaks on the first.

    What it tells is told by the event loop a moment later. An error of whoever is told is theirs
    then; in aiortc's callback it would pass for a broken packet of the peer.

    Args:
        opened: is called with the channel's name.
        received: is called with each message.
        closed: is called when the peer closed that channel.
        aborted: is called when the peer ended the association.
    """

    def __init__(
        self,
        dtls: Dtls,
        counters: PeerCounters,
        *,
        opened: Callable[[str], None],
        received: Callable[[bytes], None],
        closed: Callable[[], None],
        aborted: Callable[[], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._association = Association(dtls, counters, partial(loop.call_soon, aborted))
        self._association.on("datachannel", self._offer)
        self._counters = counters
        self._opened = opened
        self._received = received
        self._closed = closed
        self._channel: RTCDataChannel | None = None

    async def open(self, port: int, max_message_bytes: int) -> None:
        """Let the peer open channels.

        Args:
            port: the peer's, of SCTP.
            max_message_bytes: the longest message that the peer takes.
        """
        await self._association.open(port, max_message_bytes)

    @property
    def is_open(self) -> bool:
        return self._channel is not None and self._channel.readyState == "open"

    @property
    def waiting_bytes(self) -> int:
        """Of messages that the peer has not confirmed."""
        if self._channel is None:
            return 0
        return self._channel.bufferedAmount + self._association.unconfirmed_bytes

    def send(self, message: bytes) -> None:
        """Send text; nothing while the channel is not open.

        Raises:
            ValueError: it is longer than the peer takes, or no UTF-8.
        """
        if self._channel is not None and self.is_open:
            self._channel.send(message.decode())

    async def close(self) -> None:
        """End the association."""
        await self._association.stop()
        self._association.remove_all_listeners()
        if self._channel is not None:
            self._channel.remove_all_listeners()
            self._channel = None

    def _offer(self, channel: RTCDataChannel) -> None:
        if self._channel is not None:
            self._counters.ignored_channels += 1
            return
        self._channel = channel
        channel.on("message", self._message)
        channel.on("close", self._close)
        asyncio.get_running_loop().call_soon(self._opened, channel.label)

    def _message(self, message: str | bytes) -> None:
        data = message.encode() if isinstance(message, str) else message
        asyncio.get_running_loop().call_soon(self._received, data)

    def _close(self) -> None:
        asyncio.get_running_loop().call_soon(self._closed)
