"""Turn detection from synthetic probabilities."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.backend.turns import TurnDetector, TurnSettings, TurnStarted, TurnStopped

pytestmark = pytest.mark.pure

WINDOW_MS = 32


def changes(detector: TurnDetector, probabilities: list[float]) -> list[TurnStarted | TurnStopped]:
    heard = [detector.voice(probability) for probability in probabilities]
    return [change for change in heard if change is not None]


def test_a_turn_starts_with_its_padding_and_ends_after_its_silence() -> None:
    detector = TurnDetector(TurnSettings(), 0)
    quiet, speech, silence = [0.0] * 20, [0.8] * 31, [0.0] * 16
    assert changes(detector, quiet) == []
    assert changes(detector, speech) == [TurnStarted(21 * WINDOW_MS - 300)]
    assert detector.speaking
    assert changes(detector, silence[:-1]) == []
    assert changes(detector, silence[-1:]) == [TurnStopped(67 * WINDOW_MS, 31 * WINDOW_MS)]
    assert not detector.speaking


def test_no_turn_starts_before_its_origin_nor_within_the_one_before() -> None:
    detector = TurnDetector(TurnSettings(prefix_padding_ms=1000), 5000)
    assert changes(detector, [0.9]) == [TurnStarted(5000)]
    (stopped,) = changes(detector, [0.0] * 16)
    assert isinstance(stopped, TurnStopped)
    assert changes(detector, [0.9]) == [TurnStarted(stopped.audio_end_ms)]


def test_a_probability_about_the_threshold_neither_starts_nor_ends_anything() -> None:
    detector = TurnDetector(TurnSettings(threshold=0.5), 0)
    assert changes(detector, [0.49] * 100) == []
    assert len(changes(detector, [0.5])) == 1
    assert changes(detector, [0.4] * 100) == []
    # Once silence has begun, wavering belongs to it.
    assert len(changes(detector, [0.34] + [0.4] * 15)) == 1


def test_speech_within_the_silence_starts_it_anew() -> None:
    detector = TurnDetector(TurnSettings(), 0)
    changes(detector, [0.9])
    assert changes(detector, ([0.0] * 15 + [0.9]) * 5) == []
    (stopped,) = changes(detector, [0.0] * 16)
    assert isinstance(stopped, TurnStopped)
    assert stopped.speech_ms == 81 * WINDOW_MS


def test_every_turn_needs_its_own_silence() -> None:
    detector = TurnDetector(TurnSettings(), 0)
    for _ in range(3):
        assert len(changes(detector, [0.9])) == 1
        assert changes(detector, [0.0] * 15) == []
        assert len(changes(detector, [0.0])) == 1


def test_settings_count_as_soon_as_they_are_set() -> None:
    detector = TurnDetector(TurnSettings(threshold=0.9), 0)
    assert changes(detector, [0.8]) == []
    detector.settings = TurnSettings(threshold=0.7, silence_duration_ms=0)
    assert len(changes(detector, [0.8])) == 1
    assert len(changes(detector, [0.0])) == 1


@pytest.mark.parametrize("threshold", [0.0, 0.1, 1.0])
def test_extreme_thresholds(threshold: float) -> None:
    detector = TurnDetector(TurnSettings(threshold=threshold), 0)
    assert len(changes(detector, [1.0])) == 1
    ended = changes(detector, [0.0] * 16)
    assert len(ended) == (0 if threshold == 0 else 1)  # at 0 everything is speech


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 30)), max_size=30),
    st.integers(0, 1000),
    st.integers(0, 1000),
)
def test_turns_alternate_and_never_overlap(
    runs: list[tuple[float, int]], padding_ms: int, silence_ms: int
) -> None:
    turn_settings = TurnSettings(prefix_padding_ms=padding_ms, silence_duration_ms=silence_ms)
    detector = TurnDetector(turn_settings, 100)
    heard = changes(detector, [p for p, length in runs for _ in range(length)])
    end_ms = 100
    for number, change in enumerate(heard):
        if number % 2 == 0:
            assert isinstance(change, TurnStarted)
            assert end_ms <= change.audio_start_ms
            start_ms = change.audio_start_ms
        else:
            assert isinstance(change, TurnStopped)
            assert (change.audio_end_ms - 100) % WINDOW_MS == 0
            end_ms = change.audio_end_ms
            assert WINDOW_MS <= change.speech_ms <= end_ms - max(silence_ms, WINDOW_MS) - 100
            assert end_ms - start_ms >= change.speech_ms
