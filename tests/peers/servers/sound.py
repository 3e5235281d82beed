"""Tones in the formats of Realtime servers and of telephones: made, read back, and measured.

G.711 by its formulas and not by tables; nothing is shared with the gateway.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.peers.audio import mulaw

Signal = NDArray[np.float64]
"""Samples, full scale 1.0."""

LEVEL_DB = -12.0
"""Of every tone made here: its root mean square against full scale."""


@dataclass(frozen=True, slots=True)
class Format:
    """`pcm` (16 bits, little-endian), `pcmu` or `pcma`; one channel."""

    kind: str = "pcm"
    rate_hz: int = 24_000

    @property
    def bytes_per_s(self) -> int:
        return self.rate_hz * (2 if self.kind == "pcm" else 1)

    def encode(self, signal: Signal) -> bytes:
        if self.kind == "pcm":
            return (signal * 32767).astype("<i2").tobytes()
        return mulaw(signal) if self.kind == "pcmu" else _alaw(signal)

    def decode(self, data: bytes) -> Signal:
        if self.kind == "pcm":
            return np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float64) / 32768
        code = np.frombuffer(data, np.uint8).astype(np.int64)
        code ^= 0xFF if self.kind == "pcmu" else 0x55
        exponent, step = code >> 4 & 7, code & 15
        if self.kind == "pcmu":
            size = (((step << 3) + 132) << exponent) - 132
            return np.where(code & 0x80, -size, size) / 32768
        size = np.where(exponent, (step << 4) + 264 << np.maximum(exponent - 1, 0), (step << 4) + 8)
        return np.where(code & 0x80, size, -size) / 32768


PCMU = Format("pcmu", 8000)
PCMA = Format("pcma", 8000)


@dataclass(frozen=True, slots=True)
class Measured:
    """The strongest tone of a signal."""

    frequency_hz: float
    level_db: float
    """Of the whole signal, as `LEVEL_DB`."""
    purity: float
    """The share of all energy that lies within 60 Hz of the tone."""


def tone(frequency_hz: float, duration_s: float, rate_hz: int) -> Signal:
    """A sine of `LEVEL_DB`, without the clicks of a hard beginning and end."""
    at_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    edge_s = np.minimum(at_s, at_s[::-1])
    signal = np.sin(2 * np.pi * frequency_hz * at_s) * np.sqrt(2) * 10 ** (LEVEL_DB / 20)
    return np.asarray(signal * np.clip(edge_s / 0.01, 0, 1))


def measure(signal: Signal, rate_hz: int) -> Measured:
    """Of a signal without silence in it, at least 100 ms long."""
    assert len(signal) >= rate_hz // 10, f"only {len(signal)} samples"
    energy = np.abs(np.fft.rfft(signal * np.hanning(len(signal)), 1 << 17)) ** 2
    bins_hz = np.fft.rfftfreq(1 << 17, 1 / rate_hz)
    peak_hz = float(bins_hz[np.argmax(energy)])
    near = np.abs(bins_hz - peak_hz) < 60
    level = np.sqrt(np.mean(signal**2)) + 1e-9
    return Measured(peak_hz, float(20 * np.log10(level)), float(energy[near].sum() / energy.sum()))


def _alaw(signal: Signal) -> bytes:
    size = np.clip(np.abs(signal) * 4096, 0, 4095).astype(np.int64)
    exponent = np.maximum(np.floor(np.log2(np.maximum(size, 1))).astype(np.int64) - 4, 0)
    code = exponent << 4 | size >> np.maximum(exponent, 1) & 15
    return bytes(((code | (signal >= 0) * 0x80) ^ 0x55).astype(np.uint8))
