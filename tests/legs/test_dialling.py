"""Whom we call, by which way, and as whom."""

from ipaddress import ip_network

import pytest

from gateway.legs.dialling import DialRules, plan_call
from gateway.legs.leg import CallOrder, LegError
from gateway.sip.auth import Credentials
from gateway.sip.message import Address
from gateway.sip.trunk import Trunk, parse_trunks, trunk_for

pytestmark = pytest.mark.pure

HOST = "192.0.2.1"
MORE = (("X-Order", "1"),)
TRUNK = Trunk.parse("sip:line7:s3cret@trunk.example:5070;transport=tcp")


def refusal(target: str, rules: DialRules) -> tuple[int, str]:
    with pytest.raises(LegError) as caught:
        plan_call(CallOrder(target), rules)
    return caught.value.status, caught.value.reason


def test_a_number_goes_through_the_trunk_with_its_credentials() -> None:
    plan = plan_call(
        CallOrder("tel:+49-30-(12)34.5;phone-context=x"), DialRules(HOST, (), (TRUNK,))
    )
    assert plan.target == "sip:+493012345@trunk.example"
    assert plan.hop == Address("trunk.example", 5070, "tcp")
    assert plan.from_uri == "sip:line7@trunk.example"
    assert plan.credentials == Credentials("line7", "s3cret", "trunk.example", realm_is_host=True)


def test_a_number_needs_a_trunk() -> None:
    assert refusal("tel:+4930", DialRules(HOST)) == (400, "no_trunk")


def test_a_uri_at_the_trunk_goes_through_it_whatever_port_it_names() -> None:
    plan = plan_call(
        CallOrder("sip:+4930@TRUNK.example:9;transport=udp", "tel:+49301"),
        DialRules(HOST, (), (TRUNK,)),
    )
    assert plan.target == "sip:+4930@trunk.example"
    assert plan.hop == Address("trunk.example", 5070, "tcp")
    assert plan.from_uri == "sip:+49301@trunk.example"


def test_a_peer_within_the_networks_is_called_without_credentials() -> None:
    rules = DialRules(HOST, (), (TRUNK,), (ip_network("192.0.2.0/24"),))
    plan = plan_call(CallOrder("sip:bob@192.0.2.9:5090"), rules)
    assert (plan.target, plan.hop, plan.credentials) == ("sip:bob@192.0.2.9:5090", None, None)
    assert plan.from_uri == "sip:agent@192.0.2.1"


@pytest.mark.parametrize(
    "target",
    (
        "sip:bob@198.51.100.1",
        "sip:bob@evil.example",
        "sip:bob@trunk.example.evil.example",
        "sip:trunk.example@evil.example",
        "sip:bob@localhost",
        "sip:bob@[2001:db8::1]",
    ),
)
def test_nobody_else_is_called(target: str) -> None:
    rules = DialRules(HOST, (), (TRUNK,), (ip_network("192.0.2.0/24"),))
    assert refusal(target, rules) == (403, "not_allowed")


def test_on_loopback_anything_that_is_no_name_may_be_tried() -> None:
    rules = DialRules("127.0.0.1")
    assert plan_call(CallOrder("sip:bob@127.0.0.1:5090"), rules).target == "sip:bob@127.0.0.1:5090"
    assert plan_call(CallOrder("sip:bob@localhost:5090"), rules).from_uri == "sip:agent@127.0.0.1"
    assert refusal("sip:bob@example.com", rules) == (403, "not_allowed")


@pytest.mark.parametrize(
    ("target", "status", "reason"),
    (
        ("sip:bob@127.0.0.1;transport=ws", 400, "bad_target"),
        ("sip:bob@0.0.0.0", 403, "unusable_host"),
        ("sip:bob@224.0.0.1", 403, "unusable_host"),
        ("sip:bob@169.254.169.254", 403, "unusable_host"),
    ),
)
def test_what_cannot_be_called_is_refused_before_a_session_is_opened(
    target: str, status: int, reason: str
) -> None:
    assert refusal(target, DialRules("127.0.0.1")) == (status, reason)


def test_the_line_does_not_call_itself() -> None:
    rules = DialRules("127.0.0.1", (5060, 5070))
    assert refusal("sip:agent@127.0.0.1", rules) == (403, "own_line")
    assert refusal("sip:agent@localhost:5070", rules) == (403, "own_line")
    assert (
        plan_call(CallOrder("sip:agent@127.0.0.1:5080"), rules).target == "sip:agent@127.0.0.1:5080"
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "[2001:db8::1]", "[2001:DB8:0:0::1]"])
def test_nor_by_the_other_of_its_addresses(host: str) -> None:
    rules = DialRules("192.0.2.1", (5060,), other_host="2001:db8::1")
    assert refusal(f"sip:agent@{host}", rules) == (403, "own_line")
    assert plan_call(CallOrder(f"sip:agent@{host}:5070"), rules)


def test_a_trunk_shows_no_password() -> None:
    assert "s3cret" not in repr(TRUNK)
    assert "s3cret" not in repr(plan_call(CallOrder("tel:+4930"), DialRules(HOST, (), (TRUNK,))))


@pytest.mark.parametrize(
    "text",
    (
        "",
        "trunk.example",
        "sips:trunk.example",
        "sip:trunk.example;transport=ws",
        "sip:t.example?a=b",
        "sip:t.example;lr",
        "sip:u:p@t.example;user=phone",
        "sip:u:p@t.example;transport=udp;Transport=tcp",
        "sip:u:p@t.example;realm=a;realm=b",
        "sip:u:p@t.example;realm",
        "sip:u:p@t.example;realm=",
        "sip:u:p@t.example;realm=a b",
        "sip:t.example;proxy=",
        "sip:t.example;proxy=a@b",
        "sip:t.example;proxy=b:0",
        "sip:t.example;calls=0",
        "sip:t.example;calls=0.5",
        "sip:t.example;calls=-1",
        "sip:t.example;calls=100000",
        "sip:t.example;rate=fast",
        "sip:t.example;rate=0",
        "sip:t.example;rate=0.000",
        "sip:t.example;prefix=",
        "sip:t.example;prefix=+49/",
        "sip:t.example;prefix=+49*",
        "sip:t.example;identity=both",
        "sip:u:p@t.example;realm=a%0d%0ab",
        "sip:t.example;realm=a",
        "sip:u@t.example;realm=a",
    ),
)
def test_what_is_no_trunk_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Trunk.parse(text)


def test_a_trunk_needs_no_more_than_a_host() -> None:
    assert Trunk.parse("sip:[2001:db8::1]") == Trunk("2001:db8::1", 0, "", None)


def test_what_is_escaped_in_a_trunk_is_meant_as_it_reads() -> None:
    trunk = Trunk.parse("sip:li%40ne:p%3A%40ss@trunk.example")
    assert trunk.credentials == Credentials("li@ne", "p:@ss", "trunk.example", realm_is_host=True)
    plan = plan_call(CallOrder("tel:+4930"), DialRules(HOST, (), (trunk,)))
    assert plan.from_uri == "sip:li%40ne@trunk.example"


@pytest.mark.parametrize(
    ("params", "realm"),
    (
        (";realm=sip.example.net", "sip.example.net"),
        (";Realm=Asterisk;transport=tcp", "Asterisk"),
        (";transport=tcp;realm=The%20%22Great%3B%22%20PBX", 'The "Great;" PBX'),
    ),
)
def test_a_trunk_may_name_the_realm_that_it_asks_by(params: str, realm: str) -> None:
    trunk = Trunk.parse(f"sip:u:p@trunk.example{params}")
    assert trunk.credentials == Credentials("u", "p", realm)


def test_a_trunk_says_how_it_is_to_be_used() -> None:
    trunk = Trunk.parse(
        "sip:u:p@trunk.example;transport=tls;proxy=edge.example:5071;calls=30;rate=2.5"
        ";prefix=+49/0049;identity=Asserted"
    )
    assert trunk.hop == Address("edge.example", 5071, "tls", "edge.example")
    assert (trunk.calls, trunk.rate, trunk.prefixes) == (30, 2.5, ("+49", "0049"))
    assert trunk.identity == "asserted"
    plan = plan_call(CallOrder("tel:+4930"), DialRules(HOST, (), (trunk,)))
    assert (plan.target, plan.hop) == ("sip:+4930@trunk.example", trunk.hop)


TRUNKS = parse_trunks(
    (
        "sip:first.example",
        "sip:berlin.example;prefix=+4930",
        "sip:germany.example;prefix=+49/0049",
        "sip:second.example",
    )
)


@pytest.mark.parametrize(
    ("number", "host"),
    (
        ("+493012", "berlin.example"),
        ("+498912", "germany.example"),
        ("004930", "germany.example"),
        ("+15551234567", "first.example"),
        ("112", "first.example"),
    ),
)
def test_a_number_goes_to_whoever_names_most_of_its_beginning(number: str, host: str) -> None:
    trunk = trunk_for(number, TRUNKS)
    assert trunk is not None and trunk.host == host
    plan = plan_call(CallOrder(f"tel:{number}"), DialRules(HOST, (), TRUNKS))
    assert plan.hop is not None and plan.hop.host == host


def test_a_number_that_no_trunk_names_is_not_called() -> None:
    assert refusal("tel:+1555", DialRules(HOST, (), TRUNKS[1:3])) == (400, "no_trunk")


def test_a_uri_goes_to_the_trunk_whose_host_it_names() -> None:
    plan = plan_call(CallOrder("sip:+1555@Germany.example"), DialRules(HOST, (), TRUNKS))
    assert (plan.target, plan.trunk) == ("sip:+1555@germany.example", TRUNKS[2])


@pytest.mark.parametrize(
    "texts",
    (
        ("sip:a.example", "sip:u:p@A.example;transport=tcp"),
        tuple(f"sip:t{number}.example" for number in range(17)),
        ("sip:a.example", ""),
    ),
)
def test_what_are_no_trunks(texts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        parse_trunks(texts)


# Who we say we are.


@pytest.mark.parametrize(
    ("identity", "name"),
    (("asserted", "P-Asserted-Identity"), ("preferred", "P-Preferred-Identity")),
)
def test_a_trunk_is_told_who_calls_in_its_own_header(identity: str, name: str) -> None:
    trunk = Trunk.parse(f"sip:u:p@trunk.example;identity={identity}")
    rules = DialRules(HOST, (), (trunk,))
    plan = plan_call(CallOrder("tel:+1555", "tel:+49-301", 'Zoë "Z"', headers=MORE), rules)
    assert (plan.from_uri, plan.from_name) == ("sip:+49301@trunk.example", 'Zoë "Z"')
    assert plan.headers == ((name, '"Zoë \\"Z\\"" <sip:+49301@trunk.example>'), *MORE)
    plan = plan_call(CallOrder("tel:+1555", "tel:+49301", anonymous=True), rules)
    assert (plan.from_uri, plan.from_name) == ("sip:anonymous@anonymous.invalid", "Anonymous")
    assert plan.headers == ((name, "<sip:+49301@trunk.example>"), ("Privacy", "id"))
    assert plan_call(CallOrder("tel:+1555"), rules).headers == ((name, "<sip:u@trunk.example>"),)


def test_nobody_else_is_told_what_is_kept_from_the_callee() -> None:
    order = CallOrder("sip:bob@127.0.0.1:5090", "tel:+49301", "Zoë", anonymous=True, headers=MORE)
    plan = plan_call(order, DialRules("127.0.0.1", (), TRUNKS))
    assert plan.from_uri == "sip:anonymous@anonymous.invalid"
    assert plan.headers == (("Privacy", "id"), *MORE)
    assert "49301" not in repr(plan) and "Zoë" not in repr(plan)
    plan = plan_call(CallOrder("tel:+1555", "tel:+49301"), DialRules(HOST, (), TRUNKS))
    assert plan.headers == ()


def test_an_order_may_follow_a_refer() -> None:
    order = CallOrder("tel:+1555", replaces="1;to-tag=a;from-tag=b", referred_by="<sip:c@d>")
    plan = plan_call(order, DialRules(HOST, (), TRUNKS))
    assert (plan.replaces, plan.referred_by) == (order.replaces, order.referred_by)
