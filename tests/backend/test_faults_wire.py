"""Faults as a client meets them, and the control endpoint."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from gateway.audio.formats import PCMU
from gateway.backend import control
from gateway.backend.control import is_loopback
from gateway.backend.server import FAULTS_HEADER, BackendServer
from tests.backend.client import FAST, UPGRADE, Client, until_alone
from tests.backend.conftest import Connect, Start
from tests.backend.virtual import AUDIO

pytestmark = pytest.mark.loop

GONE = 1006


@pytest.fixture
async def faulty(start: Start) -> BackendServer:
    return await start(pacing=FAST, test=True)


def header(*faults: dict[str, Any]) -> dict[str, Any]:
    return {"headers": {FAULTS_HEADER: json.dumps(faults)}}


async def started(client: Client, words: str = "One two three four.") -> Client:
    """The client, once it has asked for a response."""
    await client.configure(PCMU)
    await client.say(words)
    return client


# Handshakes.


async def test_a_handshake_that_is_refused(connect: Connect, faulty: BackendServer) -> None:
    busy = {"at": "connect", "do": "http", "status": 429, "retry_after": 2}
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await connect(faulty, **header(busy))
    assert refused.value.status == 429
    assert refused.value.headers is not None
    assert refused.value.headers["Retry-After"] == "2"


async def test_a_handshake_that_is_dropped(connect: Connect, faulty: BackendServer) -> None:
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await connect(faulty, **header({"at": "connect", "do": "drop"}))


async def test_a_handshake_that_is_late(connect: Connect, faulty: BackendServer) -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    client = await connect(faulty, **header({"at": "connect", "do": "delay", "ms": 60}))
    assert loop.time() - before >= 0.06
    await client.until("session.created")


async def test_a_handshake_that_is_never_answered(start: Start, connect: Connect) -> None:
    server = await start(test=True)
    waiting = asyncio.create_task(connect(server, **header({"at": "connect", "do": "stall"})))
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    await server.close()  # which does not wait for it
    with pytest.raises(aiohttp.ClientError):
        await waiting


async def test_a_connection_that_is_closed_before_it_begins(
    connect: Connect, faulty: BackendServer
) -> None:
    client = await connect(
        faulty,
        **header(
            {"at": "connect", "do": "error", "code": "invalid_api_key"},
            {"at": "connect", "do": "close", "code": 3000, "reason": "no"},
        ),
    )
    (error,) = await client.until("error")
    assert error["error"]["code"] == "invalid_api_key"
    assert await client.closing() == ([], 3000, "no")


# Events of the server.


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1013])
async def test_a_close_code_in_the_middle_of_speech(
    connect: Connect, faulty: BackendServer, code: int
) -> None:
    fault = {"at": AUDIO, "n": 2, "do": "close", "code": code, "reason": "enough"}
    client = await started(await connect(faulty, **header(fault)))
    kinds, *closed = await client.closing()
    assert kinds.count(AUDIO) == 1
    assert closed == [code, "enough"]


@pytest.mark.parametrize("fault", [{"at": AUDIO, "n": 2, "do": "drop"}, {"at": 9000, "do": "drop"}])
async def test_a_connection_that_ends_without_a_word(
    connect: Connect, faulty: BackendServer, fault: dict[str, Any]
) -> None:
    client = await started(await connect(faulty, **header(fault)))
    kinds, *closed = await client.closing()
    assert AUDIO in kinds and "response.output_audio.done" not in kinds
    assert closed == [None, None]
    assert client.socket.close_code == GONE


async def test_a_frame_that_ends_in_its_middle(connect: Connect, faulty: BackendServer) -> None:
    client = await started(await connect(faulty, **header({"at": AUDIO, "do": "truncate_frame"})))
    kinds, *closed = await client.closing()
    assert AUDIO not in kinds and "response.content_part.added" in kinds
    assert closed == [None, None]


async def test_an_event_that_is_no_json(connect: Connect, faulty: BackendServer) -> None:
    client = await started(await connect(faulty, **header({"at": AUDIO, "do": "malformed"})))
    await client.until("response.output_audio_transcript.delta")
    broken = await client.socket.receive_str()
    assert broken.startswith('{"type":"response.output_audio.delta"')
    with pytest.raises(ValueError):
        json.loads(broken)
    await client.until("response.done")


async def test_events_that_come_twice_or_in_the_wrong_order(
    connect: Connect, faulty: BackendServer
) -> None:
    faults = [
        {"at": "response.created", "do": "dup"},
        {"at": "response.output_audio.done", "do": "reorder"},
    ]
    client = await started(await connect(faulty, **header(*faults)))
    events = await client.until("response.done")
    assert [event["type"] for event in events].count("response.created") == 2
    kinds = [event["type"] for event in events]
    done = kinds.index("response.output_audio.done")
    assert kinds[done - 1] == "response.output_audio_transcript.done"


async def test_a_stall_in_speech_and_a_late_event(connect: Connect, faulty: BackendServer) -> None:
    loop = asyncio.get_running_loop()
    for doing in ("stall", "delay"):
        fault = {"at": AUDIO, "n": 2, "do": doing, "ms": 80}
        client = await connect(faulty, **header(fault))
        await client.configure(PCMU)
        before = loop.time()  # whenever the first one comes, the second one is late
        await client.say("One two three four.")
        await client.until(AUDIO)
        await client.until(AUDIO)
        assert loop.time() - before >= 0.07
        await client.until("response.done")


async def test_a_stall_in_the_middle_of_a_message(connect: Connect, faulty: BackendServer) -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    client = await connect(faulty, **header({"at": 200, "do": "stall", "ms": 80}))
    await client.until("session.created")
    assert loop.time() - before >= 0.07
    await client.configure(PCMU)


async def test_a_stall_for_ever_answers_nothing_and_ends_with_its_client(
    connect: Connect, faulty: BackendServer
) -> None:
    client = await started(await connect(faulty, **header({"at": AUDIO, "do": "stall"})))
    await client.until("response.content_part.added")
    await client.send("input_audio_buffer.clear")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            while (await client.socket.receive()).type is WSMsgType.TEXT:
                pass
    assert faulty._connections
    connection = client.socket._response.connection
    assert connection is not None and connection.transport is not None
    connection.transport.abort()
    await until_alone(faulty)


async def test_an_error_beside_a_servers_event(connect: Connect, faulty: BackendServer) -> None:
    fault = {"at": "response.created", "do": "error", "code": "rate_limit_exceeded"}
    client = await started(await connect(faulty, **header(fault)))
    error, created = await client.until("response.created")
    assert error["error"]["code"] == "rate_limit_exceeded"
    assert created["event_id"] != error["event_id"]


# Events of the client.


async def test_an_error_instead_of_what_was_asked_for(
    connect: Connect, faulty: BackendServer
) -> None:
    fault = {"at": "response.create", "do": "error", "code": "server_error", "message": "Oh."}
    client = await connect(faulty, **header(fault))
    await client.until("session.created")
    await client.send("response.create", event_id="mine")
    (error,) = await client.until("error")
    assert error["error"] == {
        "type": "server_error",
        "code": "server_error",
        "message": "Oh.",
        "param": None,
        "event_id": "mine",
    }
    await client.say("Yes.")
    await client.until("response.done")


async def test_a_close_at_an_event_of_the_client_is_the_end(
    connect: Connect, faulty: BackendServer
) -> None:
    fault = {"at": "response.create", "do": "close", "code": 1011}
    client = await connect(faulty, **header(fault))
    await client.until("session.created")
    (there,) = faulty._connections
    await client.send("response.create")
    assert await client.closing() == ([], 1011, "")
    assert there.session.events() == []


@pytest.mark.parametrize("n", [1, 3])
async def test_a_drop_at_an_append(connect: Connect, faulty: BackendServer, n: int) -> None:
    client = await connect(faulty, **header({"at": "append", "n": n, "do": "drop"}))
    await client.until("session.created")
    for _ in range(n):
        assert not client.socket.closed
        await client.append(bytes(160))
    assert await client.closing() == ([], None, None)


async def test_a_stall_and_a_delay_at_an_event_of_the_client(
    connect: Connect, faulty: BackendServer
) -> None:
    loop = asyncio.get_running_loop()
    for doing in ("stall", "delay"):
        fault = {"at": "input_audio_buffer.clear", "do": doing, "ms": 60}
        client = await connect(faulty, **header(fault))
        await client.until("session.created")
        before = loop.time()
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        assert loop.time() - before >= 0.05


async def test_what_is_no_event_passes_by_all_faults(
    connect: Connect, faulty: BackendServer
) -> None:
    client = await connect(faulty, **header({"at": "append", "do": "drop"}))
    await client.socket.send_str("{")
    (*_, error) = await client.until("error")
    assert error["error"]["code"] == "invalid_event"


# Plans: by file, by header, by the control endpoint.


async def test_a_plan_from_a_file_counts_connections(
    connect: Connect, http: aiohttp.ClientSession, start: Start, tmp_path: Path
) -> None:
    toml = tmp_path / "faults.toml"
    toml.write_text('[[faults]]\nat = "connect"\nn = 2\ndo = "http"\nstatus = 503\n')
    server = await start(faults=toml, pacing=FAST)
    async with http.get(f"http://127.0.0.1:{server.port}/v1/realtime") as probe:
        assert probe.status == 426  # that was none
    await connect(server)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await connect(server)
    client = await connect(server)
    await client.until("session.created")


async def test_the_header_is_read_in_test_mode_only(connect: Connect, start: Start) -> None:
    refusing = header({"at": "connect", "do": "http", "status": 500})
    client = await connect(await start(), **refusing)
    await client.until("session.created")


async def test_a_header_that_is_no_plan(http: aiohttp.ClientSession, faulty: BackendServer) -> None:
    url = f"http://127.0.0.1:{faulty.port}/v1/realtime"
    async with http.get(url, headers={FAULTS_HEADER: '[{"at": "x"}]', **UPGRADE}) as response:
        assert response.status == 400
        error = (await response.json())["error"]
    assert "faults[0].at: 'x'" in error["message"] and error["param"] == FAULTS_HEADER


@pytest.fixture
def controls(http: aiohttp.ClientSession) -> Any:
    async def request(
        server: BackendServer, method: str, path: str, body: object = None
    ) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{server.port}/control/{path}"
        data = body if isinstance(body, str) else None if body is None else json.dumps(body)
        async with http.request(method, url, data=data) as response:
            is_json = response.content_type == "application/json"
            return response.status, await response.json() if is_json else None

    return request


async def test_sessions_are_listed_and_expired(
    connect: Connect, faulty: BackendServer, controls: Any
) -> None:
    first, second = await connect(faulty), await connect(faulty)
    ids = [(await each.until("session.created"))[0]["session"]["id"] for each in (first, second)]
    status, listed = await controls(faulty, "GET", "sessions")
    assert status == 200
    assert {session["id"] for session in listed["sessions"]} == set(ids)
    assert {session["dialect"] for session in listed["sessions"]} == {"ga"}

    status, expired = await controls(faulty, "POST", "expire", {"session_id": ids[1]})
    assert (status, expired) == (200, {"expired": [ids[1]]})
    (error,) = await second.until("error")
    assert error["error"]["code"] == "session_expired"
    assert await second.closing() == ([], 1001, error["error"]["message"])
    await first.configure(PCMU)

    assert await controls(faulty, "POST", "expire") == (200, {"expired": [ids[0]]})
    assert (await first.closing())[1] == 1001


async def test_faults_are_put_in_force_and_taken_back(
    connect: Connect, faulty: BackendServer, controls: Any
) -> None:
    there = await connect(faulty)
    await there.configure(PCMU)
    plan = [
        {"at": "input_audio_buffer.cleared", "do": "close", "code": 1011},
        {"at": "connect", "n": 1, "do": "http", "status": 503},
    ]
    assert await controls(faulty, "POST", "faults", plan) == (200, {"faults": 2})
    await there.send("input_audio_buffer.clear")
    assert await there.closing() == ([], 1011, "")
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await connect(faulty)

    assert await controls(faulty, "DELETE", "faults") == (204, None)
    again = await connect(faulty)
    await again.send("input_audio_buffer.clear")
    await again.until("input_audio_buffer.cleared")


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("faults", "{", 400, "not JSON"),
        ("faults", [{"at": "connect", "do": "fly"}], 400, "faults[0].do: 'fly'"),
        ("expire", "{", 400, "not JSON"),
        ("expire", {"id": 1}, 400, "session_id"),
        ("expire", {"session_id": "sess_none"}, 404, "no such session"),
    ],
)
async def test_bad_requests_are_told(
    faulty: BackendServer, controls: Any, path: str, body: object, status: int, said: str
) -> None:
    answered, answer = await controls(faulty, "POST", path, body)
    assert answered == status
    assert said in answer["error"]["message"]


CONTROLS = [("GET", "sessions"), ("POST", "expire"), ("POST", "faults"), ("DELETE", "faults")]


async def test_nothing_is_controlled_without_test_mode(start: Start, controls: Any) -> None:
    server = await start()
    for method, path in CONTROLS:
        assert (await controls(server, method, path))[0] == 404


async def test_nothing_is_controlled_from_elsewhere(
    faulty: BackendServer, controls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "is_loopback", lambda _: False)
    for method, path in CONTROLS:
        assert (await controls(faulty, method, path))[0] == 403


async def test_nothing_is_controlled_by_a_web_page(
    connect: Connect, http: aiohttp.ClientSession, faulty: BackendServer
) -> None:
    client = await connect(faulty)
    for origin in ("https://example.com", "null"):
        for method, path in CONTROLS:
            url = f"http://127.0.0.1:{faulty.port}/control/{path}"
            async with http.request(method, url, headers={"Origin": origin}) as response:
                assert response.status == 403
    await client.configure(PCMU)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("", False),
        (None, False),
    ],
)
def test_which_addresses_are_of_this_machine(address: str | None, expected: bool) -> None:
    assert is_loopback(address) is expected
