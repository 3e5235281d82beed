"""Calling: we send an INVITE and hear what becomes of it.

RFC 3261 section 13.2. On its way the INVITE may be forked to several telephones, each of which
answers under a tag of its own and so makes a dialog of its own. The first 2xx is the call. A 2xx of
another one is acknowledged, as every 2xx must be, and hung up at once.

Giving up is a race. A CANCEL may only follow a provisional response (section 9.1), and whatever was
cancelled may still be answered by a 2xx that crossed: that too is acknowledged and hung up.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from gateway.sip.asking import Asking, renumbered
from gateway.sip.auth import PROOFS, Login
from gateway.sip.call import Call
from gateway.sip.call_life import Phase
from gateway.sip.compose import cancel_of, sequence_number, why
from gateway.sip.dialog import Dialog
from gateway.sip.events import Answered, Ringing
from gateway.sip.headers import name_addrs, tag_of
from gateway.sip.message import Address, Outgoing, Request, Response
from gateway.sip.reliable import number_of
from gateway.sip.screening import sdp_of
from gateway.sip.switchboard import Switchboard
from gateway.sip.updates import Asked
from gateway.sip.uri import UriError, uri_scheme

MAX_FORKS = 16
"""So many of those that make progress are told apart."""
MAX_ANSWERING = 32
"""So many are heard at most when they say 200 too late; each costs a BYE and its repetitions."""
MAX_CONTACTS = 8
_Q = re.compile(r"[01](?:\.[0-9]{0,3})?")


@dataclass(slots=True)
class Fork:
    """One of those who answered our INVITE."""

    dialog: Dialog
    ack: Outgoing | None = None
    """Of its 2xx, for the next copy of it."""
    number: int | None = None
    """Of its last reliable provisional answer (RFC 3262)."""
    session: bytes | None = None
    """The SDP that it said last. A 2xx need not say again what a provisional answer said."""
    has_agreed: bool = False
    """It said that reliably, so that our offer is answered and others may be made."""


class UacCall(Call):
    """A call of our making."""

    chose_call_id = True

    def __init__(
        self, board: Switchboard, invite: Request, to: Address, login: Login | None
    ) -> None:
        self._networks = board.config.allow or ()
        super().__init__(board, Dialog.proposed(invite, to, self._networks))
        self._requests.login = login
        self._invite = invite
        self._inviting: Asking
        """Of that, once it is said."""
        self._to = to
        self._forks: dict[str, Fork] = {}
        self._late_offer = not invite.body
        self._ack_due = False
        self._is_taken = False
        """Whether anybody's 2xx made the call."""
        self._was_heard = False
        self._has_answered = False
        self._cancel_due = False

    def begin(self, now: float, silent_s: float = 0.0) -> None:
        """Send the INVITE; `silent_s` is as in `SipAgent.invite`.

        Raises ValueError if it holds what must not be sent.
        """
        self._send_invite(now)
        self._voice.session = self._invite.body
        self._board.calls[self.id] = self
        self._moved()
        if silent_s:
            self._board.deadlines.set(now + silent_s, partial(self._if_silent, silent_s))

    def _if_silent(self, silent_s: float, now: float) -> None:
        """Leave a place where nobody seems to be; whoever is there after all is told so.

        Where TCP leads nowhere it has had no time to answer before it is asked over UDP.
        """
        if self.phase is not Phase.EARLY or self._has_answered:
            return
        until = self._inviting.said_at + silent_s
        if now < until:
            self._board.deadlines.set(until, partial(self._if_silent, silent_s))
            return
        self._give_up(now)
        self._end("timeout", 408, now)

    def _send_invite(self, now: float) -> None:
        self._inviting = self._requests.send(
            self._invite,
            self.dialog,
            now,
            to=self._to,
            on_response=self._heard,
            on_failure=self._failed,
            on_repeat=self._invited_again,
        )

    def acknowledge(self, answer: bytes | None, now: float) -> None:
        """Send the ACK of a 2xx that brought an offer, with our answer."""
        if self._ack_due and self.phase is Phase.CONFIRMED:
            self._ack_due = False
            self._voice.session = answer or b""
            self._send_ack(self._forks[self.dialog.remote_tag], answer)
            self._offer_when_free(now)

    def hang_up(self, now: float, headers: Sequence[tuple[str, str]] = ()) -> None:
        """CANCEL before the answer, BYE after it."""
        if self.phase is Phase.EARLY:
            self._give_up(now)
            self._end("cancelled", None, now)
        elif self.phase is Phase.CONFIRMED:
            self.acknowledge(None, now)
            super().hang_up(now, headers)

    def connection_lost(self, address: Address, now: float) -> None:
        for fork in self._forks.values():
            fork.dialog.connection_lost(address)
        super().connection_lost(address, now)

    def _moved(self) -> None:
        is_over = self.phase is Phase.ENDED
        hosts = () if is_over else (self._to.host, self.dialog.next_hop().host)
        self._board.callees.note(self.id, *hosts)

    @property
    def _is_inviting(self) -> bool:
        return super()._is_inviting or self.phase is Phase.EARLY or self._ack_due

    def _untimely(self, dialog: Dialog) -> int | None:
        fork = self._forks.get(dialog.remote_tag)
        if self.phase is Phase.EARLY and fork is not None and fork.has_agreed:
            return 500 if self._has_open_offer else None
        return 500 if self._ack_due else super()._untimely(dialog)

    def _answer_update(self, asked: Asked, body: bytes, now: float) -> None:
        if fork := self._forks.get(asked.dialog.remote_tag):
            fork.session = asked.offer
        super()._answer_update(asked, body, now)

    def _dialog_of(self, request: Request) -> Dialog | None:
        fork = self._forks.get(tag_of(request.headers.get("From") or "") or "")
        return None if fork is None else fork.dialog

    def _heard_bye(self, dialog: Dialog, now: float) -> None:
        if dialog is not self.dialog:
            return  # one that is not the call
        if self.phase is Phase.EARLY:
            # Its 2xx was lost or overtaken: nobody may say BYE before that (section 15).
            self._give_up(now)
        super()._heard_bye(dialog, now)

    def _give_up(self, now: float) -> None:
        self._cancel_due = True
        if self._was_heard:
            self._cancel(now)
        else:
            self._requests.stay(self._inviting)

    def _cancel(self, now: float) -> None:
        self._cancel_due = False
        self._requests.send(cancel_of(self._invite), self.dialog, now, to=self._to)

    def _heard(self, response: Response, source: Address, now: float) -> None:
        self._has_answered = True
        if response.status < 200:
            self._progressed(response, source, now)
        elif response.status < 300:
            self._succeeded(response, source, now)
        elif self.phase is not Phase.EARLY:
            pass  # a refusal that came too late
        elif response.status == 422 and self._timer.lengthens(response):
            self._invite_for_longer(now)
        else:
            self._end("refused", response.status, now, contacts_of(response))

    def _invite_for_longer(self, now: float) -> None:
        """Somebody on the way wants to be told less often that the call is still there."""
        number = self.dialog.local_cseq + 1
        # A proof is good for one request: whoever wants one asks again.
        left_out = ("Session-Expires", "Min-SE", *PROOFS)
        invite = renumbered(self._invite, number, without=left_out)
        for name, value in self._timer.asks_first():
            invite.headers.add(name, value)
        self.dialog.local_cseq = number
        self._invited_again(invite)
        self._send_invite(now)

    def _failed(self, cause: str, now: float) -> None:
        if self.phase is Phase.EARLY:
            self._end(cause, 408 if cause == "timeout" else None, now)

    def _invited_again(self, invite: Request) -> None:
        """The INVITE was challenged: nothing that was heard of it holds for the next."""
        self._invite = invite
        self._was_heard = False
        self._forks.clear()

    def _progressed(self, response: Response, source: Address, now: float) -> None:
        self._was_heard = True
        if self._cancel_due:
            self._cancel(now)
        if response.status == 100 or self.phase is not Phase.EARLY:
            return
        dialog = Dialog.of_response(self._invite, response, source, self._networks)
        if dialog.remote_tag and len(self._forks) < MAX_FORKS:
            fork = self._forks.setdefault(dialog.remote_tag, Fork(dialog))
            if len(self._forks) == 1:
                self._voice.dialog = fork.dialog
        number, known = number_of(response), self._forks.get(dialog.remote_tag)
        body = sdp_of(response)
        if number is not None and known is not None:
            if known.number is not None and number != known.number + 1:
                return  # it was told, or one before it has yet to come again
            known.number = number
            known.has_agreed = known.has_agreed or body is not None
            self._acknowledge_progress(known, number, now)
        if known is not None:
            known.session = body or known.session
        self._voice.tell(Ringing(self.id, response.status, body))

    def _acknowledge_progress(self, fork: Fork, number: int, now: float) -> None:
        prack = fork.dialog.request("PRACK")
        prack.headers.add("RAck", f"{number} {sequence_number(self._invite)} INVITE")
        self._requests.send(prack, fork.dialog, now)

    def _succeeded(self, response: Response, source: Address, now: float) -> None:
        dialog = Dialog.of_response(self._invite, response, source, self._networks)
        fork = self._forks.get(dialog.remote_tag)
        if fork is None:
            # The first one is the call, however many there have been that only rang.
            if self.phase is not Phase.EARLY and len(self._forks) >= MAX_ANSWERING:
                return
            fork = self._forks[dialog.remote_tag] = Fork(dialog)
        dialog.remote_cseq = fork.dialog.remote_cseq
        dialog.local_cseq = max(dialog.local_cseq, fork.dialog.local_cseq)
        if fork.ack is not None:
            self._board.outbox.send_again(fork.ack.data, fork.ack.to)
        elif self.phase is Phase.EARLY:
            fork.dialog = self._voice.dialog = dialog  # the route set is that of the 2xx (13.2.2.4)
            self.phase = Phase.CONFIRMED
            self._is_taken = True
            self._timer.answered(response, now)
            self._voice.tell(Answered(self.id, sdp_of(response) or fork.session))
            if self._late_offer:
                self._ack_due = True
            else:
                self._send_ack(fork, None)
                self._offer_when_free(now)
        elif not (self._ack_due and dialog.remote_tag == self.dialog.remote_tag):
            fork.dialog = dialog
            self._send_ack(fork, None)
            bye = dialog.request("BYE")
            elsewhere = why(200, "Call completed elsewhere") if self._is_taken else ()
            for name, value in elsewhere:
                bye.headers.add(name, value)
            self._requests.send(bye, dialog, now)

    def _send_ack(self, fork: Fork, answer: bytes | None) -> None:
        fork.ack = self._requests.acknowledge(self._invite, fork.dialog, answer)


def contacts_of(response: Response) -> tuple[str, ...]:
    """Where else a 3xx says that the callee is, the most wanted first (section 8.1.3.4)."""
    if not 300 <= response.status < 400:
        return ()
    try:
        found = name_addrs(response.headers, "Contact")
    except ValueError:
        return ()
    usable = [one for one in found if _is_callable(one.uri)]
    usable.sort(key=lambda one: _wanted(one.param("q")), reverse=True)
    return tuple(one.uri for one in usable[:MAX_CONTACTS])


def _is_callable(uri: str) -> bool:
    try:
        return uri_scheme(uri) in ("sip", "sips", "tel")
    except UriError:
        return False


def _wanted(q: str | None) -> float:
    match = _Q.fullmatch("1" if q is None else q)
    return float(match[0]) if match else 0.0
