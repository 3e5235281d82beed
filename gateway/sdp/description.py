"""The Session Description Protocol (RFC 8866): what two peers tell each other about their media.

A description is lines of `<letter>=<value>`. Those before the first `m=` speak for the session;
each `m=` line opens a section about one stream. A section inherits the address (`c=`) and the
direction from the session, and may have its own; after parsing each section carries what holds for
it. A stream's formats are RTP payload types, and `a=rtpmap` says which codec a type stands for;
the low types are assigned for good (RFC 3551) and need no rtpmap.

The parser is liberal where a sloppy peer does no harm: any line ending, lines in any order within
their section, unknown lines and attributes of any shape. It takes any bytes and raises `SdpError`
or nothing.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Final, Literal

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
"""Which way media flows, seen from whoever wrote the description."""

Attributes = tuple[tuple[str, str | None], ...]
"""Attributes in order; the value is None for a bare flag."""

_DIRECTIONS: Final[dict[str, Direction]] = {
    "sendrecv": "sendrecv",
    "sendonly": "sendonly",
    "recvonly": "recvonly",
    "inactive": "inactive",
}

MAX_BYTES: Final = 65_536
MAX_MEDIA: Final = 64
MAX_FORMATS: Final = 128

_TOKEN: Final = re.compile(r"[!-~]+")
_PORT: Final = re.compile(r"(\d{1,5})(?:/\d{1,5})?", re.ASCII)
_PAYLOAD_TYPE: Final = re.compile(r"\d{1,3}", re.ASCII)
_TIMING: Final = re.compile(r"\d{1,20} \d{1,20}", re.ASCII)
_MILLISECONDS: Final = re.compile(r"(\d{1,5})(?:\.\d*)?", re.ASCII)
_RTPMAP: Final = re.compile(r"(\d{1,3})\s+([^\s/]+)/(\d{1,6})(?:/(\d{1,3}))?", re.ASCII)


class SdpError(Exception):
    """A description that cannot be used.

    `status` is the SIP status it deserves, `warning` the value of a Warning header
    (RFC 3261 section 20.43) that says why. Neither contains text of the peer.
    """

    def __init__(self, reason: str, *, status: int = 400, warn_code: int = 399) -> None:
        super().__init__(reason)
        self.status = status
        self.warning = f'{warn_code} gateway "{reason}"'


@dataclass(frozen=True, slots=True)
class Codec:
    """What a payload type stands for."""

    payload_type: int
    name: str
    """In lower case."""
    clock_hz: int
    channels: int = 1


_STATIC_CODECS: Final = {
    codec.payload_type: codec
    for codec in (
        Codec(0, "pcmu", 8000),
        Codec(3, "gsm", 8000),
        Codec(4, "g723", 8000),
        Codec(8, "pcma", 8000),
        Codec(9, "g722", 8000),  # samples at 16 kHz; the clock is a historical error
        Codec(13, "cn", 8000),
        Codec(15, "g728", 8000),
        Codec(18, "g729", 8000),
    )
}


@dataclass(frozen=True, slots=True)
class Connection:
    """An address: the value of a `c=` line without what concerns multicast."""

    address: str
    address_type: str = "IP4"
    network_type: str = "IN"

    def __str__(self) -> str:
        return f"{self.network_type} {self.address_type} {self.address}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who made the description and which version of it this is."""

    username: str
    session_id: str
    session_version: str
    connection: Connection

    def __str__(self) -> str:
        return f"{self.username} {self.session_id} {self.session_version} {self.connection}"


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One stream. `connection` and `direction` are those that hold for it, inherited or own."""

    kind: str
    """`audio`, `video`, ..."""
    port: int
    """0: the stream is refused or taken away."""
    protocol: str
    formats: tuple[str, ...]
    """Never empty but with port 0, where some peers name none."""
    connection: Connection | None = None
    direction: Direction = "sendrecv"
    attributes: Attributes = ()
    """All but the direction."""

    def attribute(self, name: str) -> str | None:
        """The value of the first attribute of that name; None when it is missing or a flag."""
        return next((value for key, value in self.attributes if key == name), None)

    def has(self, name: str) -> bool:
        return any(key == name for key, _ in self.attributes)

    @property
    def ptime_ms(self) -> int | None:
        """How much audio a packet should carry, if the peer says so."""
        return _milliseconds(self.attribute("ptime"))

    @property
    def maxptime_ms(self) -> int | None:
        """How much audio a packet may carry at most, if the peer says so."""
        return _milliseconds(self.attribute("maxptime"))

    def codecs(self) -> list[Codec]:
        """What the formats stand for, in their order; those of unknown meaning are left out."""
        mapped = dict(_STATIC_CODECS)
        for name, value in self.attributes:
            match = _RTPMAP.match(value or "") if name == "rtpmap" else None
            if match:
                payload_type, codec, clock_hz, channels = match.groups()
                mapped[int(payload_type)] = Codec(
                    int(payload_type), codec.lower(), int(clock_hz), int(channels or 1)
                )
        types = [int(item) for item in self.formats if _PAYLOAD_TYPE.fullmatch(item)]
        return [mapped[item] for item in types if item <= 127 and item in mapped]

    def fmtp(self, payload_type: int) -> str | None:
        """The format parameters of a payload type."""
        for name, value in self.attributes:
            if name == "fmtp" and value:
                number, _, parameters = value.partition(" ")
                if number == str(payload_type):
                    return parameters.strip()
        return None


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description. Lines without a field here are not kept."""

    origin: Origin
    media: tuple[MediaDescription, ...]
    connection: Connection | None = None
    timing: str = "0 0"
    attributes: Attributes = ()
    name: str = "-"

    def following(self, previous: "SessionDescription") -> "SessionDescription":
        """This description as the successor of `previous` in one dialog (RFC 3264 section 8).

        The origin stays the same; its version grows by one if anything changed, else not at all.
        """
        origin = previous.origin
        if replace(self, origin=origin) == previous:
            return previous
        version = int(origin.session_version) + 1
        return replace(self, origin=replace(origin, session_version=str(version)))

    def to_bytes(self) -> bytes:
        """The description as the body of a SIP message."""
        lines = ["v=0", f"o={self.origin}", f"s={self.name}"]
        if self.connection:
            lines.append(f"c={self.connection}")
        lines.append(f"t={self.timing}")
        lines += _attribute_lines(self.attributes)
        for media in self.media:
            fields = (media.kind, str(media.port), media.protocol, *media.formats)
            lines.append(f"m={' '.join(fields)}")
            if media.connection and media.connection != self.connection:
                lines.append(f"c={media.connection}")
            lines += _attribute_lines(media.attributes)
            lines.append(f"a={media.direction}")
        return "".join(f"{line}\r\n" for line in lines).encode()


def values(attributes: Attributes, name: str) -> list[str]:
    """The values of all attributes of that name, in order; flags have none."""
    return [value for key, value in attributes if key == name and value is not None]


def parse(body: bytes | str) -> SessionDescription:
    """Read a description.

    Raises:
        SdpError: it is not one, or larger than 64 kB, 64 streams or 128 formats a stream.
    """
    data = body.encode("utf-8", "replace") if isinstance(body, str) else body
    if len(data) > MAX_BYTES:
        raise SdpError("Session description too large")
    text = data.decode("utf-8", "replace").rstrip("\0")  # C programs send the end of a string
    session = _Section()
    sections: list[_Section] = []
    for number, raw in enumerate(text.split("\n")):
        line = raw.strip()
        if not line:
            continue
        if line[1:2] != "=":
            raise SdpError(f"Line {number + 1} of the session description is malformed")
        letter, value = line[0], line[2:].strip()
        if letter == "m":
            if len(sections) == MAX_MEDIA:
                raise SdpError("Too many media descriptions")
            sections.append(_Section(value))
        else:
            _read(sections[-1] if sections else session, letter, value)
    if session.version != "0":
        raise SdpError("Not a session description of version 0")
    return SessionDescription(
        origin=session.origin or Origin("-", "0", "0", Connection("0.0.0.0")),
        media=tuple(_media(section, session) for section in sections),
        connection=session.connection,
        timing=session.timing or "0 0",
        attributes=tuple(session.attributes),
        name=session.name or "-",
    )


@dataclass(slots=True)
class _Section:
    """The lines of one section while they are read."""

    media: str = ""
    version: str = ""
    origin: Origin | None = None
    connection: Connection | None = None
    timing: str = ""
    name: str = ""
    direction: Direction | None = None
    attributes: list[tuple[str, str | None]] = field(default_factory=list)


def _read(section: _Section, letter: str, value: str) -> None:
    """Take in one line; of those that are there only once, the first counts."""
    if letter == "a":
        name, colon, rest = value.partition(":")
        if name in _DIRECTIONS and not colon:
            section.direction = section.direction or _DIRECTIONS[name]
        else:
            section.attributes.append((name, rest.strip() if colon else None))
    elif letter == "c":
        section.connection = section.connection or _connection(value)
    elif letter == "o":
        section.origin = section.origin or _origin(value)
    elif letter == "s":
        section.name = section.name or value
    elif letter == "t" and _TIMING.fullmatch(value):
        section.timing = section.timing or value
    elif letter == "v":
        section.version = section.version or value


def _media(section: _Section, session: _Section) -> MediaDescription:
    fields = section.media.split()
    if len(fields) < 3 or not all(_TOKEN.fullmatch(item) for item in fields):
        raise SdpError("Malformed media description")
    kind, port, protocol, *formats = fields
    match = _PORT.fullmatch(port)
    if match is None or int(match[1]) > 65_535:
        raise SdpError("Malformed port in a media description")
    if int(match[1]) and not formats:
        raise SdpError("Malformed media description")
    if len(formats) > MAX_FORMATS:
        raise SdpError("Too many formats in a media description")
    return MediaDescription(
        kind=kind.lower(),
        port=int(match[1]),
        protocol=protocol,
        formats=tuple(formats),
        connection=section.connection or session.connection,
        direction=section.direction or session.direction or "sendrecv",
        attributes=tuple(section.attributes),
    )


def _connection(value: str) -> Connection:
    fields = value.split()
    if len(fields) != 3 or not all(_TOKEN.fullmatch(item) for item in fields):
        raise SdpError("Malformed connection data")
    network_type, address_type, address = fields
    return Connection(address.partition("/")[0], address_type.upper(), network_type.upper())


def _origin(value: str) -> Origin:
    # Some user names contain spaces, against the rules: what counts is at the end.
    fields = value.split()
    if len(fields) < 6 or not all(_TOKEN.fullmatch(item) for item in fields):
        raise SdpError("Malformed origin")
    session_id, session_version, *where = fields[-5:]
    return Origin(fields[0], session_id, session_version, _connection(" ".join(where)))


def _milliseconds(value: str | None) -> int | None:
    match = _MILLISECONDS.fullmatch(value or "")
    return int(match[1]) if match else None


def _attribute_lines(attributes: Attributes) -> list[str]:
    return [f"a={name}" if value is None else f"a={name}:{value}" for name, value in attributes]
