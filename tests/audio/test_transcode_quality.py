"""What a change of rate does to the sound, for every pair of rates a call can meet.

Audio goes in as a call brings it, in frames of 20 ms, and what comes out is compared with the pure
tone that went in. The bounds stand a few dB below what was measured, and the measured value stands
beside them.
"""

import numpy as np
import pytest

from gateway.audio.formats import PCMA, PCMU, AudioFormat
from gateway.audio.transcode import Transcoder
from tests.audio.streams import (
    DOWN,
    PCM8K,
    UP,
    Way,
    as_a_call,
    linear,
    measured,
    noise,
    pcm,
    power_db,
    sine,
    tones,
)

pytestmark = pytest.mark.pure

every_way = pytest.mark.parametrize("way", UP + DOWN, ids=str)
every_way_up = pytest.mark.parametrize("way", UP, ids=str)
every_way_down = pytest.mark.parametrize("way", DOWN, ids=str)


@every_way
@pytest.mark.parametrize("frequency_hz", [300, 1000, 3000])
def test_a_tone_stays_pure_in_its_place_and_as_loud_as_it_was(way: Way, frequency_hz: int) -> None:
    """Measured: 85.6 dB and more there and there and back, mostly the rounding to 16 bits."""
    source, target = way
    there = as_a_call(way, sine(frequency_hz, source.rate_hz, 0.5))
    back = as_a_call(Way(target, source), there)
    for audio, format in ((there, target), (back, source)):
        tone = measured(audio, format, frequency_hz)
        assert tone.snr_db > 84
        assert abs(tone.level_db) < 0.02
        assert abs(tone.late_us) < 0.5


@pytest.mark.parametrize("law", [PCMU, PCMA], ids=["pcmu", "pcma"])
@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 48_000])
def test_between_g711_at_both_ends_only_g711_is_heard(law: AudioFormat, rate_hz: int) -> None:
    """Measured: 37.7 dB and more at all three places. The way back meets the same codes again."""
    wide = pcm(rate_hz)
    # Not 1000 Hz: eight samples a period would meet only a few of the levels of G.711.
    once = Transcoder(PCM8K, law).convert(sine(1004, 8000))
    there = as_a_call(Way(law, wide), once)
    back = as_a_call(Way(wide, law), there)
    for audio, format in ((once, law), (there, wide), (back, law)):
        tone = measured(audio, format, 1004)
        assert tone.snr_db > 37
        assert abs(tone.level_db) < 0.05
        assert abs(tone.late_us) < 0.5


@every_way
def test_the_band_of_a_telephone_comes_through_evenly(way: Way) -> None:
    """Measured: within 0.02 dB on the way up and 0.19 dB on the way down, at the upper end."""
    source, target = way
    # In the 100 ms of the middle each tone has whole periods, and so one line of its own.
    every_hz = range(300, way.band_hz * 17 // 20 + 1, 50)
    out = linear(as_a_call(way, tones(every_hz, source.rate_hz, 0.2)), target)
    edge = target.rate_hz // 20
    lines = np.abs(np.fft.rfft(out[edge:-edge]))[np.array(every_hz) // 10]
    assert 20 * np.log10(lines.max() / lines.min()) < 0.25


@every_way_down
@pytest.mark.parametrize(("above", "at_most_db"), [(1.125, -57), (1.25, -95), (1.5, -95)])
def test_what_the_lower_rate_cannot_carry_does_not_come_back_as_another_tone(
    way: Way, above: float, at_most_db: float
) -> None:
    """Measured: -60 dB an eighth above the band; from a quarter above it on all samples are 0."""
    source, target = way
    tone = sine(way.band_hz * above, source.rate_hz, 0.2)
    out = linear(as_a_call(way, tone), target)
    edge = target.rate_hz // 50
    assert power_db(out[edge:-edge]) < at_most_db


@every_way_up
def test_a_narrow_tone_gets_no_mirror_image(way: Way) -> None:
    """Measured: -86.9 dB and less, for a tone at three quarters of the band."""
    source, target = way
    band_hz = way.band_hz
    out = linear(as_a_call(way, sine(band_hz * 3 // 4, source.rate_hz, 0.5)), target)
    out = out[target.rate_hz // 10 : -target.rate_hz // 10]
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out)))) ** 2
    above = spectrum[np.fft.rfftfreq(len(out), 1 / target.rate_hz) > band_hz].sum()
    assert 10 * np.log10(above / spectrum.sum()) < -83


@every_way
def test_the_loudest_sound_is_clipped_and_does_not_turn_over(way: Way) -> None:
    """Edges overshoot: one step beyond the largest sample lies the smallest."""
    source, target = way
    half_ms = source.rate_hz // 2000
    loudest = np.repeat(np.tile(np.array([32767, -32768], np.int16), 50), half_ms * 5)
    out = linear(as_a_call(way, loudest.tobytes()), target)
    plateaus = out.reshape(100, -1)
    edge = target.rate_hz // 4000  # 0.25 ms, where the signal changes sides
    up, down = plateaus[2:-2:2, edge:-edge], plateaus[3:-2:2, edge:-edge]
    assert up.min() > 25_000
    assert down.max() < -25_000
    assert up.max() == 32767


@every_way
def test_every_frame_in_gives_a_frame_out(way: Way) -> None:
    """No lumps: only the first comes short, by the look ahead, and the end brings that back."""
    source, target = way
    transcoder = Transcoder(*way)
    frame, due = source.bytes_per_ms * 20, target.bytes_per_ms * 20
    audio = noise(source.rate_hz)
    out = [len(transcoder.convert(audio[at : at + frame])) for at in range(0, len(audio), frame)]
    short = due - out[0]
    assert 0 < short <= target.bytes_per_ms * 2
    assert out[1:] == [due] * 49
    assert len(transcoder.flush()) == short


@every_way
def test_what_comes_out_has_its_place_in_time(way: Way) -> None:
    """A click lies where it lay: the look ahead holds audio back and does not shift it."""
    source, target = way
    click = np.zeros(source.rate_hz // 10, np.int16)
    click[source.rate_hz // 20] = 20_000
    out = linear(as_a_call(way, click.tobytes()), target)
    assert len(out) == target.rate_hz // 10
    assert np.abs(out).argmax() == target.rate_hz // 20
