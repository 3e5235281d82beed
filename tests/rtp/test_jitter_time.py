"""The jitter buffer and the clock: silence, backlogs, routes that change."""

import pytest

from gateway.rtp.jitter import JitterBuffer
from gateway.rtp.payload import PayloadFormat
from gateway.rtp.timeline import Lost
from tests.rtp.simulation import (
    RATE,
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


def test_nothing_happens_before_the_first_packet() -> None:
    buffer = JitterBuffer()
    assert ticks(buffer, 0.0, 5.0) == []
    assert push(buffer, talk(0.02)[0], 5.0) == [payload_of(0)]


def test_after_start_the_clock_runs_without_any_packet() -> None:
    buffer = JitterBuffer()
    buffer.start(10.0)
    out = ticks(buffer, 10.001, 15.0)
    assert samples_of(out) / RATE == pytest.approx(5.0, abs=0.04)
    assert all(isinstance(item, Lost) for item in out)
    first = talk(0.02)[0]
    out += push(buffer, first, 15.0)
    assert out[-1] == first.payload
    assert samples_of(out) / RATE == pytest.approx(5.02, abs=0.001)


def test_start_in_time_for_the_first_packet_costs_nothing() -> None:
    buffer = JitterBuffer()
    buffer.start(0.0)
    sent = talk(2.0, at=0.05)
    trace = run(buffer, through(sent, lambda _: 0.0), until=2.05)
    assert trace.lost == []
    assert trace.heard == list(range(100))


def test_start_in_mid_stream_changes_nothing() -> None:
    buffer = JitterBuffer()
    sent = talk(1.0)
    for packet in sent:
        assert push(buffer, packet) == [packet.payload]
        if packet.index == 20:
            buffer.start(packet.at)
        assert not buffer.tick(packet.at + 0.005)


@each_format
def test_silence_is_filled_in_real_time_after_the_wait(format: PayloadFormat) -> None:
    buffer = JitterBuffer(format)
    sent = talk(1.0, format=format)
    trace = run(buffer, through(sent, lambda _: 0.0), until=6.0, format=format)
    assert trace.heard == list(range(50))
    first_fill = next(now for now, item in trace.items if isinstance(item, Lost))
    assert 1.0 + 0.060 <= first_fill <= 1.0 + 0.082
    for now, total in trace.balance:
        behind = now + 0.02 - total / format.clock_hz
        assert -1e-9 <= behind <= (0.082 if now < 1.3 else 0.042)


@each_format
@pytest.mark.parametrize("jitter_s", [0.0, 0.02])
def test_silence_suppression_keeps_time_and_every_word(
    jitter_s: float, format: PayloadFormat
) -> None:
    """Talk spurts of 1 s and pauses of 2 s in which only the timestamps go on."""
    sent: list[Sent] = []
    for n in range(10):
        sent += talk(
            1.0,
            format=format,
            at=n * 3.0,
            sequence=65530 + n * 50,
            timestamp=(2**32 - format.clock_hz // 2 + n * 3 * format.clock_hz) & 0xFFFFFFFF,
            index=n * 50,
        )
    network = Network(2, delay_s=jitter_s, jitter_s=jitter_s, in_order=True)
    trace = run(JitterBuffer(format), network.carry(sent), until=28.2, format=format)
    assert trace.heard == list(range(500))
    assert trace.at_last_audio() == 28 * format.clock_hz


@each_format
@pytest.mark.parametrize("silence_s", [0.2, 2.0])
def test_a_sender_whose_timestamps_stand_still_in_pauses(
    silence_s: float, format: PayloadFormat
) -> None:
    sent: list[Sent] = []
    for n in range(5):
        start = n * (1.0 + silence_s)
        sent += talk(
            1.0,
            format=format,
            at=start,
            sequence=n * 50,
            timestamp=n * format.clock_hz,
            index=n * 50,
        )
    end = 5.0 + 4 * silence_s
    trace = run(JitterBuffer(format), through(sent, lambda _: 0.0), until=end, format=format)
    assert trace.heard == list(range(250))
    assert trace.at_last_audio() / format.clock_hz == pytest.approx(end, abs=0.001)
    assert max(trace.prompt_errors_s(sent, -0.02)) <= 0.001


@each_format
def test_a_blackout_of_a_minute(format: PayloadFormat) -> None:
    sent = [packet for packet in talk(90.0, format=format) if not 10.0 <= packet.at < 70.0]
    trace = run(JitterBuffer(format), through(sent, lambda _: 0.0), until=90.0, format=format)
    assert trace.heard == [packet.index for packet in sent]
    assert trace.at_last_audio() == 90 * format.clock_hz
    assert max(trace.delays(sent).values()) == 0.0
    low, high = trace.error_s(-0.02)
    assert -0.085 <= low and high <= 1e-9


@each_format
@pytest.mark.parametrize("size_s", [0.05, 0.1, 0.3, 1.0])
def test_a_backlog_is_used_as_far_as_its_time_is_not_over(
    size_s: float, format: PayloadFormat
) -> None:
    """Nothing for `size_s`, then all of it at once, as after a moment without radio."""

    def stuck(packet: Sent) -> float:
        return max(0.0, 5.0 + size_s - packet.at) if packet.at >= 5.0 else 0.0

    buffer = JitterBuffer(format)
    sent = talk(10.0, format=format)
    trace = run(buffer, through(sent, stuck), until=10.0, format=format)
    trace.assert_in_order()
    assert trace.samples == 10 * format.clock_hz  # no time twice, none missing
    assert buffer.late == 500 - len(trace.heard) == sum(trace.lost) // format.frame_samples
    assert (buffer.late == 0) is (size_s <= 0.05)
    low, high = trace.error_s(-0.02)
    assert high <= 1e-9 and low >= -0.085


@each_format
def test_a_backlog_that_drains_slowly_is_no_longer_route(format: PayloadFormat) -> None:
    """Half a second of nothing, then five times the usual rate until all is caught up."""

    def draining(packet: Sent) -> float:
        return max(0.0, 5.5 + (packet.at - 5.0) / 5 - packet.at) if packet.at >= 5.0 else 0.0

    buffer = JitterBuffer(format)
    trace = run(buffer, through(talk(10.0, format=format), draining), until=10.0, format=format)
    trace.assert_in_order()
    assert trace.samples == 10 * format.clock_hz
    assert sum(trace.lost) == buffer.late * format.frame_samples + buffer.cut_samples
    assert trace.error_s(-0.02)[1] <= 1e-9
    assert max(trace.delays(talk(10.0, format=format)).values()) <= 0.12


def test_packets_of_one_moment_do_not_pile_up() -> None:
    buffer = JitterBuffer()
    for packet in talk(1.0):
        push(buffer, packet)
    ticks(buffer, 1.0, 3.0)
    for n in range(1000):
        buffer.push(150 + n, 5000 + 50 * 160, payload_of(n), 3.0 + n * 1e-5)
        assert len(buffer._line._overrun) <= 16


def test_one_packet_from_long_ago_does_not_make_the_clock_patient() -> None:
    buffer = JitterBuffer()
    sent = talk(5.0)
    trace = run(
        buffer, through(sent, lambda packet: 2.0 if packet.index == 100 else 0.0), until=6.0
    )
    assert buffer.late == 1
    fills = [now for now, item in trace.items if isinstance(item, Lost) and now > 5.0]
    assert 5.06 <= fills[0] <= 5.082


@each_format
@pytest.mark.parametrize("step_s", [0.03, 0.08, 0.15, 0.5])
def test_a_longer_route_costs_no_audio(step_s: float, format: PayloadFormat) -> None:
    buffer = JitterBuffer(format)
    sent = talk(30.0, format=format)
    trace = run(
        buffer,
        through(sent, lambda packet: step_s if packet.at >= 5.0 else 0.0),
        until=30.0,
        format=format,
    )
    trace.assert_in_order()
    missing = {packet.index for packet in sent if packet.at + step_s < 30.0} - set(trace.heard)
    assert len(missing) <= 1
    low, high = trace.error_s(-0.02, since=20.0)
    assert low >= -0.041 and high <= 0.020


@each_format
@pytest.mark.parametrize("step_s", [0.03, 0.08, 0.15])
def test_a_shorter_route_is_absorbed_in_small_pieces(step_s: float, format: PayloadFormat) -> None:
    buffer = JitterBuffer(format)
    sent = talk(40.0, format=format)
    trace = run(
        buffer,
        through(sent, lambda packet: step_s if packet.at < 10.0 else 0.0),
        until=40.0,
        format=format,
    )
    trace.assert_in_order()
    low, high = trace.error_s(step_s - 0.02, since=30.0)
    assert low >= -0.041 and high <= 0.020
    missing = sorted({packet.index for packet in sent} - set(trace.heard))
    assert buffer.cut_samples == len(missing) * format.frame_samples
    assert abs(buffer.cut_samples / format.clock_hz - step_s) <= 0.020
    late_cuts = [index for index in missing if index > 510]
    assert all(b - a > 50 for a, b in zip(late_cuts, late_cuts[1:], strict=False))


@each_format
@pytest.mark.parametrize("bundle", [30, 50])
def test_a_flood_faster_than_real_time_is_not_handed_on_as_time(
    bundle: int, format: PayloadFormat
) -> None:
    """A sender that pours seconds of audio in one moment cannot run our clock ahead."""
    buffer = JitterBuffer(format)
    trace = Trace(format)
    sent = talk(20.0, format=format)
    for n in range(0, 1000, bundle):
        now = 3.0 + n * 0.002
        for packet in sent[n : n + bundle]:
            trace.add(now, push(buffer, packet, now))
    elapsed = trace.balance[-1][0] - 3.0
    assert trace.samples / format.clock_hz <= elapsed + 0.4
    trace.assert_in_order()
