"""A call: one dialog made by INVITE, from the first message to the last timer.

This is the part that caller and callee share, as far as we act in it; `call.Call` adds what the
peer asks for, `uas.UasCall` and `uac.UacCall` how a call begins.

    EARLY      the first INVITE has no final answer
    ANSWERED   callee only: our 2xx is out, its ACK is awaited
    CONFIRMED  both sides know
    ENDED      `CallEnded` was told. The call stays for a while to finish its own transactions: our
               BYE, an INVITE that is still to be cancelled, 2xx that come again. No later than
               64 T1 + T2 afterwards everything is dropped.

An INVITE of the peer waits in `_asked` for our application, then in `_unacked` for the ACK. Our own
offers, offers that are no INVITE, REFERs of either side and the session timer are objects of their
own; they speak through the call's `Voice`.
"""

from collections.abc import Sequence
from enum import Enum, auto

from gateway.sip.compose import abilities, reason_of, sequence_number, why
from gateway.sip.deadlines import Deadline
from gateway.sip.dialog import Dialog
from gateway.sip.events import (
    Answered,
    CallEnded,
    InfoAnswered,
    Reanswered,
    ReferAnswered,
)
from gateway.sip.invites import AskedInvite, UnackedAnswer
from gateway.sip.layer import ServerTransaction
from gateway.sip.message import Address, Headers, Request, Response
from gateway.sip.offers import OwnOffers
from gateway.sip.refer import OwnRefers
from gateway.sip.referred import AskedRefers
from gateway.sip.screening import sdp_of
from gateway.sip.session_timer import SessionTimer
from gateway.sip.switchboard import Switchboard
from gateway.sip.updates import Asked, Updates
from gateway.sip.voice import Voice


class Phase(Enum):
    EARLY = auto()
    ANSWERED = auto()
    CONFIRMED = auto()
    ENDED = auto()


class CallLife:
    """What we do in a call. Methods that come too late do nothing."""

    chose_call_id = False

    def __init__(self, board: Switchboard, dialog: Dialog) -> None:
        self.id = dialog.local_tag
        self.phase = Phase.EARLY
        self._board = board
        self._voice = Voice(board, dialog, self._has_a_point, self._settle, self._moved)
        self._requests = self._voice.requests
        self._asked: AskedInvite | None = None
        self._unacked: UnackedAnswer | None = None
        self._bye_due: Sequence[tuple[str, str]] | None = None  # it must wait for the ACK
        self._timer = SessionTimer(
            self._voice,
            reinvite=lambda now: self._offers.repeat(now),
            on_silence=self._expired_unrefreshed,
            on_lost=self._lost_peer,
        )
        self._offers = OwnOffers(
            self._voice,
            lambda: self._timer,
            may_offer=self._may_offer,
            on_outcome=self._offer_done,
        )
        self._offers.waits_longer = self.chose_call_id
        self._updates = Updates(self._voice, self._offer_when_free)
        self._refers = OwnRefers(board, self._requests, self.id, self._refer_answered)
        self._asked_refers = AskedRefers(self._voice)
        self._last: Deadline | None = None

    @property
    def dialog(self) -> Dialog:
        return self._voice.dialog

    def _moved(self) -> None:
        """Note which hosts the call is with."""
        raise NotImplementedError

    # The application.

    def hang_up(self, now: float, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Say BYE."""
        if self.phase is Phase.CONFIRMED:
            self._say_bye(now, headers)
            self._end("local_bye", None, now)

    def reinvite(self, offer: bytes, now: float) -> None:
        """Offer a changed session as soon as no other INVITE is under way."""
        self._offers.want(offer, now)

    def refer(self, target: Headers, now: float) -> None:
        """Ask the peer to call somebody else, the `target` of a Refer-To header."""
        if self.phase is Phase.CONFIRMED:
            self._refers.send(self.dialog, self._voice.contact(), target, now)

    def info(self, headers: Headers, body: bytes, now: float) -> None:
        """Send an INFO."""
        if self.phase is not Phase.CONFIRMED:
            return
        request = self.dialog.request("INFO")
        for name, value in headers.items():
            request.headers.add(name, value)
        request.body = body

        def heard(response: Response, source: Address, now: float) -> None:
            if response.status >= 200:
                self._voice.tell(InfoAnswered(self.id, response.status))

        def failed(cause: str, now: float) -> None:
            self._voice.tell(InfoAnswered(self.id, 408 if cause == "timeout" else 503))

        self._requests.send(request, self.dialog, now, on_response=heard, on_failure=failed)

    def answer_refer(self, refer_id: str, status: int, now: float) -> None:
        """Agree to a REFER of the peer, or refuse it."""
        self._asked_refers.answer(refer_id, status, now)

    def report_refer(self, refer_id: str, status: int, over: bool, now: float) -> None:
        """Tell the peer what became of its REFER."""
        self._asked_refers.report(refer_id, status, over, now)

    def answer_offer(self, body: bytes, now: float) -> None:
        """Agree to a Reoffer."""
        if self._updates.asked is not None:
            self._answer_update(self._updates.asked, body, now)
        elif self.phase is Phase.CONFIRMED and self._asked is not None:
            self.dialog.refresh(self._asked.request)
            self._agree(self._asked, body, now)

    def _answer_update(self, asked: Asked, body: bytes, now: float) -> None:
        headers: tuple[tuple[str, str], ...] = ()
        if asked.request.method == "UPDATE":
            asked.dialog.refresh(asked.request)
            headers = self._update_headers(asked.request, now)
        self._voice.session = body
        self._updates.answer(200, now, headers, body)

    def _update_headers(self, update: Request, now: float) -> tuple[tuple[str, str], ...]:
        described = abilities(self._board.config, reliable=False)
        # A 2xx without a time would end the timing (RFC 4028 section 7.2); the ACK may be late.
        up = self.phase in (Phase.ANSWERED, Phase.CONFIRMED)
        timed = self._timer.agree(update, now) if up else ()
        return (("Contact", self._voice.contact()), *described, *timed)

    def refuse_offer(
        self, status: int, now: float, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Leave the session as it is."""
        if self._updates.asked is not None:
            self._updates.answer(status, now, headers)
        elif self.phase is Phase.CONFIRMED and self._asked is not None:
            self._decline(self._asked, status, now, headers=headers)
            self._offer_when_free(now)

    def acknowledged(self, ack: Request, now: float) -> None:
        """Take the ACK of a 2xx of ours."""
        unacked = self._unacked
        if unacked is None or sequence_number(ack) != unacked.number:
            return
        self._stop_repeating()
        answer = sdp_of(ack) if unacked.late else None
        if self.phase is Phase.ANSWERED:
            self._confirm(answer)
        elif self._bye_due is not None:
            headers, self._bye_due = self._bye_due, None
            self._say_bye(now, headers)
        elif unacked.late and self.phase is Phase.CONFIRMED:
            self._voice.tell(Reanswered(self.id, 200, answer))
        self._offer_when_free(now)

    @property
    def _is_inviting(self) -> bool:
        """Whether an INVITE of ours is under way."""
        return self._offers.are_under_way

    @property
    def _has_open_offer(self) -> bool:
        """Whether an offer of the peer waits for our answer, so that there may be no other one."""
        return self._asked is not None or self._updates.asked is not None

    # Their INVITE.

    def _ask(self, asked: AskedInvite) -> None:
        """Let an INVITE wait for our application."""
        if self._asked is not None:
            raise RuntimeError("an INVITE waits already, which nobody would answer then")
        self._asked = asked
        asked.transaction.on_cancel = self._heard_cancel

    def _heard_cancel(self, cancel: Request, transaction: ServerTransaction, now: float) -> None:
        asked = self._asked
        if asked is None or sequence_number(cancel) != sequence_number(asked.request):
            self._voice.respond(cancel, transaction, 481, now)
            return
        self._voice.respond(cancel, transaction, 200, now)
        if self.phase is Phase.EARLY:
            self._end("cancelled", 487, now)
        else:
            self._decline(asked, 487, now)
            self._offer_when_free(now)

    def _agree(
        self,
        asked: AskedInvite,
        body: bytes,
        now: float,
        more: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._answered(asked)
        self._unacked = UnackedAnswer(self._board, asked, self._not_acknowledged, now)
        asked.transaction.on_ack = self.acknowledged
        timed = self._timer.agree(asked.request, now)
        described = abilities(self._board.config)
        headers = (("Contact", self._voice.contact()), *described, *timed, *more)
        self._voice.session = body or self._voice.session
        self._voice.respond(asked.request, asked.transaction, 200, now, headers, body=body)

    def _decline(
        self,
        asked: AskedInvite,
        status: int,
        now: float,
        reason: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._voice.respond(asked.request, asked.transaction, status, now, headers, reason)
        self._answered(asked)

    def _answered(self, asked: AskedInvite) -> None:
        self._asked = None
        asked.transaction.on_cancel = asked.transaction.on_failure = None

    def _confirm(self, answer: bytes | None) -> None:
        self.phase = Phase.CONFIRMED
        self._voice.tell(Answered(self.id, answer))

    def _stop_repeating(self) -> None:
        """Our 2xx has arrived, or need not."""
        if self._unacked is not None:
            self._unacked.stop()
            self._unacked = None

    def _not_acknowledged(self, now: float) -> None:
        """64 T1 after a 2xx (section 13.3.1.4)."""
        self._unacked = None
        self._bye_due = None
        self._say_bye(now, why(408, "ACK timeout"))
        self._end("no_ack", None, now)
        # A peer that was silent for so long will hardly answer this BYE; do not wait for it.
        self._drop_after(8 * self._board.config.t1, now)

    # Our own INVITEs and REFERs.

    def _may_offer(self) -> bool:
        busy = self._is_inviting or self._has_open_offer or self._unacked is not None
        return self.phase is Phase.CONFIRMED and not busy

    def _offer_when_free(self, now: float) -> None:
        self._offers.go_on(now)

    def _offer_done(
        self, status: int, response: Response | None, is_refresh: bool, now: float
    ) -> None:
        if self.phase is Phase.ENDED or self._lost_peer(status, now):
            return
        answer = None if response is None or status >= 300 else sdp_of(response)
        if status >= 300:
            self._timer.refused(response, now)
        # A refresh changes nothing if nobody says so; and what waits will be answered anew.
        if not is_refresh or (answer is not None and not self._offers.are_wanted):
            self._voice.tell(Reanswered(self.id, status, answer))
        self._offer_when_free(now)

    def _refer_answered(self, status: int, now: float) -> None:
        if self.phase is not Phase.ENDED:
            self._voice.tell(ReferAnswered(self.id, status))
            # Silence (408) would count as a lost peer too (section 12.2.1.2). But there are peers
            # that know no REFER and say nothing at all, and their callers are still talking.
            if status == 481:
                self._lost_peer(status, now)

    # The end.

    def _expired_unrefreshed(self, now: float) -> None:
        """Nobody has said in time that the session goes on (RFC 4028 section 10)."""
        if self.phase is Phase.CONFIRMED:
            self._say_bye(now, why(408, "Session expired"))
            self._end("session_expired", None, now)

    def _lost_peer(self, status: int, now: float) -> bool:
        """Hang up if a request was answered so that the peer, or its side of the dialog, is gone.

        Section 12.2.1.2. Returns whether it is.
        """
        if status not in (408, 481):
            return False
        self._say_bye(now, why(status, reason_of(status)))
        self._end("timeout" if status == 408 else "refused", status, now)
        return True

    def _say_bye(self, now: float, headers: Sequence[tuple[str, str]] = ()) -> None:
        bye = self.dialog.request("BYE")
        for name, value in headers:
            bye.headers.add(name, value)
        self._requests.send(bye, self.dialog, now)

    def _end(
        self, cause: str, status: int | None, now: float, contacts: tuple[str, ...] = ()
    ) -> None:
        """Tell that the call is over, once, and let what is under way run out."""
        if self.phase is Phase.ENDED:
            return
        self.phase = Phase.ENDED
        self._moved()
        self._timer.stop()
        self._offers.stop()
        self._updates.answer(487, now)
        self._asked_refers.stop(now)
        self._voice.tell(CallEnded(self.id, cause, status, contacts))
        if self._asked is not None:
            self._decline(self._asked, 487, now)
        if self._bye_due is None:
            self._stop_repeating()
        self._drop_after(64 * self._board.config.t1 + self._board.config.t2, now)
        self._settle(now)

    def _settle(self, now: float) -> None:
        """Go, if the call has ended and nothing of it is under way."""
        if self.phase is not Phase.ENDED or self.id not in self._board.calls:
            return
        if self._requests.are_under_way or self._bye_due is not None:
            return
        del self._board.calls[self.id]
        self._moved()
        self._voice.cancel(self._last)
        self._take_apart()

    def _take_apart(self) -> None:
        """Let go of the parts, which know the call as it knows them: left to the collector of such
        circles, thousands of calls would have it stop all others while it looks."""
        self.dialog.on_move = None
        del self._voice, self._requests, self._timer, self._offers, self._updates
        del self._refers, self._asked_refers

    def _drop_after(self, seconds: float, now: float) -> None:
        self._voice.cancel(self._last)
        self._last = self._voice.later(seconds, self._drop, now)

    def _drop(self, now: float) -> None:
        self._requests.abandon(now)
        self._settle(now)

    def _has_a_point(self, request: Request) -> bool:
        """Whether to ask again what was refused with a challenge."""
        return request.method == "BYE" or self.phase is not Phase.ENDED
