"""What a payload is worth in time: the only thing that the order of packets needs of a codec.

Timestamps count samples of a clock that belongs to the payload format, and so does everything in
this room. For G.711 a byte is a sample (RFC 3551 section 4.5.14). An Opus packet says in its first
byte how long its frames are and in which of four ways they are packed (RFC 6716 section 3.1); its
clock is 48 kHz, whatever rate it was recorded at (RFC 7587 section 4.1).
"""

from collections.abc import Callable
from dataclasses import dataclass

_OPUS_FRAME_SAMPLES = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4
"""By configuration, at 48 kHz: 12 of SILK, 4 hybrid ones, 16 of CELT (RFC 6716, table 2)."""
_OPUS_MOST_SAMPLES = 5760  # 120 ms, whatever the number of frames (requirement R5 there)


def opus_samples(payload: bytes) -> int:
    """Length of an Opus packet in samples at 48 kHz; 0 for what is none.

    Only the bytes that give the length are looked at: a packet may still be damaged further on.
    """
    if not payload:
        return 0
    first = payload[0]
    packing = first & 0x03
    if packing == 3:  # any number of frames, told by the second byte
        frames = payload[1] & 0x3F if len(payload) > 1 else 0
    else:
        frames = 1 if packing == 0 else 2
    samples = frames * _OPUS_FRAME_SAMPLES[first >> 3]
    return samples if samples <= _OPUS_MOST_SAMPLES else 0


@dataclass(frozen=True, slots=True)
class PayloadFormat:
    """How the payloads of one stream relate to its clock."""

    clock_hz: int = 8000
    """Of the RTP timestamps."""
    frame_samples: int = 160
    """Length of a packet: of ours, and of the sender's until they show another one."""
    samples: Callable[[bytes], int] = len
    """Length of a payload; 0 for one that cannot be used."""
    divisible: bool = True
    """Whether a payload may be cut anywhere, a byte for each sample. Otherwise only the decoder can
    leave out a part of it."""


@dataclass(frozen=True, slots=True)
class Clipped:
    """A payload of which the listener has no use for the beginning, and only a decoder can cut it.

    The decoder takes all of it, or it would lose its thread.
    """

    payload: bytes
    skip: int
    """Samples to leave out; fewer than the payload has."""


G711 = PayloadFormat()
OPUS = PayloadFormat(clock_hz=48_000, frame_samples=960, samples=opus_samples, divisible=False)
