"""Concealment against the original: nearer than silence, fading, without clicks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateway.audio import g711
from gateway.audio.conceal import Concealer
from gateway.audio.formats import PCM24K, PCMA, PCMU, AudioFormat, AudioFormatError

pytestmark = pytest.mark.pure

FRAME = 160
Signal = NDArray[np.float64]


def samples(signal: Signal) -> NDArray[np.int16]:
    integers: NDArray[np.int16] = np.rint(8000 * signal).astype(np.int16)
    return integers


def sine(frequency_hz: float) -> NDArray[np.int16]:
    return samples(np.sin(2 * np.pi * frequency_hz * np.arange(8000) / 8000))


def vowel(pitch_hz: float) -> NDArray[np.int16]:
    """Harmonics under two formants, with the slow sway of pitch and loudness that voices have."""
    at = np.arange(8000) / 8000
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.01 * np.sin(2 * np.pi * 4 * at))) / 8000
    signal = np.zeros(8000)
    for harmonic in range(1, int(3500 / pitch_hz)):
        frequency_hz = harmonic * pitch_hz
        first = np.exp(-(((frequency_hz - 500) / 500) ** 2))
        second = 0.5 * np.exp(-(((frequency_hz - 1500) / 300) ** 2))
        signal += (first + second) * np.sin(harmonic * phase + harmonic)
    signal *= 1 + 0.2 * np.sin(2 * np.pi * 3 * at)
    return samples(signal / np.abs(signal).max())


def play(
    signal: NDArray[np.int16], lost: set[int], format: AudioFormat = PCMU
) -> tuple[Signal, Signal]:
    """What was sent and what was heard when some frames did not arrive, both as decoded."""
    assert format.encoding != "pcm16"
    sent = g711.encode(signal, format.encoding)
    concealer = Concealer(format)
    heard = b""
    for index in range(len(sent) // FRAME):
        if index in lost:
            heard += concealer.lost(FRAME)
        else:
            heard += concealer.heard(sent[index * FRAME : (index + 1) * FRAME])
    assert len(heard) == len(sent)
    return tuple(  # type: ignore[return-value]
        g711.decode(audio, format.encoding).astype(np.float64) for audio in (sent, heard)
    )


def gain_over_silence_db(signal: NDArray[np.int16], index: int, format: AudioFormat) -> float:
    sent, heard = play(signal, {index}, format)
    gap = slice(index * FRAME, (index + 1) * FRAME)
    error = ((heard - sent) ** 2)[gap.start : gap.stop + 40].sum()  # the return included
    return float(10 * np.log10((sent[gap] ** 2).sum() / error))


@pytest.mark.parametrize("format", [PCMU, PCMA])
@pytest.mark.parametrize("frequency_hz", [200, 437.3, 1000])
def test_a_gap_in_a_tone_is_filled_with_the_tone(format: AudioFormat, frequency_hz: float) -> None:
    assert gain_over_silence_db(sine(frequency_hz), 20, format) > 15


@pytest.mark.parametrize("pitch_hz", [80, 110, 140, 180, 220, 300])
def test_a_gap_in_a_vowel_is_filled_with_the_vowel(pitch_hz: float) -> None:
    gains = [gain_over_silence_db(vowel(pitch_hz), index, PCMU) for index in range(8, 45)]
    assert np.mean(gains) > 10
    assert min(gains) > 2


@pytest.mark.parametrize("gap", [1, 2, 3, 5])
@pytest.mark.parametrize("signal", [sine(437.3), vowel(110), vowel(220)])
def test_nothing_clicks(signal: NDArray[np.int16], gap: int) -> None:
    """No step from sample to sample is larger than the signal itself makes them."""
    for start in range(5, 40):
        sent, heard = play(signal, set(range(start, start + gap)))
        around = heard[start * FRAME - 10 : (start + gap) * FRAME + 60]
        assert np.abs(np.diff(around)).max() <= 1.05 * np.abs(np.diff(sent)).max()


def test_a_long_gap_fades_to_silence_within_60_ms() -> None:
    _, heard = play(sine(500), set(range(10, 20)))
    energy = [float((heard[at : at + 80] ** 2).mean()) for at in range(1600, 3200, 80)]
    assert energy[0] > 0.95 * 8000**2 / 2  # the first 10 ms at full level
    assert all(later <= earlier for earlier, later in zip(energy, energy[1:], strict=False))
    assert energy[5] < 0.02 * energy[0]
    assert not any(energy[6:])


def test_the_guess_goes_on_over_several_calls() -> None:
    at_once, in_pieces = Concealer(PCMU), Concealer(PCMU)
    audio = g711.encode(vowel(150)[:1600], "pcmu")
    for concealer in (at_once, in_pieces):
        concealer.heard(audio)
    pieces = b"".join(in_pieces.lost(size) for size in (1, 79, 160, 0, 300, 60))
    assert at_once.lost(600) == pieces


def test_only_the_first_5_ms_after_a_gap_are_touched() -> None:
    signal = vowel(150)
    sent, heard = play(signal, {10, 11})
    back = 12 * FRAME
    assert (heard[back + 40 :] == sent[back + 40 :]).all()
    assert (heard[: 10 * FRAME] == sent[: 10 * FRAME]).all()


def test_frames_that_arrive_pass_as_they_are() -> None:
    concealer = Concealer(PCMU)
    payload = bytes(range(160))
    assert concealer.heard(payload) is payload
    concealer.lost(FRAME)
    assert concealer.heard(payload) is not payload
    assert concealer.heard(payload) is payload


@pytest.mark.parametrize("format", [PCMU, PCMA])
def test_before_anything_was_heard_there_is_silence(format: AudioFormat) -> None:
    assert Concealer(format).lost(FRAME) == format.silence(FRAME)
    concealer = Concealer(format)
    concealer.heard(bytes(FRAME))
    assert concealer.lost(FRAME) == format.silence(FRAME)


def test_after_silence_a_gap_is_silent() -> None:
    concealer = Concealer(PCMU)
    for _ in range(4):
        concealer.heard(PCMU.silence(FRAME))
    assert concealer.lost(FRAME) == PCMU.silence(FRAME)


def test_an_hour_of_loss_is_an_hour_of_silence() -> None:
    concealer = Concealer(PCMU)
    concealer.heard(g711.encode(sine(500), "pcmu"))
    filled = concealer.lost(8 * 3_600_000)
    assert len(filled) == 8 * 3_600_000
    assert filled[480:] == PCMU.silence(len(filled) - 480)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(st.binary(max_size=480), st.integers(0, 700)),
        max_size=20,
    ),
    st.sampled_from([PCMU, PCMA]),
)
def test_any_frames_and_any_gaps_keep_their_length(
    steps: list[bytes | int], format: AudioFormat
) -> None:
    concealer = Concealer(format)
    for step in steps:
        if isinstance(step, int):
            assert len(concealer.lost(step)) == step
        else:
            assert len(concealer.heard(step)) == len(step)


def test_linear_audio_is_not_concealed() -> None:
    with pytest.raises(AudioFormatError):
        Concealer(PCM24K)
