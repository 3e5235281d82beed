"""A trunk: who carries our calls to telephone numbers."""

from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from gateway.sip.auth import Credentials
from gateway.sip.uri import SipUri, UriError

_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}
_PARAMS = frozenset(("transport", "realm"))


@dataclass(frozen=True, slots=True)
class Trunk:
    """Where its proxy is, and how it knows us."""

    host: str
    port: int
    transport: str
    credentials: Credentials | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `sip:user:password@host:port;transport=tcp;realm=REALM`, escapes (%40) allowed.

        User and password go together, and they, port, transport and realm may be left out. The
        realm is what the trunk asks for the password by; no other is told anything. It is the
        trunk's host unless it is said, and then exactly as it is said.

        Raises:
            ValueError: it is none; the text quotes nothing of it.
        """
        try:
            uri = SipUri.parse(text)
        except UriError:
            raise ValueError("not a SIP URI") from None
        names = [name.lower() for name, _ in uri.params]
        if not _PARAMS.issuperset(names) or len(set(names)) < len(names):
            raise ValueError("a parameter that says nothing about a trunk, or says it twice")
        transport = (uri.param("transport") or "udp").lower()
        if uri.scheme != "sip" or transport not in _PORTS or uri.headers:
            raise ValueError("not a trunk that can be reached")
        realm = uri.param("realm")
        if realm == "" or (realm is not None and uri.user is None):
            raise ValueError("a realm of nobody, or an empty one")
        if uri.user is None:
            return cls(uri.host, uri.port or _PORTS[transport], transport)
        if uri.password is None:
            raise ValueError("a user without a password")
        credentials = Credentials(
            unquote(uri.user),
            unquote(uri.password),
            uri.host if realm is None else unquote(realm),
            realm_is_host=realm is None,
        )
        return cls(uri.host, uri.port or _PORTS[transport], transport, credentials)
