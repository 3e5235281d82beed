"""Being called: an INVITE arrives, the application lets it ring, takes it or refuses it.

RFC 3261 section 13.3. The 100 goes out by itself, the 180 again once a minute, because proxies on
the way give a silent INVITE up after three. An INVITE may bring the time by which it wants its
answer (Expires). After our 2xx we must not hang up before the ACK has come, or is overdue
(section 15): the callee cannot know earlier that there is a dialog.
"""

import re
from collections.abc import Sequence

from gateway.sip.call import Call, Phase
from gateway.sip.deadlines import Deadline
from gateway.sip.dialog import Dialog
from gateway.sip.events import IncomingCall
from gateway.sip.invites import AskedInvite
from gateway.sip.message import Address, Request
from gateway.sip.screening import sdp_of
from gateway.sip.switchboard import Switchboard
from gateway.sip.uri import NameAddr

RING_AGAIN_S = 60.0
EXPIRES = re.compile(r"[1-9][0-9]{0,8}")
"""Seconds; 0 and nonsense are no limit."""


class UasCall(Call):
    """A call of somebody else's making."""

    def __init__(self, board: Switchboard, invite: Request, source: Address) -> None:
        super().__init__(board, Dialog.of_invite(invite, source, board.token()))
        self._ring_again: Deadline | None = None
        self._expiry: Deadline | None = None

    def begin(self, asked: AskedInvite, now: float) -> None:
        """Say that we are at it, and tell the application who calls."""
        invite, transaction = asked
        self._board.calls[self.id] = self
        self._ask(asked)
        transaction.on_failure = self._unreachable
        self._respond(invite, transaction, 100, now)
        expires = invite.headers.get("Expires") or ""
        if EXPIRES.fullmatch(expires):
            self._expiry = self._board.deadlines.set(now + int(expires), self._expired)
        self._board.events.append(
            IncomingCall(
                dialog_id=self.id,
                call_id=self.dialog.call_id,
                from_uri=NameAddr.parse(invite.headers.get("From") or "").uri,
                to_uri=NameAddr.parse(invite.headers.get("To") or "").uri,
                request_uri=invite.uri,
                headers=tuple(invite.headers.items()),
                offer=sdp_of(invite),
                source=self.dialog.flow,
            )
        )

    def ring(self, now: float) -> None:
        """Send 180."""
        if self.phase is Phase.EARLY and self._asked is not None:
            self._cancel(self._ring_again)
            self._ring_again = self._board.deadlines.set(now + RING_AGAIN_S, self.ring)
            contact = (("Contact", self._contact()),)
            self._respond(self._asked.request, self._asked.transaction, 180, now, contact)

    def accept(self, body: bytes, now: float) -> None:
        """Send 200 with SDP, again and again until its ACK."""
        if self.phase is Phase.EARLY and self._asked is not None:
            self._stop_waiting()
            self.phase = Phase.ANSWERED
            self._agree(self._asked, body, now)

    def reject(
        self,
        status: int,
        now: float,
        reason: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Send a final 3xx-6xx."""
        if self.phase is Phase.EARLY and self._asked is not None:
            self._decline(self._asked, status, now, reason, headers)
            self._end("rejected", status, now)

    def hang_up(self, now: float) -> None:
        """Refuse, or say BYE as soon as that is allowed."""
        if self.phase is Phase.EARLY:
            self.reject(480, now)
        elif self.phase is Phase.ANSWERED:
            self._bye_due = True
            self._end("local_bye", None, now)
        else:
            super().hang_up(now)

    def _end(self, cause: str, status: int | None, now: float) -> None:
        self._stop_waiting()
        super()._end(cause, status, now)

    def _unreachable(self, _: str, now: float) -> None:
        if self.phase is Phase.EARLY:
            self._end("transport", None, now)

    def _expired(self, now: float) -> None:
        self._end("timeout", 487, now)

    def _stop_waiting(self) -> None:
        self._cancel(self._ring_again)
        self._cancel(self._expiry)

    def _cancel(self, deadline: Deadline | None) -> None:
        if deadline is not None:
            self._board.deadlines.cancel(deadline)
