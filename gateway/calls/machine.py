"""The life of a call, as a machine that decides and does nothing.

    INCOMING --> RINGING --Accept--> CONNECTING --> ANSWERING --LegAnswered--> ACTIVE <---+
                    ^                    |  |                                   ^ |       |
                    +---- no session ----+  +-----> DIALLING ----LegAnswered----+ Refer   failed
                                                    (calls that we make)          v       |
    from everywhere --> ENDED <--- BRIDGED <--- legs joined here ----------- TRANSFERRING -+

* By policy an application decides about a call that comes in (RINGING), or it is accepted at once.
* The session is connected and configured before the caller is answered, so that a call which costs
  money always has somebody on the line. For the same reason we call somebody only when the session
  is there.
* Every way a call can end goes through `_end`, once, with one reason: that reason is in the call's
  record.
* Once answered, the `Talk` decides about voice, turns and digits, and about the session that
  carries them. When none is to be had any more, the caller hears an apology, if there is one, and
  is passed on to a human, if one is named.
* How a call is passed on is the subject of `Passing`.

A command comes with a *ticket*. The effect `Settle(ticket)` says that it has had its effect, or why
it cannot. The same command again is no error: it shares the outcome of the first one, also when the
call has ended since.

Pure: inputs and `now` (seconds, monotonic) in, effects out. After any input, perform the returned
effects in order, then re-arm the timer from `next_timeout()`.
"""

from collections.abc import Callable
from typing import Any, Final

from gateway.audio.playout import Heard
from gateway.calls import commands
from gateway.calls.commands import Command, ended_by, no_call, no_leg, not_made, wrong_state
from gateway.calls.continuity import SessionFailed, SessionOpened
from gateway.calls.effects import (
    AnswerLeg,
    DialLeg,
    DropSession,
    Effect,
    Note,
    PostWebhook,
    PressKeys,
    RingLeg,
    Settle,
    ToControl,
)
from gateway.calls.passing import Passing, passed
from gateway.calls.policy import CallPolicy, Refusal
from gateway.calls.state import ANSWERED, UNDECIDED, State
from gateway.legs import leg
from gateway.legs.leg import Headers, LegEvent
from gateway.realtime import events
from gateway.realtime.errors import error_event
from gateway.realtime.events import Event

_NO_KEYS_YET: Final = "Only in an answered call can keys be pressed."
_NO_KEYS: Final = {
    State.TRANSFERRING: "The call is being passed on: no keys can be pressed in it.",
    State.BRIDGED: "The call was passed on: no keys can be pressed in it.",
}
_WITH_SESSION: Final = (State.ANSWERING, State.DIALLING, *ANSWERED)


class CallMachine(Passing):
    """Decides what one call does.

    Args:
        policy: see `CallPolicy`.
        new_event_id: makes ids for the events that the gateway originates.
        refusal: turn the caller away at once.
        outbound: we make this call.
        can_refer: the other side may know REFER.
    """

    def __init__(
        self,
        policy: CallPolicy,
        *,
        new_event_id: Callable[[], str],
        refusal: Refusal | None = None,
        outbound: bool = False,
        can_refer: bool = True,
    ) -> None:
        super().__init__(policy, new_event_id, outbound=outbound, can_refer=can_refer)
        self.is_ringing = False
        """The telephone on the other side was heard to ring."""
        self.commanded = False
        """The application has asked something of the call."""
        self._refusal = refusal
        self._session = policy.session
        self._answer_headers: Headers = ()
        self._decided_by_us = not policy.application_decides and not outbound

    def start(self, now: float, ticket: int | None = None) -> list[Effect]:
        """The call has come in, or is to be made; `ticket` waits for our answer or our INVITE."""
        if self.state is not State.INCOMING:  # it was ended before it began to live
            return [] if ticket is None else [Settle(ticket, not_made(self.reason))]
        if self._refusal is not None:
            refusal = self._refusal
            return self._refuse(refusal.status, refusal.reason, refusal.retry_after_s)
        self._deadline = now + self._policy.ring_timeout_s
        self._tickets += [] if ticket is None else [ticket]
        if self.outbound:
            return self._connect(self._session)
        ringing: list[Effect] = [RingLeg(), Note("call.ringing", {}), PostWebhook()]
        if self._decided_by_us:
            return [*ringing, *self._connect(self._session)]
        self.state = State.RINGING
        return ringing

    def command(self, command: Command, ticket: int, now: float) -> list[Effect]:
        """The application wants something; `Settle(ticket)` follows, now or later."""
        self.commanded = True
        if self.state is State.ENDED:
            return [Settle(ticket, None if self.had_its_effect(command) else no_call())]
        match command:
            case commands.Accept():
                return self._accept(command, ticket)
            case commands.Reject(status, headers):
                if self.outbound or self.state not in UNDECIDED:
                    error = wrong_state("The call is already answered: it can only be hung up.")
                    return [Settle(ticket, error)]
                return [*self._refuse(status, "rejected", None, headers), Settle(ticket)]
            case commands.HangUp(headers):
                return [*self.hang_up("hangup", now, headers), Settle(ticket)]
            case commands.Refer():
                return self._refer(command, ticket, now)
            case commands.Press(digits):
                return self._press(PressKeys(digits, ticket))

    def had_its_effect(self, command: Command) -> bool:
        """Whether the call ended because of a command like this one, which is no error then."""
        asked = None if self.transfer is None else self.transfer.asked
        return ended_by(command, self.reason, self.sip_status, asked)

    @property
    def is_calling(self) -> bool:
        """Whether whoever is called has not answered yet."""
        return self.outbound and self.state not in (*ANSWERED, State.ENDED)

    @property
    def awaits_word(self) -> bool:
        """Whether there is still a point in telling the application of the call."""
        return self.state is State.RINGING or (
            self._decided_by_us and self.state is not State.ENDED
        )

    def session_opened(self, opened: SessionOpened, now: float) -> list[Effect]:
        """The Realtime session is connected: the first, or one that is to take over."""
        if self._is_left:
            return [DropSession()]
        if self.state in _WITH_SESSION:
            return self._talk(now, lambda talk: talk.session_opened(opened, now))
        if self.state is not State.CONNECTING:
            return []
        joined = self.talk.began(opened, now)
        if self.outbound:
            self.state = State.DIALLING
            return [*joined, DialLeg()]
        self.state = State.ANSWERING
        self._deadline = None  # from here the leg itself gives up when the caller stays silent
        return [*joined, Note("call.accepted", {}), AnswerLeg(self._answer_headers)]

    def session_failed(self, failed: SessionFailed, now: float) -> list[Effect]:
        """A Realtime session could not be had."""
        if self.state in _WITH_SESSION:
            return self._talk(now, lambda talk: talk.session_failed(failed, now))
        if self.state is not State.CONNECTING:
            return []
        if elsewhere := self.talk.first_failed(failed):
            return elsewhere
        error = failed.error
        if self._policy.ring_on_failure and not (self.outbound or self._decided_by_us):
            self.state = State.RINGING
            return self._settle(error)
        error.retry = False  # a repeated command would only find that the call is gone
        return [*self._settle(error), *self._turn_away(503, failed.reason, failed.retry_after_s)]

    def session_lost(self, reason: str, now: float, *, joined: bool = True) -> list[Effect]:
        """The Realtime session of the call is gone, or one that was to take over (not `joined`)."""
        if self.state not in _WITH_SESSION:
            return []
        if not joined:
            return self._talk(now, lambda talk: talk.next_lost(reason, now))
        return self._talk(now, lambda talk: talk.session_lost(reason, now))

    def server_event(self, event: Event, now: float) -> list[Effect]:
        """An event of the Realtime session, audio excepted."""
        return self._talk(now, lambda talk: talk.server_event(event, now))

    def client_event(self, event: Event, now: float) -> list[Effect]:
        """An event from a client that controls the call."""
        if event["type"] == "gateway.dtmf.send":
            asked = events.text_of(event, "event_id") or None
            return self._press(PressKeys(event.get("digits"), None, asked))
        if self._is_left:
            error = wrong_state("The call was passed on, and its session has ended.")
            asked = event.get("event_id")
            told = error_event(error, event_id=self._new_event_id(), client_event_id=asked)
            return [ToControl(told)]
        return self._talk(now, lambda talk: talk.client_event(event, now))

    # The leg.

    def leg_opened(self, now: float) -> list[Effect]:
        """`AnswerLeg` or `DialLeg` was done: our answer, or our INVITE, is on its way."""
        return self._settle() if self.state in (State.ANSWERING, State.DIALLING) else []

    def leg_failed(self, status: int, reason: str, now: float) -> list[Effect]:
        """The leg could not be answered, or not be called."""
        if self.state not in (State.ANSWERING, State.DIALLING):
            return []
        return [*self._settle(no_leg(status, reason)), *self._turn_away(status, reason)]

    def leg_event(self, event: LegEvent, now: float) -> list[Effect]:
        """Something happened on the other side."""
        if self.state is State.ENDED:
            return []
        match event:
            case leg.LegEnded(reason, status):
                return self._left(reason, status, now)
            case leg.LegSilent() if self.state is State.TRANSFERRING:
                return []  # on hold perhaps; if it is still silent afterwards we hear so again
            case leg.LegSilent() | leg.LegBroken():
                return self._lost(event)
            case leg.LegRinging(status):
                return self._rings(status)
            case leg.LegRedirected(status) | leg.KeyRefused(status):
                redirected = isinstance(event, leg.LegRedirected)
                name = "call.redirected" if redirected else "dtmf.refused"
                return [Note(name, {"sip_status": status})]
            case leg.LegAnswered():
                return self._answered(now)
            case leg.Played(mark):
                return self._talk(now, lambda talk: talk.played(mark, now))
            case leg.DtmfIn(digit, received_at):
                note = Note("dtmf.received", {"digit": digit})
                if self.state is State.BRIDGED:
                    return [note, *passed(event, to_second=True)]
                pressed = self._talk(now, lambda talk: talk.digit(digit, received_at, now))
                return [note, *pressed]
            case leg.LegHeld(held):
                note = Note("call.held" if held else "call.resumed", {})
                return [note, *self._talk(now, lambda talk: talk.held(held, now))]
            case leg.ReferAnswered(answer):
                return self._transfer_news(now, lambda one: one.answered(answer, now))
            case leg.ReferProgress(news, over):
                return self._transfer_news(now, lambda one: one.progressed(news, over, now))
            case leg.ReferAsked():
                return self._asked(event, now)

    def cleared(self, heard: list[Heard], cause: str, now: float) -> list[Effect]:
        """The outcome of `ClearPlayout`."""
        return self._talk(now, lambda talk: talk.cleared(heard, cause, now))

    # The clock, and the end.

    def hang_up(self, reason: str, now: float, headers: Headers = ()) -> list[Effect]:
        """End the call from our side, whatever its state; `headers` go with what says so."""
        if self.state is State.ENDED:
            return []
        if self.state in UNDECIDED:
            return self._turn_away(480, reason, None, headers)
        return self._hang_up(reason, headers)

    def timeout(self, now: float) -> list[Effect]:
        """The clock reached `next_timeout()`, or passed it."""
        if self._deadline is not None and now >= self._deadline:
            return self._too_late(now)
        transferred = self._transfer_news(now, lambda transfer: transfer.timeout(now))
        transferred += self._referral_news(now, lambda one: one.timeout(now))
        return [*transferred, *self._talk(now, lambda talk: talk.timeout(now))]

    def next_timeout(self) -> float | None:
        """When `timeout` wants to be called, in the same clock as `now`; None for never."""
        if self.state is State.ENDED:
            return None
        under_way = (one for one in (self.transfer, self._referral) if one is not None)
        talk_at = None if self._is_left else self.talk.next_timeout()
        deadlines = (self._deadline, talk_at, *(one.next_timeout() for one in under_way))
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def _connect(self, session: dict[str, Any]) -> list[Effect]:
        self.state, self._session = State.CONNECTING, session
        return self.talk.begin(session)

    def _accept(self, accept: commands.Accept, ticket: int) -> list[Effect]:
        if self.state is State.RINGING:
            self._tickets.append(ticket)
            self._answer_headers = accept.headers
            return self._connect(accept.session)
        if self.outbound or self._decided_by_us or accept.session != self._session:
            error = wrong_state("The call is already accepted.", "call_already_accepted")
            return [Settle(ticket, error)]
        if self.state in ANSWERED or not self._tickets:
            return [Settle(ticket)]
        self._tickets.append(ticket)
        return []

    def _answered(self, now: float) -> list[Effect]:
        if self.state not in (State.ANSWERING, State.DIALLING):
            return []
        self.state = State.ACTIVE
        self._deadline = self._limit = now + self._policy.max_duration_s
        greets = self._policy.greet and self._decided_by_us
        told: list[Effect] = []
        if self.outbound:
            told = [ToControl(events.call_answered(self._new_event_id()), extension=True)]
        begun = self.talk.answered(now, greet=greets)
        return [*self._settle(), Note("call.answered", {}), *told, *begun]

    def _rings(self, status: int) -> list[Effect]:
        if self.is_ringing:
            return []
        self.is_ringing = True
        event = events.call_ringing(status, self._new_event_id())
        return [Note("call.ringing", {"sip_status": status}), ToControl(event, extension=True)]

    def _too_late(self, now: float) -> list[Effect]:
        self._deadline = None
        if self.state is State.RINGING:
            return self._turn_away(480, "no_decision")
        if self.state in (State.CONNECTING, State.DIALLING):
            return self._turn_away(480, "ring_timeout")
        if self.state is State.BRIDGED:
            return self._hang_up("max_duration")
        if self.state is State.TRANSFERRING:
            return []  # which may end the call in a moment; if it does not we come by here again
        return self._talk(now, lambda talk: talk.too_long(now))

    def _press(self, press: PressKeys) -> list[Effect]:
        if self.state is State.ACTIVE:
            return [press]
        if self.state is State.ENDED:
            return []  # a command was told so before
        error = wrong_state(_NO_KEYS.get(self.state, _NO_KEYS_YET))
        if press.ticket is not None:
            return [Settle(press.ticket, error)]
        event_id = self._new_event_id()
        told = error_event(error, event_id=event_id, client_event_id=press.client_event_id)
        return [ToControl(told)]
