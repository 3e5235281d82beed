"""What registrations and probes need of the endpoint: its agent, and the addresses of names."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from gateway.legs.leg import LegError
from gateway.sip.agent import SipAgent
from gateway.sip.message import Address

Key = TypeVar("Key")


class Office(Protocol):
    """The endpoint as they see it."""

    def act(self, action: Callable[[SipAgent, float], None]) -> None:
        """Ask something of the agent and send what comes of it."""

    async def locate(self, hop: Address) -> list[Address]:
        """Where to send what is meant for `hop`, the best place first. Raises LegError."""


@dataclass(slots=True)
class Standing:
    """How a registration or a trunk stands."""

    kind: str
    """registrar or trunk."""
    name: str
    """Its host; a second registration there is `host/2`."""
    state: str
    """registering, or asking: nothing is known yet. up: its last word was yes. down: it was not."""
    reason: str = ""
    """Why it is down."""

    @property
    def is_up(self) -> bool:
        return self.state == "up"

    @property
    def told(self) -> dict[str, str]:
        """What anybody may be told."""
        more = {"reason": self.reason} if self.reason else {}
        return {self.kind: self.name, "state": self.state, **more}


class LookUps(Generic[Key]):
    """Names that are being looked up, each in a task that ends with `close`.

    Args:
        found: tells the agent for whom which addresses were found, the best first; none if none
            were.
    """

    def __init__(
        self, office: Office, found: Callable[[SipAgent, Key, list[Address], float], None]
    ) -> None:
        self._office = office
        self._found = found
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def seek(self, key: Key, hop: Address) -> None:
        """Look for the addresses of `hop`, unless that is being done."""
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._find(key, hop))

    async def close(self) -> None:
        """Look nothing up any more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _find(self, key: Key, hop: Address) -> None:
        addresses: list[Address] = []
        try:
            addresses = await self._office.locate(hop)
        except LegError:
            pass  # told as unresolved
        finally:
            del self._tasks[key]
        self._office.act(lambda agent, now: self._found(agent, key, addresses, now))
