"""The caller's latest speech, kept in case the session that heard it is gone.

What no session has made an item of has to be heard by the next one: a turn in progress, one that is
over and not committed, all that was said while there was no session, and otherwise the last second,
because a turn begins before it is noticed. Where a client ends the turns, everything since the last
commit is such a turn.

The turn that was committed last is kept too, until the next one begins or somebody wrote down what
it says: it can be told by its sound where there are no words.

Pure: frames, server events and losses in; audio out. `push` is on the hot path.
"""

from collections import deque
from typing import Any, Final

from gateway.audio.formats import AudioFormat
from gateway.realtime.events import Event, is_out_of_band, text_of
from gateway.realtime.session import turn_detection_of

_LEAD_MS: Final = 1000
_MOST_MS: Final = 12_000
"""Of a turn in progress: 94 KiB in G.711, 560 KiB in PCM at 24 kHz."""


class Tape:
    """What one caller said last.

    Args:
        audio_format: of the frames.
    """

    def __init__(self, audio_format: AudioFormat) -> None:
        self._lead_bytes = audio_format.bytes_per_ms * _LEAD_MS
        self._most_bytes = audio_format.bytes_per_ms * _MOST_MS
        self._limit = self._lead_bytes
        self._frames: deque[bytes] = deque()
        self._held = 0
        self._detects = True  # the session finds the turns by itself
        self._over = b""  # a turn that is over and not committed
        self._turn_id, self._turn = "", b""  # the one that was committed last

    def push(self, frame: bytes) -> None:
        """Take the next frame of the caller's audio."""
        self._frames.append(frame)
        self._held += len(frame)
        while self._held > self._limit:
            self._held -= len(self._frames.popleft())

    def configured(self, session: dict[str, Any]) -> None:
        """The session as the server confirmed it."""
        self._detects = turn_detection_of(session) is not None
        if not self._detects:
            self._limit = self._most_bytes

    def server_event(self, event: Event) -> None:
        """An event of the session."""
        match event["type"]:
            case "input_audio_buffer.speech_started":
                self._turn_id, self._turn, self._over = "", b"", b""
                self._limit = self._most_bytes
            case "input_audio_buffer.speech_stopped":
                self._over = self._take()
            case "input_audio_buffer.committed":
                self._committed(text_of(event, "item_id"))
            case "input_audio_buffer.cleared":
                self._over = b""
                self._take()
            case "conversation.item.input_audio_transcription.completed":
                if text_of(event, "item_id") == self._turn_id and text_of(event, "transcript"):
                    self._turn = b""
            case "response.created" if not is_out_of_band(event):
                self._over = b""  # it answers the turn, whether it was said to be committed or not
            case "session.updated":
                session = event.get("session")
                self.configured(session if isinstance(session, dict) else {})

    def lost(self) -> None:
        """There is no session that listens."""
        self._limit = self._most_bytes

    def turn(self, item_id: str) -> bytes:
        """The sound of this item, if it is the caller's latest turn and nobody has its words."""
        return self._turn if item_id and item_id == self._turn_id else b""

    def untold(self) -> bytes:
        """What the next session has to hear. It is kept until that has noticed it: it may be lost
        as well."""
        audio = self._over + b"".join(self._frames)
        self._limit = max(self._limit if not self._detects else self._lead_bytes, self._held)
        return audio

    def _committed(self, item_id: str) -> None:
        if self._over or not self._detects:
            self._turn_id, self._turn = item_id, self._over or self._take()
            self._over = b""

    def _take(self) -> bytes:
        """What was said since the last time; from here on it counts as heard."""
        audio = b"".join(self._frames)
        self._frames.clear()
        self._held = 0
        self._limit = self._lead_bytes if self._detects else self._most_bytes
        return audio
