"""The one media clock of the process.

Every leg sends a frame each 20 ms. A timer per call would cost more than the sending, so one timer
ticks every 5 ms and serves a quarter of the legs at a time: a new leg joins the least crowded
quarter. Deadlines are absolute, so lateness never adds up; after a stall the missed ticks are made
up for, unless it was so long that the callers' jitter buffers have run dry anyway.
"""

import asyncio
from typing import Protocol

FRAME_S = 0.020
_SLOTS = 4
_TICK_S = FRAME_S / _SLOTS
_STALL_S = 0.200


class Ticked(Protocol):
    """What the clock drives."""

    def tick(self) -> None:
        """20 ms have passed."""

    def skip(self, ticks: int) -> None:
        """This many ticks were missed and will not be made up for."""

    def failed(self, error: Exception) -> None:
        """`tick` raised this."""


class Pacer:
    """Calls `tick()` on everything added, every 20 ms, until it is removed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._slots: list[list[Ticked]] = [[] for _ in range(_SLOTS)]
        self._slot = 0
        self._next = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.late_s = 0.0
        """How late the latest tick was."""
        self.stalls = 0
        """Times that the clock was held up for so long that frames were skipped."""

    def add(self, port: Ticked) -> None:
        min(self._slots, key=len).append(port)
        if self._timer is None:
            self._next = self._loop.time() + _TICK_S
            self._timer = self._loop.call_at(self._next, self._tick)

    def remove(self, port: Ticked) -> None:
        """Stop ticking `port`; nothing happens when it was not added."""
        for slot in self._slots:
            if port in slot:
                slot.remove(port)
        if self._timer is not None and not any(self._slots):
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        late_s = self._loop.time() - self._next
        self.late_s = max(late_s, 0.0)
        if late_s > _STALL_S:
            self.stalls += 1
            missed = round(late_s / FRAME_S)
            self._next += missed * FRAME_S
            for slot in self._slots:
                for port in slot:
                    port.skip(missed)
        self._next += _TICK_S
        self._timer = self._loop.call_at(self._next, self._tick)
        self._slot = (self._slot + 1) % _SLOTS
        # A copy: a tick may end a call, which removes its port.
        for port in tuple(self._slots[self._slot]):
            try:
                port.tick()
            except Exception as error:
                port.failed(error)  # the clock serves the others too
