"""RTP by hand: a phone's media socket that sends on a clock and keeps all that it receives.

As `wire` does, it shares nothing with the gateway. Times of arrival are the kernel's, so that a
busy test process does not blur them.
"""

import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
FRAME_S = 0.020
FRAME_BYTES = 160
SILENCE = b"\xff" * FRAME_BYTES
"""20 ms of nothing in mu-law."""
ALAW_SILENCE = b"\xd5" * FRAME_BYTES

_HEADER = struct.Struct("!BBHII")
_SO_TIMESTAMPNS = 35  # Linux; not named by the socket module
_SECONDS = struct.Struct("@ll")


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet that came in."""

    at_s: float
    """Unix time."""
    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    source: tuple[str, int]

    @property
    def silent(self) -> bool:
        return len(set(self.payload) - {0xFF, 0x7F, 0xD5, 0x55}) == 0


def rtp(
    payload: bytes,
    sequence: int,
    timestamp: int,
    ssrc: int,
    payload_type: int = 0,
    marker: bool = False,
) -> bytes:
    """An RTP packet."""
    second = payload_type | marker << 7
    return _HEADER.pack(0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


class Phone:
    """The media of one caller. Sends silence until it has something to say.

    Args:
        host: our address.
        payload_type: 0 for mu-law, 8 for A-law.
    """

    def __init__(self, host: str = HOST, payload_type: int = 0, ssrc: int = 0x1234ABCD) -> None:
        self.socket = _bound_pair(host)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.address: tuple[str, int] = self.socket.getsockname()
        self.port = self.address[1]
        self.packets: list[Packet] = []
        self.others = 0
        """Datagrams that were no RTP."""
        self.sent = 0
        self.muted = False
        """Send nothing at all."""
        self._payload_type = payload_type
        self._ssrc = ssrc
        self._sequence, self._timestamp = 65_500, 4_294_900_000  # both wrap soon, on purpose
        self._idle = ALAW_SILENCE if payload_type == 8 else SILENCE
        self._remote: tuple[str, int] | None = None
        self._queue: deque[bytes] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.socket.close()

    def talk_to(self, remote: tuple[str, int]) -> None:
        """Send there from now on."""
        self._remote = remote

    def say(self, frames: Iterable[bytes]) -> None:
        """Queue payloads, one for each 20 ms."""
        self._queue.extend(frames)

    @property
    def talking(self) -> bool:
        return bool(self._queue)

    @property
    def behind(self) -> bool:
        """Something has come in that was not looked at yet."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def heard(self, since: int = 0) -> list[Packet]:
        """What has come in, from the packet with this number on."""
        return self.packets[since:]

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            left = due - time.monotonic()
            if left <= 0:
                due += FRAME_S
                self._send()
                continue
            if select.select([self.socket], [], [], left)[0]:
                self._receive()

    def _send(self) -> None:
        if self._remote is None:
            return
        payload = self._queue.popleft() if self._queue else self._idle
        if not self.muted:
            packet = rtp(payload, self._sequence, self._timestamp, self._ssrc, self._payload_type)
            self.sent += 1  # before it can have come in
            self.socket.sendto(self._sealed(packet), self._remote)
        self._sequence += not self.muted
        self._timestamp += FRAME_BYTES

    def _sealed(self, packet: bytes) -> bytes:
        """What goes over the wire; with plain RTP, the packet."""
        return packet

    def _opened(self, data: bytes) -> bytes:
        """What came over the wire; b"" for what cannot be read."""
        return data

    def _receive(self) -> None:
        data, notes, _, source = self.socket.recvmsg(2048, 64)
        at_s = time.time()
        for level, kind, value in notes:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = _SECONDS.unpack(value)
                at_s = seconds + nanoseconds / 1e9
        data = self._opened(data)
        if len(data) < 12 or data[0] != 0x80 or 192 <= data[1] <= 223:
            self.others += 1
            return
        _, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
        payload_type, marker = second & 0x7F, bool(second & 0x80)
        self.packets.append(
            Packet(at_s, payload_type, marker, sequence, timestamp, ssrc, data[12:], source)
        )


def frames(audio: bytes) -> list[bytes]:
    """Audio cut into 20 ms, the last filled up with silence."""
    padded = audio + SILENCE[: -len(audio) % FRAME_BYTES]
    return [padded[at : at + FRAME_BYTES] for at in range(0, len(padded), FRAME_BYTES)]


def _bound_pair(host: str) -> socket.socket:
    """A UDP socket on an even port."""
    while True:
        candidate = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        candidate.bind((host, 0))
        if candidate.getsockname()[1] % 2 == 0:
            return candidate
        candidate.close()
