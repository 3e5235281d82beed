"""How much strangers may ask, and what becomes of those who only try doors.

Whoever is not on the list of those who may call has a bucket of requests that fills at a steady
rate; what finds it empty is not even read. Who fails (a wrong password, a call that is not let in,
a message that is none) gets a worse name with each failure, which mends with time; who is asked for
a password is half suspected until it brings one. A bad name first makes answers slow, so that
trying doors takes longer than coming in; a worse one makes us deaf to that source for a while.
Neither tells apart a door that exists from one that does not.

Whoever is refused is told to operators, since it may be a carrier or a telephone of theirs: each
source once in a while, and so few of them that a flood does not fill the log.

One IPv6 customer has a whole /64, so that is one source. What is remembered is bounded: in a flood
from everywhere, those who were heard longest ago are forgotten first.
"""

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

BURST_S: Final = 2.0
"""The bucket holds what comes in so long at the steady rate."""
SLOW_FROM, DEAF_FROM = 5.0, 20.0
"""Failures: from there on answers are slow, and from there on there are none."""
FAILED, ASKED = 1.0, 0.5
"""How much a failure counts, and a question for a proof that has not come yet."""
MENDS_PER_S: Final = 0.1
SLOWER_S, SLOWEST_S = 0.25, 4.0
"""Each failure more makes answers slower by this, up to that."""
DEAF_S: Final = 300.0
MAX_SOURCES: Final = 10_000
TELL_AGAIN_S: Final = 60.0
"""A refusal of the same source is told again after this."""
MAX_TOLD: Final = 10
"""Sources whose refusals are told in that time, of requests and of connections each."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that operators want to know of a source."""

    kind: str
    """`slowed` or `dropped`: told once until it has mended. `refused`: told now and then."""
    host: str
    failures: int = 0
    """Not said of who was only refused."""
    why: str = ""
    """What it did last: `not_allowed`, `wrong_password`, `no_password` or `malformed`."""
    method: str = ""
    """Of the request that was refused; "" for a connection that was closed unheard."""
    status: int | None = None
    """With which it was."""


@dataclass(slots=True)
class _Source:
    tokens: float
    at: float
    failures: float = 0.0
    deaf_until: float = 0.0
    told: str = ""


class Throttle:
    """All sources that are not trusted.

    Args:
        rate: requests a second of one source; 0 is without a limit, and failures count for nothing.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._sources: dict[str, _Source] = {}  # those heard longest ago first
        self._notices: list[Notice] = []
        # When a refusal was told, the first one in front: of requests, and of connections, which
        # cost nothing to make and must not keep the others out of the log.
        self._told: dict[bool, dict[str, float]] = {False: {}, True: {}}
        self.dropped = 0
        """Messages that were not read."""

    def __len__(self) -> int:
        return len(self._sources)

    def admits(self, host: str, now: float) -> bool:
        """Whether to read a message from there, which takes one from its bucket."""
        if not self._rate:
            return True
        source = self._heard(host, now)
        if now < source.deaf_until or source.tokens < 1:
            self.dropped += 1
            return False
        source.tokens -= 1
        return True

    def failed(self, host: str, now: float, weight: float = FAILED, why: str = "") -> float:
        """It failed. Returns for how many seconds the answer is to wait."""
        if not self._rate:
            return 0.0
        source = self._heard(host, now)
        source.failures += weight
        if source.failures >= DEAF_FROM:
            source.deaf_until = now + DEAF_S
            self._tell("dropped", host, source, why)
        elif source.failures > SLOW_FROM:
            self._tell("slowed", host, source, why)
        return min(max(source.failures - SLOW_FROM, 0.0) * SLOWER_S, SLOWEST_S)

    def proved(self, host: str, now: float) -> None:
        """It brought the proof that it was asked for."""
        if self._rate:
            source = self._heard(host, now)
            source.failures = max(source.failures - ASKED, 0.0)

    def refused(self, host: str, method: str, status: int | None, why: str, now: float) -> None:
        """It is told no, which operators hear of even where there is no limit."""
        told = self._told[status is None]
        for source, told_at in list(told.items()):
            if now - told_at < TELL_AGAIN_S:
                break
            del told[source]
        key = source_of(host)
        if key not in told and len(told) < MAX_TOLD:
            told[key] = now
            self._notices.append(Notice("refused", host, why=why, method=method, status=status))

    def notices(self) -> list[Notice]:
        """What there is to tell since this was last asked."""
        notices, self._notices = self._notices, []
        return notices

    def _tell(self, kind: str, host: str, source: _Source, why: str) -> None:
        if source.told != kind:
            source.told = kind
            self._notices.append(Notice(kind, host, int(source.failures), why))

    def _heard(self, host: str, now: float) -> _Source:
        """The source, with what time has given back to it; it is the latest one then."""
        key = source_of(host)
        most = max(self._rate * BURST_S, 1.0)
        source = self._sources.pop(key, None)
        if source is None:
            source = _Source(most, now)
            if len(self._sources) >= MAX_SOURCES:
                del self._sources[next(iter(self._sources))]
        passed = max(now - source.at, 0.0)
        source.tokens = min(source.tokens + passed * self._rate, most)
        source.failures = max(source.failures - passed * MENDS_PER_S, 0.0)
        if not source.failures:
            source.told = ""
        source.at = now
        self._sources[key] = source
        return source


def source_of(host: str) -> str:
    """Whom an address stands for: itself, or of IPv6 its network."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else address.exploded[:19]
