from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rtp.dtmf import DIGITS, Digit, DtmfReceiver, event_payloads
from gateway.rtp.packet import RtpPacket
from gateway.rtp.payload import G711, OPUS, PayloadFormat
from tests.rtp.simulation import each_format

pytestmark = pytest.mark.pure


def press(
    digit: str,
    timestamp: int,
    *,
    ssrc: int = 1,
    duration: int = 1280,
    marker: bool = True,
) -> list[RtpPacket]:
    """All packets of one press in order."""
    packets: list[RtpPacket] = []
    for group in event_payloads(digit, duration_samples=duration, frame_samples=160):
        for payload in group:
            first = marker and not packets
            packets.append(RtpPacket(101, 0, timestamp & 0xFFFFFFFF, ssrc, payload, first))
    return packets


def event(
    code: int,
    timestamp: int,
    duration: int,
    *,
    end: bool = False,
    marker: bool = False,
    ssrc: int = 1,
    payload_type: int = 101,
) -> RtpPacket:
    payload = bytes((code, 10 | (0x80 if end else 0))) + duration.to_bytes(2, "big")
    return RtpPacket(payload_type, 0, timestamp & 0xFFFFFFFF, ssrc, payload, marker)


def digits(packets: list[RtpPacket], receiver: DtmfReceiver | None = None) -> str:
    receiver = receiver or DtmfReceiver()
    heard = [receiver.receive(packet) for packet in packets]
    return "".join(digit.event for digit in heard if digit is not None)


def test_every_key() -> None:
    packets = [packet for n, key in enumerate(DIGITS) for packet in press(key, n * 4000)]
    assert digits(packets) == "0123456789*#ABCD"


def test_a_press_is_reported_at_its_first_packet() -> None:
    assert DtmfReceiver().receive(press("5", 1000)[0]) == Digit("5")


@pytest.mark.parametrize("kept", [slice(0, 1), slice(3, 4), slice(-1, None), slice(-3, None)])
def test_any_single_part_of_a_press_is_enough(kept: slice) -> None:
    assert digits(press("7", 1000)[kept]) == "7"


def test_a_sender_without_marker() -> None:
    assert digits(press("1", 0, marker=False) + press("2", 3000, marker=False)) == "12"


def test_a_marker_on_every_packet() -> None:
    packets = [event(5, 1000, 160 * n, marker=True) for n in range(1, 9)]
    assert digits(packets) == "5"


def test_twenty_end_packets_are_one_press() -> None:
    assert digits([event(9, 1000, 800, end=True)] * 20) == "9"


def test_repetitions_long_after_the_press() -> None:
    one, two = press("1", 1000), press("2", 30000)
    assert digits(one + one + two + one + two) == "12"


def test_the_same_key_twice_in_quick_succession() -> None:
    assert digits(press("8", 1000, duration=400) + press("8", 1880, duration=400)) == "88"


def test_the_same_key_twice_without_any_end() -> None:
    assert digits(press("8", 1000)[:2] + press("8", 2000, marker=False)[:2]) == "88"


def test_a_duration_that_starts_over_is_the_same_press() -> None:
    lengths = (160, 320, 480, 160, 320, 480)
    assert digits([event(3, 1000, length) for length in lengths]) == "3"


def test_reordered_packets_of_two_presses() -> None:
    one, two = press("1", 1000), press("2", 3000)
    assert digits([*one[:3], two[0], *one[3:], *two[1:]]) == "12"


def test_an_older_press_that_comes_late_is_not_put_after_the_newer() -> None:
    assert digits([*press("2", 3000), press("1", 1000)[-1]]) == "2"


def test_timestamps_wrap() -> None:
    assert digits(press("1", 2**32 - 500) + press("2", 2**32 + 1500)) == "12"


def test_a_new_timeline_does_not_silence_the_keypad() -> None:
    assert digits(press("1", 3_000_000_000) + press("2", 2_000_000_000)) == "12"
    begun = press("1", 3_000_000_000)[:2]
    assert digits([*begun, event(1, 2_000_000_000, 800)]) == "11"


@each_format
@pytest.mark.parametrize(("older_s", "heard"), [(9, "2"), (11, "21")])
def test_a_straggler_is_ten_seconds_older_at_most(
    older_s: int, heard: str, format: PayloadFormat
) -> None:
    newest = 2**31
    packets = [event(2, newest, 160), event(1, newest - older_s * format.clock_hz, 160)]
    assert digits(packets, DtmfReceiver(format)) == heard


def test_a_new_source() -> None:
    assert digits(press("1", 1000) + press("1", 1000, ssrc=2) + press("1", 1000)[-1:]) == "11"


def long_press(
    code: int, start: int, seconds: float, format: PayloadFormat = G711, *, lost: float = 0.0
) -> list[RtpPacket]:
    """A key that is held: full segments without end, then a last one with it."""
    random = Random(1)
    step = format.frame_samples
    packets = [event(code, start, step, marker=True)]
    total = int(seconds * format.clock_hz)
    at = 2 * step
    while at <= total:
        segment, duration = divmod(at, 0xFFFF)
        packets.append(event(code, start + segment * 0xFFFF, duration or 1))
        at += step
    segment, duration = divmod(total, 0xFFFF)
    packets += [event(code, start + segment * 0xFFFF, duration, end=True)] * 3
    return [packet for packet in packets if random.random() >= lost]


@each_format
@pytest.mark.parametrize("lost", [0.0, 0.2])
def test_a_key_held_for_half_a_minute_is_one_press(lost: float, format: PayloadFormat) -> None:
    receiver = DtmfReceiver(format)
    assert digits(long_press(6, 2**32 - 100_000, 30.0, format, lost=lost), receiver) == "6"
    assert digits(press("6", 100_000_000), receiver) == "6"


def moving_press(
    code: int,
    start: int,
    *,
    updates: int = 8,
    step: int = 160,
    marker: bool = True,
    ends_move: bool = True,
) -> list[RtpPacket]:
    """As senders do it whose timestamp is that of the packet, against RFC 4733 section 2.2.2."""
    packets = [
        event(code, start + n * step, (n + 1) * step, marker=marker and n == 0)
        for n in range(updates)
    ]
    return packets + [
        event(code, start + (updates + n * ends_move) * step, updates * step, end=True)
        for n in range(3)
    ]


@pytest.mark.parametrize("ends_move", [True, False])
@pytest.mark.parametrize("marker", [True, False])
@pytest.mark.parametrize("step", [80, 160, 240, 480])
def test_a_timestamp_that_moves_with_each_packet_is_one_press(
    step: int, marker: bool, ends_move: bool
) -> None:
    packets = moving_press(5, 2**32 - 500, step=step, marker=marker, ends_move=ends_move)
    assert digits(packets) == "5"
    assert digits([each for each in packets for _ in range(2)]) == "5"


def test_moving_timestamps_of_an_opus_call() -> None:
    assert digits(moving_press(5, 1000, step=960), DtmfReceiver(OPUS)) == "5"


def test_a_moving_press_that_is_held_for_long_is_one() -> None:
    packets = [event(5, 160 * n, min(160 * n, 0xFFFF)) for n in range(1, 600)]
    ends = [event(5, 160 * (600 + n), 0xFFFF, end=True) for n in range(3)]
    assert digits(packets + ends) == "5"


@given(
    updates=st.integers(2, 20),
    gap=st.integers(4, 50),
    marker=st.booleans(),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=150, deadline=None)
def test_moving_presses_are_counted_whatever_is_lost(
    updates: int, gap: int, marker: bool, seed: int
) -> None:
    """The same key twice, of which any packets are lost."""
    random = Random(seed)
    first = moving_press(8, 2**32 - 1000, updates=updates, marker=marker)
    again = first[-1].timestamp + gap * 160
    second = moving_press(8, again, updates=updates, marker=marker)
    kept = [
        [packet for packet in packets if random.random() < 0.5] or [random.choice(packets)]
        for packets in (first, second)
    ]
    receiver = DtmfReceiver()
    assert digits(kept[0], receiver) == "8"
    assert digits(kept[1], receiver) == "8"


@pytest.mark.parametrize("seen", [1, 2, 8, 9, 11])
def test_a_moving_press_right_after_another_has_a_marker_or_begins_anew(seen: int) -> None:
    first = moving_press(8, 1000)[:seen]
    after = first[-1].timestamp + 160
    assert digits(first + moving_press(8, after)) == "88"
    if seen > 1:
        assert digits(first + moving_press(8, after, marker=False)) == "88"
    assert digits(first + moving_press(9, after, marker=False)) == "89"


@given(
    updates=st.integers(2, 20),
    gap=st.integers(3, 50),
    marker=st.booleans(),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=150, deadline=None)
def test_quick_presses_by_the_rules_are_two_whatever_is_lost(
    updates: int, gap: int, marker: bool, seed: int
) -> None:
    """As short as machines make them: 40 ms, and 60 ms until the next."""
    random = Random(seed)
    receiver = DtmfReceiver()
    duration = updates * 160
    for start in (1000, 1000 + duration + gap * 160):
        packets = press("8", start, duration=duration, marker=marker)
        kept = [packet for packet in packets if random.random() < 0.6]
        assert digits(kept or [random.choice(packets)], receiver) == "8"


def browser_press(code: int, start: int, duration_ms: int) -> list[RtpPacket]:
    """How browsers time a key at 48 kHz: a new segment begins at the first frame beyond a full one,
    which is up to 20 ms late, and the end may fall on that very frame."""
    packets: list[RtpPacket] = []
    left, now = duration_ms * 48, start
    ended = False
    while not ended:
        now += 960
        duration = now - start
        ended = duration >= left
        copies = 3 if ended else 1
        if duration > 0xFFFF:
            packets += [event(code, start, 0xFFFF, end=ended)] * copies
            start, left, duration = now, left - 0xFFFF, duration - 0xFFFF
        packets += [event(code, start, duration, end=ended, marker=not packets)] * copies
    return packets


@given(
    duration_ms=st.one_of(st.integers(40, 6000), st.integers(1350, 1390)),
    start=st.integers(0, 2**32 - 1),
    seed=st.integers(0, 2**16),
    lost=st.sampled_from([0.0, 0.1]),
)
@settings(max_examples=100, deadline=None)
def test_a_key_that_a_browser_holds_is_one_press(
    duration_ms: int, start: int, seed: int, lost: float
) -> None:
    random = Random(seed)
    packets = browser_press(3, start, duration_ms)
    kept = [packet for packet in packets if random.random() >= lost] or packets[-1:]
    receiver = DtmfReceiver(OPUS)
    assert digits(kept, receiver) == "3"
    # The same key again, as soon as one can press it.
    again = browser_press(3, start + duration_ms * 48 + 4800, 100)
    assert digits(again, receiver) == "3"


def test_a_segment_may_miss_its_start_by_a_tenth_of_a_second_of_its_clock() -> None:
    for format, slack in ((G711, 800), (OPUS, 4800)):
        for late, heard in ((slack, "6"), (slack + 1, "66")):
            packets = [event(6, 1000, 160, marker=True), event(6, 1000 + 0xFFFF + late, 160)]
            assert digits(packets, DtmfReceiver(format)) == heard


def test_events_of_two_payload_types_are_two_timelines() -> None:
    """Telephone-event at 48 kHz and at 8 kHz: the timestamps of the second run a sixth as fast."""
    packets = [
        event(1, 480_000, 960, marker=True, payload_type=110),
        event(2, 80_000, 160, marker=True, payload_type=126),
        event(3, 576_000, 960, marker=True, payload_type=110),
        event(4, 96_000, 160, marker=True, payload_type=126),
    ]
    assert digits([each for each in packets for _ in range(3)], DtmfReceiver(OPUS)) == "1234"


def test_a_press_told_under_both_payload_types_is_one() -> None:
    packets = [event(5, 1000, 960 * n, payload_type=kind) for n in (1, 2, 3) for kind in (110, 126)]
    assert digits(packets, DtmfReceiver(OPUS)) == "5"


def test_a_new_press_just_where_a_segment_would_begin_has_a_marker() -> None:
    assert digits(press("6", 1000)[:3] + press("6", 1000 + 0xFFFF)) == "66"


def test_a_press_that_ended_has_no_next_segment() -> None:
    assert digits(press("6", 1000) + press("6", 1000 + 0xFFFF, marker=False)) == "66"


@pytest.mark.parametrize("code", [16, 17, 84, 255])
def test_events_that_are_no_keys(code: int) -> None:
    assert digits([event(code, 1000, 160), event(code, 1000, 320, end=True)]) == ""


@pytest.mark.parametrize("payload", [b"", b"\x05", b"\x05\x0a\x00"])
def test_payloads_that_are_too_short(payload: bytes) -> None:
    assert DtmfReceiver().receive(RtpPacket(101, 0, 0, 1, payload)) is None


def test_a_press_as_it_is_sent() -> None:
    groups = event_payloads("#", duration_samples=480, frame_samples=160)
    assert groups == [
        (b"\x0b\x0a\x00\xa0",),
        (b"\x0b\x0a\x01\x40",),
        (b"\x0b\x8a\x01\xe0",) * 3,
    ]


@pytest.mark.parametrize(("digit", "samples"), [("E", 800), ("", 800), ("12", 800), ("1", 0)])
def test_what_cannot_be_pressed(digit: str, samples: int) -> None:
    with pytest.raises(ValueError, match=r"key|duration"):
        event_payloads(digit, duration_samples=samples, frame_samples=160)


@given(
    keys=st.text(alphabet=DIGITS, min_size=1, max_size=12),
    start=st.integers(0, 2**32 - 1),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=150, deadline=None)
def test_each_press_once_whatever_is_lost_repeated_or_swapped(
    keys: str, start: int, seed: int
) -> None:
    random = Random(seed)
    wire: list[RtpPacket] = []
    for n, key in enumerate(keys):
        packets = press(key, start + n * 2400, marker=random.random() < 0.5)
        kept = [packet for packet in packets if random.random() < 0.4]
        kept = kept or [random.choice(packets)]
        wire += [packet for packet in kept for _ in range(random.choice((1, 1, 2, 20)))]
    shuffled = list(wire)
    for at in range(len(shuffled) - 1):
        same = shuffled[at].timestamp == shuffled[at + 1].timestamp
        if same and random.random() < 0.3:
            shuffled[at], shuffled[at + 1] = shuffled[at + 1], shuffled[at]
    late = [random.choice(wire) for _ in range(10)]
    assert digits(shuffled + late) == keys
