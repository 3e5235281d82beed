"""Which web pages are this machine's own.

What listens on loopback and asks nobody who they are is safe from other machines, but not from a
page of another site in the user's browser, which can reach loopback too. Such a page is known by
its Origin, or by the name in Host when it had its own name resolve to 127.0.0.1.
"""

import ipaddress

from yarl import URL


def loopback_origin(origin: str) -> str | None:
    """The value of an Origin header, written anew, when it is a page of this machine."""
    name = _host_of(origin)
    if name is None:
        return None
    address = _address(name)
    if not _is_loopback_name(name) and (address is None or not address.is_loopback):
        return None
    return str(URL(origin).origin())


def is_page_of(host: str | None, origin: str) -> bool:
    """Whether an Origin header names a page of the host that a Host header names, at any port."""
    served, asked = _host_of(origin), _host_of(f"http://{host}") if host else None
    return served is not None and served == asked


def is_local_host(host: str | None) -> bool:
    """Whether a Host header names this machine, or is an address, which no name server can
    redirect."""
    if not host:
        return True  # no browser leaves it out
    name = _host_of(f"http://{host}")
    return name is not None and (_is_loopback_name(name) or _address(name) is not None)


def _host_of(url: str) -> str | None:
    try:
        parsed = URL(url)
        return parsed.host if parsed.scheme in ("http", "https") else None
    except ValueError:
        return None


def _is_loopback_name(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
