"""Messages as data: the multi-map, and that nothing but what was meant gets onto the wire."""

import re
from urllib.parse import quote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.sip.headers import Via
from gateway.sip.message import MAX_LINE_CHARS, Headers, Request, Response, header_key
from gateway.sip.parse import parse
from gateway.sip.uri import NameAddr, SipUri

pytestmark = pytest.mark.pure

BASE = (
    ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx"),
    ("From", "<sip:a@example.com>;tag=1"),
    ("To", "<sip:b@example.com>"),
    ("Call-ID", "c@example.com"),
    ("CSeq", "1 INVITE"),
)
STRUCTURAL = {
    *("via", "from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type"),
    *("contact", "route", "record-route"),
}
# Text with everything that has ever opened a line somewhere, more often than chance would.
NASTY = st.one_of(
    st.text(),
    st.lists(
        st.one_of(
            st.text(max_size=8),
            st.sampled_from(
                ["\r\n", "\r", "\n", "\0", "\t", " ", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"]
                + ["\u2029", "\ud800", "\\", '"', "<", ">", ",", ";", ":", "%0d%0a", "\\\r\n"]
                + ["\r\nVia: SIP/2.0/UDP evil", "\r\n\r\n", "\ufeff", "\u00a0", "é", "😀"]
            ),
        ),
        max_size=6,
    ).map("".join),
)


def invite(*more: tuple[str, str]) -> Request:
    return Request("INVITE", "sip:b@example.com", Headers([*BASE, *more]))


def test_lookup_ignores_case_and_knows_short_forms() -> None:
    headers = Headers([("v", "one"), ("VIA", "two"), ("X-Odd", "3"), ("t", "four")])
    assert headers.get("Via") == "one"
    assert headers.get_all("via") == ["one", "two"]
    assert headers.get("x-odd") == "3"
    assert headers.get("To") == headers.get("T") == "four"
    assert headers.get("From") is None
    assert "to" in headers and "From" not in headers
    assert headers.items()[0] == ("v", "one")


def test_changing() -> None:
    headers = Headers([("Via", "1"), ("To", "x"), ("v", "2")])
    headers.add_first("Via", "0")
    headers.replace_first("Via", "zero")
    assert headers.get_all("Via") == ["zero", "1", "2"]
    headers.set("Via", "only")
    assert headers.items() == [("Via", "only"), ("To", "x")]
    headers.set("Subject", "new")
    headers.replace_first("Expires", "3")
    changed = [("Via", "only"), ("To", "x"), ("Subject", "new"), ("Expires", "3")]
    assert headers.items() == changed
    assert headers == Headers(changed) != Headers(changed[:3])


def test_replacing_keeps_the_spelling_of_the_line() -> None:
    headers = Headers([("v", "1")])
    headers.replace_first("Via", "2")
    assert headers.items() == [("v", "2")]


def test_length_is_always_ours() -> None:
    message = Response(200, "OK", Headers([*BASE, ("l", "99"), ("Content-Length", "7")]), b"four")
    wire = message.to_bytes()
    assert wire.count(b"l: 4\r\n") == 1
    assert b"99" not in wire and b"Content-Length" not in wire
    assert message.headers.get("l") == "99"  # the message itself is not touched
    assert b"Content-Length: 0\r\n\r\n" in invite().to_bytes()


@pytest.mark.parametrize(
    "value", ["a\r\nb", "a\nb", "a\rb", "\0", "a\tb", "\x7f", "\x85", "\u2028", "\u2029", "\udc80"]
)
def test_no_control_enters(value: str) -> None:
    headers = Headers(BASE)
    for change in (headers.add, headers.add_first, headers.set, headers.replace_first):
        with pytest.raises(ValueError):
            change("Subject", value)
        with pytest.raises(ValueError):
            change("X" + value, "fine")
    assert headers.items() == list(BASE)
    with pytest.raises(ValueError):
        Response(200, value, headers).to_bytes()
    with pytest.raises(ValueError):
        Request("INVITE" + value, "sip:a@b", headers).to_bytes()
    with pytest.raises(ValueError):
        Request("INVITE", "sip:a@b" + value, headers).to_bytes()


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", "Täg", "(x)"])
def test_a_name_is_a_token(name: str) -> None:
    with pytest.raises(ValueError):
        Headers().add(name, "x")


def test_other_refusals() -> None:
    with pytest.raises(ValueError):
        Headers().add("X", "a" * MAX_LINE_CHARS)
    with pytest.raises(ValueError):
        Response(99, "Low").to_bytes()
    with pytest.raises(ValueError):
        Response(700, "High").to_bytes()
    with pytest.raises(ValueError):
        Response(200, "long" * MAX_LINE_CHARS).to_bytes()
    for method in ("", "IN VITE", "INVITE sip:x"):
        with pytest.raises(ValueError):
            Request(method, "sip:a@b").to_bytes()
    for uri in ("", "sip:a b", "<sip:a>", "no-scheme", "sip:é@b", "sip:a@b SIP/2.0"):
        with pytest.raises(ValueError):
            Request("INVITE", uri).to_bytes()


@settings(max_examples=200, deadline=None)
@given(name=st.one_of(NASTY, st.from_regex(r"[A-Za-z-]{1,12}", fullmatch=True)), value=NASTY)
def test_what_is_accepted_is_what_arrives(name: str, value: str) -> None:
    message = invite()
    try:
        message.headers.add(name, value)
    except ValueError:
        assert message.headers.items() == list(BASE)
        return
    assume(header_key(name) not in STRUCTURAL)
    again = parse(message.to_bytes())
    assert again.headers.items() == [*message.headers.items(), ("Content-Length", "0")]
    assert again.headers.items()[len(BASE)] == (name, value.strip(" "))
    assert again.body == b""


@settings(max_examples=200, deadline=None)
@given(reason=NASTY, body=st.binary(max_size=40))
def test_a_reason_is_one_reason(reason: str, body: bytes) -> None:
    try:
        wire = Response(486, reason, Headers(BASE), body).to_bytes()
    except ValueError:
        return
    again = parse(wire)
    assert isinstance(again, Response)
    assert (again.status, again.reason, again.body) == (486, reason, body)
    assert again.headers.items() == [*BASE, ("Content-Length", str(len(body)))]


@settings(max_examples=200, deadline=None)
@given(uri=NASTY, method=NASTY)
def test_a_start_line_is_one_start_line(uri: str, method: str) -> None:
    for message in (
        Request("INVITE", f"sip:{uri}", Headers(BASE)),
        Request(method, "sip:b@example.com", Headers(BASE)),
    ):
        try:
            wire = message.to_bytes()
        except ValueError:
            continue
        assert wire.startswith(f"{message.method} {message.uri} SIP/2.0\r\n".encode())
        assert re.findall(rb"\r|\n", wire) == [b"\r", b"\n"] * (len(BASE) + 3)


@settings(max_examples=200, deadline=None)
@given(text=NASTY, value=NASTY)
def test_parts_from_strangers_stay_inside_their_header(text: str, value: str) -> None:
    parts: list[tuple[str, str]] = []
    try:
        parts.append(("From", str(NameAddr(text, "sip:a@b", (("tag", "1"), ("x", value))))))
    except ValueError:
        pass
    try:
        uri = SipUri("sip", quote(text), None, "example.com", None, (("x", value),))
        parts.append(("To", str(NameAddr("", str(uri)))))
    except ValueError:
        pass
    try:
        parts.append(("Via", str(Via("UDP", text, 5060, (("branch", value),)))))
    except ValueError:
        pass
    for name, line in parts:
        message = invite()
        message.headers.set(name, line)
        again = parse(message.to_bytes())
        assert again.headers.items() == [*message.headers.items(), ("Content-Length", "0")]
