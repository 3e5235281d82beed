"""Headers that one reader sees and another does not (threat T11): refused, or read in one way."""

import pytest

from gateway.sip.errors import SipError
from gateway.sip.message import Headers, Request, Response
from gateway.sip.parse import parse
from tests.sip.raw import PEER, SDP, Desk, request

pytestmark = pytest.mark.pure

BOSS = "<sip:boss@192.0.2.1>"


def with_lines(*lines: str, method: str = "INVITE") -> bytes:
    """A request with lines as they are put here, behind the Via."""
    text = request(method, body=SDP if method == "INVITE" else b"")
    start, via, rest = text.split(b"\r\n", 2)
    return b"\r\n".join([start, via, *(line.encode("latin-1") for line in lines), rest])


GUARDED = [
    *("P-Asserted-Identity", "p-asserted-identity", "Remote-Party-ID", "Privacy", "Diversion"),
    *("History-Info", "Identity", "y", "Authorization", "Proxy-Authorization", "X-Account"),
]


@pytest.mark.parametrize("blank", [" ", "  ", "\t", " \t", "\r\n ", "\r\n\t"])
@pytest.mark.parametrize("name", GUARDED)
def test_a_blank_before_the_colon_of_what_a_proxy_takes_away(name: str, blank: str) -> None:
    desk = Desk()
    assert desk.status(with_lines(f"{name}{blank}: {BOSS}")) == 400
    assert desk.events() == [] and desk.is_empty


@pytest.mark.parametrize("name", ["To", "Call-ID", "Max-Forwards", "Subject", "v"])
def test_the_same_before_others_is_only_odd(name: str) -> None:
    """RFC 3261 section 25.1, RFC 4475 section 3.1.1.1."""
    line = {"To": "<sip:t@h>", "Call-ID": "c", "Max-Forwards": "7", "v": "SIP/2.0/UDP h"}
    data = with_lines(f"{name} : {line.get(name, 'x')}")
    taken_out = {"To": b"To: <sip:agent@192.0.2.1>\r\n", "Call-ID": b"Call-ID: call-1\r\n"}
    message = parse(data.replace(taken_out.get(name, b"\0"), b""))
    assert message.headers.get(name) is not None


SINGLE = {
    "From": ("f", "<sip:bob@192.0.2.9>;tag=bob"),
    "To": ("t", "<sip:agent@192.0.2.1>"),
    "Call-ID": ("i", "call-1"),
    "CSeq": ("cseq", "1 INVITE"),
    "Max-Forwards": ("MAX-FORWARDS", "70"),
    "Content-Length": ("l", str(len(SDP))),
    "Content-Type": ("c", "application/sdp"),
    "Event": ("o", "refer"),
    "Subscription-State": ("subscription-state", "active"),
    "Refer-To": ("r", "<sip:a@h>"),
    "Referred-By": ("b", "<sip:a@h>"),
    "Replaces": ("REPLACES", "a;to-tag=b;from-tag=c"),
    "Session-Expires": ("x", "1800"),
    "Min-SE": ("min-se", "90"),
    "RAck": ("rack", "1 1 INVITE"),
    "Expires": ("expires", "60"),
    "Content-Disposition": ("content-disposition", "session"),
}


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0)])
def test_what_may_be_there_once(name: str, order: tuple[int, int]) -> None:
    """In the same spelling or another, the long form first or the short one, with equal values."""
    other, value = SINGLE[name]
    names = (name, other)
    desk = Desk()
    assert desk.status(with_lines(*(f"{names[at]}: {value}" for at in order))) == 400
    assert desk.events() == [] and desk.is_empty


@pytest.mark.parametrize(
    "line",
    [
        *("X-A: b\nP-Asserted-Identity: <sip:boss@h>", "X-A: b\rP-Asserted-Identity: <sip:b@h>"),
        *("X-A: b\x00", "X-\x00A: b", "X-A\x0b: b", "X-A: b\x0cP-Asserted-Identity: <sip:b@h>"),
        *(
            "P-Asserted-Identity",
            "P Asserted-Identity: a",
            ": a",
            "X-A\x1f: b",
            "(X): b",
            "\x7f: b",
        ),
        "X-A: b\x08",
    ],
)
def test_lines_that_end_elsewhere_or_have_no_name(line: str) -> None:
    with pytest.raises(SipError) as caught:
        parse(with_lines(line))
    assert caught.value.status == 400


@pytest.mark.parametrize("separator", ["\x85", "\u2028", "\u2029"])
def test_what_others_take_for_a_line_end_is_marked(separator: str) -> None:
    data = with_lines("X-A: 1").replace(b"X-A: 1", f"X-A: 1{separator}Privacy: id".encode())
    message = parse(data)
    assert message.headers.get("X-A") == "1\ufffdPrivacy: id"
    assert message.headers.get("Privacy") is None


def test_a_fold_belongs_to_the_line_above() -> None:
    message = parse(with_lines("X-A: b", " P-Asserted-Identity: <sip:boss@h>"))
    assert message.headers.get("P-Asserted-Identity") is None
    assert message.headers.get("X-A") == "b P-Asserted-Identity: <sip:boss@h>"


def test_a_second_message_in_a_datagram_is_not_read() -> None:
    """RFC 3261 section 18.3: behind Content-Length there is nothing, and no request."""
    desk = Desk()
    second = request("BYE", branch="2", call_id="2")
    assert desk.status(request("OPTIONS") + second) == 200
    assert desk.agent.counters.requests == {"OPTIONS": 1}


def test_responses_may_be_odd_where_nothing_hangs_on_it() -> None:
    desk = Desk()
    _, invite = desk.calling()
    lines = "".join(
        f"{name}: {value}\r\n"
        for name in ("Via", "From", "To", "Call-ID", "CSeq")
        for value in invite.headers.get_all(name)
    )
    text = f"SIP/2.0 180 Ringing\r\n{lines}Expires: 1\r\nExpires: 2\r\n\r\n"
    assert isinstance(parse(text.encode()), Response)


@pytest.mark.parametrize("value", ["a\r\nVia: b", "a\nb", "a\0b", "a\x85b", "a\u2028b", "a\ud800"])
def test_nothing_of_the_kind_can_be_said_by_us(value: str) -> None:
    with pytest.raises(ValueError, match="."):
        Request("INVITE", "sip:a@h", Headers([("X-A", value)]))
    for part in ("method", "uri"):
        fields = {"method": "INVITE", "uri": "sip:a@h"} | {part: value}
        with pytest.raises(ValueError, match="."):
            Request(fields["method"], fields["uri"]).to_bytes()


def test_a_stranger_cannot_write_into_the_place_of_its_source() -> None:
    """A `received` that came is replaced by where the message came from."""
    via = "SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bK1;rport=1;received=198.51.100.1"
    (answer,) = Desk().send(request("OPTIONS", via=via))
    assert f"received={PEER.host}" in (answer.headers.get("Via") or "")
    assert "198.51.100.1" not in (answer.headers.get("Via") or "")
