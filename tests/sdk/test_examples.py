"""The applications in deploy/examples, run as their README says, and called by a phone.

The caller asks for an order, has themselves transferred to somebody who is busy, and ends the call.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peers.gateway import HOST, ROOT, GatewayProcess, eventually, free_port
from tests.sdk import authority
from tests.sdk.phone import CallingPhone
from tests.sdk.schemas import NODE, NODE_FOLDER, has_node, need_node

pytestmark = [pytest.mark.peer, pytest.mark.slow]

EXAMPLES = ROOT / "deploy" / "examples"
README = (EXAMPLES / "README.md").read_text()
LANGUAGES = ["python", "node"]


def setting(name: str) -> str:
    """What the README's command lines give this variable."""
    found = set(re.findall(rf"\b{name}=([^\s`]+)", README))
    assert len(found) == 1, found
    return found.pop()


class Application:
    """One of the examples, running. Use as a context manager."""

    def __init__(self, command: list[str], folder: Path, env: dict[str, str]) -> None:
        own = {name: one for name, one in os.environ.items() if not name.startswith("OPENAI_")}
        self.said: list[str] = []
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**own, **env, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # `node` may be a script that starts the real one
        )
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> "Application":
        self._reader.start()
        self.until("Running|listening", "running")
        return self

    def __exit__(self, *error: object) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(10)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def until(self, pattern: str, what: str, timeout_s: float = 20.0) -> None:
        """Wait for a line in which this is found."""
        came = eventually(lambda: any(re.search(pattern, one) for one in self.said), timeout_s)
        assert came, f"not {what}; it said: {self.said}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.said.extend(line.strip() for line in iter(self._process.stdout.readline, ""))


@contextmanager
def running(language: str, folder: Path) -> Iterator[tuple[GatewayProcess, Application]]:
    """The gateway with the dialogue as its agent, and the application."""
    port = free_port()
    env = {
        "GATEWAY_API_KEYS": setting("GATEWAY_API_KEYS"),
        "GATEWAY_WEBHOOK_URL": setting("GATEWAY_WEBHOOK_URL").replace("9000", str(port)),
        "GATEWAY_WEBHOOK_SECRET": setting("GATEWAY_WEBHOOK_SECRET"),
        "GATEWAY_AGENT_DIALOGUE": str(ROOT / setting("GATEWAY_AGENT_DIALOGUE")),
    }
    mine = {
        "PORT": str(port),
        "OPENAI_API_KEY": setting("OPENAI_API_KEY"),
        "OPENAI_WEBHOOK_SECRET": setting("OPENAI_WEBHOOK_SECRET"),
    }
    scheme, command = "http", [sys.executable, str(EXAMPLES / "app.py")]
    if language == "node":
        files = authority.make(folder)
        env["GATEWAY_HTTP_TLS_CERT"] = str(files.certificate)
        env["GATEWAY_HTTP_TLS_KEY"] = str(files.key)
        mine["NODE_EXTRA_CA_CERTS"] = str(files.authority)
        # Node looks for packages beside the script.
        shutil.copy(EXAMPLES / "app.mjs", folder)
        (folder / "node_modules").symlink_to(NODE_FOLDER / "node_modules")
        scheme, command = "https", [NODE, "app.mjs"]
    with GatewayProcess(env=env, media_ports=20) as gateway:
        mine["OPENAI_BASE_URL"] = f"{scheme}://{HOST}:{gateway.http_port}/v1"
        with Application(command, folder, mine) as application:
            yield gateway, application


def call(language: str, folder: Path) -> list[str]:
    """One call from its beginning to its end; returns what the application said."""
    with (
        running(language, folder) as (gateway, application),
        CallingPhone(gateway.sip, transfer=486) as phone,
    ):
        assert phone.answered.wait(10), application.said
        application.until("answered", "answered")
        answer_to("", phone, gateway)
        answer_to("1#", phone, gateway)
        answer_to("1042#", phone, gateway)
        application.until('find_order: {"state": ?"on its way"', "asked for the order")
        answer_to("", phone, gateway)
        answer_to("2#", phone, gateway)
        application.until("transfer: busy", "told that the workshop is busy")
        assert phone.refers[0].header("refer-to").strip("<>").startswith("sip:workshop@")
        answer_to("0#", phone, gateway)
        assert phone.over.wait(20), application.said
        assert phone.ended_by_gateway
        gateway.wait_for("call.ended", reason="hangup")
        application.until("over$", "over")
    return application.said


def answer_to(keys: str, phone: CallingPhone, gateway: GatewayProcess) -> None:
    """Press keys, with a hash so that they count at once, and wait for what is said to them.

    The first key silences the voice, so what is heard after the last is new.
    """
    count = len(gateway.lines("dtmf.received"))
    for key in keys:
        phone.press(key)
    gateway.wait_for_lines("dtmf.received", count + len(keys), 10)
    since = len(phone.media.heard())
    answered = eventually(lambda: sum(not one.silent for one in phone.media.heard(since)) > 5, 10)
    assert answered, f"no answer to {keys}"


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[list[str]]]]:
    """Both applications have their call at the same time."""
    wanted = LANGUAGES if has_node() else LANGUAGES[:1]
    with ThreadPoolExecutor() as pool:
        yield {one: pool.submit(call, one, tmp_path_factory.mktemp(one)) for one in wanted}


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_example_runs_a_call(calls: dict[str, Future[list[str]]], language: str) -> None:
    if language == "node":
        need_node()
    said = calls[language].result()
    assert not [line for line in said if "Traceback" in line or "rror:" in line], said
