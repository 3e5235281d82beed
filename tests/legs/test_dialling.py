"""Whom we call, by which way, and as whom."""

from ipaddress import ip_network

import pytest

from gateway.legs.dialling import DialRules, plan_call
from gateway.legs.leg import LegError
from gateway.sip.auth import Credentials
from gateway.sip.message import Address
from gateway.sip.trunk import Trunk

pytestmark = pytest.mark.pure

HOST = "192.0.2.1"
TRUNK = Trunk.parse("sip:line7:s3cret@trunk.example:5070;transport=tcp")


def refusal(target: str, rules: DialRules) -> tuple[int, str]:
    with pytest.raises(LegError) as caught:
        plan_call(target, None, rules)
    return caught.value.status, caught.value.reason


def test_a_number_goes_through_the_trunk_with_its_credentials() -> None:
    plan = plan_call("tel:+49-30-(12)34.5;phone-context=x", None, DialRules(HOST, (), TRUNK))
    assert plan.target == "sip:+493012345@trunk.example"
    assert plan.hop == Address("trunk.example", 5070, "tcp")
    assert plan.from_uri == "sip:line7@trunk.example"
    assert plan.credentials == Credentials("line7", "s3cret", "trunk.example", realm_is_host=True)


def test_a_number_needs_a_trunk() -> None:
    assert refusal("tel:+4930", DialRules(HOST)) == (400, "no_trunk")


def test_a_uri_at_the_trunk_goes_through_it_whatever_port_it_names() -> None:
    plan = plan_call(
        "sip:+4930@TRUNK.example:9;transport=udp", "tel:+49301", DialRules(HOST, (), TRUNK)
    )
    assert plan.target == "sip:+4930@trunk.example"
    assert plan.hop == Address("trunk.example", 5070, "tcp")
    assert plan.from_uri == "sip:+49301@trunk.example"


def test_a_peer_within_the_networks_is_called_without_credentials() -> None:
    rules = DialRules(HOST, (), TRUNK, (ip_network("192.0.2.0/24"),))
    plan = plan_call("sip:bob@192.0.2.9:5090", None, rules)
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
    rules = DialRules(HOST, (), TRUNK, (ip_network("192.0.2.0/24"),))
    assert refusal(target, rules) == (403, "not_allowed")


def test_on_loopback_anything_that_is_no_name_may_be_tried() -> None:
    rules = DialRules("127.0.0.1")
    assert plan_call("sip:bob@127.0.0.1:5090", None, rules).target == "sip:bob@127.0.0.1:5090"
    assert plan_call("sip:bob@localhost:5090", None, rules).from_uri == "sip:agent@127.0.0.1"
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
    assert plan_call("sip:agent@127.0.0.1:5080", None, rules).target == "sip:agent@127.0.0.1:5080"


def test_a_trunk_shows_no_password() -> None:
    assert "s3cret" not in repr(TRUNK)
    assert "s3cret" not in repr(plan_call("tel:+4930", None, DialRules(HOST, (), TRUNK)))


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
        "sip:u:p@t.example;realm=a%0d%0ab",
        "sip:t.example;realm=a",
        "sip:u@t.example;realm=a",
    ),
)
def test_what_is_no_trunk_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Trunk.parse(text)


def test_a_trunk_needs_no_more_than_a_host() -> None:
    assert Trunk.parse("sip:[2001:db8::1]") == Trunk("2001:db8::1", 5060, "udp", None)


def test_what_is_escaped_in_a_trunk_is_meant_as_it_reads() -> None:
    trunk = Trunk.parse("sip:li%40ne:p%3A%40ss@trunk.example")
    assert trunk.credentials == Credentials("li@ne", "p:@ss", "trunk.example", realm_is_host=True)
    plan = plan_call("tel:+4930", None, DialRules(HOST, (), trunk))
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
