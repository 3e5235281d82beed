"""Makes the legs of calls of ours, within what trunks carry, and knows where else to try.

A trunk's limits hold for whatever is sent over it: calls that were ordered, transfers, bridges, and
what a 3xx leads to. Whoever is one too many is told so before anything else is done.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.legs.dialling import DialRules, plan_call
from gateway.legs.leg import CallOrder, LegError
from gateway.legs.sip_outgoing import Course, DialPlan, SipOutgoingLeg
from gateway.sip.trunk import Trunk

_MAX_WAITING = 16
"""Targets of one call that wait to be tried."""
_NOWHERE_ELSE = 600
"""From here on a refusal is of the callee wherever they are (RFC 3261 section 21.6)."""


class TrunkLoad:
    """How much a trunk carries for us.

    Args:
        clock: tells seconds, on any scale that only goes on.
    """

    def __init__(self, trunk: Trunk, clock: Callable[[], float]) -> None:
        self.name = trunk.host
        self.calls = 0
        """Now."""
        self.refused = 0
        """How often there was one too many."""
        self._trunk = trunk
        self._clock = clock
        self._most = max(trunk.rate, 1.0)
        self._left = self._most  # calls that may begin at once
        self._seen_at = clock()

    def take(self) -> None:
        """Count one more call. Raises LegError: 429 trunk_busy."""
        trunk, now = self._trunk, self._clock()
        self._left = min(self._most, self._left + (now - self._seen_at) * trunk.rate)
        self._seen_at = now
        too_many = trunk.calls and self.calls >= trunk.calls
        too_fast = trunk.rate and self._left < 1.0
        if too_many or too_fast:
            self.refused += 1
            raise LegError(429, "trunk_busy")
        self._left -= 1.0
        self.calls += 1

    def give_back(self) -> None:
        """A call that was counted is over."""
        self.calls -= 1


class Dialler:
    """Makes outgoing legs.

    Args:
        rules: whom we may call, and by which way.
        make: makes a leg of a plan.
        clock: as in `TrunkLoad`.
    """

    def __init__(
        self,
        rules: DialRules,
        make: Callable[[DialPlan, Course], SipOutgoingLeg],
        clock: Callable[[], float],
    ) -> None:
        self._rules = rules
        self._make = make
        self.loads = [TrunkLoad(trunk, clock) for trunk in rules.trunks]
        """Of the trunks, in order."""

    @property
    def trunks(self) -> Sequence[Trunk]:
        """In the order of `loads`."""
        return self._rules.trunks

    def dial(self, order: CallOrder) -> SipOutgoingLeg:
        """The leg to whom the order is for; it counts on its trunk until it is closed.

        Raises:
            LegError: as `plan_call` and `TrunkLoad.take`.
        """
        plan = plan_call(order, self._rules)
        route = _Route(order, self._rules, self._load_of)
        route.take(plan)
        return self._make(plan, route)

    def _load_of(self, trunk: Trunk) -> TrunkLoad:
        return self.loads[list(self._rules.trunks).index(trunk)]


class _Route:
    """The targets of one call: the one that was ordered, and those that a 3xx names."""

    def __init__(
        self, order: CallOrder, rules: DialRules, load_of: Callable[[Trunk], TrunkLoad]
    ) -> None:
        self._order = order
        self._rules = rules
        self._load_of = load_of
        self._taken: list[TrunkLoad] = []
        self._waiting: list[str] = []
        self._seen = {order.target}
        self._tries = rules.redirects

    def take(self, plan: DialPlan) -> None:
        """Count on the plan's trunk. Raises LegError."""
        if plan.trunk is None:
            return
        load = self._load_of(plan.trunk)
        if load not in self._taken:
            load.take()
            self._taken.append(load)

    def onward(self, contacts: Sequence[str], status: int | None) -> DialPlan | None:
        if status is not None and status >= _NOWHERE_ELSE:
            return None
        self._waiting = [*contacts, *self._waiting][:_MAX_WAITING]
        while self._waiting and self._tries:
            plan = self._plan(self._waiting.pop(0))
            if plan is not None:
                self._tries -= 1
                return plan
        return None

    def over(self) -> None:
        taken, self._taken = self._taken, []
        for load in taken:
            load.give_back()

    def _plan(self, contact: str) -> DialPlan | None:
        """The way there; None if it may not be called, was tried before, or has no room."""
        target = self._rules.follows(contact)
        if target is None or target in self._seen:
            return None
        self._seen.add(target)
        try:
            plan = plan_call(replace(self._order, target=target), self._rules)
            self.take(plan)
        except LegError:
            return None
        return plan
