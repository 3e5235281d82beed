"""A sender, a network and a clock in virtual time, for the tests of the jitter buffer.

Every sample tells which packet it came from, so that a trace can be checked for order, repeats and
time without knowing how the buffer works.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from gateway.rtp.jitter import JitterBuffer
from gateway.rtp.timeline import Lost

TICK_S = 0.020
RATE = 8000


@dataclass(frozen=True, slots=True)
class Sent:
    index: int
    at: float
    sequence: int
    timestamp: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Arrival:
    at: float
    packet: Sent


def payload_of(index: int, samples: int = 160) -> bytes:
    assert samples % 4 == 0
    return index.to_bytes(4, "big") * (samples // 4)


def index_of(payload: bytes) -> int:
    return int.from_bytes(payload[-4:], "big")


def talk(
    seconds: float,
    *,
    samples: int = 160,
    ppm: float = 0.0,
    at: float = 0.0,
    sequence: int = 100,
    timestamp: int = 5000,
    index: int = 0,
) -> list[Sent]:
    """An uninterrupted stream; a sender `ppm` too fast sends its packets closer together."""
    period = samples / RATE / (1 + ppm * 1e-6)
    return [
        Sent(
            index=index + n,
            at=at + n * period,
            sequence=(sequence + n) & 0xFFFF,
            timestamp=(timestamp + n * samples) & 0xFFFFFFFF,
            payload=payload_of(index + n, samples),
        )
        for n in range(round(seconds / period))
    ]


@dataclass
class Network:
    """Loses, delays, repeats and reorders packets; the same for the same seed."""

    seed: int
    delay_s: float = 0.0
    jitter_s: float = 0.0
    """Uniform, plus and minus, each packet on its own: packets overtake each other."""
    in_order: bool = False
    """Jitter of a queue: nobody overtakes."""
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_s: float = 0.030
    burst: tuple[float, float, float] | None = None
    """Gilbert-Elliott: to bad, to good, loss while bad."""
    lost: set[int] = field(default_factory=set)

    def carry(self, packets: Iterable[Sent]) -> list[Arrival]:
        random = Random(self.seed)
        bad = False
        latest = 0.0
        arrivals = []
        for packet in packets:
            if self.burst is not None:
                to_bad, to_good, loss_when_bad = self.burst
                bad = random.random() >= to_good if bad else random.random() < to_bad
                if bad and random.random() < loss_when_bad:
                    self.lost.add(packet.index)
                    continue
            if random.random() < self.loss:
                self.lost.add(packet.index)
                continue
            at = packet.at + self.delay_s + self.jitter_s * random.uniform(-1.0, 1.0)
            if self.in_order:
                at = latest = max(at, latest)
            if random.random() < self.reorder:
                at += self.reorder_s
            arrivals.append(Arrival(at, packet))
            if random.random() < self.duplicate:
                arrivals.append(Arrival(at + random.choice((0.001, 0.015, 0.045)), packet))
        return sorted(arrivals, key=lambda arrival: arrival.at)


@dataclass
class Trace:
    """What came out of a buffer, and when."""

    items: list[tuple[float, bytes | Lost]] = field(default_factory=list)
    samples: int = 0
    balance: list[tuple[float, int]] = field(default_factory=list)
    """Samples handed out so far, after every call."""

    def add(self, now: float, items: Sequence[bytes | Lost]) -> None:
        for item in items:
            self.items.append((now, item))
            self.samples += item.samples if isinstance(item, Lost) else len(item)
        self.balance.append((now, self.samples))

    @property
    def heard(self) -> list[int]:
        return [index_of(item) for _, item in self.items if isinstance(item, bytes)]

    @property
    def lost(self) -> list[int]:
        return [item.samples for _, item in self.items if isinstance(item, Lost)]

    def at_last_audio(self) -> int:
        """Samples handed out up to the last audio."""
        total = samples = 0
        for _, item in self.items:
            samples += item.samples if isinstance(item, Lost) else len(item)
            if isinstance(item, bytes):
                total = samples
        return total

    def delays(self, sent: Sequence[Sent]) -> dict[int, float]:
        """From sending to handing out, by index."""
        at = {packet.index: packet.at for packet in sent}
        return {
            index_of(item): now - at[index_of(item)]
            for now, item in self.items
            if isinstance(item, bytes)
        }

    def assert_in_order(self, samples: int = 160) -> None:
        """No sample out of order, none twice, none changed."""
        end = -1
        for _, item in self.items:
            if isinstance(item, Lost):
                assert item.samples > 0
                continue
            index = index_of(item)
            assert item == payload_of(index, samples)[-len(item) :]
            start = (index + 1) * samples - len(item)
            assert start >= end, f"packet {index} is out of order or repeated"
            end = (index + 1) * samples

    def prompt_errors_s(self, sent: Sequence[Sent], origin: float) -> list[float]:
        """The error of the timeline at each packet that was handed on as soon as it could be."""
        at = {packet.index: packet.at for packet in sent}
        errors = []
        samples = 0
        for now, item in self.items:
            samples += item.samples if isinstance(item, Lost) else len(item)
            if isinstance(item, bytes) and now - at[index_of(item)] < 1e-6:
                errors.append(samples / RATE - (now - origin))
        return errors

    def error_s(self, origin: float, since: float = 0.0) -> tuple[float, float]:
        """How far the samples handed out were behind (negative) and ahead of real time.

        `origin` is when the first sample would have been handed out without any jitter, less the
        length of a packet: a packet is complete only at the end of its time.
        """
        errors = [samples / RATE - (now - origin) for now, samples in self.balance if now >= since]
        return min(errors), max(errors)


def through(sent: Iterable[Sent], delay: Callable[[Sent], float]) -> list[Arrival]:
    """A network whose delay is a function of the packet."""
    arrivals = [Arrival(packet.at + delay(packet), packet) for packet in sent]
    return sorted(arrivals, key=lambda arrival: arrival.at)


def percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def run(
    buffer: JitterBuffer,
    arrivals: Sequence[Arrival],
    *,
    until: float,
    tick_phase_s: float = 0.0071,
    trace: Trace | None = None,
    ticks_from: float = 0.0,
) -> Trace:
    """Play arrivals and the 20 ms clock against a buffer, in the order of time."""
    trace = trace or Trace()
    calls: list[tuple[float, Sent | None]] = [
        (arrival.at, arrival.packet) for arrival in arrivals if arrival.at < until
    ]
    ticks = int((until - ticks_from) / TICK_S)
    calls += [(ticks_from + tick_phase_s + n * TICK_S, None) for n in range(ticks)]
    calls.sort(key=lambda call: call[0])
    for now, packet in calls:
        if packet is None:
            trace.add(now, buffer.tick(now))
        else:
            trace.add(now, buffer.push(packet.sequence, packet.timestamp, packet.payload, now))
    return trace


def push(buffer: JitterBuffer, packet: Sent, now: float | None = None) -> list[bytes | Lost]:
    """One packet, at the time it was sent if no other is given."""
    at = packet.at if now is None else now
    return list(buffer.push(packet.sequence, packet.timestamp, packet.payload, at))


def ticks(buffer: JitterBuffer, start: float, end: float) -> list[bytes | Lost]:
    """The clock alone."""
    out: list[bytes | Lost] = []
    n = 0
    while start + n * TICK_S < end:
        out += buffer.tick(start + n * TICK_S)
        n += 1
    return out


def samples_of(items: list[bytes | Lost]) -> int:
    return sum(item.samples if isinstance(item, Lost) else len(item) for item in items)
