"""Events that lack what strict clients want."""

from itertools import count
from typing import Any

import pytest

from gateway.realtime.missing_fields import NEEDED, MissingFields
from tests.realtime.official import GA_SERVER, Event, fault, types_of

pytestmark = pytest.mark.pure


def filling() -> MissingFields:
    numbers = count(1)
    return MissingFields(lambda: f"made_{next(numbers)}")


def test_every_type_of_event_is_known() -> None:
    assert set(NEEDED) == types_of(GA_SERVER)


@pytest.mark.parametrize("kind", sorted(NEEDED))
@pytest.mark.parametrize("value", ["absent", None, [], {}, "text", 7, True])
def test_an_event_with_nothing_right_in_it_fits_the_official_types(kind: str, value: Any) -> None:
    event: Event = {"type": kind}
    if value != "absent":
        event |= dict.fromkeys(NEEDED[kind], value) | {"event_id": value}
    filled = filling().fill(event)
    assert fault(GA_SERVER, filled) == ""


def test_an_unknown_event_stays_as_it_is() -> None:
    event = {"type": "vendor.event", "nothing": None}
    assert filling().fill(event) is event


def test_a_right_event_is_told_unchanged() -> None:
    event = {
        "type": "input_audio_buffer.committed",
        "event_id": "event_1",
        "previous_item_id": None,
        "item_id": "item_1",
        "vendor": {"field": 1},
    }
    assert filling().fill(event) == event


def test_where_something_belongs_is_filled_in_as_others_told() -> None:
    missing = filling()
    for response_id, items in (("resp_1", ["a", "b"]), ("resp_2", ["c"])):
        missing.fill({"type": "response.created", "response": {"id": response_id}})
        for item_id in items:
            item = {
                "id": item_id,
                "type": "function_call",
                "call_id": f"call_{item_id}",
                "name": "f",
            }
            missing.fill(
                {"type": "response.output_item.added", "response_id": response_id, "item": item}
            )
    done = "response.function_call_arguments.done"
    by_item = missing.fill({"type": done, "item_id": "b", "arguments": "{}"})
    by_call = missing.fill({"type": done, "call_id": "call_a", "arguments": "{}"})
    unknown = missing.fill({"type": done, "arguments": "{}"})
    names = ("response_id", "item_id", "output_index", "call_id", "name")
    assert [by_item[name] for name in names] == ["resp_1", "b", 1, "call_b", "f"]
    assert [by_call[name] for name in names] == ["resp_1", "a", 0, "call_a", "f"]
    assert [unknown[name] for name in names] == ["resp_2", "", 0, "", ""]
    missing.fill({"type": "response.done", "response": {"id": "resp_1"}})
    assert missing.fill({"type": done, "item_id": "b"})["response_id"] == "resp_2"
    assert missing.fill({"type": done, "item_id": "c"})["name"] == "f"


def test_what_was_said_in_a_part_is_filled_in() -> None:
    missing = filling()
    place = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0}
    for index, kind in enumerate(("output_text", "output_audio_transcript")):
        at = place | {"content_index": index}
        for delta in ("hel", "lo"):
            missing.fill({"type": f"response.{kind}.delta", **at, "delta": delta})
        done = missing.fill({"type": f"response.{kind}.done", **at})
        part = missing.fill({"type": "response.content_part.done", **at})["part"]
        words = "text" if kind == "output_text" else "transcript"
        assert done[words] == part[words] == "hello"
        assert part["type"] == ("text" if kind == "output_text" else "audio")
    told = missing.fill(
        {"type": "response.output_text.done", **place, "content_index": 0, "text": "Hello!"}
    )
    assert told["text"] == "Hello!"
    part = missing.fill({"type": "response.content_part.done", **place, "content_index": 0})["part"]
    assert part["text"] == "Hello!"


@pytest.mark.parametrize(
    ("usage", "filled"),
    [
        (None, None),
        (
            {},
            {
                "total_tokens": 0,
                "input_tokens": 0,
                "output_tokens": 0,
                "input_token_details": {"text_tokens": 0, "audio_tokens": 0},
                "output_token_details": {"text_tokens": 0, "audio_tokens": 0},
            },
        ),
        (
            {
                "total_tokens": 3,
                "input_tokens": None,
                "input_tokens_details": {"audio_tokens": 1, "cached_tokens": None},
            },
            {
                "total_tokens": 3,
                "input_tokens": 0,
                "output_tokens": 0,
                "input_token_details": {"text_tokens": 0, "audio_tokens": 1},
                "output_token_details": {"text_tokens": 0, "audio_tokens": 0},
            },
        ),
    ],
)
def test_usage(usage: Event | None, filled: Event | None) -> None:
    response = {"id": "resp_1", "usage": usage}
    done = filling().fill({"type": "response.done", "response": response})
    assert done["response"]["usage"] == filled


def test_usage_of_a_response_that_begins_is_none() -> None:
    created = filling().fill({"type": "response.created", "response": {"usage": {}}})
    assert created["response"]["usage"] is None


@pytest.mark.parametrize(
    ("usage", "filled"),
    [
        (None, {"type": "duration", "seconds": 0.0}),
        ({}, {"type": "duration", "seconds": 0.0}),
        ({"type": "duration", "seconds": 2}, {"type": "duration", "seconds": 2}),
        (
            {"type": "tokens", "input_tokens": 4},
            {
                "type": "tokens",
                "total_tokens": 0,
                "input_tokens": 4,
                "output_tokens": 0,
                "input_token_details": {"text_tokens": 0, "audio_tokens": 0},
            },
        ),
    ],
)
def test_usage_of_a_transcription(usage: Event | None, filled: Event) -> None:
    kind = "conversation.item.input_audio_transcription.completed"
    assert filling().fill({"type": kind, "usage": usage})["usage"] == filled


@pytest.mark.parametrize(
    ("event", "message", "code"),
    [
        ({"error": {"message": "m", "code": 429}}, "m", "429"),
        ({"error": "m"}, "m", None),
        ({"message": "m", "code": "c"}, "m", "c"),
        ({"error": None}, "", None),
    ],
)
def test_an_error_in_any_shape(event: Event, message: str, code: str | None) -> None:
    filled = filling().fill({"type": "error"} | event)
    assert filled["error"]["message"] == message
    assert filled["error"]["code"] == code
    assert fault(GA_SERVER, filled) == ""


def item_of(item: Event) -> Event:
    filled = filling().fill({"type": "conversation.item.added", "event_id": "e", "item": item})
    assert fault(GA_SERVER, filled) == ""
    shown: Event = filled["item"]
    return shown


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ({"type": "input_audio"}, {"type": "input_audio", "transcript": None}),
        ({"type": "input_audio", "transcript": None}, {"type": "input_audio", "transcript": None}),
        ({"type": "output_text", "text": None}, {"type": "output_text", "text": ""}),
        ({"type": "output_audio", "audio": None}, {"type": "output_audio", "transcript": ""}),
        ({"type": "output_audio", "text": "a"}, {"type": "output_audio", "transcript": "a"}),
    ],
)
def test_content(content: Event, shown: Event) -> None:
    role = "user" if content["type"].startswith("input") else "assistant"
    item = {"id": "item_1", "type": "message", "role": role, "content": [content]}
    assert item_of(item)["content"] == [shown]


def test_items_have_no_nulls_and_no_values_that_clients_do_not_know() -> None:
    fields = dict.fromkeys(["status", "object", "name", "call_id", "output"])
    item = {"id": "item_1", "type": "message", "role": "system", "content": None}
    assert item_of(item | fields) == item | {"content": []}
    item = {"type": "function_call", "id": "item_1", "name": "f", "role": "tool", "status": "odd"}
    assert item_of(item) == {
        "type": "function_call",
        "id": "item_1",
        "name": "f",
        "arguments": "",
        "call_id": "item_1",
    }
    call = {"type": "mcp_call", "id": "i", "name": "n", "arguments": "{}", "server_label": "s"}
    assert item_of(call) == call | {"output": None}
    output = {"id": "item_1", "call_id": "c", "output": "{}"}
    assert item_of(output) == output | {"type": "function_call_output"}
    assert item_of({"type": "message", "role": "user", "content": []})["id"] == "made_1"
