"""The body of `realtime.call.incoming`: what it holds, what it leaves out, and that it is JSON."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.webhooks.payload import MAX_BODY_BYTES, incoming_call

pytestmark = pytest.mark.pure

SURROGATES = st.characters(categories=["Cs"])
TEXT = st.text(st.one_of(st.characters(), SURROGATES))


def body(headers: Sequence[tuple[str, str]], media_security: str | None = "rtp") -> bytes:
    return incoming_call(
        event_id="evt_1",
        created_at=1750287018,
        call_id="rtc_1",
        headers=headers,
        media_security=media_security,
    )


def sip_headers(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    listed = json.loads(body(headers))["data"]["sip_headers"]
    return [(header["name"], header["value"]) for header in listed]


def test_the_whole_event() -> None:
    assert json.loads(body([("From", "<sip:+15550100@sip.example>;tag=1")], "srtp")) == {
        "id": "evt_1",
        "object": "event",
        "type": "realtime.call.incoming",
        "created_at": 1750287018,
        "data": {
            "call_id": "rtc_1",
            "sip_headers": [{"name": "From", "value": "<sip:+15550100@sip.example>;tag=1"}],
            "sip_media_security": "srtp",
        },
    }


def test_unknown_media_security_is_not_told() -> None:
    assert json.loads(body([], None))["data"] == {"call_id": "rtc_1", "sip_headers": []}


def test_order_spelling_and_repeats_stay() -> None:
    headers = [
        ("Via", "SIP/2.0/TCP one.example"),
        ("v", "SIP/2.0/UDP two.example"),
        ("X-Twilio-CallSid", "CA1"),
        ("x-a", ""),
        ("Via", "SIP/2.0/UDP three.example"),
        ("X-Twilio-CallSid", "CA1"),
    ]
    assert sip_headers(headers) == headers


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Proxy-Authorization",
        "WWW-Authenticate",
        "Proxy-Authenticate",
        "Authentication-Info",
        "Proxy-Authentication-Info",
    ],
)
@pytest.mark.parametrize("spell", [str, str.lower, str.upper, "{} ".format])
def test_what_authenticates_the_caller_is_left_out(name: str, spell: Any) -> None:
    headers = [("To", "a"), (spell(name), 'Digest username="secret"'), ("X-Authorization", "b")]
    assert sip_headers(headers) == [("To", "a"), ("X-Authorization", "b")]


@given(st.lists(st.tuples(TEXT, TEXT), max_size=5))
def test_whatever_strangers_write_it_is_json_that_every_parser_takes(
    headers: list[tuple[str, str]],
) -> None:
    text = body([("X", ""), *headers])
    text.decode("ascii")
    for name, value in sip_headers(headers):
        (name + value).encode()  # a lone surrogate has no UTF-8


def test_a_lone_surrogate_is_replaced_and_nothing_else() -> None:
    value = 'é\x00\u2028"\\😀\udcff'
    assert sip_headers([("X\ud800", value)]) == [("X\ufffd", value[:-1] + "\ufffd")]


def test_a_body_has_a_bound_and_loses_its_end() -> None:
    headers = [(f"X-{number}", "é" * 100) for number in range(200)]
    kept = sip_headers(headers)
    assert kept == headers[: len(kept)]
    one_more = len(json.dumps({"name": "X-100", "value": "é" * 100}, separators=(",", ":"))) + 1
    assert MAX_BODY_BYTES - one_more <= len(body(headers)) <= MAX_BODY_BYTES


@given(st.lists(st.integers(0, 40_000), max_size=6))
def test_no_headers_make_a_body_too_long(lengths: list[int]) -> None:
    assert len(body([("X", "x" * length) for length in lengths])) <= MAX_BODY_BYTES


def test_a_body_may_be_filled_to_the_last_byte() -> None:
    room = MAX_BODY_BYTES - len(body([("X", "")]))
    assert len(body([("X", "x" * room)])) == MAX_BODY_BYTES
    assert sip_headers([("X", "x" * (room + 1)), ("Y", "")]) == []


def test_what_a_carrier_says_of_the_caller_is_passed_on_as_it_came() -> None:
    """RFC 3323, 3325, 5806, 7044, 7433; Privacy is for the application to respect."""
    headers = [
        ("From", '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'),
        ("P-Asserted-Identity", '"Alice" <sip:+4930123@carrier.example>'),
        ("P-Asserted-Identity", "<tel:+4930123>"),
        ("Privacy", "id;critical"),
        ("Diversion", "<sip:+4930100@carrier.example>;reason=no-answer;counter=1"),
        ("Diversion", "<sip:+4930200@carrier.example>;reason=unconditional"),
        ("History-Info", "<sip:+4930100@carrier.example>;index=1"),
        ("History-Info", "<sip:+4930300@carrier.example?Reason=SIP%3Bcause%3D302>;index=1.1"),
        ("Remote-Party-ID", '"Alice" <sip:+4930123@carrier.example>;party=calling;privacy=full'),
        ("User-to-User", "3031;encoding=hex"),
        ("X-Customer", "42"),
        ("x-customer", "43"),
        ("Identity", "eyJhbGciOiJFUzI1NiJ9..sig;info=<https://cert.example>"),
    ]
    assert sip_headers([*headers, ("Authorization", "Digest response=secret")]) == headers
