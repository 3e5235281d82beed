"""Whatever servers and clients send, the next session can be told of it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audio.playout import Heard, ItemPart
from tests.calls.test_memory import SESSION, echo, feed, items, memory

pytestmark = pytest.mark.pure

IDS: st.SearchStrategy[Any] = st.sampled_from(["a", "b", "c", "call_1", "", None, 7, {}, "root"])
RESPONSES = st.sampled_from(["resp_1", "resp_2", None])
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.just([]), st.just({})
)
TEXT = st.one_of(st.sampled_from(["Hello", " there, you", ""]), JUNK)
CONTENT = st.one_of(
    JUNK,
    st.lists(
        st.one_of(
            JUNK,
            st.fixed_dictionaries(
                {
                    "type": st.one_of(
                        st.sampled_from(
                            ["input_text", "output_text", "input_audio", "output_audio", "audio"]
                        ),
                        st.just("input_image"),
                        JUNK,
                    )
                },
                optional={"text": TEXT, "transcript": TEXT},
            ),
        ),
        max_size=3,
    ),
)
ITEMS = st.fixed_dictionaries(
    {
        "id": IDS,
        "type": st.sampled_from(
            ["message", "message", "function_call", "function_call_output", "mcp_call", None, {}]
        ),
    },
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "tool", None]),
        "status": st.sampled_from(["in_progress", "completed", "incomplete", None]),
        "content": CONTENT,
        "name": st.sampled_from(["look_up", None]),
        "call_id": st.sampled_from(["call_1", "call_2", None]),
        "arguments": TEXT,
        "output": TEXT,
    },
)
RESPONSE = st.fixed_dictionaries(
    {"id": RESPONSES},
    optional={
        "conversation_id": st.sampled_from(["conv_1", None]),
        "output": st.one_of(JUNK, st.lists(st.one_of(ITEMS, JUNK), max_size=2)),
        "status_details": st.one_of(JUNK, st.just({"reason": "turn_detected"})),
    },
)
TYPES = [
    "session.updated",
    "error",
    "conversation.item.added",
    "conversation.item.created",
    "conversation.item.done",
    "conversation.item.deleted",
    "conversation.item.truncated",
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.completed",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.timeout_triggered",
    "input_audio_buffer.committed",
    "response.created",
    "response.done",
    "response.output_item.added",
    "response.output_item.done",
    "response.output_audio_transcript.delta",
    "response.output_audio_transcript.done",
    "response.output_text.delta",
    "response.output_text.done",
    "response.function_call_arguments.done",
    "rate_limits.updated",
]
SERVER = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES)},
    optional={
        "item_id": IDS,
        "response_id": RESPONSES,
        "previous_item_id": IDS,
        "item": st.one_of(ITEMS, JUNK),
        "response": st.one_of(RESPONSE, JUNK),
        "content_index": st.one_of(st.integers(-1, 2), JUNK),
        "delta": TEXT,
        "transcript": TEXT,
        "text": TEXT,
        "call_id": IDS,
        "name": TEXT,
        "arguments": TEXT,
        "audio_start_ms": st.one_of(st.integers(0, 9000), JUNK),
        "audio_end_ms": st.one_of(st.integers(0, 9000), JUNK),
        "error": st.one_of(st.fixed_dictionaries({"event_id": IDS}), JUNK),
        "session": JUNK,
    },
)
CLIENT = st.fixed_dictionaries(
    {"type": st.sampled_from(["session.update", "conversation.item.create", "response.create"])},
    optional={
        "event_id": IDS,
        "previous_item_id": IDS,
        "item": st.one_of(ITEMS, JUNK),
        "session": st.one_of(JUNK, st.just({"audio": {"input": None}}), st.just(SESSION)),
    },
)
STEPS = st.one_of(
    st.tuples(st.just("server_event"), SERVER),
    st.tuples(st.just("server_event"), SERVER),
    st.tuples(st.just("to_backend"), CLIENT),
    st.tuples(
        st.just("cut"),
        st.builds(
            Heard,
            st.builds(
                ItemPart,
                st.sampled_from(["resp_1", "resp_2", ""]),
                st.sampled_from(["a", "b", ""]),
                st.integers(-1, 2),
            ),
            st.integers(0, 3000),
            st.integers(0, 3000),
        ),
    ),
    st.tuples(st.just("rewrite"), st.sampled_from(["a", "b", "z"])),
    st.tuples(st.just("replay")),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_whatever_comes_the_next_session_can_be_told(steps: list[tuple[Any, ...]]) -> None:
    remembered = memory()
    for kind, *arguments in steps:
        getattr(remembered, kind)(*arguments)
    told = items(remembered)
    events = remembered.replay()
    feed(remembered, *echo(events))
    assert items(remembered) == told
    fresh = memory(*echo(events))
    assert items(fresh) == told
    feed(fresh, *echo(fresh.replay()))
    assert items(fresh) == told
