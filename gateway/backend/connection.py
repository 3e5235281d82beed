"""One client's WebSocket and its session: feeds the session, sends what it says, keeps its time.

The shell of `BackendSession`. It decides nothing about the protocol; it bounds what a client can
make it hold: the size of a message, the audio that waits for the voice detector (reading pauses),
and what waits to be sent (the connection is cut).
"""

import asyncio
import json
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog
from aiohttp import WSMsgType, web

from gateway.backend.session import BackendSession
from gateway.backend.speech import SpeechRequest
from gateway.backend.voice import Voice
from gateway.realtime.errors import RealtimeError
from gateway.realtime.events import Event, EventError, parse_event

_APPEND: Final = b'{"type":"input_audio_buffer.append","audio":"'
_MAX_UNHEARD_WINDOWS: Final = 300
"""About ten seconds of audio; appends come in real time, but nothing forces them to."""
_MAX_UNSENT_BYTES: Final = 16 << 20

# ASCII: what a client sent may hold half a surrogate pair, which UTF-8 cannot carry.
_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode

_log = structlog.get_logger()


def scan_append(message: bytes) -> bytes | None:
    """The audio of an append in its usual spelling, without a JSON library; None to parse it."""
    if not message.startswith(_APPEND) or not message.endswith(b'"}'):
        return None
    try:
        return a2b_base64(message[len(_APPEND) : -2], strict_mode=True)
    except Base64Error:
        return None


class Connection:
    """A connected client.

    Args:
        heard: called with the connection whenever its session's ear has a window.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        session: BackendSession,
        voice: Voice,
        heard: Callable[["Connection"], None],
    ) -> None:
        self.session = session
        self._socket = socket
        self._transport = transport
        self._voice = voice
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[bytes | None] = deque()  # None: close after what is before it
        self._unsent_bytes = 0
        self._ending = False  # the session has ended, and the connection is to be closed
        self._over = False  # the connection has ended
        self._wake = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve the client until the connection ends."""
        self._start(self._write())
        try:
            self.drain()
            await self._read()
        except Exception as error:
            self._fail(error)
        finally:
            self._over = True
            if self._timer is not None:
                self._timer.cancel()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self, code: int) -> None:
        await self._socket.close(code=code)

    def voice(self, probability: float, now: float) -> None:
        """The voice detector's word on the next window of the session's ear."""
        try:
            if self.session.voice(probability, now):
                self.drain()
        except Exception as error:
            self._fail(error)  # the caller of this serves other sessions too
        if self.session.ear.windows < _MAX_UNHEARD_WINDOWS:
            self._caught_up.set()

    def drain(self) -> None:
        """Act on what the session has to say."""
        if self._over:
            return
        session = self.session
        for event in session.events():
            self._send(event)
        for request in session.lines_to_speak():
            self._start(self._speak(request))
        if session.ended and not self._ending:
            self._ending = True
            self._unsent.append(None)
            self._wake.set()
        at = session.next_timeout()
        if at != self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None if at is None else self._loop.call_at(at, self._timeout)
            self._timer_at = at

    def _timeout(self) -> None:
        # uvloop rounds delays to milliseconds and may be early; by the clock nothing would be due
        # yet, and the timer would be set again and again until it is.
        now = max(self._loop.time(), self._timer_at or 0.0)
        self._timer = self._timer_at = None
        try:
            self.session.timeout(now)
            self.drain()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        _log.error("backend.session_failed", exc_info=error)
        self._abort()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _read(self) -> None:
        socket, session = self._socket, self.session
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.TEXT:
                data: bytes = message.data
                audio = scan_append(data)
                if audio is None:
                    self._take(data)
                elif session.append(audio):
                    self._heard(self)
                    await self._catch_up()
            elif message.type is WSMsgType.BINARY:
                self._refuse("Events are text messages, not binary ones.")
            else:
                return

    async def _catch_up(self) -> None:
        """Read no more while too much audio waits for the voice detector."""
        if self.session.ear.windows > _MAX_UNHEARD_WINDOWS:
            self._caught_up.clear()
            await self._caught_up.wait()

    def _take(self, data: bytes) -> None:
        try:
            event = parse_event(data)
        except EventError as error:
            self._refuse(f"The message is not an event: {error}.")
            return
        self.session.receive(event, self._loop.time())
        self.drain()
        if self.session.ear.windows > 0:  # an append in an unusual spelling
            self._heard(self)

    def _refuse(self, message: str) -> None:
        self.session.refuse(RealtimeError(message, code="invalid_event"))
        self.drain()

    async def _speak(self, request: SpeechRequest) -> None:
        try:
            clips = await self._voice.speak(request.line, request.format)
            self.session.speak(request, clips, self._loop.time())
            self.drain()
        except Exception as error:
            self._fail(error)

    def _send(self, event: Event) -> None:
        data = _encode(event).encode()
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        self._wake.set()
        if self._unsent_bytes > _MAX_UNSENT_BYTES:
            _log.warning("backend.slow_client", unsent_bytes=self._unsent_bytes)
            self._abort()

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._unsent:
                    data = self._unsent.popleft()
                    if data is None:
                        await self._socket.close()
                        return
                    self._unsent_bytes -= len(data)
                    await self._socket.send_frame(data, WSMsgType.TEXT)
        except ConnectionError:
            pass  # the reader sees the end of the connection too, and ends the session

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
