"""The headers that steer a SIP message: Via, CSeq, and the lists of the others.

Via is the way back. The top one is written by whoever sent us the request; the receiver notes in it
where the packet really came from (`received`, RFC 3261 section 18.2.1) and, when the sender asked
by an empty `rport`, from which port (RFC 3581), so that the answer passes the sender's NAT.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from gateway.sip.message import FORBIDDEN, TOKEN, Headers
from gateway.sip.uri import (
    NameAddr,
    Params,
    UriError,
    check_params,
    find_param,
    format_host,
    format_params,
    parse_host,
    parse_params,
    proven,
)

BRANCH_MAGIC = "z9hG4bK"
"""Start of every branch that is unique by RFC 3261 section 8.1.1.7."""

MAX_CSEQ = 2**31 - 1

_TOKEN_TEXT = r"[A-Za-z0-9\-.!%*_+`'~]++"
_VIA = re.compile(
    rf"(?P<name>{_TOKEN_TEXT})[ ]*+/[ ]*+(?P<version>{_TOKEN_TEXT})[ ]*+/"
    rf"[ ]*+(?P<transport>{_TOKEN_TEXT})"
    r"[ ]++(?P<host>[A-Za-z0-9_][A-Za-z0-9_.\-]*+|\[[0-9A-Fa-f:.]++\])"
    r"[ ]*+(?::[ ]*+(?P<port>[0-9]{1,5})[ ]*+)?"
)
_PORT = re.compile(r"[0-9]{1,5}")
_CSEQ = re.compile(rf"(?P<number>[0-9]{{1,32}}+)[ ]++(?P<method>{_TOKEN_TEXT})")
_PIECE = re.compile(r'"(?:[^"\\]++|\\.)*+"|<[^<>]*+>|[^",<>]++')


class HeaderError(ValueError):
    """A header value that is not of its grammar."""


def split_list(value: str) -> list[str]:
    """Split a comma list, not at commas inside quotes or <>.

    Elements come without surrounding blanks; an empty one stays in the list as "".
    Raises HeaderError for a quote or bracket that is never closed.
    """
    if "," not in value:
        return [value.strip(" ")]
    parts: list[str] = []
    start = at = 0
    end = len(value)
    while at < end:
        if value[at] == ",":
            parts.append(value[start:at].strip(" "))
            at += 1
            start = at
            continue
        match = _PIECE.match(value, at)
        if match is None:
            raise HeaderError("unbalanced quotes or brackets")
        at = match.end()
    parts.append(value[start:].strip(" "))
    return parts


@dataclass(frozen=True, slots=True)
class Via:
    """One Via element. Raises HeaderError when a field does not fit the grammar."""

    transport: str
    """As spelled: "UDP", "TCP"."""
    host: str
    """sent-by: name or IP literal, an IPv6 one without its brackets."""
    port: int | None
    params: Params = ()
    protocol: str = "SIP/2.0"

    def __post_init__(self) -> None:
        protocol = self.protocol.split("/")
        if len(protocol) != 2 or not all(map(TOKEN.fullmatch, (*protocol, self.transport))):
            raise HeaderError("malformed Via")
        if self.port is not None and not 0 <= self.port <= 65535:
            raise HeaderError("port out of range")
        try:
            parse_host(format_host(self.host))
            check_params(self.params)
        except UriError as error:
            raise HeaderError(str(error)) from None

    @classmethod
    def parse(cls, text: str) -> "Via":
        """Read one element of a Via list. Raises HeaderError."""
        return _read_via(text)

    def param(self, name: str) -> str | None:
        """Raw value of a parameter; "" when it stands without a value, None when absent."""
        return find_param(self.params, name)

    @property
    def branch(self) -> str | None:
        """The transaction's name, or None (RFC 2543)."""
        return find_param(self.params, "branch")

    def stamped(self, host: str, port: int) -> "Via":
        """This Via with the source address of the packet that brought it, an IP literal.

        `rport` is filled in and `received` always goes with it when the sender asked for it
        (RFC 3581 section 4); else `received` is there only where it says something new.
        """
        params = [pair for pair in self.params if pair[0].lower() != "received"]
        asked = False
        for at, (name, _) in enumerate(params):
            if name.lower() == "rport":
                params[at] = (name, str(port))
                asked = True
        if asked or host.lower() != self.host.lower():
            params.append(("received", host))
        return proven(
            Via,
            transport=self.transport,
            host=self.host,
            port=self.port,
            params=tuple(params),
            protocol=self.protocol,
        )

    def reply_address(self) -> tuple[str, int]:
        """(host, port) where a response goes (RFC 3261 section 18.2.2, RFC 3581 section 4).

        `maddr` is left out on purpose: it would let a stranger point our answers at anybody.
        """
        host = (self.param("received") or self.host).strip("[]")
        rport = self.param("rport")
        if rport and _PORT.fullmatch(rport) and 0 < int(rport) <= 65535:
            return host, int(rport)
        if self.port is not None:
            return host, self.port
        return host, 5061 if self.transport.upper() == "TLS" else 5060

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        sent_by = f"{self.protocol}/{self.transport} {format_host(self.host)}{port}"
        return sent_by + format_params(self.params)


@dataclass(frozen=True, slots=True)
class CSeq:
    """Number (0 to 2**31 - 1) and method. Raises HeaderError."""

    number: int
    method: str

    def __post_init__(self) -> None:
        if not 0 <= self.number <= MAX_CSEQ:
            raise HeaderError("CSeq number out of range")
        if not TOKEN.fullmatch(self.method):
            raise HeaderError("malformed CSeq method")

    @classmethod
    def parse(cls, text: str) -> "CSeq":
        """Read the value of a CSeq header. Raises HeaderError."""
        return _read_cseq(text)

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def top_via(headers: Headers) -> Via:
    """The topmost Via. Raises HeaderError, also when there is none."""
    value = headers.get("Via")
    if value is None:
        raise HeaderError("no Via")
    return Via.parse(split_list(value)[0])


def replace_top_via(headers: Headers, via: Via) -> None:
    """Write `via` over the topmost element; the others stay. Raises HeaderError."""
    value = headers.get("Via")
    if value is None:
        raise HeaderError("no Via")
    headers.replace_first("Via", ", ".join([str(via), *split_list(value)[1:]]))


def name_addrs(headers: Headers, name: str) -> list[NameAddr]:
    """All addresses of a list header (Contact, Route, Record-Route), in order.

    Raises ValueError (HeaderError or UriError).
    """
    return [NameAddr.parse(part) for value in headers.get_all(name) for part in split_list(value)]


def words(headers: Headers, name: str) -> list[str]:
    """The elements of a list header (Allow, Accept) as they stand, empty ones left out.

    Raises HeaderError for unbalanced quotes.
    """
    return [part for value in headers.get_all(name) for part in split_list(value) if part]


def option_tags(headers: Headers, name: str) -> list[str]:
    """The extensions that Require or Supported names, in lower case: the case of a token says
    nothing, unless it is a method (RFC 3261 sections 7.1, 7.3.1). Raises HeaderError."""
    return [word.lower() for word in words(headers, name)]


def media_type(value: str) -> str:
    """Lower-case type/subtype of a Content-Type or Accept element, without its parameters."""
    return "/".join(part.strip(" ") for part in value.partition(";")[0].split("/")).lower()


def tag_of(value: str) -> str | None:
    """The tag of a From or To value; None when it has none or is malformed."""
    try:
        return NameAddr.parse(value).tag
    except UriError:
        return None


def with_tag(value: str, tag: str) -> str:
    """A To value as a response carries it: with `tag` if it had none.

    The text of the peer is kept as it is; a malformed value is returned unchanged.
    """
    try:
        address = NameAddr.parse(value)
    except UriError:
        return value
    return value if address.tag else f"{value};tag={tag}"


# As in `uri`: each message asks for these several times.
@lru_cache(maxsize=256)
def _read_via(text: str) -> Via:
    text = text.strip(" ")
    match = _VIA.match(text)
    if match is None or FORBIDDEN.search(text):
        raise HeaderError("malformed Via")
    name, version, transport, host, port = match.groups()
    try:
        host = parse_host(host)
        params = parse_params(text, match.end())
    except UriError as error:
        raise HeaderError(str(error)) from None
    number = None if port is None else int(port)
    if number is not None and number > 65535:
        raise HeaderError("port out of range")
    return proven(
        Via,
        transport=transport,
        host=host,
        port=number,
        params=params,
        protocol=f"{name}/{version}",
    )


@lru_cache(maxsize=256)
def _read_cseq(text: str) -> CSeq:
    match = _CSEQ.fullmatch(text.strip(" "))
    if match is None:
        raise HeaderError("malformed CSeq")
    return CSeq(int(match["number"]), match["method"])
