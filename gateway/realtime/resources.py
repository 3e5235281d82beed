"""What a server shows (GA): items, responses, usage, rate limits. The session is in
`session_resources`.

A key that servers leave out at times is `NotRequired`; what the strictest official clients want to
find is not, even where the official types would do without.
"""

from typing import Any, Final, Literal, NotRequired, TypedDict

from gateway.realtime.errors import RealtimeError
from gateway.realtime.session_resources import Format, MaxOutputTokens, OutputModalities

_RATE_WINDOW_S: Final = 60

ItemStatus = Literal["in_progress", "completed", "incomplete"]


# Items.


class InputTextPart(TypedDict):
    type: Literal["input_text"]
    text: str


class InputAudioPart(TypedDict):
    type: Literal["input_audio"]
    transcript: str | None
    audio: NotRequired[str]


class InputImagePart(TypedDict):
    type: Literal["input_image"]
    image_url: str
    detail: NotRequired[Literal["auto", "low", "high"]]


class OutputTextPart(TypedDict):
    type: Literal["output_text"]
    text: str


class OutputAudioPart(TypedDict):
    type: Literal["output_audio"]
    transcript: str
    audio: NotRequired[str]


UserPart = InputTextPart | InputAudioPart | InputImagePart
AssistantPart = OutputTextPart | OutputAudioPart


class _Item(TypedDict):
    id: str
    object: NotRequired[Literal["realtime.item"]]
    status: ItemStatus


class SystemMessageItem(_Item):
    type: Literal["message"]
    role: Literal["system"]
    content: list[InputTextPart]


class UserMessageItem(_Item):
    type: Literal["message"]
    role: Literal["user"]
    content: list[UserPart]


class AssistantMessageItem(_Item):
    type: Literal["message"]
    role: Literal["assistant"]
    content: list[AssistantPart]


class FunctionCallItem(_Item):
    type: Literal["function_call"]
    name: str
    call_id: str
    arguments: str


class FunctionCallOutputItem(_Item):
    type: Literal["function_call_output"]
    call_id: str
    output: str


class McpListedToolResource(TypedDict):
    name: str
    input_schema: Any
    description: NotRequired[str | None]
    annotations: NotRequired[Any]


class McpListToolsItem(TypedDict):
    type: Literal["mcp_list_tools"]
    id: str
    server_label: str
    tools: list[McpListedToolResource]


class McpProtocolErrorResource(TypedDict):
    type: Literal["protocol_error"]
    code: int
    message: str


class McpToolExecutionErrorResource(TypedDict):
    type: Literal["tool_execution_error"]
    message: str


class McpHttpErrorResource(TypedDict):
    type: Literal["http_error"]
    code: int
    message: str


class McpCallItem(TypedDict):
    type: Literal["mcp_call"]
    id: str
    server_label: str
    name: str
    arguments: str
    output: str | None
    approval_request_id: NotRequired[str | None]
    error: NotRequired[
        McpProtocolErrorResource | McpToolExecutionErrorResource | McpHttpErrorResource | None
    ]


class McpApprovalRequestItem(TypedDict):
    type: Literal["mcp_approval_request"]
    id: str
    server_label: str
    name: str
    arguments: str


class McpApprovalResponseItem(TypedDict):
    type: Literal["mcp_approval_response"]
    id: str
    approval_request_id: str
    approve: bool
    reason: NotRequired[str | None]


MessageItem = SystemMessageItem | UserMessageItem | AssistantMessageItem
ItemResource = (
    MessageItem
    | FunctionCallItem
    | FunctionCallOutputItem
    | McpListToolsItem
    | McpCallItem
    | McpApprovalRequestItem
    | McpApprovalResponseItem
)


class TextPart(TypedDict):
    """The `part` of `response.content_part.*`, whose types are not those of an item's content."""

    type: Literal["text"]
    text: str


class AudioPart(TypedDict):
    type: Literal["audio"]
    transcript: str
    audio: NotRequired[str]


ContentPart = TextPart | AudioPart


# Responses.


class CachedTokens(TypedDict):
    text_tokens: int
    audio_tokens: int
    image_tokens: int


class InputTokens(TypedDict):
    text_tokens: int
    audio_tokens: int
    image_tokens: int
    cached_tokens: int
    cached_tokens_details: CachedTokens


class OutputTokens(TypedDict):
    text_tokens: int
    audio_tokens: int


class Usage(TypedDict):
    total_tokens: int
    input_tokens: int
    output_tokens: int
    input_token_details: InputTokens
    output_token_details: OutputTokens


class CompletedDetails(TypedDict):
    type: Literal["completed"]


class CancelledDetails(TypedDict):
    type: Literal["cancelled"]
    reason: Literal["turn_detected", "client_cancelled"]


class IncompleteDetails(TypedDict):
    type: Literal["incomplete"]
    reason: Literal["max_output_tokens", "content_filter"]


class ResponseFailure(TypedDict):
    type: str
    code: str | None
    message: str


class FailedDetails(TypedDict):
    type: Literal["failed"]
    error: ResponseFailure


ResponseStatusDetails = CompletedDetails | CancelledDetails | IncompleteDetails | FailedDetails
ResponseStatus = Literal["in_progress", "completed", "cancelled", "incomplete", "failed"]


class ResponseOutputResource(TypedDict):
    format: Format
    voice: str


class ResponseAudioResource(TypedDict):
    output: ResponseOutputResource


class ResponseTerms(TypedDict):
    """What a response shows of how it was to be."""

    output_modalities: OutputModalities
    max_output_tokens: MaxOutputTokens
    audio: ResponseAudioResource
    metadata: dict[str, str] | None


class ResponseResource(ResponseTerms):
    object: Literal["realtime.response"]
    id: str
    status: ResponseStatus
    status_details: ResponseStatusDetails | None
    output: list[ItemResource]
    conversation_id: str | None
    usage: Usage | None


# What else events carry.


class RateLimit(TypedDict):
    name: Literal["requests", "tokens"]
    limit: int
    remaining: int
    reset_seconds: float


class TranscriptionUsage(TypedDict):
    """By the length of the audio. The other kind, by tokens, is passed on as it comes."""

    type: Literal["duration"]
    seconds: float


def usage(
    text_in: int, audio_in: int, text_out: int, audio_out: int, *, cached: tuple[int, int] = (0, 0)
) -> Usage:
    """The tokens of a response; `cached` are those of text and audio that were input before."""
    cached_text, cached_audio = cached
    return {
        "total_tokens": text_in + audio_in + text_out + audio_out,
        "input_tokens": text_in + audio_in,
        "output_tokens": text_out + audio_out,
        "input_token_details": {
            "text_tokens": text_in,
            "audio_tokens": audio_in,
            "image_tokens": 0,
            "cached_tokens": cached_text + cached_audio,
            "cached_tokens_details": {
                "text_tokens": cached_text,
                "audio_tokens": cached_audio,
                "image_tokens": 0,
            },
        },
        "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out},
    }


def rate_limit(name: Literal["requests", "tokens"], limit: int, used: int) -> RateLimit:
    """A limit per minute; what is used comes back evenly."""
    return {
        "name": name,
        "limit": limit,
        "remaining": max(0, limit - used),
        "reset_seconds": round(_RATE_WINDOW_S * min(used, limit) / limit, 3),
    }


def failed(error: RealtimeError) -> FailedDetails:
    """The status details of a response that failed for this reason."""
    failure: ResponseFailure = {"type": error.kind, "code": error.code, "message": error.message}
    return {"type": "failed", "error": failure}
