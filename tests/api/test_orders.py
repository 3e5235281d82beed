"""The bodies of reject, refer and outgoing calls."""

from typing import Any

import pytest

from gateway.api.orders import check_dial, check_refer, check_reject
from gateway.calls.commands import Dial, Refer, Reject
from gateway.realtime.errors import RealtimeError

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (None, 603),
        ({}, 603),
        ({"status_code": None}, 603),
        ({"status_code": 486}, 486),
        ({"status_code": 300}, 300),
        ({"status_code": 699}, 699),
    ],
)
def test_the_status_of_a_reject(body: object, status: int) -> None:
    assert check_reject(body) == Reject(status)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ([], "invalid_type", None),
        ("486", "invalid_type", None),
        ({"status": 486}, "unknown_parameter", "status"),
        ({"status_code": "486"}, "invalid_type", "status_code"),
        ({"status_code": 486.0}, "invalid_type", "status_code"),
        ({"status_code": True}, "invalid_type", "status_code"),
        ({"status_code": 200}, "integer_below_min_value", "status_code"),
        ({"status_code": 299}, "integer_below_min_value", "status_code"),
        ({"status_code": 700}, "integer_above_max_value", "status_code"),
        ({"status_code": 10**30}, "integer_above_max_value", "status_code"),
    ],
)
def test_a_reject_that_is_none(body: object, code: str, param: str | None) -> None:
    with pytest.raises(RealtimeError) as refused:
        check_reject(body)
    assert (refused.value.code, refused.value.param) == (code, param)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (None, "missing_required_parameter", "target_uri"),
        ({}, "missing_required_parameter", "target_uri"),
        ([], "invalid_type", None),
        ({"target_uri": None}, "invalid_type", "target_uri"),
        ({"target_uri": ["tel:+1"]}, "invalid_type", "target_uri"),
        ({"target_uri": "tel:+1", "x": 1}, "unknown_parameter", "x"),
        ({"target_uri": "sips:a@b"}, "invalid_value", "target_uri"),
    ],
)
def test_a_refer_that_is_none(body: object, code: str, param: str | None) -> None:
    with pytest.raises(RealtimeError) as refused:
        check_refer(body)
    assert (refused.value.code, refused.value.param) == (code, param)


def test_a_refer() -> None:
    assert check_refer({"target_uri": "TEL:+1555"}) == Refer("tel:+1555")
    assert check_refer({"replaces_call_id": "rtc_1"}) == Refer("", "rtc_1")
    both = {"target_uri": "tel:+1555", "replaces_call_id": "rtc_1"}
    assert check_refer(both) == Refer("tel:+1555", "rtc_1")


def test_an_outgoing_call() -> None:
    assert check_dial({"to": "tel:+1555"}) == Dial("tel:+1555")
    nothing = ("from", "from_name", "anonymous", "ring_timeout_s", "sip_headers", "session")
    assert check_dial({"to": "tel:+1", **dict.fromkeys(nothing)}) == Dial("tel:+1")
    session = {"type": "realtime", "instructions": "Be kind."}
    order = check_dial({"to": "sip:a@b", "from": "tel:+1555", "session": session})
    assert order == Dial("sip:a@b", "tel:+1555", session=session)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "to"),
        ({"to": 5}, "invalid_type", "to"),
        ({"to": "x"}, "invalid_value", "to"),
        ({"to": "tel:+1", "from": "x"}, "invalid_value", "from"),
        ({"to": "tel:+1", "from_": "tel:+1"}, "unknown_parameter", "from_"),
        ({"to": "tel:+1", "session": {}}, "missing_required_parameter", "session.type"),
        ({"to": "tel:+1", "session": 5}, "invalid_type", "session"),
        ({"to": "tel:+1", "from_name": 5}, "invalid_type", "from_name"),
        ({"to": "tel:+1", "from_name": "a\r\nb"}, "invalid_value", "from_name"),
        ({"to": "tel:+1", "from_name": "a" * 129}, "invalid_value", "from_name"),
        ({"to": "tel:+1", "anonymous": "yes"}, "invalid_type", "anonymous"),
        ({"to": "tel:+1", "ring_timeout_s": True}, "invalid_type", "ring_timeout_s"),
        ({"to": "tel:+1", "ring_timeout_s": 0}, "decimal_below_min_value", "ring_timeout_s"),
        ({"to": "tel:+1", "ring_timeout_s": -1}, "decimal_below_min_value", "ring_timeout_s"),
        ({"to": "tel:+1", "ring_timeout_s": 1e6}, "decimal_above_max_value", "ring_timeout_s"),
        ({"to": "tel:+1", "sip_headers": {}}, "invalid_type", "sip_headers"),
        (
            {"to": "tel:+1", "sip_headers": [{}]},
            "missing_required_parameter",
            "sip_headers[0].name",
        ),
        (
            {"to": "tel:+1", "session": {"type": "realtime", "x": 1}},
            "unknown_parameter",
            "session.x",
        ),
    ],
)
def test_an_outgoing_call_that_is_none(body: Any, code: str, param: str) -> None:
    with pytest.raises(RealtimeError) as refused:
        check_dial(body)
    assert (refused.value.code, refused.value.param) == (code, param)


def test_how_long_it_may_ring_is_told() -> None:
    with pytest.raises(RealtimeError, match="a value > 0, but got 0 instead"):
        check_dial({"to": "tel:+1", "ring_timeout_s": 0})
