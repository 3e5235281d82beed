"""All calls of the process: admission, the one list of who is on the line, and the drain."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from gateway.calls.call import Call
from gateway.calls.policy import Refusal
from gateway.calls.record import EndedCall

_RETRY_AFTER_S = 10
_REMEMBERED = 1000
"""So many ended calls can still be looked at."""


class Registry:
    """The calls in progress, the tasks that live them, and what is remembered of ended ones.

    Args:
        limit: this many calls at once; a further one is refused.
        on_ended: is given each call's record.
        on_change: is told whenever a call has begun or ended.
    """

    def __init__(
        self,
        limit: int,
        on_ended: Callable[[dict[str, Any]], None],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._limit = limit
        self._on_ended = on_ended
        self._on_change = on_change
        self._calls: dict[str, Call] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ended: OrderedDict[str, EndedCall] = OrderedDict()
        self.draining = False

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls.values())

    def get(self, call_id: str) -> Call | None:
        """A call in progress."""
        return self._calls.get(call_id)

    def ended(self, call_id: str) -> EndedCall | None:
        """A call that is over."""
        return self._ended.get(call_id)

    def known(self) -> list[str]:
        """The ids of all calls that are known, the newest first, ended ones after the others."""
        return [*reversed(self._calls), *reversed(self._ended)]

    def refusal(self) -> Refusal | None:
        """Why the next call cannot be taken, or None."""
        if self.draining:
            return Refusal(503, "draining", _RETRY_AFTER_S)
        if len(self._calls) >= self._limit:
            return Refusal(503, "full", _RETRY_AFTER_S)
        return None

    def start(self, call: Call) -> None:
        """Let a call live; when it has ended only its record is kept, for a while."""
        self._calls[call.call_id] = call
        self._tasks[call.call_id] = asyncio.create_task(
            self._live(call), name=f"call {call.call_id}"
        )
        self._on_change()

    async def drain(self, timeout_s: float) -> None:
        """Take no more calls; let those in progress end, and hang up what is left at the end.

        Whoever is being called and has not answered is not waited for.
        """
        self.draining = True
        for call in [call for call in self if call.is_calling]:
            call.hang_up("drain")
        await self._wait(timeout_s)
        for call in list(self._calls.values()):
            call.hang_up("drain")
        await self._wait(None)

    async def _wait(self, timeout_s: float | None) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=timeout_s)

    async def _live(self, call: Call) -> None:
        try:
            await call.run()
        finally:
            del self._calls[call.call_id]
            del self._tasks[call.call_id]
            self._ended[call.call_id] = call.record.kept()
            if len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)
            self._on_change()
            if call.record.detail is not None:
                self._on_ended(call.record.detail)
