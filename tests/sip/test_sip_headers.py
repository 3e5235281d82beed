"""Via, CSeq and lists."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.headers import (
    CSeq,
    HeaderError,
    Via,
    media_type,
    name_addrs,
    option_tags,
    replace_top_via,
    split_list,
    tag_of,
    top_via,
    with_tag,
    words,
)
from gateway.sip.message import Headers

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("", [""]),
        ("a", ["a"]),
        (" a , b ", ["a", "b"]),
        ("a,,b,", ["a", "", "b", ""]),
        ('"a,b" <c,d>;x="\\",", e', ['"a,b" <c,d>;x="\\","', "e"]),
    ],
)
def test_lists(value: str, parts: list[str]) -> None:
    assert split_list(value) == parts


@pytest.mark.parametrize("value", ['a,"b', "a,<b", "a,b>", '"\\",'])
def test_lists_left_open(value: str) -> None:
    with pytest.raises(HeaderError):
        split_list(value)


def test_words() -> None:
    headers = Headers([("Allow", "INVITE, ,update"), ("allow", "BYE")])
    assert words(headers, "Allow") == ["INVITE", "update", "BYE"]
    assert media_type("Application / SDP ; charset=x") == "application/sdp"
    assert media_type("") == ""


def test_option_tags_have_no_case() -> None:
    headers = Headers([("Require", "100Rel, ,TIMER"), ("require", "replaces")])
    assert option_tags(headers, "Require") == ["100rel", "timer", "replaces"]


@pytest.mark.parametrize(
    ("text", "via"),
    [
        ("SIP/2.0/UDP a", Via("UDP", "a", None)),
        (
            "SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bKx;rport",
            Via("TCP", "192.0.2.1", 5060, (("branch", "z9hG4bKx"), ("rport", None))),
        ),
        (
            "SIP / 2.0 / UDP   [2001:db8::1] : 5070 ; ttl = 1",
            Via("UDP", "2001:db8::1", 5070, (("ttl", "1"),)),
        ),
        ("SIP/7.0/UDP a", Via("UDP", "a", None, (), "SIP/7.0")),
        # RFC 5118 section 4.5: with and without brackets
        ("SIP/2.0/UDP [::1];received=[::2]", Via("UDP", "::1", None, (("received", "[::2]"),))),
        ("SIP/2.0/UDP [::1];received=::2", Via("UDP", "::1", None, (("received", "::2"),))),
    ],
)
def test_via(text: str, via: Via) -> None:
    assert Via.parse(text) == via
    assert Via.parse(str(via)) == via


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ",
        "SIP/2.0 UDP a",
        "SIP/2.0/UDPa",
        "SIP/2.0/UDP a b",
        "SIP/2.0/UDP a;",
        "SIP/2.0/UDP a;;",
        "SIP/2.0/UDP a:",
        "SIP/2.0/UDP a:99999",
        "SIP/2.0/UDP a:x",
        "SIP/2.0/UDP [x]",
        "SIP/2.0/UDP ::1",
        "SIP/2.0/UDP a;branch=",
        "SIP/2.0/UDP a;x\n",
        "SIP/2.0/UDP a, b",
        'SIP/2.0/UDP a;x="\0"',
    ],
)
def test_not_a_via(text: str) -> None:
    with pytest.raises(HeaderError):
        Via.parse(text)


@pytest.mark.parametrize(
    "fields",
    [
        ("U DP", "a", None),
        ("UDP", "a b", None),
        ("UDP", "", None),
        ("UDP", "[::1]", None),
        ("UDP", "a", 70000),
        ("UDP", "a", None, (("x", "y\r\n"),)),
        ("UDP", "a", None, (("x;y", None),)),
        ("UDP", "a", None, (), "SIP"),
        ("UDP", "a", None, (), "SIP/2.0\n"),
    ],
)
def test_via_fields_are_checked(fields: tuple[str, str, int | None]) -> None:
    with pytest.raises(HeaderError):
        Via(*fields)


@pytest.mark.parametrize(
    ("text", "stamped", "reply"),
    [
        (
            "SIP/2.0/UDP a;branch=b;rport",
            "SIP/2.0/UDP a;branch=b;rport=9;received=192.0.2.9",
            ("192.0.2.9", 9),
        ),
        # asked for rport: received goes with it even if it says nothing new
        (
            "SIP/2.0/UDP 192.0.2.9:7;rport",
            "SIP/2.0/UDP 192.0.2.9:7;rport=9;received=192.0.2.9",
            ("192.0.2.9", 9),
        ),
        ("SIP/2.0/UDP 192.0.2.9:7", "SIP/2.0/UDP 192.0.2.9:7", ("192.0.2.9", 7)),
        ("SIP/2.0/UDP a", "SIP/2.0/UDP a;received=192.0.2.9", ("192.0.2.9", 5060)),
        ("SIP/2.0/TLS a", "SIP/2.0/TLS a;received=192.0.2.9", ("192.0.2.9", 5061)),
        # what a sender claims about itself is written over, and maddr leads nobody astray
        (
            "SIP/2.0/UDP a;received=198.51.100.1;rport=1",
            "SIP/2.0/UDP a;rport=9;received=192.0.2.9",
            ("192.0.2.9", 9),
        ),
        (
            "SIP/2.0/UDP a;maddr=198.51.100.1",
            "SIP/2.0/UDP a;maddr=198.51.100.1;received=192.0.2.9",
            ("192.0.2.9", 5060),
        ),
    ],
)
def test_stamping(text: str, stamped: str, reply: tuple[str, int]) -> None:
    via = Via.parse(text).stamped("192.0.2.9", 9)
    assert str(via) == stamped
    assert via.reply_address() == reply


def test_reply_address_without_a_stamp() -> None:
    assert Via.parse("SIP/2.0/UDP [::1]:7;rport=99999").reply_address() == ("::1", 7)
    assert Via.parse("SIP/2.0/UDP a;received=[::2];rport=x").reply_address() == ("::2", 5060)


def test_stamp_in_place() -> None:
    headers = Headers(
        [("To", "x"), ("v", "SIP/2.0/UDP a;rport , SIP/2.0/UDP b"), ("Via", "SIP/2.0/UDP c")]
    )
    replace_top_via(headers, top_via(headers).stamped("192.0.2.9", 9))
    assert headers.items()[1] == ("v", "SIP/2.0/UDP a;rport=9;received=192.0.2.9, SIP/2.0/UDP b")
    assert headers.get_all("Via")[1:] == ["SIP/2.0/UDP c"]
    assert top_via(headers).host == "a"
    with pytest.raises(HeaderError):
        top_via(Headers([("Via", "SIP/2.0/UDP 192.0.2.15;;,;,,")]))
    for call in (top_via, lambda none: replace_top_via(none, Via("UDP", "a", None))):
        with pytest.raises(HeaderError):
            call(Headers())


@pytest.mark.parametrize(
    ("text", "cseq"),
    [
        ("1 INVITE", CSeq(1, "INVITE")),
        ("0009   x'%", CSeq(9, "x'%")),
        ("2147483647 A", CSeq(2**31 - 1, "A")),
    ],
)
def test_cseq(text: str, cseq: CSeq) -> None:
    assert CSeq.parse(text) == cseq
    assert CSeq.parse(str(cseq)) == cseq


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "INVITE",
        "-1 A",
        "+1 A",
        "1.0 A",
        "1 A B",
        "2147483648 A",
        "9" * 5000 + " A",
        "١ A",
        "1 A\n",
    ],
)
def test_not_a_cseq(text: str) -> None:
    with pytest.raises(HeaderError):
        CSeq.parse(text)


def test_to_tags() -> None:
    assert with_tag("<sip:a@b>", "t") == "<sip:a@b>;tag=t"
    assert with_tag("A  <sip:a@b> ; x", "t") == "A  <sip:a@b> ; x;tag=t"
    assert with_tag("sip:a@b", "t") == "sip:a@b;tag=t"
    assert with_tag("<sip:a@b>;tag=old", "t") == "<sip:a@b>;tag=old"
    assert with_tag('"A <sip:a@b>', "t") == '"A <sip:a@b>'
    assert tag_of("<sip:a@b>;tag=old") == "old"
    assert tag_of('"A <sip:a@b>') is None


def test_address_lists() -> None:
    headers = Headers([("Route", '<sip:a;lr>, "x, y" <sip:b;lr>'), ("Route", "<sip:c;lr>")])
    assert [route.uri for route in name_addrs(headers, "route")] == [
        "sip:a;lr",
        "sip:b;lr",
        "sip:c;lr",
    ]
    with pytest.raises(ValueError):
        name_addrs(Headers([("Route", "<sip:a>,")]), "Route")


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "SIP",
            "/",
            "2.0",
            "UDP",
            " ",
            "a.b",
            "[::1]",
            ":",
            "5060",
            ";",
            "=",
            "branch",
            "rport",
            '"',
            "\\",
            ",",
        ]
        + ["<", ">", "1", "INVITE", "\n", "é"]
    ),
    max_size=14,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), FRAGMENTS, FRAGMENTS.map("SIP/2.0/UDP a".__add__)))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        via = Via.parse(text)
    except HeaderError:
        pass
    else:
        assert Via.parse(str(via)) == via
        assert Via(via.transport, via.host, via.port, via.params, via.protocol) == via
        stamped = via.stamped("192.0.2.9", 9)
        assert Via.parse(str(stamped)) == stamped
    try:
        cseq = CSeq.parse(text)
    except HeaderError:
        pass
    else:
        assert CSeq.parse(str(cseq)) == cseq
    try:
        parts = split_list(text)
    except HeaderError:
        return
    assert [split_list(part) for part in parts if "," not in part] == [
        [part] for part in parts if "," not in part
    ]
