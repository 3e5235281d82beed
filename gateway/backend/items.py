"""The conversation: items in order, as every client of the session sees them.

An item is kept as the JSON object of the protocol. For an assistant's audio the words are kept with
the time at which each is spoken, so that a truncated item holds the words that were heard, and the
truncation of more than was spoken can be refused.
"""

import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.realtime.errors import RealtimeError, invalid, missing

_MAX_ITEMS: Final = 5000
"""Far more than a call of an hour holds; beyond it the oldest are forgotten."""
_TEXT_TYPES: Final = {
    "system": "input_text",
    "user": "input_text",
    "assistant": "output_text",
}
_OTHER_ITEMS: Final = {
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
}
_AUDIO_TOKENS_PER_S: Final = {"input_audio": 10, "output_audio": 20}
_CHARACTERS_PER_TOKEN: Final = 4
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


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

    def shown(self) -> dict[str, Any]:
        """A copy of the item as it is now, fit for an event."""
        return deepcopy(self.body)

    def speak(self, audio_ms: int, words: Sequence[Word]) -> None:
        """More of the assistant's speech."""
        self.audio_ms += audio_ms
        self.words += words
        self.body["content"] = [{"type": "output_audio", "transcript": self.transcript}]

    def tokens(self) -> tuple[int, int]:
        """How many tokens of text and of audio a model would have counted, roughly."""
        text, audio = 0, 0
        for part in self.body.get("content", ()):
            letters = part.get("text") or part.get("transcript") or ""
            text += len(letters) // _CHARACTERS_PER_TOKEN
            audio += self.audio_ms * _AUDIO_TOKENS_PER_S.get(part["type"], 0) // 1000
        return text, audio


class Conversation:
    """The items of a session's one conversation."""

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self._items: dict[str, Item] = {}

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
        if len(self._items) > _MAX_ITEMS:
            del self._items[next(iter(self._items))]
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

    def retrieve(self, item_id: object) -> Item:
        return self._named(item_id, "item_retrieve_invalid_item_id", "retrieve")

    def delete(self, item_id: object) -> None:
        del self._items[self._named(item_id, "item_delete_invalid_item_id", "delete").id]

    def truncate(self, item_id: object, content_index: object, audio_end_ms: object) -> None:
        """Cut an assistant's audio, and the words that begin after the cut.

        Raises:
            RealtimeError: no such audio, or it is shorter than that already.
        """
        item = self._named(item_id, "item_truncate_invalid_item_id", "truncate")
        content = item.body.get("content") or [{"type": ""}]
        if content_index != 0 or isinstance(content_index, bool):
            raise invalid("content_index", content_index, "0")
        if not isinstance(audio_end_ms, int) or isinstance(audio_end_ms, bool) or audio_end_ms < 0:
            raise invalid("audio_end_ms", audio_end_ms, "a number of milliseconds, 0 or more")
        if content[0]["type"] != "output_audio":
            raise RealtimeError("Only model output audio messages can be truncated.")
        if audio_end_ms > item.audio_ms:
            raise RealtimeError(
                f"Audio content of {item.audio_ms}ms is already shorter than {audio_end_ms}ms",
            )
        item.audio_ms = audio_end_ms
        item.words = [word for word in item.words if word.start_ms < audio_end_ms]
        item.speak(0, ())

    def tokens(self) -> tuple[int, int]:
        """Text and audio tokens of all items."""
        counts = [item.tokens() for item in self._items.values()]
        return sum(text for text, _ in counts), sum(audio for _, audio in counts)

    def _named(self, item_id: object, code: str, verb: str) -> Item:
        if not isinstance(item_id, str):
            raise missing("item_id")
        item = self._items.get(item_id)
        if item is None:
            raise RealtimeError(
                f"Cannot {verb} item '{item_id[:64]}': there is no such item.",
                code=code,
                param="item_id",
            )
        return item


def spoken_item(item_id: str, audio_ms: int) -> Item:
    """The caller's speech, once it is committed."""
    # The transcript is there and null: clients read the key without asking whether it exists.
    return Item(
        {
            "id": item_id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        },
        audio_ms,
    )


def assistant_item(item_id: str) -> Item:
    """A message that the agent begins to speak."""
    return Item(
        {
            "id": item_id,
            "object": "realtime.item",
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }
    )


def client_item(value: object, fresh_id: str) -> Item:
    """The item of a `conversation.item.create`.

    Raises:
        RealtimeError: it is not an item, or of a kind that only a server makes.
    """
    if not isinstance(value, dict):
        raise missing("item") if value is None else invalid("item", value, "an object")
    item_id = value.get("id")
    if item_id is None:
        item_id = fresh_id
    elif not isinstance(item_id, str) or not _ID.fullmatch(item_id):
        raise invalid("item.id", item_id, "1 to 64 letters, digits and _ . : -")
    kind = value.get("type")
    if kind is None:
        raise missing("item.type")
    body: dict[str, Any] = {"id": item_id, "object": "realtime.item", "type": kind}
    body["status"] = "completed"
    if kind == "message":
        body |= _message(value)
    elif isinstance(kind, str) and kind in _OTHER_ITEMS:
        body |= _strings(value, _OTHER_ITEMS[kind], "item")
    else:
        kinds = "', '".join(["message", *_OTHER_ITEMS])
        raise invalid("item.type", kind, f"one of '{kinds}'")
    return Item(body)


def _message(value: dict[str, Any]) -> dict[str, Any]:
    role, content = value.get("role"), value.get("content")
    if not isinstance(role, str) or role not in _TEXT_TYPES:
        raise invalid("item.role", role, "one of 'system', 'user', 'assistant'")
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise invalid("item.content", content, "a list of objects")
    text_type = _TEXT_TYPES[role]
    shown = []
    for index, part in enumerate(content):
        path = f"item.content[{index}]"
        if part.get("type") != text_type:
            raise invalid(f"{path}.type", part.get("type"), f"'{text_type}' for role {role}")
        shown.append({"type": text_type} | _strings(part, ("text",), path))
    return {"role": role, "content": shown}


def _strings(value: dict[str, Any], names: Sequence[str], path: str) -> dict[str, str]:
    """The named fields, all of them strings."""
    for name in names:
        if not isinstance(value.get(name), str):
            raise (
                invalid(f"{path}.{name}", value[name], "a string")
                if name in value
                else missing(f"{path}.{name}")
            )
    return {name: value[name] for name in names}
