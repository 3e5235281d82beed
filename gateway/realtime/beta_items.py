"""Conversation items in the words of the beta API, to and from those of GA.

Only the types of content differ. What an assistant says is `text` and `audio` in beta, and
`output_text` and `output_audio` in GA; what others say is `input_text` and `input_audio` in both.
The `part` of a `response.content_part` event has beta's types in both.
"""

from collections.abc import Callable
from typing import Any, Final

_TO_BETA: Final = {"output_text": "text", "output_audio": "audio"}
_TO_GA: Final = {
    "assistant": {"text": "output_text", "audio": "output_audio"},
    # Not in the reference of beta, but servers do so.
    "user": {"text": "input_text", "audio": "input_audio"},
    "system": {"text": "input_text"},
}


def item_to_beta(item: Any) -> Any:
    """A GA item, or an item of unknown shape, which stays as it is."""
    return _with_types(item, _TO_BETA)


def input_to_beta(item: Any) -> Any:
    """A GA item of a response's own input, where beta knows what an assistant said as text only."""
    return _with_content(item_to_beta(item), _as_text)


def item_from_beta(item: Any) -> Any:
    """A beta item, or an item of unknown shape, which stays as it is."""
    role = item.get("role") if isinstance(item, dict) else None
    return _with_types(item, _TO_GA.get(role, {}) if isinstance(role, str) else {})


def part_of_content(part: Any) -> Any:
    """The `part` of a `response.content_part` event as both dialects have it."""
    return _with_type(part, _TO_BETA)


def _as_text(part: Any) -> Any:
    match part:
        case {"type": "audio", "transcript": transcript}:
            return {"type": "text", "text": transcript}
    return part


def _with_types(item: Any, types: dict[str, str]) -> Any:
    return _with_content(item, lambda part: _with_type(part, types))


def _with_type(part: Any, types: dict[str, str]) -> Any:
    kind = part.get("type") if isinstance(part, dict) else None
    return part | {"type": types[kind]} if isinstance(kind, str) and kind in types else part


def _with_content(item: Any, change: Callable[[Any], Any]) -> Any:
    content = item.get("content") if isinstance(item, dict) else None
    if not isinstance(content, list):
        return item
    return item | {"content": [change(part) for part in content]}
