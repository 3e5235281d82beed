"""How a call ends: in every state there is a way, once, with one reason.

The base of the call machine, pure as that is.
"""

from gateway.calls.commands import no_call, not_made
from gateway.calls.effects import Effect, EndLeg, Finish, Note, RejectLeg, Settle
from gateway.calls.referral import Referral
from gateway.calls.state import State
from gateway.calls.transfer import Transfer
from gateway.legs.leg import Headers
from gateway.realtime.errors import RealtimeError


class Ending:
    """What a call is at its beginning, and its end.

    Args:
        outbound: we make this call.
        posted: it came by a request that waits for our answer.
    """

    def __init__(self, *, outbound: bool, posted: bool) -> None:
        self.state = State.INCOMING
        self.reason = ""
        """Why the call ended; "" until then."""
        self.sip_status: int | None = None
        self.outbound = outbound
        self.transfer: Transfer | None = None
        """The latest."""
        self._referral: Referral | None = None
        """What the other side has asked of us, while it is under way."""
        self._posted = posted
        self._tickets: list[int] = []  # of those who wait for the answer or for our INVITE to go
        self._deadline: float | None = None
        self._limit: float | None = None  # when an answered call has lasted as long as it may

    def _turn_away(
        self, status: int, reason: str, retry_s: int | None = None, headers: Headers = ()
    ) -> list[Effect]:
        """Let go of a call that is not answered."""
        if self.outbound:
            return self._hang_up(reason)
        return self._refuse(status, reason, retry_s, headers)

    def _refuse(
        self, status: int, reason: str, retry_s: int | None = None, headers: Headers = ()
    ) -> list[Effect]:
        note = Note("call.rejected", {"sip_status": status, "reason": reason})
        refusal = RejectLeg(status, reason, retry_s, headers)
        return [refusal, note, *self._end(reason, status)]

    def _hang_up(self, reason: str, headers: Headers = ()) -> list[Effect]:
        return [EndLeg(headers), *self._end(reason, None)]

    def _end(self, reason: str, status: int | None) -> list[Effect]:
        self.state = State.ENDED
        self.reason = reason
        self.sip_status = status
        self._deadline = None
        self._referral = None
        transfer = [] if self.transfer is None else self.transfer.abandon(no_call())
        gone = not_made(reason) if self.outbound or self._posted else no_call()
        return [*self._settle(gone), *transfer, Finish()]

    def _settle(self, error: RealtimeError | None = None) -> list[Effect]:
        """Tell everybody who waits for the call to be answered, or made."""
        tickets, self._tickets = self._tickets, []
        return [Settle(ticket, error) for ticket in tickets]
