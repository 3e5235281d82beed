"""One peer connection: ICE, then DTLS-SRTP, then a data channel, on sockets that it is given.

Not aiortc's `RTCPeerConnection`, which decodes audio behind a jitter buffer of its own in a thread
per call. Here media bypasses aiortc in both directions: a datagram of the peer is decrypted in its
own callback and handed on, and a packet for the peer is encrypted and sent in one call.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Final, Literal

import pylibsrtp

from gateway.sdp.webrtc import Candidate, DataPlan, Transport
from gateway.webrtc.certificates import fingerprint
from gateway.webrtc.channel import DataChannel
from gateway.webrtc.config import PeerConfig, PeerCounters, PeerListener
from gateway.webrtc.dtls import Dtls, DtlsError
from gateway.webrtc.ice import IceConnection
from gateway.webrtc.pinned import check_aiortc
from gateway.webrtc.sctp import MAX_MESSAGE_BYTES

__all__ = [
    "MAX_MESSAGE_BYTES",
    "Peer",
    "PeerConfig",
    "PeerCounters",
    "PeerListener",
    "check_aiortc",
]

Failure = Literal["ice_failed", "dtls_failed", "peer_closed"]

_MAX_SENDERS: Final = 64
"""Senders (SSRCs) of a peer that are listened to. libsrtp keeps state for each whose packets are
genuine, and searches it for each packet; a peer that means well has two or three."""


class Peer:
    """`open` it, tell the peer of `local`, `start` it, and `close` it, whatever became of it."""

    def __init__(self, config: PeerConfig, listener: PeerListener) -> None:
        self.counters = PeerCounters()
        self._config = config
        self._listener = listener
        self._certificate = config.certificates.current()
        self._ice = IceConnection(
            config,
            self.counters,
            media=self._media,
            dtls=self._dtls_received,
            lost=lambda: self._fail("ice_failed"),
        )
        self._dtls: Dtls | None = None
        self._channel: DataChannel | None = None
        self._encrypt: pylibsrtp.Session | None = None
        self._decrypt: pylibsrtp.Session | None = None
        self._senders: set[bytes] = set()
        self._sender = b""  # the last one
        self._connecting: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._over = False

    async def open(self, sockets: Sequence[socket.socket]) -> None:
        """Gather candidates.

        Args:
            sockets: bound and non-blocking, for UDP, one for each address of ours. They are the
                peer's from now on, whatever happens.

        Raises:
            ConnectionError: it was closed meanwhile.
        """
        await self._ice.gather(sockets)

    @property
    def local(self) -> Transport:
        """What the peer has to know of us; who opens DTLS is for the answer to say."""
        return Transport(
            ufrag=self._ice.local_username,
            pwd=self._ice.local_password,
            fingerprints=(fingerprint(self._certificate),),
            setup="actpass",
            candidates=tuple(
                Candidate(
                    foundation=one.foundation,
                    component=one.component,
                    protocol=one.transport,
                    priority=one.priority,
                    host=one.host,
                    port=one.port,
                    type=one.type,
                    related_host=one.related_address,
                    related_port=one.related_port,
                )
                for one in self._ice.local_candidates
            ),
        )

    def start(self, remote: Transport, data: DataPlan | None, *, active: bool) -> None:
        """Connect; how that goes is told to the listener.

        Args:
            data: without one, no data channel is accepted.
            active: whether we open DTLS.
        """
        if self._connecting is None and self._closing is None:
            self._connecting = asyncio.create_task(self._connect(remote, data, active))

    @property
    def channel_open(self) -> bool:
        return self._channel is not None and self._channel.is_open and not self._over

    @property
    def waiting_bytes(self) -> int:
        """Of messages that the peer has not confirmed."""
        return 0 if self._channel is None else self._channel.waiting_bytes

    def send_rtp(self, packet: bytes) -> None:
        """Encrypt and send; nothing before the peer is connected."""
        session = self._encrypt
        if session is not None:
            try:
                self._ice.send_now(session.protect(packet))
            except (pylibsrtp.Error, ValueError):
                self.counters.dropped_sending += 1

    def send_rtcp(self, packet: bytes) -> None:
        """Likewise."""
        session = self._encrypt
        if session is not None:
            try:
                self._ice.send_now(session.protect_rtcp(packet))
            except (pylibsrtp.Error, ValueError):
                self.counters.dropped_sending += 1

    def send_message(self, message: bytes) -> None:
        """Send text on the data channel; nothing while it is not open.

        Raises:
            ValueError: it is longer than the peer takes, or no UTF-8.
        """
        if self._channel is not None and not self._over:
            self._channel.send(message)

    async def close(self) -> None:
        """End all. Nothing is told from now on; within a second all sockets are closed."""
        self._over = True
        self._encrypt = self._decrypt = None
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)  # it goes on if whoever waits for it is cancelled

    # From the first check to the data channel.

    async def _connect(self, remote: Transport, data: DataPlan | None, active: bool) -> None:
        failure: Failure = "ice_failed"
        # From the beginning, because a peer that opens DTLS may know the way before we do.
        dtls = self._dtls = Dtls(
            self._certificate,
            self.counters,
            send=self._ice.send_now,
            closed=lambda: self._fail("peer_closed"),
        )
        try:
            async with asyncio.timeout(self._config.connect_s):
                await self._ice.establish(remote)
            failure = "dtls_failed"
            async with asyncio.timeout(self._config.handshake_s):
                sessions = await dtls.handshake(remote.fingerprints, active=active)
            self._encrypt, self._decrypt = sessions
            asyncio.get_running_loop().call_soon(self._connected)
            if data is not None:
                self._channel = self._new_channel(dtls)
                await self._channel.open(data.sctp_port, data.max_message_bytes)
        except (ConnectionError, TimeoutError, DtlsError):
            self._fail(failure)
        except Exception as error:
            self._fail(failure)
            told = {"message": "A defect ended a peer connection", "exception": error}
            asyncio.get_running_loop().call_exception_handler(told)

    def _new_channel(self, dtls: Dtls) -> DataChannel:
        return DataChannel(
            dtls,
            self.counters,
            opened=self._channel_opened,
            received=self._message_received,
            closed=self._channel_closed,
            aborted=lambda: self._fail("peer_closed"),
        )

    async def _close(self) -> None:
        try:
            if self._connecting is not None:
                self._connecting.cancel()
                await asyncio.wait([self._connecting])
            if self._channel is not None:
                await self._channel.close()
            if self._dtls is not None:
                await self._dtls.stop()
        finally:
            await self._ice.close()
            self._channel = self._dtls = self._connecting = None
            del self._listener  # as all that know us: no circle is to remain

    # What comes from the peer.

    def _media(self, data: bytes) -> None:
        session = self._decrypt
        if session is None:
            self.counters.dropped_srtp += 1
            return
        received = self._listener.rtp_received
        try:
            # RTP and RTCP on one port are told apart by the type (RFC 5761 section 4).
            if 192 <= data[1] <= 223:
                received = self._listener.rtcp_received
                packet = self._unprotect(data[4:8], session.unprotect_rtcp, data)
            elif data[8:12] == self._sender:
                packet = session.unprotect(data)
            else:
                packet = self._unprotect(data[8:12], session.unprotect, data)
                self._sender = data[8:12]
        except (pylibsrtp.Error, ValueError, IndexError):
            self.counters.dropped_srtp += 1
            return
        received(packet)

    def _unprotect(self, sender: bytes, unprotect: Callable[[bytes], bytes], data: bytes) -> bytes:
        """Decrypt a packet of a sender who need not be known yet.

        Raises:
            ValueError: there are too many.
            pylibsrtp.Error: it is not genuine, and does not count as a sender.
        """
        if sender not in self._senders and len(self._senders) >= _MAX_SENDERS:
            raise ValueError("too many senders")
        packet = unprotect(data)
        self._senders.add(sender)
        return packet

    def _dtls_received(self, data: bytes) -> None:
        if self._dtls is None:
            self.counters.dropped_dtls += 1
        else:
            self._dtls.received(data)

    def _connected(self) -> None:
        if not self._over:
            self._listener.peer_connected()

    def _channel_opened(self, label: str) -> None:
        if not self._over:
            self._listener.channel_opened(label)

    def _message_received(self, data: bytes) -> None:
        if not self._over:
            self._listener.message_received(data)

    def _channel_closed(self) -> None:
        if not self._over:
            self._listener.channel_closed()

    def _fail(self, reason: Failure) -> None:
        if not self._over:
            self._over = True
            self._encrypt = self._decrypt = None
            self._listener.peer_failed(reason)
