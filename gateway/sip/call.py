"""A call: one dialog made by INVITE, from the first message to the last timer.

This is the part that caller and callee share: what happens inside the dialog. `uas.UasCall` and
`uac.UacCall` add how a call begins.

    EARLY      the first INVITE has no final answer
    ANSWERED   callee only: our 2xx is out, its ACK is awaited
    CONFIRMED  both sides know
    ENDED      `CallEnded` was told. The call stays for a while to finish its own transactions: our
               BYE, an INVITE that is still to be cancelled, 2xx that come again. No later than
               64 T1 + T2 afterwards everything is dropped.

Only one INVITE may be under way in a dialog (RFC 3261 section 14). Theirs waits in `_asked` for
our application, then in `_unacked` for the ACK. Ours is `_own`; an offer that has to wait its turn,
also after both sides collided (491), stays in `_wanted`.
"""

from collections.abc import Sequence
from enum import Enum, auto

from gateway.sip.asking import Requests
from gateway.sip.compose import ABILITIES, ACCEPT, OPTIONS_ANSWER, respond, sequence_number
from gateway.sip.deadlines import Deadline
from gateway.sip.dialog import Dialog
from gateway.sip.events import Answered, CallEnded, Reanswered, ReferAnswered, Reoffer
from gateway.sip.headers import tag_of
from gateway.sip.invites import AskedInvite, OwnReinvite, UnackedAnswer
from gateway.sip.layer import ServerTransaction
from gateway.sip.message import Address, Headers, Request
from gateway.sip.refer import OwnRefers
from gateway.sip.screening import sdp_of
from gateway.sip.switchboard import Switchboard

MAX_COLLISIONS = 5
"""So often an offer of ours is tried again after a 491."""


class Phase(Enum):
    EARLY = auto()
    ANSWERED = auto()
    CONFIRMED = auto()
    ENDED = auto()


class Call:
    """What happens inside the dialog. Methods that come too late do nothing."""

    chose_call_id = False

    def __init__(self, board: Switchboard, dialog: Dialog) -> None:
        self.id = dialog.local_tag
        self.phase = Phase.EARLY
        self.dialog = dialog
        self._board = board
        self._asked: AskedInvite | None = None
        self._unacked: UnackedAnswer | None = None
        self._own: OwnReinvite | None = None
        self._wanted: bytes | None = None
        self._collisions = 0
        self._retry: Deadline | None = None
        self._bye_due = False  # it must wait for the ACK
        self._requests = Requests(board, self._has_a_point, self._settle)
        self._refers = OwnRefers(board, self._requests, self.id, self._refer_answered)
        self._last: Deadline | None = None

    # The application.

    def hang_up(self, now: float) -> None:
        """Say BYE."""
        if self.phase is Phase.CONFIRMED:
            self._say_bye(now)
            self._end("local_bye", None, now)

    def reinvite(self, offer: bytes, now: float) -> None:
        """Offer a changed session as soon as no other INVITE is under way."""
        self._wanted = offer
        self._collisions = 0
        self._offer_when_free(now)

    def refer(self, target: Headers, now: float) -> None:
        """Ask the peer to call somebody else, the `target` of a Refer-To header."""
        if self.phase is Phase.CONFIRMED:
            self._refers.send(self.dialog, self._contact(), target, now)

    def answer_offer(self, body: bytes, now: float) -> None:
        """Agree to a Reoffer."""
        if self.phase is Phase.CONFIRMED and self._asked is not None:
            self.dialog.refresh(self._asked.request)
            self._agree(self._asked, body, now)

    def refuse_offer(
        self, status: int, now: float, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Leave the session as it is."""
        if self.phase is Phase.CONFIRMED and self._asked is not None:
            self._decline(self._asked, status, now, headers=headers)
            self._offer_when_free(now)

    # The network.

    def knows(self, request: Request) -> bool:
        """Whether a request under our tag is of this call."""
        same_call = request.headers.get("Call-ID") == self.dialog.call_id
        return same_call and self._dialog_of(request) is not None

    def requested(
        self, request: Request, transaction: ServerTransaction, source: Address, now: float
    ) -> None:
        """Take a new request of the peer, other than ACK and CANCEL."""
        dialog = self._dialog_of(request) or self.dialog
        number, last = sequence_number(request), dialog.remote_cseq
        if last is not None and (number < last or (number == last and request.method == "INVITE")):
            self._respond(request, transaction, 500, now, self._retry_after())
            return
        dialog.remote_cseq = number
        dialog.heard_from(source)
        if request.method == "BYE":
            self._respond(request, transaction, 200, now)
            self._heard_bye(dialog, now)
        elif self.phase is Phase.ENDED or dialog is not self.dialog:
            self._respond(request, transaction, 481, now)
        elif request.method == "INVITE":
            self._heard_invite(request, transaction, now)
        elif request.method == "NOTIFY":
            self._heard_notify(request, transaction, now)
        else:
            self._respond(request, transaction, 200, now, OPTIONS_ANSWER)

    def acknowledged(self, ack: Request, now: float) -> None:
        """Take the ACK of a 2xx of ours."""
        unacked = self._unacked
        if unacked is None or sequence_number(ack) != unacked.number:
            return
        self._stop_repeating()
        answer = sdp_of(ack) if unacked.late else None
        if self.phase is Phase.ANSWERED:
            self._confirm(answer)
        elif self._bye_due:
            self._bye_due = False
            self._say_bye(now)
        elif unacked.late and self.phase is Phase.CONFIRMED:
            self._board.events.append(Reanswered(self.id, 200, answer))
        self._offer_when_free(now)

    def connection_lost(self, address: Address, now: float) -> None:
        """Stop counting on a connection; the call is over if it was the only way to the peer."""
        self.dialog.connection_lost(address)
        if self.dialog.is_cut_off:
            self._stop_repeating()
            self._bye_due = False
            self._end("transport", None, now)
            self._settle(now)

    @property
    def _is_inviting(self) -> bool:
        """Whether an INVITE of ours is under way."""
        return self._own is not None

    def _dialog_of(self, request: Request) -> Dialog | None:
        """The dialog that the sender means by our tag and its own."""
        tag = tag_of(request.headers.get("From") or "") or ""
        return self.dialog if tag == self.dialog.remote_tag else None

    def _heard_bye(self, dialog: Dialog, now: float) -> None:
        self._stop_repeating()
        self._bye_due = False
        if self.phase is Phase.ENDED:  # both said it at once
            self._settle(now)
        else:
            self._end("remote_bye", None, now)

    def _heard_invite(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        if self._asked is not None:  # section 14.2
            self._respond(request, transaction, 500, now, self._retry_after())
        elif self._is_inviting or (self._unacked is not None and self._unacked.late):
            self._respond(request, transaction, 491, now)
        else:
            # The peer has our last 2xx, or it would not go on; the ACK of that was lost or will
            # come late (RFC 5407 section 3.1.4).
            self._stop_repeating()
            if self.phase is Phase.ANSWERED:
                self._confirm(None)
            self._respond(request, transaction, 100, now)
            self._ask(AskedInvite(request, transaction))
            self._board.events.append(Reoffer(self.id, sdp_of(request)))

    def _heard_notify(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        refusal = self._refers.notified(request, now)
        if refusal is None:
            self._respond(request, transaction, 200, now)
        else:
            status, headers, reason = refusal.status, refusal.headers, refusal.reason
            self._respond(request, transaction, status, now, headers, reason)

    # Their INVITE.

    def _ask(self, asked: AskedInvite) -> None:
        self._asked = asked
        asked.transaction.on_cancel = self._heard_cancel

    def _heard_cancel(self, cancel: Request, transaction: ServerTransaction, now: float) -> None:
        asked = self._asked
        if asked is None or sequence_number(cancel) != sequence_number(asked.request):
            self._respond(cancel, transaction, 481, now)
            return
        self._respond(cancel, transaction, 200, now)
        if self.phase is Phase.EARLY:
            self._end("cancelled", 487, now)
        else:
            self._decline(asked, 487, now)
            self._offer_when_free(now)

    def _agree(self, asked: AskedInvite, body: bytes, now: float) -> None:
        self._answered(asked)
        self._unacked = UnackedAnswer(self._board, asked, self._not_acknowledged, now)
        asked.transaction.on_ack = self.acknowledged
        headers = (("Contact", self._contact()), *ABILITIES)
        self._respond(asked.request, asked.transaction, 200, now, headers, body=body)

    def _decline(
        self,
        asked: AskedInvite,
        status: int,
        now: float,
        reason: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._respond(asked.request, asked.transaction, status, now, headers, reason)
        self._answered(asked)

    def _answered(self, asked: AskedInvite) -> None:
        self._asked = None
        asked.transaction.on_cancel = asked.transaction.on_failure = None

    def _confirm(self, answer: bytes | None) -> None:
        self.phase = Phase.CONFIRMED
        self._board.events.append(Answered(self.id, answer))

    def _stop_repeating(self) -> None:
        """Our 2xx has arrived, or need not."""
        if self._unacked is not None:
            self._unacked.stop()
            self._unacked = None

    def _not_acknowledged(self, now: float) -> None:
        """64 T1 after a 2xx (section 13.3.1.4)."""
        self._unacked = None
        self._bye_due = False
        self._say_bye(now)
        self._end("no_ack", None, now)
        # A peer that was silent for so long will hardly answer this BYE; do not wait for it.
        self._drop_after(8 * self._board.config.t1, now)

    # Our INVITE.

    def _offer_when_free(self, now: float) -> None:
        offer = self._wanted
        busy = self._is_inviting or self._asked is not None or self._unacked is not None
        if offer is None or busy or self._retry is not None or self.phase is not Phase.CONFIRMED:
            return
        self._wanted = None
        request = self.dialog.request("INVITE")
        for name, value in (("Contact", self._contact()), *ABILITIES, ("Content-Type", ACCEPT)):
            request.headers.add(name, value)
        request.body = offer
        self._own = OwnReinvite(self._board, self._requests, self.dialog, request, self._offer_done)
        self._own.send(now)

    def _offer_done(self, status: int, answer: bytes | None, now: float) -> None:
        own, self._own = self._own, None
        if own is None or self.phase is Phase.ENDED:
            return
        if status == 491 and self._collisions < MAX_COLLISIONS:
            self._collisions += 1
            self._wanted = self._wanted or own.request.body
            self._retry = self._board.deadlines.set(
                now + self._pause_after_collision(), self._again
            )
        elif not self._lost_peer(status, now):
            self._board.events.append(Reanswered(self.id, status, answer))
            self._offer_when_free(now)

    def _again(self, now: float) -> None:
        self._retry = None
        self._offer_when_free(now)

    def _pause_after_collision(self) -> float:
        """Section 14.1: whoever chose the Call-ID waits longer, so that they do not meet again."""
        steps = int(self._board.fraction() * 200)
        return (2.1 if self.chose_call_id else 0.0) + steps * 0.01

    # Our REFER.

    def _refer_answered(self, status: int, now: float) -> None:
        if self.phase is not Phase.ENDED:
            self._board.events.append(ReferAnswered(self.id, status))
            # Silence (408) would count as a lost peer too (section 12.2.1.2). But there are peers
            # that know no REFER and say nothing at all, and their callers are still talking.
            if status == 481:
                self._lost_peer(status, now)

    # The end.

    def _lost_peer(self, status: int, now: float) -> bool:
        """Hang up if a request was answered so that the peer, or its side of the dialog, is gone.

        Section 12.2.1.2. Returns whether it is.
        """
        if status not in (408, 481):
            return False
        self._say_bye(now)
        self._end("timeout" if status == 408 else "refused", status, now)
        return True

    def _say_bye(self, now: float) -> None:
        self._requests.send(self.dialog.request("BYE"), self.dialog, now)

    def _end(self, cause: str, status: int | None, now: float) -> None:
        """Tell that the call is over, once, and let what is under way run out."""
        if self.phase is Phase.ENDED:
            return
        self.phase = Phase.ENDED
        self._board.events.append(CallEnded(self.id, cause, status))
        if self._asked is not None:
            self._decline(self._asked, 487, now)
        if not self._bye_due:
            self._stop_repeating()
        if self._retry is not None:
            self._board.deadlines.cancel(self._retry)
            self._retry = None
        self._drop_after(64 * self._board.config.t1 + self._board.config.t2, now)
        self._settle(now)

    def _settle(self, now: float) -> None:
        """Go, if the call has ended and nothing of it is under way."""
        if self.phase is not Phase.ENDED or self._requests.are_under_way or self._bye_due:
            return
        self._board.calls.pop(self.id, None)
        if self._last is not None:
            self._board.deadlines.cancel(self._last)
            self._last = None

    def _drop_after(self, seconds: float, now: float) -> None:
        if self._last is not None:
            self._board.deadlines.cancel(self._last)
        self._last = self._board.deadlines.set(now + seconds, self._drop)

    def _drop(self, now: float) -> None:
        self._requests.abandon(now)
        self._settle(now)

    # Messages.

    def _has_a_point(self, request: Request) -> bool:
        """Whether to ask again what was refused with a challenge."""
        return request.method == "BYE" or self.phase is not Phase.ENDED

    def _respond(
        self,
        request: Request,
        transaction: ServerTransaction,
        status: int,
        now: float,
        headers: Sequence[tuple[str, str]] = (),
        reason: str | None = None,
        body: bytes = b"",
    ) -> None:
        response = respond(
            request,
            status,
            server=self._board.config.user_agent,
            tag=None if status == 100 else self.id,
            reason=reason,
            headers=headers,
            body=body,
        )
        transaction.answer(response, now)

    def _contact(self) -> str:
        return self._board.config.contact(self.dialog.flow.transport)

    def _retry_after(self) -> tuple[tuple[str, str], ...]:
        return (("Retry-After", str(int(self._board.fraction() * 11))),)
