"""The jitter buffer on bad networks, in virtual time, with the numbers that it must keep."""

from math import pi, sin

import pytest

from gateway.rtp.jitter import JitterBuffer
from gateway.rtp.mos import estimate_mos
from gateway.rtp.payload import G711, OPUS, PayloadFormat
from tests.rtp.simulation import (
    Network,
    Sent,
    Trace,
    each_format,
    percentile,
    run,
    seeds,
    talk,
    through,
)

pytestmark = pytest.mark.pure

FRAME_S = 0.020


def held_s(trace: Trace, sent: list[Sent], arrived: dict[int, float]) -> dict[int, float]:
    """How long each packet that was heard waited in the buffer."""
    return {
        index: delay + sent[index].at - arrived[index]
        for index, delay in trace.delays(sent).items()
    }


def first_arrivals(network: Network, sent: list[Sent]) -> dict[int, float]:
    arrived: dict[int, float] = {}
    for arrival in network.carry(sent):
        arrived.setdefault(arrival.packet.index, arrival.at)
    return arrived


def check_timeline_under_loss(
    network: Network, seconds: float, format: PayloadFormat
) -> tuple[Trace, list[Sent]]:
    """Loss without jitter: every lost packet becomes its own length of `Lost`, never late."""
    sent = talk(seconds, format=format)
    buffer = JitterBuffer(format)
    arrivals = network.carry(sent)
    trace = run(buffer, arrivals, until=seconds + 0.1, format=format)
    trace.assert_in_order()
    assert set(trace.heard) == {packet.index for packet in sent} - network.lost
    first, last = trace.heard[0], trace.heard[-1]
    assert trace.at_last_audio() == (last - first + 1) * format.frame_samples
    assert (buffer.late, buffer.duplicate, buffer.cut_samples) == (0, 0, 0)
    origin = sent[first].at - FRAME_S
    prompt = trace.prompt_errors_s(sent, origin)
    assert len(prompt) > len(sent) / 4
    assert max(abs(error) for error in prompt) <= FRAME_S
    low, high = trace.error_s(origin, since=sent[first].at)
    assert high <= FRAME_S
    assert low >= -0.101  # while a loss is still undecided: the wait, a tick and a frame
    return trace, sent


@seeds(3)
@pytest.mark.parametrize("loss", [0.05, 0.10, 0.20])
def test_random_loss_is_filled_and_time_is_kept(
    loss: float, seed: int, format: PayloadFormat
) -> None:
    trace, sent = check_timeline_under_loss(Network(seed, loss=loss), 120.0, format)
    share = 1 - len(trace.heard) / len(sent)
    assert share == pytest.approx(loss, abs=0.02)
    assert estimate_mos(share, 60.0) >= {0.05: 3.65, 0.10: 3.2, 0.20: 2.4}[loss]


@seeds(5)
def test_burst_loss_resynchronises_at_once(seed: int, format: PayloadFormat) -> None:
    network = Network(seed, burst=(0.02, 0.20, 0.90))
    trace, sent = check_timeline_under_loss(network, 120.0, format)
    assert max(trace.delays(sent).values()) <= 0.060


@pytest.mark.parametrize("in_order", [False, True])
@seeds(6)
def test_jitter_of_100_ms_with_reordering_and_repetition(
    seed: int, format: PayloadFormat, in_order: bool
) -> None:
    network = Network(
        seed, delay_s=0.1, jitter_s=0.1, in_order=in_order, reorder=0.05, duplicate=0.05
    )
    sent = talk(60.0, format=format)
    buffer = JitterBuffer(format)
    trace = run(buffer, network.carry(sent), until=60.4, format=format)
    trace.assert_in_order()
    assert len(trace.heard) == len(set(trace.heard))
    assert len(sent) - len(trace.heard) <= 0.01 * len(sent)
    added = [delay - network.delay_s for delay in trace.delays(sent).values()]
    assert percentile(added, 0.99) <= 0.120


@seeds(6)
def test_reordering_by_30_ms_costs_nothing_but_its_delay(seed: int, format: PayloadFormat) -> None:
    network = Network(seed, reorder=0.05, reorder_s=0.030, duplicate=0.05)
    sent = talk(60.0, format=format)
    buffer = JitterBuffer(format)
    trace = run(buffer, network.carry(sent), until=60.05, format=format)
    trace.assert_in_order()
    assert trace.heard == list(range(3000))
    assert trace.lost == []
    assert max(trace.delays(sent).values()) <= 0.031
    assert buffer.duplicate > 100


@each_format
@pytest.mark.parametrize("jitter_s", [0.010, 0.020, 0.028])
def test_ordinary_jitter_makes_no_silence(jitter_s: float, format: PayloadFormat) -> None:
    network = Network(4, delay_s=jitter_s, jitter_s=jitter_s, in_order=True)
    buffer = JitterBuffer(format)
    sent = talk(120.0, format=format)
    trace = run(buffer, network.carry(sent), until=120.0, format=format)
    assert trace.lost == []
    assert buffer.late == 0


@seeds(4)
def test_the_delay_of_jitter_ends_with_the_jitter(seed: int, format: PayloadFormat) -> None:
    sent = talk(60.0, format=format)
    calm = Network(seed, loss=0.02)
    wild = Network(seed + 50, delay_s=0.1, jitter_s=0.1, loss=0.02, reorder=0.05, duplicate=0.05)
    calm_again = Network(seed + 100, loss=0.02)
    parts = [(calm, sent[:1000]), (wild, sent[1000:2000]), (calm_again, sent[2000:])]
    arrivals = sorted(
        (arrival for network, part in parts for arrival in network.carry(part)),
        key=lambda arrival: arrival.at,
    )
    buffer = JitterBuffer(format)
    trace = run(buffer, arrivals, until=60.1, format=format)
    trace.assert_in_order()
    assert buffer.late <= 10
    # 5 s after the jitter: what is held waits for a lost packet, as on any calm network
    after = {index: delay for index, delay in trace.delays(sent).items() if index >= 2250}
    assert max(after.values()) <= 0.060
    low, high = trace.error_s(-FRAME_S, since=46.0)
    assert low >= -0.101 and high <= FRAME_S


@each_format
@pytest.mark.parametrize("in_order", [False, True])
def test_jitter_and_loss_together(in_order: bool, format: PayloadFormat) -> None:
    network = Network(7, delay_s=0.06, jitter_s=0.06, in_order=in_order, loss=0.05)
    sent = talk(120.0, format=format)
    arrived = first_arrivals(network, sent)
    buffer = JitterBuffer(format)
    trace = run(buffer, network.carry(sent), until=120.4, format=format)
    trace.assert_in_order()
    missing = len(sent) - len(trace.heard) - len(network.lost)
    assert missing <= 0.01 * len(sent)
    if in_order:  # nobody overtakes, so what follows a gap proves the loss soon
        assert percentile(held_s(trace, sent, arrived).values(), 0.99) <= 0.080


@each_format
@pytest.mark.parametrize("ptime_ms", [10, 30, 40, 60])
def test_other_packet_lengths_under_loss_and_jitter(ptime_ms: int, format: PayloadFormat) -> None:
    samples = ptime_ms * format.clock_hz // 1000
    network = Network(ptime_ms, delay_s=0.03, jitter_s=0.03, loss=0.05, duplicate=0.05)
    sent = talk(120.0, format=format, samples=samples)
    buffer = JitterBuffer(format)
    trace = run(buffer, network.carry(sent), until=120.2, format=format)
    trace.assert_in_order(samples)
    assert len(sent) - len(trace.heard) - len(network.lost) <= 0.01 * len(sent)
    first = trace.heard[0]
    low, high = trace.error_s(sent[first].at - samples / format.clock_hz, since=5.0)
    assert low >= -0.2 and high <= FRAME_S


@pytest.mark.parametrize(
    ("ppm", "seconds", "format"),
    [
        (200, 3600, G711),
        (-200, 3600, G711),
        (1000, 600, G711),
        (-1000, 600, G711),
        (1000, 300, OPUS),
        (-1000, 300, OPUS),
    ],
)
def test_a_sender_with_another_clock(ppm: float, seconds: float, format: PayloadFormat) -> None:
    """Drift is absorbed 20 ms at a time, and the count of samples stays with our clock."""
    sent = talk(seconds, format=format, ppm=ppm)
    buffer = JitterBuffer(format)
    trace = run(buffer, through(sent, lambda _: 0.0), until=seconds, format=format)
    trace.assert_in_order()
    errors = trace.prompt_errors_s(sent, -FRAME_S)
    assert max(abs(error) for error in errors) <= 0.020 + 1e-9
    drift_frames = abs(ppm) * 1e-6 * seconds / FRAME_S
    if ppm < 0:
        assert set(trace.lost) == {format.frame_samples}
        assert len(trace.lost) == pytest.approx(drift_frames, abs=1)
        assert len(trace.heard) == len(sent)
    else:
        assert trace.lost == []
        missing = sorted({p.index for p in sent if p.at < seconds} - set(trace.heard))
        assert len(missing) == pytest.approx(drift_frames, abs=1)
        assert all(b - a > 500 for a, b in zip(missing, missing[1:], strict=False))


@pytest.mark.parametrize(("ppm", "format"), [(1000, G711), (-1000, G711), (1000, OPUS)])
def test_drift_is_absorbed_unheard_where_something_is_lost_anyway(
    ppm: float, format: PayloadFormat
) -> None:
    sent = talk(600.0, format=format, ppm=ppm)
    network = Network(3, loss=0.01)
    buffer = JitterBuffer(format)
    trace = run(buffer, network.carry(sent), until=600.0, format=format)
    trace.assert_in_order()
    # Now and then no loss comes along for too long; most of the 30 frames go unheard.
    good = {p.index for p in sent if p.at < 599.9} - network.lost
    assert len(good - set(trace.heard)) <= 3
    errors = trace.prompt_errors_s(sent, -FRAME_S)
    assert max(abs(error) for error in errors) <= 0.020 + 1e-9
    assert len(trace.lost) <= len(network.lost) + 3


@pytest.mark.parametrize(("ppm", "format"), [(500, G711), (-500, G711), (-500, OPUS)])
def test_drift_under_jitter(ppm: float, format: PayloadFormat) -> None:
    sent = talk(600.0, format=format, ppm=ppm)
    network = Network(11, delay_s=0.03, jitter_s=0.03, in_order=True)
    buffer = JitterBuffer(format)
    trace = run(buffer, network.carry(sent), until=600.2, format=format)
    trace.assert_in_order()
    assert buffer.late <= 5
    per_minute = [
        trace_errors(trace, -FRAME_S, start, start + 60.0) for start in range(60, 600, 60)
    ]
    # The best packets of each minute show where the timeline really stands.
    assert all(abs(best) <= 0.025 for best in per_minute)


def trace_errors(trace: Trace, origin: float, start: float, end: float) -> float:
    return max(
        samples / trace.format.clock_hz - (now - origin)
        for now, samples in trace.balance
        if start <= now < end
    )


@each_format
@pytest.mark.parametrize("period_s", [5.0, 20.0])
def test_a_road_that_swells_and_shrinks(period_s: float, format: PayloadFormat) -> None:
    """A queue somewhere breathes by 100 ms: nothing is lost to it but what keeps the clock."""
    sent = talk(120.0, format=format)
    buffer = JitterBuffer(format)
    arrivals = through(sent, lambda packet: 0.05 + 0.05 * sin(2 * pi * packet.at / period_s))
    trace = run(buffer, arrivals, until=120.1, format=format)
    trace.assert_in_order()
    assert buffer.late == 0
    assert len(sent) - len(trace.heard) <= 0.01 * len(sent)
    low, high = trace.error_s(-FRAME_S)
    assert low >= -0.15 and high <= 0.05
    if period_s < 6.0:
        assert trace.lost == []  # it comes back sooner than one could call it a longer road


def test_an_hour_with_both_wraps_is_without_a_glitch() -> None:
    sent = talk(3600.0, sequence=12345, timestamp=2**32 - 1800 * G711.clock_hz)
    trace = run(JitterBuffer(), through(sent, lambda _: 0.0), until=3600.0)
    assert trace.heard == list(range(180_000))
    assert trace.lost == []
