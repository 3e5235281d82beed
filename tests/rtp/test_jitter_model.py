"""The jitter buffer against what must hold whatever happens."""

from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.rtp.jitter import JitterBuffer
from gateway.rtp.payload import G711, OPUS, PayloadFormat
from gateway.rtp.timeline import Placed
from tests.rtp.simulation import Arrival, Sent, Trace, length_of, run, talk

pytestmark = pytest.mark.pure


formats = st.sampled_from([G711, OPUS])


@given(
    format=formats,
    seed=st.integers(0, 2**32 - 1),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 2**32 - 1),
    ptime_ms=st.sampled_from([10, 20, 30, 40, 60]),
    loss=st.sampled_from([0.0, 0.05, 0.4]),
    worst_delay_s=st.sampled_from([0.0, 0.03, 0.2, 1.0]),
    in_order=st.booleans(),
    event_share=st.sampled_from([0.0, 0.1]),
)
@example(
    format=G711,
    seed=1561,
    sequence=0,
    timestamp=0,
    ptime_ms=30,
    loss=0.0,
    worst_delay_s=0.2,
    in_order=False,
    event_share=0.1,
)
@settings(max_examples=150, deadline=None)
def test_order_repeats_and_time(
    format: PayloadFormat,
    seed: int,
    sequence: int,
    timestamp: int,
    ptime_ms: int,
    loss: float,
    worst_delay_s: float,
    in_order: bool,
    event_share: float,
) -> None:
    """Every sample at most once, in order; never more than real time, never much less."""
    random = Random(seed)
    rate = format.clock_hz
    samples = ptime_ms * rate // 1000
    sent = talk(6.0, format=format, samples=samples, sequence=sequence, timestamp=timestamp)
    arrivals: list[Arrival] = []
    latest = 0.0
    for each in sent:
        if random.random() < loss:
            continue
        at = each.at + random.random() * worst_delay_s
        if in_order:
            at = latest = max(at, latest)
        arrivals.append(Arrival(at, each))
        if random.random() < 0.1:
            arrivals.append(Arrival(at + random.random() * 0.1, each))
    arrivals.sort(key=lambda arrival: arrival.at)
    events = {each.index for each in sent if random.random() < event_share}
    buffer = JitterBuffer(format)
    trace = Trace(format)
    calls: list[tuple[float, Sent | None]] = [(item.at, item.packet) for item in arrivals]
    calls += [(random.random() * 0.02 + n * 0.02, None) for n in range(500)]
    for now, packet in sorted(calls, key=lambda call: call[0]):
        if packet is None:
            trace.add(now, buffer.tick(now))
        elif packet.index in events:
            trace.add(now, buffer.account(packet.sequence, now))
        else:
            trace.add(now, buffer.push(packet.sequence, packet.timestamp, packet.payload, now))
        assert len(buffer._held) <= 64
    trace.assert_in_order(samples)
    if not trace.items:
        return
    heard = {item.packet.index for item in arrivals} - events
    assert set(trace.heard) <= heard
    if worst_delay_s == 0.0 and event_share == 0.0:
        assert set(trace.heard) == heard
    start = trace.items[0][0]
    low, high = trace.error_s(start - samples / rate, since=start)
    assert high <= worst_delay_s + samples / rate + 0.101
    # 4 s after the last packet all that was due has been handed out
    assert trace.balance[-1][1] / rate >= trace.balance[-1][0] - start - 0.3
    assert low >= -(0.24 + 0.06 + 2 * samples / rate + 0.2 * worst_delay_s)


step = st.one_of(
    st.tuples(
        st.just("push"),
        st.integers(0, 0xFFFF),
        st.integers(0, 2**32 - 1),
        st.integers(1, 1600),
    ),
    st.tuples(st.just("near"), st.integers(-5, 70), st.integers(-3000, 12000), st.integers(1, 480)),
    st.tuples(st.just("account"), st.integers(-5, 70), st.just(0), st.just(0)),
    st.tuples(st.sampled_from(["tick", "start", "pause", "restart"]), *[st.just(0)] * 3),
)


@given(
    formats,
    st.lists(st.tuples(step, st.sampled_from([0.0, 0.001, 0.02, 0.3, 30.0])), max_size=60),
)
@settings(max_examples=250, deadline=None)
def test_any_input_is_bounded(
    format: PayloadFormat, steps: list[tuple[tuple[str, int, int, int], float]]
) -> None:
    """No exception, no queue beyond its bound, no time that did not pass."""
    buffer = JitterBuffer(format)
    scale = format.clock_hz // 8000
    now = 100.0
    allowance_s = 0.6
    total = 0
    sequence = timestamp = 0
    for (kind, a, b, size), wait_s in steps:
        now += wait_s
        out: list[Placed] = []
        if kind in ("push", "near"):
            sequence = a if kind == "push" else (sequence + a) & 0xFFFF
            timestamp = b if kind == "push" else (timestamp + b * scale) & 0xFFFFFFFF
            # With Opus the size makes the first two bytes: any length, now and then none.
            payload = bytes(size) if format.divisible else size.to_bytes(2, "little")
            out = list(buffer.push(sequence, timestamp, payload, now))
        elif kind == "account":
            out = list(buffer.account((sequence + a) & 0xFFFF, now))
        elif kind == "tick":
            out = list(buffer.tick(now))
        elif kind == "start":
            buffer.start(now)
        elif kind == "pause":
            buffer.pause()
            allowance_s += 0.6
        else:
            out = list(buffer.restart())
        assert len(buffer._held) <= 64
        for item in out:
            length = length_of(item, format)
            assert length > 0
            total += length
        assert total / format.clock_hz <= now - 100.0 + allowance_s


def test_the_same_input_gives_the_same_output() -> None:
    random = Random(3)
    arrivals = [
        Arrival(packet.at + random.random() * 0.1, packet)
        for packet in talk(5.0)
        if random.random() > 0.1
    ]
    arrivals.sort(key=lambda arrival: arrival.at)
    first = run(JitterBuffer(), arrivals, until=6.0)
    second = run(JitterBuffer(), arrivals, until=6.0)
    assert first.items == second.items
