"""What a call asks its peer: its requests that are under way, each seen through to its answer.

A request that is refused with a challenge we may answer is asked again, in a new transaction and
under the next number (RFC 3261 section 22.2); whoever asked hears only what comes of that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from gateway.sip.auth import PROOFS, Login
from gateway.sip.compose import ACCEPT, adopted, sequence_number
from gateway.sip.dialog import Dialog
from gateway.sip.layer import ClientTransaction, OnFailure, OnOver, OnResponse
from gateway.sip.message import Address, Outgoing, Request, Response, header_key
from gateway.sip.switchboard import Switchboard


@dataclass(slots=True)
class Asking:
    """One request, through all its repetitions."""

    request: Request
    """As it was sent last."""
    dialog: Dialog
    to: Address
    on_response: OnResponse | None
    on_failure: OnFailure | None
    on_repeat: Callable[[Request], None] | None
    transaction: ClientTransaction | None = None
    """Of `request`."""
    answered: list[str] = field(default_factory=list)
    """The nonces of the challenges that were answered."""

    @property
    def said_at(self) -> float:
        """When it was said first on the way that it takes now."""
        return 0.0 if self.transaction is None else self.transaction.said_at

    def forget(self) -> None:
        """Nothing more will come: let go of who asked, and knows this."""
        self.on_response = self.on_failure = self.on_repeat = None


class Requests:
    """Those of one call."""

    __slots__ = ("_board", "_may_repeat", "_on_idle", "_open", "login")

    def __init__(
        self, board: Switchboard, may_repeat: Callable[[Request], bool], on_idle: OnOver
    ) -> None:
        """`may_repeat` says whether a request still has a point; `on_idle` is told of each end."""
        self.login: Login | None = None
        """None answers no challenge."""
        self._board = board
        self._may_repeat = may_repeat
        self._on_idle = on_idle
        self._open: list[ClientTransaction] = []

    @property
    def are_under_way(self) -> bool:
        """Whether any transaction is left."""
        return bool(self._open)

    def send(
        self,
        request: Request,
        dialog: Dialog,
        now: float,
        *,
        to: Address | None = None,
        on_response: OnResponse | None = None,
        on_failure: OnFailure | None = None,
        on_repeat: Callable[[Request], None] | None = None,
    ) -> Asking:
        """Send a request of `dialog`, to its next hop unless `to` says where.

        `on_repeat` gets the request that takes its place when it is asked again. Raises ValueError
        if it holds what must not be sent.
        """
        request.headers.set("User-Agent", self._board.config.user_agent)
        to = dialog.next_hop() if to is None else to
        asking = Asking(request, dialog, to, on_response, on_failure, on_repeat)
        self._ask(asking, now)
        return asking

    def withdraw(self, asking: Asking, now: float) -> None:
        """Ask it no more, and hear no answer."""
        if asking.transaction is not None:
            asking.transaction.abandon(now)

    def stay(self, asking: Asking) -> None:
        """Say it no other way than it was said: an answer may come, but is not wanted any more."""
        if asking.transaction is not None:
            asking.transaction.second_way = None

    def acknowledge(self, invite: Request, dialog: Dialog, answer: bytes | None = None) -> Outgoing:
        """Send the ACK of a 2xx to `invite`, with our SDP `answer`; returns it for the next copy.

        It carries the proof of its INVITE, since nobody can ask it for one (section 13.2.2.4).
        """
        ack = dialog.request("ACK", sequence_number(invite))
        to = dialog.next_hop()
        if self.login is not None and self.login.is_for(to.host):
            for name in PROOFS:
                for value in invite.headers.get_all(name):
                    ack.headers.add(name, value)
        if answer:
            ack.headers.add("Content-Type", ACCEPT)
            ack.body = answer
        return self._board.transactions.acknowledge(ack, to)

    def abandon(self, now: float) -> None:
        """Forget them all."""
        for transaction in list(self._open):
            transaction.abandon(now)

    def _ask(self, asking: Asking, now: float) -> None:
        def over(now: float) -> None:
            self._open.remove(transaction)
            if asking.transaction is transaction:
                asking.forget()
            self._on_idle(now)

        transaction = self._board.transactions.request(
            asking.request,
            asking.to,
            now,
            on_response=partial(self._heard, asking),
            on_failure=asking.on_failure,
            on_over=over,
        )
        self._open.append(transaction)
        asking.transaction = transaction

    def _heard(self, asking: Asking, response: Response, source: Address, now: float) -> None:
        again = self._again(asking, response)
        if again is not None:
            asking.request = again
            if asking.on_repeat is not None:
                asking.on_repeat(again)
            self._ask(asking, now)
        elif asking.on_response is not None:
            asking.on_response(response, source, now)

    def _again(self, asking: Asking, response: Response) -> Request | None:
        """The request to send instead; None if the response is to be taken as it is."""
        asked = asking.request
        if self.login is None or not self._may_repeat(asked):
            return None
        try:
            answer = self.login.answer(asked, response, asking.to.host, asking.answered)
            if answer is None:
                return None
            name, proof, nonce = answer
            proofs = [(name, proof), *self.login.repeated(asked, name)]
            again = renumbered(asked, asking.dialog.local_cseq + 1, without=PROOFS)
            for name, proof in proofs:
                again.headers.add(name, proof)
        except ValueError:  # a challenge of a length that no line of ours can hold
            return None
        asking.dialog.local_cseq += 1
        asking.answered.append(nonce)
        return again


def renumbered(request: Request, number: int, without: Sequence[str]) -> Request:
    """The same request as a new one, which has no Via yet and none of the headers `without`."""
    left_out = {"via", *map(header_key, without)}
    copied = []
    for name, value in request.headers.items():
        if header_key(name) == "cseq":
            copied.append((name, f"{number} {request.method}"))
        elif header_key(name) not in left_out:
            copied.append((name, value))
    return Request(request.method, request.uri, adopted(copied), request.body)
