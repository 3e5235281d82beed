"""A Realtime model that follows a few orders, for tests of clients.

It answers `response.create` with speech, at once and as fast as it can. The words of the last user
text or of the response's instructions may change that:

    "weather" -> it calls the function `get_weather`, if the session has tools
    "long"    -> it speaks for twenty seconds
"""

import itertools
from copy import deepcopy
from functools import partial
from typing import Any

from tests.peers.fake_realtime import FakeConnection

Event = dict[str, Any]

SHORT_S, LONG_S = 0.4, 20.0
TOOL = "get_weather"


async def model(connection: FakeConnection, number: int) -> None:
    """The script of a `RealtimeThread`."""
    conversation = _Conversation(connection)
    for done in itertools.count():
        if not await connection.until(partial(_has_come, connection, done), 3600):
            return
        await conversation.answer(connection.received[done].event)


def _has_come(connection: FakeConnection, number: int) -> bool:
    return len(connection.received) > number


class _Conversation:
    def __init__(self, connection: FakeConnection) -> None:
        self._connection = connection
        self._items: dict[str, Event] = {}
        self._count = 0

    async def answer(self, event: Event) -> None:
        kind = event.get("type")
        if kind == "conversation.item.create":
            await self._add(event)
        elif kind == "response.create":
            await self._respond(event.get("response") or {})
        elif kind in ("conversation.item.retrieve", "conversation.item.delete"):
            await self._about_an_item(kind, event)
        elif kind == "conversation.item.truncate":
            names = ("item_id", "content_index", "audio_end_ms")
            fields = {name: event[name] for name in names}
            await self._connection.send({"type": "conversation.item.truncated", **fields})
        elif kind == "response.cancel":
            await self._connection.send_error("response_cancel_not_active", event.get("event_id"))
        elif kind == "input_audio_buffer.clear":
            await self._connection.send({"type": "input_audio_buffer.cleared"})

    async def _add(self, event: Event) -> None:
        item = deepcopy(event["item"])
        item.setdefault("id", self._name("item"))
        item.update(object="realtime.item", status="completed")
        previous = next(reversed(self._items), None)
        self._items[item["id"]] = item
        for kind in ("conversation.item.added", "conversation.item.done"):
            await self._connection.send({"type": kind, "previous_item_id": previous, "item": item})

    async def _about_an_item(self, kind: str, event: Event) -> None:
        item = self._items.get(event["item_id"])
        if item is None:
            code = kind.removeprefix("conversation.").replace(".", "_") + "_invalid_item_id"
            await self._connection.send_error(code, event.get("event_id"))
        elif kind.endswith("retrieve"):
            await self._connection.send({"type": "conversation.item.retrieved", "item": item})
        else:
            del self._items[event["item_id"]]
            about = {"item_id": event["item_id"]}
            await self._connection.send({"type": "conversation.item.deleted", **about})

    async def _respond(self, wishes: Event) -> None:
        orders = str(wishes.get("instructions") or "") + self._last_text()
        response_id = self._name("resp")
        if "weather" in orders and self._connection.session.get("tools"):
            await self._call_the_tool(response_id)
            return
        duration_s = LONG_S if "long" in orders else SHORT_S
        pcm = self._connection.session["audio"]["output"]["format"]["type"] == "audio/pcm"
        audio = b"\x10\x20" * int(duration_s * (24000 if pcm else 4000))
        item_id = self._name("item")
        spoken = {"type": "output_audio", "transcript": "words"}
        self._items[item_id] = {
            **{"id": item_id, "object": "realtime.item", "type": "message", "role": "assistant"},
            **{"status": "completed", "content": [spoken]},
        }
        await self._connection.speak(item_id, response_id, audio)
        limits = {"name": "tokens", "limit": 1000, "remaining": 900, "reset_seconds": 1.5}
        await self._connection.send({"type": "rate_limits.updated", "rate_limits": [limits]})

    async def _call_the_tool(self, response_id: str) -> None:
        say = self._connection.send
        item_id, call_id = self._name("item"), self._name("call")
        arguments = '{"city":"Oslo"}'
        place = {"response_id": response_id, "output_index": 0}
        item = {"id": item_id, "object": "realtime.item", "type": "function_call", "name": TOOL}
        begun = {**item, "call_id": call_id, "status": "in_progress", "arguments": ""}
        whole = {**item, "call_id": call_id, "status": "completed", "arguments": arguments}
        names = {**place, "item_id": item_id, "call_id": call_id}
        kind = "response.function_call_arguments"
        await self._connection.response_created(response_id)
        await say({"type": "response.output_item.added", **place, "item": begun})
        await say({"type": "conversation.item.added", "previous_item_id": None, "item": begun})
        await say({"type": f"{kind}.delta", **names, "delta": arguments})
        await say({"type": f"{kind}.done", **names, "name": TOOL, "arguments": arguments})
        await say({"type": "conversation.item.done", "previous_item_id": None, "item": whole})
        await say({"type": "response.output_item.done", **place, "item": whole})
        self._items[item_id] = whole
        await self._connection.response_done(response_id)

    def _last_text(self) -> str:
        """The user's last words, if nothing came after them."""
        item = next(reversed(self._items.values()), {})
        parts = item.get("content") or [{}]
        return str(parts[0].get("text") or "") if item.get("role") == "user" else ""

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"
