"""The caller's audio on its way to the voice detector: a queue cut into windows of 32 ms.

A window overlaps what came before it by a little history, because the detector changes the
sampling rate and its filter looks back. Nothing is decoded here; that is done for many calls at
once. Appends may have any length, and end anywhere in a sample.
"""

import numpy as np
from numpy.typing import NDArray

from gateway.audio.formats import AudioFormat

WINDOW_MS = 32
"""Silero judges 512 samples at 16 kHz at a time."""
HISTORY_SAMPLES = 24


class Ear:
    """Audio of one session that waits for the voice detector.

    `memory` belongs to the detector: what it remembers of this session from window to window. It
    is None at the start and after `reset`.
    """

    def __init__(self, format: AudioFormat) -> None:
        self.format = format
        self.memory: NDArray[np.float32] | None = None
        self._step = format.bytes_per_ms * WINDOW_MS
        self._history = format.silence(HISTORY_SAMPLES)
        self._window = self._step + len(self._history)
        self._buffer = bytearray(self._history)

    def feed(self, audio: bytes) -> bool:
        """Take more audio; True when a window is there."""
        self._buffer += audio
        return len(self._buffer) >= self._window

    @property
    def windows(self) -> int:
        """How many whole windows wait."""
        return (len(self._buffer) - self._window) // self._step + 1

    def take(self) -> bytes:
        """The next window with its history before it; only when `windows` is not zero."""
        window = bytes(self._buffer[: self._window])
        del self._buffer[: self._step]
        return window

    def reset(self) -> None:
        """Forget the audio that waits and all that came before."""
        self.memory = None
        self._buffer = bytearray(self._history)
