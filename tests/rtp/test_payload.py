import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audio import libopus
from gateway.rtp.payload import G711, OPUS, opus_samples

pytestmark = pytest.mark.pure

# RFC 6716, table 2: first and last configuration, and the frame sizes in ms that they run through.
TABLE = [
    (0, 3, (10, 20, 40, 60)),
    (4, 7, (10, 20, 40, 60)),
    (8, 11, (10, 20, 40, 60)),
    (12, 13, (10, 20)),
    (14, 15, (10, 20)),
    (16, 19, (2.5, 5, 10, 20)),
    (20, 23, (2.5, 5, 10, 20)),
    (24, 27, (2.5, 5, 10, 20)),
    (28, 31, (2.5, 5, 10, 20)),
]
FRAME_MS = {
    config: ms
    for first, last, sizes in TABLE
    for config, ms in zip(range(first, last + 1), sizes, strict=True)
}


def first_byte(config: int, packing: int, *, stereo: bool = False) -> int:
    return config << 3 | stereo << 2 | packing


@pytest.mark.parametrize("config", range(32))
@pytest.mark.parametrize("stereo", [False, True])
def test_every_configuration_with_one_and_two_frames(config: int, stereo: bool) -> None:
    frame = round(FRAME_MS[config] * 48)
    for packing, frames in ((0, 1), (1, 2), (2, 2)):
        packet = bytes((first_byte(config, packing, stereo=stereo), 1, 2, 3))
        assert opus_samples(packet) == frames * frame


@pytest.mark.parametrize("config", range(32))
def test_any_number_of_frames_up_to_120_ms(config: int) -> None:
    for frames in range(64):
        for flags in (0x00, 0x40, 0x80, 0xC0):  # variable bit rate, padding: no part of the number
            packet = bytes((first_byte(config, 3), flags | frames, 0))
            length_ms = frames * FRAME_MS[config]
            assert opus_samples(packet) == (round(length_ms * 48) if length_ms <= 120 else 0)


@pytest.mark.parametrize("packet", [b"", b"\x03", b"\xff"])
def test_what_does_not_tell_its_length_has_none(packet: bytes) -> None:
    assert opus_samples(packet) == 0


def test_a_frame_that_was_not_sent_has_a_length_too() -> None:
    """What encoders make of silence is the first byte alone (RFC 6716 section 3.2.1)."""
    assert opus_samples(b"\x78") == 960


@given(st.binary(max_size=40))
def test_libopus_says_the_same(packet: bytes) -> None:
    try:
        expected = libopus.packet_samples(packet, 48_000)
    except libopus.OpusError:
        expected = 0
    assert opus_samples(packet) == expected
    assert OPUS.samples(packet) == expected


def test_a_byte_of_g711_is_a_sample() -> None:
    assert G711.samples(bytes(160)) == G711.frame_samples
    assert G711.samples(b"") == 0
    assert G711.divisible and not OPUS.divisible
