"""A trunk: who carries our calls to telephone numbers."""

from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from gateway.sip.auth import Credentials
from gateway.sip.uri import SipUri, UriError

_PORT = 5060


@dataclass(frozen=True, slots=True)
class Trunk:
    """Where its proxy is, and how it knows us."""

    host: str
    port: int
    transport: str
    credentials: Credentials | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `sip:user:password@host:port;transport=tcp`, escapes (%40) allowed; user and
        password go together, and they, port and transport may be left out.

        Raises:
            ValueError: it is none; the text quotes nothing of it.
        """
        try:
            uri = SipUri.parse(text)
        except UriError:
            raise ValueError("not a SIP URI") from None
        transport = (uri.param("transport") or "udp").lower()
        if uri.scheme != "sip" or transport not in ("udp", "tcp") or uri.headers:
            raise ValueError("not a trunk that can be reached")
        if uri.user is None:
            return cls(uri.host, uri.port or _PORT, transport)
        if uri.password is None:
            raise ValueError("a user without a password")
        credentials = Credentials(unquote(uri.user), unquote(uri.password))
        return cls(uri.host, uri.port or _PORT, transport, credentials)
