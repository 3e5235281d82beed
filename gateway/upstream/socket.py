"""aiohttp's client WebSocket with a write that never waits, and a count of what waits behind it."""

import socket
from array import array
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Final, Literal

import aiohttp
from aiohttp import ClientWebSocketResponse, WSMessage, WSMsgType

MAX_MESSAGE_BYTES: Final = 16 << 20
"""An `input_audio_buffer.append` may be 15 MiB; nothing a server sends is larger."""
CLOSE_TIMEOUT_S: Final = 1.0
"""A server that does not answer our close frame is not waited for longer."""
OURS: Final = "ours"
"""Marks a message that no server sent."""
_KERNEL_BUFFER_BYTES = 256 << 10
"""Room for all audio that may wait, whatever the format. Once the kernel is full, a TLS transport
passes 64 KiB on to the transport underneath, and nobody can see those."""
_NEVER_PAUSED_BYTES = 1 << 30


class BackendSocket(ClientWebSocketResponse[Literal[True]]):
    """A WebSocket to a Realtime server."""

    _descriptor = -1
    _kernel_queue = array("i", [0])  # `ioctl` writes here; kept so that a frame allocates nothing

    def take_over(self) -> None:
        """Let `backlog` be all that bounds what waits: in the transport and in the kernel."""
        self._writer.transport.set_write_buffer_limits(high=_NEVER_PAUSED_BYTES)
        tcp = self.get_extra_info("socket")
        if tcp is not None:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER_BYTES)
            self._descriptor = tcp.fileno()

    def backlog(self) -> int:
        """Bytes written and not yet acknowledged by the server's kernel."""
        transport = self._writer.transport
        if transport.is_closing():
            return 0  # the descriptor may be another connection's by now
        try:
            ioctl(self._descriptor, TIOCOUTQ, self._kernel_queue)
        except OSError:  # no such count on this system
            return transport.get_write_buffer_size()
        return transport.get_write_buffer_size() + self._kernel_queue[0]

    def write(self, message: bytes, kind: WSMsgType = WSMsgType.TEXT) -> None:
        """Send one frame, now.

        `send_frame` writes first and then waits only when the transport has paused us, which it
        was told never to do. One step of it is therefore the whole of it.
        """
        frame = self._writer.send_frame(message, kind)
        try:
            frame.send(None)
        except StopIteration:
            pass
        except aiohttp.ClientError:
            pass  # the connection is closing; whoever reads it learns why

    def answer(self, message: bytes) -> None:
        """Have `receive` bring a text of our own, after all that has arrived already.

        Its `extra` is `OURS`.
        """
        self._reader.feed_data(WSMessage(WSMsgType.TEXT, message, OURS), len(message))

    def abort(self) -> None:
        self._writer.transport.abort()
        self._response.close()  # what was lost without a close is still in the connector's books
