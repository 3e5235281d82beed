"""Every event between GA and beta, there and back, held against the official types of both."""

from copy import deepcopy
from typing import Any

import pytest

from gateway.realtime.beta_events import (
    client_from_beta,
    client_to_beta,
    server_from_beta,
    server_to_beta,
)
from gateway.realtime.dialects import Dialect, DialectOptions
from tests.realtime.official import (
    BETA_CLIENT,
    BETA_SERVER,
    GA_CLIENT,
    GA_SERVER,
    Event,
    fault,
    types_of,
)

pytestmark = pytest.mark.pure

PCM = {"type": "audio/pcm", "rate": 24000}
TOOL = {"type": "function", "name": "look_up", "description": "d", "parameters": {"type": "object"}}
SESSION: dict[str, Any] = {
    "type": "realtime",
    "model": "gpt-realtime",
    "output_modalities": ["audio"],
    "instructions": "Be kind.",
    "audio": {
        "input": {
            "format": {"type": "audio/pcmu"},
            "transcription": {"model": "whisper-1", "language": "de", "prompt": "p"},
            "noise_reduction": {"type": "near_field"},
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 500,
                "create_response": True,
                "interrupt_response": True,
            },
        },
        "output": {"format": PCM, "voice": "marin", "speed": 1.0},
    },
    "tools": [TOOL],
    "tool_choice": "auto",
    "max_output_tokens": 500,
    "tracing": {"workflow_name": "w", "group_id": "g", "metadata": {"a": "b"}},
}
TRANSCRIPTION: dict[str, Any] = {
    "type": "transcription",
    "include": ["item.input_audio_transcription.logprobs"],
    "audio": {
        "input": {
            "format": {"type": "audio/pcma"},
            "transcription": {"model": "whisper-1"},
            "noise_reduction": None,
            "turn_detection": None,
        }
    },
}
RESPONSE: dict[str, Any] = {
    "conversation": "none",
    "instructions": "Say hello.",
    "output_modalities": ["text"],
    "audio": {"output": {"format": {"type": "audio/pcmu"}, "voice": "cedar"}},
    "max_output_tokens": "inf",
    "metadata": {"a": "b"},
    "tools": [TOOL],
    "tool_choice": "required",
    "input": [],
}


def message(role: str, *content: Event, **fields: Any) -> Event:
    return {"type": "message", "role": role, "content": list(content), **fields}


CALL = {"type": "function_call", "id": "item_4", "call_id": "c", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "{}"}
HEARD = {"type": "input_audio", "audio": "AAAA", "transcript": "hello"}
SPOKEN = {"type": "output_audio", "transcript": "hello"}
ITEMS = [
    message("system", {"type": "input_text", "text": "s"}),
    message("user", {"type": "input_text", "text": "u"}, HEARD, id="item_1", status="completed"),
    message("assistant", {"type": "output_text", "text": "a"}, SPOKEN, id="item_2"),
    CALL,
    RESULT,
]


def create(item: Event) -> Event:
    return {"type": "conversation.item.create", "event_id": "e", "item": item}


CLIENT: list[Event] = [
    {"type": "session.update", "event_id": "e", "session": SESSION},
    {"type": "session.update", "session": TRANSCRIPTION},
    {"type": "input_audio_buffer.append", "audio": "AAAA"},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear", "event_id": "e"},
    {"type": "output_audio_buffer.clear"},
    *(create(item) for item in ITEMS),
    create(ITEMS[0]) | {"previous_item_id": "root"},
    {"type": "conversation.item.retrieve", "item_id": "item_1"},
    {"type": "conversation.item.delete", "item_id": "item_1"},
    {
        "type": "conversation.item.truncate",
        "item_id": "item_2",
        "content_index": 0,
        "audio_end_ms": 1500,
    },
    {"type": "response.create"},
    {"type": "response.create", "event_id": "e", "response": RESPONSE},
    {"type": "response.create", "response": {"input": [ITEMS[1], CALL, RESULT]}},
    {"type": "response.cancel", "response_id": "resp_1"},
]


def update(session: Event) -> Event:
    return {"type": "session.update", "session": {"type": "realtime"} | session}


PARTIAL: list[Event] = [
    update({}),
    update({"instructions": ""}),
    update({"tools": []}),
    update({"audio": {"input": {"turn_detection": None}}}),
    update({"audio": {"input": {"transcription": None, "noise_reduction": None}}}),
    update({"audio": {"output": {"speed": 1.2}}}),
    update({"audio": {"input": {"format": PCM}, "output": {"voice": "alloy"}}}),
    update({"output_modalities": ["text"]}),
    update({"tracing": None}),
    {"type": "session.update", "session": {"type": "transcription"}},
    {"type": "response.create", "response": {}},
    {"type": "response.create", "response": {"audio": {"output": {"voice": "alloy"}}}},
]


@pytest.mark.parametrize("event", CLIENT + PARTIAL, ids=lambda event: event["type"])
def test_a_client_event_there_and_back(event: Event) -> None:
    before = deepcopy(event)
    [beta] = client_to_beta(event)
    assert fault(GA_CLIENT, event) == fault(BETA_CLIENT, beta) == ""
    assert client_from_beta(beta) == [event] == [before]


def test_every_type_of_client_event_is_tried() -> None:
    assert {event["type"] for event in CLIENT} == types_of(GA_CLIENT)
    beta = {beta["type"] for event in CLIENT for beta in client_to_beta(event)}
    assert beta == types_of(BETA_CLIENT)


def test_what_beta_has_no_word_for_is_not_asked_of_a_beta_server() -> None:
    session = {
        "type": "realtime",
        "model": "gpt-realtime",
        "truncation": "auto",
        "reasoning": {"effort": "low"},
        "parallel_tool_calls": True,
        "prompt": {"id": "pmpt_1"},
        "tools": [TOOL, {"type": "mcp", "server_label": "l", "server_url": "https://x"}],
        "tool_choice": {"type": "function", "name": "look_up"},
        "vendor_field": 1,
        "audio": {
            "input": {
                "turn_detection": {"type": "server_vad", "idle_timeout_ms": 6000},
                "noise_reduction": {"type": "near_field", "strength": 0.5},
                "transcription": {"language": "de", "keywords": ["a"]},
            },
            "output": {"voice": {"id": "voice_1"}},
        },
    }
    assert client_to_beta({"type": "session.update", "session": session}) == [
        {
            "type": "session.update",
            "session": {
                "model": "gpt-realtime",
                "prompt": {"id": "pmpt_1"},
                "tools": [TOOL],
                "tool_choice": {"type": "function", "function": {"name": "look_up"}},
                "vendor_field": 1,
                "turn_detection": {"type": "server_vad"},
                "input_audio_noise_reduction": {"type": "near_field"},
                "input_audio_transcription": {"language": "de"},
                "voice": "voice_1",
            },
        }
    ]
    response = {"prompt": {"id": "pmpt_1"}, "input": [message("assistant", SPOKEN)]}
    [asked] = client_to_beta({"type": "response.create", "response": response})
    said_as_text = message("assistant", {"type": "text", "text": "hello"})
    assert asked["response"] == {"input": [said_as_text]}
    assert fault(BETA_CLIENT, asked) == ""


@pytest.mark.parametrize(
    ("flat", "nested"),
    [
        ({"temperature": 0.8, "client_secret": {}}, {}),
        ({"tool_choice": {"type": "function", "name": "f"}}, None),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"tool_choice": {"type": "function", "name": "f"}},
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
            {"tools": [{"type": "function", "name": "f", "parameters": {}}]},
        ),
        (
            {"turn_detection": {"threshold": 0.4}},
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.4}}}},
        ),
        ({"turn_detection": {"type": "none"}}, {"audio": {"input": {"turn_detection": None}}}),
        (
            {"voice": "alloy", "audio": {"output": {"speed": 1.1}}},
            {"audio": {"output": {"speed": 1.1, "voice": "alloy"}}},
        ),
        # What is wrong stays wrong, under the name at which it is checked.
        ({"modalities": []}, {"output_modalities": []}),
        ({"modalities": ["video"]}, {"output_modalities": ["video"]}),
        ({"input_audio_format": "opus"}, {"audio": {"input": {"format": {"type": "opus"}}}}),
        ({"output_audio_format": 1}, {"audio": {"output": {"format": 1}}}),
        ({"tools": "all"}, None),
    ],
)
def test_a_beta_clients_config(flat: Event, nested: Event | None) -> None:
    [event] = client_from_beta({"type": "session.update", "session": flat})
    assert event["session"] == {"type": "realtime"} | (flat if nested is None else nested)


def place(**more: Any) -> Event:
    return {"response_id": "resp_1", "item_id": "item_2", "output_index": 0} | more


def part(**more: Any) -> Event:
    return place(content_index=0, **more)


def answer(status: str, output: list[Event], usage: Event | None) -> Event:
    return {
        "id": "resp_1",
        "object": "realtime.response",
        "status": status,
        "status_details": None,
        "output": output,
        "conversation_id": "conv_1",
        "output_modalities": ["audio"],
        "max_output_tokens": "inf",
        "audio": {"output": {"format": PCM, "voice": "marin"}},
        "usage": usage,
        "metadata": None,
    }


USER = ITEMS[1] | {"object": "realtime.item"}
BEGUN = message("assistant", id="item_2", object="realtime.item", status="in_progress")
SAID = message("assistant", SPOKEN, id="item_2", object="realtime.item", status="completed")
CALLING = CALL | {"object": "realtime.item", "status": "in_progress"}
CALLED = CALL | {"object": "realtime.item", "status": "completed"}
USAGE = {
    "total_tokens": 3,
    "input_tokens": 1,
    "output_tokens": 2,
    "input_token_details": {"text_tokens": 1, "audio_tokens": 0, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 1, "audio_tokens": 1},
}
_T = "conversation.item.input_audio_transcription"
SERVER: list[Event] = [
    {"type": "session.created", "session": SESSION | {"id": "sess_1", "expires_at": 9}},
    {"type": "conversation.created", "conversation": {"id": "conv_1"}},
    {"type": "session.updated", "session": SESSION},
    {"type": "input_audio_buffer.speech_started", "audio_start_ms": 1, "item_id": "item_1"},
    {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 2, "item_id": "item_1"},
    {"type": "input_audio_buffer.committed", "previous_item_id": None, "item_id": "item_1"},
    {"type": "conversation.item.added", "previous_item_id": None, "item": USER},
    {"type": "conversation.item.done", "previous_item_id": None, "item": USER},
    {"type": "response.created", "response": answer("in_progress", [], None)},
    {"type": "rate_limits.updated", "rate_limits": [{"name": "tokens", "limit": 9}]},
    {"type": "response.output_item.added", "response_id": "resp_1", "output_index": 0}
    | {"item": BEGUN},
    {"type": "conversation.item.added", "previous_item_id": "item_1", "item": BEGUN},
    {"type": "response.content_part.added", **part(part={"type": "audio", "transcript": ""})},
    {"type": "response.output_audio_transcript.delta", **part(delta="hel")},
    {"type": "response.output_audio.delta", **part(delta="AAAA")},
    {"type": f"{_T}.delta", "item_id": "item_1", "content_index": 0, "delta": "hi"},
    {"type": f"{_T}.completed", "item_id": "item_1", "content_index": 0, "transcript": "hi"}
    | {"usage": {"type": "duration", "seconds": 1.0}},
    {"type": f"{_T}.failed", "item_id": "item_1", "content_index": 0, "error": {"message": "m"}},
    {"type": "response.output_audio.done", **part()},
    {"type": "response.output_audio_transcript.done", **part(transcript="hello")},
    {"type": "response.content_part.done", **part(part={"type": "audio", "transcript": "hello"})},
    {"type": "conversation.item.done", "previous_item_id": "item_1", "item": SAID},
    {"type": "response.output_item.done", "response_id": "resp_1", "output_index": 0}
    | {"item": SAID},
    {"type": "response.output_text.delta", **part(delta="t")},
    {"type": "response.output_text.done", **part(text="text")},
    {"type": "response.output_item.added", "response_id": "resp_1", "output_index": 1}
    | {"item": CALLING},
    {"type": "conversation.item.added", "previous_item_id": "item_2", "item": CALLING},
    {"type": "response.function_call_arguments.delta", **place(call_id="c", delta="{}")},
    {"type": "response.function_call_arguments.done"}
    | place(call_id="c", name="f", arguments="{}"),
    {"type": "conversation.item.done", "previous_item_id": "item_2", "item": CALLED},
    {"type": "response.output_item.done", "response_id": "resp_1", "output_index": 1}
    | {"item": CALLED},
    {"type": "response.done", "response": answer("completed", [SAID, CALLED], USAGE)},
    {"type": "output_audio_buffer.started", "response_id": "resp_1"},
    {"type": "output_audio_buffer.stopped", "response_id": "resp_1"},
    {"type": "output_audio_buffer.cleared", "response_id": "resp_1"},
    {"type": "conversation.item.truncated", "item_id": "item_2", "content_index": 0}
    | {"audio_end_ms": 20},
    {"type": "conversation.item.retrieved", "item": SAID},
    {"type": "conversation.item.deleted", "item_id": "item_2"},
    {"type": "input_audio_buffer.cleared"},
    {
        "type": "error",
        "error": {"type": "t", "code": "c", "message": "m", "param": None, "event_id": None},
    },
    {"type": "session.updated", "session": TRANSCRIPTION},
]
for number, shown in enumerate(SERVER):
    shown["event_id"] = f"event_{number}"


def there_and_back(events: list[Event]) -> list[Event]:
    dialect = Dialect(DialectOptions("beta"), lambda: "made")
    beta = [one for event in events for one in server_to_beta(event)]
    return [one for event in beta for one in dialect.from_server(event)]


def renamed(events: list[Event]) -> list[Event]:
    """With other ids of the events that beta does not have, and that are made from others."""
    return [
        event | {"event_id": "made"} if event["type"] == "conversation.item.done" else event
        for event in events
    ]


def test_server_events_there_and_back() -> None:
    before = deepcopy(SERVER)
    assert there_and_back(SERVER) == renamed(SERVER)
    assert before == SERVER


def test_server_events_fit_the_official_types_of_both() -> None:
    assert [fault(GA_SERVER, event) for event in SERVER if fault(GA_SERVER, event)] == []
    beta = [one for event in SERVER for one in server_to_beta(event)]
    faults = [(event["type"], fault(BETA_SERVER, event)) for event in beta]
    # Over a WebSocket a transcription session has no secret, as the type itself says in words.
    assert [one for one in faults if one[1]] == [
        (
            "transcription_session.updated",
            f"{beta[-1]['type']}.session.client_secret: Field required",
        )
    ]
    assert {event["type"] for event in beta} == types_of(BETA_SERVER)


GA_ONLY = {
    "conversation.item.input_audio_transcription.segment",
    "input_audio_buffer.timeout_triggered",
    "input_audio_buffer.dtmf_event_received",
    "mcp_list_tools.in_progress",
    "mcp_list_tools.completed",
    "mcp_list_tools.failed",
    "response.mcp_call_arguments.delta",
    "response.mcp_call_arguments.done",
    "response.mcp_call.in_progress",
    "response.mcp_call.completed",
    "response.mcp_call.failed",
}


def test_every_other_type_passes_unchanged() -> None:
    tried = {event["type"] for event in SERVER} | {"conversation.item.created"}
    assert types_of(GA_SERVER) - tried == GA_ONLY
    for kind in (*GA_ONLY, "gateway.call.answered", "ping", ""):
        event = {"type": kind, "anything": 1}
        for change in (server_to_beta, client_to_beta, client_from_beta):
            assert change(event) == [event]
        assert server_from_beta(event) == event


def test_ga_words_stay_as_they_are() -> None:
    for event in SERVER:
        assert server_from_beta(event) == event


def test_a_session_of_a_beta_server() -> None:
    flat = {
        "id": "sess_1",
        "object": "realtime.session",
        "modalities": ["text", "audio"],
        "voice": "alloy",
        "input_audio_format": "pcm16",
        "output_audio_format": "g711_ulaw",
        "input_audio_transcription": None,
        "turn_detection": {"type": "server_vad", "threshold": 0.5},
        "temperature": 0.8,
        "max_response_output_tokens": "inf",
        "expires_at": 9,
    }
    event = server_from_beta({"type": "session.created", "event_id": "e", "session": flat})
    assert event["session"] == {
        "type": "realtime",
        "id": "sess_1",
        "object": "realtime.session",
        "expires_at": 9,
        "output_modalities": ["audio"],
        "max_output_tokens": "inf",
        "audio": {
            "input": {
                "format": PCM,
                "transcription": None,
                "turn_detection": {"type": "server_vad", "threshold": 0.5},
            },
            "output": {"format": {"type": "audio/pcmu"}, "voice": "alloy"},
        },
    }
    assert fault(GA_SERVER, event) == ""


def test_a_session_is_shown_with_a_temperature_and_without_what_beta_has_not() -> None:
    [event] = server_to_beta(
        {"type": "session.created", "session": SESSION | {"truncation": "auto"}}
    )
    assert event["session"]["temperature"] == 0.8
    assert not {"type", "truncation", "audio", "output_modalities"} & set(event["session"])


def test_content_of_a_user_is_input_in_ga() -> None:
    item = message("user", {"type": "text", "text": "a"}, {"type": "audio", "transcript": "b"})
    event = server_from_beta({"type": "conversation.item.retrieved", "item": item})
    assert [one["type"] for one in event["item"]["content"]] == ["input_text", "input_audio"]


@pytest.mark.parametrize(
    ("flat", "nested"),
    [
        ("session.turn_detection.threshold", "session.audio.input.turn_detection.threshold"),
        ("session.input_audio_format", "session.audio.input.format"),
        ("session.max_response_output_tokens", "session.max_output_tokens"),
        ("session.modalities", "session.output_modalities"),
        ("session.modalities[0]", "session.output_modalities[0]"),
        ("session.tools[1].name", "session.tools[1].name"),
        ("response.voice", "response.audio.output.voice"),
        ("item.content[0].type", "item.content[0].type"),
        ("voice", "voice"),
        ("", ""),
    ],
)
def test_an_error_names_the_field_in_the_words_of_its_reader(flat: str, nested: str) -> None:
    beta = {"type": "error", "event_id": "e", "error": {"message": "m", "param": flat}}
    ga = {"type": "error", "event_id": "e", "error": {"message": "m", "param": nested}}
    assert server_from_beta(beta) == ga
    assert server_to_beta(ga) == [beta]


def test_inside_a_format_there_is_nothing_to_name_in_beta() -> None:
    error = {"type": "error", "error": {"param": "session.audio.output.format.rate"}}
    assert server_to_beta(error)[0]["error"]["param"] == "session.output_audio_format"
