"""What gateways have said on sidebands so far, in this run.

Whoever reads a sideband of a running gateway hands on each message that it receives, as it came. At
the end of the run `tests/conftest.py` shows all of them to all clients.
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
