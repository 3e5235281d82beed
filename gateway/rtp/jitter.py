"""A jitter buffer for a listener that is a model, not a loudspeaker.

A loudspeaker needs the next frame at a fixed moment, so its buffer delays everything. A speech
model needs the samples in order, and time that passes at the right pace; it does not mind when a
frame comes. So nothing is delayed that need not be: the packet that is next in line goes straight
through, and only a gap costs time.

What comes after a missing packet is held until that packet comes or the clock gives it up, after a
wait that grows with the jitter and reordering of the last seconds and shrinks again; then the gap
is handed on as `Lost`. Only `tick` gives up, never `push`, and not right after a late tick: when
our own process stood still, the missing packet may be waiting in the socket.

This module keeps the order of packets; `Timeline` keeps their time. Nothing is handed out before
the first packet, unless `start` says that the conversation has begun.
"""

from collections.abc import Sequence
from math import inf

from gateway.rtp.payload import G711, PayloadFormat
from gateway.rtp.sequence import sequence_delta
from gateway.rtp.timeline import Audio, Placed, Timeline
from gateway.rtp.timing import WINDOW_S

_CAPACITY = 64  # packets held, and how far ahead a packet may be to be held
_REORDERED = 32  # an old number this close is an old packet, whatever its timestamp says
_LEAST_PACKET_S = 0.005  # half of the shortest in use
_STALL_S = 0.050  # a tick later than this says more about our process than about the network
_ON_TIME_S = 0.250
_PROBATION_S = 0.200
_NOTHING: tuple[()] = ()


class JitterBuffer:
    """Puts the packets of one sender in order and on our clock.

    `push` every audio packet, `account` for every other packet of the same numbering, `tick` every
    20 ms, and hand what they return to the listener in order. Times are seconds on one monotonic
    clock.
    """

    __slots__ = (
        "_clock_hz",
        "_divisible",
        "_doubtful",
        "_expected",
        "_given_up",
        "_held",
        "_line",
        "_next",
        "_numbered",
        "_paused",
        "_review_at",
        "_samples",
        "_ticked",
        "duplicate",
        "unusable",
    )

    def __init__(self, format: PayloadFormat = G711) -> None:
        self._clock_hz = format.clock_hz
        self._divisible = format.divisible
        self._samples = format.samples
        self._line = Timeline(format)
        self._expected = -1
        """The number that `push` may hand straight on: -1 when any packet needs a closer look, one
        past the largest number at the wrap, which needs that too."""
        self._next = 0
        self._numbered = False
        self._paused = False
        self._held: dict[int, Audio] = {}
        self._given_up: dict[int, None] = {}
        self._doubtful: Audio | None = None
        self._review_at = 0.0
        self._ticked = inf
        self.duplicate = 0
        """Packets that came again."""
        self.unusable = 0
        """Packets whose payload has no length in this format."""

    @property
    def late(self) -> int:
        """Packets that came after their time had been handed out."""
        return self._line.late

    @property
    def cut_samples(self) -> int:
        """Samples of good audio that were dropped to keep to the clock."""
        return self._line.cut_samples

    def push(self, sequence: int, timestamp: int, payload: bytes, now: float) -> Sequence[Placed]:
        """Take one audio packet; what can be handed on now."""
        line = self._line
        due = line.due
        samples = len(payload) if self._divisible else self._samples(payload)  # spares G.711 a call
        if (
            samples
            and sequence == self._expected
            and timestamp == line.position
            and line.floor <= now - due <= line.peak
        ):
            self._expected = sequence + 1
            line.position = timestamp + samples
            line.due = due + samples * line.period
            return (payload,)
        if not samples:
            self.unusable += 1
            return self.account(sequence, now)
        return self._insert(Audio(sequence, timestamp, payload, samples, now))

    def account(self, sequence: int, now: float) -> Sequence[Placed]:
        """A packet with this number came and is not audio, so it must not be missed.

        The time that it stands for, if any, passes on the clock.
        """
        if not self._numbered:
            return _NOTHING
        self._disarm()
        out: list[Placed] = []
        if 0 <= sequence_delta(sequence, self._next) < _CAPACITY:
            self._held.setdefault(sequence, Audio(sequence, 0, b"", 0, now))
            self._drain(out)
        self._arm()
        return out

    def tick(self, now: float) -> Sequence[Placed]:
        """Let time pass; what was given up, or is silence by now. Call it every 20 ms."""
        line = self._line
        stalled = now - self._ticked > _STALL_S
        self._ticked = now
        if stalled or (
            self._expected >= 0 and now - line.due <= line.wait and now < self._review_at
        ):
            return _NOTHING
        return self._pass_time(now)

    def start(self, now: float) -> None:
        """The conversation begins or goes on: the clock runs, even if no packet ever comes."""
        self._paused = False
        self._line.start(now)

    def pause(self) -> None:
        """On hold: packets are ignored and no time passes until `start`."""
        self._paused = True
        self._numbered = False
        self._expected = -1
        self._held.clear()
        self._line.stop()

    def restart(self) -> Sequence[Placed]:
        """Another stream takes over, with its own numbers: let go what is held, keep the time."""
        self._disarm()
        out: list[Placed] = []
        self._flush(out)
        self._numbered = False
        self._arm()
        return out

    # -- one packet ------------------------------------------------------------------------------

    def _insert(self, packet: Audio) -> Sequence[Placed]:
        if self._paused:
            return _NOTHING
        self._disarm()
        out: list[Placed] = []
        if not self._numbered:
            self._begin(packet, out)
        ahead = sequence_delta(packet.sequence, self._next)
        if 0 <= ahead < _CAPACITY:
            self._hold(packet, ahead)
            self._drain(out)
        elif ahead < 0 and self._is_old(packet, ahead):
            self._reject(packet)
        elif ahead > 0 and self._is_on_time(packet):
            # More packets are missing than one could wait for, but the timestamp agrees with our
            # clock: the network was away for a while.
            self._flush(out)
            self._give_up(packet.sequence)
            self._held[packet.sequence] = packet
            self._drain(out)
        else:
            self._doubt(packet, out)
        self._arm()
        return out

    def _begin(self, packet: Audio, out: list[Placed]) -> None:
        self._line.begin(packet, out)
        self._numbered = True
        # What was sent before this packet and overtaken by it is late, not a repetition.
        self._given_up.clear()
        self._next = (packet.sequence - _REORDERED) & 0xFFFF
        self._give_up(packet.sequence)

    def _hold(self, packet: Audio, ahead: int) -> None:
        held = self._held
        if packet.sequence in held:
            self.duplicate += 1
            return
        overtakers = [
            other.arrival
            for other in held.values()
            if sequence_delta(other.sequence, self._next) > ahead
        ]
        if overtakers:
            self._line.arrivals.overtaken(packet.arrival - min(overtakers))
        held[packet.sequence] = packet

    def _reject(self, packet: Audio) -> None:
        if packet.sequence in self._given_up:
            del self._given_up[packet.sequence]
            self._line.came_late(packet)
        else:
            self.duplicate += 1

    def _is_old(self, packet: Audio, ahead: int) -> bool:
        """Whether number and timestamp lie in the past together, as of a packet sent before."""
        if packet.sequence in self._given_up:
            return True  # its time may be still to come, where numbers without time were given up
        offset = self._line.offset(packet)
        return offset < 0 and (
            ahead >= -_REORDERED or offset <= ahead * _LEAST_PACKET_S * self._clock_hz
        )

    def _is_on_time(self, packet: Audio) -> bool:
        return self._line.offset(packet) >= 0 and abs(self._line.lateness(packet)) <= _ON_TIME_S

    def _doubt(self, packet: Audio, out: list[Placed]) -> None:
        """Numbers from nowhere: one packet proves nothing, its successor does (RFC 3550 A.1)."""
        first = self._doubtful
        self._doubtful = packet
        if (
            first is None
            or packet.sequence != (first.sequence + 1) & 0xFFFF
            or packet.arrival - first.arrival > _PROBATION_S
        ):
            return
        self._doubtful = None
        self._flush(out)
        self._begin(first, out)
        self._held[first.sequence] = first
        self._held[packet.sequence] = packet
        self._drain(out)

    # -- the queue -------------------------------------------------------------------------------

    def _drain(self, out: list[Placed]) -> None:
        """Hand out what is next in line."""
        held = self._held
        while held:
            packet = held.pop(self._next, None)
            if packet is not None:
                self._next = (self._next + 1) & 0xFFFF
                if packet.samples:
                    self._line.place(packet, out)
                continue
            first = self._first_held()
            if not first.samples or self._line.offset(first) > 0:
                return
            self._give_up(first.sequence)  # numbers are missing, but no time is

    def _first_held(self) -> Audio:
        return min(
            self._held.values(), key=lambda packet: sequence_delta(packet.sequence, self._next)
        )

    def _give_up(self, until: int) -> None:
        """Count the numbers before `until` as lost; those that still come will be late."""
        missing = sequence_delta(until, self._next)
        for number in range(max(missing - _CAPACITY, 0), missing):
            self._given_up[(self._next + number) & 0xFFFF] = None
        while len(self._given_up) > 2 * _CAPACITY:
            del self._given_up[next(iter(self._given_up))]
        self._next = until

    def _flush(self, out: list[Placed]) -> None:
        while self._held:
            self._give_up(self._first_held().sequence)
            self._drain(out)

    # -- the clock -------------------------------------------------------------------------------

    def _pass_time(self, now: float) -> Sequence[Placed]:
        self._disarm()
        line = self._line
        out: list[Placed] = []
        if now >= self._review_at:
            self._review_at = now + WINDOW_S
            line.review(self._numbered and not self._held, out)
        while self._held:
            first = self._first_held()
            noticed = min(packet.arrival for packet in self._held.values())
            if now < min(noticed + line.arrivals.gap_wait_s, self._missing_due(first) + line.wait):
                break
            self._give_up(first.sequence)
            self._drain(out)
        else:
            line.fill(now, out)
        self._arm()
        return out

    def _missing_due(self, first: Audio) -> float:
        """When what is missing before `first` is due.

        At our position, if all of it fits there; what is missing after a pause of the sender stands
        right before `first`, or the beginning of a word would not be waited for at all.
        """
        line = self._line
        missing = sequence_delta(first.sequence, self._next) * line.frame
        pause = line.offset(first) - missing if first.samples else 0
        return line.due + max(pause, 0) * line.period

    def _disarm(self) -> None:
        """Take over what `push` has advanced."""
        if self._expected >= 0:
            self._next = self._expected & 0xFFFF
            self._line.position &= 0xFFFF_FFFF

    def _arm(self) -> None:
        """Let `push` hand on the next packet without a look, if nothing else is going on."""
        plain = self._numbered and not self._held and not self._line.filled
        self._expected = self._next if plain else -1
