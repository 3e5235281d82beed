"""Programs that the benchmark starts, pins to cores, watches from outside and ends again."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
_PR_SET_PDEATHSIG = 1
_END_WAIT_S = 8.0


class BenchError(Exception):
    """A measurement could not be made; the text says why."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores the gateway has to itself, and which the tools share."""

    gateway: frozenset[int]
    tools: frozenset[int]

    @property
    def shared(self) -> bool:
        return self.gateway == self.tools


def choose_cores() -> Cores:
    available = sorted(os.sched_getaffinity(0))
    return Cores(frozenset(available[-1:]), frozenset(available[:-1] or available))


@contextmanager
def running(
    command: list[str],
    cores: frozenset[int],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    output: Path | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Run a program pinned to these cores; end it, and what it started, on the way out.

    Args:
        output: where stdout and stderr go; without it stdout is a pipe.
    """
    libc = ctypes.CDLL(None)

    def before_exec() -> None:
        os.sched_setaffinity(0, cores)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # do not outlive a killed benchmark

    with open(output or os.devnull, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env or {**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=file if output else subprocess.PIPE,
            stderr=subprocess.STDOUT if output else None,
            text=True,
            preexec_fn=before_exec,
            start_new_session=True,  # Ctrl-C is for us: we end the others in good order
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """SIGTERM, and SIGKILL for what is still there after a while; children included."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for child in psutil.wait_procs(children, timeout=1)[1]:
        child.kill()
    if process.stdout is not None:
        process.stdout.close()


def tool(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"bench.{name}", *map(str, arguments)]


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def log_events(path: Path) -> Iterator[dict[str, object]]:
    """The JSON lines of a log; other lines are passed over."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry


def wait_for_event(process: subprocess.Popen[str], log: Path, event: str, timeout_s: float) -> None:
    """Wait until the program has logged this event.

    Raises:
        BenchError: it ended before, or the time is over; with the last lines it wrote.
    """
    deadline = time.monotonic() + timeout_s
    while not any(entry.get("event") == event for entry in log_events(log)):
        if process.poll() is not None:
            raise BenchError(f"ended with status {process.returncode}{_last_lines(log)}")
        if time.monotonic() > deadline:
            raise BenchError(f"no {event} within {timeout_s:.0f} s{_last_lines(log)}")
        time.sleep(0.05)


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
    return "; its last lines:\n    " + "\n    ".join(lines) if lines else "; it printed nothing"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process had used at one moment. Children are those it started itself."""

    at_s: float
    cpu_s: float
    waited_s: float
    """Ready to run while something else had the core; of the main thread."""
    rss_bytes: int
    children: int
    children_cpu_s: float
    children_rss_bytes: int


def usage_of(pid: int) -> Usage:
    """Read a process from outside.

    Raises:
        BenchError: there is no such process any more.
    """
    try:
        process = psutil.Process(pid)
        cpu, rss, at_s = process.cpu_times(), process.memory_info().rss, time.monotonic()
        count, children_cpu_s, children_rss = 0, 0.0, 0
        for child in process.children(recursive=True):
            try:
                times, memory = child.cpu_times(), child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            count += 1
            children_cpu_s += times.user + times.system
            children_rss += memory
    except psutil.NoSuchProcess:
        raise BenchError(f"process {pid} has ended") from None
    spent = cpu.user + cpu.system
    return Usage(at_s, spent, _waited_s(pid), rss, count, children_cpu_s, children_rss)


def _waited_s(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0  # this kernel does not tell
