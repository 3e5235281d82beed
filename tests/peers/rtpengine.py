"""rtpengine as a peer: the media proxy that stands between plain phones and WebRTC at carriers.

Its control protocol ("ng") is bencode over UDP. An answer is kept for whoever asks again with the
same cookie, so each request has one of its own.
"""

import itertools
import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.peers.gateway import HOST, eventually, free_port, free_range

_MEDIA_PORTS = 40
_TO_PLAIN = {"transport-protocol": "RTP/AVP", "ICE": "remove", "DTLS": "off", "rtcp-mux": ["demux"]}
_TO_WEBRTC = {
    "transport-protocol": "UDP/TLS/RTP/SAVPF",
    "ICE": "force",
    "rtcp-mux": ["offer", "require"],
    "SDES": ["off"],
}


def need_rtpengine() -> None:
    """Skip the test when it is not installed."""
    if shutil.which("rtpengine") is None:
        pytest.skip("rtpengine is not installed (package rtpengine-daemon)")


class Rtpengine:
    """The program, all in user space. Use as a context manager.

    Args:
        directory: for its log.
    """

    def __init__(self, directory: Path) -> None:
        need_rtpengine()
        self._log = directory / "rtpengine.log"
        self._cookies = itertools.count(1)
        self._control = free_port()

    def __enter__(self) -> Self:
        first = free_range(_MEDIA_PORTS)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *("rtpengine", "--foreground", "--log-stderr", "--log-level=7", "--table=-1"),
                    *("--config-file=none", "--num-threads=2", "--delete-delay=0"),
                    *(f"--interface={HOST}", f"--listen-ng={HOST}:{self._control}"),
                    *(f"--port-min={first}", f"--port-max={first + _MEDIA_PORTS - 1}"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((HOST, self._control))
        self._socket.settimeout(0.2)
        ready = eventually(self._pings, 10)
        assert ready, f"rtpengine did not start:\n{self.log[-3000:]}"
        self._socket.settimeout(5)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def offer(self, call_id: str, sdp: str) -> str:
        """A plain phone's offer, as one of WebRTC."""
        return self._sdp("offer", call_id, sdp, {"from-tag": "phone", **_TO_WEBRTC})

    def answer(self, call_id: str, sdp: str) -> str:
        """The answer to that, as one for the plain phone."""
        tags = {"from-tag": "phone", "to-tag": "gateway"}
        return self._sdp("answer", call_id, sdp, {**tags, **_TO_PLAIN})

    def delete(self, call_id: str) -> None:
        self._ask({"command": "delete", "call-id": call_id, "from-tag": "phone"})

    def _sdp(self, command: str, call_id: str, sdp: str, more: dict[str, Any]) -> str:
        told = self._ask({"command": command, "call-id": call_id, "sdp": sdp, **more})
        return bytes(told[b"sdp"]).decode()

    def _pings(self) -> bool:
        try:
            return bool(self._ask({"command": "ping"})[b"result"] == b"pong")
        except OSError:
            return False

    def _ask(self, request: dict[str, Any]) -> dict[bytes, Any]:
        cookie = b"%d" % next(self._cookies)
        self._socket.send(cookie + b" " + _encoded(request))
        while True:
            got, _, answer = self._socket.recv(65_536).partition(b" ")
            if got == cookie:
                break
        told: dict[bytes, Any] = _decoded(answer, 0)[0]
        assert told[b"result"] in (b"ok", b"pong"), f"{told}\n{self.log[-3000:]}"
        return told


def _encoded(value: Any) -> bytes:
    if isinstance(value, dict):
        items = sorted((key.encode(), one) for key, one in value.items())
        return b"d" + b"".join(_encoded(key) + _encoded(one) for key, one in items) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(map(_encoded, value)) + b"e"
    data = value.encode() if isinstance(value, str) else value
    return b"%d:%b" % (len(data), data)


def _decoded(data: bytes, at: int) -> tuple[Any, int]:
    """The value that begins there, and where it ends."""
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        parts, at = [], at + 1
        while data[at : at + 1] != b"e":
            part, at = _decoded(data, at)
            parts.append(part)
        value = parts if kind == b"l" else dict(zip(parts[::2], parts[1::2], strict=True))
        return value, at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end], end
