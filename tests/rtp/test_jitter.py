"""The jitter buffer, packet by packet."""

import pytest

from gateway.rtp.jitter import JitterBuffer
from gateway.rtp.payload import PayloadFormat
from gateway.rtp.timeline import Lost
from tests.rtp.simulation import (
    RATE,
    Arrival,
    Network,
    Sent,
    Trace,
    each_format,
    payload_of,
    push,
    run,
    samples_of,
    talk,
    through,
    ticks,
)

pytestmark = pytest.mark.pure


# -- order ---------------------------------------------------------------------------------------


def test_packets_in_order_go_straight_through() -> None:
    buffer = JitterBuffer()
    for packet in talk(2.0, sequence=65500, timestamp=2**32 - 3200):
        assert push(buffer, packet) == [packet.payload]
        assert not buffer.tick(packet.at + 0.01)


def test_two_that_changed_places_are_put_in_order() -> None:
    buffer = JitterBuffer()
    a, b, c, d = talk(0.08)
    assert push(buffer, a) == [a.payload]
    assert push(buffer, c, 0.040) == []
    assert push(buffer, b, 0.050) == [b.payload, c.payload]
    assert push(buffer, d) == [d.payload]


def test_repetitions_are_dropped_wherever_they_come() -> None:
    buffer = JitterBuffer()
    a, b, c, d = talk(0.08)
    push(buffer, a)
    assert push(buffer, a, 0.001) == []
    push(buffer, c)
    assert push(buffer, c, 0.041) == []
    assert push(buffer, b, 0.042) == [b.payload, c.payload]
    assert push(buffer, b, 0.043) == []
    push(buffer, d)
    assert buffer.duplicate == 3
    assert buffer.late == 0


def test_a_missing_packet_is_given_up_by_the_clock_only() -> None:
    buffer = JitterBuffer()
    a, _, c, d, e, f = talk(0.12)
    push(buffer, a)
    assert push(buffer, c) == []
    assert not buffer.tick(0.047)
    assert push(buffer, d) == []
    assert not buffer.tick(0.067)
    assert push(buffer, e) == []
    assert list(buffer.tick(0.087)) == [Lost(160), c.payload, d.payload, e.payload]
    assert push(buffer, f) == [f.payload]


def test_what_comes_after_it_was_given_up_is_late_once() -> None:
    buffer = JitterBuffer()
    a, b, c, d, e, f = talk(0.12)
    for packet in (a, c, d, e):
        push(buffer, packet)
    ticks(buffer, 0.047, 0.1)
    assert push(buffer, b, 0.095) == []
    assert push(buffer, b, 0.096) == []
    assert (buffer.late, buffer.duplicate) == (1, 1)
    assert push(buffer, f) == [f.payload]


def test_several_losses_are_each_a_gap_of_their_length() -> None:
    buffer = JitterBuffer()
    sent = talk(0.4)
    kept = [packet for packet in sent if packet.index not in (3, 4, 7, 12)]
    trace = run(buffer, through(kept, lambda _: 0.0), until=0.385)
    assert trace.lost == [320, 160, 160]
    assert trace.heard == [packet.index for packet in kept]
    assert trace.samples == len(sent) * 160


def test_our_own_standstill_loses_nothing() -> None:
    buffer = JitterBuffer()
    sent = talk(2.0)
    trace = Trace()
    for packet in sent:
        # From 1.0 to 1.4 s this process does not run; the socket keeps what comes
        # swapped in pairs.
        stuck = 1.0 <= packet.at < 1.4
        if not stuck:
            if packet.at >= 1.4 and trace.items[-1][0] < 1.4:
                trace.add(1.400, buffer.tick(1.400))  # the clock wakes first
                backlog = [p for p in sent if 1.0 <= p.at < 1.4]
                for one, two in zip(backlog[::2], backlog[1::2], strict=True):
                    trace.add(1.4, push(buffer, two, 1.4))
                    trace.add(1.4, push(buffer, one, 1.4))
            trace.add(packet.at, push(buffer, packet))
            trace.add(packet.at + 0.01, buffer.tick(packet.at + 0.01))
    trace.assert_in_order()
    assert trace.heard == [packet.index for packet in sent]
    assert trace.lost == []


def test_a_held_queue_stays_bounded() -> None:
    buffer = JitterBuffer()
    sent = talk(20.0)
    push(buffer, sent[0])
    for packet in sent[2:]:  # the clock never ticks, so nothing is given up by time
        push(buffer, packet)
        assert len(buffer._held) <= 64


# -- numbers and timestamps ----------------------------------------------------------------------


@each_format
@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 60])
def test_both_wraps_with_loss_around_them(ptime_ms: int, format: PayloadFormat) -> None:
    samples_per_packet = ptime_ms * format.clock_hz // 1000
    sent = talk(
        4.0,
        format=format,
        samples=samples_per_packet,
        sequence=65536 - 2000 // ptime_ms,
        timestamp=2**32 - 2 * format.clock_hz,
    )
    network = Network(3, loss=0.05)
    trace = run(JitterBuffer(format), network.carry(sent), until=4.2, format=format)
    trace.assert_in_order(samples_per_packet)
    assert set(trace.heard) == {packet.index for packet in sent} - network.lost
    first, last = trace.heard[0], trace.heard[-1]
    assert trace.at_last_audio() == (last - first + 1) * samples_per_packet


@pytest.mark.parametrize("jump", [3600 * RATE, -3600 * RATE, 5000, -5000, 2**31])
def test_timestamps_that_jump_while_the_numbers_go_on(jump: int) -> None:
    before = talk(2.0)
    after = talk(2.0, at=2.0, sequence=200, timestamp=5000 + 16000 + jump, index=100)
    trace = run(JitterBuffer(), through(before + after, lambda _: 0.0), until=4.0)
    assert trace.heard == list(range(200))
    assert trace.lost == []


@pytest.mark.parametrize("jump", [-50, -1000, 30, 70, 1000, 20000])
@pytest.mark.parametrize("timestamp", [None, 1_234_567_890])
def test_numbers_that_jump(jump: int, timestamp: int | None) -> None:
    before = talk(2.0)
    after = talk(
        2.0,
        at=2.0,
        sequence=200 + jump,
        timestamp=21000 if timestamp is None else timestamp,
        index=100,
    )
    trace = run(JitterBuffer(), through(before + after, lambda _: 0.0), until=4.0)
    assert trace.heard == list(range(200))
    assert sum(trace.lost) <= 160
    errors = trace.error_s(-0.02, since=1.0)
    assert -0.065 <= errors[0] and errors[1] <= 0.020


def test_one_stray_number_changes_nothing() -> None:
    sent = talk(2.0)
    stray = Sent(9999, 1.005, 40000, 77, payload_of(9999))
    arrivals = through([*sent, stray], lambda _: 0.0)
    trace = run(JitterBuffer(), arrivals, until=2.0)
    assert trace.heard == list(range(100))


def test_stray_numbers_far_apart_in_time_are_no_new_beginning() -> None:
    sent = talk(12.0)
    strays = [Sent(9999, 1.005, 40000, 77, b"x" * 160), Sent(9999, 11.005, 40001, 237, b"x" * 160)]
    trace = run(JitterBuffer(), through([*sent, *strays], lambda _: 0.0), until=12.0)
    assert trace.heard == list(range(600))


def test_a_replay_of_old_packets_is_not_a_new_beginning() -> None:
    sent = talk(30.0)
    replay = [Arrival(20.0 + n * 0.020 + 0.005, sent[100 + n]) for n in range(400)]
    arrivals = sorted([*through(sent, lambda _: 0.0), *replay], key=lambda each: each.at)
    buffer = JitterBuffer()
    trace = run(buffer, arrivals, until=30.0)
    assert trace.heard == list(range(1500))
    assert buffer.duplicate == 400


def test_packets_that_overtook_the_first_one_are_late() -> None:
    buffer = JitterBuffer()
    a, b, c = talk(0.06)
    assert push(buffer, b, 0.02) == [b.payload]
    assert push(buffer, a, 0.03) == []
    assert push(buffer, c, 0.04) == [c.payload]
    assert (buffer.late, buffer.duplicate) == (1, 0)


# -- packets that are not audio --------------------------------------------------------------------


def test_numbers_that_are_accounted_for_are_not_missed() -> None:
    """A key press takes the place of 200 ms of audio, with packets of its own."""
    buffer = JitterBuffer()
    trace = Trace()
    sent = talk(1.0, sequence=65500)
    for packet in sent:
        if 20 <= packet.index < 30:
            trace.add(packet.at, buffer.account(packet.sequence, packet.at))
        else:
            trace.add(packet.at, push(buffer, packet))
            assert isinstance(trace.items[-1][1], bytes)
        trace.add(packet.at + 0.01, buffer.tick(packet.at + 0.01))
    assert trace.heard == [n for n in range(50) if not 20 <= n < 30]
    assert trace.samples == RATE
    assert sum(trace.lost) == 1600
    low, high = trace.error_s(-0.02)
    assert low >= -0.085 and high <= 1e-9


def test_an_accounted_number_fills_a_gap() -> None:
    buffer = JitterBuffer()
    a, b, c = talk(0.06)
    push(buffer, a)
    early = Sent(2, 0.03, c.sequence, b.timestamp, b.payload)
    assert push(buffer, early) == [b.payload]  # no time is missing between a and this one
    assert list(buffer.account(b.sequence, 0.031)) == []
    buffer = JitterBuffer()
    push(buffer, a)
    assert push(buffer, c) == []
    assert list(buffer.account(b.sequence, 0.045)) == [Lost(160), c.payload]


def test_a_lost_key_packet_holds_nothing_up_for_long() -> None:
    buffer = JitterBuffer()
    trace = Trace()
    for packet in talk(1.0):
        if packet.index == 25:
            continue  # the last packet of the press, lost
        if 20 <= packet.index < 25:
            trace.add(packet.at, buffer.account(packet.sequence, packet.at))
        else:
            trace.add(packet.at, push(buffer, packet))
        trace.add(packet.at + 0.01, buffer.tick(packet.at + 0.01))
    assert trace.heard == [n for n in range(50) if not 20 <= n < 26]
    assert max(trace.delays(talk(1.0)).values()) <= 0.051


def test_a_lost_packet_before_a_key_does_not_hold_up_the_time() -> None:
    """The timestamp of a key is not that of audio, so it says nothing about what is missing."""
    buffer = JitterBuffer()
    for packet in talk(1.0, timestamp=2**32 - 16000):
        push(buffer, packet)
    total = 50 * 160 + samples_of(ticks(buffer, 1.001, 1.1))
    assert list(buffer.account(151, 1.1)) == []
    for n in range(10):
        now = 1.101 + n * 0.02
        total += samples_of(list(buffer.tick(now)))
        assert 0.0 <= now - total / RATE <= 0.062


def test_accounting_before_any_audio_is_nothing() -> None:
    buffer = JitterBuffer()
    assert buffer.account(5, 0.0) == ()
    assert push(buffer, talk(0.02)[0]) == [payload_of(0)]


# -- hold and another stream -----------------------------------------------------------------------


def test_on_hold_no_time_passes_and_nothing_is_heard() -> None:
    buffer = JitterBuffer()
    sent = talk(3.0)
    trace = Trace()
    for packet in sent:
        if packet.index == 50:
            buffer.pause()
        if packet.index == 100:
            buffer.start(packet.at)
        trace.add(packet.at, push(buffer, packet))
        trace.add(packet.at + 0.01, buffer.tick(packet.at + 0.01))
    assert trace.heard == [*range(50), *range(100, 150)]
    assert trace.lost == []


def test_after_hold_the_clock_runs_before_the_caller_is_back() -> None:
    buffer = JitterBuffer()
    for packet in talk(1.0):
        push(buffer, packet)
    buffer.pause()
    assert ticks(buffer, 1.0, 60.0) == []
    buffer.start(60.0)
    out = ticks(buffer, 60.0, 61.0)
    out += push(buffer, talk(0.02, sequence=7, timestamp=9)[0], 61.0)
    assert samples_of(out) / RATE == pytest.approx(1.02, abs=0.001)


def test_a_hundred_holds() -> None:
    buffer = JitterBuffer()
    trace = Trace()
    for n in range(100):
        start = n * 2.0
        buffer.start(start)
        for packet in talk(1.0, at=start, sequence=n * 99, timestamp=n * 7777, index=n * 50):
            trace.add(packet.at, push(buffer, packet))
            trace.add(packet.at + 0.01, buffer.tick(packet.at + 0.01))
        buffer.pause()
        trace.add(start + 1.5, buffer.tick(start + 1.5))
    assert trace.heard == list(range(5000))
    assert trace.lost == []


@pytest.mark.parametrize("gap_s", [0.0, 0.02, 0.04, 0.5])
def test_another_stream_takes_over(gap_s: float) -> None:
    buffer = JitterBuffer()
    trace = Trace()
    other = talk(2.0, at=1.0 + gap_s, sequence=50000, timestamp=10**9, index=50)
    for n, packet in enumerate([*talk(1.0), *other]):
        if n == 50:
            if gap_s > 0.1:
                trace.add(1.1, buffer.tick(1.1))
                trace.add(1.12, buffer.tick(1.12))
            trace.add(packet.at, buffer.restart())
        trace.add(packet.at, push(buffer, packet))
        trace.add(packet.at + 0.01, buffer.tick(packet.at + 0.01))
    assert trace.heard == list(range(150))
    assert abs(trace.samples / RATE - 3.0 - gap_s) <= 0.020


def test_what_is_held_is_let_go_when_another_stream_takes_over() -> None:
    buffer = JitterBuffer()
    a, _, c = talk(0.06)
    push(buffer, a)
    push(buffer, c)
    assert list(buffer.restart()) == [Lost(160), c.payload]
