"""UPDATE (RFC 3311) and session timers (RFC 4028), message by message, as callee and as caller."""

import pytest

from gateway.sip.events import CallEnded, Reanswered, Reoffer
from gateway.sip.message import Message, Request
from tests.sip.raw import SDP, Desk, answer_to, codes, request

pytestmark = pytest.mark.pure

OTHER, ANSWER = b"v=0 other\r\n", b"v=0 answer\r\n"
TIMER = ("Supported", "timer")
TAKES_UPDATE = ("Allow", "INVITE, ACK, BYE, UPDATE")
EXPIRED = 'SIP;cause=408;text="Session expired"'


def said(message: Message) -> str | None:
    return message.headers.get("Session-Expires")


# UPDATE.


def test_an_update_without_an_offer_moves_the_target_and_no_more() -> None:
    desk = Desk()
    dialog_id = desk.confirmed()
    moved = (("Contact", "<sip:bob@192.0.2.9:5070>"),)
    (answer,) = desk.send(desk.within("UPDATE", dialog_id, headers=moved))
    assert codes([answer]) == [200]
    assert answer.headers.get("Contact") == "<sip:192.0.2.1:5060>"
    assert answer.body == b""
    assert desk.events() == []
    desk.agent.hang_up(dialog_id, desk.now)
    (bye,) = desk.drain()
    assert isinstance(bye, Request) and bye.uri == "sip:bob@192.0.2.9:5070"


def test_an_update_with_an_offer() -> None:
    desk = Desk()
    dialog_id = desk.confirmed()
    moved = (("Contact", "<sip:bob@192.0.2.9:5070>"),)
    assert desk.send(desk.within("UPDATE", dialog_id, body=OTHER, headers=moved)) == []
    assert desk.events() == [Reoffer(dialog_id, OTHER)]
    desk.agent.answer_offer(dialog_id, ANSWER, desk.now)
    (answer,) = desk.drain()
    assert (codes([answer]), answer.body) == ([200], ANSWER)
    desk.agent.answer_offer(dialog_id, ANSWER, desk.now)
    assert desk.drain() == [], "once"


def test_an_update_whose_ack_is_late_is_timed_too() -> None:
    """A 2xx that said nothing would have the caller stop to refresh, and us hang up."""
    desk = Desk()
    asked = (TIMER, ("Session-Expires", "90;refresher=uac"))
    dialog_id = desk.incoming(headers=asked)
    early = desk.within("UPDATE", dialog_id, cseq=2, branch="early", headers=asked)
    assert [said(answer) for answer in desk.send(early)] == [None]
    desk.agent.accept(dialog_id, SDP, desk.now)
    assert [said(answer) for answer in desk.drain()] == ["90;refresher=uac"]
    update = desk.within("UPDATE", dialog_id, cseq=3, branch="late", headers=asked)
    assert [said(answer) for answer in desk.send(update)] == ["90;refresher=uac"]


def test_an_update_that_is_refused_moves_nothing() -> None:
    desk = Desk()
    dialog_id = desk.confirmed()
    moved = (("Contact", "<sip:bob@192.0.2.9:5070>"),)
    desk.send(desk.within("UPDATE", dialog_id, body=OTHER, headers=moved))
    desk.agent.refuse_offer(dialog_id, 488, desk.now, headers=(("Warning", '304 h "no"'),))
    (answer,) = desk.drain()
    assert codes([answer]) == [488]
    assert answer.headers.get("Warning") == '304 h "no"'
    desk.agent.hang_up(dialog_id, desk.now)
    (bye,) = desk.drain()
    assert isinstance(bye, Request) and bye.uri == "sip:bob@192.0.2.9:5062"


def test_an_update_that_nobody_answers() -> None:
    desk = Desk()
    dialog_id = desk.confirmed()
    desk.send(desk.within("UPDATE", dialog_id, body=OTHER))
    assert [(when, codes([one])) for when, one in desk.wait(20)] == [(16.0, [504])]


def test_an_update_in_a_call_that_ends_meanwhile() -> None:
    desk = Desk()
    dialog_id = desk.confirmed()
    desk.send(desk.within("UPDATE", dialog_id, body=OTHER))
    assert codes(desk.send(desk.within("BYE", dialog_id, cseq=3))) == [200, 487]
    assert [type(event) for event in desk.events()] == [Reoffer, CallEnded]
    desk.skip(40)
    assert desk.is_empty


def test_offers_that_meet() -> None:
    desk = Desk()
    dialog_id = desk.confirmed()
    desk.agent.reinvite(dialog_id, SDP, desk.now)
    (invite,) = desk.drain()
    assert isinstance(invite, Request)
    assert desk.status(desk.within("UPDATE", dialog_id, body=OTHER)) == 491
    assert desk.status(desk.within("UPDATE", dialog_id, cseq=3, branch="3")) == 200, "no offer"
    desk.send(answer_to(invite, 200, tag=None, body=SDP))
    desk.events()
    desk.send(desk.within("UPDATE", dialog_id, cseq=4, branch="4", body=OTHER))
    (again,) = desk.send(desk.within("UPDATE", dialog_id, cseq=5, branch="5", body=OTHER))
    assert codes([again]) == [500]
    assert 0 <= int(again.headers.get("Retry-After") or "") <= 10
    (again,) = desk.send(desk.within("INVITE", dialog_id, cseq=6, branch="6", body=OTHER))
    assert codes([again]) == [500]
    desk.agent.reinvite(dialog_id, SDP, desk.now)
    assert desk.drain() == [], "it waits its turn"
    desk.agent.answer_offer(dialog_id, ANSWER, desk.now)
    assert codes(desk.drain()) == [200, "INVITE"]


def test_an_update_before_the_offer_of_the_invite_is_answered() -> None:
    desk = Desk()
    dialog_id = desk.incoming()
    desk.agent.ring(dialog_id, desk.now)
    desk.drain()
    assert desk.status(desk.within("UPDATE", dialog_id, body=OTHER)) == 500
    assert desk.status(desk.within("UPDATE", dialog_id, cseq=3, branch="3")) == 200


def test_an_update_while_our_own_offer_waits_for_the_ack() -> None:
    desk = Desk()
    dialog_id = desk.incoming(body=b"")
    desk.agent.accept(dialog_id, SDP, desk.now)
    desk.drain()
    assert desk.status(desk.within("UPDATE", dialog_id, body=OTHER)) == 491


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"body": b"x", "body_type": "text/plain"}, 415),
        ({"body": b"x", "body_type": None}, 400),
        ({"body": OTHER, "headers": (("Content-Encoding", "gzip"),)}, 415),
        ({"headers": (("Require", "foo"),)}, 420),
        ({"headers": (TIMER, ("Session-Expires", "60"))}, 422),
    ],
)
def test_an_update_that_cannot_be_served(changes: dict[str, object], status: int) -> None:
    desk = Desk()
    assert desk.status(desk.within("UPDATE", desk.confirmed(), **changes)) == status


# Session timers: what is agreed on.

AGREED: list[tuple[tuple[tuple[str, str], ...], str | None, str | None]] = [
    ((), None, None),
    ((TIMER,), "1800;refresher=uas", None),
    ((TIMER, ("Session-Expires", "600")), "600;refresher=uac", "timer"),
    ((TIMER, ("x", "600 ; refresher=UAC")), "600;refresher=uac", "timer"),
    ((TIMER, ("Session-Expires", "600;refresher=uas")), "600;refresher=uas", None),
    ((TIMER, ("Session-Expires", "7200")), "1800;refresher=uac", "timer"),
    ((TIMER, ("Session-Expires", "7200"), ("Min-SE", "3600")), "3600;refresher=uac", "timer"),
    ((TIMER, ("Min-SE", "3600")), "3600;refresher=uas", None),
    ((("Session-Expires", "600"),), "600;refresher=uas", None),  # a proxy asks
    ((("Session-Expires", "60;refresher=uac"),), "90;refresher=uas", None),
    ((("Session-Expires", "0"),), "90;refresher=uas", None),
    ((TIMER, ("Session-Expires", "soon")), "1800;refresher=uas", None),
    ((TIMER, ("Session-Expires", "600;refresher")), "600;refresher=uac", "timer"),
    ((("Require", "timer"), ("Session-Expires", "90")), "90;refresher=uac", "timer"),
]


@pytest.mark.parametrize(("headers", "agreed", "required"), AGREED)
def test_what_is_agreed_on(
    headers: tuple[tuple[str, str], ...], agreed: str | None, required: str | None
) -> None:
    desk = Desk()
    dialog_id = desk.incoming(headers=headers)
    desk.agent.accept(dialog_id, SDP, desk.now)
    (answer,) = desk.drain()
    assert (said(answer), answer.headers.get("Require")) == (agreed, required)


def test_too_short() -> None:
    desk = Desk(min_se_s=120)
    asked = (TIMER, ("Session-Expires", "100"))
    (answer,) = desk.send(request("INVITE", body=SDP, headers=asked))
    assert codes([answer]) == [422]
    assert answer.headers.get("Min-SE") == "120"
    assert desk.is_empty


def test_a_caller_without_timers_cannot_have_its_call_ended_at_once() -> None:
    """Nobody may ask for less than 90 s, and who knows no timers would not understand a 422."""
    desk = Desk()
    dialog_id = desk.confirmed(headers=(("Session-Expires", "1"), TAKES_UPDATE))
    assert desk.wait(44) == []
    ((when, update),) = desk.wait(1)
    assert (when, codes([update]), said(update)) == (1.0, ["UPDATE"], "90;refresher=uac")
    desk.send(answer_to(update, 200, tag=None))
    assert desk.wait(3600) == [] and desk.events() == [], "its answer says no timer"
    assert dialog_id


def test_off() -> None:
    desk = Desk(session_expires_s=0)
    asked = (("Session-Expires", "60"), TIMER)
    dialog_id = desk.confirmed(headers=asked)
    assert desk.wait(7200) == []
    _, invite = desk.calling()
    assert said(invite) is None and "timer" not in (invite.headers.get("Supported") or "")
    assert desk.status(request("OPTIONS", branch="o", headers=(("Require", "timer"),))) == 420
    assert desk.events() == [] and dialog_id


# Who refreshes.


def test_a_caller_that_refreshes_and_then_does_not() -> None:
    desk = Desk()
    asked = (TIMER, ("Session-Expires", "90;refresher=uac"))
    dialog_id = desk.confirmed(headers=asked)
    for number in range(5):
        assert desk.wait(55) == []
        (answer,) = desk.send(
            desk.within("UPDATE", dialog_id, cseq=2 + number, branch=f"u{number}", headers=asked)
        )
        assert said(answer) == "90;refresher=uac"
    (first, *_) = desk.wait(80)
    when, bye = first
    assert (when, codes([bye])) == (60.0, ["BYE"])
    assert bye.headers.get("Reason") == EXPIRED
    assert desk.events() == [CallEnded(dialog_id, "session_expired", None)]
    desk.skip(80)
    assert desk.is_empty


def test_a_reinvite_refreshes_too_and_may_end_the_timer() -> None:
    desk = Desk()
    asked = (TIMER, ("Session-Expires", "90;refresher=uac"))
    dialog_id = desk.confirmed(headers=asked)
    desk.wait(50)
    desk.send(desk.within("INVITE", dialog_id, cseq=2, branch="i2", body=SDP))
    desk.agent.answer_offer(dialog_id, ANSWER, desk.now)
    (answer,) = desk.drain()
    assert said(answer) is None, "it does not keep time any more"
    desk.send(desk.within("ACK", dialog_id, cseq=2, branch="a2"))
    assert desk.wait(3600) == []


def test_we_refresh_by_update() -> None:
    desk = Desk()
    asked = (TIMER, TAKES_UPDATE, ("Session-Expires", "90;refresher=uas"))
    dialog_id = desk.confirmed(headers=asked)
    for _ in range(5):
        ((when, update),) = desk.wait(45)
        assert isinstance(update, Request)
        assert (when, update.method, update.body) == (45.0, "UPDATE", b"")
        assert said(update) == "90;refresher=uac"
        desk.send(answer_to(update, 200, tag=None, headers=(("x", "90;refresher=uac"),)))
        assert desk.events() == []
    desk.wait(45)
    assert "BYE" in codes([one for _, one in desk.wait(60)])
    assert [type(event) for event in desk.events()] == [CallEnded]
    assert dialog_id


def test_we_refresh_by_the_same_offer_where_update_is_not_known() -> None:
    desk = Desk()
    asked = (TIMER, ("Session-Expires", "90;refresher=uas"))
    dialog_id = desk.confirmed(headers=asked)
    ((_, invite),) = desk.wait(45)
    assert isinstance(invite, Request)
    assert (invite.method, invite.body) == ("INVITE", SDP)
    assert said(invite) == "90;refresher=uac"
    answer = answer_to(invite, 200, tag=None, headers=(("x", "90;refresher=uac"),), body=ANSWER)
    assert codes(desk.send(answer)) == ["ACK"]
    assert desk.events() == [Reanswered(dialog_id, 200, ANSWER)]
    ((_, invite),) = desk.wait(45)
    assert isinstance(invite, Request)
    silent = answer_to(invite, 200, tag=None, headers=(("x", "90;refresher=uac"),))
    assert codes(desk.send(silent)) == ["ACK"]
    assert desk.events() == [], "nothing changed"


@pytest.mark.parametrize("status", [405, 501])
def test_an_update_that_is_not_known_after_all(status: int) -> None:
    desk = Desk()
    desk.confirmed(headers=(TIMER, TAKES_UPDATE, ("x", "90;refresher=uas")))
    ((_, update),) = desk.wait(45)
    assert codes(desk.send(answer_to(update, status, tag=None))) == ["INVITE"]


REFRESHERS = {"UPDATE": (TIMER, TAKES_UPDATE), "INVITE": (TIMER,)}


def refreshes(
    desk: Desk, method: str, status: int, headers: tuple[tuple[str, str], ...], seconds: float
) -> list[tuple[float, str | int]]:
    """What we ask meanwhile, where each refresh is refused; and when."""
    start, end = desk.now, desk.now + seconds
    asked: list[tuple[float, str | int]] = []
    while (when := desk.agent.next_timeout()) is not None and when <= end:
        desk.now = when
        desk.agent.timeout(when)
        for one in desk.drain():
            (code,) = codes([one])
            asked.append((round(when - start, 1), code))
            desk.send(answer_to(one, status if code == method else 200, tag=None, headers=headers))
    desk.now = end
    return asked


@pytest.mark.parametrize("method", sorted(REFRESHERS))
@pytest.mark.parametrize(
    ("status", "after"), [(491, ""), (500, "2"), (503, "0 (soon)"), (504, "x")]
)
def test_a_refresh_is_refused_for_the_moment(method: str, status: int, after: str) -> None:
    """It is tried again for as long as the session lasts, and not all at once."""
    desk = Desk()
    dialog_id = desk.confirmed(headers=(*REFRESHERS[method], ("x", "600;refresher=uas")))
    headers = (("Retry-After", after),) if after else ()
    said = refreshes(desk, method, status, headers, 570)
    tries = [300.0, 344.7, 389.3, 434.0, 478.7, 523.3]
    assert said == [*((when, method) for when in tries), (568.0, "BYE")]
    assert desk.events() == [CallEnded(dialog_id, "session_expired", None)]


@pytest.mark.parametrize("method", sorted(REFRESHERS))
def test_a_refresh_is_agreed_to_in_the_end(method: str) -> None:
    desk = Desk()
    desk.confirmed(headers=(*REFRESHERS[method], ("x", "600;refresher=uas")))
    ((_, asked),) = desk.wait(300)
    desk.send(answer_to(asked, 503, tag=None))
    (when, again), *_ = desk.wait(50)  # and copies
    assert (codes([again]), when > 40) == ([method], True)
    desk.send(answer_to(again, 200, tag=None, headers=(("x", "600;refresher=uac"),)))
    assert desk.wait(290) == []
    assert desk.events() == []


@pytest.mark.parametrize("method", sorted(REFRESHERS))
@pytest.mark.parametrize(
    ("interval_s", "after_s", "when"), [(600, 100, 100), (600, 3600, 268 * 5 / 6), (90, 1, 3)]
)
def test_the_peer_says_when_to_refresh(
    method: str, interval_s: int, after_s: int, when: float
) -> None:
    """No sooner than that, unless the session would be over; after a collision both need time."""
    desk = Desk()
    desk.confirmed(headers=(*REFRESHERS[method], ("x", f"{interval_s};refresher=uas")))
    ((_, asked),) = desk.wait(interval_s / 2)
    later = (("Retry-After", f"{after_s};duration=9"),)
    desk.send(answer_to(asked, 500, tag=None, headers=later))
    (waited, again), *_ = desk.wait(interval_s / 2 - 32)
    assert codes([again]) == [method]
    assert when - 0.1 <= waited <= when + 3.1


def test_what_was_offered_instead_of_a_refresh_is_refused() -> None:
    desk = Desk()
    dialog_id = desk.confirmed(headers=(TIMER, ("x", "600;refresher=uas")))
    desk.wait(299)
    desk.agent.reinvite(dialog_id, OTHER, desk.now)
    (offer,) = desk.drain()
    desk.send(answer_to(offer, 100, tag=None))
    assert desk.wait(2) == [], "whatever is agreed to will do"
    desk.send(answer_to(offer, 488, tag=None))
    assert desk.events() == [Reanswered(dialog_id, 488, None)]
    (_, refresh), *_ = desk.wait(60)
    assert isinstance(refresh, Request)
    assert (refresh.method, refresh.body) == ("INVITE", SDP)


@pytest.mark.parametrize("answer", [b"", ANSWER])
def test_an_offer_while_a_refresh_is_under_way(answer: bytes) -> None:
    """The outcome of the refresh is not taken for that of the offer."""
    desk = Desk()
    dialog_id = desk.confirmed(headers=(TIMER, ("x", "600;refresher=uas")))
    ((_, refresh),) = desk.wait(300)
    desk.agent.reinvite(dialog_id, OTHER, desk.now)
    assert desk.drain() == []
    agreed = (("x", "600;refresher=uac"),)
    ack, offer = desk.send(answer_to(refresh, 200, tag=None, headers=agreed, body=answer))
    assert isinstance(offer, Request)
    assert (codes([ack]), offer.method, offer.body) == (["ACK"], "INVITE", OTHER)
    assert desk.events() == []
    desk.send(answer_to(offer, 200, tag=None, headers=agreed, body=ANSWER))
    assert desk.events() == [Reanswered(dialog_id, 200, ANSWER)]


def test_an_offer_while_a_refresh_collides() -> None:
    desk = Desk()
    dialog_id = desk.confirmed(headers=(TIMER, ("x", "600;refresher=uas")))
    ((_, refresh),) = desk.wait(300)
    desk.agent.reinvite(dialog_id, OTHER, desk.now)
    assert codes(desk.send(answer_to(refresh, 491, tag=None))) == ["ACK"]
    ((when, offer),) = desk.wait(2)[:1]
    assert isinstance(offer, Request) and (offer.body, when <= 2) == (OTHER, True)
    desk.send(answer_to(offer, 200, tag=None, body=ANSWER))
    assert desk.events() == [Reanswered(dialog_id, 200, ANSWER)]


def test_a_refresh_by_invite_is_wanted_less_often() -> None:
    desk = Desk()
    desk.confirmed(headers=(TIMER, ("x", "90;refresher=uas")))
    ((_, refresh),) = desk.wait(45)
    _, again = desk.send(answer_to(refresh, 422, tag=None, headers=(("Min-SE", "200"),)))
    assert (said(again), again.headers.get("Min-SE")) == ("200;refresher=uac", "200")
    agreed = (("x", "200;refresher=uac"),)
    assert codes(desk.send(answer_to(again, 200, tag=None, headers=agreed))) == ["ACK"]
    assert desk.events() == [], "it is a refresh still"


@pytest.mark.parametrize(("status", "cause"), [(481, "refused"), (408, "timeout")])
def test_a_refresh_that_finds_nobody(status: int, cause: str) -> None:
    desk = Desk()
    dialog_id = desk.confirmed(headers=(TIMER, TAKES_UPDATE, ("x", "90;refresher=uas")))
    ((_, update),) = desk.wait(45)
    (bye,) = desk.send(answer_to(update, status, tag=None))
    assert codes([bye]) == ["BYE"]
    assert (bye.headers.get("Reason") or "").startswith(f"SIP;cause={status};")
    assert desk.events() == [CallEnded(dialog_id, cause, status)]


def test_a_refresh_is_wanted_less_often() -> None:
    desk = Desk()
    desk.confirmed(headers=(TIMER, TAKES_UPDATE, ("x", "90;refresher=uas")))
    ((_, update),) = desk.wait(45)
    (again,) = desk.send(answer_to(update, 422, tag=None, headers=(("Min-SE", "200"),)))
    assert (said(again), again.headers.get("Min-SE")) == ("200;refresher=uac", "200")
    assert desk.send(answer_to(again, 422, tag=None, headers=(("Min-SE", "200"),))) == []


# As the caller.


def called(desk: Desk, *headers: tuple[str, str]) -> str:
    dialog_id, invite = desk.calling()
    assert said(invite) == "1800"
    assert codes(desk.send(answer_to(invite, 200, body=SDP, headers=headers))) == ["ACK"]
    desk.events()
    return dialog_id


def test_the_callee_knows_no_timers() -> None:
    desk = Desk()
    called(desk)
    assert desk.wait(7200) == []


def test_we_are_told_to_refresh() -> None:
    desk = Desk()
    called(desk, ("Require", "timer"), ("Session-Expires", "600;refresher=uac"), TAKES_UPDATE)
    ((when, update),) = desk.wait(300)
    assert (when, codes([update]), said(update)) == (300.0, ["UPDATE"], "600;refresher=uac")


def test_the_callee_wants_to_refresh() -> None:
    desk = Desk()
    dialog_id = called(desk, ("Session-Expires", "600;refresher=uas"))
    first, *_ = desk.wait(600)
    assert (first[0], codes([first[1]])) == (568.0, ["BYE"])
    assert desk.events() == [CallEnded(dialog_id, "session_expired", None)]


def test_nobody_makes_us_ask_all_the_time() -> None:
    desk = Desk()
    called(desk, ("Session-Expires", "1;refresher=uac"), TAKES_UPDATE)
    ((when, _),) = desk.wait(45)
    assert when == 45.0


def test_the_first_invite_is_wanted_for_longer() -> None:
    desk = Desk(session_expires_s=300)
    dialog_id, invite = desk.calling(headers=(("X-A", "1"),))
    least = (("Min-SE", "900"),)
    ack, again = desk.send(answer_to(invite, 422, headers=least))
    assert isinstance(again, Request)
    assert codes([ack, again]) == ["ACK", "INVITE"]
    assert (said(again), again.headers.get("Min-SE")) == ("900", "900")
    assert again.headers.get("CSeq") == "2 INVITE"
    assert again.headers.get("Call-ID") == invite.headers.get("Call-ID")
    assert len(again.headers.get_all("User-Agent")) == 1
    assert (again.headers.get("X-A"), again.body) == ("1", SDP)
    assert codes(desk.send(answer_to(again, 422, headers=least))) == ["ACK"], "no longer"
    assert desk.events() == [CallEnded(dialog_id, "refused", 422)]


def test_longer_and_longer_ends_somewhere() -> None:
    desk = Desk()
    _, invite = desk.calling()
    tried = 1
    while True:
        said_now = desk.send(answer_to(invite, 422, headers=(("Min-SE", str(tried * 2000)),)))
        if codes(said_now) == ["ACK"]:
            break
        assert isinstance(said_now[1], Request)
        tried, invite = tried + 1, said_now[1]
    assert tried == 5
