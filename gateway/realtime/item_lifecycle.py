"""One `conversation.item.added` and one `.done` for every item, whatever a server says of it.

Servers announce an item as `.created`, as `.added`, as both, or not at all before the response is
done with it, and many never say `.done`. Whoever builds a history needs each exactly once.
"""

from typing import Any, Final

from gateway.realtime.events import Event, is_out_of_band, text_of

_BY_MODEL: Final = ("assistant", "function_call")


class ItemLifecycle:
    """Which items of one conversation are known, and of which the `.done` is still to come."""

    def __init__(self) -> None:
        self._open: dict[str, bool] = {}  # known item -> whether it is not done
        self._previous: dict[str, Any] = {}  # open item -> the one before it, where that was told
        self._out_of_band: set[str] = set()  # responses whose items are in no conversation

    def events(self, event: Event) -> list[Event]:
        """The event with what is missing before or after it, or nothing when it was said before.

        An event that is made here has no `event_id`.
        """
        match event["type"]:
            case "conversation.item.created" | "conversation.item.added":
                return self._added(event)
            case "conversation.item.done":
                return self._done(event)
            case "response.output_item.done":
                return [*self._finished(event), event]
            case "conversation.item.deleted":
                self._open.pop(text_of(event, "item_id"), None)
                self._previous.pop(text_of(event, "item_id"), None)
            case "response.created":
                if is_out_of_band(event):
                    self._out_of_band.add(text_of(event, "response", "id"))
            case "response.done":
                self._out_of_band.discard(text_of(event, "response", "id"))
        return [event]

    def _added(self, event: Event) -> list[Event]:
        item_id = text_of(event, "item", "id")
        if item_id in self._open:
            return []
        complete = _is_complete(event.get("item"))
        if item_id:
            self._open[item_id] = not complete
            if not complete and "previous_item_id" in event:
                self._previous[item_id] = event["previous_item_id"]
        added = event | {"type": "conversation.item.added"}
        return [added, _item_event("done", event)] if complete else [added]

    def _done(self, event: Event) -> list[Event]:
        """A `.done` of the server's own."""
        made = self._ending(event)
        return [*made[:-1], event] if made else []

    def _finished(self, event: Event) -> list[Event]:
        """What is still to be said of an item that its response is done with."""
        if text_of(event, "response_id") in self._out_of_band:
            return []
        return self._ending(event)

    def _ending(self, event: Event) -> list[Event]:
        """The `.done` of an item, and first its `.added` if it was never announced."""
        item_id = text_of(event, "item", "id")
        known, is_open = item_id in self._open, self._open.get(item_id, True)
        if item_id:
            self._open[item_id] = False
        if item_id in self._previous:
            event = event | {"previous_item_id": self._previous.pop(item_id)}
        changes = [] if not is_open else ["done"] if known else ["added", "done"]
        return [_item_event(change, event) for change in changes]


def _is_complete(item: Any) -> bool:
    """Whether nothing more is to come of a created item. One that a response is making says so by
    its status, or has none yet."""
    if not isinstance(item, dict):
        return True
    status = item.get("status")
    by_model = item.get("role") in _BY_MODEL or item.get("type") in _BY_MODEL
    return status == "completed" or (status is None and not by_model)


def _item_event(change: str, event: Event) -> Event:
    """`conversation.item.added` or `.done` for the item of another event, without an `event_id`."""
    kept = {name: event[name] for name in ("previous_item_id", "item") if name in event}
    return {"type": f"conversation.item.{change}"} | kept
