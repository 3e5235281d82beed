"""Audio inside Realtime events, written and read without a JSON library.

These two functions run fifty times a second for every call. An append is two constant strings
around base64; a delta is found by its keys. A delta in any unusual shape (spaces, other types,
escapes) is simply not recognised here and takes the ordinary road through `parse_event`.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from binascii import b2a_base64
from typing import NamedTuple

from gateway.realtime.events import Event, text_of

_APPEND = b'{"type":"input_audio_buffer.append","audio":"'
_DELTA_TYPE = "response.output_audio.delta"
_DELTA_MARK = f'"{_DELTA_TYPE}"'.encode()
_TYPE_WINDOW = 160  # bytes within which servers write the type


class AudioDelta(NamedTuple):
    """A piece of generated speech, still in the session's output format."""

    response_id: str
    item_id: str
    content_index: int
    audio: bytes


def append_event(audio: bytes) -> bytes:
    """`input_audio_buffer.append` for one frame, as JSON text."""
    return _APPEND + b2a_base64(audio, newline=False) + b'"}'


def scan_delta(message: bytes) -> AudioDelta | None:
    """Read an audio delta straight from its JSON text, or return None to have it parsed properly.

    A quote inside a JSON string is always escaped, so `"item_id":"` can only be that key.
    """
    if message.find(_DELTA_MARK, 0, _TYPE_WINDOW) < 0:
        return None
    response_id = _string(message, b'"response_id":"')
    item_id = _string(message, b'"item_id":"')
    encoded = _string(message, b'"delta":"')
    if response_id is None or item_id is None or encoded is None:
        return None
    at = message.find(b'"content_index":')
    content_index = message[at + 16 : at + 17]
    if at < 0 or not content_index.isdigit() or message[at + 17 : at + 18] not in b",}":
        return None
    try:
        audio = b64decode(encoded)
    except Base64Error:
        return None
    return AudioDelta(response_id.decode(), item_id.decode(), int(content_index), audio)


def delta_of(event: Event) -> AudioDelta | None:
    """The audio of an event that was parsed the ordinary way, or None when it is not a delta."""
    if event["type"] != _DELTA_TYPE:
        return None
    index = event.get("content_index")
    try:
        audio = b64decode(text_of(event, "delta"), validate=True)
    except ValueError:
        audio = b""
    return AudioDelta(
        text_of(event, "response_id"),
        text_of(event, "item_id"),
        index if isinstance(index, int) else 0,
        audio,
    )


def _string(message: bytes, key: bytes) -> bytes | None:
    start = message.find(key)
    if start < 0:
        return None
    start += len(key)
    end = message.find(b'"', start)
    if end < 0:
        return None
    value = message[start:end]
    return None if b"\\" in value else value
