"""How the other side of a call is passed on to somebody else, and what becomes of the call then.

    Transfer   the application wants it, or there is no session any more
    Referral   the other side wants it
    replaced   somebody else takes the other side's place

A second leg is theirs while they are under way. Bridged, the call goes on without the session, or
with one that only listens, until either leg ends.

The middle of the call machine, pure as that is.
"""

import math
from collections.abc import Callable

from gateway.calls.commands import Refer, wrong_state
from gateway.calls.effects import Effect, Note, PassKey, Settle, SwapLegs, Word
from gateway.calls.ending import Ending
from gateway.calls.policy import CallPolicy
from gateway.calls.referral import Referral, referral, refused
from gateway.calls.state import State
from gateway.calls.talk import Talk
from gateway.calls.transfer import Transfer, TransferPlan
from gateway.legs import leg
from gateway.legs.leg import LegEvent


class Passing(Ending):
    """What may be done with an answered call besides ending it.

    Args:
        policy: see `CallPolicy`.
        new_event_id: makes ids for the events that the gateway originates.
        outbound: we make this call.
        can_refer: the other side may know REFER.
    """

    def __init__(
        self,
        policy: CallPolicy,
        new_event_id: Callable[[], str],
        *,
        outbound: bool,
        can_refer: bool,
    ) -> None:
        super().__init__(outbound=outbound, posted=policy.posted)
        self.talk = Talk(policy, new_event_id=new_event_id)
        self._policy = policy
        self._new_event_id = new_event_id
        self._plan = TransferPlan(
            policy.transfer_timeout_s, policy.ring_timeout_s, policy.bridge, can_refer
        )
        self._passed_on = False  # the fallback target was tried
        self._replacing = False  # somebody is being answered who takes the other side's place
        self._offered_until = -math.inf  # somebody was asked to take our place in this call

    def refer_failed(self, now: float) -> list[Effect]:
        """`ReferLeg` could not be done."""
        return self._transfer_news(now, lambda transfer: transfer.unsendable())

    def second_opened(self, now: float) -> list[Effect]:
        """`DialSecond` was done: our INVITE is on its way."""
        return self._transfer_news(now, lambda transfer: transfer.second_opened(now))

    def second_taken(self, now: float) -> list[Effect]:
        """`TakeSecond` was done."""
        return self._transfer_news(now, lambda transfer: transfer.second_taken())

    def second_failed(self, status: int, reason: str, now: float) -> list[Effect]:
        """There is no second leg."""
        if self._referral is not None:
            return self._referral_news(now, lambda one: one.second_failed(status))
        return self._transfer_news(now, lambda transfer: transfer.second_failed(status, reason))

    def second_event(self, event: LegEvent, now: float) -> list[Effect]:
        """Something happened on the second leg."""
        if isinstance(event, leg.ReferAsked):
            return [] if self.state is State.ENDED else refused(event, by_second=True)
        if self._referral is not None:
            return self._referral_news(now, lambda one: one.second_event(event))
        if self.state is not State.BRIDGED:
            return self._transfer_news(now, lambda one: one.second_event(event))
        match event:
            case leg.LegEnded():
                return self._hang_up("transferred")  # whoever the call had gone to has ended it
            case leg.LegSilent() | leg.LegBroken():
                return self._lost(event)
            case leg.DtmfIn():
                return passed(event, to_second=False)
            case _:
                return []

    def replacing(self) -> None:
        """Somebody who may do so calls to take the other side's place (RFC 3891): `replaced` or
        `not_replaced` follows, and nothing else is done with the other side before."""
        self._replacing = True

    def replaced(self, now: float) -> list[Effect]:
        """Who wanted that place is answered."""
        self._replacing = False
        may = self.may_be_given_away
        swapped: list[Effect] = [Note("call.replaced", {}), SwapLegs()] if may else []
        return [*swapped, *self._talk(now, lambda _: [])]

    def not_replaced(self, now: float) -> list[Effect]:
        """Who wanted that place cannot be answered, or has gone again."""
        self._replacing = False
        return self._talk(now, lambda _: [])

    def told(self, word: Word, now: float) -> list[Effect]:
        """What another call does with whom this one is with."""
        match word:
            case "offered":
                self._offered_until = math.inf
            case "coming":  # it has left the call that would have told the rest
                self._offered_until = now + self._policy.transfer_timeout_s
            case "kept":
                self._offered_until = -math.inf
            case "transferred" if self.state is not State.ENDED:
                return self._hang_up("transferred")
        return []

    def given_away(self) -> list[Effect]:
        """The leg, or the other side, belongs to another call from here on."""
        return [] if self.state is State.ENDED else self._end("transferred", None)

    @property
    def may_be_given_away(self) -> bool:
        """Whether another call may have the leg."""
        return self.state is State.ACTIVE and not self._is_changing

    @property
    def _is_changing(self) -> bool:
        """Whether the other side may be somebody else in a moment."""
        return self._referral is not None or self._replacing

    @property
    def _is_left(self) -> bool:
        """Whether the call has no session any more, and wants none."""
        return self.state is State.BRIDGED and self._policy.bridge != "listen"

    def _refer(self, asked: Refer, ticket: int, now: float) -> list[Effect]:
        if self.state in (State.TRANSFERRING, State.BRIDGED) and self.transfer is not None:
            return self.transfer.again(asked, ticket)
        if self.state is not State.ACTIVE:
            return [Settle(ticket, wrong_state("Only an answered call can be transferred."))]
        if self._is_changing:
            error = wrong_state("Another transfer is under way.", "transfer_in_progress")
            return [Settle(ticket, error)]
        return self._transfer(asked, ticket, now)

    def _asked(self, asked: leg.ReferAsked, now: float) -> list[Effect]:
        busy = self.state is not State.ACTIVE or self._is_changing
        begun, effects = referral(asked, self._policy, now, busy=busy)
        self._referral = begun or self._referral
        return effects

    def _talk(self, now: float, news: Callable[[Talk], list[Effect]]) -> list[Effect]:
        """Tell the talk; once it is over the call ends, if no human can take it."""
        if self.state is State.ENDED or self._is_left:
            return []
        effects = news(self.talk)
        if not self.talk.over or self.state in (State.TRANSFERRING, State.BRIDGED):
            return effects  # a transfer may end the call in a moment; else we come by here again
        target = self._policy.fallback_target
        passes_on = target and self.talk.over == "session_lost" and self.state is State.ACTIVE
        if passes_on and not self._passed_on:
            if self._is_changing:
                return effects  # it has the second leg; once that is decided we come by again
            self._passed_on = True
            return [*effects, *self._transfer(Refer(target), None, now)]
        return [*effects, *self._hang_up(self.talk.over)]

    def _transfer(self, asked: Refer, ticket: int | None, now: float) -> list[Effect]:
        self.state = State.TRANSFERRING
        self.transfer = Transfer(asked, self._plan, self._new_event_id)
        waits = self._talk(now, lambda talk: talk.away(True, now))
        return [*waits, *self.transfer.begin(ticket, now)]

    def _transfer_news(self, now: float, news: Callable[[Transfer], list[Effect]]) -> list[Effect]:
        """Once the outcome is known, the other side is gone, or joined, or it is ours again."""
        if self.state is not State.TRANSFERRING or self.transfer is None:
            return []
        effects = news(self.transfer)
        if self.transfer.is_bridged:
            self.state = State.BRIDGED
            self._deadline = self._limit
            return effects
        if self.transfer.result == "transferred":
            return [*effects, *self._hang_up("transferred")]
        if self.transfer.result is not None:
            self.state = State.ACTIVE
            self._deadline = self._limit
            effects += self._talk(now, lambda talk: talk.away(False, now))
        return effects

    def _referral_news(self, now: float, news: Callable[[Referral], list[Effect]]) -> list[Effect]:
        if self._referral is None:
            return []
        effects = news(self._referral)
        if self._referral.over:
            gone = self._referral.asker_left and not self._referral.reached
            self._referral = None
            if gone:
                return [*effects, *self._end("remote_bye", None)]
            effects += self._talk(now, lambda _: [])
        return effects

    def _left(self, reason: str, status: int | None, now: float) -> list[Effect]:
        if now < self._offered_until and reason == "remote_bye":
            return self._end("transferred", None)  # it speaks with whom we sent there
        if self._referral is not None and reason == "remote_bye":
            self._referral.asker_left = True  # and it leaves us with whom we are calling
            return []
        if self.state is not State.TRANSFERRING or self.transfer is None:
            return self._end(reason, status)
        told = self.transfer.peer_left(reason)
        if self.transfer.result == "transferred":
            reason, status = "transferred", None
        return [*told, *self._end(reason, status)]

    def _lost(self, event: leg.LegSilent | leg.LegBroken) -> list[Effect]:
        silent = isinstance(event, leg.LegSilent)
        return self._hang_up("media_timeout" if silent else "internal_error")


def passed(pressed: leg.DtmfIn, *, to_second: bool) -> list[Effect]:
    """The key for the other leg, unless it is heard there as it was here."""
    return [] if pressed.way == "tone" else [PassKey(pressed.digit, to_second)]
