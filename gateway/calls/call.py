"""One call: the shell around `CallMachine` that performs its effects.

Two roads run through a call. Control goes event by event through the machine. Audio does not: once
joined, the media port hands each frame of the caller straight to the session, and each delta of the
session goes straight into the playout; the machine only says whose audio is still wanted.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from structlog.typing import FilteringBoundLogger

from gateway.alarm import Alarm
from gateway.audio.playout import ItemPart
from gateway.calls.announce import SendsWebhooks, announce
from gateway.calls.channel import ChannelControl
from gateway.calls.commands import Command
from gateway.calls.continuity import SessionFailed, SessionOpened
from gateway.calls.control import Control, Controls
from gateway.calls.effects import (
    ClearPlayout,
    DropSession,
    Effect,
    Finish,
    JoinSession,
    Note,
    OpenSession,
    PostWebhook,
    PressKeys,
    Retell,
    Settle,
    TellSpeech,
    ToBackend,
    ToControl,
    Word,
)
from gateway.calls.machine import CallMachine
from gateway.calls.pressing import press
from gateway.calls.record import CallRecord
from gateway.calls.sessions import CallSessions, Sources
from gateway.calls.sides import Others, Sides
from gateway.calls.sounds import Sounds
from gateway.calls.tickets import START, Tickets
from gateway.legs.leg import (
    EventChannel,
    IncomingLeg,
    Leg,
    LegBroken,
    LegEvent,
    MediaPort,
    OutgoingLeg,
)
from gateway.realtime.audio import AudioDelta
from gateway.realtime.events import Event
from gateway.realtime.session import Session


class Call:
    """The other side and a Realtime session, or one after the other.

    Args:
        call_id: names the call in the API and in every log line.
        leg: who called, or is to be called; nothing may have been asked of it yet.
        machine: decides; nothing may have been fed to it yet.
        sources: where sessions come from.
        log: bound to nothing yet.
        sounds: what the caller may hear besides.
        others: the line, with other legs and calls.
        webhook: tells the application of the call; needed when it decides.
        channel: of the leg, if whoever called may control the call over it.
    """

    def __init__(
        self,
        call_id: str,
        leg: IncomingLeg | OutgoingLeg,
        machine: CallMachine,
        sources: Sources,
        log: FilteringBoundLogger,
        sounds: Sounds,
        others: Others,
        webhook: SendsWebhooks | None = None,
        channel: EventChannel | None = None,
    ) -> None:
        self.call_id = call_id
        self.session: Session = {}
        """As the server last confirmed it; empty until there is one."""
        self._machine = machine
        self._webhook = webhook
        self._log = log.bind(call_id=call_id)
        self._loop = asyncio.get_running_loop()
        self.record = CallRecord(call_id, leg, machine, self._loop.time)
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup | None = None
        self._finished = asyncio.Event()
        self._session_known = asyncio.Event()
        self._alarm = Alarm(self._timeout)
        self.controls = Controls()
        self._channel = None if channel is None else ChannelControl(channel, self)
        self._tickets = Tickets()
        self._sessions = CallSessions(sources, leg.format, self, self._start)
        self._sides = Sides(
            leg, machine, self.record, self._sessions, sounds, self._feed, self._start, others
        )
        self._part: ItemPart | None = None
        self._is_freed = False

    @property
    def leg(self) -> Leg:
        """Whom the call is with."""
        return self._sides.leg

    # What clients may do.

    async def command(self, command: Command) -> None:
        """Have a command carried out; returns when it has had its effect.

        Raises:
            RealtimeError: why it cannot.
        """
        if self._machine.had_its_effect(command):
            return  # it ended the call, which is being freed
        await self._tickets.wait(
            lambda ticket: self._feed(lambda now: self._machine.command(command, ticket, now))
        )

    async def made(self) -> None:
        """Return when a call of ours is on its way to the callee; to be asked before it runs.

        Raises:
            RealtimeError: why there will be none.
        """
        await self._tickets.wait_for_start()

    async def joined(self, wait_s: float) -> bool:
        """Whether the call has a session, waiting a while for one that is being set up."""
        try:
            async with asyncio.timeout(wait_s):
                await self._session_known.wait()
        except TimeoutError:
            pass
        return self._session_known.is_set() and not self._finished.is_set()

    @property
    def congested(self) -> bool:
        """Whether the session is behind with what it was sent; clients should wait with more."""
        session = None if self._is_freed else self._sessions.current
        return self._machine.talk.congested if session is None else session.congested

    def attach(self, control: Control) -> None:
        """Show every event from here on to `control`."""
        self.controls.attach(control)

    def detach(self, control: Control) -> None:
        self.controls.detach(control)

    def control(self, event: Event) -> None:
        """Take an event from a client that controls the call."""
        self._feed(lambda now: self._machine.client_event(event, now))

    @property
    def is_calling(self) -> bool:
        """Whether whoever is called has not answered yet."""
        return self._machine.is_calling

    def hang_up(self, reason: str) -> None:
        """End the call from our side."""
        self._feed(lambda now: self._machine.hang_up(reason, now))

    # What other calls do with this one.

    @property
    def may_be_given_away(self) -> bool:
        """Whether another call may have the leg, or somebody be sent to whom this one is with."""
        return self._machine.may_be_given_away

    def told(self, word: Word) -> None:
        """Hear what another call does with whom this one is with; see `TellCall`."""
        self._feed(lambda now: self._machine.told(word, now))

    def give_away(self) -> tuple[Leg, MediaPort] | None:
        """Let another call have the leg; this one is over. None when it has none to give."""
        given = self._sides.release() if self.may_be_given_away else None
        if given is not None:
            self._feed(lambda _: self._machine.given_away())
        return given

    def take_place(self, leg: IncomingLeg) -> None:
        """Go on with somebody who calls in the other side's place (RFC 3891), which
        `may_be_given_away`."""
        self._sides.adopt(leg)

    async def run(self) -> dict[str, Any]:
        """Live through the call; returns its record when everything is freed."""
        begun = "call.incoming" if self.leg.direction == "inbound" else "call.outgoing"
        sip_call_id = self.record.sip_call_id
        named = {} if sip_call_id is None else {"sip_call_id": sip_call_id}
        self._log.info(begun, leg=self.leg.kind, direction=self.leg.direction, **named)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._sides.listen(self._leg_event)
                self._feed(lambda now: self._machine.start(now, START))
                await self._finished.wait()
                for task in self._tasks:
                    task.cancel()
        except* Exception as errors:
            for error in errors.exceptions:
                self._failed(error)
        finally:
            record = self.record.ended(self._sessions.dropped_appends)
            try:
                await self._free()
            except Exception as error:
                self._log.error("call.failed", exc_info=error)
            finally:
                self._log.info("call.ended", **record)
                self._take_apart()
        return record

    # Inputs of the machine.

    def _feed(self, give: Callable[[float], list[Effect]]) -> None:
        """Give the machine an input and perform what it asks for.

        This is called by the media clock, the SIP socket and timers, which serve other calls too:
        whatever goes wrong ends this call and no other.
        """
        if self._is_freed:
            return
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

    # The sessions.

    def session_opened(self, opened: SessionOpened) -> None:
        self._feed(lambda now: self._machine.session_opened(opened, now))

    def session_joined(self, session: Session, server: str, connect_s: float) -> None:
        self.session = session
        if self._channel is not None and not self._session_known.is_set():
            self._channel.begin(session)
        self._session_known.set()
        self._log.info("session.connected", server=server, connect_ms=_ms(connect_s))

    def session_failed(self, failed: SessionFailed, text: str, logged: str) -> None:
        self._log.warning("session.failed", reason=logged, message=text)
        self._feed(lambda now: self._machine.session_failed(failed, now))

    def session_lost(self, reason: str, *, joined: bool) -> None:
        self._feed(lambda now: self._machine.session_lost(reason, now, joined=joined))

    def server_event(self, event: Event) -> None:
        if event["type"] == "session.updated" and isinstance(event.get("session"), dict):
            self.session = event["session"]
        self._feed(lambda now: self._machine.server_event(event, now))

    def garbage(self, reason: str) -> None:
        self._log.warning("session.garbage", reason=reason)

    def play(self, delta: AudioDelta, message: bytes) -> None:
        """Queue a piece of the model's speech, unless the caller has interrupted it."""
        self.controls.show_audio(message)
        part, audio = delta
        media = self._sides.media
        conversation = self._machine.talk.conversation
        if media is None or media.is_bridged or not conversation.wants_audio(part.response_id):
            return
        if part is not self._part:
            self._part = part
            conversation.audio(part)
        media.play(part, audio)

    # Effects of the machine.

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case ToControl(event, extension):
                    self.controls.show(event, extension)
                case ToBackend(event):
                    self._sessions.send(event)
                case ClearPlayout(cause):
                    self._clear(cause)
                case Note(event_name, fields, level):
                    self._note(event_name, fields, level)
                case Settle(ticket, error):
                    self._tickets.settle(ticket, error)
                case PostWebhook():
                    if self._webhook is not None:
                        announce(self._webhook, self.call_id, self.leg, self._machine, self._log)
                case OpenSession() | JoinSession() | DropSession() | Retell() | TellSpeech():
                    self._sessions.perform(effect)
                case PressKeys():
                    press(effect, self.leg, self._tickets, self.controls)
                case Finish():
                    self._finished.set()
                    self._session_known.set()
                case _:
                    self._sides.perform(effect)
        self._alarm.set(self._machine.next_timeout())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            raise RuntimeError("the call is not running")
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _clear(self, cause: str) -> None:
        began = time.perf_counter()
        heard = self._sides.clear()
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

    def _note(self, name: str, fields: dict[str, Any], level: str) -> None:
        if name == "call.answered":
            self.record.answered()
            fields = fields | {
                "setup_ms": self.record.setup_ms,
                "codec": self.leg.codec,
                "media_security": self.leg.media_security,
            }
        if self.leg.kind != "sip":
            fields.pop("sip_status", None)
        (self._log.warning if level == "warning" else self._log.info)(name, **fields)

    async def _free(self) -> None:
        self._alarm.cancel()
        self._tickets.close()
        self.controls.close()
        try:
            await self._sides.close()
        finally:
            await self._sessions.close()

    def _take_apart(self) -> None:
        """Let go of the parts, which know the call as it knows them: left to the collector of such
        circles, all that a call was made of would stay for long. Clients may hold the call on."""
        self._is_freed = True
        del self._alarm, self._group, self._sessions, self._sides, self._channel


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
