"""An account at a registrar: where we tell that we can be reached, and how we are known there."""

from dataclasses import dataclass
from typing import Self

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
from gateway.sip.uri import SipUri, UriError, format_host

_KEEP_ALIVE_S = {"": 25, "udp": 25, "tcp": 100, "tls": 100}
"""RFC 5626 section 4.4: NATs forget UDP within half a minute, connections within minutes."""
_PARAMS = frozenset(("transport", "realm", "auth", "proxy", "expires", "contact", "keepalive"))
MIN_EXPIRES_S, MAX_EXPIRES_S = 30, 86_400


@dataclass(frozen=True, slots=True)
class Account:
    """One registration to keep."""

    user: str
    """Escaped, as in a URI."""
    host: str
    """The registrar, whose domain the account is of."""
    port: int | None
    """As it was given."""
    transport: str
    """ "" if DNS is to say (RFC 3263)."""
    credentials: Credentials | None
    """None at a registrar that knows us by our address."""
    proxy: Place | None = None
    """Host and port that everything is sent to instead of the registrar's own."""
    expires_s: int = 600
    """What is asked for; the registrar decides."""
    contact: str = ""
    """User part of our Contact, escaped; "" for `user`."""
    keepalive_s: int = 25
    """Pause between two pings that keep a NAT open; 0 sends none."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `sip:user:password@registrar:port;transport=tls`, escapes (%40, %2C) allowed.

        Further parameters: `realm` is what the password is told to, else it is the registrar's
        name, in any case; `auth` is the name that is proved, where it is not the user; `proxy` is
        a host, or host:port, that everything is sent to (over the same transport); `expires` and
        `keepalive` are seconds; `contact` is the user part that calls come in with.

        Raises:
            ValueError: it is none; the text quotes nothing of it but a parameter's name.
        """
        uri = read_provider(text, _PARAMS)
        if uri.user is None:
            raise ValueError("no user")
        transport, contact = transport_of(uri), uri.param("contact") or ""
        keepalive = uri.param("keepalive") or str(_KEEP_ALIVE_S[transport])
        return cls(
            user=uri.user,
            host=uri.host,
            port=uri.port,
            transport=transport,
            credentials=_credentials(uri),
            proxy=proxy_of(uri),
            expires_s=seconds(uri.param("expires") or "600", MIN_EXPIRES_S, MAX_EXPIRES_S),
            contact=_user(contact) if contact else "",
            keepalive_s=seconds(keepalive, 5, 3600, or_none=True),
        )

    @property
    def hop(self) -> Address:
        """Where requests go: a host name is allowed; port 0 and transport "" are for DNS to say."""
        return first_hop(self.proxy or (self.host, self.port), self.transport)

    @property
    def registrar(self) -> str:
        """The Request-URI of REGISTER (RFC 3261 section 10.2)."""
        port = "" if self.port is None else f":{self.port}"
        return f"sip:{format_host(self.host)}{port}"

    @property
    def address_of_record(self) -> str:
        """Who we are, as a URI."""
        return f"sip:{self.user}@{format_host(self.host)}"


def _credentials(uri: SipUri) -> Credentials | None:
    name = uri.param("auth")
    if uri.password is None and name is not None:
        raise ValueError("an auth without a password")
    return password_of(uri, name or uri.user or "")


def _user(text: str) -> str:
    try:
        return SipUri("sip", text, None, "host").user or ""
    except UriError:
        raise ValueError("a contact that is no user") from None
