"""The server on loopback, with real audio."""

import asyncio
import json
import socket
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import WSMsgType
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from gateway.audio.formats import PCM24K, PCMA, PCMU, AudioFormat
from gateway.backend.config import BackendConfig, Pacing
from gateway.backend.connection import scan_append
from gateway.backend.dialogue import DialogueError
from gateway.backend.run import run
from gateway.backend.server import BackendServer
from gateway.backend.voice import tone
from gateway.realtime.audio import DeltaReader
from tests.backend.client import FAST, UPGRADE, Client, spoken, until_alone
from tests.backend.conftest import Connect, Start
from tests.backend.speech_samples import prompt
from tests.backend.virtual import AUDIO, CLOSING, OPENING, TRANSCRIPT, types

pytestmark = pytest.mark.loop

ITEM = ["conversation.item.added", "conversation.item.done"]
TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    *ITEM,
]
ANSWER = ["response.created", *OPENING, TRANSCRIPT, AUDIO, *CLOSING]
ANSWER += ["response.done", "rate_limits.updated"]


# Conversations.


@pytest.mark.parametrize("audio_format", [PCMU, PCMA, PCM24K])
async def test_a_greeting_speech_and_its_answer(client: Client, audio_format: AudioFormat) -> None:
    (created,) = await client.until("session.created")
    assert created["session"]["model"] == "any"
    await client.configure(audio_format)
    await client.send("response.create")
    events = await client.until("rate_limits.updated")
    assert types(events) == ANSWER
    audio, words = spoken(events)
    assert words.startswith("Hello! This is the built-in test agent")
    assert len(audio) > 8000 * audio_format.bytes_per_ms

    speech = prompt("i-do-not-understand-words", audio_format)
    before = audio_format.silence(audio_format.rate_hz)
    await client.append(before + speech + before, 20 * audio_format.bytes_per_ms)
    events = await client.until("rate_limits.updated")
    assert types(events) == [*TURN, *ANSWER]
    started, stopped = events[0]["audio_start_ms"], events[1]["audio_end_ms"]
    speech_ms = len(speech) // audio_format.bytes_per_ms
    assert started % 32 == (-300) % 32
    assert stopped % 32 == 0
    assert 1000 - 300 - 100 <= started <= 1000 + 150
    assert 1000 + speech_ms + 300 <= stopped <= 1000 + speech_ms + 700
    seconds = {3: "three", 4: "four", 5: "five"}
    assert any(f"about {seconds[n]} second" in spoken(events)[1] for n in seconds)


async def test_keys_reach_the_dialogue(client: Client) -> None:
    await client.until("session.created")
    await client.configure(PCMU)
    await client.send("response.create", response={"instructions": "say: One."})
    await client.until("rate_limits.updated")
    await client.send("response.create")
    await client.until("rate_limits.updated")
    content = [{"type": "input_text", "text": "DTMF 12#"}]
    item = {"type": "message", "role": "user", "content": content}
    await client.send("conversation.item.create", item=item)
    await client.send("response.create")
    events = await client.until("rate_limits.updated")
    assert types(events) == [*ITEM, *ANSWER]
    assert spoken(events)[1] == "You pressed one, two, hash. I read them one by one."


async def test_speech_interrupts_the_story(connect: Connect, start: Start) -> None:
    server = await start(pacing=Pacing(50, 0, 1))
    client = await connect(server)
    await client.configure(PCMU)
    await client.send("response.create", response={"instructions": "say: " + "Blah blah. " * 20})
    await client.until(AUDIO)
    await client.append(prompt("i-also-understand", PCMU))
    events = await client.until("response.done")
    kinds = [kind for kind in types(events) if kind not in (AUDIO, TRANSCRIPT)]
    assert kinds == ["input_audio_buffer.speech_started", *CLOSING, "response.done"]
    response = events[-1]["response"]
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    heard_ms = len(spoken(client.log)[0]) // 8
    item_id = response["output"][0]["id"]
    where = {"item_id": item_id, "content_index": 0}
    await client.send("conversation.item.truncate", **where, audio_end_ms=heard_ms)
    (*_, truncated) = await client.until("conversation.item.truncated")
    assert truncated["audio_end_ms"] == heard_ms


async def test_many_sessions_are_heard_at_once_each_for_itself(
    connect: Connect, server: BackendServer
) -> None:
    clients = [await connect(server) for _ in range(12)]
    for each in clients:
        await each.configure(PCMU)
    speech = prompt("i-also-understand", PCMU)

    async def talk(number: int) -> list[str]:
        audio = speech if number % 3 else PCMU.silence(len(speech))
        await clients[number].append(PCMU.silence(800 * number) + audio + PCMU.silence(8000))
        if number % 3 == 0:
            await clients[number].send("input_audio_buffer.clear")
            return types(await clients[number].until("input_audio_buffer.cleared"))
        return types(await clients[number].until("rate_limits.updated"))

    heard = await asyncio.gather(*(talk(number) for number in range(12)))
    for number, kinds in enumerate(heard):
        assert kinds == (["input_audio_buffer.cleared"] if number % 3 == 0 else [*TURN, *ANSWER])


async def test_a_flood_of_audio_is_read_no_faster_than_it_is_heard(client: Client) -> None:
    await client.configure(PCMU)
    speech = prompt("i-also-understand", PCMU)
    audio = (speech + PCMU.silence(8000)) * 3 + PCMU.silence(8000 * 60)
    await client.append(audio, len(audio))
    await client.append(PCMU.silence(8000 * 60), 8000 * 5)
    await client.send("input_audio_buffer.clear")
    events = await client.until("input_audio_buffer.cleared")
    assert types(events).count("input_audio_buffer.speech_stopped") == 3


async def test_audio_is_written_so_that_the_gateway_reads_it_without_json(client: Client) -> None:
    await client.send("response.create")
    while AUDIO not in (message := await client.socket.receive_str())[:60]:
        pass
    delta = DeltaReader().read(message.encode())
    event = json.loads(message)
    assert delta is not None
    assert delta.audio == b64decode(event["delta"])
    assert (delta.part.response_id, delta.part.item_id) == (event["response_id"], event["item_id"])


async def test_the_same_seed_gives_the_same_ids(connect: Connect, start: Start) -> None:
    seen = []
    for seed in (1, 1, 2):
        server = await start(seed=seed, pacing=FAST)
        client = await connect(server)
        (created,) = await client.until("session.created")
        seen.append((created["event_id"], created["session"]["id"]))
    assert seen[0] == seen[1] != seen[2]


async def test_a_broken_speech_program_costs_no_session(
    connect: Connect, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "flite"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)

    async def gone(*_: object, **__: object) -> None:
        raise RuntimeError("the transport is closed")

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    client = await connect(await start(pacing=FAST))
    await client.configure(PCMU)
    for words in ("This is no prompt.", "Neither is this."):
        await client.send("response.create", response={"instructions": f"say: {words}"})
        events = await client.until("rate_limits.updated")
        assert types(events) == ANSWER
        audio, transcript = spoken(events)
        assert transcript == words
        assert audio.startswith(tone(words, PCMU))
        monkeypatch.setattr(asyncio, "create_subprocess_exec", gone)


# Bad clients.


@pytest.mark.parametrize("message", ["", "{", "[]", '{"a":1}', '{"type":5}', "[" * 100_000])
async def test_text_that_is_no_event(client: Client, message: str) -> None:
    await client.until("session.created")
    await client.socket.send_str(message)
    (error,) = await client.until("error")
    assert error["error"]["code"] == "invalid_event"
    await client.configure(PCMU)


async def test_binary_messages_and_bytes_that_are_no_text(client: Client) -> None:
    await client.until("session.created")
    await client.socket.send_bytes(b"{}")
    await client.socket.send_frame(b"\xff\xfe{}", WSMsgType.TEXT)
    await client.socket.send_frame(
        b'{"type":"input_audio_buffer.append","audio":"@"}', WSMsgType.TEXT
    )
    codes = [(await client.until("error"))[-1]["error"]["code"] for _ in range(3)]
    assert codes == ["invalid_event", "invalid_event", "invalid_value"]


async def test_half_a_surrogate_pair_comes_back(client: Client) -> None:
    await client.until("session.created")
    await client.socket.send_str('{"type":"dance","event_id":"\\ud800"}')
    (error,) = await client.until("error")
    assert error["error"]["event_id"] == "\ud800"


async def test_a_message_beyond_16_mib_ends_the_connection(client: Client) -> None:
    await client.until("session.created")
    with pytest.raises(ConnectionError):  # it is closed before it has read all
        await client.append(bytes(13 << 20), 13 << 20)
    await client.socket.close()


async def test_an_append_in_another_spelling_is_heard(client: Client) -> None:
    await client.configure(PCMU)
    await client.send(
        "input_audio_buffer.append",
        event_id="e",
        audio=b64encode(prompt("i-also-understand", PCMU) + PCMU.silence(8000)).decode(),
    )
    assert types(await client.until("response.created")) == [*TURN, "response.created"]


@pytest.mark.parametrize(
    ("audio", "expected"),
    [(b"", b""), (b"AAEC", b"\0\1\2"), (b"AAE=", b"\0\1"), (b"AAE", None), (b"A\\/8=", None)],
)
def test_the_usual_append_is_read_without_json(audio: bytes, expected: bytes | None) -> None:
    for start in (
        b'{"type":"input_audio_buffer.append","audio":"',
        b'{"type": "input_audio_buffer.append", "audio": "',
    ):
        message = start + audio + b'"}'
        assert scan_append(message) == expected
        assert scan_append(message + b" ") is None
        assert scan_append(b" " + message) is None


async def test_the_official_client_writes_appends_as_usual() -> None:
    class Wire:
        def __init__(self) -> None:
            self.sent: list[str] = []

        async def send(self, message: str) -> None:
            self.sent.append(message)

    wire = Wire()
    official: Any = AsyncRealtimeConnection(cast(Any, wire))
    await official.input_audio_buffer.append(audio="AAEC")
    assert scan_append(wire.sent[0].encode()) == b"\0\1\2"


# The door.


async def test_the_subprotocol_that_browsers_need(connect: Connect, server: BackendServer) -> None:
    protocols = ("realtime", "openai-insecure-api-key.x")
    client = await connect(server, protocols=protocols)
    assert client.socket.protocol == "realtime"


@pytest.mark.parametrize(
    ("query", "status"), [("?call_id=rtc_1", 404), ("?intent=conversation", 400)]
)
async def test_sessions_that_this_server_has_not(
    http: aiohttp.ClientSession, server: BackendServer, query: str, status: int
) -> None:
    url = f"http://127.0.0.1:{server.port}/v1/realtime{query}"
    async with http.get(url, headers=UPGRADE) as response:
        assert response.status == status
        assert set((await response.json())["error"]) == {"message", "type", "param", "code"}


async def test_a_session_that_only_listens(connect: Connect, server: BackendServer) -> None:
    client = await connect(server, "?intent=transcription")
    (created,) = await client.until("session.created")
    assert created["session"]["type"] == "transcription"


async def test_no_key_is_asked_for_and_any_is_ignored(
    connect: Connect, server: BackendServer
) -> None:
    for headers in ({}, {"Authorization": "Bearer x"}, {"api-key": "x"}):
        client = await connect(server, headers=headers)
        await client.until("session.created")


async def test_a_plain_request_is_told_to_upgrade(
    http: aiohttp.ClientSession, server: BackendServer
) -> None:
    async with http.get(f"http://127.0.0.1:{server.port}/v1/realtime") as response:
        assert response.status == 426


async def test_sessions_are_limited_and_places_become_free(connect: Connect, start: Start) -> None:
    server = await start(max_sessions=1)
    client = await connect(server)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await connect(server)
    assert refused.value.status == 503
    await client.socket.close()
    await until_alone(server)
    again = await connect(server)
    await again.until("session.created")


# Beginning and end.


async def test_a_session_at_its_limit_is_told_and_closed(connect: Connect, start: Start) -> None:
    server = await start(session_limit_s=0.2)
    client = await connect(server)
    (*_, error) = await client.until("error")
    assert error["error"]["code"] == "session_expired"
    message = await client.socket.receive()
    assert (message.type, message.data) == (WSMsgType.CLOSE, aiohttp.WSCloseCode.GOING_AWAY)
    assert message.extra == error["error"]["message"]


async def test_closing_the_server_closes_its_sessions_and_leaves_nothing_behind(
    connect: Connect,
    start: Start,
) -> None:
    before = asyncio.all_tasks()
    server = await start()
    client = await connect(server)
    await client.configure(PCMU)
    await client.append(prompt("i-also-understand", PCMU))
    await client.send("response.create", response={"instructions": "say: Goodbye."})
    closing = asyncio.create_task(server.close())
    async with asyncio.timeout(10):
        while (message := await client.socket.receive()).type is WSMsgType.TEXT:
            pass
        await closing
    assert message.data == aiohttp.WSCloseCode.GOING_AWAY
    assert asyncio.all_tasks() == before
    with pytest.raises(aiohttp.ClientConnectorError):
        await connect(server)


async def test_sessions_that_end_leave_nothing_behind(
    connect: Connect, server: BackendServer
) -> None:
    before = len(asyncio.all_tasks())
    for _ in range(20):
        client = await connect(server)
        await client.configure(PCMU)
        await client.append(prompt("i-also-understand", PCMU))
        await client.send("response.create")
        await client.socket.close()
    await until_alone(server)
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert not server._to_hear


async def test_a_dialogue_of_ones_own(connect: Connect, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('start = "a"\notherwise = "No."\n[states.a]\nsay = "Press a key."\n')
    server = await start(dialogue=path, pacing=FAST)
    client = await connect(server)
    await client.send("response.create")
    assert spoken(await client.until("response.done"))[1] == "Press a key."
    path.write_text("start = 1")
    with pytest.raises(DialogueError):
        await start(dialogue=path)


async def test_as_a_child_it_tells_its_port_and_ends_with_its_input() -> None:
    program = (
        "from gateway.backend.config import BackendConfig; from gateway.backend.run import run; "
        "run(BackendConfig(port=0), child=True)"
    )
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
    )
    assert child.stdin is not None and child.stdout is not None
    async with asyncio.timeout(30):
        port = None
        while port is None:  # an unconfigured log writes to standard output, too
            line = await child.stdout.readline()
            port = json.loads(line)["port"] if line.startswith(b"{") else None
        async with aiohttp.ClientSession() as http:
            url = f"ws://127.0.0.1:{port}/v1/realtime"
            async with http.ws_connect(url) as ws:
                assert json.loads(await ws.receive_str())["type"] == "session.created"
                child.terminate()  # what a terminal or a supervisor sends is the parent's affair
                child.stdin.close()
                assert (await ws.receive()).data == aiohttp.WSCloseCode.GOING_AWAY
        assert await child.wait() == 0


def test_what_keeps_it_from_serving_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    assert run(BackendConfig(port=0, dialogue=path)) == 2
    path.write_bytes(b"\xff")
    assert run(BackendConfig(port=0, dialogue=path)) == 2
    path.write_text("x = 1")
    assert run(BackendConfig(port=0, dialogue=path)) == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(BackendConfig(port=taken.getsockname()[1])) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(str(path) in line for line in lines[:3])
