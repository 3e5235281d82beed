"""One row of the benchmark: start everything, wait for the calls, measure, end everything.

CPU is user and system time of the gateway's process, read from outside at both ends of a window in
which all calls are up. Memory is what the process grew by since before the calls, after a warm-up
call has made it load what it loads lazily.
"""

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import BenchError, Usage, log_events, running, tool, usage_of
from bench.programs import (
    WARM_UP_CALLS,
    Model,
    Server,
    Target,
    running_gateway,
    running_model,
)

Row = dict[str, Any]
"""The figures of one number of calls; units are in the names."""

AS_THE_CALLER = Server("gateway", "leg", "leg")
"""G.711 on both sides: the audio passes as it is."""
PCM_SERVERS = (
    Server("to pcm 24/24", "pcm@24000", "pcm@24000"),
    Server("to pcm 16/24", "pcm@16000", "pcm@24000"),
)
"""Servers that take no G.711, as there are many: the gateway changes the rate both ways."""
WEBRTC_CODECS = ("pcmu", "opus")
_MOST_LOST = 0.1
"""A yardstick that lost a larger share of the frames has not done the work."""
_SHORT_SECONDS = 10.0
"""For all rows but those of phones whose audio passes as it is."""


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
    keys = "--keys" if target.keys else "--no-keys"  # the last one of several counts
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
    return {
        "calls": calls,
        "cpu_ms_per_call_s": percent * 10 / calls,
        "core_percent": percent,
        "waited_percent": window.waited_percent,
    }


def _memory(calls: int, idle: Usage, window: Window) -> Row:
    return {
        "rss_kb_per_call": (window.after.rss_bytes - idle.rss_bytes) / 1024 / calls,
        "rss_idle_mb": idle.rss_bytes / 2**20,
    }


def _traffic(result: Row) -> Row:
    """What the load generator says about the packets."""
    return {
        "round_trip_lost": result["countable"] - result["returned_countable"],
        **{name: value for name, value in result.items() if name not in ("event", "calls")},
    }


def _uplink(result: Row, stats: Row) -> Row:
    """What the model says about them."""
    delays = ("uplink_p50_ms", "uplink_p99_ms", "uplink_max_ms")
    lost = result["sent_measured"] - stats["marked"]
    return {"uplink_lost": lost, **{name: stats[name] for name in delays}}


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


def _gateway_row(
    target: Target,
    model: Model,
    server: Server,
    calls: int,
    seconds: float,
    webrtc_codec: str | None = None,
) -> Row:
    """Calls over SIP, or over WebRTC in this codec."""
    what = server.name if webrtc_codec is None else f"WebRTC {webrtc_codec}"
    with running_gateway(target, model.port, server, calls, what) as gateway:
        way: tuple[object, ...] = ("--sip", gateway.sip_port)
        if webrtc_codec is not None:
            way = _over_webrtc(gateway.offers_url, webrtc_codec)
        pids = [gateway.pid, model.pid]
        _run_load(target, pids, 1, "--calls", WARM_UP_CALLS, "--settle", 0, *way)
        time.sleep(1)
        idle = usage_of(gateway.pid)
        _model_stats(model.port)  # forget the warm-up
        result, (window, model_window) = _run_load(target, pids, seconds, "--calls", calls, *way)
        time.sleep(1)
        stats = _model_stats(model.port)
        log = _ended_calls(gateway.log, result["calls"] + WARM_UP_CALLS)
    after = window.after
    return {
        "what": what,
        "calls_wanted": calls,
        **_costs(result["calls"], window),
        **_memory(result["calls"], idle, window),
        "children": after.children,
        "children_core_percent": window.children_core_percent,
        "children_rss_mb": after.children_rss_bytes / 2**20,
        **_traffic(result),
        **_uplink(result, stats),
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
        **_costs(calls, window),
        **_traffic(result),
        **_uplink(result, stats),
    }


def _stock_row(target: Target, codec: str, calls: int, seconds: float) -> Row:
    """The same offers and packets to stock aiortc, on the core that the gateway had."""
    with running(tool("stock"), target.cores.gateway) as stock:
        assert stock.stdout is not None
        port = stock.stdout.readline().strip()
        if not port:
            raise BenchError("the echo server of stock aiortc did not start")
        way = _over_webrtc(f"http://127.0.0.1:{port}/", codec)
        _run_load(target, [stock.pid], 1, "--calls", WARM_UP_CALLS, "--settle", 0, *way)
        time.sleep(1)
        idle = usage_of(stock.pid)
        result, (window,) = _run_load(target, [stock.pid], seconds, "--calls", calls, *way)
    return {
        "what": f"aiortc {codec}",
        "calls_wanted": calls,
        **_costs(result["calls"], window),
        **_memory(result["calls"], idle, window),
        **_traffic(result),
    }


def _over_webrtc(url: str, codec: str) -> tuple[object, ...]:
    """Arguments of the load generator. No keys: aiortc takes what they leave out for lost."""
    return "--no-keys", "--webrtc", url, "--codec", codec


def measure(
    target: Target, calls: int, seconds: float, *, pcm: bool, baseline: bool
) -> Iterator[Row]:
    """Measure the gateway at this many calls over SIP, and after it the yardstick.

    Args:
        pcm: measure it again with each of `PCM_SERVERS`; `target.pid` must then be None.
        baseline: measure the yardstick; `target.mode` must then be `echo`.

    Raises:
        BenchError: the gateway did not start, or took no call.
    """
    with running_model(target) as model:
        gateway = _gateway_row(target, model, AS_THE_CALLER, calls, seconds)
        if baseline:
            relay = _relay_row(target, model, gateway["calls"], min(seconds, _SHORT_SECONDS))
            gateway["times_relay"] = _times(gateway, relay)
        yield gateway
        for server in PCM_SERVERS if pcm else ():
            row = _gateway_row(target, model, server, calls, min(seconds, _SHORT_SECONDS))
            yield row | {"times_g711": _times(row, gateway)}
        if baseline:
            yield relay


def measure_webrtc(target: Target, calls: int, seconds: float, *, baseline: bool) -> Iterator[Row]:
    """Measure the gateway at this many calls over WebRTC, in each codec, and stock aiortc after it.

    Args:
        baseline: as for `measure`.

    Raises:
        BenchError: the gateway or the yardstick did not start, or took no call.
    """
    seconds = min(seconds, _SHORT_SECONDS)
    for codec in WEBRTC_CODECS:
        with running_model(target) as model:
            gateway = _gateway_row(target, model, AS_THE_CALLER, calls, seconds, codec)
        if baseline:
            stock = _stock_row(target, codec, gateway["calls"], seconds)
            if stock["round_trip_lost"] < _MOST_LOST * stock["countable"]:
                gateway["below_aiortc"] = _times(stock, gateway)
            yield gateway
            yield stock
        else:
            yield gateway


def _times(row: Row, other: Row) -> float | None:
    """How many times the CPU of the other a row cost."""
    cost: float = other["cpu_ms_per_call_s"]
    return row["cpu_ms_per_call_s"] / cost if cost else None
