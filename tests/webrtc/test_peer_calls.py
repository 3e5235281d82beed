"""Calls with aiortc's own peer connection: how they come about, and media both ways."""

import asyncio
import struct
from typing import Any

import pytest

from gateway.webrtc.peer import Peer, PeerConfig
from tests.webrtc.parties import (
    PATIENCE_S,
    SSRC,
    Call,
    Ear,
    both_loops,
    bound,
    call,
    no_defects,
    own_host,
    pcmu,
    until,
)

pytestmark = pytest.mark.peer

LOUD = bytes([0x80, 0x00] * 80)  # the loudest that PCMU has, up and down


async def _loudest_heard(it: Call) -> int:
    """What the browser makes of packets of ours."""
    track: Any = it.browser.pc.getReceivers()[0].track
    heard = asyncio.create_task(track.recv())
    sequence = 0
    while not heard.done():
        it.peer.send_rtp(pcmu(sequence, LOUD))
        sequence += 1
        await asyncio.sleep(0.002)
    return int(abs(heard.result().to_ndarray()).max())


@both_loops
async def test_media_goes_both_ways() -> None:
    async with no_defects(), call() as it:
        await it.connected()
        assert await _loudest_heard(it) > 32_000
        await until(lambda: len(it.ear.rtp) > 2)
        assert {packet[0] for packet in it.ear.rtp} == {0x80}
        assert {packet[12:] for packet in it.ear.rtp} == {b"\xff" * 160}
        assert it.peer.counters.dropped_srtp == it.peer.counters.dropped_source == 0


async def test_reports_go_both_ways_beside_it() -> None:
    async with call() as it:
        await it.connected()
        bye = struct.pack("!BBHI", 0x81, 203, 1, 99)
        await it.browser.dtls._send_rtp(bye)
        await until(lambda: it.ear.rtcp)
        assert it.ear.rtcp[0] == bye

        await _loudest_heard(it)  # or the browser knows nobody of that name
        it.peer.send_rtcp(struct.pack("!BBHIQIII", 0x80, 200, 6, SSRC, 1 << 40, 5, 6, 7))
        async with asyncio.timeout(PATIENCE_S):
            while not await _knows_a_report(it):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.005)


async def _knows_a_report(it: Call) -> bool:
    known = (await it.browser.pc.getStats()).values()
    return any(one.type == "remote-outbound-rtp" for one in known)


async def test_nothing_is_sent_before_it_is_connected_nor_after_it_is_closed() -> None:
    def send(peer: Peer) -> tuple[int, int]:
        """How many packets leave of two, and bytes of a message that wait to leave."""
        packets: list[bytes] = []
        before = peer.waiting_bytes
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(peer._ice, "send_now", packets.append)
            peer.send_rtp(pcmu(1))
            peer.send_rtcp(struct.pack("!BBHI", 0x80, 201, 1, SSRC))
            peer.send_message(b"{}")
        return len(packets), peer.waiting_bytes - before

    ear = Ear()
    early = Peer(PeerConfig(), ear)
    await early.open(bound(own_host()))
    assert send(early) == (0, 0)
    await early.close()
    assert ear.told == []

    async with call() as it:
        await it.connected()
        assert send(it.peer) == (2, 2)
        await it.peer.close()
        assert send(it.peer) == (0, 0)
        assert not it.peer.channel_open


async def test_a_packet_is_handed_on_in_the_callback_that_brought_it() -> None:
    async with call() as it:
        await it.connected()
        await it.browser.sender.stop()
        await asyncio.sleep(0.05)
        before = len(it.ear.rtp)
        (ours,) = it.peer._ice._protocols
        theirs = it.browser.ice._nominated[1].protocol.local_candidate
        ours.datagram_received(
            it.browser.dtls._tx_srtp.protect(pcmu(5)), (theirs.host, theirs.port)
        )
        assert it.ear.rtp[before:] == [pcmu(5)]


async def test_an_offer_without_candidates_is_found_by_its_checks() -> None:
    async with call(named=False) as it:
        await it.connected()
        assert {pair.remote_candidate.type for pair in it.peer._ice._check_list} == {"prflx"}


async def test_a_peer_that_opens_dtls_may() -> None:
    def opens(offer: str) -> str:
        return offer.replace("a=setup:actpass", "a=setup:active")

    async with call(change=opens) as it:
        await it.connected()
        assert it.peer._dtls is not None
        assert (it.peer._dtls._role, it.browser.dtls._role) == ("server", "client")
        assert it.peer.counters.dropped_dtls == it.peer.counters.dropped_source == 0


async def test_we_open_dtls_where_we_may() -> None:
    async with call() as it:
        await it.connected()
        assert it.peer._dtls is not None and it.peer._dtls._role == "client"


async def test_it_does_without_a_data_channel() -> None:
    async with call(channel=None) as it:
        await it.connected()
        assert it.ear.told == ["connected"]
        assert not it.peer.channel_open
        await until(lambda: it.ear.rtp)


async def test_a_packet_too_long_for_the_way_is_dropped_and_counted() -> None:
    async with call() as it:
        await it.connected()
        it.peer.send_rtp(pcmu(1, bytes(2000)))
        it.peer.send_rtcp(b"")
        assert it.peer.counters.dropped_sending == 2


async def test_a_socket_that_does_not_send_loses_the_packet_only() -> None:
    async with call() as it:
        await it.connected()
        assert it.peer._ice._way is not None
        ours, way = it.peer._ice._way
        it.peer._ice._way = ours, ("255.255.255.255", 9)  # which needs a permission
        it.peer.send_rtp(pcmu(1))
        assert it.peer.counters.dropped_sending == 1
        it.peer._ice._way = ours, way
        assert await _loudest_heard(it) > 32_000


async def test_calls_of_a_process_show_one_certificate() -> None:
    config = PeerConfig()
    first, second = Peer(config, Ear()), Peer(config, Ear())
    assert first.local.fingerprints == second.local.fingerprints
    assert first.local.ufrag != second.local.ufrag
    await first.close()
    await second.close()
