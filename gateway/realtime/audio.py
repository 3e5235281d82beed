"""Audio inside Realtime events, written and read without a JSON library.

This runs fifty times a second for every call. An append is two constant strings around base64. The
deltas of one item differ only in their event id and their audio, so what stands between the two is
compared with the delta before and read only when it changed. A delta in any unusual shape (spaces,
another order, escapes) is simply not recognised here and takes the ordinary road: `parse_event`.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from typing import NamedTuple

from gateway.audio.playout import ItemPart
from gateway.realtime.events import Event, text_of

_APPEND = b'{"type":"input_audio_buffer.append","audio":"'
_DELTA_TYPE = "response.output_audio.delta"
_BETA_DELTA_TYPE = "response.audio.delta"
_DELTA_MARK = f'"{_DELTA_TYPE}"'.encode()
_TYPE_WINDOW = 160  # bytes within which servers write the type
_RESPONSE_ID, _ITEM_ID = b'"response_id":"', b'"item_id":"'
_CONTENT_INDEX, _DELTA = b'"content_index":', b'"delta":"'


class AudioDelta(NamedTuple):
    """A piece of generated speech, still in the session's output format."""

    part: ItemPart
    audio: bytes


def append_event(audio: bytes) -> bytes:
    """`input_audio_buffer.append` for one frame, as JSON text."""
    return _APPEND + b2a_base64(audio, newline=False) + b'"}'


def is_audio_delta(message: bytes) -> bool:
    """Whether a JSON text of a server is an audio delta, written as servers write it."""
    return message.find(_DELTA_MARK, 0, _TYPE_WINDOW) >= 0


class DeltaReader:
    """Reads the audio deltas of one session straight from their JSON text."""

    def __init__(self) -> None:
        self._place = b""
        self._part = ItemPart("", "", 0)

    def read(self, message: bytes) -> AudioDelta | None:
        """The delta, or None to have the message parsed properly.

        A quote inside a JSON string is always escaped, so `"response_id":"` can only be that key.
        """
        if message.find(_DELTA_MARK, 0, _TYPE_WINDOW) < 0:
            return None
        start = message.find(_RESPONSE_ID)
        end = message.find(_DELTA, start)
        if start < 0 or end < 0:
            return None
        place = message[start:end]
        if place != self._place:
            part = _part_at(place)
            if part is None:
                return None
            self._place, self._part = place, part
        start = end + len(_DELTA)
        encoded = message[start : message.find(b'"', start)]
        if b"\\" in encoded:
            return None
        try:
            return AudioDelta(self._part, a2b_base64(encoded))
        except Base64Error:
            return None


def delta_of(event: Event) -> AudioDelta | None:
    """The audio of an event that was parsed the ordinary way, or None when it is not a delta."""
    if event["type"] not in (_DELTA_TYPE, _BETA_DELTA_TYPE):
        return None
    try:
        audio = b64decode(text_of(event, "delta"), validate=True)
    except ValueError:
        audio = b""
    return AudioDelta(part_of(event), audio)


def part_of(event: Event) -> ItemPart:
    """Which part of which item an event is about."""
    index = event.get("content_index")
    return ItemPart(
        text_of(event, "response_id"),
        text_of(event, "item_id"),
        index if isinstance(index, int) else 0,
    )


def _part_at(place: bytes) -> ItemPart | None:
    """Read `"response_id":"…","item_id":"…",…,"content_index":0,`, the keys in any order."""
    response_id, item_id = _string(place, _RESPONSE_ID), _string(place, _ITEM_ID)
    at = place.find(_CONTENT_INDEX) + len(_CONTENT_INDEX)
    index = place[at : at + 1]
    if response_id is None or item_id is None or _CONTENT_INDEX not in place:
        return None
    if not index.isdigit() or place[at + 1 : at + 2] != b",":
        return None
    return ItemPart(response_id, item_id, int(index))


def _string(text: bytes, key: bytes) -> str | None:
    start = text.find(key)
    end = text.find(b'"', start + len(key))
    value = text[start + len(key) : end]
    if start < 0 or end < 0 or b"\\" in value:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
