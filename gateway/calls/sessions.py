"""The Realtime sessions of one call: the one that it has, and the one that is to take over.

    OpenSession ──► next ──JoinSession──► current ──► closed
                     |                       |
                     +--- both are read; only what the current one says is heard

A session that waits to take over is read as well: its pings are answered, and its loss is noticed.
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from math import ceil
from typing import Any, Final, Protocol

from gateway.audio.formats import AudioFormat
from gateway.audio.transcode import Transcoder
from gateway.calls.continuity import SessionFailed, SessionOpened
from gateway.calls.effects import DropSession, JoinSession, OpenSession, Retell, TellSpeech
from gateway.calls.media import CallMedia
from gateway.calls.tape import Tape
from gateway.realtime.audio import AudioDelta, DeltaReader, delta_of
from gateway.realtime.events import Event, EventError, append, parse_event, text_of
from gateway.realtime.session import Session
from gateway.upstream.errors import BackendError
from gateway.upstream.session import RealtimeSession

_CHUNK_MS: Final = 500
"""Of the caller's speech that is told to a new session."""


class OpensSessions(Protocol):
    """Where sessions come from."""

    async def open(self, session: Session, leg_format: AudioFormat) -> RealtimeSession: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """The Realtime servers of a line."""

    first: OpensSessions
    fallback: OpensSessions | None = None


class HearsSessions(Protocol):
    """The call, as its sessions see it."""

    def session_opened(self, opened: SessionOpened) -> None: ...

    def session_joined(self, session: Session, server: str, connect_s: float) -> None:
        """From here on the call has this session with that server (`first` or `fallback`), which
        took so long to open."""

    def session_failed(self, failed: SessionFailed, text: str, logged: str) -> None:
        """`text` may quote what a client said, `logged` does not."""

    def session_lost(self, reason: str, *, joined: bool) -> None: ...

    def server_event(self, event: Event) -> None:
        """The session that the call has says this."""

    def play(self, delta: AudioDelta, message: bytes) -> None:
        """It speaks; `message` is the event as it came. On the hot path."""

    def garbage(self, reason: str) -> None:
        """It sent what is no event."""


class CallSessions:
    """Opens, reads and closes the sessions of one call.

    Args:
        sources: where they come from.
        leg_format: of the caller's audio.
        call: hears what they say.
        start: runs work that ends with the call at the latest.
    """

    def __init__(
        self,
        sources: Sources,
        leg_format: AudioFormat,
        call: HearsSessions,
        start: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self.current: RealtimeSession | None = None
        self.tape = Tape(leg_format)
        self._server, self._connect_s = "", 0.0  # of the session that was opened last
        self._sources = sources
        self._leg_format = leg_format
        self._call = call
        self._start = start
        self._next: RealtimeSession | None = None
        self._media: CallMedia | None = None
        self._dropped = 0

    @property
    def dropped_appends(self) -> int:
        """Frames of the caller's audio that no session took, because its server was too slow."""
        current = 0 if self.current is None else self.current.dropped_appends
        return self._dropped + current

    def perform(
        self, effect: OpenSession | JoinSession | DropSession | Retell | TellSpeech
    ) -> None:
        """Do what the machine wants of the sessions."""
        match effect:
            case OpenSession(config, fallback):
                self._start(self._open(config, fallback=fallback))
            case JoinSession():
                self._join()
            case DropSession():
                self._drop()
            case Retell(event):
                self._retell(event)
            case TellSpeech():
                self._tell_speech()

    def attach(self, media: CallMedia) -> None:
        """The caller's audio is there."""
        self._media = media
        if self.current is not None:
            media.join(self.current)
        else:
            media.wait()

    def send(self, event: Event) -> None:
        """Send an event to the session that the call has."""
        if self.current is not None:
            self.current.send(event)

    def leave(self) -> None:
        """The call needs no session any more."""
        self._drop()
        self._retire()

    async def close(self) -> None:
        for session in (self.current, self._next):
            if session is not None:
                await session.close()

    async def _open(self, config: Session, *, fallback: bool) -> None:
        """Connect and configure a session, then read it until it ends."""
        source = self._sources.fallback if fallback else self._sources.first
        if source is None:
            raise RuntimeError("there is no fallback")
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            session = await source.open(config, self._leg_format)
        except BackendError as error:
            self._call.session_failed(_failure(error), str(error), error.logged())
            return
        self._server = "fallback" if fallback else "first"
        self._connect_s = loop.time() - began
        self._drop()
        self._next = session
        opened = SessionOpened(session.effective, session.lives_s, session.cancels)
        self._call.session_opened(opened)
        await self._read(session)

    def _join(self) -> None:
        """Make the session that was opened last the one that the call has, if it is still there."""
        if self._next is None:
            return
        self._retire()
        self.current, self._next = self._next, None
        self.tape.configured(self.current.effective)
        if self._media is not None:
            self._media.join(self.current)
        self._call.session_joined(self.current.effective, self._server, self._connect_s)

    def _retell(self, event: Event) -> None:
        """Send this `conversation.item.create`; with the sound of the caller's turn instead of
        words about it, if nobody has its words."""
        if self.current is None:
            return
        item: dict[str, Any] = event["item"]
        if sound := self._in_its_format(self.current, self.tape.turn(text_of(item, "id"))):
            content = {"type": "input_audio", "audio": b64encode(sound).decode()}
            event = event | {"item": item | {"content": [content]}}
        self.current.send(event)

    def _tell_speech(self) -> None:
        """Have the session hear what no session before it has made an item of."""
        if self.current is None:
            return
        audio = self._in_its_format(self.current, self.tape.untold())
        size = self.current.input_format.bytes_per_ms * _CHUNK_MS
        for at in range(0, len(audio), size):
            # As events: audio that would come late is dropped, and here all of it does.
            self.current.send(append(audio[at : at + size]))

    def _drop(self) -> None:
        """The session that was to take over is not needed."""
        waiting, self._next = self._next, None
        if waiting is not None:
            self._start(waiting.close())

    async def _read(self, session: RealtimeSession) -> None:
        read_delta = DeltaReader().read
        while (message := await session.receive()) is not None:
            if session is not self.current:
                continue
            delta = read_delta(message)
            if delta is not None:
                self._call.play(delta, message)
            else:
                self._parse(message)
        if session is self.current:
            self._retire()
            self.tape.lost()
            if self._media is not None:
                self._media.wait()
            self._call.session_lost(session.close_reason, joined=True)
        elif session is self._next:
            self._next = None
            self._start(session.close())
            self._call.session_lost(session.close_reason, joined=False)

    def _parse(self, message: bytes) -> None:
        try:
            event = parse_event(message)
        except EventError as error:
            self._call.garbage(str(error))
            return
        delta = delta_of(event)
        if delta is not None:
            self._call.play(delta, message)
            return
        self.tape.server_event(event)
        self._call.server_event(event)

    def _retire(self) -> None:
        """The session that the call has is its session no more."""
        if self.current is not None:
            self._dropped += self.current.dropped_appends
            self._start(self.current.close())
            self.current = None

    def _in_its_format(self, session: RealtimeSession, audio: bytes) -> bytes:
        transcoder = Transcoder(self._leg_format, session.input_format)
        return transcoder.convert(audio) + transcoder.flush()


def _failure(error: BackendError) -> SessionFailed:
    return SessionFailed(
        "backend_format" if error.code == "unsupported_format" else "backend_unavailable",
        error.told(),
        refused=error.refused,
        retry_after_s=None if error.retry_after_s is None else ceil(error.retry_after_s),
    )
