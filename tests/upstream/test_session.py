"""A session: which audio it settles on, how long it lives, and servers of other dialects."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.audio.formats import PCM24K, PCMA, PCMU, AudioFormat
from gateway.realtime.dialects import DialectOptions
from gateway.realtime.events import parse_event, truncate
from gateway.upstream.backend import Backend
from gateway.upstream.errors import BackendError
from gateway.upstream.session import RealtimeSession
from gateway.upstream.target import BackendConfig
from tests.peers.fake_realtime import FakeConnection, FakeRealtime

pytestmark = pytest.mark.loop

PCM8K, PCM16K = AudioFormat("pcm16", 8000), AudioFormat("pcm16", 16_000)
PCM48K = AudioFormat("pcm16", 48_000)
SESSION: dict[str, Any] = {"type": "realtime"}


@pytest.fixture
async def server() -> AsyncIterator[FakeRealtime]:
    async with FakeRealtime() as server:
        yield server


@asynccontextmanager
async def opened(
    server: FakeRealtime,
    session: dict[str, Any] | None = None,
    leg_format: AudioFormat = PCMU,
    **knobs: Any,
) -> AsyncIterator[RealtimeSession]:
    options: dict[str, Any] = {"url": server.url, "connect_timeout_s": 2.0, **knobs}
    async with Backend(BackendConfig(**options)) as backend:
        result = await backend.open(session or SESSION, leg_format)
        yield result
        await result.close()


async def refused(server: FakeRealtime, **knobs: Any) -> BackendError:
    with pytest.raises(BackendError) as caught:
        async with opened(server, **knobs):
            pass
    connection = await server.connection()
    await asyncio.wait_for(connection.closed.wait(), 2)
    return caught.value


async def told(server: FakeRealtime) -> dict[str, Any]:
    """The config that the server was sent."""
    (update,) = (await server.connection()).events("session.update")
    config: dict[str, Any] = update["session"]
    return config


def naming(audio_format: AudioFormat) -> dict[str, Any]:
    side = {"format": audio_format.to_session()}
    return {"type": "realtime", "audio": {"input": side, "output": side}}


@pytest.mark.parametrize("leg_format", [PCMU, PCMA, PCM8K])
async def test_a_session_follows_the_leg(server: FakeRealtime, leg_format: AudioFormat) -> None:
    async with opened(server, leg_format=leg_format) as session:
        assert (session.input_format, session.output_format) == (leg_format, leg_format)
    assert await told(server) == naming(leg_format)


@pytest.mark.parametrize("wanted", [PCM24K, PCMA])
async def test_a_format_that_the_session_names(server: FakeRealtime, wanted: AudioFormat) -> None:
    async with opened(server, naming(wanted)) as session:
        assert (session.input_format, session.output_format) == (wanted, wanted)


@pytest.mark.parametrize(
    ("takes", "sends"),
    [(PCM16K, PCM24K), (PCM24K, PCM16K), (PCM48K, PCM8K), (PCMU, PCMA), (None, PCM24K)],
)
async def test_a_server_with_formats_of_its_own(
    server: FakeRealtime, takes: AudioFormat | None, sends: AudioFormat
) -> None:
    """They win over what the session names."""
    async with opened(server, naming(PCMA), input_format=takes, output_format=sends) as session:
        assert (session.input_format, session.output_format) == (takes or PCMA, sends)
        connection = await server.connection()
        frame = session.input_format.silence(session.input_format.rate_hz // 50)
        session.append_audio(frame)
        assert await connection.until(lambda: bytes(connection.audio) == frame)
    config = await told(server)
    assert config["audio"]["input"]["format"] == (takes or PCMA).to_session()
    assert config["audio"]["output"]["format"] == sends.to_session()


async def test_the_servers_word_counts(server: FakeRealtime) -> None:
    server.override = {"audio": {"input": {"format": PCM16K.to_session()}}}
    async with opened(server, input_format=PCM24K) as session:
        assert (session.input_format, session.output_format) == (PCM16K, PCMU)


async def test_a_server_that_confirms_no_format(
    server: FakeRealtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bare(self: FakeConnection, event: dict[str, Any]) -> None:
        await self.send({"type": "session.updated", "session": {"id": "sess_1"}})

    monkeypatch.setattr(FakeConnection, "_update", bare)
    async with opened(server, input_format=PCM16K) as session:
        assert (session.input_format, session.output_format) == (PCM16K, PCMU)


@pytest.mark.parametrize("told", [{"type": "audio/opus"}, {"type": "audio/pcm", "rate": 11025}])
async def test_a_format_that_cannot_be_carried(told: dict[str, Any], server: FakeRealtime) -> None:
    server.override = {"audio": {"output": {"format": told}}}
    error = await refused(server)
    assert (error.code, error.param) == ("unsupported_format", "session.audio")
    assert error.told().status == 400


async def test_a_field_that_the_server_refuses_is_not_told(server: FakeRealtime) -> None:
    dialect = DialectOptions(omit=frozenset({"audio.input.format"}))
    async with opened(server, naming(PCMU), input_format=PCM24K, dialect=dialect) as session:
        assert (session.input_format, session.output_format) == (PCM24K, PCMU)
    assert (await told(server))["audio"] == {
        "input": {},
        "output": {"format": {"type": "audio/pcmu"}},
    }


async def test_a_server_that_confirms_nothing() -> None:
    async with FakeRealtime(update="ignore") as server:
        async with opened(server, naming(PCMA), confirms=False) as session:
            assert (session.input_format, session.output_format) == (PCMA, PCMA)
            assert session.effective["id"] == "sess_1"
            assert session.effective["audio"] == naming(PCMA)["audio"]
        assert await told(server) == naming(PCMA)


async def test_a_server_that_confirms_nothing_can_refuse() -> None:
    async with FakeRealtime(update="error", created=False) as server:
        assert (await refused(server, confirms=False)).code == "invalid_value"


async def test_a_server_of_one_model(server: FakeRealtime) -> None:
    url, theirs = server.url + "?model={model}", {"type": "realtime", "model": "theirs"}
    async with opened(server, theirs, url=url, default_model="ours", only_model=True):
        pass
    assert (await told(server))["model"] == "ours"
    assert (await server.connection()).path_qs.endswith("?model=ours")


# How long it lives.


@pytest.mark.parametrize(
    ("limit_s", "expires_in_s", "lives_s"),
    [
        (0, None, None),
        (60, None, 60),
        (0, 30, 30),
        (60, 30, 30),
        (20, 30, 20),
        (60, -10, 60),  # a wrong clock
        (0, "soon", None),
    ],
)
async def test_how_long_a_session_lives(
    server: FakeRealtime, limit_s: float, expires_in_s: Any, lives_s: float | None
) -> None:
    if expires_in_s is not None:
        number = isinstance(expires_in_s, int)
        server.override = {"expires_at": time.time() + expires_in_s if number else expires_in_s}
    async with opened(server, session_limit_s=limit_s) as session:
        if lives_s is None:
            assert session.lives_s is None
        else:
            assert session.lives_s == pytest.approx(lives_s, abs=2)


async def test_what_only_the_first_word_said_of_its_end(
    server: FakeRealtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bare(self: FakeConnection, event: dict[str, Any]) -> None:
        await self.send({"type": "session.updated", "session": event["session"]})

    monkeypatch.setattr(FakeConnection, "_update", bare)
    server.override = {"expires_at": time.time() + 30}
    async with opened(server) as session:
        assert session.lives_s == pytest.approx(30, abs=2)


@pytest.mark.parametrize(("interrupt", "cancels"), [("server", False), ("cancel", True)])
async def test_who_cancels(server: FakeRealtime, interrupt: str, cancels: bool) -> None:
    async with opened(server, interrupt=interrupt) as session:
        assert session.cancels is cancels


# What counts as a refusal.


@pytest.mark.parametrize(
    ("kind", "is_refusal"),
    [
        ("invalid_request_error", True),
        ("server_error", False),
        ("rate_limit_error", False),
        ("", False),
    ],
)
async def test_whose_fault_an_error_is(
    server: FakeRealtime, monkeypatch: pytest.MonkeyPatch, kind: str, is_refusal: bool
) -> None:
    async def wrong(self: FakeConnection, event: dict[str, Any]) -> None:
        error = {"type": kind, "code": "a_code", "message": "my card is 4111", "param": None}
        await self.send({"type": "error", "error": error})

    monkeypatch.setattr(FakeConnection, "_update", wrong)
    error = await refused(server)
    assert (error.refused, error.code) == (is_refusal, "a_code")
    assert error.told().status == (400 if is_refusal else 502)
    assert "4111" not in error.logged()


# Servers of other dialects.


async def test_a_server_of_beta_is_spoken_to_in_its_words(
    server: FakeRealtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def flat(self: FakeConnection, event: dict[str, Any]) -> None:
        session = {"input_audio_format": "pcm16", "output_audio_format": "g711_alaw", "voice": "x"}
        await self.send({"type": "session.updated", "session": session})

    monkeypatch.setattr(FakeConnection, "_update", flat)
    beta = DialectOptions("beta")
    async with opened(server, dialect=beta, input_format=PCM16K) as session:
        config = await told(server)
        assert (config["input_audio_format"], config["output_audio_format"]) == (
            "pcm16",
            "g711_ulaw",
        )
        assert (session.input_format, session.output_format) == (PCM16K, PCMA)
        assert session.effective["audio"]["output"]["voice"] == "x"
        connection = await server.connection()
        session.append_audio(b"\x01" * 640)
        await connection.expect("input_audio_buffer.append")
        place = {"response_id": "resp_1", "item_id": "item_1", "content_index": 0}
        await connection.send({"type": "response.audio.delta", **place, "delta": "AAAA"})
        await connection.send({"type": "conversation.item.created", "item": {"type": "message"}})
        await connection.send({"type": "response.audio.done", **place})
        kinds = [(await event_of(session))["type"] for _ in range(4)]
        assert kinds == [
            "response.output_audio.delta",
            "conversation.item.added",
            "conversation.item.done",
            "response.output_audio.done",
        ]


async def test_dropped_events_do_not_arrive(server: FakeRealtime) -> None:
    dropping = DialectOptions(drop_events=frozenset({"ping"}))
    async with opened(server, dialect=dropping) as session:
        connection = await server.connection()
        for kind in ("ping", "x.y", "ping", "x.z"):
            await connection.send({"type": kind})
        assert [(await event_of(session))["type"] for _ in range(2)] == ["x.y", "x.z"]


async def test_a_truncation_that_is_not_sent_is_answered_at_once(server: FakeRealtime) -> None:
    """Even while the server says nothing, and after all that it has said."""
    async with opened(server, dialect=DialectOptions(truncate="skip")) as session:
        waiting = asyncio.create_task(event_of(session))
        await asyncio.sleep(0)
        session.send(truncate("item_1", 0, 480))
        answer = await asyncio.wait_for(waiting, 2)
        assert (answer["type"], answer["item_id"], answer["audio_end_ms"]) == (
            "conversation.item.truncated",
            "item_1",
            480,
        )
        connection = await server.connection()
        session.send({"type": "x"})
        await connection.expect("x")
        assert not connection.events("conversation.item.truncate")


async def test_what_a_server_says_that_is_no_event_is_passed_on(server: FakeRealtime) -> None:
    async with opened(server, dialect=DialectOptions("beta")) as session:
        await (await server.connection()).send_text("no event")
        assert await session.receive() == b"no event"


@pytest.mark.parametrize("name", ["ga", "xai"])
@pytest.mark.parametrize("code", [1000, 1001, 1011, 1013])
async def test_the_code_of_a_server_that_hangs_up_at_once(
    server: FakeRealtime, name: str, code: int
) -> None:
    async with opened(server, dialect=DialectOptions(name)) as session:
        connection = await server.connection()
        await connection.send({"type": "x.y"})
        await connection._socket.close(code=code, drain=False)
        connection.drop()
        assert (await event_of(session))["type"] == "x.y"
        assert await session.receive() is None
        assert session.close_reason == f"closed with code {code}"


async def event_of(session: RealtimeSession) -> dict[str, Any]:
    message = await asyncio.wait_for(session.receive(), 2)
    assert message is not None
    return parse_event(message)
