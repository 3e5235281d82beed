"""Answers the phone of Brightwater Bicycles: finds orders, transfers callers, hangs up.

    pip install aiohttp 'openai[realtime]'

OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_WEBHOOK_SECRET are read by the client itself; README.md
tells what they are here. PORT is where the webhook listens.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from openai import AsyncOpenAI, OpenAIError
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import RealtimeFunctionToolParam

client = AsyncOpenAI()
calls: set[asyncio.Task[None]] = set()

ORDERS = {
    "1042": {"state": "on its way", "day": "Thursday"},
    "1043": {"state": "in the workshop", "day": "Monday"},
}
INSTRUCTIONS = "You answer the phone of a bicycle shop. Be brief. Say goodbye before you hang up."
FIND_ORDER: RealtimeFunctionToolParam = {
    "type": "function",
    "name": "find_order",
    "description": "The state of an order, and the day on which it is expected.",
    "parameters": {
        "type": "object",
        "properties": {"number": {"type": "string", "description": "Digits."}},
        "required": ["number"],
    },
}
TRANSFER: RealtimeFunctionToolParam = {
    "type": "function",
    "name": "transfer",
    "description": "Connect the caller with somebody else. Tell them first that you do.",
    "parameters": {
        "type": "object",
        "properties": {"target": {"type": "string", "description": "A tel: or sip: URI."}},
        "required": ["target"],
    },
}
HANG_UP: RealtimeFunctionToolParam = {
    "type": "function",
    "name": "hang_up",
    "description": "End the call, after goodbye was said.",
    "parameters": {"type": "object", "properties": {}},
}


class Call:
    """One call: its events are read here, and what the model calls is done here."""

    def __init__(self, call_id: str, connection: AsyncRealtimeConnection) -> None:
        self.call_id = call_id
        self._connection = connection
        self._played: dict[str, asyncio.Event] = {}  # by response
        self._transferred: asyncio.Queue[str] = asyncio.Queue()
        self._functions: dict[str, Callable[..., Awaitable[str]]] = {
            "find_order": self._find_order,
            "transfer": self._transfer,
        }

    async def run(self) -> None:
        """Returns when the caller is gone."""
        work: list[asyncio.Task[None]] = []
        async with asyncio.TaskGroup() as group:
            async for event in self._connection:
                match event.type:
                    case "session.created":
                        await self._connection.response.create()  # the agent speaks first
                    case "output_audio_buffer.stopped" | "output_audio_buffer.cleared":
                        self._played_out(event.response_id).set()
                    case "response.done":
                        work.append(group.create_task(self._use(event.response)))
                    case "gateway.transfer.ended":
                        self._transferred.put_nowait(event.result)
                    case "error":
                        print(self.call_id, "error:", event.error.message)
            for task in work:
                task.cancel()

    async def _use(self, response: Any) -> None:
        """Do what the model calls in this response, one after the other."""
        items = response.output or []
        called = [item for item in items if item.type == "function_call"]
        if response.status != "completed" or not called:
            return
        if any(item.type == "message" for item in items):
            # What was said comes first: the model is faster than its voice.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._played_out(response.id).wait(), 60)
        for item in called:
            print(self.call_id, item.name, item.arguments)
            if item.name == "hang_up":
                await self._tell(item.call_id, "done")
                await client.realtime.calls.hangup(self.call_id)
                return
            output = await self._result(item.name, item.arguments)
            print(self.call_id, f"{item.name}: {output}")
            await self._tell(item.call_id, output)
        await self._connection.response.create()

    async def _result(self, name: str, arguments: str) -> str:
        """What the model is told. It may call what there is not, or with what does not fit."""
        if name not in self._functions:
            return f"failed: there is no function {name}"
        try:
            return await self._functions[name](**json.loads(arguments))
        except (OpenAIError, TypeError, ValueError) as error:
            return f"failed: {error}"

    async def _tell(self, function_call: str, output: str) -> None:
        await self._connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": function_call, "output": output}
        )

    async def _find_order(self, number: str) -> str:
        return json.dumps(ORDERS[number]) if number in ORDERS else "not found"

    async def _transfer(self, target: str) -> str:
        """Returns only when the caller is back."""
        await client.realtime.calls.refer(self.call_id, target_uri=target)
        return await self._transferred.get()

    def _played_out(self, response_id: str) -> asyncio.Event:
        return self._played.setdefault(response_id, asyncio.Event())


async def talk(call_id: str) -> None:
    """Accept a call and stay with it."""
    try:
        await client.realtime.calls.accept(
            call_id,
            type="realtime",
            instructions=INSTRUCTIONS,
            tools=[FIND_ORDER, TRANSFER, HANG_UP],
        )
        # `extensions` is the gateway's own: with it the outcome of a transfer is told.
        beside = client.realtime.connect(call_id=call_id, extra_query={"extensions": "events"})
        async with beside as connection:
            print(call_id, "answered")
            await Call(call_id, connection).run()
    except Exception as error:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        print(call_id, "hanging up:", error)
        with contextlib.suppress(OpenAIError):
            await client.realtime.calls.hangup(call_id)
    print(call_id, "over")


async def told(request: web.Request) -> web.Response:
    """The webhook: it is only heard when it is signed with our secret."""
    event = client.webhooks.unwrap(await request.text(), dict(request.headers))
    if event.type == "realtime.call.incoming":
        task = asyncio.create_task(talk(event.data.call_id))
        calls.add(task)
        task.add_done_callback(calls.discard)
    return web.Response()


if __name__ == "__main__":
    app = web.Application()
    app.router.add_post("/hook", told)
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "9000")))
