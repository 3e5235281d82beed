"""One client's WebSocket and its session: feeds the session, sends what it says, keeps its time.

The shell of `BackendSession`. It decides nothing about the protocol; it bounds what a client can
make it hold: the size of a message, the audio that waits for the voice detector (reading pauses),
and what waits to be sent (the connection is cut). A client of the beta API is served in its own
words, by translation.
"""

import asyncio
import json
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from gateway.backend.faults import Close, Step
from gateway.backend.rehearsal import Rehearsal
from gateway.backend.session import BackendSession
from gateway.backend.speech import SpeechRequest
from gateway.backend.voice import Voice
from gateway.realtime.beta_events import client_from_beta, server_to_beta
from gateway.realtime.errors import RealtimeError
from gateway.realtime.events import Event, EventError, parse_event, text_of

APPEND_START: Final = b'{"type":"input_audio_buffer.append","audio":"'
_MAX_UNHEARD_WINDOWS: Final = 300
"""About ten seconds of audio; appends come in real time, but nothing forces them to."""
_MAX_UNSENT_BYTES: Final = 16 << 20
_MAX_REASON_BYTES: Final = 123

# ASCII: what a client sent may hold half a surrogate pair, which UTF-8 cannot carry.
_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode

_log = structlog.get_logger()


def scan_append(message: bytes) -> bytes | None:
    """The audio of an append in its usual spelling, without a JSON library; None to parse it."""
    if not message.startswith(APPEND_START) or not message.endswith(b'"}'):
        return None
    try:
        return a2b_base64(message[len(APPEND_START) : -2], strict_mode=True)
    except Base64Error:
        return None


class Connection:
    """A connected client.

    Args:
        heard: called with the connection whenever its session's ear has a window.
        beta: the client speaks the beta API.
        rehearsal: watches what is done in the session.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        session: BackendSession,
        voice: Voice,
        heard: Callable[["Connection"], None],
        *,
        beta: bool = False,
        rehearsal: Rehearsal | None = None,
    ) -> None:
        self.session = session
        self.rehearsal = rehearsal
        self._socket = socket
        self._transport = transport
        self._voice = voice
        self._heard = heard
        self.beta = beta
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._unsent: deque[Step] = deque()
        self._unsent_bytes = 0
        self._ending = False  # nothing more is to be sent than what waits
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

    @property
    def age_s(self) -> float:
        return self._loop.time() - self._since

    def expire(self) -> None:
        """Let the session end as it does at its limit."""
        self.session.expire(self._loop.time())
        self.drain()

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
        if self._over or self._ending:
            return
        session, rehearsal = self.session, self.rehearsal
        event: Event = {}
        for event in session.events():
            self._send(event)
            if rehearsal is not None:
                rehearsal.sent(event, self._loop.time())
        for request in session.lines_to_speak():
            self._start(self._speak(request))
        at = session.next_timeout()
        if session.ended:  # by an error, which the official service repeats in the closing
            self._end(Close(WSCloseCode.GOING_AWAY, text_of(event, "error", "message")))
        elif rehearsal is not None:
            if rehearsal.over:
                self._end(Close(WSCloseCode.POLICY_VIOLATION, rehearsal.failure or ""))
            deadlines = (at, rehearsal.next_timeout())
            at = min((each for each in deadlines if each is not None), default=None)
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
            if self.rehearsal is not None:
                self.rehearsal.timeout(now)
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
        socket = self._socket
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.TEXT:
                await self._receive(message.data)
            elif message.type is WSMsgType.BINARY:
                self._refuse("Events are text messages, not binary ones.")
            else:
                return

    async def _receive(self, data: bytes) -> None:
        """Take a message of the client's."""
        audio = scan_append(data)
        if audio is None:
            self._take(data)
        elif self.session.append(audio):
            self._heard(self)
            await self._catch_up()

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
        now = self._loop.time()
        for each in client_from_beta(event) if self.beta else (event,):
            self.session.receive(each, now)
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
        for each in server_to_beta(event) if self.beta else (event,):
            self._deliver(each["type"], _encode(each).encode())

    def _deliver(self, kind: str, message: bytes) -> None:
        """Have an event of this type sent."""
        self._put(message)

    def _end(self, close: Close) -> None:
        """Close the connection when all that waits is sent."""
        self._ending = True
        self._put(close)

    def _put(self, step: Step) -> None:
        self._unsent.append(step)
        self._wake.set()
        if not isinstance(step, bytes):
            return
        self._unsent_bytes += len(step)
        if self._unsent_bytes > _MAX_UNSENT_BYTES:
            _log.warning("backend.slow_client", unsent_bytes=self._unsent_bytes)
            self._abort()

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._unsent:
                    step = self._unsent.popleft()
                    if isinstance(step, bytes):
                        self._unsent_bytes -= len(step)
                        await self._socket.send_frame(step, WSMsgType.TEXT)
                    elif not await self._act(step):
                        return
        except ConnectionError:
            pass  # the reader sees the end of the connection too, and ends the session

    async def _act(self, step: Step) -> bool:
        """Do what is not sending; returns whether there is anything to be done after it."""
        if isinstance(step, Close):
            reason = step.reason.encode()[:_MAX_REASON_BYTES]
            await self._socket.close(code=step.code, message=reason)
        return False

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
