"""The line of a description that stands for data channels: SCTP over DTLS (RFC 8841).

There are two ways to write it. The older one, of drafts, has the SCTP port where formats stand and
says in `a=sctpmap` what it is for; some peers still use it, and are answered in their way.
"""

import re
from dataclasses import dataclass
from typing import Final

from gateway.sdp.description import MediaDescription, values

SCTP_PORT: Final = 5000
"""Ours. It is told, and means nothing: DTLS carries one association."""
MAX_STREAMS: Final = 1024
"""Channels at a time: as many as the older way of writing has to tell, in place of all 65535, each
of which takes memory."""
UNLIMITED_MESSAGE_BYTES: Final = 1 << 30
"""What is taken for the longest message of a peer that knows no limit."""

_PROTOCOLS: Final = ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP")
_OLD_PROTOCOL: Final = "DTLS/SCTP"
_USAGE: Final = "webrtc-datachannel"
_MESSAGE_BYTES: Final = 65_536  # where nothing is told (RFC 8841 section 6.1)
_LEAST_MESSAGE_BYTES: Final = 1200  # what SCTP carries in one piece
_DIGITS: Final = re.compile(r"\d{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class DataPlan:
    """What was agreed on about data channels."""

    mid: str
    """Names their line."""
    sctp_port: int
    """The peer's."""
    max_message_bytes: int
    """The longest message that the peer takes."""


def read_data_line(line: MediaDescription, mid: str) -> DataPlan | None:
    """The plan for a line; None if it stands for something else, for a closed association, or for a
    peer that no message of use fits."""
    protocol = line.protocol.upper()
    if protocol in _PROTOCOLS and _USAGE in line.formats:
        port = line.attribute("sctp-port") or str(SCTP_PORT)
    elif (
        protocol == _OLD_PROTOCOL
        and line.formats
        and any(
            value.split()[:2] == [line.formats[0], _USAGE]
            for value in values(line.attributes, "sctpmap")
        )
    ):
        port = line.formats[0]
    else:
        return None
    if not _DIGITS.fullmatch(port) or not 0 < int(port) <= 65_535:
        return None
    longest = _max_message_bytes(line)
    return DataPlan(mid, int(port), longest) if longest >= _LEAST_MESSAGE_BYTES else None


def data_line_answer(
    line: MediaDescription, max_message_bytes: int
) -> tuple[tuple[str, ...], list[tuple[str, str | None]]]:
    """Formats and attributes of our line in answer to a peer's, in the peer's way of writing."""
    size = ("max-message-size", str(max_message_bytes))
    if line.protocol.upper() == _OLD_PROTOCOL:
        return (str(SCTP_PORT),), [("sctpmap", f"{SCTP_PORT} {_USAGE} {MAX_STREAMS}"), size]
    return (_USAGE,), [("sctp-port", str(SCTP_PORT)), size]


def _max_message_bytes(line: MediaDescription) -> int:
    text = line.attribute("max-message-size") or ""
    if not _DIGITS.fullmatch(text):
        return _MESSAGE_BYTES
    return min(int(text), UNLIMITED_MESSAGE_BYTES) or UNLIMITED_MESSAGE_BYTES  # 0: no limit
