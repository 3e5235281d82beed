"""One address of ours, and what arrives there."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import Any, Final, cast

from aioice import Candidate, Connection, stun
from aioice.ice import StunProtocol

from gateway.webrtc.config import PeerCounters

Address = tuple[str, int]
"""An IP address in its canonical text, and a port."""

_RETRANSMISSIONS: Final = 4
"""Of a check that nobody answers: after 0.5, 1.5, 3.5 and 7.5 s."""
_MAX_SENDING: Final = 64
_MAX_BUFFERED_BYTES: Final = 65_536
"""Packets that wait for a TURN server to be ready for them, and bytes for its connection to take
them: over a second of media."""


class HearsSockets(Connection):
    """The connection, as its sockets see it."""

    counters: PeerCounters
    media: Callable[[bytes], None]
    """Is handed SRTP and SRTCP of the peer."""
    dtls: Callable[[bytes], None]

    def opened(self, ours: "IceSocket") -> None:
        """The socket can be used."""
        raise NotImplementedError

    def defect(self, error: Exception) -> None:
        """This was raised over a packet that is well-formed."""
        raise NotImplementedError


class IceSocket(StunProtocol):
    """Tells what arrives by its first byte (RFC 7983), and sends.

    aioice hands all that is no STUN to DTLS, whoever sent it, so that anybody can end a handshake
    with one alert. Here it has to come from where the peer has shown to be. That may be another
    pair than the one that we send on (RFC 8445 section 12).

    Args:
        sock: bound; None for an address at a TURN server, which passes on what comes there.
    """

    def __init__(self, ice: HearsSockets, sock: socket.socket | None = None) -> None:
        super().__init__(ice)
        self.sources: set[Address] = set()
        """Where checks came from, or were answered: either takes a password of the descriptions."""
        self.bound: Address | None = None if sock is None else sock.getsockname()[:2]
        self._ice = ice
        self._counters = ice.counters
        self._socket = sock

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._ice.opened(self)

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        data = cast(bytes, data)
        if len(addr) > 2:
            addr = addr[:2]  # without what IPv6 has besides
        first = data[0] if data else 0xFF
        if 128 <= first <= 191:
            if addr in self.sources:
                self._ice.media(data)
            else:
                self._counters.dropped_source += 1
        elif first <= 3:
            self._check_received(data, addr)
        elif 20 <= first <= 63:
            if addr in self.sources:
                self._ice.dtls(data)
            else:
                self._counters.dropped_source += 1
        else:
            self._counters.dropped_other += 1

    def _check_received(self, data: bytes, addr: Address) -> None:
        try:
            stun.parse_message(data)  # it is again below, where other errors are defects
        except Exception:  # it unpacks what anybody may have sent
            self._counters.dropped_stun += 1
            return
        try:
            super().datagram_received(data, addr)
        except Exception as error:
            self._counters.dropped_stun += 1
            self._ice.defect(error)

    def send(self, data: bytes, to: Address) -> None:
        """Send now or not at all; to a TURN server soon or not at all.

        The event loop would keep what the socket does not take, without a bound, and send it late.
        """
        try:
            if self._socket is not None:
                self._socket.sendto(data, to)
            elif self._is_clogged():
                self._counters.dropped_sending += 1
            else:
                self.transport.sendto(data, to)
        except (OSError, OverflowError):
            self._counters.dropped_sending += 1

    def _is_clogged(self) -> bool:
        """Whether a TURN server takes less than is sent: aioice makes a task of each packet, which
        waits while the server prepares a channel, and has the event loop keep what TCP does not
        take."""
        kept = vars(self.transport)  # of aioice's TurnTransport
        inner = kept["_TurnTransport__inner_protocol"].transport
        return (
            len(kept["_TurnTransport__send_tasks"]) >= _MAX_SENDING
            or inner.get_write_buffer_size() > _MAX_BUFFERED_BYTES
        )

    async def send_data(self, data: bytes, addr: Address) -> None:
        self.send(data, addr)

    def send_stun(self, message: stun.Message, addr: Address) -> None:
        self.send(bytes(message), addr)

    async def request(
        self,
        request: stun.Message,
        addr: Address,
        integrity_key: bytes | None = None,
        retransmissions: int | None = None,
    ) -> tuple[stun.Message, Address]:
        if retransmissions is None:
            retransmissions = _RETRANSMISSIONS
        return await super().request(request, addr, integrity_key, retransmissions)

    def abandon(self) -> None:
        """Give up an address at a TURN server without its consent: it forgets it by itself."""
        kept = vars(self.transport)  # of aioice's TurnTransport
        for task in [*kept["_TurnTransport__send_tasks"], kept["_TurnTransport__close_task"]]:
            if task is not None:
                task.cancel()


def fits(ours: StunProtocol, remote: Candidate) -> bool:
    """From loopback nobody else is reached."""
    base = ours.local_candidate
    if not base.can_pair_with(remote):
        return False
    return not (
        ipaddress.ip_address(base.host).is_loopback
        and not ipaddress.ip_address(remote.host).is_loopback
    )
