"""A server of one kind on loopback, on an event loop in a thread of its own."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

from tests.peers.gateway import HOST, eventually
from tests.peers.servers.server import Event, Server


class Listener:
    """Use as a context manager.

    Args:
        kind: whose fake it is.
    """

    def __init__(self, kind: type[Server]) -> None:
        self.sessions: list[Server] = []
        self.refusals: list[str] = []
        """Handshakes that were not let in."""
        self.port = 0
        self._kind = kind
        self._runner: web.AppRunner | None = None
        self._sockets: set[web.WebSocketResponse] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(5)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, template: str) -> str:
        """The URL template of a preset, with this server in the place of the real one."""
        real = urlsplit(template)
        return real._replace(scheme="ws", netloc=f"{HOST}:{self.port}").geturl()

    def session(self) -> Server:
        """The first session; wait for it."""
        came = eventually(lambda: bool(self.sessions or self.refusals), 5, 0.01)
        assert came and not self.refusals, self.refusals or "nobody came"
        return self.sessions[0]

    def until(self, true: Callable[[Server], object], what: str, timeout_s: float = 3.0) -> None:
        """Wait until this is true of the first session."""
        session = self.session()
        if not eventually(lambda: bool(true(session)), timeout_s, 0.01):
            came = [event["type"] for event in session.received]
            raise AssertionError(f"not {what}; complaints: {session.complaints}; came: {came}")

    async def _open(self) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._connect)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
        self.port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        for socket in list(self._sockets):
            await socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        if refusal := self._kind.door.refusal(request):
            status, reason = refusal
            self.refusals.append(f"{status}: {reason}")
            return web.json_response({"error": {"message": reason}}, status=status)
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)

        async def send(event: Event) -> None:
            with contextlib.suppress(ConnectionError):  # the client may go at any time
                await socket.send_str(json.dumps(event))

        session = self._kind(send)
        self.sessions.append(session)
        self._sockets.add(socket)
        try:
            await session.welcome()
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await session.take(json.loads(message.data))
        finally:
            session.close()
            self._sockets.discard(socket)
        return socket
