"""Being called: an INVITE arrives, the application lets it ring, takes it or refuses it.

RFC 3261 section 13.3. The 100 goes out by itself, the 180 again once a minute, because proxies on
the way give a silent INVITE up after three. An INVITE may bring the time by which it wants its
answer (Expires). After our 2xx we must not hang up before the ACK has come, or is overdue
(section 15): the callee cannot know earlier that there is a dialog.
"""

import re
from collections.abc import Sequence
from functools import partial

from gateway.sip.call import Call
from gateway.sip.call_life import Phase
from gateway.sip.deadlines import Deadline
from gateway.sip.dialog import Dialog
from gateway.sip.events import IncomingCall
from gateway.sip.invites import AskedInvite
from gateway.sip.layer import ServerTransaction
from gateway.sip.message import Address, Request
from gateway.sip.reliable import ReliableAnswers, asks_for
from gateway.sip.screening import sdp_of
from gateway.sip.switchboard import Switchboard
from gateway.sip.updates import Asked
from gateway.sip.uri import NameAddr

RING_AGAIN_S = 60.0
EXPIRES = re.compile(r"[1-9][0-9]{0,8}")
"""Seconds; 0 and nonsense are no limit."""


class UasCall(Call):
    """A call of somebody else's making."""

    def __init__(self, board: Switchboard, invite: Request, source: Address) -> None:
        networks = board.config.allow or ()
        super().__init__(board, Dialog.of_invite(invite, source, board.token(), networks))
        self._ring_again: Deadline | None = None
        self._expiry: Deadline | None = None
        self._reliable: ReliableAnswers | None = None
        self._accepted: tuple[bytes, Sequence[tuple[str, str]]] | None = None
        """Our 2xx, which waits for a PRACK."""

    def begin(self, asked: AskedInvite, now: float, replaces: str = "") -> None:
        """Say that we are at it, and tell the application who calls, and in whose place."""
        invite, transaction = asked
        self._board.calls[self.id] = self
        self._moved()
        self._ask(asked)
        transaction.on_failure = self._unreachable
        self._voice.respond(invite, transaction, 100, now)
        self._timer.learn(invite)
        self._reliable = ReliableAnswers(self._voice, invite, transaction, self._unheard)
        expires = invite.headers.get("Expires") or ""
        if EXPIRES.fullmatch(expires):
            self._expiry = self._voice.later(float(expires), self._expired, now)
        self._voice.tell(
            IncomingCall(
                dialog_id=self.id,
                call_id=self.dialog.call_id,
                from_uri=NameAddr.parse(invite.headers.get("From") or "").uri,
                to_uri=NameAddr.parse(invite.headers.get("To") or "").uri,
                request_uri=invite.uri,
                headers=tuple(invite.headers.items()),
                offer=sdp_of(invite),
                source=self.dialog.flow,
                replaces=replaces,
            )
        )

    def progress(self, status: int, body: bytes, now: float) -> None:
        """Send a provisional answer, reliably if the caller wants that, or can do it and there is
        a body: an answer that is lost would have to be guessed (RFC 3262 section 3)."""
        asked, reliable = self._asked, self._reliable
        if self.phase is not Phase.EARLY or asked is None or reliable is None:
            return
        self._voice.cancel(self._ring_again)
        again = partial(self.progress, status, body)
        self._ring_again = self._voice.later(RING_AGAIN_S, again, now)
        headers = asked.request.headers
        # The first reliable answer would have to bring an offer (RFC 3262 section 5): such a
        # caller hears nothing but the 100.
        if asked.is_late_offer and asks_for(headers, "Require"):
            return
        if asked.is_late_offer or reliable.has_said_sdp:
            body = b""
        wants = asks_for(headers, "Require") or (body and asks_for(headers, "Supported"))
        self._voice.session = body or self._voice.session
        if wants and self._board.config.reliable_provisionals != "off":
            reliable.send(status, body, now)
        else:
            contact = (("Contact", self._voice.contact()),)
            self._voice.respond(asked.request, asked.transaction, status, now, contact, body=body)

    def accept(self, body: bytes, now: float, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Send 200 with SDP, again and again until its ACK."""
        asked, reliable = self._asked, self._reliable
        if self.phase is not Phase.EARLY or asked is None or reliable is None:
            return
        if reliable.holds_up or self._updates.asked is not None:
            self._accepted = body, headers
            return
        self._stop_waiting()
        self.phase = Phase.ANSWERED
        # What was answered reliably is not answered again (RFC 6337 section 2.2).
        self._agree(asked, b"" if reliable.has_answered else body, now, headers)

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

    def hang_up(self, now: float, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Refuse, or say BYE as soon as that is allowed."""
        if self.phase is Phase.EARLY:
            self.reject(480, now, headers=headers)
        elif self.phase is Phase.ANSWERED:
            self._bye_due = headers
            self._end("local_bye", None, now)
        else:
            super().hang_up(now, headers)

    def _moved(self) -> None:
        hosts = (self.dialog.flow.host,) if self.id in self._board.calls else ()
        self._board.callers.note(self.id, *hosts)

    @property
    def _has_open_offer(self) -> bool:
        early = self.phase is Phase.EARLY
        if early and self._reliable is not None and self._reliable.has_answered:
            return self._updates.asked is not None
        return super()._has_open_offer

    def _heard_prack(
        self, request: Request, transaction: ServerTransaction, dialog: Dialog, now: float
    ) -> None:
        reliable, offer = self._reliable, sdp_of(request)
        if reliable is None or not reliable.acknowledge(request, now):
            super()._heard_prack(request, transaction, dialog, now)
            return
        if offer is None:
            self._voice.respond(request, transaction, 200, now)
        elif self._has_open_offer:
            self._voice.respond(request, transaction, 488, now)
        else:
            self._updates.ask(Asked(request, transaction, dialog, offer), now)
        reliable.go_on(now)
        self._accept_when_free(now)

    def _offer_when_free(self, now: float) -> None:
        self._accept_when_free(now)
        super()._offer_when_free(now)

    def _accept_when_free(self, now: float) -> None:
        """Send the 2xx that had to wait, unless it has to wait on."""
        if self._accepted is not None:
            (body, headers), self._accepted = self._accepted, None
            self.accept(body, now, headers)

    def _end(
        self, cause: str, status: int | None, now: float, contacts: tuple[str, ...] = ()
    ) -> None:
        self._stop_waiting()
        super()._end(cause, status, now, contacts)

    def _take_apart(self) -> None:
        super()._take_apart()
        self._reliable = None

    def _unheard(self, now: float) -> None:
        """A reliable answer was never acknowledged (RFC 3262 section 3)."""
        if self.phase is Phase.EARLY and self._asked is not None:
            self._decline(self._asked, 504, now)
            self._end("timeout", 504, now)

    def _unreachable(self, _: str, now: float) -> None:
        if self.phase is Phase.EARLY:
            self._end("transport", None, now)

    def _expired(self, now: float) -> None:
        self._end("timeout", 487, now)

    def _stop_waiting(self) -> None:
        self._voice.cancel(self._ring_again)
        self._voice.cancel(self._expiry)
        self._accepted = None
        if self._reliable is not None:
            self._reliable.stop()
