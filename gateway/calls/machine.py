"""The life of a call, as a machine that decides and does nothing.

    INCOMING --start--> CONNECTING --session_opened--> ANSWERING --LegAnswered--> ACTIVE
        |                   |                              |                        |
        +---- refused ------+------- failure, caller gone, hang-up, time-out -------+--> ENDED

* The session is connected and configured before the caller is answered, so that a call which costs
  money always has somebody on the line. A backend that cannot be had is a 503 to the caller.
* Every way a call can end goes through `_end`, once, with one reason: that reason is in the call's
  record.
* While ACTIVE the `Conversation` decides about voice, turns and digits.

Pure: inputs and `now` (seconds, monotonic) in, effects out. After any input, perform the returned
effects in order, then re-arm the timer from `next_timeout()`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from gateway.audio.playout import Heard
from gateway.calls.conversation import Conversation
from gateway.calls.effects import (
    AnswerLeg,
    Effect,
    EndLeg,
    Finish,
    Note,
    OpenSession,
    RejectLeg,
    RingLeg,
)
from gateway.legs.leg import (
    DtmfIn,
    LegAnswered,
    LegBroken,
    LegEnded,
    LegEvent,
    LegHeld,
    LegSilent,
    Played,
)
from gateway.realtime.events import Event


class State(Enum):
    INCOMING = auto()
    CONNECTING = auto()
    ANSWERING = auto()
    ACTIVE = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call is turned away before anything is tried."""

    status: int
    reason: str
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How calls are treated; the same for all calls of a process."""

    session: dict[str, Any] = field(default_factory=lambda: {"type": "realtime"})
    """Session config (GA) for calls that the gateway accepts by itself."""
    greet: bool = True
    """Ask for a response as soon as the call is answered."""
    digits_to_model: bool = True
    ring_timeout_s: float = 45.0
    max_duration_s: float = 3600.0
    """Counted from the answer."""


class CallMachine:
    """Decides what one call does.

    Args:
        policy: see `CallPolicy`.
        new_event_id: makes ids for the events that the gateway originates.
        refusal: turn the caller away at once.
    """

    def __init__(
        self,
        policy: CallPolicy,
        *,
        new_event_id: Callable[[], str],
        refusal: Refusal | None = None,
    ) -> None:
        self.state = State.INCOMING
        self.reason = ""
        """Why the call ended; "" until then."""
        self.sip_status: int | None = None
        self.conversation = Conversation(
            new_event_id=new_event_id, digits_to_model=policy.digits_to_model
        )
        self._policy = policy
        self._refusal = refusal
        self._deadline: float | None = None

    def start(self, now: float) -> list[Effect]:
        """The call has come in."""
        if self.state is not State.INCOMING:
            return []  # it was ended before it began to live
        if self._refusal is not None:
            refusal = self._refusal
            return self._refuse(refusal.status, refusal.reason, refusal.retry_after_s)
        self.state = State.CONNECTING
        self._deadline = now + self._policy.ring_timeout_s
        return [RingLeg(), Note("call.ringing", {}), OpenSession(self._policy.session)]

    def session_opened(self, session: dict[str, Any], now: float) -> list[Effect]:
        """The Realtime session is connected, and `session` is how the server configured it."""
        if self.state is not State.CONNECTING:
            return []
        self.conversation.configured(session)
        self.state = State.ANSWERING
        self._deadline = None  # from here the leg itself gives up when the caller stays silent
        return [Note("call.accepted", {}), AnswerLeg()]

    def session_failed(self, reason: str, now: float) -> list[Effect]:
        """The Realtime session could not be had."""
        if self.state is not State.CONNECTING:
            return []
        return self._refuse(503, reason)

    def session_lost(self, reason: str, now: float) -> list[Effect]:
        """The Realtime session of an answered call is gone."""
        if self.state not in (State.ANSWERING, State.ACTIVE):
            return []
        return [Note("session.lost", {"reason": reason}, "warning"), *self._hang_up("session_lost")]

    def answer_failed(self, status: int, reason: str, now: float) -> list[Effect]:
        """The leg could not be answered."""
        if self.state is not State.ANSWERING:
            return []
        return self._refuse(status, reason)

    def leg_event(self, event: LegEvent, now: float) -> list[Effect]:
        """Something happened on the caller's side."""
        if self.state is State.ENDED:
            return []
        match event:
            case LegEnded(reason, status):
                return self._end(reason, status)
            case LegSilent():
                return self._hang_up("media_timeout")
            case LegBroken():
                return self._hang_up("internal_error")
            case LegAnswered():
                return self._answered(now)
            case Played(mark):
                return self.conversation.played(mark, now)
            case DtmfIn(digit, received_at):
                note = Note("dtmf.received", {"digit": digit})
                return [note, *self.conversation.digit(digit, received_at, now)]
            case LegHeld(held):
                return [Note("call.held" if held else "call.resumed", {})]

    def server_event(self, event: Event, now: float) -> list[Effect]:
        """An event of the Realtime session, audio excepted."""
        return [] if self.state is State.ENDED else self.conversation.server_event(event, now)

    def client_event(self, event: Event, now: float) -> list[Effect]:
        """An event from a client that controls the call."""
        return [] if self.state is State.ENDED else self.conversation.client_event(event)

    def cleared(self, heard: list[Heard], cause: str, now: float) -> list[Effect]:
        """The outcome of `ClearPlayout`."""
        return [] if self.state is State.ENDED else self.conversation.cleared(heard, cause)

    def hang_up(self, reason: str, now: float) -> list[Effect]:
        """End the call from our side, whatever its state."""
        if self.state is State.ENDED:
            return []
        if self.state in (State.INCOMING, State.CONNECTING):
            return self._refuse(480, reason)
        return self._hang_up(reason)

    def timeout(self, now: float) -> list[Effect]:
        """The clock reached `next_timeout()`, or passed it."""
        if self._deadline is None or now < self._deadline:
            return self.conversation.timeout(now)
        if self.state is State.CONNECTING:
            return self._refuse(480, "ring_timeout")
        return self.hang_up("max_duration", now)

    def next_timeout(self) -> float | None:
        """When `timeout` wants to be called, in the same clock as `now`; None for never."""
        if self.state is State.ENDED:
            return None
        deadlines = (self._deadline, self.conversation.next_timeout())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def _answered(self, now: float) -> list[Effect]:
        if self.state is not State.ANSWERING:
            return []
        self.state = State.ACTIVE
        self._deadline = now + self._policy.max_duration_s
        greeting = self.conversation.greet() if self._policy.greet else []
        return [Note("call.answered", {}), *greeting]

    def _refuse(self, status: int, reason: str, retry_after_s: int | None = None) -> list[Effect]:
        note = Note("call.rejected", {"sip_status": status, "reason": reason})
        return [RejectLeg(status, reason, retry_after_s), note, *self._end(reason, status)]

    def _hang_up(self, reason: str) -> list[Effect]:
        return [EndLeg(), *self._end(reason, None)]

    def _end(self, reason: str, status: int | None) -> list[Effect]:
        self.state = State.ENDED
        self.reason = reason
        self.sip_status = status
        self._deadline = None
        return [Finish()]
