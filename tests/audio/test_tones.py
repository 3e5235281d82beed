"""Keys heard in the audio: every key at every strength, a little off, in noise; and no speech."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.audio import g711
from gateway.audio.conceal import Concealer
from gateway.audio.formats import PCMU, Law
from gateway.audio.tones import ToneKeys
from tests.peers.audio import read_sound

pytestmark = pytest.mark.pure

LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
KEYS = "123A456B789C*0#D"
PROMPTS = Path(__file__).parents[2] / "gateway" / "backend" / "prompts"
Signal = NDArray[np.float64]


def pressed(
    key: str, ms: int = 60, dbm0: float = -10, off: float = 0.0, twist_db: float = 0.0
) -> Signal:
    """One press. `dbm0` is of each tone; the high one is stronger by the twist."""
    row, column = divmod(KEYS.index(key), 4)
    time_s = np.arange(8 * ms) / 8000
    level = 32_768 * 10 ** ((dbm0 - 3.14) / 20)
    low = 10 ** (-twist_db / 40) * np.sin(2 * np.pi * LOW[row] * (1 + off) * time_s)
    high = 10 ** (twist_db / 40) * np.sin(2 * np.pi * HIGH[column] * (1 + off) * time_s + 1)
    return np.asarray(level * (low + high))


def heard(signal: Signal, law: Law = "pcmu", frame: int = 160) -> str:
    """What is found in a signal that went over a line."""
    samples = np.clip(signal, -32_768, 32_767).astype(np.int16)
    line = g711.decode(g711.encode(samples, law), law)
    ear = ToneKeys()
    return "".join(ear.hear(line[at : at + frame]) for at in range(0, len(line), frame))


def sequence(gap_ms: int, **press: float) -> Signal:
    silence = np.zeros(8 * gap_ms)
    parts = [part for key in KEYS for part in (pressed(key, **press), silence)]  # type: ignore[arg-type]
    return np.concatenate((np.zeros(77), *parts, np.zeros(800)))


@pytest.mark.parametrize("law", ["pcmu", "pcma"])
@pytest.mark.parametrize("dbm0", [-3, -10, -20, -28])
@pytest.mark.parametrize("off", [0.0, 0.015, -0.015])
@pytest.mark.parametrize("twist_db", [0, 4, -7])
def test_every_key_at_every_strength(law: Law, dbm0: int, off: float, twist_db: int) -> None:
    signal = sequence(60, dbm0=dbm0, off=off, twist_db=twist_db)
    assert heard(signal, law) == KEYS


@pytest.mark.parametrize("ms", [40, 50, 100, 500])
def test_short_presses_and_short_pauses(ms: int) -> None:
    assert heard(sequence(min(ms, 60), ms=ms)) == KEYS


def test_a_key_held_is_one_and_pressed_twice_is_two() -> None:
    assert heard(pressed("5", 3000)) == "5"
    pause = np.zeros(8 * 60)
    assert heard(np.concatenate((pressed("5"), pause, pressed("5"), pause))) == "55"


@pytest.mark.parametrize("noise_db", [-25, -15, -10])
def test_keys_in_noise(noise_db: float) -> None:
    """The noise is relative to the pair."""
    signal = sequence(60, dbm0=-10)
    power = (32_768 * 10 ** (-13.14 / 20)) ** 2
    noise = np.random.default_rng(3).normal(0, np.sqrt(power * 10 ** (noise_db / 10)), len(signal))
    assert heard(signal + noise) == KEYS


def test_keys_of_which_the_network_lost_a_part() -> None:
    """One packet in twenty, filled up as the port does: hardly a key is lost by it, and none is
    made of it."""
    line = g711.encode(sequence(100, ms=100).astype(np.int16), "pcmu")
    found = []
    for seed in range(8):
        source, concealer, ear = np.random.default_rng(seed), Concealer(PCMU), ToneKeys()
        keys = iter(KEYS)
        for at in range(0, len(line) - 159, 160):
            frame = line[at : at + 160]
            frame = concealer.lost(160) if source.random() < 0.05 else concealer.heard(frame)
            for key in ear.hear(g711.decode(frame, "pcmu")):
                assert key in keys  # in their order, each once
                found.append(key)
    assert len(found) >= 0.98 * 8 * len(KEYS)


def test_a_gap_of_20_ms_in_a_key_does_not_make_two() -> None:
    signal = pressed("8", 200)
    signal[800:960] = 0
    assert heard(signal) == "8"


@pytest.mark.parametrize("frame", [80, 160, 240, 480])
def test_frames_of_any_length(frame: int) -> None:
    assert heard(sequence(60), frame=frame) == KEYS


@pytest.mark.parametrize("ms", [10, 20])
def test_what_is_too_short_is_no_key(ms: int) -> None:
    assert heard(sequence(60, ms=ms)) == ""


@pytest.mark.parametrize("hz", [(350, 440), (440, 480), (480, 620), (425, 425), (697, 697)])
def test_the_tones_of_a_telephone_network_are_no_keys(hz: tuple[int, int]) -> None:
    time_s = np.arange(16_000) / 8000
    low, high = (np.sin(2 * np.pi * one * time_s) for one in hz)
    assert heard(8000 * (low + high)) == ""


def test_noise_and_single_tones_are_no_keys() -> None:
    assert heard(np.random.default_rng(4).normal(0, 6000, 8000 * 60)) == ""
    time_s = np.arange(8000 * 20) / 8000
    assert heard(12_000 * np.sin(2 * np.pi * (300 + 80 * time_s) * time_s)) == ""


@pytest.mark.parametrize("times", [0.25, 1, 3])
def test_speech_is_no_key(times: float) -> None:
    """All that the embedded agent can say, nearly four minutes; softly, aloud, and overdriven."""
    files = sorted(PROMPTS.glob("*.opus"))
    assert len(files) > 20
    speech = [32_768 * times * read_sound(file) for file in files]
    assert sum(map(len, speech)) > 8000 * 200
    assert min(float(np.abs(one).max()) for one in speech) > 1000 * times  # it is to be heard
    assert [file.name for file, one in zip(files, speech, strict=True) if heard(one)] == []


def test_music_of_many_tones_is_no_key() -> None:
    source = np.random.default_rng(5)
    time_s = np.arange(2000) / 8000
    chords = []
    for _ in range(400):
        notes = 220 * 2 ** (source.integers(0, 36, 3) / 12)
        chords.append(sum(np.sin(2 * np.pi * hz * time_s) for hz in notes) * 5000)
    assert not re.search("[0-9A-D*#]", heard(np.concatenate(chords)))
