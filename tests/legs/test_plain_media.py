"""What may come by the answer to an offer of ours, as packets on loopback sockets."""

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest

from gateway.legs.leg import DtmfIn, LegEvent
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
        self.port = await self.media.open()
        self.port.join(self.heard.append)
        self.number = parse(self.media.offer()).media[0].port
        self.media.take_answer(
            (
                f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
                f"m=audio {self.peer.address[1]} RTP/AVP {formats}\r\n{attributes}"
            ).encode()
        )

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
