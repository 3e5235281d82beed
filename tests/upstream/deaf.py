"""Realtime servers that open a session and then say nothing, and do not read, or read slowly.

Each has a thread of its own. The receive buffer of the deaf one is as small as the kernel makes it,
so that what a client could write is what waited on the client's side.
"""

import base64
import contextlib
import hashlib
import socket
import ssl
import threading
from pathlib import Path
from typing import Any, Self

CERTIFICATE = Path(__file__).with_name("loopback.pem")
"""Self-signed for 127.0.0.1, with its key."""
_ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


class DeafServer:
    """Serves one connection; leaving its context breaks it."""

    _receive_buffer_bytes = 4096

    def __init__(self, tls: bool = False) -> None:
        self._tls = tls
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer_bytes)
        self._listener.bind(("127.0.0.1", 0))
        self.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{self._listener.getsockname()[1]}/"

    def __enter__(self) -> Self:
        self._listener.listen()
        self._listener.settimeout(10)
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._released.set()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        plain, _ = self._listener.accept()
        plain.settimeout(10)
        connection = self._secured(plain) if self._tls else plain
        with connection:
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(4096)
            key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
            accept = base64.b64encode(hashlib.sha1(key + _ACCEPT_SALT).digest()).decode()
            updated = b'{"type":"session.updated","session":{}}'
            connection.sendall(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
                + bytes([0x81, len(updated)])
                + updated
            )
            self._go_on(connection)

    def _go_on(self, connection: socket.socket) -> None:
        self._released.wait(30)

    def _secured(self, plain: socket.socket) -> socket.socket:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(CERTIFICATE)
        return tls.wrap_socket(plain, server_side=True)


class ThrottledServer(DeafServer):
    """Reads as a thin line would let it."""

    _receive_buffer_bytes = 64 << 10
    _step_s = 0.005

    def __init__(self, bytes_per_s: int) -> None:
        super().__init__()
        self._step_bytes = int(bytes_per_s * self._step_s)
        self.read_bytes = 0

    def _go_on(self, connection: socket.socket) -> None:
        connection.settimeout(0.1)
        with contextlib.suppress(ConnectionError):
            while not self._released.wait(self._step_s):
                with contextlib.suppress(TimeoutError):
                    self.read_bytes += len(connection.recv(self._step_bytes))
