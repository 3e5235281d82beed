"""Calling: every answer that may come, in every state, and every way to give up."""

import pytest

from gateway.sip.events import Answered, CallEnded, Reanswered, Ringing
from gateway.sip.message import Address, Message, Request
from gateway.sip.uri import SipUri, UriError
from tests.sip.raw import PEER, PEER_TCP, SDP, Desk, answer_to, codes, request

pytestmark = pytest.mark.pure


def only_request(said: list[Message]) -> Request:
    (message,) = said
    assert isinstance(message, Request)
    return message


def up(desk: Desk) -> tuple[str, Request]:
    """A call of ours that PEER has answered."""
    dialog_id, invite = desk.calling()
    desk.send(answer_to(invite, 200, body=SDP))
    desk.events()
    return dialog_id, invite


def from_callee(desk: Desk, invite: Request, method: str, **changes: object) -> bytes:
    """A request of the callee inside the dialog."""
    caller = f"<sip:bob@192.0.2.9>;tag={changes.pop('tag', 'callee')}"
    fields = {"cseq": 1, "branch": f"c-{method}", "uri": "sip:192.0.2.1:5060"} | changes
    return request(
        method,
        caller=caller,
        to=invite.headers.get("From") or "",
        call_id=invite.headers.get("Call-ID") or "",
        **fields,  # type: ignore[arg-type]
    )


def test_the_invite() -> None:
    desk = Desk()
    dialog_id = desk.agent.invite(
        SipUri.parse("sip:agent@example.com;x=1?Subject=hi"),
        SDP,
        desk.now,
        to=PEER,
        from_uri="sip:me@192.0.2.1",
        headers=[("X-Test", "1")],
    )
    invite = only_request(desk.drain())
    assert desk.addresses == [PEER]
    assert (invite.method, invite.uri) == ("INVITE", "sip:agent@example.com;x=1")
    via = invite.headers.get("Via") or ""
    assert via.startswith("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK")
    assert via.endswith(";rport")
    assert invite.headers.get("From") == f"<sip:me@192.0.2.1>;tag={dialog_id}"
    assert invite.headers.get("To") == "<sip:agent@example.com;x=1>"
    assert (invite.headers.get("Call-ID") or "").endswith("@192.0.2.1")
    assert invite.headers.get("CSeq") == "1 INVITE"
    assert invite.headers.get("Max-Forwards") == "70"
    assert invite.headers.get("Contact") == "<sip:192.0.2.1:5060>"
    assert invite.headers.get("Content-Type") == "application/sdp"
    assert invite.headers.get("X-Test") == "1"
    assert invite.headers.get("User-Agent") == "voice-agent-gateway"
    assert invite.body == SDP


def test_over_tcp_via_and_contact_say_so() -> None:
    _, invite = Desk(tcp_port=5070).calling(to=PEER_TCP)
    assert (invite.headers.get("Via") or "").startswith("SIP/2.0/TCP 192.0.2.1:5070;")
    assert invite.headers.get("Contact") == "<sip:192.0.2.1:5070;transport=tcp>"


@pytest.mark.parametrize(
    "changes",
    [
        {"from_uri": "me"},
        {"from_uri": "sip:a@b>\r\nX: y"},
        {"headers": [("X", "a\nb")]},
        {"headers": [("X:", "a")]},
        {"target": "agent"},
        {"target": "sip:a@b\r\nX: y"},
        {"target": f"sip:{'a' * 8190}@b"},
    ],
)
def test_what_cannot_be_sent(changes: dict[str, object]) -> None:
    desk = Desk()
    fields = {"target": "sip:a@b", "to": PEER, "from_uri": "sip:me@192.0.2.1"} | changes
    with pytest.raises((ValueError, UriError)):
        desk.agent.invite(body=SDP, now=0.0, **fields)  # type: ignore[arg-type]
    assert desk.drain() == []
    assert desk.is_empty


def test_a_call_from_end_to_end() -> None:
    desk = Desk()
    dialog_id, invite = desk.calling()
    assert desk.send(answer_to(invite, 100, tag=None, contact=None)) == []
    assert desk.send(answer_to(invite, 180)) == []
    assert desk.send(answer_to(invite, 183, body=b"v=0 early\r\n")) == []
    routes = (("Record-Route", "<sip:192.0.2.30;lr>"), ("Record-Route", "<sip:192.0.2.9;lr>"))
    ack = only_request(desk.send(answer_to(invite, 200, body=SDP, headers=routes)))
    assert (ack.method, ack.uri) == ("ACK", "sip:callee@192.0.2.9:5062")
    assert ack.headers.get("CSeq") == "1 ACK"
    assert ack.headers.get_all("Route") == ["<sip:192.0.2.9;lr>", "<sip:192.0.2.30;lr>"]
    assert ack.headers.get("Via") != invite.headers.get("Via")
    assert ack.body == b""
    assert desk.addresses == [Address("192.0.2.9", 5060, "udp")]
    assert desk.events() == [
        Ringing(dialog_id, 180, None),
        Ringing(dialog_id, 183, b"v=0 early\r\n"),
        Answered(dialog_id, SDP),
    ]
    assert desk.agent.unanswered == 0
    desk.agent.hang_up(dialog_id, desk.now)
    bye = only_request(desk.drain())
    assert (bye.method, bye.headers.get("CSeq")) == ("BYE", "2 BYE")
    assert desk.events() == [CallEnded(dialog_id, "local_bye", None)]
    assert desk.agent.unanswered == 1
    desk.send(answer_to(bye, 200, tag=None))
    assert desk.agent.unanswered == 0
    assert desk.wait(40) == []
    assert desk.is_empty


@pytest.mark.parametrize("status", [180, 181, 182, 183, 155])
def test_progress(status: int) -> None:
    desk = Desk()
    dialog_id, invite = desk.calling()
    assert desk.send(answer_to(invite, status)) == []
    assert desk.send(answer_to(invite, status, tag=None, body=SDP)) == []
    assert desk.events() == [Ringing(dialog_id, status, None), Ringing(dialog_id, status, SDP)]
    desk.agent.hang_up(dialog_id, desk.now)
    assert codes(desk.drain()) == ["CANCEL"]
    desk.events()
    assert desk.send(answer_to(invite, status)) == []
    assert desk.events() == [], "it is over"


def test_a_200_that_comes_again_is_acknowledged_again() -> None:
    desk = Desk()
    dialog_id, invite = desk.calling()
    answer = answer_to(invite, 200, body=SDP)
    first = only_request(desk.send(answer))
    assert [only_request(desk.send(answer)) for _ in range(2)] == [first, first]
    assert len(desk.events()) == 1
    desk.agent.hang_up(dialog_id, desk.now)
    desk.drain()
    assert only_request(desk.send(answer)) == first, "also after we hung up"


def test_late_offer() -> None:
    desk = Desk()
    dialog_id, invite = desk.calling(body=None)
    assert invite.headers.get("Content-Type") is None
    answer = answer_to(invite, 200, body=b"v=0 theirs\r\n")
    assert desk.send(answer) == []
    assert desk.events() == [Answered(dialog_id, b"v=0 theirs\r\n")]
    assert desk.send(answer) == [], "there is no answer yet to repeat"
    assert codes(desk.send(from_callee(desk, invite, "INVITE", body=SDP))) == [491]
    desk.agent.ack(dialog_id, SDP, desk.now)
    ack = only_request(desk.drain())
    assert (ack.body, ack.headers.get("Content-Type")) == (SDP, "application/sdp")
    assert desk.send(answer) == [ack]
    desk.agent.ack(dialog_id, SDP, desk.now)
    assert desk.drain() == []


def test_late_offer_that_we_do_not_like() -> None:
    desk = Desk()
    dialog_id, invite = desk.calling(body=None)
    desk.send(answer_to(invite, 200, body=SDP))
    desk.agent.hang_up(dialog_id, desk.now)
    assert codes(desk.drain()) == ["ACK", "BYE"]


@pytest.mark.parametrize("status", [302, 401, 404, 407, 486, 500, 603])
def test_refused(status: int) -> None:
    desk = Desk()
    dialog_id, invite = desk.calling()
    refusal = answer_to(invite, status)
    ack = only_request(desk.send(refusal))
    assert (ack.method, ack.uri) == ("ACK", invite.uri)
    assert ack.headers.get("Via") == invite.headers.get("Via")
    contacts = ("sip:callee@192.0.2.9:5062",) if status == 302 else ()
    assert desk.events() == [CallEnded(dialog_id, "refused", status, contacts)]
    assert desk.send(refusal) == [ack]
    desk.wait(33)
    assert desk.is_empty
    assert desk.send(refusal) == []


@pytest.mark.parametrize("to", [PEER, PEER_TCP])
def test_nobody_answers(to: Address) -> None:
    desk = Desk()
    dialog_id, _ = desk.calling(to=to)
    said = desk.wait(40)
    assert len(said) == (6 if to is PEER else 0)
    assert desk.events() == [CallEnded(dialog_id, "timeout", 408)]
    assert desk.is_empty


@pytest.mark.parametrize("heard", [False, True])
def test_unreachable(heard: bool) -> None:
    desk = Desk()
    dialog_id, invite = desk.calling(to=PEER_TCP)
    if heard:
        desk.send(answer_to(invite, 180), PEER_TCP)
        desk.events()
    desk.agent.transport_failed(Address("192.0.2.9", 1, "tcp"), desk.now)
    assert desk.events() == []
    desk.agent.transport_failed(PEER_TCP, desk.now)
    assert desk.events() == [CallEnded(dialog_id, "transport", None)]
    assert desk.is_empty


class TestGivingUp:
    def test_after_a_provisional(self) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling()
        desk.send(answer_to(invite, 180))
        desk.agent.hang_up(dialog_id, desk.now)
        cancel = only_request(desk.drain())
        assert (cancel.method, cancel.uri) == ("CANCEL", invite.uri)
        for name in ("Via", "From", "To", "Call-ID"):
            assert cancel.headers.get_all(name) == invite.headers.get_all(name)
        assert cancel.headers.get("CSeq") == "1 CANCEL"
        assert desk.events()[1:] == [CallEnded(dialog_id, "cancelled", None)]
        assert desk.send(answer_to(cancel, 200)) == []
        assert codes(desk.send(answer_to(invite, 487))) == ["ACK"]
        desk.wait(33)
        assert desk.is_empty
        assert desk.events() == []

    def test_before_a_provisional_the_cancel_waits_for_one(self) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling()
        desk.agent.hang_up(dialog_id, desk.now)
        assert desk.drain() == []
        assert desk.events() == [CallEnded(dialog_id, "cancelled", None)]
        assert codes([one for _, one in desk.wait(1)]) == ["INVITE"]
        assert codes(desk.send(answer_to(invite, 100, tag=None))) == ["CANCEL"]
        assert desk.send(answer_to(invite, 180)) == []
        assert desk.events() == []

    @pytest.mark.parametrize("heard", [False, True])
    def test_a_200_that_crossed_is_hung_up(self, heard: bool) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling()
        if heard:
            desk.send(answer_to(invite, 180))
        desk.agent.hang_up(dialog_id, desk.now)
        desk.drain()
        ack, bye = desk.send(answer_to(invite, 200, body=SDP))
        assert codes([ack, bye]) == ["ACK", "BYE"]
        assert bye.headers.get("Reason") is None, "nobody else took the call"
        assert codes(desk.send(answer_to(invite, 200, body=SDP))) == ["ACK"]
        _, second = desk.send(answer_to(invite, 200, tag="other", body=SDP))
        assert second.headers.get("Reason") is None
        desk.send(answer_to(second, 200))
        desk.send(answer_to(bye, 200))
        assert [type(event) for event in desk.events()] == [Ringing, CallEnded][not heard :]
        desk.wait(37)
        assert desk.is_empty

    def test_before_a_provisional_that_never_comes(self) -> None:
        desk = Desk()
        dialog_id, _ = desk.calling()
        desk.agent.hang_up(dialog_id, desk.now)
        desk.wait(33)
        assert desk.is_empty
        assert desk.events() == [CallEnded(dialog_id, "cancelled", None)]

    def test_when_the_peer_ignores_it(self) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling()
        desk.send(answer_to(invite, 180))
        desk.agent.hang_up(dialog_id, desk.now)
        desk.drain()
        assert codes([one for _, one in desk.wait(36)]) == ["CANCEL"] * 10
        desk.wait(1)
        assert desk.is_empty, "the INVITE too is given up (section 9.1)"

    def test_twice(self) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling()
        desk.send(answer_to(invite, 180))
        desk.agent.hang_up(dialog_id, desk.now)
        desk.drain()
        desk.agent.hang_up(dialog_id, desk.now)
        assert desk.drain() == []


class TestForks:
    def test_the_second_to_answer_is_hung_up(self) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling()
        for tag in ("one", "two", "three"):
            desk.send(answer_to(invite, 180, tag=tag))
        first = only_request(desk.send(answer_to(invite, 200, tag="two", body=SDP)))
        other = answer_to(invite, 200, tag="one", contact="<sip:one@192.0.2.41>", body=SDP)
        ack, bye = desk.send(other)
        assert codes([ack, bye]) == ["ACK", "BYE"]
        assert isinstance(bye, Request)
        assert bye.uri == "sip:one@192.0.2.41"
        assert bye.headers.get("To") == "<sip:bob@192.0.2.9>;tag=one"
        assert desk.send(other) == [ack]
        assert desk.send(answer_to(invite, 200, tag="two", body=SDP)) == [first]
        assert [type(event) for event in desk.events()] == [Ringing] * 3 + [Answered]
        assert desk.status(from_callee(desk, invite, "OPTIONS", tag="one")) == 481
        assert desk.status(from_callee(desk, invite, "BYE", tag="one", cseq=2)) == 200
        assert desk.events() == []
        assert desk.status(from_callee(desk, invite, "BYE", tag="two", branch="b2")) == 200
        assert desk.events() == [CallEnded(dialog_id, "remote_bye", None)]
        desk.wait(37)
        assert desk.is_empty

    @pytest.mark.parametrize("first", ["t3", "t99"])
    def test_whoever_answers_first_is_the_call_however_many_rang(self, first: str) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling()
        for number in range(100):
            desk.send(answer_to(invite, 180, tag=f"t{number}"))
        desk.events()
        ack = only_request(desk.send(answer_to(invite, 200, tag=first, body=SDP)))
        assert desk.events() == [Answered(dialog_id, SDP)]
        assert desk.send(answer_to(invite, 200, tag=first, body=SDP)) == [ack]
        for tag in ("t98", "t5"):
            assert codes(desk.send(answer_to(invite, 200, tag=tag))) == ["ACK", "BYE"]
        desk.agent.hang_up(dialog_id, desk.now)
        bye = only_request(desk.drain())
        assert bye.headers.get("To") == f"<sip:bob@192.0.2.9>;tag={first}"

    def test_not_everybody_who_says_200_is_hung_up(self) -> None:
        desk = Desk()
        _, invite = desk.calling()
        said = [desk.send(answer_to(invite, 200, tag=f"t{number}")) for number in range(100)]
        assert codes(said[0]) == ["ACK"]
        assert {tuple(codes(one)) for one in said[1:32]} == {("ACK", "BYE")}
        assert not any(said[32:]), "each would be a BYE that is said again and again"


class TestEarlyDialog:
    def test_requests_in_it(self) -> None:
        desk = Desk()
        _, invite = desk.calling()
        assert desk.status(from_callee(desk, invite, "OPTIONS")) == 481
        desk.send(answer_to(invite, 180))
        assert desk.status(from_callee(desk, invite, "OPTIONS", branch="x")) == 200
        assert codes(desk.send(from_callee(desk, invite, "INVITE", cseq=2, body=SDP))) == [491]
        low = from_callee(desk, invite, "OPTIONS", cseq=1, branch="y")
        assert desk.status(low) == 500, "the numbers of an early dialog count"

    def test_a_bye_in_it_ends_the_call(self) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling()
        desk.send(answer_to(invite, 180))
        assert codes(desk.send(from_callee(desk, invite, "BYE"))) == [200, "CANCEL"]
        assert desk.events()[1:] == [CallEnded(dialog_id, "remote_bye", None)]
        assert codes(desk.send(answer_to(invite, 487))) == ["ACK"]
        desk.wait(37)
        assert desk.is_empty

    def test_the_numbers_go_on_after_the_answer(self) -> None:
        desk = Desk()
        _, invite = desk.calling()
        desk.send(answer_to(invite, 180))
        assert desk.status(from_callee(desk, invite, "OPTIONS", cseq=5)) == 200
        desk.send(answer_to(invite, 200, body=SDP))
        assert desk.status(from_callee(desk, invite, "BYE", cseq=4)) == 500
        assert desk.status(from_callee(desk, invite, "BYE", cseq=6, branch="z")) == 200


class TestOurReinvite:
    def test_agreed(self) -> None:
        desk = Desk()
        dialog_id, _ = up(desk)
        desk.agent.reinvite(dialog_id, b"v=0 hold\r\n", desk.now)
        again = only_request(desk.drain())
        assert (again.method, again.body) == ("INVITE", b"v=0 hold\r\n")
        assert again.headers.get("CSeq") == "2 INVITE"
        assert again.headers.get("Contact") == "<sip:192.0.2.1:5060>"
        assert desk.send(answer_to(again, 100, tag=None)) == []
        answer = answer_to(again, 200, tag=None, contact="<sip:new@192.0.2.50>", body=SDP)
        ack = only_request(desk.send(answer))
        assert (ack.method, ack.uri) == ("ACK", "sip:new@192.0.2.50")
        assert ack.headers.get("CSeq") == "2 ACK"
        assert desk.events() == [Reanswered(dialog_id, 200, SDP)]
        assert desk.send(answer) == [ack]
        assert desk.events() == []

    def test_refused(self) -> None:
        desk = Desk()
        dialog_id, _ = up(desk)
        desk.agent.reinvite(dialog_id, SDP, desk.now)
        again = only_request(desk.drain())
        assert codes(desk.send(answer_to(again, 488, tag=None))) == ["ACK"]
        assert desk.events() == [Reanswered(dialog_id, 488, None)]
        desk.agent.hang_up(dialog_id, desk.now)
        assert codes(desk.drain()) == ["BYE"]

    def test_one_after_the_other_and_only_the_newest_waits(self) -> None:
        desk = Desk()
        dialog_id, _ = up(desk)
        for body in (b"1", b"2", b"3"):
            desk.agent.reinvite(dialog_id, body, desk.now)
        first = only_request(desk.drain())
        assert first.body == b"1"
        ack, second = desk.send(answer_to(first, 200, tag=None, body=SDP))
        assert isinstance(second, Request)
        assert (codes([ack]), second.body) == (["ACK"], b"3")

    def test_waits_for_theirs(self) -> None:
        desk = Desk()
        dialog_id, invite = up(desk)
        desk.send(from_callee(desk, invite, "INVITE", body=SDP))
        desk.agent.reinvite(dialog_id, SDP, desk.now)
        assert desk.drain() == []
        desk.agent.answer_offer(dialog_id, SDP, desk.now)
        assert codes(desk.drain()) == [200]
        said = desk.send(from_callee(desk, invite, "ACK", branch="a"))
        assert codes(said) == ["INVITE"]

    @pytest.mark.parametrize(("ours", "earliest", "latest"), [(True, 2.1, 4.1), (False, 0.0, 2.0)])
    def test_after_a_collision(self, ours: bool, earliest: float, latest: float) -> None:
        desk = Desk()
        dialog_id = up(desk)[0] if ours else desk.confirmed()
        desk.agent.reinvite(dialog_id, SDP, desk.now)
        again = only_request(desk.drain())
        for _ in range(5):
            assert codes(desk.send(answer_to(again, 491, tag=None))) == ["ACK"]
            when, message = desk.wait(5)[0]
            assert earliest <= when <= latest
            assert isinstance(message, Request)
            again = message
            assert desk.events() == []
        desk.send(answer_to(again, 491, tag=None))
        assert desk.events() == [Reanswered(dialog_id, 491, None)], "in the end it is told"

    def test_ended_while_it_waits(self) -> None:
        desk = Desk()
        dialog_id, _ = up(desk)
        desk.agent.reinvite(dialog_id, SDP, desk.now)
        again = only_request(desk.drain())
        desk.send(answer_to(again, 491, tag=None))
        desk.agent.hang_up(dialog_id, desk.now)
        bye = only_request(desk.drain())
        desk.send(answer_to(bye, 200, tag=None))
        assert desk.wait(40) == []
        assert desk.is_empty

    @pytest.mark.parametrize(("status", "cause"), [(408, "timeout"), (481, "refused")])
    def test_when_the_dialog_is_gone(self, status: int, cause: str) -> None:
        desk = Desk()
        dialog_id, _ = up(desk)
        desk.agent.reinvite(dialog_id, SDP, desk.now)
        again = only_request(desk.drain())
        assert codes(desk.send(answer_to(again, status, tag=None))) == ["ACK", "BYE"]
        assert desk.events() == [CallEnded(dialog_id, cause, status)]

    def test_when_nobody_answers(self) -> None:
        desk = Desk()
        dialog_id, _ = up(desk)
        desk.agent.reinvite(dialog_id, SDP, desk.now)
        desk.drain()
        said = [one for _, one in desk.wait(32)]
        assert codes(said) == ["INVITE"] * 6 + ["BYE"]
        assert desk.events() == [CallEnded(dialog_id, "timeout", 408)]
        desk.wait(37)
        assert desk.is_empty

    def test_when_the_connection_breaks(self) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling(to=PEER_TCP)
        desk.send(answer_to(invite, 200, body=SDP), PEER_TCP)
        desk.events()
        desk.agent.reinvite(dialog_id, SDP, desk.now)
        desk.agent.transport_failed(PEER_TCP, desk.now)
        assert desk.events() == [Reanswered(dialog_id, 503, None)]

    def test_when_the_connection_is_lost_before_our_bye(self) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling(to=PEER_TCP)
        contact = "<sip:callee@192.0.2.9:5070;transport=tcp>"
        for tag in ("callee", "other"):
            desk.send(answer_to(invite, 180, tag=tag, contact=contact), PEER_TCP)
        desk.send(answer_to(invite, 200, body=SDP, contact=contact), PEER_TCP)
        desk.events()
        desk.agent.connection_lost(PEER_TCP, desk.now)
        assert desk.events() == []
        desk.agent.hang_up(dialog_id, desk.now)
        assert codes(desk.drain()) == ["BYE"]
        assert desk.addresses == [Address("192.0.2.9", 5070, "tcp")]
        desk.agent.connection_lost(desk.addresses[0], desk.now)
        assert desk.events() == [CallEnded(dialog_id, "local_bye", None)]

    def test_a_200_after_we_hung_up_is_still_acknowledged(self) -> None:
        desk = Desk()
        dialog_id, _ = up(desk)
        desk.agent.reinvite(dialog_id, SDP, desk.now)
        again = only_request(desk.drain())
        desk.agent.hang_up(dialog_id, desk.now)
        desk.drain()
        desk.events()
        assert codes(desk.send(answer_to(again, 200, tag=None, body=SDP))) == ["ACK"]
        assert desk.events() == []

    def test_unanswered_when_the_peer_hangs_up(self) -> None:
        desk = Desk()
        dialog_id, invite = up(desk)
        desk.agent.reinvite(dialog_id, SDP, desk.now)
        again = only_request(desk.drain())
        desk.send(answer_to(again, 180, tag=None))
        desk.send(from_callee(desk, invite, "BYE"))
        assert desk.events() == [CallEnded(dialog_id, "remote_bye", None)]
        desk.wait(37)
        assert desk.is_empty, "an INVITE that is never answered goes with its call"


@pytest.mark.parametrize("status", [200, 404, 481, 503])
def test_whatever_the_bye_is_answered_the_call_is_over(status: int) -> None:
    desk = Desk()
    dialog_id, _ = up(desk)
    desk.agent.hang_up(dialog_id, desk.now)
    bye = only_request(desk.drain())
    assert desk.send(answer_to(bye, status, tag=None)) == []
    desk.wait(37)
    assert desk.is_empty
    assert desk.events() == [CallEnded(dialog_id, "local_bye", None)]


def test_responses_to_nothing_are_dropped() -> None:
    desk = Desk()
    _, invite = desk.calling()
    stray = answer_to(invite, 200).replace(b"z9hG4bK", b"z9hG4bKother")
    assert desk.send(stray) == []
    assert desk.events() == []
    assert desk.agent.counters.dropped == 1


def test_ended_by_the_peer_before_our_ack_of_its_offer() -> None:
    desk = Desk()
    dialog_id, invite = desk.calling(body=None)
    desk.send(answer_to(invite, 200, body=SDP))
    desk.send(from_callee(desk, invite, "BYE"))
    desk.events()
    desk.agent.ack(dialog_id, SDP, desk.now)
    desk.agent.hang_up(dialog_id, desk.now)
    assert desk.drain() == []


def test_whom_we_call_is_let_in_within_the_call_though_it_may_not_call_us() -> None:
    desk = Desk(allow=())
    dialog_id, invite = up(desk)
    bye = from_callee(desk, invite, "BYE")
    assert codes(desk.send(from_callee(desk, invite, "OPTIONS", branch="c-stranger", tag="x"))) == [
        403
    ]
    assert codes(desk.send(request("INVITE", branch="c-outside"))) == [403]
    assert codes(desk.send(bye)) == [200]
    assert desk.events() == [CallEnded(dialog_id, "remote_bye", None)]
    assert codes(desk.send(bye)) == [200]  # the copy finds its transaction


def test_whom_a_call_of_ours_is_with() -> None:
    desk = Desk(allow=())
    dialog_id, invite = desk.calling(to=Address("192.0.2.8", 5060, "udp"))
    assert desk.agent.knows(Address("192.0.2.8", 1, "tcp"))
    assert not desk.agent.knows(Address("192.0.2.9", 1, "tcp"))
    contact = "<sip:callee@192.0.2.9:5062>"
    desk.send(answer_to(invite, 200, body=SDP, contact=contact), Address("192.0.2.9", 9, "udp"))
    assert desk.agent.knows(Address("192.0.2.8", 1, "tcp")), "where the INVITE went"
    assert desk.agent.knows(Address("192.0.2.9", 1, "tcp")), "where the ACK went"
    assert not desk.agent.knows(Address("192.0.2.7", 1, "tcp"))
    desk.agent.hang_up(dialog_id, desk.now)
    assert not desk.agent.knows(Address("192.0.2.8", 1, "tcp"))
