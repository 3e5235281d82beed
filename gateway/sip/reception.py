"""Requests that come in: who is let in, and whom a request is for (RFC 3261 sections 8.2, 12.2).

It may be a copy, for a transaction; or of a dialog, for a call; or it opens a call; or it is for
nobody. What is refused on sight is answered without state (8.2.7), so that a flood of it costs
nothing; whoever repeats one is answered alike.
"""

from collections.abc import Callable, Sequence

from gateway.sip.call import Call
from gateway.sip.challenge import Challenger, Verdict
from gateway.sip.compose import options_answer, respond, stateless_tag
from gateway.sip.errors import SipError
from gateway.sip.headers import replace_top_via, tag_of, top_via
from gateway.sip.invites import AskedInvite
from gateway.sip.message import Address, Request
from gateway.sip.outbox import countable
from gateway.sip.pending import Pending
from gateway.sip.replaces import replaced_by
from gateway.sip.screening import Refusal, objection
from gateway.sip.switchboard import Switchboard
from gateway.sip.throttle import ASKED, FAILED, Notice, Throttle
from gateway.sip.uas import UasCall

MAX_DELAYED = 1000
"""Answers to strangers that may wait; more are not given at all."""


class Reception:
    """Where the requests of strangers and of peers arrive."""

    def __init__(self, board: Switchboard, trusts: Callable[[Address], bool]) -> None:
        """`trusts` says of addresses that are not listed whether they are let in all the same."""
        self.available = True
        self.throttle = Throttle(board.config.rate)
        self._pending = Pending(board.config.pending)
        self._trusts = trusts
        self._board = board
        self._config = config = board.config
        self._challenger: Challenger | None = None
        if config.users:
            realm = config.realm or config.host
            self._challenger = Challenger(realm, config.users, board.token, config.digests)
        self._delayed = 0  # answers that wait

    def hears(self, source: Address, now: float) -> bool:
        """Whether a message from there is to be read at all."""
        host = source.host
        if self._knows(source) or self.throttle.admits(host, now):
            return True
        # Who shares the address of a caller cannot silence its call.
        if self._talks_to(host) or host in self._board.callers:
            return True
        self._board.outbox.counters.dropped += 1
        self._board.outbox.counters.strangers["unread"] += 1
        return False

    def turned_away(self, source: Address, now: float) -> None:
        """A connection from there was closed unheard, because nobody there may call."""
        self._board.outbox.counters.strangers["unconnected"] += 1
        self.throttle.refused(source.host, "", None, "not_allowed", now)

    def notices(self) -> list[Notice]:
        """What there is to tell of strangers since this was last asked."""
        notices = self.throttle.notices()
        for notice in notices:
            if notice.kind != "refused":  # which the responses count
                self._board.outbox.counters.strangers[notice.kind] += 1
        return notices

    def refuse(self, error: SipError, source: Address, now: float) -> None:
        """Answer what a parser or a framer made of a broken message, if that can be done."""
        request = error.request
        if request is None or request.method == "ACK":
            self._board.outbox.counters.dropped += 1
            if not (self._knows(source) or self._talks_to(source.host)):
                self.throttle.failed(source.host, now, why="malformed")
            return
        self._board.outbox.counters.requests[countable(request.method)] += 1
        reply_to = _stamp(request, source) or source
        if self._knows(source):
            self._answer(request, reply_to, error.status, reason=error.reason)
        else:
            self._refuse_stranger(request, source, reply_to, 403, "malformed", now)

    def receive(self, request: Request, source: Address, now: float) -> None:
        """Take one whole request."""
        self._board.outbox.counters.requests[countable(request.method)] += 1
        transactions = self._board.transactions
        reply_to = _stamp(request, source)
        allowed = self._admits(request, source)
        if reply_to is None:
            self._board.outbox.counters.dropped += 1
        elif request.method == "ACK" and not allowed:
            self._ignore(request)
        elif not allowed and not self._is_proven(request, source, reply_to, now):
            pass  # and whoever it is has been told so
        elif copy_of := transactions.find(request):
            copy_of.receive(request, now)
        elif request.method == "ACK":
            self._receive_ack(request, now)
        elif request.method == "CANCEL":
            self._receive_cancel(request, reply_to, now)
        elif refusal := objection(request, self._config):
            self._answer(request, reply_to, refusal.status, refusal.headers, refusal.reason)
        elif tag_of(request.headers.get("To") or "") is None:
            self._receive_outside(request, source, reply_to, now)
        elif call := self._call_of(request):
            call.requested(request, transactions.serve(request, reply_to), source, now)
        else:
            self._answer(request, reply_to, 481)

    def _admits(self, request: Request, source: Address) -> bool:
        """Whether a request is let in: by where it comes from, or because it is of a call.

        A carrier may end a call from another machine than it began it on, and whoever carries a
        call of ours need not be allowed to call us. To know the Call-ID and both tags, one of which
        is our random one, is proof enough; it is all that a dialog has.
        """
        if self._knows(source) or self._call_of(request) is not None:
            return True
        transactions = self._board.transactions
        cancels = request.method == "CANCEL" and transactions.find(request, "INVITE") is not None
        return cancels or transactions.find(request) is not None

    def _talks_to(self, host: str) -> bool:
        """Whether we have called somebody there."""
        return host in self._board.callees or self._board.transactions.awaits(host)

    def _knows(self, source: Address) -> bool:
        return self._config.serves(source) or self._trusts(source)

    def _is_proven(self, request: Request, source: Address, reply_to: Address, now: float) -> bool:
        """Whether a stranger's request brings a proof that lets it in; else it is refused here."""
        if self._challenger is None:
            self._refuse_stranger(request, source, reply_to, 403, "not_allowed", now)
            return False
        verdict = self._challenger.judge(request, now)
        if verdict is Verdict.GOOD:
            self.throttle.proved(source.host, now)
            return True
        asked = self._challenger.challenges(now, stale=verdict is Verdict.STALE)
        if verdict is Verdict.STALE:  # it knows a password
            self._answer(request, reply_to, 401, asked)
        else:
            why = "wrong_password" if verdict is Verdict.WRONG else "no_password"
            self._refuse_stranger(request, source, reply_to, 401, why, now, asked)
        return False

    def _refuse_stranger(
        self,
        request: Request,
        source: Address,
        reply_to: Address,
        status: int,
        why: str,
        now: float,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Answer a failure, the later the more there have been."""
        only_asked = why == "no_password"
        if not only_asked:
            self.throttle.refused(source.host, countable(request.method), status, why, now)
        weight = ASKED if only_asked else FAILED
        talks = self._talks_to(source.host)
        wait_s = 0.0 if talks else self.throttle.failed(source.host, now, weight, why)
        if not wait_s:
            self._answer(request, reply_to, status, headers)
        elif self._delayed < MAX_DELAYED:
            self._delayed += 1

            def answer(_: float) -> None:
                self._delayed -= 1
                self._answer(request, reply_to, status, headers)

            self._board.deadlines.set(now + wait_s, answer)

    def _receive_outside(
        self, request: Request, source: Address, reply_to: Address, now: float
    ) -> None:
        """A request that belongs to no dialog."""
        transactions = self._board.transactions
        retry_after = (("Retry-After", str(self._config.retry_after_s)),)
        if request.method not in ("INVITE", "OPTIONS"):
            self._answer(request, reply_to, 481)
        elif transactions.is_merged(request):
            self._answer(request, reply_to, 482)
        elif request.method == "OPTIONS" and not self.available:
            self._answer(request, reply_to, 503, retry_after)
        elif request.method == "OPTIONS":
            self._answer(request, reply_to, 200, options_answer(self._config))
        elif not self._pending.has_room(source.host):
            self._answer(request, reply_to, 503, retry_after)
        elif isinstance(replaced := replaced_by(request, self._board), Refusal):
            self._answer(request, reply_to, replaced.status, reason=replaced.reason)
        else:
            asked = AskedInvite(request, transactions.serve(request, reply_to))
            self._pending.add(source.host, asked.transaction)
            UasCall(self._board, request, source).begin(asked, now, replaced)

    def _receive_ack(self, ack: Request, now: float) -> None:
        if call := self._call_of(ack):
            call.acknowledged(ack, now)
        else:
            self._ignore(ack)

    def _ignore(self, ack: Request) -> None:
        """Count an ACK of nothing; not one of a refusal that left no state, which all send."""
        if tag_of(ack.headers.get("To") or "") != stateless_tag(ack):
            self._board.outbox.counters.dropped += 1

    def _receive_cancel(self, cancel: Request, reply_to: Address, now: float) -> None:
        transactions = self._board.transactions
        invite = transactions.find(cancel, "INVITE")
        if invite is None:
            self._answer(cancel, reply_to, 481)
        elif invite.on_cancel is None:  # it has its answer (section 9.2)
            self._answer(cancel, reply_to, 200)
        else:
            invite.on_cancel(cancel, transactions.serve(cancel, reply_to), now)

    def _call_of(self, request: Request) -> Call | None:
        call = self._board.calls.get(tag_of(request.headers.get("To") or "") or "")
        return call if call is not None and call.knows(request) else None

    def _answer(
        self,
        request: Request,
        reply_to: Address,
        status: int,
        headers: Sequence[tuple[str, str]] = (),
        reason: str | None = None,
    ) -> None:
        """Answer once and keep nothing."""
        response = respond(
            request,
            status,
            server=self._config.user_agent,
            tag=stateless_tag(request),
            reason=reason,
            headers=headers,
        )
        self._board.outbox.counters.responses[countable(request.method), status] += 1
        self._board.outbox.send(response.to_bytes(), reply_to)


def _stamp(request: Request, source: Address) -> Address | None:
    """Note in the top Via where the request came from; returns where its responses go.

    None if the Via cannot be used. Over UDP responses go to the source's host whatever the Via
    says, so that nobody can have us send them to a third party, and to the port that the Via asks
    for (RFC 3261 section 18.2.2, RFC 3581).
    """
    try:
        via = top_via(request.headers).stamped(source.host, source.port)
        replace_top_via(request.headers, via)
    except ValueError:
        return None
    if source.transport != "udp":
        return source
    return Address(source.host, via.reply_address()[1] or source.port, "udp")
