"""What the test phone hears, as packets on loopback sockets."""

import asyncio
from typing import Any, cast

import pytest

from gateway.audio.g711 import TRANSLATE
from gateway.phone.media import Media
from gateway.phone.plan import Script
from gateway.phone.timeline import Timeline
from gateway.sdp.answer import plan_from_answer
from gateway.sdp.description import parse
from gateway.sdp.plan import LocalMedia
from tests.legs.test_rtp_port import Peer

pytestmark = pytest.mark.loop

FRAME = bytes(range(160))


class Ears:
    """Takes what a `Timeline` takes, and what a `Script` is told."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def packet(self, now: float, codec: str, *, payload: bytes, **_: Any) -> bool:
        assert codec == "pcmu"
        self.heard.append(payload)
        return True

    def tick(self, now: float) -> None: ...

    def hear(self, now: float) -> None: ...


async def test_either_law_of_the_answer_is_heard() -> None:
    loop = asyncio.get_running_loop()
    transport, peer = await loop.create_datagram_endpoint(Peer, ("127.0.0.1", 0))
    ears = Ears()
    media = Media(bytes(160), cast(Script, ears), lambda now: None)
    try:
        port = await media.open("127.0.0.1")
        body = (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {peer.address[1]} RTP/AVP 0 8\r\n"
        )
        plan = plan_from_answer(parse(body), LocalMedia("127.0.0.1", port, 1))
        media.apply(plan, cast(Timeline, ears))
        for payload_type in (0, 8, 3, 0):
            peer.send(FRAME, ("127.0.0.1", port), payload_type)
            await asyncio.sleep(0.005)
        assert ears.heard == [FRAME, FRAME.translate(TRANSLATE["pcma"]), FRAME]
        assert media.stats is not None and media.stats.dropped_payload == 1
    finally:
        media.close()
        transport.close()
