"""URIs and addresses: what is read, what is refused, and that printing reverses reading."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.uri import (
    NameAddr,
    SipUri,
    UriError,
    check_uri,
    uri_scheme,
)

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:example.com", SipUri("sip", None, None, "example.com")),
        ("SIPS:a:b@Example.com:5061", SipUri("sips", "a", "b", "Example.com", 5061)),
        (
            "sip:+1-555@192.0.2.1;user=phone",
            SipUri("sip", "+1-555", None, "192.0.2.1", None, (("user", "phone"),)),
        ),
        ("sip:a@[2001:db8::1]:5070", SipUri("sip", "a", None, "2001:db8::1", 5070)),
        ("sip:[2001:db8::1]", SipUri("sip", None, None, "2001:db8::1")),
        ("sip:*21#@pbx_1", SipUri("sip", "*21#", None, "pbx_1")),
        ("sip:a@b;lr;x=", SipUri("sip", "a", None, "b", None, (("lr", None), ("x", "")))),
        ("sip:a@b?Subject=x&y=z", SipUri("sip", "a", None, "b", headers="Subject=x&y=z")),
        ("sip:a;b=c?d/e@f", SipUri("sip", "a;b=c?d/e", None, "f")),
        ("sip:a:@b", SipUri("sip", "a", "", "b")),
        (
            "sip:p1.example.com;lr=on;ftag=a.b==",
            SipUri("sip", None, None, "p1.example.com", None, (("lr", "on"), ("ftag", "a.b=="))),
        ),
    ],
)
def test_parts(text: str, uri: SipUri) -> None:
    assert SipUri.parse(text) == uri
    assert str(uri).lower() == text.lower()
    check_uri(text)


def test_a_user_that_is_empty_is_none() -> None:
    assert str(SipUri.parse("sip:@192.0.2.1")) == "sip:192.0.2.1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip:",
        "sip",
        "example.com",
        "tel:+1",
        "sip:a@",
        "sip:a@b@c",
        "sip:a b@c",
        "sip:a@b c",
        "sip:a@b:",
        "sip:a@b:x",
        "sip:a@b:99999",
        "sip:a@b;",
        "sip:a@b;;x",
        "sip:a@b;=x",
        "sip:a@b?",
        "sip:a%4@b",
        "sip:a%zz@b",
        "sip:a@[::1",
        "sip:a@::1",
        "sip:a@[:::::]",
        "sip:a@[1.2.3.4]",
        "sip:2001:db8::10",
        "sip:a@b\r\n",
        "sip:a@b\n",
        "sip:é@b",
        "sip:a@é",
        'sip:"a"@b',
        "sip:<a>@b",
        "sip:a@-b",
        "sip:a@" + "b" * 256,
    ],
)
def test_not_a_sip_uri(text: str) -> None:
    with pytest.raises(UriError):
        SipUri.parse(text)
    if text != "tel:+1":
        with pytest.raises(UriError):
            check_uri(text)


@pytest.mark.parametrize(
    "fields",
    [
        {"scheme": "tel"},
        {"user": ""},
        {"user": "a@b"},
        {"user": "a\r\nb"},
        {"user": None, "password": "x"},
        {"password": "a;b"},
        {"host": ""},
        {"host": "a b"},
        {"host": "[::1]"},
        {"host": "::g"},
        {"port": -1},
        {"port": 65536},
        {"params": (("", None),)},
        {"params": (("a=b", None),)},
        {"params": (("a", "b;c"),)},
        {"params": (("a", "b\n"),)},
        {"headers": "a b"},
    ],
)
def test_fields_are_checked(fields: dict[str, object]) -> None:
    good: dict[str, object] = {"scheme": "sip", "user": "a", "password": None, "host": "b"}
    with pytest.raises(UriError):
        SipUri(**{**good, **fields})  # type: ignore[arg-type]


def test_schemes() -> None:
    assert uri_scheme("TEL:+1-555") == "tel"
    assert uri_scheme("soap.beep://192.0.2.103:3002") == "soap.beep"
    for text in ("", ":x", "1a:b", "tel:", "tel:a b", "tel:<a>", "tel:é"):
        with pytest.raises(UriError):
            uri_scheme(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("<sip:a@b>", NameAddr("", "sip:a@b")),
        ("sip:a@b;tag=1", NameAddr("", "sip:a@b", (("tag", "1"),))),
        ('"A, B" <sip:a@b;x>;tag=1', NameAddr("A, B", "sip:a@b;x", (("tag", "1"),))),
        ("A  B <sip:a@b>", NameAddr("A  B", "sip:a@b")),
        ("Jörg (Büro)<sip:a@b>", NameAddr("Jörg (Büro)", "sip:a@b")),
        ('"\\"\\\\"<tel:+1>', NameAddr('"\\', "tel:+1")),
        (
            '""  <sip:a@b> ; x = "a;b,<>" ; y',
            NameAddr("", "sip:a@b", (("x", '"a;b,<>"'), ("y", None))),
        ),
        (
            '<sip:a@b>;+sip.instance="<urn:uuid:1>"',
            NameAddr("", "sip:a@b", (("+sip.instance", '"<urn:uuid:1>"'),)),
        ),
        ('sip:a@b;x="<"', NameAddr("", "sip:a@b", (("x", '"<"'),))),
    ],
)
def test_addresses(text: str, address: NameAddr) -> None:
    assert NameAddr.parse(text) == address
    assert NameAddr.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "<>",
        "sip:a@b, sip:c@d",
        "<sip:a@b",
        "sip:a@b>",
        "< sip:a@b >",
        "<sip:a@b> x",
        '"A <sip:a@b>',
        '"A" B <sip:a@b>',
        "A, B <sip:a@b>",
        "A;B <sip:a@b>",
        "sip:a@b?x=y",
        "sip:a,b@c",
        "<sip:a@b>;",
        "<sip:a@b>;;",
        "<sip:a@b>;tag=",
        "<sip:a@b>;x=a b",
        '<sip:a@b>;x="',
        "<sip:a b>",
        "<a@b>",
        "A\r\nB <sip:a@b>",
        '"A\\\nB" <sip:a@b>',
        '<sip:a@b>;x="\n"',
        "<sip:a@b>\n",
        "A <B <sip:a@b>",
    ],
)
def test_not_an_address(text: str) -> None:
    with pytest.raises(UriError):
        NameAddr.parse(text)


def test_tags() -> None:
    address = NameAddr.parse("<sip:a@b>;x=1;TAG=old")
    assert address.tag == "old"
    assert NameAddr.parse("<sip:a@b>").tag is None
    assert address.sip_uri() == SipUri("sip", "a", None, "b")
    with pytest.raises(UriError):
        NameAddr.parse("<tel:+1>").sip_uri()


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "sip:",
            "sips:",
            "tel:",
            "a",
            "b.c",
            "1.2.3.4",
            "[::1]",
            ":",
            "5060",
            "@",
            ";",
            "=",
            "?",
            "&",
            "%",
            "%41",
        ]
        + ["<", ">", '"', "\\", ",", " ", "lr", "tag", "é", "#", "\n", "*"]
    ),
    max_size=14,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), FRAGMENTS))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        uri = SipUri.parse(text)
    except UriError:
        pass
    else:
        check_uri(text)
        assert SipUri.parse(str(uri)) == uri
        assert (
            SipUri(uri.scheme, uri.user, uri.password, uri.host, uri.port, uri.params, uri.headers)
            == uri
        )
    try:
        address = NameAddr.parse(text)
    except UriError:
        return
    assert NameAddr.parse(str(address)) == address
    assert NameAddr(address.display, address.uri, address.params) == address
