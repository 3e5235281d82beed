"""Registrations of ours, against a registrar written by hand, in virtual time."""

from collections.abc import Sequence

import pytest

from gateway.sip.account import Account
from gateway.sip.message import Address, Message, Request
from gateway.sip.registration import (
    BASE_S,
    MAX_S,
    REFUSED_S,
    Registered,
    RegistrarSought,
    RegistrationEvent,
    Unregistered,
)
from tests.sip.others import proof_fields, response_to
from tests.sip.raw import SDP, Desk, answer_to, codes, request

pytestmark = pytest.mark.pure

FIRST = Address("192.0.2.9", 5060, "udp")
SECOND = Address("192.0.2.10", 5060, "udp")
OVER_TCP = Address("192.0.2.9", 5060, "tcp")
ACCOUNT = Account.parse("sip:agent:hunter2@sip.example.org;realm=r")
QUIET = Account.parse("sip:agent:hunter2@sip.example.org;realm=r;keepalive=0")


class Office(Desk):
    """An agent that registers, and what it tells of that."""

    def __init__(self, account: Account = QUIET, **config: object) -> None:
        super().__init__(**config)
        self.account = account
        self.agent.registrations.keep(account, self.now)

    def told(self) -> list[RegistrationEvent]:
        return self.agent.registrations.events()

    def found(self, *addresses: Address) -> Request:
        """Tell it the registrar's addresses; the REGISTER that comes of it."""
        assert self.told() == [RegistrarSought(self.account)]
        self.agent.registrations.found(self.account, addresses, self.now)
        return self.asked()

    def asked(self) -> Request:
        (message,) = self.drain()
        assert isinstance(message, Request)
        return message

    def answered(self, data: bytes, source: Address = FIRST) -> Request:
        """What it asks next."""
        (message,) = self.send(data, source)
        assert isinstance(message, Request)
        return message

    def next_request(self, within_s: float) -> tuple[float, Request]:
        """How long it took until it asked again."""
        ((after_s, message), *copies) = self.wait(within_s)
        assert isinstance(message, Request)
        assert all(copy.headers == message.headers for _, copy in copies)
        return after_s, message

    def failed(self) -> Unregistered:
        (event,) = self.told()
        assert isinstance(event, Unregistered)
        return event


def granted(
    register: Request, expires_s: int = 600, more: tuple[tuple[str, str], ...] = ()
) -> bytes:
    contact = f"{register.headers.get('Contact')};expires={expires_s}"
    return answer_to(register, 200, contact=None, headers=(("Contact", contact), *more))


def challenge(register: Request, nonce: str = "1", realm: str = "r", status: int = 401) -> bytes:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    value = f'Digest realm="{realm}", nonce="{nonce}", qop="auth"'
    return answer_to(register, status, contact=None, headers=((name, value),))


def refusal(register: Message, status: int, *headers: tuple[str, str]) -> bytes:
    return answer_to(register, status, contact=None, headers=headers)


def registered(
    office: Office, expires_s: int = 600, addresses: Sequence[Address] = (FIRST,)
) -> Request:
    """Bring it up at the first address; the REGISTER that was agreed to."""
    register = office.found(*addresses)
    assert office.send(granted(register, expires_s), addresses[0]) == []
    (event,) = office.told()
    assert isinstance(event, Registered) and event.expires_s == expires_s
    return register


def number(register: Request) -> int:
    return int((register.headers.get("CSeq") or "").split()[0])


class TestTheRequest:
    def test_what_it_says(self) -> None:
        register = Office().found(FIRST)
        assert (register.method, register.uri) == ("REGISTER", "sip:sip.example.org")
        headers = register.headers
        assert headers.get("To") == "<sip:agent@sip.example.org>"
        assert (headers.get("From") or "").startswith("<sip:agent@sip.example.org>;tag=")
        assert headers.get("Contact") == "<sip:agent@192.0.2.1:5060>"
        assert headers.get("Expires") == "600"
        assert (headers.get("CSeq"), headers.get("Max-Forwards")) == ("1 REGISTER", "70")
        assert "rport" in (headers.get("Via") or "")
        assert "Authorization" not in headers

    def test_over_tls_by_a_proxy_as_another_user(self) -> None:
        account = Account.parse(
            "sip:agent:p@sip.example.org:5070;transport=tls;proxy=edge.example.org;contact=line"
        )
        office = Office(account, tls_port=5061)
        to = Address("192.0.2.9", 5061, "tls", "edge.example.org")
        register = office.found(to)
        assert office.addresses == [to]
        assert register.uri == "sip:sip.example.org:5070"
        assert register.headers.get("Contact") == "<sip:line@192.0.2.1:5061;transport=tls>"

    @pytest.mark.parametrize("status", [401, 407])
    def test_a_challenge_is_answered(self, status: int) -> None:
        office = Office()
        first = office.found(FIRST)
        second = office.answered(challenge(first, status=status))
        name = "Authorization" if status == 401 else "Proxy-Authorization"
        fields = proof_fields(second.headers.get(name) or "")
        assert fields["uri"] == "sip:sip.example.org"
        assert fields["response"] == response_to(fields, "REGISTER", "agent", "hunter2")
        assert second.headers.get("Call-ID") == first.headers.get("Call-ID")
        assert number(second) == 2
        office.send(granted(second), FIRST)
        assert office.told() == [Registered(QUIET, 600, "")]

    def test_the_password_is_told_to_no_other_realm(self) -> None:
        office = Office()
        register = office.found(FIRST)
        assert office.send(challenge(register, realm="evil"), FIRST) == []
        event = office.failed()
        assert (event.status, event.realm_asked) == (401, "evil")

    def test_of_the_realm_no_more_is_told_than_a_log_may_hold(self) -> None:
        office = Office()
        register = office.found(FIRST)
        assert office.send(challenge(register, realm="\u202e" + "x" * 1000), FIRST) == []
        assert office.failed().realm_asked == "x" * 64

    def test_a_wrong_password_is_not_tried_again_soon(self) -> None:
        office = Office()
        second = office.answered(challenge(office.found(FIRST), "1"))
        assert office.send(challenge(second, "2"), FIRST) == []
        event = office.failed()
        assert (event.cause, event.status) == ("refused", 401)
        assert REFUSED_S / 2 <= event.retry_s <= REFUSED_S
        assert office.wait(REFUSED_S / 2 - 1) == []
        assert office.told() == []


@pytest.mark.parametrize(("status", "trusted"), [(403, False), (503, True)])
def test_who_does_not_know_us_any_more_brings_no_calls(status: int, trusted: bool) -> None:
    office = Office(allow=())
    registered(office)
    assert office.agent.knows(FIRST)
    _, refresh = office.next_request(541)
    office.send(refusal(refresh, status), FIRST)
    assert office.agent.knows(FIRST) == trusted


class TestTheRefresh:
    @pytest.mark.parametrize("expires_s", [120, 600, 3600, 86400])
    def test_comes_in_time(self, expires_s: int) -> None:
        office = Office()
        first = registered(office, expires_s)
        after_s, second = office.next_request(expires_s * 0.9 + 0.01)
        assert after_s >= min(expires_s * 0.8, expires_s - 64 * 0.5)
        assert second.headers.get("Call-ID") == first.headers.get("Call-ID")
        assert second.headers.get("From") == first.headers.get("From")
        assert number(second) == 2

    def test_the_number_grows_over_challenges(self) -> None:
        office = Office()
        second = office.answered(challenge(office.found(FIRST), "1"))
        office.send(granted(second, 100), FIRST)
        _, third = office.next_request(91)
        assert number(third) == 3
        fourth = office.answered(challenge(third, "2"))
        assert number(fourth) == 4

    @pytest.mark.parametrize(("expires_s", "least_s"), [(1, 5), (20, 10), (60, 30)])
    def test_of_a_short_time_leaves_room(self, expires_s: int, least_s: float) -> None:
        office = Office()
        registered(office, expires_s)
        after_s, _ = office.next_request(60)
        assert after_s == pytest.approx(least_s, abs=0.01)

    def test_the_time_may_stand_in_expires(self) -> None:
        office = Office()
        register = office.found(FIRST)
        office.send(refusal(register, 200, ("Expires", "77")), FIRST)
        assert office.told() == [Registered(QUIET, 77, "")]

    def test_of_several_contacts_ours_counts(self) -> None:
        office = Office()
        register = office.found(FIRST)
        lines = (
            ("Contact", "<sip:agent@192.0.2.77:5060>;expires=5, <tel:+49>;expires=3"),
            ("Contact", "<sip:agent@192.0.2.1>;expires=240"),
        )
        office.send(refusal(register, 200, *lines), FIRST)
        assert office.told() == [Registered(QUIET, 240, "")]

    @pytest.mark.parametrize(
        ("expires", "expires_s"), [((60,), 60), ((3600, 120), 120), ((5, 600), 30), ((900,), 600)]
    )
    def test_where_ours_cannot_be_told_the_shortest_counts(
        self, expires: tuple[int, ...], expires_s: int
    ) -> None:
        """What stands between may have written its own address into it."""
        office = Office()
        register = office.found(FIRST)
        lines = [("Contact", f"<sip:agent@203.0.113.7:{one}>;expires={one}") for one in expires]
        office.send(refusal(register, 200, *lines), FIRST)
        assert office.told() == [Registered(QUIET, expires_s, "")]

    @pytest.mark.parametrize(
        ("said", "header", "expires_s"),
        [
            ('"300"', None, 300),
            ('"300"', "90", 300),
            ('"Thu, 01 Dec 2026 16:00:00 GMT"', "90", 90),
            ("soon", None, 600),
            ("", "Thu, 01 Dec 2026 16:00:00 GMT", 600),
            ("", "1200;max", 600),
            ("4294967295", None, 86_400),
        ],
    )
    def test_a_time_that_cannot_be_read_is_passed_over(
        self, said: str, header: str | None, expires_s: int
    ) -> None:
        office = Office()
        register = office.found(FIRST)
        contact = f"{register.headers.get('Contact')}" + (f";expires={said}" if said else "")
        more = () if header is None else (("Expires", header),)
        office.send(refusal(register, 200, ("Contact", contact), *more), FIRST)
        assert office.told() == [Registered(QUIET, expires_s, "")]

    def test_nor_does_it_hide_that_of_another_contact(self) -> None:
        office = Office()
        register = office.found(FIRST)
        lines = "<sip:agent@203.0.113.7:1>;expires=soon, <sip:agent@203.0.113.7:2>;expires=60"
        office.send(refusal(register, 200, ("Contact", lines)), FIRST)
        assert office.told() == [Registered(QUIET, 60, "")]

    @pytest.mark.parametrize("said", ["0", '"0"'])
    def test_that_grants_no_time_in_writing_is_no_registration(self, said: str) -> None:
        office = Office()
        register = office.found(FIRST)
        contact = f"{register.headers.get('Contact')};expires={said}"
        office.send(refusal(register, 200, ("Contact", contact), ("Expires", "600")), FIRST)
        assert office.failed().cause == "bad_answer"

    def test_that_grants_nothing_is_no_registration(self) -> None:
        office = Office()
        register = office.found(FIRST)
        office.send(granted(register, 0), FIRST)
        assert office.failed().cause == "bad_answer"

    def test_too_brief(self) -> None:
        office = Office()
        first = office.found(FIRST)
        second = office.answered(refusal(first, 423, ("Min-Expires", "1800")))
        assert (second.headers.get("Expires"), number(second)) == ("1800", 2)
        office.send(granted(second, 1800), FIRST)
        assert office.told() == [Registered(QUIET, 1800, "")]
        _, third = office.next_request(1800)
        assert third.headers.get("Expires") == "1800"

    @pytest.mark.parametrize("least", ["", "600", "5", "x", "99999999", "86401"])
    def test_too_brief_without_a_longer_time(self, least: str) -> None:
        office = Office()
        register = office.found(FIRST)
        office.send(refusal(register, 423, ("Min-Expires", least)), FIRST)
        assert office.failed().status == 423

    def test_always_too_brief(self) -> None:
        office = Office()
        register = office.found(FIRST)
        for least in (700, 800):
            register = office.answered(refusal(register, 423, ("Min-Expires", str(least))))
        assert office.send(refusal(register, 423, ("Min-Expires", "900")), FIRST) == []
        assert office.failed().status == 423

    def test_where_the_registrar_sees_us(self) -> None:
        office = Office()
        register = office.found(FIRST)
        via = (register.headers.get("Via") or "").replace(
            "rport", "rport=1024;received=203.0.113.7"
        )
        register.headers.replace_first("Via", via)
        office.send(granted(register), FIRST)
        assert office.told() == [Registered(QUIET, 600, "203.0.113.7:1024")]


class TestFailure:
    def test_pauses_grow_to_half_an_hour(self) -> None:
        office = Office()
        longest_s = BASE_S
        for _ in range(9):
            assert office.told() == [RegistrarSought(QUIET)]
            office.agent.registrations.found(QUIET, [FIRST], office.now)
            office.skip(33)
            event = office.failed()
            assert (event.cause, event.status) == ("timeout", None)
            assert longest_s / 2 <= event.retry_s <= longest_s
            longest_s = min(longest_s * 2, MAX_S)
            office.skip(event.retry_s)
        assert longest_s == MAX_S
        registered(office)
        office.told()

    @pytest.mark.parametrize(("status", "base_s"), [(403, REFUSED_S), (503, BASE_S), (480, BASE_S)])
    def test_a_refusal_has_a_longer_pause(self, status: int, base_s: float) -> None:
        office = Office()
        register = office.found(FIRST)
        office.send(refusal(register, status), FIRST)
        event = office.failed()
        assert event.cause == ("unavailable" if status == 503 else "refused")
        assert base_s / 2 <= event.retry_s <= base_s

    @pytest.mark.parametrize("status", [302, 404, 600])
    def test_a_redirection_and_other_refusals_are_not_followed(self, status: int) -> None:
        office = Office()
        register = office.found(FIRST)
        where = ("Contact", "<sip:192.0.2.66>")
        assert office.send(refusal(register, status, where), FIRST) == []
        assert office.failed().status == status

    @pytest.mark.parametrize(
        ("text", "least_s"),
        [("120", 120), ("120 (busy);duration=5", 120), ("999999999", 3600), ("x", 15), ("", 15)],
    )
    def test_retry_after(self, text: str, least_s: float) -> None:
        office = Office()
        register = office.found(FIRST)
        office.send(refusal(register, 503, ("Retry-After", text)), FIRST)
        assert office.failed().retry_s >= least_s
        assert office.wait(least_s - 1) == []

    def test_the_next_address_is_tried_at_once(self) -> None:
        office = Office()
        register = office.found(FIRST, SECOND)
        assert office.addresses == [FIRST]
        second = office.answered(refusal(register, 503))
        assert office.addresses == [SECOND]
        assert office.told() == []
        office.send(granted(second), SECOND)
        assert office.told() == [Registered(QUIET, 600, "")]

    def test_an_address_that_cannot_be_reached(self) -> None:
        office = Office()
        office.found(OVER_TCP, SECOND)
        office.agent.transport_failed(OVER_TCP, office.now)
        office.asked()
        assert office.addresses == [SECOND]
        office.skip(33)
        assert office.failed().cause == "timeout"

    def test_no_address(self) -> None:
        office = Office()
        office.told()
        office.agent.registrations.found(QUIET, [], office.now)
        assert office.failed().cause == "unresolved"
        office.wait(BASE_S)
        assert office.told() == [RegistrarSought(QUIET)]

    def test_a_refresh_that_is_not_heard_goes_elsewhere(self) -> None:
        """Names are looked up anew, and the address that is silent comes last."""
        office = Office()
        registered(office, 600, (FIRST, SECOND))
        office.skip(600 * 0.9 + 33)
        register = office.found(FIRST, SECOND)
        assert office.addresses == [SECOND]
        office.send(granted(register), SECOND)
        assert office.told() == [Registered(QUIET, 600, "")]

    def test_a_refresh_that_nobody_hears(self) -> None:
        office = Office()
        registered(office, 600)
        office.skip(600 * 0.9 + 33)
        office.found(FIRST)
        office.skip(33)
        assert office.failed().cause == "timeout"

    def test_no_state_is_left(self) -> None:
        office = Office()
        registered(office)
        office.agent.registrations.leave(office.now)
        office.send(granted(office.asked(), 0), FIRST)
        office.wait(40)
        assert office.is_empty


class TestTheConnection:
    def up(self) -> Office:
        office = Office(Account.parse("sip:agent:p@sip.example.org;transport=tcp;keepalive=0"))
        registered(office, 600, (OVER_TCP,))
        return office

    def test_is_made_again_when_it_is_lost(self) -> None:
        office = self.up()
        office.agent.connection_lost(OVER_TCP, office.now)
        event = office.failed()
        assert event.cause == "lost"
        assert event.retry_s <= 2
        office.skip(2)
        registered(office, 600, (OVER_TCP,))

    def test_is_lost_while_it_is_refreshed(self) -> None:
        office = self.up()
        office.skip(600 * 0.9)
        office.agent.connection_lost(OVER_TCP, office.now)
        assert office.failed().cause == "lost"
        office.skip(2)
        office.found(OVER_TCP)

    def test_another_is_none_of_its_business(self) -> None:
        office = self.up()
        office.agent.connection_lost(Address("192.0.2.9", 40000, "tcp"), office.now)
        assert office.told() == []


class TestTheNat:
    def pings(self, office: Office, seconds: float) -> list[float]:
        start, end, found = office.now, office.now + seconds, []
        while (when := office.agent.next_timeout()) is not None and when <= end:
            office.now = max(office.now, when)
            office.agent.timeout(office.now)
            for outgoing in office.agent.datagrams_to_send():
                if outgoing.data == b"\r\n\r\n":
                    assert outgoing.to == FIRST
                    found.append(office.now - start)
        office.now = end
        return found

    def test_is_kept_open(self) -> None:
        office = Office(ACCOUNT)
        assert self.pings(office, 100) == []
        registered(office, 3600)
        at = self.pings(office, 250)
        assert 9 <= len(at) <= 13
        pauses = [after - before for before, after in zip([0.0, *at], at, strict=False)]
        assert all(20 <= pause <= 25 for pause in pauses)

    def test_no_longer_than_needed(self) -> None:
        office = Office(ACCOUNT)
        registered(office, 60)
        office.skip(31)
        ((_, copy),) = office.wait(1)
        assert office.send(refusal(copy, 403), FIRST) == []
        assert office.failed().status == 403
        assert self.pings(office, 100) == []


class TestTheEnd:
    def test_is_told(self) -> None:
        office = Office()
        registered(office)
        office.agent.registrations.leave(office.now)
        register = office.asked()
        assert (register.method, register.headers.get("Expires")) == ("REGISTER", "0")
        proven = office.answered(challenge(register, "9"))
        assert "Authorization" in proven.headers
        office.send(granted(proven, 0), FIRST)
        office.skip(3600)
        assert office.told() == []

    def test_before_anything_was_agreed(self) -> None:
        office = Office()
        office.found(FIRST)
        office.agent.registrations.leave(office.now)
        assert office.asked().headers.get("Expires") == "0"

    def test_before_anything_was_asked(self) -> None:
        office = Office()
        office.told()
        office.agent.registrations.leave(office.now)
        office.agent.registrations.found(QUIET, [FIRST], office.now)
        office.skip(7200)
        assert office.drain() == []

    def test_comes_once(self) -> None:
        office = Office()
        registered(office)
        office.agent.registrations.leave(office.now)
        office.asked()
        office.agent.registrations.leave(office.now)
        assert office.drain() == []


class TestCalls:
    def test_come_in_from_the_registrar_only(self) -> None:
        office = Office(allow=())
        assert office.status(request("INVITE", body=SDP)) == 403
        registered(office, 600, (FIRST, SECOND))
        for source, status in (
            (FIRST, 200),
            (SECOND, 200),
            (Address("192.0.2.66", 5060, "udp"), 403),
        ):
            data = request("OPTIONS", branch=source.host, call_id=source.host)
            assert office.status(data, source) == status

    def test_go_on_after_the_registration(self) -> None:
        office = Office(allow=())
        registered(office)
        dialog_id = office.confirmed()
        office.agent.registrations.leave(office.now)
        office.drain()
        assert codes(office.send(office.within("BYE", dialog_id, cseq=2))) == [200]

    def test_before_it_was_agreed_nobody_is_known(self) -> None:
        office = Office(allow=())
        office.found(FIRST)
        assert not office.agent.knows(FIRST)
        assert office.status(request("OPTIONS")) == 403

    def test_of_ours_take_the_service_route(self) -> None:
        office = Office()
        register = office.found(FIRST)
        routes = ("Service-Route", "<sip:192.0.2.9;lr>, <sip:p2.example.org;lr>")
        office.send(granted(register, 600, (routes,)), FIRST)
        invite = self.called(office, FIRST)
        assert invite.headers.get_all("Route") == ["<sip:192.0.2.9;lr>", "<sip:p2.example.org;lr>"]
        assert "Route" not in self.called(office, SECOND).headers
        office.events()

    @staticmethod
    def called(office: Office, to: Address) -> Message:
        office.agent.invite(
            "sip:bob@sip.example.org",
            SDP,
            office.now,
            to=to,
            from_uri="sip:agent@sip.example.org",
            credentials=QUIET.credentials,
        )
        (invite,) = office.drain()
        return invite

    def test_find_the_address_that_agreed(self) -> None:
        office = Office()
        assert office.agent.registrations.address_of(QUIET.hop) is None
        register = office.found(FIRST, SECOND)
        second = office.answered(refusal(register, 503))
        office.send(granted(second), SECOND)
        assert office.agent.registrations.address_of(QUIET.hop) == SECOND
