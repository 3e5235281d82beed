"""What a leg is asked for that is to be joined to another one, and what is passed between legs."""

import pytest

from gateway.audio.formats import PCMA, PCMU, AudioFormat, Law
from gateway.legs.leg import ReferAsked
from gateway.legs.plain_media import PlainMedia
from gateway.legs.sip_outgoing import DialPlan, SipOutgoingLeg
from gateway.sip.events import ReferReceived
from tests.legs.office import HOST, Office

pytestmark = pytest.mark.loop


@pytest.mark.parametrize(("law", "joined", "first"), [("pcmu", PCMU, "0 8"), ("pcma", PCMA, "8 0")])
async def test_it_is_joined_in_the_law_of_the_other_leg_and_asks_for_that_first(
    law: Law, joined: AudioFormat, first: str
) -> None:
    media = PlainMedia(Office().media, HOST, lambda _: None, law=law)
    port = await media.open()
    assert media.format == port.format == joined
    (line,) = [line for line in media.offer().decode().splitlines() if line.startswith("m=")]
    assert f"RTP/AVP {first} " in line
    await media.close()


@pytest.mark.parametrize("name", ["Referred-By", "b"])
async def test_who_wants_a_call_passed_on_is_told_to_whom_it_goes(name: str) -> None:
    office = Office()
    heard: list[object] = []
    leg = SipOutgoingLeg(office.endpoint, DialPlan("sip:b@x", "sip:a@x"), office.media)
    leg.listen(heard.append)
    headers = (("From", "<sip:c@x>"), (name, "<sip:alice@x>"))
    leg.dialog_event(ReferReceived("d", "5", "sip:bob@x", headers))
    assert heard == [ReferAsked("5", "sip:bob@x", "<sip:alice@x>")]
