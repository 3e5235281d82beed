"""Whom a call may go to: what a target may say, and what an operator lets through."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.calls.targets import allowed_contact, check_pattern, check_target, target_allowed
from gateway.realtime.errors import RealtimeError
from gateway.sip.uri import NameAddr, SipUri

pytestmark = pytest.mark.pure

GOOD = [
    "tel:+15551234567",
    "tel:+1-555-123.4567",
    "tel:+49(0)301234567",
    "tel:+882161234567",
    "tel:+19005551234",
    "tel:911",
    "tel:0015551234567",
    "tel:+15551234567;ext=12",
    "tel:+15551234567;EXT=1-2",
    "tel:7042;phone-context=example.com",
    "tel:7042;phone-context=+1-555",
    "sip:alice@example.com",
    "sip:example.com",
    "sip:alice@example.com:5080",
    "sip:alice@192.0.2.1:5060;transport=tcp",
    "sip:alice@[2001:db8::1]:5061;transport=TLS",
    "sip:+15551234567@example.com;user=phone",
    "sip:*72@pbx.example.com",
    "sip:%2372@pbx.example.com",
    "sip:j%C3%BCrgen@example.com",
    "sip:a.b-c_d!e~f*g'h(i)j&k=l+m$n@example.com",
    "sip:alice@host_1.internal",
    "sip:alice@a-b.c3;X-Trunk=a.b_c",
]

HOSTILE = [
    "",
    " ",
    "alice",
    "+15551234567",
    "//example.com",
    ":",
    "http://example.com",
    "https://sip:a@example.com",
    "mailto:alice@example.com",
    "urn:service:sos",
    "im:alice@example.com",
    "file:///etc/passwd",
    "javascript:alert(1)",
    # Another scheme than the two.
    "sips:alice@example.com",
    "SIPS:alice@example.com",
    "sip s:alice@example.com",
    # Header injection, plain and escaped.
    "sip:a@example.com\r\nX-Evil: 1",
    "sip:a@example.com\nX-Evil: 1",
    "sip:a@example.com\r",
    "\rsip:a@example.com",
    "sip:a@example.com\0",
    "sip:a\tb@example.com",
    "sip:a@example.com\x7f",
    "sip:a@example.com\x85",
    "sip:a@example.com\u2028X",
    "sip:a%0d%0aX-Evil:%201@example.com",
    "sip:a%0D%0A@example.com",
    "sip:a%0a@example.com",
    "sip:a%00@example.com",
    "sip:a%7f@example.com",
    "sip:a%C2%85@example.com",
    "sip:a@example.com%0d%0a",
    "sip:a@example.com;x=%0d%0a",
    "sip:a@example.com;%0d%0ax=y",
    "tel:+1555%0d%0a1234",
    "tel:+1555\r\n1234",
    "tel:+15551234;ext=1%0d%0a2",
    "sip:a%250d%250a@example.com",
    # Headers of a URI.
    "sip:a@example.com?Replaces=1%3Bto-tag%3D2%3Bfrom-tag%3D3",
    "sip:a@example.com;transport=udp?Subject=x",
    "sip:a@example.com?",
    "sip:a?Replaces=1@example.com",
    "tel:+15551234567?Replaces=1",
    # Parameters that steer.
    "sip:a@example.com;maddr=198.51.100.1",
    "sip:a@example.com;MADDR=198.51.100.1",
    "sip:a@example.com;%6daddr=198.51.100.1",
    "sip:a@example.com;m%61ddr=198.51.100.1",
    "sip:a@example.com;method=BYE",
    "sip:a@example.com;Method=REGISTER",
    "sip:a@example.com;ttl=255",
    "sip:a@example.com;lr",
    "sip:a@example.com;received=198.51.100.1",
    "sip:a@example.com;transport=udp;transport=tcp",
    "sip:a@example.com;",
    "sip:a@example.com;;x",
    "sip:a@example.com;=x",
    "sip:a;maddr=198.51.100.1@example.com",
    "tel:+15551234567;maddr=198.51.100.1",
    # Userinfo.
    "sip:a:secret@example.com",
    "sip:a:@example.com",
    "sip::secret@example.com",
    "sip:@example.com",
    "sip:trusted.example@evil.example@example.com",
    "sip:trusted.example%40evil.example@example.com",
    "sip:a%3Asecret@example.com",
    "sip:a%3Bmaddr=x@example.com",
    "sip:a%3FReplaces=1@example.com",
    "sip:a%3E%3Csip:b@example.com",
    "sip:a%22@example.com",
    "sip:a%2C@example.com",
    "sip:a%20b@example.com",
    "sip:a%@example.com",
    "sip:a%4@example.com",
    "sip:a%zz@example.com",
    "sip:a%ff@example.com",
    "sip:a,b@example.com",
    "sip:a#b@example.com",
    "sip:ünicode@example.com",
    # What gives a header its shape.
    "<sip:a@example.com>",
    'sip:a@example.com>;tag=1,"x" <sip:b@example.com',
    "sip:a@example.com,sip:b@example.com",
    'sip:"a"@example.com',
    "sip:a\\@example.com",
    "sip:a@example.com#x",
    # Hosts.
    "sip:",
    "sip:a@",
    "sip:a@.",
    "sip:a@example.com.",
    "sip:a@.example.com",
    "sip:a@example..com",
    "sip:a@-example.com",
    "sip:a@example-.com",
    "sip:a@2130706433",
    "sip:a@0x7f000001",
    "sip:a@127.1",
    "sip:a@0177.0.0.1",
    "sip:a@256.0.0.1",
    "sip:a@1.2.3.4.5",
    "sip:a@[::1",
    "sip:a@::1",
    "sip:a@[fe80::1%25eth0]",
    "sip:a@[:::1]",
    "sip:a@[127.0.0.1]",
    "sip:a@exam ple.com",
    "sip:a@ex%61mple.com",
    "sip:a@example.com/evil",
    "sip://a@example.com",
    "sip:a@" + "a" * 254 + ".com",
    # Ports.
    "sip:a@example.com:",
    "sip:a@example.com:0",
    "sip:a@example.com:65536",
    "sip:a@example.com:123456",
    "sip:a@example.com:5060:5061",
    "sip:a@example.com:+5060",
    # Numbers.
    "tel:",
    "tel:+",
    "tel:-",
    "tel:()",
    "tel:+1555++1234",
    "tel:1+555",
    "tel:alice",
    "tel:+1555abc",
    "tel:*72",
    "tel:1234#",
    "tel:+1 555 123",
    "tel:+1234567890123456",
    "tel:123456789012345678901",
    "tel://+15551234567",
    "tel:+15551234567@example.com",
    "tel:+15551234567;ext=abc",
    "tel:+15551234567;ext=",
    "tel:+15551234567;ext",
    "tel:+15551234567;ext=1;ext=2",
    "tel:+15551234567;phone-context=example.com",
    "tel:1234;phone-context=",
    "tel:1234;phone-context=a b",
    "tel:1234;phone-context=x/y",
    "tel:+15551234567;cic=+1-6789",
    "tel:+15551234567;rn=+1555",
    "tel:+15551234567;isub=1",
    "tel:+15551234567;",
    # Numerals that are no ASCII.
    "tel:+١٥٥٥",
    "tel:+1555\ud800",
]


@pytest.mark.parametrize("target", GOOD)
def test_a_target_that_names_somebody_passes_as_it_came(target: str) -> None:
    assert check_target(target, "to") == target


def test_the_scheme_is_told_in_lower_case() -> None:
    assert check_target("TEL:+1555", "to") == "tel:+1555"
    assert check_target("Sip:Alice@Example.com", "to") == "sip:Alice@Example.com"


@pytest.mark.parametrize("target", HOSTILE, ids=ascii)
def test_a_target_that_says_more_is_refused(target: str) -> None:
    with pytest.raises(RealtimeError) as refused:
        check_target(target, "target_uri")
    assert (refused.value.status, refused.value.code) == (400, "invalid_value")
    assert refused.value.param == "target_uri"
    assert "target_uri" in refused.value.message


def test_the_length_has_an_end() -> None:
    name = "a" * (1024 - len("sip:@example.com"))
    assert check_target(f"sip:{name}@example.com", "to")
    with pytest.raises(RealtimeError) as refused:
        check_target(f"sip:{name}a@example.com", "to")
    assert refused.value.code == "string_above_max_length"
    assert refused.value.message == (
        "Invalid 'to': string too long. Expected a string with maximum length 1024, "
        "but got a string with length 1025 instead."
    )


pieces = st.sampled_from(
    [*'sip:tel:+1@;?%\r\n0daA<>",=[].-', "sip:", "a@b", ";maddr=", "%0d", "?x=y", "example.com"]
)


@given(st.sampled_from([*GOOD, "sip:", "tel:+1"]), st.lists(pieces, max_size=6), st.text())
@settings(max_examples=1500, deadline=None)
def test_what_passes_is_one_plain_uri_in_a_header(start: str, more: list[str], tail: str) -> None:
    text = start + "".join(more) + tail
    try:
        target = check_target(text, "to")
    except RealtimeError:
        return
    assert target.isascii() and target.isprintable()
    assert NameAddr.parse(f"<{target}>").uri == target
    assert not set(target) & set('<>",\\ ')
    if target.startswith("sip:"):
        uri = SipUri.parse(target)
        assert (uri.password, uri.headers, uri.param("maddr")) == (None, "", None)


# What an operator lets through.


@pytest.mark.parametrize(
    ("target", "patterns", "allowed"),
    [
        ("tel:+882161234", [], True),
        ("sip:a@anywhere", [], True),
        ("tel:+4930123", ["tel:+49"], True),
        ("tel:+4-9(30)123", ["tel:+49"], True),
        ("tel:+4930123", ["tel:+4-9"], True),
        ("tel:+4930123", [" tel:+49 "], True),
        ("tel:+4930123", ["TEL:+49"], True),
        ("tel:+4930123", ["tel:+1", "tel:+49"], True),
        ("tel:+4930123;ext=5", ["tel:+49"], True),
        ("tel:+4930123", ["tel:"], True),
        ("tel:+4930123", ["tel:*"], True),
        ("tel:+4930123", ["tel:+49*"], True),
        ("tel:+19005551234", ["tel:+49"], False),
        ("tel:4930123", ["tel:+49"], False),
        ("tel:004930123", ["tel:+49"], False),
        ("tel:+4", ["tel:+49"], False),
        # What a local number means is for its context to say.
        ("tel:49;phone-context=+882", ["tel:49"], False),
        ("tel:49;phone-context=+882", ["tel:"], True),
        ("sip:+4930123@example.com", ["tel:+49"], False),
        ("tel:+4930123", ["sip:*@example.com"], False),
        ("sip:alice@example.com", ["sip:*@example.com"], True),
        ("sip:example.com", ["sip:*@example.com"], True),
        ("sip:example.com", ["sip:example.com"], True),
        ("sip:alice@example.com", ["sip:example.com"], False),
        ("sip:alice@EXAMPLE.com;transport=tcp", ["SIP:*@Example.COM"], True),
        ("sip:alice@example.com:5060", ["sip:*@example.com"], True),
        ("sip:alice@example.com:5080", ["sip:*@example.com"], False),
        ("sip:alice@example.com:5080", ["sip:*@example.com:5080"], True),
        ("sip:alice@example.com", ["sip:*@example.com:5080"], False),
        ("sip:alice@evil.example.com", ["sip:*@example.com"], False),
        ("sip:alice@example.com.evil", ["sip:*@example.com"], False),
        ("sip:alice@evilexample.com", ["sip:*@example.com"], False),
        ("sip:alice@example.co", ["sip:*@example.com"], False),
        ("sip:example.com@evil", ["sip:*@example.com"], False),
        ("sip:alice@[2001:db8::1]", ["sip:*@[2001:DB8::1]"], True),
        ("sip:alice@[2001:db8::2]", ["sip:*@[2001:db8::1]"], False),
        ("sip:alice@example.com", ["sip:alice@example.com"], True),
        ("sip:%61lice@example.com", ["sip:alice@example.com"], True),
        ("sip:Alice@example.com", ["sip:alice@example.com"], False),
        ("sip:alice2@example.com", ["sip:alice@example.com"], False),
        ("sip:alice2@example.com", ["sip:alice*@example.com"], True),
        ("sip:+15551234@trunk.example", ["sip:+1*@trunk.example"], True),
        ("sip:+1-555(1234)@trunk.example", ["sip:+1*@trunk.example"], True),
        ("sip:%2B15551234@trunk.example", ["sip:+1*@trunk.example"], True),
        ("sip:+4915551234@trunk.example", ["sip:+1*@trunk.example"], False),
        ("sip:15551234@trunk.example", ["sip:+1*@trunk.example"], False),
        # A policy that cannot be read lets nobody through, and so does a target.
        ("sip:alice@example.com", [""], False),
        ("sip:alice@example.com", ["*"], False),
        ("sip:alice@example.com", ["sip:"], False),
        ("sip:alice@example.com", ["sip:*@"], False),
        ("sip:alice@example.com", ["sip:*@*"], False),
        ("sip:a@example.com;maddr=1.2.3.4", ["sip:*@example.com"], False),
    ],
)
def test_the_policy(target: str, patterns: list[str], allowed: bool) -> None:
    assert target_allowed(target, patterns) is allowed


@pytest.mark.parametrize(
    "pattern",
    (
        *("tel:", "tel:*", "tel:+49", "tel:+49-30*", "sip:*@example.com", "sip:+1*@trunk:5070"),
        *("sip:alice@[2001:db8::1]", "sip:example.com"),
    ),
)
def test_a_pattern_that_can_match(pattern: str) -> None:
    check_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ("", "*", "+49", "49", "tel:abc", "sip:", "sip:*", "sip:*@", "sips:*@x", "sip:a@b@c")
)
def test_a_pattern_that_could_match_nothing(pattern: str) -> None:
    with pytest.raises(ValueError):
        check_pattern(pattern)


FRAUD = (
    # Numbers that cost a fortune, and the ways to write them.
    *("tel:+1900555123", "tel:+1-900-555-123", "tel:+1(900)555123", "tel:+1.900.555123"),
    *("tel:+882161234567", "tel:+88216-1234567", "tel:+883510012345", "tel:+8816123456"),
    *("tel:+8700773123456", "tel:+97970123456", "tel:+80812345678", "tel:+2521234567"),
    *("tel:0900123456", "tel:00491900123", "tel:1900555123", "tel:011882161234567", "tel:900"),
    *("TEL:+1900555123", "tel:+49", "tel:+4", "tel:+4930;phone-context=+882"),
    *("tel:1234;phone-context=+882", "tel:30123;phone-context=+49", "tel:+4930123456789012"),
    *("tel:+4930123;isub=1", "tel:+4930123;tgrp=premium;trunk-context=x", "tel:+4930%30"),
    *("tel:+4930@882.example", "tel:+4930?method=REFER", "tel:+4930,+1900555123"),
    *("tel:+4930\r\nTo: <tel:+1900555>", "tel:+4930%0d%0a", "tel://+4930123", "tel: +4930123"),
    # The same as users of the trunk.
    *("sip:+1900555123@pbx.example", "sip:%2B1900555123@pbx.example", "sip:1900@pbx.example"),
    *("sip:+882161234567@pbx.example", "sip:+49@trunk.example", "sip:+4930@trunk.example"),
    *("sip:+4930;phone-context=+882@pbx.example", "sip:+4930%3B@pbx.example"),
    # Another place, another method, other headers.
    *("sip:bob@pbx.example;maddr=203.0.113.9", "sip:bob@pbx.example;MADDR=203.0.113.9"),
    *("sip:bob@pbx.example;method=REFER", "sip:bob@pbx.example;lr", "sip:bob@pbx.example;ttl=1"),
    *("sip:bob@pbx.example?Replaces=a%3Bto-tag%3Db", "sip:bob@pbx.example?Route=%3Csip:evil%3E"),
    *("sip:bob@pbx.example?body=x", "sip:bob@pbx.example;received=203.0.113.9"),
    *("sips:bob@pbx.example", "sip:bob@pbx.example:5080", "sip:bob@pbx.example:0"),
    # Whoever stands before or behind the host.
    *("sip:bob@pbx.example@evil.example", "sip:bob%40pbx.example@evil.example"),
    *("sip:bob:secret@pbx.example", "sip:bob@pbx.example.evil.example", "sip:bob@evil-pbx.example"),
    *("sip:pbx.example@evil.example", "sip:bob@pbx.example%2eevil", "sip:bob@pbx.example\\@evil"),
    *("sip:bob@[::ffff:203.0.113.9]", "sip:bob@0xcb.0.0x71.9", "sip:bob@3405803785"),
    *("sip:bob@pbx.example/evil", "sip:bob@pbx.example#evil", "sip://bob@pbx.example"),
    *("http://pbx.example", "im:bob@pbx.example", "bob@pbx.example", "+4930123", "", "sip:"),
)
"""T9: what somebody tries who wants the operator to pay for a call."""


def test_nobody_pays_for_what_was_not_allowed() -> None:
    patterns = ["tel:+4930*", "sip:*@pbx.example"]
    users = ["tel:+4930*", "sip:bob@pbx.example"]
    assert len(set(FRAUD)) == len(FRAUD) >= 60
    for uri in FRAUD:
        allowed = patterns if "bob" in uri else users
        assert allowed_contact(uri, allowed) is None, uri
        try:
            checked = check_target(uri, "to")
        except RealtimeError as error:
            assert (error.status, error.param) == (400, "to")
        else:
            assert not target_allowed(checked, allowed), uri
    for uri in ("tel:+4930123", "tel:+49-30-123", "sip:bob@pbx.example;transport=tcp"):
        assert target_allowed(check_target(uri, "to"), patterns)


@pytest.mark.parametrize(
    ("uri", "target"),
    (
        ("sip:+4930123@Trunk.example;user=phone", "tel:+4930123"),
        ("sip:+4930123@trunk.example:5080", "tel:+4930123"),
        ("sip:+1900555@trunk.example", None),
        ("sip:+4930123@evil.example", None),
        ("sip:trunk.example", None),
        ("TEL:+4930123", "tel:+4930123"),
    ),
)
def test_a_number_of_a_trunk_is_judged_as_one(uri: str, target: str | None) -> None:
    assert allowed_contact(uri, ["tel:+4930"], ["trunk.example"]) == target


def test_who_is_called_steers_nobody_anywhere_where_no_targets_are_set() -> None:
    """A PBX trusts us: its numbers are not for whoever answers a call of ours to choose from."""
    for uri in ("tel:+4930123", "sip:+1900555@pbx.example", "sip:bob@pbx.example"):
        assert target_allowed(uri, [])  # what the operator asks for is not limited
        assert allowed_contact(uri, []) is None
        assert allowed_contact(uri, [], ["pbx.example"]) is None
