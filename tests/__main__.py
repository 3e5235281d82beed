"""`python -m tests`: the whole suite, with what needs neither other programs nor real time on one
processor beside the rest.

The rest mostly waits for people who speak and for programs that answer. What they hear and when
depends on how busy the machine is, so a module of theirs that fails, or two, is run once more, with
nothing beside it; both results are printed. Any argument is pytest's, and runs it as it is.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO

import pytest

from tests.beside import IS_BESIDE

_CACHE = "cache_dir=.pytest_cache/beside"
_FIRST = "(peer or live) and not patient"
_BESIDE = ("-m", "pytest", "-m", f"not ({_FIRST})", "-q", "-o", _CACHE)
_NAME = "tests beside these"
_ONCE_MORE = 2
"""So many modules; where more of them fail, it is not for want of time."""


class Beside:
    """Tests in a process of their own; the summary of the others waits for them."""

    def __init__(self, process: subprocess.Popen[str], output: IO[str]) -> None:
        self._process = process
        self._output = output

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        status = self._process.wait()
        self._output.seek(0)
        terminalreporter.section(_NAME)
        terminalreporter.write(self._output.read())
        if status:
            report = pytest.TestReport(_NAME, (_NAME, 0, _NAME), {}, "failed", "see above", "call")
            terminalreporter.stats.setdefault("error", []).append(report)


class Failures:
    """Which modules failed, and whether that is for good."""

    def __init__(self) -> None:
        self._modules: set[str] = set()
        self._for_good = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            module = report.nodeid.partition("::")[0]
            self._modules.add(module)
            # Its subject, or what is looked at when all is over, is what the others left.
            self._for_good |= report.when == "teardown" or module.endswith("/test_zero.py")

    def once_more(self) -> int:
        """Run them alone; returns the status."""
        if self._for_good or not 0 < len(self._modules) <= _ONCE_MORE:
            return pytest.ExitCode.TESTS_FAILED
        modules = sorted(self._modules)
        names = ", ".join(modules)
        print(f"failed beside others, and run once more alone: {names}", flush=True)
        status = subprocess.call([sys.executable, "-m", "pytest", "-m", _FIRST, *modules])
        if not status:
            print(f"PASSED ONLY ALONE, and has to be looked at: {names}", flush=True)
        return status


def run() -> int:
    """Both parts; returns the status of the rest if it failed, else of what ran beside it."""
    failures = Failures()
    with tempfile.TemporaryFile("w+") as output:
        beside = subprocess.Popen(
            ["nice", "-n", "19", sys.executable, *_BESIDE],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {IS_BESIDE: "1"},
        )
        try:
            rest = pytest.main(["-m", _FIRST], plugins=[Beside(beside, output), failures])
            status = beside.wait()
            if rest == pytest.ExitCode.TESTS_FAILED and not status:
                rest = failures.once_more()
            return rest or status
        finally:
            beside.kill()
            beside.wait()


def main(arguments: Sequence[str]) -> int:
    return pytest.main(list(arguments)) if arguments else run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
