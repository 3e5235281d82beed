"""The leg of a browser, called by a real WebRTC peer: audio, events, and every way it ends."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest

from gateway.audio import g711
from gateway.audio.formats import PCMA, PCMU, AudioFormat
from gateway.audio.playout import ItemPart, Stopped
from gateway.legs.leg import (
    KeysError,
    LegAnswered,
    LegEnded,
    LegError,
    LegEvent,
    MediaPort,
    OfferError,
    Played,
)
from gateway.legs.leg_media import MediaConfig, WebRtcConfig
from gateway.legs.pacer import Pacer
from gateway.legs.ports import PortPool
from gateway.legs.webrtc_leg import WebRtcLeg
from gateway.media import host_addresses
from gateway.sdp.webrtc import AudioCodecName
from gateway.webrtc.peer import PeerConfig
from tests.circles import circles
from tests.legs.browser import Browser, strength, until
from tests.legs.office import free_port

pytestmark = pytest.mark.loop

ALL: tuple[AudioCodecName, ...] = ("opus", "pcmu", "pcma")
FAULTS: list[Mapping[str, int]] = []
PART = ItemPart("resp_1", "item_1", 0)


class Call:
    """A leg, and what came of it."""

    def __init__(self, offer: bytes, media: MediaConfig) -> None:
        self.leg = WebRtcLeg(offer, media)
        self.events: list[LegEvent] = []
        self.heard: list[bytes] = []
        self.messages: list[bytes] = []
        self.opened = asyncio.Event()
        self.leg.listen(self.events.append)
        self.leg.channel.listen(self.opened.set, self.messages.append)

    async def answer(self) -> MediaPort:
        port = await self.leg.answer()
        port.join(self.heard.append)
        return port

    def ended(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, LegEnded)]


def config(
    codecs: tuple[AudioCodecName, ...] = ALL, pool: PortPool | None = None, rate_hz: int = 24_000
) -> MediaConfig:
    first = free_port()
    return MediaConfig(
        bind_host="127.0.0.1",
        advertised_host="127.0.0.1",
        ports=PortPool(first, first + 20) if pool is None else pool,
        pacer=Pacer(),
        timeout_s=30.0,
        webrtc=WebRtcConfig(host_addresses, PeerConfig(), codecs, rate_hz, FAULTS.append),
    )


@asynccontextmanager
async def waiting(
    offer: bytes, media: MediaConfig | None = None
) -> AsyncIterator[tuple[Call, MediaPort]]:
    """A call that is answered, and whose browser has not heard of it."""
    one = Call(offer, media or config())
    try:
        yield one, await one.answer()
    finally:
        await one.leg.close()


@asynccontextmanager
async def call(browser: Browser, media: MediaConfig) -> AsyncIterator[tuple[Call, MediaPort]]:
    """A conversation that has begun."""
    async with waiting(await browser.offer(), media) as (one, port):
        await browser.take(one.leg.description)
        await until(lambda: LegAnswered() in one.events)
        yield one, port


@pytest.mark.parametrize(
    ("offered", "codec", "audio_format"),
    [
        ((), "opus", AudioFormat("pcm16", 24_000)),
        (("PCMU/8000",), "pcmu", PCMU),
        (("PCMA/8000",), "pcma", PCMA),
    ],
)
async def test_both_hear_each_other(
    offered: tuple[str, ...], codec: str, audio_format: AudioFormat
) -> None:
    async with Browser(440.0, offered) as browser, call(browser, config()) as (one, port):
        assert (one.leg.codec, port.format) == (codec, audio_format)
        rate_hz = audio_format.rate_hz
        at = np.arange(rate_hz) / rate_hz
        tone = (8000 * np.sin(2 * np.pi * 800 * at)).astype(np.int16)
        law = audio_format.encoding
        port.playout.push(PART, tone.tobytes() if law == "pcm16" else g711.encode(tone, law))
        port.playout.finish(PART)
        enough = rate_hz * audio_format.bytes_per_sample
        await until(lambda: sum(map(len, one.heard)) > enough and len(browser.heard) > 40_000)
        audio = b"".join(one.heard)[-enough // 2 :]
        samples = np.frombuffer(audio, np.int16) if law == "pcm16" else g711.decode(audio, law)
        assert strength(samples, 440, rate_hz) > 0.98
        assert 0.8 < np.sqrt(np.mean(samples.astype(float) ** 2)) / (8000 / np.sqrt(2)) < 1.25
        loud = browser.heard[np.abs(browser.heard) > 500]
        assert len(loud) > 10_000
        assert strength(browser.heard, 800, 48_000) > 0.95
        stats = port.stats()
        assert stats.rtp_received > 40
        assert stats.rtp_sent > 40
        assert stats.rtp_lost == 0


async def test_opus_is_decoded_at_the_rate_that_is_wanted() -> None:
    async with Browser() as browser, call(browser, config(rate_hz=16_000)) as (one, port):
        assert port.format == AudioFormat("pcm16", 16_000)
        await until(lambda: len(one.heard) > 40)
        samples = np.frombuffer(b"".join(one.heard[10:]), np.int16)
        assert strength(samples, 440, 16_000) > 0.98


async def test_what_may_be_agreed_on_is_a_setting() -> None:
    async with Browser() as browser, call(browser, config(("pcma",))) as (one, _):
        assert one.leg.codec == "pcma"


async def test_an_offer_with_candidates_connects_too() -> None:
    async with Browser(candidates=True) as browser, call(browser, config()) as (one, _):
        await until(lambda: len(one.heard) > 10)


async def test_events_go_both_ways_large_ones_too() -> None:
    async with Browser() as browser, call(browser, config()) as (one, _):
        await asyncio.wait_for(one.opened.wait(), 10)
        assert one.leg.channel.is_open
        one.leg.channel.send(b'{"type": "session.created"}')
        one.leg.channel.send(b'{"type": "x", "text": "' + b"x" * 60_000 + b'"}')
        browser.send({"type": "session.update", "text": "y" * 60_000})
        await until(lambda: len(browser.events) == 2 and len(one.messages) == 1)
        assert browser.events[0] == {"type": "session.created"}
        assert len(browser.events[1]["text"]) == 60_000
        assert len(one.messages[0]) > 60_000
        await until(lambda: one.leg.channel.waiting_bytes == 0)
        with pytest.raises(ValueError):
            one.leg.channel.send(b"x" * (64 << 20))


@pytest.mark.parametrize("how", ["closes the channel", "goes", "hangs up here"])
async def test_it_ends_once(how: str) -> None:
    FAULTS.clear()
    media = config()
    free = len(media.ports)
    async with Browser() as browser, call(browser, media) as (one, _):
        await asyncio.wait_for(one.opened.wait(), 10)
        assert len(media.ports) == free - 1
        if how == "closes the channel":
            browser.channel.close()
        elif how == "goes":
            await browser.pc.close()
        else:
            one.leg.hang_up()
        await until(lambda: one.ended() != [])
        await one.leg.close()
        await asyncio.sleep(0.1)
        reason = {"closes the channel": "channel_closed", "goes": "peer_closed"}
        assert one.ended() == [reason.get(how, "local_bye")]
        assert [set(told) >= {"dropped_source", "dropped_stun"} for told in FAULTS] == [True]
    assert len(media.ports) == free


async def test_what_was_said_last_still_arrives() -> None:
    async with Browser() as browser:
        async with call(browser, config()) as (one, _):
            await asyncio.wait_for(one.opened.wait(), 10)
            for number in range(20):
                one.leg.channel.send(b'{"number": %d, "text": "%s"}' % (number, b"x" * 20_000))
        await until(lambda: len(browser.events) == 20)


async def test_our_end_is_noticed_by_the_browser() -> None:
    async with Browser() as browser:
        async with call(browser, config()) as (one, _):
            await asyncio.wait_for(one.opened.wait(), 10)
        await until(lambda: browser.pc.connectionState in ("closed", "failed"))


async def test_nothing_is_played_before_the_browser_is_there() -> None:
    async with Browser() as browser, waiting(await browser.offer()) as (one, port):
        rate_hz = port.format.rate_hz
        tone = (8000 * np.sin(2 * np.pi * 800 * np.arange(rate_hz) / rate_hz)).astype(np.int16)
        port.playout.push(PART, tone.tobytes())
        port.playout.finish(PART)
        await asyncio.sleep(0.4)
        assert one.events == []  # nobody has heard the voice begin
        assert port.stats().rtp_sent == 0
        await browser.take(one.leg.description)
        await until(lambda: any(isinstance(event, Played) for event in one.events))
        await until(lambda: np.count_nonzero(np.abs(browser.heard) > 3000) > 20_000)
        await until(lambda: Played(Stopped(PART)) in one.events)
        loud = np.flatnonzero(np.abs(browser.heard) > 1000)
        assert loud[-1] - loud[0] > 0.8 * 48_000  # it was heard from its beginning


async def test_an_address_that_is_gone_is_left_out() -> None:
    media = config()
    assert media.webrtc is not None
    gone = replace(media.webrtc, hosts=lambda: ("203.0.113.9", *host_addresses()))
    async with Browser() as browser, call(browser, replace(media, webrtc=gone)) as (one, _):
        assert b"203.0.113.9" not in one.leg.description


async def test_without_a_port_there_is_no_answer() -> None:
    async with Browser() as browser:
        one = Call(await browser.offer(), config(pool=PortPool(40_000, 40_000)))
        with pytest.raises(LegError) as caught:
            await one.answer()
        await one.leg.close()
        assert (caught.value.status, caught.value.reason) == (503, "no_media_port")


async def test_an_offer_that_is_of_no_use_says_why() -> None:
    for offer in (b"v=0\r\n", b"\xff", b""):
        with pytest.raises(OfferError):
            WebRtcLeg(offer, config())
    with pytest.raises(OfferError, match="WebRTC is off here"):
        WebRtcLeg(b"", replace(config(), webrtc=None))
    async with Browser(codecs=("PCMU/8000",)) as browser:
        with pytest.raises(OfferError, match="codec"):
            WebRtcLeg(await browser.offer(), config(("opus",)))


async def test_it_cannot_be_transferred() -> None:
    async with Browser() as browser:
        one = Call(await browser.offer(), config())
        with pytest.raises(LegError):
            one.leg.refer("sip:somebody@example.com")
        await one.leg.close()


async def test_keys_are_pressed_where_the_browser_takes_them() -> None:
    async with Browser() as browser, call(browser, config()) as (one, _):
        with pytest.raises(KeysError) as refused:
            one.leg.press("1")  # aiortc has no telephone-events
        assert (refused.value.status, refused.value.reason) == (400, "no_digits")
    async with Browser() as browser:
        offer = (await browser.offer()).replace(
            b"UDP/TLS/RTP/SAVPF 96", b"UDP/TLS/RTP/SAVPF 96 126"
        )
        offer = offer.replace(b"a=rtpmap:96", b"a=rtpmap:126 telephone-event/8000\r\na=rtpmap:96")
        async with waiting(offer) as (one, _):
            await browser.take(one.leg.description.replace(b" 126\r\n", b"\r\n"))
            await until(lambda: LegAnswered() in one.events)
            one.leg.press("1")


async def test_nothing_of_it_is_left_to_the_collector() -> None:
    async def live() -> None:
        async with Browser(440.0) as browser, call(browser, config()) as (one, _):
            await asyncio.wait_for(one.opened.wait(), 10)
            browser.send({"type": "session.update"})
            await until(lambda: bool(one.messages))

    with circles() as left:
        await live()
        await asyncio.sleep(0.1)
    assert not left


async def test_nor_is_anything_of_browsers_that_do_not_come() -> None:
    async def refuse_and_wait() -> None:
        with pytest.raises(OfferError):
            WebRtcLeg(b"v=0\r\n", config())
        async with Browser() as browser, waiting(await browser.offer()):
            pass

    with circles() as left:
        await refuse_and_wait()
        await asyncio.sleep(0.1)
    assert not left
