"""What one client can make a server hold and do, and how its connection ends."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from gateway.audio.formats import PCMU, AudioFormat
from gateway.backend import connection
from gateway.backend.connection import Connection
from gateway.backend.dialogue import Line
from gateway.backend.faults import Close
from gateway.backend.server import BackendServer
from tests.backend.client import FAST, UPGRADE, Client, until_alone
from tests.backend.conftest import Connect, Start
from tests.backend.speech_samples import prompt

pytestmark = pytest.mark.loop

CLEAR = {"type": "input_audio_buffer.clear"}
LIMIT_S = 0.1


def only(server: BackendServer) -> Connection:
    (there,) = server._connections
    return there


@contextmanager
def deaf(client: Client) -> Iterator[None]:
    """Let the client read nothing; in the end it is gone."""
    stream = client.socket._response.connection
    assert stream is not None
    transport = cast(asyncio.Transport, stream.transport)
    transport.pause_reading()
    yield
    transport.abort()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


# Audio that comes faster than it is heard.


@pytest.mark.parametrize(
    "spelling",
    [
        lambda audio: json.dumps({"type": "input_audio_buffer.append", "audio": audio}),
        lambda audio: json.dumps({"audio": audio, "type": "input_audio_buffer.append"}),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"OpenAI-Beta": "realtime=v1"}])
async def test_no_spelling_of_an_append_is_read_faster_than_it_is_heard(
    connect: Connect,
    start: Start,
    spelling: Callable[[str], str],
    headers: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_MAX_UNHEARD_WINDOWS", 20)
    server = await start()
    client = await connect(server, check=lambda _: None, headers=headers)
    await client.until("session.created")
    there, waiting = only(server), []
    receive = there._receive

    async def watched(data: bytes) -> None:
        waiting.append(there.session.ear.windows)
        await receive(data)

    monkeypatch.setattr(there, "_receive", watched)
    message = spelling("A" * (48 * 640 * 4 // 3))  # 20 windows
    for _ in range(12):
        await client.socket.send_str(message)
    await client.socket.send_json(CLEAR)
    await client.until("input_audio_buffer.cleared")
    assert len(waiting) == 13
    assert max(waiting) <= 20


# Answers that nobody reads.


async def test_a_large_event_does_not_make_a_client_slow(
    connect: Connect, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_MAX_UNSENT_BYTES", 1 << 20)
    monkeypatch.setattr(connection, "_MAX_BEHIND_BYTES", 1 << 16)
    client = await connect(await start())
    await client.until("session.created")
    text = "\u4e2d" * (256 << 10)
    await client.write(text)
    (added, done) = await client.until("conversation.item.done")
    assert added["item"]["content"][0]["text"] == text
    for _ in range(40):
        item_id = done["item"]["id"]
        await client.send("conversation.item.retrieve", item_id=item_id)
    await client.send("input_audio_buffer.clear")
    assert len(await client.until("input_audio_buffer.cleared")) == 41


async def test_who_does_not_read_is_not_listened_to_and_may_leave(
    connect: Connect, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_MAX_BEHIND_BYTES", 1 << 20)
    server = await start()
    client = await connect(server)
    await client.until("session.created")
    there, left = only(server), asyncio.Event()

    async def stuck(*_: object) -> None:
        await left.wait()
        raise ConnectionResetError

    monkeypatch.setattr(there._socket, "send_frame", stuck)
    with deaf(client):
        for _ in range(2):
            await client.write("\u4e2d" * (256 << 10))  # two events, of 1.5 MiB each
        await until(lambda: there._unsent_bytes > 1 << 20)
        await asyncio.sleep(0.05)
        assert there._unsent_bytes < 2 << 20
    left.set()
    await until_alone(server)


async def test_who_does_not_read_what_is_said_is_cut_off(
    connect: Connect, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_MAX_UNSENT_BYTES", 1 << 20)
    server = await start(pacing=FAST)
    client = await connect(server)
    await client.until("session.created")
    wanted = {"conversation": "none", "instructions": "say: " + "x" * 4000}
    with deaf(client):
        for _ in range(4):
            await client.send("response.create", response=wanted)
        await until_alone(server)


# Lines that nobody waits for.


class Speech:
    """Stands in for the voice: lines are begun and never made."""

    def __init__(self, server: BackendServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[str] = []
        self.dropped: list[str] = []
        monkeypatch.setattr(server._voice, "speak", self.speak)

    async def speak(self, line: Line, _: AudioFormat) -> list[bytes]:
        self.begun.append(" ".join(line))
        try:
            await asyncio.Event().wait()
        finally:
            self.dropped.append(" ".join(line))
        return []


async def test_a_line_is_not_made_when_its_response_has_ended(
    connect: Connect, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start()
    speech = Speech(server, monkeypatch)
    client = await connect(server)
    for number in range(30):
        await client.say(f"Number {number}.")
        await client.send("response.cancel")
        await client.until("response.done")
        assert len(speech.begun) - len(speech.dropped) <= 1
    await client.say("The last one.")
    await client.append(prompt("i-also-understand", PCMU))
    await client.configure(PCMU)
    await client.append(prompt("i-also-understand", PCMU))  # it interrupts
    await client.until("response.done")
    assert speech.dropped[-1] == "The last one."


async def test_who_leaves_or_is_expired_leaves_no_line_behind(
    connect: Connect, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start()
    speech = Speech(server, monkeypatch)

    async def dropped() -> None:
        async with asyncio.timeout(3):  # less than an end of a session may take
            await until(lambda: len(speech.begun) == len(speech.dropped))

    async def speaking() -> Client:
        client = await connect(server)
        await client.say("One.")
        await client.send("response.create", response={"conversation": "none"})
        await until(lambda: len(speech.begun) - len(speech.dropped) == 2)
        return client

    await (await speaking()).socket.close()
    await dropped()
    with deaf(await speaking()):
        only(server).expire()
        await dropped()


# The end of a session.


async def test_who_goes_on_talking_is_told_of_the_end_all_the_same(
    connect: Connect, start: Start
) -> None:
    server = await start()
    client = await connect(server)
    await client.configure(PCMU)

    async def talk() -> None:
        while True:
            await client.append(PCMU.silence(1600))
            await asyncio.sleep(0)

    talking = asyncio.create_task(talk())
    await asyncio.sleep(0.02)
    only(server).expire()
    (error,) = await client.until("error")
    assert error["error"]["code"] == "session_expired"
    assert await client.closing() == ([], 1001, error["error"]["message"])
    talking.cancel()
    await asyncio.gather(talking, return_exceptions=True)


async def test_the_connection_is_there_until_the_client_has_closed_too(
    server: BackendServer,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    asked = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
    writer.write(f"GET /v1/realtime HTTP/1.1\r\nHost: x\r\n{asked}\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    there = await _when_there(server)
    there.expire()
    received = b""
    while b"\x88" not in received[-64:]:
        received += await reader.read(65_536)
    assert b"session_expired" in received
    rest = asyncio.create_task(reader.read())
    done, _ = await asyncio.wait([rest], timeout=0.1)
    assert not done
    writer.write(b"\x81\x82" + bytes(4) + b"{}")  # something that was on its way
    writer.write(b"\x88\x82" + bytes(4) + (1001).to_bytes(2))
    async with asyncio.timeout(4):  # less than it would wait for nobody
        assert await rest == b""
    writer.close()


async def _when_there(server: BackendServer) -> Connection:
    await until(lambda: server._connections)
    return only(server)


async def test_a_session_that_has_ended_takes_nothing_and_is_cut_off(
    connect: Connect, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_CLOSING_S", LIMIT_S)
    server = await start()
    client = await connect(server)
    await client.configure(PCMU)
    there = only(server)
    monkeypatch.setattr(there, "_act", _forever)  # as if what waits could not be sent
    with deaf(client):
        there.expire()
        for _ in range(100):
            await client.socket.send_json(CLEAR)
            there.voice(0.9, asyncio.get_running_loop().time())
        await client.append(prompt("i-also-understand", PCMU))
        await client.socket.send_bytes(b"x")
        await until_alone(server)
    assert there.session.events() == []
    assert there.session.ear.windows == 0


async def _forever(_: object) -> Any:
    await asyncio.Event().wait()


async def test_a_server_that_stops_does_not_wait_for_who_does_not_answer(
    connect: Connect, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_GOING_S", LIMIT_S)
    server = await start()
    client = await connect(server)
    await client.until("session.created")
    with deaf(client):
        async with asyncio.timeout(3):  # less than a session's own end may take
            await server.close()


async def test_a_reason_is_cut_between_letters(connect: Connect, start: Start) -> None:
    server = await start()
    client = await connect(server)
    await client.until("session.created")
    only(server)._end(Close(4000, "x" + "\u00fc" * 100))
    assert await client.closing() == ([], 4000, "x" + "\u00fc" * 61)
    assert client.socket.close_code == 4000


async def test_a_connection_that_ends_while_a_ping_is_answered_is_no_defect(
    connect: Connect, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start()
    client = await connect(server)
    await client.until("session.created")
    there = only(server)

    async def gone(*_: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(there._socket, "pong", gone)
    with capture_logs() as lines:
        await client.socket.ping()
        await until_alone(server)
    assert not lines
