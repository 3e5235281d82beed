"""A long call under SRTP in virtual time: all that may change in it, one thing after the other."""

import pytest

from gateway.rtp.config import RtpConfig
from gateway.rtp.packet import RtpPacket
from gateway.rtp.receiver import Heard
from gateway.rtp.session import RtpSession
from gateway.rtp.srtp import Opener, Seal
from gateway.sdp.crypto import KEY_BYTES, SUITES, Suite

pytestmark = pytest.mark.pure

CALLER = ("192.0.2.7", 4000)


def key(suite: Suite, number: int) -> bytes:
    return number.to_bytes(2) * (KEY_BYTES[suite] // 2)


def frame(number: int) -> bytes:
    return number.to_bytes(4) * 40


class SealedCall:
    """A caller who changes things, and our session."""

    def __init__(self) -> None:
        self.session = RtpSession(
            RtpConfig(payload_type=0, remote=CALLER),
            ssrc=1,
            first_sequence=1,
            first_timestamp=1,
            cname="a@b",
            random=lambda: 0.5,
        )
        self.seal: Seal
        self.opener: Opener | None = None
        self.payload_type = 0
        self.ssrc = 7
        self.sequence = 60_000
        self.now = 0.0
        self.sent = 0
        self.heard: list[Heard] = []
        self.take_key(SUITES[0], 1)
        self.session.start(0.0)

    def take_key(self, suite: Suite, number: int) -> None:
        """What a re-INVITE with a new key comes to, on both sides."""
        if self.opener is not None:
            self.opener.stand_alone()
        self.seal = Seal(suite, key(suite, number))
        self.opener = Opener(suite, key(suite, number), self.opener)

    def agree(self, payload_type: int) -> None:
        """A re-INVITE was answered."""
        self.payload_type = payload_type
        self.session.retarget(RtpConfig(payload_type=payload_type, remote=CALLER))

    def talk(self, frames: int) -> None:
        for _ in range(frames):
            packet = RtpPacket(
                self.payload_type,
                self.sequence & 0xFFFF,
                (self.sequence * 160) & 0xFFFF_FFFF,
                self.ssrc,
                frame(self.sent),
            )
            self.hear(self.seal.protect(packet.to_bytes()))
            self.sent += 1
            self.sequence += 1
            self.now += 0.02
            self.heard += self.session.tick(self.now)

    def hear(self, data: bytes) -> None:
        assert self.opener is not None
        packet = self.opener.unprotect(data)
        if packet is not None:
            self.heard += self.session.receive(packet, CALLER, self.now)

    def rest(self, duration_s: float) -> None:
        """Hold, and resume."""
        self.session.pause()
        self.now += duration_s
        self.session.start(self.now)

    @property
    def whole(self) -> bool:
        return self.heard == [frame(number) for number in range(self.sent)]


def test_an_hour_through_three_wraps() -> None:
    call = SealedCall()
    call.talk(3600 * 50)
    assert call.sequence > 3 * 65_536
    assert call.whole and call.opener is not None and call.opener.forged == 0


def test_a_hundred_holds_with_new_keys_suites_and_payload_types() -> None:
    call = SealedCall()
    for number in range(100):
        call.talk(25)
        call.rest(3.0)
        if number % 3 == 0:
            call.take_key(SUITES[number % 4], 2 + number)
        if number % 2:
            call.agree((0, 8, 96)[number % 3])
    call.talk(25)
    assert call.whole


def test_a_new_source_every_ten_seconds_under_one_key() -> None:
    call = SealedCall()
    for number in range(100):
        call.ssrc, call.sequence = 1000 + number, number * 9973
        call.talk(500)
    assert call.whole


def test_packets_under_the_old_key_that_cross_our_answer_are_heard() -> None:
    """The offerer goes on with its old key until our answer is there: half a second of speech."""
    call = SealedCall()
    call.talk(10)
    old = call.seal
    call.take_key("AEAD_AES_256_GCM", 2)
    new, call.seal = call.seal, old
    call.talk(25)
    call.seal = new
    call.talk(25)
    assert call.whole


def test_a_flood_between_the_packets_changes_no_bit() -> None:
    call = SealedCall()
    for number in range(2000):
        call.talk(1)
        for forged in range(50):
            head = RtpPacket(0, call.sequence & 0xFFFF, 0, 7, bytes([forged]) * 170).to_bytes()
            call.hear(head)
        if number == 1000:
            call.take_key(SUITES[1], 2)
    assert call.whole and call.session.stats.received == 2000
