"""`GET /v1/realtime` on a server of its own, with a line whose calls are the test's."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web
from aiohttp.typedefs import Handler

from gateway.api.auth import CALLER, Caller
from gateway.api.errors import error_response
from gateway.api.realtime import RealtimeConfig, RealtimeSockets
from gateway.calls.commands import no_call
from gateway.calls.control import Controls
from gateway.realtime.errors import RealtimeError
from gateway.upstream.backend import Backend
from gateway.upstream.target import BackendConfig

Event = dict[str, Any]
SESSION: Event = {"type": "realtime", "id": "sess_1", "model": "a-model"}


class FakeCall:
    """A call in which happens what the test says."""

    def __init__(self) -> None:
        self.session = dict(SESSION)
        self.controls = Controls()
        self.attached = 0
        self.received: list[Event] = []
        self.behind: Callable[[], bool] = lambda: False
        self.news = asyncio.Event()

    @property
    def congested(self) -> bool:
        return self.behind()

    def attach(self, control: Any) -> None:
        self.controls.attach(control)
        self.attached += 1
        self.news.set()

    def detach(self, control: Any) -> None:
        self.controls.detach(control)
        self.attached -= 1
        self.news.set()

    def control(self, event: Event) -> None:
        self.received.append(event)
        self.news.set()

    def show(self, kind: str, *, extension: bool = False, **fields: Any) -> None:
        self.controls.show({"type": kind, "event_id": "event_x", **fields}, extension)

    async def until(self, attached: int | None = None, received: int | None = None) -> None:
        async with asyncio.timeout(5):
            while (attached is not None and self.attached != attached) or (
                received is not None and len(self.received) < received
            ):
                self.news.clear()
                await self.news.wait()


class FakeLine:
    """Knows `rtc_1`; `ready` says that it has its session."""

    def __init__(self) -> None:
        self.call = FakeCall()
        self.asked = 0
        self.ends_when_asked = 0
        """At which question for the call it has ended; 0 is never."""
        self.ready = asyncio.Event()
        self.ready.set()

    async def joined(self, call_id: str, wait_s: float) -> FakeCall:
        try:
            async with asyncio.timeout(wait_s):
                await self.ready.wait()
        except TimeoutError:
            raise no_call() from None
        self.asked += 1
        if call_id != "rtc_1" or self.asked == self.ends_when_asked:
            raise no_call()
        return self.call


class Api:
    """A server with these WebSockets, and a client of it. Made by `serving`."""

    def __init__(self, sockets: RealtimeSockets, line: FakeLine) -> None:
        self.sockets = sockets
        self.line = line
        self.call = line.call
        self.caller = Caller("key")
        self.url = ""
        self.client: aiohttp.ClientSession

    def connect(
        self, query: str = "?call_id=rtc_1", *, max_msg_size: int = 0, **options: Any
    ) -> Any:
        return self.client.ws_connect(self.url + query, max_msg_size=max_msg_size, **options)

    async def refused(self, query: str, **options: Any) -> tuple[int, Event]:
        """Status and error object of an upgrade that is refused."""
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            **options,
        }
        async with self.client.get(self.url + query, headers=headers) as answer:
            body = await answer.json()
            assert set(body["error"]) == {"message", "type", "param", "code"}
            return answer.status, body["error"] | {"headers": answer.headers}

    @web.middleware
    async def doors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        request[CALLER] = self.caller
        try:
            return await handler(request)
        except RealtimeError as error:
            return error_response(error)


@asynccontextmanager
async def serving(
    backend_url: str = "ws://127.0.0.1:9/", config: RealtimeConfig | None = None, **backend: Any
) -> AsyncIterator[Api]:
    line = FakeLine()
    options: dict[str, Any] = {"url": backend_url, "connect_timeout_s": 2.0, **backend}
    connect_to = BackendConfig(**options)
    async with Backend(connect_to) as dialler, aiohttp.ClientSession() as client:
        api = Api(RealtimeSockets(line, dialler, config), line)
        api.client = client
        app = web.Application(middlewares=[api.doors])
        app.add_routes(api.sockets.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/realtime"
        try:
            yield api
        finally:
            api.sockets.stop()
            api.call.controls.close()
            await runner.cleanup()


async def event_of(socket: Any) -> Event:
    """The next event that the socket brings."""
    message = await socket.receive(timeout=5)
    assert message.type is WSMsgType.TEXT, message
    event: Event = json.loads(message.data)
    return event


async def types_of(socket: Any, count: int) -> list[str]:
    return [(await event_of(socket))["type"] for _ in range(count)]


async def closed_with(socket: Any) -> int:
    """The code with which the socket is closed; no event may come before."""
    message = await socket.receive(timeout=10)
    assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED), message
    code = socket.close_code
    assert isinstance(code, int)
    return code
