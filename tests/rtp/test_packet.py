import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rtp.packet import RtpError, RtpPacket

pytestmark = pytest.mark.pure

# A G.711 packet as a softphone sends it, shortened to four samples.
PLAIN = bytes.fromhex("80 80 3e8a 000186a0 deadbeef ffd5d5ff")

packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence_number=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=400),
    marker=st.booleans(),
)


def test_a_plain_packet() -> None:
    assert RtpPacket.parse(PLAIN) == RtpPacket(
        payload_type=0,
        sequence_number=0x3E8A,
        timestamp=100000,
        ssrc=0xDEADBEEF,
        payload=b"\xff\xd5\xd5\xff",
        marker=True,
    )
    assert RtpPacket.parse(PLAIN).to_bytes() == PLAIN


def test_contributing_sources_extension_and_padding_are_no_payload() -> None:
    header = bytes((0x80 | 0x20 | 0x10 | 2, 101)) + PLAIN[2:12]
    sources = bytes(8)
    extension = b"\xbe\xde\x00\x02" + bytes(8)
    data = header + sources + extension + b"voice" + b"\0\0\3"
    packet = RtpPacket.parse(data)
    assert packet.payload == b"voice"
    assert packet.payload_type == 101
    assert not packet.marker


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "shorter"),
        (PLAIN[:11], "shorter"),
        (b"\x00" + PLAIN[1:], "version"),
        (b"\x40" + PLAIN[1:], "version"),
        (b"\xc0" + PLAIN[1:], "version"),
        (b"\x8f" + PLAIN[1:], "header"),
        (b"\x90" + PLAIN[1:12], "extension"),
        (b"\x90" + PLAIN[1:12] + b"\xbe\xde\xff\xff", "header"),
        (b"\xa0" + PLAIN[1:12], "padding"),
        (b"\xa0" + PLAIN[1:12] + b"\x00", "padding"),
        (b"\xa0" + PLAIN[1:12] + b"\x00\x00\x09", "padding"),
    ],
)
def test_what_is_no_packet(data: bytes, why: str) -> None:
    with pytest.raises(RtpError, match=why):
        RtpPacket.parse(data)


@given(packets)
def test_a_packet_survives_the_wire(packet: RtpPacket) -> None:
    assert RtpPacket.parse(packet.to_bytes()) == packet


@given(st.binary(max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_a_packet_or_its_error(data: bytes) -> None:
    try:
        packet = RtpPacket.parse(data)
    except RtpError:
        return
    assert len(packet.payload) <= len(data) - 12


@given(packets, st.integers(0, 255), st.integers(0, 11))
@settings(max_examples=200, deadline=None)
def test_a_damaged_header_gives_a_packet_or_its_error(
    packet: RtpPacket, value: int, at: int
) -> None:
    data = bytearray(packet.to_bytes())
    data[at] = value
    try:
        RtpPacket.parse(bytes(data))
    except RtpError:
        pass
