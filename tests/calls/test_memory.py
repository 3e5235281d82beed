"""What a call remembers of its sessions, and tells the next one."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import ConversationItemCreateEvent, ConversationItemDeleteEvent
from pydantic import TypeAdapter

from gateway.audio.playout import Heard, ItemPart
from gateway.calls.memory import Memory
from gateway.calls.memory_items import heard_text
from gateway.realtime.client_events import check_client_event
from gateway.realtime.events import Event

pytestmark = pytest.mark.pure

CREATE = TypeAdapter(ConversationItemCreateEvent)
DELETE = TypeAdapter(ConversationItemDeleteEvent)
SESSION = {
    "type": "realtime",
    "model": "first",
    "instructions": "Be brief.",
    "tools": [{"type": "function", "name": "look_up"}],
    "audio": {
        "input": {
            "format": {"type": "audio/pcmu"},
            "transcription": {"model": "whisper-1"},
            "turn_detection": {"type": "server_vad", "threshold": 0.7},
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "marin"},
    },
}


def ids() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"event_{next(numbers)}"


def memory(*events: Event, session: dict[str, Any] = SESSION) -> Memory:
    remembered = Memory(session, new_event_id=ids())
    feed(remembered, *events)
    return remembered


def feed(remembered: Memory, *events: Event) -> None:
    for event in events:
        remembered.server_event(event)


def items(remembered: Memory) -> list[dict[str, Any]]:
    """The items of the replay, checked as a strict server would."""
    events = remembered.replay()
    assert_acceptable(events)
    return [event["item"] for event in events]


def lines(remembered: Memory) -> list[str]:
    """The replay for the eye: who said what."""
    return [line(item) for item in items(remembered)]


def line(item: dict[str, Any]) -> str:
    if item["type"] == "message":
        return f"{item['role']}: {' | '.join(part['text'] for part in item['content'])}"
    if item["type"] == "function_call":
        return f"{item['call_id']}: {item['name']}({item['arguments']})"
    return f"{item['call_id']} = {item['output']}"


def assert_acceptable(events: list[Event]) -> None:
    seen: set[str] = set()
    calls: set[str] = set()
    for event in events:
        CREATE.validate_python(event)
        check_client_event(event)
        assert "previous_item_id" not in event
        item = event["item"]
        if item["type"] == "function_call":
            calls.add(item["call_id"])
        elif item["type"] == "function_call_output":
            assert item["call_id"] in calls
        else:
            kind = "output_text" if item["role"] == "assistant" else "input_text"
            assert item["content"]
            assert all(part["type"] == kind and part["text"] for part in item["content"])
        assert item["id"] not in seen
        seen.add(item["id"])
    event_ids = [event["event_id"] for event in events]
    assert len(set(event_ids)) == len(event_ids)


def echo(events: list[Event]) -> list[Event]:
    """What a server shows of the items that it is told."""
    shown: list[Event] = []
    previous = None
    for event in events:
        item = {"object": "realtime.item", "status": "completed"} | event["item"]
        for change in ("added", "done"):
            kind = f"conversation.item.{change}"
            shown.append({"type": kind, "item": item, "previous_item_id": previous})
        previous = item["id"]
    return shown


# Events as a server of the GA protocol sends them.


def message(item_id: str, role: str, *content: dict[str, Any], status: str) -> dict[str, Any]:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": role,
        "content": list(content),
    }


def turn(
    item_id: str, *, previous: str | None = None, start_ms: int = 0, ms: int = 3000
) -> list[Event]:
    """The caller says something."""
    audio = {"type": "input_audio", "transcript": None}
    item = message(item_id, "user", audio, status="completed")
    place = {"previous_item_id": previous}
    end_ms = start_ms + ms
    buffer = "input_audio_buffer"
    return [
        {"type": f"{buffer}.speech_started", "audio_start_ms": start_ms, "item_id": item_id},
        {"type": f"{buffer}.speech_stopped", "audio_end_ms": end_ms, "item_id": item_id},
        {"type": f"{buffer}.committed", "item_id": item_id} | place,
        {"type": "conversation.item.added", "item": item} | place,
        {"type": "conversation.item.done", "item": item} | place,
    ]


def transcript(item_id: str, text: str) -> Event:
    return {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": item_id,
        "content_index": 0,
        "transcript": text,
    }


def created(response_id: str, conversation: str | None = "conv_1") -> Event:
    response: dict[str, Any] = {"id": response_id, "conversation_id": conversation, "output": []}
    return {"type": "response.created", "response": response}


def begun(response_id: str, item_id: str, previous: str | None = None) -> list[Event]:
    item = message(item_id, "assistant", status="in_progress")
    where = {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}
    part = {"type": "audio", "transcript": ""}
    return [
        created(response_id),
        {
            "type": "response.output_item.added",
            "response_id": response_id,
            "output_index": 0,
            "item": item,
        },
        {"type": "conversation.item.added", "item": item, "previous_item_id": previous},
        {"type": "response.content_part.added", "part": part} | where,
    ]


def words(response_id: str, item_id: str, *deltas: str) -> list[Event]:
    kind = "response.output_audio_transcript.delta"
    where = {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}
    return [{"type": kind, "delta": delta} | where for delta in deltas]


def ended(response_id: str, item_id: str, text: str, *, interrupted: bool = False) -> list[Event]:
    where = {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}
    audio = {"type": "output_audio", "transcript": text}
    status = "incomplete" if interrupted else "completed"
    item = message(item_id, "assistant", audio, status=status)
    details = {"type": "cancelled", "reason": "turn_detected"} if interrupted else None
    response = {
        "id": response_id,
        "conversation_id": "conv_1",
        "status": "cancelled" if interrupted else "completed",
        "status_details": details,
        "output": [item],
    }
    return [
        {"type": "response.output_audio.done"} | where,
        {"type": "response.output_audio_transcript.done", "transcript": text} | where,
        {"type": "response.content_part.done", "part": {"type": "audio", "transcript": text}}
        | where,
        {"type": "conversation.item.done", "item": item, "previous_item_id": None},
        {"type": "response.output_item.done", "response_id": response_id, "item": item},
        {"type": "response.done", "response": response},
    ]


def spoken(response_id: str, item_id: str, text: str, previous: str | None = None) -> list[Event]:
    """A whole response."""
    return [
        *begun(response_id, item_id, previous),
        *words(response_id, item_id, text[:4], text[4:]),
        *ended(response_id, item_id, text),
    ]


def call_item(item_id: str, call_id: str, arguments: str, status: str) -> dict[str, Any]:
    return {
        "id": item_id,
        "type": "function_call",
        "status": status,
        "name": "look_up",
        "call_id": call_id,
        "arguments": arguments,
    }


def call(response_id: str, item_id: str, call_id: str, arguments: str) -> list[Event]:
    """A function call in a response that goes on."""
    where = {"response_id": response_id, "item_id": item_id, "output_index": 1, "call_id": call_id}
    added = call_item(item_id, call_id, "", "in_progress")
    done = call_item(item_id, call_id, arguments, "completed")
    kind = "response.function_call_arguments"
    return [
        {"type": "response.output_item.added", "response_id": response_id, "item": added},
        {"type": "conversation.item.added", "item": added},
        {"type": f"{kind}.delta", "delta": arguments} | where,
        {"type": f"{kind}.done", "name": "look_up", "arguments": arguments} | where,
        {"type": "conversation.item.done", "item": done},
        {"type": "response.output_item.done", "response_id": response_id, "item": done},
    ]


def output_item(item_id: str, call_id: str, output: str) -> dict[str, Any]:
    return {"id": item_id, "type": "function_call_output", "call_id": call_id, "output": output}


def added(item: dict[str, Any], previous: str | None = None) -> Event:
    return {"type": "conversation.item.added", "item": item, "previous_item_id": previous}


def typed(item_id: str, text: str, role: str = "user") -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return message(item_id, role, {"type": kind, "text": text}, status="completed")


def heard(item_id: str, heard_ms: int, held_ms: int, response_id: str = "resp_1") -> Heard:
    return Heard(ItemPart(response_id, item_id, 0), heard_ms, held_ms)


class TestConversation:
    def test_a_conversation(self) -> None:
        remembered = memory(
            *spoken("resp_1", "a", "Hello, how can I help?"),
            *turn("b", previous="a"),
            *begun("resp_2", "c", "b"),
            transcript("b", "Where is my parcel?"),
            *words("resp_2", "c", "I will", " look."),
            *ended("resp_2", "c", "I will look."),
        )
        assert items(remembered) == [
            {
                "id": "a",
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Hello, how can I help?"}],
            },
            {
                "id": "b",
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "Where is my parcel?"}],
            },
            {
                "id": "c",
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "I will look."}],
            },
        ]

    def test_nothing_was_said(self) -> None:
        assert memory({"type": "session.created", "session": SESSION}).replay() == []

    def test_what_is_under_way_counts_with_the_text_so_far(self) -> None:
        begins = begun("resp_1", "a")
        assert lines(memory(*begins)) == []
        assert lines(memory(*begins, *words("resp_1", "a", "Hello", " there"))) == [
            "assistant: Hello there"
        ]

    def test_text_responses(self) -> None:
        where = {"response_id": "resp_1", "item_id": "a", "content_index": 0}
        part = "response.output_text"
        remembered = memory(
            *begun("resp_1", "a"),
            {"type": f"{part}.delta", "delta": "Hel"} | where,
            {"type": f"{part}.delta", "delta": "l"} | where,
        )
        assert lines(remembered) == ["assistant: Hell"]
        feed(remembered, {"type": f"{part}.done", "text": "Hello"} | where)
        assert lines(remembered) == ["assistant: Hello"]

    def test_messages_of_clients(self) -> None:
        several = message(
            "d",
            "user",
            {"type": "input_text", "text": "This"},
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
            {"type": "input_audio", "transcript": "is it."},
            status="completed",
        )
        remembered = memory(
            added(typed("a", "Be kind.", "system")),
            added(typed("b", "DTMF 12"), "a"),
            added(typed("c", "As I said.", "assistant"), "b"),
            added(several, "c"),
        )
        assert lines(remembered) == [
            "system: Be kind.",
            "user: DTMF 12",
            "assistant: As I said.",
            "user: This | [An image was shown here.] | is it.",
        ]

    def test_the_parts_of_a_spoken_message_are_one_text(self) -> None:
        two = message(
            "a",
            "assistant",
            {"type": "output_audio", "transcript": "Hello."},
            {"type": "output_audio", "transcript": "And bye."},
            status="completed",
        )
        remembered = memory({"type": "conversation.item.done", "item": two})
        remembered.cut(Heard(ItemPart("r", "a", 1), 500, 1000))
        assert lines(remembered) == ["assistant: Hello. And"]

    def test_items_stand_where_they_were_inserted(self) -> None:
        remembered = memory(
            added(typed("a", "one")),
            added(typed("c", "three"), "a"),
            added(typed("b", "two"), "a"),
            added(typed("d", "four"), "unknown"),
            added(typed("e", "five"), "e"),
        )
        late = {"type": "conversation.item.done", "item": typed("c", "three")}
        feed(remembered, late | {"previous_item_id": "a"})
        assert lines(remembered) == [f"user: {n}" for n in ("one", "two", "three", "four", "five")]
        create = {"type": "conversation.item.create", "previous_item_id": "root"}
        remembered.to_backend(create | {"item": {"id": "z"} | typed("z", "zero")})
        feed(remembered, added(typed("z", "zero")))
        assert lines(remembered)[0] == "user: zero"

    def test_an_item_that_nobody_can_tell_keeps_its_place(self) -> None:
        listing = {"id": "m", "type": "mcp_list_tools", "server_label": "x", "tools": []}
        remembered = memory(
            added(typed("a", "one")),
            added(listing, "a"),
            added(typed("c", "three"), "m"),
            added(typed("b", "two"), "m"),
            added({"id": "r", "type": "message", "role": "tool", "content": []}, "c"),
            added({"id": "f", "type": "force_message"}, "c"),
        )
        assert lines(remembered) == ["user: one", "user: two", "user: three"]

    def test_deleted_items_are_gone_for_what_comes_late_too(self) -> None:
        remembered = memory(
            *begun("resp_1", "a"),
            *words("resp_1", "a", "Hello"),
            {"type": "conversation.item.deleted", "item_id": "a"},
            {"type": "conversation.item.deleted", "item_id": "unknown"},
            *ended("resp_1", "a", "Hello there"),
        )
        assert lines(remembered) == []
        feed(remembered, added(typed("a", "anew", "assistant")))
        assert lines(remembered) == ["assistant: anew"]


class TestTurns:
    """What the caller said, and what is known of it."""

    def test_a_turn_without_a_transcript(self) -> None:
        told = "[The caller spoke for 3 seconds; there is no transcript.]"
        assert lines(memory(*turn("a", start_ms=1000))) == [f"user: {told}"]
        assert lines(memory(*turn("a"), transcript("a", ""))) == [f"user: {told}"]

    def test_a_turn_of_unknown_length(self) -> None:
        told = "user: [The caller spoke; there is no transcript.]"
        assert lines(memory(*turn("a")[2:])) == [told]
        assert lines(memory(*turn("a"), *turn("b", previous="a")[2:]))[1] == told

    def test_a_turn_of_an_instant(self) -> None:
        told = "user: [The caller spoke for 1 second; there is no transcript.]"
        assert lines(memory(*turn("a", ms=200))) == [told]

    def test_turns_that_a_server_does_not_name(self) -> None:
        nameless = [
            {name: value for name, value in event.items() if name != "item_id"}
            for event in (*turn("a")[:2], *turn("b", ms=1000)[:2])
        ]
        done = turn("a")[4]
        remembered = memory(*nameless[:2], *turn("a")[2:], *nameless[2:], *turn("b")[2:], done)
        assert [line.split(";")[0] for line in lines(remembered)] == [
            "user: [The caller spoke for 3 seconds",
            "user: [The caller spoke for 1 second",
        ]

    def test_the_caller_was_silent(self) -> None:
        timeout = {
            "type": "input_audio_buffer.timeout_triggered",
            "item_id": "a",
            "audio_start_ms": 1000,
            "audio_end_ms": 7000,
        }
        assert lines(memory(timeout, *turn("a")[2:])) == [
            "user: [The caller said nothing for 6 seconds.]"
        ]

    def test_a_transcript_in_pieces(self) -> None:
        kind = "conversation.item.input_audio_transcription.delta"
        pieces: list[Event] = [
            {"type": kind, "item_id": "a", "content_index": 0, "delta": delta}
            for delta in ("Good", " morn")
        ]
        remembered = memory(*turn("a")[:3], *pieces, *turn("a")[3:])
        assert lines(remembered) == ["user: Good morn"]
        feed(remembered, transcript("a", "Good morning!"))
        assert lines(remembered) == ["user: Good morning!"]

    def test_a_transcript_that_failed_in_the_middle_counts_as_far_as_it_came(self) -> None:
        failed = {
            "type": "conversation.item.input_audio_transcription.failed",
            "item_id": "a",
            "error": {"message": "no"},
        }
        assert lines(memory(*turn("a"), failed))[0].startswith("user: [The caller spoke")

    def test_a_server_that_shows_speech_as_text(self) -> None:
        item = typed("a", "Good morn")
        shown = [added(item), {"type": "conversation.item.done", "item": item}]
        remembered = memory(*turn("a")[:3], *shown)
        assert lines(remembered) == ["user: Good morn"]
        feed(remembered, transcript("a", "Good morning!"))
        assert lines(remembered) == ["user: Good morning!"]

    def test_a_server_that_only_transcribes(self) -> None:
        assert lines(memory(transcript("a", "Hello?"))) == ["user: Hello?"]


class TestInterruption:
    """Only what was heard was said."""

    TEXT = "Your parcel left Hamburg on Monday and comes on Friday."

    def test_the_share_of_the_audio_is_the_share_of_the_text(self) -> None:
        remembered = memory(*begun("resp_1", "a"), *words("resp_1", "a", self.TEXT))
        remembered.cut(heard("a", 1000, 2000))
        assert lines(remembered) == ["assistant: Your parcel left Hamburg on"]

    def test_what_comes_after_the_cut_was_not_heard(self) -> None:
        remembered = memory(*begun("resp_1", "a"), *words("resp_1", "a", self.TEXT))
        remembered.cut(heard("a", 1000, 2000))
        feed(
            remembered,
            *words("resp_1", "a", " And"),
            *ended("resp_1", "a", f"{self.TEXT} And", interrupted=True),
            {
                "type": "conversation.item.truncated",
                "item_id": "a",
                "content_index": 0,
                "audio_end_ms": 100,
            },
        )
        assert lines(remembered) == ["assistant: Your parcel left Hamburg on"]

    def test_generated_to_its_end_and_still_playing(self) -> None:
        remembered = memory(*spoken("resp_1", "a", self.TEXT))
        remembered.cut(heard("a", 500, 4000))
        assert lines(remembered) == ["assistant: Your"]

    def test_all_that_had_come_was_heard(self) -> None:
        remembered = memory(*begun("resp_1", "a"), *words("resp_1", "a", "Your parcel left"))
        remembered.cut(heard("a", 1500, 1500))
        assert lines(remembered) == ["assistant: Your parcel left"]

    @pytest.mark.parametrize(("heard_ms", "held_ms"), [(0, 3000), (0, 0), (20, 3000)])
    def test_before_a_word_was_heard(self, heard_ms: int, held_ms: int) -> None:
        remembered = memory(*turn("u"), *spoken("resp_1", "a", self.TEXT, "u"), *turn("v"))
        remembered.cut(heard("a", heard_ms, held_ms))
        assert [item["id"] for item in items(remembered)] == ["u", "v"]

    def test_before_its_text_had_come(self) -> None:
        remembered = memory(*begun("resp_1", "a"))
        remembered.cut(heard("a", 1000, 2000))
        feed(remembered, *ended("resp_1", "a", self.TEXT, interrupted=True))
        assert lines(remembered) == ["assistant: Your parcel left Hamburg on"]

    def test_of_an_item_that_no_event_has_named(self) -> None:
        remembered = memory()
        remembered.cut(heard("a", 1000, 2000))
        assert lines(remembered) == []
        feed(remembered, *words("resp_1", "a", self.TEXT))
        assert lines(remembered) == ["assistant: Your parcel left Hamburg on"]

    def test_before_any_audio_had_come(self) -> None:
        """There is nothing to cut then, but the text was there already."""
        text = "I will"
        remembered = memory(*begun("resp_1", "a"), *words("resp_1", "a", text))
        feed(remembered, *ended("resp_1", "a", text, interrupted=True))
        assert lines(remembered) == []

    def test_an_item_before_the_one_that_was_interrupted_was_heard(self) -> None:
        first = "One moment."
        done = ended("resp_1", "a", first)[:-1]
        second = [{**event, "response_id": "resp_1"} for event in begun("resp_1", "b", "a")[1:]]
        remembered = memory(
            *begun("resp_1", "a"),
            *done,
            *second,
            *words("resp_1", "b", self.TEXT),
        )
        remembered.cut(heard("b", 1000, 2000))
        feed(remembered, *ended("resp_1", "b", self.TEXT, interrupted=True))
        assert lines(remembered) == [
            "assistant: One moment.",
            "assistant: Your parcel left Hamburg on",
        ]

    def test_a_client_truncated_it(self) -> None:
        truncated = {
            "type": "conversation.item.truncated",
            "item_id": "a",
            "content_index": 0,
            "audio_end_ms": 2000,
        }
        told = lines(memory(*spoken("resp_1", "a", self.TEXT), truncated))
        assert told == ["assistant: Your parcel left Hamburg on"]
        nothing = truncated | {"audio_end_ms": 0}
        assert lines(memory(*spoken("resp_1", "a", self.TEXT), nothing)) == []
        late = truncated | {"audio_end_ms": 60_000}
        assert lines(memory(*spoken("resp_1", "a", self.TEXT), late)) == [f"assistant: {self.TEXT}"]

    def test_text_is_not_cut(self) -> None:
        remembered = memory(added(typed("a", self.TEXT, "assistant")))
        remembered.cut(heard("a", 0, 1000))
        truncated = {"type": "conversation.item.truncated", "item_id": "a", "audio_end_ms": 0}
        feed(remembered, truncated)
        assert lines(remembered) == [f"assistant: {self.TEXT}"]


class TestHeardText:
    @pytest.mark.parametrize(
        ("text", "share", "heard"),
        [
            ("Hello there, friend.", 100, "Hello there, friend."),
            ("Hello there, friend.", 60, "Hello there,"),
            ("Hello there, friend.", 58, "Hello there"),
            ("Hello there, friend.", 50, "Hello"),
            ("Hello there, friend.", 20, ""),
            ("Hello there, friend.", 0, ""),
            ("I don't know.", 45, "I"),
            ("Der Käfer", 60, "Der"),
            ("您的包裹星期五到", 50, "您的包裹"),
            ("नमस्ते दुनिया", 80, "नमस्ते"),
            ("", 50, ""),
        ],
    )
    def test_it_ends_with_a_whole_word(self, text: str, share: int, heard: str) -> None:
        assert heard_text(text, share, 100) == heard

    @given(st.text(), st.integers(-10, 5000), st.integers(-10, 5000))
    def test_it_is_a_beginning_of_the_text(self, text: str, heard_ms: int, held_ms: int) -> None:
        heard = heard_text(text, heard_ms, held_ms)
        assert text.startswith(heard)
        assert heard_ms > 0 or not heard


class TestFunctionCalls:
    ARGUMENTS = '{"order": 7}'

    def test_a_call_and_its_output(self) -> None:
        remembered = memory(
            *begun("resp_1", "a"),
            *words("resp_1", "a", "I look."),
            *call("resp_1", "f", "call_1", self.ARGUMENTS),
            added(output_item("o", "call_1", '{"at": "Bonn"}'), "f"),
        )
        assert items(remembered)[1:] == [
            {
                "id": "f",
                "type": "function_call",
                "call_id": "call_1",
                "name": "look_up",
                "arguments": self.ARGUMENTS,
            },
            {
                "id": "o",
                "type": "function_call_output",
                "call_id": "call_1",
                "output": '{"at": "Bonn"}',
            },
        ]

    @pytest.mark.parametrize("events", [4, 5, 6])
    def test_a_call_in_flight(self, events: int) -> None:
        flow = call("resp_1", "f", "call_1", self.ARGUMENTS)
        assert lines(memory(*flow[:events])) == [f"call_1: look_up({self.ARGUMENTS})"]

    @pytest.mark.parametrize("events", [1, 2, 3])
    def test_a_call_whose_arguments_are_incomplete(self, events: int) -> None:
        flow = call("resp_1", "f", "call_1", self.ARGUMENTS)[:events]
        assert lines(memory(*flow)) == []
        assert lines(memory(*flow, added(output_item("o", "call_1", "1"), "f"))) == []

    def test_a_call_that_was_cancelled_in_the_middle(self) -> None:
        item = call_item("f", "call_1", '{"or', "incomplete")
        done = {"type": "response.output_item.done", "response_id": "resp_1", "item": item}
        assert lines(memory(*call("resp_1", "f", "call_1", self.ARGUMENTS)[:3], done)) == []

    def test_a_call_that_was_cancelled_when_its_arguments_were_known(self) -> None:
        item = call_item("f", "call_1", '{"or', "incomplete")
        done = {"type": "response.output_item.done", "response_id": "resp_1", "item": item}
        flow = call("resp_1", "f", "call_1", self.ARGUMENTS)[:4]
        assert lines(memory(*flow, done)) == [f"call_1: look_up({self.ARGUMENTS})"]

    def test_a_call_known_from_one_event_alone(self) -> None:
        item = call_item("f", "call_1", self.ARGUMENTS, "completed")
        response = {"id": "resp_1", "output": [item], "status": "completed"}
        told = [f"call_1: look_up({self.ARGUMENTS})"]
        assert lines(memory({"type": "response.done", "response": response})) == told
        assert lines(memory(call("resp_1", "f", "call_1", self.ARGUMENTS)[3])) == told
        assert lines(memory({"type": "conversation.item.created", "item": item})) == told

    def test_a_call_without_arguments(self) -> None:
        assert lines(memory(*call("resp_1", "f", "call_1", ""))) == ["call_1: look_up()"]

    def test_an_output_without_its_call(self) -> None:
        output = added(output_item("o", "call_1", "1"))
        assert lines(memory(output)) == []
        flow = call("resp_1", "f", "call_1", self.ARGUMENTS)
        deleted = {"type": "conversation.item.deleted", "item_id": "f"}
        assert lines(memory(*flow, output, deleted)) == []
        answers_nothing = {"id": "o", "type": "function_call_output", "output": "1"}
        assert lines(memory(added(typed("a", "Hi.")), added(answers_nothing))) == ["user: Hi."]

    @pytest.mark.parametrize("lacks", ["call_id", "name"])
    def test_a_call_that_nobody_can_answer(self, lacks: str) -> None:
        item = call_item("f", "call_1", self.ARGUMENTS, "completed")
        del item[lacks]
        assert lines(memory(added(item))) == []


class TestOtherServers:
    """Any of the events may be missing, or come in another order."""

    FLOW = spoken("resp_1", "a", "Hello there.", "u")

    @pytest.mark.parametrize(
        "left_out",
        [
            ("response.output_item.added",),
            ("conversation.item.added", "conversation.item.done"),
            ("response.created", "response.done"),
            ("response.output_audio_transcript.delta",),
            ("response.output_audio_transcript.delta", "response.output_audio_transcript.done"),
            (
                "response.output_item.added",
                "response.output_item.done",
                "conversation.item.added",
                "conversation.item.done",
            ),
            tuple({event["type"] for event in FLOW} - {"response.done"}),
            (
                "response.output_audio_transcript.done",
                "response.output_item.done",
                "conversation.item.done",
            ),
            tuple({event["type"] for event in FLOW} - {"conversation.item.done"}),
            tuple({event["type"] for event in FLOW} - {"response.output_audio_transcript.done"}),
        ],
        ids=len,
    )
    def test_events_left_out(self, left_out: tuple[str, ...]) -> None:
        events = [event for event in self.FLOW if event["type"] not in left_out]
        said = "[The caller spoke for 3 seconds; there is no transcript.]"
        assert lines(memory(*turn("u"), *events)) == [f"user: {said}", "assistant: Hello there."]

    def test_events_in_another_order(self) -> None:
        flow = self.FLOW
        swapped = [flow[0], flow[2], flow[1], *flow[3:]]
        told = lines(memory(*turn("u"), *flow))
        assert lines(memory(*turn("u"), *swapped)) == told
        assert lines(memory(*turn("u"), *reversed(flow))) == told

    def test_the_answer_comes_before_the_turn_is_shown(self) -> None:
        late = turn("u")[3:]
        remembered = memory(*turn("u")[:2], *spoken("resp_1", "a", "Hello."), *late)
        assert [item["id"] for item in items(remembered)] == ["a", "u"]
        placed = [event | {"previous_item_id": "s"} for event in late]
        remembered = memory(
            added(typed("s", "Hi", "system")),
            *turn("u")[:2],
            *spoken("resp_1", "a", "Hello."),
            *placed,
        )
        assert [item["id"] for item in items(remembered)] == ["s", "u", "a"]

    def test_an_item_is_shown_late_and_as_it_was_when_it_began(self) -> None:
        began = message(
            "a",
            "assistant",
            {"type": "output_audio", "transcript": "Hel"},
            status="in_progress",
        )
        remembered = memory(*words("resp_1", "a", "Hello", " there."), added(began))
        assert lines(remembered) == ["assistant: Hello there."]

    def test_what_an_item_is_comes_later(self) -> None:
        remembered = memory(added({"id": "a"}), added(typed("b", "two"), "a"))
        assert lines(remembered) == ["user: two"]
        feed(remembered, added(typed("a", "one"), "b"))
        assert lines(remembered) == ["user: one", "user: two"]

    def test_an_item_without_an_id(self) -> None:
        item = typed("", "Hello")
        assert lines(memory(added(item), added(item | {"id": None}), *words("r", "", "x"))) == []

    def test_words_of_the_other_kind(self) -> None:
        delta = {"type": "response.output_text.delta", "item_id": "u", "delta": "!"}
        remembered = memory(added(typed("u", "Hi.")), added(typed("a", "Hello.", "assistant")))
        feed(remembered, *words("r", "a", "Bye."), delta)
        assert lines(remembered) == ["user: Hi.", "assistant: Hello."]

    @pytest.mark.parametrize("text", [None, 7, True, [], {}])
    def test_text_that_is_none(self, text: object) -> None:
        item = typed("a", "x") | {"content": [{"type": "input_text", "text": text}, text]}
        assert lines(memory(added(item), added(item | {"id": "b", "content": text}))) == []

    def test_the_end_of_a_response_has_the_last_word(self) -> None:
        flow = self.FLOW
        assert lines(memory(*flow[:5], flow[-1])) == ["assistant: Hello there."]

    def test_a_message_of_spaces(self) -> None:
        assert lines(memory(*spoken("resp_1", "a", "      "))) == []

    def test_events_sent_twice(self) -> None:
        twice = [event for event in self.FLOW for _ in range(2)]
        assert lines(memory(*twice)) == ["assistant: Hello there."]


class TestOutOfBand:
    """Responses beside the conversation are no part of it."""

    def beside(self) -> list[Event]:
        shown = [
            event
            for event in spoken("resp_9", "z", "A summary.")
            if not event["type"].startswith("conversation")
        ]
        response = shown[-1]["response"] | {"conversation_id": None}
        done = shown[-1] | {"response": response}
        return [created("resp_9", None), *shown[1:-1], done]

    def test_it_never_enters(self) -> None:
        remembered = memory(*spoken("resp_1", "a", "Hello."), *self.beside())
        remembered.cut(heard("z", 100, 1000, "resp_9"))
        assert lines(remembered) == ["assistant: Hello."]

    def test_it_is_known_only_at_its_end(self) -> None:
        assert lines(memory(*self.beside()[1:])) == []

    def test_a_server_that_names_no_conversation_shows_its_items_all_the_same(self) -> None:
        flow = spoken("resp_1", "a", "Hello.")
        flow[0] = created("resp_1", None)
        flow[-1] = {"type": "response.done", "response": {"id": "resp_1", "conversation_id": None}}
        assert lines(memory(*flow)) == ["assistant: Hello."]
        assert lines(memory(*flow[:6])) == ["assistant: Hello."]

    def test_a_response_without_an_id(self) -> None:
        nameless = {"type": "response.created", "response": {"conversation_id": None}}
        assert lines(memory(nameless, *words("", "a", "Hello."))) == ["assistant: Hello."]


class TestBounds:
    def test_the_oldest_items_go_first(self) -> None:
        remembered = memory(*(added(typed(f"i{n}", f"line {n}")) for n in range(250)))
        told = lines(remembered)
        assert len(told) == 200
        assert told[0] == "user: line 50"

    def test_text_is_bounded(self) -> None:
        remembered = memory(*(added(typed(f"i{n}", "ä" * 5000)) for n in range(20)))
        assert [item["id"] for item in items(remembered)] == [f"i{n}" for n in range(14, 20)]

    def test_a_call_goes_with_its_output(self) -> None:
        remembered = memory(
            *call("resp_1", "f", "call_1", "{}"),
            *(added(typed(f"i{n}", "x")) for n in range(198)),
            added(output_item("o", "call_1", "1")),
        )
        assert len(items(remembered)) == 200
        feed(remembered, added(typed("last", "x")))
        assert [item["id"] for item in items(remembered)][:2] == ["i0", "i1"]
        feed(remembered, added(typed("more", "x")))
        assert [item["id"] for item in items(remembered)][:2] == ["i0", "i1"]
        assert len(items(remembered)) == 200

    def test_an_item_that_is_too_long_costs_no_other(self) -> None:
        remembered = memory(added(typed("a", "one")), added(typed("b", "x" * 70_000)))
        assert lines(remembered) == ["user: one"]
        feed(remembered, *words("resp_1", "c", *["y" * 1000] * 70))
        assert lines(remembered) == ["user: one"]

    def test_a_message_has_a_few_parts(self) -> None:
        where = {"response_id": "resp_1", "item_id": "a"}
        kind = "response.output_audio_transcript.delta"
        remembered = memory(
            *({"type": kind, "delta": f"{n}.", "content_index": n} | where for n in range(50))
        )
        assert lines(remembered) == [f"assistant: {' '.join(f'{n}.' for n in range(32))}"]

    def test_late_events_bring_no_forgotten_item_back(self) -> None:
        remembered = memory(*turn("u"), *(added(typed(f"i{n}", "x")) for n in range(200)))
        feed(remembered, transcript("u", "Hello?"), *turn("u")[4:])
        assert "u" not in [item["id"] for item in items(remembered)]

    def test_unanswered_events_are_bounded(self) -> None:
        remembered = memory()
        for n in range(300):
            remembered.to_backend({"type": "session.update", "session": {"n": n}})
        told = [event["session"]["n"] for event in remembered.unanswered()]
        assert told[-1] == 299
        assert len(told) <= 64
        big = typed("", "x" * 70_000)
        remembered.to_backend({"type": "conversation.item.create", "item": big})
        assert remembered.unanswered()[-1]["type"] == "session.update"


class TestHandover:
    """The next session is told, and shows what it was told."""

    def conversation(self) -> Memory:
        remembered = memory(
            *turn("u"),
            *spoken("resp_1", "a", TestInterruption.TEXT, "u"),
            *call("resp_1", "f", "call_1", "{}"),
            added(output_item("o", "call_1", "1"), "f"),
            *call("resp_1", "g", "call_2", "{}")[:2],
            *turn("v", previous="o"),
            transcript("v", "Thanks."),
        )
        remembered.cut(heard("a", 1000, 2000))
        return remembered

    def test_the_echo_changes_nothing(self) -> None:
        remembered = self.conversation()
        told = items(remembered)
        feed(remembered, *echo(remembered.replay()))
        assert items(remembered) == told

    def test_what_stood_in_for_the_words_is_not_taken_for_words(self) -> None:
        remembered = memory(*turn("u"))
        feed(remembered, *echo(remembered.replay()))
        kind = "conversation.item.input_audio_transcription.delta"
        feed(remembered, {"type": kind, "item_id": "u", "delta": "Good"})
        assert lines(remembered) == ["user: Good"]

    def test_a_memory_that_knows_only_the_echo_tells_the_same(self) -> None:
        remembered = self.conversation()
        fresh = memory(*echo(remembered.replay()))
        assert items(fresh) == items(remembered)

    def test_an_item_that_still_plays_is_cut_after_the_handover(self) -> None:
        remembered = memory(
            *turn("u"),
            *begun("resp_1", "g", "u"),
            *spoken("resp_1", "a", TestInterruption.TEXT, "g"),
        )
        feed(remembered, *echo(remembered.replay()))
        remembered.cut(heard("a", 1000, 2000))
        delete, create = remembered.rewrite("a")
        DELETE.validate_python(delete)
        CREATE.validate_python(create)
        assert delete["item_id"] == create["item"]["id"] == "a"
        assert create["previous_item_id"] == "u"  # not "g", of which nothing was ever told
        assert line(create["item"]) == "assistant: Your parcel left Hamburg on"
        assert len({delete["event_id"], create["event_id"]}) == 2
        feed(remembered, *echo([create]))
        assert items(remembered)[1] == create["item"]
        assert remembered.unanswered() == []

    def test_an_item_of_which_nothing_was_heard_is_deleted(self) -> None:
        remembered = memory(*spoken("resp_1", "a", "Hello."), *turn("u", previous="a"))
        remembered.replay()
        remembered.cut(heard("a", 0, 2000))
        (delete,) = remembered.rewrite("a")
        assert delete["type"] == "conversation.item.delete"
        assert delete["item_id"] == "a"

    def test_the_first_item_is_written_anew_in_its_place(self) -> None:
        remembered = memory(*spoken("resp_1", "a", TestInterruption.TEXT), *turn("u", previous="a"))
        remembered.replay()
        remembered.cut(heard("a", 1000, 2000))
        create = remembered.rewrite("a")[1]
        assert create["previous_item_id"] == "root"
        feed(remembered, *echo([create]))
        assert [item["id"] for item in items(remembered)] == ["a", "u"]

    def test_an_unknown_item_is_not_rewritten(self) -> None:
        assert self.conversation().rewrite("unknown") == []

    def test_the_conversation_goes_on_in_the_next_session(self) -> None:
        remembered = memory(*turn("u"), transcript("u", "Hi."))
        feed(
            remembered,
            *echo(remembered.replay()),
            *spoken("resp_2", "b", "Hello again.", "u"),
            *turn("v", previous="b"),
            transcript("v", "Bye."),
        )
        assert lines(remembered) == ["user: Hi.", "assistant: Hello again.", "user: Bye."]


class TestSession:
    @staticmethod
    def updated(*updates: dict[str, Any]) -> dict[str, Any]:
        remembered = memory()
        for update in updates:
            remembered.to_backend({"type": "session.update", "session": update})
            feed(remembered, {"type": "session.updated", "session": {"not": "looked at"}})
        return remembered.session

    def test_an_update_counts_when_it_is_confirmed(self) -> None:
        remembered = memory()
        update = {"type": "session.update", "session": {"instructions": "Be long."}}
        sent = remembered.to_backend(update)
        assert sent == update | {"event_id": sent["event_id"]}
        assert remembered.session == SESSION
        assert remembered.unanswered() == [sent]
        feed(remembered, {"type": "session.updated", "session": {}})
        assert remembered.session == SESSION | {"instructions": "Be long."}
        assert remembered.unanswered() == []

    def test_a_refused_update_does_not_count(self) -> None:
        remembered = memory()
        first = {"type": "session.update", "event_id": "mine", "session": {"instructions": "1"}}
        assert remembered.to_backend(first) == first
        remembered.to_backend({"type": "session.update", "session": {"tools": []}})
        feed(
            remembered,
            {"type": "error", "error": {"message": "no", "event_id": "another"}},
            {"type": "error", "error": {"message": "no", "event_id": "mine"}},
            {"type": "session.updated", "session": {}},
            {"type": "session.updated", "session": {}},
        )
        assert remembered.session == SESSION | {"tools": []}

    def test_fields_of_audio_are_merged_and_all_else_is_replaced(self) -> None:
        session = self.updated(
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.2}}}},
            {"audio": {"input": {"turn_detection": {"silence_duration_ms": 300}}}},
            {"audio": {"input": {"transcription": {"language": "de"}}, "output": {"speed": 1.2}}},
            {"tools": [], "tool_choice": {"type": "function", "name": "x"}, "prompt": None},
        )
        assert session["tools"] == []
        assert session["prompt"] is None
        assert session["instructions"] == "Be brief."
        assert session["audio"] == {
            "input": {
                "format": {"type": "audio/pcmu"},
                "transcription": {"language": "de"},
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.2,
                    "silence_duration_ms": 300,
                },
            },
            "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.2},
        }

    def test_another_turn_detection_replaces_the_one_before(self) -> None:
        semantic = {"type": "semantic_vad", "eagerness": "low"}
        session = self.updated({"audio": {"input": {"turn_detection": semantic}}})
        assert session["audio"]["input"]["turn_detection"] == semantic
        session = self.updated({"audio": {"input": {"turn_detection": None}}})
        assert session["audio"]["input"]["turn_detection"] is None

    def test_the_model_stays(self) -> None:
        assert self.updated({"model": "second", "instructions": ""})["model"] == "first"

    def test_it_is_a_copy(self) -> None:
        config: dict[str, Any] = {"type": "realtime", "tools": []}
        remembered = memory(session=config)
        config["tools"].append("x")
        remembered.session["tools"].append("y")
        assert remembered.session["tools"] == []


class TestUnanswered:
    """What may have been lost with a session."""

    OUTPUT: Event = {
        "type": "conversation.item.create",
        "item": {"type": "function_call_output", "call_id": "call_1", "output": "1"},
    }

    def test_an_output_waits_until_the_server_shows_it(self) -> None:
        remembered = memory(*call("resp_1", "f", "call_1", "{}"))
        sent = remembered.to_backend(self.OUTPUT)
        assert remembered.unanswered() == [sent]
        feed(remembered, *turn("u"))
        assert remembered.unanswered() == [sent]
        feed(remembered, added(output_item("o", "call_1", "1"), "f"))
        assert remembered.unanswered() == []
        assert "call_1 = 1" in lines(remembered)

    def test_messages_are_recognised_by_their_words(self) -> None:
        remembered = memory()
        creates = []
        for text in ("DTMF 1", "DTMF 2", "DTMF 1"):
            item = {name: value for name, value in typed("", text).items() if name != "id"}
            create = {"type": "conversation.item.create", "item": item}
            creates.append(remembered.to_backend(create))
        feed(remembered, *turn("u"), added(typed("v", "DTMF 3")))
        assert remembered.unanswered() == creates
        for item_id, text in (("a", "DTMF 1"), ("b", "DTMF 2")):
            item = typed(item_id, text)
            feed(remembered, added(item), {"type": "conversation.item.done", "item": item})
        assert remembered.unanswered() == [creates[2]]

    def test_items_with_an_id_are_recognised_by_it(self) -> None:
        remembered = memory()
        sent = remembered.to_backend({"type": "conversation.item.create", "item": typed("a", "x")})
        feed(remembered, added(typed("b", "x")))
        assert remembered.unanswered() == [sent]
        feed(remembered, {"type": "conversation.item.done", "item": typed("a", "x")})
        assert remembered.unanswered() == []

    def test_a_refused_item_is_not_asked_for_again(self) -> None:
        remembered = memory()
        remembered.to_backend(self.OUTPUT | {"event_id": "mine"})
        feed(remembered, {"type": "error", "error": {"event_id": "mine"}})
        assert remembered.unanswered() == []

    def test_in_the_order_in_which_it_was_asked_and_no_replay_of_it(self) -> None:
        remembered = memory(*turn("u"))
        update = remembered.to_backend({"type": "session.update", "session": {}})
        output = remembered.to_backend(self.OUTPUT)
        replay = [remembered.to_backend(event) for event in remembered.replay()]
        assert replay == [event | {"event_id": event["event_id"]} for event in replay]
        assert remembered.unanswered() == [update, output]
        assert [remembered.to_backend(event) for event in (update, output)] == [update, output]
        assert remembered.unanswered() == [update, output]

    def test_other_events_pass_as_they_are(self) -> None:
        remembered = memory()
        event = {"type": "response.create"}
        assert remembered.to_backend(event) is event
        assert remembered.unanswered() == []


def test_the_word_for_the_front_names_no_item() -> None:
    remembered = memory(
        {"type": "response.output_text.done", "item_id": "root", "text": "Hello"},
        {"type": "input_audio_buffer.committed", "item_id": "a", "previous_item_id": None},
    )
    assert [item["id"] for item in items(remembered) if item["id"] == "root"] == []
