"""The applications in deploy/examples, run as their README says, and called by a phone.

The caller asks for an order, has themselves transferred to somebody who is busy, and ends the call.
Models that err, and sidebands that fail, are those of a stand-in for the gateway.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway.webhooks.sign import key_of, signature
from tests.ahead import Ahead, Scene, looks_at
from tests.peers.gateway import HOST, ROOT, GatewayProcess, eventually, free_port
from tests.sdk import authority
from tests.sdk.phone import CallingPhone
from tests.sdk.schemas import NODE, NODE_FOLDER, need_node

pytestmark = [pytest.mark.peer, pytest.mark.slow]

EXAMPLES = ROOT / "deploy" / "examples"
README = (EXAMPLES / "README.md").read_text()
LANGUAGES = ["python", "node"]


def setting(name: str) -> str:
    """What the README's command lines give this variable."""
    found: set[str] = set(re.findall(rf"\b{name}=([^\s`]+)", README))
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
    files = None
    if language == "node":
        files = authority.make(folder)
        env["GATEWAY_HTTP_TLS_CERT"] = str(files.certificate)
        env["GATEWAY_HTTP_TLS_KEY"] = str(files.key)
    with GatewayProcess(env=env, media_ports=20) as gateway:
        with started(folder, port, gateway.http_port, files) as application:
            yield gateway, application


def started(folder: Path, port: int, api_port: int, files: authority.Files | None) -> Application:
    """The application, whose webhook is at `port`.

    Args:
        files: those of the API's certificate; then it is the one in JavaScript.
    """
    env = {
        "PORT": str(port),
        "OPENAI_API_KEY": setting("OPENAI_API_KEY"),
        "OPENAI_WEBHOOK_SECRET": setting("OPENAI_WEBHOOK_SECRET"),
        "OPENAI_BASE_URL": f"{'http' if files is None else 'https'}://{HOST}:{api_port}/v1",
    }
    if files is None:
        return Application([sys.executable, str(EXAMPLES / "app.py")], folder, env)
    env["NODE_EXTRA_CA_CERTS"] = str(files.authority)
    # Node looks for packages beside the script.
    shutil.copy(EXAMPLES / "app.mjs", folder)
    (folder / "node_modules").symlink_to(NODE_FOLDER / "node_modules")
    return Application([NODE, "app.mjs"], folder, env)


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


def call_in_python(folder: Path) -> list[str]:
    return call("python", folder)


def call_in_node(folder: Path) -> list[str]:
    need_node()
    return call("node", folder)


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(call_in_python, marks=looks_at(call_in_python), id="python"),
        pytest.param(call_in_node, marks=looks_at(call_in_node), id="node"),
    ],
)
def test_an_example_runs_a_call(ahead: Ahead, scene: Scene[list[str]]) -> None:
    said = ahead.result(scene)
    assert not [line for line in said if "Traceback" in line or "rror:" in line], said


# When things go wrong.


def called(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A function call of a model."""
    fields = {"id": f"item_{call_id}", "object": "realtime.item", "status": "completed"}
    return {
        **fields,
        "type": "function_call",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


STRANGE = [
    called("call_1", "order_pizza", "{}"),
    called("call_2", "find_order", "{}"),
    called("call_3", "find_order", "{"),
    called("call_4", "transfer", "null"),
    called("call_5", "find_order", '{"number": "1042"}'),
]


class Service:
    """Stands in for the gateway: three calls, whose ids say what goes wrong."""

    def __init__(self) -> None:
        self.hung_up: dict[str, asyncio.Event] = {
            name: asyncio.Event() for name in ("refused", "left", "strange")
        }
        self.told: dict[str, str] = {}
        """Results of the functions that the model of the third call has called."""
        self.goes_on = asyncio.Event()
        """That model was asked for a response."""

    @asynccontextmanager
    async def serving(self, files: authority.Files | None) -> AsyncIterator[int]:
        app = web.Application()
        calls = "/v1/realtime/calls/{call_id}"
        app.router.add_post(f"{calls}/accept", self._accept)
        app.router.add_post(f"{calls}/hangup", self._hang_up)
        app.router.add_get("/v1/realtime", self._join)
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        context = None
        if files is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files.certificate, files.key)
        await web.TCPSite(runner, HOST, 0, ssl_context=context).start()
        try:
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()

    async def _accept(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _hang_up(self, request: web.Request) -> web.Response:
        self.hung_up[request.match_info["call_id"]].set()
        return web.Response()

    async def _join(self, request: web.Request) -> web.StreamResponse:
        call_id = request.query["call_id"]
        if call_id == "refused":
            return web.Response(status=404)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if call_id == "left":
            await socket.close(code=1011)
            return socket
        fields = {"id": "resp_1", "object": "realtime.response", "status": "completed"}
        response = {**fields, "output": STRANGE}
        done = {"type": "response.done", "event_id": "event_1", "response": response}
        await socket.send_json(done)
        async for message in socket:
            event = json.loads(message.data)
            if event["type"] == "conversation.item.create":
                self.told[event["item"]["call_id"]] = event["item"]["output"]
            if event["type"] == "response.create":
                self.goes_on.set()
                await socket.close()
        return socket


async def announce(port: int, call_id: str) -> None:
    """Tell the application of a call, as the gateway does."""
    now = int(time.time())
    data = {"call_id": call_id, "sip_headers": []}
    event = {"id": "evt_1", "object": "event", "type": "realtime.call.incoming"}
    body = json.dumps({**event, "created_at": now, "data": data}).encode()
    secret = key_of(setting("OPENAI_WEBHOOK_SECRET"))
    headers = {
        "webhook-id": f"evt_{call_id}",
        "webhook-timestamp": str(now),
        "webhook-signature": signature([secret], f"evt_{call_id}", now, body),
    }
    url = f"http://{HOST}:{port}/hook"
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, data=body, headers=headers) as answer,
    ):
        assert answer.status == 200


@pytest.mark.parametrize("language", LANGUAGES)
async def test_an_example_copes(language: str, tmp_path: Path) -> None:
    """A model's mistakes are told to it; a caller who would be left alone is hung up on."""
    files = None
    if language == "node":
        need_node()
        files = authority.make(tmp_path)
    service, port = Service(), free_port()
    async with service.serving(files) as api_port:
        with started(tmp_path, port, api_port, files) as application:
            async with asyncio.timeout(20):
                for call_id in ("refused", "left"):
                    await announce(port, call_id)
                    await service.hung_up[call_id].wait()
                await announce(port, "strange")
                await service.goes_on.wait()
            await asyncio.to_thread(application.until, "strange over", "over")
    mistakes = [service.told[f"call_{number}"] for number in range(1, 5)]
    assert all(told.startswith("failed: ") for told in mistakes), mistakes
    assert mistakes[0] == "failed: there is no function order_pizza"
    assert "on its way" in service.told["call_5"]
    assert not service.hung_up["strange"].is_set()
    hanging = [line for line in application.said if "hanging up:" in line]
    assert [line.split()[0] for line in hanging] == ["refused", "left"], application.said
    assert not any("TaskGroup" in line for line in application.said)
