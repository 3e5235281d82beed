"""Keys that the application has pressed: by the API, and by an event over a sideband."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.calls.call import Call
from gateway.calls.commands import Accept, Press, check_digits
from gateway.legs.leg import KeyRefused, KeysError, LegAnswered
from gateway.realtime.errors import RealtimeError
from tests.calls.fakes import FakeControl, FakeLeg
from tests.calls.test_commands import SESSION, Desk, desk

pytestmark = pytest.mark.loop

NO_DIGITS, TOO_MANY = KeysError(400, "no_digits"), KeysError(429, "too_many_digits")


async def answered(place: Desk) -> tuple[str, FakeLeg, Call]:
    call_id, leg = await place.call()
    await place.line.command(call_id, Accept(SESSION))
    leg.emit(LegAnswered())
    call = place.registry.get(call_id)
    assert isinstance(call, Call)
    return call_id, leg, call


def send(digits: object = None, **more: Any) -> dict[str, Any]:
    event = {"type": "gateway.dtmf.send", "event_id": "mine", "digits": digits}
    return event | more


async def test_keys_are_pressed_by_the_api() -> None:
    async with desk() as place:
        call_id, leg, _ = await answered(place)
        await place.line.command(call_id, Press("12#"))
        assert leg.done[-1] == ("press", "12#")


@pytest.mark.parametrize("error", [NO_DIGITS, TOO_MANY])
async def test_keys_that_cannot_be_pressed(error: KeysError) -> None:
    async with desk() as place:
        call_id, leg, _ = await answered(place)
        leg.press_error = error
        refused = await place.error(call_id, Press("1"))
        assert (refused.status, refused.code) == (error.status, error.reason)


async def test_before_the_answer_there_is_nobody_to_press_keys_for() -> None:
    async with desk() as place:
        call_id, leg = await place.call()
        refused = await place.error(call_id, Press("1"))
        assert (refused.status, refused.code) == (400, "invalid_call_state")
        assert leg.done == ["ring"]


async def test_a_client_is_told_that_its_keys_are_pressed_if_it_wants_such_events() -> None:
    async with desk() as place:
        _, leg, call = await answered(place)
        asked, unasked = FakeControl(extensions=True), FakeControl()
        call.attach(asked)
        call.attach(unasked)
        call.control(send("1w#a"))
        assert leg.done[-1] == ("press", "1w#A")
        assert [(one["type"], one["digits"]) for one in asked.events] == [
            ("gateway.dtmf.sent", "1w#A")
        ]
        assert unasked.events == []


@pytest.mark.parametrize(
    ("event", "leg_error", "code", "param"),
    [
        (send(), None, "missing_required_parameter", "digits"),
        (send(12), None, "invalid_type", "digits"),
        (send(""), None, "invalid_value", "digits"),
        (send("1x"), None, "invalid_value", "digits"),
        (send("1" * 65), None, "invalid_value", "digits"),
        (send("1"), NO_DIGITS, "no_digits", "call_id"),
        (send("1"), TOO_MANY, "too_many_digits", None),
    ],
)
async def test_a_client_is_told_why_its_keys_are_not_pressed(
    event: dict[str, Any], leg_error: KeysError | None, code: str, param: str | None
) -> None:
    async with desk() as place:
        _, leg, call = await answered(place)
        leg.press_error = leg_error
        client = FakeControl()
        call.attach(client)
        call.control(event)
        (told,) = client.events
        error = told["error"]
        assert (told["type"], error["code"], error["param"]) == ("error", code, param)
        assert error["event_id"] == "mine"
        assert ("press", "1") not in leg.done


async def test_an_id_that_is_none_is_not_given_back() -> None:
    async with desk() as place:
        _, _, call = await answered(place)
        client = FakeControl()
        call.attach(client)
        call.control(send("x", event_id=[7]))
        assert client.events[0]["error"]["event_id"] is None


async def test_before_the_answer_a_client_is_told_so() -> None:
    async with desk() as place:
        call_id, leg = await place.call()
        await place.line.command(call_id, Accept(SESSION))
        call = place.registry.get(call_id)
        assert isinstance(call, Call)
        client = FakeControl()
        call.attach(client)
        call.control(send("1"))
        assert client.events[0]["error"]["code"] == "invalid_call_state"
        assert leg.done == ["ring", "answer"]


async def test_a_key_that_the_other_side_refuses_is_in_the_log() -> None:
    async with desk() as place:
        with capture_logs() as lines:
            _, leg, _ = await answered(place)
            leg.emit(KeyRefused(415))
        assert [line["sip_status"] for line in lines if line["event"] == "dtmf.refused"] == [415]


@pytest.mark.parametrize("digits", ["1", "0123456789*#ABCD", "abcd", "1,2w3", "1" * 64])
def test_what_can_be_pressed(digits: str) -> None:
    assert check_digits(digits, "digits").lower() == digits.lower()


@pytest.mark.parametrize("digits", ["", "E", "1 2", "1\n", "\u0661", "1" * 65])
def test_what_cannot(digits: str) -> None:
    with pytest.raises(RealtimeError) as refused:
        check_digits(digits, "digits")
    assert (refused.value.param, refused.value.status) == ("digits", 400)
