"""Servers and clients of the tests with an event loop."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse

from gateway.backend.config import BackendConfig
from gateway.backend.server import BackendServer, serve
from tests.backend.client import FAST, Client
from tests.backend.virtual import check

Start = Callable[..., Coroutine[Any, Any, BackendServer]]
Connect = Callable[..., Coroutine[Any, Any, Client]]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts servers, and closes them in the end."""
    running: list[BackendServer] = []

    async def begin(**config: Any) -> BackendServer:
        running.append(await serve(BackendConfig(port=0, **config)))
        return running[-1]

    yield begin
    for server in running:
        await server.close()


@pytest.fixture
async def server(start: Start) -> BackendServer:
    return await start(seed=7, pacing=FAST)


@pytest.fixture
async def connect(http: aiohttp.ClientSession, start: Start) -> AsyncIterator[Connect]:
    """Connects clients, and closes them in the end: before their servers."""
    sockets: list[ClientWebSocketResponse] = []

    async def dial(
        server: BackendServer,
        query: str = "?model=any",
        check: Callable[[dict[str, Any]], object] = check,
        **options: Any,
    ) -> Client:
        url = f"ws://127.0.0.1:{server.port}/v1/realtime{query}"
        sockets.append(await http.ws_connect(url, max_msg_size=0, **options))
        return Client(sockets[-1], check)

    yield dial
    for each in sockets:
        await each.close()


@pytest.fixture
async def client(connect: Connect, server: BackendServer) -> Client:
    return await connect(server)
