"""The reports that two sessions exchange."""

from random import Random

import pytest

from gateway.rtp.config import RtpConfig
from gateway.rtp.rtcp import (
    Goodbye,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    build_compound,
    parse_compound,
)
from gateway.rtp.session import RtpSession
from tests.rtp.parties import (
    ATTACKER,
    CALLER,
    CALLER_RTCP,
    NTP,
    frame,
    gateway,
    phone,
    talk,
)

pytestmark = pytest.mark.pure


# -- RTCP ------------------------------------------------------------------------------------------


def reports(session: RtpSession, start: float, end: float) -> list[tuple[float, bytes]]:
    found = []
    for n in range(int((end - start) / 0.02)):
        now = start + n * 0.02
        data = session.rtcp_report(now, NTP + now)
        if data is not None:
            found.append((now, data))
    return found


def test_reports_come_about_every_five_seconds() -> None:
    times = [now for now, _ in reports(gateway(), 0.0, 60.0)]
    assert times[0] == pytest.approx(2.5, abs=0.021)
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert gaps == pytest.approx([5.0] * len(gaps), abs=0.021)
    assert len(times) == 12


def test_reports_are_spread_by_chance() -> None:
    random = Random(4)
    session = gateway()
    session._random = random.random
    times = [now for now, _ in reports(session, 0.0, 600.0)]
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert all(2.5 <= gap <= 7.53 for gap in gaps)
    assert max(gaps) - min(gaps) > 3.0


def test_who_sends_reports_what_it_sent_and_heard() -> None:
    session, caller = gateway(), phone()
    for n in range(150):
        data = caller.send(frame(n))
        if n % 10 != 5:
            session.receive(data, CALLER, n * 0.02)
        session.send(frame(n))
        report = session.rtcp_report(n * 0.02, NTP + n * 0.02)
        if report is not None:
            break
    assert report is not None
    sender_report, description = parse_compound(report)
    assert isinstance(sender_report, SenderReport)
    assert description == SourceDescription(((0xAAAA, "gateway"),))
    assert sender_report.ssrc == 0xAAAA
    assert sender_report.packets == 126
    assert sender_report.octets == 126 * 160
    assert sender_report.ntp >> 32 == int(NTP) + 2
    assert sender_report.rtp_timestamp == (2**32 - 480 + 126 * 160) & 0xFFFFFFFF
    (block,) = sender_report.reports
    assert block.ssrc == 0xBBBB
    assert block.cumulative_lost == 12  # the thirteenth is not missed before the next one came
    assert block.highest_sequence == 224
    assert block.fraction_lost == pytest.approx(25, abs=2)
    assert (block.last_sr, block.delay_since_last_sr) == (0, 0)


def test_who_only_listens_sends_a_receiver_report() -> None:
    session, caller = gateway(), phone()
    talk(session, caller, 0.0, 200)
    (_, first), *_ = reports(session, 4.0, 12.0)
    assert isinstance(parse_compound(first)[0], ReceiverReport)
    session.send(frame(0))
    (_, second), (_, third) = reports(session, 12.0, 22.0)
    assert isinstance(parse_compound(second)[0], SenderReport)
    assert isinstance(parse_compound(third)[0], ReceiverReport)


def test_a_report_before_anything_was_heard_has_no_block() -> None:
    ((_, data),) = reports(gateway(), 0.0, 3.0)
    assert parse_compound(data)[0] == ReceiverReport(0xAAAA)


@pytest.mark.parametrize("one_way_s", [0.005, 0.08, 0.5])
def test_the_round_trip_is_measured(one_way_s: float) -> None:
    session, caller = gateway(), phone()
    wire: list[tuple[float, bool, bytes]] = []
    for n in range(1500):
        now = n * 0.02
        session.receive(caller.send(frame(n)), CALLER, now)
        caller.receive(session.send(frame(n)), ("192.0.2.1", 20000), now)
        for to_phone, each in ((True, session), (False, caller)):
            data = each.rtcp_report(now + (0 if to_phone else 0.007), NTP + now + 3.3)
            if data is not None:
                wire.append((now + one_way_s, to_phone, data))
        while wire and wire[0][0] <= now:
            at, to_phone, data = wire.pop(0)
            if to_phone:
                caller.receive_rtcp(data, ("192.0.2.1", 20001), at)
            else:
                session.receive_rtcp(data, CALLER_RTCP, at)
    for each in (session, caller):
        assert each.stats.rtt_ms == pytest.approx(2000 * one_way_s, abs=8.0)


def test_only_the_latest_reports_are_remembered() -> None:
    session = gateway()
    for n in range(100):
        session.send(frame(n))
        assert session.rtcp_report(n * 10.0, NTP + n * 10.0) is not None or n == 0
    assert len(session._sent_reports) == 8


def test_a_report_about_others_or_about_none_of_ours_tells_no_round_trip() -> None:
    session = gateway()
    talk(session, phone(), 0.0, 5)
    block = ReportBlock(0xAAAA, 64, 10, 1, 1)
    elsewhere = ReportBlock(0x1234, 255, 10, 1, 1)
    session.receive_rtcp(
        build_compound([ReceiverReport(0xBBBB, (elsewhere, block))]), CALLER_RTCP, 1.0
    )
    assert session.stats.rtt_ms is None


def test_a_goodbye_is_told_and_ends_nothing() -> None:
    session, caller = gateway(), phone()
    talk(session, caller, 0.0, 10)
    assert session.receive_rtcp(caller.bye(0.2), CALLER_RTCP, 0.2) is True
    heard = talk(session, caller, 0.2, 10, first=10)
    assert heard == [frame(n) for n in range(10, 20)]


def test_a_thousand_forged_goodbyes() -> None:
    session, caller = gateway(), phone()
    talk(session, caller, 0.0, 10)
    forged = build_compound([ReceiverReport(0xBBBB), Goodbye((0xBBBB,), "gotcha")])
    for n in range(1000):
        assert session.receive_rtcp(forged, ATTACKER, 0.2) is False
        assert not session.receive(forged, ATTACKER, 0.2)
        other = build_compound([ReceiverReport(n), Goodbye((n,))])
        assert session.receive_rtcp(other, CALLER_RTCP, 0.2) is False
    assert talk(session, caller, 0.2, 10, first=10) == [frame(n) for n in range(10, 20)]
    assert session.remote_rtcp == CALLER_RTCP


def test_our_goodbye() -> None:
    session, caller = gateway(), phone()
    talk(session, caller, 0.0, 10)
    report, description, goodbye = parse_compound(session.bye(1.0))
    assert isinstance(report, ReceiverReport)
    assert report.reports[0].highest_sequence == 109
    assert description == SourceDescription(((0xAAAA, "gateway"),))
    assert goodbye == Goodbye((0xAAAA,))


def test_where_reports_go() -> None:
    assert gateway().remote_rtcp == CALLER_RTCP
    assert gateway(remote_rtcp_port=7777).remote_rtcp == (CALLER[0], 7777)
    assert gateway(rtcp_mux=True).remote_rtcp == CALLER
    assert gateway(remote=None).remote_rtcp is None


def test_reports_follow_the_port_that_reports_come_from() -> None:
    session, caller = gateway(), phone()
    talk(session, caller, 0.0, 10)
    odd = (CALLER[0], 60001)
    session.receive_rtcp(build_compound([ReceiverReport(0x9999)]), (CALLER[0], 666), 0.2)
    assert session.remote_rtcp == CALLER_RTCP
    session.receive_rtcp(build_compound([ReceiverReport(0xBBBB)]), odd, 0.2)
    assert session.remote_rtcp == odd
    session.retarget(RtpConfig(payload_type=0, remote=("192.0.2.20", 6000)))
    assert session.remote_rtcp == ("192.0.2.20", 6001)


def test_the_port_of_reports_is_forgotten_when_the_caller_moves() -> None:
    natted, report = ("198.51.100.7", 61234), build_compound([ReceiverReport(0xBBBB)])
    session, caller = gateway(), phone()
    session.start(0.0)
    talk(session, caller, 0.3, 10, source=natted)
    session.receive_rtcp(report, ("198.51.100.7", 50000), 0.5)
    assert session.remote_rtcp == ("198.51.100.7", 50000)
    talk(session, caller, 0.5, 10)  # back to the signalled address
    assert session.remote == CALLER
    assert session.remote_rtcp == CALLER_RTCP


def test_reports_on_the_rtp_port_are_recognised() -> None:
    session, caller = gateway(rtcp_mux=True), phone()
    talk(session, caller, 0.0, 10)
    data = build_compound([ReceiverReport(0xBBBB)])
    assert not session.receive(data, CALLER, 0.3)
    assert session.last_received == 0.3
    assert session.stats.malformed == 0


def test_broken_reports_are_counted() -> None:
    session = gateway()
    assert session.receive_rtcp(b"\x80\xc9\x00", CALLER_RTCP, 0.0) is False
    assert session.stats.malformed == 1


def test_another_source_of_ours_is_reported_from_zero() -> None:
    """RFC 3550 section 6.4.1; what was sent in all goes on for us."""
    session = gateway()
    for number in range(7):
        session.send(frame(number))
    session.sender.become(ssrc=0xCCCC, first_sequence=9)
    for number in range(3):
        session.send(frame(number))
    (_, first), *_ = reports(session, 0.0, 10.0)
    report = parse_compound(first)[0]
    assert isinstance(report, SenderReport)
    assert (report.ssrc, report.packets, report.octets) == (0xCCCC, 3, 480)
    assert session.stats.sent == 10
