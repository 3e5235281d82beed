"""How much is sent to an address from which nothing ever came."""

import pytest

from gateway.rtp.config import RtpConfig
from gateway.rtp.rtcp import ReceiverReport, build_compound
from gateway.rtp.session import RtpSession
from tests.rtp.parties import ATTACKER, CALLER, CALLER_RTCP, frame, gateway, phone, talk

pytestmark = pytest.mark.pure

VICTIM = ("203.0.113.9", 7000)
REPORT = build_compound([ReceiverReport(0xBBBB)])


def sent(session: RtpSession, start: float, seconds: float, *, every: float = 0.02) -> int:
    """Packets that leave when a frame is due all the time."""
    count = 0
    for n in range(round(seconds / every)):
        if session.destination(start + n * every) is not None:
            session.send(frame(n))
            count += 1
    return count


@pytest.mark.parametrize(("every", "most"), [(0.01, 500), (0.02, 500), (0.06, 167)])
def test_a_silent_address_is_sent_ten_seconds_and_500_packets_at_most(
    every: float, most: int
) -> None:
    session = gateway(remote=VICTIM)
    assert sent(session, 100.0, 60.0, every=every) == pytest.approx(most, abs=1)
    assert session.stats.sent <= 500
    assert session.remote == VICTIM


def test_where_somebody_else_asks_for_consent_there_is_no_trial() -> None:
    session = gateway(consented=True)
    assert sent(session, 0.0, 60.0) == 3000


def test_audio_from_the_caller_is_consent_for_good() -> None:
    session = gateway()
    session.receive(phone().send(frame(0)), CALLER, 0.0)
    assert sent(session, 0.0, 60.0) == 3000


def test_consent_may_come_after_the_trial() -> None:
    session, caller = gateway(), phone()
    sent(session, 0.0, 20.0)
    assert session.destination(20.0) is None
    session.receive(caller.send(frame(0)), CALLER, 20.0)
    assert session.destination(20.0) == CALLER


@pytest.mark.parametrize("mux", [False, True])
def test_a_report_of_one_who_only_listens_is_consent(mux: bool) -> None:
    session = gateway(rtcp_mux=mux)
    sent(session, 0.0, 20.0)
    if mux:
        session.receive(REPORT, CALLER, 20.0)
    else:
        session.receive_rtcp(REPORT, CALLER_RTCP, 20.0)
    assert sent(session, 20.0, 60.0) == 3000
    assert session.last_received == 20.0


def test_what_proves_nothing_is_no_consent() -> None:
    session, stranger = gateway(), phone(ssrc=9)
    for n in range(600):
        now = n * 0.02
        session.receive(bytes(30), CALLER, now)
        session.receive(stranger.send(frame(n)), (f"203.0.113.{n % 200}", 5555), now)
        session.receive_rtcp(REPORT, ATTACKER, now)
        session.receive_rtcp(b"\x80\xc9\x00", CALLER_RTCP, now)
    assert sent(session, 0.0, 20.0) == 500


def test_a_new_address_has_to_consent_itself() -> None:
    session, caller = gateway(), phone()
    talk(session, caller, 0.0, 50)
    session.receive_rtcp(REPORT, CALLER_RTCP, 1.0)
    session.retarget(RtpConfig(0, (101,), VICTIM))
    assert sent(session, 1.0, 60.0) == 500
    session.retarget(RtpConfig(8, (101,), VICTIM))  # the same address: nothing begins anew
    assert sent(session, 61.0, 60.0) == 0


def test_a_victim_cannot_be_kept_busy_at_one_port_after_another() -> None:
    session = gateway(remote=VICTIM)
    total = 0
    for n in range(20):
        total += sent(session, n * 3.0, 3.0)
        session.retarget(RtpConfig(0, (101,), (VICTIM[0], VICTIM[1] + 2 * (n % 2))))
    assert total == 500


def test_nothing_is_sent_to_an_unreachable_address_before_the_caller_is_heard() -> None:
    session = gateway(remote=("10.0.0.5", 4000), reachable=False)
    session.start(0.0)
    assert session.remote is None
    assert session.remote_rtcp is None
    assert sent(session, 0.0, 5.0) == 0
    natted = ("198.51.100.7", 61234)
    talk(session, phone(), 5.0, 10, source=natted)
    assert session.destination(5.2) == session.remote == natted
    assert session.remote_rtcp == ("198.51.100.7", 61235)
    # Another private address is another telephone behind that NAT, which has to be found again.
    session.retarget(RtpConfig(0, (101,), ("10.0.0.6", 4000), reachable=False))
    assert session.destination(6.0) is None
    other = ("198.51.100.7", 61300)
    talk(session, phone(), 6.0, 30, source=other)
    assert session.destination(7.0) == other


def test_a_hold_that_keeps_the_address_keeps_the_latch() -> None:
    natted = ("198.51.100.7", 61234)
    session, stranger = gateway(remote=("10.0.0.5", 4000), reachable=False), phone(ssrc=9)
    session.start(0.0)
    talk(session, phone(), 0.3, 10, source=natted)
    session.retarget(RtpConfig(0, (101,), ("10.0.0.5", 4000), reachable=False))
    session.pause()
    assert talk(session, stranger, 1.0, 50, source=ATTACKER) == []
    assert session.remote == natted
