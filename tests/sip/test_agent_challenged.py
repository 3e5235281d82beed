"""Challenges to the requests of an agent: those of a trunk are answered, those of strangers not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.auth import Credentials
from gateway.sip.events import (
    Answered,
    CallEnded,
    IncomingCall,
    Reanswered,
    ReferAnswered,
    ReferProgress,
    Ringing,
)
from gateway.sip.message import Address, Message, Request
from tests.sip.network import Network, Node
from tests.sip.others import Trunk, proof_fields, put, response_to
from tests.sip.raw import PEER, PEER_TCP, SDP, Desk, answer_to, codes
from tests.sip.test_agent_calling import from_callee
from tests.sip.test_agent_pair import FREED_AFTER_S, losing

pytestmark = pytest.mark.pure

ME = Credentials("me", "hunter2", "r")
PROOFS = ("Authorization", "Proxy-Authorization")


def only_request(said: list[Message]) -> Request:
    (message,) = said
    assert isinstance(message, Request)
    return message


def challenge(
    asked: Message, nonce: str, *, status: int = 401, more: str = "", realm: str = "r"
) -> bytes:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    value = f'Digest realm="{realm}", nonce="{nonce}", qop="auth"{more}'
    tag = None if ";tag=" in (asked.headers.get("To") or "") else f"c{nonce}"
    return answer_to(asked, status, tag=tag, contact=None, headers=((name, value),))


def has_proof(request: Request) -> bool:
    return any(name in request.headers for name in PROOFS)


def challenged(desk: Desk, **fields: object) -> tuple[str, Request, Request]:
    """A call of ours whose INVITE was challenged; its dialog id and both INVITEs."""
    dialog_id, first = desk.calling(**({"credentials": ME} | fields))
    ack, second = desk.send(challenge(first, "1"))
    assert codes([ack]) == ["ACK"]
    assert isinstance(second, Request)
    return dialog_id, first, second


def up(desk: Desk, *, host: str = "192.0.2.9", **fields: object) -> tuple[str, Request]:
    """The same, answered from a Contact at `host`."""
    dialog_id, _, invite = challenged(desk, **fields)
    desk.send(answer_to(invite, 200, body=SDP, contact=f"<sip:callee@{host}:5062>"))
    desk.events()
    return dialog_id, invite


class TestTheInvite:
    @pytest.mark.parametrize(("status", "name"), [(401, PROOFS[0]), (407, PROOFS[1])])
    def test_is_asked_again(self, status: int, name: str) -> None:
        desk = Desk()
        extra = [("X-Test", "1")]
        dialog_id, first = desk.calling(credentials=ME, headers=extra)
        assert not has_proof(first)
        ack, second = desk.send(challenge(first, "1", status=status))
        assert codes([ack]) == ["ACK"]
        assert desk.addresses == [PEER, PEER]
        assert isinstance(second, Request)
        assert (second.method, second.uri, second.body) == ("INVITE", first.uri, SDP)
        changed = ("Via", "CSeq", *PROOFS)
        for one, other in ((first, second), (second, first)):
            kept = [pair for pair in one.headers.items() if pair[0] not in changed]
            assert kept == [pair for pair in other.headers.items() if pair[0] not in changed]
        assert second.headers.get("CSeq") == "2 INVITE"
        assert second.headers.get("Via") != first.headers.get("Via")
        fields = proof_fields(second.headers.get(name) or "")
        assert fields["uri"] == first.uri
        assert fields["response"] == response_to(fields, "INVITE", "me", "hunter2")
        assert desk.events() == []
        ack = only_request(desk.send(answer_to(second, 200, body=SDP)))
        assert ack.headers.get("CSeq") == "2 ACK"
        assert ack.headers.get_all(name) == second.headers.get_all(name)
        assert desk.events() == [Answered(dialog_id, SDP)]

    def test_a_proxy_and_the_server_behind_it_both_ask(self) -> None:
        """RFC 3261 section 22.3; each gets a proof of its own, and no proof is used twice."""
        desk = Desk()
        _, first = desk.calling(credentials=ME)
        _, second = desk.send(challenge(first, "proxy", status=407))
        _, third = desk.send(challenge(second, "server", status=401))
        assert isinstance(second, Request) and isinstance(third, Request)
        assert third.headers.get("CSeq") == "3 INVITE"
        proofs = [proof_fields(third.headers.get(name) or "") for name in PROOFS]
        assert [one["nonce"] for one in proofs] == ["server", "proxy"]
        assert [one["nc"] for one in proofs] == ["00000001", "00000002"]
        for fields in proofs:
            assert fields["response"] == response_to(fields, "INVITE", "me", "hunter2")
        assert codes(desk.send(challenge(third, "3", status=407))) == ["ACK"]

    def test_two_who_ask_in_turns_for_ever(self) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling(credentials=ME)
        for number in range(20):
            status = (401, 407)[number % 2]
            asked = challenge(invite, str(number), status=status, more=", stale=true")
            said = desk.send(asked)
            if len(said) == 1:
                break
            assert isinstance(said[1], Request)
            invite = said[1]
        assert number == 4
        assert desk.events() == [CallEnded(dialog_id, "refused", 401)]

    def test_a_late_copy_of_the_challenge_is_only_acknowledged(self) -> None:
        desk = Desk()
        _, first, _ = challenged(desk)
        assert codes(desk.send(challenge(first, "1"))) == ["ACK"]
        assert codes(desk.send(challenge(first, "2", more=", stale=true"))) == ["ACK"]

    def test_a_late_offer_is_answered_after_a_challenge(self) -> None:
        desk = Desk()
        dialog_id, _, second = challenged(desk, body=None)
        desk.send(answer_to(second, 200, body=SDP))
        desk.agent.ack(dialog_id, b"v=0 ours\r\n", desk.now)
        ack = only_request(desk.drain())
        assert (ack.headers.get("CSeq"), ack.body) == ("2 ACK", b"v=0 ours\r\n")

    def test_a_proof_that_is_not_accepted(self) -> None:
        desk = Desk()
        dialog_id, _, second = challenged(desk)
        assert codes(desk.send(challenge(second, "2"))) == ["ACK"]
        assert desk.events() == [CallEnded(dialog_id, "refused", 401)]
        desk.wait(40)
        assert desk.is_empty

    def test_a_nonce_that_is_always_stale(self) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling(credentials=ME)
        said = 0
        while said < 20:
            answers = desk.send(challenge(invite, str(said), more=", stale=true"))
            said += 1
            if codes(answers) == ["ACK"]:
                break
            assert codes(answers) == ["ACK", "INVITE"]
            assert isinstance(answers[1], Request)
            invite = answers[1]
            assert len(invite.headers.get_all("Authorization")) == 1
            assert invite.headers.get("CSeq") == f"{said + 1} INVITE"
        assert said == 5
        assert desk.events() == [CallEnded(dialog_id, "refused", 401)]
        desk.wait(40)
        assert desk.is_empty

    @pytest.mark.parametrize("status", [401, 407])
    @pytest.mark.parametrize("realm", ["evil", "R", ""])
    def test_of_another_realm_at_once(self, realm: str, status: int) -> None:
        """A callee behind a trunk that does not ask itself."""
        desk = Desk()
        dialog_id, invite = desk.calling(credentials=ME)
        assert codes(desk.send(challenge(invite, "1", status=status, realm=realm))) == ["ACK"]
        assert desk.events() == [CallEnded(dialog_id, "refused", status)]

    def test_another_realm_the_second_time(self) -> None:
        desk = Desk()
        dialog_id, _, second = challenged(desk)
        assert codes(desk.send(challenge(second, "2", more=", stale=true", realm="s"))) == ["ACK"]
        assert desk.events() == [CallEnded(dialog_id, "refused", 401)]

    @pytest.mark.parametrize("status", [401, 407])
    def test_without_credentials(self, status: int) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling()
        assert codes(desk.send(challenge(invite, "1", status=status))) == ["ACK"]
        assert desk.events() == [CallEnded(dialog_id, "refused", status)]

    def test_a_challenge_that_cannot_be_answered(self) -> None:
        for value in ('Basic realm="r"', 'Digest realm="r", nonce="n", algorithm=X', "Digest"):
            desk = Desk()
            dialog_id, invite = desk.calling(credentials=ME)
            refusal = answer_to(invite, 401, headers=(("WWW-Authenticate", value),))
            assert codes(desk.send(refusal)) == ["ACK"]
            assert desk.events() == [CallEnded(dialog_id, "refused", 401)]

    def test_a_challenge_that_is_too_long_to_be_answered(self) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling(credentials=ME)
        value = f'Digest realm="r", nonce="n", opaque="{"o" * 8100}"'
        refusal = answer_to(invite, 401, headers=(("WWW-Authenticate", value),))
        assert codes(desk.send(refusal)) == ["ACK"]
        assert desk.events() == [CallEnded(dialog_id, "refused", 401)]

    def test_over_a_connection(self) -> None:
        desk = Desk()
        dialog_id, first = desk.calling(credentials=ME, to=PEER_TCP)
        ack, second = desk.send(challenge(first, "1"), PEER_TCP)
        assert codes([ack, second]) == ["ACK", "INVITE"]
        assert desk.addresses == [PEER_TCP, PEER_TCP]
        assert codes(desk.send(challenge(second, "2"), PEER_TCP)) == ["ACK"]
        assert desk.events() == [CallEnded(dialog_id, "refused", 401)]
        assert desk.is_empty

    def test_nobody_answers_the_second(self) -> None:
        desk = Desk()
        dialog_id, _, _ = challenged(desk)
        assert codes([one for _, one in desk.wait(40)]) == ["INVITE"] * 6
        assert desk.events() == [CallEnded(dialog_id, "timeout", 408)]
        assert desk.is_empty


class TestGivingUp:
    def test_before_the_challenge(self) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling(credentials=ME)
        desk.agent.hang_up(dialog_id, desk.now)
        assert codes(desk.send(challenge(invite, "1"))) == ["ACK"]
        assert desk.events() == [CallEnded(dialog_id, "cancelled", None)]
        desk.wait(40)
        assert desk.is_empty

    def test_the_second_is_not_cancelled_before_it_was_heard(self) -> None:
        desk = Desk()
        dialog_id, first = desk.calling(credentials=ME)
        desk.send(answer_to(first, 100, tag=None))
        _, second = desk.send(challenge(first, "1"))
        assert isinstance(second, Request)
        desk.agent.hang_up(dialog_id, desk.now)
        assert desk.drain() == [], "what was heard of the first does not count"
        cancel = only_request(desk.send(answer_to(second, 180)))
        assert cancel.headers.get("CSeq") == "2 CANCEL"
        assert cancel.headers.get("Via") == second.headers.get("Via")
        assert not has_proof(cancel)
        assert codes(desk.send(answer_to(second, 487))) == ["ACK"]
        assert desk.events() == [CallEnded(dialog_id, "cancelled", None)]
        desk.send(answer_to(cancel, 200))
        desk.wait(40)
        assert desk.is_empty

    def test_a_challenge_to_the_cancel_is_not_answered(self) -> None:
        desk = Desk()
        dialog_id, _, second = challenged(desk)
        desk.send(answer_to(second, 180))
        desk.agent.hang_up(dialog_id, desk.now)
        cancel = only_request(desk.drain())
        assert desk.send(challenge(cancel, "2")) == []

    def test_a_200_that_crossed(self) -> None:
        desk = Desk()
        dialog_id, _, second = challenged(desk)
        desk.send(answer_to(second, 180))
        desk.agent.hang_up(dialog_id, desk.now)
        desk.drain()
        ack, bye = desk.send(answer_to(second, 200, body=SDP))
        assert codes([ack, bye]) == ["ACK", "BYE"]
        assert isinstance(bye, Request)
        assert bye.headers.get("CSeq") == "3 BYE"
        again = only_request(desk.send(challenge(bye, "2")))
        assert (again.method, again.headers.get("CSeq")) == ("BYE", "4 BYE")
        desk.send(answer_to(again, 200, tag=None))
        desk.wait(40)
        assert desk.is_empty


class TestForks:
    def test_those_of_the_first_invite_are_forgotten(self) -> None:
        desk = Desk()
        dialog_id, first = desk.calling(credentials=ME)
        for number in range(16):
            desk.send(answer_to(first, 180, tag=f"old{number}"))
        _, second = desk.send(challenge(first, "1"))
        desk.send(answer_to(second, 183, tag="new"))
        assert codes(desk.send(answer_to(second, 200, tag="new", body=SDP))) == ["ACK"]
        assert desk.events()[-2:] == [Ringing(dialog_id, 183, None), Answered(dialog_id, SDP)]

    def test_the_bye_of_the_one_that_came_second_is_counted_in_its_own_dialog(self) -> None:
        desk = Desk()
        dialog_id, _, invite = challenged(desk)
        desk.send(answer_to(invite, 200, tag="one", body=SDP))
        _, bye = desk.send(answer_to(invite, 200, tag="two", body=SDP))
        assert isinstance(bye, Request)
        again = only_request(desk.send(challenge(bye, "2")))
        assert again.headers.get("CSeq") == "4 BYE"
        assert again.headers.get("To") == "<sip:bob@192.0.2.9>;tag=two"
        desk.agent.hang_up(dialog_id, desk.now)
        assert only_request(desk.drain()).headers.get("CSeq") == "3 BYE"


class TestWithinTheCall:
    def test_a_bye(self) -> None:
        desk = Desk()
        dialog_id, _ = up(desk)
        desk.agent.hang_up(dialog_id, desk.now)
        bye = only_request(desk.drain())
        assert not has_proof(bye)
        again = only_request(desk.send(challenge(bye, "1", status=407)))
        assert again.headers.get("CSeq") == "4 BYE"
        fields = proof_fields(again.headers.get("Proxy-Authorization") or "")
        assert (fields["nc"], fields["uri"]) == ("00000002", "sip:callee@192.0.2.9:5062")
        assert fields["response"] == response_to(fields, "BYE", "me", "hunter2")
        assert desk.send(challenge(again, "2", status=407)) == [], "once is enough"
        assert desk.events() == [CallEnded(dialog_id, "local_bye", None)]
        desk.wait(40)
        assert desk.is_empty

    def test_a_reinvite(self) -> None:
        desk = Desk()
        dialog_id, _ = up(desk)
        desk.agent.reinvite(dialog_id, b"v=0 hold\r\n", desk.now)
        asked = only_request(desk.drain())
        ack, again = desk.send(challenge(asked, "2"))
        assert isinstance(again, Request)
        assert (codes([ack]), again.body) == (["ACK"], b"v=0 hold\r\n")
        assert again.headers.get("CSeq") == "4 INVITE"
        answer = answer_to(again, 200, tag=None, body=SDP)
        ack = only_request(desk.send(answer))
        assert ack.headers.get("CSeq") == "4 ACK"
        assert ack.headers.get("Authorization") == again.headers.get("Authorization")
        assert desk.send(answer) == [ack]
        assert desk.events() == [Reanswered(dialog_id, 200, SDP)]

    def test_a_refer_and_its_reports(self) -> None:
        desk = Desk()
        dialog_id, invite = up(desk)
        desk.agent.refer(dialog_id, "tel:+49301", desk.now)
        asked = only_request(desk.drain())
        again = only_request(desk.send(challenge(asked, "2")))
        assert again.headers.get("CSeq") == "4 REFER"
        assert again.headers.get_all("Refer-To") == ["<tel:+49301>"]
        assert desk.events() == []
        desk.send(answer_to(again, 202, tag=None))
        for number, status in ((3, 481), (4, 200)):
            report = from_callee(
                desk,
                invite,
                "NOTIFY",
                branch=f"n{number}",
                cseq=number,
                headers=(("Event", f"refer;id={number}"), ("Subscription-State", "terminated")),
            )
            assert desk.status(report) == status
        assert desk.events() == [
            ReferAnswered(dialog_id, 202),
            ReferProgress(dialog_id, None, True),
        ]
        desk.agent.hang_up(dialog_id, desk.now)
        assert only_request(desk.drain()).headers.get("CSeq") == "5 BYE"

    def test_a_refer_that_is_challenged_after_we_hung_up_is_left_alone(self) -> None:
        desk = Desk()
        dialog_id, _ = up(desk)
        desk.agent.refer(dialog_id, "tel:+49301", desk.now)
        asked = only_request(desk.drain())
        desk.agent.hang_up(dialog_id, desk.now)
        desk.drain()
        assert desk.send(challenge(asked, "2")) == []

    def test_numbers_of_requests_that_cross(self) -> None:
        desk = Desk()
        dialog_id, _ = up(desk)
        desk.agent.refer(dialog_id, "tel:+49301", desk.now)
        asked = only_request(desk.drain())
        desk.agent.reinvite(dialog_id, SDP, desk.now)
        assert only_request(desk.drain()).headers.get("CSeq") == "4 INVITE"
        again = only_request(desk.send(challenge(asked, "2")))
        assert again.headers.get("CSeq") == "5 REFER"


class TestStrangers:
    """Whoever has a call with us may ask us for a proof. It gets none."""

    def requests(self, desk: Desk, dialog_id: str) -> list[Request]:
        desk.agent.refer(dialog_id, "tel:+49301", desk.now)
        desk.agent.reinvite(dialog_id, SDP, desk.now)
        desk.agent.hang_up(dialog_id, desk.now)
        return [one for one in desk.drain() if isinstance(one, Request)]

    def attack(self, desk: Desk, dialog_id: str, realm: str = "r") -> None:
        asked = self.requests(desk, dialog_id)
        assert codes(list(asked)) == ["REFER", "INVITE", "BYE"]
        said: list[Message] = []
        for one in asked:
            for status in (401, 407):
                said += desk.send(challenge(one, f"x{status}", status=status, realm=realm))
        assert set(codes(said)) == {"ACK"}
        assert not any(has_proof(one) for one in said if isinstance(one, Request))

    def test_the_realm_is_answered_in_a_call_whose_invite_was_not_challenged(self) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling(credentials=ME)
        desk.send(answer_to(invite, 200, body=SDP))
        desk.agent.refer(dialog_id, "tel:+49301", desk.now)
        (asked,) = desk.drain()
        assert has_proof(only_request(desk.send(challenge(asked, "1"))))
        desk.agent.hang_up(dialog_id, desk.now)
        (bye,) = desk.drain()
        assert has_proof(only_request(desk.send(challenge(bye, "2", status=407))))

    def test_who_called_us(self) -> None:
        desk = Desk()
        challenged(desk)  # a call of ours beside it, so that the agent knows a realm
        desk.events()
        self.attack(desk, desk.confirmed())

    def test_who_was_called_without_credentials(self) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling()
        desk.send(answer_to(invite, 200, body=SDP))
        self.attack(desk, dialog_id)

    def test_who_did_not_challenge_the_invite(self) -> None:
        desk = Desk()
        dialog_id, invite = desk.calling(credentials=ME)
        desk.send(answer_to(invite, 200, body=SDP))
        self.attack(desk, dialog_id, realm="evil")

    def test_another_realm(self) -> None:
        desk = Desk()
        dialog_id, _ = up(desk)
        self.attack(desk, dialog_id, realm="evil")

    def test_another_host(self) -> None:
        """The callee, reached directly, asks for what its trunk had asked for."""
        desk = Desk()
        dialog_id, _, invite = challenged(desk)
        answer = answer_to(invite, 200, body=SDP, contact="<sip:callee@8.8.8.8:5062>")
        ack = only_request(desk.send(answer))
        assert (desk.addresses[0].host, has_proof(ack)) == ("8.8.8.8", False)
        self.attack(desk, dialog_id)

    @pytest.mark.parametrize("header", ["Contact", "Record-Route"])
    def test_another_host_is_told_if_it_is_the_trunk_s_by_dns(self, header: str) -> None:
        """Nothing changes by who names it, only by who it is."""
        for there, told in (("8.8.4.4", True), ("8.8.8.8", False)):
            desk = Desk()
            places = [PEER, Address("8.8.4.4", 5060, "udp")]
            dialog_id, _, invite = challenged(desk, places=places)
            if header == "Contact":
                answer = answer_to(invite, 200, body=SDP, contact=f"<sip:callee@{there}>")
            else:
                route = (("Record-Route", f"<sip:{there};lr>"),)
                answer = answer_to(invite, 200, body=SDP, headers=route)
            ack = only_request(desk.send(answer))
            assert (desk.addresses[0].host, has_proof(ack)) == (there, told)
            desk.agent.hang_up(dialog_id, desk.now)
            said = desk.send(challenge(only_request(desk.drain()), "2", status=407))
            assert codes(said) == (["BYE"] if told else [])
            assert all(has_proof(one) for one in said if isinstance(one, Request))
            assert {address.host for address in desk.addresses} <= {there}

    def test_the_other_hosts_of_a_trunk_are_told_nothing_in_another_realm(self) -> None:
        desk = Desk()
        places = [PEER, Address("8.8.4.4", 5060, "udp")]
        dialog_id, _, invite = challenged(desk, places=places)
        desk.send(answer_to(invite, 200, body=SDP, contact="<sip:callee@8.8.4.4>"))
        self.attack(desk, dialog_id, realm="evil")

    def test_while_we_call(self) -> None:
        """A challenge to the first reINVITE of a callee that we called through another trunk."""
        desk = Desk()
        dialog_id, _ = up(desk)
        self.attack(desk, dialog_id, realm="R")


def test_no_event_and_no_message_shows_the_password() -> None:
    desk = Desk()
    dialog_id, _, second = challenged(desk)
    shown = [repr(second), repr(desk.agent._board.calls)]
    desk.send(challenge(second, "2"))
    shown += [repr(event) for event in desk.events()]
    assert dialog_id in shown[-1]
    assert not any("hunter2" in text for text in shown)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60), status=st.sampled_from([401, 407]))
def test_a_challenge_of_any_text(text: str, status: int) -> None:
    desk = Desk()
    dialog_id, invite = desk.calling(credentials=ME)
    for start in ("", "Digest ", 'Digest realm="r", nonce="n", opaque="'):
        name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
        data = answer_to(invite, status, headers=((name, "@"),)).decode()
        desk.agent.receive(
            data.replace("@", start + text, 1).encode("utf-8", "replace"), PEER, desk.now
        )
    said = [one for one in desk.drain() if isinstance(one, Request)]
    assert set(codes(list(said))) <= {"ACK", "INVITE"}
    desk.agent.hang_up(dialog_id, desk.now)
    desk.skip(80)
    assert desk.is_empty


class Placed:
    """A call of a gateway through a trunk that challenges everything."""

    def __init__(self, net: Network, algorithm: str = "SHA-256", password: str = "hunter2") -> None:
        self.net = net
        self.trunk_agent = Trunk("10.0.0.2", "hunter2", algorithm)
        self.gateway = net.node("10.0.0.1")
        self.trunk = put(net, "10.0.0.2", self.trunk_agent)
        self.trunk.on_event = lambda event, now: (
            self.answers(event, now) if isinstance(event, IncomingCall) else None
        )
        self.dialog_id = self.gateway.agent.invite(
            "sip:+49301@10.0.0.2",
            SDP,
            net.now,
            to=self.trunk.address(),
            from_uri="sip:+49302@10.0.0.1",
            credentials=Credentials("me", password, "trunk"),
        )

    def answers(self, event: IncomingCall, now: float) -> None:
        self.trunk_agent.ring(event.dialog_id, now)
        accept = self.trunk_agent.accept
        self.net.at(1.0, lambda now: accept(event.dialog_id, SDP, now))

    def nodes(self) -> tuple[Node, Node]:
        return self.gateway, self.trunk


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256"])
def test_a_call_through_a_trunk(algorithm: str) -> None:
    net = Network()
    placed = Placed(net, algorithm)
    net.run(3)
    assert placed.gateway.told == [
        Ringing(placed.dialog_id, 180, None),
        Answered(placed.dialog_id, SDP),
    ]
    placed.gateway.agent.reinvite(placed.dialog_id, SDP, net.now)
    net.run(1)
    placed.gateway.agent.hang_up(placed.dialog_id, net.now)
    net.run(1)
    assert placed.trunk_agent.proven == ["INVITE", "INVITE", "BYE"]
    assert placed.trunk.only(CallEnded).cause == "remote_bye"
    net.run(FREED_AFTER_S)
    assert all(node.is_empty for node in placed.nodes())


def test_a_wrong_password() -> None:
    net = Network()
    placed = Placed(net, password="hunter3")
    net.run(3)
    assert placed.gateway.told == [CallEnded(placed.dialog_id, "refused", 407)]
    assert len(placed.gateway.wire("INVITE")) == 2
    net.run(FREED_AFTER_S)
    assert all(node.is_empty for node in placed.nodes())


@pytest.mark.parametrize(
    "lost",
    [
        [b"SIP/2.0 407"] * 3,
        [b"INVITE", b"ACK", b"INVITE", b"SIP/2.0 180", b"SIP/2.0 200", b"ACK"],
        [b"ACK"] * 3,
        [b"BYE", b"SIP/2.0 407", b"BYE"],
    ],
)
def test_whatever_is_lost_the_call_comes_up_and_ends(lost: list[bytes]) -> None:
    net = Network()
    losing(net, *lost)
    placed = Placed(net)
    net.run(20)
    placed.gateway.agent.hang_up(placed.dialog_id, net.now)
    net.run(20)
    assert len(placed.trunk.all_told(IncomingCall)) == 1
    assert len(placed.gateway.all_told(Answered)) == 1
    assert placed.trunk.only(CallEnded).cause == "remote_bye"
    net.run(FREED_AFTER_S)
    assert all(node.is_empty for node in placed.nodes())


@pytest.mark.parametrize("seed", range(40))
def test_on_a_bad_line(seed: int) -> None:
    net = Network(seed, loss=0.2, duplicate=0.2, delay_s=(0.005, 0.4))
    placed = Placed(net)
    hang_up = placed.gateway.agent.hang_up
    net.at((seed % 8) / 2 if seed < 24 else 20, lambda now: hang_up(placed.dialog_id, now))
    net.run(90)
    assert len(placed.trunk.all_told(IncomingCall)) <= 1
    assert placed.gateway.only(CallEnded).cause in ("cancelled", "local_bye")
    assert seed < 24 or placed.gateway.all_told(Answered)
    net.run(2 * FREED_AFTER_S)
    assert all(node.is_empty for node in placed.nodes())
