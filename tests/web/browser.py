"""Headless Chromium with the page in it, driven by `browser.mjs`."""

import asyncio
import base64
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.peers.audio import Signal
from tests.sdk.schemas import NODE, NODE_FOLDER

FOLDER = Path(__file__).parent
_LINE_BYTES = 1 << 24
_COMMAND_S = 40.0

Message = dict[str, Any]


def need_browser() -> None:
    """Skip the test where there is no Chromium, or nothing to drive it with."""
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed: install it (as root: apt-get install chromium)")
    for package in ("playwright-core", "axe-core"):
        if not (NODE_FOLDER / "node_modules" / package).is_dir():
            pytest.skip(f"{package} is not installed: run make test where npm can be reached")


class CommandError(Exception):
    """The browser could not do what it was told."""


class Browser:
    """One page. `faults` are what its scripts and its policy complained of."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.faults: list[str] = []

    async def open(self, url: str, **options: Any) -> None:
        """A fresh profile with this page; options: width, height, scheme, script."""
        await self._do("open", url=url, **options)

    async def look(self, **options: Any) -> None:
        """Another width, height or colour scheme."""
        await self._do("look", **options)

    async def click(self, role: str, name: str) -> None:
        await self._do("click", role=role, name=name)

    async def fill(self, role: str, name: str, text: str) -> None:
        await self._do("fill", role=role, name=name, text=text)

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self._do("press", keys=key)

    async def see(self, selector: str, text: str = "", timeout_s: float = 8.0) -> str:
        """Wait until an element shows this text; returns all of its text."""
        return str(
            await self._do("see", selector=selector, text=text, timeout_ms=int(timeout_s * 1000))
        )

    async def texts(self, selector: str) -> list[str]:
        """The texts of all such elements."""
        found: list[str] = await self._do("texts", selector=selector)
        return found

    async def until(self, body: str, timeout_s: float = 8.0) -> Any:
        """Wait until a function with this body returns something true; returns that."""
        return await self._do("until", body=body, timeout_ms=int(timeout_s * 1000))

    async def evaluate(self, body: str) -> Any:
        return await self._do("evaluate", body=body)

    async def say(self, speech: Signal, *, wait: bool = True) -> None:
        """Speak into the microphone; returns when it is said, or at once."""
        samples = (np.clip(speech, -1, 1) * 32767).astype(np.int16).tobytes()
        await self._do("say", samples=base64.b64encode(samples).decode(), wait=wait)

    async def screenshot(self, path: Path, *, full: bool = False) -> None:
        await self._do("screenshot", path=str(path), full=full)

    async def axe(self) -> list[str]:
        """What axe-core holds against the page, serious or worse."""
        found: list[str] = await self._do("axe")
        return found

    async def answer(self) -> Message:
        """The next message that is no fault."""
        assert self._process.stdout is not None
        while True:
            line = await self._process.stdout.readline()
            if not line:
                raise CommandError("the browser is gone")
            message: Message = json.loads(line)
            if "fault" not in message:
                return message
            self.faults.append(message["fault"])

    async def _do(self, command: str, **fields: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write((json.dumps({"do": command, **fields}) + "\n").encode())
        async with asyncio.timeout(_COMMAND_S):
            message = await self.answer()
        if "error" in message:
            raise CommandError(message["error"]["message"])
        return message["result"]


@asynccontextmanager
async def running() -> AsyncIterator[Browser]:
    """A browser, for as many pages as are opened one after the other."""
    chromium = shutil.which("chromium")
    assert chromium is not None
    process = await asyncio.create_subprocess_exec(
        NODE,
        str(FOLDER / "browser.mjs"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "CHROMIUM": chromium},
        limit=_LINE_BYTES,
    )
    browser = Browser(process)
    try:
        async with asyncio.timeout(30):
            await browser.answer()
        yield browser
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
