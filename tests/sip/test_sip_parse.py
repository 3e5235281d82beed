"""The parser: limits, faults and what is forgiven, beyond the torture messages."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.errors import SipError
from gateway.sip.headers import CSeq, name_addrs
from gateway.sip.message import (
    MAX_HEADERS,
    MAX_LINE_CHARS,
    MAX_MESSAGE_BYTES,
    Message,
    Request,
    Response,
)
from gateway.sip.parse import is_keepalive, parse
from gateway.sip.uri import NameAddr
from tests.sip.raw import SPARE_LINES, vias

pytestmark = pytest.mark.pure

LINES = {
    "Via": "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx;rport",
    "Max-Forwards": "70",
    "From": '"A" <sip:a@example.com>;tag=1',
    "To": "<sip:b@example.com>",
    "Call-ID": "c@example.com",
    "CSeq": "1 OPTIONS",
    "Contact": "<sip:a@192.0.2.1>",
    "Content-Length": "4",
}
START = "OPTIONS sip:b@example.com SIP/2.0"


def wire(
    *more: str, start: str = START, body: bytes = b"body", without: str = "", **changed: str
) -> bytes:
    """The plain message with some headers changed (`Call_ID` for Call-ID), left out or added."""
    fields = LINES | {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if name != without]
    return "\r\n".join([start, *lines, *more]).encode() + b"\r\n\r\n" + body


def refusal(data: bytes) -> SipError:
    with pytest.raises(SipError) as caught:
        parse(data)
    return caught.value


def test_the_plain_message() -> None:
    message = parse(wire())
    assert isinstance(message, Request)
    assert (message.method, message.uri) == ("OPTIONS", "sip:b@example.com")
    assert message.headers.items() == list(LINES.items())
    assert message.body == b"body"
    assert message.to_bytes() == wire()


def test_the_plain_response() -> None:
    message = parse(wire(start="SIP/2.0 183 Session Progress"))
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (183, "Session Progress")
    assert message.to_bytes() == wire(start="SIP/2.0 183 Session Progress")
    assert parse(wire(start="sip/2.0 200")) == Response(200, "", message.headers, b"body")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n\r\n" + wire(),
        wire(start=START.replace("SIP/2.0", "sip/2.0")),
        wire(body=b"body and what the network put behind it"),
        wire(without="Max-Forwards"),
        wire(without="Contact"),
        wire(without="Content-Length"),
        wire(From="sip:a@example.com"),
        wire(Via="SIP/2.0/UDP 192.0.2.1"),
        wire("X:", "Y:y", "Z\t : \t z \t"),
        wire("Subject: folded", " twice", "\ttimes"),
        wire("Subject: é 😀 \u2003"),
        wire("Route: <sip:x;lr>,<sip:y;lr>", "Date: tomorrow", "Expires: never"),
        wire(Content_Length="0004", Max_Forwards="0070"),
        wire(Call_ID='\\"<>[]{}()'),
    ],
)
def test_forgiven(data: bytes) -> None:
    assert parse(data).body.startswith(b"body")


def test_blanks_and_folds_are_one_value() -> None:
    message = parse(wire("Subject:\t folded ", "  twice", "\ttimes  "))
    assert message.headers.get("s") == "folded  twice times"


def test_bytes_that_are_not_utf_8() -> None:
    message = parse(wire("Subject: caf\u00e9").replace("é".encode(), b"\xe9"))
    assert message.headers.get("Subject") == "caf\ufffd"


def test_escaped_controls_and_line_separators_lose_their_force() -> None:
    message = parse(wire('Subject: "a\\\0b\\\x7f\\\\c" \u2028 \u0085'))
    assert message.headers.get("Subject") == '"a\ufffdb\ufffd\\\\c" \ufffd \ufffd'
    parse(message.to_bytes())


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (wire(start="OPTIONS sip:b@example.com"), 400, "Malformed Request Line"),
        (wire(start="OPTIONS  sip:b@example.com SIP/2.0"), 400, "Malformed Request Line"),
        (wire(start="OPTIONS sip:b@example.com SIP/2.0 "), 400, "Malformed Request Line"),
        (wire(start="OPTIONS sip:b@example.com HTTP/1.1"), 400, "Malformed Request Line"),
        (wire(start="OPT<IONS sip:b@example.com SIP/2.0"), 400, "Malformed Request Line"),
        (wire(start="OPTIONS sip:b@example.com SIP/2.0\r\n x"), 400, "Malformed Request Line"),
        (wire(start="OPTIONS sip:b@example.com SIP/3.0"), 505, "Version Not Supported"),
        (wire(start="OPTIONS sip:b@ SIP/2.0"), 400, "Malformed Request-URI"),
        (wire(start="OPTIONS * SIP/2.0"), 400, "Malformed Request-URI"),
        (wire(start="OPTIONS sip:é@b SIP/2.0"), 400, "Malformed Request-URI"),
        (wire(start="OPTIONS sip:b?x=y SIP/2.0"), 400, "Headers In Request-URI"),
        (wire(start=f"OPTIONS sip:{'b' * MAX_LINE_CHARS} SIP/2.0"), 414, "Request-URI Too Long"),
        (wire(without="From"), 400, "Missing From Header"),
        (wire(without="To"), 400, "Missing To Header"),
        (wire(without="Call-ID"), 400, "Missing Call-ID Header"),
        (wire(without="CSeq"), 400, "Missing CSeq Header"),
        (wire("f: <sip:a@example.com>;tag=1"), 400, "Multiple From Headers"),
        (wire("TO: <sip:b@example.com>"), 400, "Multiple To Headers"),
        (wire("i: c@example.com"), 400, "Multiple Call-ID Headers"),
        (wire("cseq: 1 OPTIONS"), 400, "Multiple CSeq Headers"),
        (wire("Max-Forwards: 70"), 400, "Multiple Max-Forwards Headers"),
        (wire("l: 4"), 400, "Multiple Content-Length Headers"),
        (wire("c: a/b", "Content-Type: a/b"), 400, "Multiple Content-Type Headers"),
        (wire(Via="SIP/2.0/UDP"), 400, "Malformed Via Header"),
        (wire(Via="SIP/2.0/UDP a,"), 400, "Malformed Via Header"),
        (wire(Via="SIP/2.0/UDP a;branch"), 400, "Malformed Via Header"),
        (wire(Via="SIP/2.0/UDP a;branch=x;Branch=y"), 400, "Malformed Via Header"),
        (wire("Via: SIP/2.0/UDP a b"), 400, "Malformed Via Header"),
        (wire(From="<sip:a@b>;tag=1;tag=2"), 400, "Malformed From Header"),
        (wire(From="<sip:a@b>;tag"), 400, "Malformed From Header"),
        (wire(From='<sip:a@b>;tag="1"'), 400, "Malformed From Header"),
        (wire(From="<sip:a@b>, <sip:c@d>"), 400, "Malformed From Header"),
        (wire(To=""), 400, "Malformed To Header"),
        (wire(To="b@example.com"), 400, "Malformed To Header"),
        (wire(Call_ID=""), 400, "Malformed Call-ID Header"),
        (wire(Call_ID="a b"), 400, "Malformed Call-ID Header"),
        (wire(Call_ID="é"), 400, "Malformed Call-ID Header"),
        (wire(CSeq="OPTIONS 1"), 400, "Malformed CSeq Header"),
        (wire(CSeq="2147483648 OPTIONS"), 400, "Malformed CSeq Header"),
        (wire(CSeq="1 options"), 400, "CSeq Method Mismatch"),
        (wire(CSeq="1 x", start="X sip:b SIP/2.0"), 501, "Not Implemented"),
        (wire(Max_Forwards="-1"), 400, "Malformed Max-Forwards Header"),
        (wire(Max_Forwards="256"), 400, "Malformed Max-Forwards Header"),
        (wire(Contact=""), 400, "Malformed Contact Header"),
        (wire(Contact="*"), 400, "Malformed Contact Header"),
        (wire("Contact: *"), 400, "Malformed Contact Header"),
        (wire("m: <sip:a@h>", Contact="*"), 400, "Malformed Contact Header"),
        (wire("Contact: <sip:a@h>, *"), 400, "Malformed Contact Header"),
        (wire("Route: <sip:x"), 400, "Malformed Route Header"),
        (wire("Record-Route: <sip:x>,"), 400, "Malformed Record-Route Header"),
        (wire(Content_Length="-1"), 400, "Malformed Content-Length Header"),
        (wire(Content_Length="4, 4"), 400, "Malformed Content-Length Header"),
        (wire(Content_Length=""), 400, "Malformed Content-Length Header"),
        (wire(Content_Length="9" * 5000), 400, "Malformed Content-Length Header"),
        (wire(Content_Length="5"), 400, "Content-Length Exceeds Message"),
        (wire("no colon"), 400, "Malformed Header Line"),
        (wire(": no name"), 400, "Malformed Header Line"),
        (wire("a b: c"), 400, "Malformed Header Line"),
        (wire("X: a\rb"), 400, "Control Character In Header"),
        (wire("X: a\nContent-Length: 0"), 400, "Control Character In Header"),
        (wire("X: a\\\rb"), 400, "Control Character In Header"),
        (wire("X: \0"), 400, "Control Character In Header"),
        (wire("X: \\\\\0"), 400, "Control Character In Header"),
        (wire("\x7f: x"), 400, "Control Character In Header"),
        (wire("X: " + "a" * MAX_LINE_CHARS), 513, "Header Too Long"),
        (wire("Route: " + "a" * MAX_LINE_CHARS), 513, "Route Header Too Long"),
        (wire(*["X: y"] * MAX_HEADERS), 513, "Too Many Headers"),
        (wire(body=b"b" * MAX_MESSAGE_BYTES), 513, "Message Too Large"),
        (wire(body=b"")[:-2], 400, "Missing Empty Line After Headers"),
    ],
)
def test_refused_with_something_to_answer(data: bytes, status: int, reason: str) -> None:
    error = refusal(data)
    assert (error.status, error.reason) == (status, reason)
    assert str(error) == f"{status} {reason}"
    assert error.request is not None
    assert error.request.method in ("OPTIONS", "OPT", "X")
    assert error.request.headers.get("Via")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\0\0\0\0",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS",
        b'"',
        START.encode(),
        wire(without="Via"),
        wire("Via: SIP/2.0/UDP a", without="Via", Subject="\0").replace(b"UDP a", b"UDP \0a"),
        wire(start="OPTIONS\0 sip:a SIP/2.0"),
        wire(start="SIP/2.0 99 Low"),
        wire(start="SIP/2.0 700 High"),
        wire(start="SIP/2.0 2000 Long"),
        wire(start="SIP/2.0  200 OK"),
        wire(start="SIP/2.0 ٢٠٠ OK"),
        wire(start="SIP/3.0 200 OK"),
        wire(start="SIP/2.0 200 " + "a" * MAX_LINE_CHARS),
        wire(start="SIP/2.0 200 OK", CSeq="x"),
        wire(start="SIP/2.0 200 OK", Content_Length="5"),
    ],
)
def test_refused_with_nobody_to_answer(data: bytes) -> None:
    assert refusal(data).request is None


def test_a_refused_request_keeps_what_was_good() -> None:
    error = refusal(wire("X: \0", "bad line", Call_ID="a b", To='"open <sip:b@example.com>'))
    assert error.reason == "Control Character In Header"
    assert error.request is not None
    assert error.request.headers.get("To") == '"open <sip:b@example.com>'
    assert error.request.headers.get("Call-ID") == "a b"
    assert "X" not in error.request.headers
    assert error.request.body == b"body"


def test_an_ack_is_recognised_even_if_it_is_broken() -> None:
    error = refusal(wire(start="ACK  sip:b@example.com SIP/2.0", CSeq="1 ACK"))
    assert error.request is not None
    assert error.request.method == "ACK"


def test_a_contact_for_all_stands_alone_and_only_where_one_registers() -> None:
    start, cseq = "REGISTER sip:example.com SIP/2.0", "1 REGISTER"
    alone = parse(wire(start=start, CSeq=cseq, Contact="*"))
    assert alone.headers.get_all("Contact") == ["*"]
    for contact in ("<sip:a@h>", "*"):
        error = refusal(wire("m: *", start=start, CSeq=cseq, Contact=contact))
        assert (error.status, error.reason) == (400, "Malformed Contact Header")
        assert error.request is not None
    answer = "SIP/2.0 200 OK"
    assert refusal(wire("Contact: *", start=answer)).request is None
    # Nobody could be told about a lone one in an answer, and the answer counts without it.
    assert parse(wire(start=answer, Contact="*")).headers.get_all("Contact") == ["*"]


def test_just_within_the_limits() -> None:
    parse(wire("Z: " + "a" * (MAX_LINE_CHARS - 3)))
    parse(wire(*["Z: y"] * (MAX_HEADERS - len(LINES))))
    size = len(wire(without="Content-Length", body=b""))
    body = b"b" * (MAX_MESSAGE_BYTES - size)
    assert len(parse(wire(without="Content-Length", body=body)).body) == len(body)


@pytest.mark.parametrize(
    "start",
    [
        # RFC 5118: 4.1, 4.3 (the port is inside the brackets), 4.4, 4.9, 4.10
        "REGISTER sip:[2001:db8::10] SIP/2.0",
        "REGISTER sip:[2001:db8::10:5070] SIP/2.0",
        "REGISTER sip:[2001:db8::10]:5070 SIP/2.0",
        "REGISTER sip:user@[::ffff:192.0.2.10] SIP/2.0",
        "REGISTER sip:user@[2001:db8:::192.0.2.1] SIP/2.0",
    ],
)
def test_ipv6_request_uris(start: str) -> None:
    message = parse(
        wire(
            start=start,
            CSeq="1 REGISTER",
            Via="SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKx",
            Contact="<sip:a@[2001:db8::9:1]>;expires=9",
        )
    )
    assert vias(message.headers)[0].host == "2001:db8::9:1"


def test_an_ipv6_address_without_brackets_is_refused() -> None:
    error = refusal(wire(start="REGISTER sip:2001:db8::10 SIP/2.0", CSeq="1 REGISTER"))
    assert (error.status, error.reason) == (400, "Malformed Request-URI")


def test_keepalives() -> None:
    assert all(map(is_keepalive, (b"", b"\r\n", b"\r\n\r\n", b"\0\0\0\0", b"\0")))
    assert not is_keepalive(b"\r\nOPTIONS")


def check_whatever(data: bytes) -> None:
    try:
        message: Message = parse(data)
    except SipError as error:
        assert error.status in (400, 414, 501, 505, 513)
        assert error.reason.isascii() and error.reason.isprintable()
        request = error.request
        if request is None:
            return
        # What may be echoed passes the guard of Headers.
        for name, value in request.headers.items():
            Response(error.status, error.reason).headers.add(name, value)
        assert request.headers.get("Via")
        return
    # Whatever the parser lets through, the readers of its parts let through too.
    assert vias(message.headers)
    CSeq.parse(message.headers.get("CSeq") or "")
    NameAddr.parse(message.headers.get("From") or "")
    NameAddr.parse(message.headers.get("To") or "")
    for name in ("Route", "Record-Route", "Contact"):
        if message.headers.get_all(name) != ["*"]:
            name_addrs(message.headers, name)
    again = parse(message.to_bytes())
    assert again.body == message.body


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    check_whatever(data)
    check_whatever(b"\r\n" + data + b"\r\n\r\n")


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(sorted(LINES)),
    value=st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode)),
    at=st.integers(0, 60),
    replace=st.booleans(),
)
def test_any_bytes_in_any_header(name: str, value: bytes, at: int, replace: bool) -> None:
    old = LINES[name].encode()
    new = value if replace else old[:at] + value + old[at:]
    check_whatever(wire().replace(f"{name}: ".encode() + old, f"{name}: ".encode() + new))


STARTS = {
    "OPTIONS": START,
    "INVITE": "INVITE sip:b@example.com SIP/2.0",
    "REGISTER": "REGISTER sip:example.com SIP/2.0",
    "BYE": "SIP/2.0 200 OK",
}


@settings(max_examples=200, deadline=None)
@given(
    method=st.sampled_from(sorted(STARTS)),
    without=st.sampled_from(["", "", "Via", "To", "Contact"]),
    more=st.sampled_from(sorted(SPARE_LINES)).flatmap(
        lambda header: st.lists(st.sampled_from(SPARE_LINES[header]), min_size=1, max_size=3)
    ),
)
def test_several_lines_of_one_header(method: str, without: str, more: list[str]) -> None:
    check_whatever(wire(*more, start=STARTS[method], without=without, CSeq=f"1 {method}"))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.integers(0, len(START)))
def test_any_bytes_in_the_start_line(data: bytes, at: int) -> None:
    start = START.encode()
    check_whatever(wire().replace(start, start[:at] + data + start[at:]))
