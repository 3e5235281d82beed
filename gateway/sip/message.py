"""SIP messages as data: a start line, an ordered multi-map of headers and a body.

A message is text on the outside and bytes on the wire, so the one thing that must never happen is
that text which came from somebody else (a header of an API call, a display name, a reason) opens a
new line in what we emit. `Headers.add` and `to_bytes` therefore refuse every control character and
every line separator with ValueError, and they are the only way out of this module.

Header names are looked up without regard to case and with the one-letter forms expanded
(RFC 3261 section 7.3.3), while order and spelling of what was put in stay as they were.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

MAX_MESSAGE_BYTES = 65_535
MAX_LINE_CHARS = 8_192
MAX_HEADERS = 256

TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]++")
# Controls (C0, DEL, C1), the Unicode line separators, and surrogates, which have no UTF-8 form.
FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*+:[!#-;=?-~]++")

_COMPACT = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}


@lru_cache(maxsize=512)  # every look-up asks, and most ask for the same few
def header_key(name: str) -> str:
    """The lower-case long form under which a header name is looked up."""
    lower = name.lower()
    return _COMPACT.get(lower, lower)


@dataclass(frozen=True, slots=True)
class Address:
    """One end of a hop. But for UDP the remote Address names the connection."""

    host: str
    """IP literal without brackets, or a host name."""
    port: int
    transport: str
    """ "udp", "tcp", "tls", "ws" or "wss"."""
    name: str = ""
    """Of a TLS connection that we open: the domain that its peer must prove to be (RFC 5922); ""
    is the host itself. Connections to the same place for different domains are different."""

    @property
    def is_reliable(self) -> bool:
        """Whether nothing can be lost on the way, so that nothing is said twice."""
        return self.transport != "udp"

    @property
    def is_private(self) -> bool:
        """Whether nobody between the two ends can read what passes."""
        return self.transport in ("tls", "wss")

    @property
    def is_websocket(self) -> bool:
        """Whether this is a connection that only its peer can open (RFC 7118)."""
        return self.transport in ("ws", "wss")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Bytes that are to leave towards `to`."""

    data: bytes
    to: Address


class Headers:
    """Ordered multi-map of header fields.

    A value is one line as received, unfolded and without surrounding blanks; a comma list inside
    one line is not split here (see `headers.split_list`).
    """

    __slots__ = ("_entries",)

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._entries: list[tuple[str, str, str]] = []  # key, name as spelled, value
        for name, value in items:
            self.add(name, value)

    @classmethod
    def adopt(cls, entries: list[tuple[str, str, str]]) -> Self:
        """Wrap (key, name, value) triples which the parser has already checked."""
        headers = cls()
        headers._entries = entries
        return headers

    def get(self, name: str) -> str | None:
        """The first value, or None."""
        key = header_key(name)
        for entry in self._entries:
            if entry[0] == key:
                return entry[2]
        return None

    def get_all(self, name: str) -> list[str]:
        """All values in order, one per header line."""
        key = header_key(name)
        return [entry[2] for entry in self._entries if entry[0] == key]

    def add(self, name: str, value: str) -> None:
        """Append a line. Raises ValueError for what must not be emitted."""
        self._entries.append(_checked(name, value))

    def add_first(self, name: str, value: str) -> None:
        """Put a line before all others (a Via on top of the ones that are there)."""
        self._entries.insert(0, _checked(name, value))

    def set(self, name: str, value: str) -> None:
        """Replace all lines of that name by one, in the place of the first; append if none."""
        entry = _checked(name, value)
        at = self._position(entry[0])
        if at is None:
            self._entries.append(entry)
            return
        before = self._entries[:at]
        after = [other for other in self._entries[at:] if other[0] != entry[0]]
        self._entries = [*before, entry, *after]

    def replace_first(self, name: str, value: str) -> None:
        """Give the first line of that name a new value; append if there is none."""
        entry = _checked(name, value)
        at = self._position(entry[0])
        if at is None:
            self._entries.append(entry)
        else:
            self._entries[at] = (entry[0], self._entries[at][1], entry[2])

    def items(self) -> list[tuple[str, str]]:
        """(name as spelled, value) in order."""
        return [(name, value) for _, name, value in self._entries]

    def entries(self) -> Sequence[tuple[str, str, str]]:
        """(key, name as spelled, value) in order; the key is as `header_key` makes it."""
        return self._entries

    def _position(self, key: str) -> int | None:
        for at, entry in enumerate(self._entries):
            if entry[0] == key:
                return at
        return None

    def __contains__(self, name: str) -> bool:
        return self._position(header_key(name)) is not None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return self._entries == other._entries

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Headers({self.items()!r})"


def _checked(name: str, value: str) -> tuple[str, str, str]:
    if not TOKEN.fullmatch(name):
        raise ValueError("a header name must be a token (RFC 3261 section 25.1)")
    if FORBIDDEN.search(value):
        raise ValueError(f"control character or line break in the value of header {name}")
    value = value.strip(" ")
    if len(name) + 2 + len(value) > MAX_LINE_CHARS:
        raise ValueError(f"header {name} is longer than {MAX_LINE_CHARS} characters")
    return header_key(name), name, value


@dataclass(slots=True)
class Request:
    """A request. `uri` is the Request-URI as on the wire, of any scheme."""

    method: str
    uri: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    def to_bytes(self) -> bytes:
        """The wire form; Content-Length is always ours. Raises ValueError."""
        if not TOKEN.fullmatch(self.method):
            raise ValueError("a method must be a token")
        if not _URI.fullmatch(self.uri):
            raise ValueError("a Request-URI is a scheme and visible ASCII without <, > and quotes")
        return _wire(f"{self.method} {self.uri} SIP/2.0", self.headers, self.body)


@dataclass(slots=True)
class Response:
    """A response; `status` is 100 to 699."""

    status: int
    reason: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    def to_bytes(self) -> bytes:
        """The wire form; Content-Length is always ours. Raises ValueError."""
        if not 100 <= self.status <= 699:
            raise ValueError("a status is 100 to 699")
        if FORBIDDEN.search(self.reason):
            raise ValueError("control character or line break in the reason phrase")
        return _wire(f"SIP/2.0 {self.status} {self.reason}", self.headers, self.body)


Message = Request | Response


def _wire(start_line: str, headers: Headers, body: bytes) -> bytes:
    if len(start_line) > MAX_LINE_CHARS:
        raise ValueError(f"the start line is longer than {MAX_LINE_CHARS} characters")
    lines = [start_line]
    length_name = "Content-Length"
    length_at = 0
    for key, name, value in headers.entries():
        if key == "content-length":
            if not length_at:
                length_name, length_at = name, len(lines)
                lines.append("")
            continue
        lines.append(f"{name}: {value}")
    if not length_at:
        length_at = len(lines)
        lines.append("")
    lines[length_at] = f"{length_name}: {len(body)}"
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
