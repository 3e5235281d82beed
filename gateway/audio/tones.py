"""Keys that are only to be heard: the two tones of a key in the caller's audio (ITU-T Q.23, Q.24).

Each key is one of four low tones and one of four high ones at once. The audio is looked at in
blocks of 20 ms, every 10 ms, and the eight tones are measured in each, as they should be and a
little off (what the Goertzel algorithm does one by one is one product of matrices here). Speech and
music have energy there too, so a block counts only if next to nothing else is in it: one low and
one high tone of about the same strength, which stand out from their neighbours, with hardly
anything where a voice has its overtones. And only what lasts for several blocks is a key.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.audio.g711 import Samples

RATE_HZ: Final = 8000
_LOW_HZ: Final = (697.0, 770.0, 852.0, 941.0)
_HIGH_HZ: Final = (1209.0, 1336.0, 1477.0, 1633.0)
_KEYS: Final = ("123A", "456B", "789C", "*0#D")

_BLOCK: Final = 160
_HOP: Final = 80
_LEAST_POWER: Final = 10.0 ** (-3.6) * (32768.0**2) / 8
"""Of the pair, in a block: about -36 dBm0, below which Q.24 has nobody listen."""
_MOST_HIGHER: Final = 10.0**0.45
"""The high tone may be stronger by so much (4 dB in Q.24), and the low one by this: (8 dB)."""
_MOST_LOWER: Final = 10.0**0.85
_STANDS_OUT: Final = 4.0
"""Times the power of any other tone of the same group."""
_PURE: Final = 0.85
"""Least share of a block's power that is in the pair: of a key in noise 10 dB below it, it is more,
and of a voice less, even of one that is synthetic."""
_MOST_OVERTONE: Final = 0.06
"""Most power at an overtone, against the tone: thrice the low one (twice may be a high one) and
twice the high one."""
_OFF: Final = (1.0, 0.987, 1.013)
"""Tones may be 1.5 % off."""
_BEGINS_AFTER, _ENDS_AFTER = 3, 4
"""Blocks in a row: 40 ms of tone make a key, and as much without it ends one."""

_FREQUENCIES: Final = (
    *(hz * off for off in _OFF for hz in (*_LOW_HZ, *_HIGH_HZ)),
    *(3 * hz for hz in _LOW_HZ),
    *(2 * hz for hz in _HIGH_HZ),
)


def _probe() -> NDArray[np.float64]:
    """Two rows for each tone, all cosines before all sines, whose squares add up to its power;
    windowed, so that a tone between two frequencies is not lost."""
    phase = 2 * np.pi * np.outer(_FREQUENCIES, np.arange(_BLOCK) / RATE_HZ)
    window = np.hamming(_BLOCK)
    rows = np.concatenate((np.cos(phase), np.sin(phase))) * window
    return np.asarray(rows * (np.sqrt(2) / window.sum()))


_TONES: Final = len(_FREQUENCIES)
_PROBE: Final = _probe()


class ToneKeys:
    """The ear for one caller. Feed it the audio in order."""

    __slots__ = ("_held", "_last", "_missing", "_rest", "_run")

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float64)
        self._last = ""
        self._run = 0
        self._held = ""
        self._missing = 0

    def hear(self, samples: Samples) -> str:
        """The keys that have become certain by these samples at 8 kHz, "" for none."""
        audio = np.concatenate((self._rest, samples.astype(np.float64)))
        found = ""
        at = 0
        while at + _BLOCK <= len(audio):
            found += self._block(_key_in(audio[at : at + _BLOCK]))
            at += _HOP
        self._rest = audio[at:]
        return found

    def _block(self, key: str) -> str:
        self._run = self._run + 1 if key == self._last else 1
        self._last = key
        if self._held and key != self._held:
            self._missing += 1
            if self._missing >= _ENDS_AFTER:
                self._held = ""
        else:
            self._missing = 0
        if key and not self._held and self._run >= _BEGINS_AFTER:
            self._held = key
            return key
        return ""


def _key_in(block: NDArray[np.float64]) -> str:
    """The key whose tones this block is, "" for anything else."""
    total = float(np.dot(block, block)) / _BLOCK
    if total < _LEAST_POWER:
        return ""
    squares = (_PROBE @ block) ** 2
    powers: list[float] = (squares[:_TONES] + squares[_TONES:]).tolist()
    about = list(map(max, powers[:8], powers[8:16], powers[16:24]))
    low, high = max(about[:4]), max(about[4:])
    if not (high <= low * _MOST_HIGHER and low <= high * _MOST_LOWER):
        return ""
    if low + high < _PURE * total:
        return ""
    row, column = about.index(low), about.index(high, 4)
    others = max(powers[one] for one in range(4) if one != row)
    if low < _STANDS_OUT * others:
        return ""
    others = max(powers[one] for one in range(4, 8) if one != column)
    if high < _STANDS_OUT * others:
        return ""
    if powers[24 + row] > _MOST_OVERTONE * low or powers[24 + column] > _MOST_OVERTONE * high:
        return ""
    return _KEYS[row][column - 4]
