"""The caller's latest speech, kept in case the session that heard it is lost.

While the caller is silent a second is kept, because a turn begins before it is noticed. Of a turn
everything is kept, up to a bound; once it is over it stays until the next one begins. While there
is no session, everything is kept.

Pure: frames, the types of server events and losses in; audio out. `push` is on the hot path.
"""

from collections import deque
from typing import Final

from gateway.audio.formats import AudioFormat

_LEAD_MS: Final = 1000
_MAX_BYTES: Final = 96 << 10
"""Twelve seconds of G.711."""


class Tape:
    """What one caller said last.

    Args:
        audio_format: of the frames.
    """

    def __init__(self, audio_format: AudioFormat) -> None:
        self._lead_bytes = audio_format.bytes_per_ms * _LEAD_MS
        self._limit = self._lead_bytes
        self._frames: deque[bytes] = deque()
        self._held = 0
        self._turn = b""
        self._speaking = False
        self._lost = False

    def push(self, frame: bytes) -> None:
        """Take the next frame of the caller's audio."""
        self._frames.append(frame)
        self._held += len(frame)
        while self._held > self._limit:
            self._held -= len(self._frames.popleft())

    def server_event(self, kind: str) -> None:
        """The session said something of this type."""
        if kind == "input_audio_buffer.speech_started":
            self._speaking = True
            self._turn = b""
            self._limit = _MAX_BYTES
        elif kind == "input_audio_buffer.speech_stopped":
            self._speaking = False
            self._turn = b"".join(self._frames)
            self._forget()
        elif kind == "input_audio_buffer.cleared":
            self._forget()

    def lost(self) -> None:
        """There is no session that listens."""
        self._lost = True
        self._limit = _MAX_BYTES

    @property
    def turn(self) -> bytes:
        """The caller's latest turn, when it is over; empty when that is too long ago."""
        return self._turn

    def untold(self) -> bytes:
        """What the next session has to hear: a turn that has begun, and all that was said while
        there was no session. It is told by that."""
        if not self._speaking and not self._lost:
            return b""
        audio = b"".join(self._frames)
        self._speaking = self._lost = False
        self._limit = self._lead_bytes
        return audio

    def _forget(self) -> None:
        self._frames.clear()
        self._held = 0
        if not self._lost:
            self._limit = self._lead_bytes
