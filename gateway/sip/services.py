"""Where a domain wants to be called: what DNS says of it, put in order (RFC 3263 section 4).

A domain may name the transports that it speaks and prefers (NAPTR), and for each the hosts that
serve it, with ranks and shares (SRV). What was asked for in the URI is never overruled: a transport
that it names is taken, a port that it names means one host.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

DEFAULT_PORTS: Final = {"udp": 5060, "tcp": 5060, "tls": 5061}
_PREFIXES: Final = {"udp": "_sip._udp.", "tcp": "_sip._tcp.", "tls": "_sips._tcp."}
"""Without a word from the domain the first is preferred (section 4.1)."""
_SERVICES: Final = {"sip+d2u": "udp", "sip+d2t": "tcp", "sips+d2t": "tls"}


class Service(NamedTuple):
    """A name whose SRV records are wanted, and what is spoken there."""

    name: str
    transport: str


class Pointer(NamedTuple):
    """A NAPTR record (RFC 3403), as far as it matters here."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


class Server(NamedTuple):
    """An SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    host: str
    """ "" where the service is decidedly not to be had."""


def usual_services(domain: str, transports: Iterable[str]) -> list[Service]:
    """The names under which a domain keeps its services, of these transports, unless NAPTR says
    otherwise; the usual preference."""
    wanted = set(transports)
    return [
        Service(f"{prefix}{domain}", transport)
        for transport, prefix in _PREFIXES.items()
        if transport in wanted
    ]


def preferred_services(pointers: Iterable[Pointer], transports: Iterable[str]) -> list[Service]:
    """What NAPTR records point to, of these transports, the most preferred first."""
    wanted = set(transports)
    found = []
    for pointer in sorted(pointers, key=lambda one: (one.order, one.preference)):
        transport = _SERVICES.get(pointer.service.lower())
        if transport in wanted and pointer.flags.lower() == "s" and pointer.replacement:
            service = Service(pointer.replacement, transport)
            if service not in found:
                found.append(service)
    return found


def ranked(servers: Sequence[Server], fraction: Callable[[], float]) -> list[Server]:
    """In the order in which they are to be tried (RFC 2782): by priority; among equals by lot,
    where `weight` is how many lots each has. `fraction` draws from [0, 1)."""
    order: list[Server] = []
    for priority in sorted({server.priority for server in servers}):
        # Those without weight stand first: they are drawn only when the lot is the very smallest.
        equals = sorted(
            (server for server in servers if server.priority == priority),
            key=lambda server: server.weight > 0,
        )
        while equals:
            lot = fraction() * sum(server.weight for server in equals)
            at = 0
            while at < len(equals) - 1 and equals[at].weight <= lot and lot > 0:
                lot -= equals[at].weight
                at += 1
            order.append(equals.pop(at))
    return [server for server in order if server.host]
