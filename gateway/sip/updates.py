"""Offers of the peer that are no INVITE: in an UPDATE (RFC 3311), or in the PRACK of a reliable
provisional answer (RFC 3262 section 5).

Both want their answer at once, and neither may wait for a human being. There is one at a time.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.sip.deadlines import Deadline
from gateway.sip.dialog import Dialog
from gateway.sip.events import Reoffer
from gateway.sip.layer import ServerTransaction
from gateway.sip.message import Request
from gateway.sip.voice import Voice


class Asked(NamedTuple):
    request: Request
    transaction: ServerTransaction
    dialog: Dialog
    """Of the fork that asks."""
    offer: bytes


class Updates:
    """Those of one call; `on_over(now)` is called when another offer may be made."""

    def __init__(self, voice: Voice, on_over: Callable[[float], None]) -> None:
        self._voice = voice
        self._on_over = on_over
        self._asked: Asked | None = None
        self._limit: Deadline | None = None

    @property
    def asked(self) -> Asked | None:
        """What waits for our application."""
        return self._asked

    def ask(self, asked: Asked, now: float) -> None:
        """Hand an offer to the application."""
        self._asked = asked
        # Nobody waits longer for the answer to what is no INVITE (RFC 3311 section 5.2).
        self._limit = self._voice.later(32 * self._voice.board.config.t1, self._too_late, now)
        self._voice.tell(Reoffer(self._voice.id, asked.offer))

    def answer(
        self,
        status: int,
        now: float,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> None:
        """Answer the one that waits."""
        asked, self._asked = self._asked, None
        if asked is not None:
            self._voice.cancel(self._limit)
            self._voice.respond(asked.request, asked.transaction, status, now, headers, body=body)
            self._on_over(now)

    def _too_late(self, now: float) -> None:
        self.answer(504, now)
