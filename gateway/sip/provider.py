"""What the URI of a trunk and that of a registration have in common."""

import re
from typing import Final
from urllib.parse import unquote

from gateway.sip.auth import Credentials
from gateway.sip.message import Address
from gateway.sip.uri import SipUri, UriError

Place = tuple[str, int | None]
"""Host and port; without one DNS is to say (RFC 3263)."""

_NAME: Final = re.compile(r"[a-z-]{1,32}")
_TRANSPORTS: Final = frozenset(("", "udp", "tcp", "tls"))


def read_provider(text: str, params: frozenset[str]) -> SipUri:
    """A `sip:` URI with none but these parameters, each once and with a value.

    Raises:
        ValueError: it is none; the text quotes nothing of it but a parameter's name.
    """
    try:
        uri = SipUri.parse(text)
    except UriError:
        raise ValueError("not a SIP URI") from None
    for name, value in uri.params:
        if name.lower() not in params:
            shown = f" {name}" if value and _may_be_shown(uri, name) else ""
            raise ValueError(f"a parameter{shown} that says nothing here")
        if not value:
            raise ValueError(f"{name.lower()} without a value")
    names = [name.lower() for name, _ in uri.params]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} stands twice")
    if uri.scheme != "sip" or transport_of(uri) not in _TRANSPORTS or uri.headers:
        raise ValueError("nobody that can be reached")
    return uri


def _may_be_shown(uri: SipUri, name: str) -> bool:
    """Not what may be the rest of a password with a `;` in it, whose host was forgotten."""
    return bool(_NAME.fullmatch(name)) and (uri.user is not None or uri.port is None)


def transport_of(uri: SipUri) -> str:
    """In lower case; "" if DNS is to say (RFC 3263)."""
    return (uri.param("transport") or "").lower()


def password_of(uri: SipUri, name: str) -> Credentials | None:
    """Its password, told to its `realm`, or else to its host; None if it has none.

    Args:
        name: who is proved, escaped as in a URI.

    Raises:
        ValueError: a realm without a password.
    """
    realm = uri.param("realm")
    if uri.password is None:
        if realm is not None:
            raise ValueError("a realm without a password")
        return None
    return Credentials(
        unquote(name),
        unquote(uri.password),
        uri.host if realm is None else unquote(realm),
        realm_is_host=realm is None,
    )


def proxy_of(uri: SipUri) -> Place | None:
    """Where everything is sent instead. Raises ValueError."""
    text = uri.param("proxy")
    if text is None:
        return None
    try:
        proxy = SipUri.parse(f"sip:{text}")
    except UriError:
        raise ValueError("a proxy that is no host") from None
    if proxy.user is not None or proxy.params or proxy.headers or proxy.port == 0:
        raise ValueError("a proxy that is no host")
    return proxy.host, proxy.port


def seconds(text: str, least: int, most: int, *, or_none: bool = False) -> int:
    """A whole number of them, or 0 too if that means never. Raises ValueError."""
    if or_none and text == "0":
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) < 7 and least <= int(text) <= most):
        raise ValueError(f"seconds that are not {least} to {most}")
    return int(text)


def first_hop(place: Place, transport: str) -> Address:
    """Where requests go: a host name is allowed; port 0 and transport "" are for DNS to say."""
    host, port = place
    return Address(host, port or 0, transport, host if transport == "tls" else "")
