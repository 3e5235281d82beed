"""From the name of a host to the address that a call is sent to.

The system's look-up blocks its thread for as long as a name server is silent, and cannot be called
off. So each has a thread of its own, which nothing else waits for, not even the end of the process,
and few may be under way: whatever else of the process asks for names is not held up.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address

from gateway.legs.leg import LegError
from gateway.reach import usable_host

_TIMEOUT_S = 5.0
_KEPT_S = 30.0
_MAX_KEPT = 64
_MAX_UNDER_WAY = 4
_NOT_CERTAIN = (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_MEMORY, socket.EAI_SYSTEM)

_Name = tuple[str, socket.AddressFamily]
Addresses = tuple[str, ...] | None
"""Of a name, () if it has none; None: nobody could tell."""


class Resolver:
    """Looks names up, each once at a time, and remembers for half a minute what it was told."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` tells seconds, on any scale that only goes on."""
        self._clock = clock
        self._kept: dict[_Name, tuple[float, tuple[str, ...]]] = {}  # with the time of its end
        self._under_way: dict[_Name, asyncio.Future[Addresses]] = {}

    async def resolve(self, host: str, bind_host: str) -> list[str]:
        """The addresses of `host`, a name or an IP literal, that may be called from `bind_host`,
        as `callable_from` has them.

        Raises:
            LegError: as `callable_from`; 502 unresolved also if too many names are looked up.
        """
        family = family_of(bind_host)
        literal = _literal(host, family)
        addresses = (literal,) if literal else await self._addresses((host.lower(), family))
        return callable_from(bind_host, addresses)

    async def look_up(self, host: str) -> str:
        """The first IPv4 address of `host`, a name or an IP literal of either family.

        Raises:
            OSError: it has none, or nobody could tell in time.
        """
        if (
            literal := _literal(host, socket.AF_INET6) or _literal(host, socket.AF_INET)
        ) is not None:
            return literal
        addresses = await self._addresses((host.lower(), socket.AF_INET))
        if not addresses:
            raise OSError("no address for that name")
        return addresses[0]

    def close(self) -> None:
        """Wait for nothing any more: whoever still does is told that nobody could tell."""
        for waiting in self._under_way.values():
            waiting.set_result(None)
        self._under_way.clear()

    async def _addresses(self, name: _Name) -> Addresses:
        ends, addresses = self._kept.get(name, (0.0, None))
        if addresses is not None and self._clock() < ends:
            return addresses
        waiting = self._under_way.get(name) or self._ask(name)
        if waiting is None:
            return None
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await asyncio.shield(waiting)  # others may wait for it too
        except TimeoutError:
            return None

    def _ask(self, name: _Name) -> asyncio.Future[Addresses] | None:
        """Begin to look a name up; None if too many are."""
        if len(self._under_way) >= _MAX_UNDER_WAY:
            return None
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[Addresses] = loop.create_future()

        def look_up() -> None:
            found: Addresses = None
            try:
                found = _look_up(name)
            finally:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                    loop.call_soon_threadsafe(self._found, name, waiting, found)

        try:
            threading.Thread(target=look_up, name="resolve", daemon=True).start()
        except RuntimeError:  # the process may have no more threads
            waiting.set_result(None)
            return waiting
        self._under_way[name] = waiting
        return waiting

    def _found(self, name: _Name, waiting: asyncio.Future[Addresses], addresses: Addresses) -> None:
        if waiting.done():
            return  # we were closed
        del self._under_way[name]
        waiting.set_result(addresses)
        if addresses is not None:
            self._kept.pop(name, None)
            if len(self._kept) >= _MAX_KEPT:
                del self._kept[next(iter(self._kept))]  # the oldest
            self._kept[name] = (self._clock() + _KEPT_S, addresses)


def family_of(bind_host: str) -> socket.AddressFamily:
    """Of the addresses that a socket bound there reaches."""
    return socket.AF_INET6 if ":" in bind_host else socket.AF_INET


def is_address(host: str) -> bool:
    """Whether it is an address, of whatever family, however the system lets it be spelled."""
    if ":" in host:
        return True
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True


def callable_from(bind_host: str, addresses: Addresses) -> list[str]:
    """Those of a name's addresses that a call from `bind_host` may be sent to, in their order.

    They are spelled as the system spells the addresses of sockets.

    Raises:
        LegError: 404 unknown_host, there are none; 502 unresolved, nobody could tell in time; 403
            unusable_host, no call may be sent to any of them.
    """
    if addresses is None:
        raise LegError(502, "unresolved")
    if not addresses:
        raise LegError(404, "unknown_host")
    usable = [
        address
        for address in addresses
        if usable_host(address, bind_host) and not _is_beyond(address, bind_host)
    ]
    if not usable:
        raise LegError(403, "unusable_host")
    return usable


def _look_up(name: _Name) -> Addresses:
    """Ask the system, for as long as that takes."""
    host, family = name
    try:
        # One kind of socket, or each address would come once for every kind.
        found = socket.getaddrinfo(host, None, family, socket.SOCK_DGRAM)
    except socket.gaierror as error:
        return None if error.errno in _NOT_CERTAIN else ()
    except UnicodeError:
        return ()  # a label of it is too long for any name
    except OSError:
        return None
    return tuple(str(address[0]) for *_, address in found)


def _is_beyond(address: str, bind_host: str) -> bool:
    """Whether a socket that is bound to the loopback would have to leave this machine."""
    return ip_address(bind_host).is_loopback and not ip_address(address).is_loopback


def _literal(host: str, family: socket.AddressFamily) -> str | None:
    """The same address as the system writes it; None for a name."""
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, host))
    except (OSError, ValueError):
        return None
