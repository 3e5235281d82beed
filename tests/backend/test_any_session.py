"""Whatever callers and clients do, a session keeps its promises."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backend.test_output import DIALOGUE, HANG_UP, LOOK_UP
from tests.backend.virtual import AUDIO, TRANSCRIPT, Event, VirtualClient

pytestmark = pytest.mark.pure

STARTED = "input_audio_buffer.speech_started"
STOPPED = "input_audio_buffer.speech_stopped"
LINE = "say: One, two, three. Four, five, six."
FORCED = {"type": "function", "name": "look_up"}
PLACES = st.integers(0, 30)
"""Which item, call or response is meant, of those that there are."""


def vad(**fields: Any) -> Event:
    return {"audio": {"input": {"turn_detection": {"type": "server_vad", **fields}}}}


UPDATES: list[Event] = [
    {"output_modalities": ["text"]},
    {"output_modalities": ["audio"]},
    {"audio": {"input": {"turn_detection": None}}},
    {"audio": {"output": {"format": {"type": "audio/pcmu"}}}},
    {"audio": {"input": {"transcription": {"language": "en"}}}},
    {"tools": [LOOK_UP, HANG_UP], "tool_choice": "auto"},
    {"tools": [{"type": "mcp", "server_label": "m", "server_url": "https://mcp.example"}]},
    {"max_output_tokens": 9},
    vad(idle_timeout_ms=5000),
    vad(interrupt_response=False),
    vad(create_response=False, idle_timeout_ms=None),
]
RESPONSES: list[Event] = [
    {},
    {"instructions": LINE},
    {"instructions": LINE, "conversation": "none"},
    {"output_modalities": ["text"]},
    {"tools": [LOOK_UP], "tool_choice": FORCED},
    {"tools": [LOOK_UP], "tool_choice": FORCED, "conversation": "none"},
    {"tools": [LOOK_UP], "tool_choice": "required"},
    {"max_output_tokens": 3, "instructions": LINE},
    {"input": []},
]
STEPS = st.one_of(
    st.tuples(st.just("hear"), st.sampled_from([0.0, 0.4, 0.9]), st.integers(1, 40)),
    st.tuples(st.just("wait"), st.floats(0, 3)),
    st.tuples(st.just("update"), st.sampled_from(UPDATES)),
    st.tuples(st.just("respond"), st.sampled_from(RESPONSES)),
    st.tuples(st.just("press"), st.sampled_from("123")),
    st.tuples(st.sampled_from(["delete", "retrieve", "truncate", "result", "cancel"]), PLACES),
    st.tuples(
        st.just("send"),
        st.sampled_from(
            ["response.cancel", "input_audio_buffer.commit", "input_audio_buffer.clear"]
        ),
    ),
)


def take(client: VirtualClient, step: tuple[Any, ...]) -> None:
    match step:
        case ("hear", probability, windows):
            client.hear(probability, windows * 32)
        case ("wait", seconds):
            client.advance(seconds)
        case ("update", session):
            client.update(session)
        case ("respond", wanted):
            client.send("response.create", response=wanted)
        case ("press", keys):
            client.text(f"DTMF {keys}")
        case ("send", kind):
            client.send(kind)
        case ("result", place):
            calls = client.of("response.function_call_arguments.done") or [{"call_id": "none"}]
            call_id = calls[place % len(calls)]["call_id"]
            output = {"type": "function_call_output", "call_id": call_id, "output": "o"}
            client.create(output)
        case ("cancel", place):
            made = client.of("response.created") or [{"response": {"id": "none"}}]
            response_id = made[place % len(made)]["response"]["id"]
            client.send("response.cancel", response_id=response_id)
        case (verb, place):
            items = client.of("conversation.item.added") or [{"item": {"id": "none"}}]
            item_id = items[place % len(items)]["item"]["id"]
            end = {"content_index": 0, "audio_end_ms": 100} if verb == "truncate" else {}
            client.send(f"conversation.item.{verb}", item_id=item_id, **end)


@settings(max_examples=120, deadline=None)
@given(st.lists(STEPS, min_size=6, max_size=30))
def test_every_response_and_every_item_ends_once(steps: list[tuple[Any, ...]]) -> None:
    client = VirtualClient(dialogue=DIALOGUE, session={"tools": [LOOK_UP, HANG_UP]})
    for step in steps:
        take(client, step)
    client.update({"audio": {"input": {"turn_detection": None}}})  # nobody begins anything more
    client.advance(60.0)
    all_end_once(client)
    one_at_a_time(client)
    outputs_are_what_was_shown(client)
    turns_have_their_items(client)


def all_end_once(client: VirtualClient) -> None:
    for begin, end, name in (
        ("response.created", "response.done", "response"),
        ("response.output_item.added", "response.output_item.done", "item"),
    ):
        begun = Counter(event[name]["id"] for event in client.of(begin))
        assert begun == Counter(event[name]["id"] for event in client.of(end))
        assert set(begun.values()) <= {1}
    added = [e["item"]["id"] for e in client.of("conversation.item.added")]
    done = [e["item"]["id"] for e in client.of("conversation.item.done")]
    listed = [e["item_id"] for e in client.of("mcp_list_tools.failed")]
    assert sorted(added) == sorted(done + listed)
    assert len(set(added)) == len(added)
    assert len(client.of("response.done")) == len(client.of("rate_limits.updated"))


def one_at_a_time(client: VirtualClient) -> None:
    running = None
    for event in client.log:
        response = event.get("response")
        if response is None or response["conversation_id"] is None:
            continue
        if event["type"] == "response.created":
            assert running is None
            running = response["id"]
        else:
            assert running == response["id"]
            running = None


def outputs_are_what_was_shown(client: VirtualClient) -> None:
    for event in client.of("response.done"):
        response = event["response"]
        mine = [one for one in client.log if one.get("response_id") == response["id"]]
        added = [e for e in mine if e["type"] == "response.output_item.added"]
        assert [item["id"] for item in response["output"]] == [e["item"]["id"] for e in added]
        assert [e["output_index"] for e in added] == list(range(len(added)))
        done = {
            e["item"]["id"]: e["item"] for e in mine if e["type"] == "response.output_item.done"
        }
        for item in response["output"]:
            assert item["status"] == done[item["id"]]["status"] != "in_progress"
        cut_off = [item["status"] for item in response["output"]].count("incomplete")
        assert cut_off <= (response["status"] != "completed")
        whole = client.spoken(response["id"])[1]
        spoken = [e for e in mine if e["type"] == "response.output_audio_transcript.done"]
        cut = any(e["type"] == "conversation.item.truncated" for e in client.log)
        assert cut or "".join(e["transcript"] for e in spoken) == whole
        kinds = [e["type"] for e in mine]
        assert (AUDIO in kinds) == (TRANSCRIPT in kinds)


def turns_have_their_items(client: VirtualClient) -> None:
    started = [event["item_id"] for event in client.of(STARTED)]
    stopped = [event["item_id"] for event in client.of(STOPPED)]
    committed = [event["item_id"] for event in client.of("input_audio_buffer.committed")]
    assert [item for item in started if item in stopped] == stopped
    assert set(stopped) <= set(committed)
    assert len(set(committed)) == len(committed)
