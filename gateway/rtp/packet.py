"""RTP packets (RFC 3550 section 5.1).

Twelve fixed bytes, up to fifteen contributing sources, one optional extension, the payload, and
optional padding whose last byte says how much of it there is. Almost every packet of a telephone
call has only the fixed part; `HEADER` reads that in one step for the media path, and `RtpPacket`
reads all of it for everything else.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Self

HEADER = Struct("!BBHII")
"""First byte (version, padding, extension, source count), marker and payload type, sequence number,
timestamp, SSRC."""

PLAIN = 0x80
"""The first byte of a packet of version 2 that has nothing optional."""

HEADER_BYTES = 12
MARKER = 0x80


class RtpError(ValueError):
    """The bytes are not an RTP packet."""


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One packet without what the gateway never uses: contributing sources and extensions."""

    payload_type: int
    sequence_number: int
    """16 bits, wraps."""
    timestamp: int
    """32 bits, in samples of the codec's clock, wraps."""
    ssrc: int
    payload: bytes
    marker: bool = False

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read one datagram.

        Raises:
            RtpError: whatever the bytes are, this and nothing else.
        """
        if len(data) < HEADER_BYTES:
            raise RtpError("shorter than an RTP header")
        first, second, sequence_number, timestamp, ssrc = HEADER.unpack_from(data)
        if first >> 6 != 2:
            raise RtpError("not version 2")
        start = HEADER_BYTES + 4 * (first & 0x0F)
        if first & 0x10:
            if len(data) < start + 4:
                raise RtpError("the extension is cut off")
            start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
        end = len(data)
        if start > end:
            raise RtpError("the header is cut off")
        if first & 0x20:
            padding = data[-1] if end > start else 0
            if not 0 < padding <= end - start:
                raise RtpError("the padding does not fit")
            end -= padding
        return cls(
            payload_type=second & 0x7F,
            sequence_number=sequence_number,
            timestamp=timestamp,
            ssrc=ssrc,
            payload=bytes(data[start:end]),
            marker=bool(second & MARKER),
        )

    def to_bytes(self) -> bytes:
        """The packet as a datagram; the fields must be within their widths."""
        second = self.payload_type | (MARKER if self.marker else 0)
        return (
            HEADER.pack(PLAIN, second, self.sequence_number, self.timestamp, self.ssrc)
            + self.payload
        )
