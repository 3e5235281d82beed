"""Calls over a WebSocket: everything takes the connection, and nothing outlives it (RFC 7118)."""

from typing import Any

import pytest

from gateway.sip.events import (
    Answered,
    CallEnded,
    IncomingCall,
    Reanswered,
    ReferAnswered,
    ReferProgress,
    Reoffer,
    SipEvent,
)
from gateway.sip.message import Address, Request, Response
from tests.sip.raw import PEER, PEER_TCP, SDP, Desk, answer_to, codes, notify, request

pytestmark = pytest.mark.pure

PAGE = Address("192.0.2.9", 40000, "wss")
AGAIN = Address("192.0.2.9", 40001, "wss")
"""The same browser, on a new connection."""
CONTACT = "<sip:bob@x7k2.invalid;transport=ws;ob>"
CONTACTS = (
    CONTACT,
    "<sip:bob@192.0.2.9>",
    "<sip:bob@192.0.2.9:5060;transport=tcp>",
    "<sip:bob@8.8.8.8;transport=udp>",
    "<sip:bob@[2606:4700::1111]:5060>",
    "<sips:bob@x7k2.invalid;transport=ws>",
)
VIA = "SIP/2.0/WSS x7k2.invalid;branch=z9hG4bK1"


def front_desk() -> Desk:
    return Desk(ws_port=5066)


def ringing(desk: Desk, source: Address = PAGE, **changes: object) -> str:
    return desk.incoming(source, **{"via": VIA, "contact": CONTACT} | changes)


def talking(desk: Desk, source: Address = PAGE, **changes: object) -> str:
    return desk.confirmed(source, **{"via": VIA, "contact": CONTACT} | changes)


def only_request(desk: Desk) -> Request:
    (message,) = desk.drain()
    assert isinstance(message, Request)
    return message


def cut(desk: Desk, source: Address = PAGE) -> list[SipEvent]:
    """What is told when a connection is lost. As in the shell, what is still sent there fails."""
    desk.agent.connection_lost(source, desk.now)
    said = desk.drain()
    assert not [one for one in said if isinstance(one, Request)], "asked of nobody"
    for to in desk.addresses:
        desk.agent.transport_failed(to, desk.now)
    assert desk.drain() == []
    return desk.events()


def assert_over(desk: Desk) -> None:
    """No call is left, and nothing is said until the last transaction is gone."""
    assert desk.agent.dialogs == 0
    assert desk.wait(33) == []
    assert desk.is_empty


@pytest.mark.parametrize("kind", ["ws", "wss"])
def test_our_messages_name_the_transport(kind: str) -> None:
    desk = front_desk()
    source = Address("192.0.2.9", 40000, kind)
    dialog_id = ringing(desk, source)
    desk.agent.ring(dialog_id, desk.now)
    (progress,) = desk.drain()
    assert progress.headers.get("Contact") == "<sip:192.0.2.1:5066;transport=ws>"
    assert progress.headers.get("Via") == f"{VIA};received=192.0.2.9"
    desk.agent.accept(dialog_id, SDP, desk.now)
    (ok,) = desk.drain()
    assert ok.headers.get("Contact") == "<sip:192.0.2.1:5066;transport=ws>"
    desk.send(desk.within("ACK", dialog_id, cseq=1, via=VIA), source)
    desk.agent.hang_up(dialog_id, desk.now)
    bye = only_request(desk)
    assert (bye.headers.get("Via") or "").startswith(f"SIP/2.0/{kind.upper()} 192.0.2.1:5066;")


@pytest.mark.parametrize("contact", CONTACTS)
def test_requests_take_the_connection_whatever_contact_says(contact: str) -> None:
    desk = front_desk()
    dialog_id = talking(desk, contact=contact)
    desk.agent.reinvite(dialog_id, SDP, desk.now)
    invite = only_request(desk)
    assert (invite.method, f"<{invite.uri}>", desk.addresses) == ("INVITE", contact, [PAGE])
    assert codes(desk.send(answer_to(invite, 200, tag=None, body=SDP), PAGE)) == ["ACK"]
    assert desk.addresses == [PAGE]
    desk.agent.refer(dialog_id, "sip:carol@192.0.2.7", desk.now)
    refer = only_request(desk)
    assert (refer.method, desk.addresses) == ("REFER", [PAGE])
    assert desk.send(answer_to(refer, 202, tag=None), PAGE) == []
    assert codes(desk.send(notify(desk, dialog_id, "SIP/2.0 200 OK", "terminated"), PAGE)) == [200]
    desk.agent.hang_up(dialog_id, desk.now)
    assert (codes(desk.drain()), desk.addresses) == (["BYE"], [PAGE])
    assert desk.events() == [
        Reanswered(dialog_id, 200, SDP),
        ReferAnswered(dialog_id, 202),
        ReferProgress(dialog_id, 200, True),
        CallEnded(dialog_id, "local_bye", None),
    ]


def test_an_invite_as_browsers_write_it() -> None:
    desk = front_desk()
    lines = [
        "INVITE sip:agent@gateway.example SIP/2.0",
        "Via: SIP/2.0/WSS 0uj8h2p1q.invalid;branch=z9hG4bK5612",
        "Max-Forwards: 69",
        "To: <sip:agent@gateway.example>",
        'From: "Ann" <sip:ann@gateway.example>;tag=7hj2',
        "Call-ID: 9v2m1c",
        "CSeq: 4711 INVITE",
        "Contact: <sip:k3j9@0uj8h2p1q.invalid;transport=ws;ob>",
        "Content-Type: application/sdp",
        "Session-Expires: 90",
        "Allow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY",
        "Supported: timer,ice,replaces,outbound",
        "",
        "",
    ]
    assert codes(desk.send("\r\n".join(lines).encode() + SDP, PAGE)) == [100]
    assert desk.addresses == [PAGE]
    (call,) = desk.events()
    assert isinstance(call, IncomingCall)
    assert (call.offer, call.source) == (SDP, PAGE), "what has no length ends with the frame"


def test_a_registration_is_not_taken() -> None:
    (answer,) = front_desk().send(request("REGISTER", via=VIA), PAGE)
    assert isinstance(answer, Response)
    assert (answer.status, "REGISTER" in (answer.headers.get("Allow") or "")) == (405, False)


def test_nothing_is_said_twice_but_the_200() -> None:
    desk = front_desk()
    dialog_id = talking(desk)
    desk.agent.hang_up(dialog_id, desk.now)
    desk.drain()
    assert desk.wait(40) == []
    assert desk.is_empty
    desk.events()
    refused = ringing(desk, call_id="call-2", via=f"{VIA}2")
    desk.agent.reject(refused, 486, desk.now)
    assert codes(desk.drain()) == [486]
    assert desk.wait(40) == []
    assert desk.is_empty


class TestConnectionLost:
    @pytest.mark.parametrize("contact", CONTACTS)
    def test_in_a_call(self, contact: str) -> None:
        desk = front_desk()
        dialog_id = talking(desk, contact=contact)
        assert cut(desk) == [CallEnded(dialog_id, "transport", None)]
        assert_over(desk)
        assert desk.status(desk.within("BYE", dialog_id, via=VIA), AGAIN) == 481

    def test_while_it_rings(self) -> None:
        desk = front_desk()
        dialog_id = ringing(desk)
        desk.agent.ring(dialog_id, desk.now)
        desk.drain()
        assert cut(desk) == [CallEnded(dialog_id, "transport", None)]
        assert_over(desk)

    @pytest.mark.parametrize("hung_up", [False, True])
    def test_before_the_ack(self, hung_up: bool) -> None:
        desk = front_desk()
        dialog_id = ringing(desk)
        desk.agent.accept(dialog_id, SDP, desk.now)
        if hung_up:
            desk.agent.hang_up(dialog_id, desk.now)
        desk.drain()
        cause = "local_bye" if hung_up else "transport"
        assert cut(desk) == [CallEnded(dialog_id, cause, None)]
        assert_over(desk)

    def test_under_requests_of_ours(self) -> None:
        desk = front_desk()
        dialog_id = talking(desk)
        desk.agent.refer(dialog_id, "sip:carol@192.0.2.7", desk.now)
        desk.agent.reinvite(dialog_id, SDP, desk.now)
        desk.agent.reinvite(dialog_id, SDP + b"a=sendonly\r\n", desk.now)
        desk.drain()
        assert cut(desk) == [CallEnded(dialog_id, "transport", None)]
        assert_over(desk)

    def test_under_a_change_that_the_page_wants(self) -> None:
        desk = front_desk()
        dialog_id = talking(desk)
        desk.send(desk.within("INVITE", dialog_id, body=SDP, via=f"{VIA}2", contact=CONTACT), PAGE)
        assert desk.events() == [Reoffer(dialog_id, SDP)]
        assert cut(desk) == [CallEnded(dialog_id, "transport", None)]
        assert_over(desk)

    def test_under_our_bye(self) -> None:
        desk = front_desk()
        dialog_id = talking(desk)
        desk.agent.hang_up(dialog_id, desk.now)
        desk.drain()
        assert cut(desk) == [CallEnded(dialog_id, "local_bye", None)]
        assert_over(desk)

    @pytest.mark.parametrize("other", [AGAIN, Address(PAGE.host, PAGE.port, "tcp"), PEER_TCP, PEER])
    def test_of_somebody_else(self, other: Address) -> None:
        desk = front_desk()
        dialog_id = talking(desk)
        assert cut(desk, other) == []
        desk.agent.hang_up(dialog_id, desk.now)
        assert (codes(desk.drain()), desk.addresses) == (["BYE"], [PAGE])

    def test_after_the_page_went_on_over_a_new_one(self) -> None:
        desk = front_desk()
        dialog_id = talking(desk)
        assert desk.status(desk.within("OPTIONS", dialog_id, via=VIA), AGAIN) == 200
        assert desk.addresses == [AGAIN]
        assert cut(desk) == []
        desk.agent.hang_up(dialog_id, desk.now)
        assert (codes(desk.drain()), desk.addresses) == (["BYE"], [AGAIN])

    def test_of_one_call_and_not_the_other(self) -> None:
        desk = front_desk()
        gone = talking(desk)
        other = talking(desk, AGAIN, call_id="call-2", via=f"{VIA}2")
        assert cut(desk) == [CallEnded(gone, "transport", None)]
        assert desk.status(desk.within("BYE", other, call_id="call-2", via=VIA), AGAIN) == 200


def behind(route: str) -> dict[str, Any]:
    return {"headers": (("Record-Route", route),)}


class TestProxy:
    """One that a browser's WebSocket ends at, and that has one to us."""

    ROUTE = "<sip:8.8.8.8;lr>"

    def test_its_connection_is_used_while_there_is_one(self) -> None:
        desk = front_desk()
        dialog_id = talking(desk, **behind(self.ROUTE))
        desk.agent.hang_up(dialog_id, desk.now)
        bye = only_request(desk)
        assert (bye.headers.get("Route"), desk.addresses) == (self.ROUTE, [PAGE])

    def test_its_address_is_used_when_the_connection_is_gone(self) -> None:
        desk = front_desk()
        dialog_id = talking(desk, **behind(self.ROUTE))
        assert cut(desk) == [], "there is another way"
        desk.agent.hang_up(dialog_id, desk.now)
        bye = only_request(desk)
        assert (bye.headers.get("Route"), bye.uri) == (self.ROUTE, CONTACT.strip("<>"))
        assert desk.addresses == [Address("8.8.8.8", 5060, "udp")]

    def test_a_call_that_cannot_be_answered_any_more_is_over_all_the_same(self) -> None:
        desk = front_desk()
        dialog_id = ringing(desk, **behind(self.ROUTE))
        assert cut(desk) == [CallEnded(dialog_id, "transport", None)]
        assert_over(desk)

    @pytest.mark.parametrize(
        "route",
        [
            "<sip:proxy.example;lr>",
            "<sip:8.8.8.8;transport=ws;lr>",
            "<sip:169.254.169.254:80;lr>",
            "<sip:127.0.0.1:9;lr>",
        ],
    )
    def test_one_that_cannot_be_reached_ends_the_call_too(self, route: str) -> None:
        desk = front_desk()
        dialog_id = talking(desk, **behind(route))
        assert cut(desk) == [CallEnded(dialog_id, "transport", None)]
        assert_over(desk)


def test_a_call_of_ours_that_is_carried_on_over_a_websocket_ends_with_it() -> None:
    desk = front_desk()
    dialog_id, invite = desk.calling(to=PEER_TCP)
    assert codes(desk.send(answer_to(invite, 200, body=SDP), PEER_TCP)) == ["ACK"]
    assert desk.events() == [Answered(dialog_id, SDP)]
    options = request(
        "OPTIONS",
        to=invite.headers.get("From") or "",
        caller=f"{invite.headers.get('To')};tag=callee",
        call_id=invite.headers.get("Call-ID") or "",
        via=VIA,
    )
    assert desk.status(options, PAGE) == 200
    assert cut(desk) == [CallEnded(dialog_id, "transport", None)]
