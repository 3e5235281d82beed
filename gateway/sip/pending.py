"""How many calls of one source may wait at once: for an answer, or for the ACK of a refusal.

Until then an INVITE holds state, 64 T1 for a refusal that nobody acknowledges, and whoever sends
INVITEs and nothing else could have us hold any amount of it. Beyond the bound they are refused
without any. Calls that were answered are the application's to count.
"""

from collections import deque
from typing import Final

from gateway.sip.layer import ServerTransaction
from gateway.sip.throttle import source_of
from gateway.sip.transaction import State

_WAITING: Final = (State.TRYING, State.PROCEEDING, State.COMPLETED)
_SWEEP_FROM: Final = 256
"""So many sources are looked through for those that have none left."""


class Pending:
    """INVITEs that opened a call, by source.

    Args:
        most: of one source; 0 is without a bound.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[str, deque[ServerTransaction]] = {}

    def __len__(self) -> int:
        """How many are kept; some of them may be done."""
        return sum(map(len, self._waiting.values()))

    def has_room(self, host: str) -> bool:
        """Whether another one is taken from there."""
        waiting = self._waiting.get(source_of(host), deque())
        if not self._most or len(waiting) < self._most:
            return True
        still = [one for one in waiting if one.state in _WAITING]
        waiting.clear()
        waiting.extend(still)
        return len(still) < self._most

    def add(self, host: str, transaction: ServerTransaction) -> None:
        """Count one, as long as it waits."""
        if not self._most:
            return
        if len(self._waiting) >= _SWEEP_FROM:
            idle = [source for source, waiting in self._waiting.items() if not _some(waiting)]
            for source in idle:
                del self._waiting[source]
        waiting = self._waiting.setdefault(source_of(host), deque())
        _some(waiting)
        waiting.append(transaction)


def _some(waiting: deque[ServerTransaction]) -> bool:
    """Whether any waits; the oldest, if they do not, are let go of."""
    while waiting and waiting[0].state not in _WAITING:
        waiting.popleft()
    return bool(waiting)
