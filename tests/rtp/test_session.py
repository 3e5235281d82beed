"""A gateway's session against a phone's audio, and against those who mean it harm."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rtp.config import RtpConfig
from gateway.rtp.dtmf import Digit
from gateway.rtp.packet import RtpPacket
from gateway.rtp.receiver import Heard
from gateway.rtp.timeline import Lost
from tests.rtp.parties import (
    ATTACKER,
    CALLER,
    NTP,
    audio,
    frame,
    gateway,
    keys,
    length,
    phone,
    talk,
)

pytestmark = pytest.mark.pure


# -- audio ---------------------------------------------------------------------------------------


def test_audio_is_heard_as_it_was_sent() -> None:
    session = gateway()
    heard = talk(session, phone(), 0.0, 100)
    assert heard == [frame(n) for n in range(100)]
    assert session.stats.received == 100
    assert session.stats.lost == 0
    assert session.last_received == pytest.approx(99 * 0.02)


def test_headers_with_extras_are_heard_too() -> None:
    session, caller = gateway(), phone()
    heard: list[Heard] = []
    for n in range(20):
        plain = caller.send(frame(n))
        extended = bytes((0x90,)) + plain[1:12] + b"\xbe\xde\x00\x01" + bytes(4) + plain[12:]
        heard += session.receive(extended if n % 2 else plain, CALLER, n * 0.02)
    assert heard == [frame(n) for n in range(20)]


@pytest.mark.parametrize(
    "data", [b"", b"\x80", bytes(12), b"\x80" + bytes(10), b"\x16\xfe\xff" + bytes(30)]
)
def test_what_is_no_rtp_is_counted_and_dropped(data: bytes) -> None:
    session = gateway()
    talk(session, phone(), 0.0, 5)
    assert session.receive(data, CALLER, 1.0) == ()
    assert session.stats.malformed == 1


def test_a_payload_longer_than_any_packet_of_a_call_is_dropped() -> None:
    session = gateway()
    talk(session, phone(), 0.0, 5)
    monster = RtpPacket(0, 105, 5800, 0xBBBB, bytes(20_000)).to_bytes()
    assert session.receive(monster, CALLER, 0.1) == ()
    assert session.stats.malformed == 1


@given(st.binary(max_size=60), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_bytes_from_anyone_raise_nothing(data: bytes, from_caller: bool) -> None:
    session = gateway()
    talk(session, phone(), 0.0, 2)
    session.receive(data, CALLER if from_caller else ATTACKER, 0.04)
    session.receive_rtcp(data, CALLER if from_caller else ATTACKER, 0.04)
    session.tick(0.05)


@pytest.mark.parametrize("seed", range(8))
def test_well_formed_nonsense_raises_nothing_and_makes_no_time(seed: int) -> None:
    random = Random(seed)
    session = gateway()
    now = total = 0.0
    holds = 1
    sequence = timestamp = 0
    for _ in range(3000):
        now += random.choice((0.0, 0.001, 0.02, 0.02, 0.5))
        sequence = random.choice((sequence + 1, sequence + 1, random.randrange(65536))) & 0xFFFF
        timestamp = random.choice((timestamp + 160, random.randrange(2**32))) & 0xFFFFFFFF
        packet = RtpPacket(
            payload_type=random.choice((0, 0, 0, 13, 101, 77)),
            sequence_number=sequence,
            timestamp=timestamp,
            ssrc=random.choice((1, 1, 1, 2)),
            payload=random.randbytes(random.choice((0, 1, 4, 160, 480))),
            marker=random.random() < 0.1,
        )
        source = random.choice((CALLER, CALLER, ATTACKER))
        total += length(session.receive(packet.to_bytes(), source, now))
        total += length(session.tick(now))
        action = random.randrange(200)
        if action == 0:
            session.pause()
            session.start(now)
            holds += 1
        elif action == 1:
            session.retarget(RtpConfig(0, (101,), random.choice((CALLER, ATTACKER))))
        elif action == 2:
            session.rtcp_report(now, NTP + now)
        assert total / 8000 <= now + holds * 0.7
    assert session.stats.received > 100


def test_an_unexpected_payload_type_is_dropped_and_leaves_no_gap() -> None:
    session, caller = gateway(), phone()
    talk(session, caller, 0.0, 10)
    other = RtpPacket(18, 110, 5000 + 1600, 0xBBBB, bytes(20)).to_bytes()
    assert not session.receive(other, CALLER, 0.2)
    caller = phone(sequence=111, timestamp=5000 + 1760)
    heard = session.receive(caller.send(frame(11)), CALLER, 0.22)
    assert heard == [Lost(160), frame(11)]
    assert session.stats.dropped_payload == 1
    assert session.stats.lost == 0
    assert session.last_received == 0.22


def other_way(payload: bytes) -> bytes:
    return payload.translate(OTHER)


OTHER = bytes(255 - n for n in range(256))


def test_audio_of_another_payload_type_is_translated_and_keeps_the_order() -> None:
    session, caller = gateway(other_audio={8: OTHER, 9: None}), phone()
    heard: list[Heard] = []
    for n in range(60):
        caller.sender.payload_type = kind = (0, 8, 9)[n // 3 % 3]
        packet = caller.send(other_way(frame(n)) if kind == 8 else frame(n))
        heard += session.receive(packet, CALLER, n * 0.02)
        heard += session.tick(n * 0.02 + 0.01)
    assert heard == [frame(n) for n in range(60)]
    assert (session.stats.received, session.stats.dropped_payload) == (60, 0)
    assert session.stats.jitter_ms == pytest.approx(0)


def test_a_new_source_may_begin_with_either_payload_type() -> None:
    session = gateway(other_audio={8: OTHER})
    talk(session, phone(), 0.0, 5)
    other = phone(ssrc=0xCCCC, sequence=7, timestamp=9)
    other.sender.payload_type = 8
    heard = [
        *session.receive(other.send(other_way(frame(5))), CALLER, 0.10),
        *session.receive(other.send(other_way(frame(6))), CALLER, 0.12),
    ]
    assert audio(heard) == [frame(5), frame(6)]


def test_what_is_agreed_on_next_holds_for_other_payload_types_too() -> None:
    session, caller = gateway(other_audio={8: OTHER}), phone()
    caller.sender.payload_type = 8
    session.receive(caller.send(other_way(frame(0))), CALLER, 0.0)
    session.retarget(RtpConfig(0, (101,), CALLER))
    assert not audio(session.receive(caller.send(frame(1)), CALLER, 0.02))
    assert session.stats.dropped_payload == 1
    session.retarget(RtpConfig(0, (8, 101), CALLER, other_audio={8: OTHER}))
    heard = session.receive(caller.send(other_way(frame(2))), CALLER, 0.04)
    assert audio(heard) == [frame(2)]  # and no key, whatever else the number stands for


def test_comfort_noise_is_silence() -> None:
    session, caller = gateway(), phone()
    heard = talk(session, caller, 0.0, 10)
    noise = RtpPacket(13, 110, 5000 + 1600, 0xBBBB, b"\x40").to_bytes()
    heard += session.receive(noise, CALLER, 0.2)
    for n in range(40):
        heard += session.tick(0.21 + n * 0.02)
    caller = phone(sequence=111, timestamp=5000 + 50 * 160)
    heard += session.receive(caller.send(frame(50)), CALLER, 1.0)
    assert audio(heard) == [*(frame(n) for n in range(10)), frame(50)]
    assert length(heard) == 51 * 160
    assert session.stats.dropped_payload == 0


def test_an_empty_packet_keeps_a_line_open_and_nothing_else() -> None:
    session, caller = gateway(), phone()
    talk(session, caller, 0.0, 10)
    assert not session.receive(caller.send(b""), CALLER, 0.2)
    assert session.last_received == 0.2
    assert session.receive(caller.send(frame(10)), CALLER, 0.2) == [frame(10)]


def test_jitter_and_loss_are_reported() -> None:
    session, caller, random = gateway(), phone(), Random(1)
    for n in range(1000):
        data = caller.send(frame(n))
        if n % 10 != 5:
            session.receive(data, CALLER, n * 0.02 + random.random() * 0.010)
            session.tick(n * 0.02 + 0.015)
    stats = session.stats
    assert stats.lost == 100
    assert stats.received == 900
    assert stats.jitter_ms == pytest.approx(10 / 3, abs=1.0)  # mean distance of two uniforms


def test_keys_are_no_jitter() -> None:
    session, caller = gateway(), phone()
    talk(session, caller, 0.0, 10)
    for n, group in enumerate(caller.press("4", duration_ms=2000)):
        for data in group:
            session.receive(data, CALLER, 0.2 + n * 0.02)
    talk(session, caller, 2.2, 10, first=10)
    assert session.stats.jitter_ms == pytest.approx(0.0, abs=1e-3)
    assert session.stats.lost == 0


def test_loss_is_the_share_that_could_not_be_heard() -> None:
    session, caller = gateway(), phone()
    assert session.stats.loss == 0.0
    packets = [caller.send(frame(n)) for n in range(100)]
    for n, data in enumerate(packets):
        if n not in (20, 40, 60):
            session.receive(data, CALLER, n * 0.02)
        session.tick(n * 0.02 + 0.01)
    session.receive(packets[60], CALLER, 2.0)
    assert (session.stats.lost, session.stats.late) == (2, 1)
    assert session.stats.loss == pytest.approx(0.03)


# -- hold, re-INVITE, another source ---------------------------------------------------------------


def test_start_pause_start() -> None:
    session, caller = gateway(), phone()
    session.start(0.0)
    heard = talk(session, caller, 0.0, 50)
    session.pause()
    assert talk(session, caller, 1.0, 50) == []
    session.start(2.0)
    heard += talk(session, caller, 2.0, 50, first=100)
    assert heard == [frame(n) for n in (*range(50), *range(100, 150))]


def test_keys_are_heard_on_hold() -> None:
    session, caller = gateway(), phone()
    talk(session, caller, 0.0, 10)
    session.pause()
    heard: list[Heard] = []
    for n, group in enumerate(caller.press("4")):
        for data in group:
            heard += session.receive(data, CALLER, 1.0 + n * 0.02)
    assert heard == [Digit("4")]


def test_a_hundred_holds_by_re_invite() -> None:
    session, caller = gateway(), phone()
    held = RtpConfig(payload_type=0, dtmf_payload_types=(101,), remote=CALLER)
    heard: list[Heard] = []
    for n in range(100):
        heard += talk(session, caller, n * 2.0, 50, first=n * 50)
        session.retarget(held)
        session.pause()
        assert not session.tick(n * 2.0 + 1.5)
        session.skip(8000)
        session.start(n * 2.0 + 2.0)
    assert heard == [frame(n) for n in range(5000)]


def test_a_new_codec_takes_effect_both_ways() -> None:
    session = gateway()
    talk(session, phone(), 0.0, 10)
    session.retarget(RtpConfig(payload_type=8, dtmf_payload_types=(96,), remote=CALLER))
    assert RtpPacket.parse(session.send(frame(0))).payload_type == 8
    packet = RtpPacket(8, 110, 6600, 0xBBBB, frame(10))
    assert list(session.receive(packet.to_bytes(), CALLER, 0.2)) == [frame(10)]
    press = RtpPacket(96, 111, 6760, 0xBBBB, b"\x03\x0a\x00\xa0")
    assert keys(session.receive(press.to_bytes(), CALLER, 0.22)) == "3"


@pytest.mark.parametrize("sequence", [101, 40000, 150])
def test_a_new_source_at_the_callers_address(sequence: int) -> None:
    session = gateway()
    heard = talk(session, phone(), 0.0, 50)
    other = phone(ssrc=0xCCCC, sequence=sequence, timestamp=777)
    heard += talk(session, other, 1.0, 50, first=50)
    assert heard == [frame(n) for n in range(100)]
    assert session.stats.dropped_source == 0
    assert session.stats.received == 100
    assert session.stats.lost == 0


def test_a_new_source_every_ten_seconds() -> None:
    session = gateway()
    heard: list[Heard] = []
    for n in range(10):
        caller = phone(ssrc=1000 + n, sequence=n * 9999 & 0xFFFF, timestamp=n * 77_777_777)
        heard += talk(session, caller, n * 10.0, 500, first=n * 500)
    assert heard == [frame(n) for n in range(5000)]


def test_a_foreign_source_among_living_ones_is_not_heard() -> None:
    session, caller, other = gateway(), phone(), phone(ssrc=0xCCCC, sequence=9, timestamp=9)
    heard: list[Heard] = []
    for n in range(100):
        heard += session.receive(caller.send(frame(n)), CALLER, n * 0.02)
        heard += session.receive(other.send(frame(5000 + n)), CALLER, n * 0.02 + 0.001)
        heard += session.tick(n * 0.02 + 0.01)
    assert heard == [frame(n) for n in range(100)]
    assert session.stats.dropped_source == 100


def test_one_foreign_packet_does_not_take_over_a_silent_line() -> None:
    session = gateway()
    talk(session, phone(), 0.0, 50)
    other = phone(ssrc=0xCCCC)
    data = other.send(frame(0))
    assert not session.receive(data, CALLER, 1.0)
    assert not session.receive(data, CALLER, 1.02)
    other.send(frame(1))
    assert not session.receive(other.send(frame(2)), CALLER, 1.04)
    assert not session.receive(other.send(frame(3)), CALLER, 60.0)
    assert session.receive(other.send(frame(4)), CALLER, 60.02)


# -- attacks -------------------------------------------------------------------------------------


def test_a_spray_changes_no_bit_of_the_audio() -> None:
    """The attacker knows everything but how to send from the caller's address."""
    session, caller = gateway(), phone()
    session.start(0.0)
    heard: list[Heard] = []
    for n in range(500):
        now = n * 0.02
        data = caller.send(frame(n))
        forged = data[:12] + bytes(160)
        for source in (ATTACKER, (CALLER[0], 4002), ("192.0.2.11", 4000)):
            if n:
                heard += session.receive(forged, source, now - 0.001)
        heard += session.receive(data, CALLER, now)
        heard += session.tick(now + 0.01)
    assert heard == [frame(n) for n in range(500)]
    assert session.remote == CALLER
    assert session.stats.dropped_source == 3 * 499


def test_an_attacker_who_sprays_before_the_caller_speaks() -> None:
    session = gateway()
    session.start(0.0)
    mallory = phone(ssrc=0xEEEE)
    assert audio(talk(session, mallory, 0.0, 12, source=ATTACKER)) == []
    assert session.remote == CALLER
    heard = talk(session, phone(), 0.24, 50)
    assert audio(heard) == [frame(n) for n in range(50)]
    assert audio(talk(session, mallory, 1.24, 100, source=ATTACKER)) == []
    assert session.remote == CALLER


def test_a_caller_behind_a_nat_is_learned() -> None:
    session = gateway(remote=("10.0.0.5", 4000))
    session.start(0.0)
    natted = ("198.51.100.7", 61234)
    heard = talk(session, phone(), 0.3, 50, source=natted)
    assert audio(heard) == [frame(n) for n in range(3, 50)]
    assert session.remote == natted
    assert session.remote_rtcp == ("198.51.100.7", 61235)


def test_keys_from_elsewhere_are_not_heard() -> None:
    session = gateway()
    talk(session, phone(), 0.0, 10)
    for n in range(100):
        event = RtpPacket(101, 110 + n, 9000 + n, 0xBBBB, b"\x05\x8a\x03\x20", True)
        assert not session.receive(event.to_bytes(), ATTACKER, 0.2 + n * 0.02)
