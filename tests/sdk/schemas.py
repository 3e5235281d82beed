"""What the official clients make of a server event: their own types and parsers, used strictly.

The clients differ. `openai` for Python builds objects from anything at run time, so it is held to
its published types here; `openai-agents` turns an event that does not fit into an error of the
session; `@openai/agents-realtime` hands it on untyped, so that nobody who waits for it hears of it.
An event of a type that a client does not know is a fault too: the gateway's own types, `gateway.*`,
are sent to nobody who did not ask for them, and are not held against the clients.
"""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import pytest
from agents.realtime import RealtimeModelListener
from agents.realtime.model_events import (
    RealtimeModelErrorEvent,
    RealtimeModelEvent,
    RealtimeModelExceptionEvent,
)
from agents.realtime.openai_realtime import (
    OpenAIRealtimeWebSocketModel,
    get_server_event_type_adapter,
)
from openai.types.realtime import RealtimeServerEvent
from pydantic import Field, TypeAdapter, ValidationError

Event = dict[str, Any]

NODE_FOLDER = Path(__file__).parent / "node"
NODE = str(Path(sys.executable).with_name("node"))


def has_node() -> bool:
    """Whether the npm packages are installed."""
    return (NODE_FOLDER / "node_modules" / "@openai" / "agents-realtime").is_dir()


def need_node() -> None:
    """Skip the test where the npm packages are not installed."""
    if not has_node():
        pytest.skip("the npm packages are not installed: run make test where npm can be reached")


def need_wrtc() -> None:
    """Skip the test where Node has no libwebrtc either: it is built for some systems only."""
    need_node()
    if not any((NODE_FOLDER / "node_modules" / "@roamhq").glob("wrtc-*")):
        pytest.skip("there is no @roamhq/wrtc for this system")


def faults(events: Iterable[Event]) -> list[str]:
    """What the two Python clients would hold against these events, one line a fault."""
    shown = [event for event in events if not is_extension(event)]
    found = [
        fault for event in shown for fault in (openai_fault(event), agents_fault(event)) if fault
    ]
    return found + agents_session_faults(shown)


def is_extension(event: Event) -> bool:
    return str(event.get("type")).startswith("gateway.")


def openai_fault(event: Event) -> str:
    """Why the event is none of `openai.types.realtime.RealtimeServerEvent`, or ""."""
    return _fault("openai", _openai_types(), event)


def agents_fault(event: Event) -> str:
    """Why the adapter of `openai-agents` refuses the event, or "".

    Before it asks its adapter the client writes "" for a `previous_item_id` that is null.
    """
    if event.get("previous_item_id", "") is None:
        event = {**event, "previous_item_id": ""}
    return _fault("openai-agents", get_server_event_type_adapter(), event)


def agents_session_faults(events: Sequence[Event]) -> list[str]:
    """What a session of `openai-agents` reports as errors when it is given the events in order.

    An `error` event is reported as what it is; only what the client cannot digest is a fault.
    """

    found: list[str] = []
    current: Event = {}

    class Listener(RealtimeModelListener):
        async def on_event(self, event: RealtimeModelEvent) -> None:
            if isinstance(event, RealtimeModelExceptionEvent) or (
                isinstance(event, RealtimeModelErrorEvent) and isinstance(event.error, Exception)
            ):
                found.append(f"openai-agents session: {_told(current, event)}")

    class Deaf(OpenAIRealtimeWebSocketModel):
        async def _send_raw_message(self, event: Any) -> None:
            """There is nobody to send anything to."""

    async def play() -> None:
        nonlocal current
        model = Deaf()
        model.add_listener(Listener())
        for current in events:
            try:
                await model._handle_ws_event(current)
            except Exception as error:
                found.append(f"openai-agents session: {_told(current, error)}")

    logger = logging.getLogger("openai.agents")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # it would tell what `found` holds
    try:
        asyncio.run(play())
    finally:
        logger.setLevel(level)
    return found


def javascript_faults(events: Iterable[Event]) -> list[str]:
    """What `@openai/agents-realtime` would hold against these events, given to it in order."""
    shown = [event for event in events if not is_extension(event)]
    done = subprocess.run(
        [NODE, "events.mjs"],
        cwd=NODE_FOLDER,
        input="".join(json.dumps(event) + "\n" for event in shown),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert last == f"{len(shown)} events", done.stdout
    return lines


@cache
def _openai_types() -> TypeAdapter[Any]:
    return TypeAdapter(Annotated[RealtimeServerEvent, Field(discriminator="type")])


def _fault(client: str, types: TypeAdapter[Any], event: Event) -> str:
    try:
        types.validate_python(event)
    except ValidationError as error:
        return f"{client}: {_told(event, error)}"
    return ""


def _told(event: Event, reason: object) -> str:
    if isinstance(reason, ValidationError):
        reason = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in reason.errors()
        )
    return f"{event.get('type')}: {reason}; the event: {json.dumps(event)[:400]}"
