"""The embedded agent's child: it comes back when it dies, and it never outlives us."""

import asyncio
import errno
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from structlog.testing import capture_logs

from gateway import embedded, logs
from gateway.embedded import EmbeddedAgent, EmbeddedAgentError

pytestmark = pytest.mark.loop

start_process = asyncio.create_subprocess_exec


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_RESTART_PAUSE_S", 0.01)


class Children:
    """The processes of this one, those left out that were there before the test."""

    def __init__(self) -> None:
        self._before: set[int] = set()
        self._before = self()

    def __call__(self) -> set[int]:
        return {child.pid for child in psutil.Process().children()} - self._before


@pytest.fixture
def children() -> Children:
    return Children()


class Starts:
    """Stands in for the starting of processes; what it is told to do happens once each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.errors: list[OSError] = []
        self.program: tuple[str, ...] = ()
        self.commands: list[tuple[str, ...]] = []
        self.count = 0
        monkeypatch.setattr(asyncio, "create_subprocess_exec", self.start)

    async def start(self, *command: str, **pipes: Any) -> asyncio.subprocess.Process:
        self.count += 1
        self.commands.append(command)
        if self.errors:
            raise self.errors.pop(0)
        return await start_process(*(self.program or command), **pipes)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Starts:
    return Starts(monkeypatch)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def serves(agent: EmbeddedAgent) -> bool:
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(agent.url.format(model="x")) as ws,
        ):
            return bool((await ws.receive_json())["type"] == "session.created")
    except (aiohttp.ClientError, OSError):
        return False


async def until_it_serves(agent: EmbeddedAgent) -> None:
    async with asyncio.timeout(30):
        while not await serves(agent):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_child_that_is_killed_is_started_again_where_it_was(
    starts: Starts, children: Children
) -> None:
    with capture_logs() as lines:
        async with EmbeddedAgent(logs.get_log()) as agent:
            url = agent.url
            assert await serves(agent)
            (first,) = children()
            # The first attempts fail as they do when files or processes have run out.
            starts.errors = [OSError(errno.EMFILE, "x"), BlockingIOError(errno.EAGAIN, "y")]
            os.kill(first, signal.SIGKILL)
            await until(lambda: starts.count == 4)
            await until_it_serves(agent)
            assert agent.url == url
            (second,) = children()
            assert second != first
    assert not children()
    assert [line["event"] for line in lines] == [
        "agent.died",
        "agent.restart_failed",
        "agent.restart_failed",
    ]
    assert lines[0]["status"] == -signal.SIGKILL


async def test_the_child_is_told_what_it_is_to_be(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('start = "a"\notherwise = "No."\n[states.a]\nsay = "Press a key."\n')
    said = []
    async with (
        EmbeddedAgent(logs.get_log(), dialogue=path, seed=-4, session_limit_s=77.5) as agent,
        aiohttp.ClientSession() as http,
        http.ws_connect(agent.url.format(model="x")) as ws,
    ):
        session = (await ws.receive_json())["session"]
        assert session["expires_at"] - time.time() < 78
        await ws.send_json({"type": "response.create"})
        while (event := await ws.receive_json())["type"] != "response.done":
            said.append(event.get("transcript", ""))
    assert "Press a key." in said
    source = random.Random("-4/1")
    assert session["id"] == f"sess_{source.getrandbits(80):020x}"


async def test_a_child_that_is_started_again_makes_other_ids(
    starts: Starts, children: Children, tmp_path: Path
) -> None:
    program = tmp_path / "brief"
    program.write_text("""#!/bin/sh\necho '{"port": 9}'\n""")
    program.chmod(0o755)
    starts.program = (str(program),)
    seeds = []
    for _ in range(2):
        starts.commands.clear()
        async with EmbeddedAgent(logs.get_log(), seed=5):
            await until(lambda: len(starts.commands) >= 3)
        seeds.append([command[-1] for command in starts.commands[:3]])
    assert seeds[0][0] == "--seed=5"
    assert len(set(seeds[0])) == 3
    assert seeds[0] == seeds[1]


async def test_a_child_that_ends_before_it_serves_is_tried_again(
    starts: Starts, children: Children
) -> None:
    with capture_logs() as lines:
        async with EmbeddedAgent(logs.get_log()) as agent:
            (first,) = children()
            starts.program = ("true",)
            os.kill(first, signal.SIGKILL)
            await until(lambda: starts.count >= 4)
            starts.program = ()
            await until_it_serves(agent)
    assert not children()
    failures = [line for line in lines if line["event"] == "agent.restart_failed"]
    assert failures and "ended before it served" in failures[0]["reason"]


async def test_a_child_that_is_just_being_started_is_stopped_too(
    starts: Starts, children: Children
) -> None:
    async with EmbeddedAgent(logs.get_log()):
        (first,) = children()
        starts.program = ("cat",)  # says nothing, and ends with its input
        os.kill(first, signal.SIGKILL)
        await until(lambda: starts.count == 2 and children() - {first})
    await until(lambda: not children())  # one that was killed may still wait to be reaped
    assert len(asyncio.all_tasks()) == 1


async def test_a_start_that_is_given_up_leaves_no_child(starts: Starts, children: Children) -> None:
    starts.program = ("cat",)
    task = asyncio.create_task(EmbeddedAgent(logs.get_log()).__aenter__())
    await until(children)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not children())


@pytest.mark.parametrize("program", ["true", "echo"])
async def test_a_first_start_that_fails_is_told(
    starts: Starts, children: Children, program: str
) -> None:
    starts.program = (program,)
    with pytest.raises(EmbeddedAgentError):
        await EmbeddedAgent(logs.get_log()).__aenter__()
    starts.errors = [OSError(errno.EMFILE, "too many open files")]
    with pytest.raises(EmbeddedAgentError, match="too many open files"):
        await EmbeddedAgent(logs.get_log()).__aenter__()
    assert not children()


async def test_a_child_that_does_not_end_by_itself_is_killed(
    starts: Starts, children: Children, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedded, "_STOP_TIMEOUT_S", 0.1)
    program = tmp_path / "stubborn"
    program.write_text("""#!/bin/sh\necho '{"port": 9}'\nexec sleep 60 <&-\n""")
    program.chmod(0o755)
    starts.program = (str(program),)
    async with EmbeddedAgent(logs.get_log()) as agent:
        assert agent.url.startswith("ws://127.0.0.1:9/")
        assert children()
    assert not children()
