"""From one sampling rate to another: a windowed sinc, as one product of matrices a frame.

An output sample is a weighted sum of the input samples around it, 16 on each side at the lower of
the two rates, which is 2 ms at 8 kHz. Both rates are whole numbers of samples in a millisecond, so
the weights repeat every millisecond: one matrix holds them all, and a stretch of audio times that
matrix is the output. A row of that stretch overlaps the next, which costs nothing, since it is only
another way to read the same memory.

The weights are multiples of 2**-20, which is far below what 16 bits can hold, and so every product
and every sum is exact in a double. It does not matter then in which order a processor adds, nor how
the audio was cut: the same samples always give the same samples.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.audio.g711 import Samples

_Reals = NDArray[np.float64]

_REACH: Final = 16
_KAISER_BETA: Final = 9.0  # what lies beyond the transition is 95 dB down
_DOWNWARD_CUTOFF: Final = 0.965  # of the band: 0.2 dB less at 3.4 kHz, 60 dB less at 4.5 kHz
_WEIGHT_UNIT: Final = 2.0**-20
_ROWS_AT_ONCE: Final = 40  # a larger product would be spread over threads, each time anew
_REAL_BYTES: Final = 8


class Resampler:
    """One stream of mono samples. Both rates are whole numbers of kHz.

    It looks ahead by its reach and adds no other delay: what it returned belongs to the time from
    the first sample on.
    """

    def __init__(self, source_hz: int, target_hz: int) -> None:
        self._step, self._count = source_hz // 1000, target_hz // 1000
        self._weights, self._ahead = _weights(self._step, self._count)
        # What later output still needs. At first the silence before the stream.
        self._line: _Reals = np.zeros(self._ahead)

    def push(self, samples: Samples | _Reals) -> Samples:
        """The output that these samples complete, in whole milliseconds."""
        line: _Reals = np.concatenate((self._line, samples), dtype=np.float64)
        rows = max(0, (len(line) - 2 * self._ahead) // self._step)
        self._line = line[rows * self._step :]
        if rows <= _ROWS_AT_ONCE:
            return self._output(line, 0, rows)
        self._line = self._line.copy()  # or all of a long stretch would be kept with it
        starts = range(0, rows, _ROWS_AT_ONCE)
        pieces = [self._output(line, at, min(_ROWS_AT_ONCE, rows - at)) for at in starts]
        return np.concatenate(pieces)

    def finish(self) -> Samples:
        """The rest, as if silence followed. Nothing can be pushed afterwards."""
        due = (len(self._line) - self._ahead) * self._count // self._step
        return self.push(np.zeros(self._ahead + self._step))[:due]

    def _output(self, line: _Reals, first: int, rows: int) -> Samples:
        start = self._step * _REAL_BYTES
        shape = (rows, len(self._weights))
        overlapping = np.ndarray(shape, line.dtype, line, first * start, (start, _REAL_BYTES))
        out = overlapping.dot(self._weights)
        np.rint(out, out=out)
        out.clip(-32768.0, 32767.0, out=out)
        samples: Samples = out.astype(np.int16).ravel()
        return samples


@lru_cache(maxsize=32)
def _weights(step: int, count: int) -> tuple[_Reals, int]:
    """What each sample around a millisecond adds to each output sample within it, and the reach.

    Rows are the `step` input samples of the millisecond with the reach before and behind it,
    columns its `count` output samples.
    """
    low = min(step, count)
    ahead = -(-_REACH * step // low)
    places = ahead + np.arange(count) * step / count
    distance = (np.arange(step + 2 * ahead)[:, None] - places) * low / step
    # On the way up the band ends where it did, and what was a sample stays that sample.
    cutoff = 1.0 if count > step else _DOWNWARD_CUTOFF
    inside = np.maximum(1 - (distance / _REACH) ** 2, 0)
    weights = np.sinc(cutoff * distance) * np.i0(_KAISER_BETA * np.sqrt(inside)) * (inside > 0)
    weights /= weights.sum(axis=0)
    return np.rint(weights / _WEIGHT_UNIT) * _WEIGHT_UNIT, ahead
