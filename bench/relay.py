"""The yardstick: the plainest relay to the Realtime server, `python -m bench.relay --calls N ...`.

One UDP socket and one WebSocket a call, and an epoll loop. Each RTP packet becomes one append (its
payload as it is, key presses too), each delta one RTP packet to where the last one came from. So
it costs what packets and messages cost on this machine. That falls as calls grow: a write is dear
when it wakes the server's idle core, and with many calls that core is often awake.
It prints its UDP ports as a JSON list and ends after `--life` seconds.
"""

import argparse
import select
import socket
import sys
import time
from binascii import a2b_base64, b2a_base64
from random import getrandbits
from struct import Struct

from bench.websocket import masked

_HOST = "127.0.0.1"
_APPEND = b'{"type":"input_audio_buffer.append","audio":"'
_DELTA, _AUDIO = b'{"type":"response.output_audio.delta",', b'"delta":"'
_RTP, _FINAL_TEXT = Struct("!BBHII"), b"\x81"


def _frame(message: bytes) -> bytes:
    """A client's text frame (RFC 6455 section 5.2)."""
    size, key = len(message), getrandbits(32).to_bytes(4)
    length = bytes((0x80 | size,)) if size < 126 else bytes((0x80 | 126, size >> 8, size & 0xFF))
    return _FINAL_TEXT + length + key + masked(message, key)


class Call:
    """Both sockets of one call, and what is between them."""

    def __init__(self, model_port: int) -> None:
        self.audio = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.audio.bind((_HOST, 0))
        # Both block: they are read only when something came, and no write is ever cut short.
        self.model = socket.create_connection((_HOST, model_port), timeout=10)
        self.model.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = self._handshake()
        self.model.settimeout(None)
        self._caller: tuple[str, int] | None = None
        self._sequence, self._timestamp, self._ssrc = 0, 0, getrandbits(32)

    def _handshake(self) -> bytes:
        """Return what came behind the answer. The echo needs no `session.update` after it."""
        key = b2a_base64(getrandbits(128).to_bytes(16), newline=False)
        self.model.sendall(
            b"GET /v1/realtime?model=bench HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: " + key + b"\r\n\r\n"
        )
        answer, data = b"", b"?"
        while data and b"\r\n\r\n" not in answer:
            data = self.model.recv(65536)
            answer += data
        if not answer.startswith(b"HTTP/1.1 101 "):
            sys.exit("the server did not upgrade the connection")
        return answer.partition(b"\r\n\r\n")[2]

    def to_model(self) -> None:
        packet, self._caller = self.audio.recvfrom(2048)
        audio = b2a_base64(packet[_RTP.size :], newline=False)
        self.model.sendall(_frame(_APPEND + audio + b'"}'))

    def to_caller(self) -> None:
        data = self.model.recv(65536)
        if not data:
            sys.exit("the Realtime server has gone")
        for message in self._messages(data):
            if message.startswith(_DELTA) and self._caller is not None:
                payload = a2b_base64(message.partition(_AUDIO)[2].partition(b'"')[0])
                header = _RTP.pack(0x80, 0, self._sequence, self._timestamp, self._ssrc)
                self._sequence = self._sequence + 1 & 0xFFFF
                self._timestamp = self._timestamp + len(payload) & 0xFFFFFFFF
                self.audio.sendto(header + payload, self._caller)

    def _messages(self, data: bytes) -> list[bytes]:
        """Whole text messages; a server sends them unmasked, and ours sends none in pieces."""
        messages: list[bytes] = []
        data, at = self._rest + data, 0
        while len(data) >= at + 2:
            size, start = data[at + 1], at + 2
            if size > 125:
                start += 2 if size == 126 else 8
                size = int.from_bytes(data[at + 2 : start])
            if len(data) < start + size:
                break
            if data.startswith(_FINAL_TEXT, at):
                messages.append(data[start : start + size])
            at = start + size
        self._rest = data[at:]
        return messages


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description=__doc__)
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--model-port", type=int, required=True)
    parser.add_argument("--life", type=float, default=60.0, help="seconds")
    options = parser.parse_args()
    calls = [Call(options.model_port) for _ in range(options.calls)]
    came = {call.audio.fileno(): call.to_model for call in calls}
    came |= {call.model.fileno(): call.to_caller for call in calls}
    poll = select.epoll()
    for number in came:
        poll.register(number, select.EPOLLIN)
    print([call.audio.getsockname()[1] for call in calls], flush=True)
    end = time.monotonic() + options.life
    while time.monotonic() < end:
        for number, _ in poll.poll(1.0):
            came[number]()


if __name__ == "__main__":
    main()
