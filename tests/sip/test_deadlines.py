"""The heap of deadlines: order, cancelling, and what cancelled ones cost."""

import random
from collections.abc import Callable

import pytest

from gateway.sip.deadlines import Deadlines

pytestmark = pytest.mark.pure


def test_fires_in_order_of_time_and_then_of_setting() -> None:
    fired: list[str] = []
    deadlines = Deadlines()

    def due(name: str) -> Callable[[float], None]:
        return lambda _: fired.append(name)

    for when, name in [(3.0, "c"), (1.0, "a"), (3.0, "d"), (2.0, "b"), (9.0, "later")]:
        deadlines.set(when, due(name))
    assert deadlines.next() == 1.0
    deadlines.run(3.0)
    assert fired == ["a", "b", "c", "d"]
    assert deadlines.next() == 9.0
    assert len(deadlines) == 1


def test_a_deadline_may_set_and_cancel_others() -> None:
    fired: list[float] = []
    deadlines = Deadlines()

    def set_another(now: float) -> None:
        deadlines.set(now, fired.append)

    victim = deadlines.set(2.0, fired.append)
    deadlines.set(1.0, lambda now: deadlines.cancel(victim))
    deadlines.set(1.0, set_another)
    deadlines.run(5.0)
    assert fired == [5.0]
    assert deadlines.next() is None


def test_cancelling_twice_or_after_firing_is_nothing() -> None:
    deadlines = Deadlines()
    one = deadlines.set(1.0, lambda _: None)
    deadlines.cancel(one)
    deadlines.cancel(one)
    two = deadlines.set(1.0, lambda _: None)
    deadlines.run(1.0)
    deadlines.cancel(two)
    assert len(deadlines) == 0
    assert deadlines.next() is None


def test_cancelled_deadlines_do_not_pile_up() -> None:
    rng = random.Random(3)
    deadlines = Deadlines()
    fired: list[float] = []
    alive = {when: deadlines.set(when, fired.append) for when in map(float, range(10, 60))}
    for _ in range(20_000):
        deadlines.cancel(deadlines.set(100 + rng.random(), fired.append))
    assert len(deadlines) == len(alive)
    assert len(deadlines._heap) < 400
    deadlines.run(1000.0)
    assert len(fired) == len(alive)
