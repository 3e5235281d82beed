"""SIPp as a peer: runs a scenario of `tests/peers/sipp`, and tells how its calls went."""

import csv
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.peers.gateway import HOST, eventually, free_port, free_range
from tests.peers.scenario import Scenario

SCENARIOS = Path(__file__).with_name("sipp")


def need_sipp(*, raw_socket: bool = False) -> None:
    """Skip the test when SIPp cannot be run here."""
    if shutil.which("sipp") is None:
        pytest.skip("SIPp is not installed (package sip-tester)")
    if raw_socket and os.geteuid() != 0:
        pytest.skip("SIPp replays a capture through a raw socket, which needs root")


@dataclass(frozen=True, slots=True)
class SippResult:
    """How a run ended."""

    status: int
    created: int
    successful: int
    failed: int
    retransmissions: int
    duration_s: float
    errors: str

    def __str__(self) -> str:
        return (
            f"SIPp: {self.successful} of {self.created} calls, {self.failed} failed, "
            f"{self.retransmissions} retransmissions, {self.duration_s:.1f} s, "
            f"status {self.status}\n{self.errors[:2000]}"
        )


class Sipp:
    """One run of a scenario, started at once; one that waits to be called is ready then.

    Args:
        scenario: one that was written, or the name of a file without `.xml`; `@NAME@` in it is
            replaced from `fill`.
        gateway: whom it calls; None waits to be called.
        calls, rate: how many, and how many a second.
        port: of its SIP; 0 takes any.
        media_port: where the ports of its audio begin; 0 picks free ones.
        options: further options of SIPp.
        host: its own address.
    """

    def __init__(
        self,
        scenario: str | Scenario,
        gateway: tuple[str, int] | None,
        directory: Path,
        *,
        calls: int = 1,
        rate: float = 10,
        transport: str = "u1",
        port: int = 0,
        media_port: int = 0,
        timeout_s: float = 60,
        options: Sequence[str] = (),
        fill: dict[str, str] | None = None,
        host: str = HOST,
    ) -> None:
        self._directory = directory
        if isinstance(scenario, Scenario):
            name, text = scenario.name, scenario.text
        else:
            name, text = scenario, (SCENARIOS / f"{scenario}.xml").read_text()
        self._name = f"{name}-{free_port()}"
        for word, value in (fill or {}).items():
            text = text.replace(f"@{word}@", value)
        path = directory / f"{self._name}.xml"
        path.write_text(text)
        self._timeout_s = timeout_s
        self.port = port or free_port()
        media = str(media_port or free_range(20))
        self._began = time.monotonic()
        self._output = (directory / f"{self._name}.out").open("w")
        self._process = subprocess.Popen(
            [
                "sipp",
                *([] if gateway is None else [f"{gateway[0]}:{gateway[1]}"]),
                *("-sf", str(path), "-s", "agent", "-t", transport),
                *("-i", host, "-p", str(self.port), "-mi", host, "-mp", media),
                *("-m", str(calls), "-l", str(calls), "-r", f"{rate:g}", "-nostdin"),
                *("-trace_stat", "-stf", str(self._statistics), "-fd", "1"),
                *("-trace_err", "-error_file", str(self._errors)),
                *("-timeout", f"{timeout_s:g}s", "-timeout_error"),
                *options,
            ],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TERM": "dumb"},
        )
        if gateway is None:
            assert eventually(self._listens, 10, 0.02), self.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._output.close()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def result(self) -> SippResult:
        """Wait for the end of the run."""
        try:
            status = self._process.wait(self._timeout_s + 10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._output.close()
        return SippResult(
            status=status,
            created=self._count("TotalCallCreated"),
            successful=self._count("SuccessfulCall(C)"),
            failed=self._count("FailedCall(C)"),
            retransmissions=self._count("Retransmissions(C)"),
            duration_s=time.monotonic() - self._began,
            errors=self._errors.read_text(errors="replace") if self._errors.exists() else "",
        )

    def created(self) -> int:
        """How many calls were started so far, as of the last second."""
        return self._count("TotalCallCreated")

    def _listens(self) -> bool:
        if not self.running:
            return True  # and its result says why
        # As the process sees it: it may be on another host, that is in a namespace of its own.
        for kind, listening in (("udp", "07"), ("udp6", "07"), ("tcp", "0A"), ("tcp6", "0A")):
            for line in Path(f"/proc/{self._process.pid}/net/{kind}").read_text().splitlines()[1:]:
                local, state = line.split()[1:4:2]
                if state == listening and int(local.rpartition(":")[2], 16) == self.port:
                    return True
        return False

    @property
    def _statistics(self) -> Path:
        return self._directory / f"{self._name}.csv"

    @property
    def _errors(self) -> Path:
        return self._directory / f"{self._name}.err"

    def _count(self, column: str) -> int:
        if not self._statistics.exists():
            return 0
        with self._statistics.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        return int(rows[-1][column] or 0) if rows else 0


def run_sipp(
    scenario: str | Scenario,
    gateway: tuple[str, int] | None,
    directory: Path,
    **options: object,
) -> SippResult:
    """Run a scenario to its end. Options are those of `Sipp`."""
    with Sipp(scenario, gateway, directory, **options) as sipp:  # type: ignore[arg-type]
        return sipp.result()
