"""One client's WebSocket and its session: feeds the session, sends what it says, keeps its time.

The shell of `BackendSession`. It decides nothing about the protocol; it bounds what a client can
make it hold: the size of a message, the audio that waits for the voice detector and the answers
that wait to be sent (reading pauses), and what the session says by itself to one who does not read
(the connection is cut). A client of the beta API is served in its own words.

From the end of a session on nothing more is fed to it. What waits is sent, then the WebSocket is
closed; a client that does not answer to that is cut off.
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

from gateway.backend.beta import BetaWords
from gateway.backend.faults import Close, Step
from gateway.backend.rehearsal import Rehearsal
from gateway.backend.session import BackendSession
from gateway.backend.speech import SpeechRequest
from gateway.backend.voice import Voice
from gateway.realtime.errors import RealtimeError
from gateway.realtime.events import Event, EventError, parse_event, text_of

APPEND_STARTS: Final = (
    b'{"type":"input_audio_buffer.append","audio":"',
    b'{"type": "input_audio_buffer.append", "audio": "',
)
"""How appends begin: as JavaScript and the gateway write them, and as Python does."""
_CLOSING_S: Final = 5.0
"""How long a client has to take what waits for it, and to answer to the closing."""
_GOING_S: Final = 1.0
"""The same, when the whole server stops."""
_MAX_UNHEARD_WINDOWS: Final = 300
"""About ten seconds of audio; appends come in real time, but nothing forces them to."""
_MAX_BEHIND_BYTES: Final = 4 << 20
"""While more than this waits to be sent, nothing is read."""
_MAX_UNSENT_BYTES: Final = 16 << 20
"""A client for whom more than this waits does not read. What has just been said does not count: an
event may be large."""
_MAX_REASON_BYTES: Final = 123

# ASCII: what a client sent may hold half a surrogate pair, which UTF-8 cannot carry.
_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode

_log = structlog.get_logger()


def scan_append(message: bytes) -> bytes | None:
    """The audio of an append in a usual spelling, without a JSON library; None to parse it."""
    if not message.endswith(b'"}'):
        return None
    for start in APPEND_STARTS:
        if message.startswith(start):
            try:
                return a2b_base64(message[len(start) : -2], strict_mode=True)
            except Base64Error:
                return None
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
        self.beta = BetaWords() if beta else None
        """None for a client of the GA API."""
        self._socket = socket
        self._transport = transport
        self._voice = voice
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._unsent: deque[Step] = deque()
        self._unsent_bytes = 0
        self._ending = False  # nothing more is to be sent than what waits
        self._closing = False  # the WebSocket is being closed from here
        self._gone = asyncio.Event()
        self._wake = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._cut: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reader: asyncio.Task[None] | None = None
        self._speaking: dict[str, asyncio.Task[None]] = {}  # by response

    async def run(self) -> None:
        """Serve the client until the connection ends."""
        reader = self._reader = self._start(self._read())
        writer = self._start(self._write())
        try:
            self.drain()
            await asyncio.wait((reader,))
            if self._closing:
                await asyncio.wait((writer,))
        except Exception as error:
            self._fail(error)
        finally:
            self._ending = True
            for timer in (self._timer, self._cut):
                if timer is not None:
                    timer.cancel()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._gone.set()

    @property
    def age_s(self) -> float:
        return self._loop.time() - self._since

    def expire(self) -> None:
        """Let the session end as it does at its limit."""
        self.session.expire(self._loop.time())
        self.drain()

    async def close(self, code: int) -> None:
        """Have the session end, and wait until the connection has ended."""
        if not self._ending:
            self._end(Close(code))
        self._cut_after(_GOING_S)
        await self._gone.wait()

    def voice(self, probability: float, now: float) -> None:
        """The voice detector's word on the next window of the session's ear."""
        try:
            if not self._ending and self.session.voice(probability, now):
                self.drain()
        except Exception as error:
            self._fail(error)  # the caller of this serves other sessions too
        if self.session.ear.windows < _MAX_UNHEARD_WINDOWS:
            self._caught_up.set()

    def drain(self) -> None:
        """Act on what the session has to say."""
        if self._ending:
            return
        if self._unsent_bytes > _MAX_UNSENT_BYTES:
            _log.warning("backend.slow_client", unsent_bytes=self._unsent_bytes)
            self._abort()
            return
        session, rehearsal = self.session, self.rehearsal
        event: Event = {}
        for event in session.events():
            self._send(event)
            if event["type"] == "response.done":
                self._stop_speaking(event["response"]["id"])
            if rehearsal is not None:
                rehearsal.sent(event, self._loop.time())
        for request in session.lines_to_speak():
            self._speaking[request.response_id] = self._start(self._speak(request))
        if session.ended:  # by an error, which the official service repeats in the closing
            self._end(Close(WSCloseCode.GOING_AWAY, text_of(event, "error", "message")))
        elif rehearsal is not None and rehearsal.over:
            self._end(Close(WSCloseCode.POLICY_VIOLATION, rehearsal.failure or ""))
        elif not self._ending:
            self._set_timer()

    def _set_timer(self) -> None:
        deadlines = [self.session.next_timeout()]
        if self.rehearsal is not None:
            deadlines.append(self.rehearsal.next_timeout())
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
        self._ending = True
        if self._transport is not None:
            self._transport.abort()

    async def _read(self) -> None:
        socket = self._socket
        try:
            while True:
                message = await socket.receive()
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    return
                if self._ending:
                    continue  # until the client closes too
                if message.type is WSMsgType.TEXT:
                    await self._receive(message.data)
                else:
                    self._refuse("Events are text messages, not binary ones.")
        except ConnectionError:
            pass  # it ended while a ping was answered
        except Exception as error:
            self._fail(error)

    async def _receive(self, data: bytes) -> None:
        """Take a message of the client's."""
        audio = scan_append(data)
        if audio is None:
            self._take(data)
            if self.session.ear.windows > 0:  # an append in an unusual spelling
                self._heard(self)
            await self._catch_up()
        elif self.session.append(audio):
            self._heard(self)
            await self._catch_up()

    async def _catch_up(self) -> None:
        """Read no more while too much audio waits to be heard, or too much to be sent."""
        while (
            self.session.ear.windows > _MAX_UNHEARD_WINDOWS
            or self._unsent_bytes > _MAX_BEHIND_BYTES
        ):
            self._caught_up.clear()
            await self._caught_up.wait()

    def _take(self, data: bytes) -> None:
        try:
            event = parse_event(data)
        except EventError as error:
            self._refuse(f"The message is not an event: {error}.")
            return
        now = self._loop.time()
        try:
            events = [event] if self.beta is None else self.beta.from_client(event)
        except RealtimeError as error:
            self.session.refuse(error, event.get("event_id"))
            events = []
        for each in events:
            self.session.receive(each, now)
        self.drain()

    def _refuse(self, message: str) -> None:
        self.session.refuse(RealtimeError(message, code="invalid_event"))
        self.drain()

    async def _speak(self, request: SpeechRequest) -> None:
        try:
            clips = await self._voice.speak(request.line, request.format)
            self._speaking.pop(request.response_id, None)
            self.session.speak(request, clips, self._loop.time())
            self.drain()
        except Exception as error:
            self._fail(error)

    def _stop_speaking(self, response_id: str) -> None:
        """The response has ended: nobody waits for its sound any more."""
        task = self._speaking.pop(response_id, None)
        if task is not None:
            task.cancel()

    def _send(self, event: Event) -> None:
        for each in (event,) if self.beta is None else self.beta.to_client(event):
            self._deliver(each["type"], _encode(each).encode())

    def _deliver(self, kind: str, message: bytes) -> None:
        """Have an event of this type sent."""
        self._put(message)

    def _end(self, close: Close) -> None:
        """Close the connection when all that waits is sent, or when that takes too long."""
        self._ending = True
        self._put(close)
        self._cut_after(_CLOSING_S)
        if self._timer is not None:
            self._timer.cancel()
        for response_id in list(self._speaking):
            self._stop_speaking(response_id)

    def _cut_after(self, seconds: float) -> None:
        if self._cut is not None:
            self._cut.cancel()
        self._cut = self._loop.call_later(seconds, self._abort)

    def _put(self, step: Step) -> None:
        self._unsent.append(step)
        self._wake.set()
        if isinstance(step, bytes):
            self._unsent_bytes += len(step)

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
                        self._caught_up.set()
                    elif not await self._act(step):
                        return
        except ConnectionError:
            pass  # the reader sees the end of the connection too
        finally:
            self._ending = True
            self._unsent_bytes = 0  # whoever waits for it to be sent has waited enough
            self._caught_up.set()

    async def _act(self, step: Step) -> bool:
        """Do what is not sending; returns whether there is anything to be done after it."""
        if isinstance(step, Close):
            self._closing = True
            if self._reader is not None:
                # Whoever closes while another reads is not given the other side's answer to it.
                self._reader.cancel()
                await asyncio.wait((self._reader,))
            reason = step.reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
            await self._socket.close(code=step.code, message=reason.encode())
        return False

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
