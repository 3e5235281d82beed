"""Third parties, and callers who mean no good: what reaches us from elsewhere harms no call."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pylibsrtp
import pytest
from aioice import stun
from OpenSSL import SSL

from gateway.webrtc.peer import Peer, PeerConfig
from tests.webrtc.parties import (
    Browser,
    Ear,
    both_loops,
    bound,
    call,
    no_defects,
    own_host,
    pcmu,
    respond,
    until,
)

pytestmark = pytest.mark.peer

CALLS = 8
FATAL_ALERT = bytes.fromhex("15fefd0000000000000000000202 28".replace(" ", ""))
CLOSE_NOTIFY = bytes.fromhex("15fefd000000000000000000020100")


def client_hello() -> bytes:
    client = SSL.Connection(SSL.Context(SSL.DTLS_METHOD))
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    return client.bio_read(1500)


def forged(packet: bytes) -> bytes:
    return packet[:-1] + bytes([packet[-1] ^ 1])


@asynccontextmanager
async def spraying(target: tuple[str, int], packets: Sequence[bytes]) -> AsyncIterator[None]:
    """Somebody whom nobody asked sends each of the packets every 2 ms."""

    async def spray() -> None:
        with bound(own_host())[0] as sock:
            while True:
                for packet in packets:
                    sock.sendto(packet, target)
                await asyncio.sleep(0.002)

    task = asyncio.create_task(spray())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("setup", ["actpass", "active"])
async def test_nobody_else_reaches_dtls_while_a_call_is_set_up(setup: str) -> None:
    """aiortc alone loses every one of these calls."""
    packets = [client_hello(), FATAL_ALERT, CLOSE_NOTIFY, b"\x16\xfe\xfd garbage", pcmu(1)]

    async def attacked() -> int:
        ear, browser = Ear(), Browser()
        peer = Peer(PeerConfig(), ear)
        try:
            await peer.open(bound(own_host()))
            (ours,) = peer.local.candidates
            async with spraying((ours.host, ours.port), packets):
                await until(lambda: peer.counters.dropped_source)
                offer = (await browser.offer()).replace("a=setup:actpass", f"a=setup:{setup}")
                await browser.take(respond(peer, offer))
                await until(lambda: len(ear.told) > 1 and ear.rtp)
            assert ear.told == ["connected", "opened oai-events"]
            return peer.counters.dropped_source
        finally:
            await peer.close()
            await browser.close()

    dropped = await asyncio.gather(*(attacked() for _ in range(CALLS)))
    assert min(dropped) > len(packets)


async def test_garbage_in_a_call_is_counted_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rng = random.Random(4)
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes |= {"USERNAME": "a:b", "PRIORITY": 1, "ICE-CONTROLLING": 1}
    request.add_message_integrity(b"password")
    whole = bytes(request)
    garbage = [b"", b"\x00", b"\xff" * 30, b"\x13" + bytes(50), b"\x40\x00\x00\x00", b"\x80"]
    garbage += [whole[:length] for length in range(len(whole))]
    for _ in range(500):
        mutant = bytearray(whole)
        for _ in range(rng.randrange(1, 5)):
            mutant[rng.randrange(len(mutant))] = rng.randrange(256)
        garbage.append(bytes(mutant))
    # An attribute shorter than what it is read as: aioice's parser fails with struct.error.
    cut = struct.pack("!HHI12sHH", 1, 4, stun.COOKIE, bytes(12), 0x0024, 0)
    garbage.append(cut)

    async with no_defects(), call() as it:
        await it.connected()
        with bound(own_host())[0] as sock:
            for count, packet in enumerate(garbage):
                sock.sendto(packet, it.port)
                if count % 50 == 49:
                    await asyncio.sleep(0.001)
            await asyncio.sleep(0.05)
            with pytest.raises(BlockingIOError):
                sock.recv(1500)  # no answer either, to whoever's address this was
        counters = it.peer.counters
        dropped = counters.dropped_stun + counters.dropped_other + counters.dropped_source
        assert dropped == len(garbage)
        assert counters.dropped_stun > len(whole)
        heard = len(it.ear.rtp)
        await until(lambda: len(it.ear.rtp) > heard)
        assert it.ear.told == ["connected", "opened oai-events"]
    assert not caplog.records


@both_loops
async def test_packets_that_are_not_of_the_peer_do_not_get_through() -> None:
    """Neither from elsewhere, even if made with the right keys, nor from its address without."""
    async with call() as it:
        await it.connected()
        await it.browser.sender.stop()
        await asyncio.sleep(0.05)
        counters, heard = it.peer.counters, len(it.ear.rtp)
        with bound(own_host())[0] as sock:
            sock.sendto(it.browser.dtls._tx_srtp.protect(pcmu(1)), it.port)
            await until(lambda: counters.dropped_source == 1)
        right = it.browser.dtls._tx_srtp.protect(pcmu(2))
        for wrong in (pcmu(3), forged(right), b"\x80\xc8", b"\x80", b"\x80" * 1600):
            await it.browser.ice.send(wrong)
        await until(lambda: counters.dropped_srtp == 5)
        await it.browser.ice.send(right)
        await until(lambda: len(it.ear.rtp) > heard)
        await it.browser.ice.send(right)
        await until(lambda: counters.dropped_srtp == 6)
        assert it.ear.rtp[heard:] == [pcmu(2)]


class Keys:
    """Those of the peer, counted each time they are tried."""

    def __init__(self, session: pylibsrtp.Session) -> None:
        self._session = session
        self.tried = 0

    def unprotect(self, packet: bytes) -> bytes:
        self.tried += 1
        return self._session.unprotect(packet)

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        self.tried += 1
        return self._session.unprotect_rtcp(packet)


async def test_a_caller_has_few_senders() -> None:
    """libsrtp remembers each, and looks for the right one among them packet by packet."""
    async with call(channel=None) as it:
        await it.connected()
        await it.browser.sender.stop()
        await asyncio.sleep(0.05)
        (ours,) = it.peer._ice._protocols
        theirs = it.browser.ice._nominated[1].protocol.local_candidate
        assert it.peer._decrypt is not None
        keys = Keys(it.peer._decrypt)
        it.peer._decrypt = cast(pylibsrtp.Session, keys)
        it.peer._senders.clear()  # of the browser's own

        def receive(packet: bytes) -> None:
            ours.datagram_received(packet, (theirs.host, theirs.port))

        def media(sender: int, sequence: int = 1) -> bytes:
            packet = struct.pack("!BBHII", 0x80, 0, sequence, 1, sender) + b"x"
            return bytes(it.browser.dtls._tx_srtp.protect(packet))

        def report(sender: int) -> bytes:
            packet = struct.pack("!BBHI", 0x80, 201, 1, sender)
            return bytes(it.browser.dtls._tx_srtp.protect_rtcp(packet))

        heard, reports = len(it.ear.rtp), len(it.ear.rtcp)
        for sender in range(1000, 1100):
            receive(forged(media(sender)))  # as anybody can who forges an address
        assert (keys.tried, it.peer.counters.dropped_srtp) == (100, 100)
        for sender in range(40):
            receive(media(sender))
            receive(report(sender))  # the same one
        for sender in range(40, 64):
            receive(report(sender))
        assert (keys.tried, it.peer.counters.dropped_srtp) == (204, 100)

        for sender in range(64, 80):
            receive(media(sender))
            receive(report(sender))
        assert (keys.tried, it.peer.counters.dropped_srtp) == (204, 132)
        for sender in (0, 63, 39):
            receive(media(sender, 2))
        assert (len(it.ear.rtp) - heard, len(it.ear.rtcp) - reports) == (43, 64)


async def test_a_datagram_that_nobody_would_send_does_not_wait_to_be_read() -> None:
    """A thousand of the longest would be 64 MB for one call."""
    async with call() as it:
        await it.connected()
        (ours,) = it.peer._ice._protocols
        theirs = it.browser.ice._nominated[1].protocol.local_candidate
        assert it.peer._dtls is not None
        waiting = cast(Any, it.peer._dtls.transport)._waiting
        before = waiting.qsize()
        for length in (2049, 60_001, 2048):
            ours.datagram_received(bytes([23]) + bytes(length - 1), (theirs.host, theirs.port))
        assert it.peer.counters.dropped_dtls == 2
        assert waiting.qsize() == before + 1
        it.browser.channel.send("still here")
        await until(lambda: it.ear.messages)


async def test_a_host_that_a_caller_names_is_sent_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """400 candidates at somebody's address, a call over two addresses of ours."""
    monkeypatch.setattr(stun, "RETRY_RTO", 0.01)  # or it takes 16 seconds
    victims = bound(*[own_host()] * 400)
    try:
        lines = "".join(
            f"a=candidate:{number} 1 udp {2_000_000_000 - number} {own_host()}"
            f" {sock.getsockname()[1]} typ host\r\n"
            for number, sock in enumerate(victims)
        )
        browser = Browser()
        offer = await browser.offer()
        await browser.close()
        before, mark, after = offer.partition("a=ice-ufrag")
        peer = Peer(PeerConfig(connect_s=2.0), Ear())
        await peer.open(bound(own_host(), own_host()))
        respond(peer, before + lines + mark + after)
        checks = peer._ice._check_list
        await until(lambda: checks and all(one.state.name == "FAILED" for one in checks))
        await peer.close()
        packets, octets = 0, 0
        for sock in victims:
            while True:
                try:
                    octets += len(sock.recv(1500))
                except BlockingIOError:
                    break
                packets += 1
        assert 16 <= packets <= 16 * 5
        assert octets < len(lines)
    finally:
        for sock in victims:
            sock.close()
