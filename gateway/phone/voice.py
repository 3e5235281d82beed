"""Something that voice-activity detectors take for a person speaking, made from nothing.

A voice is a row of pulses from the glottis, each of which rings in the cavities of the mouth. Every
pulse is therefore drawn as a sum of damped sines, one for each formant, and the next pulse follows
after one period of the pitch. What makes it speech rather than a buzzer is movement: the formants
glide from vowel to vowel, the loudness rises and falls about five times a second with the
syllables, hisses and short closures stand between them, and the pitch falls along the sentence and
is never quite steady. Nothing of it is intelligible; nothing has to be downloaded or licensed.

The first pulse is the first sample and the pauses inside a word are short, so the moment at which
the speech begins and ends is exact.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

RATE_HZ: Final = 8000

_Signal = NDArray[np.float64]

_VOWELS_HZ: Final = np.array(
    [
        (730, 1090, 2440),  # as in father
        (530, 1840, 2480),  # bed
        (300, 2200, 2900),  # see
        (570, 840, 2410),  # law
        (660, 1720, 2410),  # cat
    ],
    dtype=np.float64,
)
"""The three lowest formants; the telephone carries nothing above 3.4 kHz."""
_BANDWIDTHS_HZ: Final = (70.0, 90.0, 140.0)
_LEVELS: Final = (1.0, 0.6, 0.35)
_PULSE_S: Final = 0.03
_PITCH_HZ: Final = 130.0
_GLIDE: Final = 0.35
"""The part of a syllable in which the mouth moves to its vowel."""
_HISS_S: Final = 0.07
_PEAK: Final = 12_000
_SHORTEST_S: Final = 0.1
_LAST_S: Final = 0.15


def speech(duration_s: float, *, seed: int = 0) -> NDArray[np.int16]:
    """Speech-like sound at 8 kHz; the same seed gives the same words.

    Raises:
        ValueError: shorter than a tenth of a second.
    """
    if not duration_s >= _SHORTEST_S:
        raise ValueError(f"speech takes at least {_SHORTEST_S} s")
    samples = round(duration_s * RATE_HZ)
    random = np.random.default_rng(seed)
    pulse_samples = round(_PULSE_S * RATE_HZ)
    signal = np.zeros(samples + 2 * pulse_samples + round(_HISS_S * RATE_HZ))
    end_s = samples / RATE_HZ
    vowels = _vowels(random)
    at_s = 0.0
    mouth = _VOWELS_HZ[0]
    while at_s < end_s:
        vowel = next(vowels)
        until_s = at_s + random.uniform(0.14, 0.24)
        if end_s - until_s < _LAST_S:
            until_s = end_s  # the last syllable is drawn out, so that nothing silent ends it
        _syllable(signal, at_s, until_s, end_s, mouth, vowel, random)
        mouth = vowel
        at_s = until_s + _consonant(signal, until_s, random)
    signal = signal[:samples]
    loudest = float(np.max(np.abs(signal)))
    return np.rint(signal * (_PEAK / loudest)).astype(np.int16, copy=False)


def _vowels(random: np.random.Generator) -> Iterator[_Signal]:
    """All vowels in random order, again and again."""
    while True:
        yield from random.permutation(_VOWELS_HZ)


def _syllable(
    signal: _Signal,
    start_s: float,
    end_s: float,
    sentence_s: float,
    mouth: _Signal,
    vowel: _Signal,
    random: np.random.Generator,
) -> None:
    """Add the pulses of one syllable, gliding from the mouth's last position to the vowel."""
    at_s = start_s
    while at_s < end_s:
        passed = (at_s - start_s) / (end_s - start_s)
        glide = min(passed / _GLIDE, 1.0)
        loudness = np.sin(np.pi * min(0.15 + 0.8 * passed, 1.0)) ** 0.7
        pulse = loudness * random.normal(1.0, 0.05) * _pulse(mouth + (vowel - mouth) * glide)
        first = round(at_s * RATE_HZ)
        signal[first : first + len(pulse)] += pulse
        falling = 1.15 - 0.3 * at_s / sentence_s
        melody = 1.0 + 0.08 * np.sin(2 * np.pi * 3.0 * at_s)
        at_s += 1.0 / (_PITCH_HZ * falling * melody * random.normal(1.0, 0.01))


def _pulse(formants_hz: _Signal) -> _Signal:
    """What one pulse of the glottis sounds like through these formants."""
    time_s = np.arange(round(_PULSE_S * RATE_HZ)) / RATE_HZ
    ringing = np.zeros(len(time_s))
    for frequency_hz, bandwidth_hz, level in zip(formants_hz, _BANDWIDTHS_HZ, _LEVELS, strict=True):
        decay = np.exp(-np.pi * bandwidth_hz * time_s)
        ringing += level * decay * np.sin(2 * np.pi * frequency_hz * time_s)
    return ringing


def _consonant(signal: _Signal, at_s: float, random: np.random.Generator) -> float:
    """Add what stands between two syllables; how long it lasts, in seconds."""
    kind = random.choice(("hiss", "closure", "glide"))
    if kind == "glide":
        return 0.0
    if kind == "closure":
        return float(random.uniform(0.03, 0.05))
    samples = round(_HISS_S * RATE_HZ)
    # The difference of white noise has its energy at the high end, as a hiss does.
    noise = np.diff(random.standard_normal(samples), prepend=0.0) * np.hanning(samples)
    first = round(at_s * RATE_HZ)
    signal[first : first + samples] += 0.12 * noise
    return _HISS_S * 0.85
