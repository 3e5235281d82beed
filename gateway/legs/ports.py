"""The pool of media ports: an even one for RTP and the next for RTCP (RFC 3550 section 11).

Pairs are given out in rotation, so that one which was just freed is the last to be used again:
packets that are still on their way to an old call do not arrive in a new one.
"""

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
