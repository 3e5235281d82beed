"""What is to leave, and what was counted on the way."""

from collections import Counter
from dataclasses import dataclass, field

from gateway.sip.message import Address, Outgoing
from gateway.sip.parse import KNOWN_METHODS


def countable(method: str) -> str:
    """The method, or "OTHER": what strangers invent must not grow our tables."""
    return method if method in KNOWN_METHODS else "OTHER"


@dataclass(slots=True)
class Counters:
    """Totals since the agent was made; the number of keys is bounded."""

    requests: Counter[str] = field(default_factory=Counter)
    """Requests received, by method, copies included."""
    responses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Responses sent, by method and status, copies not included."""
    retransmits: int = 0
    """Messages we sent again."""
    dropped: int = 0
    """Messages received that could be neither used nor answered."""
    strangers: Counter[str] = field(default_factory=Counter)
    """Sources that were slowed or dropped, messages of strangers that were not read, connections of
    theirs that were not taken."""


class Outbox:
    """Messages in the order in which they are to be sent."""

    __slots__ = ("_waiting", "counters")

    def __init__(self) -> None:
        self._waiting: list[Outgoing] = []
        self.counters = Counters()

    def send(self, data: bytes, to: Address) -> None:
        self._waiting.append(Outgoing(data, to))

    def send_again(self, data: bytes, to: Address) -> None:
        """The same as `send`, for a message that was sent before."""
        self.counters.retransmits += 1
        self._waiting.append(Outgoing(data, to))

    def drain(self) -> list[Outgoing]:
        waiting, self._waiting = self._waiting, []
        return waiting
