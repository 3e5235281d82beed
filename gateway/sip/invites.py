"""The INVITEs of a call that wait for somebody: theirs for us, then for their ACK; ours for them.

An INVITE that changes a session is made like the one that began it (RFC 3261 section 14), so both
sides of both use these.
"""

from collections.abc import Callable
from typing import NamedTuple

from gateway.sip.asking import Requests
from gateway.sip.compose import sequence_number
from gateway.sip.dialog import Dialog
from gateway.sip.layer import ServerTransaction
from gateway.sip.message import Address, Outgoing, Request, Response
from gateway.sip.screening import sdp_of
from gateway.sip.switchboard import Switchboard


class AskedInvite(NamedTuple):
    """An INVITE of the peer that our application has yet to answer."""

    request: Request
    transaction: ServerTransaction

    @property
    def is_late_offer(self) -> bool:
        """Whether it carries no offer, so that our 2xx does and the ACK brings the answer."""
        return sdp_of(self.request) is None


class UnackedAnswer:
    """A 2xx of ours that is said again until its ACK comes (RFC 3261 section 13.3.1.4).

    Over every transport: the 2xx may be lost behind the first hop. After 64 T1 the peer is given up
    and `on_silence` is called.
    """

    __slots__ = (
        "_again",
        "_board",
        "_end",
        "_on_silence",
        "_pause",
        "_transaction",
        "late",
        "number",
    )

    def __init__(
        self,
        board: Switchboard,
        asked: AskedInvite,
        on_silence: Callable[[float], None],
        now: float,
    ) -> None:
        config = board.config
        self.number = sequence_number(asked.request)
        self.late = asked.is_late_offer
        self._board = board
        self._transaction = asked.transaction
        self._on_silence = on_silence
        self._pause = config.t1
        self._again = board.deadlines.set(now + self._pause, self._repeat)
        self._end = board.deadlines.set(now + 64 * config.t1, self._give_up)

    def stop(self) -> None:
        self._transaction.on_ack = None
        self._board.deadlines.cancel(self._again)
        self._board.deadlines.cancel(self._end)

    def _repeat(self, now: float) -> None:
        self._transaction.repeat(now)
        self._pause = min(2 * self._pause, self._board.config.t2)
        self._again = self._board.deadlines.set(now + self._pause, self._repeat)

    def _give_up(self, now: float) -> None:
        self.stop()
        self._on_silence(now)


class OwnReinvite:
    """One re-INVITE of ours. `on_outcome(status, response, now)` is called once; without a response
    the status stands for what happened instead.

    `request` is the one that the next response answers. `is_refresh`: it changes nothing.
    """

    __slots__ = ("_ack", "_board", "_dialog", "_on_outcome", "_requests", "is_refresh", "request")

    def __init__(
        self,
        board: Switchboard,
        requests: Requests,
        dialog: Dialog,
        request: Request,
        on_outcome: Callable[[int, Response | None, float], None],
        *,
        is_refresh: bool,
    ) -> None:
        self.request = request
        self.is_refresh = is_refresh
        self._board = board
        self._requests = requests
        self._dialog = dialog
        self._on_outcome = on_outcome
        self._ack: Outgoing | None = None

    def send(self, now: float) -> None:
        self._requests.send(
            self.request,
            self._dialog,
            now,
            on_response=self._heard,
            on_failure=self._failed,
            on_repeat=self._repeated,
        )

    def _repeated(self, request: Request) -> None:
        self.request = request

    def _heard(self, response: Response, source: Address, now: float) -> None:
        if response.status < 200:
            return
        if response.status >= 300:
            self._on_outcome(response.status, response, now)
        elif self._ack is None:
            self._dialog.refresh(response)
            self._dialog.heard_from(source)
            self._ack = self._requests.acknowledge(self.request, self._dialog)
            self._on_outcome(response.status, response, now)
        else:
            self._board.outbox.send_again(self._ack.data, self._ack.to)

    def _failed(self, cause: str, now: float) -> None:
        # Section 8.1.3.1: silence counts as 408, an unreachable peer as 503.
        self._on_outcome(408 if cause == "timeout" else 503, None, now)
