"""An account at a registrar: where we tell that we can be reached, and how we are known there."""

from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from gateway.sip.auth import Credentials
from gateway.sip.message import Address
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
    proxy: tuple[str, int | None] | None = None
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
            ValueError: it is none; the text quotes nothing of it.
        """
        try:
            uri = SipUri.parse(text)
        except UriError:
            raise ValueError("not a SIP URI") from None
        names = [name.lower() for name, _ in uri.params]
        if not _PARAMS.issuperset(names) or len(set(names)) < len(names):
            raise ValueError("a parameter that says nothing about a registration, or says it twice")
        if any(not value for _, value in uri.params):
            raise ValueError("a parameter without a value")
        transport = (uri.param("transport") or "").lower()
        if uri.scheme != "sip" or transport not in _KEEP_ALIVE_S or uri.headers:
            raise ValueError("not a registrar that can be reached")
        if uri.user is None:
            raise ValueError("no user")
        proxy, contact = uri.param("proxy"), uri.param("contact") or ""
        keepalive = uri.param("keepalive") or str(_KEEP_ALIVE_S[transport])
        return cls(
            user=uri.user,
            host=uri.host,
            port=uri.port,
            transport=transport,
            credentials=_credentials(uri),
            proxy=None if proxy is None else host_and_port(proxy),
            expires_s=_seconds(uri.param("expires") or "600", MIN_EXPIRES_S, MAX_EXPIRES_S),
            contact=_user(contact) if contact else "",
            keepalive_s=0 if keepalive == "0" else _seconds(keepalive, 5, 3600),
        )

    @property
    def hop(self) -> Address:
        """Where requests go: a host name is allowed; port 0 and transport "" are for DNS to say."""
        host, port = self.proxy or (self.host, self.port)
        name = host if self.transport == "tls" else ""
        return Address(host, port or 0, self.transport, name)

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
    realm, name = uri.param("realm"), uri.param("auth")
    if uri.password is None:
        if realm is not None or name is not None:
            raise ValueError("a realm or an auth without a password")
        return None
    return Credentials(
        unquote(name or uri.user or ""),
        unquote(uri.password),
        uri.host if realm is None else unquote(realm),
        realm_is_host=realm is None,
    )


def host_and_port(text: str) -> tuple[str, int | None]:
    """A host, or host:port, as the parameter `proxy` has it. Raises ValueError."""
    try:
        uri = SipUri.parse(f"sip:{text}")
    except UriError:
        raise ValueError("a proxy that is no host") from None
    if uri.user is not None or uri.params or uri.headers or uri.port == 0:
        raise ValueError("a proxy that is no host")
    return uri.host, uri.port


def _user(text: str) -> str:
    try:
        return SipUri("sip", text, None, "host").user or ""
    except UriError:
        raise ValueError("a contact that is no user") from None


def _seconds(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 7 and least <= int(text) <= most):
        raise ValueError(f"seconds that are not {least} to {most}")
    return int(text)
