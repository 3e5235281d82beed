"""The one timer of a pure core, kept where its `next_timeout()` says.

alarm = Alarm(core_timeout)     # called with `now`
... after each input of the core: alarm.set(core.next_timeout())
"""

import asyncio
from collections.abc import Callable


class Alarm:
    """Calls `due(now)` once when the deadline that was set last has come.

    It may come a little early with nothing due: an alarm that is set to a later time is left where
    it is, which is cheaper than moving it. `due` is expected to set it again.
    """

    def __init__(self, due: Callable[[float], None]) -> None:
        self._due = due
        self._loop = asyncio.get_running_loop()
        self._deadline = 0.0
        self._handle: asyncio.Handle | None = None

    def set(self, deadline: float | None) -> None:
        """Move to `deadline`, in the loop's time; None for never."""
        if self._handle is not None:
            if deadline is not None and self._deadline <= deadline:
                return
            self.cancel()
        if deadline is not None:
            self._deadline = deadline
            self._handle = self._loop.call_at(deadline, self._fire)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        # uvloop's clock has whole milliseconds and may fire within the one before the deadline; a
        # core that is told so would find nothing due, and be asked again at once.
        self._due(max(self._loop.time(), self._deadline))
