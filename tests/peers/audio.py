"""Sound for the tests: something to say, and a look at what was heard."""

import shutil
import subprocess
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from gateway.phone.voice import speech as synthesised_speech

RATE_HZ = 8000

Signal = NDArray[np.float64]
"""Samples at 8 kHz, full scale 1.0."""


def spoken(text: str, directory: Path) -> Signal:
    """Someone who says this: flite where it is installed, else something like a voice."""
    flite = shutil.which("flite")
    if flite is None:
        return synthesised_speech(len(text) / 15).astype(np.float64) / 32768
    path = directory / "flite.wav"
    subprocess.run([flite, "-voice", "slt", "-t", text, "-o", str(path)], check=True)
    return read_wav(path)


def read_wav(path: Path) -> Signal:
    """The first channel of a file of 16-bit samples, at 8 kHz."""
    with wave.open(str(path)) as file:
        data = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        rate_hz, channels = file.getframerate(), file.getnchannels()
    return resampled(data[::channels].astype(np.float64) / 32768, rate_hz)


def read_samples(data: bytes) -> Signal:
    """Samples of 16 bits, the last one perhaps cut off."""
    return np.frombuffer(data[: len(data) // 2 * 2], np.int16).astype(np.float64) / 32768


def read_sound(path: Path) -> Signal:
    """A file of any kind, at 8 kHz."""
    with av.open(str(path)) as container:
        pieces = [frame for frame in container.decode(audio=0)]
    data = np.concatenate([piece.to_ndarray().astype(np.float64)[0] for piece in pieces])
    scale = 1.0 if pieces[0].format.name.startswith("flt") else 32768.0
    return resampled(data / scale, pieces[0].sample_rate)


def resampled(signal: Signal, rate_hz: int) -> Signal:
    """A signal of another rate at 8 kHz: what the telephone does not carry is cut off first."""
    if rate_hz == RATE_HZ or not len(signal):
        return signal
    size = len(signal)
    spectrum = np.fft.rfft(signal)
    spectrum[np.fft.rfftfreq(size, 1 / rate_hz) > 0.45 * RATE_HZ] = 0
    smooth = np.fft.irfft(spectrum, size)
    step = Fraction(rate_hz, RATE_HZ)
    at: Signal = np.interp(np.arange(int(size / step)) * float(step), np.arange(size), smooth)
    return at


def write_wav(path: Path, signal: Signal) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((np.clip(signal, -1, 1) * 32767).astype(np.int16).tobytes())


def silence(duration_s: float) -> Signal:
    return np.zeros(int(duration_s * RATE_HZ))


def voiced(signal: Signal, threshold_db: float = -45.0) -> list[tuple[float, float]]:
    """Stretches with sound in them, in seconds; pauses below half a second belong to a stretch."""
    block = RATE_HZ // 50
    blocks = signal[: len(signal) // block * block].reshape(-1, block)
    loud = 20 * np.log10(np.sqrt((blocks**2).mean(axis=1)) + 1e-9) > threshold_db
    stretches: list[tuple[float, float]] = []
    for at in np.flatnonzero(loud) / 50:
        if stretches and at - stretches[-1][1] < 0.5:
            stretches[-1] = (stretches[-1][0], at + 0.02)
        else:
            stretches.append((at, at + 0.02))
    return [(start, end) for start, end in stretches if end - start >= 0.1]


def likeness(part: Signal, whole: Signal) -> tuple[float, float]:
    """How well `part` is found in `whole`: the best correlation, and where it begins in seconds."""
    if not len(part) or len(whole) < len(part):
        return 0.0, 0.0
    size = 1 << (len(part) + len(whole)).bit_length()
    product = np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size))
    lags = len(whole) - len(part) + 1
    dots = np.fft.irfft(product, size)[:lags]
    energy = np.concatenate(([0.0], np.cumsum(whole**2)))
    norms = np.sqrt((energy[len(part) :] - energy[:lags]).clip(1e-9) * (part @ part))
    best = int(np.argmax(dots / norms))
    return float(dots[best] / norms[best]), best / RATE_HZ


def mulaw(signal: Signal) -> bytes:
    """A signal in G.711 mu-law, by the formula rather than by a table."""
    value = np.clip(signal * 32635, -32635, 32635).astype(np.int64)
    magnitude = np.abs(value) + 132
    exponent = np.floor(np.log2(magnitude)).astype(np.int64) - 7
    mantissa = magnitude >> (exponent + 3) & 0x0F
    code = ~((value < 0) * 0x80 | exponent << 4 | mantissa)
    return bytes((code & 0xFF).astype(np.uint8))
