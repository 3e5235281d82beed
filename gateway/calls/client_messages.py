"""What clients of a call send, from a message to an event that the call may be given.

All roads on which clients come (a WebSocket, a data channel) read their messages here, so that the
same message has the same outcome on each.
"""

import json
import re
from typing import Final

from gateway.realtime.errors import RealtimeError, error_event
from gateway.realtime.events import Event, EventError, encode_event, parse_event
from gateway.realtime.session import Session, without_fixed
from gateway.realtime.validation import check_json
from gateway.upstream.ids import new_event_id

_LARGE_BYTES: Final = 1 << 20
"""Beyond this only audio is taken: whatever else is so large takes long to read and to check, and
every call waits meanwhile."""
_BASE64: Final = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_="
    b"\\"  # some write `\/`
)
_ENVELOPE_BYTES: Final = 1000  # of a large event, besides its base64
_ENDS_BYTES: Final = 256  # of a large event, where its other fields are looked for
_APPEND: Final = "input_audio_buffer.append"
_IS_APPEND: Final = re.compile(rb'"type"\s*:\s*"input_audio_buffer\.append"')
_HAS_ID: Final = re.compile(rb'"event_id"\s*:\s*"([\w.:-]+)"', re.ASCII)


class MessageRefused(Exception):
    """A message that no call may be given.

    Args:
        message: why, for the client.
        event_id: what the client called its event, if that can be read.
        param: the field that is at fault.
        code: as in the `error` event.
    """

    def __init__(
        self,
        message: str,
        event_id: str | None = None,
        param: str | None = None,
        code: str = "invalid_event",
    ) -> None:
        super().__init__(message)
        self._error = RealtimeError(message, code=code, param=param)
        self._event_id = event_id

    def to_message(self) -> bytes:
        """The `error` event that the client deserves, as JSON text."""
        event = error_event(self._error, event_id=new_event_id(), client_event_id=self._event_id)
        return encode_event(event)


def read_message(data: bytes) -> Event:
    """The event in a client's message, without what the media of a call has settled.

    Raises:
        MessageRefused: it holds none, or one that is too large.
    """
    large = len(data) > _LARGE_BYTES
    if large and not _is_audio(data):
        found = _HAS_ID.search(_ends(data))
        raise _too_large(found[1].decode() if found else None)
    try:
        event = parse_event(data)
    except EventError as error:
        raise MessageRefused(f"The message is not an event: {error}.", _event_id(data)) from None
    try:
        check_json(event, "")
    except RealtimeError as error:
        raise MessageRefused(error.message, _id_in(event), error.param) from None
    if large and event["type"] != _APPEND:  # which it only looked like
        raise _too_large(_id_in(event))
    return without_fixed(event)


def session_created(session: Session) -> bytes:
    """The first event that a client of a call is sent, as JSON text."""
    event = {"type": "session.created", "event_id": new_event_id(), "session": session}
    return encode_event(event)


def without_sound(event: Event) -> bytes | None:
    """An event about an item without the item's audio, as JSON text; None when it has none."""
    item = event.get("item")
    content = item.get("content") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(content, list):
        return None
    silent = [
        {name: value for name, value in part.items() if name != "audio"}
        if isinstance(part, dict)
        else part
        for part in content
    ]
    return None if silent == content else encode_event(event | {"item": item | {"content": silent}})


def _too_large(event_id: str | None) -> MessageRefused:
    return MessageRefused(f"The event is larger than {_LARGE_BYTES >> 20} MiB.", event_id)


def _ends(data: bytes) -> bytes:
    """Where the fields of a large event stand that are not large."""
    return data[:_ENDS_BYTES] + data[-_ENDS_BYTES:]


def _is_audio(data: bytes) -> bool:
    """Whether an event is an append of base64, and next to nothing else: quick, and so that reading
    it is quick."""
    around = data.translate(None, _BASE64)
    return len(around) <= _ENVELOPE_BYTES and _IS_APPEND.search(_ends(data)) is not None


def _event_id(data: bytes) -> str | None:
    """The `event_id` in what is no event, if it can be read."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return _id_in(value)


def _id_in(event: object) -> str | None:
    event_id = event.get("event_id") if isinstance(event, dict) else None
    return event_id if isinstance(event_id, str) else None
