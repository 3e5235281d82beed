"""What the page makes of events and errors, without a browser: its modules, tested in Node."""

import subprocess
from pathlib import Path

import pytest

from tests.sdk.schemas import NODE

pytestmark = pytest.mark.pure

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("file", sorted(path.name for path in FOLDER.glob("*.test.mjs")))
def test_module(file: str) -> None:
    run = subprocess.run(
        [NODE, "--test-reporter=tap", str(FOLDER / file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert "\n# fail 0" in run.stdout and "\n# pass 0" not in run.stdout
