"""ITU-T G.711: eight bits a sample on a logarithmic scale, in two laws.

Both laws keep a sign, one of eight segments, each twice as coarse as the one below it, and one of
sixteen equal steps within the segment, so that the error grows with the signal. Mu-law measures
14-bit samples and adds 33 before it looks for the segment, which makes the scale smooth through
zero. A-law measures 13-bit samples and leaves the two lowest segments equally fine. Mu-law sends
every bit inverted, A-law every second one, so that silence is not a row of zeros on the line.

All of it is looked up: 256 values to decode, 65 536 codes to encode (indexed by the two's
complement bits of the sample), 256 bytes to go from law to law. The tables are computed at import
from the definition, in about two milliseconds.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.audio.formats import Law

Samples = NDArray[np.int16]
"""Linear samples on the 16-bit scale."""

_MU_BIAS: Final = 33
_MU_LARGEST: Final = 8191  # biased; what is louder is clipped


def decode(audio: bytes, law: Law) -> Samples:
    """Linear samples of G.711 bytes."""
    samples: Samples = _DECODE[law].take(np.frombuffer(audio, np.uint8))
    return samples


def encode(samples: Samples, law: Law) -> bytes:
    """G.711 bytes of linear samples, truncated to the step they lie in as G.711 does."""
    return _ENCODE[law].take(np.ascontiguousarray(samples, np.int16).view(np.uint16)).tobytes()


def _magnitude_and_sign(bits: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Every 16-bit pattern as a magnitude of `bits` bits and whether it is negative.

    The magnitude of a negative sample is its one's complement, so that the two halves of the scale
    are mirror images and -1 is the negative zero.
    """
    samples = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    negative = samples < 0
    return np.where(negative, ~samples, samples) >> (15 - bits), negative


def _segment(magnitude: NDArray[np.int32], lowest: int) -> NDArray[np.int32]:
    """How often a magnitude doubles `lowest`: 0 below it, 1 from it on, 2 from its double on."""
    bounds = lowest << np.arange(8)
    return np.searchsorted(bounds, magnitude, side="right").astype(np.int32)


def _mu_encoder() -> NDArray[np.uint8]:
    magnitude, negative = _magnitude_and_sign(13)
    biased = np.minimum(magnitude + _MU_BIAS, _MU_LARGEST)
    segment = _segment(biased, 64)
    step = (biased >> (segment + 1)) & 15
    return (~(segment << 4 | step | np.where(negative, 0x80, 0)) & 0xFF).astype(np.uint8)


def _mu_decoder() -> Samples:
    code = ~np.arange(256) & 0xFF
    segment, step = code >> 4 & 7, code & 15
    magnitude = ((2 * step + _MU_BIAS) << segment) - _MU_BIAS
    levels: Samples = (np.where(code & 0x80, -magnitude, magnitude) * 4).astype(np.int16)
    return levels


def _a_encoder() -> NDArray[np.uint8]:
    magnitude, negative = _magnitude_and_sign(12)
    segment = _segment(magnitude, 32)
    # Segments 0 and 1 share their step; with the leading bit of a segment above 0 left out.
    step = (magnitude >> np.maximum(segment, 1)) & 15
    return ((segment << 4 | step | np.where(negative, 0, 0x80)) ^ 0x55).astype(np.uint8)


def _a_decoder() -> Samples:
    code = np.arange(256) ^ 0x55
    segment, step = code >> 4 & 7, code & 15
    fine = 2 * step + 1 + np.where(segment > 0, 32, 0)
    magnitude = fine << np.maximum(segment - 1, 0)
    levels: Samples = (np.where(code & 0x80, magnitude, -magnitude) * 8).astype(np.int16)
    return levels


_DECODE: Final[dict[Law, Samples]] = {"pcmu": _mu_decoder(), "pcma": _a_decoder()}
_ENCODE: Final[dict[Law, NDArray[np.uint8]]] = {"pcmu": _mu_encoder(), "pcma": _a_encoder()}

TRANSLATE: Final[dict[Law, bytes]] = {
    "pcmu": encode(_DECODE["pcmu"], "pcma"),
    "pcma": encode(_DECODE["pcma"], "pcmu"),
}
"""By the law to translate from: the 256 bytes of the other law, for `bytes.translate`."""


def translations(streams: Iterable[tuple[int, Law]], law: Law) -> dict[int, bytes | None]:
    """For each number of a stream, the table to this law for `bytes.translate`; None: it has it."""
    return {number: None if own == law else TRANSLATE[own] for number, own in streams}
