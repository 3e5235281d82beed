"""A Realtime server that does what a test tells it, on the test's own event loop.

    async with FakeRealtime() as server:  # point the code under test at server.url
        session = await server.connection()
        await session.expect("response.create")
        await session.speak("item_1", "resp_1", audio)

By itself it only opens the session: `session.created` at once, `session.updated` for each update.
"""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from aiohttp import WSMsgType, web

Event = dict[str, Any]
UpdateAnswer = Literal["apply", "ignore", "error", "drop"]

PCMU: Event = {"type": "audio/pcmu"}
PCM24K: Event = {"type": "audio/pcm", "rate": 24000}
_BEGUN, _SPOKEN = ({"type": "audio", "transcript": text} for text in ("", "words"))


@dataclass(frozen=True, slots=True)
class Received:
    """One client event, and the loop's time at which it arrived."""

    event: Event
    at_s: float


class FakeConnection:
    """One session as the server sees it."""

    def __init__(self, server: "FakeRealtime", request: web.Request) -> None:
        self.path_qs = request.path_qs
        self.headers = request.headers.copy()
        self.received: list[Received] = []
        """Every client event in order, appends too."""
        self.audio = bytearray()
        """All appended audio, decoded, in the session's input format."""
        listening = {"format": PCM24K, "turn_detection": {"type": "server_vad"}}
        self.session: Event = {
            **{"type": "realtime", "object": "realtime.session", "output_modalities": ["audio"]},
            "id": f"sess_{len(server.connections) + 1}",
            "model": request.query.get("model", ""),
            "audio": {"input": listening, "output": {"format": PCM24K, "voice": "marin"}},
        }
        self.closed = asyncio.Event()
        """Set when the connection is over, whoever ended it."""
        self.close_code: int | None = None
        self._server = server
        self._request = request
        self._socket = web.WebSocketResponse(max_msg_size=0)
        self._news = asyncio.Event()
        self._kinds: dict[str, list[Event]] = {}
        self._expected: dict[str, int] = {}
        self._sent = 0
        self._responses: dict[str, list[str]] = {}  # items of each response, in order

    # What the client did.

    def events(self, kind: str) -> list[Event]:
        """All client events of this type so far."""
        return list(self._kinds.get(kind, ()))

    async def expect(self, kind: str, timeout_s: float = 2.0) -> Event:
        """Return the next client event of this type that was not expected before; wait for it.

        Raises:
            AssertionError: it did not come in time, or the connection ended without it.
        """
        index = self._expected.get(kind, 0)
        if not await self.until(lambda: len(self.events(kind)) > index, timeout_s):
            came = ", ".join(f"{kind} x{len(events)}" for kind, events in self._kinds.items())
            raise AssertionError(f"no {kind} (number {index + 1}); came: {came or 'nothing'}")
        self._expected[kind] = index + 1
        return self.events(kind)[index]

    async def until(self, fulfilled: Callable[[], bool], timeout_s: float = 2.0) -> bool:
        """Wait for this to become true of what the client did; return whether it did."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not fulfilled() and not self.closed.is_set():
                    self._news.clear()
                    await self._news.wait()
        return fulfilled()

    # What the server says.

    async def send(self, event: Event) -> None:
        """Send one event; an `event_id` is added when there is none."""
        self._sent += 1
        await self.send_text(json.dumps({"event_id": f"event_{self._sent}", **event}))

    async def send_text(self, text: str) -> None:
        await self._socket.send_str(text)

    async def send_error(self, code: str, event_id: str | None = None) -> None:
        fields = {"type": "invalid_request_error", "code": code, "message": code, "param": None}
        await self._say("error", error={**fields, "event_id": event_id})

    async def _say(self, kind: str, **fields: Any) -> None:
        await self.send({"type": kind, **fields})

    async def speech_started(self, audio_start_ms: int = 0, item_id: str = "item_user") -> None:
        kind = "input_audio_buffer.speech_started"
        await self._say(kind, audio_start_ms=audio_start_ms, item_id=item_id)

    async def speech_stopped(self, audio_end_ms: int = 0, item_id: str = "item_user") -> None:
        kind = "input_audio_buffer.speech_stopped"
        await self._say(kind, audio_end_ms=audio_end_ms, item_id=item_id)

    async def speak(
        self, item_id: str, response_id: str, audio: bytes, chunk_ms: int = 200, finish: bool = True
    ) -> None:
        """Say `audio`, in the session's output format, as fast as the connection takes it.

        The first call for a response opens it, the first for an item adds the item. Unless
        `finish` is false the item and the response end here, otherwise more can follow.
        """
        if response_id not in self._responses:
            await self.response_created(response_id)
        if item_id not in self._responses[response_id]:
            await self._add_item(item_id, response_id)
        place = self._place(response_id, item_id)
        pcm = self.session["audio"]["output"]["format"]["type"] == "audio/pcm"
        step = chunk_ms * (48 if pcm else 8)
        for at in range(0, len(audio), step):
            delta = b64encode(audio[at : at + step]).decode()
            await self._say("response.output_audio.delta", **place, delta=delta)
        if finish:
            await self.finish(item_id, response_id)

    async def finish(
        self, item_id: str, response_id: str, status: str = "completed", done: bool = True
    ) -> None:
        """End an item and, unless `done` is false, its response with this status."""
        item = self._item(item_id, "completed" if status == "completed" else "incomplete")
        place = self._place(response_id, item_id)
        await self._say("response.output_audio.done", **place)
        await self._say("response.output_audio_transcript.done", **place, transcript="words")
        await self._say("response.content_part.done", **place, part=_SPOKEN)
        await self._say("conversation.item.done", previous_item_id=None, item=item)
        await self._say("response.output_item.done", **self._outer(response_id, item))
        if done:
            await self.response_done(response_id, status)

    async def response_created(self, response_id: str) -> None:
        self._responses[response_id] = []
        await self._say("response.created", response=self._response(response_id, "in_progress"))

    async def response_done(
        self, response_id: str, status: str = "completed", reason: str | None = None
    ) -> None:
        """End a response: `completed`, `cancelled`, `incomplete` or `failed`, for this reason."""
        response = self._response(response_id, status)
        response["status_details"] = {"type": status, "reason": reason} if reason else None
        await self._say("response.done", response=response)

    async def _add_item(self, item_id: str, response_id: str) -> None:
        self._responses[response_id].append(item_id)
        item, place = self._item(item_id, "in_progress"), self._place(response_id, item_id)
        await self._say("response.output_item.added", **self._outer(response_id, item))
        await self._say("conversation.item.added", previous_item_id=None, item=item)
        await self._say("response.content_part.added", **place, part=_BEGUN)
        await self._say("response.output_audio_transcript.delta", **place, delta="words")

    def _place(self, response_id: str, item_id: str) -> Event:
        place = {"response_id": response_id, "item_id": item_id, "content_index": 0}
        return {**place, "output_index": self._responses[response_id].index(item_id)}

    def _outer(self, response_id: str, item: Event) -> Event:
        index = self._responses[response_id].index(item["id"])
        return {"response_id": response_id, "output_index": index, "item": item}

    def _item(self, item_id: str, status: str) -> Event:
        item = {"id": item_id, "object": "realtime.item", "type": "message", "role": "assistant"}
        said = [] if status == "in_progress" else [{"type": "output_audio", "transcript": "words"}]
        return {**item, "status": status, "content": said}

    def _response(self, response_id: str, status: str) -> Event:
        said = [] if status == "in_progress" else self._responses.get(response_id, [])
        fixed = {"id": response_id, "object": "realtime.response", "conversation_id": "conv_1"}
        output = [self._item(item, status) for item in said]
        return {**fixed, "status": status, "status_details": None, "output": output}

    # How the connection ends.

    async def close(self, code: int = 1000) -> None:
        await self._socket.close(code=code)

    def drop(self) -> None:
        """Break the TCP connection without a word."""
        if self._request.transport is not None:
            self._request.transport.abort()

    # What the server does by itself.

    async def serve(self) -> web.StreamResponse:
        self.session = _merged(self.session, self._server.override)
        try:
            await self._socket.prepare(self._request)
            if self._server.created:
                await self._say("session.created", session=self.session)
            async for message in self._socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    await self._event(json.loads(message.data))
        except ConnectionError:
            pass  # the client has gone, or we dropped it
        finally:
            self.close_code = self._socket.close_code
            self.closed.set()
            self._news.set()
        # A client that left during the handshake made no WebSocket of it; aiohttp minds one.
        return self._socket if self._socket.prepared else web.Response()

    async def _event(self, event: Event) -> None:
        self.received.append(Received(event, asyncio.get_running_loop().time()))
        self._kinds.setdefault(str(event.get("type")), []).append(event)
        if event.get("type") == "input_audio_buffer.append":
            self.audio += b64decode(event["audio"])
        elif event.get("type") == "session.update":
            await self._update(event)
        self._news.set()

    async def _update(self, event: Event) -> None:
        answer = self._server.update
        if answer == "apply":
            await asyncio.sleep(self._server.update_after_s)
            self.session = _merged(_merged(self.session, event["session"]), self._server.override)
            await self._say("session.updated", session=self.session)
        elif answer == "error":
            await self.send_error("invalid_value", event.get("event_id"))
        elif answer == "drop":
            self.drop()


@dataclass(slots=True, kw_only=True)
class FakeRealtime:
    """The server. The first five may be changed at any time; they count for what comes next."""

    refuse: int | None = None
    """Answer handshakes with this HTTP status instead."""
    created: bool = True
    """Send `session.created` on connecting."""
    update: UpdateAnswer = "apply"
    """What `session.update` leads to."""
    update_after_s: float = 0.0
    """How long it takes to apply one."""
    override: Event = field(default_factory=dict)
    """Laid over what the client configures: `{"audio": {"output": {"format": PCMU}}}`."""
    connections: list[FakeConnection] = field(default_factory=list, init=False)
    refused: int = field(default=0, init=False)
    url: str = field(default="", init=False)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _runner: web.AppRunner | None = field(default=None, init=False)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/v1/realtime", self._connect)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"ws://127.0.0.1:{self._runner.addresses[0][1]}/v1/realtime"
        return self

    async def __aexit__(self, *error: object) -> None:
        for connection in self.connections:
            connection.drop()
        if self._runner:
            await self._runner.cleanup()

    async def connection(self, index: int = 0, timeout_s: float = 2.0) -> FakeConnection:
        """The connection with this number, from 0; wait for it."""
        async with asyncio.timeout(timeout_s):
            while len(self.connections) <= index:
                self._arrived.clear()
                await self._arrived.wait()
        return self.connections[index]

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        if self.refuse is not None:
            self.refused += 1
            error = {"message": "refused", "type": "server_error", "param": None, "code": None}
            return web.json_response({"error": error}, status=self.refuse)
        connection = FakeConnection(self, request)
        self.connections.append(connection)
        self._arrived.set()
        return await connection.serve()


def _merged(config: Event, changes: Event) -> Event:
    """`config` with `changes` laid over it, objects key by key."""
    result = deepcopy(config)
    for name, value in changes.items():
        deeper = name != "format" and isinstance(value, dict) and isinstance(config.get(name), dict)
        result[name] = _merged(config[name], value) if deeper else deepcopy(value)
    return result
