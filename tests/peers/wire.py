"""SIP by hand: sockets, and messages put together from text.

It shares nothing with the gateway's own SIP, on purpose: what both sides got wrong in the same way
would show nowhere. A `Caller` speaks for one call and does only what a test tells it; responses and
requests that arrive wait until the test asks for them.
"""

import contextlib
import itertools
import select
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

HOST = "127.0.0.1"
_serial = itertools.count(1)

_COMPACT = {
    "v": "via",
    "f": "from",
    "t": "to",
    "m": "contact",
    "i": "call-id",
    "l": "content-length",
    "c": "content-type",
    "k": "supported",
}


@dataclass(frozen=True, slots=True)
class Message:
    """A SIP message, read just well enough for a test."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: str
    source: tuple[str, int] = ("", 0)

    @property
    def status(self) -> int:
        """The status of a response; 0 for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """The method of a request, and of the request that a response answers."""
        return self.header("cseq").split()[-1] if self.status else self.start.split()[0]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    def header(self, name: str) -> str:
        """The first value, or ""."""
        return next(iter(self.all(name)), "")

    @property
    def to_tag(self) -> str:
        return _parameter(self.header("to"), "tag")

    @property
    def contact_uri(self) -> str:
        return self.header("contact").partition("<")[2].partition(">")[0]

    def sdp(self, prefix: str) -> list[str]:
        """What follows `prefix` in the lines of the SDP that begin with it."""
        return [line[len(prefix) :] for line in self.body.splitlines() if line.startswith(prefix)]

    @property
    def media(self) -> tuple[str, int]:
        """Where the SDP wants audio."""
        return self.sdp("c=IN IP4 ")[0].split()[0], int(self.sdp("m=audio ")[0].split()[0])

    @property
    def direction(self) -> str:
        """`sendrecv`, `sendonly`, `recvonly` or `inactive`, as the SDP says or leaves out."""
        for name in ("sendonly", "recvonly", "inactive"):
            if f"a={name}" in self.body.split():
                return name
        return "sendrecv"


def read(data: bytes, source: tuple[str, int] = ("", 0)) -> Message:
    """A message that the gateway made, which is well-formed or else the test fails."""
    head, _, body = data.partition(b"\r\n\r\n")
    start, *lines = head.decode().split("\r\n")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        assert colon and name.strip() == name, f"a malformed header: {line!r}"
        headers.append((_COMPACT.get(name.lower(), name.lower()), value.strip()))
    message = Message(start, tuple(headers), body.decode(), source)
    assert message.header("content-length") == str(len(body)), "Content-Length is wrong"
    return message


class Wire(Protocol):
    """A transport to the gateway."""

    name: str
    address: tuple[str, int]

    def send(self, data: bytes) -> None: ...

    def receive(self, timeout_s: float) -> Message | None: ...

    def close(self) -> None: ...


class UdpWire:
    """A UDP socket, and more to listen on where answers may go to other ports than the source."""

    name = "UDP"

    def __init__(
        self, gateway: tuple[str, int], host: str = HOST, port: int = 0, *others: int
    ) -> None:
        self._gateway = gateway
        self._sockets: list[socket.socket] = []
        for number in (port, *others):
            self._sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            self._sockets[-1].bind((host, number))
        self.address: tuple[str, int] = self._sockets[0].getsockname()

    def send(self, data: bytes) -> None:
        self._sockets[0].sendto(data, self._gateway)

    def receive(self, timeout_s: float) -> Message | None:
        deadline = time.monotonic() + timeout_s
        while ready := select.select(self._sockets, [], [], max(deadline - time.monotonic(), 0))[0]:
            data, source = ready[0].recvfrom(65536)
            # A report for a port that the system gave us next to somebody's RTP port is no message.
            if data[:1] < b"\x80":
                return read(data, source)
        return None

    def close(self) -> None:
        for one in self._sockets:
            one.close()


class TcpWire:
    """One TCP connection, opened by us, with TLS if it is given one."""

    name = "TCP"

    def __init__(
        self, gateway: tuple[str, int], timeout_s: float = 5, tls: ssl.SSLContext | None = None
    ) -> None:
        self._gateway = gateway
        self.socket = socket.create_connection(gateway, timeout=timeout_s)
        if tls is not None:
            self.name, self.socket = "TLS", tls.wrap_socket(self.socket)
        self.address: tuple[str, int] = self.socket.getsockname()
        self.ended = False
        """The gateway closed the connection."""
        self._held = b""

    def send(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def receive(self, timeout_s: float) -> Message | None:
        deadline = time.monotonic() + timeout_s
        while (message := self._next()) is None:
            left = deadline - time.monotonic()
            if self.ended or left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return None
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            self.ended = not data
            self._held += data
        return message

    def _next(self) -> Message | None:
        held = self._held.lstrip(b"\r\n")
        head, end, rest = held.partition(b"\r\n\r\n")
        if not end:
            return None
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        if len(rest) < length:
            return None
        self._held = rest[length:]
        return read(head + end + rest[:length], self._gateway)

    def close(self) -> None:
        self.socket.close()


def connect(transport: str, gateway: tuple[str, int]) -> Wire:
    """A fresh `UDP` or `TCP` transport."""
    return UdpWire(gateway) if transport == "UDP" else TcpWire(gateway)


def offer(
    port: int,
    formats: str = "0 8 101",
    *,
    host: str = HOST,
    direction: str = "sendrecv",
    lines: Sequence[str] = ("a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15"),
    version: int = 1,
) -> str:
    """SDP with one audio line."""
    return "".join(
        f"{line}\r\n"
        for line in (
            "v=0",
            f"o=caller 7 {version} IN IP4 {host}",
            "s=call",
            f"c=IN IP4 {host}",
            "t=0 0",
            f"m=audio {port} RTP/AVP {formats}",
            *lines,
            f"a={direction}",
        )
    )


class Caller:
    """One call, step by step.

    Args:
        wire: its transport; the caller closes it.
        gateway: where the gateway listens.
    """

    def __init__(self, wire: Wire, gateway: tuple[str, int]) -> None:
        self.wire = wire
        self._gateway = gateway
        serial = f"{next(_serial)}-{time.monotonic_ns():x}"
        self.call_id = f"call-{serial}"
        self.uri = f"sip:agent@{gateway[0]}:{gateway[1]}"
        self.target = self.uri
        self._from = f'"A caller" <sip:+15551234567@{HOST}>;tag=from-{serial}'
        self._to = f"<{self.uri}>"
        self.cseq = 0
        self.invite_branch = ""
        self._waiting: list[Message] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.wire.close()

    # What it sends.

    def request(
        self,
        method: str,
        body: str = "",
        headers: Sequence[str] = (),
        *,
        cseq: int | None = None,
        branch: str = "",
        content_type: str = "application/sdp",
        max_forwards: int = 70,
        target: str = "",
    ) -> bytes:
        """The text of a request of this call; nothing is sent."""
        host, port = self.wire.address
        transport = "" if self.wire.name == "UDP" else f";transport={self.wire.name.lower()}"
        branch = branch or f"z9hG4bK-{next(_serial)}-{time.monotonic_ns():x}"
        lines = [
            f"{method} {target or self.target} SIP/2.0",
            f"Via: SIP/2.0/{self.wire.name} {host}:{port};rport;branch={branch}",
            f"Max-Forwards: {max_forwards}",
            f"From: {self._from}",
            f"To: {self._to}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq if cseq is None else cseq} {method}",
            f"Contact: <sip:caller@{host}:{port}{transport}>",
            *headers,
            *([f"Content-Type: {content_type}"] if body else []),
            f"Content-Length: {len(body.encode())}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def invite(self, sdp: str = "", headers: Sequence[str] = (), **parts: str) -> bytes:
        """Send an INVITE, the first one or one inside the call; returns what was sent."""
        self.cseq += 1
        self.invite_branch = f"z9hG4bK-{next(_serial)}-{time.monotonic_ns():x}"
        data = self.request("INVITE", sdp, headers, branch=self.invite_branch, **parts)  # type: ignore[arg-type]
        self.wire.send(data)
        return data

    def ack(self, final: Message, sdp: str = "") -> bytes:
        """Acknowledge a final response."""
        self._learn(final)
        branch = "" if final.status < 300 else self.invite_branch
        cseq = int(final.header("cseq").split()[0])
        data = self.request("ACK", sdp, cseq=cseq, branch=branch)
        self.wire.send(data)
        return data

    def cancel(self) -> None:
        cancel = self.request("CANCEL", cseq=self.cseq, branch=self.invite_branch)
        self.wire.send(
            b"\r\n".join(line for line in cancel.split(b"\r\n") if not line.startswith(b"Contact:"))
        )

    def bye(self) -> None:
        self.cseq += 1
        self.wire.send(self.request("BYE"))

    def answer(self, request: Message, status: int = 200, reason: str = "OK") -> None:
        """Answer a request of the gateway."""
        kept = ("via", "from", "to", "call-id", "cseq")
        lines = [f"SIP/2.0 {status} {reason}"]
        lines += [f"{name}: {value}" for name, value in request.headers if name in kept]
        self.wire.send(("\r\n".join(lines) + "\r\nContent-Length: 0\r\n\r\n").encode())

    # What it receives.

    def wait(self, method: str, *statuses: int, timeout_s: float = 5.0) -> Message:
        """The next response to a request of this method, with one of these statuses if given.

        With status 0, the next request of this method. What else arrives is kept.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            for message in self._waiting:
                fits = message.status in statuses if statuses else message.status > 0
                if message.method == method and fits:
                    self._waiting.remove(message)
                    return message
            arrived = self.wire.receive(deadline - time.monotonic())
            if arrived is None:
                seen = [message.start for message in self._waiting]
                wanted = str(statuses[:2])[:-1] + ", ...)" if len(statuses) > 2 else statuses
                raise AssertionError(f"no {method} {wanted} in {timeout_s} s; came: {seen}")
            self._waiting.append(arrived)

    def final(self, method: str = "INVITE", timeout_s: float = 5.0) -> Message:
        """The next final response to a request of this method."""
        return self.wait(method, *range(200, 700), timeout_s=timeout_s)

    def silent_for(self, duration_s: float) -> bool:
        """Whether nothing at all arrives for so long."""
        arrived = self.wire.receive(duration_s)
        if arrived is not None:
            self._waiting.append(arrived)
        return arrived is None

    # Whole steps.

    def call(self, sdp: str, headers: Sequence[str] = ()) -> Message:
        """Set up a call; returns the 200."""
        self.invite(sdp, headers)
        final = self.final()
        assert final.status == 200, final.start
        self.ack(final)
        return final

    def reinvite(self, sdp: str) -> Message:
        """Make a new offer inside the call; returns the final response."""
        self.invite(sdp)
        final = self.final()
        self.ack(final)
        return final

    def hang_up(self) -> Message:
        self.bye()
        final = self.final("BYE")
        assert final.status == 200, final.start
        return final

    def _learn(self, final: Message) -> None:
        """Take the dialog's other half from a response."""
        self._to = final.header("to")
        if 200 <= final.status < 300 and final.contact_uri:
            self.target = final.contact_uri


def _parameter(header: str, name: str) -> str:
    for part in header.split(">")[-1].split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""
