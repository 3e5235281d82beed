"""A SIP caller who offers WebRTC: the media of a browser under the signalling of a phone."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from gateway.legs.leg import LegAnswered, LegEnded, LegError, LegHeld
from gateway.legs.leg_media import MediaConfig, WebRtcConfig
from gateway.legs.pacer import Pacer
from gateway.legs.ports import PortPool
from gateway.legs.sip_incoming import SipIncomingLeg
from gateway.media import host_addresses
from gateway.sdp.description import SessionDescription, parse
from gateway.sip.events import Answered, IncomingCall, Reanswered, Reoffer
from gateway.sip.message import Address
from gateway.webrtc.peer import PeerConfig
from tests.legs.browser import Browser, strength, until
from tests.legs.test_sip_leg import Line

pytestmark = pytest.mark.loop


class WebRtcLine(Line):
    """The signalling side, as in the tests of phones."""

    def __init__(self, offer: bytes) -> None:
        first = random.randrange(32_000, 60_000, 2)
        ports = PortPool(first, first + 21)
        super().__init__(None, ports)
        webrtc = WebRtcConfig(host_addresses, PeerConfig())
        media = MediaConfig("127.0.0.1", "127.0.0.1", ports, Pacer(), 30.0, None, webrtc)
        incoming = IncomingCall(
            "d1", "c1", "sip:a@x", "sip:b@y", "sip:b@y", (), offer, Address("127.0.0.1", 1, "ws")
        )
        signalling: Any = self
        self.leg = SipIncomingLeg(signalling, incoming, media)
        self.leg.listen(self.events.append)
        self.heard: list[bytes] = []

    def body(self) -> bytes:
        """The description that was handed to the agent last."""
        body: bytes = self.asked[-1][1][0]
        return body

    def description(self) -> SessionDescription:
        return parse(self.body())


@asynccontextmanager
async def call(browser: Browser) -> AsyncIterator[WebRtcLine]:
    line = WebRtcLine(await browser.offer())
    try:
        assert line.leg.fault is None
        port = await line.leg.answer()
        port.join(line.heard.append)
        await browser.take(line.body())
        line.leg.dialog_event(Answered("d1", None))
        await until(lambda: len(line.heard) > 5)
        yield line
    finally:
        await line.leg.close()


def changed(offer: bytes, old: str, new: str) -> bytes:
    """The offer once more, with something else in it."""
    text = offer.decode()
    assert old in text
    return text.replace(old, new).encode()


async def test_it_is_answered_in_kind_and_heard() -> None:
    async with Browser(with_channel=False) as browser, call(browser) as line:
        assert line.events[0] == LegAnswered()
        (audio,) = line.description().media
        assert audio.protocol == "UDP/TLS/RTP/SAVPF"
        assert (line.leg.codec, line.leg.media_security) == ("opus", "srtp")
        await until(lambda: len(line.heard) > 40)
        samples = np.frombuffer(b"".join(line.heard[10:]), np.int16)
        assert strength(samples, 440, 24_000) > 0.98


async def test_hold_and_resume() -> None:
    async with Browser(with_channel=False) as browser, call(browser) as line:
        offer = await browser.offer()
        line.leg.dialog_event(Reoffer("d1", changed(offer, "a=sendrecv", "a=sendonly")))
        assert line.asked[-1][0] == "answer_offer"
        assert line.description().media[0].direction == "recvonly"
        assert line.events[-1] == LegHeld(True)
        line.heard.clear()
        await asyncio.sleep(0.2)
        assert len(line.heard) <= 1
        line.leg.dialog_event(Reoffer("d1", offer))
        assert line.description().media[0].direction == "sendrecv"
        assert line.events[-1] == LegHeld(False)
        await until(lambda: len(line.heard) > 5)


async def test_a_restart_of_ice_is_refused_and_the_call_goes_on() -> None:
    async with Browser(with_channel=False) as browser, call(browser) as line:
        offer = (await browser.offer()).decode()
        ufrag = next(line for line in offer.splitlines() if line.startswith("a=ice-ufrag"))
        line.leg.dialog_event(Reoffer("d1", offer.replace(ufrag, "a=ice-ufrag:other").encode()))
        name, arguments = line.asked[-1]
        assert (name, arguments[0]) == ("refuse_offer", 488)
        line.heard.clear()
        await until(lambda: len(line.heard) > 5)


async def test_a_reinvite_without_an_offer_is_offered_the_same_connection() -> None:
    async with Browser(with_channel=False) as browser, call(browser) as line:
        before = line.description()
        line.leg.dialog_event(Reoffer("d1", None))
        after = line.description()
        assert after.media[0].attribute("setup") == "actpass"
        assert after.media[0].attribute("ice-ufrag") == before.media[0].attribute("ice-ufrag")
        assert int(after.origin.session_version) == int(before.origin.session_version) + 1
        line.leg.dialog_event(Reanswered("d1", 200, await browser.offer()))
        line.heard.clear()
        await until(lambda: len(line.heard) > 5)


async def test_a_call_whose_connection_is_gone_is_hung_up() -> None:
    async with Browser(with_channel=False) as browser, call(browser) as line:
        await browser.pc.close()
        await until(lambda: LegEnded("peer_closed") in line.events)
        assert line.asked[-1][0] == "hang_up"


async def test_an_offer_that_is_of_no_use_is_a_fault() -> None:
    async with Browser() as browser:
        offer = await browser.offer()
        line = WebRtcLine(changed(offer, "a=rtcp-mux\r\n", ""))
        assert isinstance(line.leg.fault, LegError)
        assert (line.leg.fault.status, line.leg.fault.reason) == (488, "unacceptable_media")
        await line.leg.close()


async def test_a_data_channel_is_refused() -> None:
    """Over SIP nobody controls the call, and nobody would hear what is said there."""
    async with Browser() as browser:
        line = WebRtcLine(await browser.offer())
        await line.leg.answer()
        audio, data = line.description().media
        assert audio.port > 0
        assert data.port == 0
        await line.leg.close()
