"""Relayed WebSockets: a real client, a server that does as told, and the relay between them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from gateway.realtime.dialects import DialectOptions
from gateway.upstream import relay as relay_module
from gateway.upstream.backend import Backend
from gateway.upstream.errors import BackendError
from gateway.upstream.relay import Relay, RelayRequest
from gateway.upstream.target import BackendConfig
from tests.peers.fake_realtime import FakeConnection, FakeRealtime

pytestmark = pytest.mark.loop

MIB = 1 << 20


@pytest.fixture
async def server() -> AsyncIterator[FakeRealtime]:
    async with FakeRealtime() as server:
        yield server


@asynccontextmanager
async def dialling(server: FakeRealtime, **changes: Any) -> AsyncIterator[Backend]:
    url = server.url + "?model={model}"
    options: dict[str, Any] = {"url": url, "connect_timeout_s": 2.0, **changes}
    async with Backend(BackendConfig(**options)) as backend:
        yield backend


@asynccontextmanager
async def joined(
    server: FakeRealtime,
    request: RelayRequest | None = None,
    heartbeat_s: float | None = None,
    **knobs: Any,
) -> AsyncIterator[Any]:
    """A client whose WebSocket is relayed to `server`."""
    async with dialling(server, **knobs) as backend, aiohttp.ClientSession() as session:
        served = asyncio.Event()
        relays: list[Relay] = []

        async def serve(http: web.Request) -> web.WebSocketResponse:
            relay = await Relay.open(backend, request or RelayRequest())
            socket = web.WebSocketResponse(
                decode_text=False,
                compress=False,
                max_msg_size=32 * MIB,
                timeout=1,
                heartbeat=heartbeat_s,
            )
            await socket.prepare(http)
            relays.append(relay)
            try:
                await relay.run(socket, http.transport)
            finally:
                served.set()
            return socket

        app = web.Application()
        app.router.add_get("/", serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with session.ws_connect(url, max_msg_size=0) as client:
            client.relays = relays  # type: ignore[attr-defined]
            client.served = served  # type: ignore[attr-defined]
            yield client
        await runner.cleanup()


async def event_of(client: Any) -> dict[str, Any]:
    message = await client.receive(timeout=5)
    assert message.type is WSMsgType.TEXT, message
    event: dict[str, Any] = json.loads(message.data)
    return event


async def end_of(client: Any) -> tuple[int, str]:
    message = await client.receive(timeout=5)
    assert message.type is WSMsgType.CLOSE, message
    return message.data, message.extra


async def closed(connection: FakeConnection) -> int | None:
    await asyncio.wait_for(connection.closed.wait(), 5)
    return connection.close_code


async def test_text_goes_both_ways_untouched_and_in_order(server: FakeRealtime) -> None:
    async with joined(server) as client:
        connection = await server.connection()
        assert (await event_of(client))["type"] == "session.created"
        odd = ' { "type" : "x","u":"\\ud800ü" } '
        await connection.send_text(odd)
        assert (await client.receive()).data == odd
        for number in range(100):
            await client.send_json({"type": "up", "number": number})
            await connection.send({"type": "down", "number": number})
        assert [(await event_of(client))["number"] for _ in range(100)] == list(range(100))
        assert await connection.until(lambda: len(connection.events("up")) == 100)
        assert [event["number"] for event in connection.events("up")] == list(range(100))


async def test_large_messages_pass_both_ways(server: FakeRealtime) -> None:
    async with joined(server) as client:
        connection = await server.connection()
        await event_of(client)
        await client.send_json({"type": "up", "text": "x" * (15 * MIB)})
        assert len((await connection.expect("up", 10))["text"]) == 15 * MIB
        sending = asyncio.create_task(connection.send({"type": "down", "text": "x" * (15 * MIB)}))
        assert len((await event_of(client))["text"]) == 15 * MIB
        await sending


async def test_a_message_that_is_too_large_ends_both_with_1009(server: FakeRealtime) -> None:
    async with joined(server) as client:
        connection = await server.connection()
        await event_of(client)
        await client.send_str("x" * (16 * MIB + 1))
        assert await end_of(client) == (1009, "")
        assert await closed(connection) == 1009
        assert not connection.received


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 4000])
async def test_the_client_is_told_how_the_server_ended(server: FakeRealtime, code: int) -> None:
    async with joined(server) as client:
        connection = await server.connection()
        await connection.send({"type": "last"})
        ending = asyncio.create_task(connection._socket.close(code=code, message="why ü".encode()))
        assert [(await event_of(client))["type"] for _ in range(2)] == ["session.created", "last"]
        assert await end_of(client) == (code, "why ü")
        await ending


async def test_a_lost_server_is_1011(server: FakeRealtime) -> None:
    async with joined(server) as client:
        (await server.connection()).drop()
        await event_of(client)
        assert await end_of(client) == (1011, "")


async def test_a_close_without_a_code_is_1011(server: FakeRealtime) -> None:
    async with joined(server) as client:
        connection = await server.connection()
        await event_of(client)
        assert connection._socket._writer is not None
        await connection._socket._writer.send_frame(b"", WSMsgType.CLOSE)
        assert await end_of(client) == (1011, "")


@pytest.mark.parametrize("code", [1000, 3000, 4999])
async def test_the_server_is_told_how_the_client_ended(server: FakeRealtime, code: int) -> None:
    async with joined(server) as client:
        connection = await server.connection()
        await client.send_json({"type": "last"})
        await client.close(code=code)
        assert await closed(connection) == code
        assert connection.events("last")


async def test_a_lost_client_is_1001(server: FakeRealtime) -> None:
    async with joined(server) as client:
        connection = await server.connection()
        client._writer.transport.abort()
        assert await closed(connection) == 1001


async def test_stopping_ends_both_with_1001(server: FakeRealtime) -> None:
    async with joined(server) as client:
        connection = await server.connection()
        await event_of(client)
        client.relays[0].stop()
        client.relays[0].stop()
        assert (await end_of(client))[0] == 1001
        assert await closed(connection) == 1001


async def test_a_slow_client_slows_the_server(server: FakeRealtime) -> None:
    """What the client does not take stays with the server, but for a few socket buffers."""
    async with joined(server) as client:
        connection = await server.connection()
        await event_of(client)
        client._writer.transport.pause_reading()
        sent = 0

        async def send() -> None:
            nonlocal sent
            while True:
                await connection.send({"type": "x", "number": sent, "text": "x" * MIB})
                sent += 1

        sending = asyncio.create_task(send())
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.2)
        assert 0 < sent < 32
        client._writer.transport.resume_reading()
        for number in range(sent + 5):
            assert (await event_of(client))["number"] == number
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending


async def test_a_client_that_takes_nothing_is_given_up(
    server: FakeRealtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers no pings either; what waits for it keeps nothing open."""
    monkeypatch.setattr(relay_module, "_LAST_WORDS_S", 0.1)
    async with joined(server, heartbeat_s=0.4) as client:
        connection = await server.connection()
        client._writer.transport.pause_reading()
        with contextlib.suppress(ConnectionError):
            while not client.served.is_set():
                await connection.send({"type": "x", "text": "x" * MIB})
        await asyncio.wait_for(client.served.wait(), 5)
        await closed(connection)
        client._writer.transport.abort()


async def test_binary_of_the_client_is_answered_here(server: FakeRealtime) -> None:
    async with joined(server) as client:
        connection = await server.connection()
        await event_of(client)
        await client.send_bytes(b"{}")
        event = await event_of(client)
        assert (event["type"], event["error"]["code"]) == ("error", "invalid_event")
        await client.send_json({"type": "x"})
        await connection.expect("x")
        assert len(connection.received) == 1


async def test_a_config_is_in_force_before_the_client_sees_anything(server: FakeRealtime) -> None:
    asked = {"type": "realtime", "model": "m", "instructions": "Sing."}
    async with joined(server, RelayRequest(model="m", session=asked)) as client:
        connection = await server.connection()
        assert connection.events("session.update")[0]["session"] == asked
        created = await event_of(client)
        assert (created["type"], created["event_id"]) == ("session.created", "event_1")
        assert created["session"]["instructions"] == "Sing."
        await connection.send({"type": "next"})
        assert (await event_of(client))["type"] == "next"


async def test_what_a_server_says_before_it_is_configured_comes_after(
    server: FakeRealtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = FakeConnection._update

    async def late(self: FakeConnection, event: dict[str, Any]) -> None:
        await self.send({"type": "conversation.created"})
        await update(self, event)

    monkeypatch.setattr(FakeConnection, "_update", late)
    async with joined(server, RelayRequest(session={"type": "realtime"})) as client:
        kinds = [(await event_of(client))["type"] for _ in range(2)]
        assert kinds == ["session.created", "conversation.created"]


async def opening_fails(server: FakeRealtime, request: RelayRequest, **changes: Any) -> Any:
    async with dialling(server, **changes) as backend:
        with pytest.raises(BackendError) as caught:
            await Relay.open(backend, request)
    return caught.value


CONFIGURED = RelayRequest(session={"type": "realtime"})


async def test_a_refused_config_says_what_the_server_said() -> None:
    async with FakeRealtime(update="error") as server:
        error = await opening_fails(server, CONFIGURED)
        assert (error.refused, error.code, error.status) == (True, "invalid_value", None)
        await closed(await server.connection())


@pytest.mark.parametrize("update", ["ignore", "drop"])
async def test_a_server_that_does_not_take_the_config(update: Any) -> None:
    async with FakeRealtime(update=update) as server:
        error = await opening_fails(server, CONFIGURED, connect_timeout_s=0.3)
        assert not error.refused
        await closed(await server.connection())


async def test_a_server_that_says_everything_but_that(
    server: FakeRealtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def babble(self: FakeConnection, event: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                await self.send({"type": "x"})

    monkeypatch.setattr(FakeConnection, "_update", babble)
    error = await opening_fails(server, CONFIGURED)
    assert str(error) == "the server did not answer session.update"


@pytest.mark.parametrize("status", [401, 404, 429, 503])
async def test_a_refused_handshake_says_its_status(status: int) -> None:
    async with FakeRealtime(refuse=status) as server:
        error = await opening_fails(server, RelayRequest())
        assert (error.status, error.refused) == (status, False)


@pytest.mark.parametrize(
    ("template", "request_", "path_qs"),
    [
        ("?model={model}", RelayRequest(), "/v1/realtime?model=gpt-realtime"),
        ("?model={model}", RelayRequest(model="ft:a/b"), "/v1/realtime?model=ft:a/b"),
        ("?model={model}", RelayRequest(model="a&b=c#d"), "/v1/realtime?model=a%26b%3Dc%23d"),
        ("?model={model}", RelayRequest(model="ü\ud800"), "/v1/realtime?model=%C3%BC?"),
        ("", RelayRequest(model="m"), "/v1/realtime"),
        (
            "?v=1&model={model}",
            RelayRequest(model="m", intent="transcription"),
            "/v1/realtime?v=1&intent=transcription",
        ),
        ("", RelayRequest(intent="transcription"), "/v1/realtime?intent=transcription"),
    ],
)
async def test_the_url_that_is_dialled(
    server: FakeRealtime, template: str, request_: RelayRequest, path_qs: str
) -> None:
    async with dialling(server, url=server.url + template) as backend:
        relay = await Relay.open(backend, request_)
        assert (await server.connection()).path_qs == path_qs
        await relay.close()


@pytest.mark.parametrize("model", [".", "..", "x" * 257])
async def test_a_model_that_leads_elsewhere_is_not_dialled(
    server: FakeRealtime, model: str
) -> None:
    template = server.url.replace("/v1/realtime", "/v1/{model}/realtime")
    error = await opening_fails(server, RelayRequest(model=model), url=template)
    assert (error.refused, error.code, error.param) == (True, "model_not_found", "model")
    assert not server.connections


async def test_headers_go_along_and_the_key_is_ours(server: FakeRealtime) -> None:
    asked = RelayRequest(headers={"OpenAI-Beta": "realtime=v1", "Authorization": "Bearer theirs"})
    async with dialling(server, api_key="ours") as backend:
        relay = await Relay.open(backend, asked)
        headers = (await server.connection()).headers
        assert headers["OpenAI-Beta"] == "realtime=v1"
        assert headers.getall("Authorization") == ["Bearer ours"]
        await relay.close()


# Backends of another dialect.


async def test_a_client_of_ga_with_a_server_of_beta(server: FakeRealtime) -> None:
    async with joined(server, dialect=DialectOptions("beta")) as client:
        connection = await server.connection()
        assert (await event_of(client))["type"] == "session.created"
        await client.send_json(
            {"type": "session.update", "session": {"type": "realtime", "instructions": "Sing."}}
        )
        assert (await connection.expect("session.update"))["session"] == {"instructions": "Sing."}
        place = {"response_id": "resp_1", "item_id": "item_1", "content_index": 0}
        await connection.send({"type": "response.audio.delta", **place, "delta": "AAAA"})
        await connection.send({"type": "response.audio.done", **place})
        kinds = [(await event_of(client))["type"] for _ in range(3)]
        assert kinds == [
            "session.updated",
            "response.output_audio.delta",
            "response.output_audio.done",
        ]


async def test_a_client_of_beta_with_a_server_of_neither(server: FakeRealtime) -> None:
    async with joined(server, RelayRequest(beta=True), dialect=DialectOptions("xai")) as client:
        connection = await server.connection()
        await event_of(client)
        await client.send_json({"type": "session.update", "session": {"voice": "eve"}})
        assert (await connection.expect("session.update"))["session"]["voice"] == "eve"
        place = {"response_id": "resp_1", "item_id": "item_1", "content_index": 0}
        await connection.send({"type": "response.output_audio.delta", **place, "delta": "AAAA"})
        kinds = [(await event_of(client))["type"] for _ in range(2)]
        assert kinds == ["session.updated", "response.audio.delta"]


async def test_a_client_of_beta_with_a_server_of_beta_is_left_alone(server: FakeRealtime) -> None:
    async with joined(server, RelayRequest(beta=True), dialect=DialectOptions("beta")) as client:
        connection = await server.connection()
        await event_of(client)
        odd = ' { "type" : "response.audio.done" } '
        await connection.send_text(odd)
        assert (await client.receive()).data == odd
        await client.send_str(odd)
        await connection.expect("response.audio.done")


async def test_a_client_is_answered_what_the_server_is_not_asked(server: FakeRealtime) -> None:
    async with joined(server, dialect=DialectOptions(truncate="skip")) as client:
        connection = await server.connection()
        await event_of(client)
        await client.send_json(
            {
                "type": "conversation.item.truncate",
                "item_id": "item_1",
                "content_index": 0,
                "audio_end_ms": 480,
            }
        )
        answer = await event_of(client)
        assert (answer["type"], answer["audio_end_ms"]) == ("conversation.item.truncated", 480)
        await client.send_json({"type": "x"})
        await connection.expect("x")
        assert not connection.events("conversation.item.truncate")


@pytest.mark.parametrize(
    ("options", "beta"), [(DialectOptions("beta"), False), (DialectOptions(), True)]
)
async def test_a_config_for_a_server_that_speaks_beta(
    server: FakeRealtime, options: DialectOptions, beta: bool
) -> None:
    """Because it knows nothing else, or because the client asked it to."""
    asked = RelayRequest(session={"type": "realtime", "instructions": "Sing."}, beta=beta)
    async with joined(server, asked, dialect=options) as client:
        connection = await server.connection()
        assert connection.events("session.update")[0]["session"] == {"instructions": "Sing."}
        assert (await event_of(client))["session"]["instructions"] == "Sing."


async def test_a_config_for_a_server_that_confirms_nothing() -> None:
    async with (
        FakeRealtime(update="ignore") as server,
        joined(server, CONFIGURED, confirms=False) as client,
    ):
        assert (await event_of(client))["type"] == "session.created"
        await (await server.connection()).send({"type": "next"})
        assert (await event_of(client))["type"] == "next"
