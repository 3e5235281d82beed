"""The pool of media ports: an even one for RTP and the next for RTCP (RFC 3550 section 11).

Pairs are given out in rotation, so that one which was just freed is the last to be used again:
packets that are still on their way to an old call do not arrive in a new one.
"""

import socket
from collections import deque
from typing import Final

_MAPPED: Final = "::ffff:"


class NoPortError(Exception):
    """All media ports are in use."""


class PortPool:
    """Even ports of `first..last`, both inclusive, whose successor lies in the range too."""

    def __init__(self, first: int, last: int) -> None:
        start = first + first % 2
        self._free = deque(range(start, last, 2))

    def __len__(self) -> int:
        """How many pairs are free."""
        return len(self._free)

    def take(self) -> int:
        """The RTP port of a pair.

        Raises:
            NoPortError: none is left.
        """
        if not self._free:
            raise NoPortError("all media ports are in use")
        return self._free.popleft()

    def give_back(self, port: int) -> None:
        self._free.append(port)


def bind_udp(host: str, port: int, *, both: bool = False) -> socket.socket:
    """A bound, non-blocking UDP socket; of IPv6 only where `host` is of that, unless `both`.

    Binding is done here and not by the event loop, because uvloop then says less of what went wrong
    and leaves a half-made transport behind.

    Raises:
        OSError: the port is taken, or the address is not ours; the text names both.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{error.strerror}: UDP {host} port {port}") from None
    sock.setblocking(False)
    return sock


def listen_tcp(host: str, port: int, *, both: bool = False) -> socket.socket:
    """The same for connections.

    Raises:
        OSError: the port is taken, or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.create_server((host, port), family=family, dualstack_ipv6=both)
    sock.setblocking(False)
    return sock


def plain_host(host: str) -> str:
    """A peer's address as it is called everywhere: a socket of both families says of IPv4 that it
    is inside of IPv6 (RFC 4291 section 2.5.5.2)."""
    return host[len(_MAPPED) :] if host.startswith(_MAPPED) and "." in host else host


def mapped_host(host: str) -> str:
    """A peer's address as a socket of both families wants to hear it."""
    return host if ":" in host else _MAPPED + host
