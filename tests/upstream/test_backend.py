"""The Realtime WebSocket, against a server on loopback that does what each test says."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from gateway.audio.formats import PCMU
from gateway.realtime.events import parse_event
from gateway.upstream import backend as backend_module
from gateway.upstream import session as session_module
from gateway.upstream.backend import Backend
from gateway.upstream.errors import BackendError
from gateway.upstream.target import BackendConfig
from tests.peers.fake_realtime import FakeRealtime

pytestmark = pytest.mark.loop

SESSION = {
    "type": "realtime",
    "model": "a-model",
    "audio": {
        "input": {"format": {"type": "audio/pcmu"}},
        "output": {"format": {"type": "audio/pcmu"}},
    },
}


@pytest.fixture
async def server() -> AsyncIterator[FakeRealtime]:
    async with FakeRealtime() as server:
        yield server


def config(server: FakeRealtime, **changes: Any) -> BackendConfig:
    url = server.url.partition("?")[0] + "?model={model}"
    options: dict[str, Any] = {"url": url, "connect_timeout_s": 2.0, **changes}
    return BackendConfig(**options)


async def refusal(configuration: BackendConfig) -> str:
    async with Backend(configuration) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.open(SESSION, PCMU)
    return str(caught.value)


async def test_a_session_is_configured_before_it_is_given_out(server: FakeRealtime) -> None:
    async with Backend(config(server)) as backend:
        session = await backend.open(SESSION, PCMU)
        connection = await server.connection()
        assert [received.event["type"] for received in connection.received] == ["session.update"]
        assert "model=a-model" in connection.path_qs
        assert session.effective["audio"]["input"]["format"] == {"type": "audio/pcmu"}
        await session.close()
        await asyncio.wait_for(connection.closed.wait(), 2)
        assert connection.close_code == 1000


async def test_audio_and_events_keep_their_order(server: FakeRealtime) -> None:
    async with Backend(config(server)) as backend:
        session = await backend.open(SESSION, PCMU)
        connection = await server.connection()
        session.append_audio(b"\x01" * 160)
        session.send({"type": "response.create", "event_id": "ü"})
        session.append_audio(b"\x02" * 160)
        session.send({"type": "response.cancel"})
        await connection.expect("response.cancel")
        kinds = [received.event["type"] for received in connection.received][1:]
        append = "input_audio_buffer.append"
        assert kinds == [append, "response.create", append, "response.cancel"]
        assert bytes(connection.audio) == b"\x01" * 160 + b"\x02" * 160
        await session.close()


async def test_messages_come_in_order_until_the_end(server: FakeRealtime) -> None:
    async with Backend(config(server)) as backend:
        session = await backend.open(SESSION, PCMU)
        connection = await server.connection()
        for number in range(50):
            await connection.send({"type": "x", "number": number})
        await connection.close(1001)
        messages = []
        while (message := await session.receive()) is not None:
            messages.append(parse_event(message)["number"])
        assert messages == list(range(50))
        assert session.close_reason == "closed with code 1001"
        await session.close()


async def test_a_dropped_connection_is_an_end_too(server: FakeRealtime) -> None:
    async with Backend(config(server)) as backend:
        session = await backend.open(SESSION, PCMU)
        (await server.connection()).drop()
        assert await session.receive() is None
        assert session.close_reason
        session.append_audio(b"\x00" * 160)
        session.send({"type": "response.create"})
        await session.close()


@pytest.mark.parametrize(
    ("auth", "header", "query"),
    [
        ("bearer", ("Authorization", "Bearer sk-1"), None),
        ("header:api-key", ("api-key", "sk-1"), None),
        ("query:key", None, "key=sk-1"),
        ("basic", ("Authorization", "Basic sk-1"), None),
        (
            "subprotocol",
            ("Sec-WebSocket-Protocol", "realtime,openai-insecure-api-key.sk-1"),
            None,
        ),
    ],
)
async def test_the_key_goes_where_the_server_wants_it(
    server: FakeRealtime, auth: str, header: tuple[str, str] | None, query: str | None
) -> None:
    async with Backend(config(server, api_key="sk-1", auth=auth)) as backend:
        session = await backend.open(SESSION, PCMU)
        connection = await server.connection()
        assert (header is not None) == ("sk-1" in str(connection.headers))
        if header:
            assert connection.headers[header[0]] == header[1]
        if query:
            assert query in connection.path_qs
        await session.close()


async def test_more_headers_go_along(server: FakeRealtime) -> None:
    more = (("OpenAI-Beta", "realtime=v1"), ("X-Tenant", "a"))
    async with Backend(config(server, headers=more)) as backend:
        session = await backend.open(SESSION, PCMU)
        headers = (await server.connection()).headers
        assert (headers["OpenAI-Beta"], headers["X-Tenant"]) == ("realtime=v1", "a")
        await session.close()


async def test_each_session_has_an_id_of_its_own(server: FakeRealtime) -> None:
    known = config(server, url=server.url + "?key={session}")
    async with Backend(known) as backend:
        for _ in range(2):
            await (await backend.open(SESSION, PCMU)).close()
    first, second = (connection.path_qs for connection in server.connections)
    assert first != second and len(first) == len("/v1/realtime?key=") + 32


@pytest.mark.parametrize("status", [429, 503])
async def test_when_to_come_again_is_told(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(self: FakeRealtime, request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": "7"})

    monkeypatch.setattr(FakeRealtime, "_connect", busy)
    async with FakeRealtime() as server, Backend(config(server)) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.open(SESSION, PCMU)
    error = caught.value
    assert (error.status, error.retry_after, error.retry_after_s) == (status, "7", 7.0)
    assert not error.refused


NOW = 1_750_000_000.0  # Sun, 15 Jun 2025 15:06:40 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("Sun, 15 Jun 2025 15:07:10 GMT", 30),
        ("Sun, 15 Jun 2025 15:07:10 -0000", 30),
        ("Sunday, 15-Jun-25 15:07:10 GMT", 30),
        ("Sun, 15 Jun 2025 15:00:00 GMT", 0),
        ("Sun, 15 Jun 2036 15:00:00 GMT", 86_400),
        ("9" * 400, 86_400),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("", None),
        (None, None),
    ],
)
def test_what_a_retry_after_means(value: str | None, seconds: float | None) -> None:
    assert backend_module._seconds(value, NOW) == seconds


async def test_a_refused_handshake_names_the_status() -> None:
    async with FakeRealtime(refuse=401) as server:
        assert await refusal(config(server)) == "handshake answered 401"


async def test_a_refused_config_names_the_reason() -> None:
    async with FakeRealtime(update="error") as server:
        assert await refusal(config(server))
        connection = await server.connection()
        await asyncio.wait_for(connection.closed.wait(), 2)


async def test_a_server_that_never_answers_is_given_up() -> None:
    async with FakeRealtime(update="ignore") as server:
        reason = await refusal(config(server, connect_timeout_s=0.2))
        assert reason == "no answer in 0.2 s"
        connection = await server.connection()
        await asyncio.wait_for(connection.closed.wait(), 2)


async def test_a_server_that_hangs_up_while_it_is_configured() -> None:
    async with FakeRealtime(update="drop") as server:
        assert await refusal(config(server))


async def test_nobody_listens_and_no_key_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    url = f"ws://127.0.0.1:{port}/v1/realtime"
    reason = await refusal(BackendConfig(url=url, api_key="sk-canary", auth="query:key"))
    assert "canary" not in reason
    assert "Connect call failed" in reason


def test_a_config_does_not_show_its_key() -> None:
    assert "canary" not in repr(BackendConfig(url="ws://x/", api_key="sk-canary"))


async def test_a_quiet_server_that_answers_pings_is_kept(
    server: FakeRealtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_PING_EVERY_S", 0.05)
    async with Backend(config(server)) as backend:
        session = await backend.open(SESSION, PCMU)
        connection = await server.connection()
        reading = asyncio.create_task(session.receive())
        await asyncio.sleep(0.5)
        assert not reading.done()
        await connection.send({"type": "x"})
        message = await reading
        assert message is not None and parse_event(message)["type"] == "x"
        await session.close()


async def test_a_ping_of_the_server_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with a heartbeat keeps the session, which it would close without our pongs."""
    plain = web.WebSocketResponse
    monkeypatch.setattr(
        "tests.peers.fake_realtime.web.WebSocketResponse",
        lambda **options: plain(**options, heartbeat=0.4),
    )
    async with FakeRealtime() as server, Backend(config(server)) as backend:
        session = await backend.open(SESSION, PCMU)
        connection = await server.connection()
        reading = asyncio.create_task(session.receive())
        await asyncio.sleep(1)
        assert not connection.closed.is_set()
        await connection.close()
        assert await reading is None
        await session.close()


async def test_leaving_during_the_handshake_is_no_error_of_the_fake_server(
    server: FakeRealtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    prepare = web.WebSocketResponse.prepare

    async def too_late(self: web.WebSocketResponse, request: web.Request) -> object:
        if request.transport is not None:
            request.transport.abort()
        return await prepare(self, request)

    monkeypatch.setattr(web.WebSocketResponse, "prepare", too_late)
    await refusal(config(server))
    connection = await server.connection()
    await asyncio.wait_for(connection.closed.wait(), 2)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (BackendError("handshake answered 503", status=503), "handshake answered 503"),
        (
            BackendError(
                "Invalid value: 'my card is 4111'", code="invalid_value", param="v", refused=True
            ),
            "refused: invalid_value v",
        ),
        (BackendError("my card is 4111", refused=True), "refused: no code"),
    ],
)
def test_a_log_is_told_no_words_of_a_client(error: BackendError, logged: str) -> None:
    assert error.logged() == logged
    assert error.told().message
