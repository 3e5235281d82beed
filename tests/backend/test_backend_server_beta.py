"""Clients of the beta API: a whole session, each event as the official beta types have it."""

from base64 import b64decode
from typing import Any, get_args

import pytest
from openai.types.beta.realtime import RealtimeServerEvent

from gateway.audio.formats import PCMU
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
