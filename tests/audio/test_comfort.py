"""What is heard while nobody speaks: WAV files of every usual kind, softly begun, looped, ended."""

import struct
import wave
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateway.audio import g711
from gateway.audio.comfort import MAX_PROMPT_S, TONE, WavError, read_wav
from gateway.audio.formats import PCM24K, PCMA, PCMU, AudioFormat
from gateway.audio.loop import Loop

pytestmark = pytest.mark.pure

PCM8K = AudioFormat("pcm16", 8000)
PCM16K = AudioFormat("pcm16", 16_000)
FORMATS = [PCMU, PCMA, PCM8K, PCM16K, PCM24K]
RATES_HZ = [8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]
AMPLITUDE = 12_000


def wav(raw: bytes, rate_hz: int, *, width: int = 2, channels: int = 1) -> bytes:
    file = BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.setframerate(rate_hz)
        writer.writeframes(raw)
    return file.getvalue()


def sine(frequency_hz: float, rate_hz: int, seconds: float = 1.0) -> NDArray[np.float64]:
    at = np.arange(int(rate_hz * seconds)) / rate_hz
    return AMPLITUDE * np.sin(2 * np.pi * frequency_hz * at)


def raw16(signal: NDArray[np.float64]) -> bytes:
    return np.rint(signal).astype("<i2").tobytes()


def linear(audio: bytes, format: AudioFormat) -> NDArray[np.float64]:
    if format.encoding == "pcm16":
        return np.frombuffer(audio, np.int16).astype(np.float64)
    return g711.decode(audio, format.encoding).astype(np.float64)


def snr_db(heard: NDArray[np.float64], wanted: NDArray[np.float64], rate_hz: int) -> float:
    """The ends, which are faded, left out."""
    middle = slice(rate_hz // 20, -rate_hz // 20)
    error = heard[middle] - wanted[middle]
    power = float((wanted[middle] ** 2).mean())
    return float(10 * np.log10(power / max(float((error**2).mean()), 1e-9)))


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("target", [PCM8K, PCM16K, PCM24K])
def test_a_recording_of_any_rate_sounds_as_it_did(rate_hz: int, target: AudioFormat) -> None:
    prompt = read_wav(wav(raw16(sine(1000, rate_hz)), rate_hz))
    heard = linear(prompt.in_format(target), target)
    assert len(heard) == target.rate_hz
    assert snr_db(heard, sine(1000, target.rate_hz), target.rate_hz) > 60


@pytest.mark.parametrize("target", [PCMU, PCMA])
def test_a_recording_on_the_telephone(target: AudioFormat) -> None:
    prompt = read_wav(wav(raw16(sine(1000, 44_100)), 44_100))
    heard = linear(prompt.in_format(target), target)
    assert snr_db(heard, sine(1000, 8000), 8000) > 30  # what G.711 itself leaves


def test_what_the_telephone_cannot_carry_is_not_heard_as_something_else() -> None:
    both = sine(1000, 48_000) / 2 + sine(7000, 48_000) / 2
    heard = linear(read_wav(wav(raw16(both), 48_000)).in_format(PCM8K), PCM8K)
    assert snr_db(heard, sine(1000, 8000) / 2, 8000) > 60


def test_a_length_of_no_whole_seconds() -> None:
    prompt = read_wav(wav(raw16(sine(1000, 22_050, 1.3)), 22_050))
    heard = linear(prompt.in_format(PCM8K), PCM8K)
    assert len(heard) == 10_400
    assert snr_db(heard, sine(1000, 8000, 1.3), 8000) > 50


def test_eight_bits() -> None:
    signal = sine(1000, 8000)
    raw = (np.rint(signal / 256) + 128).astype(np.uint8).tobytes()
    heard = linear(read_wav(wav(raw, 8000, width=1)).in_format(PCM8K), PCM8K)
    assert snr_db(heard, signal, 8000) > 35
    assert abs(heard.mean()) < 2


def test_stereo_is_mixed() -> None:
    left, right = sine(1000, 8000), sine(440, 8000)
    raw = raw16(np.stack([left, right], axis=1).reshape(-1))
    heard = linear(read_wav(wav(raw, 8000, channels=2)).in_format(PCM8K), PCM8K)
    assert snr_db(heard, (left + right) / 2, 8000) > 60


def test_the_loudest_recording_does_not_wrap_round() -> None:
    square = np.where(sine(300, 44_100) > 0, 32_767.0, -32_768.0)
    heard = linear(read_wav(wav(raw16(square), 44_100)).in_format(PCM8K), PCM8K)
    wanted = sine(300, 8000)
    steady = (np.abs(wanted) > AMPLITUDE / 2)[400:-400]  # away from the edges and the fades
    assert (heard * np.sign(wanted))[400:-400][steady].min() > 0


def test_a_recording_is_computed_once_for_each_format() -> None:
    prompt = read_wav(wav(raw16(sine(1000, 16_000)), 16_000))
    assert prompt.in_format(PCMU) is prompt.in_format(AudioFormat("pcmu", 8000))
    assert prompt.in_format(PCMU) != prompt.in_format(PCMA)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "not a WAV file"),
        (b"ID3\x04 not a WAV at all", "not a WAV file"),
        (wav(bytes(600), 8000)[:30], "it is cut off"),
        (wav(bytes(600), 8000, width=3), "24 bits"),
        (wav(bytes(600), 8000, width=4), "32 bits"),
        (wav(bytes(600), 8000, channels=6), "6 channels"),
        (wav(bytes(600), 7999), "7999 Hz"),
        (wav(bytes(600), 96_000), "96000 Hz"),
        (wav(b"", 8000), "no audio"),
        (wav(b"\x80" * (8000 * MAX_PROMPT_S + 1), 8000, width=1), "longer than 300 seconds"),
        (b"".join((wav(bytes(8), 8000)[:20], b"\x07\0", wav(bytes(8), 8000)[22:])), "format: 7"),
    ],
)
def test_a_file_that_cannot_be_played_says_why(data: bytes, fault: str) -> None:
    with pytest.raises(WavError, match=fault):
        read_wav(data)


def test_a_file_that_ends_early_counts_as_far_as_it_goes() -> None:
    signal = sine(1000, 8000)
    heard = linear(read_wav(wav(raw16(signal), 8000)[:-4001]).in_format(PCM8K), PCM8K)
    assert len(heard) == 8000 - 2001


def test_a_file_written_to_a_pipe_does_not_know_its_length() -> None:
    data = bytearray(wav(raw16(sine(1000, 8000)), 8000))
    struct.pack_into("<I", data, 4, 0xFFFFFFFF)
    struct.pack_into("<I", data, 40, 0xFFFFFFFF)
    assert len(read_wav(bytes(data)).in_format(PCMU)) == 8000


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 60), value=st.integers(0, 255), cut=st.integers(0, 80), tail=st.binary())
def test_a_broken_file_is_a_clear_error_or_audio(
    at: int, value: int, cut: int, tail: bytes
) -> None:
    data = bytearray(wav(bytes(range(40)), 8000))
    data[at % len(data)] = value
    try:
        assert read_wav(bytes(data[:cut]) + tail).in_format(PCMU)
    except WavError:
        pass


@pytest.mark.parametrize("format", FORMATS)
def test_the_tone_is_soft_and_leaves_room_for_silence(format: AudioFormat) -> None:
    heard = linear(TONE.in_format(format), format)
    assert len(heard) == 2 * format.rate_hz
    peak_dbfs = 20 * np.log10(np.abs(heard).max() / 32_768)
    assert -34 < peak_dbfs < -31
    quiet = np.abs(heard) < 16
    assert quiet.mean() > 0.5


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("sound", ["tone", "recording"])
def test_a_loop_does_not_click(format: AudioFormat, sound: str) -> None:
    """A recording cut out of the middle of a steady tone, which jumps at its seam."""
    cut = np.cos(2 * np.pi * 250 * np.arange(11_025 + 17) / 11_025) * AMPLITUDE
    prompt = TONE if sound == "tone" else read_wav(wav(raw16(cut), 11_025))
    audio = prompt.in_format(format)
    loop = Loop(audio)
    size = 20 * format.bytes_per_ms
    heard = linear(b"".join(loop.next(size) for _ in range(2 * len(audio) // size + 1)), format)
    assert abs(heard[0]) <= 8
    length = len(audio) // format.bytes_per_sample
    steps = np.abs(np.diff(heard))
    around = steps[length - 20 : length + 20]
    assert around.max() <= steps[length // 4 : length // 2].max()


def test_a_loop_goes_round() -> None:
    loop = Loop(b"abcde")
    assert [loop.next(3) for _ in range(4)] == [b"abc", b"dea", b"bcd", b"eab"]
    loop = Loop(b"abcde")
    assert [loop.next(5), loop.next(5), loop.next(12)] == [b"abcde", b"abcde", b"abcdeabcdeab"]
    assert loop.next(2) == b"cd"


@given(audio=st.binary(min_size=1, max_size=30), sizes=st.lists(st.integers(0, 70), max_size=20))
def test_a_loop_hands_out_every_byte_in_order(audio: bytes, sizes: list[int]) -> None:
    loop = Loop(audio)
    pieces = [loop.next(size) for size in sizes]
    assert [len(piece) for piece in pieces] == sizes
    whole = b"".join(pieces)
    assert whole == (audio * (len(whole) // len(audio) + 1))[: len(whole)]


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_a_recording_of_next_to_nothing(samples: int) -> None:
    prompt = read_wav(wav(raw16(np.full(samples, 100.0)), 44_100))
    assert len(Loop(prompt.in_format(PCMU)).next(160)) == 160
