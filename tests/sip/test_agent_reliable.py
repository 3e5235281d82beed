"""Reliable provisional answers (RFC 3262), message by message: ours, and those we acknowledge."""

import pytest

from gateway.sip.events import Answered, CallEnded, Reoffer, Ringing
from gateway.sip.message import Message, Request, Response
from tests.sip.raw import PEER_TCP, SDP, Desk, answer_to, codes, request

pytestmark = pytest.mark.pure

EARLY, OTHER, ANSWER = b"v=0 early\r\n", b"v=0 other\r\n", b"v=0 answer\r\n"
SUPPORTED, REQUIRED = ("Supported", "timer, 100rel"), ("Require", "100rel")


def rack(answer: Message, **changes: object) -> tuple[tuple[str, str], ...]:
    number = int(answer.headers.get("RSeq") or "0")
    fields = {"rseq": number, "cseq": 1, "method": "INVITE"} | changes
    return (("RAck", f"{fields['rseq']} {fields['cseq']} {fields['method']}"),)


def early(desk: Desk, **changes: object) -> tuple[str, Response]:
    """A call that is told EARLY reliably; its dialog id and the 183."""
    fields = {"headers": (SUPPORTED,)} | changes
    dialog_id = desk.incoming(**fields)  # type: ignore[arg-type]
    desk.agent.progress(dialog_id, 183, EARLY, desk.now)
    (answer,) = desk.drain()
    assert isinstance(answer, Response)
    return dialog_id, answer


def test_an_early_answer_is_repeated_until_it_is_acknowledged() -> None:
    desk = Desk()
    dialog_id, answer = early(desk)
    assert (answer.status, answer.body) == (183, EARLY)
    assert answer.headers.get("Require") == "100rel"
    assert answer.headers.get("Contact") == "<sip:192.0.2.1:5060>"
    assert "PRACK" in (answer.headers.get("Allow") or "")
    said = desk.wait(8)
    assert [(when, codes([one])) for when, one in said] == [
        (0.5, [183]),
        (1.5, [183]),
        (3.5, [183]),
        (7.5, [183]),
    ]
    prack = desk.within("PRACK", dialog_id, headers=rack(answer))
    assert desk.status(prack) == 200
    assert desk.wait(30) == []
    assert desk.status(prack) == 200, "a copy is a copy"


@pytest.mark.parametrize(
    "changes", [{"rseq": 7}, {"cseq": 9}, {"method": "BYE"}, {"rseq": "x"}, {"cseq": 2**33}]
)
def test_what_was_never_said_is_not_acknowledged(changes: dict[str, object]) -> None:
    desk = Desk()
    dialog_id, answer = early(desk)
    prack = desk.within("PRACK", dialog_id, headers=rack(answer, **changes))
    assert desk.status(prack) == 481
    assert [codes([one]) for _, one in desk.wait(0.5)] == [[183]]


def agreed(desk: Desk, **changes: object) -> str:
    """A call whose offer is answered by a 183 that was acknowledged; its dialog id."""
    dialog_id, answer = early(desk, **changes)
    same = {name: value for name, value in changes.items() if name == "call_id"}
    fields = {"branch": f"prack-{dialog_id}", "headers": rack(answer)} | same
    assert desk.status(desk.within("PRACK", dialog_id, **fields)) == 200
    return dialog_id


def test_another_invite_before_the_answer_to_the_first() -> None:
    """RFC 3261 section 14.2, also where the offer is answered and an UPDATE would be welcome."""
    desk = Desk()
    dialog_id = agreed(desk)
    (refusal,) = desk.send(desk.within("INVITE", dialog_id, cseq=3, body=OTHER))
    assert (codes([refusal]), refusal.headers.get("CSeq")) == ([500], "3 INVITE")
    assert 0 <= int(refusal.headers.get("Retry-After") or "") <= 10
    assert desk.events() == []
    assert desk.send(desk.within("UPDATE", dialog_id, cseq=4, body=OTHER)) == []
    assert desk.events() == [Reoffer(dialog_id, OTHER)]
    desk.agent.answer_offer(dialog_id, ANSWER, desk.now)
    desk.agent.accept(dialog_id, ANSWER, desk.now)
    update, final = desk.drain()
    assert codes([update, final]) == [200, 200]
    assert final.headers.get("CSeq") == "1 INVITE"
    desk.send(desk.within("ACK", dialog_id, cseq=1, branch="ack"))
    assert desk.events() == [Answered(dialog_id, None)]


def test_invites_before_the_answer_lock_nobody_out() -> None:
    desk = Desk(pending=3)
    for name in ("a", "b", "c"):
        dialog_id = agreed(desk, call_id=name, branch=name)
        fields = {"call_id": name, "branch": f"again-{name}", "cseq": 3}
        assert desk.status(desk.within("INVITE", dialog_id, body=OTHER, **fields)) == 500
        bye = desk.within("BYE", dialog_id, call_id=name, branch=f"bye-{name}", cseq=4)
        assert codes(desk.send(bye)) == [200, 487]
        desk.events()
    desk.skip(100)
    assert desk.is_empty
    desk.incoming(call_id="d", branch="d")


def test_a_prack_without_a_word_of_what_it_is_for() -> None:
    desk = Desk()
    dialog_id, _ = early(desk)
    assert desk.status(desk.within("PRACK", dialog_id)) == 481
    up = desk.confirmed(call_id="up", branch="up")
    assert (
        desk.status(desk.within("PRACK", up, call_id="up", headers=(("RAck", "1 1 INVITE"),)))
        == 481
    )


def test_one_at_a_time_and_the_answer_waits_for_both() -> None:
    desk = Desk()
    dialog_id, first = early(desk, headers=(REQUIRED,))
    desk.agent.progress(dialog_id, 180, b"", desk.now)
    desk.agent.accept(dialog_id, ANSWER, desk.now)
    assert desk.drain() == []
    prack, second, final = desk.send(desk.within("PRACK", dialog_id, headers=rack(first)))
    assert codes([prack, second, final]) == [200, 180, 200]
    assert int(second.headers.get("RSeq") or 0) == int(first.headers.get("RSeq") or 0) + 1
    assert final.body == b"", "the 183 was the answer"
    desk.send(desk.within("ACK", dialog_id, cseq=1, branch="ack"))
    assert desk.events() == [Answered(dialog_id, None)]
    late = desk.within("PRACK", dialog_id, cseq=3, branch="p2", headers=rack(second))
    assert desk.status(late) == 200, "it may still come after the 200"


def test_ringing_is_reliable_only_for_who_insists() -> None:
    for header, is_reliable in ((SUPPORTED, False), (REQUIRED, True)):
        desk = Desk()
        dialog_id = desk.incoming(headers=(header,))
        desk.agent.ring(dialog_id, desk.now)
        (ringing,) = desk.drain()
        assert (ringing.headers.get("RSeq") is not None) is is_reliable


def test_nobody_who_can_not_is_asked_to_acknowledge() -> None:
    desk = Desk()
    _, answer = early(desk, headers=())
    assert answer.headers.get("RSeq") is None
    assert answer.body == EARLY


def test_a_caller_without_an_offer_is_told_no_answer_early() -> None:
    desk = Desk()
    dialog_id, answer = early(desk, body=b"", headers=(SUPPORTED,))
    assert (answer.status, answer.body, answer.headers.get("RSeq")) == (183, b"", None)
    insists = desk.incoming(body=b"", headers=(REQUIRED,), call_id="i", branch="i")
    desk.agent.progress(insists, 180, b"", desk.now)
    assert desk.drain() == [], "the first reliable answer would have to be an offer"
    desk.agent.accept(insists, SDP, desk.now)
    assert codes(desk.drain()) == [200]
    assert dialog_id != insists


def test_silence_ends_the_call() -> None:
    desk = Desk()
    dialog_id, _ = early(desk)
    desk.agent.accept(dialog_id, ANSWER, desk.now)
    said = desk.wait(33)
    assert codes([said[-1][1]])[0] == 504
    assert desk.events() == [CallEnded(dialog_id, "timeout", 504)]
    desk.wait(40)
    assert desk.is_empty


@pytest.mark.parametrize("how", ["cancel", "reject", "hang_up"])
def test_an_end_stops_the_repetition(how: str) -> None:
    desk = Desk()
    dialog_id, answer = early(desk)
    desk.agent.accept(dialog_id, ANSWER, desk.now)
    if how == "cancel":
        said = desk.send(request("CANCEL"))
    else:
        if how == "reject":
            desk.agent.reject(dialog_id, 486, desk.now)
        else:
            desk.agent.hang_up(dialog_id, desk.now)
        said = desk.drain()
    assert codes(said)[-1] in (487, 486, 480)
    desk.send(request("ACK", to=f"<sip:agent@192.0.2.1>;tag={dialog_id}"))
    assert desk.status(desk.within("PRACK", dialog_id, headers=rack(answer))) == 481
    desk.skip(40)
    assert desk.is_empty


@pytest.mark.parametrize("header", [SUPPORTED, REQUIRED])
def test_long_early_media_is_answered_once(header: tuple[str, str]) -> None:
    """RFC 3262 section 5: what was acknowledged is the answer, and there is no second one."""
    desk = Desk()
    dialog_id = agreed(desk, headers=(header,))
    ((when, again),) = desk.wait(60)
    assert (when, codes([again]), again.body) == (60.0, [183], b"")
    assert (again.headers.get("RSeq") is not None) is (header is REQUIRED)
    desk.now += 0.1
    desk.agent.accept(dialog_id, ANSWER, desk.now)
    (final,) = desk.drain()
    assert (codes([final]), final.body) == ([200], b"")


def test_of_two_answers_that_are_told_early_the_first_counts() -> None:
    desk = Desk()
    dialog_id, first = early(desk)
    desk.agent.progress(dialog_id, 183, OTHER, desk.now)
    (second,) = desk.drain()
    assert (codes([second]), second.headers.get("RSeq"), second.body) == ([183], None, b"")
    assert [one for _, one in desk.wait(1)] == [first]
    desk.send(desk.within("PRACK", dialog_id, headers=rack(first)))
    desk.agent.accept(dialog_id, ANSWER, desk.now)
    assert codes(desk.drain()) == [200]


def test_what_is_repeated_is_what_was_not_acknowledged() -> None:
    desk = Desk()
    dialog_id, answer = early(desk)
    desk.agent.ring(dialog_id, desk.now)
    (ringing,) = desk.drain()
    assert (codes([ringing]), ringing.headers.get("RSeq")) == ([180], None)
    assert [one for _, one in desk.wait(4)] == [answer] * 3
    assert desk.status(desk.within("PRACK", dialog_id, headers=rack(answer))) == 200
    assert desk.wait(40) == []
    assert desk.events() == []


def test_an_offer_in_a_prack_is_answered_before_the_call_is() -> None:
    desk = Desk()
    dialog_id, answer = early(desk)
    desk.agent.accept(dialog_id, ANSWER, desk.now)
    prack = desk.within("PRACK", dialog_id, headers=rack(answer), body=OTHER)
    assert desk.send(prack) == []
    assert desk.events() == [Reoffer(dialog_id, OTHER)]
    desk.agent.answer_offer(dialog_id, b"v=0 agreed\r\n", desk.now)
    agreed, final = desk.drain()
    assert (agreed.headers.get("CSeq"), agreed.body) == ("2 PRACK", b"v=0 agreed\r\n")
    assert final.headers.get("CSeq") == "1 INVITE"


def test_an_offer_in_a_prack_that_nobody_answers() -> None:
    desk = Desk()
    dialog_id, answer = early(desk)
    desk.send(desk.within("PRACK", dialog_id, headers=rack(answer), body=OTHER))
    said = desk.wait(16)
    assert codes([one for _, one in said]) == [504]
    desk.agent.accept(dialog_id, ANSWER, desk.now)
    assert codes(desk.drain()) == [200]


def test_a_prack_of_another_kind() -> None:
    desk = Desk()
    dialog_id, answer = early(desk)
    fields = {"headers": rack(answer), "body": b"x", "body_type": "text/plain"}
    assert desk.status(desk.within("PRACK", dialog_id, **fields)) == 415


def test_the_switch() -> None:
    off = Desk(reliable_provisionals="off")
    assert off.status(request("INVITE", body=SDP, headers=(REQUIRED,))) == 420
    _, answer = early(off)
    assert answer.headers.get("RSeq") is None
    _, invite = off.calling()
    assert "100rel" not in (invite.headers.get("Supported") or "")
    required = Desk(reliable_provisionals="required")
    (refused,) = required.send(request("INVITE", body=SDP))
    assert codes([refused]) == [421]
    assert refused.headers.get("Require") == "100rel"
    assert codes(required.send(request("INVITE", body=SDP, branch="2", headers=(SUPPORTED,)))) == [
        100
    ]


@pytest.mark.parametrize("header", [("Require", "100REL"), ("Supported", "Timer, 100Rel")])
def test_a_caller_may_write_option_tags_as_it_likes(header: tuple[str, str]) -> None:
    desk = Desk(reliable_provisionals="required")
    dialog_id, answer = early(desk, headers=(header,))
    assert answer.headers.get("Require") == "100rel"
    assert desk.status(desk.within("PRACK", dialog_id, headers=rack(answer))) == 200


# We call.


def told(desk: Desk, asked: Request, number: object, status: int = 183, **changes: object) -> bytes:
    """A reliable answer of the callee."""
    headers = (("Require", "100rel"), ("RSeq", str(number)))
    return answer_to(asked, status, headers=headers, **changes)  # type: ignore[arg-type]


def test_a_callee_may_write_option_tags_as_it_likes() -> None:
    desk = Desk()
    _, invite = desk.calling()
    headers = (("Require", "100Rel"), ("RSeq", "7"))
    (prack,) = desk.send(answer_to(invite, 183, headers=headers, body=EARLY))
    assert prack.headers.get("RAck") == "7 1 INVITE"


def test_each_one_is_acknowledged_in_its_turn_and_told_once() -> None:
    desk = Desk()
    dialog_id, invite = desk.calling()
    assert "100rel" in (invite.headers.get("Supported") or "")
    (prack,) = desk.send(told(desk, invite, 100, body=EARLY))
    assert isinstance(prack, Request)
    assert (prack.method, prack.uri) == ("PRACK", "sip:callee@192.0.2.9:5062")
    assert prack.headers.get("RAck") == "100 1 INVITE"
    assert prack.headers.get("CSeq") == "2 PRACK"
    assert desk.send(told(desk, invite, 100, body=EARLY)) == [], "a copy"
    assert desk.send(told(desk, invite, 102, 180)) == [], "one is missing"
    (second,) = desk.send(told(desk, invite, 101, 180))
    assert second.headers.get("RAck") == "101 1 INVITE"
    assert desk.send(told(desk, invite, 100, body=EARLY)) == []
    assert desk.events() == [Ringing(dialog_id, 183, EARLY), Ringing(dialog_id, 180, None)]
    desk.send(answer_to(prack, 200, tag=None))
    (ack,) = desk.send(answer_to(invite, 200))
    assert ack.headers.get("CSeq") == "1 ACK"
    assert desk.events() == [Answered(dialog_id, EARLY)], "the 200 said nothing new"
    desk.agent.hang_up(dialog_id, desk.now)
    (bye,) = desk.drain()
    assert bye.headers.get("CSeq") == "4 BYE", "the numbers of the PRACKs are taken"


def test_forks_are_acknowledged_each_for_itself() -> None:
    desk = Desk()
    dialog_id, invite = desk.calling()
    for tag, number in (("one", 5), ("two", 500)):
        (prack,) = desk.send(told(desk, invite, number, body=tag.encode(), tag=tag))
        assert prack.headers.get("RAck") == f"{number} 1 INVITE"
        assert (prack.headers.get("To") or "").endswith(f";tag={tag}")
        assert prack.headers.get("CSeq") == "2 PRACK"
    desk.events()
    assert codes(desk.send(answer_to(invite, 200, tag="two"))) == ["ACK"]
    assert desk.events() == [Answered(dialog_id, b"two")]
    loser = desk.send(answer_to(invite, 200, tag="one", body=SDP))
    assert codes(loser) == ["ACK", "BYE"]
    assert loser[1].headers.get("Reason") == 'SIP;cause=200;text="Call completed elsewhere"'
    assert desk.events() == []


@pytest.mark.parametrize("number", ["", "x", "-1", "99999999999"])
def test_a_number_that_is_none(number: str) -> None:
    desk = Desk()
    dialog_id, invite = desk.calling()
    assert desk.send(told(desk, invite, number, body=EARLY)) == []
    assert desk.events() == [Ringing(dialog_id, 183, EARLY)]


def test_without_an_offer_of_ours_none_is_asked_for() -> None:
    desk = Desk()
    _, invite = desk.calling(body=None)
    assert "100rel" not in (invite.headers.get("Supported") or "")


def test_an_update_before_the_answer() -> None:
    desk = Desk()
    dialog_id, invite = desk.calling()

    def update(cseq: int) -> bytes:
        caller, to = f"{invite.headers.get('To')};tag=callee", invite.headers.get("From") or ""
        call_id = invite.headers.get("Call-ID") or ""
        fields = {"branch": f"u{cseq}", "caller": caller, "to": to, "call_id": call_id}
        return request("UPDATE", cseq=cseq, body=OTHER, **fields)  # type: ignore[arg-type]

    desk.send(answer_to(invite, 183, body=EARLY))
    assert desk.status(update(1)) == 491, "our offer is not answered for certain"
    desk.send(told(desk, invite, 1, body=EARLY))
    desk.events()
    assert desk.send(update(2)) == []
    assert desk.events() == [Reoffer(dialog_id, OTHER)]
    assert desk.status(update(3)) == 500, "one at a time"
    desk.agent.answer_offer(dialog_id, ANSWER, desk.now)
    (agreed,) = desk.drain()
    assert (agreed.headers.get("CSeq"), agreed.body) == ("2 UPDATE", ANSWER)
    desk.send(answer_to(invite, 200))
    assert desk.events() == [Answered(dialog_id, OTHER)], "what it said last"


def test_nothing_runs_on_once_the_caller_has_its_answer() -> None:
    desk = Desk()
    via = "SIP/2.0/TCP 192.0.2.9:5062;branch=z9hG4bK1"
    dialog_id = desk.incoming(PEER_TCP, headers=(SUPPORTED,), via=via)
    desk.agent.progress(dialog_id, 183, EARLY, desk.now)
    desk.agent.reject(dialog_id, 486, desk.now)
    assert codes(desk.drain()) == [183, 486]
    desk.send(request("ACK", to=f"<sip:agent@192.0.2.1>;tag={dialog_id}", via=via), PEER_TCP)
    assert desk.is_empty
