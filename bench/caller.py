"""Signalling of one simulated caller: just enough SIP over UDP to place a call and end it.

Written by hand and not with the gateway's own SIP package, so that the benchmark measures the
gateway from outside. Every method returns the datagrams to send now.
"""

from dataclasses import dataclass

RETRY_NS = 500_000_000  # T1 of RFC 3261 section 17.1.1.1
MAX_TRIES = 7
AUDIO_TYPE, DIGIT_TYPE = 0, 101
"""Payload types offered: PCMU and telephone-event."""


@dataclass(frozen=True, slots=True)
class Message:
    """A SIP message, first value of each header, names in lower case and not abbreviated."""

    first_line: str
    headers: dict[str, str]
    vias: list[str]
    body: str

    @property
    def status(self) -> int:
        """The status code, or 0 for a request."""
        parts = self.first_line.split(" ", 2)
        return int(parts[1]) if parts[0] == "SIP/2.0" and parts[1].isdigit() else 0


_COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact"}


def parse(data: bytes) -> Message | None:
    """Read a message, or return None for what is not one."""
    head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
    first_line, *lines = head.split("\r\n")
    headers: dict[str, str] = {}
    vias: list[str] = []
    for line in lines:
        name, colon, value = line.partition(":")
        key = name.strip().lower()
        key = _COMPACT.get(key, key)
        if colon and key == "via":
            vias.append(value.strip())
        elif colon:
            headers.setdefault(key, value.strip())
    known = {"call-id", "cseq", "from", "to"} <= headers.keys()
    return Message(first_line, headers, vias, body) if known and " " in first_line else None


def ok_to(request: Message) -> bytes:
    """A plain 200 to any request of the peer."""
    copied = [f"Via: {via}" for via in request.vias]
    copied += [f"{name}: {request.headers[name]}" for name in ("from", "to", "call-id", "cseq")]
    return "\r\n".join(["SIP/2.0 200 OK", *copied, "Content-Length: 0", "", ""]).encode()


class Caller:
    """One call. Times are nanoseconds of any steady clock.

    Args:
        number: which call this is; makes its identifiers.
        run: text that sets this run apart from others against the same gateway.
        local: host and port of our SIP socket.
        gateway: host and port of the gateway's SIP socket.
        audio_port: our RTP port.
    """

    def __init__(
        self,
        number: int,
        run: str,
        local: tuple[str, int],
        gateway: tuple[str, int],
        audio_port: int,
    ) -> None:
        self.state = "idle"
        """`idle`, `calling`, `up`, `ending`, `over`, or `failed`."""
        self.failure = ""
        self.call_id = f"bench-{run}-{number}"
        self.media: tuple[str, int] = ("", 0)
        self.control: tuple[str, int] = ("", 0)
        """Where the gateway wants RTP and RTCP."""
        self.setup_ns = 0
        self._number = number
        self._local = local
        self._uri = f"sip:agent@{gateway[0]}:{gateway[1]}"
        self._target = self._uri
        self._to = f"<{self._uri}>"
        self._audio_port = audio_port
        self._request = b""
        self._began_ns = self._retry_ns = 0
        self._tries = 0

    def invite(self, now_ns: int) -> list[bytes]:
        host = self._local[0]
        body = (
            f"v=0\r\no=bench {self._number} 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {self._audio_port} RTP/AVP {AUDIO_TYPE} {DIGIT_TYPE}\r\n"
            f"a=rtpmap:{AUDIO_TYPE} PCMU/8000\r\na=rtpmap:{DIGIT_TYPE} telephone-event/8000\r\n"
            f"a=fmtp:{DIGIT_TYPE} 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
        )
        self.state = "calling"
        self._began_ns = now_ns
        return self._start(self._message("INVITE", 1, body), now_ns)

    def hang_up(self, now_ns: int) -> list[bytes]:
        if self.state != "up":
            return []
        self.state = "ending"
        return self._start(self._message("BYE", 2), now_ns)

    def tick(self, now_ns: int) -> list[bytes]:
        """Repeat what was not answered; call it every now and then."""
        if not self._request or now_ns < self._retry_ns:
            return []
        self._tries += 1
        if self._tries >= MAX_TRIES:
            self._fail("no answer to " + self._request[:6].decode().strip())
            return []
        self._retry_ns = now_ns + RETRY_NS * 2 ** min(self._tries, 3)
        return [self._request]

    def receive(self, message: Message, now_ns: int) -> list[bytes]:
        """A message of this call arrived."""
        status, method = message.status, message.headers["cseq"].rpartition(" ")[2]
        if not status:
            if message.first_line.startswith("BYE"):
                if self.state == "up":
                    self._fail("the gateway hung up")
                elif self.state == "ending":
                    self.state, self._request = "over", b""
            return [] if message.first_line.startswith("ACK") else [ok_to(message)]
        if method == "BYE" and status >= 200 and self.state == "ending":
            self.state, self._request = "over", b""
        elif method == "INVITE" and status < 200:
            self._request = b""  # it arrived: stop repeating it
        elif method == "INVITE" and status < 300:
            return self._answered(message, now_ns)
        elif method == "INVITE":
            self._fail(message.first_line.removeprefix("SIP/2.0 "))
            self._to = message.headers["to"]
            return [self._message("ACK", 1, rejected=True)]
        return []

    def _answered(self, message: Message, now_ns: int) -> list[bytes]:
        self._request = b""
        self._to = message.headers["to"]
        contact = message.headers.get("contact", "")
        self._target = contact.partition("<")[2].partition(">")[0] or contact or self._target
        if self.state == "calling":
            self.setup_ns = now_ns - self._began_ns
            self._read_answer(message.body)
        return [self._message("ACK", 1)]  # again for a repeated 200

    def _read_answer(self, body: str) -> None:
        host, port, control_port, accepted = "", 0, 0, False
        for line in body.splitlines():
            words = line[2:].split()
            if line.startswith("c=IN IP4 ") and len(words) == 3:
                host = words[2]
            elif line.startswith("m=audio ") and len(words) > 3 and words[1].isdigit():
                port, accepted = int(words[1]), words[3] == str(AUDIO_TYPE)
            elif line.startswith("a=rtcp:") and words[0][5:].isdigit():
                control_port = int(words[0][5:])
        if host and port and accepted:
            self.state = "up"
            self.media, self.control = (host, port), (host, control_port or port + 1)
        else:
            self._fail("the answer carries no PCMU audio")

    def _fail(self, why: str) -> None:
        self.state, self.failure, self._request = "failed", why, b""

    def _start(self, request: bytes, now_ns: int) -> list[bytes]:
        self._request, self._tries, self._retry_ns = request, 0, now_ns + RETRY_NS
        return [request]

    def _message(
        self, method: str, sequence: int, body: str = "", *, rejected: bool = False
    ) -> bytes:
        host, port = self._local
        # The ACK of a rejection belongs to the INVITE's transaction, that of a 2xx is its own
        # (RFC 3261 sections 17.1.1.3 and 13.2.2.4).
        own = "INVITE" if rejected else method
        uri = self._uri if own == "INVITE" else self._target
        branch = f"z9hG4bK-{self.call_id}-{own}"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: <sip:bench{self._number}@{host}>;tag={self._number}b",
            f"To: {self._to}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {sequence} {method}",
            f"Contact: <sip:bench@{host}:{port}>",
        ]
        if body:
            lines.append("Content-Type: application/sdp")
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()
