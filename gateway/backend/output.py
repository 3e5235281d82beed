"""What a response puts out, one item after the other: a spoken or a written message, a call.

Each is made in pieces:

    open()   step() ...   close(status)

`step` sends the next piece, if the response may have that many tokens, and says what is next. An
output that is cut off is closed as `incomplete`, with the pieces that were sent.

A response outside of the conversation (`conversation: "none"`) shows its items in its own events
only; the conversation never has them.
"""

import json
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, ClassVar, Final, Protocol

from gateway.audio.formats import AudioFormat
from gateway.backend.dialogue import Line, ToolCall
from gateway.backend.items import Conversation, Item, assistant_item, call_item
from gateway.backend.speech import Speech
from gateway.backend.tokens import speech_tokens, text_tokens
from gateway.realtime.resources import ContentPart

DELTA_MS: Final = 200
_WRITTEN_MS: Final = 50
"""The time that a word, or a piece of a call's arguments, takes at the pace of speech."""
_ARGUMENT_CHARACTERS: Final = 16


class Emit(Protocol):
    """Sends an event to the client."""

    def __call__(self, kind: str, /, **fields: Any) -> None: ...


class Stage:
    """Where one response and its items appear.

    Args:
        in_band: False for a response outside of the conversation.
        token: fresh text for ids.
    """

    def __init__(
        self,
        response_id: str,
        conversation: Conversation,
        *,
        in_band: bool,
        token: Callable[[], str],
        emit: Emit,
    ) -> None:
        self.response_id = response_id
        self.items: list[Item] = []
        """Those that were begun: the response's output."""
        self.emit = emit
        self._conversation = conversation
        self._in_band = in_band
        self._token = token

    @property
    def conversation_id(self) -> str | None:
        return self._conversation.id if self._in_band else None

    def new_item_id(self) -> str:
        return self._conversation.new_id(self._token)

    def new_call_id(self) -> str:
        return self._conversation.new_call_id(self._token)

    def open(self, item: Item) -> None:
        self.items.append(item)
        previous = self._conversation.insert(item) if self._in_band else None
        self._emit_item("response.output_item.added", item)
        if self._in_band:
            self.emit("conversation.item.added", previous_item_id=previous, item=item.shown())

    def close(self, item: Item, status: str) -> None:
        item.body["status"] = status
        if self._in_band:
            previous = self._conversation.before(item.id)
            self.emit("conversation.item.done", previous_item_id=previous, item=item.shown())
        self._emit_item("response.output_item.done", item)

    def emit_in(self, item: Item, kind: str, **fields: Any) -> None:
        """Send an event about what is in the item that is being made."""
        self.emit(
            f"response.{kind}",
            response_id=self.response_id,
            item_id=item.id,
            output_index=len(self.items) - 1,
            **fields,
        )

    def _emit_item(self, kind: str, item: Item) -> None:
        index = len(self.items) - 1
        self.emit(kind, response_id=self.response_id, output_index=index, item=item.shown())


class Step(Enum):
    """What comes after a piece."""

    MORE = auto()
    LAST = auto()
    """It was the last one."""
    REFUSED = auto()
    """It was not sent: it would have been more than the response may have."""


class Output(ABC):
    """One item of a response. Made when the response is created, opened when it is its turn."""

    piece_ms: ClassVar[int]
    """How long a piece takes at the pace of speech; responses go faster."""
    ready = True
    """Whether it can be opened."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    @abstractmethod
    def open(self) -> None:
        """Begin."""

    @abstractmethod
    def step(self, budget: float) -> Step:
        """Send the next piece, if all of this output so far is within `budget` tokens with it."""

    @abstractmethod
    def close(self, status: str) -> None:
        """End it, `completed` or `incomplete`."""

    @property
    def sent_ms(self) -> int:
        """How much audio was sent, ever."""
        return 0


class SpokenMessage(Output):
    """A line of the agent, as audio with a transcript that keeps step with it."""

    piece_ms = DELTA_MS
    ready = False

    def __init__(self, stage: Stage, audio_format: AudioFormat) -> None:
        super().__init__(stage)
        self._bytes_per_ms = audio_format.bytes_per_ms
        self._speech = Speech(b"", ())
        self._sent = 0  # bytes of audio
        self._said = 0  # words

    def sound(self, speech: Speech) -> None:
        """The sound of the line is there."""
        self._speech = speech
        self.ready = True

    @property
    def sent_ms(self) -> int:
        return self._sent // self._bytes_per_ms

    def open(self) -> None:
        self._item = assistant_item(self._stage.new_item_id())
        self._stage.open(self._item)
        self._item.speak(0, ())
        self._emit_part("added", "")

    def step(self, budget: float) -> Step:
        speech, item = self._speech, self._item
        delta = speech.audio[self._sent : self._sent + DELTA_MS * self._bytes_per_ms]
        sent = self._sent + len(delta)
        last = sent >= len(speech.audio)
        until_ms = sent // self._bytes_per_ms
        words = []
        for word in speech.words[self._said :]:
            if word.start_ms >= until_ms and not last:
                break
            words.append(word)
        text = "".join(word.text for word in words)
        if speech_tokens(until_ms, item.transcript + text).total > budget:
            return Step.REFUSED
        self._sent = sent
        self._said += len(words)
        item.speak(len(delta) // self._bytes_per_ms, words)
        if words:
            self._emit("output_audio_transcript.delta", delta=text)
        if delta:
            self._emit("output_audio.delta", delta=b64encode(delta).decode())
        return Step.LAST if last else Step.MORE

    def close(self, status: str) -> None:
        transcript = self._item.transcript
        self._emit("output_audio.done")
        self._emit("output_audio_transcript.done", transcript=transcript)
        self._emit_part("done", transcript)
        self._stage.close(self._item, status)

    def _emit_part(self, change: str, transcript: str) -> None:
        part: ContentPart = {"type": "audio", "transcript": transcript}
        self._emit(f"content_part.{change}", part=part)

    def _emit(self, kind: str, **fields: Any) -> None:
        self._stage.emit_in(self._item, kind, content_index=0, **fields)


class WrittenMessage(Output):
    """A line of the agent as text, word by word."""

    piece_ms = _WRITTEN_MS

    def __init__(self, stage: Stage, line: Line) -> None:
        super().__init__(stage)
        first, *others = " ".join(line).split(" ")
        self._pieces = [first, *(f" {word}" for word in others)]
        self._text = ""

    def open(self) -> None:
        self._item = assistant_item(self._stage.new_item_id())
        self._stage.open(self._item)
        self._item.write("")
        self._emit_part("added")

    def step(self, budget: float) -> Step:
        if text_tokens(self._text + self._pieces[0]) > budget:
            return Step.REFUSED
        piece = self._pieces.pop(0)
        self._text += piece
        self._item.write(self._text)
        self._emit("output_text.delta", delta=piece)
        return Step.MORE if self._pieces else Step.LAST

    def close(self, status: str) -> None:
        self._emit("output_text.done", text=self._text)
        self._emit_part("done")
        self._stage.close(self._item, status)

    def _emit_part(self, change: str) -> None:
        part: ContentPart = {"type": "text", "text": self._text}
        self._emit(f"content_part.{change}", part=part)

    def _emit(self, kind: str, **fields: Any) -> None:
        self._stage.emit_in(self._item, kind, content_index=0, **fields)


class FunctionCall(Output):
    """A call of a function of the client's, which is to send the result as an item."""

    piece_ms = _WRITTEN_MS

    def __init__(self, stage: Stage, call: ToolCall) -> None:
        super().__init__(stage)
        self._name = call.name
        self._whole = json.dumps(call.arguments, ensure_ascii=False)

    def open(self) -> None:
        stage = self._stage
        self._item = call_item(stage.new_item_id(), stage.new_call_id(), self._name)
        self._stage.open(self._item)

    def step(self, budget: float) -> Step:
        body = self._item.body
        arguments = self._whole[: len(body["arguments"]) + _ARGUMENT_CHARACTERS]
        if text_tokens(self._name) + text_tokens(arguments) > budget:
            return Step.REFUSED
        delta = arguments[len(body["arguments"]) :]
        body["arguments"] = arguments
        self._emit("function_call_arguments.delta", delta=delta)
        return Step.LAST if arguments == self._whole else Step.MORE

    def close(self, status: str) -> None:
        body = self._item.body
        named = {"name": self._name, "arguments": body["arguments"]}
        self._emit("function_call_arguments.done", **named)
        self._stage.close(self._item, status)

    def _emit(self, kind: str, **fields: Any) -> None:
        self._stage.emit_in(self._item, kind, call_id=self._item.body["call_id"], **fields)
