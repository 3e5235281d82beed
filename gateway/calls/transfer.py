"""One transfer: what we asked of the other side by REFER, and how it turned out.

The answer to a REFER only says whether the peer will try (RFC 3515 section 2.4.4). What became of
the attempt comes in NOTIFYs, which may overtake that answer, and may never come. Until it is known
the other side stays on the line with us. Whoever asked waits for no more than the answer.

Pure: news and `now` in, effects out.
"""

from collections.abc import Callable

from gateway.calls.commands import TransferResult, transfer_result, wrong_state
from gateway.calls.effects import Effect, Note, ReferLeg, Settle, ToControl
from gateway.realtime.errors import RealtimeError
from gateway.realtime.events import transfer_ended

_UNKNOWN_METHOD = (405, 501)


class Transfer:
    """The latest transfer of a call.

    Args:
        timeout_s: how long the peer may be without an answer, and then without news.
        new_event_id: makes the id of the event that tells the outcome.
    """

    def __init__(self, target_uri: str, timeout_s: float, new_event_id: Callable[[], str]) -> None:
        self.target_uri = target_uri
        self.result: TransferResult | None = None
        """None while it is under way."""
        self.sip_status: int | None = None
        """The answer that decided: of the target, or of the peer to the REFER."""
        self._timeout_s = timeout_s
        self._new_event_id = new_event_id
        self._tickets: list[int] = []
        self._accepted = False
        self._deadline: float | None = None

    def begin(self, ticket: int | None, now: float) -> list[Effect]:
        """Ask the peer; `ticket` is of whoever waits for its answer."""
        self._deadline = now + self._timeout_s
        self._tickets += [] if ticket is None else [ticket]
        return [ReferLeg(self.target_uri)]

    def again(self, target_uri: str, ticket: int) -> list[Effect]:
        """A transfer is asked for while this one is under way."""
        if target_uri != self.target_uri:
            error = wrong_state("Another transfer is under way.", "transfer_in_progress")
            return [Settle(ticket, error)]
        if self._accepted:
            return [Settle(ticket)]
        self._tickets.append(ticket)
        return []

    def answered(self, status: int, now: float) -> list[Effect]:
        """The peer's final answer to the REFER."""
        if 200 <= status < 300:
            return self._accept(now)
        if self._accepted:
            return []  # news of the attempt came first, and says more
        told = self._settle(_refusal(status))
        return [*told, *self._end("timeout" if status == 408 else "refused", status)]

    def progressed(self, status: int | None, over: bool, now: float) -> list[Effect]:
        """News of the attempt."""
        accepted = self._accept(now)
        if status is not None and status >= 200:
            return [*accepted, *self._end(transfer_result(status), status)]
        # Else it goes on, unless they stop telling before anything was decided.
        return [*accepted, *self._end("timeout", None)] if over else accepted

    def peer_left(self, reason: str) -> list[Effect]:
        """The call is over by the other side, for this reason as in `LegEnded`.

        One that hangs up, having agreed to try, has gone where it was sent.
        """
        if reason != "remote_bye":
            return self._end("timeout", None)
        return self._end("transferred" if self._accepted else "refused", None)

    def unsendable(self) -> list[Effect]:
        """The target cannot be put into a REFER."""
        error = RealtimeError("That target cannot be sent.", code="bad_target", param="target_uri")
        return [*self._settle(error), *self._end("refused", None)]

    def abandon(self, error: RealtimeError) -> list[Effect]:
        """The call is over; what has not been told by now never will be."""
        unknown = self._end("timeout", None) if self.result is None else []
        return [*self._settle(error), *unknown]

    def timeout(self, now: float) -> list[Effect]:
        if self._deadline is None or now < self._deadline:
            return []
        return [*self._settle(_refusal(408)), *self._end("timeout", None)]

    def next_timeout(self) -> float | None:
        return self._deadline

    def _accept(self, now: float) -> list[Effect]:
        self._accepted = True
        self._deadline = now + self._timeout_s
        return self._settle()

    def _settle(self, error: RealtimeError | None = None) -> list[Effect]:
        """Tell whoever waits for the peer's answer."""
        tickets, self._tickets = self._tickets, []
        return [Settle(ticket, error) for ticket in tickets]

    def _end(self, result: TransferResult, status: int | None) -> list[Effect]:
        self.result, self.sip_status = result, status
        self._deadline = None
        note = Note("transfer.result", {"result": result, "sip_status": status})
        event = transfer_ended(result, status, self._new_event_id())
        return [note, ToControl(event, extension=True)]


def _refusal(status: int) -> RealtimeError:
    if status == 408:  # also what silence counts as (RFC 3261 section 8.1.3.1)
        what, code = "did not answer REFER in time.", "transfer_timeout"
    elif status in _UNKNOWN_METHOD:
        what, code = f"cannot transfer calls: it answered {status}.", "transfer_unsupported"
    else:
        what, code = f"refused the transfer: it answered {status}.", "transfer_refused"
    message = f"The other side {what}"
    return RealtimeError(message, code=code, param="target_uri")
