"""`/v1/realtime/calls…`: what reaches the line, and what comes back."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.calls.commands import Accept, Dial, HangUp, Press, Refer, Reject
from gateway.realtime.errors import RealtimeError
from tests.api.site import CALL_ID, ENDED_ID, KEY, Site, serving, summary

pytestmark = pytest.mark.loop

CALLS = "/v1/realtime/calls"
ACTIONS = ("accept", "reject", "refer", "dtmf", "hangup")
NOT_FOUND = {
    "error": {
        "message": "No session found for the provided call_id",
        "type": "invalid_request_error",
        "code": "call_id_not_found",
        "param": "",
    }
}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as site:
        yield site


def path(action: str, call_id: str = CALL_ID) -> str:
    return f"{CALLS}/{call_id}/{action}"


SESSION = {"type": "realtime", "instructions": "Be brief.", "audio": {"output": {"voice": "ash"}}}


@pytest.mark.parametrize(
    ("action", "body", "command"),
    [
        ("accept", SESSION, Accept(SESSION)),
        ("reject", {"status_code": 486}, Reject(486)),
        ("reject", {}, Reject(603)),
        ("reject", None, Reject(603)),
        ("refer", {"target_uri": "tel:+15551234567"}, Refer("tel:+15551234567")),
        ("refer", {"target_uri": "sip:a@example.com"}, Refer("sip:a@example.com")),
        ("dtmf", {"digits": "12#"}, Press("12#")),
        ("dtmf", {"digits": "1,wd"}, Press("1,wD")),
        ("hangup", None, HangUp()),
        ("hangup", {}, HangUp()),
    ],
)
async def test_a_command_reaches_its_call(
    site: Site, action: str, body: Any, command: object
) -> None:
    options = {} if body is None else {"json": body}
    answer = await site.ask("POST", path(action), **options)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == "0"
    assert site.line.commands == [(CALL_ID, command)]


@pytest.mark.parametrize("action", ["reject", "hangup"])
async def test_a_body_that_is_announced_and_empty_is_none(site: Site, action: str) -> None:
    """The Python package sends this for a hangup."""
    request = (
        f"POST {path(action)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        "Content-Type: application/json\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    assert (await site.raw(request.encode())).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_unknown_call_is_told_first(site: Site, action: str) -> None:
    answer = await site.ask("POST", path(action, "rtc_unknown"), data=b"{not json")
    assert answer.status == 404
    assert answer.json == NOT_FOUND


@pytest.mark.parametrize("action", ["accept", "reject", "hangup"])
async def test_what_the_line_says_of_a_call_that_is_over_is_passed_on(
    site: Site, action: str
) -> None:
    answer = await site.ask(
        "POST", path(action, ENDED_ID), json={"type": "realtime"} if action == "accept" else {}
    )
    assert answer.status == 404
    assert answer.json == NOT_FOUND


@pytest.mark.parametrize(
    ("action", "body", "param", "code"),
    [
        ("accept", {}, "session.type", "missing_required_parameter"),
        ("accept", None, "session.type", "missing_required_parameter"),
        ("accept", {"type": "transcription"}, "session.type", "invalid_value"),
        ("accept", {"type": "realtime", "nonsense": 1}, "session.nonsense", "unknown_parameter"),
        (
            "accept",
            {
                "type": "realtime",
                "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}},
            },
            "session.audio.input.turn_detection.threshold",
            "decimal_above_max_value",
        ),
        ("reject", {"status_code": 200}, "status_code", "integer_below_min_value"),
        ("reject", {"status_code": 700}, "status_code", "integer_above_max_value"),
        ("reject", {"status_code": "486"}, "status_code", "invalid_type"),
        ("reject", {"status_code": True}, "status_code", "invalid_type"),
        ("reject", {"status": 486}, "status", "unknown_parameter"),
        ("dtmf", {}, "digits", "missing_required_parameter"),
        ("dtmf", None, "digits", "missing_required_parameter"),
        ("dtmf", {"digits": 12}, "digits", "invalid_type"),
        ("dtmf", {"digits": ""}, "digits", "invalid_value"),
        ("dtmf", {"digits": "12x"}, "digits", "invalid_value"),
        ("dtmf", {"digits": "1" * 65}, "digits", "invalid_value"),
        ("dtmf", {"digits": "1", "duration": 5}, "duration", "unknown_parameter"),
        ("refer", {}, "target_uri", "missing_required_parameter"),
        ("refer", None, "target_uri", "missing_required_parameter"),
        ("refer", {"target_uri": 7}, "target_uri", "invalid_type"),
        ("refer", {"target_uri": "https://example.com"}, "target_uri", "invalid_value"),
        ("refer", {"target_uri": "sip:a@b?Replaces=x"}, "target_uri", "invalid_value"),
        ("refer", {"target_uri": "sip:a@b\r\nX-Evil: 1"}, "target_uri", "invalid_value"),
        ("refer", {"target_uri": "tel:+1555%0d%0aX: 1"}, "target_uri", "invalid_value"),
        ("refer", {"target_uri": "sip:\ud800@b"}, "target_uri", "invalid_value"),
    ],
)
async def test_a_wrong_body_names_the_fault_and_does_nothing(
    site: Site, action: str, body: Any, param: str, code: str
) -> None:
    options = {} if body is None else {"json": body}
    answer = await site.ask("POST", path(action), **options)
    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == (param, code)
    assert not site.line.commands


async def test_one_call_and_all(site: Site) -> None:
    answer = await site.ask("GET", f"{CALLS}/{CALL_ID}")
    assert (answer.status, answer.json) == (200, summary(CALL_ID))
    answer = await site.ask("GET", f"{CALLS}/rtc_unknown")
    assert (answer.status, answer.json) == (404, NOT_FOUND)
    answer = await site.ask("GET", CALLS)
    assert answer.json == {
        "object": "list",
        "data": [summary(CALL_ID), summary(ENDED_ID, "ended")],
        "has_more": False,
        "first_id": CALL_ID,
        "last_id": ENDED_ID,
    }


async def test_a_list_is_read_page_by_page(site: Site) -> None:
    site.line.calls = [summary(f"rtc_{number}") for number in range(45)]
    seen: list[str] = []
    params: dict[str, str] = {}
    for more in (True, True, False):
        page = (await site.ask("GET", CALLS, params=params)).json
        assert page["has_more"] is more
        seen += [call["id"] for call in page["data"]]
        params = {"after": page["last_id"]}
    assert seen == [f"rtc_{number}" for number in range(45)]
    assert len((await site.ask("GET", CALLS, params={"limit": "100"})).json["data"]) == 45
    empty = (await site.ask("GET", CALLS, params={"after": "rtc_44"})).json
    assert (empty["data"], empty["first_id"], empty["last_id"]) == ([], None, None)


async def test_a_list_costs_what_its_page_costs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.line.calls = [summary(f"rtc_{number}") for number in range(1000)]
    looked_at: list[str] = []
    one = site.line.summary

    def counted(call_id: str) -> dict[str, Any]:
        looked_at.append(call_id)
        return one(call_id)

    monkeypatch.setattr(site.line, "summary", counted)
    page = (await site.ask("GET", CALLS, params={"limit": "3", "after": "rtc_500"})).json
    assert looked_at == [call["id"] for call in page["data"]] == ["rtc_501", "rtc_502", "rtc_503"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", value) for value in ("0", "101", "-1", "1.0", "x", "", "٣", "1" * 5000)]
    + [("after", "rtc_unknown"), ("after", "\r\n")],
)
async def test_a_page_that_there_is_not(site: Site, name: str, value: str) -> None:
    answer = await site.ask("GET", CALLS, params={name: value})
    assert answer.status == 400
    assert answer.error["param"] == name


async def test_somebody_is_called(site: Site) -> None:
    order = {"to": "tel:+15551234567", "from": "sip:line@example.com", "session": SESSION}
    answer = await site.ask("POST", CALLS, json=order)
    assert answer.status == 201
    assert answer.headers["Location"] == f"{CALLS}/rtc_new"
    assert answer.json == summary("rtc_new", "connecting")
    assert (await site.ask("POST", CALLS, json={"to": "sip:a@b.example"})).status == 201
    assert site.line.dialled == [
        Dial("tel:+15551234567", "sip:line@example.com", session=SESSION),
        Dial("sip:a@b.example"),
    ]


HEADERS = [{"name": "X-Case", "value": " 7 "}, {"name": "user-to-user", "value": "3031"}]
CHECKED = (("X-Case", "7"), ("user-to-user", "3031"))


async def test_somebody_is_called_with_all_that_can_be_said(site: Site) -> None:
    order = {
        "to": "tel:+15551234567",
        "from": "tel:+4930",
        "from_name": "Zoë",
        "anonymous": True,
        "ring_timeout_s": 12,
        "sip_headers": HEADERS,
    }
    assert (await site.ask("POST", CALLS, json=order)).status == 201
    assert site.line.dialled == [
        Dial("tel:+15551234567", "tel:+4930", "Zoë", True, CHECKED, ring_timeout_s=12)
    ]


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("accept", SESSION),
        ("reject", {"status_code": 486}),
        ("refer", {"target_uri": "tel:+15551234567"}),
        ("hangup", {}),
    ],
)
async def test_chosen_headers_come_with_a_command(site: Site, action: str, body: Any) -> None:
    answer = await site.ask("POST", path(action), json=body | {"sip_headers": HEADERS})
    assert answer.status == 200
    ((_, command),) = site.line.commands
    assert not isinstance(command, Press) and command.headers == CHECKED
    refused = HEADERS + [{"name": "Route", "value": "<sip:evil.example;lr>"}]
    answer = await site.ask("POST", path(action), json=body | {"sip_headers": refused})
    assert (answer.status, answer.error["param"]) == (400, "sip_headers[2].name")
    assert len(site.line.commands) == 1


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"{not json", "application/json"), (b"[1]", "application/json"), (b"x", "text/plain")],
)
async def test_what_else_comes_as_the_body_of_a_hangup_is_nobodys_concern(
    site: Site, data: bytes, kind: str
) -> None:
    answer = await site.ask("POST", path("hangup"), data=data, headers={"Content-Type": kind})
    assert (answer.status, site.line.commands) == (200, [(CALL_ID, HangUp())])


@pytest.mark.parametrize(
    ("order", "param"),
    [
        ({}, "to"),
        ({"to": None}, "to"),
        ({"to": ["tel:+1"]}, "to"),
        ({"to": "sip:a@b\r\nRoute: <sip:evil>"}, "to"),
        ({"to": "tel:+15551234567", "from": "me\r\nX: 1"}, "from"),
        ({"to": "tel:+15551234567", "session": {}}, "session.type"),
        ({"to": "tel:+15551234567", "session": {"type": "transcription"}}, "session.type"),
        ({"to": "tel:+15551234567", "model": "x"}, "model"),
    ],
)
async def test_a_wrong_order_calls_nobody(site: Site, order: Any, param: str) -> None:
    answer = await site.ask("POST", CALLS, json=order)
    assert answer.status == 400
    assert answer.error["param"] == param
    assert not site.line.dialled


async def test_an_order_of_another_type_calls_nobody(site: Site) -> None:
    answer = await site.ask("POST", CALLS, data={"to": "tel:+15551234567"})
    assert answer.status == 415
    assert answer.error["code"] == "unsupported_content_type"
    assert not site.line.dialled


async def test_the_lines_errors_are_passed_on(site: Site) -> None:
    site.line.failure = RealtimeError(
        "The backend says no.", code="model_not_found", param="session.model", status=400
    )
    for answer in (
        await site.ask("POST", path("accept"), json=SESSION),
        await site.ask("POST", CALLS, json={"to": "sip:a@b.example"}),
    ):
        assert answer.status == 400
        assert answer.error["code"] == "model_not_found"
