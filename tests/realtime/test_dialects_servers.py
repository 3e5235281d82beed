"""What servers really send, by their sources and documents, as strict official GA clients read it.

Each stream is one turn: the caller speaks, and the model answers or calls a function.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from gateway.realtime.dialects import Dialect, DialectOptions
from tests.realtime.official import GA_SERVER, Event, fault

pytestmark = pytest.mark.pure

_T = "conversation.item.input_audio_transcription"


def part(**more: Any) -> Event:
    return {"response_id": "resp_1", "item_id": "item_2", **more}


def at_zero(**more: Any) -> Event:
    return part(output_index=0, content_index=0, **more)


def said(*content: Event, **more: Any) -> Event:
    return {"id": "item_2", "type": "message", "role": "assistant", "content": [*content], **more}


HEARD = {"type": "input_audio", "transcript": None}

SPEACHES: list[Event] = [  # beta; an item in progress is incomplete
    {"type": "session.created", "session": {"id": "s", "modalities": ["audio", "text"]}
     | {"input_audio_format": "pcm16", "output_audio_format": "pcm16", "voice": "af", "model": "m"}
     | {"temperature": 0.8, "tool_choice": "auto", "tools": [], "speech_model": "kokoro"}
     | {"turn_detection": {"type": "server_vad", "threshold": 0.9, "barge_in_delay_ms": 400}}
     | {"max_response_output_tokens": "inf", "instructions": "", "no_response_token": "*"}},
    {"type": "input_audio_buffer.speech_started", "audio_start_ms": 1, "item_id": "item_1"},
    {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 2, "item_id": "item_1"},
    {"type": "input_audio_buffer.committed", "item_id": "item_1", "previous_item_id": None},
    {"type": "conversation.item.created", "previous_item_id": None}
    | {"item": {"id": "item_1", "object": "realtime.item", "status": "completed"}
       | {"type": "message", "role": "user", "content": [HEARD]}},
    {"type": f"{_T}.completed", "item_id": "item_1", "content_index": 0, "transcript": "hi"},
    {"type": "response.created", "response": {"id": "resp_1", "status": "incomplete", "output": []}
     | {"modalities": ["audio", "text"], "object": "realtime.response"}},
    {"type": "response.output_item.added", "response_id": "resp_1", "output_index": 0}
    | {"item": said(status="incomplete")},
    {"type": "conversation.item.created", "previous_item_id": "item_1"}
    | {"item": said(status="incomplete")},
    {"type": "response.content_part.added", **at_zero(part={"type": "audio", "transcript": ""})},
    {"type": "response.audio_transcript.delta", **at_zero(delta="hello")},
    {"type": "response.audio.done", **at_zero()},
    {"type": "response.audio_transcript.done", **at_zero(transcript="hello")},
    {"type": "response.content_part.done"}
    | at_zero(part={"type": "audio", "transcript": "hello"}),
    {"type": "response.output_item.done", "response_id": "resp_1", "output_index": 0}
    | {"item": said({"type": "audio", "transcript": "hello", "audio": ""}, status="completed")},
    {"type": "response.done", "response": {"id": "resp_1", "status": "completed"}
     | {"output": [said({"type": "audio", "transcript": "hello", "audio": ""}, status="completed")]}
     | {"modalities": ["audio", "text"], "object": "realtime.response"}},
]  # fmt: skip

LOCALAI: list[Event] = [  # GA; ids are left out or empty, no `.done`, own items are not announced
    {"type": "session.created", "event_id": "event_TODO", "session": {"type": "realtime"}
     | {"id": "s", "model": "m", "audio": {"output": {"format": {"type": "audio/pcm"}}}}},
    {"type": "input_audio_buffer.speech_started", "audio_start_ms": 1, "item_id": ""},
    {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 2, "item_id": ""},
    {"type": "input_audio_buffer.committed", "item_id": "x", "previous_item_id": "TODO"},
    {"type": f"{_T}.completed", "item_id": "y", "content_index": 0, "transcript": "hi"},
    {"type": "conversation.item.added", "item": {"id": "item_1", "type": "message"}
     | {"role": "user", "status": "completed"}
     | {"content": [{"type": "input_audio", "audio": "AAAA", "transcript": "hi"}]}},
    {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}},
    {"type": "response.output_item.added", "response_id": "resp_1", "output_index": 0}
    | {"item": said({"type": "output_audio", "transcript": "hello"}, status="in_progress")},
    {"type": "response.content_part.added"}
    | at_zero(part={"type": "output_audio", "transcript": "hello"}),
    {"type": "response.output_audio_transcript.delta", **at_zero(delta="hello")},
    {"type": "response.output_audio_transcript.done", **at_zero(transcript="hello")},
    {"type": "response.output_audio.done", **at_zero()},
    {"type": "response.content_part.done"}
    | at_zero(part={"type": "output_audio", "transcript": "hello"}),
    {"type": "response.output_item.done", "response_id": "resp_1", "output_index": 0}
    | {"item": said({"type": "output_audio", "transcript": "hello"}, status="completed")},
    {"type": "response.done", "response": {"id": "resp_1", "status": "completed"}},
    {"type": "error", "error": {"type": "t", "code": "c", "message": "m", "param": ""}},
]  # fmt: skip

HUGGINGFACE: list[Event] = [  # GA; `.created`, nulls, no items of its own
    {"type": "session.created", "session": {"type": "realtime", "audio": None}},
    {"type": "conversation.item.created", "previous_item_id": None}
    | {"item": {"id": "item_1", "type": "message", "role": "user", "status": None}
       | {"object": None, "content": [{"type": "input_text", "text": "hi", "audio": None}]}},
    {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}
     | {"output": None, "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}}
     | {"audio": {"output": {"voice": None, "format": None}}, "status_details": None}},
    {"type": "response.output_audio_transcript.done", **at_zero(transcript="hello")},
    {"type": "response.function_call_arguments.done"}
    | part(output_index=1, call_id="c", name="f", arguments="{}"),
    {"type": "response.output_audio.done", **at_zero()},
    {"type": "response.done", "response": {"id": "resp_1", "status": "completed"}
     | {"status_details": {"type": "completed", "reason": None}, "output": None}},
]  # fmt: skip

XAI: list[Event] = [
    {"type": "ping", "event_id": "p", "timestamp": 1},
    {"type": "conversation.created", "conversation": {"id": "conv_1"}},
    {"type": "session.updated", "session": {"voice": "eve", "turn_detection": {"type": None}}
     | {"audio": {"input": {"transcription": {"language_hint": "de"}}}}},
    {"type": "input_audio_buffer.speech_started", "item_id": "item_1"},
    {"type": f"{_T}.updated", "item_id": "item_1", "transcript": "I"},
    {"type": f"{_T}.updated", "item_id": "item_1", "transcript": "I would"},
    {"type": f"{_T}.updated", "item_id": "item_1", "transcript": "Eye wood"},
    {"type": "input_audio_buffer.speech_stopped", "item_id": "item_1"},
    {"type": "input_audio_buffer.committed", "item_id": "item_1"},
    {"type": "conversation.item.added", "item": {"id": "item_1", "type": "message"}
     | {"role": "user", "status": "completed", "content": [{"type": "input_audio"}]}},
    {"type": f"{_T}.completed", "item_id": "item_1", "transcript": "I would"},
    {"type": "response.created", "response": {"id": "resp_1", "object": "realtime.response"}
     | {"status": "in_progress", "status_details": "unimplemented", "output": [], "usage": {}}},
    {"type": "response.output_item.added", "response_id": "resp_1"}
    | {"item": said(status="in_progress")},
    {"type": "conversation.item.added", "item": said(status="in_progress")},
    {"type": "response.content_part.added", **part(part={"type": "audio"})},
    {"type": "response.output_audio_transcript.delta", **part(delta="he")},
    {"type": "response.audio_transcript.delta", **part(delta="llo")},
    {"type": "response.output_audio.delta", **part(delta="AAAA")},
    {"type": "response.output_audio.done", **part()},
    {"type": "response.output_audio_transcript.done", **part()},
    {"type": "response.content_part.done", **part()},
    {"type": "response.output_item.done", "response_id": "resp_1"}
    | {"item": said({"type": "audio", "transcript": "hello"}, status="completed")},
    {"type": "response.output_item.added", "response_id": "resp_1"}
    | {"item": {"id": "item_3", "type": "function_call", "name": "f", "call_id": "c"}
       | {"status": "in_progress", "arguments": "", "role": "tool"}},
    {"type": "conversation.item.added"}
    | {"item": {"id": "item_3", "type": "function_call", "name": "f", "call_id": "c"}
       | {"status": "in_progress", "role": "tool"}},
    {"type": "response.function_call_arguments.done", "call_id": "c", "name": "f"}
    | {"arguments": "{}"},
    {"type": "response.output_item.done", "response_id": "resp_1"}
    | {"item": {"id": "item_3", "type": "function_call", "name": "f", "call_id": "c"}
       | {"status": "completed", "arguments": "{}", "role": "tool"}},
    {"type": "response.output_item.added", "response_id": "resp_1"}
    | {"item": {"id": "item_4", "type": "web_search_call", "status": "completed"}},
    {"type": "response.done", "usage": {"total_tokens": 7}, "response": {"id": "resp_1"}
     | {"status": "completed", "usage": {}, "output": [{"type": "web_search_call"}]}},
    {"type": "error", "error": {"type": "max_duration", "message": "m"}},
]  # fmt: skip

QWEN: list[Event] = [
    {"type": "session.updated", "session": {"modalities": ["text", "audio"], "voice": "Cherry"}
     | {"input_audio_format": "pcm16", "output_audio_format": "pcm24", "temperature": 0.8}
     | {"turn_detection": {"type": "server_vad", "silence_duration_ms": 800}}
     | {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}},
    {"type": "input_audio_buffer.speech_started", "audio_start_ms": 1, "item_id": "item_1"},
    {"type": f"{_T}.delta", "item_id": "item_1", "text": "I", "stash": "wood"},
    {"type": f"{_T}.delta", "item_id": "item_1", "text": "I would", "stash": "like"},
    {"type": f"{_T}.delta", "item_id": "item_1", "text": "I would", "stash": "love"},
    {"type": "input_audio_buffer.committed", "item_id": "item_1"},
    {"type": "conversation.item.created", "item": {"id": "item_1", "object": "realtime.item"}
     | {"type": "message", "status": "completed", "role": "user", "content": [HEARD]}},
    {"type": f"{_T}.completed", "item_id": "item_1", "content_index": 0, "transcript": "I would"},
    {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}
     | {"modalities": ["text", "audio"], "voice": "Cherry", "output_audio_format": "pcm16"}},
    {"type": "response.output_item.added", "response_id": "resp_1", "output_index": 0}
    | {"item": said(status="in_progress")},
    {"type": "conversation.item.created", "item": said(status="in_progress")},
    {"type": "response.content_part.added", **at_zero(part={"type": "audio", "text": ""})},
    {"type": "response.audio_transcript.delta", **at_zero(delta="hello")},
    {"type": "response.audio.delta", **at_zero(delta="AAAA")},
    {"type": "response.audio_transcript.done", **at_zero(transcript="hello")},
    {"type": "response.audio.done", **at_zero()},
    {"type": "response.content_part.done", **at_zero(part={"type": "audio", "text": "hello"})},
    {"type": "response.output_item.done", "response_id": "resp_1", "output_index": 0}
    | {"item": said({"type": "audio", "text": "hello"}, status="completed")},
    {"type": "response.function_call_arguments.done"}
    | {"response_id": "resp_1", "call_id": "c", "name": "f", "arguments": "{}"},
    {"type": "response.done", "response": {"id": "resp_1", "status": "completed"}
     | {"output": [said({"type": "audio", "text": "hello"}, status="completed")]}
     | {"usage": {"total_tokens": 3, "input_tokens": 1, "output_tokens": 2}
        | {"input_tokens_details": {"text_tokens": 1}}
        | {"output_tokens_details": {"text_tokens": 1, "audio_tokens": 1}}}},
]  # fmt: skip

STREAMS = {
    "speaches": ("beta", SPEACHES),
    "localai": ("ga", LOCALAI),
    "huggingface": ("ga", HUGGINGFACE),
    "xai": ("xai", XAI),
    "qwen": ("qwen", QWEN),
}


def numbered() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"made_{next(numbers)}"


def read(name: str) -> list[Event]:
    kind, stream = STREAMS[name]
    dialect = Dialect(DialectOptions(kind, truncate="skip"), numbered())
    return [event for sent in stream for event in dialect.from_server(sent)]


def short(events: list[Event]) -> list[str]:
    return [event["type"].removeprefix("conversation.item.") for event in events]


@pytest.mark.parametrize("name", STREAMS)
def test_every_event_fits_the_official_types(name: str) -> None:
    events = read(name)
    assert [fault(GA_SERVER, event) for event in events if fault(GA_SERVER, event)] == []
    assert all(event["event_id"] for event in events)


@pytest.mark.parametrize("name", STREAMS)
def test_every_item_is_added_once_and_done_once_and_in_this_order(name: str) -> None:
    changes: dict[str, list[str]] = {}
    for event in read(name):
        if event["type"] in ("conversation.item.added", "conversation.item.done"):
            changes.setdefault(event["item"]["id"], []).append(event["type"].rpartition(".")[2])
    assert changes
    assert all(done == ["added", "done"] for done in changes.values())
    assert "conversation.item.created" not in {event["type"] for event in read(name)}


def test_speaches() -> None:
    events = read("speaches")
    assert short(events)[4:] == [
        "added",
        "done",
        "input_audio_transcription.completed",
        "response.created",
        "response.output_item.added",
        "added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "done",
        "response.output_item.done",
        "response.done",
    ]
    session = events[0]["session"]
    assert session["audio"]["input"]["turn_detection"]["barge_in_delay_ms"] == 400
    assert session["speech_model"] == "kokoro"
    assert events[-1]["response"]["output"][0]["content"][0]["type"] == "output_audio"
    assert events[6]["usage"] == {"type": "duration", "seconds": 0.0}


def test_localai_announces_the_items_of_the_model_when_they_are_done() -> None:
    events = read("localai")
    kinds = short(events)
    assert kinds.count("added") == kinds.count("done") == 2
    assert kinds[kinds.index("response.output_item.done") - 2 :][:2] == ["added", "done"]
    parts = [event["part"] for event in events if "part" in event]
    assert parts == [{"type": "audio", "transcript": "hello"}] * 2


def test_huggingface() -> None:
    assert short(read("huggingface")) == [
        "session.created",
        "added",
        "done",
        "response.created",
        "response.output_audio_transcript.done",
        "response.function_call_arguments.done",
        "response.output_audio.done",
        "response.done",
    ]


def test_xai() -> None:
    events = read("xai")
    by_type: dict[str, list[Event]] = {}
    for event in events:
        by_type.setdefault(event["type"], []).append(event)
    assert "ping" not in by_type
    [updated] = by_type["session.updated"]
    assert updated["session"]["audio"] == {
        "input": {"transcription": {"language": "de"}, "turn_detection": None},
        "output": {"voice": "eve"},
    }
    assert [event["delta"] for event in by_type[f"{_T}.delta"]] == ["I", " would"]
    assert by_type[f"{_T}.completed"][0]["transcript"] == "I would"
    assert by_type["response.output_audio_transcript.done"][0]["transcript"] == "hello"
    assert by_type["response.content_part.done"][0]["part"] == {
        "type": "audio",
        "transcript": "hello",
    }
    [call] = by_type["response.function_call_arguments.done"]
    assert (call["item_id"], call["response_id"], call["output_index"]) == ("item_3", "resp_1", 1)
    items = [event["item"] for event in events if "item" in event]
    assert {item["type"] for item in items} == {"message", "function_call"}
    assert all("role" not in item for item in items if item["type"] == "function_call")
    [created], [done] = by_type["response.created"], by_type["response.done"]
    assert created["response"]["usage"] is None
    assert created["response"]["status_details"] is None
    assert done["response"]["usage"]["total_tokens"] == 7
    assert done["response"]["output"] == []
    assert by_type["error"][0]["error"]["code"] == "session_expired"


def test_qwen() -> None:
    events = read("qwen")
    session = events[0]["session"]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm"}
    assert session["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert session["tools"] == [{"type": "function", "name": "f", "parameters": {}}]
    deltas = [event["delta"] for event in events if event["type"] == f"{_T}.delta"]
    assert deltas == ["I", " would"]
    parts = [event["part"] for event in events if "part" in event]
    assert parts == [{"type": "audio", "transcript": words} for words in ("", "hello")]
    response = events[-1]["response"]
    assert response["usage"]["input_token_details"]["text_tokens"] == 1
    assert response["output"][0]["content"] == [{"type": "output_audio", "transcript": "hello"}]


XAI_SESSION = {
    "type": "realtime",
    "audio": {
        "input": {
            "turn_detection": {"type": "semantic_vad", "eagerness": "low"},
            "transcription": {"model": "whisper-1", "language": "de", "keywords": ["a"]},
            "format": {"type": "audio/pcmu"},
        },
        "output": {"voice": "eve", "speed": 1.2},
    },
}


def test_what_xai_is_asked() -> None:
    xai = Dialect(DialectOptions("xai"), numbered())
    [event] = xai.to_server({"type": "session.update", "session": XAI_SESSION})
    assert event["session"] == {
        "type": "realtime",
        "voice": "eve",
        "turn_detection": {"type": "server_vad", "create_response": True},
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "transcription": {"language_hint": "de", "keyterms": ["a"]},
            },
            "output": {"speed": 1.2},
        },
    }
    for asked, sent in [
        (None, {"type": None}),
        (
            {"type": "server_vad", "create_response": False, "idle_timeout_ms": None},
            {"type": "server_vad", "create_response": False},
        ),
    ]:
        session = {"audio": {"input": {"turn_detection": asked}}}
        [event] = xai.to_server({"type": "session.update", "session": session})
        assert event["session"] == {"turn_detection": sent}
    session = {"audio": {"input": {"transcription": {"model": "grok-transcribe"}}}}
    [event] = xai.to_server({"type": "session.update", "session": session})
    assert event["session"] == session
    response = {"output_modalities": ["audio"], "instructions": "i"}
    [event] = xai.to_server({"type": "response.create", "response": response})
    assert event["response"] == {"modalities": ["audio", "text"], "instructions": "i"}
    item = said({"type": "output_text", "text": "a"})
    [event] = xai.to_server({"type": "conversation.item.create", "item": item})
    assert event["item"]["content"] == [{"type": "text", "text": "a"}]
    assert xai.to_server({"type": "conversation.item.retrieve", "item_id": "item_2"}) == []


def test_xai_does_not_say_what_it_deleted() -> None:
    xai = Dialect(DialectOptions("xai"), numbered())
    for item_id in ("a", "b", "c"):
        xai.to_server({"type": "conversation.item.delete", "item_id": item_id})
    told = [{"item_id": ""}, {"item_id": "c"}, {}, {"item_id": ""}]
    deleted = [
        event["item_id"]
        for one in told
        for event in xai.from_server({"type": "conversation.item.deleted"} | one)
    ]
    assert deleted == ["a", "c", "b", ""]


def test_an_xai_transcript_in_progress_is_a_delta() -> None:
    xai = Dialect(DialectOptions("xai"), numbered())
    texts = [
        ("in_progress", "a"),
        ("in_progress", "ab"),
        ("completed", "abc"),
        ("in_progress", "x"),
    ]
    events = [
        event
        for status, text in texts
        for event in xai.from_server(
            {"type": f"{_T}.completed", "item_id": "i", "transcript": text, "status": status}
        )
    ]
    assert [event.get("delta", event.get("transcript")) for event in events] == [
        "a",
        "b",
        "abc",
        "x",
    ]
    assert [fault(GA_SERVER, event) for event in events] == [""] * 4


def test_what_qwen_is_asked() -> None:
    qwen = Dialect(DialectOptions("qwen"), numbered())
    session = {
        "type": "realtime",
        "model": "qwen",
        "instructions": "i",
        "output_modalities": ["audio"],
        "max_output_tokens": 100,
        "tracing": "auto",
        "tools": [{"type": "function", "name": "f", "parameters": {}}],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 16000},
                "transcription": {"model": "whisper-1", "language": "de"},
                "noise_reduction": {"type": "near_field"},
                "turn_detection": {"type": "server_vad", "threshold": 0.2},
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "Cherry"},
        },
    }
    [event] = qwen.to_server({"type": "session.update", "session": session})
    assert event["session"] == {
        "instructions": "i",
        "modalities": ["audio", "text"],
        "max_tokens": 100,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "input_audio_transcription": {"language": "de"},
        "turn_detection": {"type": "server_vad", "threshold": 0.2},
        "voice": "Cherry",
    }
    response = {"instructions": "i", "max_output_tokens": "inf", "output_modalities": ["text"]}
    [event] = qwen.to_server({"type": "response.create", "response": response})
    assert event["response"] == {"instructions": "i", "modalities": ["text"]}
