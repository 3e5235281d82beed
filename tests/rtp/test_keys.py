"""Keys that a session hears, and what it sends."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rtp.dtmf import DIGITS, Digit
from gateway.rtp.packet import RtpPacket
from gateway.rtp.receiver import Heard
from tests.rtp.parties import (
    CALLER,
    audio,
    frame,
    gateway,
    keys,
    length,
    phone,
    talk,
)

pytestmark = pytest.mark.pure


# -- keys ------------------------------------------------------------------------------------------


@given(
    digits=st.text(alphabet=DIGITS, min_size=1, max_size=6),
    seed=st.integers(0, 2**16),
    loss=st.sampled_from([0.0, 0.05, 0.2]),
)
@settings(max_examples=60, deadline=None)
def test_a_call_with_keys_keeps_every_key_and_all_time(digits: str, seed: int, loss: float) -> None:
    session, caller, random = gateway(), phone(sequence=65500), Random(seed)
    heard: list[Heard] = []
    now = 0.0
    lost_press = False
    heard += talk(session, caller, now, 10)
    now += 0.2
    for digit in digits:
        arrived = 0
        for group in caller.press(digit):
            for data in group:
                if random.random() >= loss:
                    arrived += 1
                    heard += session.receive(data, CALLER, now)
            heard += session.tick(now + 0.01)
            now += 0.02
        lost_press = lost_press or arrived == 0
        heard += talk(session, caller, now, 5)
        now += 0.1
    heard += talk(session, caller, now, 5)
    now += 0.1
    assert lost_press or keys(heard) == digits
    assert len(audio(heard)) == 15 + 5 * len(digits)
    assert length(heard) == round(now * 8000)


def test_a_press_is_heard_at_its_first_packet() -> None:
    session, caller = gateway(), phone()
    talk(session, caller, 0.0, 10)
    groups = list(caller.press("7"))
    assert session.receive(groups[0][0], CALLER, 0.2) == [Digit("7")]
    assert len(groups) == 8
    assert [len(group) for group in groups] == [1] * 7 + [3]


@pytest.mark.parametrize("kept", [0, 3, -1])
def test_one_packet_of_a_press_is_enough(kept: int) -> None:
    session, caller = gateway(), phone()
    talk(session, caller, 0.0, 10)
    packets = [data for group in caller.press("7") for data in group]
    heard = [*session.receive(packets[kept], CALLER, 0.2)] * 1
    for _ in range(20):
        heard += session.receive(packets[kept], CALLER, 0.4)
    assert keys(heard) == "7"


def test_keys_with_a_source_of_their_own() -> None:
    """Some gateways send events beside the audio, under another SSRC."""
    session, caller, keypad = gateway(), phone(), phone(ssrc=0xDDDD, sequence=7, timestamp=99)
    heard: list[Heard] = []
    presses = [group for digit in "19" for group in keypad.press(digit)]
    for n in range(100):
        heard += session.receive(caller.send(frame(n)), CALLER, n * 0.02)
        if n >= 50 and presses:
            for data in presses.pop(0):
                heard += session.receive(data, CALLER, n * 0.02 + 0.001)
        heard += session.tick(n * 0.02 + 0.01)
    assert keys(heard) == "19"
    assert audio(heard) == [frame(n) for n in range(100)]


def test_a_caller_who_presses_a_key_first() -> None:
    session, caller = gateway(), phone()
    (first, *_), *_ = list(caller.press("1"))
    assert session.receive(first, CALLER, 0.0) == [Digit("1")]
    heard = talk(session, caller, 0.2, 5)
    assert audio(heard) == [frame(n) for n in range(5)]


def test_without_a_payload_type_for_keys_there_are_none() -> None:
    session = gateway(dtmf_payload_types=())
    with pytest.raises(ValueError, match="telephone-event"):
        session.press("1")
    caller = phone()
    talk(session, caller, 0.0, 5)
    heard = [session.receive(data, CALLER, 0.1) for group in caller.press("1") for data in group]
    assert not any(heard)


# -- sending ---------------------------------------------------------------------------------------


def test_what_is_sent_is_numbered_across_both_wraps() -> None:
    session = gateway()
    packets = [RtpPacket.parse(session.send(frame(n))) for n in range(20)]
    assert [packet.sequence_number for packet in packets] == [
        (65530 + n) & 0xFFFF for n in range(20)
    ]
    assert [packet.timestamp for packet in packets] == [
        (2**32 - 480 + n * 160) & 0xFFFFFFFF for n in range(20)
    ]
    assert [packet.marker for packet in packets] == [True] + [False] * 19
    assert {packet.ssrc for packet in packets} == {0xAAAA}
    assert session.stats.sent == 20


def test_time_passes_while_nothing_is_sent() -> None:
    session = gateway()
    first = RtpPacket.parse(session.send(frame(0)))
    session.skip(8000)
    second = RtpPacket.parse(session.send(frame(1)))
    third = RtpPacket.parse(session.send(frame(2), marker=True))
    assert second.timestamp == (first.timestamp + 160 + 8000) & 0xFFFFFFFF
    assert second.sequence_number == (first.sequence_number + 1) & 0xFFFF
    assert (second.marker, third.marker) == (True, True)


def test_a_press_takes_the_place_of_audio() -> None:
    session = gateway()
    session.send(frame(0))
    packets = [RtpPacket.parse(d) for group in session.press("5", duration_ms=60) for d in group]
    after = RtpPacket.parse(session.send(frame(1)))
    start = (2**32 - 480 + 160) & 0xFFFFFFFF
    assert {packet.timestamp for packet in packets} == {start}
    assert [packet.marker for packet in packets] == [True, False, False, False, False]
    assert [packet.payload[1] >> 7 for packet in packets] == [0, 0, 1, 1, 1]
    assert after.timestamp == (start + 480) & 0xFFFFFFFF
    assert after.sequence_number == (packets[-1].sequence_number + 1) & 0xFFFF
    assert after.marker
