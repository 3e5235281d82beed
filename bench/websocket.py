"""The server side of RFC 6455, as little of it as one program needs to talk to another fast.

No extensions are negotiated. Messages come out whole; control frames come out between them.
"""

from base64 import b64encode
from hashlib import sha1

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
MAX_MESSAGE_BYTES = 1 << 20
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_CONTINUATION = 0x0


class WebSocketError(ValueError):
    """The client broke the protocol."""


def handshake(headers: dict[str, str]) -> bytes:
    """The 101 answer to an upgrade request whose header names are in lower case.

    Raises:
        WebSocketError: the request does not ask for a WebSocket.
    """
    key = headers.get("sec-websocket-key", "")
    if not key or headers.get("upgrade", "").lower() != "websocket":
        raise WebSocketError("not a WebSocket upgrade")
    accept = b64encode(sha1(key.encode() + _GUID).digest())
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept,
    ]
    offered = headers.get("sec-websocket-protocol", "").split(",")
    if "realtime" in [name.strip() for name in offered]:
        lines.append(b"Sec-WebSocket-Protocol: realtime")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One unfragmented, unmasked server frame."""
    size = len(payload)
    first = 0x80 | opcode
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126, size >> 8, size & 0xFF)) + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


class FrameReader:
    """Cuts the messages out of a client's byte stream."""

    def __init__(self) -> None:
        self._rest = b""
        self._fragments = bytearray()
        self._opcode = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take received bytes; return each whole message as (opcode, payload).

        Raises:
            WebSocketError: the client broke the protocol; the stream is of no further use.
        """
        if self._rest:
            data = self._rest + data
        messages: list[tuple[int, bytes]] = []
        at, available = 0, len(data)
        while available - at >= 6:
            first, length = data[at], data[at + 1]
            if length < 0x80:
                raise WebSocketError("a client frame must be masked")
            length &= 0x7F
            start = at + 2
            if length == 126:
                start += 2
                length = data[at + 2] << 8 | data[at + 3]
            elif length == 127:
                if available - at < 14:
                    break
                start += 8
                length = int.from_bytes(data[at + 2 : start], "big")
            end = start + 4 + length
            if length > MAX_MESSAGE_BYTES:
                raise WebSocketError("message too long")
            if end > available:
                break
            payload = masked(data[start + 4 : end], data[start : start + 4])
            at = end
            if first & 0x8F == 0x81:
                messages.append((TEXT, payload))
            else:
                self._unusual(first, payload, messages)
        self._rest = data[at:]
        return messages

    def _unusual(self, first: int, payload: bytes, messages: list[tuple[int, bytes]]) -> None:
        opcode = first & 0x0F
        if opcode >= CLOSE:
            messages.append((opcode, payload))
            return
        if opcode != _CONTINUATION:
            self._opcode = opcode
            self._fragments.clear()
        self._fragments += payload
        if len(self._fragments) > MAX_MESSAGE_BYTES:
            raise WebSocketError("message too long")
        if first & 0x80:
            messages.append((self._opcode, bytes(self._fragments)))
            self._fragments.clear()


def masked(payload: bytes, key: bytes) -> bytes:
    """Masked or unmasked, the same thing: XOR with the repeated key (RFC 6455 section 5.3).

    As one long integer, which is far cheaper in Python than byte by byte.
    """
    size = len(payload)
    mask = (key * (size // 4 + 1))[:size]
    mixed = int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")
    return mixed.to_bytes(size, "little")
