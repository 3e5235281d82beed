"""What the other side asks of us by REFER (RFC 3515): to call somebody in its place.

We call them while both sides hear what they heard before. Once they are there, the call is theirs,
and the session speaks on with them. Whoever asked is told how it goes, and is let go.

Only targets that the operator has named are called, and nobody is when none is named.

Pure: news and `now` in, effects out.
"""

from typing import Final
from urllib.parse import unquote

from gateway.calls.effects import (
    AnswerRefer,
    DialSecond,
    Effect,
    EndSecond,
    Note,
    ReportRefer,
    SwapLegs,
)
from gateway.calls.policy import CallPolicy
from gateway.calls.targets import check_target, target_allowed
from gateway.legs import leg
from gateway.legs.leg import LegEvent, ReferAsked
from gateway.realtime.errors import RealtimeError

_MAX_REPLACES: Final = 512
_DECLINE: Final = 603


class Referral:
    """One that was agreed to."""

    def __init__(self, refer_id: str, ring_s: float, now: float) -> None:
        self.over = self.reached = False
        """It is decided; the second leg has the call, or is none of it any more."""
        self.asker_left = False
        """Whoever asked has hung up meanwhile, as many phones do."""
        self._id = refer_id
        self._deadline: float | None = now + ring_s

    def second_failed(self, status: int) -> list[Effect]:
        """Nobody could be called."""
        return self._failed(status if 300 <= status <= 699 else 503)

    def second_event(self, event: LegEvent) -> list[Effect]:
        """Something happened at the target."""
        match event:
            case leg.LegRinging(status):
                return [ReportRefer(self._id, status, False)]
            case leg.LegAnswered():
                self.reached = True
                told = self._decide("transferred", 200)
                return [ReportRefer(self._id, 200, True), SwapLegs(), *told]
            case leg.LegEnded(_, status):
                return self._failed(status or 503)
            case leg.LegBroken():
                return self._failed(503)
            case _:
                return []

    def timeout(self, now: float) -> list[Effect]:
        due = self._deadline is not None and now >= self._deadline
        return self._failed(408) if due else []

    def next_timeout(self) -> float | None:
        return self._deadline

    def _failed(self, status: int) -> list[Effect]:
        return [EndSecond(), ReportRefer(self._id, status, True), *self._decide("failed", status)]

    def _decide(self, result: str, status: int) -> list[Effect]:
        self.over = True
        self._deadline = None
        return [Note("call.referred", {"result": result, "sip_status": status})]


def referral(
    asked: ReferAsked, policy: CallPolicy, now: float, *, busy: bool
) -> tuple[Referral | None, list[Effect]]:
    """Agree to what the other side asks, or refuse it.

    Args:
        busy: the call is being transferred already, one way or the other.
    """
    target, replaces = _split(asked.target_uri)
    status = 202
    if not policy.accepts_refer or not policy.targets or not _allowed(target, policy):
        status = _DECLINE
    elif busy:
        status = 491
    if status != 202:
        return None, refused(asked, status)
    dial = DialSecond(target, replaces, asked.referred_by)
    begun = Referral(asked.refer_id, policy.ring_timeout_s, now)
    return begun, [AnswerRefer(asked.refer_id, 202), dial]


def refused(asked: ReferAsked, status: int = _DECLINE, *, by_second: bool = False) -> list[Effect]:
    """Do nothing of it; `by_second`: the second leg asks, which is not passed on."""
    note = Note("call.referred", {"result": "refused", "sip_status": status})
    return [AnswerRefer(asked.refer_id, status, by_second), note]


def _allowed(target: str, policy: CallPolicy) -> bool:
    try:
        return target_allowed(check_target(target, "target_uri"), policy.targets)
    except RealtimeError:
        return False


def _split(uri: str) -> tuple[str, str]:
    """A Refer-To URI without headers, and the Replaces among these. What else it wants in our
    INVITE is not done (RFC 3261 section 19.1.5)."""
    target, _, headers = uri.partition("?")
    for header in headers.split("&"):
        name, _, value = header.partition("=")
        if name.lower() == "replaces" and len(value) <= _MAX_REPLACES:
            return target, unquote(value)
    return target, ""
