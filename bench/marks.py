"""A mark in every audio frame, so that delay and loss are measured instead of inferred.

The sound itself carries it, so it can be read in whatever format a server takes: a mark is a row of
bits, each of them two samples at 8 kHz whose sign is the bit. All that a change of rate must keep
is in the band of a telephone, so the signs come through at every sample that was there before, as
they do through G.711. The bits say which frame it is and when it left.

A mark may lie elsewhere in what arrives than in the frame that left, since a resampler holds a few
samples back. What is heard of a piece of audio begins when it arrives, so a mark that lies later
in it is later by as much, and that is counted.
"""

from random import Random
from typing import NamedTuple

from bench.formats import Format

FRAME_BYTES = 160
"""20 ms of G.711."""

MEASURED = 1
"""Flag: sent inside the measured window."""
NEAR_KEY = 2
"""Flag: sent close to a key press, which may cut it off on purpose."""

_SYNC = "1111100110101"  # Barker 13: unlike itself at any other place
_COUNTER_BITS, _TIME_BITS, _CHECK_BITS = 11, 21, 6
_BODY_BYTES = (2 + _COUNTER_BITS + _TIME_BITS + _CHECK_BITS) // 8  # flags first
_COUNTER_MASK, _TIME_MASK = (1 << _COUNTER_BITS) - 1, (1 << _TIME_BITS) - 1
_CHECK_MASK = (1 << _CHECK_BITS) - 1
_CHECK_BASE = 61
_TIME_UNIT_NS = 2000  # the time wraps after four seconds, longer than any frame is on its way
_SAMPLE_NS = 125_000
_SYNC_SAMPLES = 2 * len(_SYNC)
_MARK_SAMPLES = _SYNC_SAMPLES + 16 * _BODY_BYTES
# After a loss the start of the next frame is blended. And a mark that stays in one piece when the
# frame is shifted by 2 ms spares the readers work.
_MARK_AT = 38
_BODY_AT, _MARK_END = _MARK_AT + _SYNC_SAMPLES, _MARK_AT + _MARK_SAMPLES

_LOUD = bytes.maketrans(b"01", b"\x10\x90")  # half of full scale, so that overshoot is not clipped
_QUIET = 0x40  # set in a mu-law code: at most a tenth of that


def _doubled(bits: str) -> bytes:
    return "".join(bit * 2 for bit in bits).encode()


_SYNC_SIGNS = _doubled(_SYNC)
_LOUD_BYTE = [_doubled(f"{byte:08b}").translate(_LOUD) for byte in range(256)]
_POSITIVE = {
    False: bytes(b"1"[0] if code & 0x80 else b"0"[0] for code in range(256)),
    True: bytes(b"0"[0] if high & 0x80 else b"1"[0] for high in range(256)),
}
"""By whether samples are linear: the byte with the sign of a sample, as a binary digit."""


def unmarked_frame() -> bytes:
    """A mu-law frame in which `write` can put marks."""
    frame = bytearray(code | _QUIET for code in Random(1889).randbytes(FRAME_BYTES))
    frame[_MARK_AT:_BODY_AT] = _SYNC_SIGNS.translate(_LOUD)
    return bytes(frame)


def write(packet: bytearray, start: int, flags: int, counter: int, sent_ns: int) -> None:
    """Put a mark into the frame that begins at `start`; sent at this unix time."""
    value = flags << _COUNTER_BITS | counter & _COUNTER_MASK
    value = value << _TIME_BITS | sent_ns // _TIME_UNIT_NS & _TIME_MASK
    value = value << _CHECK_BITS | value % _CHECK_BASE
    loud = b"".join([_LOUD_BYTE[byte] for byte in value.to_bytes(_BODY_BYTES)])
    packet[start + _BODY_AT : start + _MARK_END] = loud


class Mark(NamedTuple):
    """What was read."""

    flags: int
    delay_ns: int
    repeated: bool
    """This frame or a later one came before; concealment of a loss does that."""


class MarkReader:
    """Finds the marks in one stream, wherever the pieces of it begin and end."""

    def __init__(self, format: Format) -> None:
        self._step = format.rate_hz // 8000 * format.sample_bytes
        self._sign_at = format.sample_bytes - 1  # samples are little-endian
        self._positive = _POSITIVE[format.linear]
        self._rest = b""
        self._at = _MARK_AT  # where the last one lay in its piece
        self._last_counter = -1

    def read(self, audio: bytes, arrival_ns: int) -> list[Mark]:
        """The marks that this piece completes; it arrived at this unix time."""
        before = len(self._rest)
        signs = self._rest + audio[self._sign_at :: self._step].translate(self._positive)
        marks: list[Mark] = []
        last, done = len(signs) - _MARK_SAMPLES, 0
        at = before + self._at
        if not signs.startswith(_SYNC_SIGNS, at):
            at = signs.find(_SYNC_SIGNS)
        while 0 <= at <= last:
            value = int(signs[at + _SYNC_SAMPLES : at + _MARK_SAMPLES : 2], 2)
            body, done = value >> _CHECK_BITS, at + 1
            if body % _CHECK_BASE == value & _CHECK_MASK:
                self._at, done = at - before, at + _MARK_SAMPLES
                marks.append(self._mark(body, arrival_ns))
            at = signs.find(_SYNC_SIGNS, done) if done <= last else -1
        self._rest = signs[max(done, last + 1) :]
        return marks

    def _mark(self, body: int, arrival_ns: int) -> Mark:
        counter = body >> _TIME_BITS & _COUNTER_MASK
        ahead = counter - self._last_counter & _COUNTER_MASK
        repeated = self._last_counter >= 0 and not 0 < ahead <= _COUNTER_MASK // 2
        if not repeated:
            self._last_counter = counter
        delay_ns = (arrival_ns // _TIME_UNIT_NS - body & _TIME_MASK) * _TIME_UNIT_NS
        delay_ns += (self._at - _MARK_AT) * _SAMPLE_NS
        return Mark(body >> _TIME_BITS + _COUNTER_BITS, delay_ns, repeated)


def percentile(ordered: list[float], share: float) -> float:
    """The value below which `share` (0..1) of the sorted values lie; 0.0 when there are none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
