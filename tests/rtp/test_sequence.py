import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rtp.sequence import sequence_delta, timestamp_delta

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("later", "earlier", "delta"),
    [(1, 0, 1), (0, 65535, 1), (65535, 0, -1), (5, 65530, 11), (0x8000, 0, -0x8000), (7, 7, 0)],
)
def test_sequence_numbers_wrap(later: int, earlier: int, delta: int) -> None:
    assert sequence_delta(later, earlier) == delta


@pytest.mark.parametrize(
    ("later", "earlier", "delta"),
    [(160, 0, 160), (100, 2**32 - 60, 160), (2**32 - 60, 100, -160), (2**31, 0, -(2**31))],
)
def test_timestamps_wrap(later: int, earlier: int, delta: int) -> None:
    assert timestamp_delta(later, earlier) == delta


@given(st.integers(0, 0xFFFF), st.integers(-0x8000, 0x7FFF))
def test_a_sequence_delta_is_what_was_added(start: int, step: int) -> None:
    assert sequence_delta((start + step) & 0xFFFF, start) == step


@given(st.integers(0, 0xFFFFFFFF), st.integers(-(2**31), 2**31 - 1))
def test_a_timestamp_delta_is_what_was_added(start: int, step: int) -> None:
    assert timestamp_delta((start + step) & 0xFFFFFFFF, start) == step


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_a_delta_turns_round_with_its_arguments(a: int, b: int) -> None:
    if (a - b) & 0xFFFF != 0x8000:
        assert sequence_delta(a, b) == -sequence_delta(b, a)
