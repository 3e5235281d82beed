"""SIP URIs and the addresses that carry them (RFC 3261 sections 19.1, 20 and 25.1).

Every field holds the text as it stands on the wire, escapes (%41) included, so that what was
received is what is sent again. Both classes check their fields when they are made, with the same
patterns that read the wire, so neither can print anything that does not parse back to itself.

Where the grammar and practice differ: a `#` and other visible ASCII may stand in user and
parameters (star codes, record-route cookies of proxies), an underscore in host names, and an
unquoted display name may be any text without the five characters that give a header its shape.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Self, TypeVar

from gateway.sip.message import FORBIDDEN, TOKEN

Params = tuple[tuple[str, str | None], ...]
"""Parameters in order: (name as spelled, raw value or None for a bare name)."""

_PLAIN = r"!#$&'()*+\-./0-9A-Z\[\]^_`a-z{|}~"
_ESCAPED = "%[0-9A-Fa-f]{2}"
_USER = rf"(?:[{_PLAIN}=,;?]++|{_ESCAPED})++"
_PASSWORD = rf"(?:[{_PLAIN}=,]++|{_ESCAPED})*+"
_PARAM_NAME = rf"(?:[{_PLAIN}:]++|{_ESCAPED})++"
_PARAM_VALUE = rf"(?:[{_PLAIN}:=]++|{_ESCAPED})*+"
_PARAMS = rf"(?:;{_PARAM_NAME}(?:={_PARAM_VALUE})?)*+"
_HEADERS = rf"(?:[{_PLAIN}:=?]++|{_ESCAPED})++"
_HOST = r"[A-Za-z0-9_][A-Za-z0-9_.\-]*+|\[[0-9A-Fa-f:.]++\]"

_SIP_URI = re.compile(
    rf"(?P<scheme>[Ss][Ii][Pp][Ss]?):"
    rf"(?:(?:(?P<user>{_USER})(?::(?P<password>{_PASSWORD}))?)?@)?"
    rf"(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?"
    rf"(?P<params>{_PARAMS})(?:\?(?P<headers>{_HEADERS}))?"
)
_ANY_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*+):[!#-;=?-~]++")
_USER_FIELD = re.compile(_USER)
_PASSWORD_FIELD = re.compile(_PASSWORD)
_HOST_FIELD = re.compile(_HOST)
_PARAM_NAME_FIELD = re.compile(_PARAM_NAME)
_PARAM_VALUE_FIELD = re.compile(_PARAM_VALUE)
_HEADERS_FIELD = re.compile(_HEADERS)

_QUOTED = r'"(?:[^"\\]++|\\.)*+"'
_VALUE = rf'{_QUOTED}|[^\x00-\x20",;<>\\\x7f]++'
_HEADER_PARAM = re.compile(
    rf"[ ]*+;[ ]*+(?P<name>[A-Za-z0-9\-.!%*_+`'~]++)[ ]*+(?:=[ ]*+(?P<value>{_VALUE})[ ]*+)?"
)
_HEADER_PARAM_VALUE = re.compile(_VALUE)
_BRACKETED = re.compile(
    rf'(?:(?P<quoted>{_QUOTED})[ ]*+|(?P<plain>[^"<>,;\\]*+))<(?P<uri>[^<> ]++)>'
)
_ESCAPED_CHAR = re.compile(r"\\(.)")


_Made = TypeVar("_Made")


class UriError(ValueError):
    """Text that is no URI, or no address, of the grammar."""


def uri_scheme(text: str) -> str:
    """The lower-case scheme of any URI. Raises UriError."""
    match = _ANY_URI.fullmatch(text)
    if match is None:
        raise UriError("not a URI")
    return match["scheme"].lower()


def check_uri(text: str) -> None:
    """Raise UriError unless `text` is a URI of any scheme; sip and sips are checked in full."""
    match = _SIP_URI.fullmatch(text)
    if match is not None:
        parse_host(match["host"])
        _port_from_wire(match["port"])
    elif uri_scheme(text) in ("sip", "sips"):
        raise UriError("malformed SIP URI")


def find_param(params: Params, name: str) -> str | None:
    """Raw value of a parameter; "" when it stands without a value, None when it is not there."""
    wanted = name.lower()
    for key, value in params:
        if key.lower() == wanted:
            return "" if value is None else value
    return None


@dataclass(frozen=True, slots=True)
class SipUri:
    """A sip or sips URI. Raises UriError when a field does not fit the grammar."""

    scheme: str
    """ "sip" or "sips"."""
    user: str | None
    """Escaped, as on the wire."""
    password: str | None
    host: str
    """Name or IP literal, an IPv6 one without its brackets."""
    port: int | None = None
    params: Params = ()
    headers: str = ""
    """What follows the question mark, raw."""

    def __post_init__(self) -> None:
        if self.scheme not in ("sip", "sips"):
            raise UriError("scheme is not sip or sips")
        if self.user is None:
            if self.password is not None:
                raise UriError("a password needs a user")
        elif not _USER_FIELD.fullmatch(self.user):
            raise UriError("malformed user")
        if self.password is not None and not _PASSWORD_FIELD.fullmatch(self.password):
            raise UriError("malformed password")
        parse_host(format_host(self.host))
        if self.port is not None and not 0 <= self.port <= 65535:
            raise UriError("port out of range")
        for name, value in self.params:
            if not _PARAM_NAME_FIELD.fullmatch(name):
                raise UriError("malformed parameter")
            if value is not None and not _PARAM_VALUE_FIELD.fullmatch(value):
                raise UriError("malformed parameter")
        if self.headers and not _HEADERS_FIELD.fullmatch(self.headers):
            raise UriError("malformed headers")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a sip or sips URI. Raises UriError."""
        match = _SIP_URI.fullmatch(text)
        if match is None:
            raise UriError("malformed SIP URI")
        scheme, user, password, host, port, params, headers = match.groups()
        return proven(
            cls,
            scheme=scheme.lower(),
            user=user,  # None for "sip:@host" too, which phones make of a caller without a number
            password=password,
            host=parse_host(host),
            port=_port_from_wire(port),
            params=_split_params(params) if params else (),
            headers=headers or "",
        )

    def param(self, name: str) -> str | None:
        """See `find_param`."""
        return find_param(self.params, name)

    def __str__(self) -> str:
        parts = [self.scheme, ":"]
        if self.user is not None:
            parts.append(self.user)
            if self.password is not None:
                parts += (":", self.password)
            parts.append("@")
        parts.append(format_host(self.host))
        if self.port is not None:
            parts.append(f":{self.port}")
        for name, value in self.params:
            parts.append(f";{name}" if value is None else f";{name}={value}")
        if self.headers:
            parts += ("?", self.headers)
        return "".join(parts)


def proven(cls: type[_Made], **fields: object) -> _Made:
    """An instance without the checks of `__post_init__`: a pattern has just done them."""
    made = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def format_host(host: str) -> str:
    """A host as it stands in a URI or Via: an IPv6 literal gets its brackets."""
    return f"[{host}]" if ":" in host else host


def parse_host(text: str) -> str:
    """A host as it stands in a URI or Via, without brackets. Raises UriError."""
    if not text.startswith("["):
        if not _HOST_FIELD.fullmatch(text) or len(text) > 255:
            raise UriError("malformed host")
        return text
    # RFC 5118 section 4.10: the grammar of RFC 3261 wrongly allows a third colon.
    literal = text[1:-1].replace(":::", "::")
    try:
        IPv6Address(literal)
    except AddressValueError:
        raise UriError("malformed IPv6 reference") from None
    return literal


def _port_from_wire(port: str | None) -> int | None:
    if port is None:
        return None
    number = int(port)
    if number > 65535:
        raise UriError("port out of range")
    return number


def _split_params(text: str) -> Params:
    pairs: list[tuple[str, str | None]] = []
    for part in text[1:].split(";"):
        name, equals, value = part.partition("=")
        pairs.append((name, value if equals else None))
    return tuple(pairs)


def parse_params(text: str, start: int = 0) -> Params:
    """Read `;name=value;name` to the end of `text`. Blanks may stand anywhere. Raises UriError."""
    pairs: list[tuple[str, str | None]] = []
    at = start
    end = len(text)
    while at < end:
        match = _HEADER_PARAM.match(text, at)
        if match is None:
            raise UriError("malformed parameters")
        pairs.append((match[1], match[2]))
        at = match.end()
    return tuple(pairs)


def format_params(params: Params) -> str:
    """The text of header parameters, each with its semicolon."""
    return "".join(f";{n}" if v is None else f";{n}={v}" for n, v in params)


def check_params(params: Params) -> None:
    """Raise UriError unless each one is a token and a value that reads back as itself."""
    for name, value in params:
        if not TOKEN.fullmatch(name):
            raise UriError("a parameter name must be a token")
        if value is not None and (
            FORBIDDEN.search(value) or not _HEADER_PARAM_VALUE.fullmatch(value)
        ):
            raise UriError("malformed parameter value")


@dataclass(frozen=True, slots=True)
class NameAddr:
    """The value of From, To, Contact, Route...: an optional name, a URI, header parameters."""

    display: str
    """Readable, without quotes; "" when there is none."""
    uri: str
    """Of any scheme, as on the wire."""
    params: Params = ()
    """Of the header (tag, q, expires), not of the URI."""

    def __post_init__(self) -> None:
        if FORBIDDEN.search(self.display):
            raise UriError("control character or line break in a display name")
        check_uri(self.uri)
        check_params(self.params)

    @classmethod
    def parse(cls, text: str) -> "NameAddr":
        """Read one name-addr or addr-spec with its parameters. Raises UriError."""
        return _read_name_addr(text)

    @property
    def tag(self) -> str | None:
        """The tag, or None."""
        return find_param(self.params, "tag")

    def param(self, name: str) -> str | None:
        """See `find_param`."""
        return find_param(self.params, name)

    def sip_uri(self) -> SipUri:
        """The URI in its parts. Raises UriError for another scheme than sip or sips."""
        return SipUri.parse(self.uri)

    def __str__(self) -> str:
        tail = f"<{self.uri}>{format_params(self.params)}"
        if not self.display:
            return tail
        quoted = self.display.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}" {tail}'


# While a message finds its way, From and To are read a dozen times: 256 of them, each no longer
# than a line, are kept.
@lru_cache(maxsize=256)
def _read_name_addr(text: str) -> NameAddr:
    text = text.strip(" ")
    if FORBIDDEN.search(text):
        raise UriError("control character or line break in an address")
    match = _BRACKETED.match(text)
    if match is not None:
        quoted, plain, uri = match.groups()
        if quoted is None:
            display = plain.strip(" ")
        elif "\\" in quoted:
            display = _ESCAPED_CHAR.sub(r"\1", quoted[1:-1])
        else:
            display = quoted[1:-1]
        check_uri(uri)
        params = parse_params(text, match.end())
        return proven(NameAddr, display=display, uri=uri, params=params)
    # Without <>, parameters are the header's and the URI may hold neither ? nor comma.
    uri = text.partition(";")[0]
    params = parse_params(text, len(uri))
    uri = uri.rstrip(" ")
    if "?" in uri or "," in uri:
        raise UriError("this URI has to stand in <>")
    check_uri(uri)
    return proven(NameAddr, display="", uri=uri, params=params)
