"""The items that a client may put into a conversation, as models, field by field.

An item is told by its `type`, a message by its `role` too, and a content part by the parts that its
role may have. Servers show a few more fields; those are in `resources`.
"""

import re
from binascii import a2b_base64
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, Tag

from gateway.realtime.config_models import Name
from gateway.realtime.validation import (
    ABSENT,
    Array,
    Model,
    by_field,
    by_type,
    not_encoded,
    tag,
)

MAX_AUDIO: Final = 15 << 20
"""Characters of base64 in one event: the 15 MiB of the protocol."""

_IMAGE: Final = re.compile(r"data:image/(?:png|jpeg|jpg);base64,")

OwnId = Annotated[str, Field(min_length=1, max_length=32)]
"""An id that the client makes up. The official service takes no longer one, for a function call's
`call_id` neither."""


def _base64(text: str) -> str:
    if not text:
        raise not_encoded("base64-encoded audio bytes", "empty bytes")
    if not _is_base64(text):
        raise not_encoded("base64-encoded audio bytes", "an invalid value")
    return text


def _image(text: str) -> str:
    head = _IMAGE.match(text)
    if head is None or not _is_base64(text[head.end() :]):
        raise not_encoded("a base64-encoded data URL of a PNG or JPEG image", "an invalid value")
    return text


def _is_base64(text: str) -> bool:
    try:
        return len(a2b_base64(text, strict_mode=True)) > 0
    except ValueError:
        return False


AudioBytes = Annotated[str, Field(max_length=MAX_AUDIO), AfterValidator(_base64)]


class _Item(Model):
    id: OwnId = ABSENT
    object: Literal["realtime.item"] = ABSENT
    status: Literal["completed", "incomplete", "in_progress"] = ABSENT


class InputText(Model):
    type: Literal["input_text"]
    text: str


class InputAudio(Model):
    """Null is what servers show where there is no audio or no transcript, and what a client that
    puts an item back sends."""

    type: Literal["input_audio"]
    audio: AudioBytes | None = None
    transcript: str | None = None


class InputImage(Model):
    type: Literal["input_image"]
    image_url: Annotated[str, AfterValidator(_image)]
    detail: Literal["auto", "low", "high"] = ABSENT


class OutputText(Model):
    type: Literal["output_text"]
    text: str


class OutputAudio(Model):
    type: Literal["output_audio"]
    audio: AudioBytes | None = None
    transcript: str | None = None


class SystemMessage(_Item):
    type: Literal["message"]
    role: Literal["system"]
    content: Array[InputText]


class UserMessage(_Item):
    type: Literal["message"]
    role: Literal["user"]
    content: Array[
        Annotated[
            Annotated[InputText, Tag(tag("input_text"))]
            | Annotated[InputAudio, Tag(tag("input_audio"))]
            | Annotated[InputImage, Tag(tag("input_image"))],
            by_type("input_text", "input_audio", "input_image"),
        ]
    ]


class AssistantMessage(_Item):
    type: Literal["message"]
    role: Literal["assistant"]
    content: Array[
        Annotated[
            Annotated[OutputText, Tag(tag("output_text"))]
            | Annotated[OutputAudio, Tag(tag("output_audio"))],
            by_type("output_text", "output_audio"),
        ]
    ]


Message = Annotated[
    Annotated[SystemMessage, Tag(tag("system"))]
    | Annotated[UserMessage, Tag(tag("user"))]
    | Annotated[AssistantMessage, Tag(tag("assistant"))],
    by_field("role", "system", "user", "assistant"),
]


class FunctionCall(_Item):
    type: Literal["function_call"]
    name: Name
    arguments: str
    call_id: OwnId = ABSENT


class FunctionCallOutput(_Item):
    type: Literal["function_call_output"]
    call_id: OwnId
    output: str


class McpApprovalResponse(Model):
    """Official clients leave out the `id` that the official type requires."""

    type: Literal["mcp_approval_response"]
    id: OwnId = ABSENT
    approval_request_id: Name
    approve: bool
    reason: str | None = None


class McpApprovalRequest(Model):
    type: Literal["mcp_approval_request"]
    id: OwnId
    server_label: Name
    name: Name
    arguments: str


class McpListedTool(Model):
    name: Name
    input_schema: Any
    description: str | None = None
    annotations: Any = None


class McpListTools(Model):
    type: Literal["mcp_list_tools"]
    id: OwnId = ABSENT
    server_label: Name
    tools: Array[McpListedTool]


class McpProtocolError(Model):
    type: Literal["protocol_error"]
    code: int
    message: str


class McpToolExecutionError(Model):
    type: Literal["tool_execution_error"]
    message: str


class McpHttpError(Model):
    type: Literal["http_error"]
    code: int
    message: str


class McpCall(Model):
    type: Literal["mcp_call"]
    id: OwnId
    server_label: Name
    name: Name
    arguments: str
    approval_request_id: str | None = None
    output: str | None = None
    error: (
        Annotated[
            Annotated[McpProtocolError, Tag(tag("protocol_error"))]
            | Annotated[McpToolExecutionError, Tag(tag("tool_execution_error"))]
            | Annotated[McpHttpError, Tag(tag("http_error"))],
            by_type("protocol_error", "tool_execution_error", "http_error"),
        ]
        | None
    ) = None


class ItemReference(Model):
    """An item of the conversation, for the input of a response only."""

    type: Literal["item_reference"]
    id: Name


_ITEM_TYPES: Final = (
    "message",
    "function_call",
    "function_call_output",
    "mcp_approval_response",
    "mcp_list_tools",
    "mcp_call",
    "mcp_approval_request",
)
_Items = (
    Annotated[Message, Tag(tag("message"))]
    | Annotated[FunctionCall, Tag(tag("function_call"))]
    | Annotated[FunctionCallOutput, Tag(tag("function_call_output"))]
    | Annotated[McpApprovalResponse, Tag(tag("mcp_approval_response"))]
    | Annotated[McpListTools, Tag(tag("mcp_list_tools"))]
    | Annotated[McpCall, Tag(tag("mcp_call"))]
    | Annotated[McpApprovalRequest, Tag(tag("mcp_approval_request"))]
)
Item = Annotated[_Items, by_type(*_ITEM_TYPES)]
InputItem = Annotated[
    _Items | Annotated[ItemReference, Tag(tag("item_reference"))],
    by_type(*_ITEM_TYPES, "item_reference"),
]
