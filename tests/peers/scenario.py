"""Scenarios of SIPp, written as what a caller does, one step after the other.

`Scenario("hold").invite().answered().ack().pause(500).invite(sdp=…)` and so on. SIPp repeats
what is lost, as a telephone does; each step that waits fails the call when something else comes.
"""

from collections.abc import Sequence
from typing import Self

PCMU_FIRST = "0 8 101"
_EVENTS = ("a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15")
_DIALOG = (
    'From: "Test caller" <sip:+15557654321@[local_ip]:[local_port]>;tag=[pid]-[call_number]',
    "To: <sip:[service]@[remote_ip]:[remote_port]>@TAG@",
    "Call-ID: [call_id]",
)
_ECHOED = ("Via", "From", "To", "Call-ID", "CSeq")
_TARGET = "sip:[service]@[remote_ip]:[remote_port]"
_CONTACT = "Contact: <sip:tester@[local_ip]:[local_port];transport=[transport]>"


def session(
    formats: str = PCMU_FIRST,
    *,
    direction: str = "sendrecv",
    port: str = "[media_port]",
    host: str = "[media_ip]",
    version: int = 1,
    lines: Sequence[str] = _EVENTS,
) -> tuple[str, ...]:
    """The lines of a session description with one audio stream."""
    return (
        "v=0",
        f"o=tester 40 {version} IN IP[local_ip_type] [local_ip]",
        "s=call",
        f"c=IN IP[media_ip_type] {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {formats}",
        *lines,
        f"a={direction}",
    )


class Scenario:
    """A caller of `user`, from its INVITE on."""

    def __init__(self, name: str, *, user: str = "agent") -> None:
        self.name = name
        self._user = user
        self._steps: list[str] = []
        self._cseq = 0
        self._invite = 0
        self._variables = 0
        self._kept = ""
        self._latest = 0
        self._is_up = False
        self._names: list[str] = []

    @property
    def text(self) -> str:
        """What SIPp reads."""
        numbered = [f"v{number}" for number in range(1, self._variables + 1)]
        used = ",".join([*numbered, *self._names])
        reference = f'<Reference variables="{used}"/>' if used else ""
        steps = "\n".join([*self._steps, reference])
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="{self.name}">\n'
            f"{steps}\n</scenario>\n"
        )

    # What the caller sends.

    def invite(
        self,
        *headers: str,
        sdp: Sequence[str] | None = None,
        late: bool = False,
        kind: str = "application/sdp",
        proof: str = "",
    ) -> Self:
        """The first INVITE, or one inside the call; `late` leaves the offer to the gateway, `proof`
        (`user:password`) makes it the first once more, after it was challenged."""
        body = () if late else session() if sdp is None else sdp
        self._cseq += 1
        self._invite = self._latest = self._cseq
        if proof:
            user, _, password = proof.partition(":")
            headers = (f"[authentication username={user} password={password}]", *headers)
        inside = self._cseq > 1 and not proof
        return self._request("INVITE", self._cseq, headers, body, kind, inside=inside)

    def cancel(self) -> Self:
        """The latest INVITE."""
        self._latest = self._invite
        return self._request("CANCEL", self._invite, (), (), inside=False)

    def ack(self, sdp: Sequence[str] = ()) -> Self:
        """Of a 2xx, with the answer to a late offer."""
        return self._request("ACK", self._invite, (), sdp, branch="-ack")

    def request(
        self, method: str, *headers: str, body: Sequence[str] = (), kind: str = "application/sdp"
    ) -> Self:
        self._cseq += 1
        self._latest = self._cseq
        return self._request(method, self._cseq, headers, body, kind)

    def prack(self) -> Self:
        """Of the reliable answer whose RSeq was kept."""
        return self.request("PRACK", f"RAck: [${self._kept}] {self._invite} INVITE")

    def ack_refusal(self) -> Self:
        """Of the refusal that came last; inside the call if the INVITE was."""
        return self._request("ACK", self._invite, (), (), inside=self._is_up, tag=True)

    def bye(self) -> Self:
        """Hang up, and see it confirmed."""
        return self.request("BYE").response(200)

    def respond(
        self,
        status: int,
        *headers: str,
        sdp: Sequence[str] = (),
        reason: str = "As it is",
        to: str = "",
        until_acked: bool = False,
    ) -> Self:
        """Answer the request that came last, or the one kept as `to` by `asked`."""
        if to:
            named = [f"{name}:[${to}{number}]" for number, name in enumerate(_ECHOED)]
        else:
            named = [f"[last_{name}:]" for name in _ECHOED]
        lines = [f"SIP/2.0 {status} {reason}", *named, _CONTACT, *headers]
        return self._send(lines, sdp, "application/sdp", repeat=until_acked)

    # What it waits for.

    def response(
        self, status: int, *, has: str = "", optional: bool = False, keep: str = ""
    ) -> Self:
        """A response to the latest request; `has` is an expression that must match somewhere in it,
        `keep` names a header whose number is used later."""
        more = ' optional="true"' if optional else (' rrs="true"' if keep else "")
        actions = self._check(has)
        if keep:
            self._variables += 1
            self._kept = f"v{self._variables}"
            actions += (
                f'<ereg regexp="[0-9]+" search_in="hdr" header="{keep}:" check_it="true" '
                f'assign_to="{self._kept}"/>'
            )
        return self._receive(status, self._latest, more, actions)

    def answered(self, has: str = "") -> Self:
        """The 200 of the latest INVITE, in which `has` must match, whatever comes before."""
        self._is_up = True
        for status in (100, 180, 183):
            self._receive(status, self._invite, ' optional="true"')
        return self._receive(200, self._invite, ' rrs="true"', self._check(has))

    def challenged(self) -> Self:
        """A 401, which is acknowledged."""
        self.response(100, optional=True)
        return self._receive(401, self._invite, ' auth="true"').ack_refusal()

    def asked(self, method: str, *, has: str = "", keep: str = "") -> Self:
        """A request of the gateway; `keep` names it, to be answered after others came."""
        actions = self._check(has)
        if keep:
            actions += "".join(
                f'<ereg regexp=".*" search_in="hdr" header="{name}:" assign_to="{keep}{number}"/>'
                for number, name in enumerate(_ECHOED)
            )
            self._names += [f"{keep}{number}" for number in range(len(_ECHOED))]
        self._steps.append(f'  <recv request="{method}">{_in_action(actions)}</recv>')
        return self

    def pause(self, milliseconds: int) -> Self:
        self._steps.append(f'  <pause milliseconds="{milliseconds}"/>')
        return self

    def _check(self, has: str) -> str:
        if not has:
            return ""
        self._variables += 1
        return (
            f'<ereg regexp="{_escaped(has)}" search_in="msg" check_it="true" '
            f'assign_to="v{self._variables}"/>'
        )

    def _receive(self, status: int, cseq: int, more: str, actions: str = "") -> Self:
        """Of this transaction only: SIPp would take a late copy of another 200 for this one, and
        stop to repeat what has not arrived."""
        self._steps.append(
            f'  <recv response="{status}" response_txn="t{cseq}"{more}>{_in_action(actions)}</recv>'
        )
        return self

    def _request(
        self,
        method: str,
        cseq: int,
        headers: Sequence[str],
        body: Sequence[str],
        kind: str = "application/sdp",
        *,
        inside: bool | None = None,
        tag: bool | None = None,
        branch: str = "",
    ) -> Self:
        """One of a transaction has the branch of all others in it."""
        if inside is None:
            inside = cseq > 1 or method != "INVITE"
        to_tag = "[peer_tag_param]" if (inside if tag is None else tag) else ""
        lines = [
            f"{method} {'[next_url]' if inside else _TARGET} SIP/2.0",
            "Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;"
            f"branch=z9hG4bK-[pid]-[call_number]-{cseq}{branch}",
            *(["[routes]"] if inside else []),
            "Max-Forwards: 70",
            *(line.replace("@TAG@", to_tag) for line in _DIALOG),
            f"CSeq: {cseq} {method}",
            *([] if method in ("ACK", "BYE", "CANCEL") else [_CONTACT]),
            *headers,
        ]
        part = {"ACK": "ack_txn", "CANCEL": ""}.get(method, "start_txn")
        transaction = f' {part}="t{cseq}"' if part else ""
        return self._send(lines, body, kind, repeat=method != "ACK", transaction=transaction)

    def _send(
        self,
        lines: Sequence[str],
        body: Sequence[str],
        kind: str,
        *,
        repeat: bool,
        transaction: str = "",
    ) -> Self:
        head = [*lines, *([f"Content-Type: {kind}"] if body else []), "Content-Length: [len]"]
        text = "\n".join(["", *head, "", *body, ""]).replace("[service]", self._user)
        again = ' retrans="500"' if repeat else ""
        self._steps.append(f"  <send{again}{transaction}><![CDATA[\n{text}\n  ]]></send>")
        return self


def _in_action(steps: str) -> str:
    return f"<action>{steps}</action>" if steps else ""


def _escaped(pattern: str) -> str:
    return pattern.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
