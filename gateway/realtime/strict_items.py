"""Items and parts of content, such that the strict official clients read them.

Servers write null for what does not apply, leave out what strict clients want to find, and have
roles of their own.
"""

from collections.abc import Callable
from typing import Any, Final

from gateway.realtime.beta_items import part_of_content
from gateway.realtime.events import text_of

Fields = dict[str, Any]

ITEM_TYPES: Final = {
    "message",
    "function_call",
    "function_call_output",
    "mcp_list_tools",
    "mcp_call",
    "mcp_approval_request",
    "mcp_approval_response",
}
"""The types of items that official clients know."""

_NEEDED: Final[dict[str, dict[str, str]]] = {
    "function_call": {"name": "", "arguments": "", "call_id": ""},
    "function_call_output": {"call_id": "", "output": ""},
    "mcp_call": {"name": "", "arguments": "", "server_label": ""},
}
_ALLOWED: Final = {  # of what servers put other values into
    "status": ("completed", "incomplete", "in_progress"),
    "object": ("realtime.item",),
    "role": ("user", "assistant", "system"),
}
_TEXT_PARTS: Final = ("input_text", "output_text")
_AUDIO_PARTS: Final = ("input_audio", "output_audio")


def strict_item(item: Fields, new_id: Callable[[], str]) -> Fields:
    """An item without nulls where clients want none, and with what they want to find."""
    strict = {
        name: value
        for name, value in item.items()
        if value is not None and (name not in _ALLOWED or value in _ALLOWED[name])
    }
    kind = strict.setdefault("type", _type_of(strict))
    if not text_of(strict, "id"):
        strict["id"] = new_id()
    if kind == "message":
        content = strict.get("content")
        parts = content if isinstance(content, list) else []
        strict["content"] = [_content(part) for part in parts if isinstance(part, dict)]
        strict.setdefault("role", "assistant")
        return strict
    strict.pop("role", None)  # it says nothing here, and may be one that clients do not know
    strict.pop("content", None)
    for name, default in _NEEDED.get(kind, {}).items() if isinstance(kind, str) else ():
        if not isinstance(strict.get(name), str):
            strict[name] = default
    if kind == "function_call" and not strict["call_id"]:
        strict["call_id"] = strict["id"]
    if kind == "mcp_call":
        strict.setdefault("output", None)
    return strict


def strict_part(part: Fields) -> Fields:
    """The `part` of a `response.content_part` event without nulls, and of one of its types."""
    named: Fields = part_of_content(part)
    kept = {name: value for name, value in named.items() if isinstance(value, str)}
    if kept.get("type") == "audio" and "transcript" not in kept and "text" in kept:
        kept["transcript"] = kept.pop("text")
    return kept


def is_known(item: object) -> bool:
    """Whether official clients know this type of item. One without a type is taken for known."""
    kind = item.get("type") if isinstance(item, dict) else None
    return not isinstance(kind, str) or kind in ITEM_TYPES


def _type_of(item: Fields) -> str:
    if "arguments" in item:
        return "function_call"
    return "function_call_output" if "output" in item else "message"


def _content(part: Fields) -> Fields:
    strict = {name: value for name, value in part.items() if value is not None}
    kind = strict.get("type")
    if kind in _TEXT_PARTS:
        strict.setdefault("text", "")
    elif kind in _AUDIO_PARTS and "transcript" not in strict:
        text = strict.pop("text", None)
        strict["transcript"] = text if text is not None or kind == "input_audio" else ""
    return strict
