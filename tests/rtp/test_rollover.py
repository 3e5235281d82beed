"""New keys after the sequence number has wrapped: peers count on, or begin anew (RFC 3711)."""

import random
import time
from collections.abc import Callable

import pytest

from gateway.rtp.rollover import MOST_QUARTERS, turned
from gateway.rtp.srtp import Opener, Seal
from gateway.sdp.crypto import KEY_BYTES, SUITES, Suite
from tests.rtp.mki import MkiSender
from tests.rtp.test_srtp import REPORT, packet

pytestmark = pytest.mark.pure


def key(suite: Suite, number: int) -> bytes:
    return bytes([number]) * KEY_BYTES[suite]


def counts_on(suite: Suite, master: bytes, number: int, ssrc: int = 1) -> Seal:
    """A peer that goes on with its count under a new key, as libsrtp's `srtp_update` does."""
    seal = Seal(suite, master)
    for earlier in range(0, number, 0x4000):
        seal.protect(packet(earlier, ssrc))
    return seal


def begins_anew(suite: Suite, master: bytes, number: int, ssrc: int = 1) -> Seal:
    """One that makes its stream anew, as baresip, FreeSWITCH and Asterisk do."""
    return Seal(suite, master)


Peer = Callable[..., Seal]
PEERS = (counts_on, begins_anew)


def talked(suite: Suite, master: bytes, until: int, ssrc: int = 1) -> Opener:
    """An opener that has heard a source up to this packet."""
    seal, opener = Seal(suite, master), Opener(suite, master)
    for number in [*range(0, until - 300, 97), *range(until - 300, until)]:
        if number >= 0:
            assert opener.unprotect(seal.protect(packet(number, ssrc)))
    return opener


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("until", [10, 40_000, 65_530, 65_540, 131_060, 200_000])
@pytest.mark.parametrize("suite", SUITES)
def test_a_new_key_after_a_wrap(suite: Suite, until: int, peer: Peer) -> None:
    before = talked(suite, key(suite, 1), until)
    opener = Opener(suite, key(suite, 2), before)
    seal = peer(suite, key(suite, 2), until)
    # Of the first under the new key; who begins anew just before a wrap may lose none (RFC 4568
    # section 6.4).
    lost = 20 if peer is counts_on or until % 0x10000 < 0xFF00 else 0
    for number in range(until, until + 40):
        sealed = seal.protect(packet(number))
        if number >= until + lost:
            assert opener.unprotect(sealed) == packet(number)
    assert opener.forged == 0
    assert opener.unprotect(sealed) is None and opener.forged == 1


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("suite", SUITES)
def test_a_new_key_that_has_a_number(suite: Suite, goes_on: bool) -> None:
    master = key(suite, 2)
    opener = Opener(suite, master, talked(suite, key(suite, 1), 70_000), mki=b"\2")
    seal = MkiSender(suite, master, b"\2")
    for earlier in range(0, 70_000, 0x4000) if goes_on else ():
        seal.protect(packet(earlier))
    other = Seal(suite, master)
    for number in range(70_000, 70_040):
        assert opener.unprotect(other.protect(packet(number))) is None
        assert opener.unprotect(seal.protect(packet(number))) == packet(number)
    assert opener.forged == 40


@pytest.mark.parametrize("peer", PEERS)
def test_one_new_key_after_the_other(peer: Peer) -> None:
    """Also one under which nothing came, and another suite."""
    opener = talked("AES_CM_128_HMAC_SHA1_80", key("AES_CM_128_HMAC_SHA1_80", 1), 150_000)
    at = 150_000
    for number in range(2, 30):
        suite = SUITES[number % 4]
        opener.stand_alone()
        opener = Opener(suite, key(suite, number), opener)
        if number % 5 == 0:
            continue
        seal = peer(suite, key(suite, number), at)
        for _ in range(9):
            at += 997
            assert opener.unprotect(seal.protect(packet(at))) == packet(at)
    assert opener.forged == 0


@pytest.mark.parametrize("peer", PEERS)
def test_reports_decide_nothing(peer: Peer) -> None:
    """They say their own number."""
    suite = SUITES[0]
    opener = Opener(suite, key(suite, 2), talked(suite, key(suite, 1), 70_000))
    seal = peer(suite, key(suite, 2), 70_000)
    assert opener.unprotect(seal.protect_rtcp(REPORT)) == REPORT
    for number in range(70_000, 70_100):
        assert opener.unprotect(seal.protect(packet(number))) == packet(number)


@pytest.mark.parametrize("peer", PEERS)
def test_each_source_of_a_peer_has_its_count(peer: Peer) -> None:
    suite = SUITES[2]
    master = key(suite, 1)
    before = talked(suite, master, 70_000)
    other = counts_on(suite, master, 0)
    for number in range(60_000, 260_000, 5000):
        assert before.unprotect(other.protect(packet(number, 2)))
    opener = Opener(suite, key(suite, 2), before)
    first, second = (peer(suite, key(suite, 2), at, n) for n, at in ((1, 70_000), (2, 256_000)))
    for number in range(100):
        assert opener.unprotect(first.protect(packet(70_000 + number, 1)))
        assert opener.unprotect(second.protect(packet(256_000 + number, 2)))
        assert opener.unprotect(second.protect(packet(number, 3)))


@pytest.mark.parametrize("peer", PEERS)
def test_the_old_key_opens_meanwhile(peer: Peer) -> None:
    suite = SUITES[0]
    old = Seal(suite, key(suite, 1))
    before = Opener(suite, key(suite, 1))
    for number in range(0, 70_000, 500):
        assert before.unprotect(old.protect(packet(number)))
    opener = Opener(suite, key(suite, 2), before)
    for number in range(70_000, 71_000):
        assert opener.unprotect(old.protect(packet(number))) == packet(number)
    seal = peer(suite, key(suite, 2), 71_000)
    assert opener.unprotect(seal.protect(packet(71_000))) == packet(71_000)


def test_a_flood_costs_little_before_the_first_packet() -> None:
    suite = SUITES[0]
    quarters = 0
    before, seal = Opener(suite, key(suite, 1)), Seal(suite, key(suite, 1))
    while quarters < MOST_QUARTERS:
        quarters += 1
        assert before.unprotect(seal.protect(packet(quarters * 0x4000)))
    opener = Opener(suite, key(suite, 2), before)
    noise = [packet(9)[:12] + random.Random(number).randbytes(170) for number in range(1000)]
    started = time.process_time()
    assert not any(map(opener.unprotect, noise))
    assert time.process_time() - started < 1.0
    # A count beyond what any call reaches is not taken over, and a new one still begins.
    assert before.unprotect(seal.protect(packet((quarters + 1) * 0x4000)))
    opener = Opener(suite, key(suite, 2), before)
    assert opener.unprotect(Seal(suite, key(suite, 2)).protect(packet(3))) == packet(3)


def test_the_count_of_quarters_is_that_of_libsrtp() -> None:
    """Any order and any jump that libsrtp opens."""
    chance = random.Random(5)
    for _ in range(20):
        suite = SUITES[0]
        seal, opener = Seal(suite, key(suite, 1)), Opener(suite, key(suite, 1))
        number, quarters, highest = chance.randrange(0x10000), 0, 0
        for _ in range(400):
            sealed = seal.protect(packet(number))
            late = None
            if chance.random() < 0.3:
                number += 1
                late, sealed = sealed, seal.protect(packet(number))
            for one in (sealed, late):
                if one is not None and opener.unprotect(one) is not None:
                    quarters = turned(quarters, one[2] >> 6)
            highest = max(highest, number)
            assert abs(quarters - (highest >> 14)) <= 1
            assert quarters >> 2 in (highest >> 16, (highest - 1) >> 16)
            number += chance.choice((1, 2, 500, 0x3FFF, 0x7F00))
