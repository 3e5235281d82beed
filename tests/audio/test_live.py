"""Audio between two legs that hear each other now, and the sum of both for a third one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audio import g711
from gateway.audio.formats import PCM24K, PCMA, PCMU, AudioFormat
from gateway.audio.live import FRAME_MS, GAP_MS, LIMIT_MS, EarlyMedia, LiveFeed, Mixer

pytestmark = pytest.mark.pure

VOICE = bytes(range(160))
SILENCE = PCMU.silence(160)


def tone(samples: int, rate_hz: int, *, hz: float = 400, level: float = 8000) -> bytes:
    return (
        (level * np.sin(2 * np.pi * hz * np.arange(samples) / rate_hz)).astype(np.int16).tobytes()
    )


RINGING = b"\x11" * 160


class Ringing:
    def next(self, size: int) -> bytes:
        return RINGING[:size]


class Early:
    """Somebody who is called, and what the caller hears."""

    def __init__(self) -> None:
        self.received = 0
        self.media = EarlyMedia(PCMU, PCMU, Ringing(), lambda: self.received)

    def hears(self, frames: int, said: bytes = SILENCE, *, comes: bool = False) -> list[bytes]:
        """Frames that are pushed, and what is heard while they are."""
        heard = []
        for _ in range(frames):
            self.received += comes
            self.media.push(said)
            heard.append(self.media.next(160))
        return heard


def test_the_same_law_passes_untouched() -> None:
    feed = LiveFeed(PCMU, PCMU)
    frames = [bytes([number]) * 160 for number in range(20)]
    heard = []
    for frame in frames:
        feed.push(frame)
        heard.append(feed.next(160))
    assert heard[0] == SILENCE  # a frame in hand, against the next packet that is late
    assert heard[1:] == frames[:-1]


def test_one_late_packet_is_not_heard() -> None:
    feed = LiveFeed(PCMU, PCMU)
    feed.push(VOICE)
    feed.push(VOICE)
    assert feed.next(160) == VOICE
    assert feed.next(160) == VOICE  # the next one has not come
    feed.push(VOICE)
    feed.push(VOICE)
    assert feed.next(160) == VOICE


def test_after_a_pause_it_begins_with_a_cushion_again() -> None:
    feed = LiveFeed(PCMU, PCMU)
    feed.push(VOICE)
    feed.push(VOICE)
    assert [feed.next(160) for _ in range(4)] == [VOICE, VOICE, SILENCE, SILENCE]
    feed.push(VOICE)
    assert feed.next(160) == SILENCE
    feed.push(VOICE)
    assert feed.next(160) == VOICE


def test_audio_that_comes_too_fast_loses_its_oldest() -> None:
    feed = LiveFeed(PCMU, PCMU)
    for number in range(10):
        feed.push(bytes([number]) * 160)
    assert (feed.waiting_ms, feed.dropped_ms) == (LIMIT_MS, 140)
    assert feed.next(160) == bytes([7]) * 160


@pytest.mark.parametrize("drift", [-300, 300])
def test_two_clocks_that_do_not_agree_are_borne(drift: int) -> None:
    """300 ppm is what no sound card is off by; a frame is lost or added now and then."""
    feed = LiveFeed(PCMU, PCMU)
    clock, silent, most = 0.0, 0, 0
    for _ in range(30_000):  # ten minutes
        clock += 1 + drift / 1e6
        while clock >= 1:
            clock -= 1
            feed.push(VOICE)
        silent += feed.next(160) == SILENCE
        most = max(most, feed.waiting_ms)
    assert most <= LIMIT_MS
    assert feed.dropped_ms <= 10 * FRAME_MS and silent <= 20


@pytest.mark.parametrize(
    ("source", "target"), [(PCMU, PCMA), (PCMA, PCMU), (PCMU, PCM24K), (PCM24K, PCMA)]
)
def test_formats_are_translated(source: AudioFormat, target: AudioFormat) -> None:
    feed = LiveFeed(source, target)
    size = FRAME_MS * target.bytes_per_ms
    wave = tone(source.rate_hz, source.rate_hz)
    if source.encoding != "pcm16":
        wave = g711.encode(np.frombuffer(wave, np.int16), source.encoding)
    step = FRAME_MS * source.bytes_per_ms
    heard = b""
    for at in range(0, len(wave), step):
        feed.push(wave[at : at + step])
        heard += feed.next(size)
    if target.encoding == "pcm16":
        samples = np.frombuffer(heard, np.int16)
    else:
        samples = g711.decode(heard, target.encoding)
    spectrum = np.abs(np.fft.rfft(samples[-target.rate_hz // 2 :].astype(float)))
    assert abs(int(spectrum.argmax()) * 2 - 400) <= 4
    assert len(heard) == 50 * size


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([80, 160, 240, 480]))))
def test_no_more_waits_than_may_and_a_frame_is_always_a_frame(
    history: list[tuple[int, int]],
) -> None:
    feed = LiveFeed(PCMU, PCM24K)
    largest = 0
    for pushes, size in history:
        for _ in range(pushes):
            feed.push(SILENCE[:1] * size)
        largest = max(largest, size // 8)
        assert feed.waiting_ms <= max(LIMIT_MS, 2 * largest)
        assert len(feed.next(960)) == 960


def test_packets_of_sixty_milliseconds_have_room() -> None:
    feed = LiveFeed(PCMU, PCMU)
    heard = 0
    for number in range(30):
        if number % 3 == 0:
            feed.push(VOICE * 3)
        heard += feed.next(160) != SILENCE
    assert heard >= 27 and feed.dropped_ms == 0


@pytest.mark.parametrize("gap_ms", [100, 200])
def test_a_gap_of_the_network_does_not_stay_as_latency(gap_ms: int) -> None:
    """What was lost comes as one piece, when the packets after it are there already."""
    feed = LiveFeed(PCMU, PCMU)
    most = []
    for number in range(500):
        if number == 100:
            feed.push(SILENCE[:1] * 8 * gap_ms)
            for _ in range(gap_ms // FRAME_MS):
                feed.push(VOICE)
        else:
            feed.push(VOICE)
        feed.next(160)
        most.append(feed.waiting_ms)
    assert max(most[100:]) <= LIMIT_MS and max(most[-100:]) <= LIMIT_MS
    burst = [VOICE] * 10
    for frame in burst:
        feed.push(frame)
    assert feed.waiting_ms <= LIMIT_MS


def test_packets_of_sixty_milliseconds_have_room_no_longer_than_they_come() -> None:
    feed = LiveFeed(PCMU, PCMU)
    for _ in range(4):
        feed.push(VOICE * 3)
    assert feed.waiting_ms == 120
    feed.push(VOICE)
    assert feed.waiting_ms == LIMIT_MS


def test_a_listener_hears_the_sum() -> None:
    heard: list[bytes] = []
    mixer = Mixer(PCMU, PCMA, PCM24K, heard.append)
    one = g711.encode(np.frombuffer(tone(8000, 8000), np.int16), "pcmu")
    other = g711.encode(np.frombuffer(tone(8000, 8000, hz=1000), np.int16), "pcma")
    for at in range(0, 8000, 160):
        mixer.first(one[at : at + 160])
        mixer.second(other[at : at + 160])
    samples = np.frombuffer(b"".join(heard), np.int16).astype(float)
    assert 48 <= len(heard) <= 50 and all(len(frame) == 960 for frame in heard)
    spectrum = np.abs(np.fft.rfft(samples[:24_000]))
    step_hz = 24_000 / len(samples[:24_000])
    loudest = sorted(round(float(at) * step_hz, -1) for at in spectrum.argsort()[-2:])
    assert loudest == [400, 1000]


def test_a_sum_is_as_loud_as_can_be_and_no_louder() -> None:
    heard: list[bytes] = []
    mixer = Mixer(PCM24K, PCM24K, PCM24K, heard.append)
    loud = np.full(480, 30_000, np.int16).tobytes()
    mixer.first(loud)
    mixer.second(loud)
    assert heard == [np.full(480, 32_767, np.int16).tobytes()]


def test_whoever_holds_the_line_is_not_waited_for() -> None:
    heard: list[bytes] = []
    mixer = Mixer(PCMU, PCMU, PCMU, heard.append)
    for _ in range(50):
        mixer.second(VOICE)
    assert len(heard) == 50 - LIMIT_MS // FRAME_MS
    mixer.first(SILENCE)
    assert len(heard) == 50 - LIMIT_MS // FRAME_MS + 1


def test_it_rings_while_no_early_media_comes_although_time_passes_as_silence() -> None:
    assert set(Early().hears(500)) == {RINGING}


def test_early_media_is_heard_from_its_first_packets_and_through_gaps() -> None:
    early = Early()
    early.hears(100)
    heard = early.hears(20, VOICE, comes=True)
    assert heard[0] in (SILENCE, VOICE) and set(heard[3:]) == {VOICE}
    gap = early.hears(GAP_MS // FRAME_MS - 1)
    assert RINGING not in gap
    assert VOICE in early.hears(5, VOICE, comes=True)


def test_it_rings_again_after_an_announcement() -> None:
    early = Early()
    early.hears(20, VOICE, comes=True)
    heard = early.hears(GAP_MS // FRAME_MS + 10)
    assert set(heard[-10:]) == {RINGING} and RINGING not in heard[:40]
    assert VOICE in early.hears(5, VOICE, comes=True)
