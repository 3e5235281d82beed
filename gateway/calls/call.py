"""One call: the shell around `CallMachine` that performs its effects.

Two roads run through a call. Control goes event by event through the machine. Audio does not: once
joined, the media port hands each frame of the caller straight to the session, and each delta of the
session goes straight into the playout; the machine only says whose audio is still wanted.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from statistics import median
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from gateway.alarm import Alarm
from gateway.audio.formats import AudioFormat
from gateway.audio.playout import Heard, ItemPart
from gateway.audio.transcode import Transcoder
from gateway.calls.effects import (
    AnswerLeg,
    ClearPlayout,
    Effect,
    EndLeg,
    Finish,
    FinishPart,
    Note,
    OpenSession,
    RejectLeg,
    RingLeg,
    ToBackend,
    ToControl,
)
from gateway.calls.machine import CallMachine
from gateway.legs.leg import Leg, LegBroken, LegError, LegEvent, MediaPort, MediaStats
from gateway.realtime.audio import AudioDelta, DeltaReader, delta_of
from gateway.realtime.events import Event, EventError, parse_event
from gateway.realtime.session import Session, formats_of, with_formats
from gateway.upstream.realtime import BackendError, RealtimeSession


class OpensSessions(Protocol):
    """Where sessions come from."""

    async def open(self, session: dict[str, Any]) -> RealtimeSession: ...


class Call:
    """One caller and one Realtime session.

    Args:
        call_id: names the call in the API and in every log line.
        leg: the caller; nothing may have been asked of it yet.
        machine: decides; nothing may have been fed to it yet.
        backend: where the session comes from.
        log: bound to nothing yet.
    """

    def __init__(
        self,
        call_id: str,
        leg: Leg,
        machine: CallMachine,
        backend: OpensSessions,
        log: FilteringBoundLogger,
    ) -> None:
        self.call_id = call_id
        self.leg = leg
        self._machine = machine
        self._backend = backend
        self._log = log.bind(call_id=call_id)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup | None = None
        self._finished = asyncio.Event()
        self._alarm = Alarm(self._timeout)
        self._watchers: list[Callable[[Event], None]] = []
        self._session: RealtimeSession | None = None
        self._formats = (leg.format, leg.format)  # of the session: input, output
        self._port: MediaPort | None = None
        self._downlink: Transcoder | None = None
        self._part: ItemPart | None = None
        self._incoming_at = self._loop.time()
        self._setup_ms: float | None = None
        self._answered_at: float | None = None

    def watch(self, watcher: Callable[[Event], None]) -> None:
        """Have every control event of the call handed to `watcher`, in order."""
        self._watchers.append(watcher)

    def control(self, event: Event) -> None:
        """Take an event from a client that controls the call."""
        self._feed(lambda now: self._machine.client_event(event, now))

    def hang_up(self, reason: str) -> None:
        """End the call from our side."""
        self._feed(lambda now: self._machine.hang_up(reason, now))

    async def run(self) -> dict[str, Any]:
        """Live through the call; returns its record when everything is freed."""
        self._log.info("call.incoming", leg=self.leg.kind, direction="inbound")
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self.leg.listen(self._leg_event)
                self._feed(self._machine.start)
                await self._finished.wait()
                for task in self._tasks:
                    task.cancel()
        except* Exception as errors:
            for error in errors.exceptions:
                self._failed(error)
        finally:
            record = self._record()
            await self._free()
            self._log.info("call.ended", **record)
        return record

    # Inputs of the machine.

    def _feed(self, give: Callable[[float], list[Effect]]) -> None:
        """Give the machine an input and perform what it asks for.

        This is called by the media clock, the SIP socket and timers, which serve other calls too:
        whatever goes wrong ends this call and no other.
        """
        try:
            self._perform(give(self._loop.time()))
        except Exception as error:
            self._failed(error)

    def _leg_event(self, event: LegEvent) -> None:
        if isinstance(event, LegBroken):
            self._log.error("call.failed", exc_info=event.error)
        self._feed(lambda now: self._machine.leg_event(event, now))

    def _timeout(self, now: float) -> None:
        self._feed(lambda _: self._machine.timeout(now))

    def _failed(self, error: Exception) -> None:
        """End the call, even if what ends calls is what fails."""
        self._log.error("call.failed", exc_info=error)
        try:
            self._perform(self._machine.hang_up("internal_error", self._loop.time()))
        except Exception as another:
            self._log.error("call.failed", exc_info=another)
        finally:
            self._finished.set()

    async def _open_session(self, config: dict[str, Any]) -> None:
        wanted = with_formats(config, self.leg.format)
        started = self._loop.time()
        try:
            self._session = session = await self._backend.open(wanted)
            self._formats = _agreed_formats(wanted, session.effective, self.leg.format)
        except BackendError as error:
            self._session_failed("backend_unavailable", str(error))
            return
        except ValueError as error:
            self._session_failed("backend_format", str(error))
            return
        self._log.info("session.connected", connect_ms=_ms(self._loop.time() - started))
        self._perform(self._machine.session_opened(session.effective, self._loop.time()))
        await self._read(session)

    def _session_failed(self, reason: str, detail: str) -> None:
        self._log.warning("session.failed", reason=detail)
        self._perform(self._machine.session_failed(reason, self._loop.time()))

    async def _read(self, session: RealtimeSession) -> None:
        read_delta = DeltaReader().read
        while (message := await session.receive()) is not None:
            delta = read_delta(message)
            if delta is not None:
                self._play(delta)
            else:
                self._server_event(message)
        self._perform(self._machine.session_lost(session.close_reason, self._loop.time()))

    def _server_event(self, message: bytes) -> None:
        try:
            event = parse_event(message)
        except EventError as error:
            self._log.warning("session.garbage", reason=str(error))
            return
        delta = delta_of(event)
        if delta is not None:
            self._play(delta)
        else:
            self._perform(self._machine.server_event(event, self._loop.time()))

    def _play(self, delta: AudioDelta) -> None:
        """Queue a piece of the model's speech, unless the caller has interrupted it."""
        part, audio = delta
        port = self._port
        conversation = self._machine.conversation
        if port is None or not conversation.wants_audio(part.response_id):
            return
        if part is not self._part:
            self._part = part
            conversation.audio(part)
        port.playout.push(part, audio if self._downlink is None else self._downlink.convert(audio))

    # Effects of the machine.

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case ToControl(event):
                    for watcher in self._watchers:
                        watcher(event)
                case ToBackend(event):
                    if self._session is not None:
                        self._session.send(event)
                case ClearPlayout(cause):
                    self._clear(cause)
                case FinishPart(part):
                    self._finish_part(part)
                case Note(event_name, fields, level):
                    self._note(event_name, fields, level)
                case RingLeg():
                    self.leg.ring()
                case OpenSession(session):
                    self._start(self._open_session(session))
                case AnswerLeg():
                    self._start(self._answer())
                case RejectLeg(status, _, retry_after_s):
                    self.leg.reject(status, retry_after_s)
                case EndLeg():
                    self.leg.hang_up()
                case Finish():
                    self._finished.set()
        self._alarm.set(self._machine.next_timeout())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            raise RuntimeError("the call is not running")
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self) -> None:
        session = self._session
        if session is None:
            raise RuntimeError("a call is answered only when its session is open")
        try:
            port = await self.leg.answer()
        except LegError as error:
            failed = self._machine.answer_failed(error.status, error.reason, self._loop.time())
            self._perform(failed)
            return
        self._setup_ms = _ms(self._loop.time() - self._incoming_at)
        self._port = port
        input_format, output_format = self._formats
        if output_format != port.format:
            self._downlink = Transcoder(output_format, port.format)
        if input_format == port.format:
            port.join(session.append_audio)
        else:
            uplink = Transcoder(port.format, input_format)
            port.join(lambda audio: session.append_audio(uplink.convert(audio)))

    def _clear(self, cause: str) -> None:
        began = time.perf_counter()
        heard: list[Heard] = [] if self._port is None else self._port.playout.clear()
        if self._downlink is not None:
            self._downlink.reset()
        flush_ms = _ms(time.perf_counter() - began)
        if heard:
            first = heard[0]
            self._log.info(
                "bargein.cleared",
                item_id=first.part.item_id,
                heard_ms=first.heard_ms,
                flush_ms=flush_ms,
                cause=cause,
            )
        self._perform(self._machine.cleared(heard, cause, self._loop.time()))

    def _finish_part(self, part: ItemPart) -> None:
        if self._port is None:
            return
        if self._downlink is not None:
            self._port.playout.push(part, self._downlink.flush())
        self._port.playout.finish(part)

    def _note(self, name: str, fields: dict[str, Any], level: str) -> None:
        if name == "call.answered":
            self._answered_at = self._loop.time()
            fields = fields | {
                "setup_ms": self._setup_ms,
                "codec": self.leg.codec,
                "media_security": self.leg.media_security,
            }
        if level == "warning":
            self._log.warning(name, **fields)
        else:
            self._log.info(name, **fields)

    async def _free(self) -> None:
        self._alarm.cancel()
        if self._port is not None:
            self._port.part()
        await self.leg.close()
        if self._session is not None:
            await self._session.close()

    def _record(self) -> dict[str, Any]:
        stats = MediaStats() if self._port is None else self._port.stats()
        machine, conversation = self._machine, self._machine.conversation
        answered_at = self._answered_at
        duration_s = 0.0 if answered_at is None else round(self._loop.time() - answered_at, 3)
        response_ms = conversation.response_ms
        return {
            "direction": "inbound",
            "leg": self.leg.kind,
            "reason": machine.reason,
            "sip_status": machine.sip_status,
            "duration_s": duration_s,
            "setup_ms": self._setup_ms,
            "codec": self.leg.codec,
            "rtp_received": stats.rtp_received,
            "rtp_sent": stats.rtp_sent,
            "rtp_lost": stats.rtp_lost,
            "appends_dropped": 0 if self._session is None else self._session.dropped_appends,
            "jitter_ms": round(stats.jitter_ms, 1),
            "mos": stats.mos,
            "turns": conversation.turns,
            "bargeins": conversation.bargeins,
            "dtmf_count": conversation.dtmf_count,
            "response_ms_p50": round(median(response_ms), 1) if response_ms else None,
        }


def _agreed_formats(
    wanted: Session, effective: Session, leg_format: AudioFormat
) -> tuple[AudioFormat, AudioFormat]:
    """Input and output format: the server's word, and where it says nothing what was asked for.

    Raises:
        ValueError: a format that the gateway cannot produce.
    """
    asked_input, asked_output = formats_of(wanted, leg_format)
    return formats_of(effective, asked_input)[0], formats_of(effective, asked_output)[1]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
