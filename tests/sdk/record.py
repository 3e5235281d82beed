"""What gateways have said on sidebands so far, in this run.

A test that reads a sideband of a running gateway hands on each message that it receives, as it
came; `test_zz_events` shows all of them to all clients.
"""

import json
from typing import Any

Event = dict[str, Any]

EVENTS: list[Event] = []


def record(message: str | bytes) -> Event:
    """Keep a server event; returns it, parsed."""
    event: Event = json.loads(message)
    EVENTS.append(event)
    return event
