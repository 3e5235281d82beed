"""`python -m bench.setups`: how many calls a second one core sets up and ends.

SIPp calls over UDP and hangs up as soon as it is answered, each time a little faster, until
something has to be said twice or fails. At the highest rate that was borne it then places all its
calls.

The rows: the gateway, with a Realtime session for each call; its SIP alone, which answers and opens
nothing; and other Python stacks that do the same, in the Python that `--sippy` or `--aiosipua`
names, because neither is installed with this project.
"""

import argparse
import csv
import json
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measure import AS_THE_CALLER
from bench.processes import (
    ROOT,
    BenchError,
    choose_cores,
    free_port,
    running,
    tool,
    usage_of,
)
from bench.programs import Target, running_gateway, running_model

_UDP = socket.SOCK_DGRAM
SCENARIO = Path(__file__).with_name("setup_call.xml")
TRIAL_S = 6.0
FIRST_RATE, FASTER, LAST_RATE = 40.0, 1.4, 3000.0
FINER_STEPS = 3
CALLS_AT_ONCE = 2000
BUFFER_BYTES = 4 << 20
_ENDS_S = 40.0
"""After the last call SIPp may have to give one up."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A stretch of calls at one rate."""

    rate: float
    successful: int
    failed: int
    repeated: int
    """Messages that SIPp had to say again."""
    cpu_ms_per_call: float
    core_percent: float

    @property
    def borne(self) -> bool:
        return not self.failed and not self.repeated and self.successful > 0


@dataclass(frozen=True, slots=True)
class Stack:
    """What is called: a process that listens on a port."""

    name: str
    pid: int
    port: int


def place(stack: Stack, folder: Path, cores: frozenset[int], rate: float, calls: int) -> Trial:
    """Place so many calls at this rate."""
    statistics = folder / "setups.csv"
    statistics.unlink(missing_ok=True)
    command = [
        "sipp",
        f"127.0.0.1:{stack.port}",
        *("-sf", str(SCENARIO), "-i", "127.0.0.1", "-p", str(free_port(_UDP))),
        *("-m", str(calls), "-l", str(CALLS_AT_ONCE), "-r", f"{rate:g}", "-nostdin"),
        *("-trace_stat", "-stf", str(statistics), "-fd", "1"),
        *("-buff_size", str(BUFFER_BYTES)),  # else its own pauses would count as the stack's
        *("-timeout", f"{calls / rate + _ENDS_S:.0f}s"),
    ]
    before = usage_of(stack.pid)
    with running(command, cores, output=folder / "sipp.out", cwd=folder) as sipp:
        sipp.wait(calls / rate + 2 * _ENDS_S)
    after = usage_of(stack.pid)
    with statistics.open(newline="") as file:
        last = list(csv.DictReader(file, delimiter=";"))[-1]
    cpu_s = after.cpu_s - before.cpu_s
    trial = Trial(
        rate=rate,
        successful=int(last["SuccessfulCall(C)"]),
        failed=int(last["FailedCall(C)"]),
        repeated=int(last["Retransmissions(C)"]),
        cpu_ms_per_call=cpu_s * 1000 / calls,
        core_percent=cpu_s / (calls / rate) * 100,
    )
    if not trial.borne:
        print(f"  {trial}", file=sys.stderr)
    return trial


def highest(stack: Stack, folder: Path, cores: frozenset[int], calls: int) -> Trial:
    """The calls at the highest rate that is borne.

    Raises:
        BenchError: none is.
    """
    place(stack, folder, cores, FIRST_RATE, int(FIRST_RATE))  # loads what is loaded lazily
    good, bad = 0.0, LAST_RATE
    rate = FIRST_RATE
    while rate < LAST_RATE and place(stack, folder, cores, rate, int(rate * TRIAL_S)).borne:
        good, rate = rate, rate * FASTER
    bad = rate
    if not good:
        raise BenchError(f"{stack.name} does not bear {FIRST_RATE:g} calls a second")
    for _ in range(FINER_STEPS):
        rate = (good + bad) / 2
        if place(stack, folder, cores, rate, int(rate * TRIAL_S)).borne:
            good = rate
        else:
            bad = rate
    for share in (1.0, 0.9, 0.8, 0.7, 0.6):
        trial = place(stack, folder, cores, good * share, calls)
        if trial.borne:
            return trial
    raise BenchError(f"{stack.name} bears {good:g} calls a second, but not for {calls} calls")


@contextmanager
def program(name: str, command: list[str], cores: frozenset[int]) -> Iterator[Stack]:
    """A stack that is a program of its own, which says when it is ready."""
    port = free_port(_UDP)
    with running([*command, str(port)], cores) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise BenchError(f"{name} did not start: {' '.join(command)}")
        drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
        try:
            yield Stack(name, process.pid, port)
        finally:
            drain.kill()
            drain.wait()


@contextmanager
def whole_gateway(target: Target) -> Iterator[Stack]:
    """The gateway, and a Realtime server of its own for its sessions."""
    with (
        running_model(target) as model,
        running_gateway(target, model.port, AS_THE_CALLER, CALLS_AT_ONCE, "setups") as gateway,
    ):
        yield Stack("gateway", gateway.pid, gateway.sip_port)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.setups", description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000, help="calls at the highest rate")
    parser.add_argument("--sippy", metavar="PYTHON", help="a Python that has sippy installed")
    parser.add_argument("--aiosipua", metavar="PYTHON", help="a Python that has aiosipua installed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    options = parser.parse_args()
    if not 10 <= options.calls <= 100_000:
        parser.error("--calls must be 10 to 100000")
    return options


def main() -> int:
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    cores = choose_cores()
    rows: list[dict[str, Any]] = []
    status = 0
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name:
        folder = Path(name)
        target = Target(cores, folder, "echo", 1, False, None, 0, 0, 0)
        stacks = [
            whole_gateway(target),
            program("its SIP alone", tool("stack_ours"), cores.gateway),
        ]
        for other in ("sippy", "aiosipua"):
            if python := getattr(options, other):
                # Without its asserts: aiosipua has one that no transport of Python 3.11 meets.
                command = [python, "-O", str(ROOT / "bench" / "yardsticks" / f"{other}_uas.py")]
                stacks.append(program(other, command, cores.gateway))
        for stack in stacks:
            try:
                with stack as one:
                    print(f"{one.name} ...", file=sys.stderr, flush=True)
                    trial = highest(one, folder, cores.tools, options.calls)
            except BenchError as error:
                print(f"could not be measured: {error}", file=sys.stderr)
                status = 1
                continue
            rows.append({"what": one.name, "calls": options.calls} | _figures(trial))
    print("| | calls | calls/s | CPU ms/call | core % |\n| --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            "| {what} | {calls} | {rate:.0f} | {cpu_ms_per_call:.2f} | {core_percent:.0f} |".format(
                **row
            )
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return status


def _figures(trial: Trial) -> dict[str, float]:
    return {
        "rate": trial.rate,
        "cpu_ms_per_call": trial.cpu_ms_per_call,
        "core_percent": trial.core_percent,
    }


if __name__ == "__main__":
    sys.exit(main())
