"""Gateways with a Realtime server behind them, for tests that block.

A `FakeRealtime` runs on an event loop in a thread of its own.
"""

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.peers.audio import mulaw, spoken
from tests.peers.fake_realtime import FakeConnection, FakeRealtime
from tests.peers.gateway import HOST, ROOT, Footprint, GatewayProcess, free_port
from tests.peers.sipp import Sipp

Result = TypeVar("Result")
Script = Callable[[FakeConnection, int], Awaitable[None]]
"""What a server says by itself on a connection; the number counts connections from 0."""


class RealtimeThread:
    """Use as a context manager.

    Args:
        script: is run beside each connection, for servers that do more than configure sessions.
    """

    def __init__(self, script: Script | None = None) -> None:
        self.server = FakeRealtime()
        self._script = script
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._scripts: Future[None] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self.server.__aenter__())
        if self._script is not None:
            self._scripts = asyncio.run_coroutine_threadsafe(self._serve(self._script), self._loop)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._scripts is not None:
            self._scripts.cancel()
        self.run(self.server.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return self.server.url

    def run(self, work: Coroutine[Any, Any, Result], timeout_s: float = 20.0) -> Result:
        """Do this on the server's loop; returns when it is done."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def connection(self, index: int, timeout_s: float = 5.0) -> FakeConnection:
        """The connection with this number, from 0."""
        return self.run(self.server.connection(index, timeout_s))

    async def _serve(self, script: Script) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(1_000_000):
                connection = await self.server.connection(number, 1_000_000)
                group.create_task(_ended_quietly(script(connection, number)))


@dataclass
class Line:
    """A gateway, the Realtime server behind it, and what it held when nobody had called yet."""

    gateway: GatewayProcess
    realtime: RealtimeThread
    baseline: Footprint


@dataclass
class LoadLine:
    """A gateway for many calls, and what it held when nobody had called yet."""

    gateway: GatewayProcess
    baseline: Footprint


@dataclass
class HalfOpen:
    """Many calls that are answered and never acknowledged."""

    run: Sipp
    mark: int
    answered_at_s: float


@contextlib.contextmanager
def bench_model() -> Iterator[str]:
    """A Realtime server that is a program of its own, because of the many calls; gives its URL."""
    port = free_port()
    model = subprocess.Popen(
        [sys.executable, "-m", "bench.model", "--port", str(port)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield f"ws://{HOST}:{port}/v1/realtime"
    finally:
        model.terminate()
        model.wait()


def speech_file(directory: Path) -> str:
    """A file of speech in mu-law, for SIPp."""
    path = directory / "speech.ul"
    path.write_bytes(mulaw(spoken("This is a caller who has a lot to say to you.", directory)))
    return str(path)


async def _ended_quietly(script: Awaitable[None]) -> None:
    """A script whose caller hangs up is over, not wrong."""
    with contextlib.suppress(ConnectionError, AssertionError):
        await script
