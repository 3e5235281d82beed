"""Third parties, and callers who mean no good: what reaches us from elsewhere harms no call."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

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
        for wrong in (pcmu(3), right[:-1] + b"?", b"\x80\xc8", b"\x80", b"\x80" * 1600):
            await it.browser.ice.send(wrong)
        await until(lambda: counters.dropped_srtp == 5)
        await it.browser.ice.send(right)
        await until(lambda: len(it.ear.rtp) > heard)
        await it.browser.ice.send(right)
        await until(lambda: counters.dropped_srtp == 6)
        assert it.ear.rtp[heard:] == [pcmu(2)]


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
