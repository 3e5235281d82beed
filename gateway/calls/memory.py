"""What the Realtime sessions of a call were told, and what was said in them.

A call outlives its sessions. The next one has to be configured as the one before was, and to know
the conversation so far: not what the model generated, but what the caller heard. This is the copy
of both that the gateway keeps, read from the events that pass in either direction.

* The configuration is the one that the first session was opened with, and every update that a
  server confirmed. Servers confirm in the order in which they were asked, or refuse by event id.
* The conversation is a list of items (`ItemList`), in the order in which the server has them.
  Servers differ in which events they send for an item, and in their order; each event that names
  one adds what it knows.
* What was asked for and no server has answered yet is kept too: the session may be gone before it
  could.

The next session is told each item as text, under the same id. When the caller interrupts one that
was told so, it cannot be truncated there, as it has no audio: it is written anew.

Pure: events in, events out. Nothing that a server or a client sends makes it raise.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, ClassVar, Final

from gateway.audio.playout import Heard
from gateway.calls.memory_items import Item, Message, Turn, says_the_same
from gateway.calls.memory_list import MAX_BYTES, ItemList, remember
from gateway.realtime.audio import part_of
from gateway.realtime.events import Event, encode_event, is_out_of_band, text_of
from gateway.realtime.session import Session

_MAX_SENT: Final = 64
"""Events of clients that wait for an answer."""
_MAX_ASIDE: Final = 64
"""Responses that are known to stand outside the conversation."""

_ANSWERED_LATER: Final = (
    "session.update",
    "input_audio_buffer.commit",
    "conversation.item.retrieve",
    "conversation.item.delete",
)
"""Client events that another session has to be sent, if theirs is gone before it has answered."""

_MERGED: Final[dict[str, Any]] = {"audio": {"input": {"turn_detection": {}}, "output": {}}}
"""The objects of a session config into which an update goes field by field. All others, and lists,
are replaced."""

_TEXTS: Final = {
    "conversation.item.input_audio_transcription.delta": ("user", True, "delta"),
    "conversation.item.input_audio_transcription.completed": ("user", True, "transcript"),
    "response.output_audio_transcript.delta": ("assistant", True, "delta"),
    "response.output_audio_transcript.done": ("assistant", True, "transcript"),
    "response.output_text.delta": ("assistant", False, "delta"),
    "response.output_text.done": ("assistant", False, "text"),
}
"""Whose words an event brings, whether they are spoken, and the field that holds them: a `delta`
goes on from the one before, the others have the whole text."""


class Memory:
    """The configuration and the conversation of one call.

    Args:
        session: the config that the first session is opened with.
        new_event_id: makes ids for the events that are made here.
    """

    def __init__(self, session: Session, *, new_event_id: Callable[[], str]) -> None:
        self._first_session = deepcopy(session)
        self._session = deepcopy(session)
        self._new_event_id = new_event_id
        self._items = ItemList()
        self._sent: dict[str, Event] = {}  # without an answer, by event id, oldest first
        self._aside: dict[str, None] = {}  # ids of responses outside the conversation
        self._turn = Turn("", None)  # the caller's latest

    @property
    def session(self) -> Session:
        """The config for the next session, a copy."""
        return deepcopy(self._session)

    def forget_updates(self) -> None:
        """The next session takes the config that the first one took: it would not take more."""
        self._session = deepcopy(self._first_session)

    def to_backend(self, event: Event) -> Event:
        """A client event on its way to the server.

        Returns:
            The event to send: the same, with an `event_id` where its answer is waited for.
        """
        match event:
            case {"type": kind} if kind in _ANSWERED_LATER:
                pass
            case {"type": "conversation.item.create"}:
                told_again = text_of(event, "item", "id") in self._items
                if told_again or len(encode_event(event)) > MAX_BYTES:
                    return event
            case _:
                return event
        event_id = text_of(event, "event_id") or self._new_event_id()
        event = event | {"event_id": event_id}
        remember(self._sent, event_id, event, _MAX_SENT)
        return event

    def server_event(self, event: Event) -> None:
        """A server event, audio deltas excepted."""
        learn = self._LEARN.get(event["type"])
        if learn is not None:
            learn(self, event)

    def cut(self, heard: Heard) -> None:
        """Only so much of this part was heard; to be told at once, because what counts is how much
        of the text had come by then."""
        part = heard.part
        message = self._message(part.item_id, part.response_id, "assistant")
        if message is not None:
            message.cut(part.content_index, heard.heard_ms, heard.held_ms)
            self._items.count(message)

    def interrupt(self, response_id: str) -> None:
        """The caller cut in on this response; to be told after `cut`. Whatever of it was not cut
        then, and is not complete, had not brought any audio: nothing of that was heard."""
        for item in self._items:
            if item.response_id == response_id and isinstance(item, Message):
                item.interrupt()

    def replay(self) -> list[Event]:
        """The events that put the conversation into a session that has none.

        Left out are: what was not heard, function calls whose arguments are incomplete, outputs
        without their call, and items that only a server can make. From then on, what a server shows
        of these items is taken for the echo of what it was told.
        """
        told = self._items.told()
        for item in self._items:
            item.is_told |= item.id in told
        return [self._create(item) for item in told.values()]

    def rewrite(self, item_id: str) -> list[Event]:
        """The events that give an item its text as it was heard, where a session knows it as text.

        Only the first of them, which deletes it, if nothing of it was heard; none if the item is
        unknown. The item is remembered all the same, so the server's echo of the deletion is not to
        be shown here.
        """
        if item_id not in self._items:
            return []
        delete = {"type": "conversation.item.delete", "event_id": self._new_event_id()}
        events: list[Event] = [delete | {"item_id": item_id}]
        item = self._items.told().get(item_id)
        if item is not None:
            before = self._items.before(item_id)
            events.append(self._create(item) | {"previous_item_id": before})
        return events

    def unanswered(self) -> list[Event]:
        """The new items, and the events of `_ANSWERED_LATER`, that no server has confirmed or
        refused, in order: for a session that takes over, behind the replay."""
        return list(self._sent.values())

    # What was asked of the session.

    def _session_updated(self, event: Event) -> None:
        for event_id, sent in self._sent.items():
            if sent["type"] == "session.update":
                del self._sent[event_id]
                update = sent.get("session")
                if isinstance(update, dict):
                    update = {name: value for name, value in update.items() if name != "model"}
                    self._session = _merge(self._session, deepcopy(update), _MERGED)
                return

    def _was_done(self, kind: str, item_id: str = "") -> None:
        """The oldest event of this kind, about this item, is answered."""
        for event_id, sent in self._sent.items():
            if sent["type"] == kind and text_of(sent, "item_id") == item_id:
                del self._sent[event_id]
                return

    def _error(self, event: Event) -> None:
        self._sent.pop(text_of(event, "error", "event_id"), None)

    def _asked(self, shown: dict[str, Any]) -> Event:
        """The client event that this new item answers; an empty one if it answers none."""
        for event_id, sent in self._sent.items():
            item = sent.get("item")
            if sent["type"] != "conversation.item.create" or not isinstance(item, dict):
                continue
            if item["id"] == shown.get("id") if item.get("id") else says_the_same(item, shown):
                return self._sent.pop(event_id)
        return {}

    # The items of the conversation.

    def _item(self, event: Event) -> None:
        shown = event.get("item")
        if not isinstance(shown, dict):
            return
        done = event["type"] == "conversation.item.done"
        item_id = text_of(shown, "id")
        previous = text_of(event, "previous_item_id")
        if not done:
            self._items.restore(item_id)  # if it was deleted, it was made anew
        if not done or item_id not in self._items:
            # The front is shown as no previous item, which many servers show always.
            if text_of(self._asked(shown), "previous_item_id") == "root":
                previous = "root"
        self._show(shown, done=done, previous=previous)

    def _item_retrieved(self, event: Event) -> None:
        self._was_done("conversation.item.retrieve", text_of(event, "item", "id"))

    def _item_deleted(self, event: Event) -> None:
        self._was_done("conversation.item.delete", text_of(event, "item_id"))
        item = self._items.get(text_of(event, "item_id"))
        if item is not None:
            self._items.forget(item)

    def _item_truncated(self, event: Event) -> None:
        """The echo of what we asked for, or of what a client did by itself."""
        message = self._items.get(text_of(event, "item_id"))
        audio_end_ms = event.get("audio_end_ms")
        if isinstance(message, Message) and isinstance(audio_end_ms, int):
            message.cut_at(part_of(event).content_index, audio_end_ms)
            self._items.count(message)

    def _text(self, event: Event) -> None:
        role, is_spoken, field = _TEXTS[event["type"]]
        text = text_of(event, field)
        part = part_of(event)
        message = self._message(part.item_id, part.response_id, role) if text else None
        if message is not None:
            whole = field != "delta"
            message.hear(part.content_index, text, is_spoken=is_spoken, whole=whole)
            self._items.count(message)

    # The caller's turns.

    def _speech_started(self, event: Event) -> None:
        self._turn = Turn(text_of(event, "item_id"), event.get("audio_start_ms"))

    def _speech_stopped(self, event: Event) -> None:
        self._turn.end_ms = event.get("audio_end_ms")

    def _timeout_triggered(self, event: Event) -> None:
        self._speech_started(event)
        self._speech_stopped(event)
        self._turn.is_silent = True

    def _committed(self, event: Event) -> None:
        self._was_done("input_audio_buffer.commit")
        shown = {
            "id": event.get("item_id"),
            "type": "message",
            "role": "user",
            "content": [{"type": "input_audio"}],
        }
        self._show(shown, done=False, previous=text_of(event, "previous_item_id"))

    # Responses.

    def _response(self, event: Event) -> None:
        """A response that begins or ends; both say whether it belongs to the conversation."""
        response = event.get("response")
        response_id = text_of(event, "response", "id")
        if not isinstance(response, dict) or not response_id:
            return
        if is_out_of_band(event):
            remember(self._aside, response_id, None, _MAX_ASIDE)
            for item in self._items:
                if item.response_id == response_id and not item.is_listed:
                    self._items.forget(item)
        output = response.get("output")
        for shown in output if isinstance(output, list) else ():
            self._show(shown, done=event["type"] == "response.done", response_id=response_id)
        if text_of(response, "status_details", "reason") == "turn_detected":
            self.interrupt(response_id)

    def _output_item(self, event: Event) -> None:
        done = event["type"] == "response.output_item.done"
        self._show(event.get("item"), done=done, response_id=text_of(event, "response_id"))

    def _arguments_done(self, event: Event) -> None:
        call = event | {"id": event.get("item_id"), "type": "function_call"}
        self._show(call, done=True, response_id=text_of(event, "response_id"))

    # Parts of the above.

    def _show(
        self, shown: object, *, done: bool, response_id: str = "", previous: str | None = None
    ) -> None:
        """Learn what an event shows of an item, which may be the first to name it.

        Args:
            done: it will not change any more.
            previous: the id of the item before it, `root` for none, "" where that is not said;
                None if the event is about a response and not about the conversation.
        """
        if not isinstance(shown, dict):
            return
        item = self._find(text_of(shown, "id"), shown, response_id)
        if item is None:
            return
        if previous is not None and not item.is_listed:
            item.is_listed = True
            self._items.place(item, previous)
        if not item.is_told:
            item.take(shown, done=done)
        self._items.count(item)

    def _message(self, item_id: str, response_id: str, role: str) -> Message | None:
        item = self._find(item_id, {"type": "message", "role": role}, response_id)
        return item if isinstance(item, Message) and item.role == role else None

    def _find(self, item_id: str, shown: dict[str, Any], response_id: str) -> Item | None:
        """The item, also a new one, if it belongs to the conversation."""
        if response_id in self._aside and item_id not in self._items:
            return None
        item = self._items.add(item_id, shown)
        if item is not None:
            item.response_id = item.response_id or response_id
        if isinstance(item, Message) and item.role == "user":
            if item.turn is None and self._turn.item_id in ("", item_id):
                item.turn = self._turn
        return item

    def _create(self, item: dict[str, Any]) -> Event:
        event_id = self._new_event_id()
        return {"type": "conversation.item.create", "event_id": event_id, "item": item}

    _LEARN: ClassVar[dict[str, Callable[["Memory", Event], None]]] = {
        "session.updated": _session_updated,
        "error": _error,
        "conversation.item.added": _item,
        "conversation.item.created": _item,
        "conversation.item.done": _item,
        "conversation.item.deleted": _item_deleted,
        "conversation.item.retrieved": _item_retrieved,
        "conversation.item.truncated": _item_truncated,
        "input_audio_buffer.speech_started": _speech_started,
        "input_audio_buffer.speech_stopped": _speech_stopped,
        "input_audio_buffer.timeout_triggered": _timeout_triggered,
        "input_audio_buffer.committed": _committed,
        "response.created": _response,
        "response.done": _response,
        "response.output_item.added": _output_item,
        "response.output_item.done": _output_item,
        "response.function_call_arguments.done": _arguments_done,
        **dict.fromkeys(_TEXTS, _text),
    }


def _merge(before: Session, update: Session, shape: dict[str, Any]) -> Session:
    """An update laid over a config; `shape` names the objects that are merged, not replaced.

    Objects of another `type` have nothing in common: they are replaced as well.
    """
    merged = before | update
    for name, inner in shape.items():
        old, new = before.get(name), update.get(name)
        if not isinstance(old, dict) or not isinstance(new, dict):
            continue
        if new.get("type", old.get("type")) == old.get("type"):
            merged[name] = _merge(old, new, inner)
    return merged
