"""Dialogs: what is learned from the messages that make them, and where requests go."""

from ipaddress import ip_network

import pytest

from gateway.sip.compose import adopted
from gateway.sip.dialog import Dialog, as_request_uri, contact_of
from gateway.sip.message import Address, Headers, Request, Response
from gateway.sip.parse import parse
from tests.sip.raw import PEER, answer_to, request

pytestmark = pytest.mark.pure

TCP = Address("203.0.113.7", 40001, "tcp")
NEAR = Address("10.0.0.5", 5062, "udp")
LINK = Address("169.254.1.2", 5062, "udp")
HERE = Address("127.0.0.1", 5062, "udp")
PEER_6 = Address("2001:db8::9", 5062, "udp")
LINK_6 = Address("fe80::1%eth0", 5062, "udp")
HERE_6 = Address("::1", 5062, "udp")
MAPPED = Address("::ffff:192.0.2.9", 5062, "udp")


def invite(**changes: object) -> Request:
    message = parse(request("INVITE", **changes))  # type: ignore[arg-type]
    assert isinstance(message, Request)
    return message


def callee(source: Address = PEER, **changes: object) -> Dialog:
    return Dialog.of_invite(invite(**changes), source, "ours")


def recorded(*routes: str) -> tuple[tuple[str, str], ...]:
    return tuple(("Record-Route", route) for route in routes)


def test_the_callees_side() -> None:
    dialog = callee(
        cseq=7,
        headers=recorded("<sip:first.example.com;lr>, <sip:192.0.2.20;lr>", "<sip:third;lr>"),
    )
    assert dialog.call_id == "call-1"
    assert (dialog.local, dialog.local_tag) == ("<sip:agent@192.0.2.1>;tag=ours", "ours")
    assert (dialog.remote, dialog.remote_tag) == ("<sip:bob@192.0.2.9>;tag=bob", "bob")
    assert (dialog.local_cseq, dialog.remote_cseq) == (0, 7)
    assert dialog.target == "sip:bob@192.0.2.9:5062"
    assert [*dialog.routes] == [
        "<sip:first.example.com;lr>",
        "<sip:192.0.2.20;lr>",
        "<sip:third;lr>",
    ]


def test_the_callers_side() -> None:
    ours = invite(cseq=1)
    answer = parse(answer_to(ours, 200, headers=recorded("<sip:near;lr>", "<sip:far;lr>")))
    assert isinstance(answer, Response)
    dialog = Dialog.of_response(ours, answer, PEER)
    assert (dialog.local_tag, dialog.remote_tag) == ("bob", "callee")
    assert (dialog.local_cseq, dialog.remote_cseq) == (1, None)
    assert dialog.target == "sip:callee@192.0.2.9:5062"
    assert dialog.routes == ("<sip:far;lr>", "<sip:near;lr>"), "the response lists them backwards"


def test_a_caller_of_rfc_2543_is_called_back_at_its_from() -> None:
    dialog = callee(contact=None, caller="Bob <sip:bob@192.0.2.9>")
    assert (dialog.remote_tag, dialog.target) == ("", "sip:bob@192.0.2.9")


def test_an_answer_without_contact_is_acknowledged_where_it_was_asked() -> None:
    ours = invite()
    answer = parse(answer_to(ours, 200, contact=None))
    assert isinstance(answer, Response)
    assert Dialog.of_response(ours, answer, PEER).target == ours.uri


def test_requests_count_up_and_ack_repeats_the_number_of_its_invite() -> None:
    dialog = callee()
    first, ack, second = dialog.request("INVITE"), dialog.request("ACK", 1), dialog.request("BYE")
    assert first.headers.get("CSeq") == "1 INVITE"
    assert ack.headers.get("CSeq") == "1 ACK"
    assert second.headers.get("CSeq") == "2 BYE"
    assert second.headers.get("From") == dialog.local
    assert second.headers.get("To") == dialog.remote
    assert second.headers.get("Call-ID") == "call-1"
    assert second.headers.get("Max-Forwards") == "70"


def test_loose_routing() -> None:
    dialog = callee(headers=recorded("<sip:192.0.2.9:5080;lr>;x=1", "<sip:next;lr=on>"))
    bye = dialog.request("BYE")
    assert bye.uri == "sip:bob@192.0.2.9:5062"
    assert bye.headers.get_all("Route") == ["<sip:192.0.2.9:5080;lr>;x=1", "<sip:next;lr=on>"]
    assert dialog.next_hop() == Address("192.0.2.9", 5080, "udp")


@pytest.mark.parametrize("flow", ["tls", "udp"])
def test_a_proxy_that_changes_the_transport_stands_in_the_route_twice(flow: str) -> None:
    """Both of its routes are kept, in their order, and requests go where it was heard."""
    tls = "<sip:192.0.2.20:5061;transport=tls;r2=on;lr>"
    udp = "<sip:192.0.2.20;r2=on;lr>"
    routes = (tls, udp) if flow == "tls" else (udp, tls)
    source = Address("192.0.2.20", 40001 if flow == "tls" else 5060, flow)
    dialog = callee(source, headers=recorded(*routes))
    bye = dialog.request("BYE")
    assert bye.headers.get_all("Route") == [*routes]
    assert bye.uri == "sip:bob@192.0.2.9:5062"
    assert dialog.next_hop() == source
    if flow == "tls":
        dialog.connection_lost(source)
        assert dialog.next_hop() == Address("192.0.2.20", 5061, "tls")


def test_strict_routing() -> None:
    dialog = callee(headers=recorded("<sip:192.0.2.9;method=INVITE?x=y>", "<sip:next;lr>"))
    bye = dialog.request("BYE")
    assert bye.uri == "sip:192.0.2.9"
    assert bye.headers.get_all("Route") == ["<sip:next;lr>", "<sip:bob@192.0.2.9:5062>"]
    assert dialog.next_hop() == Address("192.0.2.9", 5060, "udp")


@pytest.mark.parametrize(
    ("contact", "routes", "source", "hop"),
    [
        ("<sip:bob@192.0.2.9:5062>", [], PEER, PEER),
        ("<sip:bob@192.0.2.9>", [], PEER, Address("192.0.2.9", 5060, "udp")),
        ("<sip:8.8.8.8>", [], PEER, Address("8.8.8.8", 5060, "udp")),
        ("<sip:8.8.8.8;transport=TCP>", [], PEER, Address("8.8.8.8", 5060, "tcp")),
        ("<sip:[2606:4700::1]:7>", [], PEER_6, Address("2606:4700::1", 7, "udp")),
        ("<sips:8.8.8.8>", [], PEER, Address("8.8.8.8", 5061, "tls")),
        ("<sip:8.8.8.8;transport=tls>", [], PEER, Address("8.8.8.8", 5061, "tls")),
        # A name, a scheme or a transport that leads nowhere: back where it came from.
        ("<sip:bob.example.com>", [], PEER, PEER),
        ("<tel:+15551234>", [], PEER, PEER),
        ("<sip:8.8.8.8;transport=sctp>", [], PEER, PEER),
        # Behind a NAT, or nowhere to send to at all.
        ("<sip:bob@10.1.2.3:5062>", [], PEER, PEER),
        ("<sip:bob@127.0.0.1>", [], PEER, PEER),
        ("<sip:bob@0.0.0.0>", [], PEER, PEER),
        ("<sip:bob@169.254.169.254>", [], PEER, PEER),
        ("<sip:bob@100.64.3.2>", [], PEER, PEER),
        ("<sip:bob@224.0.0.5>", [], PEER, PEER),
        ("<sip:bob@239.255.255.250>", [], PEER, PEER),
        ("<sip:bob@[fe80::1]>", [], PEER, PEER),
        ("<sip:bob@255.255.255.255>", [], PEER, PEER),
        # Which is where the peer is.
        ("<sip:bob@10.0.0.5>", [], NEAR, Address("10.0.0.5", 5060, "udp")),
        ("<sip:bob@10.0.0.6>", [], NEAR, NEAR),
        ("<sip:bob@169.254.1.2>", [], LINK, Address("169.254.1.2", 5060, "udp")),
        ("<sip:bob@169.254.1.3>", [], LINK, LINK),
        ("<sip:bob@127.0.0.1:7>", [], HERE, Address("127.0.0.1", 7, "udp")),
        ("<sip:bob@127.0.0.2:7>", [], HERE, Address("127.0.0.2", 7, "udp")),
        ("<sip:bob@127.0.0.1:7>", [], NEAR, NEAR),
        ("<sip:bob@10.0.0.5>", [], HERE, HERE),
        ("<sip:bob@[::1]:7>", [], HERE_6, Address("::1", 7, "udp")),
        ("<sip:bob@[::1]:7>", [], PEER_6, PEER_6),
        ("<sip:bob@[2001:DB8:0::9]:7>", [], PEER_6, Address("2001:DB8:0::9", 7, "udp")),
        ("<sip:bob@[fe80::1]>", [], LINK_6, LINK_6),
        ("<sip:bob@[fd00::1]>", [], PEER_6, PEER_6),
        ("<sip:bob@[::]>", [], PEER_6, PEER_6),
        ("<sip:bob@[ff02::1]>", [], PEER_6, PEER_6),
        ("<sip:bob@[ff0e::1]>", [], PEER_6, PEER_6),
        # Another family, openly or in disguise.
        ("<sip:bob@[2606:4700::1111]>", [], PEER, PEER),
        ("<sip:bob@[::1]>", [], HERE, HERE),
        ("<sip:bob@8.8.8.8>", [], PEER_6, PEER_6),
        ("<sip:bob@127.0.0.1>", [], HERE_6, HERE_6),
        ("<sip:bob@[::ffff:8.8.8.8]>", [], PEER_6, PEER_6),
        ("<sip:bob@[::ffff:10.1.2.3]>", [], PEER_6, PEER_6),
        ("<sip:bob@[::ffff:8.8.8.8]:7>", [], MAPPED, Address("::ffff:8.8.8.8", 7, "udp")),
        ("<sip:bob@[::ffff:169.254.169.254]>", [], MAPPED, MAPPED),
        ("<sip:bob@[::ffff:127.0.0.1]>", [], MAPPED, MAPPED),
        ("<sip:bob@[2606:4700::1]>", [], MAPPED, MAPPED),
        ("<sip:bob@192.0.2.9>", [], MAPPED, MAPPED),
        ("<sip:bob@[64:ff9b::a9fe:a9fe]>", [], PEER_6, PEER_6),
        # Who knows whether an address is near a name.
        ("<sip:bob@8.8.8.8>", [], Address("proxy", 5060, "udp"), Address("proxy", 5060, "udp")),
        # Routes as well.
        ("<sip:10.1.2.3>", ["<sip:8.8.8.8:7;lr>"], PEER, Address("8.8.8.8", 7, "udp")),
        ("<sip:10.1.2.3>", ["<sip:192.0.2.9;lr>"], PEER, Address("192.0.2.9", 5060, "udp")),
        ("<sip:10.1.2.3>", ["<sip:10.0.0.5:7;lr>"], NEAR, Address("10.0.0.5", 7, "udp")),
        ("<sip:8.8.8.8>", ["<sip:10.9.9.9;lr>"], PEER, PEER),
        ("<sip:8.8.8.8>", ["<sip:10.9.9.9>", "<sip:8.8.8.8;lr>"], PEER, PEER),
        ("<sip:8.8.8.8>", ["<sip:10.9.9.9;lr;transport=tcp>"], PEER, PEER),
        ("<sip:8.8.8.8>", ["<sip:169.254.169.254:80;lr>"], PEER, PEER),
        ("<sip:8.8.8.8>", ["<sip:127.0.0.1;lr>"], PEER, PEER),
        ("<sip:8.8.8.8>", ["<sip:127.0.0.2:7;lr>"], HERE, Address("127.0.0.2", 7, "udp")),
        ("<sip:8.8.8.8>", ["<sip:0.0.0.0;lr>"], PEER, PEER),
        ("<sip:8.8.8.8>", ["<sip:224.0.0.5;lr>"], PEER, PEER),
        ("<sip:8.8.8.8>", ["<sip:[2606:4700::1111];lr>"], PEER, PEER),
        ("<sip:8.8.8.8>", ["<sip:proxy.example.com;lr>"], PEER, PEER),
        ("<sip:8.8.8.8>", ["<tel:+15551234>"], PEER, PEER),
        # A connection is kept whatever they say.
        ("<sip:8.8.8.8>", [], TCP, TCP),
        ("<sip:bob@203.0.113.7;transport=tcp>", ["<sip:10.9.9.9;lr>"], TCP, TCP),
    ],
)
def test_next_hop(contact: str, routes: list[str], source: Address, hop: Address) -> None:
    dialog = callee(source, contact=contact, headers=recorded(*routes))
    assert dialog.next_hop() == hop


@pytest.mark.parametrize(
    ("contact", "networks", "follows"),
    [
        ("10.0.0.6", ["10.0.0.0/8"], True),
        ("10.0.0.6", ["192.0.2.0/24", "10.0.0.0/28"], True),
        ("10.0.0.6", ["10.0.0.5", "10.0.0.6"], False),  # not one network
        ("10.0.1.6", ["10.0.0.0/24", "10.0.1.0/24"], False),
        ("10.0.0.6", ["0.0.0.0/0"], False),  # which says nothing of where that is
        ("10.0.0.6", [], False),
        ("169.254.169.254", ["10.0.0.0/8", "169.254.0.0/16"], False),
        ("fd00::1", ["10.0.0.0/8", "fd00::/8"], False),
    ],
)
def test_a_proxy_in_a_network_that_we_know_leads_on_within_it(
    contact: str, networks: list[str], follows: bool
) -> None:
    """It wrote no Record-Route, and would not take what is not meant for it."""
    host = f"[{contact}]" if ":" in contact else contact
    asked = invite(contact=f"<sip:bob@{host}:5070>")
    dialog = Dialog.of_invite(asked, NEAR, "ours", tuple(map(ip_network, networks)))
    assert dialog.next_hop() == (Address(contact, 5070, "udp") if follows else NEAR)


TLS = Address("203.0.113.7", 40001, "tls", "edge.example.com")


@pytest.mark.parametrize(
    ("contact", "routes", "hop"),
    [
        (
            "<sip:10.1.1.1>",
            ["<sip:Edge.Example.com:5067;transport=tls;lr>"],
            Address("edge.example.com", 5067, "tls", "edge.example.com"),
        ),
        ("<sips:bob@pbx.example>", [], Address("pbx.example", 0, "tls", "pbx.example")),
        (
            "<sip:bob@8.8.8.8:5061;transport=tls>",
            [],
            Address("8.8.8.8", 5061, "tls", "edge.example.com"),
        ),
        # Nothing proves that name.
        ("<sip:bob@pbx.example>", [], TLS),
        ("<sip:bob@pbx.example;transport=tcp>", [], TLS),
        ("<sip:bob@127.1;transport=tls>", [], TLS),
        ("<sip:bob@pbx.example:0;transport=tls>", [], TLS),
        ("<tel:+15551234>", [], TLS),
    ],
)
def test_a_name_is_followed_where_tls_proves_it(
    contact: str, routes: list[str], hop: Address
) -> None:
    dialog = callee(TLS, contact=contact, headers=recorded(*routes))
    assert dialog.next_hop() == TLS
    dialog.connection_lost(TLS)
    assert dialog.next_hop() == hop


@pytest.mark.parametrize(
    ("contact", "routes", "hop"),
    [
        ("<sip:203.0.113.7;transport=tcp>", [], Address("203.0.113.7", 5060, "tcp")),
        ("<sip:203.0.113.7:7;transport=tcp>", [], Address("203.0.113.7", 7, "tcp")),
        ("<sip:203.0.113.7:7>", [], Address("203.0.113.7", 7, "udp")),
        ("<sip:8.8.8.8;transport=tcp>", [], Address("8.8.8.8", 5060, "tcp")),
        (
            "<sip:8.8.8.8>",
            ["<sip:203.0.113.7:7;lr;transport=tcp>"],
            Address("203.0.113.7", 7, "tcp"),
        ),
        # Nowhere to go: the shell finds out that nobody is there.
        ("<sip:bob@10.1.2.3;transport=tcp>", [], TCP),
        ("<sip:bob.example.com;transport=tcp>", [], TCP),
        ("<sip:203.0.113.7;transport=tcp>", ["<sip:169.254.169.254:80;lr;transport=tcp>"], TCP),
    ],
)
def test_next_hop_without_the_connection(contact: str, routes: list[str], hop: Address) -> None:
    dialog = callee(TCP, contact=contact, headers=recorded(*routes))
    dialog.connection_lost(PEER)
    dialog.connection_lost(Address("203.0.113.7", 40002, "tcp"))
    assert dialog.next_hop() == TCP, "another one"
    dialog.connection_lost(TCP)
    assert dialog.next_hop() == hop
    dialog.heard_from(TCP)
    assert dialog.next_hop() == TCP, "there is one again"


def test_target_refresh_keeps_the_route_set() -> None:
    dialog = callee(headers=recorded("<sip:192.0.2.20;lr>"))
    dialog.refresh(invite(contact="<sip:bob@192.0.2.77>", headers=recorded("<sip:other;lr>")))
    assert dialog.target == "sip:bob@192.0.2.77"
    assert dialog.routes == ("<sip:192.0.2.20;lr>",)
    dialog.refresh(invite(contact=None))
    assert dialog.target == "sip:bob@192.0.2.77"


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:a@b", "sip:a@b"),
        ("sip:a@b;lr;x=1", "sip:a@b;lr;x=1"),
        ("sip:a@b?Subject=hi", "sip:a@b"),
        ("sip:a@[::1]:5;method=BYE;x=1?a=b", "sip:a@[::1]:5;x=1"),
        ("tel:+1555;ext=3", "tel:+1555;ext=3"),
    ],
)
def test_what_may_stand_in_a_request_line(text: str, uri: str) -> None:
    assert as_request_uri(text) == uri


def test_contacts_that_cannot_be_followed() -> None:
    assert contact_of(invite(contact=None)) is None
    assert contact_of(Response(200, "", Headers([("Contact", "*")]))) is None
    assert contact_of(Response(200, "", Headers([("Contact", "<sip:a")]))) is None
    assert contact_of(Response(200, "", Headers([("Contact", "<sip:a>, <")]))) is None
    assert contact_of(invite(contact=f"<sip:{'a' * 5000}@b>")) is None
    assert contact_of(invite(contact="Bob <sip:a@b>, <sip:c@d>")) == "sip:a@b"
    several = Headers([("m", "<sip:a@b>, *"), ("Contact", "*"), ("Contact", "<")])
    assert contact_of(Response(200, "", several)) == "sip:a@b", "the first counts"


def test_the_longest_headers_still_make_a_message() -> None:
    long = "x" * (8192 - 40)
    dialog = callee(caller=f'"{long}" <sip:b@c>;tag=bob', call_id="i" * 8000)
    request_line, _, _ = dialog.request("BYE").to_bytes().partition(b"\r\n")
    assert request_line == b"BYE sip:bob@192.0.2.9:5062 SIP/2.0"


def test_adopted_headers_keep_their_order() -> None:
    headers = adopted([("Route", "<sip:a>"), ("v", "x"), ("Route", "<sip:b>")])
    assert headers.get_all("route") == ["<sip:a>", "<sip:b>"]
    assert headers.get("Via") == "x"
