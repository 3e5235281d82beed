"""The transaction layer: which transaction a message belongs to (RFC 3261 sections 17.1.3, 17.2.3).

A response finds its client transaction by the branch that we put into our Via and by its method. A
request finds its server transaction by branch and sent-by of the sender's Via; the ACK of a refusal
shares the branch of its INVITE. A sender of RFC 2543 gives no branch to go by, so everything that
such a sender keeps the same in a copy is compared instead.

A transaction tells its user by the functions it was given: `on_response`, `on_ack`, `on_failure`
(with "timeout" or "transport"), `on_cancel` (with the CANCEL and its own transaction) and `on_over`
when it is gone. They are let go of at its end.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from gateway.sip.compose import ack_of_refusal
from gateway.sip.config import SipConfig
from gateway.sip.deadlines import Deadlines
from gateway.sip.headers import BRANCH_MAGIC, CSeq, Via, tag_of, top_via
from gateway.sip.long_requests import MAX_UDP_REQUEST_BYTES, WithoutTcp
from gateway.sip.message import Address, Outgoing, Request, Response
from gateway.sip.outbox import Outbox, countable
from gateway.sip.services import DEFAULT_PORTS
from gateway.sip.transaction import (
    CLIENT_INVITE,
    CLIENT_NON_INVITE,
    SERVER_INVITE,
    SERVER_NON_INVITE,
    Action,
    Signal,
    State,
    Transaction,
    signal_of,
)
from gateway.sip.uri import Params

OnResponse = Callable[[Response, Address, float], None]
OnAck = Callable[[Request, float], None]
OnFailure = Callable[[str, float], None]
OnCancel = Callable[[Request, "ServerTransaction", float], None]
OnOver = Callable[[float], None]
Key = tuple[str, ...]


class ClientTransaction(Transaction):
    """A request of ours."""

    __slots__ = (
        "_heard",
        "_layer",
        "key",
        "on_failure",
        "on_over",
        "on_response",
        "request",
        "said_at",
        "second_way",
    )

    def __init__(self, request: Request, key: Key, to: Address, layer: "TransactionLayer") -> None:
        machine = CLIENT_INVITE if request.method == "INVITE" else CLIENT_NON_INVITE
        super().__init__(machine, to, layer.config, layer.outbox, layer.deadlines)
        self.request = request
        self.key = key
        self.second_way: Address | None = None
        """Over UDP, where the request was too long for that."""
        self.said_at = 0.0
        """When it was said first on the way that it takes now."""
        self.on_response: OnResponse | None = None
        self.on_failure: OnFailure | None = None
        self.on_over: OnOver | None = None
        self._layer = layer
        self._heard: tuple[Response, Address] | None = None

    def start(self, data: bytes, now: float) -> None:
        self.said_at = now
        self._say(data)
        self._send()
        self._keep_timers(now)

    @property
    def has_second_way(self) -> bool:
        """Whether it is said over UDP if the way that it takes now leads nowhere."""
        return self.second_way is not None and self.state in (State.CALLING, State.TRYING)

    def take_second_way(self, via: Via, now: float) -> None:
        """The first one leads nowhere: say it again as if nothing had been said."""
        if self.second_way is not None:
            self.to, self.second_way = self.second_way, None
            self.request.headers.replace_first("Via", str(via))
            self.start(self.request.to_bytes(), now)

    def receive(self, response: Response, source: Address, now: float) -> None:
        self._heard = (response, source)
        self.feed(signal_of(response.status), now)
        self._heard = None

    def _tell(self, action: Action, now: float) -> None:
        if action in (Action.TIMED_OUT, Action.UNREACHABLE):
            if self.on_failure is not None:
                self.on_failure("timeout" if action is Action.TIMED_OUT else "transport", now)
        elif self._heard is not None:
            response, source = self._heard
            if action is Action.ACK:
                self._outbox.send(ack_of_refusal(self.request, response).to_bytes(), self.to)
            elif self.on_response is not None:
                self.on_response(response, source, now)

    def _over(self, now: float) -> None:
        on_over = self.on_over
        self.on_response = self.on_failure = self.on_over = None
        self._layer.client_over(self)
        if on_over is not None:
            on_over(now)


class ServerTransaction(Transaction):
    """A request of somebody else."""

    __slots__ = (
        "_ack",
        "_layer",
        "call",
        "key",
        "method",
        "on_ack",
        "on_cancel",
        "on_failure",
        "second_way",
    )

    def __init__(
        self, method: str, key: Key, call: Key | None, to: Address, layer: "TransactionLayer"
    ) -> None:
        machine = SERVER_INVITE if method == "INVITE" else SERVER_NON_INVITE
        super().__init__(machine, to, layer.config, layer.outbox, layer.deadlines)
        self.method = method
        self.key = key
        self.call = call
        """Of an INVITE outside dialogs: what is the same on whatever way it comes."""
        self.second_way: Address | None = None
        """Where it is answered when the connection that it came on is gone."""
        self.on_ack: OnAck | None = None
        self.on_failure: OnFailure | None = None
        self.on_cancel: OnCancel | None = None
        self._layer = layer
        self._ack: Request | None = None

    @property
    def answered(self) -> bool:
        """Whether a final response was sent."""
        return self.state not in (State.TRYING, State.PROCEEDING)

    def answer(self, response: Response, now: float) -> None:
        """Send a response; nothing happens after a final one."""
        if self.answered:
            return
        self._say(response.to_bytes())
        self._outbox.counters.responses[countable(self.method), response.status] += 1
        self.feed(signal_of(response.status), now)

    def repeat(self, now: float) -> None:
        """Send the 2xx again (RFC 3261 section 13.3.1.4)."""
        self.feed(Signal.SUCCESS, now)

    def receive(self, request: Request, now: float) -> None:
        """Take a copy of the request, or the ACK."""
        self._ack = request
        self.feed(Signal.ACK if request.method == "ACK" else Signal.REQUEST, now)
        self._ack = None

    def _tell(self, action: Action, now: float) -> None:
        if action is Action.DELIVER:
            if self.on_ack is not None and self._ack is not None:
                self.on_ack(self._ack, now)
        elif self.on_failure is not None:
            self.on_failure("timeout" if action is Action.TIMED_OUT else "transport", now)

    def _over(self, now: float) -> None:
        self.on_ack = self.on_failure = self.on_cancel = None
        self._layer.server_over(self)


class TransactionLayer:
    """All transactions of one agent."""

    def __init__(
        self, config: SipConfig, outbox: Outbox, deadlines: Deadlines, token: Callable[[], str]
    ) -> None:
        self.config = config
        self.outbox = outbox
        self.deadlines = deadlines
        self._token = token
        self._clients: dict[Key, ClientTransaction] = {}
        self._servers: dict[Key, ServerTransaction] = {}
        self._asked: Counter[str] = Counter()  # hosts that requests of ours were sent to
        self._calls_heard: set[Key] = set()  # INVITEs outside dialogs, however they came
        self._without_tcp = WithoutTcp()

    def __len__(self) -> int:
        return len(self._clients) + len(self._servers)

    @property
    def unanswered(self) -> int:
        """Requests of ours that still wait for a final response."""
        waiting = (State.CALLING, State.TRYING, State.PROCEEDING)
        return sum(client.state in waiting for client in self._clients.values())

    def awaits(self, host: str) -> bool:
        """Whether a request of ours that went there is not forgotten yet."""
        return host in self._asked

    # What we ask.

    def request(
        self,
        request: Request,
        to: Address,
        now: float,
        *,
        on_response: OnResponse | None = None,
        on_failure: OnFailure | None = None,
        on_over: OnOver | None = None,
    ) -> ClientTransaction:
        """Send a request and see it through. It gets our Via, unless it has one (CANCEL).

        One that is too long for UDP goes over TCP to the same place, and over UDP after all if no
        connection can be made there. Raises ValueError if it holds what must not be sent.
        """
        second_way: Address | None = None
        if "Via" not in request.headers:
            self._sign(request, to)
        elif (
            invite := self._clients.get((top_via(request.headers).branch or "", "INVITE"))
        ) is not None:
            to = invite.to  # a CANCEL goes the same way (section 9.1)
        branch = top_via(request.headers).branch or ""
        key = (branch, request.method)
        data = request.to_bytes()
        if len(data) > MAX_UDP_REQUEST_BYTES and self._may_connect(to, now):
            to, second_way = replace(to, transport="tcp"), to
            request.headers.replace_first("Via", str(self._via(to, branch)))
            data = request.to_bytes()
        self._asked[to.host] += 1
        client = ClientTransaction(request, key, to, self)
        client.second_way = second_way
        client.on_response = on_response
        client.on_failure = on_failure
        client.on_over = on_over
        self._clients[key] = client
        client.start(data, now)
        return client

    def client_over(self, client: ClientTransaction) -> None:
        """It is gone."""
        del self._clients[client.key]
        host = client.to.host  # the second way leads there too
        self._asked[host] -= 1
        if not self._asked[host]:
            del self._asked[host]

    def acknowledge(self, ack: Request, to: Address) -> Outgoing:
        """Send the ACK of a 2xx, which is no transaction; returns it for the next copy."""
        self._sign(ack, to)
        data = ack.to_bytes()
        self.outbox.send(data, to)
        return Outgoing(data, to)

    def _sign(self, request: Request, to: Address) -> None:
        request.headers.add_first("Via", str(self._via(to, BRANCH_MAGIC + self._token())))

    def _via(self, to: Address, branch: str) -> Via:
        host, port = self.config.sent_by(to.transport, to.host)
        params: Params = (("branch", branch), ("rport", None))
        if to.transport == "tls" and self.config.tls_port:
            params += (("alias", None),)  # requests to us may take the same connection (RFC 5923)
        return Via(to.transport.upper(), host, port, params)

    def _may_connect(self, to: Address, now: float) -> bool:
        """Whether what is meant for a UDP address may be tried over TCP."""
        if to.transport != "udp" or not self.config.tcp_port:
            return False
        return not self._without_tcp.holds(to, now)

    def has_second_way(self, to: Address) -> bool:
        """Whether a request that waits for a connection to `to` can go there over UDP."""
        return any(one.to == to and one.has_second_way for one in self._clients.values())

    def _goes_second_way(self, client: ClientTransaction, now: float) -> bool:
        to = client.second_way
        if to is None or not client.has_second_way:
            return False
        self._without_tcp.note(to, now)
        client.take_second_way(self._via(to, top_via(client.request.headers).branch or ""), now)
        return True

    def receive_response(self, response: Response, source: Address, now: float) -> bool:
        """Returns whether it belongs to one of our requests."""
        method = CSeq.parse(response.headers.get("CSeq") or "").method
        client = self._clients.get((top_via(response.headers).branch or "", method))
        if client is None:
            return False
        client.receive(response, source, now)
        return True

    # What we are asked.

    def find(self, request: Request, method: str | None = None) -> ServerTransaction | None:
        """The transaction that `request` is a copy of; or, for a CANCEL, the one of `method`."""
        return self._servers.get(_server_key(request, method or request.method))

    def serve(self, request: Request, reply_to: Address) -> ServerTransaction:
        """Open a transaction for a request that belongs to none."""
        key = _server_key(request, request.method)
        call = _call_key(request) if _opens_call(request) else None
        server = ServerTransaction(request.method, key, call, reply_to, self)
        if reply_to.is_reliable and not reply_to.is_websocket:
            port = top_via(request.headers).port or DEFAULT_PORTS[reply_to.transport]
            server.second_way = replace(reply_to, port=port)
        self._servers[key] = server
        if call is not None:
            self._calls_heard.add(call)
        return server

    def server_over(self, server: ServerTransaction) -> None:
        """It is gone."""
        del self._servers[server.key]
        if server.call is not None:
            self._calls_heard.discard(server.call)

    def is_merged(self, request: Request) -> bool:
        """Whether this INVITE, which is no copy, came another way before (section 8.2.2.2)."""
        return _opens_call(request) and _call_key(request) in self._calls_heard

    # Both.

    def transport_failed(self, to: Address, now: float) -> None:
        """Tell every transaction that talks to `to`."""
        self.requests_failed(to, now)
        for server in [one for one in self._servers.values() if one.to == to]:
            server.feed(Signal.TRANSPORT_ERROR, now)

    def connection_lost(self, address: Address, now: float) -> None:
        """Requests of ours that wait for their answer on it have failed; answers of ours go to
        where the peer has said that it listens (RFC 3261 section 18.2.2)."""
        self.requests_failed(address, now)
        for server in self._servers.values():
            if server.to == address and server.second_way is not None:
                server.to = server.second_way

    def requests_failed(self, to: Address, now: float) -> None:
        """Tell every request of ours that was sent to `to`."""
        for client in [one for one in self._clients.values() if one.to == to]:
            if not self._goes_second_way(client, now):
                client.feed(Signal.TRANSPORT_ERROR, now)


def _server_key(request: Request, method: str) -> Key:
    if method == "ACK":
        method = "INVITE"
    via = top_via(request.headers)
    branch = via.branch or ""
    if branch.startswith(BRANCH_MAGIC):
        return branch, via.host.lower(), str(via.port), method
    # RFC 2543. The To tag is left out: the ACK has it, the INVITE it belongs to had not.
    sent = str(CSeq.parse(request.headers.get("CSeq") or "").number)
    return (
        request.uri,
        sent,
        method,
        str(via),
        request.headers.get("Call-ID") or "",
        _caller(request),
    )


def _opens_call(request: Request) -> bool:
    return request.method == "INVITE" and tag_of(request.headers.get("To") or "") is None


def _call_key(request: Request) -> Key:
    return (
        request.headers.get("Call-ID") or "",
        request.headers.get("CSeq") or "",
        _caller(request),
    )


def _caller(request: Request) -> str:
    return tag_of(request.headers.get("From") or "") or ""
