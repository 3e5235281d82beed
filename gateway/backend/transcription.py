"""Input transcription, by an agent that does not understand speech.

It would be wrong to invent words, and a client that waits for a transcript must get one. So the
transcript describes what was heard, in brackets: `[speech, 2.1 s]` for a turn that the voice
detector found, `[audio, 3.0 s]` for what a client committed itself, `[silence, 5.0 s]` for an idle
timeout. Log probabilities, languages and speakers are never told.

A transcript comes a while after its item, often in the middle of the answer: like that of a server
that transcribes aside from its model.
"""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.backend.dialogue import Spoke
from gateway.backend.items import Conversation
from gateway.backend.output import Emit
from gateway.realtime.resources import TranscriptionUsage

_EVENT: Final = "conversation.item.input_audio_transcription"
_DESCRIPTION = re.compile(
    r"\[(?:speech|audio), (\d{1,6}\.\d) s\]"
    # What the gateway tells of a turn when a session takes over that did not hear it.
    r"|\[The caller spoke for (\d{1,4}) seconds?; there is no transcript\.\]"
)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a committed item holds."""

    kind: str
    """speech, audio or silence."""
    ms: int

    def described(self) -> str:
        return f"[{self.kind}, {self.ms / 1000:.1f} s]"


def spoke(transcript: str) -> Spoke | None:
    """What a description says: a conversation that is told again comes with its transcripts."""
    found = _DESCRIPTION.fullmatch(transcript)
    return None if found is None else Spoke(round(float(found[1] or found[2]) * 1000))


class Transcriber:
    """Sends the transcripts of one session.

    Args:
        delay_s: how long the next transcript takes.
    """

    def __init__(
        self, conversation: Conversation, emit: Emit, delay_s: Callable[[], float]
    ) -> None:
        self._conversation = conversation
        self._emit = emit
        self._delay_s = delay_s
        self._waiting: deque[tuple[float, str, Heard]] = deque()

    def transcribe(self, item_id: str, heard: Heard, now: float) -> None:
        """Take an item that was committed. Transcripts come in the order of the items."""
        self._waiting.append((now + self._delay_s(), item_id, heard))

    def next_timeout(self) -> float | None:
        return self._waiting[0][0] if self._waiting else None

    def timeout(self, now: float) -> None:
        """Send what is due. An item that was deleted has no transcript."""
        while self._waiting and now >= self._waiting[0][0]:
            _, item_id, heard = self._waiting.popleft()
            item = self._conversation.find(item_id)
            if item is None:
                continue
            text = heard.described()
            item.body["content"][0]["transcript"] = text
            place = {"item_id": item_id, "content_index": 0}
            self._emit(f"{_EVENT}.delta", **place, delta=text)
            usage: TranscriptionUsage = {"type": "duration", "seconds": item.audio_ms / 1000}
            self._emit(f"{_EVENT}.completed", **place, transcript=text, usage=usage)
