"""Which of the candidates that a peer names are tried.

A check is a packet to an address that a stranger wrote down, sent several times before it is given
up; whoever lists the addresses of others would have us send to them. So few are tried, and none
where no peer can be. Whoever is left out here is not lost: a peer checks us too, and where its
checks come from is a candidate as good as any (RFC 8445 section 7.3.1.3). That is also how a
browser is found that hides its address behind a name.
"""

import ipaddress
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

from gateway.reach import Network, reachable_host, usable_host
from gateway.sdp.transport import Candidate

MAX_CANDIDATES: Final = 16
_LOWEST_PORT: Final = 1024  # below are services, no peers

_COMPONENT: Final = 1  # RTCP shares the port


def usable(
    candidates: Iterable[Candidate],
    *,
    local: Sequence[str],
    advertised: str = "",
    allow: Sequence[Network] | None = None,
    own: Collection[tuple[str, int]] = (),
) -> tuple[Candidate, ...]:
    """The first 16 that are worth a check, their hosts as plain IP addresses.

    Args:
        local: the IP addresses that we listen at. The loopback ones among them count only if
            there are no others: who has only those lives on this machine. Else a stranger could
            name what listens here, and a browser on this machine tells where it is by its checks.
        advertised: the one that the world knows us by, where a NAT stands before them; empty if
            none does. Then private addresses of a peer are those behind another NAT.
        allow: private networks that we reach all the same.
        own: addresses and ports of ours, sockets and candidates, which are no peer's.
    """
    known = [address for address in map(_plain, local) if address is not None]
    others = [_told(host, advertised) for host in known if not _is_loopback(host)]
    ours = others or known
    taken = {(_plain(host), port) for host, port in own}
    chosen: list[Candidate] = []
    for candidate in candidates:
        host = _plain(candidate.host)
        place = (host, candidate.port)
        if (
            host is not None
            and candidate.protocol == "udp"
            and candidate.component == _COMPONENT
            and candidate.port >= _LOWEST_PORT
            and place not in taken
            and any(_is_within_reach(host, our, allow or ()) for our in ours)
        ):
            taken.add(place)
            chosen.append(replace(candidate, host=host))
            if len(chosen) == MAX_CANDIDATES:
                break
    return tuple(chosen)


def _is_within_reach(host: str, our: str, allow: Sequence[Network]) -> bool:
    return (
        (":" in host) == (":" in our)
        and usable_host(host, our)
        and reachable_host(host, our, "", allow)
    )


def _told(host: str, advertised: str) -> str:
    """What an address of ours is to peers."""
    return advertised if advertised and (":" in advertised) == (":" in host) else host


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


def _plain(host: str) -> str | None:
    """An IP address in its one way of writing; None for a name, and for one that means something
    on the peer's machine only (RFC 4007 section 11)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return None if "%" in host else str(mapped or address)
