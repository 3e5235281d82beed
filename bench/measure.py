"""One row of the benchmark: start everything, wait for the calls, measure, end everything.

CPU is user and system time of the gateway's process, read from outside at both ends of a window in
which all calls are up. Memory is what the process grew by since before the calls, after a warm-up
call has made it load what it loads lazily.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import (
    ROOT,
    BenchError,
    Cores,
    Usage,
    free_port,
    log_events,
    running,
    tool,
    usage_of,
    wait_for_event,
)

Row = dict[str, Any]
"""The figures of one number of calls; units are in the names."""

START_TIMEOUT_S = 30.0
WARM_UP_CALLS = 2
RTP_PORTS = range(10000, 20000)
"""Below the system's own choice of ports, beside the gateway's default range."""
_BASELINE_SECONDS = 10.0
_PCM_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """What is measured, and how the calls come."""

    cores: Cores
    folder: Path
    """For the gateway's log; it also works there, away from any `.env` file."""
    mode: str
    rate: float
    keys: bool
    pid: int | None
    sip_port: int
    model_port: int
    """These two count when `pid` names a gateway that runs already."""


@dataclass(frozen=True, slots=True)
class Server:
    """Which audio the gateway is told that the Realtime server takes and sends."""

    name: str
    input_format: str
    output_format: str
    """As in `GATEWAY_REALTIME_INPUT_FORMAT` and its sister."""


AS_THE_CALLER = Server("gateway", "leg", "leg")
"""G.711 on both sides: the audio passes as it is."""
PCM_SERVERS = (
    Server("to pcm 24/24", "pcm@24000", "pcm@24000"),
    Server("to pcm 16/24", "pcm@16000", "pcm@24000"),
)
"""Servers that take no G.711, as there are many: the gateway changes the rate both ways."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that takes calls."""

    pid: int
    sip_port: int
    log: Path | None


@dataclass(frozen=True, slots=True)
class Model:
    """The fake Realtime server."""

    pid: int
    port: int


@contextmanager
def _model(target: Target) -> Iterator[Model]:
    port = target.model_port if target.pid else 0
    command = tool("model", "--port", port, "--mode", target.mode)
    with running(command, target.cores.tools) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.strip().isdigit():
            raise BenchError(f"the fake Realtime server did not start on port {port or 'any'}")
        yield Model(process.pid, int(line))


@contextmanager
def _gateway(target: Target, model_port: int, server: Server, calls: int) -> Iterator[Gateway]:
    if target.pid:
        yield Gateway(target.pid, target.sip_port, None)
        return
    sip_port = free_port(socket.SOCK_DGRAM)
    log = target.folder / f"{server.name.replace('/', '-')} {calls}.log"
    needed = 2 * (calls + WARM_UP_CALLS) + 100  # freed ports are used again last
    # Somewhere else for each run, so that two of them seldom want the same ports.
    first_rtp_port = RTP_PORTS.start + os.getpid() * 98 % (len(RTP_PORTS) - needed)
    env = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    env |= {
        "PYTHONPATH": str(ROOT),
        "GATEWAY_REALTIME_URL": f"ws://127.0.0.1:{model_port}/v1/realtime?model={{model}}",
        "GATEWAY_REALTIME_INPUT_FORMAT": server.input_format,
        "GATEWAY_REALTIME_OUTPUT_FORMAT": server.output_format,
        "GATEWAY_SIP_UDP_PORT": str(sip_port),
        "GATEWAY_SIP_TCP_PORT": str(free_port(socket.SOCK_STREAM)),
        "GATEWAY_HTTP_PORT": str(free_port(socket.SOCK_STREAM)),
        "GATEWAY_RTP_PORT_MIN": str(first_rtp_port),
        "GATEWAY_RTP_PORT_MAX": str(first_rtp_port + needed),
        "GATEWAY_CALLS_MAX": str(calls + WARM_UP_CALLS),
        "GATEWAY_LOG_FORMAT": "json",
        "GATEWAY_DRAIN_S": "1",
    }
    command = [sys.executable, "-m", "gateway", "serve"]
    with running(command, target.cores.gateway, env=env, cwd=target.folder, output=log) as process:
        try:
            wait_for_event(process, log, "gateway.started", START_TIMEOUT_S)
        except BenchError as error:
            raise BenchError(f"the gateway did not start: {error}") from None
        yield Gateway(process.pid, sip_port, log)


def _lines(load: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert load.stdout is not None
    for line in load.stdout:
        yield json.loads(line)
    if load.wait():
        raise BenchError(f"the load generator ended with status {load.returncode}")


@dataclass(frozen=True, slots=True)
class Window:
    """What a process used while the load generator measured."""

    before: Usage
    after: Usage

    @property
    def core_percent(self) -> float:
        return (self.after.cpu_s - self.before.cpu_s) / self._seconds * 100

    @property
    def children_core_percent(self) -> float:
        used = self.after.children_cpu_s - self.before.children_cpu_s
        return used / self._seconds * 100

    @property
    def waited_percent(self) -> float:
        return (self.after.waited_s - self.before.waited_s) / self._seconds * 100

    @property
    def _seconds(self) -> float:
        return self.after.at_s - self.before.at_s


def _run_load(
    target: Target, pids: list[int], seconds: float, *arguments: object
) -> tuple[Row, list[Window]]:
    """Run the load generator; return its result and what each process used in its window."""
    keys = "--keys" if target.keys else "--no-keys"
    command = tool("load", "--seconds", seconds, "--rate", target.rate, keys, *arguments)
    usages: list[list[Usage]] = []
    result: Row = {}
    with running(command, target.cores.tools) as load:
        for line in _lines(load):
            if line["event"] == "window":
                usages.append([usage_of(pid) for pid in pids])
            elif line["event"] == "result":
                result = line
    if len(usages) != 2:
        reasons = ", ".join(f"{count} x {why}" for why, count in result["failures"].items())
        raise BenchError(f"no call came up: {reasons or 'no reason given'}")
    return result, [Window(*both) for both in zip(*usages, strict=True)]


def _model_stats(port: int) -> Row:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=5) as answer:
        stats: Row = json.load(answer)
        return stats


def _costs(calls: int, window: Window) -> Row:
    percent = window.core_percent
    return {"cpu_ms_per_call_s": percent * 10 / calls, "core_percent": percent}


def _traffic(result: Row, stats: Row) -> Row:
    """What the load generator and the model say about the packets."""
    delays = ("uplink_p50_ms", "uplink_p99_ms", "uplink_max_ms")
    return {
        "uplink_lost": result["sent_measured"] - stats["marked"],
        **{name: stats[name] for name in delays},
        "round_trip_lost": result["countable"] - result["returned_countable"],
        **{name: value for name, value in result.items() if name not in ("event", "calls")},
    }


def _ended_calls(log: Path | None, expected: int) -> Row:
    """What the gateway's log says about the calls, once the last of them is written."""
    if log is None:
        return {}
    deadline = time.monotonic() + 3
    ended: list[dict[str, Any]] = []
    while len(ended) < expected and time.monotonic() < deadline:
        time.sleep(0.1)
        ended = [entry for entry in log_events(log) if entry.get("event") == "call.ended"]
    measured = ended[WARM_UP_CALLS:]
    levels = [entry.get("level") for entry in log_events(log)]
    return {
        "ended_calls": len(measured),
        "keys_reported": sum(int(entry.get("dtmf_count") or 0) for entry in measured),
        "log_lines": len(levels),
        "log_warnings": sum(level in ("warning", "error", "critical") for level in levels),
    }


def _gateway_row(target: Target, model: Model, server: Server, calls: int, seconds: float) -> Row:
    with _gateway(target, model.port, server, calls) as gateway:
        sip = ("--sip", gateway.sip_port)
        pids = [gateway.pid, model.pid]
        _run_load(target, pids, 1, "--calls", WARM_UP_CALLS, "--settle", 0, *sip)
        time.sleep(1)
        idle = usage_of(gateway.pid)
        _model_stats(model.port)  # forget the warm-up
        result, (window, model_window) = _run_load(target, pids, seconds, "--calls", calls, *sip)
        time.sleep(1)
        stats = _model_stats(model.port)
        log = _ended_calls(gateway.log, result["calls"] + WARM_UP_CALLS)
    after = window.after
    return {
        "what": server.name,
        "calls": result["calls"],
        "calls_wanted": calls,
        **_costs(result["calls"], window),
        "waited_percent": window.waited_percent,
        "rss_kb_per_call": (after.rss_bytes - idle.rss_bytes) / 1024 / result["calls"],
        "rss_idle_mb": idle.rss_bytes / 2**20,
        "children": after.children,
        "children_core_percent": window.children_core_percent,
        "children_rss_mb": after.children_rss_bytes / 2**20,
        **_traffic(result, stats),
        "sessions_open": stats["open"] - 1,  # besides the connection that asks
        "model_core_percent": model_window.core_percent,
        "model_digits": stats["digits"],
        "model_broken": stats["broken"],
        **log,
    }


def _relay_row(target: Target, model: Model, calls: int, seconds: float) -> Row:
    """The same packets through the plainest relay, on the core that the gateway had."""
    life_s = seconds + 30
    command = tool("relay", "--calls", calls, "--model-port", model.port, "--life", life_s)
    with running(command, target.cores.gateway) as relay:
        assert relay.stdout is not None
        ports = relay.stdout.readline().strip()
        if not ports:
            raise BenchError("the relay did not start")
        _model_stats(model.port)  # forget the gateway
        arguments = ("--calls", calls, "--settle", 1, "--rtp", ports)
        result, (window,) = _run_load(target, [relay.pid], seconds, *arguments)
        stats = _model_stats(model.port)
    return {
        "what": "relay",
        "calls": calls,
        **_costs(calls, window),
        "waited_percent": window.waited_percent,
        **_traffic(result, stats),
    }


def measure(
    target: Target, calls: int, seconds: float, *, pcm: bool, baseline: bool
) -> Iterator[Row]:
    """Measure the gateway at this many calls, and after it the yardstick.

    Args:
        pcm: measure it again with each of `PCM_SERVERS`; `target.pid` must then be None.
        baseline: measure the yardstick; `target.mode` must then be `echo`.

    Raises:
        BenchError: the gateway did not start, or took no call.
    """
    with _model(target) as model:
        gateway = _gateway_row(target, model, AS_THE_CALLER, calls, seconds)
        if baseline:
            relay = _relay_row(target, model, gateway["calls"], min(seconds, _BASELINE_SECONDS))
            gateway["times_relay"] = _times(gateway, relay)
        yield gateway
        for server in PCM_SERVERS if pcm else ():
            row = _gateway_row(target, model, server, calls, min(seconds, _PCM_SECONDS))
            yield row | {"times_g711": _times(row, gateway)}
        if baseline:
            yield relay


def _times(row: Row, other: Row) -> float | None:
    """How many times the CPU of the other a row cost."""
    cost: float = other["cpu_ms_per_call_s"]
    return row["cpu_ms_per_call_s"] / cost if cost else None
