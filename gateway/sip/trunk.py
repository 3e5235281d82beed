"""A trunk: who carries our calls to telephone numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self, cast

from gateway.sip.auth import Credentials
from gateway.sip.message import Address
from gateway.sip.provider import (
    Place,
    first_hop,
    password_of,
    proxy_of,
    read_provider,
    seconds,
    transport_of,
)
from gateway.sip.uri import SipUri

Identity = Literal["", "asserted", "preferred"]

_PARAMS: Final = frozenset(
    ("transport", "realm", "proxy", "calls", "rate", "prefix", "identity", "ping"),
)
_IDENTITIES: Final = ("asserted", "preferred")
_MAX_TRUNKS: Final = 16
_PING_S: Final = (5, 3600)
_CALLS: Final = re.compile(r"[1-9][0-9]{0,4}")
_RATE: Final = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,3})?")
_PREFIX: Final = re.compile(r"\+?[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class Trunk:
    """Where its proxy is, how it knows us, and how much it carries."""

    host: str
    """Whose numbers these are: the domain of the URIs that are called."""
    port: int
    """0 if DNS is to say (RFC 3263)."""
    transport: str
    """ "" if DNS is to say."""
    credentials: Credentials | None = None
    proxy: Place | None = None
    """Host and port that everything is sent to instead of the trunk's own."""
    calls: int = 0
    """Of ours at once; 0 is without a limit."""
    rate: float = 0.0
    """Of ours a second; 0 is without a limit."""
    prefixes: tuple[str, ...] = ()
    """What the numbers that it carries begin with; () carries any that no other trunk names."""
    identity: Identity = ""
    """Whether it is told who calls by P-Asserted-Identity or P-Preferred-Identity too (RFC 3325):
    one that believes us in the first, or is to judge in the second."""
    ping_s: int = 0
    """Pause between two questions whether it is there; 0 asks none."""

    @property
    def hop(self) -> Address:
        """Where requests go: a host name is allowed; port 0 and transport "" are for DNS to say."""
        return first_hop(self.proxy or (self.host, self.port), self.transport)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `sip:user:password@host:port;transport=tcp;realm=REALM`, escapes (%40) allowed.

        User and password go together, and they and all that follows the host may be left out. The
        realm is what the trunk asks for the password by; no other is told anything. It is the
        trunk's host unless it is said, and then exactly as it is said.

        Further parameters: `proxy` is a host, or host:port, that everything is sent to; `calls` and
        `rate` are the most calls at once and in a second; `prefix` is what the numbers begin with
        that it carries, several with a slash between them; `identity` is `asserted` or `preferred`;
        `ping` is the pause in seconds after which it is asked whether it is there.

        Raises:
            ValueError: it is none; the text quotes nothing of it but a parameter's name.
        """
        uri = read_provider(text, _PARAMS)
        return cls(
            uri.host,
            uri.port or 0,
            transport_of(uri),
            _credentials(uri),
            proxy=proxy_of(uri),
            calls=int(_fitting(_CALLS, uri.param("calls"), "calls that are not 1 to 99999")),
            rate=float(_fitting(_RATE, uri.param("rate"), "a rate that is not 0.001 to 9999.999")),
            prefixes=_prefixes(uri.param("prefix")),
            identity=_identity(uri.param("identity") or ""),
            ping_s=seconds(uri.param("ping") or "0", *_PING_S, or_none=True),
        )


def parse_trunks(texts: Sequence[str]) -> tuple[Trunk, ...]:
    """Trunks, of which a number goes to the one that names most of its beginning, or else to the
    first that names none. Raises ValueError, also for a host or a beginning that stands twice."""
    trunks = tuple(Trunk.parse(text) for text in texts)
    if len(trunks) > _MAX_TRUNKS:
        raise ValueError(f"more than {_MAX_TRUNKS}")
    if len({trunk.host.lower() for trunk in trunks}) < len(trunks):
        raise ValueError("a host that stands twice")
    prefixes = [prefix for trunk in trunks for prefix in set(trunk.prefixes)]
    if len(set(prefixes)) < len(prefixes):
        raise ValueError("a prefix that two trunks have")
    return trunks


def trunk_for(number: str, trunks: Sequence[Trunk]) -> Trunk | None:
    """Who carries a number, which has no visual separators; see `parse_trunks`."""

    def named(trunk: Trunk) -> int:
        if not trunk.prefixes:
            return 0
        return max((len(one) for one in trunk.prefixes if number.startswith(one)), default=-1)

    best = max(trunks, key=named, default=None)
    return None if best is None or named(best) < 0 else best


def _credentials(uri: SipUri) -> Credentials | None:
    if uri.user is not None and uri.password is None:
        raise ValueError("a user without a password")
    return password_of(uri, uri.user or "")


def _fitting(form: re.Pattern[str], text: str | None, wrong: str) -> str:
    """A number above 0, or "0" if none is given: then there is no limit."""
    if text is None:
        return "0"
    if not form.fullmatch(text) or not float(text):
        raise ValueError(f"{wrong}; without one there is no limit")
    return text


def _prefixes(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    prefixes = tuple(text.split("/"))
    if not all(_PREFIX.fullmatch(prefix) for prefix in prefixes):
        raise ValueError("a prefix that no number has")
    return prefixes


def _identity(text: str) -> Identity:
    if text and text.lower() not in _IDENTITIES:
        raise ValueError("an identity that is neither asserted nor preferred")
    return cast("Identity", text.lower())
