"""Where a webhook may go.

The operator writes the URL, so a loopback or private address in it is meant. What a name resolves
to is the word of whoever runs that zone: it may be a private address, as names of containers are,
but neither the gateway's own machine nor an address that no receiver can have. Clouds serve
credentials on some of those.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from yarl import URL

_REFUSED = [
    (ip_network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "an unspecified address"),
        ("169.254.0.0/16", "a link-local address"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a broadcast or reserved address"),
        ("::/128", "an unspecified address"),
        ("fe80::/10", "a link-local address"),
        ("ff00::/8", "a multicast address"),
        ("2001::/32", "a Teredo address"),
        # Metadata of clouds that is not link-local: AWS, Google, Azure, Alibaba, Oracle.
        ("fd00:ec2::254/128", "a metadata address of a cloud"),
        ("fd20:ce::254/128", "a metadata address of a cloud"),
        ("168.63.129.16/32", "a metadata address of a cloud"),
        ("100.100.100.200/32", "a metadata address of a cloud"),
        ("192.0.0.192/32", "a metadata address of a cloud"),
    )
]
_UNICAST = [ip_network("2000::/3"), ip_network("fc00::/7"), ip_network("::1/128")]
"""All that an IPv6 host can have besides link-local addresses."""
_EMBEDDING = [
    # Networks whose addresses stand for an IPv4 one, and how far that is from the right.
    (ip_network("::ffff:0:0/96"), 0),
    (ip_network("::/96"), 0),  # RFC 4291 section 2.5.5.1, deprecated
    (ip_network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (ip_network("2002::/16"), 80),  # 6to4, RFC 3056
]
_NUMERIC = re.compile(r"[0-9]++|0[xX][0-9A-Fa-f]*+")
_NAME = re.compile(r"(?:[A-Za-z0-9_\-]{1,63}\.)*[A-Za-z0-9_\-]{1,63}\.?")
_MAX_NAME_CHARS = 253


def check_webhook_url(url: str) -> str | None:
    """What is wrong with the URL of a webhook, in words that go on after its name, or None.

    They quote nothing of it. A host name is taken as it stands: what it resolves to is checked
    when it has been resolved (`address_fault`).
    """
    if any(char <= " " or char == "\x7f" for char in url):
        return "holds a blank or a control character"
    try:
        parsed = URL(url)
    except ValueError:
        return "is not a URL"
    if parsed.scheme not in ("http", "https"):
        return "must begin with http:// or https://"
    if "@" in parsed.raw_authority:
        return "must not hold a user or a password"
    host = parsed.raw_host  # what is connected to: lower case, IDNA done
    if not host:
        return "names no host"
    if parsed.port == 0:
        return "names port 0"
    return _host_fault(host, url)


def _host_fault(host: str, url: str) -> str | None:
    if ":" in host:
        if "%" in host:
            return "names an address with a zone"
        fault = address_fault(host, resolved=False)
    elif _NUMERIC.fullmatch(host.rstrip(".").rpartition(".")[2]):
        # By RFC 3986 and the URL standard this is an address; the C library takes many spellings.
        try:
            canonical = str(IPv4Address(host)) == host and host in url
        except ValueError:
            canonical = False
        if not canonical:
            return "must spell its IPv4 address as four decimal numbers"
        fault = address_fault(host, resolved=False)
    else:
        fits = len(host) <= _MAX_NAME_CHARS and _NAME.fullmatch(host)
        return None if fits else "names a host that cannot exist"
    return f"names {fault}" if fault else None


def address_fault(address: str, *, resolved: bool) -> str | None:
    """What kind of address it is, when no webhook may go there; else None.

    Args:
        address: an IP literal without brackets.
        resolved: it came from a name other than `localhost`; then it must not be loopback.
    """
    try:
        outer = ip_address(address)
    except ValueError:
        return "no address"
    inner = _embedded(outer)
    target = inner or outer
    for network, kind in _REFUSED:
        if target in network:
            return kind
    if target.is_loopback and (resolved or inner):
        return "a loopback address" if inner is None else "a loopback address in IPv6 clothes"
    if target.version == 6 and not any(target in network for network in _UNICAST):
        return "a reserved address"
    return None


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    if address.version == 4 or int(address) < 2:  # `::` and `::1` are what they look like
        return None
    for network, shift in _EMBEDDING:
        if address in network:
            return IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return None
