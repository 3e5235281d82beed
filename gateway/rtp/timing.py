"""What the arrivals of the last seconds say about the network and about the sender's clock.

The *lateness* of a packet is its arrival minus the moment its first sample is due on our timeline.
Two figures of it matter. Its largest values are jitter: so long must one wait before a silent line
means a lost packet. Its smallest values are the path without any queue; they move only when the
sender's clock runs faster or slower than ours, or when the route changes: so far must the timeline
be shifted. A third figure, how long after its successor a reordered packet came, says how long a
gap is worth keeping open.

All of it is kept for a few windows of `WINDOW_S` and then forgotten, so a bad minute does not cost
delay for the rest of the call. Times are seconds.
"""

from collections import deque

WINDOW_S = 1.5
_SKEW_WINDOWS = 4
_SURE_WINDOWS = 2
_WAIT_WINDOWS = 2  # plus the one that is open: jitter is remembered for 3 to 4.5 s

_MARGIN_S = 0.020
_MOST_WAIT_S = 0.240
_LEAST_GAP_WAIT_S = 0.030
_BEYOND_FRAME_S = 0.040


class Arrivals:
    """A short history of lateness and reordering."""

    __slots__ = ("_floors", "_least_wait_s", "_peaks", "_reorder_s", "_reorders")

    def __init__(self, frame_s: float) -> None:
        self._least_wait_s = frame_s + _BEYOND_FRAME_S
        self._floors: deque[float] = deque(maxlen=_SKEW_WINDOWS)
        self._peaks: deque[float] = deque(maxlen=_WAIT_WINDOWS)
        self._reorders: deque[float] = deque(maxlen=_WAIT_WINDOWS)
        self._reorder_s = 0.0

    def set_frame(self, frame_s: float) -> None:
        """The sender's packets now hold this much audio."""
        self._least_wait_s = frame_s + _BEYOND_FRAME_S

    def overtaken(self, by_s: float) -> None:
        """A packet came this long after one that was sent later."""
        if self._reorder_s < by_s:
            self._reorder_s = by_s

    def close_window(self, floor_s: float, peak_s: float) -> None:
        """Least and greatest lateness of the window that ends now."""
        self._floors.append(floor_s)
        self._peaks.append(peak_s)
        self._reorders.append(self._reorder_s)
        self._reorder_s = 0.0

    def shift(self, by_s: float) -> None:
        """The timeline moved: everything is due this much later than it was."""
        for values in (self._floors, self._peaks):
            for index, value in enumerate(values):
                values[index] = value - by_s

    def forget(self) -> None:
        """What was seen of the old timeline says nothing about the new one."""
        self._floors.clear()
        self._peaks.clear()

    def forget_skew(self) -> None:
        """Another clock, but the same road: jitter is remembered."""
        self._floors.clear()

    def peak_s(self, open_peak_s: float) -> float:
        """The greatest lateness remembered, not less than that of the open window."""
        return max(open_peak_s, *self._peaks, 0.0)

    def wait_s(self, open_peak_s: float) -> float:
        """How long after its due time a packet may still be on its way: 60 to 240 ms at 20 ms."""
        return min(
            max(self.peak_s(open_peak_s) + _MARGIN_S, self._least_wait_s),
            max(_MOST_WAIT_S, self._least_wait_s),
        )

    @property
    def gap_wait_s(self) -> float:
        """How long after its successor a packet may still come: 30 to 240 ms."""
        longest = max(self._reorder_s, *self._reorders, 0.0)
        return min(max(longest + _MARGIN_S, _LEAST_GAP_WAIT_S), _MOST_WAIT_S)

    @property
    def skew_s(self) -> float:
        """How far the sender's timeline lies behind ours (negative: ahead), 0 while unsure.

        Behind counts only when no packet of the whole history was better, because jitter only ever
        delays. Ahead counts when the two latest windows agree.
        """
        floors = self._floors
        if len(floors) < _SURE_WINDOWS:
            return 0.0
        behind = min(floors)
        if behind > 0.0:
            return behind
        return min(max(floors[-1], floors[-2]), 0.0)
