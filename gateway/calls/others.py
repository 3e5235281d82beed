"""What one call may do with others, and where its second legs come from."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from gateway.calls.call import Call
from gateway.calls.commands import Refer
from gateway.calls.effects import TellCall
from gateway.calls.registry import Registry
from gateway.calls.targets import check_allowed, check_target
from gateway.legs.leg import CallOrder, Leg, MediaPort, OutgoingLeg
from gateway.realtime.errors import RealtimeError

_OTHER: Final = "replaces_call_id"

Dials = Callable[[CallOrder], OutgoingLeg]
"""Makes the leg of a call that was ordered; raises LegError."""


class OtherCalls:
    """The calls of a line, as each of them sees the others.

    Args:
        targets: what may be called, as `target_allowed` reads it.
    """

    def __init__(self, registry: Registry, dials: Dials, targets: Sequence[str]) -> None:
        self._registry = registry
        self._targets = targets
        self.second = dials

    def leg_of(self, call_id: str) -> Leg | None:
        call = self._registry.get(call_id)
        return call.leg if call is not None and call.may_be_given_away else None

    def take_leg(self, call_id: str) -> tuple[Leg, MediaPort] | None:
        call = self._registry.get(call_id)
        return None if call is None else call.give_away()

    def tell(self, told: TellCall) -> None:
        call = self._registry.get(told.call_id)
        if call is not None:
            call.told(told.word)

    def with_leg(self, dialog_id: str) -> Call | None:
        """The call whose other side is at the end of this dialog, if somebody may take its place
        there."""
        for call in self._registry:
            if call.leg.dialog_id == dialog_id:
                return call if call.may_be_given_away else None
        return None

    def checked(self, asked: Refer, call: Call) -> Refer:
        """A transfer of `call` to whom another one is with, and who that is.

        Raises:
            RealtimeError: there is no such other call, or it is of no use for that.
        """
        other = self._registry.get(asked.replaces)
        if other is None:
            raise _unfit("There is no call of that id in progress.", "call_id_not_found")
        if other is call:
            raise _unfit("That is the call itself.", "same_call")
        if other.leg.kind != "sip":
            raise _unfit("That is no telephone call.", "not_a_phone_call")
        if not other.may_be_given_away:
            raise _unfit("That call is not answered, or is being transferred.")
        target = other.leg.contact
        # Whom we called was judged then. Whoever called us wrote what the peer would be told to
        # call; a browser is told nothing.
        if not asked.target_uri and other.leg.direction == "inbound" and call.leg.kind == "sip":
            target = check_target(target, _OTHER)
            check_allowed(target, self._targets, _OTHER)
        return replace(asked, callee=target)


def _unfit(message: str, code: str = "invalid_call_state") -> RealtimeError:
    return RealtimeError(message, code=code, param=_OTHER)
