"""What the page makes of events and errors, without a browser: its modules, tested in Node."""

import re
import subprocess
from pathlib import Path

import pytest

import gateway.web
from tests.sdk.schemas import NODE

pytestmark = pytest.mark.pure

FOLDER = Path(__file__).parent
PAGE = Path(gateway.web.__file__).parent
# What Safari 16.3 does not read, by the kind of file; it refuses all of a module for one of these.
TOO_NEW = {"js": r"\(\?<[=!]", "css": r"^\s*&"}


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


@pytest.mark.parametrize("kind", TOO_NEW)
def test_browsers_of_some_years_ago_read_the_files(kind: str) -> None:
    texts = {path.name: path.read_text() for path in PAGE.glob(f"*.{kind}")}
    assert texts
    found = {name: re.findall(TOO_NEW[kind], text, re.MULTILINE) for name, text in texts.items()}
    assert not any(found.values()), found
