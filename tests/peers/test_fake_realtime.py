"""The fake server against a plain WebSocket client: what tests rely on must itself hold."""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from tests.peers.fake_realtime import PCM24K, PCMU, FakeConnection, FakeRealtime

pytestmark = pytest.mark.loop

PCMU_SESSION = {
    "type": "realtime",
    "audio": {"input": {"format": PCMU}, "output": {"format": PCMU}},
}


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


async def read(socket: ClientWebSocketResponse, kind: str | None = None) -> dict[str, Any]:
    """The next event, which is of this type."""
    event: dict[str, Any] = await socket.receive_json(timeout=2)
    assert kind is None or event["type"] == kind
    return event


async def configured(http: ClientSession, server: FakeRealtime) -> ClientWebSocketResponse:
    socket = await http.ws_connect(server.url + "?model=m1")
    await read(socket, "session.created")
    await socket.send_json({"type": "session.update", "session": PCMU_SESSION})
    await read(socket, "session.updated")
    return socket


async def read_until(socket: ClientWebSocketResponse, kind: str) -> list[dict[str, Any]]:
    events = [await read(socket)]
    while events[-1]["type"] != kind:
        events.append(await read(socket))
    return events


async def test_opens_a_session_by_itself(http: ClientSession) -> None:
    async with FakeRealtime() as server:
        socket = await http.ws_connect(server.url + "?model=m1", headers={"X-Test": "yes"})
        created = await read(socket, "session.created")
        assert created["session"]["type"] == "realtime"
        assert created["session"]["model"] == "m1"
        assert created["session"]["audio"]["output"]["format"] == PCM24K
        await socket.send_json({"type": "session.update", "session": PCMU_SESSION})
        updated = await read(socket, "session.updated")
        assert updated["session"]["audio"]["output"] == {"format": PCMU, "voice": "marin"}
        assert updated["session"]["audio"]["input"]["turn_detection"] == {"type": "server_vad"}
        assert updated["event_id"] != created["event_id"]
        session = await server.connection()
        assert session.headers["X-Test"] == "yes"
        assert session.path_qs == "/v1/realtime?model=m1"


async def test_records_events_and_audio(http: ClientSession) -> None:
    async with FakeRealtime() as server:
        socket = await configured(http, server)
        session = await server.connection()
        for piece in (b"\x01\x02", b"\x03"):
            audio = b64encode(piece).decode()
            await socket.send_json({"type": "input_audio_buffer.append", "audio": audio})
        await socket.send_json({"type": "response.create", "event_id": "mine"})
        assert (await session.expect("response.create"))["event_id"] == "mine"
        assert session.audio == b"\x01\x02\x03"
        assert len(session.events("input_audio_buffer.append")) == 2
        kinds = [one.event["type"] for one in session.received]
        assert kinds == ["session.update", *["input_audio_buffer.append"] * 2, "response.create"]
        times = [one.at_s for one in session.received]
        assert times == sorted(times)


async def test_expect_gives_each_event_once_and_says_what_came(http: ClientSession) -> None:
    async with FakeRealtime() as server:
        socket = await configured(http, server)
        session = await server.connection()
        waiting = asyncio.create_task(session.expect("response.cancel"))
        for number in ("r1", "r2"):
            await socket.send_json({"type": "response.cancel", "response_id": number})
        assert (await waiting)["response_id"] == "r1"
        assert (await session.expect("response.cancel"))["response_id"] == "r2"
        with pytest.raises(
            AssertionError, match=r"no response\.cancel \(number 3\).*response\.cancel x2"
        ):
            await session.expect("response.cancel", timeout_s=0.01)
        await socket.close()
        with pytest.raises(AssertionError, match="no response.create"):
            await session.expect("response.create", timeout_s=60)  # not waited for: it is over


async def test_speaks_in_the_order_of_the_protocol(http: ClientSession) -> None:
    async with FakeRealtime() as server:
        socket = await configured(http, server)
        session = await server.connection()
        audio = bytes(range(256)) * 10
        await session.speak("item_1", "resp_1", audio, chunk_ms=200)
        events = await read_until(socket, "response.done")
        deltas = [one for one in events if one["type"] == "response.output_audio.delta"]
        assert [one["type"] for one in events] == [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio_transcript.delta",
            *["response.output_audio.delta"] * 2,
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
        assert b"".join(b64decode(one["delta"]) for one in deltas) == audio
        assert len(b64decode(deltas[0]["delta"])) == 1600
        assert deltas[0]["response_id"] == "resp_1"
        assert deltas[0]["item_id"] == "item_1"
        assert events[0]["response"]["status"] == "in_progress"
        assert events[-1]["response"]["status"] == "completed"
        assert [item["id"] for item in events[-1]["response"]["output"]] == ["item_1"]
        assert len({one["event_id"] for one in events}) == len(events)


async def test_speech_can_go_on_and_be_cancelled(http: ClientSession) -> None:
    async with FakeRealtime() as server:
        socket = await configured(http, server)
        session = await server.connection()
        await session.speak("item_1", "resp_1", bytes(160), finish=False)
        await session.speak("item_1", "resp_1", bytes(160), finish=False)
        await session.speech_started(480, "item_u")
        events = await read_until(socket, "input_audio_buffer.speech_started")
        assert [one["type"] for one in events].count("response.created") == 1
        assert [one["type"] for one in events].count("response.output_audio.delta") == 2
        assert events[-1]["audio_start_ms"] == 480
        await session.finish("item_1", "resp_1", "cancelled", done=False)
        await session.response_done("resp_1", "cancelled", "turn_detected")
        events = await read_until(socket, "response.done")
        assert events[-2]["type"] == "response.output_item.done"
        assert events[-2]["item"]["status"] == "incomplete"
        details = {"type": "cancelled", "reason": "turn_detected"}
        assert events[-1]["response"]["status_details"] == details


async def test_two_items_of_one_response_have_their_own_places(http: ClientSession) -> None:
    async with FakeRealtime() as server:
        socket = await configured(http, server)
        session = await server.connection()
        await session.speak("item_1", "resp_1", bytes(160), finish=False)
        await session.finish("item_1", "resp_1", done=False)
        await session.speak("item_2", "resp_1", bytes(160))
        events = await read_until(socket, "response.done")
        deltas = [one for one in events if one["type"] == "response.output_audio.delta"]
        assert [(one["item_id"], one["output_index"]) for one in deltas] == [
            ("item_1", 0),
            ("item_2", 1),
        ]
        assert [item["id"] for item in events[-1]["response"]["output"]] == ["item_1", "item_2"]


async def test_the_session_can_end_up_other_than_asked(http: ClientSession) -> None:
    wanted = {"audio": {"output": {"format": PCM24K}}}
    async with FakeRealtime(override=wanted) as server:
        socket = await http.ws_connect(server.url)
        await read(socket, "session.created")
        await socket.send_json({"type": "session.update", "session": PCMU_SESSION})
        session = (await read(socket, "session.updated"))["session"]
        assert session["audio"]["output"]["format"] == PCM24K
        assert session["audio"]["input"]["format"] == PCMU
        await (await server.connection()).speak("i", "r", bytes(9600), chunk_ms=100)
        events = await read_until(socket, "response.done")
        assert [one["type"] for one in events].count("response.output_audio.delta") == 2


async def test_refuses_the_handshake(http: ClientSession) -> None:
    async with FakeRealtime(refuse=429) as server:
        with pytest.raises(WSServerHandshakeError) as caught:
            await http.ws_connect(server.url)
        assert caught.value.status == 429
        assert server.refused == 1
        server.refuse = None
        await read(await http.ws_connect(server.url), "session.created")
        assert len(server.connections) == 1


async def test_an_update_can_be_refused_or_ignored(http: ClientSession) -> None:
    async with FakeRealtime(created=False, update="ignore") as server:
        socket = await http.ws_connect(server.url)
        session = await server.connection()
        update = {"type": "session.update", "event_id": "e1", "session": {"type": "realtime"}}
        await socket.send_json(update)
        await session.expect("session.update")
        server.update = "error"
        await socket.send_json(update)
        error = await read(socket, "error")  # the first event of all: the rest was left unsaid
        assert error["error"]["event_id"] == "e1"
        assert error["error"]["code"] == "invalid_value"


async def end_by_drop(session: FakeConnection) -> None:
    session.drop()


async def end_by_close(session: FakeConnection) -> None:
    await session.close(1011)


@pytest.mark.parametrize(("end", "code"), [(end_by_drop, 1006), (end_by_close, 1011)])
async def test_ends_the_connection(http: ClientSession, end: Any, code: int) -> None:
    async with FakeRealtime() as server:
        socket = await configured(http, server)
        session = await server.connection()
        await end(session)
        message = await socket.receive(timeout=2)
        assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
        assert socket.close_code == code
        await asyncio.wait_for(session.closed.wait(), 2)


async def test_drops_the_connection_on_an_update(http: ClientSession) -> None:
    async with FakeRealtime(update="drop") as server:
        socket = await http.ws_connect(server.url)
        await read(socket, "session.created")
        await socket.send_json({"type": "session.update", "session": {"type": "realtime"}})
        assert (await socket.receive(timeout=2)).type == WSMsgType.CLOSED
        session = await server.connection()
        await asyncio.wait_for(session.closed.wait(), 2)
        assert len(session.events("session.update")) == 1


async def test_says_things_that_are_no_events(http: ClientSession) -> None:
    async with FakeRealtime() as server:
        socket = await configured(http, server)
        await (await server.connection()).send_text("{broken")
        text = await socket.receive_str(timeout=2)
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)


async def test_sees_the_client_close(http: ClientSession) -> None:
    async with FakeRealtime() as server:
        socket = await configured(http, server)
        await socket.close(code=1000)
        session = await server.connection()
        assert not await session.until(lambda: False)  # returns at once: nothing more can come
        assert session.closed.is_set()
        assert session.close_code == 1000
