"""`python -m tests`: the whole suite, with the pure tests on one processor beside all others.

The others mostly wait for people who speak and for programs that answer, and the pure ones know no
clock that they could disturb by it. Any argument is pytest's, and runs it as it is.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence


def _pytest(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *arguments]


def run() -> int:
    """Both parts; returns the status of the first that failed, or 0."""
    with tempfile.TemporaryFile("w+") as output:
        quiet = ("-m", "pure", "-q", "-o", "cache_dir=.pytest_cache/pure")
        pure = subprocess.Popen(
            ["nice", "-n", "10", *_pytest(*quiet)], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            others = subprocess.run(_pytest("-m", "not pure"), check=False).returncode
            status = pure.wait()
        finally:
            pure.kill()
            pure.wait()
        output.seek(0)
        print("============================== the pure tests ==============================")
        print(output.read(), end="", flush=True)
    return others or status


def main(arguments: Sequence[str]) -> int:
    return subprocess.run(_pytest(*arguments), check=False).returncode if arguments else run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
