"""A sideband in the hands of `openai` for Python: read on a thread, or on the test's own loop."""

import asyncio
import threading
import time
from types import TracebackType
from typing import Any, Self

from openai import OpenAI
from openai.resources.realtime.realtime import (
    AsyncRealtimeConnection,
    RealtimeConnection,
    RealtimeConnectionManager,
)
from openai.types.realtime import (
    RealtimeConversationItemFunctionCallOutputParam,
    RealtimeConversationItemUserMessageParam,
)
from websockets.exceptions import ConnectionClosed

from tests.peers.record import Event, record


def user_text(text: str) -> RealtimeConversationItemUserMessageParam:
    """An item: what a user has typed."""
    return {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": text}],
    }


def returned(call_id: str, output: str) -> RealtimeConversationItemFunctionCallOutputParam:
    """An item: what a tool that was called has answered."""
    return {"type": "function_call_output", "call_id": call_id, "output": output}


class Sideband:
    """Use as a context manager: `with Sideband(client, call_id=call_id) as sideband: ...`

    The arguments are those of `client.realtime.connect`. Each event is kept, as it came and as the
    client makes it.
    """

    connection: RealtimeConnection

    def __init__(self, client: OpenAI, **target: Any) -> None:
        self._opening: RealtimeConnectionManager = client.realtime.connect(**target)
        self._client = client
        self.events: list[Event] = []
        self.close_code: int | None = None
        """Set when it is over."""
        self._objects: list[Any] = []
        self._taken = 0
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self.connection = self._opening.enter()
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.connection.close()
        self._thread.join(5)

    def next(self, kind: str, timeout_s: float = 10.0, **fields: object) -> Any:
        """The next event of this type and with these fields, as the client makes it.

        It looks from behind the last one that was taken, so that the order of calls is held too.
        """
        return self._find(kind, timeout_s, fields, self._taken)

    def any(self, kind: str, timeout_s: float = 10.0, **fields: object) -> Any:
        """The first event of this type and with these fields, wherever it came."""
        return self._find(kind, timeout_s, fields, 0)

    def closed(self, timeout_s: float = 10.0) -> int | None:
        """The code with which the gateway closed the connection; wait for it."""
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), f"open after {timeout_s} s; came: {self.kinds()}"
        return self.close_code

    def kinds(self) -> list[str]:
        """Types of all events so far."""
        with self._news:
            return [str(event.get("type")) for event in self.events]

    def _find(self, kind: str, timeout_s: float, fields: dict[str, object], first: int) -> Any:
        deadline = time.monotonic() + timeout_s
        with self._news:
            while True:
                for index in range(first, len(self.events)):
                    event = self.events[index]
                    if event.get("type") == kind and fields.items() <= event.items():
                        self._taken = max(self._taken, index + 1)
                        return self._objects[index]
                left = deadline - time.monotonic()
                if left <= 0 or self.close_code is not None:
                    came = [event.get("type") for event in self.events]
                    raise AssertionError(f"no {kind} {fields} within {timeout_s} s; came: {came}")
                self._news.wait(left)

    def _read(self) -> None:
        while True:
            try:
                data = self.connection.recv_bytes()
            except ConnectionClosed as error:
                with self._news:
                    self.close_code = error.rcvd.code if error.rcvd else 1006
                    self._news.notify_all()
                return
            with self._news:
                self.events.append(record(data))
                self._objects.append(self.connection.parse_event(data))
                self._news.notify_all()


class AsyncSideband:
    """What comes on a connection of the asynchronous client."""

    def __init__(self, connection: AsyncRealtimeConnection) -> None:
        self.kinds: list[str] = []
        self._connection = connection

    async def next(self, kind: str) -> Any:
        """The next event of this type."""
        async with asyncio.timeout(10):
            while True:
                data = await self._connection.recv_bytes()
                self.kinds.append(record(data)["type"])
                if self.kinds[-1] == kind:
                    return self._connection.parse_event(data)

    async def closed(self) -> int:
        """The code with which the gateway closes it; wait for that."""
        try:
            async with asyncio.timeout(10):
                while True:
                    self.kinds.append(record(await self._connection.recv_bytes())["type"])
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006
