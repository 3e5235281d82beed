"""Receivers of webhooks on loopback: one that answers as told, one that hardly speaks HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web
from multidict import CIMultiDictProxy

Answer = int | Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came."""

    path: str
    headers: CIMultiDictProxy[str]
    body: bytes


class Receiver:
    """Gives the answers of the script in order, and the last one for ever."""

    def __init__(self, *script: Answer) -> None:
        self._script = list(script)
        self.seen: list[Seen] = []
        self.news = asyncio.Condition()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._runner.cleanup()

    async def until_seen(self, count: int) -> None:
        async with self.news:
            await asyncio.wait_for(self.news.wait_for(lambda: len(self.seen) >= count), 10)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        async with self.news:
            self.seen.append(Seen(request.path, request.headers, body))
            self.news.notify_all()
        answer = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        return web.Response(status=answer) if isinstance(answer, int) else await answer(request)


class RawReceiver:
    """Does with every connection what it is told, until the other side has gone."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.connections = 0
        self.gone = 0
        """Connections that the other side has closed."""
        self.news = asyncio.Condition()
        self.port = 0

    def url(self, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/hook"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: Any) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with self.news:
            await asyncio.wait_for(self.news.wait_for(holds), 10)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        async with self.news:
            self.news.notify_all()
        try:
            await self._serve(reader, writer)
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
            self.gone += 1
            async with self.news:
                self.news.notify_all()
