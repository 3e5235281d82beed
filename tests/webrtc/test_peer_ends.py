"""How a peer connection ends, by either side and at any moment, and that nothing is left of it."""

import asyncio
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiortc.rtcsctptransport import AbortChunk

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

IMPATIENT = PeerConfig(consent_interval_s=0.02, consent_s=0.5)


async def test_a_peer_that_answers_keeps_the_call_and_one_that_is_gone_loses_it() -> None:
    async with no_defects(), call(IMPATIENT) as it:
        await it.connected()
        await asyncio.sleep(1.2 * IMPATIENT.consent_s)
        assert it.ear.told == ["connected", "opened oai-events"]
        it.browser.vanish()
        await until(lambda: "ice_failed" in it.ear.told)
        heard = len(it.ear.rtp)
        it.peer.send_rtp(pcmu(1))
        await asyncio.sleep(0.1)
        assert it.ear.told == ["connected", "opened oai-events", "ice_failed"]
        assert len(it.ear.rtp) == heard


@both_loops
async def test_the_peer_hangs_up() -> None:
    async with no_defects(), call() as it:
        await it.connected()
        await it.browser.close()
        await until(lambda: "peer_closed" in it.ear.told)
        await asyncio.sleep(0.05)
        assert it.ear.told == ["connected", "opened oai-events", "peer_closed"]


async def test_dtls_says_that_the_peer_hung_up() -> None:
    async with no_defects(), call() as it:
        await it.connected()
        await it.browser.dtls.stop()
        await until(lambda: "peer_closed" in it.ear.told)
        assert not it.peer.channel_open
        it.peer.send_message(b"{}")
        assert it.peer._channel is not None
        it.peer._channel.send(b"{}")  # as SCTP does by itself, for what it sent before
        await asyncio.sleep(0.05)
        assert it.ear.told == ["connected", "opened oai-events", "peer_closed"]


async def test_sctp_says_that_the_peer_hung_up() -> None:
    async with call() as it:
        await it.connected()
        await it.browser.sctp._send_chunk(AbortChunk())
        await until(lambda: "peer_closed" in it.ear.told)
        await asyncio.sleep(0.05)
        assert it.ear.told == ["connected", "opened oai-events", "peer_closed"]


async def test_we_hang_up() -> None:
    async with call() as it:
        await it.connected()
        await it.peer.close()
        await until(lambda: it.browser.pc.connectionState == "closed")
        assert it.ear.told == ["connected", "opened oai-events"]


@pytest.mark.parametrize(("connect_s", "told"), [(60.0, []), (0.05, ["ice_failed"])])
async def test_nobody_is_there(connect_s: float, told: list[str]) -> None:
    """Not before the time is up: whoever named no address may yet check us."""
    ear = Ear()
    peer = Peer(PeerConfig(connect_s=connect_s), ear)
    await peer.open(bound(own_host()))
    browser = Browser()
    respond(peer, await browser.offer(), named=False)
    await asyncio.sleep(0.1)
    await until(lambda: ear.told == told)
    await peer.close()
    await browser.close()
    assert ear.told == told


async def test_another_certificate_than_signalling_said() -> None:
    def forged(offer: str) -> str:
        before, mark, after = offer.partition("a=fingerprint:sha-256 ")
        return before + mark + "00" + after[2:]

    async with call(change=forged) as it:
        await until(lambda: it.ear.told)
        assert it.ear.told == ["dtls_failed"]
        it.peer.send_rtp(pcmu(1))
        await until(lambda: it.browser.dtls.state == "closed")
        assert it.ear.told == ["dtls_failed"] and not it.ear.rtp


async def test_a_peer_that_never_shakes_hands() -> None:
    async with call(PeerConfig(handshake_s=0.3)) as it:
        it.browser.dtls.transport._connection._queue.put_nowait = lambda _: None
        await until(lambda: it.ear.told)
        assert it.ear.told == ["dtls_failed"]


def _resources() -> tuple[int, int, int]:
    # aioice, the browser's, leaves this one behind when it is closed just as it connects.
    tasks = [one for one in asyncio.all_tasks() if "<Connection.query_consent" not in repr(one)]
    return len(tasks), len(os.listdir("/proc/self/fd")), threading.active_count()


@both_loops
async def test_nothing_is_left_of_peers_that_were_closed_at_any_moment() -> None:
    rng = random.Random(30)
    # The browsers encode in threads, more or fewer of them; and so in one.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    with bound("127.0.0.1")[0] as silent:
        servers = PeerConfig(stun=silent.getsockname(), gather_s=0.05)
        async with no_defects():
            await _closed_after(servers, 0.2, cancelled=False)
            before = _resources()
            # At first most of it happens within one turn of the loop, later by waiting.
            moments = [0.0] * 5 + [rng.uniform(0, 0.15) for _ in range(25)]
            await asyncio.gather(
                *(
                    _closed_after(
                        servers if number % 2 else PeerConfig(), moment, cancelled=number % 3 == 0
                    )
                    for number, moment in enumerate(moments)
                )
            )
            await until(lambda: _resources() == before)


async def _closed_after(config: PeerConfig, moment_s: float, *, cancelled: bool) -> None:
    """A call, and what its owner does who ends it, or who is cancelled and then ends it."""
    ear, browser = Ear(), Browser()
    offer = await browser.offer()
    peer = Peer(config, ear)
    answers: list[str] = []

    async def own() -> None:
        await peer.open(bound(own_host(), "127.0.0.1"))
        answers.append(respond(peer, offer))

    async def call() -> None:
        await until(lambda: answers or owner.done())
        if answers:
            await browser.take(answers[0])

    owner = asyncio.create_task(own())
    calling = asyncio.create_task(call())
    await asyncio.sleep(moment_s)
    if cancelled:
        owner.cancel()
    closing = asyncio.create_task(peer.close())
    await asyncio.sleep(0)
    told = list(ear.told)
    await peer.close()
    await closing
    assert ear.told == told
    await asyncio.wait([owner])
    if not owner.cancelled():
        assert isinstance(owner.exception(), ConnectionError | None)
    await calling
    await browser.close()
    assert ear.told == told


async def test_what_is_opened_after_it_was_closed_is_closed() -> None:
    peer = Peer(PeerConfig(), Ear())
    await peer.close()
    sockets = bound("127.0.0.1", "127.0.0.1")
    with pytest.raises(ConnectionError):
        await peer.open(sockets)
    assert [sock.fileno() for sock in sockets] == [-1, -1]
