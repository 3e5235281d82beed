"""What to hear in place of a frame that the network lost.

Voiced speech repeats itself every 5 to 20 ms, so for a short while the best guess of what comes
next is what came one pitch period before. On the first lost frame the period is measured by
correlating the last 12 ms with what lies before it, and that period is repeated. A guess grows
worse with time: after 10 ms it begins to fade and after 60 ms it is silence, before it turns into
a buzz. Where the guess begins, where it wraps round and where the next real frame takes over, a
few milliseconds are blended, so that nothing clicks. The idea is that of ITU-T G.711 Appendix I,
without the delay that it adds to every frame.
"""

from collections import deque
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gateway.audio import g711
from gateway.audio.formats import AudioFormat, AudioFormatError

_Signal = NDArray[np.float64]

# In samples at 8 kHz.
_SHORTEST_PERIOD: Final = 40
_LONGEST_PERIOD: Final = 160
_WINDOW: Final = 100
_HISTORY: Final = _WINDOW + _LONGEST_PERIOD
_FADE_FROM: Final = 80
_FADE_TO: Final = 480
_RETURN: Final = 40

_PAYLOADS_KEPT: Final = 8  # enough for the history in frames of 5 ms and longer


class Concealer:
    """Fills the gaps of one G.711 stream.

    Raises:
        AudioFormatError: the format is not G.711.
    """

    def __init__(self, format: AudioFormat) -> None:
        if format.encoding == "pcm16":
            raise AudioFormatError("only G.711 is concealed")
        self._format = format
        self._law = format.encoding
        self._payloads: deque[bytes] = deque(maxlen=_PAYLOADS_KEPT)
        self._guess: _Guess | None = None

    def heard(self, payload: bytes) -> bytes:
        """A frame that arrived. To be used instead of it: itself, or blended in after a loss."""
        if self._guess is not None:
            payload = self._blend(self._guess, payload)
            self._guess = None
        self._payloads.append(payload)
        return payload

    def lost(self, samples: int) -> bytes:
        """This many samples to stand for what is missing, continuing the previous call if any."""
        guess = self._guess
        if guess is None:
            recent = b"".join(self._payloads)[-_HISTORY:]
            guess = self._guess = _Guess(g711.decode(recent, self._law).astype(np.float64))
        audible = guess.next(min(samples, guess.left))
        payload = self._encode(audible) + self._format.silence(samples - len(audible))
        self._payloads.append(payload)
        return payload

    def _blend(self, guess: "_Guess", payload: bytes) -> bytes:
        length = min(_RETURN, len(payload))
        audible = guess.next(min(length, guess.left))
        real = g711.decode(payload[:length], self._law)
        weight = np.arange(1, length + 1) / (length + 1)
        mixed = real * weight
        mixed[: len(audible)] += audible * (1 - weight[: len(audible)])
        return self._encode(mixed) + payload[length:]

    def _encode(self, signal: _Signal) -> bytes:
        return g711.encode(np.rint(signal).clip(-32768, 32767).astype(np.int16), self._law)


class _Guess:
    """The continuation of a signal: its last period, over and over, fading out."""

    def __init__(self, history: _Signal) -> None:
        self._at = 0
        if len(history) < _HISTORY:
            self._at = _FADE_TO  # too little is known at the start of a call: silence
            return
        period = _period(history)
        overlap = period // 4
        weight = np.arange(1, overlap + 1) / (overlap + 1)
        before = history[-period - overlap : -period]
        # The end of the period leans towards what came before it, to which its start fits.
        self._loop = history[-period:].copy()
        self._loop[-overlap:] = self._loop[-overlap:] * (1 - weight) + before * weight
        # The first round starts at the level where the signal was cut off.
        self._step = (history[-1] - history[-1 - period]) * (1 - weight)

    @property
    def left(self) -> int:
        """Samples until silence."""
        return _FADE_TO - self._at

    def next(self, samples: int) -> _Signal:
        """The next samples; no more than are left."""
        if not samples:
            return np.empty(0)
        at = np.arange(self._at, self._at + samples)
        signal: _Signal = self._loop[at % len(self._loop)]
        step = self._step[self._at : self._at + samples]
        signal[: len(step)] += step
        self._at += samples
        signal *= (1 - (at - _FADE_FROM) / (_FADE_TO - _FADE_FROM)).clip(0, 1)
        return signal


def _period(history: _Signal) -> int:
    """The pitch period of a signal in samples, or the best fit where there is none."""
    recent = history[-_WINDOW:]
    candidates = sliding_window_view(history[:-_SHORTEST_PERIOD], _WINDOW)
    energy = np.einsum("ij,ij->i", candidates, candidates)
    fit = (candidates @ recent) / np.sqrt(energy + 1)
    return _LONGEST_PERIOD - int(fit.argmax())
