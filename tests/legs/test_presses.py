"""Keys that come in several ways: each press once, none lost."""

from collections import Counter, deque
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.legs.presses import Presses, Way, held_s
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


@pytest.mark.parametrize("way", ["event", "tone"])
def test_a_key_held_for_long_whose_info_comes_when_it_is_let_go(way: Way) -> None:
    presses = Presses()
    assert presses.is_new("5", way, 0.0)
    assert not presses.is_new("5", "info", 8.5, held_s(b"Signal=5\r\nDuration=8300\r\n"))
    assert presses.is_new("5", "info", 9.5, held_s(b"Signal=5\r\nDuration=100\r\n"))


@pytest.mark.parametrize(
    ("body", "held"),
    [
        (b"Signal=5\r\nDuration=160\r\n", 0.16),
        (b"Signal= 5\nduration : 2500 \n", 2.5),
        (b"Duration=99999", 99.999),
        (b"Duration=100000\r\n", 0.0),
        (b"Duration=-5\r\n", 0.0),
        (b"Signal=5\r\n", 0.0),
        (b"5", 0.0),
    ],
)
def test_how_long_an_info_says_a_key_was_held(body: bytes, held: float) -> None:
    assert held_s(body) == held


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


class Telephone(RuleBasedStateMachine):
    """Says each press in the same ways, each way in its order and with delays as they come."""

    @initialize(ways=st.sets(st.sampled_from(WAYS), min_size=1))
    def begin(self, ways: set[Way]) -> None:
        self.presses = Presses()
        self.now = 100.0
        self.told: Counter[str] = Counter()
        self.arrived: Counter[tuple[str, Way]] = Counter()
        self.on_the_way: dict[Way, deque[tuple[str, float]]] = {way: deque() for way in ways}

    @rule(key=st.sampled_from("01#"))
    def press(self, key: str) -> None:
        """Nobody presses more than twenty keys a second."""
        self.let_pass(0.05)
        for way in self.on_the_way:
            self.on_the_way[way].append((key, self.now))

    @rule(data=st.data(), again=st.integers(1, 3))
    def arrive(self, data: st.DataObject, again: int) -> None:
        way = data.draw(st.sampled_from(sorted(self.on_the_way)))
        for _ in range(min(again, len(self.on_the_way[way]))):
            self.hear(way)

    @rule(passes=st.floats(0.01, 0.6))
    def wait(self, passes: float) -> None:
        self.let_pass(passes)

    def let_pass(self, passes: float) -> None:
        """Nothing is on its way for longer than a second."""
        self.now += passes
        for way, keys in self.on_the_way.items():
            while keys and self.now - keys[0][1] > 1.0:
                self.hear(way)

    def hear(self, way: Way) -> None:
        key, _ = self.on_the_way[way].popleft()
        self.arrived[key, way] += 1
        self.told[key] += self.presses.is_new(key, way, self.now)

    @invariant()
    def each_press_is_told_as_soon_as_it_has_come_one_way(self) -> None:
        for key in "01#":
            ways = self.on_the_way
            assert self.told[key] == max(self.arrived[key, way] for way in ways)


TestTelephone = Telephone.TestCase
TestTelephone.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)


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
    assert 0 <= held_s(body) < 100
    key = key_in(kind, body)
    assert key is None or (len(key) == 1 and key in "0123456789*#ABCD")
