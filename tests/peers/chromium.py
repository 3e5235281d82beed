"""Chromium without a screen as a peer: its DevTools protocol, spoken by hand.

One browser serves many tests: each page has a context of its own, with its own storage and its own
permission to use the microphone, which hears a file over and over.
"""

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.peers.gateway import eventually

_NAMES = ("chromium-headless-shell", "chromium", "google-chrome")
_KEYS = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, ""), "Backspace": (8, "")}
_SWITCHES = (
    "--headless",
    "--no-sandbox",  # the tests may run as root
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--ignore-certificate-errors",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",  # the shell has no other to ask with
)
_REFUSALS = {"denied": "NotAllowedError", "missing": "NotFoundError"}
_REFUSE = """
    navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('No', '%s'); };
"""

Message = dict[str, Any]


def find_chromium() -> str | None:
    """Where the program is."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def need_chromium() -> str:
    """Where the program is; skips the test when it is not installed."""
    path = find_chromium()
    if path is None:
        pytest.skip("Chromium is not installed (package chromium-headless-shell)")
    return path


class PageError(Exception):
    """A script on the page threw this."""


class Chromium:
    """The program. Use as a context manager.

    Args:
        directory: for its profile; there may be nothing in it.
        microphone: a WAV file, which the microphone hears over and over. It is read anew whenever a
            page begins to listen. None is a beep each second.
    """

    def __init__(self, directory: Path, microphone: Path | None = None) -> None:
        self._directory = directory
        self._microphone = microphone
        self._replies: dict[int, Message] = {}
        self._news = threading.Condition()
        self._numbers = itertools.count(1)
        self._listeners: dict[str, Callable[[str, Message], None]] = {}
        self._over = False

    def __enter__(self) -> Self:
        heard = (
            [f"--use-file-for-fake-audio-capture={self._microphone}"] if self._microphone else []
        )
        self._process = subprocess.Popen(
            [need_chromium(), *_SWITCHES, *heard, f"--user-data-dir={self._directory}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Debian's program is a script, which would not pass on its end
        )
        told = self._directory / "DevToolsActivePort"
        try:
            ready = eventually(lambda: told.exists() and "/" in told.read_text(), 30, 0.02)
            assert ready, f"Chromium did not start: {self._process.poll()}"
            port, path = told.read_text().split()
            self._socket: ClientConnection = connect(
                f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None, compression=None
            )
        except BaseException:
            self._end(signal.SIGKILL)
            raise
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()
        self._reader.join()
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        """End it with all its processes."""
        os.killpg(self._process.pid, how)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def page(self, **options: Any) -> "Page":
        """A new page; options are those of `Page`."""
        return Page(self, **options)

    # For pages.

    def command(self, method: str, session: str = "", timeout_s: float = 20.0, **more: Any) -> Any:
        """Have the browser do this; returns its result.

        Raises:
            AssertionError: it would not, or did not answer in time.
        """
        number = next(self._numbers)
        message: Message = {"id": number, "method": method, "params": more}
        if session:
            message["sessionId"] = session
        self._socket.send(json.dumps(message))
        deadline = time.monotonic() + timeout_s
        with self._news:
            while number not in self._replies:
                left = deadline - time.monotonic()
                assert left > 0 and not self._over, f"no answer to {method} {more}"
                self._news.wait(left)
            reply = self._replies.pop(number)
        assert "error" not in reply, f"{method} {more}: {reply['error']}"
        return reply["result"]

    def listen(self, session: str, listener: Callable[[str, Message], None]) -> None:
        """Hand the events of this session to `listener`, on a thread of its own."""
        self._listeners[session] = listener

    def forget(self, session: str) -> None:
        self._listeners.pop(session, None)

    @property
    def over(self) -> bool:
        return self._over

    def _read(self) -> None:
        try:
            for text in self._socket:
                message = json.loads(text)
                with self._news:
                    if "id" in message:
                        self._replies[message["id"]] = message
                        self._news.notify_all()
                        continue
                listener = self._listeners.get(message.get("sessionId", ""))
                if listener is not None:
                    listener(message["method"], message["params"])
        except ConnectionClosed:
            pass
        finally:
            with self._news:
                self._over = True
                self._news.notify_all()


class Page:
    """One page. Use as a context manager.

    Args:
        microphone: `granted`, `denied` by the person, or `missing`.
        width, height: of the page, in CSS pixels.
        dark: which scheme of colours the person prefers.
        touch: a phone's screen.
        told: is handed what scripts on the page say with `tell("...")`; may be called on a thread
            of the browser.
    """

    def __init__(
        self,
        browser: Chromium,
        *,
        microphone: str = "granted",
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
        touch: bool = False,
        told: Callable[[str], None] | None = None,
    ) -> None:
        self._browser = browser
        self._microphone = microphone
        self._look = (width, height, dark, touch)
        self._told = told
        self.console: list[str] = []
        """What scripts wrote there as a warning or an error, and what they threw and nobody caught,
        and what the browser itself complained of."""

    def __enter__(self) -> Self:
        call = self._browser.command
        self._context: str = call("Target.createBrowserContext")["browserContextId"]
        call(
            "Browser.setPermission",
            browserContextId=self._context,
            permission={"name": "microphone"},
            setting="denied" if self._microphone == "denied" else "granted",
        )
        target = call("Target.createTarget", url="about:blank", browserContextId=self._context)
        self._target: str = target["targetId"]
        attached = call("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session: str = attached["sessionId"]
        self._browser.listen(self._session, self._event)
        for domain in ("Page", "Runtime", "Log"):
            self._do(f"{domain}.enable")
        if self._told is not None:
            self._do("Runtime.addBinding", name="tell")
        if self._microphone in _REFUSALS:
            # The shell asks nobody, and so nobody can refuse.
            source = _REFUSE % _REFUSALS[self._microphone]
            self._do("Page.addScriptToEvaluateOnNewDocument", source=source)
        width, height, dark, touch = self._look
        self.look(width=width, height=height, dark=dark, touch=touch)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._browser.over:
            self._browser.forget(self._session)
            self._browser.command("Target.disposeBrowserContext", browserContextId=self._context)

    @property
    def over(self) -> bool:
        """Whether the browser has gone."""
        return self._browser.over

    def look(self, *, width: int, height: int, dark: bool = False, touch: bool = False) -> None:
        """Change the screen and the scheme of colours."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        self._do("Emulation.setDeviceMetricsOverride", **size)
        self._do("Emulation.setTouchEmulationEnabled", enabled=touch)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._do("Emulation.setEmulatedMedia", features=[scheme])

    def go(self, url: str) -> None:
        """Open this address; returns when the page and its scripts are loaded."""
        result = self._do("Page.navigate", url=url)
        assert not result.get("errorText"), f"{url}: {result['errorText']}"
        self.until("document.readyState === 'complete'")

    def evaluate(self, expression: str, timeout_s: float = 20.0) -> Any:
        """What the expression comes to, as JSON has it; a promise is waited for.

        Raises:
            PageError: it threw.
        """
        result = self._do(
            "Runtime.evaluate",
            timeout_s=timeout_s,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description") or details["text"])
        return result["result"].get("value")

    def until(self, expression: str, timeout_s: float = 10.0) -> Any:
        """Wait until the expression is true of the page; returns what it comes to."""
        deadline = time.monotonic() + timeout_s
        while not (value := self.evaluate(expression)):
            left = deadline - time.monotonic()
            assert left > 0, f"not {expression} within {timeout_s} s; console: {self.console}"
            time.sleep(0.03)
        return value

    def text(self, selector: str = "body") -> str:
        """What can be read there."""
        shown = self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText")
        assert shown is not None, f"there is no {selector}"
        return str(shown)

    # What the person does.

    def click(self, selector: str, timeout_s: float = 5.0) -> None:
        """Press the mouse in the middle of an element, once it can be seen and is not disabled."""
        point = self.until(
            f"""(() => {{
                const element = document.querySelector({json.dumps(selector)});
                if (!element || element.disabled) return null;
                element.scrollIntoView({{block: 'nearest', behavior: 'instant'}});
                const {{x, y, width, height}} = element.getBoundingClientRect();
                const middle = {{x: x + width / 2, y: y + height / 2}};
                const top = document.elementFromPoint(middle.x, middle.y);
                return width && height && (element.contains(top) || top?.contains(element))
                    ? middle : null;
            }})()""",
            timeout_s,
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._do("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **point)

    def press(self, key: str, *, shift: bool = False) -> None:
        """A key of the keyboard, by its name or its character."""
        code, text = _KEYS.get(key, (ord(key[0].upper()), key if len(key) == 1 else ""))
        fields: Message = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
        down: Message = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self._do("Input.dispatchKeyEvent", **down, **fields)
        self._do("Input.dispatchKeyEvent", type="keyUp", **fields)

    def type(self, text: str) -> None:
        """Put text where the focus is."""
        self._do("Input.insertText", text=text)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """A PNG of what is seen, or of the whole page."""
        data = self._do("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def _do(self, method: str, timeout_s: float = 20.0, **more: Any) -> Any:
        return self._browser.command(method, self._session, timeout_s, **more)

    def _event(self, method: str, params: Message) -> None:
        if method == "Runtime.bindingCalled" and self._told is not None:
            self._told(params["payload"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("warning", "error"):
            said = (one.get("value", one.get("description")) for one in params["args"])
            self.console.append(" ".join(map(str, said)))
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.console.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("warning", "error"):
            self.console.append(params["entry"]["text"])
