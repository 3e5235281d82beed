"""The items that a call remembers, each as it can be told to another session.

A session takes messages as text only, so speech is kept as its transcript. Of the assistant's
speech the caller may have heard only a part; what was not heard was, for the caller, never said.
"""

from typing import Any, Final
from unicodedata import category

from gateway.realtime.events import text_of

ROLES: Final = ("system", "user", "assistant")
_MAX_PARTS: Final = 32
"""Of one message; servers make one or two."""
_SPOKEN: Final = ("output_audio", "input_audio", "audio")
_TYPED: Final = ("output_text", "input_text", "text")
_NO_IMAGE: Final = "[An image was shown here.]"
_LONGEST_TURN_S: Final = 3600
_CHARACTERS_PER_S: Final = 15
"""How fast a voice speaks, roughly."""
_UNSPACED: Final = "\u0e00"
"""The scripts from here on (Thai, Chinese, Japanese ...) put no space between words."""


class Turn:
    """When the caller spoke, in milliseconds of the session's audio."""

    __slots__ = ("end_ms", "is_silent", "item_id", "start_ms")

    def __init__(self, item_id: str, start_ms: object, end_ms: object = None) -> None:
        self.item_id = item_id
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.is_silent = False
        """The caller was waited for and did not speak."""

    def told(self) -> str:
        """What stands in for the words of this turn."""
        spoke = "said nothing" if self.is_silent else "spoke"
        lasted = ""
        if isinstance(self.start_ms, int) and isinstance(self.end_ms, int):
            seconds = min(max(1, (self.end_ms - self.start_ms + 500) // 1000), _LONGEST_TURN_S)
            lasted = f" for {seconds} second{'s' if seconds > 1 else ''}"
        return (
            f"[The caller {spoke}{lasted}{'' if self.is_silent else '; there is no transcript'}.]"
        )


class Part:
    """A piece of content of a message; `is_spoken` if its text is a transcript."""

    __slots__ = ("_heard", "_is_final", "is_cut", "is_spoken", "text")

    def __init__(self, is_spoken: bool) -> None:
        self.is_spoken = is_spoken
        self.text = ""
        self.is_cut = False
        self._is_final = False  # what comes later does not change the text
        self._heard = (1, 1)  # so much of so much, where it was cut before its text came

    def add(self, delta: str) -> None:
        """The text goes on."""
        if not self._is_final:
            self.text += delta

    def take(self, text: str, *, whole: bool) -> None:
        """The text as a server shows it; `whole` if it will not change any more."""
        if text and not self._is_final:
            self._is_final = whole
            if whole or not self.text:
                self.text = text

    def cut(self, heard_ms: int, held_ms: int) -> None:
        """Only this much was heard of all the audio that there was at that moment.

        No server says which word sounds when, and transcripts come ahead of their audio. But the
        text and the audio that are here at the moment of the cut were generated in the same time;
        so the share of the audio that was heard is the best guess for the text.
        """
        if self.is_cut:
            return
        self.is_cut = True
        if self.text.strip():
            self.text = heard_text(self.text, heard_ms, held_ms)
            self._is_final = True
        else:
            self._heard = (heard_ms, held_ms)

    def cut_at(self, audio_end_ms: int) -> None:
        """The same where nobody says how much audio there was: at the pace of a common voice."""
        held_ms = len(self.text) * 1000 // _CHARACTERS_PER_S
        self.cut(audio_end_ms, max(held_ms, audio_end_ms, 1))

    def said(self) -> str:
        """The text of what was heard; "" also where it is nothing but spaces."""
        text = heard_text(self.text, *self._heard)
        return text if text.strip() else ""


class Item:
    """An item that keeps its place and is told to nobody, like those of MCP; what it is depends on
    a server that the next session does not know."""

    __slots__ = ("counted", "id", "is_listed", "is_told", "response_id")

    def __init__(self, item_id: str) -> None:
        self.id = item_id
        self.response_id = ""
        self.is_listed = False
        """The server showed it as an item of the conversation, and so where it stands."""
        self.is_told = False
        """A session was told of it, and knows no more of it than that."""
        self.counted = 0
        """Its size when it was counted last."""

    @property
    def size(self) -> int:
        """Bytes of its text, its id included."""
        return _bytes(self.id)

    def take(self, shown: dict[str, Any], *, done: bool) -> None:
        """Learn from the item as a server shows it; `done` if that is its final shape."""

    def told(self) -> dict[str, Any] | None:
        """The item for a `conversation.item.create`, if there is something to tell."""
        return None


class Message(Item):
    """A message of one of the `ROLES`."""

    __slots__ = ("is_whole", "parts", "role", "turn")

    def __init__(self, item_id: str, role: str) -> None:
        super().__init__(item_id)
        self.role = role
        self.parts: dict[int, Part] = {}
        self.turn: Turn | None = None
        self.is_whole = False
        """The server generated it to its end."""

    @property
    def size(self) -> int:
        return super().size + sum(_bytes(part.text) for part in self.parts.values())

    def hear(self, index: int, text: str, *, is_spoken: bool, whole: bool) -> None:
        """Words of the part at `index`: some more of them, or the `whole` text."""
        part = self._at(index, is_spoken)
        if part is not None and part.is_spoken == is_spoken:
            if whole:
                part.take(text, whole=True)
            else:
                part.add(text)

    def cut(self, index: int, heard_ms: int, held_ms: int) -> None:
        """See `Part.cut`."""
        part = self._at(index, True)
        if part is not None and part.is_spoken:
            part.cut(heard_ms, held_ms)

    def cut_at(self, index: int, audio_end_ms: int) -> None:
        """See `Part.cut_at`."""
        part = self._at(index, True)
        if part is not None and part.is_spoken:
            part.cut_at(audio_end_ms)

    def take(self, shown: dict[str, Any], *, done: bool) -> None:
        self.is_whole |= done and not _is_unfinished(shown)
        content = shown.get("content")
        for index, piece in enumerate(content[:_MAX_PARTS] if isinstance(content, list) else ()):
            kind = piece.get("type") if isinstance(piece, dict) else None
            if kind in _SPOKEN:
                self._take(index, piece.get("transcript"), True, done)
            elif kind in _TYPED:
                self._take(index, piece.get("text"), False, done)
            elif kind == "input_image":
                self._take(index, _NO_IMAGE, False, done)

    def told(self) -> dict[str, Any] | None:
        texts = [text for _, part in sorted(self.parts.items()) if (text := self._said(part))]
        if not texts:
            return None
        if self.role == "assistant":
            content = [{"type": "output_text", "text": " ".join(texts)}]
        else:
            content = [{"type": "input_text", "text": text} for text in texts]
        return {"id": self.id, "type": "message", "role": self.role, "content": content}

    def interrupt(self) -> None:
        """If it was still being generated, nothing was heard of what is not known to be cut."""
        for part in self.parts.values():
            if part.is_spoken and not self.is_whole:
                part.cut(0, 1)

    def _take(self, index: int, text: object, is_spoken: bool, done: bool) -> None:
        part = self._at(index, is_spoken)
        if part is not None:
            # Some servers show the caller's speech as text. It is not final for a transcript.
            whole = done and part.is_spoken == is_spoken
            part.take(text if isinstance(text, str) else "", whole=whole)

    def _at(self, index: int, is_spoken: bool) -> Part | None:
        part = self.parts.get(index)
        if part is None and len(self.parts) < _MAX_PARTS:
            part = self.parts[index] = Part(is_spoken)
        return part

    def _said(self, part: Part) -> str:
        said = part.said()
        if not said and part.is_spoken and self.role == "user":
            return (self.turn or Turn(self.id, None)).told()
        return said


class FunctionCall(Item):
    """A call of the model to a tool; told once its arguments are complete."""

    __slots__ = ("arguments", "call_id", "is_complete", "name")

    def __init__(self, item_id: str) -> None:
        super().__init__(item_id)
        self.name = self.call_id = self.arguments = ""
        self.is_complete = False

    @property
    def size(self) -> int:
        return super().size + _bytes(self.name + self.call_id + self.arguments)

    def take(self, shown: dict[str, Any], *, done: bool) -> None:
        self.name = text_of(shown, "name") or self.name
        self.call_id = text_of(shown, "call_id") or self.call_id
        if not (self.is_complete and self.arguments):
            self.arguments = text_of(shown, "arguments") or self.arguments
            ends = done or self.arguments or shown.get("status") == "completed"
            self.is_complete = bool(ends) and not _is_unfinished(shown)

    def told(self) -> dict[str, Any] | None:
        if not (self.is_complete and self.name and self.call_id):
            return None
        return {
            "id": self.id,
            "type": "function_call",
            "call_id": self.call_id,
            "name": self.name,
            "arguments": self.arguments,
        }


class FunctionCallOutput(Item):
    """What a tool answered."""

    __slots__ = ("call_id", "output")

    def __init__(self, item_id: str) -> None:
        super().__init__(item_id)
        self.call_id = self.output = ""

    @property
    def size(self) -> int:
        return super().size + _bytes(self.call_id + self.output)

    def take(self, shown: dict[str, Any], *, done: bool) -> None:
        self.call_id = text_of(shown, "call_id") or self.call_id
        self.output = text_of(shown, "output") or self.output

    def told(self) -> dict[str, Any] | None:
        if not self.call_id:
            return None
        return {
            "id": self.id,
            "type": "function_call_output",
            "call_id": self.call_id,
            "output": self.output,
        }


def item_of(item_id: str, shown: dict[str, Any]) -> Item:
    """An item of the kind that a server shows, or a client sends; nothing is taken from it yet."""
    match shown.get("type"):
        case "message" if shown.get("role") in ROLES:
            return Message(item_id, shown["role"])
        case "function_call":
            return FunctionCall(item_id)
        case "function_call_output":
            return FunctionCallOutput(item_id)
    return Item(item_id)


def says_the_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two items differ in nothing but their ids, as far as they can be told; an output
    needs only be one of the same call."""
    if one.get("type") != other.get("type"):
        return False
    if one.get("type") == "function_call_output":
        return bool(one.get("call_id") == other.get("call_id"))
    told = []
    for shown in (one, other):
        item = item_of("", shown)
        item.take(shown, done=True)
        told.append(item.told())
    return told[0] == told[1]


def heard_text(text: str, heard_ms: int, held_ms: int) -> str:
    """The beginning of `text` that takes `heard_ms` if the whole takes `held_ms`.

    It ends with a whole word: one that was cut off was not understood.
    """
    end = max(0, len(text) * heard_ms // max(held_ms, 1))
    if end >= len(text):
        return text
    while end and _is_of_word(text[end - 1]) and _is_of_word(text[end]):
        end -= 1
    return text[:end].rstrip()


def _is_of_word(character: str) -> bool:
    in_word = character in "'\u2019" or category(character)[0] in "LMN"
    return in_word and character < _UNSPACED


def _is_unfinished(shown: dict[str, Any]) -> bool:
    return shown.get("status") in ("in_progress", "incomplete")


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
