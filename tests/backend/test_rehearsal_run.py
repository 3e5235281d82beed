"""Rehearsals with a server: what the log says, and the exit status for who runs them unattended."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from gateway.audio.formats import PCMU
from gateway.backend.dialogue import DialogueError
from tests.backend.client import FAST, Client, until_alone
from tests.backend.conftest import Connect, Start

pytestmark = pytest.mark.loop

EXAMPLE = (Path(__file__).parents[2] / "deploy" / "examples" / "dialogue.toml").read_text()
DIALOGUE = """
start = "menu"
otherwise = "Sorry?"
[states.menu]
say = "Hello."
[[expect]]
dtmf = "1"
[[expect]]
text = "thanks"
within_s = 60
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "rehearsal.toml"
    path.write_text(text)
    return path


@pytest.fixture
def dialogue(tmp_path: Path) -> Path:
    return written(tmp_path, DIALOGUE)


async def perform(client: Client, *texts: str) -> None:
    await client.until("session.created")
    for text in texts:
        await client.write(text)
        await client.until("conversation.item.done")


async def test_each_session_is_rehearsed(connect: Connect, start: Start, dialogue: Path) -> None:
    server = await start(dialogue=dialogue, pacing=FAST)
    with capture_logs() as lines:
        for texts in (["DTMF 1", "Thanks!", "more"], ["DTMF 2", "Thanks!"], ["DTMF 1"]):
            client = await connect(server)
            await perform(client, *texts)
            await client.socket.close()
            await until_alone(server)
    passed, *failed = [line for line in lines if line["event"].startswith("rehearsal.")]
    assert passed["event"] == "rehearsal.passed"
    assert passed["session_id"].startswith("sess_")
    assert {line["event"] for line in failed} == {"rehearsal.failed"}
    assert [line["failure"] for line in failed] == [
        "expect[0] (dtmf = '1'): the caller pressed other keys instead",
        "expect[1] (text = 'thanks', within_s = 60): the session ended before",
    ]
    # The log leaves a `message` out unless its level is debug.
    assert [line["message"] for line in failed] == ["2", ""]
    assert server.rehearsed.result() is True


async def test_the_example_is_rehearsed_with_functions_and_their_results(
    connect: Connect, start: Start, tmp_path: Path
) -> None:
    text = EXAMPLE.replace("\n# ", "\n").replace("\n#\n", "\n").replace("_s = 3\n", "_s = 0.05\n")
    steps = text[text.index("[[expect]]") :]
    path = written(tmp_path, EXAMPLE.partition("# [[expect]]")[0] + steps)
    client = await connect(server := await start(dialogue=path, pacing=FAST, rehearse=True))
    tools = [{"type": "function", "name": name} for name in ("find_order", "hang_up")]
    await client.configure(PCMU, tools=tools, output_modalities=["text"])

    async def answer() -> list[dict[str, Any]]:
        await client.send("response.create")
        (*_, done) = await client.until("response.done")
        output: list[dict[str, Any]] = done["response"]["output"]
        return output

    async def press(keys: str) -> list[dict[str, Any]]:
        await client.write(f"DTMF {keys}")
        return await answer()

    async def give(call: dict[str, Any], output: str) -> None:
        item = {"type": "function_call_output", "call_id": call["call_id"], "output": output}
        await client.send("conversation.item.create", item=item)

    await answer()
    await press("1")
    (_, call) = await press("1042#")
    assert (call["name"], json.loads(call["arguments"])) == ("find_order", {"number": "1042"})
    await give(call, '{"state": "on its way", "day": "Thursday"}')
    (message,) = await answer()
    assert message["content"][0]["text"].startswith("Your order is on its way.")
    await asyncio.sleep(0.1)  # the silence that is expected
    (_, call) = await press("0")
    assert call["name"] == "hang_up"
    await give(call, "done")
    await client.until("conversation.item.done")
    await client.socket.close()
    assert await server.rehearsed is True


async def test_a_step_that_is_not_met_ends_a_session_that_is_nothing_but_a_rehearsal(
    connect: Connect, start: Start, dialogue: Path
) -> None:
    server = await start(dialogue=dialogue, rehearse=True)
    client = await connect(server)
    await perform(client, "DTMF 2")
    closed = await client.closing()
    assert closed == ([], 1008, "expect[0] (dtmf = '1'): the caller pressed other keys instead")
    assert await server.rehearsed is False


async def test_a_step_that_is_late_does_too(connect: Connect, start: Start, tmp_path: Path) -> None:
    dialogue = written(tmp_path, DIALOGUE.replace("60", "0.05"))
    server = await start(dialogue=dialogue, rehearse=True)
    client = await connect(server)
    await perform(client, "DTMF 1")
    kinds, code, reason = await client.closing()
    assert (kinds, code) == ([], 1008)
    assert reason is not None and reason.endswith("nothing of it within 0.05 s")


async def test_there_must_be_something_to_rehearse(start: Start, tmp_path: Path) -> None:
    dialogue = written(tmp_path, DIALOGUE.partition("[[expect]]")[0])
    with pytest.raises(DialogueError, match=r"no \[\[expect\]\]"):
        await start(dialogue=dialogue, rehearse=True)


@contextlib.asynccontextmanager
async def command(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`gateway backend`, and the URL where it serves."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "backend", "--port", "0", *arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            port = json.loads(await process.stdout.readline())["port"]
        yield process, f"ws://127.0.0.1:{port}/v1/realtime"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(
    ("texts", "status", "word"),
    [(["DTMF 1", "thanks"], 0, "passed"), (["DTMF 22"], 1, "failed")],
)
async def test_the_exit_status_is_the_result(
    http: aiohttp.ClientSession, dialogue: Path, texts: list[str], status: int, word: str
) -> None:
    async with command("--dialogue", str(dialogue), "--rehearse") as (process, url):
        async with http.ws_connect(url) as ws:
            client = Client(ws)
            await perform(client, *texts)
        assert process.stdout is not None
        async with asyncio.timeout(30):
            lines = (await process.stdout.read()).splitlines()
            assert await process.wait() == status
    said = json.loads(lines[0])
    assert said["event"] == f"rehearsal.{word}"
    assert said.get("message", "22") == "22"  # a rehearsal is about what a caller does
    assert ("message" in said) == (word == "failed")


async def test_the_options_reach_the_server_and_sigterm_says_that_it_goes_away(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('[{"at": "response.done", "do": "error", "code": "x"}]')
    options = ["--test", f"--faults={faults}", "--session-limit-s=60", "--speedup=100"]
    options += ["--first-audio-ms=0", "--jitter-ms=0", "--seed=5"]
    options += ["--requests-per-minute=70", "--tokens-per-minute=80"]
    async with command(*options) as (process, url):
        control = url.replace("ws:", "http:").replace("v1/realtime", "control/sessions")
        async with http.get(control) as answer:
            assert await answer.json() == {"sessions": []}
        async with http.ws_connect(url) as ws:
            client = Client(ws)
            await client.until("session.created")
            await client.say("Goodbye.")
            events = await client.until("error")
            assert events[-1]["error"]["code"] == "x"
            (done, rates) = await client.until("rate_limits.updated")
            assert done["type"] == "response.done"
            assert [limit["limit"] for limit in rates["rate_limits"]] == [70, 80]
            process.terminate()
            kinds, code, _ = await client.closing()
            assert (kinds, code) == ([], 1001)
        assert await process.wait() == 0


async def test_callers_of_a_phone_line_rehearse_nothing(
    connect: Connect, start: Start, dialogue: Path
) -> None:
    server = await start(dialogue=dialogue, pacing=FAST, rehearsals=False)
    with capture_logs() as lines:
        client = await connect(server)
        await perform(client, "DTMF 2")
        await client.socket.close()
        await until_alone(server)
    assert not [line for line in lines if line["event"].startswith("rehearsal.")]
