"""A gateway's session against a browser's audio: Opus, its clock, its headers, its keys."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rtp.packet import RtpPacket
from gateway.rtp.payload import OPUS, PayloadFormat
from gateway.rtp.receiver import Heard
from gateway.rtp.rtcp import ReceiverReport, ReportBlock, SenderReport, build_compound
from gateway.rtp.session import RtpSession
from gateway.rtp.timeline import Lost
from tests.rtp import parties
from tests.rtp.parties import ATTACKER, CALLER, audio, keys, length

pytestmark = pytest.mark.pure

RATE = 48_000
KEYS_48K, KEYS_8K = 110, 126


def gateway() -> RtpSession:
    return parties.gateway(OPUS, dtmf_payload_types=(KEYS_48K, KEYS_8K), rtcp_mux=True)


def browser(
    ssrc: int = 0xBBBB, sequence: int = 65500, timestamp: int = 2**32 - 20_000
) -> RtpSession:
    return parties.phone(
        OPUS,
        ssrc=ssrc,
        sequence=sequence,
        timestamp=timestamp,
        dtmf_payload_types=(KEYS_48K, KEYS_8K),
    )


def frame(n: int) -> bytes:
    return parties.frame(n, OPUS)


def talk(
    session: RtpSession, caller: RtpSession, start: float, count: int, *, first: int = 0
) -> list[Heard]:
    return parties.talk(session, caller, start, count, format=OPUS, first=first)


# -- audio -----------------------------------------------------------------------------------------


def test_audio_is_heard_as_it_was_sent_across_both_wraps() -> None:
    session = gateway()
    assert talk(session, browser(), 0.0, 100) == [frame(n) for n in range(100)]
    assert (session.stats.received, session.stats.lost) == (100, 0)
    assert session.stats.jitter_ms == pytest.approx(0.0, abs=1e-3)


def test_jitter_is_told_in_milliseconds_of_its_own_clock() -> None:
    session, caller, random = gateway(), browser(), Random(1)
    for n in range(1000):
        session.receive(caller.send(frame(n)), CALLER, n * 0.02 + random.random() * 0.010)
    assert session.stats.jitter_ms == pytest.approx(10 / 3, abs=1.0)


def test_what_is_sent_is_stamped_with_its_length_at_48_khz() -> None:
    session = gateway()
    two_frames_of_60_ms = b"\x59" + bytes(20)
    payloads = [frame(0), two_frames_of_60_ms, frame(1)]
    first, long, after = [RtpPacket.parse(session.send(payload)) for payload in payloads]
    assert [packet.payload for packet in (first, long, after)] == payloads
    assert (long.timestamp - first.timestamp) & 0xFFFFFFFF == 960
    assert (after.timestamp - long.timestamp) & 0xFFFFFFFF == 5760
    session.skip(RATE)
    last = RtpPacket.parse(session.send(frame(2)))
    assert (last.timestamp - after.timestamp) & 0xFFFFFFFF == 960 + RATE
    assert last.marker


def test_a_payload_that_is_no_opus_is_malformed_and_its_time_is_lost() -> None:
    session, caller = gateway(), browser()
    talk(session, caller, 0.0, 10)
    first = RtpPacket.parse(caller.send(frame(10)))
    broken = RtpPacket(0, first.sequence_number, first.timestamp, first.ssrc, b"\x03\x00")
    assert not session.receive(broken.to_bytes(), CALLER, 0.2)
    assert session.receive(caller.send(frame(11)), CALLER, 0.22) == [Lost(960), frame(11)]
    assert (session.stats.malformed, session.stats.lost) == (1, 0)


def test_a_silent_sender_costs_no_word() -> None:
    """DTX: 100 ms of speech, two packets in a pause of a second, speech again."""
    session, caller = gateway(), browser()
    heard = talk(session, caller, 0.0, 50)
    for n in range(50, 100):
        if n in (70, 90):
            heard += session.receive(caller.send(frame(n)), CALLER, n * 0.02)
        else:
            caller.skip(960)
        heard += session.tick(n * 0.02 + 0.01)
    heard += talk(session, caller, 2.0, 50, first=100)
    assert audio(heard) == [frame(n) for n in (*range(50), 70, 90, *range(100, 150))]
    assert length(heard, OPUS) == 3 * RATE
    assert session.stats.loss == 0.0


@pytest.mark.parametrize("sequence", [65551, 40000, 30])
def test_a_new_source_at_the_callers_address(sequence: int) -> None:
    session = gateway()
    heard = talk(session, browser(), 0.0, 50)
    other = browser(ssrc=0xCCCC, sequence=sequence, timestamp=777)
    heard += talk(session, other, 1.0, 50, first=50)
    assert heard == [frame(n) for n in range(100)]
    assert (session.stats.dropped_source, session.stats.lost) == (0, 0)


@given(st.binary(min_size=1, max_size=30), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_any_payload_raises_nothing_and_makes_no_time(payload: bytes, ahead: int) -> None:
    session, caller = gateway(), browser()
    heard = talk(session, caller, 0.0, 5)
    for _ in range(ahead):
        caller.send(frame(9))
    heard += session.receive(caller.send(payload), CALLER, 0.1)
    for n in range(10):
        heard += session.tick(0.11 + n * 0.02)
    assert length(heard, OPUS) / RATE <= 0.3 + 0.12


# -- headers ---------------------------------------------------------------------------------------

# What browsers put before the payload when it was agreed on: audio level (RFC 6464), absolute send
# time, transport-wide sequence number and mid (RFC 8285, one-byte and two-byte form).
ONE_BYTE = bytes.fromhex("bede 0003 10b2 22 8f3a51 31 0007 40 30 00")
TWO_BYTE = bytes.fromhex("1000 0003 01 01 b2 02 03 8f3a51 0f 01 30 00")


@pytest.mark.parametrize("extension", [ONE_BYTE, TWO_BYTE, b"\xbe\xde\x00\x00"])
@pytest.mark.parametrize("padding", [0, 1, 4, 255])
def test_header_extensions_and_padding_are_no_audio(extension: bytes, padding: int) -> None:
    session, caller = gateway(), browser()
    heard: list[Heard] = []
    for n in range(20):
        plain = caller.send(frame(n))
        first = 0x80 | 0x10 | (0x20 if padding else 0)
        data = bytes((first,)) + plain[1:12] + extension + plain[12:]
        if padding:
            data += bytes(padding - 1) + bytes((padding,))
        heard += session.receive(data, CALLER, n * 0.02)
    assert heard == [frame(n) for n in range(20)]
    assert session.stats.malformed == 0


def test_a_packet_of_padding_alone_takes_a_number_and_no_time() -> None:
    """Browsers probe the network with them."""
    session, caller = gateway(), browser()
    talk(session, caller, 0.0, 10)
    probe = caller.send(b"")
    probe = bytes((0xA0,)) + probe[1:] + bytes(223) + b"\xe0"
    assert not session.receive(probe, CALLER, 0.195)
    assert session.receive(caller.send(frame(10)), CALLER, 0.2) == [frame(10)]
    assert (session.stats.malformed, session.stats.lost) == (0, 0)


# -- keys ------------------------------------------------------------------------------------------


def test_a_key_is_sent_under_the_first_payload_type_at_the_clock_of_the_audio() -> None:
    session = gateway()
    packets = [
        RtpPacket.parse(data) for group in session.press("5", duration_ms=100) for data in group
    ]
    assert {packet.payload_type for packet in packets} == {KEYS_48K}
    durations = [int.from_bytes(packet.payload[2:], "big") for packet in packets]
    assert durations == [960, 1920, 2880, 3840, 4800, 4800, 4800]
    after = RtpPacket.parse(session.send(frame(0)))
    assert (after.timestamp - packets[0].timestamp) & 0xFFFFFFFF == 4800


@given(digits=st.text("0123456789*#", min_size=1, max_size=6), seed=st.integers(0, 2**16))
@settings(max_examples=40, deadline=None)
def test_keys_under_either_payload_type_are_heard_and_take_their_time(
    digits: str, seed: int
) -> None:
    session, caller, random = gateway(), browser(), Random(seed)
    heard = talk(session, caller, 0.0, 10)
    now = 0.2
    for digit in digits:
        kind = random.choice((KEYS_48K, KEYS_8K))
        for group in caller.press(digit):
            for data in group:
                if random.random() >= 0.1 or len(group) > 1:
                    packet = data[:1] + bytes((data[1] & 0x80 | kind,)) + data[2:]
                    heard += session.receive(packet, CALLER, now)
            heard += session.tick(now + 0.01)
            now += 0.02
        heard += talk(session, caller, now, 5)
        now += 0.1
    heard += talk(session, caller, now, 5)
    now += 0.1
    assert keys(heard) == digits
    assert len(audio(heard)) == 15 + 5 * len(digits)
    assert length(heard, OPUS) == round(now * RATE)


def test_a_payload_type_that_was_not_agreed_on_is_no_key() -> None:
    session, caller = gateway(), browser()
    talk(session, caller, 0.0, 10)
    data = RtpPacket(101, 65510, 1000, 0xBBBB, b"\x05\x0a\x03\xc0").to_bytes()
    assert not session.receive(data, CALLER, 0.2)
    assert session.stats.dropped_payload == 1


# -- reports ---------------------------------------------------------------------------------------


def report(*blocks: ReportBlock, ssrc: int = 0xBBBB) -> bytes:
    return build_compound([ReceiverReport(ssrc, blocks)])


@pytest.mark.parametrize("format", [OPUS, PayloadFormat()])
def test_the_loss_that_the_caller_reports_is_told(format: PayloadFormat) -> None:
    session = parties.gateway(format, rtcp_mux=True)
    caller = parties.phone(format)
    assert session.news_of_loss() is None
    parties.talk(session, caller, 0.0, 5, format=format)
    others, ours = ReportBlock(0x1234, 255, 9, 9, 9), ReportBlock(0xAAAA, 64, 9, 9, 9)
    session.receive(report(others), CALLER, 0.2)
    assert session.news_of_loss() is None
    session.receive(report(others, ours), CALLER, 0.3)
    assert session.news_of_loss() == 0.25
    assert session.news_of_loss() is None  # it is told once
    sender_report = SenderReport(0xBBBB, 1 << 32, 0, 5, 800, (ReportBlock(0xAAAA, 0, 9, 20, 0),))
    session.receive(build_compound([sender_report]), CALLER, 5.0)
    assert session.news_of_loss() == 0.0


def test_nobody_else_reports_loss() -> None:
    session, caller = gateway(), browser()
    talk(session, caller, 0.0, 5)
    ours = ReportBlock(0xAAAA, 255, 9, 9, 9)
    session.receive(report(ours), ATTACKER, 0.2)
    session.receive(report(ours, ssrc=0x9999), CALLER, 0.2)
    assert session.news_of_loss() is None


def test_two_sessions_tell_each_other_what_was_lost() -> None:
    session, caller = gateway(), browser()
    source = ("192.0.2.1", 20000)
    for n in range(400):
        now = n * 0.02
        session.receive(caller.send(frame(n)), CALLER, now)
        data = session.send(frame(n))
        if n % 4:
            caller.receive(data, source, now)
        data = caller.rtcp_report(now, parties.NTP + now) or b""
        if data:
            session.receive(data, CALLER, now)
    assert session.news_of_loss() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("payload_type", "clock_hz"), [(KEYS_48K, 0), (KEYS_48K, 48_000), (KEYS_8K, 8_000)]
)
def test_how_long_a_key_is_down_is_counted_by_the_clock_of_the_keys(
    payload_type: int, clock_hz: int
) -> None:
    """Firefox offers keys at 8 kHz only, beside Opus."""
    session = parties.gateway(OPUS, dtmf_payload_types=(payload_type,), dtmf_clock_hz=clock_hz)
    groups = [[RtpPacket.parse(one) for one in group] for group in session.press("5")]
    assert len(groups) == 8  # of 20 ms each
    durations = [int.from_bytes(group[0].payload[2:4], "big") for group in groups]
    per_ms = (clock_hz or 48_000) // 1000
    assert durations == [20 * per_ms * number for number in range(1, 9)]
    assert {packet.payload_type for group in groups for packet in group} == {payload_type}
    after = RtpPacket.parse(session.send(frame(1)))
    assert (after.timestamp - groups[0][0].timestamp) & 0xFFFF_FFFF == 160 * 48
