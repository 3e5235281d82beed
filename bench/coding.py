"""How marked frames travel: as G.711 as they are, or in Opus.

The callers' Opus is what a browser sends for music: full band, mono, 64 kbit/s, so CELT. Of speech
it would make SILK and CELT at half the bit rate, which brings the marks through no more; to decode
the one takes as long as the other. Complexity is low, because the encoder's time is the tool's.
"""

from fractions import Fraction
from typing import Protocol

import av
import numpy as np

from bench.formats import PCMU, Format

_OPUS_HZ = 48_000
_FRAME_SAMPLES = _OPUS_HZ // 50
_BITRATE = 64_000
_OPTIONS = {"application": "lowdelay", "compression_level": "1", "vbr": "off"}
_LINEAR_48 = Format(_OPUS_HZ, linear=True)


def _linear(code: int) -> int:
    """The sample of a mu-law code (ITU-T G.711)."""
    code = ~code & 0xFF
    size = ((code & 0x0F) << 3) + 0x84 << (code >> 4 & 0x07)
    return 0x84 - size if code & 0x80 else size - 0x84


_LINEAR = np.array([_linear(code) for code in range(256)], np.int16)
_PER_SAMPLE = _OPUS_HZ // 8000
_EDGE = np.full(_PER_SAMPLE - 1, 1 / (_PER_SAMPLE - 1))
"""What rounds the steps between samples. The first instant of each sample keeps its value: that is
where marks are read. Sharp steps would take most of the bits, and some marks would be lost."""


class Coding(Protocol):
    """One caller's encoder and decoder."""

    payload_type: int
    clock_step: int
    """Of the RTP timestamp from one packet of 20 ms to the next."""
    format: Format
    """Of what `decode` returns."""

    def encode(self, frame: bytes | bytearray) -> bytes | bytearray:
        """The payload for a frame of mu-law."""

    def decode(self, payload: bytes) -> bytes:
        """Its audio; nothing for what cannot be decoded."""


class PcmuCoding:
    """G.711: nothing to do."""

    payload_type = 0
    clock_step = 160
    format = PCMU

    def encode(self, frame: bytes | bytearray) -> bytes | bytearray:
        return frame

    def decode(self, payload: bytes) -> bytes:
        return payload


class OpusCoding:
    """libopus, in the wrapping of FFmpeg."""

    payload_type = 111
    clock_step = _FRAME_SAMPLES
    format = _LINEAR_48

    def __init__(self) -> None:
        self._encoder = av.AudioCodecContext.create("libopus", "w")
        self._decoder = av.AudioCodecContext.create("libopus", "r")
        for context in (self._encoder, self._decoder):
            context.sample_rate, context.layout, context.format = _OPUS_HZ, "mono", "s16"
        self._encoder.bit_rate = _BITRATE
        self._encoder.time_base = Fraction(1, _OPUS_HZ)
        self._encoder.options = _OPTIONS
        self._frame = av.AudioFrame("s16", "mono", _FRAME_SAMPLES)
        self._frame.sample_rate = _OPUS_HZ
        self._next = 0
        size = _FRAME_SAMPLES * _LINEAR_48.sample_bytes
        self._padding = bytes(self._frame.planes[0].buffer_size - size)

    def encode(self, frame: bytes | bytearray) -> bytes | bytearray:
        held = np.repeat(_LINEAR[np.frombuffer(frame, np.uint8)], _PER_SAMPLE)
        audio = np.convolve(held, _EDGE)[len(_EDGE) - 1 :].astype(np.int16)
        self._frame.planes[0].update(audio.tobytes() + self._padding)
        self._frame.pts = self._next
        self._next += _FRAME_SAMPLES
        return b"".join(map(bytes, self._encoder.encode(self._frame)))

    def decode(self, payload: bytes) -> bytes:
        try:
            frames = self._decoder.decode(av.Packet(payload))
        except av.FFmpegError:
            return b""
        size = _LINEAR_48.sample_bytes
        return b"".join(bytes(frame.planes[0])[: frame.samples * size] for frame in frames)


CODINGS: dict[str, type[PcmuCoding] | type[OpusCoding]] = {"pcmu": PcmuCoding, "opus": OpusCoding}
