"""Realtime events as they travel: a JSON object with a `type`.

An event stays a plain dict so that fields and types that this version does not know pass through
unchanged. The builders below exist for the events that the gateway itself originates.
"""

import json
from base64 import b64encode
from typing import Any

Event = dict[str, Any]
"""A JSON object whose `type` is a string."""


class EventError(ValueError):
    """What arrived is not a Realtime event."""


def parse_event(data: bytes | str) -> Event:
    """Read one event.

    Raises:
        EventError: the text is not JSON, not an object, or has no string `type`.
    """
    try:
        event = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EventError(f"not JSON: {error}") from None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise EventError("not an object with a string type")
    return event


def encode_event(event: Event) -> bytes:
    """The event as one compact JSON text.

    All ASCII: a lone surrogate, which JSON can carry and UTF-8 cannot, goes back as it came.
    """
    return json.dumps(event, separators=(",", ":")).encode()


def text_of(event: Event, *path: str) -> str:
    """The string at `path` inside the event, or "" where there is none."""
    value: Any = event
    for key in path:
        if not isinstance(value, dict):
            return ""
        value = value.get(key)
    return value if isinstance(value, str) else ""


def without(fields: dict[str, Any], *path: str) -> dict[str, Any]:
    """`fields` without what is at `path`, copied only along it."""
    key, *deeper = path
    if not deeper:
        return {name: value for name, value in fields.items() if name != key}
    inner = fields.get(key)
    return fields | {key: without(inner, *deeper)} if isinstance(inner, dict) else fields


def is_out_of_band(event: Event) -> bool:
    """Whether the response of this server event stands outside the conversation, beside the one in
    progress."""
    response = event.get("response")
    return isinstance(response, dict) and response.get("conversation_id", "") is None


def session_update(session: dict[str, Any]) -> Event:
    return {"type": "session.update", "session": session}


def append(audio: bytes) -> Event:
    """The caller's audio as an ordinary event; frames go by `append_event`."""
    return {"type": "input_audio_buffer.append", "audio": b64encode(audio).decode()}


def response_create(instructions: str = "") -> Event:
    """Ask for a response, with instructions of its own if there are any."""
    if not instructions:
        return {"type": "response.create"}
    return {"type": "response.create", "response": {"instructions": instructions}}


def response_cancel(response_id: str, event_id: str) -> Event:
    return {"type": "response.cancel", "event_id": event_id, "response_id": response_id}


def session_updated(session: dict[str, Any], event_id: str) -> Event:
    """The session is now like this."""
    return {"type": "session.updated", "event_id": event_id, "session": session}


def response_done(response: dict[str, Any], event_id: str) -> Event:
    """A response has ended, for a reason of the gateway's own."""
    return {"type": "response.done", "event_id": event_id, "response": response}


def truncated(item_id: str, content_index: int, audio_end_ms: int, event_id: str) -> Event:
    """The conversation holds no more of an item than this."""
    return truncate(item_id, content_index, audio_end_ms) | {
        "type": "conversation.item.truncated",
        "event_id": event_id,
    }


def truncate(item_id: str, content_index: int, audio_end_ms: int) -> Event:
    """Tell the model how much of an item the caller heard, in milliseconds from its start."""
    return {
        "type": "conversation.item.truncate",
        "item_id": item_id,
        "content_index": content_index,
        "audio_end_ms": audio_end_ms,
    }


def user_text(text: str) -> Event:
    """A text item that stands in the conversation as the caller's words."""
    return {
        "type": "conversation.item.create",
        "item": {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": text}],
        },
    }


def output_buffer(change: str, response_id: str, event_id: str) -> Event:
    """`output_audio_buffer.started`, `.stopped` or `.cleared`."""
    return {
        "type": f"output_audio_buffer.{change}",
        "event_id": event_id,
        "response_id": response_id,
    }


def dtmf_received(digit: str, received_at: int) -> Event:
    """One key press; `received_at` in unix seconds. The official type carries no `event_id`."""
    return {
        "type": "input_audio_buffer.dtmf_event_received",
        "event": digit,
        "received_at": received_at,
    }


def call_ringing(sip_status: int, event_id: str) -> Event:
    """Whoever we call is being called: an event of the gateway's own, never sent unasked."""
    return {"type": "gateway.call.ringing", "event_id": event_id, "sip_status": sip_status}


def call_answered(event_id: str) -> Event:
    """Whoever we called has answered: an event of the gateway's own, never sent unasked."""
    return {"type": "gateway.call.answered", "event_id": event_id}


def dtmf_sent(digits: str, event_id: str) -> Event:
    """Keys that a client asked for are being pressed: an event of the gateway's own, never sent
    unasked."""
    return {"type": "gateway.dtmf.sent", "event_id": event_id, "digits": digits}


def transfer_ended(result: str, sip_status: int | None, event_id: str) -> Event:
    """How a transfer turned out: an event of the gateway's own, never sent unasked."""
    return {
        "type": "gateway.transfer.ended",
        "event_id": event_id,
        "result": result,
        "sip_status": sip_status,
    }
