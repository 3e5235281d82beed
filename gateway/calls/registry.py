"""All calls of the process: admission, the one list of who is on the line, and the drain."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from gateway.calls.call import Call
from gateway.calls.machine import Refusal

_RETRY_AFTER_S = 10


class Registry:
    """The calls in progress and the tasks that live them.

    Args:
        limit: this many calls at once; a further one is refused.
        on_ended: is given each call's record.
    """

    def __init__(self, limit: int, on_ended: Callable[[dict[str, Any]], None]) -> None:
        self._limit = limit
        self._on_ended = on_ended
        self._calls: dict[str, Call] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.draining = False

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls.values())

    def refusal(self) -> Refusal | None:
        """Why the next call cannot be taken, or None."""
        if self.draining:
            return Refusal(503, "draining", _RETRY_AFTER_S)
        if len(self._calls) >= self._limit:
            return Refusal(503, "full", _RETRY_AFTER_S)
        return None

    def start(self, call: Call) -> None:
        """Let a call live; it is forgotten when it has ended."""
        self._calls[call.call_id] = call
        self._tasks[call.call_id] = asyncio.create_task(
            self._live(call), name=f"call {call.call_id}"
        )

    async def drain(self, timeout_s: float) -> None:
        """Take no more calls; let those in progress end, and hang up what is left at the end."""
        self.draining = True
        await self._wait(timeout_s)
        for call in list(self._calls.values()):
            call.hang_up("drain")
        await self._wait(None)

    async def _wait(self, timeout_s: float | None) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=timeout_s)

    async def _live(self, call: Call) -> None:
        try:
            record = await call.run()
        finally:
            del self._calls[call.call_id]
            del self._tasks[call.call_id]
        self._on_ended(record)
