"""The legs of a call: whoever called or was called, and, for a while, one more.

Performs what the machine wants of legs and of what is heard on them. What they tell goes back to
the machine.

A second leg is somebody whom we call in the course of the call, or the leg of another call. Both
legs are then joined, or the second one takes the first one's place.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from gateway.audio.formats import Law
from gateway.audio.playout import Heard
from gateway.calls.effects import (
    AnswerLeg,
    AnswerRefer,
    Background,
    DialLeg,
    DialSecond,
    Effect,
    EndLeg,
    EndSecond,
    FinishPart,
    JoinLegs,
    PassKey,
    PlayApology,
    ReferLeg,
    RejectLeg,
    ReportRefer,
    RingBack,
    RingLeg,
    SwapLegs,
    TakeSecond,
    TellCall,
)
from gateway.calls.farewell import APOLOGY
from gateway.calls.machine import CallMachine
from gateway.calls.media import CallMedia
from gateway.calls.record import CallRecord
from gateway.calls.sessions import CallSessions
from gateway.calls.sounds import Sounds
from gateway.calls.state import State
from gateway.legs.leg import (
    CallOrder,
    IncomingLeg,
    KeysError,
    Leg,
    LegEnded,
    LegError,
    LegEvent,
    MediaPort,
    OutgoingLeg,
)

Feed = Callable[[Callable[[float], list[Effect]]], None]
"""Gives the machine an input, and performs what it asks for."""


class Others(Protocol):
    """The line, as one call sees it."""

    def second(self, order: CallOrder) -> OutgoingLeg:
        """A leg to somebody who is called in the course of a call. Raises LegError."""

    def leg_of(self, call_id: str) -> Leg | None:
        """The leg of another call that is up."""

    def take_leg(self, call_id: str) -> tuple[Leg, MediaPort] | None:
        """That leg for good: the other call is over. None when it cannot be had."""

    def tell(self, told: TellCall) -> None:
        """Tell another call what is being done with its leg."""


class Sides:
    """The legs of one call.

    Args:
        leg: the first one.
        feed: see `Feed`.
        start: runs work that ends with the call at the latest.
        others: where further legs come from.
    """

    def __init__(
        self,
        leg: IncomingLeg | OutgoingLeg,
        machine: CallMachine,
        record: CallRecord,
        sessions: CallSessions,
        sounds: Sounds,
        feed: Feed,
        start: Callable[[Coroutine[Any, Any, None]], None],
        others: Others,
    ) -> None:
        self.leg: Leg = leg
        """Whom the call is with."""
        self.media: CallMedia | None = None
        self._opens = leg
        self._machine = machine
        self._record = record
        self._sessions = sessions
        self._sounds = sounds
        self._feed = feed
        self._start = start
        self._others = others
        self._background = ""
        self._second: Leg | None = None
        self._second_port: MediaPort | None = None
        self._owned: list[Leg] = [leg]
        """To be closed when the call is over."""

    def listen(self, listener: Callable[[LegEvent], None]) -> None:
        """Hear what the leg that the call is with tells."""
        self._listener = listener
        self._hear(self.leg)

    def perform(self, effect: Effect) -> None:
        """Do what the machine wants."""
        match effect:
            case RingLeg() | AnswerLeg() | RejectLeg() | DialLeg():
                self._open(effect)
            case ReferLeg() | AnswerRefer() | ReportRefer():
                self._refer(effect)
            case DialSecond() | TakeSecond() | EndSecond() | JoinLegs() | SwapLegs():
                self._with_second(effect)
            case PassKey(key, to_second):
                self._press(key, self._second if to_second else self.leg)
            case TellCall():
                self._others.tell(effect)
            case EndLeg(headers):
                self.leg.hang_up(headers)
            case _:
                self._sound(effect)

    def clear(self) -> list[Heard]:
        """Be silent now; returns what had not been heard to its end."""
        return [] if self.media is None else self.media.clear()

    def adopt(self, leg: IncomingLeg) -> None:
        """Answer somebody who is to take the other side's place (RFC 3891)."""
        self._machine.replacing()
        self._second = leg
        self._owned.append(leg)
        self._start(self._answer(leg))

    def release(self) -> tuple[Leg, MediaPort] | None:
        """Give the leg away, for another call."""
        if self.media is None:
            return None
        self._owned.remove(self.leg)
        return self.leg, self.media.release()

    async def close(self) -> None:
        """Free all legs.

        Raises:
            ExceptionGroup: some cannot be freed; the others are.
        """
        if self.media is not None and self.leg in self._owned:
            self.media.part()
        errors: list[Exception] = []
        for leg in tuple(self._owned):
            try:
                await leg.close()
            except Exception as error:
                errors.append(error)
        if errors:
            raise ExceptionGroup("legs that cannot be freed", errors)

    # The first leg.

    def _open(self, effect: RingLeg | AnswerLeg | RejectLeg | DialLeg) -> None:
        leg = self._opens
        match effect:
            case RingLeg() if leg.direction == "inbound":
                leg.ring()
            case AnswerLeg(headers) if leg.direction == "inbound":
                self._start(self._open_leg(partial(leg.answer, headers)))
            case RejectLeg(status, _, retry_after_s, headers) if leg.direction == "inbound":
                leg.reject(status, retry_after_s, headers)
            case DialLeg() if leg.direction == "outbound":
                self._start(self._open_leg(leg.dial))
            case _:
                raise RuntimeError(f"{type(effect).__name__} does not fit this leg")

    async def _open_leg(self, open_leg: Callable[[], Coroutine[Any, Any, MediaPort]]) -> None:
        try:
            port = await open_leg()
        except LegError as error:
            status, reason = error.status, error.reason
            self._feed(lambda now: self._machine.leg_failed(status, reason, now))
            return
        if self._opens.direction == "inbound":
            self._record.set_up()
        self.media = CallMedia(port, self._sessions.tape, self._sounds)
        self._sessions.attach(self.media)
        self.media.background(self._background)
        self._record.opened(self.media)
        self._feed(self._machine.leg_opened)

    def _refer(self, effect: ReferLeg | AnswerRefer | ReportRefer) -> None:
        match effect:
            case ReferLeg(target_uri, replaces, headers):
                other = self._others.leg_of(replaces) if replaces else None
                try:
                    if replaces and other is None:
                        raise LegError(400, "bad_target")
                    self.leg.refer(target_uri, other, headers)
                except LegError:
                    self._feed(self._machine.refer_failed)
            case AnswerRefer(refer_id, status, to_second):
                asker = self._second if to_second else self.leg
                if asker is not None:
                    asker.answer_refer(refer_id, status)
            case ReportRefer(refer_id, status, over):
                self.leg.report_refer(refer_id, status, over=over)

    def _press(self, key: str, leg: Leg | None) -> None:
        if leg is None:
            return
        try:
            leg.press(key)
        except KeysError:
            pass  # that side takes none, or its user presses faster than keys can be sent

    # The second leg.

    def _with_second(
        self, effect: DialSecond | TakeSecond | EndSecond | JoinLegs | SwapLegs
    ) -> None:
        match effect:
            case DialSecond():
                self._start(self._dial(effect))
            case TakeSecond(call_id):
                self._take(call_id)
            case EndSecond():
                self._drop_second()
            case JoinLegs(listens):
                self._join(listens=listens)
            case SwapLegs():
                self._swap()

    def _law(self) -> Law:
        """What a further leg is best joined in, so that nothing has to be translated."""
        spoken = "pcmu" if self.media is None else self.media.port.format.encoding
        return "pcma" if spoken == "pcma" else "pcmu"

    async def _dial(self, wanted: DialSecond) -> None:
        leg: Leg | None = None
        order = CallOrder(
            wanted.target_uri,
            headers=wanted.headers,
            replaces=wanted.replaces,
            referred_by=wanted.referred_by,
            law=self._law(),
        )
        try:
            called = self._others.second(order)
            leg = self._second = called
            self._owned.append(called)
            self._hear(called)
            port = await called.dial()
        except LegError as error:
            status, reason = error.status, error.reason
            if leg is self._second:
                self._drop_second()
                self._feed(lambda now: self._machine.second_failed(status, reason, now))
            return
        if leg is self._second:  # it was not given up meanwhile
            self._second_port = port
            if wanted.overheard and self.media is not None:
                self.media.overhear(port)
            self._feed(self._machine.second_opened)

    async def _answer(self, leg: IncomingLeg) -> None:
        self._hear(leg)
        try:
            port = await leg.answer()
        except LegError as error:
            leg.reject(error.status)
            port = None
        if port is not None and leg is self._second:
            self._second_port = port
            self._feed(self._machine.replaced)
            return
        if leg is self._second:  # else whoever called has hung up again
            self._drop_second()
        self._feed(self._machine.not_replaced)

    def _take(self, call_id: str) -> None:
        taken = self._others.take_leg(call_id)
        if taken is None:
            self._feed(lambda now: self._machine.second_failed(404, "call_not_up", now))
            return
        self._second, self._second_port = taken
        self._owned.append(self._second)
        self._hear(self._second)
        self._feed(self._machine.second_taken)

    def _hear(self, leg: Leg) -> None:
        """What a leg tells is of the second one, until it is the first; then it is of the call."""

        def told(event: LegEvent) -> None:
            if leg is self.leg:
                self._listener(event)
            elif leg is self._second:
                self._feed(lambda now: self._machine.second_event(event, now))
                over = self._machine.state is State.ENDED  # all legs are being closed
                if isinstance(event, LegEnded) and leg is self._second and not over:
                    self._drop_second()

        leg.listen(told)

    def _drop_second(self) -> None:
        leg, self._second, self._second_port = self._second, None, None
        if leg is not None:
            self._part_with(leg)

    def _join(self, *, listens: bool) -> None:
        second, port = self._second, self._second_port
        if self.media is not None and second is not None and port is not None:
            self.media.bridge(port, listens=listens)
            self._record.joined(second)
        if not listens:
            self._sessions.leave()

    def _swap(self) -> None:
        """From here on the call is with the second leg."""
        leg, port, before = self._second, self._second_port, self.leg
        if leg is None or port is None or self.media is None:
            return
        self.leg, self._second, self._second_port = leg, None, None
        heard = self.media.move(port)
        self._record.swapped(leg)
        self._part_with(before)
        self._feed(lambda now: self._machine.cleared(heard, "swap", now))

    def _part_with(self, leg: Leg) -> None:
        """Hang up on a leg, and free it while the call goes on."""
        leg.hang_up()
        self._start(self._free(leg))

    async def _free(self, leg: Leg) -> None:
        await leg.close()
        self._owned.remove(leg)

    # What is heard.

    def _sound(self, effect: Effect) -> None:
        if isinstance(effect, Background):
            self._background = effect.sound
        media = self.media
        if media is None:
            return
        match effect:
            case FinishPart(part):
                media.finish(part)
            case Background(sound):
                media.background(sound)
            case RingBack(on):
                media.ring_back(on)
            case PlayApology():
                media.apologise(APOLOGY)
