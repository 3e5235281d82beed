"""The connections of SIP: who may have one, how many there are, when one is given up.

What travels on them is the business of `sip_tcp` and `sip_websocket`.
"""

import asyncio
import socket
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from gateway.legs.ports import plain_host
from gateway.sip.agent import SipAgent
from gateway.sip.errors import SipError
from gateway.sip.message import Address

FIRST_MESSAGE_S = 5.0
"""A connection on which no whole message, or no whole handshake, has come by then is closed."""
REST_S = 30.0
"""Within this a message that has begun must be whole."""
_KEEP_ALIVE_S = 60.0
"""On connections that we opened (RFC 5626 section 4.4.1); NATs on the way forget what is silent."""
_PING, _PONG = b"\r\n\r\n", b"\r\n"
_PONG_S = 10.0
"""Within this a peer that has answered a ping before must do so again, or it is gone (the same)."""
_GONE_S, _SILENT_S, _ASK_AGAIN_S = 20, 30, 10
"""A peer whose machine acknowledges nothing for so long is gone; one that says nothing is asked by
TCP after so long, again and again. Without this, a connection that a firewall on the way has
forgotten would be used for a quarter of an hour."""
_MAX_CONNECTIONS = 1000
_MAX_CONNECTIONS_OF_ONE_HOST = 500
_MAX_STRANGERS, _MAX_STRANGERS_OF_ONE_HOST = 500, 250
"""Of those who may connect only because they may know a password."""
_STRANGER_S = 60.0
"""A stranger over TCP or TLS who says nothing for so long, and is in no call, is let go."""
_MAX_UNSENT_BYTES = 1 << 20


class Endpoint(Protocol):
    """What connections bring their messages to."""

    def receive(self, data: bytes, source: Address) -> None:
        """Take one whole message."""

    def refuse(self, error: SipError, source: Address) -> None:
        """Answer what a framer could not read to its end."""

    def unreachable(self, to: Address) -> None:
        """No connection could be made there."""

    def has_second_way(self, to: Address) -> bool:
        """Whether what waits for a connection to `to` goes over UDP if none is made."""

    async def locate(self, hop: Address) -> list[Address]:
        """Where to send what is meant for `hop`, the best place first. Raises LegError."""


class Connection(ABC):
    """One connection, opened by its peer or by us.

    Args:
        accepted: the peer opened it.
    """

    def __init__(self, connections: "Connections", *, accepted: bool) -> None:
        self.accepted = accepted
        self.is_strange = False
        """Whether its peer may be anybody."""
        self.peer = Address("", 0, "")
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._next_ping: asyncio.TimerHandle | None = None
        self._is_pinged = self._answers_pings = False
        self._last_pong: asyncio.TimerHandle | None = None  # when it is given up without one

    def opened(self, transport: asyncio.Transport, kind: str, to: Address | None = None) -> bool:
        """Begin. Returns whether it may stay.

        Args:
            kind: the transport in `peer`.
            to: where we meant to connect, which is the peer then.
        """
        host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        self.peer = Address(plain_host(host), port, kind) if to is None else to
        self._transport = transport
        if not self._connections.take(self):
            return False
        _notice_its_end(transport.get_extra_info("socket"))
        self._loop = asyncio.get_running_loop()
        if self.accepted:
            self._deadline = self._loop.call_later(FIRST_MESSAGE_S, self.close)
        else:
            self._keep_alive_later()
        return True

    def lost(self) -> None:
        """It has ended, whoever ended it."""
        self._has_proved_itself()
        for timer in (self._next_ping, self._last_pong):
            if timer is not None:
                timer.cancel()
        self._connections.drop(self)

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send one message; one that cannot be sent any more is dropped."""

    @abstractmethod
    def close(self) -> None:
        """End it when what was sent before is on its way."""

    def _keep_alive_later(self) -> None:
        self._next_ping = self._loop.call_later(_KEEP_ALIVE_S, self._ping)

    def _ping(self) -> None:
        self.send(_PING)
        self._is_pinged = True
        if self._answers_pings and self._last_pong is None and self._transport is not None:
            self._last_pong = self._loop.call_later(_PONG_S, self._transport.abort)
        self._keep_alive_later()

    def _heard(self, data: bytes) -> None:
        """The peer is there."""
        if self._last_pong is not None:
            self._last_pong.cancel()
            self._last_pong = None
        if self._is_pinged:
            self._is_pinged = False
            self._answers_pings = self._answers_pings or data.startswith(_PONG)

    def _writable(self) -> asyncio.Transport | None:
        """Where to write; None where that has no use. A peer that does not read is given up."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return None
        if transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            transport.abort()
            return None
        return transport

    def _expect_rest(self) -> None:
        """A message has begun: nobody may take for ever to say one."""
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(REST_S, self.close)

    def _has_proved_itself(self) -> None:
        """Somebody is there who speaks the protocol."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expect_more(self) -> None:
        """A message was whole. Whoever may be anybody has to go on, or to be in a call."""
        if self.is_strange and self._deadline is None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(_STRANGER_S, self._look_who_is_silent)

    def _look_who_is_silent(self) -> None:
        self._deadline = None
        if self._connections.is_in_call(self.peer):
            self._expect_more()
        else:
            self.close()


def _notice_its_end(sock: socket.socket) -> None:
    """Have the system look whether the peer is still there."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _SILENT_S),
        ("TCP_KEEPINTVL", _ASK_AGAIN_S),
        ("TCP_USER_TIMEOUT", _GONE_S * 1000),
    ):
        if (option := getattr(socket, name, None)) is not None:  # not every system has them all
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


class Connections:
    """All that are open, by their peers.

    Args:
        agent: tells whom it knows.
        lost: is told the peer of each that has ended.
        turned_away: is told who gets none because nobody there may call.
    """

    def __init__(
        self,
        agent: SipAgent,
        lost: Callable[[Address], None],
        turned_away: Callable[[Address], None],
    ) -> None:
        self._agent = agent
        self._lost = lost
        self._turned_away = turned_away
        self._open: dict[Address, Connection] = {}
        self._by_host: Counter[str] = Counter()
        self._strangers: Counter[str] = Counter()
        self._aliases: dict[Address, Connection] = {}

    def __len__(self) -> int:
        return len(self._open)

    def find(self, peer: Address) -> Connection | None:
        return self._open.get(peer) or self._aliases.get(peer)

    def alias(self, connection: Connection, address: Address) -> None:
        """What is sent to this address, where its peer listens, may take this connection too
        (RFC 5923); the latest such connection serves."""
        if self._open.get(connection.peer) is connection:
            self._aliases[address] = connection

    def take(self, connection: Connection) -> bool:
        """Returns whether the connection may stay: no host may shut the others out."""
        peer = connection.peer
        if connection.accepted:
            if not self.has_room(peer):
                self.turn_away(peer)
                return False
            connection.is_strange = not self._agent.knows(peer)
        if peer in self._open:
            self._count(self._open[peer], -1)
        self._open[peer] = connection
        self._count(connection, 1)
        return True

    def has_room(self, peer: Address) -> bool:
        """Whether a connection that this peer opens would be taken."""
        of_host, strangers = self._by_host[peer.host], self._strangers
        if len(self._open) >= _MAX_CONNECTIONS or of_host >= _MAX_CONNECTIONS_OF_ONE_HOST:
            return False
        return self._agent.knows(peer) or (
            self._agent.takes_passwords
            and strangers.total() < _MAX_STRANGERS
            and strangers[peer.host] < _MAX_STRANGERS_OF_ONE_HOST
        )

    def turn_away(self, peer: Address) -> None:
        """There is no room for it, which operators hear of if nobody there may call."""
        if not (self._agent.knows(peer) or self._agent.takes_passwords):
            self._turned_away(peer)

    def is_in_call(self, peer: Address) -> bool:
        """Whether there is a call with the host of this peer."""
        return self._agent.is_in_call(peer.host)

    def drop(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        if self._open.get(connection.peer) is connection:
            del self._open[connection.peer]
            self._count(connection, -1)
            aliases = [name for name, one in self._aliases.items() if one is connection]
            for name in aliases:
                del self._aliases[name]
            for peer in (connection.peer, *aliases):
                self._lost(peer)

    def close(self) -> None:
        for connection in list(self._open.values()):
            connection.close()

    def _count(self, connection: Connection, one: int) -> None:
        host = connection.peer.host
        for counter in (self._by_host, *([self._strangers] if connection.is_strange else ())):
            counter[host] += one
            if not counter[host]:
                del counter[host]
