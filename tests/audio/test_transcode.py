"""The transcoder as a stream: level, purity, delay, and no trace of what was reset."""

from itertools import cycle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateway.audio import g711
from gateway.audio.formats import PCM24K, PCMA, PCMU, AudioFormat
from gateway.audio.transcode import Transcoder

pytestmark = pytest.mark.pure

PCM8K = AudioFormat("pcm16", 8000)
AMPLITUDE = 12_000


def sine(frequency_hz: float, rate_hz: int, seconds: float = 1.0) -> bytes:
    at = np.arange(int(rate_hz * seconds)) / rate_hz
    samples = np.rint(AMPLITUDE * np.sin(2 * np.pi * frequency_hz * at))
    return bytes(samples.astype(np.int16).tobytes())


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


def linear(audio: bytes, format: AudioFormat) -> NDArray[np.float64]:
    if format.encoding == "pcm16":
        return np.frombuffer(audio, np.int16).astype(np.float64)
    return g711.decode(audio, format.encoding).astype(np.float64)


def tone(signal: NDArray[np.float64], frequency_hz: float, rate_hz: int) -> tuple[float, float]:
    """Amplitude of a tone in a signal and the ratio to everything else in dB, ends left out."""
    signal = signal[rate_hz // 10 : -rate_hz // 10]
    phase = 2 * np.pi * frequency_hz * np.arange(len(signal)) / rate_hz
    basis = np.stack([np.sin(phase), np.cos(phase)], axis=1)
    weights = np.linalg.lstsq(basis, signal)[0]
    rest = signal - basis @ weights
    power = float(weights @ weights) / 2
    return float(np.hypot(*weights)), 10 * np.log10(power / max(float((rest**2).mean()), 1e-9))


@pytest.mark.parametrize(("source", "target"), [(PCM8K, PCM24K), (PCM24K, PCM8K)])
@pytest.mark.parametrize("frequency_hz", [300, 1000, 3000])
def test_a_tone_stays_pure_and_as_loud_as_it_was(
    source: AudioFormat, target: AudioFormat, frequency_hz: int
) -> None:
    frame = source.bytes_per_ms * 20
    out = stream(Transcoder(source, target), sine(frequency_hz, source.rate_hz), frame)
    amplitude, snr_db = tone(linear(out, target), frequency_hz, target.rate_hz)
    assert abs(20 * np.log10(amplitude / AMPLITUDE)) < 0.1
    assert snr_db > 80


@pytest.mark.parametrize("law", [PCMU, PCMA])
def test_from_g711_to_pcm_and_back_costs_no_level_and_no_more_than_g711_itself(
    law: AudioFormat,
) -> None:
    # Not 1000 Hz: eight samples a period would meet only a few of the levels of G.711.
    narrow = np.frombuffer(sine(1004, 8000), np.int16)
    assert law.encoding != "pcm16"
    once = g711.encode(narrow, law.encoding)
    wide = stream(Transcoder(law, PCM24K), once, 160)
    back = stream(Transcoder(PCM24K, law), wide, 9600, 960, 2)
    for audio, format in ((once, law), (wide, PCM24K), (back, law)):
        amplitude, snr_db = tone(linear(audio, format), 1004, format.rate_hz)
        assert abs(20 * np.log10(amplitude / AMPLITUDE)) < 0.1
        assert snr_db > 35


@pytest.mark.parametrize(
    ("frequency_hz", "at_most_db"), [(4500, -55), (5000, -90), (6000, -90), (9000, -90)]
)
def test_what_a_telephone_cannot_carry_does_not_come_back_as_another_tone(
    frequency_hz: int, at_most_db: float
) -> None:
    out = linear(stream(Transcoder(PCM24K, PCM8K), sine(frequency_hz, 24_000), 960), PCM8K)
    power = float((out[800:-800] ** 2).mean())
    assert 10 * np.log10(max(power, 1e-3) / (AMPLITUDE**2 / 2)) < at_most_db


def test_a_narrow_tone_gets_no_mirror_image_above_4_khz() -> None:
    out = linear(stream(Transcoder(PCM8K, PCM24K), sine(3000, 8000), 320), PCM24K)[2400:-2400]
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out)))) ** 2
    above = spectrum[np.fft.rfftfreq(len(out), 1 / 24_000) > 4000].sum()
    assert 10 * np.log10(above / spectrum.sum()) < -80


@pytest.mark.parametrize(("source", "target"), [(PCM8K, PCM24K), (PCM24K, PCM8K)])
def test_the_chain_is_2_ms_behind_and_never_more(source: AudioFormat, target: AudioFormat) -> None:
    """Held back, not shifted: what comes out has its place in time from the first sample on."""
    transcoder = Transcoder(source, target)
    given_samples = taken_samples = 0
    for chunk_ms in (20, 20, 10, 200, 1, 20, 60, 20, 3, 1, 20):
        out = transcoder.convert(bytes(chunk_ms * source.bytes_per_ms))
        given_samples += chunk_ms * target.rate_hz // 1000
        taken_samples += len(out) // 2
        assert 0 <= given_samples - taken_samples <= target.rate_hz * 2 // 1000
    taken_samples += len(transcoder.flush()) // 2
    assert taken_samples == given_samples


def test_the_output_lies_in_time_where_the_input_did() -> None:
    click = np.zeros(800, np.int16)
    click[400] = 20_000
    out = linear(stream(Transcoder(PCM8K, PCM24K), click.tobytes(), 320), PCM24K)
    assert abs(int(np.abs(out).argmax()) - 1200) <= 1


@settings(max_examples=60, deadline=None)
@given(
    pair=st.sampled_from(
        [(PCM8K, PCM24K), (PCM24K, PCM8K), (PCMU, PCM24K), (PCM24K, PCMA), (PCMA, PCMU)]
        + [(PCM24K, PCM24K), (PCM8K, PCMU), (PCMA, PCM8K), (AudioFormat("pcm16", 16_000), PCMU)]
    ),
    sizes=st.lists(st.integers(1, 4000), min_size=1, max_size=12),
)
def test_chunk_borders_leave_no_trace(
    pair: tuple[AudioFormat, AudioFormat], sizes: list[int]
) -> None:
    source, target = pair
    audio = noise(6000) if source.encoding == "pcm16" else noise(3000)
    whole = stream(Transcoder(source, target), audio, len(audio))
    assert stream(Transcoder(source, target), audio, *sizes) == whole
    duration_ms = len(audio) / source.bytes_per_ms
    assert abs(len(whole) / target.bytes_per_ms - duration_ms) <= 0.125


def test_a_long_delta_comes_out_at_once() -> None:
    transcoder = Transcoder(PCM24K, PCMU)
    assert len(transcoder.convert(bytes(48 * 60_000))) == 8 * 60_000 - 16


@pytest.mark.parametrize(("source", "target"), [(PCM24K, PCM8K), (PCM8K, PCM24K)])
def test_after_reset_nothing_of_the_old_signal_is_left(
    source: AudioFormat, target: AudioFormat
) -> None:
    transcoder = Transcoder(source, target)
    assert transcoder.convert(noise(4800) + b"\x55")
    transcoder.reset()
    fresh = sine(500, source.rate_hz, 0.1)
    assert transcoder.convert(fresh) == Transcoder(source, target).convert(fresh)
    transcoder.reset()
    assert transcoder.flush() == b""
    silence = bytes(source.bytes_per_ms * 20)
    assert not any(transcoder.convert(silence) + transcoder.flush())


def test_flush_gives_the_tail_and_begins_anew() -> None:
    transcoder = Transcoder(PCM24K, PCMU)
    audio = sine(500, 24_000, 0.1)
    first = transcoder.convert(audio)
    tail = transcoder.flush()
    assert (len(first), len(tail)) == (784, 16)
    assert np.abs(g711.decode(tail, "pcmu")).max() > 1000
    assert transcoder.flush() == b""
    assert transcoder.convert(audio) + transcoder.flush() == first + tail


def test_equal_formats_pass_untouched() -> None:
    audio = bytes(range(256))
    for format in (PCMU, PCMA, PCM24K):
        transcoder = Transcoder(format, format)
        assert transcoder.convert(audio) is audio
        assert transcoder.flush() == b""


def test_an_odd_byte_waits_for_its_other_half() -> None:
    transcoder = Transcoder(PCM24K, PCM24K)
    assert [transcoder.convert(chunk) for chunk in (b"abc", b"d", b"e", b"f")] == [
        b"ab",
        b"cd",
        b"",
        b"ef",
    ]
    transcoder.convert(b"g")
    transcoder.reset()
    assert transcoder.convert(b"hi") == b"hi"


def test_between_the_laws_a_table_does_it() -> None:
    audio = bytes(range(256))
    assert Transcoder(PCMU, PCMA).convert(audio) == audio.translate(g711.TRANSLATE["pcmu"])
    assert Transcoder(PCMA, PCMU).convert(audio) == audio.translate(g711.TRANSLATE["pcma"])


def test_nothing_in_nothing_out() -> None:
    for source in (PCMU, PCM8K, PCM24K):
        for target in (PCMA, PCM8K, PCM24K):
            assert Transcoder(source, target).convert(b"") == b""
            assert Transcoder(source, target).flush() == b""


def test_a_transcoder_brings_no_threads() -> None:
    def threads() -> int:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("Threads"))

    before = threads()
    running = [Transcoder(PCMU, PCM24K) for _ in range(8)]
    for transcoder in running:
        transcoder.convert(bytes(160))
    assert threads() == before
