"""The input audio buffer: what the caller said since the last commit, and where turns lie in it.

The audio itself is not kept, because nobody here understands it: its length is, and the part that
waits for the voice detector. Positions are milliseconds of audio since the session began; clearing
or committing the buffer does not set them back.
"""

from typing import Final

from gateway.audio.formats import AudioFormat
from gateway.backend.ear import Ear
from gateway.backend.turns import TurnDetector, TurnSettings, TurnStarted, TurnStopped
from gateway.realtime.errors import RealtimeError

LEAST_COMMIT_MS: Final = 100


class InputBuffer:
    """The caller's side of a session."""

    def __init__(self, audio_format: AudioFormat, settings: TurnSettings | None) -> None:
        self.ear = Ear(audio_format)
        """What waits for the voice detector; another one when the format changes."""
        self._settings = settings
        self._turns = None if settings is None else TurnDetector(settings, 0)
        self._bytes = 0  # since the format is what it is
        self._base_ms = 0.0
        self._committed_ms = 0.0

    @property
    def position_ms(self) -> float:
        """How much audio has come in all."""
        return self._base_ms + self._bytes / self.ear.format.bytes_per_ms

    def append(self, audio: bytes) -> bool:
        """Take more audio; True when the voice detector has something to judge."""
        self._bytes += len(audio)
        return self._turns is not None and self.ear.feed(audio)

    def configure(self, audio_format: AudioFormat, settings: TurnSettings | None) -> None:
        """Go by a new session config. A turn that has begun goes on, unless the format changes or
        nobody detects turns any more: then it is forgotten, and its audio is left to a commit."""
        if audio_format != self.ear.format:
            self._base_ms, self._bytes = self.position_ms, 0
            self.ear = Ear(audio_format)
            self._turns = None
        self._settings = settings
        if settings is None or self._turns is None:
            self._listen_anew()
        else:
            self._turns.settings = settings

    def voice(self, probability: float) -> TurnStarted | TurnStopped | None:
        """Take the detector's word on the next window; a turn that stops is thereby committed."""
        change = None if self._turns is None else self._turns.voice(probability)
        if isinstance(change, TurnStopped):
            self._committed_ms = change.audio_end_ms
        return change

    @property
    def speaking(self) -> bool:
        return self._turns is not None and self._turns.speaking

    def commit(self) -> int:
        """Take everything out on the client's word. Returns its length in milliseconds.

        Raises:
            RealtimeError: it is too short to be anything.
        """
        held_ms = self.position_ms - self._committed_ms
        if held_ms < LEAST_COMMIT_MS:
            raise RealtimeError(
                "Error committing input audio buffer: buffer too small. Expected at least "
                f"{LEAST_COMMIT_MS}ms of audio, but buffer only has {held_ms:.2f}ms of audio.",
                code="input_audio_buffer_commit_empty",
            )
        self.clear()
        return int(held_ms)

    def take_silence(self, length_ms: int) -> tuple[int, int]:
        """Take everything out because the caller has been silent for this long.

        Returns:
            From where to where the silence lies; less of it, where less audio came.
        """
        end_ms = int(self.position_ms) if self._turns is None else self._turns.take_silence()
        start_ms = max(end_ms - length_ms, int(self._committed_ms))
        self._committed_ms = end_ms
        return min(start_ms, end_ms), end_ms

    def clear(self) -> None:
        """Forget what was not committed, and a turn that has begun."""
        self._committed_ms = self.position_ms
        self._listen_anew()

    def _listen_anew(self) -> None:
        self.ear.reset()
        settings = self._settings
        self._turns = None if settings is None else TurnDetector(settings, int(self.position_ms))
