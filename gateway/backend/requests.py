"""What client events ask for, read and checked.

Raises `RealtimeError` throughout for what cannot be served.
"""

from base64 import b64decode
from dataclasses import dataclass
from typing import Any, Final

from gateway.backend.dialogue import KEYS, Input, Line, Pressed, Typed, phrases_of
from gateway.realtime.errors import RealtimeError, invalid, missing
from gateway.realtime.events import Event

_SAY: Final = "say:"
_MAX_LINE: Final = 4096
_KEYS_TEXT: Final = "DTMF "
_MAX_METADATA: Final = 16


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """A `response.create`."""

    line: Line
    """What to say word for word; empty to leave it to the dialogue."""
    metadata: dict[str, str] | None


def audio(event: Event) -> bytes:
    """The audio of an `input_audio_buffer.append`."""
    encoded = event.get("audio")
    if encoded is None:
        raise missing("audio")
    try:
        return b64decode(encoded, validate=True)
    except (ValueError, TypeError):
        message = "Invalid 'audio'. Expected a base64-encoded string."
        raise RealtimeError(message, code="invalid_value", param="audio") from None


def previous_item_id(event: Event) -> str | None:
    value = event.get("previous_item_id")
    if value is not None and not isinstance(value, str):
        raise invalid("previous_item_id", value, "the id of an item, 'root' or null")
    return value


def response(event: Event) -> ResponseRequest:
    params = event.get("response")
    if params is None:
        params = {}
    if not isinstance(params, dict):
        raise invalid("response", params, "an object")
    if params.get("conversation", "auto") != "auto":
        raise invalid("response.conversation", params["conversation"], "'auto'")
    if params.get("output_modalities", ["audio"]) != ["audio"]:
        raise invalid("response.output_modalities", params["output_modalities"], "['audio']")
    instructions = params.get("instructions")
    if instructions is not None and not isinstance(instructions, str):
        raise invalid("response.instructions", instructions, "a string")
    return ResponseRequest(_line(instructions or ""), _metadata(params.get("metadata")))


def user_input(item: dict[str, Any]) -> Input | None:
    """What a new item means to the dialogue: keys, typed text, or None when it is not the user's.

    `DTMF 12#` is how the gateway tells the model of key presses.
    """
    if item.get("role") != "user":
        return None
    text = " ".join(part["text"] for part in item["content"]).strip()
    keys = text.removeprefix(_KEYS_TEXT)
    if keys and keys != text and set(keys) <= set(KEYS):
        return Pressed(keys)
    return Typed(text)


def _line(instructions: str) -> Line:
    """`say: ...` is spoken exactly; other instructions are for models that understand them."""
    if not instructions.lstrip().lower().startswith(_SAY):
        return ()
    text = instructions.lstrip()[len(_SAY) :].strip()
    if not text or len(text) > _MAX_LINE:
        expected = f"1 to {_MAX_LINE} characters after '{_SAY}'"
        raise invalid("response.instructions", instructions, expected)
    return phrases_of(text)


def _metadata(value: object) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or len(value) > _MAX_METADATA:
        raise invalid("response.metadata", value, f"an object of up to {_MAX_METADATA} strings")
    for key, text in value.items():
        if not isinstance(text, str):
            raise invalid(f"response.metadata.{key[:64]}", text, "a string")
    return value
