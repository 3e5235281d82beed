"""One Realtime WebSocket per call: configured, fed with audio, read until it ends.

Audio is written without awaiting: a frame is one synchronous call into the transport. A server that
does not read fast enough is seen by what waits in the transport and in the kernel's send queue,
which alone would take minutes of speech. Audio that would wait longer than two seconds is dropped
and counted, because late audio is worse than none. Control events are few and are always written;
past a far larger bound the connection is given up.

A peer that has vanished leaves an open connection behind. So the server is pinged every few
seconds, and one that stays silent, or takes no audio for long, is given up like one that closed.
Both hold only while nothing of what waits for it gets less: a large event on a thin line keeps
audio and pings behind it for many seconds, and its server is alive.
"""

import asyncio
from collections import deque
from time import time

from aiohttp import WSMsgType

from gateway.audio.formats import PCM24K, AudioFormat
from gateway.realtime import events
from gateway.realtime.audio import append_event
from gateway.realtime.events import Event, EventError, encode_event, text_of
from gateway.realtime.session import Session, append_bytes, settled_formats
from gateway.upstream.errors import BackendError
from gateway.upstream.socket import CLOSE_TIMEOUT_S, OURS, BackendSocket
from gateway.upstream.target import BackendConfig
from gateway.upstream.translator import translator

_NOT_REFUSALS = ("server_error", "rate_limit_error")
"""Types of errors that are nothing which another config would avoid."""
_AUDIO_WAIT_S = 2
"""Audio that would reach the server later than this is not sent at all."""
_FRAME_MS = 20
_FRAME_HEADER_BYTES = 8
_CONGESTED_BYTES = 1 << 20
"""Far more than the audio that may wait: what a client's own large event leaves behind."""
_BACKLOG_BYTES = 20 << 20
"""Of control events; the largest, a client's own append, may be 15 MiB."""
_PING_EVERY_S = 5.0
_SILENT_PINGS = 2
"""So many pings may see nothing come back; then the server counts as gone."""
_BLOCKED_S = 5.0
"""How long all audio may be dropped while the server takes nothing else either."""


class RealtimeSession:
    """A connected and configured session.

    Call `receive()` without long pauses until it returns None, then look at `close_reason`.
    """

    def __init__(self, connection: BackendSocket, config: BackendConfig) -> None:
        self._socket = connection
        self._config = config
        self._translator = translator(config.dialect)
        self._translated: deque[bytes] = deque()  # more of what one message meant
        self.effective: Session = {}
        """The session config as the server confirmed it."""
        self.input_format = self.output_format = PCM24K
        """What the server takes and what it sends."""
        self.cancels = config.interrupt == "cancel"
        """The server does not cancel a response when the caller speaks: the gateway has to."""
        self.lives_s: float | None = None
        """How long it may live from its opening; None when nobody said."""
        self.dropped_appends = 0
        """Frames of the caller's audio that were not sent because the server was too slow."""
        self.close_reason = ""
        self._audio_backlog_bytes = _audio_backlog_bytes(self.input_format)
        self._blocked_since: float | None = None
        self._blocked_taken = 0  # `_taken` when audio was last dropped
        self._silent_pings = 0
        self._ping_waited = False  # whether the last ping had much before it
        self._pinged_taken = 0  # `_taken` then
        self._sent_bytes = 0  # all but audio
        self._loop = asyncio.get_running_loop()
        self._next_ping = self._loop.call_later(_PING_EVERY_S, self._ping)

    @property
    def congested(self) -> bool:
        """Whether the server is so far behind that events that can wait should."""
        return self._socket.backlog() > _CONGESTED_BYTES

    def append_audio(self, audio: bytes) -> None:
        """Send a frame of the caller's audio, in the session's input format. Never waits."""
        backlog = self._socket.backlog()
        if backlog > self._audio_backlog_bytes:
            self._drop(backlog)
        else:
            self._blocked_since = None
            self._socket.write(append_event(audio))

    def send(self, event: Event) -> None:
        """Send a GA control event. Never waits; gives the connection up if it takes no more."""
        if self._translator is None:
            self._write(encode_event(event), WSMsgType.TEXT)
            return
        for said in self._translator.to_server(event):
            self._write(said, WSMsgType.TEXT)
        for answer in self._translator.answers():
            self._socket.answer(answer)

    async def receive(self) -> bytes | None:
        """The next GA event as JSON text; None when the connection has ended."""
        while not self._translated:
            message = await self._socket.receive()
            self._silent_pings = 0
            if message.type is WSMsgType.TEXT:
                # Bytes, as asked for when connecting; the declared type only knows the default.
                data: str | bytes = message.data
                text = data if isinstance(data, bytes) else data.encode()
                if self._translator is None or message.extra is OURS:
                    return text
                self._translated.extend(self._translator.from_server(text))
                continue
            if message.type is WSMsgType.PING:
                self._write(message.data, WSMsgType.PONG)
            elif message.type not in (WSMsgType.PONG, WSMsgType.BINARY):
                # No Realtime server we know means anything by a binary message.
                self._next_ping.cancel()
                # A server that hangs up at once hears no answer to its close, and for that the
                # socket would say 1006.
                said = message.data if message.type is WSMsgType.CLOSE else 0
                code = said or self._socket.close_code
                ended = f"closed with code {code}" if code else "connection lost"
                self.close_reason = self.close_reason or ended
                return None
        return self._translated.popleft()

    async def configure(self, session: Session) -> None:
        """Send the config, which names both formats, and wait until the server took it.

        Raises:
            BackendError: the server refused it, settled on a format that we cannot carry, or went
                away.
        """
        began = self._loop.time()
        confirms = self._config.confirms
        self.send(events.session_update(session))
        created: Session = {}
        while (message := await self.receive()) is not None:
            try:
                event = events.parse_event(message)
            except EventError as error:
                raise BackendError(f"the server sent what is {error}") from None
            told = event.get("session")
            told = told if isinstance(told, dict) else {}
            if event["type"] == "error":
                raise refusal(event)
            if event["type"] == "session.created":
                created = told
            # A server that confirms nothing has our word for what it does.
            confirmed = "session.updated" if confirms else "session.created"
            if event["type"] == confirmed:
                self._settle(session, told if confirms else created | session)
                self._limit(told.get("expires_at") or created.get("expires_at"), began)
                return
        raise BackendError(self.close_reason)

    def _settle(self, asked: Session, effective: Session) -> None:
        self.effective = effective
        try:
            self.input_format, self.output_format = settled_formats(asked, effective)
        except ValueError as error:
            raise BackendError(
                str(error), code="unsupported_format", param="session.audio", refused=True
            ) from None
        self._audio_backlog_bytes = _audio_backlog_bytes(self.input_format)

    def _limit(self, expires_at: object, began: float) -> None:
        """Say how long the session may live, by our limit and by the server's word."""
        limits = []
        if self._config.session_limit_s:
            limits.append(self._config.session_limit_s - (self._loop.time() - began))
        if isinstance(expires_at, int | float) and (left_s := expires_at - time()) > 0:
            limits.append(left_s)  # if it has passed already, a clock is wrong
        self.lives_s = min(limits, default=None)

    async def close(self) -> None:
        self._next_ping.cancel()
        # A transport closes once its buffer is empty, which for a deaf server is never.
        self._loop.call_later(CLOSE_TIMEOUT_S, self._socket.abort)
        await self._socket.close()

    def _write(self, message: bytes, kind: WSMsgType) -> None:
        if self._socket.backlog() > _BACKLOG_BYTES:
            self._give_up("the server does not read")
        else:
            self._sent_bytes += len(message)
            self._socket.write(message, kind)

    def _taken(self, backlog: int) -> int:
        """A number of bytes that grows while the server takes anything of a large backlog.

        While so much waits, no audio is sent, so that audio need not be counted.
        """
        return self._sent_bytes - backlog

    def _drop(self, backlog: int) -> None:
        self.dropped_appends += 1
        now = self._loop.time()
        taken = self._taken(backlog)
        if self._blocked_since is None or taken > self._blocked_taken:
            self._blocked_since = now
        elif now - self._blocked_since >= _BLOCKED_S:
            self._give_up(f"the server took no audio for {_BLOCKED_S:g} s")
        self._blocked_taken = taken

    def _ping(self) -> None:
        backlog = self._socket.backlog()
        taken = self._taken(backlog)
        lives = self._ping_waited and taken > self._pinged_taken
        self._ping_waited = backlog > self._audio_backlog_bytes
        self._pinged_taken = taken
        if self._silent_pings < _SILENT_PINGS:
            self._silent_pings += 1
        elif not lives:
            self._give_up(f"the server was silent for {_SILENT_PINGS * _PING_EVERY_S:g} s")
            return
        self._next_ping = self._loop.call_later(_PING_EVERY_S, self._ping)
        self._write(b"", WSMsgType.PING)

    def _give_up(self, reason: str) -> None:
        """Break the connection, so that `receive` returns None."""
        self._next_ping.cancel()
        self.close_reason = self.close_reason or reason
        self._socket.abort()


def refusal(event: Event) -> BackendError:
    """The server's `error` in answer to a config of ours."""
    code = text_of(event, "error", "code") or None
    if (text_of(event, "error", "type") or "server_error") in _NOT_REFUSALS:
        return BackendError("the server answered session.update with an error", code=code)
    return BackendError(
        text_of(event, "error", "message") or "session refused",
        code=code,
        param=text_of(event, "error", "param") or None,
        refused=True,
    )


def _audio_backlog_bytes(input_format: AudioFormat) -> int:
    """How much two seconds of audio are on the wire."""
    frame = append_bytes(input_format, _FRAME_MS) + _FRAME_HEADER_BYTES
    return frame * _AUDIO_WAIT_S * 1000 // _FRAME_MS
