"""Where a stream stands on our clock: what has been handed out, and when the next sample is due.

The timeline has a *position*, the RTP timestamp of the next sample to hand out, and the moment that
sample is *due*. Every sample handed out, heard or `Lost`, moves `due` by its length, so the number
of samples handed out is tied to our clock through `due`, whatever the sender's clock does.

- A packet at the position is handed on. One beyond it leaves a gap, which is `Lost`. One before it
  has been overrun by the clock: its time was handed out already, so it is late and dropped. If
  packets stay overrun at a steady pace, the route got longer or the sender's clock stood still, and
  the timeline moves to them.
- When nothing comes for longer than packets lately were late, the clock fills in `Lost` at the pace
  of real time.
- When the fastest packets of several seconds show that the sender's time lies apart from ours by
  more than 12 ms, 20 ms are put in or cut out, in one piece. A gap absorbs the difference unheard.

Samples are those of the RTP clock. Times are seconds.
"""

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from gateway.rtp.payload import Clipped, PayloadFormat
from gateway.rtp.sequence import timestamp_delta
from gateway.rtp.timing import Arrivals

STEP_S = 0.020
"""The piece in which the clock fills, and in which drift is corrected."""

_SKEW_LIMIT_S = 0.012
_DEAD_BAND_S = 0.005
_LONG_FILL_S = 0.200
_SAME_DELAY_S = 0.010
_STEADY_S = 0.030
_UNDECIDED_S = 0.080
_UNDECIDED_PACKETS = 16
_JITTER_AT_MOST_S = 0.5
_AHEAD_AT_MOST_S = 0.100
_SETTLING_S = 2.0
_SETTLING_SHIFT_S = 0.200
_MASK = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Lost:
    """Time for which there is no audio; the listener gets a substitute of the same length."""

    samples: int


class Audio(NamedTuple):
    """One packet on its way through the jitter buffer."""

    sequence: int
    timestamp: int
    payload: bytes
    samples: int
    """Length of the payload, 0 for a sequence number that carries no audio."""
    arrival: float


Placed = bytes | Clipped | Lost
"""What the jitter buffer hands out."""


class Timeline:
    """Places packets on our clock; what it hands out is appended to the given list."""

    __slots__ = (
        "_clock_hz",
        "_cutting",
        "_divisible",
        "_fresh",
        "_overrun",
        "_settled_at",
        "_settling_left",
        "_step",
        "arrivals",
        "cut_samples",
        "due",
        "filled",
        "floor",
        "frame",
        "late",
        "peak",
        "period",
        "position",
        "wait",
    )

    def __init__(self, format: PayloadFormat) -> None:
        self._clock_hz = format.clock_hz
        self._step = int(format.clock_hz * STEP_S)
        self.frame = format.frame_samples
        self._divisible = format.divisible
        self._fresh = True
        self._cutting = 0
        self._overrun: list[Audio] = []
        self._settled_at = -inf
        self._settling_left = 0.0
        self.period = 1.0 / format.clock_hz
        self.arrivals = Arrivals(format.frame_samples * self.period)
        self.position = 0
        """Timestamp of the next sample; right after a packet it may exceed 32 bits."""
        self.due = inf
        """When that sample is due; infinite while the clock stands still."""
        self.floor = inf
        """The least lateness of the open window."""
        self.peak = -inf
        """The greatest lateness of the open window."""
        self.wait = self.arrivals.wait_s(0.0)
        """How long after `due` a packet may still be on its way."""
        self.filled = 0
        """Samples that the clock has handed out since the last packet that was handed on."""
        self.late = 0
        self.cut_samples = 0

    # -- the clock -------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Let time pass from now on; nothing changes if it passes already."""
        if self.due == inf:
            self.due = now
            self._fresh = True

    def stop(self) -> None:
        """Let no time pass, and forget where the stream was."""
        self.due = inf
        self.filled = 0
        self._cutting = 0
        self._overrun.clear()
        self._begin_history()

    def fill(self, now: float, out: list[Placed]) -> None:
        """Hand out the time for which nothing came, less what may still be on its way."""
        if self._overrun and now - self._overrun[0].arrival < _UNDECIDED_S:
            return
        patience = self.wait
        if self.filled > _LONG_FILL_S * self._clock_hz:
            # This is silence and no mere jitter: come close to the clock, but leave room for the
            # packets of the next words to be as late as packets lately were.
            usual = self.arrivals.peak_s(self.peak) + _DEAD_BAND_S
            patience = min(max(usual, STEP_S), patience)
        beyond = now - self.due - patience
        if beyond > 0.0:
            samples = (int(beyond / STEP_S) + 1) * self._step
            self._lose(samples, out)
            self.position = (self.position + samples) & _MASK
            self.filled += samples
            self._fresh = False

    def review(self, correct: bool, out: list[Placed]) -> None:
        """Close a window of arrivals and, if asked, correct the timeline by one step."""
        if self.floor == inf:
            return
        self.arrivals.close_window(self.floor, self.peak)
        self.floor = inf
        self.peak = -inf
        self.wait = self.arrivals.wait_s(0.0)
        if not correct or self.filled:
            return
        skew = self.arrivals.skew_s
        if skew > _SKEW_LIMIT_S:
            self.arrivals.shift(STEP_S)
            self._lose(self._step, out)
        elif skew < -_SKEW_LIMIT_S:
            self.arrivals.shift(-STEP_S)
            self.position = (self.position + self._step) & _MASK
            self._cutting = self._step

    # -- packets ---------------------------------------------------------------------------------

    def offset(self, packet: Audio) -> int:
        """Samples by which a packet lies beyond the position."""
        return timestamp_delta(packet.timestamp, self.position)

    def lateness(self, packet: Audio) -> float:
        """Seconds after its due time that a packet came."""
        return packet.arrival - self.due - self.offset(packet) * self.period

    def begin(self, packet: Audio, out: list[Placed]) -> None:
        """A stream begins: its first packet stands at our position, now."""
        if self._fresh:
            self._fresh = False
            self.due = packet.arrival
            self.position = packet.timestamp
            self._settled_at = packet.arrival + _SETTLING_S
            self._settling_left = _SETTLING_SHIFT_S
        else:
            self._jump(packet, self.arrivals.peak_s(self.peak), out)
            self.arrivals.forget_skew()
            self.floor = inf

    def place(self, packet: Audio, out: list[Placed]) -> None:
        """Hand out a packet whose turn it is, as far as its time has not been handed out."""
        samples = packet.samples
        skip = 0
        offset = self.offset(packet)
        if offset < -(self.filled + self._step):
            # Further back than our clock can have run ahead: the sender's timestamps started anew.
            self._jump(packet, self.arrivals.peak_s(self.peak), out)
            self._begin_history()
            offset = 0
        elif offset <= -samples:
            self._keep_overrun(packet, out)
            return
        elif offset > 0:
            self._lose_gap(packet, offset, out)
            offset = 0
        elif offset < 0:
            skip = -offset
            self.cut_samples += skip
        if samples != self.frame:
            self.frame = samples
            self.arrivals.set_frame(self.frame * self.period)
        self._drop_overrun()
        self.position = (packet.timestamp + samples) & _MASK
        self.filled = 0
        self._cutting = 0
        lateness = self._settle(packet.arrival - self.due - offset * self.period, packet.arrival)
        if lateness < -_AHEAD_AT_MOST_S:
            self.cut_samples += samples - skip
            return
        self.observe(lateness)
        self.due += (samples - skip) * self.period
        if not skip:
            out.append(packet.payload)
        elif self._divisible:
            out.append(packet.payload[skip:])
        else:
            out.append(Clipped(packet.payload, skip))

    def came_late(self, packet: Audio) -> None:
        """Count a packet that is of no use any more, and learn from it."""
        self.late += 1
        lateness = self.lateness(packet)
        if lateness < _JITTER_AT_MOST_S:
            self.arrivals.overtaken(lateness - self.frame * self.period)
            self.observe(lateness)

    def observe(self, lateness: float) -> None:
        """Take the lateness of a packet into the open window."""
        if lateness < self.floor:
            self.floor = lateness
        if lateness > self.peak:
            self.peak = lateness
            self.wait = self.arrivals.wait_s(lateness)

    def _settle(self, lateness: float, arrival: float) -> float:
        """Early in a call a packet that comes too soon says that the first one was slow."""
        if lateness < 0.0 and arrival < self._settled_at:
            shift = min(-lateness, self._settling_left)
            self._settling_left -= shift
            self.due -= shift
            self._shift_history(-shift)
            lateness += shift
        return lateness

    def _keep_overrun(self, packet: Audio, out: list[Placed]) -> None:
        """Its time was handed out already: is it late, or is the whole stream later from now on?

        A backlog that drains becomes less late with every packet. Packets that stay late alike for
        a while show a longer route, or a sender whose clock stood still; then none was late.
        """
        if self._cutting > 0:
            self._cutting -= packet.samples
            self.cut_samples += packet.samples
            return
        waiting = self._overrun
        if waiting and (
            self.lateness(packet) < self.lateness(waiting[0]) - _SAME_DELAY_S
            or len(waiting) >= _UNDECIDED_PACKETS
        ):
            self._drop_overrun()
        waiting.append(packet)
        if packet.arrival - waiting[0].arrival >= _STEADY_S:
            self._overrun = []
            self._jump(waiting[0], 0.0, out)
            self._begin_history()
            for each in waiting:
                self.place(each, out)

    def _drop_overrun(self) -> None:
        for packet in self._overrun:
            self.came_late(packet)
        self._overrun.clear()

    def _lose_gap(self, packet: Audio, samples: int, out: list[Placed]) -> None:
        """Hand out the time before a packet, more or less of it as our clock wants."""
        lateness = self.lateness(packet)
        skew = lateness if lateness < -_DEAD_BAND_S else self.arrivals.skew_s
        if abs(skew) > _DEAD_BAND_S:
            correct = max(samples + round(skew * self._clock_hz), 0)
            self._shift_history((correct - samples) * self.period)
            samples = correct
        self._lose(samples, out)

    def _lose(self, samples: int, out: list[Placed]) -> None:
        if samples:
            self.due += samples * self.period
            out.append(Lost(samples))

    def _jump(self, packet: Audio, allowance_s: float, out: list[Placed]) -> None:
        """Go on at another timestamp; time that has passed meanwhile is lost.

        The packet may be as late as `allowance_s` by mere jitter.
        """
        self._drop_overrun()
        behind = packet.arrival - self.due - allowance_s
        if behind > _DEAD_BAND_S:
            self._lose(round(behind * self._clock_hz), out)
        self.position = packet.timestamp
        self.filled = 0
        self._cutting = 0

    def _shift_history(self, by_s: float) -> None:
        if abs(by_s) > _JITTER_AT_MOST_S:
            self._begin_history()
            return
        self.arrivals.shift(by_s)
        self.floor -= by_s
        self.peak -= by_s

    def _begin_history(self) -> None:
        self.arrivals.forget()
        self.floor = inf
        self.peak = -inf
        self.wait = self.arrivals.wait_s(0.0)
