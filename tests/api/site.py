"""The API served on loopback, over a line that is not there."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiohttp import ClientSession, TCPConnector, web

from gateway.api.auth import CALLER, Keys
from gateway.api.connection import Runner
from gateway.api.limits import Limits
from gateway.api.pages import Softphone
from gateway.api.secrets import SecretStore
from gateway.api.server import application
from gateway.calls.commands import Command, Dial, no_call
from gateway.realtime.errors import RealtimeError
from gateway.realtime.session import Session

KEY, SECOND_KEY = "key-one", "key-two"
CALL_ID, ENDED_ID = "rtc_live", "rtc_over"
MODEL = "gpt-realtime"


def summary(call_id: str, state: str = "active") -> dict[str, Any]:
    return {
        "id": call_id,
        "object": "realtime.call",
        "direction": "inbound",
        "leg": "sip",
        "from": "sip:…3456@example.com",
        "to": "sip:agent@example.com",
        "state": state,
        "created_at": 1_750_000_000,
        "answered_at": 1_750_000_003,
        "ended_at": 1_750_000_060 if state == "ended" else None,
        "duration_s": 57.0,
        "codec": "PCMU",
        "media_security": "rtp",
        "reason": "caller" if state == "ended" else None,
        "sip_status": None,
        "sip_call_id": "a84b4c76e66710@pc33.example.com",
        "transfer": None,
        "counters": {
            "rtp_received": 3000,
            "rtp_sent": 3000,
            "rtp_lost": 0,
            "jitter_ms": 1.5,
            "mos": 4.4,
            "turns": 3,
            "bargeins": 1,
            "dtmf_count": 2,
        },
    }


class FakeLine:
    """Two calls, of which one is over; notes what is asked."""

    def __init__(self) -> None:
        self.calls = [summary(CALL_ID), summary(ENDED_ID, "ended")]
        self.commands: list[tuple[str, Command]] = []
        self.dialled: list[Dial] = []
        self.offers: list[tuple[bytes, Session | None, str | None]] = []
        self.failure: Exception | None = None
        self.forgotten: list[str] = []
        """Ids that are known no more when they are asked about."""

    async def command(self, call_id: str, command: Command) -> None:
        if self.failure is not None:
            raise self.failure
        if self.summary(call_id)["state"] == "ended":
            raise no_call()
        self.commands.append((call_id, command))

    async def dial(self, order: Dial) -> dict[str, Any]:
        if self.failure is not None:
            raise self.failure
        self.dialled.append(order)
        return summary("rtc_new", "connecting")

    async def connect(
        self, offer: bytes, session: Session | None, model: str | None
    ) -> tuple[str, bytes]:
        if self.failure is not None:
            raise self.failure
        self.offers.append((offer, session, model))
        return "rtc_new", b"v=0\r\n"

    def call_ids(self) -> list[str]:
        return [*self.forgotten, *(call["id"] for call in self.calls)]

    def summary(self, call_id: str) -> dict[str, Any]:
        for call in self.calls:
            if call["id"] == call_id:
                return call
        raise no_call()


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def whose_socket(request: web.Request) -> web.StreamResponse:
    """Stands for the WebSockets: tells who came and leaves."""
    socket = web.WebSocketResponse(protocols=("realtime",))
    if not socket.can_prepare(request).ok:
        raise RealtimeError("This is a WebSocket.", status=426)
    await socket.prepare(request)
    await socket.send_json({"kind": request[CALLER].kind, "session": request[CALLER].session})
    if "break" in request.query:
        raise RuntimeError("a defect in mid-socket")
    await socket.close()
    return socket


@dataclass
class Site:
    """The API as a test sees it."""

    line: FakeLine
    store: SecretStore
    clock: Clock
    ready: list[str] = field(default_factory=list)
    port: int = 0
    runner: Runner | None = None
    client: ClientSession | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ask(self, method: str, path: str, **options: Any) -> "Answer":
        """One request; with the key unless `key=` says otherwise (None: with none)."""
        assert self.client is not None
        headers = dict(options.pop("headers", {}))
        key = options.pop("key", KEY)
        if key is not None:
            headers.setdefault("Authorization", f"Bearer {key}")
        async with self.client.request(method, self.url + path, headers=headers, **options) as got:
            return Answer(got.status, got.headers, await got.read())

    async def raw(self, data: bytes) -> bytes:
        """What comes back, until the server closes, for these very bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            return await reader.read()
        finally:
            writer.close()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error in the envelope, once the envelope is as it must be."""
        document = self.json
        assert list(document) == ["error"], document
        error: dict[str, Any] = document["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert self.headers["Content-Type"].startswith("application/json")
        assert self.headers["x-request-id"].startswith("req_")
        return error


@asynccontextmanager
async def serving(
    *,
    keys: Sequence[str] = (KEY, SECOND_KEY),
    limits: Limits | None = None,
    secrets: int = 1000,
) -> AsyncIterator[Site]:
    clock = Clock()
    store = SecretStore(secrets, clock=clock)
    site = Site(FakeLine(), store, clock)
    app = application(
        keys=Keys(keys, store),
        store=store,
        line=site.line,
        readiness=lambda: site.ready[-1] if site.ready else None,
        metrics=lambda: b"# nothing\n",
        softphone=Softphone("sip:agent@127.0.0.1", "0.0.test", MODEL),
        log=structlog.get_logger(),
        extra=[web.get("/v1/realtime", whose_socket, allow_head=False)],
        limits=limits,
    )
    runner = Runner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.port = runner.addresses[0][1]
    site.runner = runner
    async with ClientSession(connector=TCPConnector(force_close=True)) as site.client:
        try:
            yield site
        finally:
            await site.client.close()
            await runner.cleanup()
