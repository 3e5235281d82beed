"""Where a caller's turn starts and ends (`server_vad`).

The detector hears one probability of speech per window of 32 ms:

    QUIET --probability >= threshold--> SPEAKING --silence for silence_duration_ms--> QUIET

A window counts as silent only when it is clearly below the threshold, so that a probability that
wavers about it does not start the silence; and speech within the silence starts it anew.

Positions are milliseconds of audio since the session began. The start of a turn is moved back by
the padding, because the first sound of a word is weaker than what the detector needs. Its end is
the window that completed the silence.
"""

from dataclasses import dataclass

from gateway.backend.ear import WINDOW_MS

_HYSTERESIS = 0.15
_LEAST_SILENT = 0.01


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """The fields of a session's `server_vad` that the server reads."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: int | None = None
    """Silence after the agent has spoken that makes it speak again. Kept by the session."""


@dataclass(frozen=True, slots=True)
class TurnStarted:
    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class TurnStopped:
    audio_end_ms: int
    speech_ms: int
    """How long the caller really spoke: without padding, and without the silence at the end."""


class TurnDetector:
    """Follows the speech in one session's audio.

    Args:
        origin_ms: position of the first window; no turn starts before it.
    """

    def __init__(self, settings: TurnSettings, origin_ms: int) -> None:
        self.settings = settings
        """May be replaced at any time."""
        self.speaking = False
        self._position_ms = self._origin_ms = origin_ms
        self._speech_from_ms = self._speech_to_ms = origin_ms
        self._silence_ms = 0

    def voice(self, probability: float) -> TurnStarted | TurnStopped | None:
        """Take the next window."""
        self._position_ms += WINDOW_MS
        settings = self.settings
        if probability >= settings.threshold:
            self._silence_ms = 0
            self._speech_to_ms = self._position_ms
            if self.speaking:
                return None
            self.speaking = True
            self._speech_from_ms = self._position_ms - WINDOW_MS
            start_ms = self._position_ms - settings.prefix_padding_ms
            return TurnStarted(max(start_ms, self._origin_ms))
        if not self.speaking:
            return None
        silent_below = max(settings.threshold - _HYSTERESIS, _LEAST_SILENT)
        if self._silence_ms or probability < silent_below:
            self._silence_ms += WINDOW_MS
        if self._silence_ms == 0 or self._silence_ms < settings.silence_duration_ms:
            return None
        self.speaking = False
        self._silence_ms = 0
        self._origin_ms = self._position_ms
        return TurnStopped(self._position_ms, self._speech_to_ms - self._speech_from_ms)

    def take_silence(self) -> int:
        """Take out what was heard up to now, which is no turn. Returns the position."""
        self._origin_ms = self._position_ms
        return self._position_ms
