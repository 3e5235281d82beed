"""What a session that took over was told of the conversation, and what comes back of it.

Items are told under the ids that everybody knows, as text. The echo of them is news to nobody and
is hidden. An item that lives as text cannot be truncated: it is replaced by what was heard of it.
What the session refuses is said in the log; a turn that was told by its sound is told once more, in
words.

Pure: events in, effects out.
"""

from collections import Counter

from gateway.calls.effects import Effect, Note, Retell, ToBackend
from gateway.realtime.events import Event, text_of


class Retelling:
    """Of one call; each session that takes over begins anew."""

    def __init__(self) -> None:
        self._items: set[str] = set()
        self._echoes: Counter[tuple[str, str]] = Counter()  # type of event and id of item
        self._told: dict[str, Event] = {}  # by event id, with the item before it
        self._before: dict[str, str] = {}

    @property
    def items(self) -> int:
        """How many items the session was told."""
        return len(self._items)

    def knows(self, item_id: str) -> bool:
        """Whether the session knows this item as text."""
        return item_id in self._items

    def begin(self, replay: list[Event]) -> list[Effect]:
        """Tell a session all of this."""
        self._items.clear()
        self._echoes.clear()
        self._told.clear()
        self._before.clear()
        effects: list[Effect] = []
        previous = "root"
        for event in replay:
            item_id = text_of(event, "item", "id")
            self._items.add(item_id)
            self._expect(event)
            self._before[item_id], previous = previous, item_id
            by_caller = text_of(event, "item", "role") == "user"
            effects.append(Retell(event) if by_caller else ToBackend(event))
        return effects

    def update(self, event: Event) -> list[Effect]:
        """Have the session configured by this `session.update`, too."""
        self._told[event["event_id"]] = event
        return [ToBackend(event)]

    def rewrite(self, events: list[Event]) -> list[Effect]:
        """Replace an item by these events."""
        for event in events:
            self._expect(event)
        return [ToBackend(event) for event in events]

    def hear(self, event: Event) -> list[Effect] | None:
        """A server event: None if it is news, else what is to be done about it."""
        kind = event["type"]
        if kind == "error":
            return self._refused(event)
        if not kind.startswith("conversation.item."):
            return None
        place = (kind, text_of(event, "item_id") or text_of(event, "item", "id"))
        if self._echoes.get(place, 0) <= 0:
            return None
        self._echoes[place] -= 1
        return []

    def _expect(self, event: Event) -> None:
        self._told[event["event_id"]] = event
        if event["type"] == "conversation.item.delete":
            self._echoes["conversation.item.deleted", text_of(event, "item_id")] += 1
            return
        for change in ("added", "done"):
            self._echoes[f"conversation.item.{change}", text_of(event, "item", "id")] += 1

    def _refused(self, error: Event) -> list[Effect] | None:
        event_id = text_of(error, "error", "event_id")
        told = self._told.pop(event_id, None)
        if told is None:
            return None
        item_id = text_of(told, "item", "id") or text_of(told, "item_id")
        fields = {"item_id": item_id, "code": text_of(error, "error", "code") or None}
        note = Note("session.retelling_refused", fields, "warning")
        previous = self._before.pop(item_id, "")
        if text_of(told, "item", "role") == "user" and previous:
            again = told | {"event_id": f"{event_id}_again", "previous_item_id": previous}
            self._told[again["event_id"]] = again
            return [note, ToBackend(again)]
        for change in ("added", "done", "deleted"):
            self._echoes.pop((f"conversation.item.{change}", item_id), None)
        return [note]
