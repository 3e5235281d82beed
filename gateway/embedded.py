"""The embedded agent beside the service: a child process that serves Realtime on loopback.

It is a process of its own so that its voice detection never delays a frame of a call, and so that
the service dials it like any other Realtime server. It ends when the service ends, however that
happens: its standard input closes. Should it die first, it is started again on the same port.
"""

import asyncio
import contextlib
import json
import random
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from structlog.typing import FilteringBoundLogger

_START_TIMEOUT_S = 20.0
_RESTART_PAUSE_S = 0.5
_STOP_TIMEOUT_S = 3.0
_SEED_BITS = 63


class EmbeddedAgentError(Exception):
    """The embedded agent did not start."""


class EmbeddedAgent:
    """Keeps the child alive. Use as an async context; then `url` is where it serves.

    Args:
        dialogue: a TOML file; None is the built-in dialogue.
        seed: makes ids and delays repeatable. A child that is started again has others than the
            one before it, in a way that is repeatable too: calls go on, and their ids are known.
        session_limit_s: a session ends after this long.
    """

    def __init__(
        self,
        log: FilteringBoundLogger,
        *,
        dialogue: Path | None = None,
        seed: int | None = None,
        session_limit_s: float = 3600.0,
    ) -> None:
        self._log = log
        self._options = [f"--session-limit-s={session_limit_s}"]
        if dialogue is not None:
            self._options.append(f"--dialogue={dialogue}")
        self._seed = seed
        self._starts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._port = 0
        self._keeper: asyncio.Task[None] | None = None
        self._creating = asyncio.Lock()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/v1/realtime?model={{model}}"

    async def __aenter__(self) -> Self:
        """Start the child.

        Raises:
            EmbeddedAgentError: it does not start.
        """
        try:
            process = await self._start()
        except BaseException:
            await self._stop()
            raise
        self._keeper = asyncio.create_task(self._keep(process))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._keeper is not None:
            async with self._creating:  # a child that is half made would belong to nobody
                self._keeper.cancel()
            await asyncio.wait([self._keeper])
        await self._stop()

    async def _start(self) -> asyncio.subprocess.Process:
        """Start a child; if it does not come up, `_stop` is due."""
        try:
            async with self._creating:
                process = self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-m", "gateway", "backend", "--child", "--port", str(self._port)),
                    *self._options,
                    *self._seed_option(),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                )
            async with asyncio.timeout(_START_TIMEOUT_S):
                line = await process.stdout.readline() if process.stdout else b""
            if not line:
                raise EmbeddedAgentError("the embedded agent ended before it served")
            self._port = int(json.loads(line)["port"])
        except TimeoutError:
            raise EmbeddedAgentError(
                f"the embedded agent did not start within {_START_TIMEOUT_S:g} s"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EmbeddedAgentError(f"the embedded agent did not start: {error}") from None
        return process

    def _seed_option(self) -> list[str]:
        if self._seed is None:
            return []
        seed, starts = self._seed, self._starts
        self._starts += 1
        if starts:
            seed = random.Random(f"{seed}/{starts}").getrandbits(_SEED_BITS)
        return [f"--seed={seed}"]

    async def _keep(self, process: asyncio.subprocess.Process) -> None:
        while True:
            self._log.warning("agent.died", status=await process.wait())
            await self._stop()
            process = await self._start_again()

    async def _start_again(self) -> asyncio.subprocess.Process:
        while True:
            await asyncio.sleep(_RESTART_PAUSE_S)
            try:
                return await self._start()
            except EmbeddedAgentError as error:
                self._log.error("agent.restart_failed", reason=str(error))
                await self._stop()

    async def _stop(self) -> None:
        """Close the child's input, which it takes as the end; insist when it does not."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()  # of one that has ended, too: it would be open for ever
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
