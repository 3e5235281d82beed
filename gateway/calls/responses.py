"""The responses in progress, as those who follow them know them.

One belongs to the conversation. Any others stand outside of it (`conversation: "none"`) and run
beside it. When their session is lost no server will say how they ended, so it is said here.

Pure: events in, events out.
"""

from collections.abc import Callable
from typing import Any, Final

from gateway.realtime import events
from gateway.realtime.errors import RealtimeError
from gateway.realtime.events import Event, text_of
from gateway.realtime.resources import failed

_MAX_BESIDE: Final = 16


class Responses:
    """The responses of one session at a time."""

    def __init__(self) -> None:
        self.active = ""
        """The id of the one in the conversation; "" if there is none."""
        self.item_done = False
        """The item of it that was begun last is complete."""
        self._shown: dict[str, dict[str, Any]] = {}  # each with what it has put out

    def created(self, event: Event, *, out_of_band: bool) -> None:
        """A response has begun."""
        response = event.get("response")
        response_id = text_of(event, "response", "id")
        if isinstance(response, dict) and response_id:
            self._shown[response_id] = response | {"output": []}
        if not out_of_band:
            self.active, self.item_done = response_id, False
        elif len(self._shown) > _MAX_BESIDE:
            self._shown.pop(next(iter(self._shown)))

    def item(self, event: Event) -> None:
        """An item of a response has begun, or is complete."""
        response_id, done = text_of(event, "response_id"), event["type"].endswith(".done")
        shown = self._shown.get(response_id)
        if done and shown is not None:
            shown["output"].append(event.get("item"))
        if response_id == self.active:
            self.item_done = done

    def done(self, response_id: str) -> None:
        """A response has ended."""
        self._shown.pop(response_id, None)
        if response_id == self.active:
            self.active = ""

    def cancelled(self, response_id: str, new_event_id: Callable[[], str]) -> list[Event]:
        """A response does not run any more, and nobody was told: its end."""
        shown = self._shown.get(response_id)
        self.done(response_id)
        if shown is None:
            return []
        details = {"type": "cancelled", "reason": "client_cancelled"}
        ending = {"status": "cancelled", "status_details": details}
        return [events.response_done(shown | ending, new_event_id())]

    def fail(self, error: RealtimeError, new_event_id: Callable[[], str]) -> list[Event]:
        """The session is gone: the ends of its responses, the active one's last."""
        ending = {"status": "failed", "status_details": failed(error)}
        shown, self._shown = self._shown, {}
        active = shown.pop(self.active, None)
        ended = [*shown.values(), *([] if active is None else [active])]
        self.active = ""
        return [events.response_done(response | ending, new_event_id()) for response in ended]
