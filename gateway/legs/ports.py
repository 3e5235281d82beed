"""The pool of media ports: an even one for RTP and the next for RTCP (RFC 3550 section 11).

Pairs are given out in rotation, so that one which was just freed is the last to be used again:
packets that are still on their way to an old call do not arrive in a new one.
"""

import socket
from collections import deque


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


def bind_udp(host: str, port: int) -> socket.socket:
    """A bound, non-blocking UDP socket.

    Binding is done here and not by the event loop, because uvloop then says less of what went wrong
    and leaves a half-made transport behind.

    Raises:
        OSError: the port is taken, or the address is not ours; the text names both.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{error.strerror}: UDP {host} port {port}") from None
    sock.setblocking(False)
    return sock
