"""A call of ours that goes on elsewhere, because whoever was called says where (3xx)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.calls.targets import allowed_contact
from gateway.legs.dialler import Dialler
from gateway.legs.dialling import DialRules
from gateway.legs.leg import CallOrder, LegAnswered, LegEnded, LegRedirected, LegRinging
from gateway.legs.sip_outgoing import SipOutgoingLeg
from gateway.sip.trunk import parse_trunks
from tests.legs.office import HOST, Office, Phone, header
from tests.legs.test_sip_leg import sdp

pytestmark = pytest.mark.loop


class Desk:
    """An office that dials within rules, and two telephones."""

    def __init__(self, office: Office, first: Phone, second: Phone, redirects: int) -> None:
        self.office, self.first, self.second = office, first, second
        targets = [f"sip:*@{HOST}:{phone.port}" for phone in (first, second)]
        rules = DialRules(
            HOST,
            trunks=parse_trunks([f"sip:localhost:{first.port};calls=1"]),
            redirects=redirects,
            follows=lambda uri: allowed_contact(uri, targets),
        )
        clock = asyncio.get_running_loop().time
        self.dialler = Dialler(rules, office.endpoint.dial, clock)

    async def dial(self) -> SipOutgoingLeg:
        """Call the first telephone."""
        leg = self.dialler.dial(CallOrder("tel:+15551234", headers=(("X-Order", "1"),)))
        self.office._keep(leg)
        await leg.dial()
        return leg

    async def redirect(self, *contacts: str, status: int = 302) -> str:
        """The first telephone says where else; returns the INVITE that it had."""
        invite = await self.first.until("INVITE")
        lines = [f"Contact: {contact}" for contact in contacts]
        answer(self.first, invite, status, *lines)
        await self.first.until("ACK")
        return invite


def answer(phone: Phone, invite: str, status: int, *lines: str) -> None:
    """A final answer whose only Contacts are those of `lines`."""
    copied = [
        line if not line.startswith("To:") else f"{line};tag=phone"
        for line in invite.split("\r\n\r\n")[0].split("\r\n")[1:]
        if line.split(":")[0] in ("Via", "From", "To", "Call-ID", "CSeq")
    ]
    head = [f"SIP/2.0 {status} Text", *copied, *lines, "Content-Length: 0", "", ""]
    phone.send("\r\n".join(head))


@asynccontextmanager
async def desk(redirects: int = 5) -> AsyncIterator[Desk]:
    office, first, second = Office(), await Phone.open(), await Phone.open()
    await office.open()
    place = Desk(office, first, second, redirects)
    try:
        yield place
    finally:
        await office.close()
        first.close()
        second.close()
    assert place.dialler.loads[0].calls == 0
    assert office.left() == {}


async def test_whoever_is_named_is_called_with_the_same_words() -> None:
    async with desk() as place:
        leg = await place.dial()
        first_id = leg.sip_call_id
        before = await place.redirect(f"<{place.second.uri}>;q=0.7", "<sip:x@evil.example>")
        invite = await place.second.until("INVITE")
        assert invite.startswith(f"INVITE {place.second.uri} SIP/2.0")
        assert header(invite, "X-Order") == "1"
        assert invite.split("\r\n\r\n")[1] == before.split("\r\n\r\n")[1]  # one offer
        assert leg.sip_call_id == header(invite, "Call-ID") != first_id
        place.second.answer(invite, 180)
        place.second.answer(invite, 200, body=sdp())
        await place.office.until(LegAnswered())
        assert place.office.events == [LegRedirected(302), LegRinging(180), LegAnswered()]
        leg.hang_up((("X-Why", "done"),))
        bye = await place.second.until("BYE")
        assert header(bye, "X-Why") == "done"
        place.second.answer(bye, 200)
        await place.office.until(LegEnded("local_bye"))


async def test_by_default_nobody_is_followed() -> None:
    async with desk(redirects=0) as place:
        await place.dial()
        await place.redirect(f"<{place.second.uri}>")
        await place.office.until(LegEnded("refused", 302))
        await asyncio.sleep(0.05)
        assert place.second.heard == []


@pytest.mark.parametrize("contact", ["<sip:x@evil.example>", "<tel:+1900555>", "*"])
async def test_whoever_may_not_be_called_is_not(contact: str) -> None:
    async with desk() as place:
        await place.dial()
        await place.redirect(contact)
        await place.office.until(LegEnded("refused", 302))


async def test_the_next_is_called_if_the_first_does_not_want_to() -> None:
    async with desk() as place:
        await place.dial()
        gone, other = f"sip:gone@{HOST}:{place.second.port}", place.second.uri
        await place.redirect(f"<{gone}>;q=0.9", f"<{other}>;q=0.5", status=300)
        invite = await place.second.until("INVITE", lambda text: gone in text)
        place.second.answer(invite, 404)
        invite = await place.second.until("INVITE", lambda text: f"INVITE {other}" in text)
        place.second.answer(invite, 486)
        await place.office.until(LegEnded("refused", 486))
        assert place.office.events == [
            LegRedirected(300),
            LegRedirected(404),
            LegEnded("refused", 486),
        ]


async def test_two_who_name_each_other_are_each_called_once() -> None:
    async with desk() as place:
        await place.dial()
        await place.redirect(f"<{place.second.uri}>")
        invite = await place.second.until("INVITE")
        answer(place.second, invite, 302, f"Contact: <{place.second.uri}>")
        await place.office.until(LegEnded("refused", 302))
        assert len([one for one in place.second.heard if one.startswith("INVITE")]) == 1


@pytest.mark.parametrize("way", ["hang_up", "close"])
async def test_a_call_may_be_given_up_on_its_way_to_somebody_else(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk() as place:
        leg = await place.dial()
        located = asyncio.Event()

        async def locate(*_: Any) -> Any:
            located.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(place.office.endpoint, "locate", locate)
        await place.redirect(f"<{place.second.uri}>")
        await asyncio.wait_for(located.wait(), 3)
        if way == "hang_up":
            leg.hang_up()
            assert place.office.events == [LegRedirected(302), LegEnded("cancelled")]
        await leg.close()
        assert place.second.heard == []


async def test_ringing_there_can_be_given_up_too() -> None:
    async with desk() as place:
        leg = await place.dial()
        await place.redirect(f"<{place.second.uri}>")
        invite = await place.second.until("INVITE")
        place.second.answer(invite, 180)
        await place.office.until(LegRinging(180))
        leg.hang_up()
        place.second.answer(await place.second.until("CANCEL"), 200)
        place.second.answer(invite, 487)
        await place.second.until("ACK")
        assert place.office.events[-1] == LegEnded("cancelled")


async def test_an_answered_call_goes_nowhere_else() -> None:
    async with desk() as place:
        leg = await place.dial()
        invite = await place.first.until("INVITE")
        place.first.answer(invite, 200, body=sdp())
        await place.office.until(LegAnswered())
        leg.hang_up()
        place.first.answer(await place.first.until("BYE"), 200)
        assert place.office.events == [LegAnswered(), LegEnded("local_bye")]
