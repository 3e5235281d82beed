"""The Calls API as a plain HTTP client sees it, without anybody's SDK."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.peers.gateway import HOST, GatewayProcess, eventually
from tests.peers.record import record

CALLS = "/v1/realtime/calls"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `body` is {} where there was none."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def error(self) -> dict[str, Any]:
        """The error that it tells, whose four keys are always there."""
        error = self.body["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        assert isinstance(error, dict) and error["message"]
        return error


class CallsApi:
    """The calls of one gateway."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway

    def dial(self, to: object, **more: object) -> Answer:
        """Have somebody called."""
        return self.post(CALLS, {"to": to, **more})

    def call(self, to: object, **more: object) -> str:
        """Have somebody called who can be; returns the call's id."""
        answer = self.dial(to, **more)
        assert answer.status == 201, answer
        call_id = answer.body["id"]
        assert isinstance(call_id, str) and answer.headers["location"] == f"{CALLS}/{call_id}"
        return call_id

    def refer(self, call_id: str, target_uri: object) -> Answer:
        return self.post(f"{CALLS}/{call_id}/refer", {"target_uri": target_uri})

    def refer_into(self, call_id: str, other_id: str) -> Answer:
        """Have a caller take our place in another call, or be joined to it."""
        return self.post(f"{CALLS}/{call_id}/refer", {"replaces_call_id": other_id})

    def hang_up(self, call_id: str) -> Answer:
        return self.post(f"{CALLS}/{call_id}/hangup", None)

    def calls(self) -> list[dict[str, Any]]:
        """The summaries of the calls now and lately."""
        answer = self._ask("GET", CALLS, None)
        assert answer.status == 200, answer
        return list(answer.body["data"])

    def summary(self, call_id: str) -> dict[str, Any]:
        answer = self._ask("GET", f"{CALLS}/{call_id}", None)
        assert answer.status == 200, answer
        return answer.body

    def until(self, call_id: str, state: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """The summary of a call once it is in this state."""
        came = eventually(lambda: self.summary(call_id)["state"] == state, timeout_s)
        assert came, f"not {state}: {self.summary(call_id)}"
        return self.summary(call_id)

    def hears_and_is_heard(self, call_id: str, timeout_s: float = 5.0) -> bool:
        """Whether more audio comes and goes from here on."""
        before = self.summary(call_id)["counters"]
        names = ("rtp_received", "rtp_sent")

        def more() -> bool:
            now = self.summary(call_id)["counters"]
            return all(now[name] > before[name] + 5 for name in names)

        return eventually(more, timeout_s)

    def sideband(self, call_id: str, extensions: str = "") -> "PlainSideband":
        query = f"&extensions={extensions}" if extensions else ""
        place = f"{HOST}:{self._gateway.http_port}"
        return PlainSideband(f"ws://{place}/v1/realtime?call_id={call_id}{query}")

    def post(self, path: str, body: object) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        return self._ask("POST", path, data)

    def _ask(self, method: str, path: str, data: bytes | None) -> Answer:
        request = urllib.request.Request(
            f"http://{HOST}:{self._gateway.http_port}{path}",
            data=data,
            headers={} if data is None else {"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=40) as response:
                return _answer(response.status, response.read(), response.headers)
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.read(), error.headers)


class PlainSideband:
    """A WebSocket on one call. Use as a context manager."""

    def __init__(self, url: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self._socket: ClientConnection = connect(url, proxy=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def send(self, event: dict[str, Any]) -> None:
        self._socket.send(json.dumps(event))

    def until(self, kind: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """The next event of this type."""
        deadline = time.monotonic() + timeout_s
        while True:
            event = record(self._socket.recv(max(deadline - time.monotonic(), 0)))
            self.events.append(event)
            if event["type"] == kind:
                return dict(event)

    def until_closed(self, timeout_s: float = 10.0) -> list[str]:
        """Types of all events, when the gateway has closed the socket."""
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                self.events.append(record(self._socket.recv(max(deadline - time.monotonic(), 0))))
        except ConnectionClosed as closed:
            self.close_code = closed.rcvd.code if closed.rcvd else 1006
        return [event["type"] for event in self.events]


def _answer(status: int, data: bytes, headers: Any) -> Answer:
    body = json.loads(data) if data else {}
    return Answer(status, body, {name.lower(): value for name, value in headers.items()})
