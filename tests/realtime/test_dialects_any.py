"""Whatever JSON object comes, in whatever order, no dialect raises anything, in any direction."""

import json
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.realtime.beta_events import (
    client_from_beta,
    client_to_beta,
    server_from_beta,
    server_to_beta,
)
from gateway.realtime.dialects import Dialect, DialectOptions
from gateway.realtime.events import encode_event
from gateway.realtime.missing_fields import NEEDED
from tests.realtime.official import BETA_CLIENT, BETA_SERVER, GA_CLIENT, Event, types_of

pytestmark = pytest.mark.pure

TYPES = sorted(
    set(NEEDED)
    | types_of(GA_CLIENT)
    | types_of(BETA_CLIENT)
    | types_of(BETA_SERVER)
    | {"ping", "conversation.item.input_audio_transcription.updated"}
)
NAMES = """
    session item response part error usage audio input output format type rate voice speed content
    transcription noise_reduction turn_detection modalities output_modalities tools tool_choice
    function name call_id arguments role status id item_id response_id content_index output_index
    delta text transcript stash conversation_id param code message event_id status_details model
    max_response_output_tokens max_output_tokens input_audio_format output_audio_format
    input_audio_transcription input_token_details input_tokens_details previous_item_id omitted
""".split()
WORDS = """
    message function_call function_call_output mcp_call item_reference force_message assistant user
    tool system text audio input_text input_audio output_text output_audio tokens duration pcm16
    audio/pcm server_vad semantic_vad none completed in_progress function mcp transcription realtime
    session.voice resp_1 item_1 max_duration
""".split()

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.floats(allow_nan=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=3)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=12,
)
events = st.builds(
    lambda kind, fields: {"type": kind} | fields,
    st.sampled_from(TYPES) | st.text(max_size=5),
    st.dictionaries(
        st.sampled_from([name for name in NAMES if name != "type"]), values, max_size=6
    ),
)
options = st.builds(
    DialectOptions,
    name=st.sampled_from(["ga", "beta", "xai", "qwen"]),
    session_shape=st.sampled_from(["nested", "flat"]),
    drop_events=st.sampled_from([frozenset(), frozenset({"ping"})]),
    truncate=st.sampled_from(["send", "skip"]),
    omit=st.sampled_from([frozenset(), frozenset({"omitted", "audio.input.omitted"})]),
)


def is_event(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("type"), str)


@given(options, st.lists(events, min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_no_sequence_of_events_breaks_a_dialect(chosen: DialectOptions, told: list[Event]) -> None:
    numbers = count(1)
    dialect = Dialect(chosen, lambda: f"made_{next(numbers)}")
    for event in told:
        before = json.dumps(event)
        sent = dialect.to_server(event)
        read = dialect.from_server(event) + dialect.answers()
        for said in sent + read:
            assert is_event(said)
            encode_event(said)
        for said in read:
            # What an official client needs is there, and of the right kind.
            for name, default in NEEDED.get(said["type"], {}).items():
                assert isinstance(said[name], type(default) | (int if default == 0.0 else str)), (
                    name
                )
        dialect.delta(before.encode())
        assert json.dumps(event) == before


@given(events)
@settings(max_examples=100, deadline=None)
def test_no_event_breaks_a_translation(event: Event) -> None:
    before = json.dumps(event)
    for change in (client_to_beta, client_from_beta, server_to_beta):
        assert all(is_event(said) for said in change(event))
    assert is_event(server_from_beta(event))
    assert json.dumps(event) == before


@given(st.binary(max_size=200) | st.sampled_from(TYPES).map(lambda kind: f'"{kind}"'.encode()))
@settings(max_examples=100, deadline=None)
def test_no_bytes_break_the_hot_path(message: bytes) -> None:
    dialect = Dialect(DialectOptions("beta"), lambda: "made")
    assert dialect.delta(message) is message
