"""`python -m tests`: the whole suite, with the pure tests on one processor beside all others.

The others mostly wait for people who speak and for programs that answer, and the pure ones know no
clock that they could disturb by it. Any argument is pytest's, and runs it as it is.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO

import pytest

_PURE = ("-m", "pytest", "-m", "pure", "-q", "-o", "cache_dir=.pytest_cache/pure")


class Beside:
    """The pure tests, in a process of their own; the summary of the others waits for them."""

    def __init__(self, process: subprocess.Popen[str], output: IO[str]) -> None:
        self._process = process
        self._output = output

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        status = self._process.wait()
        self._output.seek(0)
        terminalreporter.section("the pure tests")
        terminalreporter.write(self._output.read())
        if status:
            what = ("the pure tests", 0, "the pure tests")
            report = pytest.TestReport(what[0], what, {}, "failed", "see above", "call")
            terminalreporter.stats.setdefault("error", []).append(report)


def run() -> int:
    """Both parts; returns the status of the others if they failed, else of the pure ones."""
    with tempfile.TemporaryFile("w+") as output:
        pure = subprocess.Popen(
            ["nice", "-n", "10", sys.executable, *_PURE],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            others = pytest.main(["-m", "not pure"], plugins=[Beside(pure, output)])
            return others or pure.wait()
        finally:
            pure.kill()
            pure.wait()


def main(arguments: Sequence[str]) -> int:
    return pytest.main(list(arguments)) if arguments else run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
