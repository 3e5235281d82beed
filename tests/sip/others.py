"""Other agents than ours, for both ends of a simulated network.

A telephone that follows a REFER, and a trunk that lets nobody call without a proof. Both are our
agent with what it does not do laid over it, so that transactions and dialogs are real.
"""

import hashlib
import re
from dataclasses import dataclass, field
from functools import partial

from gateway.sip.agent import SipAgent
from gateway.sip.compose import respond, sequence_number
from gateway.sip.config import SipConfig
from gateway.sip.message import Address, Request
from gateway.sip.parse import parse
from tests.sip.network import Network, Node, tokens


@dataclass(frozen=True)
class Script:
    """What a telephone does with a REFER."""

    answer: int = 202
    reports: tuple[tuple[float, int, str], ...] = ()
    """Seconds after the REFER, status, Subscription-State."""
    reports_first: bool = False
    """A NOTIFY 100 leaves before the answer."""
    hangs_up_after_s: float | None = None


@dataclass
class Referred:
    """What came of it."""

    refers: list[Request] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    """Statuses that our NOTIFYs were answered with."""


class Transferee(SipAgent):
    """A telephone that follows REFERs."""

    def __init__(self, net: Network, host: str, script: Script) -> None:
        super().__init__(SipConfig(host=host), token=tokens(99))
        self._pass_on = self._reception.receive
        self._reception.receive = self._receive_request  # type: ignore[method-assign]
        self.net = net
        self.script = script
        self.seen = Referred()

    def _receive_request(self, request: Request, source: Address, now: float) -> None:
        transactions = self._board.transactions
        if request.method != "REFER":
            self._pass_on(request, source, now)
        elif copy_of := transactions.find(request):
            copy_of.receive(request, now)
        elif (call := self._reception._call_of(request)) is None:
            self._reception._answer(request, source, 481)
        else:
            self.seen.refers.append(request)
            call.dialog.remote_cseq = sequence_number(request)
            number = sequence_number(request)
            transaction = transactions.serve(request, source)
            if self.script.reports_first:
                self._report(call.id, number, 100, "active", now)
            transaction.answer(respond(request, self.script.answer, server="t"), now)
            for delay_s, status, state in self.script.reports:
                self.net.at(delay_s, partial(self._report, call.id, number, status, state))
            if self.script.hangs_up_after_s is not None:
                hang_up = partial(self.hang_up, call.id)
                self.net.at(self.script.hangs_up_after_s, hang_up)

    def _report(self, dialog_id: str, number: int, status: int, state: str, now: float) -> None:
        call = self._board.calls.get(dialog_id)
        if call is None:
            return
        notify = call.dialog.request("NOTIFY")
        for name, value in (
            ("Event", f"refer;id={number}"),
            ("Subscription-State", state),
            ("Content-Type", "message/sipfrag"),
            ("Contact", self._config.contact("udp")),
        ):
            notify.headers.add(name, value)
        notify.body = f"SIP/2.0 {status} Whatever\r\n".encode()

        def heard(response: object, source: Address, now: float) -> None:
            self.seen.answers.append(response.status)  # type: ignore[attr-defined]

        call._requests.send(notify, call.dialog, now, on_response=heard)


class Trunk(SipAgent):
    """A peer that wants a proof with every request but ACK and CANCEL, each nonce used once."""

    def __init__(self, host: str, password: str, algorithm: str = "SHA-256") -> None:
        source = tokens(98)
        super().__init__(SipConfig(host=host), token=source)
        self._pass_on = self._reception.receive
        self._reception.receive = self._receive_request  # type: ignore[method-assign]
        self._password = password
        self._algorithm = algorithm
        self._nonces: set[str] = set()
        self._fresh = source
        self.proven: list[str] = []
        """Methods of the requests that came with a good proof."""

    def _receive_request(self, request: Request, source: Address, now: float) -> None:
        transactions = self._board.transactions
        plain = request.method in ("ACK", "CANCEL") or transactions.find(request) is not None
        if plain or self._is_proven(request):
            self._pass_on(request, source, now)
            return
        nonce = self._fresh()
        self._nonces.add(nonce)
        challenge = (
            f'Digest realm="trunk", nonce="{nonce}", algorithm={self._algorithm}, qop="auth"'
        )
        headers = (("Proxy-Authenticate", 'Basic realm="x"'), ("Proxy-Authenticate", challenge))
        transaction = transactions.serve(request, source)
        transaction.answer(
            respond(request, 407, server="t", tag=f"refused{nonce}", headers=headers), now
        )

    def _is_proven(self, request: Request) -> bool:
        fields = proof_fields(request.headers.get("Proxy-Authorization") or "")
        nonce = fields.get("nonce", "")
        if nonce not in self._nonces:
            return False
        self._nonces.discard(nonce)
        good = fields["response"] == response_to(
            fields, request.method, "me", self._password, self._algorithm
        )
        assert fields["uri"] == request.uri
        self.proven.append(request.method)
        return good


def proof_fields(value: str) -> dict[str, str]:
    """The parameters of an Authorization header, as a server reads them."""
    found = re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^",]+))', value.removeprefix("Digest "))
    return {name: re.sub(r"\\(.)", r"\1", quoted) or plain for name, quoted, plain in found}


def response_to(
    fields: dict[str, str], method: str, user: str, password: str, algorithm: str = "MD5"
) -> str:
    """What `response` has to be (RFC 2617 section 3.2.2, RFC 7616 section 3.4.1)."""
    name = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}[algorithm]

    def hashed(text: str) -> str:
        return hashlib.new(name, text.encode()).hexdigest()

    first = hashed(f"{user}:{fields['realm']}:{password}")
    second = hashed(f"{method}:{fields['uri']}")
    if "qop" not in fields:
        return hashed(f"{first}:{fields['nonce']}:{second}")
    middle = f"{fields['nonce']}:{fields['nc']}:{fields['cnonce']}:{fields['qop']}"
    return hashed(f"{first}:{middle}:{second}")


def put(net: Network, host: str, agent: SipAgent) -> Node:
    """Place an agent of another kind at `host`."""
    node = net.nodes[host] = Node(agent, host)
    return node


def sent_by(node: Node, what: str) -> list[Request]:
    """The requests of a method that left, copies included."""
    messages = (parse(outgoing.data) for _, outgoing in node.sent)
    return [one for one in messages if isinstance(one, Request) and one.method == what]
