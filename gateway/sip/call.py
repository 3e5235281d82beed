"""What the peer asks for inside a dialog, and how it is answered.

One request at a time, in the order of their numbers. Offers and REFERs are the application's to
answer; what we cannot do is refused by name.
"""

from gateway.sip.call_life import CallLife, Phase
from gateway.sip.compose import options_answer, sequence_number
from gateway.sip.dialog import Dialog
from gateway.sip.events import InfoReceived, Reoffer
from gateway.sip.headers import tag_of
from gateway.sip.info import info_objection, info_type
from gateway.sip.invites import AskedInvite
from gateway.sip.layer import ServerTransaction
from gateway.sip.message import Address, Request
from gateway.sip.screening import Refusal, sdp_of
from gateway.sip.updates import Asked


class Call(CallLife):
    """The requests of the peer."""

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
        # Section 12.2.2 refuses lower numbers. The same number again, in what is no copy, is a
        # mistake of the peer that would have us take two requests for one, but a BYE is clear.
        if last is not None and (number < last or (number == last and request.method != "BYE")):
            self._voice.come_again(request, transaction, now)
            return
        dialog.remote_cseq = number
        dialog.heard_from(source)
        if request.method == "BYE":
            self._voice.respond(request, transaction, 200, now)
            self._heard_bye(dialog, now)
        elif self.phase is Phase.ENDED or (
            dialog is not self.dialog and self.phase is not Phase.EARLY
        ):
            self._voice.respond(request, transaction, 481, now)
        else:
            self._take(request, transaction, dialog, now)

    def _take(
        self, request: Request, transaction: ServerTransaction, dialog: Dialog, now: float
    ) -> None:
        match request.method:
            case "INVITE":
                self._heard_invite(request, transaction, now)
            case "UPDATE":
                self._heard_update(request, transaction, dialog, now)
            case "PRACK":
                self._heard_prack(request, transaction, dialog, now)
            case "NOTIFY":
                self._answer(request, transaction, self._refers.notified(request, now), now)
            case "INFO":
                self._heard_info(request, transaction, now)
            case "REFER" if self.phase is Phase.CONFIRMED:
                self._asked_refers.heard(request, transaction, now)
            case "REFER":
                self._voice.come_again(request, transaction, now)
            case _:
                described = options_answer(self._board.config)
                self._voice.respond(request, transaction, 200, now, described)

    def connection_lost(self, address: Address, now: float) -> None:
        """Stop counting on a connection; the call is over if it was the only way to the peer."""
        self.dialog.connection_lost(address)
        if self.dialog.is_cut_off:
            self._stop_repeating()
            self._bye_due = None
            self._end("transport", None, now)
            self._settle(now)

    def _dialog_of(self, request: Request) -> Dialog | None:
        """The dialog that the sender means by our tag and its own."""
        tag = tag_of(request.headers.get("From") or "") or ""
        return self.dialog if tag == self.dialog.remote_tag else None

    def _heard_bye(self, dialog: Dialog, now: float) -> None:
        self._stop_repeating()
        self._bye_due = None
        if self.phase is Phase.ENDED:  # both said it at once
            self._settle(now)
        else:
            self._end("remote_bye", None, now)

    def _heard_invite(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        # Section 14.2. Of two that wait one would never be answered, even if the offer of the first
        # one is: an early answer that was acknowledged makes room for an UPDATE, not for an INVITE.
        if self._asked is not None or self._has_open_offer:
            self._voice.come_again(request, transaction, now)
        elif self._is_inviting or (self._unacked is not None and self._unacked.late):
            self._voice.respond(request, transaction, 491, now)
        else:
            # The peer has our last 2xx, or it would not go on; the ACK of that was lost or will
            # come late (RFC 5407 section 3.1.4).
            self._stop_repeating()
            if self.phase is Phase.ANSWERED:
                self._confirm(None)
            self._voice.respond(request, transaction, 100, now)
            self._ask(AskedInvite(request, transaction))
            self._voice.tell(Reoffer(self.id, sdp_of(request)))

    def _heard_update(
        self, request: Request, transaction: ServerTransaction, dialog: Dialog, now: float
    ) -> None:
        """RFC 3311 section 5.2."""
        offer = sdp_of(request)
        if offer is None:
            dialog.refresh(request)
            headers = self._update_headers(request, now)
            self._voice.respond(request, transaction, 200, now, headers)
            return
        match self._untimely(dialog):
            case None:
                self._updates.ask(Asked(request, transaction, dialog, offer), now)
            case 500:
                self._voice.come_again(request, transaction, now)
            case status:
                self._voice.respond(request, transaction, status, now)

    def _untimely(self, dialog: Dialog) -> int | None:
        """How an offer that is no INVITE is refused now: 500 while another one of the peer waits
        for our answer, 491 while one of ours waits for the peer's."""
        if self._has_open_offer:
            return 500
        waits = self._is_inviting or (self._unacked is not None and self._unacked.late)
        return 491 if waits else None

    def _heard_prack(
        self, request: Request, transaction: ServerTransaction, dialog: Dialog, now: float
    ) -> None:
        """Nothing of ours is to be acknowledged so, unless we are called."""
        self._voice.respond(request, transaction, 481, now)

    def _heard_info(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        refusal, kind = info_objection(request), info_type(request)
        self._answer(request, transaction, refusal, now)
        if refusal is None and kind is not None:
            self._voice.tell(InfoReceived(self.id, kind, request.body))

    def _answer(
        self,
        request: Request,
        transaction: ServerTransaction,
        refusal: Refusal | None,
        now: float,
    ) -> None:
        if refusal is None:
            self._voice.respond(request, transaction, 200, now)
        else:
            status, headers, reason = refusal.status, refusal.headers, refusal.reason
            self._voice.respond(request, transaction, status, now, headers, reason)
