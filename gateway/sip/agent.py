"""A SIP user agent without sockets and clock: messages in, messages and call events out.

    transport ── receive ──► SipAgent ──► events ──► application
                                │  ▲                     │
    transport ◄─ datagrams ─────┘  └── ring, accept … ◄──┘
                    clock ── timeout

After every call of a method drain what came of it: `datagrams_to_send`, `events`, `next_timeout`.
Times are seconds on a monotonic clock, the same for all calls.

Responses find their transaction here; requests find out at the `Reception` whom they are for.

What the application does to a dialog that has ended does nothing: the end may always come first.
"""

from collections.abc import Callable, Sequence

from gateway.sip.auth import Credentials
from gateway.sip.compose import (
    ABILITIES,
    ACCEPT,
    MAX_FORWARDS,
    additions,
)
from gateway.sip.config import SipConfig
from gateway.sip.dialog import as_request_uri
from gateway.sip.errors import SipError
from gateway.sip.events import SipEvent
from gateway.sip.message import Address, Headers, Outgoing, Request, Response
from gateway.sip.outbox import Counters
from gateway.sip.parse import is_keepalive, parse
from gateway.sip.reception import Reception
from gateway.sip.switchboard import Switchboard
from gateway.sip.uac import UacCall
from gateway.sip.uas import UasCall
from gateway.sip.uri import NameAddr, SipUri


class SipAgent:
    """Both ends of calls, caller and callee, of one address."""

    def __init__(self, config: SipConfig, *, token: Callable[[], str]) -> None:
        """`token` returns fresh random hexadecimal text of at least 16 digits at every call."""
        self._config = config
        self._board = Switchboard(config, token)
        self._reception = Reception(self._board)

    # From the network and the clock.

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """Take one whole message. What can be neither used nor answered is counted and dropped."""
        if is_keepalive(data):
            return
        try:
            message = parse(data)
        except SipError as error:
            self.refuse(error, source)
            return
        if isinstance(message, Response):
            if not self._board.transactions.receive_response(message, source, now):
                self.counters.dropped += 1
        else:
            self._reception.receive(message, source, now)

    def refuse(self, error: SipError, source: Address) -> None:
        """Answer what a parser or a framer made of a broken message, if that can be done."""
        self._reception.refuse(error, source)

    def transport_failed(self, to: Address, now: float) -> None:
        """Something sent to `to` could not be delivered, and no connection can be made to it."""
        self._board.transactions.transport_failed(to, now)

    def connection_lost(self, address: Address, now: float) -> None:
        """A connection is gone, whoever closed it.

        Requests of ours that wait for their answer on it have failed. Nothing else has: the next
        request in a dialog that used it goes where Contact and routes say. Behind a WebSocket there
        is no such place, so our answers have failed too, and calls that depended on it are over.
        """
        for call in list(self._board.calls.values()):
            call.connection_lost(address, now)
        if address.is_websocket:
            self._board.transactions.transport_failed(address, now)
        else:
            self._board.transactions.requests_failed(address, now)

    def timeout(self, now: float) -> None:
        """Do what is due."""
        self._board.deadlines.run(now)

    # To be drained.

    def datagrams_to_send(self) -> list[Outgoing]:
        return self._board.outbox.drain()

    def events(self) -> list[SipEvent]:
        events, self._board.events = self._board.events, []
        return events

    def next_timeout(self) -> float | None:
        """When to call `timeout`; None while nothing is due ever."""
        return self._board.deadlines.next()

    @property
    def available(self) -> bool:
        """False: OPTIONS is answered 503. Calls are the application's to refuse."""
        return self._reception.available

    @available.setter
    def available(self, available: bool) -> None:
        self._reception.available = available

    @property
    def counters(self) -> Counters:
        return self._board.outbox.counters

    @property
    def dialogs(self) -> int:
        """Calls that still hold state, ended ones included."""
        return len(self._board.calls)

    @property
    def transactions(self) -> int:
        return len(self._board.transactions)

    @property
    def unanswered(self) -> int:
        """Requests of ours that still wait for a final response."""
        return self._board.transactions.unanswered

    @property
    def timers(self) -> int:
        return len(self._board.deadlines)

    # From the application: being called.

    def ring(self, dialog_id: str, now: float) -> None:
        """Send 180."""
        call = self._board.calls.get(dialog_id)
        if isinstance(call, UasCall):
            call.ring(now)

    def accept(self, dialog_id: str, body: bytes, now: float) -> None:
        """Send 200 with the SDP `body`; `Answered` follows, or `CallEnded` with no_ack."""
        call = self._board.calls.get(dialog_id)
        if isinstance(call, UasCall):
            call.accept(body, now)

    def reject(
        self,
        dialog_id: str,
        status: int,
        now: float,
        *,
        reason: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Refuse with a final status, 300 to 699. Raises ValueError for what cannot be sent."""
        if not 300 <= status <= 699:
            raise ValueError("a call is refused with 300 to 699")
        call = self._board.calls.get(dialog_id)
        if isinstance(call, UasCall):
            call.reject(status, now, reason, headers)

    # From the application: calling.

    def invite(
        self,
        target: SipUri | str,
        body: bytes | None,
        now: float,
        *,
        to: Address,
        from_uri: str,
        headers: Sequence[tuple[str, str]] = (),
        credentials: Credentials | None = None,
    ) -> str:
        """Call `target` through `to`; returns the dialog id.

        `body` is the SDP offer; None asks the peer for one, which `ack` then answers. With
        `credentials` a challenge is answered (see `auth`). Raises ValueError (also as UriError) for
        text that must not go into a message, and for `headers` that the agent writes itself.
        """
        board = self._board
        uri = as_request_uri(str(target))
        caller = NameAddr("", from_uri, (("tag", board.token()),))
        invite = Request("INVITE", uri, Headers(), body or b"")
        for name, value in (
            ("Max-Forwards", MAX_FORWARDS),
            ("From", str(caller)),
            ("To", str(NameAddr("", uri))),
            ("Call-ID", f"{board.token()}@{self._config.host}"),
            ("CSeq", "1 INVITE"),
            ("Contact", self._config.contact(to.transport)),
            *ABILITIES,
            *additions(headers).items(),
            *((("Content-Type", ACCEPT),) if body else ()),
        ):
            invite.headers.add(name, value)
        call = UacCall(board, invite, to, credentials)
        call.begin(now)
        return call.id

    def ack(self, dialog_id: str, body: bytes | None, now: float) -> None:
        """Answer the offer that came with `Answered` after an INVITE without one."""
        call = self._board.calls.get(dialog_id)
        if isinstance(call, UacCall):
            call.acknowledge(body, now)

    # From the application: either way.

    def hang_up(self, dialog_id: str, now: float) -> None:
        """End the call in whatever way its state allows."""
        if call := self._board.calls.get(dialog_id):
            call.hang_up(now)

    def reinvite(self, dialog_id: str, body: bytes, now: float) -> None:
        """Offer a changed session, when it is our turn; `Reanswered` tells the outcome."""
        if call := self._board.calls.get(dialog_id):
            call.reinvite(body, now)

    def refer(self, dialog_id: str, target_uri: str, now: float) -> None:
        """Ask the peer of a call that is up to call `target_uri` instead (RFC 3515).

        `ReferAnswered` and `ReferProgress` tell what comes of it, and nothing more of an earlier
        REFER, whether it was answered or not. Raises ValueError (also as UriError) for what cannot
        be sent.
        """
        target = Headers([("Refer-To", str(NameAddr("", target_uri)))])
        if call := self._board.calls.get(dialog_id):
            call.refer(target, now)

    def answer_offer(self, dialog_id: str, body: bytes, now: float) -> None:
        """Agree to the pending `Reoffer`."""
        if call := self._board.calls.get(dialog_id):
            call.answer_offer(body, now)

    def refuse_offer(
        self,
        dialog_id: str,
        status: int,
        now: float,
        *,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Refuse the pending `Reoffer` with 300 to 699; the session stays. Raises ValueError."""
        if not 300 <= status <= 699:
            raise ValueError("an offer is refused with 300 to 699")
        if call := self._board.calls.get(dialog_id):
            call.refuse_offer(status, now, headers)

    def is_calling(self, host: str) -> bool:
        """Whether a call of ours, made but not over, is with that IP address."""
        calls = self._board.calls.values()
        return any(isinstance(call, UacCall) and call.is_with(host) for call in calls)
