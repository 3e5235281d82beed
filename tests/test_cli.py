"""The command: what each one loads, what it says when it cannot run, and the container's check."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from gateway.cli import main
from gateway.settings import PREFIX

pytestmark = pytest.mark.loop

ROOT = Path(__file__).parents[1]

# Runs a command up to the point at which its event loop would start.
UP_TO_THE_LOOP = """
import json, os, sys, uvloop

def stop(coroutine):
    coroutine.close()
    print(json.dumps([list(sys.modules), os.environ.get("OPENBLAS_NUM_THREADS")]))
    return 0

uvloop.run = stop
from gateway.cli import main
sys.exit(main(sys.argv[1:]))
"""


def environment(**variables: str) -> dict[str, str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(PREFIX) and name != "OPENBLAS_NUM_THREADS"
    }
    return clean | variables


def gateway(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(**variables, PYTHONPATH=str(ROOT)),
        timeout=60,
    )


def loaded(*arguments: str, cwd: Path) -> tuple[set[str], str | None]:
    """The modules and the setting of the linear algebra library when the loop is to start."""
    done = subprocess.run(
        [sys.executable, "-c", UP_TO_THE_LOOP, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
        env=environment(PYTHONPATH=str(ROOT)),
        timeout=60,
    )
    modules, threads = json.loads(done.stdout)
    return set(modules), threads


def rooms(modules: set[str]) -> set[str]:
    return {name.split(".")[1] for name in modules if name.startswith("gateway.")}


def test_the_backend_limits_the_threads_before_numpy_is_loaded(tmp_path: Path) -> None:
    modules, threads = loaded("backend", cwd=tmp_path)
    assert threads == "1"
    assert "numpy" not in modules
    assert rooms(modules) == {"cli", "logs", "backend"}


def test_serving_loads_no_phone(tmp_path: Path) -> None:
    modules, _ = loaded("serve", cwd=tmp_path)
    assert "app" in rooms(modules)
    assert "phone" not in rooms(modules)
    agent = {name for name in modules if name.startswith("gateway.backend.")}
    assert agent <= {"gateway.backend.dialogue", "gateway.backend.dialogue_parse"}  # a setting


def test_bad_settings_are_told_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    program = (
        "import sys; from gateway.cli import main; status = main(['serve']); "
        "print(status, *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(ROOT), GATEWAY_HTTP_PORT="x"),
        timeout=60,
    )
    status, *modules = done.stdout.split()
    assert status == "2"
    assert "numpy" not in modules
    assert not {"aiohttp", "aiortc"} & set(modules)
    assert rooms(set(modules)) == {
        "audio",
        "backend",
        "calls",
        "cli",
        "realtime",
        "sdp",
        "settings",
        "sip",
        "upstream",
        "webhooks",
        "webrtc",
    }


def test_help_is_complete(tmp_path: Path) -> None:
    every = gateway("--help", cwd=tmp_path)
    assert every.returncode == 0
    for line in ("answer calls", "the embedded Realtime server alone", "a test phone"):
        assert line in every.stdout
    call = gateway("call", "--help", cwd=tmp_path)
    assert call.returncode == 0
    for argument in ("uri", "--interrupt-after", "--late-offer", "--json", "Exit status"):
        assert argument in call.stdout


@pytest.mark.parametrize("arguments", [(), ("dance",), ("call",), ("backend", "--port", "65536")])
def test_a_bad_command_line_is_status_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = gateway(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "error: " in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--speedup", "0"),
        ("--speedup", "inf"),
        ("--jitter-ms", "-1"),
        ("--first-audio-ms", "soon"),
        ("--session-limit-s", "0"),
        ("--session-limit-s", "nan"),
        ("--seed", "x"),
        ("--requests-per-minute", "0"),
        ("--tokens-per-minute", "1.5"),
        pytest.param("--tokens-per-minute", "9" * 5000, id="more digits than are read"),
    ],
)
def test_a_bad_option_is_named(capsys: pytest.CaptureFixture[str], option: str, value: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["backend", f"{option}={value}"])
    assert ended.value.code == 2
    assert f"argument {option}: " in capsys.readouterr().err


def test_a_bad_plan_of_faults_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('[{"at": "connect", "do": "fly"}]')
    done = gateway("backend", "--port", "0", "--faults", "plan.json", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("gateway: plan.json: faults[0].do: 'fly'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        (b"start = ", "not TOML: "),
        (b"start = 1", "states"),
        (b"start = '\xff'", "not UTF-8"),
    ],
)
def test_a_bad_dialogue_is_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "mine.toml").write_bytes(content)
    done = gateway("backend", "--port", "0", "--dialogue", "mine.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("gateway: mine.toml: ") and said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = gateway("backend", "--port", port, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("gateway: ") and port in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("status", "exit_status"), [(200, 0), (500, 1)])
async def test_the_container_is_asked_at_the_port_of_the_settings(
    status: int, exit_status: int
) -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    assert "COPY deploy/healthcheck.py /healthcheck.py\n" in dockerfile
    assert 'HEALTHCHECK CMD ["python", "/healthcheck.py"]\n' in dockerfile

    async def health(_: web.Request) -> web.Response:
        return web.Response(status=status)

    application = web.Application()
    application.router.add_get("/healthz", health)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    check = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "deploy" / "healthcheck.py"),
        env=environment(GATEWAY_HTTP_PORT=str(runner.addresses[0][1])),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await check.wait() == exit_status
    await runner.cleanup()
