"""Everything that has to happen later, of all calls of one agent, in one heap.

SIP cancels nearly every timer it starts: an answer comes, a call ends. Cancelling therefore only
empties the entry, which stays in the heap until it comes to the top (lazy deletion); when more
than half of the heap is such husks it is rebuilt. Setting costs O(log n), cancelling and asking
for the next deadline O(1) on average.
"""

import heapq
import itertools
from collections.abc import Callable

_REBUILD_FROM = 64


class Deadline:
    """One thing to do at one time, unless it is cancelled first."""

    __slots__ = ("due",)

    def __init__(self, due: Callable[[float], None]) -> None:
        self.due: Callable[[float], None] | None = due


class Deadlines:
    """A heap of deadlines; times are seconds on the caller's monotonic clock."""

    __slots__ = ("_cancelled", "_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline]] = []
        self._order = itertools.count()  # equal times fire in the order they were set
        self._cancelled = 0

    def __len__(self) -> int:
        """How many are waiting, not counting cancelled ones."""
        return len(self._heap) - self._cancelled

    def set(self, when: float, due: Callable[[float], None]) -> Deadline:
        """Call `due(now)` from the first `run` at or after `when`."""
        deadline = Deadline(due)
        heapq.heappush(self._heap, (when, next(self._order), deadline))
        return deadline

    def cancel(self, deadline: Deadline) -> None:
        """Nothing happens for one that was cancelled or has fired before."""
        if deadline.due is None:
            return
        deadline.due = None
        self._cancelled += 1
        if self._cancelled > _REBUILD_FROM and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].due is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def next(self) -> float | None:
        """The earliest time at which something is due."""
        heap = self._heap
        while heap and heap[0][2].due is None:
            heapq.heappop(heap)
            self._cancelled -= 1
        return heap[0][0] if heap else None

    def run(self, now: float) -> None:
        """Do everything that is due at `now`, in order of time."""
        while (when := self.next()) is not None and when <= now:
            _, _, deadline = heapq.heappop(self._heap)
            due, deadline.due = deadline.due, None
            if due is not None:
                due(now)
