"""DTLS-SRTP (RFC 5764): keys agreed on with the peer that signalling vouches for.

aiortc does the handshake, and then carries SCTP. Its ICE transport is left out: what stands here in
that place hands it the datagrams of the one peer and sends at once. Media never comes by here; the
sessions of libsrtp that the handshake makes are handed out instead.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, cast

from aiortc import RTCCertificate
from aiortc.rtcdtlstransport import (
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    State,
)
from aiortc.rtcicetransport import RTCIceTransport
from OpenSSL import SSL
from pylibsrtp import Session

from gateway.sdp.webrtc import Fingerprint
from gateway.webrtc.config import PeerCounters

_MAX_WAITING: Final = 1024
"""Datagrams of a peer that wait to be read: as many as SCTP lets it have under way. What comes then
is dropped; handshake and SCTP both send again."""
_MAX_BYTES: Final = 2048
"""Of a datagram. Nobody sends longer ones: they would not go through in one piece."""


class DtlsError(Exception):
    """No keys were agreed on."""


class _Way:
    """What aiortc's DTLS asks of an ICE transport."""

    role = "controlled"  # decides who opens DTLS where nobody told; we do

    def __init__(self, counters: PeerCounters, send: Callable[[bytes], None]) -> None:
        self._counters = counters
        self._send_now = send
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(_MAX_WAITING)

    def received(self, data: bytes) -> None:
        if len(data) > _MAX_BYTES:
            self._counters.dropped_dtls += 1
            return
        try:
            self._waiting.put_nowait(data)
        except asyncio.QueueFull:
            self._counters.dropped_dtls += 1

    async def _recv(self) -> bytes:
        # Media of other calls goes first; else a large message would be read in one go.
        await asyncio.sleep(0)
        return await self._waiting.get()

    async def _send(self, data: bytes) -> None:
        self._send_now(data)


class Dtls(RTCDtlsTransport):
    """DTLS with one peer.

    Args:
        send: takes each datagram for the peer.
        closed: is called when the peer ended it.
    """

    def __init__(
        self,
        certificate: RTCCertificate,
        counters: PeerCounters,
        *,
        send: Callable[[bytes], None],
        closed: Callable[[], None],
    ) -> None:
        way = _Way(counters, send)
        super().__init__(cast(RTCIceTransport, way), [certificate])
        self.received: Final = way.received
        self._counters = counters
        self._peer_closed = closed
        self.on("statechange", self._state_changed)

    async def handshake(
        self, fingerprints: tuple[Fingerprint, ...], *, active: bool
    ) -> tuple[Session, Session]:
        """Agree on keys with whoever has the certificate that these are fingerprints of.

        Args:
            active: whether we open.

        Returns:
            What encrypts our media, and what decrypts the peer's.

        Raises:
            DtlsError: that failed.
        """
        self._set_role("client" if active else "server")
        told = [RTCDtlsFingerprint(one.algorithm, one.value) for one in fingerprints]
        try:
            await self.start(RTCDtlsParameters(told))
        except (SSL.Error, ConnectionError) as error:
            raise DtlsError("no answer") from error
        if self._state is not State.CONNECTED:
            await self._refuse()
            raise DtlsError("refused, or somebody else's certificate")
        return self._tx_srtp, self._rx_srtp

    async def stop(self) -> None:
        """Tell the peer that it is over. Nothing is called and nothing runs afterwards."""
        self.remove_all_listeners()
        pump = self._task
        await super().stop()
        if pump is not None:
            await asyncio.wait([pump])
            if not pump.cancelled():
                pump.exception()  # was told by `closed`

    async def _refuse(self) -> None:
        """aiortc keeps to itself that it does not go on; the peer would wait for long."""
        if self._ssl is not None:
            with contextlib.suppress(SSL.Error):  # amid the handshake there is an alert already
                self._ssl.shutdown()
            await self._write_ssl()

    def _state_changed(self) -> None:
        if self._state is State.CLOSED:
            self._peer_closed()

    async def _send_data(self, data: bytes) -> None:
        """A packet of SCTP, which sends again what is lost. aiortc would raise where nothing can be
        sent, in tasks and timers that nobody waits for."""
        if self._state is not State.CONNECTED:
            return
        try:
            await super()._send_data(data)
        except SSL.Error:
            self._counters.dropped_sending += 1
