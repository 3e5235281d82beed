"""What the official clients hold against events; and that the embedded agent gives no cause."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.backend.virtual import VirtualClient
from tests.peers.fake_realtime import FakeRealtime
from tests.sdk.model import model
from tests.sdk.schemas import (
    agents_fault,
    agents_session_faults,
    faults,
    javascript_faults,
    need_node,
    openai_fault,
)

pytestmark = [pytest.mark.loop, pytest.mark.slow]

Event = dict[str, Any]

PLACE = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}


def message(*content: Event, role: str = "user") -> Event:
    item = {"id": "item_1", "object": "realtime.item", "type": "message", "role": role}
    return {
        "type": "conversation.item.added",
        "event_id": "event_1",
        "previous_item_id": None,
        "item": {**item, "status": "completed", "content": list(content)},
    }


def part(**fields: Any) -> Event:
    kind = "response.content_part.added"
    return {"type": kind, "event_id": "event_1", **PLACE, "part": fields}


GOOD: list[Event] = [
    message({"type": "input_text", "text": "hello"}),
    message({"type": "input_audio", "transcript": None}),
    message({"type": "output_audio", "transcript": "hello"}, role="assistant"),
    part(type="audio", transcript=""),
    {"type": "input_audio_buffer.dtmf_event_received", "event": "5", "received_at": 1_700_000_000},
    {"type": "output_audio_buffer.cleared", "event_id": "event_1", "response_id": "resp_1"},
    {"type": "gateway.transfer.updated", "event_id": "event_1"},
]
BAD_FOR_PYTHON: dict[str, Event] = {
    "an unknown type": {"type": "response.cancelled", "event_id": "event_1"},
    "no event_id": {"type": "input_audio_buffer.cleared"},
    "no response_id": {"type": "output_audio_buffer.started", "event_id": "event_1"},
    "a part of a type of items": part(type="output_audio", transcript=""),
    "a session without a type": {"type": "session.created", "event_id": "event_1", "session": {}},
    "a fraction of a second": {
        "type": "input_audio_buffer.dtmf_event_received",
        "event": "5",
        "received_at": 1_700_000_000.5,
    },
}
BAD_FOR_JAVASCRIPT: dict[str, tuple[Event, str]] = {
    "an unknown type": ({"type": "response.cancelled", "event_id": "event_1"}, "untyped"),
    "no event_id": ({"type": "input_audio_buffer.cleared"}, "untyped"),
    "a part without words": (part(type="audio", transcript=None), "untyped"),
    "audio without words": (message({"type": "input_audio"}), "throws"),
    "text without text": (
        message({"type": "output_text", "text": None}, role="assistant"),
        "throws",
    ),
}


def test_good_events_pass() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize("name", BAD_FOR_PYTHON)
def test_each_python_client_refuses(name: str) -> None:
    event = BAD_FOR_PYTHON[name]
    assert openai_fault(event)
    assert agents_fault(event)
    assert agents_session_faults([event])


def test_javascript_client_refuses() -> None:
    need_node()
    assert javascript_faults(GOOD) == []
    found = javascript_faults([event for event, _ in BAD_FOR_JAVASCRIPT.values()])
    for fault, (event, reason) in zip(found, BAD_FOR_JAVASCRIPT.values(), strict=True):
        assert event["type"] in fault and reason in fault


def test_an_error_is_no_fault() -> None:
    fields = {"type": "invalid_request_error", "code": "x", "message": "x", "param": None}
    error = {"type": "error", "event_id": "event_1", "error": {**fields, "event_id": "mine"}}
    assert faults([error]) == []
    assert agents_session_faults([{**error, "error": {}}])


def conversation() -> list[Event]:
    """All kinds of events that the embedded agent has, and some of its refusals."""
    client = VirtualClient(session={"tools": [{"type": "function", "name": "f", "parameters": {}}]})
    client.send("response.create")
    client.until_done()
    client.speak_turn()
    client.until_done()
    client.text("hello")
    client.send("response.create")
    client.advance(0.3)
    client.hear(0.9, 992)
    client.hear(0.0, 992)
    client.advance(20)
    call = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "call_1", "output": "{}"}
    for item in (call, output):
        client.send("conversation.item.create", item=item)
    for event in client.of("conversation.item.added"):
        client.send("conversation.item.retrieve", item_id=event["item"]["id"])
    client.truncate(client.done()["output"][0]["id"], 0)
    client.send("conversation.item.delete", item_id=event["item"]["id"])
    client.send("input_audio_buffer.clear")
    client.send("input_audio_buffer.commit")
    client.send("response.cancel")
    client.send("nonsense")
    return client.log


def test_the_embedded_agent_is_understood_by_all() -> None:
    events = conversation()
    assert faults(events) == []
    need_node()
    assert javascript_faults(events) == []


async def test_the_model_of_these_tests_is_understood_by_all() -> None:
    """What a model behind the gateway sends goes on to the clients; this one must be in order."""
    events: list[Event] = []
    async with FakeRealtime() as server, aiohttp.ClientSession() as client:
        async with client.ws_connect(server.url + "?model=x") as socket:
            script = asyncio.create_task(model(await server.connection(), 0))

            async def until(kind: str) -> None:
                while not events or events[-1]["type"] != kind:
                    events.append(await socket.receive_json())

            async def say(kind: str, **fields: Any) -> None:
                await socket.send_str(json.dumps({"type": kind, **fields}))

            tool = {"type": "function", "name": "get_weather", "parameters": {}}
            await say("session.update", session={"type": "realtime", "tools": [tool]})
            text = {"type": "input_text", "text": "the weather?"}
            item = {"type": "message", "role": "user", "content": [text]}
            await say("conversation.item.create", item=item)
            await say("response.create")
            await until("response.done")
            output = {"type": "function_call_output", "output": "sunny"}
            call_id = events[-2]["item"]["call_id"]
            await say("conversation.item.create", item={**output, "call_id": call_id})
            await say("response.create")
            await until("rate_limits.updated")
            spoken = events[-2]["response"]["output"][0]["id"]
            await say("conversation.item.retrieve", item_id=spoken)
            await until("conversation.item.retrieved")
            await say(
                "conversation.item.truncate", item_id=spoken, content_index=0, audio_end_ms=100
            )
            await until("conversation.item.truncated")
            await say("conversation.item.delete", item_id=spoken)
            await until("conversation.item.deleted")
            await say("response.cancel")
            await until("error")
        await script
    # In a thread, because one of the clients brings a loop of its own.
    assert await asyncio.to_thread(faults, events) == []
    need_node()
    assert await asyncio.to_thread(javascript_faults, events) == []
