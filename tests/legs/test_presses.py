"""Keys that come in several ways: each press once, none lost."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.legs.presses import Presses, Way
from gateway.sip.info_keys import key_in, relay_body

pytestmark = pytest.mark.pure

WAYS: Sequence[Way] = ("event", "info", "tone")


def test_one_press_in_three_ways_is_one() -> None:
    presses = Presses()
    assert [presses.is_new("5", way, at) for way, at in zip(WAYS, (0, 0.3, 0.06), strict=True)] == [
        True,
        False,
        False,
    ]


def test_two_presses_in_two_ways_are_two() -> None:
    presses = Presses()
    heard = [("event", 0.0), ("info", 0.2), ("event", 0.4), ("info", 0.6)]
    assert [presses.is_new("5", way, at) for way, at in heard] == [True, False, True, False]  # type: ignore[arg-type]


def test_infos_that_come_after_both_presses() -> None:
    presses = Presses()
    heard = [("event", 0.0), ("event", 0.3), ("info", 0.5), ("info", 0.6)]
    assert [presses.is_new("5", way, at) for way, at in heard] == [True, True, False, False]  # type: ignore[arg-type]


def test_much_later_it_is_another_press() -> None:
    presses = Presses()
    assert presses.is_new("5", "event", 0.0) and presses.is_new("5", "info", 10.0)


@given(
    st.lists(st.tuples(st.sampled_from("0123456789*#ABCD"), st.floats(0.1, 3)), max_size=40),
    st.sets(st.sampled_from(WAYS), min_size=1),
    st.data(),
)
def test_each_press_is_told_once_whatever_ways_it_comes(
    typed: list[tuple[str, float]], ways: set[Way], data: st.DataObject
) -> None:
    """A telephone says each press in the same ways, each with a delay of its own."""
    delays = {way: data.draw(st.floats(0, 0.4)) for way in sorted(ways)}
    now, heard = 0.0, []
    for key, pause in typed:
        now += pause
        heard += [(now + delay, key, way) for way, delay in delays.items()]
    presses = Presses()
    told = [key for at, key, way in sorted(heard) if presses.is_new(key, way, at)]
    assert sorted(told) == sorted(key for key, _ in typed)


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b"Signal=5\r\nDuration=160\r\n", "5"),
        (b"Signal= 5\nDuration= 160\n", "5"),
        (b"Duration=100\r\nSignal=*\r\n", "*"),
        (b"signal=#", "#"),
        (b"Signal=11\r\nDuration=250", "#"),
        (b"Signal=10", "*"),
        (b"Signal=d\r\n", "D"),
        (b"Signal: 7\r\n", "7"),
        (b"Signal=\r\n", None),
        (b"Signal=55\r\n", None),
        (b"Signal=16\r\n", None),
        (b"Duration=160\r\n", None),
        (b"", None),
        (b"Signal=5" + b" " * 2000, None),
    ],
)
def test_relay_bodies(body: bytes, key: str | None) -> None:
    assert key_in("application/dtmf-relay", body) == key


@pytest.mark.parametrize(
    ("body", "key"),
    [(b"5", "5"), (b"5\r\n", "5"), (b" # ", "#"), (b"a", "A"), (b"", None), (b"\xff", None)],
)
def test_plain_bodies(body: bytes, key: str | None) -> None:
    assert key_in("application/dtmf", body) == key


def test_what_we_write_is_read() -> None:
    for key in "0123456789*#ABCD":
        assert key_in("application/dtmf-relay", relay_body(key, 160)) == key


@given(st.binary(max_size=300), st.sampled_from(("application/dtmf", "application/dtmf-relay")))
def test_any_bytes_are_a_key_or_none(body: bytes, kind: str) -> None:
    key = key_in(kind, body)
    assert key is None or (len(key) == 1 and key in "0123456789*#ABCD")
