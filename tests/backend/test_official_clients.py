"""Everything that the embedded agent can say, held against the official clients' own types."""

import pytest

from gateway.backend.config import RateLimits
from tests.backend.test_output import HANG_UP, LOOK_UP, client_with, press
from tests.backend.virtual import CATALOGUE, Event, VirtualClient
from tests.sdk.schemas import faults, javascript_faults, need_node

pytestmark = pytest.mark.loop


def tools() -> list[Event]:
    """Calls: with words, without, forced, cut off; results; a listing that fails."""
    mcp = {"type": "mcp", "server_label": "m", "server_url": "https://mcp.example"}
    client = client_with(LOOK_UP, HANG_UP, mcp)
    press(client, "1")
    call = client.done()["output"][1]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "open"}
    client.create(output)
    client.respond()
    press(client, "2", tool_choice="none")
    client.respond(tool_choice={"type": "function", "name": "look_up"}, max_output_tokens=4)
    client.update({"output_modalities": ["text"], "tools": [{**mcp, "server_label": "n"}]})
    client.respond(conversation="none", metadata={"k": "v"}, instructions="say: Hi.")
    client.respond(instructions="say: " + "word " * 40, max_output_tokens=5)
    for event in client.of("conversation.item.added"):
        client.send("conversation.item.retrieve", item_id=event["item"]["id"])
    return client.log


def turns() -> list[Event]:
    """Speech, interruption, silence, transcripts, refusals."""
    vad = {"type": "server_vad", "idle_timeout_ms": 5000}
    client = VirtualClient(limit_s=60, rate_limits=RateLimits(requests=4))
    voice = {"output": {"voice": {"id": "voice_1"}}}
    client.update(
        {"audio": {"input": {"turn_detection": vad, "transcription": {"language": "en"}}} | voice}
    )
    client.respond()
    client.truncate(client.done()["output"][0]["id"], 100)
    client.advance(8.0)
    client.speak_turn()
    client.advance(0.3)
    client.hear(0.9, 320)
    client.send("input_audio_buffer.clear")
    client.send("response.create")
    client.until_done()
    client.send("response.create")
    client.create(
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "t"},
                {"type": "input_audio", "audio": "AAAA"},
            ],
        }
    )
    client.send("conversation.item.delete", item_id=client.log[-1]["item"]["id"])
    for wrong in ("input_audio_buffer.commit", "output_audio_buffer.clear", "nonsense"):
        client.send(wrong, event_id="mine")
    client.advance(60.0)
    return client.log


def transcripts() -> list[Event]:
    client = VirtualClient(kind="transcription")
    client.send("session.update", session={"type": "transcription"})
    client.speak_turn()
    client.advance(1.0)
    return client.log


SESSIONS = (tools, turns, transcripts)


def test_nothing_is_left_out_here() -> None:
    seen = {event["type"] for session in SESSIONS for event in session()}
    assert set(CATALOGUE) - seen == set()
    statuses = {e["response"]["status"] for e in [*tools(), *turns()] if "response" in e}
    assert statuses == {"in_progress", "completed", "cancelled", "incomplete", "failed"}


def test_the_python_clients_understand_it() -> None:
    for session in SESSIONS:
        assert faults(session()) == []


def test_the_javascript_client_understands_it() -> None:
    need_node()
    for session in SESSIONS:
        assert javascript_faults(session()) == []
