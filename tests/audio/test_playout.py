"""The playout as a ledger: what left, what was heard of which part, what began and what ended."""

import pytest

from gateway.audio.formats import PCM24K, PCMU, AudioFormat
from gateway.audio.loop import Loop
from gateway.audio.playout import Heard, ItemPart, Playout, Started, Stopped

pytestmark = pytest.mark.pure

FRAME = 160
MS = 8  # bytes of PCMU per millisecond
SILENCE = PCMU.silence(FRAME)

HELLO = ItemPart("resp_1", "item_1", 0)
THERE = ItemPart("resp_1", "item_2", 0)
AGAIN = ItemPart("resp_2", "item_3", 0)


def voice(mark: int, ms: float) -> bytes:
    """Audio of one part, recognisable by its byte."""
    return bytes([mark]) * int(ms * MS)


def frames(playout: Playout, count: int) -> list[bytes | None]:
    return [playout.pull() for _ in range(count)]


def test_audio_leaves_in_frames_and_in_order() -> None:
    playout = Playout(PCMU)
    audio = bytes(range(200)) * 8
    playout.push(HELLO, audio[:500])
    playout.push(HELLO, audio[500:])
    assert b"".join(frame or b"" for frame in frames(playout, 10)) == audio
    assert playout.pull() is None


def test_nothing_to_say() -> None:
    playout = Playout(PCMU)
    assert playout.pull() is None
    assert playout.marks() == []
    assert playout.clear() == []
    assert playout.playing is None
    assert playout.buffered_ms == 0
    playout.push(HELLO, b"")
    assert playout.pull() is None
    assert playout.clear() == []


def test_the_end_of_a_finished_part_is_filled_with_silence() -> None:
    playout = Playout(PCMU)
    playout.push(HELLO, voice(1, 25))
    playout.finish(HELLO)
    assert frames(playout, 3) == [voice(1, 20), voice(1, 5) + SILENCE[: 15 * MS], None]
    assert playout.marks() == [Started(HELLO), Stopped(HELLO)]
    assert playout.clear() == []


def test_the_end_of_an_unfinished_part_waits() -> None:
    playout = Playout(PCMU)
    playout.push(HELLO, voice(1, 25))
    assert frames(playout, 3) == [voice(1, 20), None, None]
    assert playout.buffered_ms == 5
    playout.push(HELLO, voice(2, 10))
    assert playout.pull() is None
    playout.push(HELLO, voice(3, 6))
    assert playout.pull() == voice(1, 5) + voice(2, 10) + voice(3, 5)
    playout.finish(HELLO)
    assert playout.pull() == voice(3, 1) + SILENCE[: 19 * MS]
    assert playout.pull() is None


def test_the_next_part_fills_the_last_frame_of_the_one_before() -> None:
    playout = Playout(PCMU)
    playout.push(HELLO, voice(1, 25))
    playout.finish(HELLO)
    playout.push(THERE, voice(2, 25))
    assert frames(playout, 2) == [voice(1, 20), voice(1, 5) + voice(2, 15)]
    assert playout.playing == THERE
    assert playout.clear() == [Heard(THERE, 15, 25)]


def test_several_short_parts_share_a_frame() -> None:
    playout = Playout(PCMU)
    for mark, part in ((1, HELLO), (2, THERE), (3, AGAIN)):
        playout.push(part, voice(mark, 5))
        playout.finish(part)
    assert playout.pull() == voice(1, 5) + voice(2, 5) + voice(3, 5) + SILENCE[: 5 * MS]
    assert playout.marks() == [Started(HELLO), Stopped(THERE), Started(AGAIN), Stopped(AGAIN)]
    assert playout.clear() == []


def test_a_finished_end_waits_for_the_frame_that_the_next_part_is_filling() -> None:
    playout = Playout(PCMU)
    playout.push(HELLO, voice(1, 5))
    playout.finish(HELLO)
    playout.push(THERE, voice(2, 5))
    assert playout.pull() is None
    playout.push(THERE, voice(3, 10))
    assert playout.pull() == voice(1, 5) + voice(2, 5) + voice(3, 10)


def test_a_part_that_ends_with_a_frame_ends_with_that_pull() -> None:
    playout = Playout(PCMU)
    playout.push(HELLO, voice(1, 40))
    playout.finish(HELLO)
    playout.pull()
    assert playout.marks() == [Started(HELLO)]
    assert playout.playing == HELLO
    playout.pull()
    assert playout.marks() == [Stopped(HELLO)]
    assert playout.playing is None
    assert playout.clear() == []
    assert playout.pull() is None


def test_finish_after_the_last_pull() -> None:
    playout = Playout(PCMU)
    playout.push(HELLO, voice(1, 40))
    assert frames(playout, 3) == [voice(1, 20), voice(1, 20), None]
    assert playout.marks() == [Started(HELLO)]
    assert playout.playing == HELLO
    playout.finish(HELLO)
    assert playout.marks() == [Stopped(HELLO)]
    assert playout.playing is None
    playout.finish(HELLO)
    assert playout.marks() == []


def test_finish_without_audio_does_nothing() -> None:
    playout = Playout(PCMU)
    playout.finish(HELLO)
    playout.push(HELLO, b"")
    playout.finish(HELLO)
    assert playout.marks() == []
    assert playout.clear() == []
    playout.push(HELLO, voice(1, 20))  # it was not finished in advance
    playout.pull()
    assert playout.marks() == [Started(HELLO)]


def test_audio_after_finish_opens_the_part_again() -> None:
    playout = Playout(PCMU)
    playout.push(HELLO, voice(1, 30))
    playout.finish(HELLO)
    playout.push(HELLO, voice(2, 5))
    assert frames(playout, 2) == [voice(1, 20), None]
    assert playout.clear() == [Heard(HELLO, 20, 35)]


def test_an_underrun_in_mid_part_keeps_the_count() -> None:
    playout = Playout(PCMU)
    playout.push(HELLO, voice(1, 20))
    assert frames(playout, 4) == [voice(1, 20), None, None, None]
    playout.push(HELLO, voice(2, 40))
    assert playout.pull() == voice(2, 20)
    assert playout.marks() == [Started(HELLO)]
    assert playout.clear() == [Heard(HELLO, 40, 60)]


def test_parts_do_not_overtake_each_other() -> None:
    """Two responses generated at the same time are said one after the other."""
    playout = Playout(PCMU)
    for _ in range(3):
        playout.push(HELLO, voice(1, 20))
        playout.push(AGAIN, voice(2, 20))
    playout.finish(AGAIN)
    playout.finish(HELLO)
    assert frames(playout, 6) == [voice(1, 20)] * 3 + [voice(2, 20)] * 3
    assert playout.marks() == [Started(HELLO), Stopped(HELLO), Started(AGAIN), Stopped(AGAIN)]


def test_a_part_that_runs_dry_gives_way_and_queues_up_again() -> None:
    playout = Playout(PCMU)
    playout.push(HELLO, voice(1, 25))
    playout.push(AGAIN, voice(2, 55))
    assert frames(playout, 2) == [voice(1, 20), voice(1, 5) + voice(2, 15)]
    playout.push(HELLO, voice(3, 20))
    assert playout.playing == AGAIN
    assert frames(playout, 2) == [voice(2, 20), voice(2, 20)]
    assert playout.pull() == voice(3, 20)
    assert playout.marks() == [Started(HELLO), Started(AGAIN)]
    assert playout.clear() == [Heard(HELLO, 45, 45), Heard(AGAIN, 55, 55)]


def test_a_part_that_nobody_finishes_does_not_block_the_line() -> None:
    playout = Playout(PCMU)
    playout.push(HELLO, voice(1, 20))
    playout.pull()
    playout.push(AGAIN, voice(2, 25))
    playout.finish(AGAIN)
    assert frames(playout, 2) == [voice(2, 20), voice(2, 5) + SILENCE[: 15 * MS]]
    assert playout.clear() == [Heard(HELLO, 20, 20)]


def test_a_response_of_two_items_starts_and_stops_once() -> None:
    playout = Playout(PCMU)
    for part in (HELLO, THERE):
        playout.push(part, voice(1, 20))
        playout.finish(part)
    frames(playout, 2)
    assert playout.marks() == [Started(HELLO), Stopped(THERE)]


def test_a_response_whose_next_item_comes_late_starts_again() -> None:
    playout = Playout(PCMU)
    playout.push(HELLO, voice(1, 20))
    playout.finish(HELLO)
    playout.pull()
    playout.push(THERE, voice(1, 20))
    playout.finish(THERE)
    playout.pull()
    assert playout.marks() == [Started(HELLO), Stopped(HELLO), Started(THERE), Stopped(THERE)]


def test_a_response_stops_when_its_last_part_is_finished() -> None:
    playout = Playout(PCMU)
    playout.push(HELLO, voice(1, 20))
    playout.push(THERE, voice(1, 20))
    playout.finish(THERE)
    frames(playout, 3)
    assert playout.marks() == [Started(HELLO)]
    playout.finish(HELLO)
    assert playout.marks() == [Stopped(HELLO)]


def test_marks_are_told_once() -> None:
    playout = Playout(PCMU)
    playout.push(HELLO, voice(1, 20))
    playout.pull()
    assert playout.marks() == [Started(HELLO)]
    assert playout.marks() == []


def test_the_background_gives_way_in_the_very_next_frame() -> None:
    playout = Playout(PCMU)
    playout.background = Loop(voice(8, 30) + voice(9, 30))
    assert frames(playout, 2) == [voice(8, 20), voice(8, 10) + voice(9, 10)]
    playout.push(HELLO, voice(1, 20))
    playout.finish(HELLO)
    assert playout.pull() == voice(1, 20)
    assert playout.pull() == voice(9, 20)
    playout.background = None
    assert playout.pull() is None


def test_the_background_is_no_part_of_what_was_heard() -> None:
    playout = Playout(PCMU)
    playout.background = Loop(voice(9, 20))
    playout.pull()
    playout.push(HELLO, voice(1, 30))
    assert frames(playout, 3) == [voice(1, 20), voice(9, 20), voice(9, 20)]
    assert playout.buffered_ms == 10
    assert playout.marks() == [Started(HELLO)]
    assert playout.clear() == [Heard(HELLO, 20, 30)]
    assert playout.pull() == voice(9, 20)


class TestClear:
    """The races of an interruption."""

    def test_before_any_frame_left(self) -> None:
        playout = Playout(PCMU)
        playout.push(HELLO, voice(1, 400))
        assert playout.clear() == [Heard(HELLO, 0, 400)]
        assert playout.marks() == []

    def test_while_it_is_generated(self) -> None:
        playout = Playout(PCMU)
        playout.push(HELLO, voice(1, 400))
        frames(playout, 3)
        assert playout.clear() == [Heard(HELLO, 60, 400)]

    def test_generated_to_its_end_and_still_playing(self) -> None:
        playout = Playout(PCMU)
        playout.push(HELLO, voice(1, 400))
        playout.finish(HELLO)
        frames(playout, 3)
        assert playout.clear() == [Heard(HELLO, 60, 400)]
        assert frames(playout, 2) == [None, None]

    def test_all_of_it_played_but_not_finished(self) -> None:
        playout = Playout(PCMU)
        playout.push(HELLO, voice(1, 40))
        frames(playout, 5)
        assert playout.clear() == [Heard(HELLO, 40, 40)]

    def test_heard_to_its_end(self) -> None:
        playout = Playout(PCMU)
        playout.push(HELLO, voice(1, 40))
        playout.finish(HELLO)
        frames(playout, 2)
        assert playout.clear() == []

    def test_with_others_waiting(self) -> None:
        playout = Playout(PCMU)
        for part in (HELLO, THERE, AGAIN):
            playout.push(part, voice(1, 40))
        playout.finish(HELLO)
        playout.finish(THERE)
        frames(playout, 3)
        assert playout.clear() == [Heard(THERE, 20, 40), Heard(AGAIN, 0, 40)]

    def test_milliseconds_are_rounded_down(self) -> None:
        playout = Playout(PCMU)
        playout.push(HELLO, voice(1, 0.5))
        playout.finish(HELLO)
        playout.push(THERE, voice(1, 40))
        playout.pull()
        assert playout.clear() == [Heard(THERE, 19, 40)]

    def test_filled_silence_is_not_heard(self) -> None:
        playout = Playout(PCM24K, frame_samples=480)
        playout.push(HELLO, bytes(25 * 48))
        playout.finish(HELLO)
        frames(playout, 2)
        playout.push(HELLO, bytes(48))
        assert playout.clear() == [Heard(HELLO, 0, 1)]

    def test_no_stop_for_what_was_cleared_and_finish_is_too_late(self) -> None:
        playout = Playout(PCMU)
        playout.push(HELLO, voice(1, 40))
        playout.push(THERE, voice(1, 40))
        playout.pull()
        playout.clear()
        playout.finish(HELLO)
        playout.finish(THERE)
        assert playout.marks() == [Started(HELLO)]
        assert playout.clear() == []
        assert playout.playing is None

    def test_the_next_response_starts_fresh(self) -> None:
        playout = Playout(PCMU)
        playout.push(HELLO, voice(1, 30))
        playout.pull()
        playout.clear()
        playout.push(AGAIN, voice(2, 20))
        assert playout.pull() == voice(2, 20)
        assert playout.marks() == [Started(HELLO), Started(AGAIN)]
        playout.push(HELLO, voice(3, 40))  # late audio, if nobody stops it, counts from zero
        assert playout.pull() == voice(3, 20)
        assert playout.clear() == [Heard(HELLO, 20, 40), Heard(AGAIN, 20, 20)]


def test_parts_are_compared_by_value() -> None:
    playout = Playout(PCMU)
    playout.push(ItemPart("r", "i", 0), voice(1, 10))
    playout.push(ItemPart("r", "i", 0), voice(1, 10))
    playout.push(ItemPart("r", "i", 1), voice(2, 10))
    playout.finish(ItemPart("r", "i", 0))
    playout.pull()
    assert playout.clear() == [Heard(ItemPart("r", "i", 1), 0, 10)]


def test_what_exceeds_the_limit_is_dropped_and_counted() -> None:
    playout = Playout(PCMU, limit_ms=100)
    playout.push(HELLO, voice(1, 80))
    playout.push(HELLO, voice(2, 60))
    assert playout.buffered_ms == 100
    assert playout.dropped_ms == 40
    assert frames(playout, 6) == [voice(1, 20)] * 4 + [voice(2, 20), None]
    playout.push(HELLO, voice(3, 20))  # there is room, but the part has lost its middle
    assert playout.pull() is None
    assert playout.dropped_ms == 60
    assert playout.clear() == [Heard(HELLO, 100, 160)]
    playout.push(AGAIN, voice(4, 20))
    assert playout.pull() == voice(4, 20)


def test_the_limit_counts_what_waits_not_what_has_gone() -> None:
    playout = Playout(PCMU, limit_ms=100)
    for _ in range(50):
        playout.push(HELLO, voice(1, 20))
        playout.push(HELLO, voice(1, 20))
        frames(playout, 2)
    playout.push(HELLO, voice(1, 100))
    playout.pull()
    playout.push(HELLO, voice(1, 20))
    assert playout.dropped_ms == 0
    assert playout.buffered_ms == 100


def test_a_part_lost_wholly_to_the_limit_is_pending_with_nothing_heard() -> None:
    playout = Playout(PCMU, limit_ms=20)
    playout.push(HELLO, voice(1, 20))
    playout.push(THERE, voice(2, 20))
    assert frames(playout, 2) == [voice(1, 20), None]
    assert playout.clear() == [Heard(HELLO, 20, 20), Heard(THERE, 0, 20)]
    playout.push(HELLO, voice(1, 20))
    playout.push(AGAIN, voice(2, 20))
    playout.finish(AGAIN)
    playout.finish(HELLO)
    playout.pull()
    assert playout.marks() == [Started(HELLO), Started(HELLO), Stopped(HELLO)]


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="whole samples"):
        Playout(PCM24K, frame_samples=480).push(HELLO, b"abc")


@pytest.mark.parametrize(
    ("format", "frame_samples"), [(PCMU, 80), (PCMU, 240), (PCMU, 480), (PCM24K, 480)]
)
def test_any_frame_length(format: AudioFormat, frame_samples: int) -> None:
    playout = Playout(format, frame_samples=frame_samples)
    size = frame_samples * format.bytes_per_sample
    playout.push(HELLO, bytes(3 * size - format.bytes_per_sample))
    playout.finish(HELLO)
    assert [len(frame or b"") for frame in frames(playout, 4)] == [size, size, size, 0]
