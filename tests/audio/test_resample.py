"""The resampler at rates that few servers use, and at its ends."""

import numpy as np
import pytest

from gateway.audio.resample import Resampler
from tests.audio.streams import Way, as_a_call, measured, noise, pcm, sine

pytestmark = pytest.mark.pure

ODD = [Way(pcm(8000), pcm(11_000)), Way(pcm(22_000), pcm(8000)), Way(pcm(44_000), pcm(8000))]
ODD += [Way(pcm(32_000), pcm(24_000)), Way(pcm(47_000), pcm(48_000))]


@pytest.mark.parametrize("way", ODD, ids=str)
def test_any_two_rates_of_whole_khz_go_together(way: Way) -> None:
    there = as_a_call(way, sine(1000, way.source.rate_hz, 0.5))
    assert len(there) == 500 * way.target.bytes_per_ms
    tone = measured(there, way.target, 1000)
    assert tone.snr_db > 80
    assert abs(tone.level_db) < 0.02
    assert abs(tone.late_us) < 0.5


def test_on_the_way_up_what_was_a_sample_stays_that_sample() -> None:
    samples = np.frombuffer(noise(8000), np.int16)
    resampler = Resampler(8000, 24_000)
    out = np.concatenate([resampler.push(samples), resampler.finish()])
    assert np.array_equal(out[::3], samples)


def test_samples_that_fill_no_millisecond_wait_and_are_not_lost() -> None:
    samples = np.full(803, 1000, np.int16)
    resampler = Resampler(8000, 24_000)
    out = [resampler.push(samples[:5]), resampler.push(samples[5:]), resampler.finish()]
    assert [len(part) for part in out] == [0, 98 * 24, 2409 - 98 * 24]
    middle = np.concatenate(out)[100:-100]
    assert (middle == 1000).all()


def test_nothing_comes_of_nothing() -> None:
    resampler = Resampler(24_000, 8000)
    assert len(resampler.push(np.empty(0, np.int16))) == 0
    assert len(resampler.finish()) == 0
