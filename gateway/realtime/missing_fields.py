"""What servers leave out of their events, filled in for the strict official clients.

The official clients differ in what they insist on, and the strictest decides: without it an event
is an error of the session to one, and to another one that nobody hears of. What other events told
is filled in truly: which response and which output an item belongs to, the name of a function, what
was said in a part. Nothing is known of other numbers, which are zero, and texts, which are empty.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gateway.realtime.beta_events import ITEM_EVENTS
from gateway.realtime.events import Event, text_of
from gateway.realtime.resources import TranscriptionUsage
from gateway.realtime.strict_items import is_known, strict_item, strict_part

_PLACE: Final = {"response_id": "", "item_id": "", "output_index": 0}
_PART: Final = _PLACE | {"content_index": 0}
_CALL: Final = _PLACE | {"call_id": ""}
_MCP: Final = {"item_id": "", "output_index": 0}
_ITEM: Final[dict[str, Any]] = {"item": {}}
_PLAYOUT: Final = {"response_id": ""}
_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"

NEEDED: Final[dict[str, dict[str, Any]]] = {
    "error": {},
    "session.created": {"session": {}},
    "session.updated": {"session": {}},
    "conversation.created": {"conversation": {}},
    "conversation.item.created": _ITEM,
    "conversation.item.added": _ITEM,
    "conversation.item.done": _ITEM,
    "conversation.item.retrieved": _ITEM,
    "conversation.item.deleted": {"item_id": ""},
    "conversation.item.truncated": {"item_id": "", "content_index": 0, "audio_end_ms": 0},
    f"{_TRANSCRIPTION}.delta": {"item_id": ""},
    f"{_TRANSCRIPTION}.completed": {"item_id": "", "content_index": 0, "transcript": ""},
    f"{_TRANSCRIPTION}.failed": {"item_id": "", "content_index": 0, "error": {}},
    f"{_TRANSCRIPTION}.segment": {
        "id": "",
        "item_id": "",
        "content_index": 0,
        "speaker": "",
        "start": 0.0,
        "end": 0.0,
        "text": "",
    },
    "input_audio_buffer.speech_started": {"item_id": "", "audio_start_ms": 0},
    "input_audio_buffer.speech_stopped": {"item_id": "", "audio_end_ms": 0},
    "input_audio_buffer.committed": {"item_id": ""},
    "input_audio_buffer.cleared": {},
    "input_audio_buffer.timeout_triggered": {
        "item_id": "",
        "audio_start_ms": 0,
        "audio_end_ms": 0,
    },
    "input_audio_buffer.dtmf_event_received": {"event": "", "received_at": 0},
    "output_audio_buffer.started": _PLAYOUT,
    "output_audio_buffer.stopped": _PLAYOUT,
    "output_audio_buffer.cleared": _PLAYOUT,
    "rate_limits.updated": {"rate_limits": []},
    "response.created": {"response": {}},
    "response.done": {"response": {}},
    "response.output_item.added": {"response_id": "", "output_index": 0, "item": {}},
    "response.output_item.done": {"response_id": "", "output_index": 0, "item": {}},
    "response.content_part.added": _PART | {"part": {}},
    "response.content_part.done": _PART | {"part": {}},
    "response.output_text.delta": _PART | {"delta": ""},
    "response.output_text.done": _PART | {"text": ""},
    "response.output_audio_transcript.delta": _PART | {"delta": ""},
    "response.output_audio_transcript.done": _PART | {"transcript": ""},
    "response.output_audio.delta": _PART | {"delta": ""},
    "response.output_audio.done": _PART,
    "response.function_call_arguments.delta": _CALL | {"delta": ""},
    "response.function_call_arguments.done": _CALL | {"name": "", "arguments": ""},
    "response.mcp_call_arguments.delta": _PLACE | {"delta": "", "obfuscation": ""},
    "response.mcp_call_arguments.done": _PLACE | {"arguments": ""},
    "response.mcp_call.in_progress": _MCP,
    "response.mcp_call.completed": _MCP,
    "response.mcp_call.failed": _MCP,
    "mcp_list_tools.in_progress": {"item_id": ""},
    "mcp_list_tools.completed": {"item_id": ""},
    "mcp_list_tools.failed": {"item_id": ""},
}
"""Every type of GA, and what its fields hold where a server has nothing, or no such thing."""
_NO_USAGE: Final[TranscriptionUsage] = {"type": "duration", "seconds": 0.0}
_WITHOUT_ID: Final = "input_audio_buffer.dtmf_event_received"
_SAID: Final = {  # event -> the key of what it tells of a part, and the part's own
    "response.output_text.delta": ("delta", "text"),
    "response.output_text.done": ("text", "text"),
    "response.output_audio_transcript.delta": ("delta", "transcript"),
    "response.output_audio_transcript.done": ("transcript", "transcript"),
}


@dataclass(slots=True)
class _Output:
    """An item that a response is making."""

    item_id: str
    response_id: str
    index: int
    call_id: str
    name: str


class MissingFields:
    """Fills in the server events of one connection, in the order in which they came.

    Args:
        new_id: makes ids for events, and for items, that have none.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._response_id = ""  # the last one that began
        self._outputs: dict[str, _Output] = {}  # by item, of the responses in progress
        self._parts: dict[tuple[str, int], dict[str, str]] = {}  # what was said in them so far

    def fill(self, event: Event) -> Event:
        """A copy of the event, in GA words, with all that strict clients want.

        An event of an unknown type comes back as it is.
        """
        kind = event["type"]
        if kind not in NEEDED:
            return event
        filled = _without_nulls(event, "previous_item_id")
        if kind != _WITHOUT_ID and not text_of(event, "event_id"):
            filled["event_id"] = self._new_id()
        if kind in ITEM_EVENTS:
            item = filled.get("item")
            filled["item"] = strict_item(item if isinstance(item, dict) else {}, self._new_id)
        if kind == "response.created":
            self._response_id = text_of(filled, "response", "id")
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._output(filled)
        elif "response_id" in NEEDED[kind]:
            self._place(filled)
        for name, default in NEEDED[kind].items():
            if not _is_like(filled.get(name), default):
                filled[name] = type(default)(default)
        self._more(kind, filled)
        return filled

    def _output(self, event: Event) -> None:
        response_id = text_of(event, "response_id") or self._response_id
        item_id = text_of(event, "item", "id")
        known = self._outputs.get(item_id)
        index = event.get("output_index")
        if not isinstance(index, int):
            before = [one for one in self._outputs.values() if one.response_id == response_id]
            index = known.index if known else len(before)
        event |= {"response_id": response_id, "output_index": index}
        call_id, name = text_of(event, "item", "call_id"), text_of(event, "item", "name")
        self._outputs[item_id] = _Output(item_id, response_id, index, call_id, name)

    def _place(self, event: Event) -> None:
        """What an event leaves out of where it belongs, as others told."""
        output = self._outputs.get(text_of(event, "item_id")) or self._called(event)
        known: dict[str, Any] = {"response_id": self._response_id}
        if output is not None:
            known = {
                "item_id": output.item_id,
                "response_id": output.response_id,
                "output_index": output.index,
                "call_id": output.call_id,
                "name": output.name,
            }
        for name, default in NEEDED[event["type"]].items():
            if name in known and (event.get(name) == "" or not _is_like(event.get(name), default)):
                event[name] = known[name]

    def _called(self, event: Event) -> _Output | None:
        call_id = text_of(event, "call_id")
        outputs = self._outputs.values()
        return next((one for one in outputs if call_id and one.call_id == call_id), None)

    def _more(self, kind: str, event: Event) -> None:
        """What single types of events need besides."""
        if kind in _SAID:
            self._say(event, *_SAID[kind])
        elif kind in ("response.content_part.added", "response.content_part.done"):
            event["part"] = self._part(event)
        elif kind in ("response.created", "response.done"):
            self._respond(event)
        elif kind in ("session.created", "session.updated"):
            event["session"] = {"type": "realtime"} | event["session"]
        elif kind == f"{_TRANSCRIPTION}.completed":
            event["usage"] = _transcription_usage(event.get("usage"))
        elif kind == f"{_TRANSCRIPTION}.failed":
            # With a null one official client does not know the event.
            event["error"] = _without_nulls(event["error"])
        elif kind == "error":
            event["error"] = _error(event.get("error"), event)

    def _say(self, event: Event, told: str, part: str) -> None:
        said = self._parts.setdefault((event["item_id"], event["content_index"]), {})
        if told == "delta":
            said[part] = said.get(part, "") + event["delta"]
        elif not event[told]:
            event[told] = said.get(part, "")
        else:
            said[part] = event[told]

    def _part(self, event: Event) -> dict[str, Any]:
        """A part that has no type is of the kind of what was said in it; speech by default."""
        said = self._parts.get((event["item_id"], event["content_index"]), {})
        part = strict_part(event["part"])
        kind = part.get("type") or ("text" if "text" in said else "audio")
        words = "text" if kind == "text" else "transcript"
        if not part.get(words):
            part[words] = said.get(words, "")
        return part | {"type": kind}

    def _respond(self, event: Event) -> None:
        response = dict(event["response"])
        done = event["type"] == "response.done"
        response |= {"object": "realtime.response"}
        if not text_of(response, "id"):
            response["id"] = self._response_id
        if not text_of(response, "status"):
            response["status"] = "completed" if done else "in_progress"
        output = response.get("output")
        items = output if isinstance(output, list) else []
        response["output"] = [
            strict_item(item, self._new_id)
            for item in items
            if isinstance(item, dict) and is_known(item)
        ]
        if not isinstance(response.get("status_details"), dict):
            response["status_details"] = None
        usage = response.get("usage") or event.get("usage", response.get("usage"))
        response["usage"] = _usage(usage, done=done)
        event["response"] = response
        if done:
            self._forget(response["id"])

    def _forget(self, response_id: str) -> None:
        gone = [item for item, one in self._outputs.items() if one.response_id == response_id]
        for item_id in gone:
            del self._outputs[item_id]
        self._parts = {key: said for key, said in self._parts.items() if key[0] in self._outputs}


def _is_like(value: object, default: object) -> bool:
    """Whether a value is of its field's type. True is no number, and 1 may stand for 1.0."""
    wanted = (int, float) if isinstance(default, float) else type(default)
    return isinstance(value, wanted) and not isinstance(value, bool)


def _without_nulls(fields: dict[str, Any], *but: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None or name in but}


def _error(value: object, event: Event) -> dict[str, Any]:
    """An error's details, also where a server has them beside `error`, or as a mere text."""
    error = {"message": value} if isinstance(value, str) else value
    error = error if isinstance(error, dict) else {}
    code = error.get("code", event.get("code"))
    return error | {
        "type": text_of(error, "type") or "server_error",
        "message": text_of(error, "message") or text_of(event, "message"),
        "code": code if code is None or isinstance(code, str) else str(code),
        "param": text_of(error, "param") or None,
        "event_id": text_of(error, "event_id") or None,
    }


def _usage(value: object, *, done: bool) -> dict[str, Any] | None:
    """A response's usage with all its numbers; none before the response is done."""
    if not isinstance(value, dict) or (not value and not done):
        return None
    return _tokens(value, "input", "output")


def _transcription_usage(value: object) -> dict[str, Any]:
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(value, dict) and kind == "tokens":
        return _tokens(value, "input")
    if isinstance(value, dict) and kind == "duration" and _is_like(value.get("seconds"), 0.0):
        return value
    return dict(_NO_USAGE)


def _tokens(usage: dict[str, Any], *detailed: str) -> dict[str, Any]:
    """Token counts with those of the details; their key is in the plural at times."""
    filled = {"total_tokens": 0, "input_tokens": 0, "output_tokens": 0} | _without_nulls(usage)
    for side in detailed:
        details = filled.pop(f"{side}_tokens_details", None) or filled.get(f"{side}_token_details")
        told = _without_nulls(details) if isinstance(details, dict) else {}
        filled[f"{side}_token_details"] = {"text_tokens": 0, "audio_tokens": 0} | told
    return filled
