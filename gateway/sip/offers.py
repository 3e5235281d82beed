"""Our offers inside a dialog: re-INVITEs, one at a time and in turn with the peer's.

Only one INVITE may be under way in a dialog (RFC 3261 section 14). An offer that has to wait its
turn, also after both sides collided (491), stays in `_wanted`. The same way the session is said
again, unchanged, when it is to be refreshed and the peer knows no UPDATE (RFC 4028).
"""

from collections.abc import Callable
from typing import NamedTuple

from gateway.sip.compose import ACCEPT, abilities
from gateway.sip.deadlines import Deadline
from gateway.sip.invites import OwnReinvite
from gateway.sip.message import Response
from gateway.sip.session_timer import SessionTimer
from gateway.sip.voice import Voice

MAX_COLLISIONS = 5
"""So often an offer of ours is tried again after a 491."""


class Wanted(NamedTuple):
    """An offer that waits for its turn."""

    offer: bytes
    is_refresh: bool


class OwnOffers:
    """Those of one call.

    Args:
        may_offer: whether nothing else is under way.
        on_outcome: is told of each once: the status, the response if there was one, whether it was
            a refresh. One that failed is the session timer's to try again.
    """

    def __init__(
        self,
        voice: Voice,
        timer: Callable[[], SessionTimer],
        *,
        may_offer: Callable[[], bool],
        on_outcome: Callable[[int, Response | None, bool, float], None],
    ) -> None:
        self.waits_longer = False
        """After a collision: whoever chose the Call-ID does (section 14.1)."""
        self._voice = voice
        self._timer = timer
        self._may_offer = may_offer
        self._on_outcome = on_outcome
        self._own: OwnReinvite | None = None
        self._wanted: Wanted | None = None
        self._collisions = 0
        self._retry: Deadline | None = None

    @property
    def are_under_way(self) -> bool:
        return self._own is not None

    @property
    def are_wanted(self) -> bool:
        """Whether one waits."""
        return self._wanted is not None

    def want(self, offer: bytes, now: float) -> None:
        """Offer a changed session as soon as no other INVITE is under way."""
        self._want(Wanted(offer, False), now)

    def repeat(self, now: float) -> None:
        """Offer the session as it is; what is wanted, or under way, will do as well."""
        if self._voice.session and self._wanted is None and self._own is None:
            self._want(Wanted(self._voice.session, True), now)

    def go_on(self, now: float) -> None:
        """Send what is wanted, if it is our turn."""
        wanted = self._wanted
        if wanted is None or self._own is not None or self._retry is not None:
            return
        if not self._may_offer():
            return
        self._wanted = None
        voice = self._voice
        request = voice.dialog.request("INVITE")
        for name, value in (
            ("Contact", voice.contact()),
            *abilities(voice.board.config, reliable=False),
            *self._timer().asks(),
            ("Content-Type", ACCEPT),
        ):
            request.headers.add(name, value)
        request.body, is_refresh = wanted
        self._own = OwnReinvite(
            voice.board, voice.requests, voice.dialog, request, self._done, is_refresh=is_refresh
        )
        self._own.send(now)

    def stop(self) -> None:
        """The call is over; a 2xx that is still to come is acknowledged, and no more."""
        self._own = self._wanted = None
        self._voice.cancel(self._retry)
        self._retry = None

    def _want(self, wanted: Wanted, now: float) -> None:
        self._wanted = wanted
        self._collisions = 0
        self.go_on(now)

    def _done(self, status: int, response: Response | None, now: float) -> None:
        own, self._own = self._own, None
        if own is None:
            return
        again = self._wanted or Wanted(own.request.body, own.is_refresh)
        if status == 491 and not again.is_refresh and self._collisions < MAX_COLLISIONS:
            self._collisions += 1
            self._wanted = again
            self._retry = self._voice.later(self._pause_after_collision(), self._again, now)
        elif status == 422 and response is not None and self._timer().lengthens(response):
            self._wanted = again
            self.go_on(now)
        else:
            if response is not None and 200 <= status < 300:
                self._voice.session = own.request.body
                self._timer().answered(response, now)
            self._on_outcome(status, response, own.is_refresh, now)

    def _again(self, now: float) -> None:
        self._retry = None
        self.go_on(now)

    def _pause_after_collision(self) -> float:
        """Section 14.1: one side waits longer, so that they do not meet again."""
        steps = int(self._voice.board.fraction() * 200)
        return (2.1 if self.waits_longer else 0.0) + steps * 0.01
