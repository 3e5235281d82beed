"""The Realtime vocabulary beside the types of the official `openai` package, both ways.

A field, a word or an event that a new version of the package has and that is not here fails a
test; so does one that is here alone and not among the deviations below, and a deviation that is
none any more.
"""

import typing
from collections.abc import Iterable
from typing import Any, Literal, NotRequired, TypedDict

import pytest
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from openai.types.realtime.client_secret_create_response import ClientSecretCreateResponse
from openai.types.realtime.realtime_client_event_param import RealtimeClientEventParam
from openai.types.realtime.response_create_event_with_references_param import (
    ResponseCreateEventWithReferencesParam,
)

from gateway.realtime.client_events import CLIENT_EVENTS
from gateway.realtime.errors import ErrorFields
from gateway.realtime.resources import (
    ContentPart,
    ItemResource,
    RateLimit,
    ResponseResource,
    TranscriptionUsage,
)
from gateway.realtime.session_resources import (
    RealtimeSessionResource,
    TranscriptionSessionResource,
)
from tests.realtime.shapes import differences, shape_of

pytestmark = pytest.mark.pure

Session = RealtimeSessionResource | TranscriptionSessionResource

ASKED = {
    # Taken, where the official types have nothing.
    ".model_version: field only here": "agents-js sends it",
    ".event_id: null only here": "written out by clients that did not set it",
    ".previous_item_id: null only here": "written out by clients; servers show it so",
    ".response_id: null only here": "written out by clients that did not set it",
    ".response: null only here": "written out by clients that did not set it",
    ".noise_reduction: null only here": "turns it off, as the words of the type say",
    ".transcription: null only here": "turns it off, as the words of the type say",
    ".include: null only here": "servers show it so",
    ".content[].audio: null only here": "servers show it so, and agents-js sends it back",
    ".content[].transcript: null only here": "servers show it so, and agents-js sends it back",
    "<mcp_approval_response>.id: required only there": "agents-js leaves it out",
    ".connector_id: string only here": "a list that grows",
    ".rate: integer only here": "one number, but told as a range",
    "<server_vad>.type: required only there": "beta leaves it out; in GA it tells the two apart",
    # Not taken, although the official types would.
    ".conversation: string only there": "the words name two",
    ".type: required only here": "without it the official service knows no object either",
    "<message system>.content[].text: required only here": "a text part has a text",
    "<function>.name: required only here": "a function has a name",
    # One side says less of what is inside.
    ".parameters: anything only there": "a JSON Schema is an object",
    ".parameters.*: only here": "a JSON Schema is an object",
    ".tracing.metadata: anything only there": "the words say an object",
    ".tracing.metadata.*: only here": "the words say an object",
    ".prompt.variables.*: an object of known fields only there": "of another API",
    ".prompt.variables.*.*: only here": "of another API",
}

SHOWN = {
    "session<realtime>.id: field only here": "shown, and typed in the answer for a client secret",
    "session<realtime>.object: field only here": "as the id",
    "session<realtime>.expires_at: field only here": "as the id",
    "session<transcription>.id: field only here": "as the id",
    "session<transcription>.object: field only here": "as the id",
    "session<transcription>.expires_at: field only here": "as the id",
    ".voice: an object of known fields only there": "the answers know strings alone",
    ".rate: integer only here": "other servers have other rates",
    ".connector_id: string only here": "a list that grows",
    ".parameters: anything only there": "a JSON Schema is an object",
    ".parameters.*: only here": "a JSON Schema is an object",
    ".tracing.metadata: anything only there": "the words say an object",
    ".tracing.metadata.*: only here": "the words say an object",
    ".prompt.variables.*: an object of known fields only there": "of another API",
    ".prompt.variables.*.*: only here": "of another API",
}

ANSWERED = {
    "<realtime>.parallel_tool_calls: field only here": "in events",
    "<transcription>.audio.input.turn_detection.create_response: field only here": "in events",
    "<transcription>.audio.input.turn_detection.interrupt_response: field only here": "in events",
    "<transcription>.audio.input.turn_detection.idle_timeout_ms: field only here": "in events",
    "<transcription>.audio.input.turn_detection.eagerness: field only here": "in events",
    "<transcription>.audio.input.turn_detection.type: string only there": "the words name them",
    "<transcription>.object: string only there": "the words name it",
} | {ending: why for ending, why in SHOWN.items() if not ending.startswith(("session<", ".voice:"))}

# `*`: always there. Every event has an `event_id` but one.
SERVER_EVENTS = {
    "session.created": "session*",
    "session.updated": "session*",
    "conversation.created": "conversation*",
    "conversation.item.added": "item* previous_item_id",
    "conversation.item.done": "item* previous_item_id",
    "conversation.item.created": "item* previous_item_id",
    "conversation.item.retrieved": "item*",
    "conversation.item.deleted": "item_id*",
    "conversation.item.truncated": "item_id* content_index* audio_end_ms*",
    "conversation.item.input_audio_transcription.delta": "item_id* content_index delta logprobs",
    "conversation.item.input_audio_transcription.completed": (
        "item_id* content_index* transcript* usage* logprobs languages"
    ),
    "conversation.item.input_audio_transcription.failed": "item_id* content_index* error*",
    "conversation.item.input_audio_transcription.segment": (
        "id* item_id* content_index* speaker* start* end* text*"
    ),
    "input_audio_buffer.speech_started": "item_id* audio_start_ms*",
    "input_audio_buffer.speech_stopped": "item_id* audio_end_ms*",
    "input_audio_buffer.committed": "item_id* previous_item_id",
    "input_audio_buffer.cleared": "",
    "input_audio_buffer.timeout_triggered": "item_id* audio_start_ms* audio_end_ms*",
    "input_audio_buffer.dtmf_event_received": "event* received_at*",
    "output_audio_buffer.started": "response_id*",
    "output_audio_buffer.stopped": "response_id*",
    "output_audio_buffer.cleared": "response_id*",
    "response.created": "response*",
    "response.done": "response*",
    "response.output_item.added": "response_id* output_index* item*",
    "response.output_item.done": "response_id* output_index* item*",
    "response.content_part.added": "response_id* item_id* output_index* content_index* part*",
    "response.content_part.done": "response_id* item_id* output_index* content_index* part*",
    "response.output_audio.delta": "response_id* item_id* output_index* content_index* delta*",
    "response.output_audio.done": "response_id* item_id* output_index* content_index*",
    "response.output_audio_transcript.delta": (
        "response_id* item_id* output_index* content_index* delta*"
    ),
    "response.output_audio_transcript.done": (
        "response_id* item_id* output_index* content_index* transcript*"
    ),
    "response.output_text.delta": "response_id* item_id* output_index* content_index* delta*",
    "response.output_text.done": "response_id* item_id* output_index* content_index* text*",
    "response.function_call_arguments.delta": (
        "response_id* item_id* output_index* call_id* delta*"
    ),
    "response.function_call_arguments.done": (
        "response_id* item_id* output_index* call_id* name* arguments*"
    ),
    "response.mcp_call_arguments.delta": "response_id* item_id* output_index* delta* obfuscation",
    "response.mcp_call_arguments.done": "response_id* item_id* output_index* arguments*",
    "response.mcp_call.in_progress": "item_id* output_index*",
    "response.mcp_call.completed": "item_id* output_index*",
    "response.mcp_call.failed": "item_id* output_index*",
    "mcp_list_tools.in_progress": "item_id*",
    "mcp_list_tools.completed": "item_id*",
    "mcp_list_tools.failed": "item_id*",
    "rate_limits.updated": "rate_limits*",
    "error": "error*",
}


# What is passed on as it comes, so that there is no type of it here.


class Conversation(TypedDict):
    id: str
    object: Literal["realtime.conversation"]


class TranscribedTokens(TypedDict):
    text_tokens: int
    audio_tokens: int


class UsageByTokens(TypedDict):
    type: Literal["tokens"]
    total_tokens: int
    input_tokens: int
    output_tokens: int
    input_token_details: TranscribedTokens


class TranscriptionFailure(TypedDict):
    type: str
    code: NotRequired[str]
    message: str
    param: NotRequired[str]


class LogProb(TypedDict):
    token: str
    bytes: list[int]
    logprob: float


class DetectedLanguage(TypedDict):
    code: str


# What the events carry that is more than a number or a text, by the name of the field.
CARRIED: dict[str, Any] = {
    "session": Session,
    "conversation": Conversation,
    "item": ItemResource,
    "response": ResponseResource,
    "part": ContentPart,
    "usage": TranscriptionUsage | UsageByTokens,
    "rate_limits": list[RateLimit],
    "logprobs": list[LogProb],
    "languages": list[DetectedLanguage],
    "error.error": ErrorFields,
    "conversation.item.input_audio_transcription.failed.error": TranscriptionFailure,
}


def members(union: Any) -> tuple[Any, ...]:
    """The classes of a union of the SDK, which may have a discriminator around it."""
    if typing.get_origin(union) is typing.Annotated:
        union = typing.get_args(union)[0]
    return typing.get_args(union)


def by_type(union: Any) -> dict[str, Any]:
    return {str(word): one for one in members(union) for word in type_of(one)}


def type_of(event: Any) -> frozenset[object]:
    return shape_of(event).objects[0]["type"].shape.words


def deviates(found: Iterable[str], expected: dict[str, str]) -> list[str]:
    """What is found and not expected, and what is expected and not found."""
    lines = list(found)
    unexpected = [line for line in lines if not line.endswith(tuple(expected))]
    gone = [end for end in expected if not any(line.endswith(end) for line in lines)]
    return sorted(unexpected) + sorted(f"no deviation any more: {end}" for end in gone)


def wider(found: Iterable[str]) -> list[str]:
    """The differences that are more than a server that always shows a field, and never null."""
    harmless = (": required only here", ": null only there")
    return [line for line in found if not line.endswith(harmless)]


OFFICIAL_CLIENT_EVENTS = by_type(RealtimeClientEventParam) | {
    "response.create": ResponseCreateEventWithReferencesParam
}
OFFICIAL_SERVER_EVENTS = by_type(RealtimeServerEvent)


def test_the_client_events_are_those_of_the_official_package() -> None:
    assert set(CLIENT_EVENTS) == set(OFFICIAL_CLIENT_EVENTS) == set(by_type(RealtimeClientEvent))
    assert all(type_of(model) == {kind} for kind, model in CLIENT_EVENTS.items())


def test_what_a_client_may_send_is_what_the_official_types_have() -> None:
    found = [
        line
        for kind, model in CLIENT_EVENTS.items()
        for line in differences(shape_of(model), shape_of(OFFICIAL_CLIENT_EVENTS[kind]), kind)
    ]
    assert deviates(found, ASKED) == []


def test_the_server_events_are_those_of_the_official_package() -> None:
    assert set(SERVER_EVENTS) == set(OFFICIAL_SERVER_EVENTS)


@pytest.mark.parametrize("kind", SERVER_EVENTS)
def test_the_fields_of_a_server_event(kind: str) -> None:
    fields = shape_of(OFFICIAL_SERVER_EVENTS[kind]).objects[0]
    always = {"type"} if kind == "input_audio_buffer.dtmf_event_received" else {"type", "event_id"}
    named = " ".join(
        f"{name}*" if fields[name].required else name for name in fields if name not in always
    )
    assert sorted(named.split()) == sorted(SERVER_EVENTS[kind].split())


def test_what_a_server_shows_is_what_the_official_types_have() -> None:
    found: set[str] = set()
    for kind, event in OFFICIAL_SERVER_EVENTS.items():
        for name, field in shape_of(event).objects[0].items():
            theirs = field.shape
            if theirs.objects or theirs.members or theirs.values:
                ours = CARRIED[f"{kind}.error" if name == "error" else name]
                found |= set(differences(shape_of(ours), theirs, name))
    assert deviates(wider(found), SHOWN) == []


def test_the_sessions_are_those_of_the_answer_for_a_client_secret() -> None:
    theirs = shape_of(ClientSecretCreateResponse.model_fields["session"].annotation)
    assert deviates(wider(differences(shape_of(Session), theirs, "session")), ANSWERED) == []
