"""Audio inside events: the fast road and the ordinary one must agree."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audio.playout import ItemPart
from gateway.realtime.audio import AudioDelta, DeltaReader, append_event, delta_of
from gateway.realtime.events import EventError, encode_event, parse_event, text_of, truncate

pytestmark = pytest.mark.pure


def delta_event(audio: bytes = b"\x00\x01\x02", **changes: object) -> dict[str, object]:
    return {
        "type": "response.output_audio.delta",
        "event_id": "event_1",
        "response_id": "resp_1",
        "item_id": "item_1",
        "output_index": 0,
        "content_index": 2,
        "delta": base64.b64encode(audio).decode(),
    } | changes


def compact(event: object) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def test_an_append_is_the_event_that_json_would_write() -> None:
    audio = bytes(range(160))
    assert json.loads(append_event(audio)) == {
        "type": "input_audio_buffer.append",
        "audio": base64.b64encode(audio).decode(),
    }


@given(audio=st.binary(max_size=400))
def test_a_compact_delta_is_read_without_json(audio: bytes) -> None:
    expected = AudioDelta(ItemPart("resp_1", "item_1", 2), audio)
    assert DeltaReader().read(compact(delta_event(audio))) == expected
    assert delta_of(parse_event(compact(delta_event(audio)))) == expected


@pytest.mark.parametrize(
    "message",
    [
        json.dumps(delta_event()).encode(),  # spaces
        compact(delta_event(type="response.output_audio.done")),
        compact(delta_event(delta=None)),
        compact(delta_event(delta="a")),  # not base64
        compact(delta_event(item_id='it"em')),
        compact(delta_event(content_index=12)),
        compact(delta_event(content_index=1.5)),
        b"",
        b"{}",
    ],
)
def test_what_looks_unusual_takes_the_ordinary_road(message: bytes) -> None:
    assert DeltaReader().read(message) is None


def test_text_inside_a_string_is_not_taken_for_a_key() -> None:
    event = delta_event(event_id='"item_id":"forged"')
    found = DeltaReader().read(compact(event))
    assert found is not None and found.part.item_id == "item_1"


@given(
    event=st.dictionaries(
        st.sampled_from(["type", "response_id", "item_id", "content_index", "delta", "x"]),
        st.none() | st.text() | st.integers() | st.just("response.output_audio.delta"),
    )
)
@settings(max_examples=200, deadline=None)
def test_both_roads_agree_whenever_the_fast_one_answers(event: dict[str, object]) -> None:
    message = compact(event)
    fast = DeltaReader().read(message)
    if fast is not None:
        assert delta_of(parse_event(message)) == fast


def test_a_reader_sees_when_the_part_changes() -> None:
    reader = DeltaReader()
    seen: list[ItemPart] = []
    for item, index in [("a", 0), ("a", 0), ("a", 1), ("b", 1), ("b", 1)]:
        event = delta_event(item_id=item, content_index=index, event_id=f"event_{len(seen)}")
        found = reader.read(compact(event))
        assert found is not None
        seen.append(found.part)
    assert seen == [
        ItemPart("resp_1", item, index)
        for item, index in [("a", 0), ("a", 0), ("a", 1), ("b", 1), ("b", 1)]
    ]
    assert seen[0] is seen[1]


def test_bad_audio_is_no_audio() -> None:
    found = delta_of(parse_event(json.dumps(delta_event(delta="!", content_index=None)).encode()))
    assert found == AudioDelta(ItemPart("resp_1", "item_1", 0), b"")


@given(st.binary())
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_an_event_or_an_event_error(data: bytes) -> None:
    try:
        event = parse_event(data)
    except EventError:
        return
    assert isinstance(event["type"], str)


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80"])
def test_bytes_that_are_not_utf_8_in_an_id(bad: bytes) -> None:
    message = compact(delta_event()).replace(b"item_1", bad)
    assert DeltaReader().read(message) is None
    try:
        event = parse_event(message)
    except EventError:
        return
    assert event["item_id"] == "\ud800"  # Python reads a surrogate's three bytes


def test_a_lone_surrogate_goes_back_as_it_came() -> None:
    item_id = parse_event(rb'{"type":"x","item_id":"\ud800"}')["item_id"]
    assert encode_event(truncate(item_id, 0, 20)) == (
        rb'{"type":"conversation.item.truncate","item_id":"\ud800","content_index":0,'
        rb'"audio_end_ms":20}'
    )


def test_deep_nesting_is_an_event_error() -> None:
    with pytest.raises(EventError):
        parse_event(b"[" * 100_000)


def test_events_survive_the_wire() -> None:
    event = {"type": "x", "text": "grüße \u2028 \x00", "n": [1, None]}
    assert parse_event(encode_event(event)) == event


def test_text_of_what_is_not_there() -> None:
    assert text_of({"type": "x", "a": {"b": 1}}, "a", "b") == ""
    assert text_of({"type": "x", "a": 1}, "a", "b") == ""
    assert text_of({"type": "x", "a": {"b": "c"}}, "a", "b") == "c"
