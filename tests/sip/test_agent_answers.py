"""What the agent answers to messages written by hand, one by one: every status it has."""

from ipaddress import ip_network

import pytest

from gateway.sip.errors import SipError
from gateway.sip.events import CallEnded, IncomingCall
from gateway.sip.message import Address, Response
from gateway.sip.parse import parse
from tests.sip.raw import PEER, PEER_TCP, SDP, Desk, codes, request

pytestmark = pytest.mark.pure

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, INFO, UPDATE, PRACK"


def only_response(desk: Desk, data: bytes, source: Address = PEER) -> Response:
    (answer,) = desk.send(data, source)
    assert isinstance(answer, Response)
    return answer


REFUSED: list[tuple[int, bytes, dict[str, str]]] = [
    (400, request("INVITE", body=SDP, contact=None), {}),
    (400, request("INVITE", body=SDP, body_type=None), {}),
    (400, request("INVITE", body=SDP, headers=(("Require", '"'),)), {}),
    (400, request("INVITE", body=SDP, headers=(("Require", "two words"),)), {}),
    (400, request("INVITE", body=SDP, headers=(("Require", "x" * 8000),)), {}),
    (400, request("INVITE", body=SDP, headers=(("Accept", 'a/b;c=",'),)), {}),
    (400, request("INVITE", call_id="two words"), {}),
    (405, request("REGISTER"), {"Allow": ALLOW}),
    (405, request("MESSAGE"), {"Allow": ALLOW}),
    (405, request("SUBSCRIBE"), {"Allow": ALLOW}),
    (405, request("PUBLISH"), {"Allow": ALLOW}),
    (405, request("REFER"), {"Allow": ALLOW}),
    (501, request("FROBNICATE"), {"Allow": ALLOW}),
    (406, request("INVITE", body=SDP, headers=(("Accept", "text/plain, image/*"),)), {}),
    (406, request("INVITE", body=SDP, headers=(("Accept", ""),)), {}),
    (
        415,
        request("INVITE", body=b"{}", body_type="text/json"),
        {"Accept": "application/sdp, multipart/mixed"},
    ),
    (
        415,
        request("INVITE", body=SDP, headers=(("Content-Encoding", "gzip"),)),
        {"Accept-Encoding": "identity"},
    ),
    (416, request("INVITE", body=SDP, uri="sips:agent@192.0.2.1"), {}),
    (416, request("OPTIONS", uri="soap.beep://192.0.2.1"), {}),
    (
        420,
        request("INVITE", body=SDP, headers=(("Require", "precondition, foo"), ("Require", "bar"))),
        {"Unsupported": "precondition, foo, bar"},
    ),
    (420, request("OPTIONS", headers=(("Require", "foo"),)), {"Unsupported": "foo"}),
    (420, request("OPTIONS", headers=(("Require", "Foo, TIMER"),)), {"Unsupported": "foo"}),
    (481, request("BYE"), {}),
    (481, request("INFO"), {}),
    (481, request("UPDATE"), {}),
    (481, request("PRACK"), {}),
    (
        422,
        request("INVITE", body=SDP, headers=(("Session-Expires", "60"), ("Supported", "timer"))),
        {"Min-SE": "90"},
    ),
    (481, request("BYE", to="<sip:agent@192.0.2.1>;tag=gone"), {}),
    (481, request("INVITE", to="<sip:agent@192.0.2.1>;tag=gone", body=SDP), {}),
    (481, request("OPTIONS", to="<sip:agent@192.0.2.1>;tag=gone"), {}),
    (481, request("CANCEL"), {}),
    (483, request("INVITE", body=SDP, headers=(("Max-Forwards", "0"),)), {}),
    (505, request("INVITE", body=SDP).replace(b"SIP/2.0", b"SIP/7.0", 1), {}),
    (513, request("INVITE", body=SDP, caller=f"<sip:{'b' * 5000}@c>;tag=bob"), {}),
    (513, request("INVITE", body=b"x" * 66_000), {}),
]


@pytest.mark.parametrize(("status", "message", "headers"), REFUSED)
def test_refused_on_sight(status: int, message: bytes, headers: dict[str, str]) -> None:
    desk = Desk()
    answer = only_response(desk, message)
    assert answer.status == status
    for name, value in headers.items():
        assert ", ".join(answer.headers.get_all(name)) == value
    assert desk.is_empty, "a refusal keeps no state"
    assert desk.events() == []
    again = only_response(desk, message)
    assert again.headers.get("To") == answer.headers.get("To"), "and the same request, the same tag"
    assert ";tag=" in (answer.headers.get("To") or "")
    assert answer.headers.get("Server") == "voice-agent-gateway"


SERVED = [
    request("INVITE", body=SDP, headers=(("Accept", "text/plain, application/sdp;level=1"),)),
    request("INVITE", body=SDP, headers=(("Accept", "application/*"),)),
    request("INVITE", body=SDP, headers=(("Accept", "*/*;q=0.1"),)),
    request("INVITE", body=SDP, headers=(("Content-Encoding", "identity"),)),
    request("INVITE", body=SDP, headers=(("Max-Forwards", "1"), ("Proxy-Require", "foo"))),
    request("INVITE", body=SDP, uri="tel:+15551234"),
    request("INVITE", body=SDP, body_type="Application/SDP ; charset=utf-8"),
    request(
        "INVITE",
        body=b"<x/>",
        body_type="text/xml",
        headers=(("Content-Disposition", "icon; handling=optional"),),
    ),
    request("INVITE"),
]


@pytest.mark.parametrize("message", SERVED)
def test_taken_in(message: bytes) -> None:
    desk = Desk()
    assert codes(desk.send(message)) == [100]
    (event,) = desk.events()
    assert isinstance(event, IncomingCall)
    assert event.offer == (SDP if SDP in message else None)


def test_what_an_incoming_call_tells() -> None:
    desk = Desk()
    desk.send(request("INVITE", body=SDP, headers=(("X-Account", "7"), ("x-account", "8"))))
    (call,) = desk.events()
    assert isinstance(call, IncomingCall)
    assert call.call_id == "call-1"
    assert (call.from_uri, call.to_uri) == ("sip:bob@192.0.2.9", "sip:agent@192.0.2.1")
    assert call.request_uri == "sip:agent@192.0.2.1"
    assert call.source == PEER
    assert [pair for pair in call.headers if pair[0].lower() == "x-account"] == [
        ("X-Account", "7"),
        ("x-account", "8"),
    ]


def test_the_trying_has_no_tag_and_brings_the_timestamp_back() -> None:
    desk = Desk()
    (trying,) = desk.send(request("INVITE", body=SDP, headers=(("Timestamp", "54"),)))
    assert trying.headers.get("To") == "<sip:agent@192.0.2.1>"
    assert trying.headers.get("Timestamp") == "54"


def test_options() -> None:
    desk = Desk()
    answer = only_response(desk, request("OPTIONS"))
    assert answer.status == 200
    assert answer.headers.get("Allow") == ALLOW
    assert answer.headers.get("Accept") == "application/sdp, multipart/mixed"
    assert answer.headers.get("Supported") == "100rel, timer"
    assert desk.is_empty


def test_options_with_no_hops_left_has_arrived() -> None:
    assert Desk().status(request("OPTIONS", headers=(("Max-Forwards", "0"),))) == 200


def test_not_available() -> None:
    desk = Desk(retry_after_s=7)
    dialog_id = desk.confirmed()
    desk.agent.available = False
    answer = only_response(desk, request("OPTIONS", branch="o"))
    assert answer.status == 503
    assert answer.headers.get("Retry-After") == "7"
    desk.incoming(branch="i", call_id="2")  # is the application's to refuse
    assert desk.status(desk.within("OPTIONS", dialog_id)) == 200, "calls that are up go on"
    assert desk.status(desk.within("BYE", dialog_id, cseq=3)) == 200


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\0", b"\0\0\0\0"])
def test_keepalives_are_nothing(data: bytes) -> None:
    desk = Desk()
    assert desk.send(data) == []
    assert desk.agent.counters.dropped == 0


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"\xff" * 100,
        b"INVITE sip:agent@192.0.2.1 SIP/2.0\r\n\r\n",
        request("ACK"),
        request("ACK", to="<sip:agent@192.0.2.1>;tag=gone"),
        request("ACK", call_id="two words"),
        b"SIP/2.0 200 OK\r\n" + request("OPTIONS").partition(b"\r\n")[2],
        b"SIP/2.0 999 OK\r\n" + request("OPTIONS").partition(b"\r\n")[2],
        # A Via with no room for the address of its sender leaves no way back.
        request("OPTIONS", via=f"SIP/2.0/UDP a;branch=z9hG4bK1;rport;x={'y' * 8130}"),
    ],
)
def test_what_is_never_answered(data: bytes) -> None:
    desk = Desk()
    assert desk.send(data) == []
    assert desk.agent.counters.dropped == 1
    assert desk.is_empty


class TestAllowList:
    def desk(self) -> Desk:
        return Desk(allow=(ip_network("192.0.2.8/31"), ip_network("2001:db8::/32")))

    @pytest.mark.parametrize("host", ["192.0.2.9", "2001:db8::5", "::ffff:192.0.2.8"])
    def test_let_in(self, host: str) -> None:
        assert self.desk().status(request("OPTIONS"), Address(host, 5060, "udp")) == 200

    @pytest.mark.parametrize("host", ["192.0.2.10", "2001:db9::5", "somewhere.example.com"])
    @pytest.mark.parametrize("method", ["OPTIONS", "INVITE", "CANCEL", "BYE", "REGISTER", "FOO"])
    def test_kept_out(self, host: str, method: str) -> None:
        desk = self.desk()
        assert desk.status(request(method, body=SDP), Address(host, 5060, "udp")) == 403
        assert desk.is_empty
        assert desk.events() == []

    def test_kept_out_broken_or_not(self) -> None:
        stranger = Address("192.0.2.10", 5060, "udp")
        answer = only_response(self.desk(), request("INVITE", call_id="two words"), stranger)
        assert (answer.status, answer.reason) == (403, "Forbidden")

    def test_an_ack_is_not_answered_even_so(self) -> None:
        assert self.desk().send(request("ACK"), Address("192.0.2.10", 5060, "udp")) == []


class TestTheWayBack:
    """Section 18.2.2 and RFC 3581."""

    def reply(self, via: str, source: Address) -> tuple[Address, str]:
        desk = Desk()
        (answer,) = desk.send(request("OPTIONS", via=via), source)
        return desk.addresses[0], answer.headers.get("Via") or ""

    def test_to_the_port_it_came_from_when_asked(self) -> None:
        to, via = self.reply("SIP/2.0/UDP 10.0.0.5:5060;rport;branch=z9hG4bK1", PEER)
        assert to == PEER
        assert via == "SIP/2.0/UDP 10.0.0.5:5060;rport=5062;branch=z9hG4bK1;received=192.0.2.9"

    def test_else_to_the_port_of_the_via(self) -> None:
        to, _ = self.reply("SIP/2.0/UDP 192.0.2.9:7000;branch=z9hG4bK1", PEER)
        assert to == Address("192.0.2.9", 7000, "udp")
        to, _ = self.reply("SIP/2.0/UDP pc.example.com;branch=z9hG4bK1", PEER)
        assert to == Address("192.0.2.9", 5060, "udp")
        to, _ = self.reply("SIP/2.0/UDP 192.0.2.9:0;branch=z9hG4bK1", PEER)
        assert to == PEER

    def test_never_to_anybody_else(self) -> None:
        liar = (
            "SIP/2.0/UDP 198.51.100.1:53;maddr=198.51.100.2;received=198.51.100.3;branch=z9hG4bK1"
        )
        to, via = self.reply(liar, PEER)
        assert to == Address("192.0.2.9", 53, "udp")
        assert "received=192.0.2.9" in via
        assert "198.51.100.3" not in via

    def test_a_connection_is_kept(self) -> None:
        to, _ = self.reply("SIP/2.0/TCP 192.0.2.9:5060;branch=z9hG4bK1", PEER_TCP)
        assert to == PEER_TCP

    def test_other_vias_stay_below_ours(self) -> None:
        two = "SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bK1, SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK0"
        _, via = self.reply(two, PEER)
        assert via == two


def test_a_framer_lets_its_error_be_answered() -> None:
    desk = Desk()
    broken = parse(request("INVITE"))
    assert not isinstance(broken, Response)
    desk.agent.refuse(SipError(400, "Missing Content-Length Header", broken), PEER_TCP, desk.now)
    (answer,) = desk.drain()
    assert isinstance(answer, Response)
    assert (answer.status, answer.reason) == (400, "Missing Content-Length Header")
    assert desk.addresses == [PEER_TCP]
    desk.agent.refuse(SipError(400, "nothing"), PEER_TCP, desk.now)
    assert desk.drain() == []


def test_a_request_with_a_broken_via_is_answered_where_it_came_from() -> None:
    desk = Desk()
    answer = only_response(desk, request("OPTIONS", via="SIP/2.0/UDP ;;;"))
    assert answer.status == 400
    assert desk.addresses == [PEER]


def test_counters_count_and_stay_small() -> None:
    desk = Desk()
    for number in range(50):
        desk.send(request(f"STRANGE{number}", branch=str(number)))
    desk.send(request("OPTIONS"))
    counters = desk.agent.counters
    assert counters.requests == {"OTHER": 50, "OPTIONS": 1}
    assert counters.responses == {("OTHER", 501): 50, ("OPTIONS", 200): 1}


def test_a_merged_invite_is_a_loop() -> None:
    desk = Desk()
    dialog_id = desk.incoming()
    other_way = request("INVITE", body=SDP, branch="other-way")
    assert desk.status(other_way) == 482
    desk.agent.reject(dialog_id, 486, desk.now)
    desk.drain()
    assert desk.status(other_way) == 482, "as long as the first is remembered"
    desk.send(request("ACK"))
    desk.wait(10)
    assert codes(desk.send(other_way)) == [100]


def test_a_scan_costs_nothing() -> None:
    desk = Desk(allow=())
    for number in range(2000):
        desk.send(request("INVITE", body=SDP, branch=str(number), call_id=str(number)))
    assert desk.is_empty
    assert desk.events() == []


def test_the_reason_and_headers_of_a_rejection() -> None:
    desk = Desk()
    dialog_id = desk.incoming()
    warning = '304 gw "Media type not available"'
    desk.agent.reject(dialog_id, 488, desk.now, reason="No Codec", headers=[("Warning", warning)])
    (answer,) = desk.drain()
    assert isinstance(answer, Response)
    assert (answer.status, answer.reason) == (488, "No Codec")
    assert answer.headers.get("Warning") == warning
    assert desk.events() == [CallEnded(dialog_id, "rejected", 488)]


@pytest.mark.parametrize(
    ("status", "reason", "headers"),
    [
        (200, None, []),
        (100, None, []),
        (700, None, []),
        (486, "Busy\r\nX: y", []),
        (486, None, [("X", "a\r\nContact: <sip:evil>")]),
        (486, None, [("X: y", "z")]),
    ],
)
def test_nothing_unsendable_is_sent(
    status: int, reason: str | None, headers: list[tuple[str, str]]
) -> None:
    desk = Desk()
    dialog_id = desk.incoming()
    with pytest.raises(ValueError):
        desk.agent.reject(dialog_id, status, desk.now, reason=reason, headers=headers)
    assert desk.drain() == []
    desk.agent.reject(dialog_id, 486, desk.now)
    assert codes(desk.drain()) == [486], "and the call can still be rejected"
