"""Scripts of `tests/sdk/node` on a page in Chromium, whose origin is not the gateway's."""

import functools
import http.server
import json
import threading
from types import TracebackType
from typing import Self

from tests.peers.chromium import Chromium
from tests.peers.gateway import HOST
from tests.sdk.application import Application
from tests.sdk.schemas import NODE_FOLDER


class _Files(http.server.SimpleHTTPRequestHandler):
    extensions_map = {".html": "text/html", "": "text/javascript"}
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class PageServer:
    """Serves `tests/sdk/node` with its packages. Use as a context manager."""

    def __enter__(self) -> Self:
        handler = functools.partial(_Files, directory=str(NODE_FOLDER))
        self._server = http.server.ThreadingHTTPServer((HOST, 0), handler)
        self._server.daemon_threads = True
        self.origin = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class PageApplication(Application):
    """A script on a page of its own. Use as a context manager.

    Args:
        page: its address below the origin, with the query.
    """

    def __init__(self, page: str, server: PageServer, browser: Chromium) -> None:
        super().__init__()
        self._url = f"{server.origin}/{page}"
        self._page = browser.page(told=self._came)
        self._noise = self._page.console

    def __enter__(self) -> Self:
        self._page.__enter__()
        self._page.go(self._url)
        self.next("ready", timeout_s=20)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._page.__exit__(exc_type, exc, traceback)
        if exc_type is None:
            assert not self._noise, self._noise

    @property
    def console(self) -> list[str]:
        """What the page and the browser complained of; a test empties it when that had to be."""
        return self._noise

    def _send(self, command: str) -> None:
        # What comes of it is a message; a command may well wait for something that is still to be.
        self._page.evaluate(f"void perform({json.dumps(json.loads(command))})")

    def _over(self) -> bool:
        return self._page.over
