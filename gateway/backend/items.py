"""The conversation: items in order, as every client of the session sees them.

An item is kept as the JSON object of the protocol. Audio and images are not kept, because nobody
here looks at them again; of audio its length is. For an assistant's audio the words are kept with
the time at which each is spoken, so that a truncated item holds the words that were heard, and the
truncation of more than was spoken can be refused.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final, cast

from gateway.backend.tokens import Tokens, item_tokens
from gateway.realtime.errors import RealtimeError, invalid
from gateway.realtime.resources import (
    AssistantMessageItem,
    AssistantPart,
    FunctionCallItem,
    ItemResource,
    McpListToolsItem,
    UserMessageItem,
)

_MAX_ITEMS: Final = 5000
_MAX_CHARACTERS: Final = 4 << 20
"""Far more than a call of an hour holds; beyond them the oldest items are forgotten."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a transcript, with the space before it, and when its sound begins."""

    start_ms: int
    text: str


@dataclass(slots=True)
class Item:
    """One item. `body` is what the protocol shows of it."""

    body: dict[str, Any]
    audio_ms: int = 0
    """Duration of its audio, input or output."""
    words: list[Word] = field(default_factory=list)

    @property
    def id(self) -> str:
        item_id: str = self.body["id"]
        return item_id

    @property
    def transcript(self) -> str:
        return "".join(word.text for word in self.words).lstrip()

    @property
    def tokens(self) -> Tokens:
        return item_tokens(self.body, self.audio_ms)

    def shown(self) -> ItemResource:
        """A copy of the item as it is now, fit for an event."""
        return cast("ItemResource", deepcopy(self.body))

    def speak(self, audio_ms: int, words: Sequence[Word]) -> None:
        """More of the assistant's speech."""
        self.audio_ms += audio_ms
        self.words += words
        self._say({"type": "output_audio", "transcript": self.transcript})

    def write(self, text: str) -> None:
        """All of the assistant's text up to now."""
        self._say({"type": "output_text", "text": text})

    def _say(self, part: AssistantPart) -> None:
        self.body["content"] = [part]


class Conversation:
    """The items of a session's one conversation."""

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self.upcoming = ""
        """The id of the item that the caller's turn will become, while he speaks."""
        self._items: dict[str, Item] = {}
        self._characters: dict[str, int] = {}  # of each item as it was put in

    def has(self, item_id: str) -> bool:
        """Whether the id is taken."""
        return item_id in self._items or item_id == self.upcoming

    def new_id(self, token: Callable[[], str]) -> str:
        """An id that no item has: those of a client may come from a server that made the same."""
        while self.has(item_id := f"item_{token()}"):
            pass
        return item_id

    def new_call_id(self, token: Callable[[], str]) -> str:
        """An id that no function call has."""
        while self.called(call_id := f"call_{token()}") is not None:
            pass
        return call_id

    def insert(self, item: Item, after: str | None = None) -> str | None:
        """Put an item at the end, or after another one (`root`: in front of all).

        Returns:
            The id of the item before it, or None.

        Raises:
            RealtimeError: the id is taken, or there is no item `after`.
        """
        if item.id in self._items:
            raise invalid("item.id", item.id, "an id that no item of this conversation has")
        ids = list(self._items)
        if after is None:
            previous = ids[-1] if ids else None
        elif after == "root":
            previous = None
        elif after in self._items:
            previous = after
        else:
            raise invalid("previous_item_id", after, "the id of an item in this conversation")
        at = 0 if previous is None else ids.index(previous) + 1
        behind = [(key, self._items.pop(key)) for key in ids[at:]]
        self._items[item.id] = item
        self._items.update(behind)
        self._characters[item.id] = sum(len(text) for _, text in texts_of(item.body))
        while len(self._items) > _MAX_ITEMS or sum(self._characters.values()) > _MAX_CHARACTERS:
            self._remove(next(iter(self._items)))
        return previous

    @property
    def last(self) -> str | None:
        """The id of the last item."""
        return next(reversed(self._items), None)

    def before(self, item_id: str) -> str | None:
        """The id of the item in front of this one; None at the front, or when it was deleted."""
        previous = None
        for other in self._items:
            if other == item_id:
                return previous
            previous = other
        return None

    def find(self, item_id: str) -> Item | None:
        return self._items.get(item_id)

    def called(self, call_id: str) -> str | None:
        """The name of the function that was called under this id."""
        return called(self._items.values(), call_id)

    def retrieve(self, item_id: str) -> Item:
        return self._named(item_id, "retrieve")

    def delete(self, item_id: str) -> None:
        self._remove(self._named(item_id, "delete").id)

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Cut an assistant's audio, and the words that begin after the cut.

        Raises:
            RealtimeError: no such audio, or it is shorter than that already.
        """
        item = self._named(item_id, "truncate")
        content = item.body.get("content") or [{"type": ""}]
        if content_index != 0:
            raise invalid("content_index", content_index, "0")
        if content[0]["type"] != "output_audio":
            message = "Only model output audio messages can be truncated."
            raise RealtimeError(message, code="invalid_value", param="item_id")
        if audio_end_ms > item.audio_ms:
            raise RealtimeError(
                f"Audio content of {item.audio_ms}ms is already shorter than {audio_end_ms}ms",
                code="invalid_value",
            )
        item.audio_ms = audio_end_ms
        item.words = [word for word in item.words if word.start_ms < audio_end_ms]
        item.speak(0, ())

    @property
    def tokens(self) -> Tokens:
        """Of all items."""
        return tokens_of(self._items.values())

    def _remove(self, item_id: str) -> None:
        del self._items[item_id], self._characters[item_id]

    def _named(self, item_id: str, verb: str) -> Item:
        item = self._items.get(item_id)
        if item is None:
            raise RealtimeError(
                f"Cannot {verb} item '{item_id[:64]}': there is no such item.",
                code=f"item_{verb}_invalid_item_id",
                param="item_id",
            )
        return item


def texts_of(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The texts of an item, each with its place in it, like `content[0].text`."""
    for name in ("name", "arguments", "output"):
        if body.get(name):
            yield name, body[name]
    for number, part in enumerate(body.get("content", ())):
        for name in ("text", "transcript"):
            if part.get(name):
                yield f"content[{number}].{name}", part[name]


def called(items: Iterable[Item], call_id: str) -> str | None:
    """The name of the function that one of these items calls under this id."""
    for item in items:
        if item.body["type"] == "function_call" and item.body["call_id"] == call_id:
            name: str = item.body["name"]
            return name
    return None


def tokens_of(items: Iterable[Item]) -> Tokens:
    """Tokens of all these items."""
    total = Tokens()
    for item in items:
        total = total.plus(item.tokens)
    return total


def spoken_item(item_id: str, audio_ms: int) -> Item:
    """The caller's audio, once it is committed."""
    body: UserMessageItem = {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        # The transcript is there and null: clients read the key without asking whether it exists.
        "content": [{"type": "input_audio", "transcript": None}],
    }
    return Item(dict(body), audio_ms)


def assistant_item(item_id: str) -> Item:
    """A message that the agent begins to speak or to write."""
    body: AssistantMessageItem = {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": "in_progress",
        "role": "assistant",
        "content": [],
    }
    return Item(dict(body))


def call_item(item_id: str, call_id: str, name: str) -> Item:
    """A function call whose arguments are about to be written."""
    body: FunctionCallItem = {
        "id": item_id,
        "object": "realtime.item",
        "type": "function_call",
        "status": "in_progress",
        "call_id": call_id,
        "name": name,
        "arguments": "",
    }
    return Item(dict(body))


def listing_item(item_id: str, server_label: str) -> Item:
    """The tools of an MCP server, before any is known. The official type has no status."""
    body: McpListToolsItem = {
        "id": item_id,
        "type": "mcp_list_tools",
        "server_label": server_label,
        "tools": [],
    }
    return Item({"object": "realtime.item", **body})
