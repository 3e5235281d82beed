"""The media clock, in virtual time."""

import asyncio
from collections.abc import Callable

import pytest

from gateway.legs.pacer import FRAME_S, Pacer

pytestmark = pytest.mark.pure


class Timer:
    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class VirtualLoop:
    """As much of an event loop as the pacer uses."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(when, call))
        return self.timers[-1]

    def run_until(self, end: float, late: Callable[[], float] = lambda: 0.0) -> None:
        while due := [timer for timer in self.timers if not timer.cancelled and timer.when <= end]:
            timer = min(due, key=lambda timer: timer.when)
            self.timers.remove(timer)
            self.now = max(self.now, timer.when + late())
            timer.call()
        self.now = max(self.now, end)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> VirtualLoop:
    loop = VirtualLoop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return loop


class Port:
    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.ticked: list[float] = []
        self.skipped = 0
        self.failures: list[Exception] = []

    def tick(self) -> None:
        self.ticked.append(self._loop.now)

    def skip(self, ticks: int) -> None:
        self.skipped += ticks

    def failed(self, error: Exception) -> None:
        self.failures.append(error)


def test_a_port_is_ticked_every_20_ms(loop: VirtualLoop) -> None:
    pacer, port = Pacer(), Port(loop)
    pacer.add(port)
    loop.run_until(101.0)
    assert len(port.ticked) == 50
    steps = [b - a for a, b in zip(port.ticked, port.ticked[1:], strict=False)]
    assert all(abs(step - FRAME_S) < 1e-6 for step in steps)


def test_ports_are_spread_over_the_slots(loop: VirtualLoop) -> None:
    pacer, ports = Pacer(), [Port(loop) for _ in range(8)]
    for port in ports:
        pacer.add(port)
    loop.run_until(100.0 + FRAME_S)
    moments = sorted(port.ticked[0] for port in ports)
    assert [round((moment - 100) * 1000) for moment in moments] == [5, 5, 10, 10, 15, 15, 20, 20]


def test_lateness_does_not_add_up(loop: VirtualLoop) -> None:
    pacer, port = Pacer(), Port(loop)
    pacer.add(port)
    loop.run_until(110.0, late=lambda: 0.004)
    assert len(port.ticked) == 500
    assert port.ticked[-1] - port.ticked[0] == pytest.approx(499 * FRAME_S, abs=0.005)
    assert pacer.late_s == pytest.approx(0.004)


def test_a_short_stall_is_made_up_for(loop: VirtualLoop) -> None:
    pacer, port = Pacer(), Port(loop)
    pacer.add(port)
    loop.run_until(100.1)
    loop.now += 0.1
    loop.run_until(101.0)
    assert len(port.ticked) == 50
    assert pacer.stalls == 0


def test_after_a_long_stall_the_clock_starts_anew(loop: VirtualLoop) -> None:
    pacer, port = Pacer(), Port(loop)
    pacer.add(port)
    loop.run_until(100.1)
    loop.now += 1.0
    loop.run_until(102.1)
    assert 54 <= len(port.ticked) <= 56
    assert len(port.ticked) + port.skipped == pytest.approx(105, abs=1)
    assert pacer.stalls == 1


def test_the_clock_stands_still_when_nobody_needs_it(loop: VirtualLoop) -> None:
    pacer, port = Pacer(), Port(loop)
    pacer.add(port)
    loop.run_until(100.1)
    pacer.remove(port)
    pacer.remove(port)
    assert all(timer.cancelled for timer in loop.timers)
    count = len(port.ticked)
    loop.run_until(101.0)
    assert len(port.ticked) == count
    pacer.add(port)
    loop.run_until(101.1)
    assert len(port.ticked) == count + 5


def test_a_port_may_leave_while_it_is_ticked(loop: VirtualLoop) -> None:
    pacer = Pacer()

    class Leaving(Port):
        def tick(self) -> None:
            super().tick()
            pacer.remove(self)

    ports = [Leaving(loop) for _ in range(8)]
    for port in ports:
        pacer.add(port)
    loop.run_until(101.0)
    assert [len(port.ticked) for port in ports] == [1] * 8


def test_a_port_that_fails_hurts_no_other(loop: VirtualLoop) -> None:
    pacer = Pacer()

    class Broken(Port):
        def tick(self) -> None:
            raise RuntimeError("a defect")

    ports = [Broken(loop), *(Port(loop) for _ in range(7))]
    for port in ports:
        pacer.add(port)
    loop.run_until(101.0)
    assert [len(port.ticked) for port in ports] == [0] + [50] * 7
    assert len(ports[0].failures) == 50
