"""What is heard before the answer: by who calls us, and by us when we call."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
import pytest

from gateway.audio.comfort import Prompt
from gateway.audio.formats import PCMU
from gateway.audio.playout import ItemPart
from gateway.legs.leg import DtmfIn, LegAnswered, LegEnded, LegRinging
from gateway.legs.ports import PortPool
from gateway.sdp.description import parse
from gateway.sip.events import Answered, CallEnded, InfoReceived, Reoffer
from tests.legs.office import HOST, Office, Phone
from tests.legs.test_rtp_port import Peer
from tests.legs.test_sip_leg import Line, free_pairs, sdp

pytestmark = pytest.mark.loop

FRAME = bytes(range(160))
PART = ItemPart("resp_1", "item_1", 0)
PROMPT = Prompt(np.arange(-1600, 1600, dtype=np.int16) * 8, 8000)
SOUND = PROMPT.in_format(PCMU)


@pytest.fixture
async def peers() -> AsyncIterator[list[Peer]]:
    """Media of two telephones."""
    loop = asyncio.get_running_loop()
    peers: list[Peer] = []
    for ssrc in (7, 8):
        _, peer = await loop.create_datagram_endpoint(Peer, (HOST, 0))
        peer.ssrc = ssrc
        peers.append(peer)
    yield peers
    for peer in peers:
        peer.transport.close()


@pytest.fixture
def peer(peers: list[Peer]) -> Peer:
    """Media of the telephone."""
    return peers[0]


# Somebody calls us.


@pytest.fixture
async def lines() -> AsyncIterator[Callable[[bytes | None], Line]]:
    """Lines whose callers hear a prompt while it rings; nothing is left of them."""
    ports = free_pairs()
    free = len(ports)
    opened: list[Line] = []

    def line(offer: bytes | None, pool: PortPool = ports) -> Line:
        opened.append(Line(offer, pool, early=PROMPT))
        opened[-1].leg.listen(opened[-1].events.append)
        return opened[-1]

    yield line
    for one in opened:
        await one.leg.close()
        assert one.pacer.ports == []
    assert len(ports) == free


Lines = Callable[..., Line]


async def rung(line: Line) -> None:
    """Let it ring, until the caller has been told."""
    line.leg.ring()
    for _ in range(1000):
        if line.asked:
            return
        await asyncio.sleep(0.001)
    pytest.fail("the caller was told nothing")


async def ticked(line: Line, times: int = 1) -> None:
    for _ in range(times):
        for port in tuple(line.pacer.ports):
            port.tick()
        await asyncio.sleep(0.001)


def our_port(line: Line) -> tuple[str, int]:
    return HOST, parse(line.asked[0][1][1]).media[0].port


async def test_a_caller_hears_the_prompt_over_and_over_until_the_answer(
    lines: Lines, peer: Peer
) -> None:
    line = lines(sdp(port=peer.address[1]))
    await rung(line)
    await ticked(line, 50)
    assert b"".join(peer.payloads()).startswith(SOUND + SOUND[:1600])
    port = await line.leg.answer()
    peer.packets.clear()
    port.playout.push(PART, FRAME * 3)
    await ticked(line, 6)
    assert peer.payloads()[:3] == [FRAME] * 3
    assert set(b"".join(peer.payloads()[3:])) == {0xFF}


async def test_the_answer_says_again_what_was_said_early(lines: Lines) -> None:
    line = lines(sdp())
    await rung(line)
    await line.leg.answer()
    (name, early), (answered, final) = line.asked
    assert (name, early[0], answered) == ("progress", 183, "accept")
    assert early[1] == final[0]
    line.leg.dialog_event(Answered("d1", None))
    assert line.events == [LegAnswered()]


async def test_ringing_twice_is_ringing_once(lines: Lines) -> None:
    line = lines(sdp())
    await rung(line)
    line.leg.ring()
    await asyncio.sleep(0.01)
    assert [name for name, _ in line.asked] == ["progress"]


async def test_keys_that_come_before_the_ack_are_told_after_it(lines: Lines) -> None:
    """The caller has our answer, or would press nothing; the ACK was lost, and comes again."""
    line = lines(sdp())
    await line.leg.answer()
    for key in (b"7", b"8"):
        line.leg.dialog_event(InfoReceived("d1", "application/dtmf", key))
    assert line.events == []
    line.leg.dialog_event(Answered("d1", None))
    line.leg.dialog_event(InfoReceived("d1", "application/dtmf", b"9"))
    assert line.events[0] == LegAnswered()
    pressed = [event.digit for event in line.events[1:] if isinstance(event, DtmfIn)]
    assert pressed == ["7", "8", "9"]


async def test_nothing_of_the_caller_is_heard_before_the_answer(lines: Lines, peer: Peer) -> None:
    line = lines(sdp(port=peer.address[1]))
    await rung(line)
    event = bytes((5, 0x80, 0, 160))
    for payload, kind in ((FRAME, 0), (FRAME, 0), (event, 101)):
        peer.send(payload, our_port(line), kind)
    await ticked(line, 5)
    line.leg.dialog_event(InfoReceived("d1", "application/dtmf", b"7"))
    assert line.events == []
    heard: list[bytes] = []
    (await line.leg.answer()).join(heard.append)
    await ticked(line, 2)
    assert FRAME not in heard
    line.leg.dialog_event(Answered("d1", None))
    line.leg.dialog_event(InfoReceived("d1", "application/dtmf", b"7"))
    assert [event.digit for event in line.events if isinstance(event, DtmfIn)] == ["7"]


async def test_what_changes_while_it_rings_stays_changed(lines: Lines, peer: Peer) -> None:
    """UPDATE (RFC 3311): the answer must not bring the first address back."""
    line = lines(sdp(port=9, codecs="0 101"))
    await rung(line)
    line.leg.dialog_event(Reoffer("d1", sdp(port=peer.address[1], codecs="0 101")))
    assert line.asked[-1][0] == "answer_offer"
    agreed = line.asked[-1][1][0]
    await line.leg.answer()
    assert line.asked[-1] == ("accept", (agreed,))
    peer.packets.clear()
    await ticked(line, 3)
    assert len(peer.packets) == 3


async def test_without_an_offer_it_rings_as_ever(lines: Lines) -> None:
    line = lines(None)
    await rung(line)
    assert [name for name, _ in line.asked] == ["ring"]
    await line.leg.answer()


async def test_without_a_port_it_rings_as_ever(lines: Lines) -> None:
    line = lines(sdp(), PortPool(40000, 40000))
    await rung(line)
    assert [name for name, _ in line.asked] == ["ring"]


@pytest.mark.parametrize("when", ["at once", "told", "answering"])
async def test_a_caller_who_gives_up_leaves_nothing(lines: Lines, when: str) -> None:
    line = lines(sdp())
    line.leg.ring()
    answering = None
    if when == "told":
        await rung(line)
    elif when == "answering":
        answering = asyncio.ensure_future(line.leg.answer())
        await asyncio.sleep(0)
    line.leg.dialog_event(CallEnded("d1", "cancelled", 487))
    if answering is not None:
        await asyncio.gather(answering, return_exceptions=True)
    await line.leg.close()
    assert line.events == [LegEnded("cancelled", 487)]
    assert line.pacer.ports == []


# We call somebody.


@pytest.fixture
async def office(request: pytest.FixtureRequest) -> AsyncIterator[Office]:
    """One that hears what comes early, unless a test says otherwise."""
    office = Office(hears_early=getattr(request, "param", True))
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


async def calling(office: Office, phone: Phone) -> tuple[Any, Any, list[bytes], str]:
    leg = office.leg(phone.uri)
    port = await leg.dial()
    heard: list[bytes] = []
    port.join(heard.append)
    return leg, port, heard, await phone.until("INVITE")


async def over(leg: Any, phone: Phone) -> None:
    leg.hang_up()
    phone.answer(await phone.until("BYE"), 200)


async def said(peer: Peer, port: Any, payload: bytes, number: int, times: int = 5) -> None:
    for _ in range(times):
        peer.send(payload, (HOST, number))
        await asyncio.sleep(0.002)
        port.tick()


def their_port(invite: str) -> int:
    return parse(invite.split("\r\n\r\n", 1)[1].encode()).media[0].port


@pytest.mark.parametrize("direction", ["sendrecv", "sendonly"])
@pytest.mark.parametrize("status", [180, 183])
async def test_what_comes_early_is_heard_and_nothing_is_said(
    office: Office, phone: Phone, peer: Peer, direction: str, status: int
) -> None:
    leg, port, heard, invite = await calling(office, phone)
    phone.answer(invite, status, body=sdp(port=peer.address[1], direction=direction))
    await office.until(LegRinging(status))
    port.playout.push(PART, FRAME[::-1] * 3)
    await said(peer, port, FRAME, their_port(invite))
    assert FRAME in heard
    assert peer.packets == []
    phone.answer(invite, 200, body=sdp(port=peer.address[1]))
    await office.until(LegAnswered())
    for _ in range(4):
        port.tick()
    await asyncio.sleep(0.01)
    assert peer.payloads()[:3] == [FRAME[::-1]] * 3  # held back, and said from its beginning
    await said(peer, port, FRAME, their_port(invite))
    assert heard.count(FRAME) > 5
    await over(leg, phone)


async def test_time_without_packets_passes_as_silence_and_counts_as_nothing_received(
    office: Office, phone: Phone
) -> None:
    """By which who listens tells that early media was announced and does not come."""
    leg, port, heard, invite = await calling(office, phone)
    phone.answer(invite, 180, body=sdp())
    await office.until(LegRinging(180))
    async with asyncio.timeout(3):
        while not heard:
            port.tick()
            await asyncio.sleep(0.01)
    assert port.stats().rtp_received == 0
    phone.answer(invite, 200, body=sdp())
    await office.until(LegAnswered())
    await over(leg, phone)


async def test_of_several_telephones_the_latest_is_heard_and_then_who_answers(
    office: Office, phone: Phone, peers: list[Peer]
) -> None:
    peer, second = peers
    leg, port, heard, invite = await calling(office, phone)
    number = their_port(invite)
    first_says, second_says = b"\x11" * 160, b"\x22" * 160
    phone.answer(invite, 183, body=sdp(port=peer.address[1]))
    await office.until(LegRinging(183))
    await said(peer, port, first_says, number)
    phone.answer(invite, 180, body=sdp(port=second.address[1]))
    await office.until(LegRinging(180))
    heard.clear()
    await said(second, port, second_says, number)
    assert second_says in heard
    phone.answer(invite, 200, body=sdp(port=peer.address[1]))
    await office.until(LegAnswered())
    heard.clear()
    await said(peer, port, first_says, number)
    assert first_says in heard and peer.packets and not second.packets
    await over(leg, phone)


async def test_keys_before_the_answer_are_nobodys(office: Office, phone: Phone, peer: Peer) -> None:
    leg, port, _, invite = await calling(office, phone)
    phone.answer(invite, 183, body=sdp(port=peer.address[1]))
    await office.until(LegRinging(183))
    peer.send(bytes((5, 0x80, 0, 160)), (HOST, their_port(invite)), 101)
    await asyncio.sleep(0.01)
    port.tick()
    phone.answer(invite, 200, body=sdp(port=peer.address[1]))
    await office.until(LegAnswered())
    assert not [event for event in office.events if isinstance(event, DtmfIn)]
    await over(leg, phone)


@pytest.mark.parametrize("office", [True, False], indirect=True)
async def test_an_update_before_the_answer_is_no_answer(
    office: Office, phone: Phone, peers: list[Peer]
) -> None:
    """As mobile networks do it (RFC 3311). A 2xx without a description confirms it."""
    before, peer = peers
    leg, port, heard, invite = await calling(office, phone)
    reliably = ("Require: 100rel", "RSeq: 1")
    phone.answer(invite, 183, *reliably, body=sdp(port=before.address[1]))
    phone.answer(await phone.until("PRACK"), 200)
    await office.until(LegRinging(183))
    offer = sdp(port=peer.address[1]).decode()
    phone.request("UPDATE", invite, 5, "Content-Type: application/sdp", body=offer)
    await phone.until("SIP/2.0 200", lambda text: "UPDATE" in text)
    port.playout.push(PART, FRAME[::-1] * 3)
    await said(peer, port, FRAME, their_port(invite))
    assert (FRAME in heard) == office.media.hears_early
    assert before.packets == peer.packets == []
    phone.answer(invite, 200)
    await office.until(LegAnswered())
    for _ in range(4):
        port.tick()
    await asyncio.sleep(0.01)
    assert peer.payloads()[:3] == [FRAME[::-1]] * 3 and before.packets == []
    await over(leg, phone)


async def test_early_media_that_cannot_be_used_is_passed_over(office: Office, phone: Phone) -> None:
    leg, _, _, invite = await calling(office, phone)
    for body in (b"garbage", sdp(codecs="18"), sdp(host="224.0.0.1")):
        phone.answer(invite, 183, body=body)
    await office.until(LegRinging(183))
    assert office.pacer.ports == []
    phone.answer(invite, 200, body=sdp())
    await office.until(LegAnswered())
    await over(leg, phone)


async def test_a_long_announcement_does_not_use_up_the_trial_of_the_address(
    office: Office, phone: Phone, peer: Peer
) -> None:
    """An address that has sent nothing is sent media for ten seconds only; they begin when there
    is something to send."""
    leg, port, _, invite = await calling(office, phone)
    phone.answer(invite, 183, body=sdp(port=peer.address[1]))
    await office.until(LegRinging(183))
    for _ in range(1000):
        port.tick()
    assert port.stats().rtp_sent == 0
    rtp = port._rtp
    assert rtp._trial_until is None
    phone.answer(invite, 200, body=sdp(port=peer.address[1]))
    await office.until(LegAnswered())
    await over(leg, phone)
