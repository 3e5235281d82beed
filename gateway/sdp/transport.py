"""The transport of a WebRTC peer, as its description tells it.

ICE finds a way to the peer (RFC 8839): a name and a password that each check between the two
carries, and candidates, which are places to try. DTLS takes that way (RFC 8842): the fingerprint
says which certificate the peer will show, `a=setup` who opens. None of it is secret from whoever
signals, and none of it is believed further: an address that a peer names may be anybody's.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

from gateway.sdp.description import Attributes, SdpError, values

Setup = Literal["actpass", "active", "passive"]
"""Who opens DTLS: the other side may choose, this side does, the other side does."""

_MOST_TOLD: Final = 64
"""Candidates of a description that are read, which bounds the work of reading. Fewer are tried: how
many is for whoever connects to say."""

_SETUPS: Final[dict[str, Setup]] = {"actpass": "actpass", "active": "active", "passive": "passive"}
_CANDIDATE_TYPES: Final = ("host", "srflx", "prflx", "relay")
_FINGERPRINT_BYTES: Final = {"sha-256": 32, "sha-384": 48, "sha-512": 64}

# RFC 8839 has letters, digits, + and /. Some implementations use the other four as well, and what
# a peer calls itself is only sent back to it.
_ICE_CHARS: Final = "[A-Za-z0-9+/=#_-]"
_UFRAG: Final = re.compile(_ICE_CHARS + "{4,256}")
_PWD: Final = re.compile(_ICE_CHARS + "{22,256}")
_FOUNDATION: Final = re.compile(_ICE_CHARS + "{1,32}")
_TOKEN: Final = re.compile(r"[!-~]{1,255}")
_NUMBER: Final = re.compile(r"\d{1,10}", re.ASCII)
_HEX_PAIRS: Final = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2})*")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place where a peer may be reached (RFC 8839 section 5.1)."""

    foundation: str
    component: int
    """1: RTP; 2: RTCP, where that has a port of its own."""
    protocol: str
    """In lower case: `udp`, or `tcp` (RFC 6544)."""
    priority: int
    host: str
    """An IP address or a name; a browser may hide its address behind a name in `.local`."""
    port: int
    type: str
    """`host`, `srflx`, `prflx` or `relay`."""
    related_host: str | None = None
    """For all but `host`: what the address was derived from, as far as the peer tells."""
    related_port: int | None = None
    tcp_type: str | None = None
    """`active`, `passive` or `so`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the value of an `a=candidate` attribute, without the extensions that we do not know.

        Raises:
            SdpError: it is not one, or of a type that RFC 8839 does not have.
        """
        fields = text.split()
        if len(fields) < 8 or not all(_TOKEN.fullmatch(item) for item in fields):
            raise SdpError("Malformed candidate")
        foundation, component, protocol, priority, host, port, typ, kind = fields[:8]
        if not _FOUNDATION.fullmatch(foundation) or typ != "typ" or kind not in _CANDIDATE_TYPES:
            raise SdpError("Malformed candidate")
        extensions = dict(zip(fields[8::2], fields[9::2], strict=False))
        related_port = extensions.get("rport")
        return cls(
            foundation=foundation,
            component=_number(component, 256),
            protocol=protocol.lower(),
            priority=_number(priority, 0xFFFF_FFFF),
            host=host,
            port=_number(port, 65_535),
            type=kind,
            related_host=extensions.get("raddr"),
            related_port=None if related_port is None else _number(related_port, 65_535),
            tcp_type=extensions.get("tcptype"),
        )

    def to_text(self) -> str:
        """The value of an `a=candidate` attribute."""
        text = (
            f"{self.foundation} {self.component} {self.protocol} {self.priority}"
            f" {self.host} {self.port} typ {self.type}"
        )
        if self.related_host is not None:
            text += f" raddr {self.related_host}"
        if self.related_port is not None:
            text += f" rport {self.related_port}"
        if self.tcp_type is not None:
            text += f" tcptype {self.tcp_type}"
        return text


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The digest of a certificate (RFC 8122)."""

    algorithm: str
    """`sha-256`, `sha-384` or `sha-512`."""
    value: str
    """Pairs of hexadecimal digits in upper case, with colons between them."""


@dataclass(frozen=True, slots=True)
class Transport:
    """One side of a transport."""

    ufrag: str
    pwd: str
    fingerprints: tuple[Fingerprint, ...]
    setup: Setup
    candidates: tuple[Candidate, ...] = ()
    ice_lite: bool = False
    """Whether this side only answers checks (RFC 8445 section 2.5): the other one controls."""

    def restarts(self, previous: "Transport") -> bool:
        """Whether this, told after `previous` in one session, asks for another connection.

        Other credentials restart ICE (RFC 8839 section 4.4.1.1.1), another certificate also DTLS
        (RFC 8842 section 5.1). New candidates alone change nothing.
        """
        return (self.ufrag, self.pwd, set(self.fingerprints)) != (
            previous.ufrag,
            previous.pwd,
            set(previous.fingerprints),
        )


def read_transport(sections: Sequence[Attributes]) -> Transport:
    """The transport that sections of a description tell together; what an earlier one says counts.

    Candidates that are malformed are left out, and so are all after the first 64.

    Raises:
        SdpError: 488, something that is needed is missing or cannot be used.
    """
    setup = _first(sections, "setup")
    # Who says nothing in an offer opens DTLS (RFC 4145 section 4); and who waits for us to choose
    # learns from our answer that we wait.
    role = _SETUPS.get("active" if setup is None else setup)
    if role is None:
        raise _unusable("a=setup is neither actpass nor active nor passive")
    ufrag, pwd = _first(sections, "ice-ufrag"), _first(sections, "ice-pwd")
    if ufrag is None or pwd is None:
        raise _unusable("The offer has no ICE credentials (a=ice-ufrag and a=ice-pwd)")
    if not _UFRAG.fullmatch(ufrag):
        raise _unusable("a=ice-ufrag is not 4 to 256 letters, digits, + or / (RFC 8839)")
    if not _PWD.fullmatch(pwd):
        raise _unusable("a=ice-pwd is not 22 to 256 letters, digits, + or / (RFC 8839)")
    return Transport(
        ufrag=ufrag,
        pwd=pwd,
        fingerprints=_fingerprints(sections),
        setup=role,
        candidates=_candidates(sections),
        ice_lite=any(name == "ice-lite" for section in sections for name, _ in section),
    )


def _fingerprints(sections: Sequence[Attributes]) -> tuple[Fingerprint, ...]:
    told = next(filter(None, (values(section, "fingerprint") for section in sections)), [])
    if not told:
        raise _unusable("The offer has no certificate fingerprint (a=fingerprint)")
    usable: dict[Fingerprint, None] = {}
    for text in told:
        algorithm, _, value = text.partition(" ")
        algorithm, value = algorithm.lower(), value.strip().upper()
        size = _FINGERPRINT_BYTES.get(algorithm)
        if size and len(value) == 3 * size - 1 and _HEX_PAIRS.fullmatch(value):
            usable[Fingerprint(algorithm, value)] = None
    if not usable:
        raise _unusable("No a=fingerprint of the offer is a whole sha-256, sha-384 or sha-512 one")
    return tuple(usable)


def _candidates(sections: Sequence[Attributes]) -> tuple[Candidate, ...]:
    told = next(filter(None, (values(section, "candidate") for section in sections)), [])
    candidates: list[Candidate] = []
    for text in told:
        if len(candidates) == _MOST_TOLD:
            break
        try:
            candidates.append(Candidate.parse(text))
        except SdpError:
            continue  # of some other kind, or cut: the others may do
    return tuple(candidates)


def _first(sections: Sequence[Attributes], name: str) -> str | None:
    return next((value for section in sections for value in values(section, name)), None)


def _number(text: str, largest: int) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > largest:
        raise SdpError("Malformed candidate")
    return int(text)


def _unusable(reason: str) -> SdpError:
    return SdpError(reason, status=488)
