"""The Realtime WebSocket, against a server on loopback that does what each test says."""

import asyncio
import base64
import hashlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.realtime.events import parse_event
from gateway.upstream.realtime import Backend, BackendConfig, BackendError
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
    base = server.url.partition("?")[0]
    return BackendConfig(**{"url": base + "?model={model}", "connect_timeout_s": 2.0} | changes)


async def refusal(configuration: BackendConfig) -> str:
    async with Backend(configuration) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.open(SESSION)
    return str(caught.value)


async def test_a_session_is_configured_before_it_is_given_out(server: FakeRealtime) -> None:
    async with Backend(config(server)) as backend:
        session = await backend.open(SESSION)
        connection = await server.connection()
        assert [received.event["type"] for received in connection.received] == ["session.update"]
        assert "model=a-model" in connection.path_qs
        assert session.effective["audio"]["input"]["format"] == {"type": "audio/pcmu"}
        await session.close()
        await asyncio.wait_for(connection.closed.wait(), 2)


async def test_audio_and_events_keep_their_order(server: FakeRealtime) -> None:
    async with Backend(config(server)) as backend:
        session = await backend.open(SESSION)
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
        session = await backend.open(SESSION)
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
        session = await backend.open(SESSION)
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
    ],
)
async def test_the_key_goes_where_the_server_wants_it(
    server: FakeRealtime, auth: str, header: tuple[str, str] | None, query: str | None
) -> None:
    async with Backend(config(server, api_key="sk-1", auth=auth)) as backend:
        session = await backend.open(SESSION)
        connection = await server.connection()
        assert (header is not None) == ("sk-1" in str(connection.headers))
        if header:
            assert connection.headers[header[0]] == header[1]
        if query:
            assert query in connection.path_qs
        await session.close()


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


async def test_a_server_that_does_not_read_costs_audio_and_not_memory() -> None:
    """Two seconds of audio may wait; the rest is dropped and counted."""

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        accept = base64.b64encode(digest).decode()
        writer.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        updated = b'{"type":"session.updated","session":{}}'
        writer.write(bytes([0x81, len(updated)]) + updated)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await released.wait()
        writer.close()

    released = asyncio.Event()
    async with await asyncio.start_server(deaf, "127.0.0.1", 0) as deaf_server:
        port = deaf_server.sockets[0].getsockname()[1]
        async with Backend(BackendConfig(url=f"ws://127.0.0.1:{port}/")) as backend:
            session = await backend.open(SESSION)
            for _ in range(100_000):
                session.append_audio(b"\x00" * 160)
                if session.dropped_appends:
                    break
            assert session.dropped_appends
            for _ in range(1000):
                session.append_audio(b"\x00" * 160)
            assert session._socket.backlog() < 40_000
            released.set()
            await session.close()
