"""Trunks that are asked whether they are there, in virtual time."""

import pytest

from gateway.sip.message import Address, Request
from gateway.sip.probes import ProbeEvent, TrunkDown, TrunkSought, TrunkUp
from gateway.sip.trunk import Trunk
from tests.sip.raw import Desk, answer_to

pytestmark = pytest.mark.pure

FIRST = Address("192.0.2.9", 5060, "udp")
SECOND = Address("192.0.2.10", 5060, "udp")
OVER_TCP = Address("192.0.2.9", 5060, "tcp")
TRUNK = Trunk.parse("sip:line:hunter2@carrier.example;realm=r;ping=30")


class Asking(Desk):
    """An agent that asks a trunk."""

    def __init__(self) -> None:
        super().__init__(tcp_port=5060)
        self.agent.probes.keep(TRUNK, self.now)

    def told(self) -> list[ProbeEvent]:
        return self.agent.probes.events()

    def found(self, *addresses: Address) -> Request:
        """Tell it the trunk's addresses; the OPTIONS that comes of it."""
        assert self.told() == [TrunkSought(TRUNK)]
        self.agent.probes.found(TRUNK, addresses, self.now)
        return self.asked()

    def asked(self) -> Request:
        (message,) = self.drain()
        assert isinstance(message, Request)
        return message

    def answered(self, options: Request, status: int, source: Address = FIRST) -> None:
        """Nothing is said to an answer."""
        challenge = ("WWW-Authenticate", 'Digest realm="r", nonce="1", qop="auth"')
        more = (challenge,) if status == 401 else ()
        answer = answer_to(options, status, contact=None, headers=more)
        assert self.send(answer, source) == []

    def next_question(self) -> tuple[float, Request]:
        """How long it took, and what was asked."""
        start = self.now
        while True:
            when = self.agent.next_timeout()
            assert when is not None
            self.now = when
            self.agent.timeout(when)
            for message in self.drain():
                assert isinstance(message, Request)
                return when - start, message


def test_what_is_asked() -> None:
    desk = Asking()
    options = desk.found(FIRST, SECOND)
    assert (options.method, options.uri, desk.addresses) == (
        "OPTIONS",
        "sip:carrier.example",
        [FIRST],
    )
    headers = options.headers
    assert headers.get("To") == "<sip:carrier.example>"
    assert (headers.get("From") or "").startswith("<sip:192.0.2.1>;tag=")
    assert headers.get("Contact") == "<sip:192.0.2.1:5060>"
    assert (headers.get("CSeq"), headers.get("Accept")) == ("1 OPTIONS", "application/sdp")
    assert "rport" in (headers.get("Via") or "")


@pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 405, 483, 486, 501, 603])
def test_whatever_a_trunk_answers_it_is_there(status: int) -> None:
    desk = Asking()
    options = desk.found(FIRST)
    desk.answered(options, 100)
    assert desk.told() == []
    desk.answered(options, status)
    assert desk.told() == [TrunkUp(TRUNK)]


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_who_answers_for_it_says_that_it_is_not(status: int) -> None:
    desk = Asking()
    desk.answered(desk.found(FIRST), status)
    assert desk.told() == [TrunkDown(TRUNK, "unavailable", status)]


def test_it_is_asked_again_and_told_once() -> None:
    desk = Asking()
    options = desk.found(FIRST)
    desk.answered(options, 200)
    assert desk.told() == [TrunkUp(TRUNK)]
    for number in range(2, 6):
        after_s, again = desk.next_question()
        assert 27 <= after_s <= 30
        assert again.headers.get("Call-ID") == options.headers.get("Call-ID")
        assert again.headers.get("CSeq") == f"{number} OPTIONS"
        desk.answered(again, 200)
        assert desk.told() == []


def test_silence_is_told_after_every_address_was_tried() -> None:
    desk = Asking()
    desk.found(FIRST, SECOND)
    said = desk.wait(31.9)
    assert said and desk.told() == []
    assert {message.headers.get("CSeq") for _, message in said} == {"1 OPTIONS"}
    said = desk.wait(32.1)
    assert {message.headers.get("CSeq") for _, message in said} == {"2 OPTIONS"}
    assert desk.told() == [TrunkDown(TRUNK, "timeout", None)]
    assert desk.wait(31) == []  # first it is looked up anew
    second = desk.found(SECOND)
    desk.answered(second, 200, SECOND)
    assert desk.told() == [TrunkUp(TRUNK)]


def test_where_it_was_heard_it_is_asked_again() -> None:
    desk = Asking()
    desk.found(FIRST, SECOND)
    desk.agent.transport_failed(FIRST, desk.now)
    options = desk.asked()
    assert desk.addresses == [SECOND]
    desk.answered(options, 200, SECOND)
    assert desk.told() == [TrunkUp(TRUNK)]
    desk.next_question()
    assert desk.addresses == [SECOND]


def test_a_lost_connection_is_a_failure_only_while_it_is_asked() -> None:
    desk = Asking()
    options = desk.found(OVER_TCP)
    desk.answered(options, 200, OVER_TCP)
    assert desk.told() == [TrunkUp(TRUNK)]
    desk.agent.connection_lost(OVER_TCP, desk.now)
    assert (desk.told(), desk.drain()) == ([], [])
    desk.next_question()
    desk.agent.connection_lost(OVER_TCP, desk.now)
    assert desk.told() == [TrunkDown(TRUNK, "transport", None)]


def test_a_name_without_an_address_is_looked_up_again() -> None:
    desk = Asking()
    assert desk.told() == [TrunkSought(TRUNK)]
    for told in ([TrunkDown(TRUNK, "unresolved", None)], []):
        desk.agent.probes.found(TRUNK, [], desk.now)
        assert desk.told() == told
        assert desk.wait(31) == []
        assert desk.told() == [TrunkSought(TRUNK)]


@pytest.mark.parametrize("answered", [True, False])
def test_nothing_is_left_of_it(answered: bool) -> None:
    desk = Asking()
    options = desk.found(FIRST)
    if answered:
        desk.answered(options, 200)
    desk.agent.probes.stop(desk.now)
    desk.skip(33)
    assert desk.is_empty
    desk.agent.probes.found(TRUNK, [FIRST], desk.now)  # a look-up that ended too late
    assert (desk.drain(), desk.is_empty) == ([], True)
