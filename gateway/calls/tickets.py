"""Those who wait for a command to have its effect."""

import asyncio
import itertools
from collections.abc import Callable

from gateway.calls.commands import no_call
from gateway.realtime.errors import RealtimeError

START: int = 0
"""The ticket of whoever waits for a call to be made; commands get the numbers after it."""


class Tickets:
    """Numbers that are given out, and settled once each."""

    def __init__(self) -> None:
        self._next = itertools.count(START + 1)
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._closed = False

    async def wait(self, begin: Callable[[int], None]) -> None:
        """Give out a ticket, hand it to `begin`, and wait until it is settled.

        Raises:
            RealtimeError: what it was settled with, or that there is no call any more.
        """
        await self._wait(next(self._next), begin)

    async def wait_for_start(self) -> None:
        """Wait for `START` to be settled. Raises as `wait` does."""
        await self._wait(START, lambda _: None)

    def settle(self, ticket: int, error: RealtimeError | None) -> None:
        """The effect is there, or `error` says why it will not be."""
        future = self._waiting.get(ticket)
        if future is None or future.done():
            return  # whoever asked has gone
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def close(self) -> None:
        """Nothing will have an effect any more."""
        self._closed = True
        for ticket in list(self._waiting):
            self.settle(ticket, no_call())

    async def _wait(self, ticket: int, begin: Callable[[int], None]) -> None:
        if self._closed:
            raise no_call()
        future = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = future
        try:
            begin(ticket)
            await future
        finally:
            del self._waiting[ticket]
