"""Cutting a byte stream into SIP messages (RFC 3261 section 18.3, RFC 5626 section 4.4.1).

On a stream nothing but Content-Length says where a message ends, so it must be there, once, and be
a number; without it the rest of the stream has no meaning and the connection has to go. Between
messages a lone CRLF is nothing and a double CRLF is a keep-alive that wants a CRLF back.
"""

import re
from collections.abc import Iterator

from gateway.sip.errors import SipError
from gateway.sip.message import MAX_MESSAGE_BYTES, Request
from gateway.sip.parse import parse

_FOLD = re.compile(rb"\r\n[ \t]++")
_LENGTH = re.compile(rb"[0-9]{1,10}")
_LINE_END_BYTES = 3
"""What may be kept of a keep-alive that is not whole; no message is so short."""


class StreamFramer:
    """The receiving half of one connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # how far the end of the head has been looked for
        self._head_bytes = 0  # of the message whose body is awaited, else 0
        self._total_bytes = 0
        self._pongs = 0
        self._broken = False

    @property
    def awaits_rest(self) -> bool:
        """Whether a message has begun that is not whole yet."""
        return len(self._buffer) > _LINE_END_BYTES

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what arrived; iterate over the whole messages that it completes.

        The iteration raises SipError (513 over 64 kB, else 400) at the place where
        the stream stops making sense, after the good messages before it: answer `request` if there
        is one, then close. From then on everything fed is ignored.
        """
        if not self._broken:
            self._buffer += data
        return self._messages()

    def replies(self) -> bytes:
        """What has to be sent back for the keep-alives seen since the last call."""
        pongs, self._pongs = self._pongs, 0
        return b"\r\n" * pongs

    def _messages(self) -> Iterator[bytes]:
        while not self._broken:
            message = self._next()
            if message is None:
                return
            yield message

    def _next(self) -> bytes | None:
        buffer = self._buffer
        if not self._head_bytes and not self._read_head():
            return None
        if len(buffer) < self._total_bytes:
            return None
        message = bytes(buffer[: self._total_bytes])
        del buffer[: self._total_bytes]
        self._head_bytes = self._total_bytes = self._searched = 0
        return message

    def _read_head(self) -> bool:
        """Whether a head is complete; its size and that of its message are then known."""
        self._skip_line_ends()
        buffer = self._buffer
        if buffer[:1] == b"\r":  # a line end that may become a keep-alive
            return False
        end = buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
        self._searched = len(buffer)
        if end < 0:
            if len(buffer) > MAX_MESSAGE_BYTES:
                raise self._failure(513, "Message Too Large", len(buffer))
            return False
        self._head_bytes = end + 4
        length = self._content_length(end)
        self._total_bytes = self._head_bytes + length
        if self._total_bytes > MAX_MESSAGE_BYTES:
            raise self._failure(513, "Message Too Large", self._head_bytes)
        return True

    def _skip_line_ends(self) -> None:
        buffer = self._buffer
        at = 0
        while buffer.startswith(b"\r\n", at):
            if buffer.startswith(b"\r\n", at + 2):
                self._pongs += 1
                at += 4
            elif len(buffer) - at <= 3 and not buffer[at + 2 :].strip(b"\r"):
                break
            else:
                at += 2
        if at:
            del buffer[:at]
            self._searched = 0

    def _content_length(self, end: int) -> int:
        head = _FOLD.sub(b" ", bytes(self._buffer[:end]))
        values = []
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.strip(b" \t").lower() in (b"content-length", b"l"):
                values.append(value.strip(b" \t"))
        if not values:
            raise self._failure(400, "Missing Content-Length Header", self._head_bytes)
        if len(values) > 1:
            raise self._failure(400, "Multiple Content-Length Headers", self._head_bytes)
        if not _LENGTH.fullmatch(values[0]):
            raise self._failure(400, "Malformed Content-Length Header", self._head_bytes)
        return int(values[0])

    def _failure(self, status: int, reason: str, head_bytes: int) -> SipError:
        """The error for the head in front of the buffer; the stream is over."""
        self._broken = True
        head = bytes(self._buffer[:head_bytes])
        self._buffer.clear()
        try:
            message = parse(head)
        except SipError as error:
            request = error.request
        else:
            request = message if isinstance(message, Request) else None
        return SipError(status, reason, request)
