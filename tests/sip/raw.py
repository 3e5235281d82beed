"""Messages written by hand, and an agent to send them to."""

from gateway.sip.agent import SipAgent
from gateway.sip.config import SipConfig
from gateway.sip.events import Answered, IncomingCall, SipEvent
from gateway.sip.headers import Via, split_list
from gateway.sip.layer import ServerTransaction
from gateway.sip.message import Address, Headers, Message, Request, Response
from gateway.sip.parse import parse
from tests.sip.network import tokens

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\n"
PEER = Address("192.0.2.9", 5062, "udp")
PEER_TCP = Address("192.0.2.9", 40000, "tcp")
PEER_WS = Address("192.0.2.9", 40000, "ws")


def vias(headers: Headers) -> list[Via]:
    """All Via elements, topmost first."""
    return [Via.parse(part) for value in headers.get_all("Via") for part in split_list(value)]


SPARE_LINES = {
    "contact": (
        *("Contact: *", "m: *", "Contact: *, *", "Contact: <sip:c@h>, *", "Contact: <sip:c@h>,"),
        *("Contact: <sip:c@192.0.2.9>", "m: sip:c@h", "Contact: <sip:c@h>, <sip:d@[::1]>;q=1"),
        *("Contact: tel:+1", "Contact: <sip:c@[2606:4700::1111]>", "Contact: "),
    ),
    "record-route": (
        *("Record-Route: <sip:192.0.2.9;lr>", "Record-Route: <tel:+1>, <sip:r>", "Record-Route: "),
        *("Record-Route: *", "Record-Route: <sip:169.254.169.254:80;lr>"),
    ),
    "route": ("Route: *", "Route: <sip:r>", "Route: <sip:r>,", "Route: r"),
    "via": (
        *("Via: SIP/2.0/UDP 192.0.2.8;branch=z9hG4bK8", "Via: SIP/2.0/TCP h, SIP/2.0/TLS [::1]:1"),
        *("v: ", "Via: *", "v: SIP/2.0/UDP h;branch=", "Via: SIP/2.0/UDP h,"),
    ),
    "to": ("From: <sip:f@h>;tag=f", "To: <sip:t@h>", "t: <sip:t@h>;tag=t", "To: *", "f: *"),
    "cseq": ("CSeq: 9 INVITE", "CSeq: 9 BYE", "CSeq: *", "Call-ID: other", "i: "),
    "require": ("Require: ", "Require: a, ,b", 'Require: "', "Require: c,*", "Require: <,>"),
    "accept": ("Accept: */*", "Accept: a/b", 'Accept: "', "Accept: ,", "Accept: <", "Accept: <,"),
    "content": (
        *("Content-Type: a/b", "c: application/sdp", "Content-Length: 0", "l: 1", "l: *"),
        *("Content-Encoding: gzip", "e: identity", "Content-Disposition: a;handling=optional"),
    ),
    "event": (
        *("Event: refer", "o: refer;id=2", "Event: refer;id=99", "Event: ;", "Event: talk"),
        *("Subscription-State: active;expires=60", "Subscription-State: terminated"),
        *("Subscription-State: ", "c: message/sipfrag;version=2.0", "Event: refer;id"),
    ),
    "challenge": (
        *('WWW-Authenticate: Digest realm="r", nonce="1", qop="auth"', "WWW-Authenticate: Digest "),
        *('WWW-Authenticate: Digest realm="r", nonce="2", stale=true', "WWW-Authenticate: Basic a"),
        *(
            'Proxy-Authenticate: Digest realm="r",nonce="3",algorithm=SHA-256',
            'WWW-Authenticate: "',
        ),
    ),
    "session": (
        *("Session-Expires: 90", "x: 90;refresher=uas", "x: 1;refresher=uac", "Session-Expires: ;"),
        *("Min-SE: 3600", "Min-SE: ", "Supported: timer", "k: timer, 100rel, replaces", "Allow: "),
        *("Allow: UPDATE, PRACK", "Require: timer", "x: 99999999999999999999;refresher"),
    ),
    "reliable": (
        *("RSeq: 1", "RSeq: 2", "RSeq: ", "RSeq: 99999999999", "Require: 100rel", "RAck: 1 1"),
        *("RAck: 1 1 INVITE", "RAck: x y z", "Supported: 100rel", "RAck: 99999999999 1 INVITE"),
    ),
    "asking": (
        *("Refer-To: <sip:x@h>", "r: sip:y@h", "Refer-To: <tel:+1>, <sip:a>", "Refer-To: "),
        *(
            "Refer-Sub: false",
            "Info-Package: a",
            "Replaces: up;to-tag=1;from-tag=bob",
            "Replaces: ;",
        ),
        *("Replaces: up;to-tag;from-tag", "Content-Type: application/dtmf", "Replaces: "),
    ),
    "rest": ("Max-Forwards: 0", "Max-Forwards: 70", "Expires: 3", "Expires: *", "Timestamp: *"),
}
"""Lines for a fuzzer to put beside those that a message has."""


def request(
    method: str,
    *,
    branch: str = "1",
    cseq: int = 1,
    uri: str = "sip:agent@192.0.2.1",
    to: str = "<sip:agent@192.0.2.1>",
    caller: str = "<sip:bob@192.0.2.9>;tag=bob",
    call_id: str = "call-1",
    via: str | None = None,
    contact: str | None = "<sip:bob@192.0.2.9:5062>",
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
    body_type: str | None = "application/sdp",
) -> bytes:
    """A request as a telephone at PEER writes it; None leaves a header out."""
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: {via or f'SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bK{branch};rport'}",
        f"From: {caller}",
        f"To: {to}",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {method}",
    ]
    if contact and method == "INVITE":
        lines.append(f"Contact: {contact}")
    lines += [f"{name}: {value}" for name, value in headers]
    if body and body_type:
        lines.append(f"Content-Type: {body_type}")
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answer_to(
    asked: Message,
    status: int,
    *,
    tag: str | None = "callee",
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
    contact: str | None = "<sip:callee@192.0.2.9:5062>",
) -> bytes:
    """A response as PEER writes it to a request of ours."""
    lines = [f"SIP/2.0 {status} Whatever"]
    for name in ("Via", "From", "To", "Call-ID", "CSeq"):
        for value in asked.headers.get_all(name):
            lines.append(f"{name}: {value}" + (f";tag={tag}" if name == "To" and tag else ""))
    if contact:
        lines.append(f"Contact: {contact}")
    lines += [f"{name}: {value}" for name, value in headers]
    if body:
        lines.append("Content-Type: application/sdp")
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def read(data: bytes) -> Message:
    """Like `parse`, but an answer may repeat what was wrong with its request."""
    if data.startswith((b"SIP/2.0 4", b"SIP/2.0 5")):
        head = data.decode().partition("\r\n\r\n")[0]
        start, *lines = head.split("\r\n")
        fields = [line.partition(": ") for line in lines]
        headers = Headers((name, value) for name, _, value in fields)
        return Response(int(start[8:11]), start[12:], headers)
    return parse(data)


class Desk:
    """One agent at 192.0.2.1 and a clock; `send` returns what the agent says to a message."""

    def __init__(self, **config: object) -> None:
        settings = SipConfig(host="192.0.2.1", **config)  # type: ignore[arg-type]
        self.agent = SipAgent(settings, token=tokens(7))
        self.now = 100.0
        self.addresses: list[Address] = []
        """Where the messages last drained were to go."""

    def send(self, data: bytes, source: Address = PEER) -> list[Message]:
        self.agent.receive(data, source, self.now)
        return self.drain()

    def status(self, data: bytes, source: Address = PEER) -> int:
        """The status of the only answer."""
        (answer,) = self.send(data, source)
        assert isinstance(answer, Response)
        return answer.status

    def drain(self) -> list[Message]:
        waiting = self.agent.datagrams_to_send()
        self.addresses = [outgoing.to for outgoing in waiting]
        return [read(outgoing.data) for outgoing in waiting]

    def events(self) -> list[SipEvent]:
        return self.agent.events()

    def wait(self, seconds: float) -> list[tuple[float, Message]]:
        """Let time pass; what was said meanwhile, and how long after the beginning."""
        start, end, said = self.now, self.now + seconds, []
        while (when := self.agent.next_timeout()) is not None and when <= end:
            self.now = max(self.now, when)
            self.agent.timeout(self.now)
            said += [(round(self.now - start, 3), message) for message in self.drain()]
        self.now = end
        return said

    def skip(self, seconds: float) -> None:
        """Let time pass; nobody listens."""
        end = self.now + seconds
        while (when := self.agent.next_timeout()) is not None and when <= end:
            self.now = max(self.now, when)
            self.agent.timeout(self.now)
        self.agent.datagrams_to_send()
        self.now = end

    def incoming(self, source: Address = PEER, **changes: object) -> str:
        """Take in a call; its dialog id."""
        if "body" not in changes:
            changes["body"] = SDP
        (trying,) = self.send(request("INVITE", **changes), source)  # type: ignore[arg-type]
        assert isinstance(trying, Response) and trying.status == 100
        (event,) = self.events()
        assert isinstance(event, IncomingCall)
        return event.dialog_id

    def confirmed(self, source: Address = PEER, **changes: object) -> str:
        """Take in a call, accept it, have it acknowledged."""
        dialog_id = self.incoming(source, **changes)
        self.agent.accept(dialog_id, SDP, self.now)
        assert codes(self.drain()) == [200]
        same = {name: value for name, value in changes.items() if name in ("call_id", "via")}
        assert self.send(self.within("ACK", dialog_id, cseq=1, branch="ack", **same), source) == []
        assert self.events() == [Answered(dialog_id, None)]
        return dialog_id

    def within(self, method: str, dialog_id: str, **changes: object) -> bytes:
        """A request of the caller inside the dialog."""
        fields = {"cseq": 2, "branch": f"in-{method}", "uri": "sip:192.0.2.1:5060"} | changes
        to = f"<sip:agent@192.0.2.1>;tag={dialog_id}"
        return request(method, to=to, **fields)  # type: ignore[arg-type]

    def calling(self, **changes: object) -> tuple[str, Request]:
        """Call PEER; the dialog id and the INVITE."""
        fields = {"body": SDP, "to": PEER, "from_uri": "sip:me@192.0.2.1"} | changes
        dialog_id = self.agent.invite("sip:bob@192.0.2.9", now=self.now, **fields)  # type: ignore[arg-type]
        (invite,) = self.drain()
        assert isinstance(invite, Request)
        return dialog_id, invite

    @property
    def forgotten(self) -> list[ServerTransaction]:
        """Requests of peers that wait for an answer which no call will give: for ever."""
        board = self.agent._board
        owned: set[ServerTransaction] = set()
        for call in board.calls.values():
            refers = call._asked_refers._refers.values()
            waiting = (call._asked, call._updates.asked, *(one for one in refers))
            owned.update(asked.transaction for asked in waiting if asked is not None)
        servers = board.transactions._servers.values()
        return [one for one in servers if not one.answered and one not in owned]

    @property
    def is_empty(self) -> bool:
        return not (self.agent.dialogs or self.agent.transactions or self.agent.timers)


def notify(
    desk: Desk,
    dialog_id: str,
    fragment: str | bytes,
    state: str | None = "active;expires=60",
    *,
    event: str | None = "refer",
    body_type: str | None = "message/sipfrag;version=2.0",
    **changes: object,
) -> bytes:
    """A NOTIFY of the caller of a call that came in; None leaves a header out."""
    named = (("Event", event), ("Subscription-State", state))
    return desk.within(
        "NOTIFY",
        dialog_id,
        headers=tuple((name, value) for name, value in named if value is not None),
        body=fragment if isinstance(fragment, bytes) else fragment.encode(),
        body_type=body_type,
        **changes,
    )


def codes(messages: list[Message]) -> list[str | int]:
    """Methods of requests, statuses of responses."""
    return [one.method if isinstance(one, Request) else one.status for one in messages]
