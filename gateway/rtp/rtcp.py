"""RTCP, the report that goes with a stream (RFC 3550 section 6).

Each datagram is a compound: a sender or receiver report first, then who is speaking (SDES), perhaps
a goodbye. A report block says how well one stream was received. From the middle 32 bits of a sender
report's NTP time, which the other side sends back together with how long it kept them, follows the
round-trip time.

Goodbyes are information only. Anyone can forge one, so none ever ends a call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

_SENDER_REPORT = 200
_RECEIVER_REPORT = 201
_SOURCE_DESCRIPTION = 202
_GOODBYE = 203

_SENDER_INFO = Struct("!IQIII")
_REPORT_BLOCK = Struct("!IIIIII")
_CNAME = 1
_MAX_BLOCKS = 31


class RtcpError(ValueError):
    """The bytes are not a compound RTCP packet."""


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """How one stream was received."""

    ssrc: int
    fraction_lost: int
    """Of the packets since the last report, in 1/256."""
    cumulative_lost: int
    """Since the beginning, signed 24 bits: repetitions make it negative."""
    highest_sequence: int
    """32 bits: wraps counted in the upper half."""
    jitter: int
    """Mean deviation of the spacing, in samples."""
    last_sr: int = 0
    """Middle 32 bits of the NTP time of the last sender report that came, 0 for none."""
    delay_since_last_sr: int = 0
    """In 1/65536 s."""


@dataclass(frozen=True, slots=True)
class SenderReport:
    """What a sender has sent, and how it receives others."""

    ssrc: int
    ntp: int
    """64 bits: seconds since 1900 and their fraction."""
    rtp_timestamp: int
    packets: int
    octets: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """How someone who does not send receives others."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """Canonical names of sources; other items are not kept."""

    names: tuple[tuple[int, str], ...]
    """(SSRC, CNAME) pairs."""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Sources that say they leave."""

    ssrcs: tuple[int, ...]
    reason: str = ""


RtcpPacket = SenderReport | ReceiverReport | SourceDescription | Goodbye


def parse_compound(data: bytes) -> list[RtcpPacket]:
    """Read a datagram; kinds that the gateway does not use are left out.

    Raises:
        RtcpError: whatever the bytes are, this and nothing else.
    """
    packets: list[RtcpPacket] = []
    start = 0
    while start < len(data):
        if len(data) - start < 4:
            raise RtcpError("a header is cut off")
        first, kind = data[start], data[start + 1]
        end = start + 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
        if first >> 6 != 2:
            raise RtcpError("not version 2")
        if end > len(data):
            raise RtcpError("a packet is cut off")
        if start == 0 and kind not in (_SENDER_REPORT, _RECEIVER_REPORT):
            raise RtcpError("a compound begins with a report")
        body = data[start + 4 : _without_padding(data, start, end, bool(first & 0x20))]
        packet = _parse_one(kind, first & 0x1F, body)
        if packet is not None:
            packets.append(packet)
        start = end
    if not packets:
        raise RtcpError("empty")
    return packets


def build_compound(packets: Sequence[RtcpPacket]) -> bytes:
    """One datagram; values wider than their fields are cut to them, except the signed loss."""
    return b"".join(_build_one(packet) for packet in packets)


def _without_padding(data: bytes, start: int, end: int, padded: bool) -> int:
    if not padded:
        return end
    padding = data[end - 1] if end == len(data) and end > start + 4 else 0
    if padding == 0 or padding % 4 or padding > end - start - 4:
        raise RtcpError("the padding does not fit")
    return end - padding


def _parse_one(kind: int, count: int, body: bytes) -> RtcpPacket | None:
    if kind == _SENDER_REPORT:
        if len(body) < _SENDER_INFO.size:
            raise RtcpError("a sender report is cut off")
        ssrc, ntp, rtp_timestamp, packets, octets = _SENDER_INFO.unpack_from(body)
        reports = _parse_blocks(body[_SENDER_INFO.size :], count)
        return SenderReport(ssrc, ntp, rtp_timestamp, packets, octets, reports)
    if kind == _RECEIVER_REPORT:
        if len(body) < 4:
            raise RtcpError("a receiver report is cut off")
        return ReceiverReport(int.from_bytes(body[:4], "big"), _parse_blocks(body[4:], count))
    if kind == _SOURCE_DESCRIPTION:
        return SourceDescription(_parse_names(body, count))
    if kind == _GOODBYE:
        if len(body) < 4 * count:
            raise RtcpError("a goodbye is cut off")
        ssrcs = tuple(int.from_bytes(body[4 * n : 4 * n + 4], "big") for n in range(count))
        rest = body[4 * count :]
        if rest and len(rest) < 1 + rest[0]:
            raise RtcpError("the reason of a goodbye is cut off")
        reason = rest[1 : 1 + rest[0]].decode("utf-8", "replace") if rest else ""
        return Goodbye(ssrcs, reason)
    return None


def _parse_blocks(body: bytes, count: int) -> tuple[ReportBlock, ...]:
    if len(body) < count * _REPORT_BLOCK.size:
        raise RtcpError("a report block is cut off")
    blocks = []
    for n in range(count):
        ssrc, loss, highest, jitter, last_sr, delay = _REPORT_BLOCK.unpack_from(
            body, n * _REPORT_BLOCK.size
        )
        lost = loss & 0xFFFFFF
        if lost & 0x800000:
            lost -= 0x1000000
        blocks.append(ReportBlock(ssrc, loss >> 24, lost, highest, jitter, last_sr, delay))
    return tuple(blocks)


def _parse_names(body: bytes, count: int) -> tuple[tuple[int, str], ...]:
    names = []
    at = 0
    for _ in range(count):
        if len(body) < at + 4:
            raise RtcpError("a source description is cut off")
        ssrc = int.from_bytes(body[at : at + 4], "big")
        at += 4
        while at < len(body) and body[at] != 0:
            if at + 2 > len(body) or at + 2 + body[at + 1] > len(body):
                raise RtcpError("a source description item is cut off")
            if body[at] == _CNAME:
                text = body[at + 2 : at + 2 + body[at + 1]]
                names.append((ssrc, text.decode("utf-8", "replace")))
            at += 2 + body[at + 1]
        at = (at // 4 + 1) * 4  # the zero that ends a chunk, and more up to a full word
    return tuple(names)


def _build_one(packet: RtcpPacket) -> bytes:
    match packet:
        case SenderReport():
            info = _SENDER_INFO.pack(
                packet.ssrc,
                packet.ntp & 0xFFFF_FFFF_FFFF_FFFF,
                packet.rtp_timestamp & 0xFFFF_FFFF,
                packet.packets & 0xFFFF_FFFF,
                packet.octets & 0xFFFF_FFFF,
            )
            body = info + _build_blocks(packet.reports)
            return _framed(_SENDER_REPORT, len(packet.reports), body)
        case ReceiverReport():
            body = packet.ssrc.to_bytes(4, "big") + _build_blocks(packet.reports)
            return _framed(_RECEIVER_REPORT, len(packet.reports), body)
        case SourceDescription():
            chunks = b"".join(_build_name(ssrc, name) for ssrc, name in packet.names)
            return _framed(_SOURCE_DESCRIPTION, len(packet.names), chunks)
        case Goodbye():
            body = b"".join(ssrc.to_bytes(4, "big") for ssrc in packet.ssrcs)
            if packet.reason:
                reason = packet.reason.encode()[:255]
                body += _padded(bytes((len(reason),)) + reason)
            return _framed(_GOODBYE, len(packet.ssrcs), body)


def _build_blocks(reports: Sequence[ReportBlock]) -> bytes:
    return b"".join(
        _REPORT_BLOCK.pack(
            block.ssrc,
            (block.fraction_lost & 0xFF) << 24
            | min(max(block.cumulative_lost, -0x800000), 0x7FFFFF) & 0xFFFFFF,
            block.highest_sequence & 0xFFFF_FFFF,
            block.jitter & 0xFFFF_FFFF,
            block.last_sr & 0xFFFF_FFFF,
            block.delay_since_last_sr & 0xFFFF_FFFF,
        )
        for block in reports
    )


def _build_name(ssrc: int, name: str) -> bytes:
    text = name.encode()[:255]
    return _padded(ssrc.to_bytes(4, "big") + bytes((_CNAME, len(text))) + text + b"\0")


def _padded(body: bytes) -> bytes:
    return body + bytes(-len(body) % 4)


def _framed(kind: int, count: int, body: bytes) -> bytes:
    if count > _MAX_BLOCKS:
        raise ValueError(f"at most {_MAX_BLOCKS} entries fit one packet")
    return bytes((0x80 | count, kind)) + (len(body) // 4).to_bytes(2, "big") + body
