"""SIP over TCP: a message goes out on the connection that its peer opened, and a new one is opened
only when there is none (RFC 3261 section 18)."""

import asyncio
from typing import cast

from gateway.legs.sip_connections import Connection, Connections, Endpoint
from gateway.sip.errors import SipError
from gateway.sip.message import Address
from gateway.sip.stream import StreamFramer

_CONNECT_TIMEOUT_S = 5.0


class Tcp:
    """The listening socket, and whoever is being connected to."""

    def __init__(self, endpoint: Endpoint, connections: Connections) -> None:
        self._endpoint = endpoint
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._waiting: dict[Address, list[bytes]] = {}  # for a connection that is being made
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        return self._server is not None

    async def open(self, host: str, port: int) -> None:
        """Listen. Raises OSError."""
        self._server = await self._loop.create_server(
            lambda: _TcpConnection(self, self._endpoint, self._connections, accepted=True),
            host,
            port,
        )

    def connect(self, data: bytes, to: Address) -> None:
        """Send a message where no connection leads; `unreachable` tells that none can be made."""
        if to in self._waiting:
            self._waiting[to].append(data)
            return
        self._waiting[to] = [data]
        task = self._loop.create_task(self._connect(to))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
                await self._loop.create_connection(
                    lambda: _TcpConnection(self, self._endpoint, self._connections, accepted=False),
                    to.host,
                    to.port,
                )
        except (OSError, TimeoutError):
            self._waiting.pop(to, None)
            self._endpoint.unreachable(to)


class _TcpConnection(Connection, asyncio.Protocol):
    def __init__(
        self, tcp: Tcp, endpoint: Endpoint, connections: Connections, *, accepted: bool
    ) -> None:
        super().__init__(connections, accepted=accepted)
        self._tcp = tcp
        self._endpoint = endpoint
        self._framer = StreamFramer()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do what asyncio.Transport declares without being one.
        if self.opened(cast(asyncio.Transport, transport), "tcp"):
            self._tcp.connected(self)
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
