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
from typing import Any, cast

from structlog.typing import FilteringBoundLogger

from gateway.legs.sip_connections import FIRST_MESSAGE_S, Connection, Connections, Endpoint
from gateway.legs.tls import TlsContexts
from gateway.sip.errors import SipError
from gateway.sip.message import Address
from gateway.sip.stream import StreamFramer

_CONNECT_TIMEOUT_S = 5.0
_LAST_WORDS_S = 0.5
"""For a peer to hear that its TLS connection is closed."""
_AFTER_FAILURE_S = 0.1
_MAX_HANDSHAKES, _MAX_HANDSHAKES_OF_ONE_HOST = 200, 50
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

    async def open(self, host: str, port: int) -> None:
        """Listen. Raises OSError."""
        self._server = await self._loop.create_server(lambda: self.connection(None), host, port)

    def connect(self, data: bytes, to: Address) -> None:
        """Send a message where no connection leads; `unreachable` tells that none can be made."""
        if to in self._waiting:
            if len(self._waiting[to]) < _MAX_WAITING:
                self._waiting[to].append(data)
            return
        self._waiting[to] = [data]
        self._own(self._connect(to))

    def connection(self, to: Address | None) -> "_StreamConnection":
        """A connection that leads `to` somebody, or None: that somebody opened."""
        return _StreamConnection(self, self._endpoint, self._connections, to)

    def connected(self, connection: Connection) -> None:
        """Send what has waited for it."""
        for data in self._waiting.pop(connection.peer, ()):
            connection.send(data)

    async def close(self) -> None:
        """Open and accept no more connections."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self, to: Address) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await self._reach(to)
        except (OSError, TimeoutError) as error:
            self._waiting.pop(to, None)
            self._failed(to, error)
            self._endpoint.unreachable(to)

    async def _reach(self, to: Address) -> None:
        await self._loop.create_connection(lambda: self.connection(to), to.host, to.port)

    def _failed(self, to: Address, error: Exception) -> None:
        """No connection could be made; the transactions that wanted one tell."""

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


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
        self._listener: socket.socket | None = None
        self._shaking: Counter[str] = Counter()  # handshakes under way, by host

    @property
    def is_open(self) -> bool:
        return True

    async def open(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = self._listener = socket.create_server((host, port), family=family)
        listener.setblocking(False)
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
            host = str(peer[0])
            if (
                not self._connections.has_room(Address(host, peer[1], self.kind))
                or self._shaking[host] >= _MAX_HANDSHAKES_OF_ONE_HOST
                or self._shaking.total() >= _MAX_HANDSHAKES
            ):
                accepted.close()
                continue
            self._shaking[host] += 1
            self._own(self._let_in(host, accepted))

    async def _let_in(self, host: str, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: self.connection(None),
                accepted,
                ssl=self._contexts.server,
                ssl_handshake_timeout=FIRST_MESSAGE_S,
                ssl_shutdown_timeout=_LAST_WORDS_S,
            )
        except OSError:
            self.failures += 1
        finally:
            self._shaking[host] -= 1
            if not self._shaking[host]:
                del self._shaking[host]

    async def _reach(self, to: Address) -> None:
        await self._loop.create_connection(
            lambda: self.connection(to),
            to.host,
            to.port,
            ssl=self._contexts.client,
            server_hostname=to.name or to.host,
            ssl_handshake_timeout=_CONNECT_TIMEOUT_S,
            ssl_shutdown_timeout=_LAST_WORDS_S,
        )

    def _failed(self, to: Address, error: Exception) -> None:
        if isinstance(error, ssl.SSLCertVerificationError):
            self.failures += 1
            self._log.warning("sip.tls_refused", peer=to.name or to.host, why=error.verify_message)
        elif isinstance(error, ssl.SSLError):
            self.failures += 1
            self._log.warning("sip.tls_refused", peer=to.name or to.host, why=error.reason)


class _StreamConnection(Connection, asyncio.Protocol):
    def __init__(
        self, streams: Tcp, endpoint: Endpoint, connections: Connections, to: Address | None
    ) -> None:
        super().__init__(connections, accepted=to is None)
        self._streams = streams
        self._endpoint = endpoint
        self._framer = StreamFramer()
        self._to = to

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do what asyncio.Transport declares without being one.
        stream = cast(asyncio.Transport, transport)
        if self.opened(stream, self._streams.kind, self._to):
            self._streams.connected(self)
        else:
            self.close()

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._framer.feed(data):
                self._has_proved_itself()
                self._endpoint.receive(message, self.peer)
        except SipError as error:
            # Where the next message starts is unknown, so this one is the last of the connection.
            self._endpoint.refuse(error, self.peer)
            self.close()
            return
        self.send(self._framer.replies())

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost()

    def send(self, data: bytes) -> None:
        if data and (transport := self._writable()) is not None:
            transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
