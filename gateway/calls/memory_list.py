"""The items that a call remembers, in the order of the conversation and within bounds."""

from collections.abc import Iterator
from typing import Any, Final

from gateway.calls.memory_items import FunctionCall, FunctionCallOutput, Item, item_of

MAX_ITEMS: Final = 200
MAX_BYTES: Final = 64 * 1024
_MAX_FORGOTTEN: Final = 400
_FRONT: Final = "root"
"""What the protocol calls the place before all items; no item can have that for its id."""


class ItemList:
    """At most 200 items with 64 KiB of text.

    Beyond that the oldest are forgotten first, a function call and its output together. An item
    that exceeds the bound by itself is forgotten instead of all the others.
    """

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._bytes = 0
        self._forgotten: dict[str, None] = {}

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._items

    def __iter__(self) -> Iterator[Item]:
        return iter(list(self._items.values()))

    def get(self, item_id: str) -> Item | None:
        return self._items.get(item_id)

    def add(self, item_id: str, shown: dict[str, Any]) -> Item | None:
        """The item of this id; a new one at the end, of the kind that is shown, if there is none.

        It is to be counted when what is known of it was put into it. None for an item that was
        forgotten: what comes late does not bring it back.
        """
        item = self._items.get(item_id)
        if item is None and (item_id in ("", _FRONT) or item_id in self._forgotten):
            return None
        if item is None or type(item) is Item:  # now its kind may be known
            known, item = item, item_of(item_id, shown)
            if known is not None:
                item.is_listed, item.response_id = known.is_listed, known.response_id
                item.counted = known.counted
            self._items[item_id] = item
        return item

    def place(self, item: Item, previous: str) -> None:
        """Put an item behind the one with the id `previous`, or in front of all for `root`; it
        stays where it is if there is no such item."""
        if previous == item.id or not (previous == _FRONT or previous in self._items):
            return
        del self._items[item.id]
        order = list(self._items.items())
        at = 0 if previous == _FRONT else list(self._items).index(previous) + 1
        order.insert(at, (item.id, item))
        self._items = dict(order)

    def count(self, item: Item) -> None:
        """The item has changed: keep within the bounds."""
        self._bytes += item.size - item.counted
        item.counted = item.size
        if item.counted > MAX_BYTES:
            self.forget(item)
        while len(self._items) > MAX_ITEMS or self._bytes > MAX_BYTES:
            oldest = next(iter(self._items.values()))
            call_id = _call_id(oldest)
            for other in self:
                if other is oldest or (call_id and _call_id(other) == call_id):
                    self.forget(other)

    def forget(self, item: Item) -> None:
        """Remember the item no more, nor learn of it again."""
        del self._items[item.id]
        self._bytes -= item.counted
        remember(self._forgotten, item.id, None, _MAX_FORGOTTEN)

    def restore(self, item_id: str) -> None:
        """An item of this id may be learned of again."""
        self._forgotten.pop(item_id, None)

    def told(self) -> dict[str, dict[str, Any]]:
        """The items to tell, by id and in order; no output without its call before it."""
        told: dict[str, dict[str, Any]] = {}
        calls: set[str] = set()
        for item in self._items.values():
            body = item.told()
            if isinstance(item, FunctionCallOutput) and item.call_id not in calls:
                continue
            if body is not None:
                told[item.id] = body
                calls.add(_call_id(item))
        return told

    def before(self, item_id: str) -> str:
        """The id of the item told before this one; `root` if there is none."""
        told = self.told()
        previous = _FRONT
        for other in self._items:
            if other == item_id:
                break
            if other in told:
                previous = other
        return previous


def remember(store: dict[str, Any], key: str, value: Any, most: int) -> None:
    """Put something at the end, and let the oldest go where there is too much."""
    store.pop(key, None)
    store[key] = value
    if len(store) > most:
        del store[next(iter(store))]


def _call_id(item: Item) -> str:
    return item.call_id if isinstance(item, FunctionCall | FunctionCallOutput) else ""
