"""Clients of the beta API: a whole session, each event as the official beta types have it."""

from base64 import b64decode
from typing import Any, get_args

import pytest
from openai.types.beta.realtime import RealtimeServerEvent

from gateway.audio.formats import PCM24K, PCMU
from gateway.backend.server import BackendServer
from tests.backend.client import FAST, Client
from tests.backend.conftest import Connect, Start
from tests.backend.speech_samples import prompt

pytestmark = pytest.mark.loop

OFFICIAL = {
    get_args(model.model_fields["type"].annotation)[0]: model
    for model in get_args(get_args(RealtimeServerEvent)[0])
}
MODEL = "?model=gpt-4o-realtime-preview"
HEADER = {"headers": {"OpenAI-Beta": "realtime=v1"}}
TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.created",
]
ANSWER = [
    "response.created",
    "response.output_item.added",
    "conversation.item.created",
    "response.content_part.added",
    "response.audio_transcript.delta",
    "response.audio.delta",
    "response.audio.done",
    "response.audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]


def check(event: dict[str, Any]) -> None:
    """The event is one of the official beta types."""
    OFFICIAL[event["type"]].model_validate(event)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Types in order, deltas once."""
    return list(dict.fromkeys(event["type"] for event in events))


@pytest.fixture
async def beta(connect: Connect, server: BackendServer) -> Client:
    return await connect(server, MODEL, check=check, **HEADER)


async def test_a_session_from_greeting_to_interruption(beta: Client) -> None:
    (created,) = await beta.until("session.created")
    session = created["session"]
    assert session["modalities"] == ["audio", "text"] or session["modalities"] == ["text", "audio"]
    assert session["input_audio_format"] == "pcm16"
    update = {
        "input_audio_format": "g711_ulaw",
        "output_audio_format": "g711_ulaw",
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
    }
    await beta.send("session.update", session=update)
    (updated,) = await beta.until("session.updated")
    assert updated["session"]["output_audio_format"] == "g711_ulaw"
    assert updated["session"]["turn_detection"]["silence_duration_ms"] == 300

    await beta.send("response.create")
    events = await beta.until("rate_limits.updated")
    assert kinds(events) == ANSWER
    audio = b"".join(b64decode(e["delta"]) for e in events if e["type"] == "response.audio.delta")
    assert len(audio) > 8000
    (part,) = events[-2]["response"]["output"][0]["content"]
    assert part["type"] == "audio" and part["transcript"].startswith("Hello!")

    await beta.append(prompt("i-also-understand", PCMU) + PCMU.silence(8000))
    assert kinds(await beta.until("response.done"))[:5] == [*TURN, "response.created"]


async def test_items_and_mistakes(beta: Client) -> None:
    await beta.until("session.created")
    await beta.write("DTMF 9")
    events = await beta.until("conversation.item.created")
    assert kinds(events) == ["conversation.item.created"]
    await beta.send("response.create", event_id="e1", response={"modalities": ["audio", "text"]})
    await beta.send("response.create", event_id="e2")
    (*_, error) = await beta.until("error")
    assert error["error"]["code"] == "conversation_already_has_active_response"
    assert error["error"]["event_id"] == "e2"


async def test_the_subprotocol_of_browsers_asks_for_beta_too(
    connect: Connect, server: BackendServer
) -> None:
    protocols = ("realtime", "openai-insecure-api-key.x", "openai-beta.realtime-v1")
    client = await connect(server, MODEL, check=check, protocols=protocols)
    (created,) = await client.until("session.created")
    assert client.socket.protocol == "realtime"
    assert "modalities" in created["session"]


async def test_transcription_in_beta(connect: Connect, server: BackendServer) -> None:
    client = await connect(server, "?intent=transcription", check=lambda _: None, **HEADER)
    (created,) = await client.until("transcription_session.created")
    assert "output_audio_format" not in created["session"]
    update = {"input_audio_format": "g711_ulaw", "input_audio_transcription": {"model": "x"}}
    await client.send("transcription_session.update", session=update)
    (updated,) = await client.until("transcription_session.updated")
    assert updated["session"]["input_audio_format"] == "g711_ulaw"
    await client.append(prompt("i-also-understand", PCMU) + PCMU.silence(8000))
    completed = "conversation.item.input_audio_transcription.completed"
    (*events, done) = await client.until(completed)
    assert kinds(events)[:4] == TURN
    assert done["transcript"].startswith("[speech, ")


async def test_faults_go_by_the_names_on_the_wire(connect: Connect, start: Start) -> None:
    server = await start(pacing=FAST, test=True)
    plan = '[{"at": "response.audio.delta", "do": "close", "code": 1011}]'
    headers = HEADER["headers"] | {"x-embedded-faults": plan}
    client = await connect(server, MODEL, check=check, headers=headers)
    await client.until("session.created")
    await client.send("response.create")
    received, *closed = await client.closing()
    assert received[-1] == "response.audio_transcript.delta"
    assert closed == [1011, ""]


@pytest.mark.parametrize(
    ("kind", "fields", "code", "param"),
    [
        ("session.update", {"temperature": 1.3}, "decimal_above_max_value", "temperature"),
        ("session.update", {"temperature": 0.5}, "decimal_below_min_value", "temperature"),
        ("session.update", {"temperature": "hot"}, "invalid_type", "temperature"),
        ("session.update", {"modalities": ["audio"]}, "invalid_value", "modalities"),
        ("session.update", {"modalities": "text"}, "invalid_type", "modalities"),
        ("session.update", {"nonsense": 1}, "unknown_parameter", "nonsense"),
        ("session.update", {"input_audio_format": "opus"}, "invalid_value", "input_audio_format"),
        ("session.update", {"tool_choice": 5}, "invalid_type", "tool_choice"),
        ("response.create", {"temperature": 9}, "decimal_above_max_value", "temperature"),
        ("response.create", {"modalities": ["audio"]}, "invalid_value", "modalities"),
        ("response.create", {"voice": 5}, "invalid_type", "voice"),
    ],
)
async def test_what_beta_does_not_allow(
    beta: Client, kind: str, fields: dict[str, Any], code: str, param: str
) -> None:
    shown = (await beta.until("session.created"))[-1]["session"]
    name = kind.partition(".")[0]
    await beta.send(kind, event_id="mine", **{name: fields})
    (error,) = await beta.until("error")
    assert error["error"]["code"] == code
    assert error["error"]["event_id"] == "mine"
    assert error["error"]["param"] == f"{name}.{param}"
    await beta.send("session.update", session={})
    (updated,) = await beta.until("session.updated")
    assert updated["session"] == shown


async def test_older_forms_are_understood(connect: Connect, server: BackendServer) -> None:
    beta = await connect(server, MODEL, check=lambda _: None, **HEADER)
    await beta.until("session.created")
    tool = {"type": "function", "name": "f"}
    choice = {"type": "function", "function": {"name": "f"}}
    fields = {"tools": [tool], "tool_choice": choice, "turn_detection": {"type": "none"}}
    await beta.send("session.update", session=fields)
    (updated,) = await beta.until("session.updated")
    assert updated["session"]["turn_detection"] is None
    assert updated["session"]["tool_choice"] == choice


async def test_the_temperature_is_shown_as_it_was_set(beta: Client) -> None:
    async def temperatures(**wanted: Any) -> list[float]:
        await beta.send("response.create", response={"instructions": "say: Hi.", **wanted})
        events = await beta.until("rate_limits.updated")
        return [event["response"]["temperature"] for event in events if "response" in event]

    (created,) = await beta.until("session.created")
    assert created["session"]["temperature"] == 0.8
    assert await temperatures() == [0.8, 0.8]
    await beta.send("session.update", session={"temperature": 0.7})
    (updated,) = await beta.until("session.updated")
    assert updated["session"]["temperature"] == 0.7
    await beta.send("session.update", session={"temperature": 1.1, "voice": "other"})
    (error,) = await beta.until("error")  # the voice was heard already
    assert error["error"]["code"] == "cannot_update_voice"
    await beta.append(prompt("i-also-understand", PCM24K) + PCM24K.silence(24_000), 9600)
    answer = (await beta.until("rate_limits.updated"))[-2]["response"]
    assert answer["temperature"] == 0.7
    assert await temperatures() == [0.7, 0.7]
    assert await temperatures(temperature=1.2) == [1.2, 1.2]
    await beta.send("session.update", session={"instructions": "Be brief."})
    (updated,) = await beta.until("session.updated")
    assert updated["session"]["temperature"] == 0.7
