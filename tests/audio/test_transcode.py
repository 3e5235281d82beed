"""The transcoder as a stream: chunks of any length, its delay, and no trace of what was reset."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audio import g711
from gateway.audio.formats import PCM24K, PCMA, PCMU
from gateway.audio.transcode import Transcoder
from tests.audio.streams import DOWN, PCM8K, UP, Way, noise, pcm, sine, stream

pytestmark = pytest.mark.pure

PHONES = [Way(PCMU, PCM24K), Way(PCM24K, PCMA), Way(pcm(16_000), PCMU), Way(PCMA, pcm(48_000))]
SAME_RATE = [Way(PCMA, PCMU), Way(PCM24K, PCM24K), Way(PCM8K, PCMU), Way(PCMA, PCM8K)]


@pytest.mark.parametrize("way", UP + DOWN + PHONES, ids=str)
def test_the_chain_is_2_ms_behind_and_never_more(way: Way) -> None:
    source, target = way
    transcoder = Transcoder(*way)
    given_bytes = taken_bytes = 0
    for chunk_ms in (20, 20, 10, 200, 1, 20, 60, 20, 3, 1, 20):
        taken_bytes += len(transcoder.convert(bytes(chunk_ms * source.bytes_per_ms)))
        given_bytes += chunk_ms * target.bytes_per_ms
        assert 0 <= given_bytes - taken_bytes <= target.bytes_per_ms * 2
    taken_bytes += len(transcoder.flush())
    assert taken_bytes == given_bytes


@settings(max_examples=60, deadline=None)
@given(
    way=st.sampled_from(UP + DOWN + PHONES + SAME_RATE),
    sizes=st.lists(st.integers(1, 4000), min_size=1, max_size=12),
)
def test_chunk_borders_leave_no_trace(way: Way, sizes: list[int]) -> None:
    source, target = way
    audio = noise(6000) if source.encoding == "pcm16" else noise(3000)
    whole = stream(Transcoder(*way), audio, len(audio))
    assert stream(Transcoder(*way), audio, *sizes) == whole
    duration_ms = len(audio) / source.bytes_per_ms
    assert abs(len(whole) / target.bytes_per_ms - duration_ms) <= 0.125


def test_a_long_delta_comes_out_at_once() -> None:
    transcoder = Transcoder(PCM24K, PCMU)
    assert len(transcoder.convert(bytes(48 * 60_000))) == 8 * 60_000 - 16


@pytest.mark.parametrize("way", UP + DOWN, ids=str)
def test_after_reset_nothing_of_the_old_signal_is_left(way: Way) -> None:
    source, target = way
    transcoder = Transcoder(*way)
    assert transcoder.convert(noise(4800) + b"\x55")
    transcoder.reset()
    fresh = sine(500, source.rate_hz, 0.1)
    assert transcoder.convert(fresh) == Transcoder(*way).convert(fresh)
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
