"""SRTP at a media port, and at a whole leg: who is heard, what is sent, new keys, forgeries."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gateway.legs.leg import DtmfIn
from gateway.legs.leg_media import MediaConfig
from gateway.legs.plain_media import PlainMedia
from gateway.legs.ports import PortPool
from gateway.rtp.packet import RtpPacket
from gateway.rtp.rollover import wind
from gateway.rtp.srtp import Opener, Seal
from gateway.sdp.answer import answer, offer, plan_from_answer
from gateway.sdp.crypto import KEY_BYTES, SUITES, SrtpKeys, Suite
from gateway.sdp.description import SdpError, parse, values
from gateway.sdp.plan import AudioPlan, LocalMedia
from tests.legs.test_rtp_port import Bench, HandPacer, Peer

pytestmark = pytest.mark.loop

FRAME = bytes(range(160))
SUITE: Suite = "AES_CM_128_HMAC_SHA1_80"
OURS, THEIRS, NEXT = (bytes([one]) * KEY_BYTES[SUITE] for one in (1, 2, 3))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.open()
    yield bench
    bench.port.close()
    bench.peer.transport.close()
    bench.rtcp_peer.transport.close()
    await bench.arrive()


def sealed(number: int, ssrc: int = 9) -> bytes:
    return RtpPacket(0, number & 0xFFFF, number * 160, ssrc, FRAME).to_bytes()


async def send(bench: Bench, data: bytes, peer: Peer | None = None) -> None:
    (peer or bench.peer).transport.sendto(data, ("127.0.0.1", bench.number))
    await bench.arrive()


async def test_only_what_the_peer_sealed_is_heard(bench: Bench) -> None:
    bench.port.apply(bench.plan(srtp=SrtpKeys(SUITE, OURS, THEIRS)))
    seal = Seal(SUITE, THEIRS)
    await send(bench, sealed(1))
    for number in range(40):
        await send(bench, random.Random(number).randbytes(172))
    assert bench.heard == []
    await send(bench, seal.protect(sealed(1)))
    assert bench.heard == [FRAME]


async def test_an_attacker_at_the_port_is_sent_nothing(bench: Bench) -> None:
    """Not even by being first: where somebody is is learned from packets that are the peer's."""
    bench.port.apply(bench.plan(srtp=SrtpKeys(SUITE, OURS, THEIRS)), reachable=False)
    loop = asyncio.get_running_loop()
    _, attacker = await loop.create_datagram_endpoint(Peer, ("127.0.0.1", 0))
    for number in range(10):
        await send(bench, sealed(number), attacker)
    bench.tick(5)
    await bench.arrive()
    assert attacker.packets == [] and bench.peer.packets == []
    seal = Seal(SUITE, THEIRS)
    for number in range(5):
        await send(bench, seal.protect(sealed(number)))
    bench.tick(5)
    await bench.arrive()
    assert attacker.packets == [] and len(bench.peer.packets) == 5
    attacker.transport.close()


async def test_what_is_sent_is_sealed_reports_too(bench: Bench) -> None:
    bench.port.apply(bench.plan(srtp=SrtpKeys(SUITE, OURS, THEIRS)))
    bench.tick(3)
    bench.port.close()  # which says goodbye over RTCP
    await bench.arrive()
    opener = Opener(SUITE, OURS)
    assert [opener.unprotect(packet) is not None for packet in bench.peer.packets] == [True] * 3
    assert [opener.unprotect(report) is not None for report in bench.rtcp_peer.packets] == [True]


async def test_a_new_key_of_the_peer_leaves_ours_as_it_was(bench: Bench) -> None:
    bench.port.apply(bench.plan(srtp=SrtpKeys(SUITE, OURS, THEIRS)))
    bench.tick(2)
    bench.port.apply(bench.plan(srtp=SrtpKeys(SUITE, OURS, NEXT)))
    bench.tick(2)
    await bench.arrive()
    opener = Opener(SUITE, OURS)
    assert all(opener.unprotect(packet) for packet in bench.peer.packets)
    old = Seal(SUITE, THEIRS)
    await send(bench, old.protect(sealed(1)))  # on its way when our answer left
    await send(bench, Seal(SUITE, NEXT).protect(sealed(2)))
    assert bench.heard == [FRAME] * 2
    await send(bench, old.protect(sealed(3)))
    assert bench.heard == [FRAME] * 2
    assert bench.port.dropped()["forged"] == 1


async def test_a_key_with_a_number_and_then_one_without(bench: Bench) -> None:
    """The number stands before the tag of ten bytes."""
    bench.port.apply(bench.plan(srtp=SrtpKeys(SUITE, OURS, THEIRS, mki=b"\0\1")))
    seal = Seal(SUITE, THEIRS)

    first, second, third = (seal.protect(sealed(number)) for number in (1, 2, 3))
    for packet in (first, second):
        await send(bench, packet)
        await send(bench, packet[:-10] + b"\0\2" + packet[-10:])
        await send(bench, packet[:-10] + b"\0\1" + packet[-10:])
    assert bench.heard == [FRAME] * 2 and bench.port.dropped()["forged"] == 4
    bench.port.apply(bench.plan(srtp=SrtpKeys(SUITE, OURS, NEXT)))
    await send(bench, third[:-10] + b"\0\1" + third[-10:])
    await send(bench, Seal(SUITE, NEXT).protect(sealed(4)))
    assert bench.heard == [FRAME] * 4


async def test_branches_of_a_forked_call_do_not_make_our_keys_begin_anew(bench: Bench) -> None:
    """Of three early answers the first and the last take the same key; reports are sealed too."""
    other: Suite = "AEAD_AES_128_GCM"
    keys = SrtpKeys(SUITE, OURS, THEIRS)
    bench.port.apply(bench.plan(srtp=keys))
    bench.tick(2)
    bench.port.apply(bench.plan(srtp=SrtpKeys(other, bytes(28), bytes(28))))
    bench.port.apply(bench.plan())
    bench.port.apply(bench.plan(srtp=keys))
    bench.tick(2)
    bench.port.close()
    await bench.arrive()
    opener = Opener(SUITE, OURS)
    assert len(bench.peer.packets) == 4 and all(map(opener.unprotect, bench.peer.packets))
    assert opener.unprotect(bench.rtcp_peer.packets[-1]) is not None


async def test_a_flood_is_counted_and_the_caller_is_heard(bench: Bench) -> None:
    bench.port.apply(bench.plan(srtp=SrtpKeys(SUITE, OURS, THEIRS)))
    noise, seal = random.Random(3), Seal(SUITE, THEIRS)
    for number in range(50):
        for size in (182, 40, 12, 1):
            bench.peer.transport.sendto(noise.randbytes(size), ("127.0.0.1", bench.number))
        await send(bench, seal.protect(sealed(number)))
    assert bench.port.stats().rtp_received == 50
    assert bench.port.dropped() == {"forged": 200, "source": 0, "payload": 0, "malformed": 0}
    assert bench.events == []


async def test_keys_that_are_pressed_are_sealed_both_ways(bench: Bench) -> None:
    bench.port.apply(bench.plan(srtp=SrtpKeys(SUITE, OURS, THEIRS)))
    seal, opener = Seal(SUITE, THEIRS), Opener(SUITE, OURS)
    await send(bench, seal.protect(sealed(1)))
    for sequence in (2, 3):
        press = RtpPacket(101, sequence, 480, 9, b"\x05\x0a\x01\x40").to_bytes()
        await send(bench, seal.protect(press))
    assert [event.digit for event in bench.events if isinstance(event, DtmfIn)] == ["5"]
    assert bench.port.press("4")
    bench.tick(12)
    await bench.arrive()
    opened = [opener.unprotect(packet) or b"" for packet in bench.peer.packets]
    assert all(opened)
    assert {RtpPacket.parse(packet).payload_type for packet in opened} == {0, 101}


async def test_the_rollover_counter_outlives_a_new_key_of_the_peer(bench: Bench) -> None:
    """Were it to begin anew, two packets would be sealed with the same numbers."""
    bench.port.apply(bench.plan(srtp=SrtpKeys(SUITE, OURS, THEIRS)))
    await send(bench, Seal(SUITE, THEIRS).protect(sealed(1)))
    opener = Opener(SUITE, OURS)
    sent = 0
    while sent < 66_000:  # past the wrap, and little enough of it at a time for a socket
        bench.tick(200)
        await asyncio.sleep(0.001)
        assert all(opener.unprotect(packet) for packet in bench.peer.packets)
        sent += len(bench.peer.packets)
        bench.peer.packets.clear()
    bench.port.apply(bench.plan(srtp=SrtpKeys(SUITE, OURS, NEXT)))
    bench.tick(2)
    await bench.arrive()
    assert bench.peer.packets and all(opener.unprotect(packet) for packet in bench.peer.packets)


@pytest.mark.parametrize("anew", [True, False])
@pytest.mark.parametrize("until", [100, 40_000, 66_000])
async def test_a_new_key_of_ours_is_heard_by_any_peer(bench: Bench, until: int, anew: bool) -> None:
    """Some peers go on with their count of our wraps then, and some begin anew. Where that differs,
    or soon would, we are another source, of which both count from zero."""
    other: Suite = "AEAD_AES_128_GCM"
    bench.port.apply(bench.plan(srtp=SrtpKeys(SUITE, OURS, THEIRS)))
    await send(bench, Seal(SUITE, THEIRS).protect(sealed(1)))
    opener = Opener(SUITE, OURS)
    while bench.port.stats().rtp_sent < until:
        bench.tick(100)
        await asyncio.sleep(0.001)
        assert all(opener.unprotect(packet) for packet in bench.peer.packets)
        bench.peer.packets.clear()
    assert bench.port.press("5")
    bench.tick(3)
    await bench.arrive()
    key = bytes([4]) * KEY_BYTES[other]
    bench.peer.packets.clear()
    bench.port.apply(bench.plan(srtp=SrtpKeys(other, key, bytes(28))))
    bench.tick(100)
    await bench.arrive()
    peer = Opener(other, key, None if anew else opener)
    if not anew:
        peer._probe = None  # libsrtp's `srtp_update` goes on and tries nothing else
        for ssrc, quarters in peer._carried.items():
            wind(peer._session, Seal(other, key).protect, ssrc, quarters)
    opened = [RtpPacket.parse(peer.unprotect(packet) or b"") for packet in bench.peer.packets]
    assert len(opened) >= 100
    assert ({one.ssrc for one in opened} == {1}) == (until == 100)
    assert len({one.ssrc for one in opened}) == 1
    numbers = [one.sequence_number for one in opened]
    assert numbers == list(range(numbers[0], numbers[0] + len(opened))) and numbers[0] < 0x8000
    assert bench.port.stats().rtp_sent >= until + 103
    assert {one.payload_type for one in opened} == ({0, 101} if until == 100 else {0})
    bench.port.close()
    await bench.arrive()
    goodbye = peer.unprotect(bench.rtcp_peer.packets[-1])
    assert goodbye is not None and goodbye[4:8] == opened[0].ssrc.to_bytes(4)


async def test_encryption_may_end_and_begin_again(bench: Bench) -> None:
    bench.port.apply(bench.plan(srtp=SrtpKeys(SUITE, OURS, THEIRS)))
    bench.port.apply(bench.plan())
    await send(bench, sealed(1))
    assert bench.heard == [FRAME]
    bench.port.apply(bench.plan(srtp=SrtpKeys(SUITE, NEXT, THEIRS)))
    await send(bench, sealed(2))
    assert bench.heard == [FRAME]


# The leg's media: offers, answers, keys.


Makes = Callable[..., Awaitable[PlainMedia]]


@pytest.fixture
async def media() -> AsyncIterator[Makes]:
    made: list[PlainMedia] = []

    async def make(srtp: Any = "offer", *, private: bool = False) -> PlainMedia:
        first = random.randrange(32_000, 60_000, 2)
        pacer: Any = HandPacer()
        ports = PortPool(first, first + 21)
        config = MediaConfig("127.0.0.1", "127.0.0.1", ports, pacer, 30.0, srtp=srtp)
        made.append(PlainMedia(config, "127.0.0.1", lambda _: None, private=private))
        await made[-1].open()
        return made[-1]

    yield make
    for one in made:
        await one.close()


PEER = LocalMedia("127.0.0.1", 40_000, 5, keys={SUITE: THEIRS}, secure=True)


def agreed(ours: PlainMedia, peer: LocalMedia) -> AudioPlan:
    """The peer's plan for our answer to its offer."""
    asked = offer(peer).to_bytes()
    return plan_from_answer(parse(ours.answer_again(parse(asked))), peer)


async def test_many_first_packets_may_be_lost(
    media: Makes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who hears none before our numbers wrap guesses the rollover counter wrong for good, so they
    begin in the lower half (RFC 4568 section 6.4). DTLS-SRTP takes its numbers from there too."""
    ours = await media()
    monkeypatch.setattr("secrets.randbits", lambda bits: (1 << bits) - 1)  # as high as they may be
    first = ours._config.new_flow().first_sequence
    for suite in SUITES:
        key = bytes(KEY_BYTES[suite])
        seal, opener = Seal(suite, key), Opener(suite, key)
        packets = [seal.protect(sealed(first + number)) for number in range(33_000)]
        assert opener.unprotect(packets[32_000]) and opener.unprotect(packets[32_999])


async def test_keys_of_a_call_are_its_own_and_stay(media: Makes) -> None:
    first, second = await media(), await media()
    for one in (first, second):
        one.look_at(offer(PEER))
    before = agreed(first, PEER)
    assert before.srtp is not None and agreed(second, PEER).srtp != before.srtp
    assert agreed(first, PEER).srtp == before.srtp
    assert first.media_security == "srtp"


async def test_a_key_that_was_left_is_not_taken_up_again(media: Makes) -> None:
    ours = await media()
    ours.look_at(offer(PEER))
    before = agreed(ours, PEER)
    other: Suite = "AEAD_AES_128_GCM"
    peer = LocalMedia("127.0.0.1", 40_000, 5, keys={other: bytes(KEY_BYTES[other])}, secure=True)
    agreed(ours, peer)
    after = agreed(ours, PEER)
    assert before.srtp is not None and after.srtp is not None
    assert before.srtp.receives != after.srtp.receives


@pytest.mark.parametrize(
    ("srtp", "private", "protocol", "keys"),
    [
        ("off", True, "RTP/AVP", False),
        ("offer", False, "RTP/AVP", False),
        ("offer", True, "RTP/AVP", True),
        ("require", False, "RTP/SAVP", True),
    ],
)
async def test_what_we_offer(
    media: Makes, srtp: str, private: bool, protocol: str, keys: bool
) -> None:
    ours = await media(srtp, private=private)
    body = ours.offer()
    assert (parse(body).media[0].protocol, b"a=crypto" in body) == (protocol, keys)
    if keys:
        description, plan = answer(parse(body), PEER)
        ours.take_answer(description.to_bytes())
        assert ours.media_security == "srtp" and plan.srtp is not None


async def test_a_refresh_by_saying_the_session_again_ends_nothing(media: Makes) -> None:
    """The tag is the peer's, the setting `offer`, signalling in the clear."""
    ours = await media()
    asked = parse(offer(PEER).to_bytes().replace(b"crypto:1 ", b"crypto:6 "))
    ours.look_at(asked)
    said = ours.answer()
    body = offer(PEER).to_bytes().replace(b"crypto:1 ", b"crypto:6 ")
    ours.take_answer(body)
    assert ours.media_security == "srtp"
    assert b"crypto:6 " in said


async def test_an_offer_inside_a_protected_call_is_protected(media: Makes) -> None:
    ours = await media()
    ours.look_at(offer(PEER))
    first = ours.answer()
    body = ours.offer()  # the re-INVITE had none
    assert body.startswith(first.split(b"\r\n")[0]) and b"RTP/SAVP" in body
    description, plan = answer(parse(body), PEER)
    ours.take_answer(description.to_bytes())
    assert ours.media_security == "srtp" and plan.srtp is not None
    assert plan.srtp.receives == agreed(ours, PEER).srtp.receives  # type: ignore[union-attr]


async def test_a_stream_that_is_taken_away_keeps_its_keys(media: Makes) -> None:
    ours = await media()
    ours.look_at(offer(PEER))
    before = agreed(ours, PEER)
    gone = offer(PEER).to_bytes().replace(b"m=audio 40000", b"m=audio 0")
    assert b"m=audio 0" in ours.answer_again(parse(gone))
    ours.take_answer(gone)  # a refresh while it is away
    assert ours.media_security == "srtp"
    assert agreed(ours, PEER).srtp == before.srtp


@pytest.mark.parametrize("protocol", ["RTP/SAVP", "RTP/AVP"])
async def test_an_offer_of_ours_wakes_a_stream_that_was_taken_away_with_keys(
    media: Makes, protocol: str
) -> None:
    """Keys beside plain RTP too: who had protection is not offered less."""
    ours = await media()
    asked = offer(PEER).to_bytes().replace(b"RTP/SAVP", protocol.encode())
    ours.look_at(parse(asked))
    ours.answer()
    gone = offer(PEER).to_bytes().replace(b"m=audio 40000", b"m=audio 0")
    ours.answer_again(parse(gone.replace(b"RTP/SAVP", protocol.encode())))
    body = ours.offer()  # the re-INVITE had none
    assert protocol.encode() in body and b"a=crypto" in body
    description, plan = answer(parse(body), PEER)
    ours.take_answer(description.to_bytes())
    assert ours.media_security == "srtp" and plan.srtp is not None


@pytest.mark.parametrize("updated", [False, True])
async def test_who_is_asked_after_another_is_told_other_keys(media: Makes, updated: bool) -> None:
    """Also when the one before has changed the session while it rang."""
    ours = await media(private=True)

    def keys(body: bytes) -> set[str]:
        return set(values(parse(body).media[0].attributes, "crypto"))

    first = keys(ours.offer())
    if updated:
        assert keys(ours.answer_early(offer(PEER))) & first
    second = keys(ours.offer())
    assert len(first) == len(second) == 4 and not first & second


async def test_a_late_offer_with_keys_and_another_suite_as_the_answer(media: Makes) -> None:
    ours = await media("require")
    suite: Suite = "AEAD_AES_256_GCM"
    peer = LocalMedia("127.0.0.1", 40_000, 5, keys={suite: bytes(KEY_BYTES[suite])})
    description, plan = answer(parse(ours.offer()), peer)
    assert b"crypto:4 " in description.to_bytes()
    ours.take_answer(description.to_bytes())
    assert plan.srtp is not None and plan.srtp.suite == suite
    assert ours.media_security == "srtp"


async def test_what_was_not_heard_is_told_at_the_end() -> None:
    told: list[Any] = []
    first = random.randrange(32_000, 60_000, 2)
    pacer: Any = HandPacer()
    ports = PortPool(first, first + 21)
    config = MediaConfig("127.0.0.1", "127.0.0.1", ports, pacer, 30.0, tell_dropped=told.append)
    ours = PlainMedia(config, "127.0.0.1", lambda _: None)
    await ours.open()
    assert told == []
    await ours.close()
    await ours.close()
    assert told == [{"forged": 0, "source": 0, "payload": 0, "malformed": 0}]


async def test_plain_rtp_is_refused_where_srtp_is_required(media: Makes) -> None:
    ours = await media("require")
    with pytest.raises(SdpError) as caught:
        ours.look_at(offer(LocalMedia("127.0.0.1", 40_000, 5)))
    assert caught.value.status == 488
