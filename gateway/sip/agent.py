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

from gateway.sip.auth import Credentials, Login
from gateway.sip.call_life import Phase
from gateway.sip.compose import (
    ACCEPT,
    MAX_FORWARDS,
    abilities,
    additions,
)
from gateway.sip.config import SipConfig
from gateway.sip.dialog import as_request_uri
from gateway.sip.errors import SipError
from gateway.sip.events import SipEvent
from gateway.sip.message import Address, Headers, Outgoing, Request, Response
from gateway.sip.outbox import Counters
from gateway.sip.parse import is_keepalive, parse
from gateway.sip.probes import Probes
from gateway.sip.reception import Reception
from gateway.sip.registrations import Registrations
from gateway.sip.replaces import replacing
from gateway.sip.session_timer import wanted
from gateway.sip.switchboard import Switchboard
from gateway.sip.throttle import Notice
from gateway.sip.uac import UacCall
from gateway.sip.uas import UasCall
from gateway.sip.uri import NameAddr, SipUri, uri_scheme


class SipAgent:
    """Both ends of calls, caller and callee, of one address."""

    def __init__(self, config: SipConfig, *, token: Callable[[], str]) -> None:
        """`token` returns fresh random hexadecimal text of at least 16 digits at every call."""
        self._config = config
        self._board = Switchboard(config, token)
        self.registrations = Registrations(self._board)
        """Where we tell that we can be reached; its events are drained apart."""
        self.probes = Probes(self._board)
        """Whom we ask whether they are there; its events are drained apart."""
        self._reception = Reception(self._board, self.registrations.trusts)

    # From the network and the clock.

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """Take one whole message. What can be neither used nor answered is counted and dropped."""
        if is_keepalive(data) or not self._reception.hears(source, now):
            return
        try:
            message = parse(data)
        except SipError as error:
            self.refuse(error, source, now)
            return
        if isinstance(message, Response):
            if not self._board.transactions.receive_response(message, source, now):
                self.counters.dropped += 1
        else:
            self._reception.receive(message, source, now)

    def refuse(self, error: SipError, source: Address, now: float) -> None:
        """Answer what a parser or a framer made of a broken message, if that can be done."""
        self._reception.refuse(error, source, now)

    def turned_away(self, source: Address, now: float) -> None:
        """A connection from there was closed unheard, because nobody there may call."""
        self._reception.turned_away(source, now)

    def transport_failed(self, to: Address, now: float) -> None:
        """Something sent to `to` could not be delivered, and no connection can be made to it."""
        self._board.transactions.transport_failed(to, now)

    def connection_lost(self, address: Address, now: float) -> None:
        """A connection is gone, whoever closed it.

        Requests of ours that wait for their answer on it have failed. Nothing else has: our answers
        go to where the peer listens, and the next request in a dialog that used it goes where
        Contact and routes say. Behind a WebSocket there is no such place, so our answers have
        failed too, and calls that depended on it are over.
        """
        for call in list(self._board.calls.values()):
            call.connection_lost(address, now)
        self.registrations.connection_lost(address, now)
        if address.is_websocket:
            self._board.transactions.transport_failed(address, now)
        else:
            self._board.transactions.connection_lost(address, now)

    def timeout(self, now: float) -> None:
        """Do what is due."""
        self._board.deadlines.run(now)

    # To be drained.

    def datagrams_to_send(self) -> list[Outgoing]:
        return self._board.outbox.drain()

    def events(self) -> list[SipEvent]:
        events, self._board.events = self._board.events, []
        return events

    def notices(self) -> list[Notice]:
        """What there is to tell of strangers since this was last asked."""
        return self._reception.notices()

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
        self.progress(dialog_id, 180, b"", now)

    def progress(self, dialog_id: str, status: int, body: bytes, now: float) -> None:
        """Send a provisional answer, 101 to 199, with the SDP `body` of early media if any.

        It is sent reliably (RFC 3262) if the caller insists on that, or can do it and there is a
        body. A caller who gave no offer gets no body. Raises ValueError.
        """
        if not 101 <= status <= 199:
            raise ValueError("progress is told with 101 to 199")
        call = self._board.calls.get(dialog_id)
        if isinstance(call, UasCall):
            call.progress(status, body, now)

    def accept(
        self,
        dialog_id: str,
        body: bytes,
        now: float,
        *,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Send 200 with the SDP `body`; `Answered` follows, or `CallEnded` with no_ack.

        Raises ValueError for `headers` that the agent writes itself, or that cannot be sent.
        """
        more = additions(headers).items()
        call = self._board.calls.get(dialog_id)
        if isinstance(call, UasCall):
            call.accept(body, now, more)

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
        from_name: str = "",
        headers: Sequence[tuple[str, str]] = (),
        credentials: Credentials | None = None,
        places: Sequence[Address] = (),
        replaces: str = "",
        referred_by: str = "",
        silent_s: float = 0.0,
    ) -> str:
        """Call `target` through `to`; returns the dialog id.

        `body` is the SDP offer; None asks the peer for one, which `ack` then answers. With
        `credentials` a challenge is answered, there and at the other `places` at which the trunk is
        known to be (see `auth`). `replaces` and `referred_by` are what a
        REFER that we follow wants to stand in the headers of that name (RFC 3891, RFC 3892). If
        nothing at all is heard for `silent_s`, it has timed out; 0 is as long as SIP waits. Raises
        ValueError (also as UriError) for text that must not go into a message, and for `headers`
        that the agent writes itself.
        """
        board = self._board
        uri = as_request_uri(str(target))
        caller = NameAddr(from_name, from_uri, (("tag", board.token()),))
        invite = Request("INVITE", uri, Headers(), body or b"")
        for name, value in (
            ("Max-Forwards", MAX_FORWARDS),
            *(("Route", route) for route in self.registrations.routes(to, credentials)),
            ("From", str(caller)),
            ("To", str(NameAddr("", uri))),
            ("Call-ID", f"{board.token()}@{self._config.host}"),
            ("CSeq", "1 INVITE"),
            ("Contact", self._contact(to, sips=uri_scheme(uri) == "sips")),
            *abilities(self._config, reliable=bool(body)),
            *wanted(self._config),
            *additions(headers).items(),
            *((("Require", "replaces"), ("Replaces", replaces)) if replaces else ()),
            *((("Referred-By", referred_by),) if referred_by else ()),
            *((("Content-Type", ACCEPT),) if body else ()),
        ):
            invite.headers.add(name, value)
        others = [place.host for place in places]
        login = None if credentials is None else Login(credentials, to.host, board.token, others)
        call = UacCall(board, invite, to, login)
        call.begin(now, silent_s)
        return call.id

    def _contact(self, to: Address, *, sips: bool) -> str:
        return self._config.contact(to.transport, sips=sips, peer=to.host)

    def call_id(self, dialog_id: str) -> str:
        """The Call-ID of a call that still holds state; "" for any other."""
        call = self._board.calls.get(dialog_id)
        return "" if call is None else call.dialog.call_id

    def remote_target(self, dialog_id: str) -> str:
        """The URI at which the peer says that it is reached in such a call; "" for any other."""
        call = self._board.calls.get(dialog_id)
        return "" if call is None else call.dialog.target

    def ack(self, dialog_id: str, body: bytes | None, now: float) -> None:
        """Answer the offer that came with `Answered` after an INVITE without one."""
        call = self._board.calls.get(dialog_id)
        if isinstance(call, UacCall):
            call.acknowledge(body, now)

    # From the application: either way.

    def hang_up(
        self, dialog_id: str, now: float, *, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        """End the call in whatever way its state allows.

        `headers` go into the BYE, or into the refusal of a call that was not answered; a CANCEL has
        none. Raises ValueError for those that the agent writes itself, or that cannot be sent.
        """
        more = additions(headers).items()
        if call := self._board.calls.get(dialog_id):
            call.hang_up(now, more)

    def reinvite(self, dialog_id: str, body: bytes, now: float) -> None:
        """Offer a changed session, when it is our turn; `Reanswered` tells the outcome."""
        if call := self._board.calls.get(dialog_id):
            call.reinvite(body, now)

    def refer(
        self,
        dialog_id: str,
        target_uri: str,
        now: float,
        *,
        headers: Sequence[tuple[str, str]] = (),
        replaces: str = "",
    ) -> None:
        """Ask the peer of a call that is up to call `target_uri` instead (RFC 3515).

        With `replaces`, the dialog of another call that is up, the peer is to take our place in
        that one (RFC 3891); "" as `target_uri` then means its peer. `ReferAnswered` and
        `ReferProgress` tell what comes of it, and nothing more of an earlier REFER, whether it was
        answered or not. Raises ValueError (also as UriError) for what cannot be sent.
        """
        other = self._board.calls.get(replaces)
        if replaces and (other is None or other.phase is not Phase.CONFIRMED):
            raise ValueError("a call that is not up cannot be replaced")
        if other is not None:
            target_uri = replacing(target_uri or other.dialog.target, other.dialog)
        target = Headers([("Refer-To", str(NameAddr("", target_uri))), *additions(headers).items()])
        if call := self._board.calls.get(dialog_id):
            call.refer(target, now)

    def info(self, dialog_id: str, content_type: str, body: bytes, now: float) -> None:
        """Send an INFO in a call that is up; `InfoAnswered` follows. Raises ValueError."""
        if call := self._board.calls.get(dialog_id):
            call.info(Headers([("Content-Type", content_type)]), body, now)

    def answer_refer(self, dialog_id: str, refer_id: str, status: int, now: float) -> None:
        """Agree to a `ReferReceived` (2xx, which is sent as 202) or refuse it (300 to 699).

        Raises ValueError.
        """
        if not 200 <= status <= 699:
            raise ValueError("a REFER is answered with 200 to 699")
        if call := self._board.calls.get(dialog_id):
            call.answer_refer(refer_id, status, now)

    def report_refer(
        self, dialog_id: str, refer_id: str, status: int, over: bool, now: float
    ) -> None:
        """Tell who sent a REFER that we agreed to what we heard from the target; `over` is the last
        such report. Raises ValueError."""
        if not 100 <= status <= 699:
            raise ValueError("a report is a status of 100 to 699")
        if call := self._board.calls.get(dialog_id):
            call.report_refer(refer_id, status, over, now)

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

    # For whoever keeps connections.

    @property
    def takes_passwords(self) -> bool:
        """Whether somebody whom we do not know may come in."""
        return bool(self._config.users)

    def knows(self, source: Address) -> bool:
        """Whether we have to do with that address: it is listed, a registrar knows us there, or a
        call of ours, made but not over, is with it."""
        return (
            self._config.serves(source)
            or self.registrations.trusts(source)
            or source.host in self._board.callees
        )

    def has_second_way(self, to: Address) -> bool:
        """Whether a request that waits for a connection to `to` goes over UDP if none is made."""
        return self._board.transactions.has_second_way(to)

    def is_in_call(self, host: str) -> bool:
        """Whether a call that is not over is with that IP address."""
        return host in self._board.callers or host in self._board.callees
