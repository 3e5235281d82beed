"""Keys that we press by INFO, and which way a leg presses keys."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.legs import info_sender
from gateway.legs.info_sender import InfoSender
from gateway.legs.key_sender import MAX_KEYS
from gateway.legs.leg import KeyRefused, KeysError, LegAnswered
from tests.legs.office import Office, Phone
from tests.legs.test_sip_leg import sdp

pytestmark = pytest.mark.loop

NO_EVENTS = sdp(codecs="0")


class Wire:
    """Where the keys go; the answers are the test's."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, float]] = []
        self._loop = asyncio.get_running_loop()
        self.keys = InfoSender(self._send)

    def _send(self, key: str) -> None:
        self.sent.append((key, self._loop.time()))

    @property
    def typed(self) -> str:
        return "".join(key for key, _ in self.sent)

    async def until(self, typed: str) -> None:
        for _ in range(1000):
            if self.typed == typed:
                return
            await asyncio.sleep(0.001)
        pytest.fail(f"{self.typed} instead of {typed}")


@pytest.fixture
async def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    for name, ms in (("PRESS_MS", 20), ("GAP_MS", 10), ("PAUSE_MS", 60)):
        monkeypatch.setattr(info_sender, name, ms)
    return Wire()


async def test_each_key_waits_for_the_answer_and_for_its_time(wire: Wire) -> None:
    assert wire.keys.add("12")
    await asyncio.sleep(0.05)
    assert wire.typed == "1"
    wire.keys.answered(200)
    assert wire.typed == "1"
    await wire.until("12")
    wire.keys.answered(200)
    assert wire.keys.add("3")
    assert wire.typed == "12"  # the time of the last one is not over
    await wire.until("123")


async def test_a_pause_gives_time(wire: Wire) -> None:
    wire.keys.add("w1,2")
    assert wire.typed == ""
    await wire.until("1")
    wire.keys.answered(200)
    await wire.until("12")
    (_, first), (_, second) = wire.sent
    assert round(second - first, 3) >= 0.09


async def test_a_refused_key_is_not_followed_by_the_rest(wire: Wire) -> None:
    wire.keys.add("123")
    wire.keys.answered(405)
    await asyncio.sleep(0.05)
    assert wire.typed == "1"
    wire.keys.add("4")
    assert wire.typed == "14"


async def test_what_waits_is_bounded(wire: Wire) -> None:
    assert wire.keys.add("1" * MAX_KEYS)
    assert wire.keys.add("2")  # as one is on its way
    assert not wire.keys.add("3")


async def test_nothing_is_pressed_after_the_end(wire: Wire) -> None:
    wire.keys.add("w1")
    wire.keys.close()
    await asyncio.sleep(0.08)
    assert wire.sent == []


# Legs.


@pytest.fixture(params=["auto", "rfc4733", "info"])
async def office(request: pytest.FixtureRequest) -> AsyncIterator[Office]:
    office = Office(keys_out=request.param)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(office.close)
        await office.open()
        yield office
    assert office.left() == {}


@pytest.fixture
async def phone(office: Office) -> AsyncIterator[Phone]:
    phone = await Phone.open()
    yield phone
    phone.close()


async def up(office: Office, phone: Phone, answer: bytes) -> Any:
    leg = office.leg(phone.uri)
    await leg.dial()
    phone.answer(await phone.until("INVITE"), 200, body=answer)
    await office.until(LegAnswered())
    return leg


async def over(leg: Any, phone: Phone) -> None:
    leg.hang_up()
    phone.answer(await phone.until("BYE"), 200)


@pytest.mark.parametrize("takes_events", [True, False])
async def test_the_way_that_the_setting_says_and_the_peer_can(
    office: Office, phone: Phone, takes_events: bool
) -> None:
    leg = await up(office, phone, sdp(codecs="0 101") if takes_events else NO_EVENTS)
    way = office.media.keys_out
    if way == "rfc4733" and not takes_events:
        with pytest.raises(KeysError) as caught:
            leg.press("7")
        assert (caught.value.status, caught.value.reason) == (400, "no_digits")
    else:
        leg.press("7")
    if way == "info" or (way == "auto" and not takes_events):
        info = await phone.until("INFO")
        assert "Content-Type: application/dtmf-relay\r\n" in info
        assert info.endswith("\r\n\r\nSignal=7\r\nDuration=160\r\n")
        phone.answer(info, 200)
    await over(leg, phone)
    infos = [text for text in phone.heard if text.startswith("INFO")]
    assert len(infos) == (way == "info" or (way == "auto" and not takes_events))


async def test_a_peer_that_knows_no_info_says_so(office: Office, phone: Phone) -> None:
    leg = await up(office, phone, NO_EVENTS)
    if office.media.keys_out != "rfc4733":
        leg.press("42")
        phone.answer(await phone.until("INFO"), 405)
        await office.until(KeyRefused(405))
    await over(leg, phone)
    assert len([text for text in phone.heard if text.startswith("INFO")]) <= 1


async def test_too_many_keys_by_info(office: Office, phone: Phone) -> None:
    leg = await up(office, phone, NO_EVENTS)
    if office.media.keys_out != "rfc4733":
        leg.press("1" * MAX_KEYS)
        leg.press("2")
        with pytest.raises(KeysError) as caught:
            leg.press("3")
        assert (caught.value.status, caught.value.reason) == (429, "too_many_digits")
        phone.answer(await phone.until("INFO"), 481)
    await over(leg, phone)
