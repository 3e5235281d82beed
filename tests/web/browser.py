"""A person at the page: a page in Chromium whose microphone is silent until the test speaks."""

import base64
import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from tests.peers.audio import RATE_HZ, Signal
from tests.peers.chromium import Chromium, Page
from tests.sdk.schemas import NODE_FOLDER

_AXE = NODE_FOLDER / "node_modules" / "axe-core" / "axe.min.js"
_MICROPHONE = (Path(__file__).parent / "microphone.js").read_text()
_REFUSED = "Failed to load resource"  # what the browser itself says of a 401, say


def need_axe() -> None:
    """Skip the test where axe-core is not installed."""
    if not _AXE.is_file():
        pytest.skip("axe-core is not installed: run make test where npm can be reached")


class Person(Page):
    """Use as a context manager, which at its end has seen no fault of the page.

    Args:
        script: what else is run before the scripts of the page.
        look: as `Page` takes it.
    """

    def __init__(self, browser: Chromium, *, script: str = "", **look: Any) -> None:
        super().__init__(browser, **look)
        self._script = script

    def __enter__(self) -> Self:
        super().__enter__()
        for name in ("clipboard-read", "clipboard-write"):
            self._browser.command(
                "Browser.setPermission",
                permission={"name": name},
                setting="granted",
                browserContextId=self._context,
            )
        self._do("Emulation.setFocusEmulationEnabled", enabled=True)
        for source in (_MICROPHONE, self._script):
            self._do("Page.addScriptToEvaluateOnNewDocument", source=source)
        return self

    @property
    def faults(self) -> list[str]:
        """What the page's scripts, or its policy, complained of."""
        return [text for text in self.console if not text.startswith(_REFUSED)]

    def see(self, selector: str, text: str = "", timeout_s: float = 10.0) -> str:
        """Wait until an element can be seen and shows this; returns all of its text."""
        shown = self.until(
            f"""[...document.querySelectorAll({json.dumps(selector)})]
                .filter((one) => one.checkVisibility() && one.innerText.trim())
                .map((one) => one.innerText)
                .find((shown) => shown.includes({json.dumps(text)}))""",
            timeout_s,
        )
        return str(shown)

    def texts(self, selector: str) -> list[str]:
        """The texts of all such elements that can be seen."""
        found: list[str] = self.evaluate(
            f"""[...document.querySelectorAll({json.dumps(selector)})]
                .filter((one) => one.checkVisibility()).map((one) => one.innerText)"""
        )
        return found

    def count(self, selector: str) -> int:
        return int(self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length"))

    def is_shown(self, selector: str) -> bool:
        return bool(
            self.evaluate(f"document.querySelector({json.dumps(selector)}).checkVisibility()")
        )

    def fill(self, selector: str, text: str) -> None:
        """Write this into a field, in place of what is there."""
        self.click(selector)
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        if text:
            self.type(text)
        else:
            self.press("Backspace")

    def say(self, speech: Signal, *, wait: bool = True) -> None:
        """Speak into the microphone; returns when it is said, or at once."""
        samples = (np.clip(speech, -1, 1) * 32767).astype(np.int16).tobytes()
        spoken = f"testPage.say('{base64.b64encode(samples).decode()}', {RATE_HZ})"
        self.evaluate(spoken if wait else f"void {spoken}")

    def barriers(self) -> list[str]:
        """What axe-core holds against the page, serious or worse."""
        if not self.evaluate("'axe' in window"):
            self.evaluate(f"{_AXE.read_text()}; null")
        found: list[str] = self.evaluate(
            """axe.run(document, {resultTypes: ['violations']}).then(({violations}) => violations
                .filter(({impact}) => ['serious', 'critical'].includes(impact))
                .flatMap(({id, nodes}) => nodes.map(({html}) => `${id}: ${html}`)))"""
        )
        return found

    @property
    def overflow_px(self) -> int:
        """By how much the page is wider than the screen."""
        return int(self.evaluate("document.documentElement.scrollWidth - innerWidth"))
