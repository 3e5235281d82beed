"""Connections that fail by plan, and the plan that is in force. Only tests have a use for them."""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from gateway.backend.connection import APPEND_STARTS, Connection
from gateway.backend.fault_plan import APPEND
from gateway.backend.faults import (
    Action,
    Close,
    Delay,
    Drop,
    Fail,
    Fault,
    Raw,
    Stall,
    Step,
    WireFaults,
)
from gateway.realtime.errors import RealtimeError
from gateway.realtime.events import EventError, parse_event

_LOOK_S: Final = 0.05


class FaultyConnection(Connection):
    """A connection that fails as `faults` say; they may be replaced at any time."""

    def __init__(self, *arguments: Any, faults: WireFaults, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.faults = faults
        self._goes_on = asyncio.Event()
        self._goes_on.set()

    def strike(self, actions: Iterable[Action]) -> None:
        """Let these happen before the session has its say."""
        greeting = self.session.events()
        for action in actions:
            if isinstance(action, Fail | Close):
                self._follow(action)
        for event in greeting:
            self._send(event)

    def _deliver(self, kind: str, message: bytes) -> None:
        for step in self.faults.sending(kind, message):
            self._follow(step)

    def _follow(self, step: Step) -> None:
        if isinstance(step, Fail):
            self._fail_with(step, None)
        elif isinstance(step, Close):
            self._end(step)
        else:
            self._put(step)

    def _fail_with(self, fail: Fail, event_id: object) -> None:
        error = RealtimeError(fail.message, code=fail.code, kind="server_error")
        self.session.refuse(error, event_id)
        for event in self.session.events():
            self._send(event)

    async def _receive(self, data: bytes) -> None:
        kind, event_id = APPEND, None
        if not data.startswith(APPEND_STARTS):
            try:
                event = parse_event(data)
                kind, event_id = event["type"], event.get("event_id")
            except EventError:
                kind = ""
        for action in self.faults.receiving(kind):
            match action:
                case Fail():
                    self._fail_with(action, event_id)
                    return
                case Delay(seconds):
                    await asyncio.sleep(seconds)
                case Stall():
                    self._goes_on.clear()
                    self._put(action)
                case Drop() | Close():
                    self._follow(action)
        await self._stall()
        if not self._ending:
            await super()._receive(data)

    async def _act(self, step: Step) -> bool:
        match step:
            case Raw(data):
                if self._transport is not None:
                    self._transport.write(data)
            case Drop():
                if self._transport is not None:
                    self._transport.close()
                return False
            case Delay(seconds):
                await asyncio.sleep(seconds)
            case Stall(seconds):
                self._goes_on.clear()
                if seconds is not None:
                    self._loop.call_later(seconds, self._goes_on.set)
                await self._stall()
            case _:
                return await super()._act(step)
        return True

    async def _stall(self) -> None:
        """Wait until it goes on, or the client has gone, which nobody sees who does not read."""
        while not self._goes_on.is_set():
            if self._transport is None or self._transport.is_closing():
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._goes_on.wait()


class PlanInForce:
    """The faults of a server, which may be changed while it runs."""

    def __init__(self, plan: Sequence[Fault] = ()) -> None:
        self._plan = tuple(plan)
        self._connections = 0

    def next_connection(self) -> WireFaults:
        """The faults of the connection that has just arrived."""
        self._connections += 1
        return WireFaults(self._plan, self._connections)

    def change(self, plan: Sequence[Fault], there: Iterable[Connection]) -> None:
        """Put another plan in force; connections are counted anew. Those that are there already
        are struck by what is meant for each."""
        self._plan = tuple(plan)
        self._connections = 0
        for connection in there:
            if isinstance(connection, FaultyConnection):
                connection.faults = WireFaults(self._plan, None)
