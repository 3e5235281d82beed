"""Ids of events that no server and no client sent."""

import secrets

_BYTES = 10


def new_event_id() -> str:
    """For an event of the gateway's own: `event_` and 20 hexadecimal digits."""
    return f"event_{secrets.token_hex(_BYTES)}"
