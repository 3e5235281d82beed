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
from gateway.sip.errors import SipError
from gateway.sip.message import Address

FIRST_MESSAGE_S = 5.0
"""A connection on which no whole message, or no whole handshake, has come by then is closed."""
REST_S = 30.0
"""Within this a message that has begun must be whole."""
_KEEP_ALIVE_S = 60.0
"""On connections that we opened (RFC 5626 section 4.4.1); NATs on the way forget what is silent."""
_PING = b"\r\n\r\n"
_MAX_CONNECTIONS = 1000
_MAX_CONNECTIONS_OF_ONE_HOST = 500
_MAX_UNSENT_BYTES = 1 << 20


class Endpoint(Protocol):
    """What connections bring their messages to."""

    def receive(self, data: bytes, source: Address) -> None:
        """Take one whole message."""

    def refuse(self, error: SipError, source: Address) -> None:
        """Answer what a framer could not read to its end."""

    def unreachable(self, to: Address) -> None:
        """No connection could be made there."""


class Connection(ABC):
    """One connection, opened by its peer or by us.

    Args:
        accepted: the peer opened it.
    """

    def __init__(self, connections: "Connections", *, accepted: bool) -> None:
        self.accepted = accepted
        self.peer = Address("", 0, "")
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._next_ping: asyncio.TimerHandle | None = None

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
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._loop = asyncio.get_running_loop()
        if self.accepted:
            self._deadline = self._loop.call_later(FIRST_MESSAGE_S, self.close)
        else:
            self._keep_alive_later()
        return True

    def lost(self) -> None:
        """It has ended, whoever ended it."""
        self._has_proved_itself()
        if self._next_ping is not None:
            self._next_ping.cancel()
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
        self._keep_alive_later()

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


class Connections:
    """All that are open, by their peers.

    Args:
        admits: whether anything is accepted from an address.
        lost: is told the peer of each that has ended.
    """

    def __init__(self, admits: Callable[[Address], bool], lost: Callable[[Address], None]) -> None:
        self._admits = admits
        self._lost = lost
        self._open: dict[Address, Connection] = {}
        self._by_host: Counter[str] = Counter()
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
        if connection.accepted and not self.has_room(connection.peer):
            return False
        if connection.peer not in self._open:
            self._by_host[connection.peer.host] += 1
        self._open[connection.peer] = connection
        return True

    def has_room(self, peer: Address) -> bool:
        """Whether a connection that this peer opens would be taken."""
        return (
            len(self._open) < _MAX_CONNECTIONS
            and self._by_host[peer.host] < _MAX_CONNECTIONS_OF_ONE_HOST
            and self._admits(peer)
        )

    def drop(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        if self._open.get(connection.peer) is connection:
            del self._open[connection.peer]
            self._by_host[connection.peer.host] -= 1
            if not self._by_host[connection.peer.host]:
                del self._by_host[connection.peer.host]
            aliases = [name for name, one in self._aliases.items() if one is connection]
            for name in aliases:
                del self._aliases[name]
            for peer in (connection.peer, *aliases):
                self._lost(peer)

    def close(self) -> None:
        for connection in list(self._open.values()):
            connection.close()
