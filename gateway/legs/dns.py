"""What name servers know, for SIP: services of a domain, and addresses of hosts (RFC 3263).

Answers are kept for as long as they say, within bounds. Whoever asks for what is being asked for
already waits for the same answer; few questions may be under way at once, and each has its time.
Name servers that cannot be reached are not asked again at once, or each call would wait for them.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final, cast

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdata
import dns.resolver
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV

from gateway.sip.services import Pointer, Server

_TIMEOUT_S = 3.0
_TRY_S = 1.0
"""Of one question to one server; then the next one is asked, or the same again."""
_LEAST_KEPT_S, _MOST_KEPT_S = 5.0, 600.0
_NOTHING_KEPT_S = 30.0
"""How long it is known that there is no such name."""
_UNKNOWN_KEPT_S = 10.0
"""How long nobody is asked who could not tell."""
_MAX_KEPT = 256
_MAX_UNDER_WAY = 32
_MAX_RECORDS = 32
_HOSTS_FILE: Final = Path("/etc/hosts")

_Question = tuple[str, str]
_Records = tuple[dns.rdata.Rdata, ...] | None
"""() if there are none; None: nobody could tell."""


class Dns:
    """Asks name servers.

    Args:
        clock: tells seconds, on any scale that only goes on.
        servers: (IP address, port) of each; none: those of the system, for services only, since the
            system has more ways than DNS to find a host.
    """

    def __init__(self, clock: Callable[[], float], servers: Sequence[tuple[str, int]] = ()) -> None:
        self._clock = clock
        self.knows_hosts = bool(servers)
        """Whether it is asked for hosts that somebody named, too."""
        self._resolver = _resolver(servers)
        self._kept: dict[_Question, tuple[float, _Records]] = {}  # with the time of its end
        self._under_way: dict[_Question, asyncio.Task[_Records]] = {}
        self._local = _LocalNames(_HOSTS_FILE)

    def is_domain(self, name: str) -> bool:
        """Whether anything but this machine can know a name: it has a dot, and the file of hosts
        does not have it."""
        return "." in name.rstrip(".") and name.lower() not in self._local.names()

    async def pointers(self, domain: str) -> list[Pointer]:
        """NAPTR records; none if nobody can tell."""
        records = await self._ask(domain, "NAPTR")
        return [
            Pointer(
                one.order,
                one.preference,
                one.flags.decode("ascii", "replace"),
                one.service.decode("ascii", "replace"),
                _text(one.replacement),
            )
            for one in cast(tuple[NAPTR, ...], records or ())
        ]

    async def servers(self, service: str) -> list[Server]:
        """SRV records; none if nobody can tell."""
        records = await self._ask(service, "SRV")
        return [
            Server(one.priority, one.weight, one.port, _text(one.target))
            for one in cast(tuple[SRV, ...], records or ())
        ]

    async def addresses(self, host: str, family: socket.AddressFamily) -> tuple[str, ...] | None:
        """IP addresses; () if it has none; None: nobody can tell."""
        records = await self._ask(host, "AAAA" if family == socket.AF_INET6 else "A")
        if records is None:
            return None
        return tuple(str(ip_address(one.to_text())) for one in records)

    async def close(self) -> None:
        """Ask nothing any more: whoever waits is told that nobody can tell."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, name: str, kind: str) -> _Records:
        question = (name.lower().rstrip("."), kind)
        ends, records = self._kept.get(question, (0.0, None))
        if self._clock() < ends:
            return records
        task = self._under_way.get(question)
        if task is None:
            if len(self._under_way) >= _MAX_UNDER_WAY:
                return None
            task = asyncio.get_running_loop().create_task(self._find(question))
            self._under_way[question] = task
            task.add_done_callback(lambda _: self._under_way.pop(question, None))
        try:
            return await asyncio.shield(task)  # others may wait for it too
        except asyncio.CancelledError:
            if task.cancelled():  # we were closed
                return None
            raise

    async def _find(self, question: _Question) -> _Records:
        """Ask, and keep what is told."""
        records, kept_s = await self._told(question)
        self._kept.pop(question, None)
        if len(self._kept) >= _MAX_KEPT:
            del self._kept[next(iter(self._kept))]  # the oldest
        self._kept[question] = (self._clock() + kept_s, records)
        return records

    async def _told(self, question: _Question) -> tuple[_Records, float]:
        """What there is, and for how many seconds that holds."""
        if self._resolver is None:
            return None, _UNKNOWN_KEPT_S
        name, kind = question
        try:
            absolute = dns.name.from_text(name)
        except (dns.exception.DNSException, ValueError):
            return (), _NOTHING_KEPT_S  # no name can be so
        try:
            answer = await self._resolver.resolve(
                absolute, kind, search=False, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN:
            return (), _NOTHING_KEPT_S
        except (dns.exception.DNSException, OSError, EOFError, ValueError):
            return None, _UNKNOWN_KEPT_S
        if answer.rrset is None:
            return (), _NOTHING_KEPT_S
        kept_s = min(max(float(answer.rrset.ttl), _LEAST_KEPT_S), _MOST_KEPT_S)
        return tuple(answer.rrset)[:_MAX_RECORDS], kept_s


class _LocalNames:
    """Those of the file of hosts, read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = 0.0
        self._names: frozenset[str] = frozenset()

    def names(self) -> frozenset[str]:
        try:
            changed = self._path.stat().st_mtime
            if changed != self._changed:
                text = self._path.read_text("ascii", "replace")
                lines = (line.partition("#")[0].split() for line in text.splitlines())
                self._names = frozenset(name.lower() for line in lines for name in line[1:])
                self._changed = changed
        except OSError:
            pass  # there is none, or it is being written: what was known holds
        return self._names


def _resolver(servers: Sequence[tuple[str, int]]) -> dns.asyncresolver.Resolver | None:
    """None if the system names no server."""
    try:
        resolver = dns.asyncresolver.Resolver(configure=not servers)
    except dns.exception.DNSException:
        return None
    if servers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(*server) for server in servers]
    resolver.timeout = _TRY_S
    resolver.lifetime = _TIMEOUT_S
    resolver.cache = None
    return resolver


def _text(name: dns.name.Name) -> str:
    """Of a name as a host, "" for the root, which stands for nobody."""
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True)
