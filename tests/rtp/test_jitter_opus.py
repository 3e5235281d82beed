"""What Opus asks of the jitter buffer beyond G.711, and the numbers that browser calls must keep.

The other tests of the buffer run with both formats where the format could matter.
"""

import pytest

from gateway.rtp.jitter import JitterBuffer
from gateway.rtp.payload import OPUS, Clipped
from gateway.rtp.timeline import Lost
from tests.rtp.simulation import (
    Conversation,
    Network,
    Sent,
    Trace,
    payload_of,
    percentile,
    push,
    run,
    talk,
    through,
    ticks,
)

pytestmark = pytest.mark.pure

FRAME = 960


def played(arrivals_of: Network, sent: list[Sent], until: float) -> tuple[Trace, dict[int, float]]:
    """What comes out of a buffer, and when each packet first arrived."""
    arrivals = [arrival for arrival in arrivals_of.carry(sent) if arrival.at < until]
    arrived: dict[int, float] = {}
    for arrival in arrivals:
        arrived.setdefault(arrival.packet.index, arrival.at)
    trace = run(JitterBuffer(OPUS), arrivals, until=until, format=OPUS)
    trace.assert_in_order()
    return trace, arrived


# -- the numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize(("loss", "played_share"), [(0.01, 0.99), (0.03, 0.99), (0.10, 0.98)])
def test_loss_and_jitter_cost_less_than_120_ms_and_hardly_a_packet(
    loss: float, played_share: float, in_order: bool
) -> None:
    """20 ms packets, delayed by up to 40 ms: measured from sending, that delay included."""
    network = Network(5, delay_s=0.02, jitter_s=0.02, in_order=in_order, loss=loss)
    sent = talk(120.0, format=OPUS)
    trace, arrived = played(network, sent, 120.2)
    added = trace.delays(sent).values()
    assert max(added) < 0.120
    assert percentile(added, 0.99) < 0.060
    assert percentile(added, 0.5) < 0.040
    assert len(trace.heard) > played_share * len(arrived)
    first, last = trace.heard[0], trace.heard[-1]
    assert trace.at_last_audio() / FRAME == pytest.approx(last - first + 1, abs=1)


@pytest.mark.parametrize("loss", [0.01, 0.03, 0.10])
def test_a_conversation_with_pauses_under_loss_and_jitter(loss: float) -> None:
    conversation = Conversation(240.0, seed=3)
    network = Network(6, delay_s=0.02, jitter_s=0.02, in_order=True, loss=loss)
    until = conversation.sent[-1].at
    trace, arrived = played(network, conversation.sent, until)
    assert len(trace.heard) > 0.99 * len(arrived)
    assert max(trace.delays(conversation.sent).values()) < 0.120
    low, high = trace.error_s(-0.02, since=1.0)
    assert low > -0.145 and high <= 0.021


# -- pauses ----------------------------------------------------------------------------------------


def test_a_pause_passes_at_the_pace_of_the_clock() -> None:
    conversation = Conversation(60.0)
    sent = conversation.sent
    until = sent[-1].at + 0.001
    trace, _ = played(Network(0), sent, until)
    assert trace.heard == [packet.index for packet in sent]
    assert trace.at_last_audio() == round(sent[-1].at / 0.02 + 1) * FRAME
    assert max(trace.delays(sent).values()) == 0.0
    low, high = trace.error_s(-0.02)
    assert -0.085 <= low and high <= 1e-9


def test_a_pause_without_any_packet_is_no_different() -> None:
    conversation = Conversation(60.0)
    words = {index for word in conversation.words for index in word}
    sent = [
        Sent(packet.index, packet.at, n & 0xFFFF, packet.timestamp, packet.payload)
        for n, packet in enumerate(each for each in conversation.sent if each.index in words)
    ]
    trace, _ = played(Network(0), sent, sent[-1].at + 0.001)
    assert set(trace.heard) == words
    assert trace.at_last_audio() == round(sent[-1].at / 0.02 + 1) * FRAME


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("jitter_s", [0.010, 0.020])
def test_words_after_a_pause_begin_with_their_first_packet(jitter_s: float, in_order: bool) -> None:
    conversation = Conversation(240.0, seed=1)
    network = Network(2, delay_s=jitter_s, jitter_s=jitter_s, in_order=in_order)
    trace, _ = played(network, conversation.sent, conversation.sent[-1].at)
    heard = set(trace.heard)
    assert len(conversation.words) > 40
    # The first packet of all may be overtaken: there is no clock yet that it could keep to.
    assert [word[0] for word in conversation.words[1:] if word[0] not in heard] == []


@pytest.mark.parametrize("silence_s", [0.4, 1.0, 5.0])
def test_the_first_packet_of_a_word_may_be_overtaken(silence_s: float) -> None:
    buffer = JitterBuffer(OPUS)
    before = talk(1.0, format=OPUS)
    for packet in before:
        push(buffer, packet)
        buffer.tick(packet.at + 0.01)
    start = 1.0 + silence_s
    ticks(buffer, 1.01, start)
    one, two = talk(
        0.04,
        format=OPUS,
        at=start,
        sequence=150,
        timestamp=5000 + round(start * OPUS.clock_hz),
        index=50,
    )
    assert push(buffer, two, start + 0.021) == []
    assert not buffer.tick(start + 0.030)
    heard = [item for item in push(buffer, one, start + 0.035) if not isinstance(item, Lost)]
    assert heard == [one.payload, two.payload]


def test_a_lost_packet_of_a_pause_delays_the_next_word_by_little() -> None:
    conversation = Conversation(240.0, seed=4)
    words = {index for word in conversation.words for index in word}
    kept = [
        packet
        for packet in conversation.sent
        if packet.index in words or packet.index + 1 not in words
    ]
    assert len(conversation.sent) - len(kept) > 20
    trace = run(
        JitterBuffer(OPUS), through(kept, lambda _: 0.0), until=kept[-1].at + 0.1, format=OPUS
    )
    assert trace.heard == [packet.index for packet in kept]
    assert max(trace.delays(kept).values()) <= 0.051


# -- payloads --------------------------------------------------------------------------------------


def test_a_packet_whose_beginning_was_overrun_is_clipped_by_its_decoder() -> None:
    """60 ms packets: when the clock has run on for 20 ms, 40 ms are still of use."""
    buffer = JitterBuffer(OPUS)
    first, late, after = talk(0.18, format=OPUS, samples=2880)
    assert push(buffer, first) == [first.payload]
    out = ticks(buffer, 0.01, 0.18)
    assert out == [Lost(960)]
    assert push(buffer, late, 0.175) == [Clipped(late.payload, 960)]
    assert push(buffer, after, 0.180) == [after.payload]
    assert buffer._line.cut_samples == 960
    assert buffer.late == 0


def test_a_payload_of_no_length_is_counted_and_only_its_number_is_taken() -> None:
    buffer = JitterBuffer(OPUS)
    a, b, c, d = talk(0.08, format=OPUS)
    assert push(buffer, a) == [a.payload]
    broken = Sent(1, b.at, b.sequence, b.timestamp, b"\x03\x00")
    assert push(buffer, broken) == []
    assert push(buffer, c) == [Lost(960), c.payload]
    assert push(buffer, d) == [d.payload]
    assert (buffer.unusable, buffer.late, buffer.duplicate) == (1, 0, 0)


def test_packets_of_changing_length() -> None:
    buffer = JitterBuffer(OPUS)
    lengths = (480, 960, 2880, 5760, 960, 480, 1920, 960)
    trace = Trace(OPUS)
    timestamp = 2**32 - 3000
    now = 10.0
    for index, samples in enumerate(lengths * 10):
        payload = payload_of(index, samples, OPUS)
        trace.add(now, buffer.push(65530 + index & 0xFFFF, timestamp, payload, now))
        timestamp = (timestamp + samples) & 0xFFFFFFFF
        # A packet is sent when its last sample was recorded: the next one follows after its own.
        now += lengths[(index + 1) % len(lengths)] / OPUS.clock_hz
    assert trace.heard == list(range(80))
    assert trace.samples == sum(lengths) * 10
    assert trace.lost == []
