"""One transfer: what was tried to have the caller speak with somebody else, and how it turned out.

    refer      the other side is asked to call the target (REFER, RFC 3515)
    replaces   it is asked to take our place in another call of ours (RFC 3891)
    bridge     we call the target, or have that other call, and join both legs

The answer to a REFER only says whether the peer will try (RFC 3515 section 2.4.4). What became of
the attempt comes in NOTIFYs, which may overtake that answer, and may never come. Until it is known
the other side stays on the line with us. Whoever asked waits for no more than the answer, or until
our own INVITE is on its way.

Pure: news and `now` in, effects out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from gateway.calls.commands import Refer, TransferResult, no_leg, transfer_result, wrong_state
from gateway.calls.effects import (
    DialSecond,
    Effect,
    EndSecond,
    JoinLegs,
    Note,
    ReferLeg,
    RingBack,
    Settle,
    TakeSecond,
    TellCall,
    ToControl,
    Word,
)
from gateway.legs import leg
from gateway.legs.leg import LegEvent
from gateway.realtime.errors import RealtimeError
from gateway.realtime.events import transfer_ended

_UNKNOWN_METHOD: Final = (405, 501)
"""The peer cannot transfer, whoever asks; any other refusal is its word."""


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """How transfers of a call are made.

    Args:
        timeout_s: how long the peer may be without an answer, and then without news.
        ring_s: how long the target of a bridge may ring.
        bridge: see `CallPolicy`.
        can_refer: the leg knows REFER.
    """

    timeout_s: float
    ring_s: float
    bridge: Literal["off", "leave", "listen"] = "off"
    can_refer: bool = True


class Transfer:
    """The latest transfer of a call.

    Args:
        asked: whom to.
        new_event_id: makes the id of the event that tells the outcome.
    """

    def __init__(self, asked: Refer, plan: TransferPlan, new_event_id: Callable[[], str]) -> None:
        self.asked = asked
        self.how: Literal["refer", "replaces", "bridge"] = "replaces" if asked.replaces else "refer"
        self.result: TransferResult | None = None
        """None while it is under way."""
        self.sip_status: int | None = None
        """The answer that decided: of the target, or of the peer to the REFER."""
        self._plan = plan
        self._new_event_id = new_event_id
        self._tickets: list[int] = []
        self._accepted = False
        self._rings = False
        self._deadline: float | None = None

    @property
    def failed(self) -> bool:
        """Whether it is over, and the other side is still ours."""
        return self.result not in (None, "transferred")

    @property
    def is_bridged(self) -> bool:
        """Whether both legs are joined here, until either hangs up."""
        return self.how == "bridge" and self.result == "transferred"

    def begin(self, ticket: int | None, now: float) -> list[Effect]:
        """Go about it; `ticket` is of whoever waits to hear that it is on its way."""
        self._tickets += [] if ticket is None else [ticket]
        if not self._plan.can_refer and self._plan.bridge != "off":
            return self._bridge(now)
        self._deadline = now + self._plan.timeout_s
        other = self.asked.replaces
        offered: list[Effect] = [TellCall(other, "offered")] if other else []
        return [*offered, ReferLeg(self.asked.shown, other, self.asked.headers)]

    def again(self, asked: Refer, ticket: int) -> list[Effect]:
        """A transfer is asked for while this one is under way, or has joined both legs."""
        if asked != self.asked:
            error = wrong_state("Another transfer is under way.", "transfer_in_progress")
            return [Settle(ticket, error)]
        if self._accepted:
            return [Settle(ticket)]
        self._tickets.append(ticket)
        return []

    # REFER.

    def answered(self, status: int, now: float) -> list[Effect]:
        """The peer's final answer to the REFER."""
        if self.how == "bridge":
            return []
        if 200 <= status < 300:
            return self._accept(now)
        if self._accepted:
            return []  # news of the attempt came first, and says more
        if status in _UNKNOWN_METHOD and self._plan.bridge != "off":
            return self._bridge(now)
        told = self._settle(_refusal(status))
        return [*told, *self._decide("timeout" if status == 408 else "refused", status)]

    def progressed(self, status: int | None, over: bool, now: float) -> list[Effect]:
        """News of the attempt."""
        if self.how == "bridge":
            return []
        accepted = self._accept(now)
        if status is not None and status >= 200:
            return [*accepted, *self._decide(transfer_result(status), status)]
        # Else it goes on, unless they stop telling before anything was decided.
        return [*accepted, *self._decide("timeout", None)] if over else accepted

    def unsendable(self) -> list[Effect]:
        """The target cannot be put into a REFER."""
        error = RealtimeError("That target cannot be sent.", code="bad_target", param="target_uri")
        return [*self._settle(error), *self._decide("refused", None)]

    # A bridge.

    def second_opened(self, now: float) -> list[Effect]:
        """Our INVITE is on its way."""
        if self.how != "bridge":
            return []
        self._accepted = True
        self._deadline = now + self._plan.ring_s
        return self._settle()

    def second_taken(self) -> list[Effect]:
        """The leg of the other call is ours."""
        if self.how != "bridge":
            return []
        self._accepted = True
        return [*self._settle(), *self._joined(None)]

    def second_failed(self, status: int, reason: str) -> list[Effect]:
        """Nobody could be called; as in `LegError`."""
        if self.how != "bridge":
            return []
        error = no_leg(status, reason)
        if error.param:
            error.param = "replaces_call_id" if self.asked.replaces else "target_uri"
        return [*self._settle(error), *self._decide("unreachable", None)]

    def second_event(self, event: LegEvent) -> list[Effect]:
        """Something happened at the target, before both are joined."""
        if self.how != "bridge":
            return []
        match event:
            case leg.LegRinging() if not self._rings:
                self._rings = True
                return [RingBack(True)]
            case leg.LegAnswered():
                return self._joined(200)
            case leg.LegEnded(_, status):
                return self._unreached(
                    "no_answer" if status is None else transfer_result(status), status
                )
            case leg.LegBroken():
                return self._unreached("unreachable", None)
            case _:
                return []

    # Either way.

    def peer_left(self, reason: str) -> list[Effect]:
        """The call is over by the other side, for this reason as in `LegEnded`.

        One that hangs up, having agreed to try, has gone where it was sent. Its INVITE has perhaps
        not come there yet.
        """
        if self.how == "bridge" or reason != "remote_bye":
            return self._decide("timeout", None)
        if not self._accepted:
            return self._decide("refused", None)
        return self._decide("transferred", None, "coming")

    def abandon(self, error: RealtimeError) -> list[Effect]:
        """The call is over; what has not been told by now never will be."""
        unknown = self._decide("timeout", None) if self.result is None else []
        return [*self._settle(error), *unknown]

    def timeout(self, now: float) -> list[Effect]:
        if self._deadline is None or now < self._deadline:
            return []
        if self.how == "bridge":
            return self._unreached("no_answer", None)
        return [*self._settle(_refusal(408)), *self._decide("timeout", None)]

    def next_timeout(self) -> float | None:
        return self._deadline

    def _bridge(self, now: float) -> list[Effect]:
        """The other side cannot do it, so we do."""
        kept = self._tell_other("kept")
        self.how = "bridge"
        if self.asked.replaces:
            return [*kept, TakeSecond(self.asked.replaces)]
        self._deadline = now + self._plan.ring_s
        asked = self.asked
        return [DialSecond(asked.target_uri, headers=asked.headers, overheard=True)]

    def _joined(self, status: int | None) -> list[Effect]:
        """Whoever is to take the call is there."""
        joins = JoinLegs(listens=self._plan.bridge == "listen")
        return [RingBack(False), joins, *self._decide("transferred", status)]

    def _unreached(self, result: TransferResult, status: int | None) -> list[Effect]:
        """Nobody answers our call; that it was made is all that was waited for."""
        return [RingBack(False), EndSecond(), *self._settle(), *self._decide(result, status)]

    def _accept(self, now: float) -> list[Effect]:
        self._accepted = True
        self._deadline = now + self._plan.timeout_s
        return self._settle()

    def _settle(self, error: RealtimeError | None = None) -> list[Effect]:
        """Tell whoever waits for the peer's answer."""
        tickets, self._tickets = self._tickets, []
        return [Settle(ticket, error) for ticket in tickets]

    def _decide(
        self, result: TransferResult, status: int | None, word: Word | None = None
    ) -> list[Effect]:
        self.result, self.sip_status = result, status
        self._deadline = None
        fields = {"result": result, "sip_status": status, "how": self.how}
        event = transfer_ended(result, status, self._new_event_id())
        told = self._tell_other(word or ("transferred" if result == "transferred" else "kept"))
        return [*told, Note("transfer.result", fields), ToControl(event, extension=True)]

    def _tell_other(self, word: Word) -> list[Effect]:
        return [TellCall(self.asked.replaces, word)] if self.how == "replaces" else []


def _refusal(status: int) -> RealtimeError:
    if status == 408:  # also what silence counts as (RFC 3261 section 8.1.3.1)
        what, code = "did not answer REFER in time.", "transfer_timeout"
    elif status in _UNKNOWN_METHOD:
        what, code = f"cannot transfer calls: it answered {status}.", "transfer_unsupported"
    else:
        what, code = f"refused the transfer: it answered {status}.", "transfer_refused"
    message = f"The other side {what}"
    return RealtimeError(message, code=code, param="target_uri")
