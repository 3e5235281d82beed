"""Where a peer, or an address that a peer named, can be: judged before anything is sent there."""

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_PRIVATE: tuple[Network, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # behind a carrier's NAT
        "fc00::/7",
        "fec0::/10",
    )
)


def usable_host(host: str, ours: str) -> bool:
    """Whether a peer can be at an address: one unicast host, not nowhere, and this machine itself
    only when we, at `ours`, are reached there too."""
    address, own = _ip(host), _ip(ours)
    if address is None:
        return False
    if address.is_loopback:
        return own is not None and own.is_loopback
    return not (
        address.is_multicast
        or address.is_unspecified
        or address.is_reserved
        or address.is_link_local
        or address in _THIS_NETWORK
    )


def reachable_host(host: str, ours: str, came_from: str, allow: Sequence[Network]) -> bool:
    """Whether a usable address means the same host to the peer who named it as it does to us.

    A private one does when we live among private addresses too, when the INVITE came from it, or
    when it is in a private network of `allow` (0.0.0.0/0 lists nobody's). Else it is the caller's
    own, behind a NAT; what is sent to it reaches nobody, or a host of ours that the caller has no
    business with.
    """
    address, own = _ip(host), _ip(ours)
    if address is None:
        return False
    if not _is_private(address) or address == _ip(came_from):
        return True
    if own is not None and (own.is_loopback or _is_private(own)):
        return True
    return any(address in network and _is_private(network[0]) for network in allow)


def _is_private(address: _Ip) -> bool:
    return any(address in network for network in _PRIVATE)


def _ip(host: str) -> _Ip | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
