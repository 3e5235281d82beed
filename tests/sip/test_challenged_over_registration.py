"""Challenges of a provider to our requests within calls that it sent us over a registration."""

import pytest

from gateway.sip.account import Account
from gateway.sip.events import CallEnded, Reanswered, ReferAnswered
from gateway.sip.message import Address, Request
from tests.sip.others import proof_fields, response_to
from tests.sip.raw import PEER, SDP, Desk, answer_to, codes
from tests.sip.test_agent_challenged import challenge, has_proof, only_request

pytestmark = pytest.mark.pure

ACCOUNT = Account.parse("sip:agent:hunter2@pbx.example.org;realm=r;keepalive=0")
OTHER = Account.parse("sip:desk:opensesame@pbx.example.org;realm=r;keepalive=0")
ELSEWHERE = Address("192.0.2.66", 5060, "udp")
OVER_TLS = Address(PEER.host, 5061, "tls", "pbx.example.org")


class Line(Desk):
    """An agent that is registered, and takes calls."""

    def __init__(
        self,
        *accounts: Account,
        to: Address = PEER,
        others: tuple[Address, ...] = (),
        expires_s: int = 3600,
    ) -> None:
        super().__init__()
        for account in accounts or (ACCOUNT,):
            self.agent.registrations.keep(account, self.now)
            self.agent.registrations.found(account, [to, *others], self.now)
            register = only_request(self.drain())
            headers = (("Expires", str(expires_s)),)
            assert self.send(answer_to(register, 200, contact=None, headers=headers), to) == []
        self.agent.registrations.events()

    def up(self, name: str, source: Address = PEER, **changes: object) -> str:
        """Another call that is up."""
        dialog_id = self.incoming(source, call_id=name, branch=name, **changes)
        self.agent.accept(dialog_id, SDP, self.now)
        self.drain()
        ack = self.within("ACK", dialog_id, cseq=1, call_id=name, branch=f"ack-{name}")
        assert self.send(ack, source) == []
        self.events()
        return dialog_id

    def asked(self, dialog_id: str) -> list[Request]:
        """A REFER, a re-INVITE and a BYE."""
        self.agent.refer(dialog_id, "tel:+49301", self.now)
        self.agent.reinvite(dialog_id, SDP, self.now)
        self.agent.hang_up(dialog_id, self.now)
        asked = [one for one in self.drain() if isinstance(one, Request)]
        assert codes(list(asked)) == ["REFER", "INVITE", "BYE"]
        return asked

    def gives_nothing(self, dialog_id: str, realm: str = "r") -> bool:
        """Whether no challenge to these gets a proof."""
        said = [
            message
            for one in self.asked(dialog_id)
            for status in (401, 407)
            for message in self.send(challenge(one, f"n{status}", status=status, realm=realm))
        ]
        return set(codes(said)) == {"ACK"}


def proves(request: Request, method: str, user: str = "agent", password: str = "hunter2") -> bool:
    """Whether it proves that, to a proxy."""
    fields = proof_fields(request.headers.get("Proxy-Authorization") or "")
    said = (request.method, fields["username"], fields["response"])
    return said == (method, user, response_to(fields, method, user, password))


def test_a_refer() -> None:
    line = Line()
    dialog_id = line.confirmed()
    line.agent.refer(dialog_id, "tel:+49301", line.now)
    asked = only_request(line.drain())
    assert not has_proof(asked)
    again = only_request(line.send(challenge(asked, "1", status=407)))
    assert proves(again, "REFER")
    assert again.headers.get("CSeq") == "2 REFER"
    assert again.headers.get_all("Refer-To") == ["<tel:+49301>"]
    assert line.addresses == [PEER]
    line.send(answer_to(again, 202, tag=None))
    assert line.events() == [ReferAnswered(dialog_id, 202)]


def test_a_refer_whose_proof_is_refused() -> None:
    line = Line()
    dialog_id = line.confirmed()
    line.agent.refer(dialog_id, "tel:+49301", line.now)
    again = only_request(line.send(challenge(only_request(line.drain()), "1", status=407)))
    assert line.send(challenge(again, "2", status=407)) == [], "once is enough"
    assert line.events() == [ReferAnswered(dialog_id, 407)]


def test_a_reinvite_and_its_ack() -> None:
    line = Line()
    dialog_id = line.confirmed()
    line.agent.reinvite(dialog_id, b"v=0 hold\r\n", line.now)
    ack, again = line.send(challenge(only_request(line.drain()), "1", status=407))
    assert codes([ack]) == ["ACK"]
    assert isinstance(again, Request)
    assert proves(again, "INVITE")
    ack = only_request(line.send(answer_to(again, 200, tag=None, body=SDP)))
    assert ack.headers.get("Proxy-Authorization") == again.headers.get("Proxy-Authorization")
    assert line.events() == [Reanswered(dialog_id, 200, SDP)]


def test_a_bye_after_which_nothing_is_left() -> None:
    line = Line()
    dialog_id = line.confirmed()
    line.agent.hang_up(dialog_id, line.now)
    again = only_request(line.send(challenge(only_request(line.drain()), "1", status=407)))
    assert proves(again, "BYE")
    line.send(answer_to(again, 200, tag=None))
    assert line.events() == [CallEnded(dialog_id, "local_bye", None)]
    line.skip(40)
    assert not line.agent.dialogs and not line.agent.transactions


def test_the_refreshes_of_a_session() -> None:
    line = Line()
    dialog_id = line.confirmed(headers=(("Supported", "timer"), ("Allow", "UPDATE")))
    ((_, update), *_) = line.wait(901)
    assert codes([update]) == ["UPDATE"]
    again = only_request(line.send(challenge(update, "1", status=407)))
    assert proves(again, "UPDATE")
    timed = (("Session-Expires", "1800;refresher=uac"),)
    line.send(answer_to(again, 200, tag=None, headers=timed))
    said = [message for _, message in line.wait(905)]
    assert set(codes(said)) == {"UPDATE"}
    assert line.events() == []
    assert dialog_id in line.agent._board.calls


def test_of_two_accounts_the_one_that_was_called() -> None:
    line = Line(ACCOUNT, OTHER)
    for called, user, password in (
        ("desk", "desk", "opensesame"),
        ("agent", "agent", "hunter2"),
        ("whoever", "agent", "hunter2"),
    ):
        dialog_id = line.up(called, uri=f"sip:{called}@192.0.2.1:5060")
        line.agent.hang_up(dialog_id, line.now)
        again = only_request(line.send(challenge(only_request(line.drain()), "1", status=407)))
        assert proves(again, "BYE", user, password)
        line.events()


class TestNobodyElse:
    def test_another_realm(self) -> None:
        line = Line()
        assert line.gives_nothing(line.confirmed(), realm="R")

    @pytest.mark.parametrize(("realm", "answered"), [("PBX.example.org", True), ("r", False)])
    def test_its_host_is_the_realm_unless_one_is_named(self, realm: str, answered: bool) -> None:
        line = Line(Account.parse("sip:agent:hunter2@pbx.example.org;keepalive=0"))
        dialog_id = line.confirmed()
        line.agent.refer(dialog_id, "tel:+49301", line.now)
        said = line.send(challenge(only_request(line.drain()), "1", status=407, realm=realm))
        assert codes(said) == (["REFER"] if answered else [])

    def test_a_call_from_elsewhere(self) -> None:
        line = Line()
        line.confirmed(call_id="beside", branch="beside")
        assert line.gives_nothing(line.confirmed(ELSEWHERE))

    def test_a_call_from_where_the_registrar_may_be_but_has_not_agreed(self) -> None:
        line = Line(others=(ELSEWHERE,))
        assert line.gives_nothing(line.confirmed(ELSEWHERE))

    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("contact", "<sip:bob@8.8.8.8:5062>"),
            ("headers", (("Record-Route", "<sip:8.8.8.8;lr>"),)),
        ],
    )
    def test_a_call_of_it_that_leads_elsewhere(self, header: str, value: object) -> None:
        line = Line()
        dialog_id = line.confirmed(PEER, **{header: value})
        asked = line.asked(dialog_id)
        assert {address.host for address in line.addresses} == {"8.8.8.8"}
        for one in asked:
            said = line.send(challenge(one, "1", status=407))
            assert not any(has_proof(one) for one in said if isinstance(one, Request))

    def test_who_does_not_know_us_any_more(self) -> None:
        line = Line(expires_s=100)
        ((_, refresh), *_) = line.wait(70)
        line.send(answer_to(refresh, 403, contact=None))
        assert line.gives_nothing(line.confirmed())

    def test_an_account_without_a_password(self) -> None:
        line = Line(Account.parse("sip:agent@pbx.example.org;keepalive=0"))
        assert line.gives_nothing(line.confirmed(), realm="pbx.example.org")

    def test_over_tls_only_who_proved_its_name(self) -> None:
        """What comes in another way has the registrar's address, which can be had on the way."""
        line = Line(to=OVER_TLS)
        via = "SIP/2.0/TLS 192.0.2.9:5061;branch=z9hG4bK9"
        dialog_id = line.confirmed(OVER_TLS, via=via, call_id="tls")
        line.agent.refer(dialog_id, "tel:+49301", line.now)
        asked = only_request(line.drain())
        assert line.addresses == [OVER_TLS]
        assert proves(only_request(line.send(challenge(asked, "1", status=407))), "REFER")
        for number, source in enumerate((PEER, Address(PEER.host, 40000, "tls"))):
            line.events()
            assert line.gives_nothing(line.up(f"other{number}", source))
