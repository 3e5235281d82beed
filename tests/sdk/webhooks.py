"""An application's end of a webhook: takes deliveries and hands them to the test, as they came."""

import queue
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST, with the names of its headers in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


class WebhookReceiver:
    """Use as a context manager. A delivery is answered with the next of `statuses`, or 200."""

    def __init__(self) -> None:
        self.statuses: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._deliveries: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        receiver = self

        class Application(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                try:
                    status = receiver.statuses.get_nowait()
                except queue.Empty:
                    status = 200
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()
                receiver._deliveries.put(Delivery(self.path, headers, body))

            def log_message(self, format: str, *values: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer((HOST, 0), Application)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://{HOST}:{self._server.server_address[1]}/hooks"

    def __enter__(self) -> Self:
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

    def next(self, timeout_s: float = 10.0) -> Delivery:
        """The next delivery that no test has taken yet; wait for it."""
        try:
            return self._deliveries.get(timeout=timeout_s)
        except queue.Empty:
            raise AssertionError(f"no webhook in {timeout_s} s") from None
