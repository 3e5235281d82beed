"""Which headers an application may have us send, and that nothing else comes of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.sip_headers import check_sip_headers
from gateway.realtime.errors import RealtimeError
from gateway.sip.agent import SipAgent
from gateway.sip.config import SipConfig
from gateway.sip.message import Address, Request
from gateway.sip.parse import parse

pytestmark = pytest.mark.pure

PEER = Address("127.0.0.1", 5090, "udp")


def header(name: str, value: str = "x") -> dict[str, str]:
    return {"name": name, "value": value}


def refusal(value: Any) -> tuple[str | None, str | None]:
    with pytest.raises(RealtimeError) as caught:
        check_sip_headers(value)
    assert caught.value.status == 400
    return caught.value.param, caught.value.code


def test_order_spelling_and_repeats_are_kept() -> None:
    told = [header("x-B", " 1 "), header("X-A", "ü"), header("x-B"), header("Diversion", "<sip:a>")]
    assert check_sip_headers(told) == (
        ("x-B", "1"),
        ("X-A", "ü"),
        ("x-B", "x"),
        ("Diversion", "<sip:a>"),
    )
    assert check_sip_headers(None) == check_sip_headers([]) == ()


@pytest.mark.parametrize(
    "name",
    (
        *("Via", "v", "Route", "Record-Route", "From", "To", "t", "Call-ID", "CSeq", "Contact"),
        *("Authorization", "Proxy-Authorization", "Content-Length", "Content-Type", "Max-Forwards"),
        *("Require", "Supported", "Refer-To", "Referred-By", "Replaces", "Privacy", "Expires"),
        *("P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Session-Expires"),
        *("", "X", "X-", "X-A: b\r\nVia", "X A", "X-A\r\n", "X-Ä", "X-" + "a" * 63, " X-A"),
    ),
)
def test_no_other_header_is_handed_on(name: str) -> None:
    assert refusal([header("X-A"), header(name)]) == ("sip_headers[1].name", "invalid_value")


@pytest.mark.parametrize(
    "value",
    (
        *("a\r\nVia: evil", "a\nb", "a\rb", "a\0b", "a\x7fb", "a\x85b", "a\u2028b", "a\tb"),
        *("a%0d%0aVia: evil", "a%0Ab", "a%00"),
    ),
)
def test_a_value_is_one_line(value: str) -> None:
    assert refusal([header("X-A", value)]) == ("sip_headers[0].value", "invalid_value")


def test_there_is_an_end_to_how_much_is_said() -> None:
    assert refusal([header("X-A")] * 33) == ("sip_headers", "array_above_max_length")
    assert refusal([header("X-A", "a" * 1025)]) == (
        "sip_headers[0].value",
        "string_above_max_length",
    )
    assert refusal([header("X-A", "ü" * 1024)] * 5) == ("sip_headers", "invalid_value")


@pytest.mark.parametrize(
    ("value", "param"),
    (
        ({}, "sip_headers"),
        ("X-A: b", "sip_headers"),
        ([None], "sip_headers[0]"),
        ([{"name": "X-A"}], "sip_headers[0].value"),
        ([{"name": "X-A", "value": 1}], "sip_headers[0].value"),
        ([{"name": "X-A", "value": "b", "more": 1}], "sip_headers[0].more"),
    ),
)
def test_what_is_no_list_of_headers(value: Any, param: str) -> None:
    assert refusal(value)[0] == param


@given(st.lists(st.tuples(st.text(max_size=20) | st.just("X-A"), st.text(max_size=60)), max_size=4))
def test_what_is_let_through_is_sent_as_it_is_and_nothing_besides(
    told: list[tuple[str, str]],
) -> None:
    try:
        headers = check_sip_headers([header(name, value) for name, value in told])
    except RealtimeError:
        return
    numbers = iter(range(1 << 60, 1 << 61))
    agent = SipAgent(SipConfig("127.0.0.1"), token=lambda: f"{next(numbers):016x}")
    for more in ((), headers):
        agent.invite("sip:a@b", b"v=0", 0, to=PEER, from_uri="sip:c@d", headers=more)
    plain, full = (parse(one.data) for one in agent.datagrams_to_send())
    assert isinstance(plain, Request) and isinstance(full, Request)
    names = [name for name, _ in plain.headers.items()]
    assert [one for one in full.headers.items() if one[0] not in names] == list(headers)
    assert len(full.headers.items()) == len(names) + len(headers)
    assert (full.uri, full.body) == (plain.uri, plain.body)
