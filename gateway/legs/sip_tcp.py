"""SIP over TCP and TLS: a message goes out on the connection that leads to its peer, whoever opened
it, and a new one is opened only when there is none (RFC 3261 section 18, RFC 5923).

Over TLS whoever we connect to has to prove the name that it was asked for by. Who connects to us is
let in before it shows anything, or not: a handshake costs more than a look at an address.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, cast

from structlog.typing import FilteringBoundLogger

from gateway.legs.leg import LegError
from gateway.legs.ports import plain_host
from gateway.legs.resolve import is_address
from gateway.legs.sip_connections import FIRST_MESSAGE_S, Connection, Connections, Endpoint
from gateway.legs.tls import TlsContexts
from gateway.sip.errors import SipError
from gateway.sip.headers import top_via
from gateway.sip.message import Address, Request
from gateway.sip.parse import parse
from gateway.sip.services import DEFAULT_PORTS
from gateway.sip.stream import StreamFramer

_CONNECT_TIMEOUT_S = 5.0
_TRIAL_S = 2.0
"""For what goes over UDP if there is no connection by then: a SYN may be lost once."""
_LAST_WORDS_S = 0.5
"""For a peer to take what was said before its connection is closed, and the end of TLS."""
_AFTER_FAILURE_S = 0.1
_MAX_HANDSHAKES, _MAX_HANDSHAKES_OF_ONE_HOST = 200, 50
_QUIET_S = 60.0
"""Between two lines about handshakes of one way, which strangers can make fail at will."""
_MAX_NAMES = 16
"""Of one certificate."""
_MAX_WAITING = 64
"""Messages for one connection that is being made."""


class Tcp:
    """The listening socket, and whoever is being connected to."""

    kind = "tcp"

    def __init__(self, endpoint: Endpoint, connections: Connections) -> None:
        self._endpoint = endpoint
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._waiting: dict[Address, list[bytes]] = {}  # for a connection that is being made
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether connections can be made."""
        return self._server is not None

    async def open(self, listener: socket.socket) -> None:
        """Listen."""
        self._server = await self._loop.create_server(lambda: self.connection(None), sock=listener)

    def connect(self, data: bytes, to: Address) -> None:
        """Send a message where no connection leads; `unreachable` tells that none can be made."""
        if to in self._waiting:
            if len(self._waiting[to]) < _MAX_WAITING:
                self._waiting[to].append(data)
            return
        self._waiting[to] = [data]
        self._own(self._connect(to))

    def connection(self, to: Address | None, asked: Address | None = None) -> "_StreamConnection":
        """A connection that leads `to` somebody, or None: that somebody opened.

        `asked` is whom it was made for, where DNS had to say where that is.
        """
        return _StreamConnection(self, self._endpoint, self._connections, to, asked or to)

    def connected(self, connection: Connection, asked: Address) -> None:
        """Send what has waited for it."""
        if asked != connection.peer:
            self._connections.alias(connection, asked)
        for data in self._waiting.pop(asked, ()):
            connection.send(data)

    async def close(self) -> None:
        """Open and accept no more connections."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self, to: Address) -> None:
        timeout_s = _TRIAL_S if self._endpoint.has_second_way(to) else _CONNECT_TIMEOUT_S
        try:
            async with asyncio.timeout(timeout_s):
                await self._reach(to)
        except (LegError, OSError, ValueError, OverflowError) as error:  # also no name, or no port
            self._failed(to, error)
        if self._waiting.pop(to, None) is not None:
            self._endpoint.unreachable(to)

    async def _reach(self, to: Address) -> None:
        await self._loop.create_connection(lambda: self.connection(to), to.host, to.port)

    def _failed(self, to: Address, error: Exception) -> None:
        """No connection could be made; the transactions that wanted one tell."""

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class Tls(Tcp):
    """The same over TLS. Connections can be made without a listening socket."""

    kind = "tls"

    def __init__(
        self,
        endpoint: Endpoint,
        connections: Connections,
        contexts: TlsContexts,
        log: FilteringBoundLogger,
    ) -> None:
        super().__init__(endpoint, connections)
        self.failures = 0
        """Handshakes that came to nothing, of either side."""
        self._contexts = contexts
        self._log = log
        self._untold: Counter[str] = Counter()  # lines left out since the last one of that way
        self._quiet_until: dict[str, float] = {}
        self._listener: socket.socket | None = None
        self._shaking: Counter[str] = Counter()  # handshakes under way, by host

    @property
    def is_open(self) -> bool:
        return True

    async def open(self, listener: socket.socket) -> None:
        self._listener = listener
        self._own(self._accept(listener))

    async def close(self) -> None:
        await super().close()
        if self._listener is not None:
            self._listener.close()

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                accepted, peer = await self._loop.sock_accept(listener)
            except OSError:  # no more descriptors, or a peer that has gone already
                await asyncio.sleep(_AFTER_FAILURE_S)
                continue
            host = plain_host(str(peer[0]))
            address = Address(host, peer[1], self.kind)
            if (
                not self._connections.has_room(address)
                or self._shaking[host] >= _MAX_HANDSHAKES_OF_ONE_HOST
                or self._shaking.total() >= _MAX_HANDSHAKES
            ):
                accepted.close()
                self._connections.turn_away(address)
                continue
            self._shaking[host] += 1
            shaking = self._own(self._let_in(host, accepted))
            shaking.add_done_callback(partial(_close_if_called_off, accepted))

    async def _let_in(self, host: str, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: self.connection(None),
                accepted,
                ssl=self._contexts.server,
                ssl_handshake_timeout=FIRST_MESSAGE_S,
                ssl_shutdown_timeout=_LAST_WORDS_S,
            )
        except OSError as error:
            self._complain("in", host, error)
        finally:
            self._shaking[host] -= 1
            if not self._shaking[host]:
                del self._shaking[host]

    async def _reach(self, to: Address) -> None:
        # A dialog may know no more than a name of where it goes on.
        place = to if is_address(to.host) else (await self._endpoint.locate(to))[0]
        await self._loop.create_connection(
            lambda: self.connection(place, to),
            place.host,
            place.port,
            ssl=self._contexts.client,
            server_hostname=to.name or to.host,
            ssl_handshake_timeout=_CONNECT_TIMEOUT_S,
            ssl_shutdown_timeout=_LAST_WORDS_S,
        )

    def _failed(self, to: Address, error: Exception) -> None:
        if isinstance(error, ssl.SSLError):
            self._complain("out", to.name or to.host, error)

    def _complain(self, way: str, peer: str, error: Exception) -> None:
        """Count a handshake that came to nothing, and tell of it if that was not just done."""
        self.failures += 1
        now = self._loop.time()
        if now < self._quiet_until.get(way, 0.0):
            self._untold[way] += 1
            return
        self._quiet_until[way] = now + _QUIET_S
        more = {"others": untold} if (untold := self._untold.pop(way, 0)) else {}
        self._log.warning("sip.tls_failed", way=way, peer=peer, why=_why(error), **more)


class _StreamConnection(Connection, asyncio.Protocol):
    def __init__(
        self,
        streams: Tcp,
        endpoint: Endpoint,
        connections: Connections,
        to: Address | None,
        asked: Address | None,
    ) -> None:
        super().__init__(connections, accepted=to is None)
        self._streams = streams
        self._endpoint = endpoint
        self._framer = StreamFramer()
        self._to = to
        self._asked = asked
        self._proven: tuple[str, ...] = ()  # domains that the peer is, until its first message

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do what asyncio.Transport declares without being one.
        stream = cast(asyncio.Transport, transport)
        if self.opened(stream, self._streams.kind, self._to):
            if self._asked is None:
                self._proven = _proven_names(stream)
            else:
                self._streams.connected(self, self._asked)
        else:
            self.close()

    def data_received(self, data: bytes) -> None:
        self._heard(data)
        try:
            for message in self._framer.feed(data):
                self._has_proved_itself()
                if self._proven:
                    self._note_alias(message)
                    self._proven = ()
                self._endpoint.receive(message, self.peer)
        except SipError as error:
            # Where the next message starts is unknown, so this one is the last of the connection.
            self._endpoint.refuse(error, self.peer)
            self.close()
            return
        if self._framer.awaits_rest:
            self._expect_rest()
        else:
            self._expect_more()
        self.send(self._framer.replies())

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost()

    def send(self, data: bytes) -> None:
        if data and (transport := self._writable()) is not None:
            transport.write(data)

    def close(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.close()
            # It waits for what was sent before, and so for a peer that does not read.
            asyncio.get_running_loop().call_later(_LAST_WORDS_S, transport.abort)

    def _note_alias(self, message: bytes) -> None:
        """A peer that has proved its name, and says where it listens, need not be connected to."""
        try:
            request = parse(message)
            via = top_via(request.headers)
        except SipError:
            return
        if not isinstance(request, Request) or via.param("alias") is None:
            return
        port = DEFAULT_PORTS["tls"] if via.port is None else via.port
        for name in self._proven:
            self._connections.alias(self, replace(self.peer, port=port, name=name))


def _proven_names(transport: asyncio.Transport) -> tuple[str, ...]:
    """The domains of a certificate that was asked for and believed, without wildcards."""
    certificate = transport.get_extra_info("peercert") or {}
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    return tuple(name.lower() for name in names[:_MAX_NAMES] if "*" not in name)


def _close_if_called_off(accepted: socket.socket, shaking: asyncio.Task[None]) -> None:
    """A handshake that ends before it begins closes nothing itself."""
    if shaking.cancelled():
        accepted.close()


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return error.reason or "no TLS"
    return "no handshake in time, or an end of the connection"
