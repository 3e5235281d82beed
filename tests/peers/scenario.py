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

    @property
    def text(self) -> str:
        """What SIPp reads."""
        used = ",".join(f"v{number}" for number in range(1, self._variables + 1))
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
    ) -> Self:
        """The first INVITE, or one inside the call; `late` leaves the offer to the gateway."""
        body = () if late else session() if sdp is None else sdp
        self._invite = self._cseq + 1
        return self.request("INVITE", *headers, body=body, kind=kind)

    def ack(self, sdp: Sequence[str] = ()) -> Self:
        """Of a 2xx, with the answer to a late offer."""
        return self._request("ACK", self._invite, (), sdp, "application/sdp", repeat=False)

    def request(
        self, method: str, *headers: str, body: Sequence[str] = (), kind: str = "application/sdp"
    ) -> Self:
        self._cseq += 1
        return self._request(method, self._cseq, headers, body, kind, repeat=True)

    def prack(self) -> Self:
        """Of the reliable answer whose RSeq was kept."""
        return self.request("PRACK", f"RAck: [${self._kept}] {self._invite} INVITE")

    def ack_refusal(self) -> Self:
        """Of the refusal that came last."""
        self._request("ACK", self._invite, (), (), "", repeat=False)
        self._steps[-1] = self._steps[-1].replace("[next_url]", _TARGET).replace("[routes]\n", "")
        return self

    def bye(self) -> Self:
        """Hang up, and see it confirmed."""
        return self.request("BYE").response(200)

    def respond(
        self, status: int, *headers: str, sdp: Sequence[str] = (), reason: str = "As it is"
    ) -> Self:
        """Answer the request that came last."""
        lines = [
            f"SIP/2.0 {status} {reason}",
            *("[last_Via:]", "[last_From:]", "[last_To:]", "[last_Call-ID:]", "[last_CSeq:]"),
            _CONTACT,
            *headers,
        ]
        return self._send(lines, sdp, "application/sdp", repeat=False)

    # What it waits for.

    def response(
        self, status: int, *, has: str = "", optional: bool = False, keep: str = ""
    ) -> Self:
        """A response; `has` is an expression that must match somewhere in it, `keep` names a header
        whose number is used later."""
        more = ' optional="true"' if optional else (' rrs="true"' if keep else "")
        actions = self._check(has)
        if keep:
            self._variables += 1
            self._kept = f"v{self._variables}"
            actions += (
                f'<action><ereg regexp="[0-9]+" search_in="hdr" header="{keep}:" check_it="true" '
                f'assign_to="{self._kept}"/></action>'
            )
            actions = actions.replace("</action><action>", "")
        self._steps.append(f'  <recv response="{status}"{more}>{actions}</recv>')
        return self

    def answered(self, has: str = "") -> Self:
        """The 200 of the latest INVITE, in which `has` must match, whatever comes before: SIPp does
        not tell a late copy of an earlier 200 from it."""
        number = len(self._steps)
        self._steps.append(f'  <label id="again{number}"/>')
        for status in (100, 180, 183):
            self.response(status, optional=True)
        self._variables += 1
        found = f"v{self._variables}"
        pattern = _escaped(f"CSeq: {self._invite} INVITE.*{has}")
        self._steps.append(
            f'  <recv response="200" rrs="true"><action><ereg regexp="{pattern}" search_in="msg" '
            f'check_it="false" assign_to="{found}"/></action></recv>\n'
            f'  <nop test="{found}" next="answered{number}"/>\n'
            f'  <nop next="again{number}"/>\n'
            f'  <label id="answered{number}"/>'
        )
        return self

    def asked(self, method: str, *, has: str = "") -> Self:
        """A request of the gateway."""
        self._steps.append(f'  <recv request="{method}">{self._check(has)}</recv>')
        return self

    def pause(self, milliseconds: int) -> Self:
        self._steps.append(f'  <pause milliseconds="{milliseconds}"/>')
        return self

    def _check(self, has: str) -> str:
        if not has:
            return ""
        self._variables += 1
        return (
            f'<action><ereg regexp="{_escaped(has)}" search_in="msg" check_it="true" '
            f'assign_to="v{self._variables}"/></action>'
        )

    def _request(
        self,
        method: str,
        cseq: int,
        headers: Sequence[str],
        body: Sequence[str],
        kind: str,
        *,
        repeat: bool,
    ) -> Self:
        first = method == "INVITE" and cseq == 1
        uri = _TARGET if first else "[next_url]"
        lines = [
            f"{method} {uri} SIP/2.0",
            "Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]",
            *([] if first else ["[routes]"]),
            "Max-Forwards: 70",
            *(line.replace("@TAG@", "" if first else "[peer_tag_param]") for line in _DIALOG),
            f"CSeq: {cseq} {method}",
            *([] if method in ("ACK", "BYE") else [_CONTACT]),
            *headers,
        ]
        return self._send(lines, body, kind, repeat=repeat)

    def _send(self, lines: Sequence[str], body: Sequence[str], kind: str, *, repeat: bool) -> Self:
        head = [*lines, *([f"Content-Type: {kind}"] if body else []), "Content-Length: [len]"]
        text = "\n".join(["", *head, "", *body, ""]).replace("[service]", self._user)
        again = ' retrans="500"' if repeat else ""
        self._steps.append(f"  <send{again}><![CDATA[\n{text}\n  ]]></send>")
        return self


def _escaped(pattern: str) -> str:
    return pattern.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
