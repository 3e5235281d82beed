"""SRTP: every suite both ways, wraps, losses at the wrap, forgeries, replays."""

import random
import struct
from collections.abc import Callable

import pytest

from gateway.rtp.srtp import Opener, Seal
from gateway.sdp.crypto import KEY_BYTES, SUITES, Suite
from tests.rtp.mki import MkiSender

pytestmark = pytest.mark.pure

PAYLOAD = bytes(range(160))


def packet(sequence: int, ssrc: int = 1, payload: bytes = PAYLOAD) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, sequence & 0xFFFF, sequence * 160, ssrc) + payload


def pair(suite: Suite) -> tuple[Seal, Opener]:
    key = random.Random(suite).randbytes(KEY_BYTES[suite])
    return Seal(suite, key), Opener(suite, key)


REPORT = struct.pack("!BBHI", 0x80, 201, 1, 1)


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_sealed_can_be_opened(suite: Suite) -> None:
    seal, opener = pair(suite)
    sealed = seal.protect(packet(1))
    assert PAYLOAD not in sealed and sealed[:12] == packet(1)[:12]
    assert opener.unprotect(sealed) == packet(1)
    assert opener.unprotect(seal.protect_rtcp(REPORT)) == REPORT
    assert opener.forged == 0


@pytest.mark.parametrize("suite", SUITES)
def test_sequence_numbers_wrap_with_a_loss_there(suite: Suite) -> None:
    seal, opener = pair(suite)
    lost = {65_535, 65_536, 131_072}
    for number in range(65_000, 132_000):
        sealed = seal.protect(packet(number))
        if number not in lost:
            assert opener.unprotect(sealed) == packet(number)
    assert opener.forged == 0


def test_packets_that_overtake_each_other_at_the_wrap() -> None:
    seal, opener = pair("AES_CM_128_HMAC_SHA1_80")
    sealed = {number: seal.protect(packet(number)) for number in range(65_500, 65_600)}
    order = list(sealed)
    random.Random(1).shuffle(order)
    order.sort(key=lambda number: number // 10)  # in tens, and any way within
    assert [opener.unprotect(sealed[number]) for number in order] == [packet(n) for n in order]


def test_another_source_under_the_same_key() -> None:
    seal, opener = pair("AEAD_AES_128_GCM")
    for ssrc in range(1, 40):
        assert opener.unprotect(seal.protect(packet(5, ssrc))) == packet(5, ssrc)


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_forged_or_comes_again_is_counted_and_harms_nothing(suite: Suite) -> None:
    seal, opener = pair(suite)
    first = seal.protect(packet(1))
    assert opener.unprotect(first) is not None
    source = random.Random(2)
    forged = 0
    for size in (0, 1, 2, 11, 12, 13, 40, 182, 1400, 1500, 2000, 65_000):
        for _ in range(20):
            forged += 1
            assert opener.unprotect(source.randbytes(size)) is None
    for at in range(len(first)):
        forged += 1
        assert opener.unprotect(first[:at] + bytes([first[at] ^ 1]) + first[at + 1 :]) is None
    assert opener.unprotect(first) is None
    assert opener.forged == forged + 1
    assert opener.unprotect(seal.protect(packet(2))) == packet(2)


@pytest.mark.parametrize("suite", SUITES)
def test_a_peer_with_ever_new_sources_slows_nothing_and_keeps_its_own(suite: Suite) -> None:
    """libsrtp keeps a list of them; it is kept short, and never without whom we hear."""
    seal, opener = pair(suite)
    started = 65_000
    for number in range(2000):
        assert opener.unprotect(seal.protect(packet(started + number))) is not None  # it wraps
        assert opener.unprotect(seal.protect(packet(5, 1000 + number))) == packet(5, 1000 + number)
        report = struct.pack("!BBHI", 0x80, 201, 1, 100_000 + number)
        assert opener.unprotect(seal.protect_rtcp(report)) == report
    assert opener.forged == 0
    # The first ones were forgotten, and can speak again.
    assert opener.unprotect(seal.protect(packet(6, 1000))) == packet(6, 1000)


def test_the_old_key_opens_until_the_new_one_did() -> None:
    old, before = pair("AES_CM_128_HMAC_SHA1_80")
    key = bytes([5]) * KEY_BYTES["AEAD_AES_128_GCM"]
    new, opener = Seal("AEAD_AES_128_GCM", key), Opener("AEAD_AES_128_GCM", key, before)
    assert before.unprotect(old.protect(packet(1))) == packet(1)
    late = old.protect(packet(3))
    assert opener.unprotect(old.protect(packet(2))) == packet(2)
    assert opener.unprotect(bytes(182)) is None
    assert opener.unprotect(new.protect(packet(4))) == packet(4)
    assert opener.unprotect(late) is None
    assert opener.forged == 2


def test_only_the_last_of_the_old_keys_counts() -> None:
    first, one = pair("AES_CM_128_HMAC_SHA1_80")
    keys = [bytes([n]) * KEY_BYTES["AES_CM_128_HMAC_SHA1_80"] for n in (5, 6)]
    two = Opener("AES_CM_128_HMAC_SHA1_80", keys[0], one)
    two.stand_alone()
    three = Opener("AES_CM_128_HMAC_SHA1_80", keys[1], two)
    assert three.unprotect(first.protect(packet(1))) is None
    second = Seal("AES_CM_128_HMAC_SHA1_80", keys[0])
    assert three.unprotect(second.protect(packet(1))) == packet(1)


MKIS = [b"\1", b"\0\0\0\1", bytes(range(128))]


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("mki", MKIS, ids=len)
def test_packets_that_carry_the_number_of_their_key(suite: Suite, mki: bytes) -> None:
    """As libsrtp itself makes them, through a wrap."""
    key = random.Random(suite).randbytes(KEY_BYTES[suite])
    peer, opener = MkiSender(suite, key, mki), Opener(suite, key, mki=mki)
    for number in range(65_500, 65_600):
        data = peer.protect(packet(number))
        assert len(data) >= len(packet(number)) + 4 + len(mki)
        assert opener.unprotect(data) == packet(number)
        assert opener.unprotect(data) is None, "a second time"
        report = peer.protect_rtcp(REPORT)
        assert opener.unprotect(report) == REPORT
    assert opener.forged == 100
    for ssrc in range(2, 40):  # more than are remembered
        assert opener.unprotect(peer.protect(packet(5, ssrc))) == packet(5, ssrc)


@pytest.mark.parametrize("suite", SUITES)
def test_another_number_is_another_key(suite: Suite) -> None:
    key = bytes(range(KEY_BYTES[suite]))
    wanted, plain = Opener(suite, key, mki=b"\0\1"), Opener(suite, key)
    others: list[Callable[[bytes], bytes]] = [
        MkiSender(suite, key, mki).protect for mki in (b"\0\2", b"\1", b"\0\0\1", b"\1\0")
    ]
    others += [Seal(suite, key).protect, MkiSender(suite, key, b"\0\2").protect_rtcp]
    for protect in others:
        data = protect(REPORT if protect is others[-1] else packet(1))
        # One that is a byte longer may end alike: that byte then makes the seal wrong.
        assert wanted.unprotect(data) is None
    for size in range(30):
        assert wanted.unprotect(bytes(size)) is None
        assert wanted.unprotect(b"\0\1" * size) is None
    assert wanted.forged == len(others) + 60
    right = MkiSender(suite, key, b"\0\1")
    assert plain.unprotect(right.protect(packet(2))) is None
    assert wanted.unprotect(right.protect(packet(3))) == packet(3)


def test_a_number_in_the_packet_of_the_reference() -> None:
    """The test packet of libsrtp and of RFC 3711's authors, with an MKI put where section 3.1 has
    it: behind what is encrypted, before the tag."""
    key = bytes.fromhex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6")
    clear = bytes.fromhex("800f1234decafbadcafebabe" + "ab" * 16)
    header, cipher = "800f1234decafbadcafebabe", "4e55dc4ce79978d88ca4d215949d2402"
    data = bytes.fromhex(header + cipher + "e1f97a0d" + "b78d6acc99ea179b8dbb")
    suite: Suite = "AES_CM_128_HMAC_SHA1_80"
    assert Opener(suite, key, mki=bytes.fromhex("e1f97a0d")).unprotect(data) == clear
    assert Opener(suite, key).unprotect(data) is None


def test_the_old_key_had_a_number_and_the_new_one_has_none() -> None:
    suite: Suite = "AES_CM_128_HMAC_SHA1_80"
    old, new = (bytes([one]) * KEY_BYTES[suite] for one in (1, 2))
    peer = MkiSender(suite, old, b"\7")
    before = Opener(suite, old, mki=b"\7")
    assert before.unprotect(peer.protect(packet(1))) == packet(1)
    opener = Opener(suite, new, before)
    assert opener.unprotect(peer.protect(packet(2))) == packet(2)
    assert opener.unprotect(Seal(suite, new).protect(packet(3))) == packet(3)


def test_nobody_else_can_open_it() -> None:
    seal, _ = pair("AES_CM_128_HMAC_SHA1_80")
    other = Opener("AES_CM_128_HMAC_SHA1_80", bytes(30))
    assert other.unprotect(seal.protect(packet(1))) is None
