"""The WebSocket of a client that controls a call beside its media.

It is shown what happens in the call and sends events into it. It may come and go, break, babble or
stop reading: the call does not notice. What is to be sent to it waits here, within bounds; a client
that lets it pile up loses its socket.
"""

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from gateway.calls.client_messages import MessageRefused, read_message, session_created
from gateway.calls.control import Controllable
from gateway.realtime.errors import invalid
from gateway.realtime.session import Session
from gateway.upstream.socket import MAX_MESSAGE_BYTES

EXTENSIONS: Final = ("audio", "events")
_CONGESTED_POLL_S: Final = 0.02

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SidebandConfig:
    """How long a client is waited for, and with how much."""

    max_waiting_events: int = 2000
    max_waiting_bytes: int = 4 << 20
    """An event is taken while less than this waits, so the largest one passes too."""
    last_words_s: float = 5.0
    """When the call is over: for what still waits, and for the client's own close."""
    slow_close_s: float = 1.0
    """For telling a client that did not read why it loses its socket."""


@dataclass(frozen=True, slots=True)
class Extensions:
    """What a client wants beyond what the official service sends."""

    audio: bool = False
    """The audio deltas, which go to the phone and are not needed to control a call."""
    events: bool = False
    """The gateway's own event types."""

    @classmethod
    def parse(cls, text: str) -> "Extensions":
        """Read the query parameter `extensions`, a list with commas.

        Raises:
            RealtimeError: 400, an unknown name.
        """
        names = [name.strip() for name in text.split(",") if name.strip()]
        for name in names:
            if name not in EXTENSIONS:
                raise invalid("extensions", name, "a list of 'audio' and 'events'")
        return cls(audio="audio" in names, events="events" in names)


class SidebandCall(Controllable, Protocol):
    """The part of a call that a sideband needs."""

    @property
    def session(self) -> Session:
        """The session as the server last confirmed it."""


class Sideband:
    """One client on one call. As a `Control` it is what the call sends to.

    Args:
        socket: prepared; nothing may have been received from it yet.
        transport: of that socket.
        call: which; from finding it to `run` nothing may be awaited.
        wanted: what it is sent.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        call: SidebandCall,
        wanted: Extensions,
        config: SidebandConfig,
    ) -> None:
        self.wants_audio = wanted.audio
        self.wants_extensions = wanted.events
        self.ended = "by the client"
        """Why; for the log."""
        self._socket = socket
        self._transport = transport
        self._call = call
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._code: WSCloseCode | None = None  # to end with, once it is known that it ends
        self._wake = asyncio.Event()

    def send(self, message: bytes) -> None:
        if self._code is not None:
            return
        config = self._config
        if (
            self._waiting_bytes >= config.max_waiting_bytes
            or len(self._waiting) >= config.max_waiting_events
        ):
            self._waiting.clear()
            self._end(WSCloseCode.POLICY_VIOLATION, "does not read", config.slow_close_s)
            return
        self._waiting.append(message)
        self._waiting_bytes += len(message)
        self._wake.set()

    def close(self) -> None:
        if self._code is None:
            self._end(WSCloseCode.OK, "with the call", self._config.last_words_s)

    async def run(self) -> None:
        """Serve the client until it leaves or the call is over."""
        # Without a pause between these two, nothing is missed and nothing comes twice.
        self.send(session_created(self._call.session))
        self._call.attach(self)
        reader = self._loop.create_task(self._read())
        writer = self._loop.create_task(self._write())
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._call.detach(self)
            for task in (reader, writer):
                task.cancel()
            # Only when nobody else receives, closing waits for the client's answer.
            results = await asyncio.gather(reader, writer, return_exceptions=True)
            defects = [result for result in results if isinstance(result, Exception)]
            code = WSCloseCode.INTERNAL_ERROR if defects else self._code or WSCloseCode.OK
            self._abort_in(self._config.last_words_s)
            with contextlib.suppress(ConnectionError):
                await self._socket.close(code=code)
        for defect in defects:
            raise defect

    def _end(self, code: WSCloseCode, why: str, within_s: float) -> None:
        self._code, self.ended = code, why
        self._wake.set()
        self._abort_in(within_s)

    def _abort_in(self, delay_s: float) -> None:
        """A transport closes once its buffer is empty, which for a dead client is never."""
        if self._transport is not None:
            self._loop.call_later(delay_s, self._transport.abort)

    async def _write(self) -> None:
        """Send what waits, until all is sent and no more will come."""
        with contextlib.suppress(ConnectionError):  # the reader sees that too
            while self._waiting or self._code is None:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    message = self._waiting.popleft()
                    self._waiting_bytes -= len(message)
                    await self._socket.send_frame(message, WSMsgType.TEXT)

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.TEXT:
                # Bytes: the socket was opened without decoding.
                if len(message.data) > MAX_MESSAGE_BYTES:
                    self._code, self.ended = WSCloseCode.MESSAGE_TOO_BIG, "sent too much at once"
                    return
                if not await self._has_room():
                    return
                self._take(message.data)
            elif message.type is WSMsgType.BINARY:
                refused = MessageRefused("Events are text messages, not binary ones.")
                self.send(refused.to_message())
            else:
                return

    async def _has_room(self) -> bool:
        """Wait until the server has taken most of what it was sent; False when the client left.

        What a client sends meanwhile stays with it, so that nothing piles up here.
        """
        while self._call.congested:
            if self._transport is None or self._transport.is_closing():
                return False
            await asyncio.sleep(_CONGESTED_POLL_S)
        return True

    def _take(self, data: bytes) -> None:
        try:
            event = read_message(data)
        except MessageRefused as refused:
            self.send(refused.to_message())
            return
        self._call.control(event)
