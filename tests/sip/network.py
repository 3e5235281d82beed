"""Agents on a network that exists only as numbers: seeded, in virtual time, faster than real time.

UDP packets may be lost, come twice, and overtake each other (each takes a random time). TCP is
what TCP is: nothing is lost and the order is kept. A host that is down receives nothing; whoever
sends there over TCP is told so.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.sip.agent import SipAgent
from gateway.sip.config import SipConfig
from gateway.sip.events import SipEvent
from gateway.sip.message import Address, Outgoing, Request, Response
from gateway.sip.parse import parse

EventT = TypeVar("EventT")
OnEvent = Callable[[SipEvent, float], None]


def tokens(seed: int) -> Callable[[], str]:
    """A source of tokens that is the same in every run."""
    source = random.Random(seed)
    return lambda: f"{source.getrandbits(64):016x}"


@dataclass
class Node:
    """One agent in its place, with everything it said so far."""

    agent: SipAgent
    host: str
    on_event: OnEvent | None = None
    told: list[SipEvent] = field(default_factory=list)
    sent: list[tuple[float, Outgoing]] = field(default_factory=list)

    def address(self, transport: str = "udp") -> Address:
        return Address(self.host, 5060, transport)

    def all_told(self, kind: type[EventT]) -> list[EventT]:
        return [event for event in self.told if isinstance(event, kind)]

    def only(self, kind: type[EventT]) -> EventT:
        """The one event of that type."""
        (event,) = self.all_told(kind)
        return event

    def wire(self, what: str | int) -> list[tuple[float, Request | Response]]:
        """What it sent: the requests of a method, or the responses of a status, and when."""
        found = []
        for when, outgoing in self.sent:
            message = parse(outgoing.data)
            if what == (message.method if isinstance(message, Request) else message.status):
                found.append((when, message))
        return found

    @property
    def is_empty(self) -> bool:
        agent = self.agent
        return not (agent.dialogs or agent.transactions or agent.timers)


class Network:
    """Carries messages between nodes and lets time pass."""

    def __init__(
        self,
        seed: int = 0,
        *,
        loss: float = 0.0,
        duplicate: float = 0.0,
        delay_s: tuple[float, float] = (0.01, 0.01),
    ) -> None:
        self.now = 1000.0
        self.nodes: dict[str, Node] = {}
        self.down: set[str] = set()
        self.lose: Callable[[Outgoing], bool] | None = None
        """Says of each UDP packet whether it is lost, instead of chance."""
        self._random = random.Random(seed)
        self._loss = loss
        self._duplicate = duplicate
        self._delay_s = delay_s
        self._order = itertools.count()
        self._flying: list[tuple[float, int, Address, Outgoing]] = []
        self._tasks: list[tuple[float, int, Callable[[float], None]]] = []
        self._last_tcp: dict[tuple[str, str], float] = {}

    def node(self, host: str, *, on_event: OnEvent | None = None, **config: object) -> Node:
        """Put a new agent at `host`; `config` are fields of SipConfig."""
        settings = SipConfig(host=host, **config)  # type: ignore[arg-type]
        agent = SipAgent(settings, token=tokens(self._random.getrandbits(32)))
        node = self.nodes[host] = Node(agent, host, on_event)
        return node

    def at(self, delay_s: float, task: Callable[[float], None]) -> None:
        """Do something later."""
        heapq.heappush(self._tasks, (self.now + delay_s, next(self._order), task))

    def run(self, seconds: float) -> None:
        """Let time pass and everything happen that is due in it."""
        end = self.now + seconds
        self.settle()
        while (when := self._next()) is not None and when <= end:
            self.now = max(self.now, when)
            self._step()
            self.settle()
        self.now = end

    def settle(self) -> None:
        """Take from every agent what it wants to send and tell, until there is no more."""
        busy = True
        while busy:
            busy = False
            for node in self.nodes.values():
                for outgoing in node.agent.datagrams_to_send():
                    busy = True
                    node.sent.append((self.now, outgoing))
                    self._carry(node, outgoing)
                for event in node.agent.events():
                    busy = True
                    node.told.append(event)
                    if node.on_event is not None:
                        node.on_event(event, self.now)

    def _carry(self, node: Node, outgoing: Outgoing) -> None:
        source = node.address(outgoing.to.transport)
        if outgoing.to.transport == "tcp":
            if outgoing.to.host in self.down or outgoing.to.host not in self.nodes:
                node.agent.transport_failed(outgoing.to, self.now)
                return
            way = (node.host, outgoing.to.host)
            arrival = max(self.now + self._delay(), self._last_tcp.get(way, 0.0))
            self._last_tcp[way] = arrival
            heapq.heappush(self._flying, (arrival, next(self._order), source, outgoing))
            return
        for _ in range(2 if self._random.random() < self._duplicate else 1):
            by_chance = self._random.random() < self._loss
            if not (by_chance if self.lose is None else self.lose(outgoing)):
                arrival = self.now + self._delay()
                heapq.heappush(self._flying, (arrival, next(self._order), source, outgoing))

    def _delay(self) -> float:
        return self._random.uniform(*self._delay_s)

    def _next(self) -> float | None:
        times = [node.agent.next_timeout() for node in self.nodes.values()]
        times += [self._flying[0][0] if self._flying else None]
        times += [self._tasks[0][0] if self._tasks else None]
        return min((when for when in times if when is not None), default=None)

    def _step(self) -> None:
        if self._tasks and self._tasks[0][0] <= self.now:
            heapq.heappop(self._tasks)[2](self.now)
        elif self._flying and self._flying[0][0] <= self.now:
            _, _, source, outgoing = heapq.heappop(self._flying)
            node = self.nodes.get(outgoing.to.host)
            if node is not None and node.host not in self.down:
                node.agent.receive(outgoing.data, source, self.now)
        else:
            for node in self.nodes.values():
                node.agent.timeout(self.now)
