"""Client events: what passes, and how each wrong field is named."""

from base64 import b64encode
from copy import deepcopy
from typing import Any

import pytest

from gateway.realtime.client_events import CLIENT_EVENTS, check_client_event
from gateway.realtime.errors import RealtimeError
from gateway.realtime.items import MAX_AUDIO
from tests.realtime.test_config import FUNCTION, GOOD, MCP

pytestmark = pytest.mark.pure

AUDIO = b64encode(bytes(320)).decode()
IMAGE = f"data:image/png;base64,{b64encode(b'png').decode()}"
UNKNOWN, MISSING = "unknown_parameter", "missing_required_parameter"
TYPE, VALUE, LONG = "invalid_type", "invalid_value", "string_above_max_length"


def message(role: str, *content: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(content)} | fields


def text(kind: str = "input_text", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "text": "Hello."} | fields


def call(**fields: Any) -> dict[str, Any]:
    return {"type": "function_call", "name": "f", "arguments": "{}"} | fields


def mcp_call(**fields: Any) -> dict[str, Any]:
    common = {"type": "mcp_call", "id": "i", "server_label": "s", "name": "n", "arguments": ""}
    return common | fields


OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": ""}
APPROVAL = {"type": "mcp_approval_response", "approval_request_id": "r", "approve": False}
REFERENCE = {"type": "item_reference", "id": "item_of_another_server_of_any_length_1234567890"}

GOOD_ITEMS: list[dict[str, Any]] = [
    message("system", text()),
    message("user"),
    message("user", text(text=""), text()),
    message("user", {"type": "input_audio", "audio": AUDIO, "transcript": "Hello."}),
    message("user", {"type": "input_audio", "transcript": None}),
    message("user", {"type": "input_audio", "audio": None}),
    message("user", {"type": "input_image", "image_url": IMAGE}),
    message("user", {"type": "input_image", "image_url": IMAGE, "detail": "low"}),
    message("assistant", text("output_text")),
    message("assistant", {"type": "output_audio", "transcript": "Hello."}),
    message("assistant", {"type": "output_audio", "audio": AUDIO, "transcript": None}),
    message("user", id="i" * 32, object="realtime.item", status="incomplete"),
    *(message("user", status=status) for status in ("completed", "in_progress")),
    call(),
    call(call_id="c" * 32, id="item_1", status="completed", object="realtime.item"),
    OUTPUT,
    OUTPUT | {"output": '{"ok":true}', "id": "item_2"},
    APPROVAL,
    APPROVAL | {"id": "item_3", "reason": None},
    APPROVAL | {"approve": True, "reason": "why"},
    {"type": "mcp_list_tools", "server_label": "s", "tools": []},
    {
        "type": "mcp_list_tools",
        "id": "item_4",
        "server_label": "s",
        "tools": [{"name": "t", "input_schema": {}, "description": None, "annotations": {}}],
    },
    {
        "type": "mcp_approval_request",
        "id": "r",
        "server_label": "s",
        "name": "n",
        "arguments": "{}",
    },
    mcp_call(),
    mcp_call(output=None, error=None, approval_request_id=None),
    mcp_call(output="x", error={"type": "protocol_error", "code": 1, "message": ""}),
    mcp_call(error={"type": "http_error", "code": 500, "message": ""}),
    mcp_call(error={"type": "tool_execution_error", "message": ""}),
]
GOOD_RESPONSES: list[dict[str, Any]] = [
    {},
    {"conversation": "auto"},
    {"conversation": "none", "input": [], "metadata": {}},
    {"input": [REFERENCE, *GOOD_ITEMS]},
    {"output_modalities": ["text"], "instructions": "", "max_output_tokens": 1},
    {"output_modalities": ["audio"], "max_output_tokens": 4096},
    {"max_output_tokens": "inf", "parallel_tool_calls": True, "reasoning": {"effort": "low"}},
    {"audio": {}},
    {"audio": {"output": {"format": {"type": "audio/pcmu"}, "voice": "marin"}}},
    {"audio": {"output": {"voice": {"id": "voice_1"}}}},
    {"tools": [FUNCTION, MCP], "tool_choice": FUNCTION},
    {"tools": [], "tool_choice": "none"},
    {"metadata": None, "prompt": None},
    {"metadata": {f"{n:064}": "v" * 512 for n in range(16)}, "prompt": {"id": "p"}},
]


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind} | fields


def append(audio: Any) -> dict[str, Any]:
    return event("input_audio_buffer.append", audio=audio)


def create(item: Any, **fields: Any) -> dict[str, Any]:
    return event("conversation.item.create", item=item) | fields


def respond(**params: Any) -> dict[str, Any]:
    return event("response.create", response=params)


def truncate(**fields: Any) -> dict[str, Any]:
    common = {"item_id": "i", "content_index": 0, "audio_end_ms": 0}
    return event("conversation.item.truncate") | common | fields


GOOD_EVENTS = [
    *(event("session.update", session=session) for session in GOOD),
    event("session.update", session={"type": "transcription"}),
    append(AUDIO),
    append("A" * 32_000),
    event("input_audio_buffer.commit"),
    event("input_audio_buffer.clear", event_id=None),
    event("output_audio_buffer.clear", event_id="x"),
    *(create(item) for item in GOOD_ITEMS),
    create(OUTPUT, previous_item_id="root"),
    create(OUTPUT, previous_item_id=None),
    event("conversation.item.retrieve", item_id="i"),
    event("conversation.item.delete", item_id="of_another_server_of_any_length_1234567890"),
    truncate(audio_end_ms=1500),
    event("response.create"),
    event("response.create", response=None),
    *(respond(**response) for response in GOOD_RESPONSES),
    event("response.cancel"),
    event("response.cancel", response_id=None),
    event("response.cancel", response_id="resp_1", event_id="event_1"),
]


@pytest.mark.parametrize("event", GOOD_EVENTS, ids=lambda event: repr(event)[:70])
def test_what_fits_comes_back_as_it_was(event: dict[str, Any]) -> None:
    before = deepcopy(event)
    assert check_client_event(event) is event
    assert event == before


def test_every_type_of_event_is_tried() -> None:
    assert {str(event["type"]) for event in GOOD_EVENTS} == set(CLIENT_EVENTS)


PART = "item.content[0]"

BAD: list[tuple[dict[str, Any], str, str]] = [
    ({}, MISSING, "type"),
    ({"type": None}, TYPE, "type"),
    ({"type": "nope"}, VALUE, "type"),
    ({"type": "transcription_session.update"}, VALUE, "type"),
    ({"type": "session.updated"}, VALUE, "type"),
    *(({"type": kind, "x": 1}, UNKNOWN, "x") for kind in CLIENT_EVENTS if kind.endswith("clear")),
    (event("input_audio_buffer.commit", event_id=1), TYPE, "event_id"),
    (event("session.update"), MISSING, "session"),
    (event("session.update", session=None), TYPE, "session"),
    (event("session.update", session={}), MISSING, "session.type"),
    (event("session.update", session={"type": "translation"}), VALUE, "session.type"),
    (
        event("session.update", session={"type": "realtime", "tools": [{}]}),
        MISSING,
        "session.tools[0].type",
    ),
    (event("session.update", session={"type": "realtime", "voice": ""}), UNKNOWN, "session.voice"),
    (
        event("session.update", session={"type": "transcription", "model": "m"}),
        UNKNOWN,
        "session.model",
    ),
    (event("input_audio_buffer.append"), MISSING, "audio"),
    (append(None), TYPE, "audio"),
    (append(""), VALUE, "audio"),
    (append("no base64!"), VALUE, "audio"),
    (append("A"), VALUE, "audio"),
    (append("AA"), VALUE, "audio"),  # without its padding
    (append("A" * (MAX_AUDIO + 4)), LONG, "audio"),
    (event("conversation.item.create"), MISSING, "item"),
    (create(None), TYPE, "item"),
    (create({}), MISSING, "item.type"),
    (create({"type": "item_reference", "id": "i"}), VALUE, "item.type"),
    (create(OUTPUT, previous_item_id=1), TYPE, "previous_item_id"),
    (create({"type": "message"}), MISSING, "item.role"),
    (create(message("tool")), VALUE, "item.role"),
    (create({"type": "message", "role": None}), TYPE, "item.role"),
    (create({"type": "message", "role": "user"}), MISSING, "item.content"),
    (create({"type": "message", "role": "user", "content": "x"}), TYPE, "item.content"),
    (create(message("user", "x")), TYPE, PART),
    (create(message("user", {})), MISSING, f"{PART}.type"),
    (create(message("user", text("text"))), VALUE, f"{PART}.type"),
    (create(message("user", text("output_text"))), VALUE, f"{PART}.type"),
    (create(message("system", text("text"))), VALUE, f"{PART}.type"),
    (create(message("assistant", text("input_text"))), VALUE, f"{PART}.type"),
    (create(message("user", text(), text(text=None))), TYPE, "item.content[1].text"),
    (create(message("user", {"type": "input_text"})), MISSING, f"{PART}.text"),
    (create(message("user", text(audio=AUDIO))), UNKNOWN, f"{PART}.audio"),
    (create(message("user", {"type": "input_audio", "audio": "?"})), VALUE, f"{PART}.audio"),
    (create(message("user", {"type": "input_image"})), MISSING, f"{PART}.image_url"),
    *(
        (
            create(message("user", {"type": "input_image", "image_url": url})),
            VALUE,
            f"{PART}.image_url",
        )
        for url in ("", "https://example.com/a.png", "data:image/png;base64,", "data:image/png,x")
    ),
    (
        create(message("user", {"type": "input_image", "image_url": IMAGE, "detail": "x"})),
        VALUE,
        f"{PART}.detail",
    ),
    (create(message("user", id="i" * 33)), LONG, "item.id"),
    (create(message("user", id="")), "empty_string", "item.id"),
    (create(message("user", id=None)), TYPE, "item.id"),
    (create(message("user", object="item")), VALUE, "item.object"),
    (create(message("user", status="done")), VALUE, "item.status"),
    (create(call(name="")), "empty_string", "item.name"),
    (create(call(arguments={})), TYPE, "item.arguments"),
    (create(call(call_id="c" * 33)), LONG, "item.call_id"),
    (create({"type": "function_call_output", "output": ""}), MISSING, "item.call_id"),
    (create(OUTPUT | {"output": {}}), TYPE, "item.output"),
    (create(OUTPUT | {"name": "f"}), UNKNOWN, "item.name"),
    (
        create({"type": "mcp_approval_response", "approve": True}),
        MISSING,
        "item.approval_request_id",
    ),
    (create(APPROVAL | {"approve": "yes"}), TYPE, "item.approve"),
    (create(mcp_call(error={"type": "x"})), VALUE, "item.error.type"),
    (event("conversation.item.retrieve"), MISSING, "item_id"),
    (event("conversation.item.delete", item_id=None), TYPE, "item_id"),
    (event("conversation.item.truncate", item_id="i", audio_end_ms=0), MISSING, "content_index"),
    (truncate(content_index=-1), "integer_below_min_value", "content_index"),
    (truncate(audio_end_ms=-1), "integer_below_min_value", "audio_end_ms"),
    (truncate(audio_end_ms=1.5), TYPE, "audio_end_ms"),
    (truncate(audio_end_ms=True), TYPE, "audio_end_ms"),
    (event("response.cancel", response_id=1), TYPE, "response_id"),
    (event("response.create", response=[]), TYPE, "response"),
    (respond(modalities=["text"]), UNKNOWN, "response.modalities"),
    (respond(conversation="mine"), VALUE, "response.conversation"),
    (respond(conversation=None), TYPE, "response.conversation"),
    (respond(input={}), TYPE, "response.input"),
    (respond(input=[OUTPUT, {"type": "x"}]), VALUE, "response.input[1].type"),
    (respond(input=[{"type": "item_reference"}]), MISSING, "response.input[0].id"),
    (respond(input=[message("user", {})]), MISSING, "response.input[0].content[0].type"),
    (respond(output_modalities=["text", "audio"]), VALUE, "response.output_modalities"),
    (respond(instructions=None), TYPE, "response.instructions"),
    (respond(max_output_tokens=0), "integer_below_min_value", "response.max_output_tokens"),
    (respond(max_output_tokens=4097), "integer_above_max_value", "response.max_output_tokens"),
    (respond(audio={"input": {}}), UNKNOWN, "response.audio.input"),
    (respond(audio={"output": {"speed": 1.0}}), UNKNOWN, "response.audio.output.speed"),
    (respond(audio={"output": {"voice": ""}}), "empty_string", "response.audio.output.voice"),
    (respond(tools=[{"type": "function"}]), MISSING, "response.tools[0].name"),
    (respond(tool_choice="f"), VALUE, "response.tool_choice"),
    (respond(metadata=[]), TYPE, "response.metadata"),
    (respond(metadata={"a": 1}), TYPE, "response.metadata.a"),
    (respond(metadata={"a": "v" * 513}), LONG, "response.metadata.a"),
    (respond(metadata={"k" * 65: ""}), "property_name_above_max_length", "response.metadata"),
    (
        respond(metadata={str(n): "" for n in range(17)}),
        "object_above_max_properties",
        "response.metadata",
    ),
    (respond(prompt={}), MISSING, "response.prompt.id"),
    (respond(reasoning={"effort": "none"}), VALUE, "response.reasoning.effort"),
    (respond(temperature=0.8), UNKNOWN, "response.temperature"),
]


def refusal(event: dict[str, Any]) -> RealtimeError:
    with pytest.raises(RealtimeError) as refused:
        check_client_event(event)
    assert (refused.value.status, refused.value.kind) == (400, "invalid_request_error")
    return refused.value


@pytest.mark.parametrize(("event", "code", "param"), BAD, ids=lambda value: repr(value)[:70])
def test_what_does_not_fit_is_named(event: dict[str, Any], code: str, param: str) -> None:
    error = refusal(event)
    assert (error.code, error.param) == (code, param)
    assert len(error.message) < 500


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (
            {"type": "nope"},
            "Invalid value: 'nope'. Supported values are: 'session.update', "
            "'input_audio_buffer.append', 'input_audio_buffer.commit', 'input_audio_buffer.clear', "
            "'output_audio_buffer.clear', 'conversation.item.create', "
            "'conversation.item.retrieve', 'conversation.item.delete', "
            "'conversation.item.truncate', 'response.create', and 'response.cancel'.",
        ),
        (
            append("?"),
            "Invalid 'audio'. Expected base64-encoded audio bytes but got an invalid value.",
        ),
        (append(""), "Invalid 'audio'. Expected base64-encoded audio bytes but got empty bytes."),
        (
            create(message("user", text("text"))),
            "Invalid value: 'text'. Supported values are: 'input_text', 'input_audio', and "
            "'input_image'.",
        ),
        (
            create(message("system", text("text"))),
            "Invalid value: 'text'. Value must be 'input_text'.",
        ),
        (
            create(message("user", id="i" * 36)),
            "Invalid 'item.id': string too long. Expected a string with maximum length 32, "
            "but got a string with length 36 instead.",
        ),
        (
            respond(metadata={"k" * 65: ""}),
            f"Invalid property name in 'response.metadata': '{'k' * 65}' is too long. Expected a "
            "string with maximum length 64, but got a string with length 65 instead.",
        ),
        (
            respond(metadata={str(n): "" for n in range(17)}),
            "Invalid 'response.metadata': too many properties. Expected an object with at most 16 "
            "properties, but got an object with 17 properties instead.",
        ),
    ],
)
def test_the_words_are_those_of_the_official_service(event: dict[str, Any], told: str) -> None:
    assert refusal(event).message == told


def test_of_several_faults_the_least_deep_is_told() -> None:
    assert refusal(create({"type": "message", "role": "user"}, nonsense=1)).param == "nonsense"
    assert refusal(respond(input=[{}], x=1)).param == "response.x"
