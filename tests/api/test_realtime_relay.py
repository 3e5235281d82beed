"""Plain sessions through the API: what the backend is asked, and what the client is told."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from aiohttp import web
from structlog.testing import capture_logs

from gateway.api.auth import Caller, Keys
from gateway.api.connection import Runner
from gateway.api.pages import Softphone
from gateway.api.realtime import RealtimeConfig
from gateway.api.secrets import SecretStore
from gateway.api.server import application
from gateway.backend.config import BackendConfig as AgentConfig
from gateway.backend.config import Pacing
from gateway.backend.server import serve as serve_agent
from tests.api.sockets import Api, FakeLine, closed_with, event_of, serving, types_of
from tests.peers.fake_realtime import FakeRealtime
from tests.upstream.receiver import RawReceiver

pytestmark = pytest.mark.loop


@pytest.fixture
async def server() -> AsyncIterator[FakeRealtime]:
    async with FakeRealtime() as server:
        yield server


@pytest.fixture
async def api(server: FakeRealtime) -> AsyncIterator[Api]:
    url = server.url + "?model={model}"
    async with serving(url, api_key="sk-ours", default_model="the-default") as api:
        yield api


@pytest.mark.parametrize(
    ("query", "dialled"),
    [
        ("", "/v1/realtime?model=the-default"),
        ("?model=", "/v1/realtime?model=the-default"),
        ("?model=gpt-realtime-2.1", "/v1/realtime?model=gpt-realtime-2.1"),
        ("?model=a%26b%3D..%2F", "/v1/realtime?model=a%26b%3D../"),
        ("?intent=transcription", "/v1/realtime?intent=transcription"),
        ("?intent=transcription&model=m", "/v1/realtime?intent=transcription"),
    ],
)
async def test_the_backend_is_asked_what_the_client_asks(
    api: Api, server: FakeRealtime, query: str, dialled: str
) -> None:
    headers = {"Authorization": "Bearer sk-theirs", "OpenAI-Project": "theirs"}
    async with api.connect(query, headers=headers) as client:
        connection = await server.connection()
        assert await types_of(client, 1) == ["session.created"]
        assert connection.path_qs == dialled
        assert connection.headers.getall("Authorization") == ["Bearer sk-ours"]
        assert "theirs" not in str(connection.headers)
        await client.send_json({"type": "response.create"})
        await connection.expect("response.create")


async def test_the_beta_header_goes_along_and_the_backend_decides(
    api: Api, server: FakeRealtime
) -> None:
    async with api.connect(headers={"OpenAI-Beta": "realtime=v1"}, query=""):
        assert (await server.connection()).headers["OpenAI-Beta"] == "realtime=v1"
    offered = ["realtime", "openai-insecure-api-key.sk-1", "openai-beta.realtime-v1"]
    async with api.connect("", protocols=offered) as client:
        assert client.protocol == "realtime"
        headers = (await server.connection(1)).headers
        assert headers["OpenAI-Beta"] == "realtime=v1"
        assert "sk-1" not in str(headers)


async def test_a_client_secret_brings_its_session(api: Api, server: FakeRealtime) -> None:
    asked = {"type": "realtime", "model": "its-model", "instructions": "Sing."}
    api.caller = Caller("secret", asked)
    async with api.connect("?model=another") as client:
        created = await event_of(client)
        assert created["type"] == "session.created"
        assert created["session"]["instructions"] == "Sing."
        connection = await server.connection()
        assert connection.path_qs == "/v1/realtime?model=its-model"
        assert [one.event["session"] for one in connection.received] == [asked]
        await client.send_json({"type": "session.update", "session": {"instructions": "Hum."}})
        assert (await event_of(client))["type"] == "session.updated"


async def test_a_client_secret_for_transcription_opens_a_transcription(
    api: Api, server: FakeRealtime
) -> None:
    api.caller = Caller("secret", {"type": "transcription"})
    async with api.connect("?model=another") as client:
        await event_of(client)
        assert (await server.connection()).path_qs == "/v1/realtime?intent=transcription"


async def test_the_session_of_a_secret_is_refused(api: Api, server: FakeRealtime) -> None:
    server.update = "error"
    api.caller = Caller("secret", {"type": "realtime"})
    async with api.connect("") as client:
        event = await event_of(client)
        assert (event["type"], event["error"]["code"]) == ("error", "invalid_value")
        assert await closed_with(client) == 1008


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [
        ("?intent=conversation", "intent", "invalid_value"),
        ("?model=..", "model", "model_not_found"),
        (f"?model={'x' * 300}", "model", "model_not_found"),
    ],
)
async def test_what_cannot_be_is_400(
    api: Api, server: FakeRealtime, query: str, param: str, code: str
) -> None:
    status, error = await api.refused(query)
    assert (status, error["param"], error["code"]) == (400, param, code)
    assert not server.connections


@pytest.mark.parametrize("answer", [401, 403, 404, 500, 503])
async def test_a_backend_that_refuses_is_502(api: Api, server: FakeRealtime, answer: int) -> None:
    server.refuse = answer
    status, error = await api.refused("")
    assert (status, error["code"]) == (502, "backend_unavailable")
    assert str(answer) in error["message"]


async def test_a_backend_that_is_not_there_is_502_and_not_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}/"
        async with serving(url) as api:
            with capture_logs() as lines:
                status, error = await api.refused("")
            assert (status, error["code"]) == (502, "backend_unavailable")
            assert "127.0.0.1" not in error["message"]
            assert [line["event"] for line in lines] == ["relay.failed"]


async def test_a_backend_that_is_busy_is_429_with_its_retry_after() -> None:
    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "7"})

    app = web.Application()
    app.router.add_get("/", busy)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with serving(f"ws://127.0.0.1:{runner.addresses[0][1]}/") as api:
        status, error = await api.refused("")
        assert (status, error["code"]) == (429, "rate_limit_exceeded")
        assert error["headers"]["Retry-After"] == "7"
    await runner.cleanup()


async def test_so_many_sessions_and_no_more(server: FakeRealtime) -> None:
    async with serving(server.url, RealtimeConfig(max_relays=1)) as api:
        async with api.connect("") as first:
            await event_of(first)
            status, error = await api.refused("")
            assert (status, error["code"]) == (429, "rate_limit_exceeded")
            async with api.connect() as sideband:
                await event_of(sideband)
        await asyncio.wait_for((await server.connection()).closed.wait(), 5)
        async with api.connect("") as second:
            await event_of(second)


async def test_failures_leave_the_place_free(server: FakeRealtime) -> None:
    async with serving(server.url, RealtimeConfig(max_relays=1)) as api:
        server.refuse = 500
        for _ in range(3):
            assert (await api.refused(""))[0] == 502
        assert (await api.refused("?intent=x"))[0] == 400
        server.refuse = None
        async with api.connect("") as client:
            await event_of(client)


async def test_stopping_ends_the_sessions_with_1001(api: Api, server: FakeRealtime) -> None:
    async with api.connect("") as client:
        await event_of(client)
        api.sockets.stop()
        assert await closed_with(client) == 1001
        connection = await server.connection()
        await asyncio.wait_for(connection.closed.wait(), 5)
        assert connection.close_code == 1001


async def test_stopping_ends_those_that_still_connect_and_takes_no_more() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Never completes a handshake."""

    async with (
        RawReceiver(silent) as backend,
        serving(backend.url("ws"), connect_timeout_s=5.0) as api,
    ):
        waiting = asyncio.create_task(api.refused(""))
        await backend.until(lambda: backend.connections == 1)
        api.sockets.stop()
        api.sockets.stop()
        for status, error in (await waiting, await api.refused("")):
            assert (status, error["code"], error["type"]) == (503, "draining", "server_error")
            assert error["headers"]["x-should-retry"] == "false"


async def test_the_log_has_the_code_of_a_refusal_and_not_its_words(
    api: Api, server: FakeRealtime
) -> None:
    server.update = "error"
    api.caller = Caller("secret", {"type": "realtime"})
    with capture_logs() as lines:
        async with api.connect("") as client:
            await event_of(client)
    (line,) = [line for line in lines if line["event"] == "relay.failed"]
    assert line["reason"] == "refused: invalid_value"


async def test_a_client_that_leaves_while_the_backend_is_dialled_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrived, go = asyncio.Event(), asyncio.Event()
    connect = FakeRealtime._connect

    async def late(self: FakeRealtime, request: web.Request) -> web.StreamResponse:
        arrived.set()
        await go.wait()
        return await connect(self, request)

    monkeypatch.setattr(FakeRealtime, "_connect", late)
    async with FakeRealtime() as server, serving(server.url) as api:
        with capture_logs() as lines:
            connecting = asyncio.create_task(api.connect(""))
            await asyncio.wait_for(arrived.wait(), 5)
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            go.set()
            connection = await server.connection()
            await asyncio.wait_for(connection.closed.wait(), 5)
        assert not lines


async def test_without_an_upgrade_it_is_426(api: Api, server: FakeRealtime) -> None:
    async with api.client.get(api.url) as answer:
        assert answer.status == 426
        assert answer.headers["Upgrade"] == "websocket"
        assert (await answer.json())["error"]["code"] == "upgrade_required"
    assert not server.connections


async def test_a_browser_comes_through_the_doors_of_the_api(server: FakeRealtime) -> None:
    store = SecretStore()
    secret, _ = store.create({"type": "realtime", "model": "its-model"}, 60)
    async with serving(server.url + "?model={model}") as api:
        app = application(
            keys=Keys(["sk-1"], store),
            store=store,
            line=FakeLine(),  # type: ignore[arg-type]
            readiness=lambda: None,
            metrics=lambda: b"",
            softphone=Softphone("", "0", "m"),
            log=structlog.get_logger(),
            extra=api.sockets.routes(),
        )
        runner = Runner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/realtime"
        offered = ["realtime", f"openai-insecure-api-key.{secret}"]
        async with api.connect("", protocols=offered, origin="https://a.example") as client:
            headers = client._response.headers
            assert client.protocol == "realtime"
            assert headers["x-request-id"].startswith("req_")
            assert headers["Access-Control-Allow-Origin"] == "*"
            assert (await event_of(client))["session"]["model"] == "its-model"
        status, error = await api.refused("", **{"Sec-WebSocket-Protocol": "realtime"})
        assert (status, error["type"]) == (401, "invalid_request_error")
        await runner.cleanup()


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, "response.output_audio.delta"),
        ({"OpenAI-Beta": "realtime=v1"}, "response.audio.delta"),
    ],
)
async def test_the_embedded_agent_serves_such_a_session_too(
    headers: dict[str, str], kind: str
) -> None:
    agent = await serve_agent(AgentConfig(port=0, seed=1, pacing=Pacing(0, 0, speedup=100)))
    try:
        url = f"ws://127.0.0.1:{agent.port}/v1/realtime?model={{model}}"
        async with serving(url) as api:
            api.caller = Caller("secret", {"type": "realtime", "instructions": "Sing."})
            async with api.connect("", headers=headers) as client:
                created = await event_of(client)
                assert created["session"]["instructions"] == "Sing."
                await client.send_json({"type": "response.create"})
                kinds: list[Any] = []
                while kinds[-1:] != ["response.done"]:
                    kinds += await types_of(client, 1)
                assert kind in kinds
    finally:
        await agent.close()
