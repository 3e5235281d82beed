"""Every event of the beta API, to and from GA: of clients and of servers.

The functions keep no state and raise nothing; what they do not know passes unchanged. A `Dialect`
speaks with a beta server by `client_to_beta` and `server_from_beta`. The other two are for whoever
serves a beta client.

* GA's `conversation.item.added` is beta's `.created`, and GA's `.done` has no word in beta. Beta's
  `.created` keeps its name: which of GA's two it stands for takes more than one event to tell.
  `ItemLifecycle` does that.
* `transcription_session.*` are the `session.*` events of a session of that type.
* The path in an error's `param` is that of the reader's dialect.

Fields are dropped as `beta_session` says. What GA has and beta does not know at all, images in
content, MCP items and their events, key presses, passes unchanged.
"""

from collections.abc import Callable
from typing import Any, Final

from gateway.realtime.beta_items import input_to_beta, item_from_beta, item_to_beta, part_of_content
from gateway.realtime.beta_session import (
    flat_path,
    flat_request,
    flat_response,
    flat_session,
    flat_update,
    nested,
    nested_path,
)
from gateway.realtime.events import Event

_Change = Callable[[Any], Any]

_GA_NAMES: Final = {
    f"response.{beta}.{end}": f"response.output_{beta}.{end}"
    for beta in ("text", "audio", "audio_transcript")
    for end in ("delta", "done")
} | {
    "transcription_session.created": "session.created",
    "transcription_session.updated": "session.updated",
}
_BETA_NAMES: Final = {
    ga: beta for beta, ga in _GA_NAMES.items() if beta.startswith("response.")
} | {"conversation.item.added": "conversation.item.created"}
ITEM_EVENTS: Final = frozenset(
    {
        "conversation.item.created",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.retrieved",
        "response.output_item.added",
        "response.output_item.done",
    }
)
"""The server events, under their GA names, that hold an item."""
_PARTS: Final = ("response.content_part.added", "response.content_part.done")
_RESPONSES: Final = ("response.created", "response.done")
_SESSIONS: Final = ("session.created", "session.updated")
_TEMPERATURE: Final = 0.8


def client_to_beta(event: Event) -> list[Event]:
    """A GA client event, for a beta server."""
    match event["type"]:
        case "session.update":
            return [_update_to_beta(event)]
        case "conversation.item.create":
            return [_changed(event, "item", item_to_beta)]
        case "response.create":
            return [_changed(event, "response", _request_to_beta)]
    return [event]


def client_from_beta(event: Event) -> list[Event]:
    """A beta client's event, for a GA server."""
    match event["type"]:
        case "session.update":
            return [_changed(event, "session", _realtime)]
        case "transcription_session.update":
            return [_changed(event, "session", _transcription) | {"type": "session.update"}]
        case "conversation.item.create":
            return [_changed(event, "item", item_from_beta)]
        case "response.create":
            return [_changed(event, "response", _request_from_beta)]
    return [event]


def server_to_beta(event: Event) -> list[Event]:
    """A GA server's event, for a beta client."""
    kind = event["type"]
    if kind == "conversation.item.done":
        return []
    if kind in ITEM_EVENTS:
        event = _changed(event, "item", item_to_beta)
    elif kind in _PARTS:
        event = _changed(event, "part", part_of_content)
    elif kind in _RESPONSES:
        event = _changed(event, "response", _response_to_beta)
    elif kind in _SESSIONS:
        event = _session_to_beta(event)
    elif kind == "error":
        event = _with_param(event, flat_path)
    return [event | {"type": _BETA_NAMES[kind]}] if kind in _BETA_NAMES else [event]


def server_from_beta(event: Event) -> Event:
    """A beta server's event, in GA words; what is in GA words already stays as it is."""
    kind = event["type"]
    named = _GA_NAMES.get(kind, kind)
    if named in ITEM_EVENTS:
        event = _changed(event, "item", item_from_beta)
    elif named in _PARTS:
        event = _changed(event, "part", part_of_content)
    elif named in _RESPONSES:
        event = _changed(event, "response", _response_from_beta)
    elif named in _SESSIONS:
        event = _changed(event, "session", _realtime if kind == named else _transcription)
    elif named == "error":
        event = _with_param(event, nested_path)
    return event if named == kind else event | {"type": named}


def _update_to_beta(event: Event) -> Event:
    session = event.get("session")
    changed = _changed(event, "session", flat_update)
    if isinstance(session, dict) and session.get("type") == "transcription":
        return changed | {"type": "transcription_session.update"}
    return changed


def _session_to_beta(event: Event) -> Event:
    session = event.get("session")
    if not isinstance(session, dict):
        return event
    flat = flat_session(session)
    if session.get("type") == "transcription":
        return event | {"type": f"transcription_{event['type']}", "session": flat}
    return event | {"session": flat | {"temperature": _TEMPERATURE}}


def _realtime(session: dict[str, Any]) -> dict[str, Any]:
    return {"type": "realtime"} | nested(session)


def _transcription(session: dict[str, Any]) -> dict[str, Any]:
    config = nested(session)
    config.pop("output_modalities", None)
    return config | {"type": "transcription"}


def _request_to_beta(response: dict[str, Any]) -> dict[str, Any]:
    return _with_items(flat_request(response), "input", input_to_beta)


def _request_from_beta(response: dict[str, Any]) -> dict[str, Any]:
    return _with_items(nested(response), "input", item_from_beta)


def _response_to_beta(response: dict[str, Any]) -> dict[str, Any]:
    flat = flat_response(response) | {"temperature": _TEMPERATURE}
    return _with_items(flat, "output", item_to_beta)


def _response_from_beta(response: dict[str, Any]) -> dict[str, Any]:
    return _with_items(nested(response), "output", item_from_beta)


def _with_items(fields: dict[str, Any], name: str, change: _Change) -> dict[str, Any]:
    items = fields.get(name)
    return fields | {name: [change(item) for item in items]} if isinstance(items, list) else fields


def _with_param(event: Event, change: Callable[[str], str]) -> Event:
    match event:
        case {"error": {"param": str(param)}}:
            return event | {"error": event["error"] | {"param": change(param)}}
    return event


def _changed(event: Event, name: str, change: _Change) -> Event:
    """The event with the object at `name` said otherwise; as it is where there is none."""
    value = event.get(name)
    return event | {name: change(value)} if isinstance(value, dict) else event
