"""Being called: every state of a call, every request and every application command in it."""

import pytest

from gateway.sip.events import Answered, CallEnded, IncomingCall, Reanswered, Reoffer
from gateway.sip.message import Address, Request, Response
from tests.sip.raw import PEER, PEER_TCP, SDP, Desk, answer_to, codes, request
from tests.sip.test_agent_answers import ALLOW

pytestmark = pytest.mark.pure

AGAIN = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]


def test_a_call_from_end_to_end() -> None:
    desk = Desk()
    record_route = ("Record-Route", "<sip:192.0.2.9:5062;lr>")
    dialog_id = desk.incoming(headers=(record_route, ("v", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK0")))
    desk.agent.ring(dialog_id, desk.now)
    (ringing,) = desk.drain()
    desk.agent.accept(dialog_id, SDP, desk.now)
    (answer,) = desk.drain()
    for response, status in ((ringing, 180), (answer, 200)):
        assert isinstance(response, Response)
        assert response.status == status
        assert response.headers.get("To") == f"<sip:agent@192.0.2.1>;tag={dialog_id}"
        assert response.headers.get("From") == "<sip:bob@192.0.2.9>;tag=bob"
        assert response.headers.get("Contact") == "<sip:192.0.2.1:5060>"
        assert response.headers.get("Record-Route") == record_route[1]
        assert len(response.headers.get_all("Via")) == 2
    assert answer.body == SDP
    assert answer.headers.get("Content-Type") == "application/sdp"
    assert answer.headers.get("Allow") == ALLOW
    assert ringing.headers.get("Content-Type") is None
    assert desk.send(desk.within("ACK", dialog_id, cseq=1)) == []
    assert desk.events() == [Answered(dialog_id, None)]
    assert desk.status(desk.within("BYE", dialog_id)) == 200
    assert desk.events() == [CallEnded(dialog_id, "remote_bye", None)]
    assert desk.wait(40) == []
    assert desk.is_empty


def test_a_repeated_invite_never_makes_a_second_call() -> None:
    desk = Desk()
    invite = request("INVITE", body=SDP)
    dialog_id = desk.incoming()
    assert codes(desk.send(invite)) == [100]
    desk.agent.ring(dialog_id, desk.now)
    desk.drain()
    assert codes(desk.send(invite)) == [180]
    desk.agent.accept(dialog_id, SDP, desk.now)
    desk.drain()
    assert desk.send(invite) == [], "absorbed after the 200"
    desk.send(desk.within("ACK", dialog_id, cseq=1))
    assert desk.send(invite) == [], "absorbed after the ACK"
    desk.send(desk.within("BYE", dialog_id))
    desk.wait(25)
    assert desk.send(invite) == [], "absorbed after the BYE"
    assert [type(event) for event in desk.events()] == [Answered, CallEnded]
    desk.wait(20)
    assert desk.is_empty


def test_a_200_is_repeated_until_the_ack() -> None:
    desk = Desk()
    dialog_id = desk.incoming()
    desk.agent.accept(dialog_id, SDP, desk.now)
    desk.drain()
    said = desk.wait(4)
    assert [(when, codes([message])) for when, message in said] == [
        (0.5, [200]),
        (1.5, [200]),
        (3.5, [200]),
    ]
    desk.send(desk.within("ACK", dialog_id, cseq=1))
    assert desk.wait(20) == []
    assert desk.agent.counters.retransmits == 3


@pytest.mark.parametrize("source", [PEER, PEER_TCP])
def test_without_ack_the_call_is_hung_up_and_forgotten(source: Address) -> None:
    desk = Desk()
    desk.send(request("INVITE", body=SDP), source)
    (call,) = desk.events()
    assert isinstance(call, IncomingCall)
    desk.agent.accept(call.dialog_id, SDP, desk.now)
    desk.drain()
    said = desk.wait(32)
    assert [when for when, message in said if isinstance(message, Response)] == AGAIN
    assert codes([message for _, message in said[len(AGAIN) :]]) == ["BYE"]
    assert desk.events() == [CallEnded(call.dialog_id, "no_ack", None)]
    desk.wait(5)
    assert desk.is_empty, "64 T1 + 5 s after the 200 nothing is left, though nobody answers"


def test_an_ack_with_another_number_does_not_count() -> None:
    desk = Desk()
    dialog_id = desk.incoming()
    desk.agent.accept(dialog_id, SDP, desk.now)
    desk.drain()
    desk.send(desk.within("ACK", dialog_id, cseq=2))
    desk.send(desk.within("ACK", dialog_id, cseq=1, caller="<sip:bob@192.0.2.9>;tag=other"))
    desk.send(desk.within("ACK", dialog_id, cseq=1, call_id="other"))
    assert desk.events() == []
    desk.send(desk.within("ACK", dialog_id, cseq=1))
    assert desk.events() == [Answered(dialog_id, None)]
    desk.send(desk.within("ACK", dialog_id, cseq=1))
    assert desk.events() == [], "and counts once"


def test_an_ack_under_the_branch_of_the_invite_counts() -> None:
    desk = Desk()
    dialog_id = desk.incoming()
    desk.agent.accept(dialog_id, SDP, desk.now)
    desk.drain()
    assert desk.send(desk.within("ACK", dialog_id, cseq=1, branch="1")) == []
    assert desk.events() == [Answered(dialog_id, None)]


def test_late_offer() -> None:
    desk = Desk()
    dialog_id = desk.incoming(body=b"")
    desk.agent.accept(dialog_id, b"v=0 ours\r\n", desk.now)
    (answer,) = desk.drain()
    assert answer.body == b"v=0 ours\r\n"
    desk.send(desk.within("ACK", dialog_id, cseq=1, body=SDP))
    assert desk.events() == [Answered(dialog_id, SDP)]


@pytest.mark.parametrize(("body", "body_type"), [(b"", None), (b"{}", "text/json")])
def test_late_offer_without_an_answer(body: bytes, body_type: str | None) -> None:
    desk = Desk()
    dialog_id = desk.incoming(body=b"")
    desk.agent.accept(dialog_id, SDP, desk.now)
    desk.drain()
    desk.send(desk.within("ACK", dialog_id, cseq=1, body=body, body_type=body_type))
    assert desk.events() == [Answered(dialog_id, None)]


@pytest.mark.parametrize("status", [302, 404, 486, 500, 603])
def test_a_refusal_is_repeated_until_its_ack(status: int) -> None:
    desk = Desk()
    dialog_id = desk.incoming()
    desk.agent.reject(dialog_id, status, desk.now)
    assert codes(desk.drain()) == [status]
    assert desk.events() == [CallEnded(dialog_id, "rejected", status)]
    assert [when for when, _ in desk.wait(2)] == [0.5, 1.5]
    assert codes(desk.send(request("INVITE", body=SDP))) == [status]
    assert desk.send(desk.within("ACK", dialog_id, cseq=1, branch="1")) == []
    assert desk.wait(4.9) == []
    assert desk.send(request("INVITE", body=SDP)) == [], "still remembered"
    desk.wait(1)
    assert desk.is_empty


def test_a_refusal_that_is_never_acknowledged_ends_as_well() -> None:
    desk = Desk()
    desk.agent.reject(desk.incoming(), 486, desk.now)
    desk.wait(33)
    assert desk.is_empty


class TestCancel:
    def test_before_the_answer(self) -> None:
        desk = Desk()
        dialog_id = desk.incoming()
        desk.agent.ring(dialog_id, desk.now)
        desk.drain()
        okay, terminated = desk.send(request("CANCEL"))
        assert codes([okay, terminated]) == [200, 487]
        assert okay.headers.get("CSeq") == "1 CANCEL"
        assert okay.headers.get("To") == terminated.headers.get("To")
        assert desk.events() == [CallEnded(dialog_id, "cancelled", 487)]
        assert codes(desk.send(request("CANCEL"))) == [200]
        desk.send(desk.within("ACK", dialog_id, cseq=1, branch="1"))
        for late in (desk.agent.ring, desk.agent.hang_up):
            late(dialog_id, desk.now)
        desk.agent.accept(dialog_id, SDP, desk.now)
        desk.agent.reject(dialog_id, 486, desk.now)
        assert desk.drain() == []
        assert desk.events() == []
        desk.wait(33)
        assert desk.is_empty

    def test_after_the_200_it_does_nothing(self) -> None:
        desk = Desk()
        dialog_id = desk.incoming()
        desk.agent.accept(dialog_id, SDP, desk.now)
        desk.drain()
        assert desk.status(request("CANCEL")) == 200
        desk.send(desk.within("ACK", dialog_id, cseq=1))
        assert desk.events() == [Answered(dialog_id, None)]

    def test_after_a_refusal_it_does_nothing(self) -> None:
        desk = Desk()
        desk.agent.reject(desk.incoming(), 486, desk.now)
        desk.drain()
        assert desk.status(request("CANCEL")) == 200
        assert len(desk.events()) == 1

    def test_of_nothing(self) -> None:
        desk = Desk()
        desk.incoming()
        assert desk.status(request("CANCEL", branch="other")) == 481
        assert desk.status(request("CANCEL", cseq=2)) == 481
        assert desk.events() == []

    def test_with_options_it_does_not_need_to_be_understood(self) -> None:
        desk = Desk()
        desk.incoming()
        assert codes(desk.send(request("CANCEL", headers=(("Require", "foo"),)))) == [200, 487]

    def test_of_a_reinvite_leaves_the_call_up(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        desk.send(desk.within("INVITE", dialog_id, body=SDP))
        said = desk.send(desk.within("CANCEL", dialog_id, branch="in-INVITE"))
        assert codes(said) == [200, 487]
        assert desk.events() == [Reoffer(dialog_id, SDP)]
        desk.agent.answer_offer(dialog_id, SDP, desk.now)
        assert desk.drain() == []
        assert codes(desk.send(desk.within("BYE", dialog_id, cseq=3))) == [200]

    def test_of_a_reinvite_lets_ours_go(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        desk.send(desk.within("INVITE", dialog_id, body=SDP))
        desk.agent.reinvite(dialog_id, SDP, desk.now)
        assert desk.drain() == []
        said = desk.send(desk.within("CANCEL", dialog_id, branch="in-INVITE"))
        assert codes(said) == [200, 487, "INVITE"]


class TestBye:
    def test_before_the_answer(self) -> None:
        desk = Desk()
        dialog_id = desk.incoming()
        assert codes(desk.send(desk.within("BYE", dialog_id))) == [200, 487]
        assert desk.events() == [CallEnded(dialog_id, "remote_bye", None)]
        desk.wait(33)
        assert desk.is_empty

    def test_before_the_ack(self) -> None:
        desk = Desk()
        dialog_id = desk.incoming()
        desk.agent.accept(dialog_id, SDP, desk.now)
        desk.drain()
        assert codes(desk.send(desk.within("BYE", dialog_id))) == [200]
        assert desk.wait(33) == [], "the 200 is not repeated to one who has hung up"
        assert desk.events() == [CallEnded(dialog_id, "remote_bye", None)]
        assert desk.is_empty

    def test_repeated(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        bye = desk.within("BYE", dialog_id)
        assert [desk.status(bye) for _ in range(3)] == [200, 200, 200]
        assert len(desk.events()) == 1

    def test_during_a_reinvite(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        desk.send(desk.within("INVITE", dialog_id, body=SDP))
        assert codes(desk.send(desk.within("BYE", dialog_id, cseq=3))) == [200, 487]

    def test_crossing_ours(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        desk.agent.hang_up(dialog_id, desk.now)
        assert codes(desk.drain()) == ["BYE"]
        assert desk.status(desk.within("BYE", dialog_id)) == 200
        assert desk.events() == [CallEnded(dialog_id, "local_bye", None)]
        desk.wait(33)
        assert desk.is_empty

    def test_of_somebody_else(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        stranger = "<sip:bob@192.0.2.9>;tag=mallory"
        assert desk.status(desk.within("BYE", dialog_id, caller=stranger)) == 481
        assert desk.status(desk.within("BYE", dialog_id, call_id="x", branch="x")) == 481
        assert desk.events() == []


class TestHangUp:
    def test_before_the_answer(self) -> None:
        desk = Desk()
        dialog_id = desk.incoming()
        desk.agent.hang_up(dialog_id, desk.now)
        (refusal,) = desk.drain()
        assert codes([refusal]) == [480]
        assert desk.events() == [CallEnded(dialog_id, "rejected", 480)]

    def test_before_the_ack_the_bye_waits_for_it(self) -> None:
        desk = Desk()
        dialog_id = desk.incoming()
        desk.agent.accept(dialog_id, SDP, desk.now)
        desk.drain()
        desk.agent.hang_up(dialog_id, desk.now)
        assert desk.drain() == []
        assert desk.events() == [CallEnded(dialog_id, "local_bye", None)]
        assert codes([message for _, message in desk.wait(1)]) == [200]
        (bye,) = desk.send(desk.within("ACK", dialog_id, cseq=1))
        assert codes([bye]) == ["BYE"]
        desk.wait(33)
        assert desk.is_empty
        assert desk.events() == []

    def test_before_an_ack_that_never_comes(self) -> None:
        desk = Desk()
        dialog_id = desk.incoming()
        desk.agent.accept(dialog_id, SDP, desk.now)
        desk.drain()
        desk.wait(20)
        desk.agent.hang_up(dialog_id, desk.now)
        said = desk.wait(12)
        assert codes([message for _, message in said])[-1] == "BYE"
        desk.wait(5)
        assert desk.is_empty
        assert len(desk.events()) == 1

    def test_before_the_ack_and_the_caller_too(self) -> None:
        desk = Desk()
        dialog_id = desk.incoming()
        desk.agent.accept(dialog_id, SDP, desk.now)
        desk.drain()
        desk.agent.hang_up(dialog_id, desk.now)
        assert codes(desk.send(desk.within("BYE", dialog_id))) == [200]
        assert desk.wait(33) == []
        assert desk.is_empty

    def test_when_the_call_is_up(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        desk.agent.hang_up(dialog_id, desk.now)
        (bye,) = desk.drain()
        assert isinstance(bye, Request)
        assert bye.uri == "sip:bob@192.0.2.9:5062"
        assert bye.headers.get("From") == f"<sip:agent@192.0.2.1>;tag={dialog_id}"
        assert bye.headers.get("To") == "<sip:bob@192.0.2.9>;tag=bob"
        assert desk.addresses == [PEER]
        assert desk.events() == [CallEnded(dialog_id, "local_bye", None)]
        desk.agent.hang_up(dialog_id, desk.now)
        assert desk.drain() == []
        assert len(desk.wait(33)) == 10
        assert desk.is_empty

    def test_with_a_reoffer_pending(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        desk.send(desk.within("INVITE", dialog_id, body=SDP))
        desk.agent.hang_up(dialog_id, desk.now)
        assert sorted(codes(desk.drain()), key=str) == [487, "BYE"]


class TestReinvite:
    def test_answered(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        moved = "<sip:bob@192.0.2.77:5099>"
        desk.send(desk.within("INVITE", dialog_id, body=SDP, contact=moved))
        assert desk.events() == [Reoffer(dialog_id, SDP)]
        desk.agent.answer_offer(dialog_id, SDP, desk.now)
        (answer,) = desk.drain()
        assert codes([answer]) == [200]
        assert answer.headers.get("Content-Type") == "application/sdp"
        assert answer.headers.get("Contact") == "<sip:192.0.2.1:5060>"
        assert len(desk.wait(1)) == 1, "repeated like the first"
        desk.send(desk.within("ACK", dialog_id, branch="ack2"))
        assert desk.wait(10) == []
        assert desk.events() == []
        desk.agent.hang_up(dialog_id, desk.now)
        (bye,) = desk.drain()
        assert isinstance(bye, Request)
        assert bye.uri == "sip:bob@192.0.2.77:5099", "the target has moved"

    def test_refused(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        desk.send(desk.within("INVITE", dialog_id, body=SDP, contact="<sip:bob@192.0.2.77>"))
        desk.agent.refuse_offer(dialog_id, 488, desk.now, headers=[("Warning", '304 x "y"')])
        (answer,) = desk.drain()
        assert codes([answer]) == [488]
        assert answer.headers.get("Warning") == '304 x "y"'
        desk.send(desk.within("ACK", dialog_id, branch="in-INVITE"))
        with pytest.raises(ValueError):
            desk.agent.refuse_offer(dialog_id, 200, desk.now)
        desk.agent.hang_up(dialog_id, desk.now)
        (bye,) = desk.drain()
        assert isinstance(bye, Request)
        assert bye.uri == "sip:bob@192.0.2.9:5062", "nothing was agreed, nothing has moved"

    def test_repeated(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        again = desk.within("INVITE", dialog_id, body=SDP)
        assert [codes(desk.send(again)) for _ in range(3)] == [[100], [100], [100]]
        assert len(desk.events()) == 1

    def test_without_offer(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        desk.send(desk.within("INVITE", dialog_id))
        assert desk.events() == [Reoffer(dialog_id, None)]
        desk.agent.answer_offer(dialog_id, SDP, desk.now)
        desk.drain()
        desk.send(desk.within("ACK", dialog_id, branch="a", body=b"v=0 theirs\r\n"))
        assert desk.events() == [Reanswered(dialog_id, 200, b"v=0 theirs\r\n")]

    def test_never_acknowledged(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        desk.send(desk.within("INVITE", dialog_id, body=SDP))
        desk.events()
        desk.agent.answer_offer(dialog_id, SDP, desk.now)
        desk.drain()
        assert codes([message for _, message in desk.wait(32)])[-1] == "BYE"
        assert desk.events() == [CallEnded(dialog_id, "no_ack", None)]
        desk.wait(5)
        assert desk.is_empty

    def test_before_the_first_is_answered(self) -> None:
        desk = Desk()
        dialog_id = desk.incoming()
        (answer,) = desk.send(desk.within("INVITE", dialog_id, body=SDP))
        assert codes([answer]) == [500]
        assert 0 <= int(answer.headers.get("Retry-After") or "") <= 10
        assert desk.events() == []
        desk.agent.accept(dialog_id, SDP, desk.now)
        assert codes(desk.drain()) == [200]

    def test_before_the_last_is_answered(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        desk.send(desk.within("INVITE", dialog_id, body=SDP))
        (answer,) = desk.send(desk.within("INVITE", dialog_id, cseq=3, branch="x", body=SDP))
        assert codes([answer]) == [500]
        assert len(desk.events()) == 1

    def test_before_the_ack_shows_that_the_200_came(self) -> None:
        desk = Desk()
        dialog_id = desk.incoming()
        desk.agent.accept(dialog_id, SDP, desk.now)
        desk.drain()
        assert codes(desk.send(desk.within("INVITE", dialog_id, body=SDP))) == [100]
        assert desk.events() == [Answered(dialog_id, None), Reoffer(dialog_id, SDP)]
        assert desk.wait(10) == []
        desk.send(desk.within("ACK", dialog_id, cseq=1, branch="late"))
        assert desk.events() == []

    def test_before_the_ack_that_brings_the_answer(self) -> None:
        desk = Desk()
        dialog_id = desk.incoming(body=b"")
        desk.agent.accept(dialog_id, SDP, desk.now)
        desk.drain()
        assert codes(desk.send(desk.within("INVITE", dialog_id, body=SDP))) == [491]

    def test_while_ours_is_pending(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        desk.agent.reinvite(dialog_id, SDP, desk.now)
        assert codes(desk.drain()) == ["INVITE"]
        assert codes(desk.send(desk.within("INVITE", dialog_id, body=SDP))) == [491]
        assert desk.events() == []

    @pytest.mark.parametrize(
        ("status", "changes"),
        [
            (415, {"body": b"x", "body_type": "text/plain"}),
            (420, {"body": SDP, "headers": (("Require", "foo"),)}),
            (406, {"body": SDP, "headers": (("Accept", "text/plain"),)}),
        ],
    )
    def test_that_cannot_be_served(self, status: int, changes: dict[str, object]) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        assert codes(desk.send(desk.within("INVITE", dialog_id, **changes))) == [status]
        assert desk.events() == []


class TestInsideTheDialog:
    @pytest.mark.parametrize("state", ["early", "answered", "confirmed"])
    def test_options(self, state: str) -> None:
        desk = Desk()
        dialog_id = desk.confirmed() if state == "confirmed" else desk.incoming()
        if state == "answered":
            desk.agent.accept(dialog_id, SDP, desk.now)
            desk.drain()
        (answer,) = desk.send(desk.within("OPTIONS", dialog_id))
        assert codes([answer]) == [200]
        assert answer.headers.get("Accept") == "application/sdp, multipart/mixed"

    @pytest.mark.parametrize("method", ["REFER", "MESSAGE", "SUBSCRIBE", "PUBLISH"])
    def test_methods_that_we_do_not_speak(self, method: str) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        assert desk.status(desk.within(method, dialog_id)) == 405
        assert desk.events() == []

    def test_a_lower_number_is_out_of_order(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        assert desk.status(desk.within("OPTIONS", dialog_id, cseq=9)) == 200
        (answer,) = desk.send(desk.within("BYE", dialog_id, cseq=8))
        assert codes([answer]) == [500]
        assert answer.headers.get("Retry-After") is not None
        assert codes(desk.send(desk.within("INVITE", dialog_id, cseq=9, body=SDP))) == [500]
        assert desk.events() == []
        assert desk.status(desk.within("BYE", dialog_id, cseq=9, branch="last")) == 200

    def test_the_peer_is_followed_when_its_nat_forgets(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed(contact="<sip:bob@10.0.0.5>")
        elsewhere = Address("192.0.2.9", 6100, "udp")
        desk.send(desk.within("OPTIONS", dialog_id), elsewhere)
        desk.agent.hang_up(dialog_id, desk.now)
        desk.drain()
        assert desk.addresses == [elsewhere]

    def test_after_the_end(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        desk.agent.hang_up(dialog_id, desk.now)
        desk.drain()
        assert desk.status(desk.within("OPTIONS", dialog_id)) == 481
        assert codes(desk.send(desk.within("INVITE", dialog_id, cseq=3, body=SDP))) == [481]
        desk.agent.reinvite(dialog_id, SDP, desk.now)
        assert desk.drain() == []


class TestTransport:
    def test_broken_before_the_answer(self) -> None:
        desk = Desk()
        desk.send(request("INVITE", body=SDP), PEER_TCP)
        (call,) = desk.events()
        desk.agent.transport_failed(PEER_TCP, desk.now)
        assert desk.events() == [CallEnded(call.dialog_id, "transport", None)]
        desk.wait(33)
        assert desk.is_empty

    def test_broken_before_the_ack_the_200_is_tried_on(self) -> None:
        desk = Desk()
        desk.send(request("INVITE", body=SDP), PEER_TCP)
        (call,) = desk.events()
        desk.agent.accept(call.dialog_id, SDP, desk.now)
        desk.agent.transport_failed(PEER_TCP, desk.now)
        desk.drain()
        assert desk.events() == []
        desk.send(desk.within("ACK", call.dialog_id, cseq=1), Address("192.0.2.9", 40001, "tcp"))
        assert desk.events() == [Answered(call.dialog_id, None)]

    def test_broken_under_a_call_that_is_up(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        desk.agent.transport_failed(PEER, desk.now)
        assert desk.events() == []
        assert desk.status(desk.within("BYE", dialog_id)) == 200

    def test_broken_under_our_bye(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        desk.agent.hang_up(dialog_id, desk.now)
        desk.agent.transport_failed(PEER, desk.now)
        assert desk.events() == [CallEnded(dialog_id, "local_bye", None)]
        assert desk.agent.dialogs == 0


TCP_CONTACT = "<sip:bob@192.0.2.9:5062;transport=tcp>"
TCP_LISTENING = Address("192.0.2.9", 5062, "tcp")


class TestConnectionLost:
    def test_before_our_bye(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed(PEER_TCP, contact=TCP_CONTACT)
        desk.agent.connection_lost(PEER_TCP, desk.now)
        assert (desk.drain(), desk.events()) == ([], [])
        desk.agent.hang_up(dialog_id, desk.now)
        (bye,) = desk.drain()
        assert isinstance(bye, Request)
        assert (bye.method, bye.uri) == ("BYE", "sip:bob@192.0.2.9:5062;transport=tcp")
        assert (bye.headers.get("Via") or "").startswith("SIP/2.0/TCP ")
        assert desk.addresses == [TCP_LISTENING]
        desk.send(answer_to(bye, 200, tag=None), TCP_LISTENING)
        desk.wait(33)
        assert desk.is_empty

    def test_and_nobody_listens(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed(PEER_TCP, contact=TCP_CONTACT)
        desk.agent.connection_lost(PEER_TCP, desk.now)
        desk.agent.hang_up(dialog_id, desk.now)
        desk.agent.transport_failed(TCP_LISTENING, desk.now)
        assert desk.events() == [CallEnded(dialog_id, "local_bye", None)]
        assert desk.agent.dialogs == 0

    def test_and_made_again_by_the_peer(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed(PEER_TCP, contact=TCP_CONTACT)
        desk.agent.connection_lost(PEER_TCP, desk.now)
        again = Address("192.0.2.9", 40001, "tcp")
        assert desk.status(desk.within("OPTIONS", dialog_id), again) == 200
        desk.agent.hang_up(dialog_id, desk.now)
        desk.drain()
        assert desk.addresses == [again]

    def test_of_somebody_else(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed(PEER_TCP, contact=TCP_CONTACT)
        desk.agent.connection_lost(Address("192.0.2.9", 40001, "tcp"), desk.now)
        desk.agent.hang_up(dialog_id, desk.now)
        desk.drain()
        assert desk.addresses == [PEER_TCP]

    @pytest.mark.parametrize(
        ("via", "kind", "port"),
        [
            ("TCP 192.0.2.9:5062", "tcp", 5062),
            ("TCP 10.0.0.7:5070", "tcp", 5070),  # where it thinks that it is
            ("TCP pbx.example", "tcp", 5060),
            ("TLS pbx.example", "tls", 5061),
        ],
    )
    def test_while_it_rings(self, via: str, kind: str, port: int) -> None:
        """The answer goes to where the caller listens (RFC 3261 section 18.2.2)."""
        desk = Desk()
        source = Address("192.0.2.9", 40000, kind)
        dialog_id = desk.incoming(source, via=f"SIP/2.0/{via};branch=z9hG4bK1;rport")
        desk.agent.connection_lost(source, desk.now)
        assert desk.events() == []
        desk.agent.accept(dialog_id, SDP, desk.now)
        assert codes(desk.drain()) == [200]
        assert desk.addresses == [Address("192.0.2.9", port, kind)]

    def test_under_an_offer_of_ours(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed(PEER_TCP, contact=TCP_CONTACT)
        desk.agent.reinvite(dialog_id, SDP, desk.now)
        assert (codes(desk.drain()), desk.addresses) == (["INVITE"], [PEER_TCP])
        desk.agent.reinvite(dialog_id, SDP + b"a=sendonly\r\n", desk.now)
        desk.agent.connection_lost(PEER_TCP, desk.now)
        assert desk.events() == [Reanswered(dialog_id, 503, None)]
        assert (codes(desk.drain()), desk.addresses) == (["INVITE"], [TCP_LISTENING])


@pytest.mark.parametrize(
    "contacts",
    [("<sip:bob@192.0.2.9>", "*"), ("*", "<sip:bob@192.0.2.9>"), ("*",), ("*", "*")],
)
def test_a_contact_for_all_makes_no_call(contacts: tuple[str, ...]) -> None:
    desk = Desk()
    lines = tuple(("Contact", contact) for contact in contacts)
    assert desk.status(request("INVITE", body=SDP, contact=None, headers=lines)) == 400
    dialog_id = desk.confirmed(branch="2", call_id="2")
    again = desk.within(
        "INVITE", dialog_id, call_id="2", body=SDP, contact=None, headers=lines, branch="3"
    )
    assert desk.status(again) == 400
    assert desk.events() == []
    good = desk.within("INVITE", dialog_id, call_id="2", cseq=3, body=SDP, branch="4")
    assert codes(desk.send(good)) == [100]
    assert desk.events() == [Reoffer(dialog_id, SDP)]
    desk.agent.answer_offer(dialog_id, SDP, desk.now)
    assert codes(desk.drain()) == [200]


def test_a_long_ring_is_said_again_every_minute() -> None:
    desk = Desk()
    dialog_id = desk.incoming()
    desk.agent.ring(dialog_id, desk.now)
    desk.drain()
    assert [(when, codes([one])) for when, one in desk.wait(150)] == [(60, [180]), (120, [180])]
    desk.agent.reject(dialog_id, 480, desk.now)
    desk.drain()
    desk.wait(100)
    assert desk.is_empty


@pytest.mark.parametrize(("expires", "ends"), [("20", True), ("0", False), ("soon", False)])
def test_an_invitation_expires(expires: str, ends: bool) -> None:
    desk = Desk()
    dialog_id = desk.incoming(headers=(("Expires", expires),))
    said = desk.wait(20)
    assert (said[:1] != []) is ends
    assert desk.events() == ([CallEnded(dialog_id, "timeout", 487)] if ends else [])


def test_an_answered_invitation_does_not_expire() -> None:
    desk = Desk()
    desk.confirmed(headers=(("Expires", "3600"),))
    desk.wait(40)
    assert desk.agent.timers == 0
    assert desk.wait(4000) == []
    assert desk.agent.dialogs == 1


def test_a_caller_of_rfc_2543() -> None:
    desk = Desk()
    old = {"via": "SIP/2.0/UDP 192.0.2.9:5062", "caller": "<sip:bob@192.0.2.9:5062>"}
    dialog_id = desk.incoming(PEER, contact=None, **old)
    assert codes(desk.send(request("INVITE", body=SDP, contact=None, **old))) == [100]  # type: ignore[arg-type]
    desk.agent.accept(dialog_id, SDP, desk.now)
    desk.drain()
    desk.send(desk.within("ACK", dialog_id, cseq=1, **old))
    assert desk.events() == [Answered(dialog_id, None)]
    desk.agent.hang_up(dialog_id, desk.now)
    (bye,) = desk.drain()
    assert isinstance(bye, Request)
    assert bye.uri == "sip:bob@192.0.2.9:5062"
    assert bye.headers.get("To") == "<sip:bob@192.0.2.9:5062>"


def test_commands_for_nobody_do_nothing() -> None:
    desk = Desk()
    agent = desk.agent
    agent.ring("x", 0.0)
    agent.accept("x", SDP, 0.0)
    agent.reject("x", 486, 0.0)
    agent.ack("x", SDP, 0.0)
    agent.hang_up("x", 0.0)
    agent.reinvite("x", SDP, 0.0)
    agent.answer_offer("x", SDP, 0.0)
    agent.refuse_offer("x", 488, 0.0)
    assert (desk.drain(), desk.events(), desk.is_empty) == ([], [], True)
    dialog_id = desk.incoming()
    agent.ack(dialog_id, SDP, desk.now)
    agent.answer_offer(dialog_id, SDP, desk.now)
    agent.refuse_offer(dialog_id, 488, desk.now)
    agent.reinvite(dialog_id, SDP, desk.now)
    assert desk.drain() == [], "an offer of ours waits until the call is up"
