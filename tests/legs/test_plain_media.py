"""What may come by the answer to an offer of ours, as packets on loopback sockets."""

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest

from gateway.audio.g711 import TRANSLATE
from gateway.legs.leg import DtmfIn, LegEvent, LegHeld
from gateway.legs.plain_media import PlainMedia
from gateway.legs.rtp_port import RtpPort
from gateway.sdp.description import parse
from tests.legs.office import HOST, Office
from tests.legs.test_rtp_port import Peer

pytestmark = pytest.mark.loop

FRAME = bytes(range(160))


class Call:
    """A call of ours, and the media of whom we call."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.office = Office()
        self.events: list[LegEvent] = []
        self.heard: list[bytes] = []
        self.media = PlainMedia(self.office.media, HOST, self.events.append)
        self.port: RtpPort

    async def open(self, formats: str, attributes: str = "") -> None:
        """Offer, and be answered with these formats."""
        await self.offer()
        self.media.take_answer(self.says(formats, attributes))

    async def offer(self) -> None:
        self.port = await self.media.open()
        self.port.join(self.heard.append)
        self.number = parse(self.media.offer()).media[0].port

    def says(self, formats: str, attributes: str = "", port: int | None = None) -> bytes:
        """A description of whom we call."""
        number = self.peer.address[1] if port is None else port
        return (
            f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
            f"m=audio {number} RTP/AVP {formats}\r\n{attributes}"
        ).encode()

    async def sent(self) -> list[int]:
        """The payload types of what is sent now."""
        for _ in range(3):
            self.port.tick()
        await asyncio.sleep(0.005)
        return [packet[1] & 0x7F for packet in self.peer.packets]

    async def say(self, payload: bytes, payload_type: int) -> None:
        self.peer.send(payload, (HOST, self.number), payload_type)
        await asyncio.sleep(0.005)

    async def press(self, event: int, payload_type: int) -> None:
        await self.say(struct.pack("!BBH", event, 0x8A, 800), payload_type)

    @property
    def keys(self) -> str:
        return "".join(event.digit for event in self.events if isinstance(event, DtmfIn))


@pytest.fixture
async def call() -> AsyncIterator[Call]:
    loop = asyncio.get_running_loop()
    transport, peer = await loop.create_datagram_endpoint(Peer, (HOST, 0))
    call = Call(peer)
    yield call
    await call.media.close()
    transport.close()


async def test_keys_are_heard_under_both_numbers_and_sent_under_the_peers(call: Call) -> None:
    await call.open("0 96", "a=rtpmap:96 telephone-event/8000\r\n")
    await call.say(FRAME, 0)
    await call.press(5, 101)
    await call.press(6, 96)
    assert (call.keys, call.heard[0]) == ("56", FRAME)
    assert call.media.press("7")
    for _ in range(12):
        call.port.tick()
    await asyncio.sleep(0.005)
    assert {packet[1] & 0x7F for packet in call.peer.packets} == {0, 96}
    assert call.port.dropped()["payload"] == 0


async def test_either_law_of_the_answer_is_heard_and_may_change_at_any_time(call: Call) -> None:
    """As Asterisk does with `allow=ulaw,alaw`."""
    await call.open("0 8 101", "a=rtpmap:101 telephone-event/8000\r\n")
    law_a = FRAME.translate(TRANSLATE["pcmu"])
    for payload, payload_type in ((law_a, 8), (FRAME, 0), (law_a, 8), (law_a, 8), (FRAME, 0)):
        await call.say(payload, payload_type)
    translated = law_a.translate(TRANSLATE["pcma"])
    assert call.heard == [translated, FRAME, translated, translated, FRAME]
    await call.press(5, 101)
    assert call.keys == "5"
    assert call.port.dropped()["payload"] == 0
    assert call.port.stats().rtp_lost == 0
    call.port.tick()
    await asyncio.sleep(0.005)
    assert [packet[1] & 0x7F for packet in call.peer.packets] == [0]


async def test_a_law_that_the_answer_has_not_is_not_heard(call: Call) -> None:
    await call.open("8")
    await call.say(FRAME, 8)
    await call.say(FRAME, 0)
    assert call.heard == [FRAME.translate(TRANSLATE["pcma"])]
    assert call.port.dropped()["payload"] == 1


async def test_audio_comes_under_our_numbers_though_the_answer_has_others(call: Call) -> None:
    await call.open("97 96", "a=rtpmap:96 PCMU/8000\r\na=rtpmap:97 PCMA/8000\r\n")
    for payload_type in (8, 97, 0):
        await call.say(FRAME, payload_type)
    law_u = FRAME.translate(TRANSLATE["pcma"])
    # The last goes to the law of the wire and back again.
    again = FRAME.translate(TRANSLATE["pcmu"]).translate(TRANSLATE["pcma"])
    assert call.heard == [law_u, law_u, again]


async def test_audio_wins_where_the_answer_has_our_number_of_a_law_for_keys(call: Call) -> None:
    events = "a=rtpmap:8 telephone-event/8000\r\n"
    await call.open("0 97 8", "a=rtpmap:97 PCMA/8000\r\n" + events)
    await call.say(FRAME, 8)
    await call.press(5, 101)
    assert (call.heard[0], call.keys) == (FRAME.translate(TRANSLATE["pcma"]), "5")


async def test_a_change_before_the_answer_counts_as_it_was_answered(call: Call) -> None:
    """UPDATE (RFC 3311): the 2xx without a description stands for it, of which we took one law."""
    await call.offer()
    change = call.says("8 0 101")
    (line,) = parse(call.media.answer_early(parse(change))).media
    assert line.formats[0] == "0"
    assert await call.sent() == []
    call.media.take_answer(change)
    assert await call.sent() == [0, 0, 0]


@pytest.mark.parametrize(("attributes", "port"), [("a=inactive\r\n", None), ("", 0)])
async def test_a_change_before_the_answer_is_not_of_another_who_answers(
    call: Call, attributes: str, port: int | None
) -> None:
    """One telephone of several holds, or takes the audio away, and another picks up."""
    await call.offer()
    call.media.answer_early(parse(call.says("0 101", attributes, port)))
    call.media.take_answer(call.says("0 101"))
    assert await call.sent() == [0, 0, 0]
    assert LegHeld(True) not in call.events
