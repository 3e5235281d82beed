"""A sender, a network and a clock in virtual time, for the tests of the jitter buffer.

Every sample tells which packet it came from, so that a trace can be checked for order, repeats and
time without knowing how the buffer works.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

import pytest

from gateway.rtp.jitter import JitterBuffer
from gateway.rtp.payload import G711, OPUS, Clipped, PayloadFormat
from gateway.rtp.timeline import Lost, Placed

TICK_S = 0.020
RATE = G711.clock_hz

each_format = pytest.mark.parametrize("format", [G711, OPUS], ids=["g711", "opus"])

_OPUS_FRAMES = 14 << 3 | 3
"""First byte of Opus packets with any number of frames of 10 ms, which the second byte tells."""
_OPUS_FRAME_SAMPLES = 480
_DTX_FRAMES = 20


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


def seeds(count: int) -> pytest.MarkDecorator:
    """So many runs with G.711, each with a `seed` of its own, and one more with Opus."""
    cases = [pytest.param(seed, G711, id=f"g711-{seed}") for seed in range(count)]
    cases.append(pytest.param(count, OPUS, id=f"opus-{count}"))
    return pytest.mark.parametrize(("seed", "format"), cases)


def payload_of(index: int, samples: int = 160, format: PayloadFormat = G711) -> bytes:
    if format.divisible:
        assert samples % 4 == 0
        return index.to_bytes(4, "big") * (samples // 4)
    frames, rest = divmod(samples, _OPUS_FRAME_SAMPLES)
    assert rest == 0
    return bytes((_OPUS_FRAMES, frames)) + index.to_bytes(4, "big")


def index_of(item: bytes | Clipped) -> int:
    payload = item if isinstance(item, bytes) else item.payload
    return int.from_bytes(payload[-4:], "big")


def length_of(item: Placed, format: PayloadFormat = G711) -> int:
    """Samples that an item stands for."""
    if isinstance(item, bytes):
        return format.samples(item)
    if isinstance(item, Lost):
        return item.samples
    return format.samples(item.payload) - item.skip


def talk(
    seconds: float,
    *,
    samples: int | None = None,
    format: PayloadFormat = G711,
    ppm: float = 0.0,
    at: float = 0.0,
    sequence: int = 100,
    timestamp: int = 5000,
    index: int = 0,
) -> list[Sent]:
    """An uninterrupted stream; a sender `ppm` too fast sends its packets closer together."""
    samples = samples or format.frame_samples
    period = samples / format.clock_hz / (1 + ppm * 1e-6)
    return [
        Sent(
            index=index + n,
            at=at + n * period,
            sequence=(sequence + n) & 0xFFFF,
            timestamp=(timestamp + n * samples) & 0xFFFFFFFF,
            payload=payload_of(index + n, samples, format),
        )
        for n in range(round(seconds / period))
    ]


@dataclass
class Conversation:
    """An Opus sender with DTX: in pauses one packet each 400 ms, while the timestamps run on."""

    seconds: float
    seed: int = 0
    sent: list[Sent] = field(default_factory=list)
    words: list[list[int]] = field(default_factory=list)
    """Indices of the packets of each talk spurt."""

    def __post_init__(self) -> None:
        random = Random(self.seed)
        frames = 0
        while frames < self.seconds / TICK_S:
            spoken = random.randrange(25, 150)
            self.words.append([self._send(frames + n) for n in range(spoken)])
            frames += spoken
            silent = random.randrange(25, 300)
            for n in range(_DTX_FRAMES, silent, _DTX_FRAMES):
                self._send(frames + n)
            frames += silent

    def _send(self, frame: int) -> int:
        index = len(self.sent)
        samples = OPUS.frame_samples
        self.sent.append(
            Sent(
                index=index,
                at=frame * TICK_S,
                sequence=(65000 + index) & 0xFFFF,
                timestamp=(2**32 - 50 * samples + frame * samples) & 0xFFFFFFFF,
                payload=payload_of(index, samples, OPUS),
            )
        )
        return index


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

    format: PayloadFormat = G711
    items: list[tuple[float, Placed]] = field(default_factory=list)
    samples: int = 0
    balance: list[tuple[float, int]] = field(default_factory=list)
    """Samples handed out so far, after every call."""

    def add(self, now: float, items: Sequence[Placed]) -> None:
        for item in items:
            self.items.append((now, item))
            self.samples += length_of(item, self.format)
        self.balance.append((now, self.samples))

    @property
    def heard(self) -> list[int]:
        return [index_of(item) for _, item in self.items if not isinstance(item, Lost)]

    @property
    def lost(self) -> list[int]:
        return [item.samples for _, item in self.items if isinstance(item, Lost)]

    def at_last_audio(self) -> int:
        """Samples handed out up to the last audio."""
        total = samples = 0
        for _, item in self.items:
            samples += length_of(item, self.format)
            if not isinstance(item, Lost):
                total = samples
        return total

    def delays(self, sent: Sequence[Sent]) -> dict[int, float]:
        """From sending to handing out, by index."""
        at = {packet.index: packet.at for packet in sent}
        return {
            index_of(item): now - at[index_of(item)]
            for now, item in self.items
            if not isinstance(item, Lost)
        }

    def assert_in_order(self, samples: int | None = None) -> None:
        """No sample out of order, none twice, none changed."""
        samples = samples or self.format.frame_samples
        end = -1
        for _, item in self.items:
            if isinstance(item, Lost):
                assert item.samples > 0
                continue
            index = index_of(item)
            payload = payload_of(index, samples, self.format)
            length = length_of(item, self.format)
            assert 0 < length <= samples
            if isinstance(item, Clipped):
                assert (item.payload, item.skip) == (payload, samples - length)
            else:
                assert item == payload[-len(item) :]
            start = (index + 1) * samples - length
            assert start >= end, f"packet {index} is out of order or repeated"
            end = (index + 1) * samples

    def prompt_errors_s(self, sent: Sequence[Sent], origin: float) -> list[float]:
        """The error of the timeline at each packet that was handed on as soon as it could be."""
        at = {packet.index: packet.at for packet in sent}
        errors = []
        samples = 0
        for now, item in self.items:
            samples += length_of(item, self.format)
            if not isinstance(item, Lost) and now - at[index_of(item)] < 1e-6:
                errors.append(samples / self.format.clock_hz - (now - origin))
        return errors

    def error_s(self, origin: float, since: float = 0.0) -> tuple[float, float]:
        """How far the samples handed out were behind (negative) and ahead of real time.

        `origin` is when the first sample would have been handed out without any jitter, less the
        length of a packet: a packet is complete only at the end of its time.
        """
        errors = [
            samples / self.format.clock_hz - (now - origin)
            for now, samples in self.balance
            if now >= since
        ]
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
    format: PayloadFormat = G711,
    ticks_from: float = 0.0,
) -> Trace:
    """Play arrivals and the 20 ms clock against a buffer, in the order of time."""
    trace = Trace(format)
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


def push(buffer: JitterBuffer, packet: Sent, now: float | None = None) -> list[Placed]:
    """One packet, at the time it was sent if no other is given."""
    at = packet.at if now is None else now
    return list(buffer.push(packet.sequence, packet.timestamp, packet.payload, at))


def ticks(buffer: JitterBuffer, start: float, end: float) -> list[Placed]:
    """The clock alone."""
    out: list[Placed] = []
    n = 0
    while start + n * TICK_S < end:
        out += buffer.tick(start + n * TICK_S)
        n += 1
    return out


def samples_of(items: Iterable[Placed], format: PayloadFormat = G711) -> int:
    return sum(length_of(item, format) for item in items)
