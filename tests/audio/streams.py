"""Signals to send through a transcoder as a call does, and what to read off the other end."""

from collections.abc import Iterable
from itertools import cycle
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.audio import g711
from gateway.audio.formats import AudioFormat
from gateway.audio.transcode import Transcoder

Signal = NDArray[np.float64]

AMPLITUDE = 12_000


def pcm(rate_hz: int) -> AudioFormat:
    return AudioFormat("pcm16", rate_hz)


PCM8K = pcm(8000)


class Way(NamedTuple):
    """From one format to another."""

    source: AudioFormat
    target: AudioFormat

    def __str__(self) -> str:
        return "-".join(f"{one.encoding}@{one.rate_hz // 1000}" for one in self)

    @property
    def band_hz(self) -> int:
        """Above this, one of the two rates can carry nothing."""
        return min(one.rate_hz for one in self) // 2


UP = [Way(PCM8K, pcm(16_000)), Way(PCM8K, pcm(24_000)), Way(PCM8K, pcm(48_000))]
UP += [Way(pcm(16_000), pcm(24_000))]
DOWN = [Way(target, source) for source, target in UP]
"""Every pair of rates that a call can meet, both ways."""


def tones(frequencies_hz: Iterable[float], rate_hz: int, seconds: float = 1.0) -> bytes:
    """Sines from phase 0 on, together as loud as one of AMPLITUDE; as 16-bit PCM."""
    frequencies = np.array([*frequencies_hz])
    at = np.arange(int(rate_hz * seconds)) / rate_hz
    # Phases spread evenly, or the peaks of many tones would meet.
    phases = np.pi * np.arange(len(frequencies)) ** 2 / len(frequencies)
    sines = np.sin(2 * np.pi * np.outer(at, frequencies) + phases)
    samples = np.rint(sines.sum(axis=1) * AMPLITUDE / np.sqrt(len(frequencies)))
    return bytes(samples.astype(np.int16).tobytes())


def sine(frequency_hz: float, rate_hz: int, seconds: float = 1.0) -> bytes:
    return tones([frequency_hz], rate_hz, seconds)


def noise(samples: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).normal(0, 5000, samples).astype(np.int16).tobytes()


def stream(transcoder: Transcoder, audio: bytes, *sizes: int) -> bytes:
    """All of `audio` through the transcoder in chunks of these sizes, over and over."""
    out = b""
    at = 0
    for size in cycle(sizes):
        if at >= len(audio):
            return out + transcoder.flush()
        out += transcoder.convert(audio[at : at + size])
        at += size
    raise AssertionError


def as_a_call(way: Way, audio: bytes) -> bytes:
    """All of `audio` through a transcoder in frames of 20 ms."""
    return stream(Transcoder(*way), audio, way.source.bytes_per_ms * 20)


def linear(audio: bytes, format: AudioFormat) -> Signal:
    if format.encoding == "pcm16":
        return np.frombuffer(audio, np.int16).astype(np.float64)
    return g711.decode(audio, format.encoding).astype(np.float64)


class Tone(NamedTuple):
    """A sine found in a signal, compared with one of AMPLITUDE that begins at phase 0."""

    level_db: float
    late_us: float
    snr_db: float
    """Its power against that of all else, the constant part included."""


def measured(audio: bytes, format: AudioFormat, frequency_hz: float) -> Tone:
    """The sine that fits best in the least squares; 100 ms at each end are left out."""
    edge = format.rate_hz // 10
    signal = linear(audio, format)[edge:-edge]
    at = np.arange(edge, edge + len(signal)) / format.rate_hz
    phase = 2 * np.pi * frequency_hz * at
    basis = np.stack([np.sin(phase), np.cos(phase)], axis=1)
    weights = np.linalg.lstsq(basis, signal)[0]
    rest = signal - basis @ weights
    amplitude = float(np.hypot(*weights))
    late = -np.arctan2(weights[1], weights[0]) / (2 * np.pi * frequency_hz)
    noise_power = max(float((rest**2).mean()), 1e-9)
    return Tone(
        level_db=20 * np.log10(amplitude / AMPLITUDE),
        late_us=late * 1e6,
        snr_db=10 * np.log10(amplitude**2 / 2 / noise_power),
    )


def power_db(signal: Signal) -> float:
    """Against a sine of AMPLITUDE; where there is nothing at all, -170 dB."""
    power = max(float((signal**2).mean()), 1e-9)
    return float(10 * np.log10(power / (AMPLITUDE**2 / 2)))
