"""One response of the agent, from `response.created` to `response.done`.

    WAITING --speech is there and the latency is over--> SPEAKING --all sent--> FINISHING --> DONE

The audio goes out in deltas of 200 ms, faster than it plays, with the words that are spoken in a
delta just before it. A short while after its item is complete the response is done: in between, as
at any time before, it can be cancelled. What a client then sees depends on the phase:

* WAITING: only `response.done`, without output: nothing was said.
* SPEAKING: the parts and the item are closed as incomplete, then `response.done`.
* FINISHING: only `response.done`; the item stays complete.

Pure: `timeout(now)` whenever `next_timeout()` says so.
"""

from base64 import b64encode
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final, Protocol

from gateway.audio.formats import AudioFormat
from gateway.backend.config import Pacing
from gateway.backend.items import Conversation, Item, assistant_item
from gateway.backend.speech import Speech

DELTA_MS: Final = 200
SETTLE_S: Final = 0.02
"""From the end of the item to the end of the response."""


class Emit(Protocol):
    """Sends an event to the client."""

    def __call__(self, kind: str, /, **fields: Any) -> None: ...


class Phase(Enum):
    WAITING = auto()
    SPEAKING = auto()
    FINISHING = auto()
    DONE = auto()


class Response:
    """A response with one spoken message.

    Args:
        resource: the fields of the response that do not change while it runs.
        random: numbers from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        response_id: str,
        item_id: str,
        *,
        audio_format: AudioFormat,
        resource: dict[str, Any],
        conversation: Conversation,
        pacing: Pacing,
        random: Callable[[], float],
        emit: Emit,
        now: float,
    ) -> None:
        self.id = response_id
        self.phase = Phase.WAITING
        self.began = False
        """Something was said."""
        self.plays_until = now
        """When a client that plays at once has played what was sent."""
        self._audio_format = audio_format
        self._resource = resource
        self._conversation = conversation
        self._pacing = pacing
        self._random = random
        self._emit = emit
        self._item = assistant_item(item_id)
        self._speech: Speech | None = None
        self._sent = 0  # bytes of audio
        self._said = 0  # words
        self._pace = now + pacing.first_audio_ms / 1000  # when the next step would be due, but
        self._due = self._pace + self._jitter_s()  # for the jitter, which does not add up
        self._input_tokens = conversation.tokens()
        emit("response.created", response=self._shown("in_progress"))

    def speak(self, speech: Speech, now: float) -> None:
        """The sound of the line is there. The first audio goes out at the next `timeout`."""
        self._speech = speech
        self._pace = max(self._pace, now)
        self._due = max(self._due, now)

    def next_timeout(self) -> float | None:
        waits = self.phase is Phase.WAITING and self._speech is None
        return None if waits or self.phase is Phase.DONE else self._due

    def timeout(self, now: float) -> None:
        """Do all that is due."""
        while (due := self.next_timeout()) is not None and now >= due:
            if self.phase is Phase.WAITING:
                self._begin()
            elif self.phase is Phase.SPEAKING:
                self._send_delta(now)
            else:
                self._done("completed", None)

    def cancel(self, reason: str, now: float) -> None:
        """End the response now; `reason` is `turn_detected` or `client_cancelled`."""
        self.plays_until = now  # who cancels stops playing
        if self.phase is Phase.SPEAKING:
            self._close_item("incomplete")
        self._done("cancelled", {"type": "cancelled", "reason": reason})

    def _begin(self) -> None:
        self.phase = Phase.SPEAKING
        self.began = True
        item = self._item
        previous = self._conversation.insert(item)
        self._emit(
            "response.output_item.added",
            response_id=self.id,
            output_index=0,
            item=item.shown(),
        )
        self._emit("conversation.item.added", previous_item_id=previous, item=item.shown())
        item.speak(0, ())
        self._emit_part("response.content_part.added", part={"type": "audio", "transcript": ""})

    def _send_delta(self, now: float) -> None:
        speech, item = self._speech, self._item
        if speech is None:
            return
        bytes_per_ms = self._audio_format.bytes_per_ms
        delta = speech.audio[self._sent : self._sent + DELTA_MS * bytes_per_ms]
        self._sent += len(delta)
        last = self._sent >= len(speech.audio)
        until_ms = self._sent // bytes_per_ms
        words = []
        for word in speech.words[self._said :]:
            if word.start_ms >= until_ms and not last:
                break
            words.append(word)
        self._said += len(words)
        delta_ms = len(delta) // bytes_per_ms
        item.speak(delta_ms, words)
        self.plays_until = max(self.plays_until, now) + delta_ms / 1000
        if words:
            text = "".join(word.text for word in words)
            self._emit_part("response.output_audio_transcript.delta", delta=text)
        if delta:
            encoded = b64encode(delta).decode()
            self._emit_part("response.output_audio.delta", delta=encoded)
        if last:
            self._close_item("completed")
            self.phase = Phase.FINISHING
            self._due += SETTLE_S
        else:
            self._pace += DELTA_MS / 1000 / self._pacing.speedup
            self._due = max(self._due, self._pace + self._jitter_s())

    def _close_item(self, status: str) -> None:
        item = self._item
        item.body["status"] = status
        transcript = item.transcript
        self._emit_part("response.output_audio.done")
        self._emit_part("response.output_audio_transcript.done", transcript=transcript)
        part = {"type": "audio", "transcript": transcript}
        self._emit_part("response.content_part.done", part=part)
        previous = self._conversation.before(item.id)
        self._emit("conversation.item.done", previous_item_id=previous, item=item.shown())
        self._emit(
            "response.output_item.done",
            response_id=self.id,
            output_index=0,
            item=item.shown(),
        )

    def _done(self, status: str, details: dict[str, Any] | None) -> None:
        item = self._item if self.began else None
        self.phase = Phase.DONE
        self._emit("response.done", response=self._shown(status, details, item, self._usage(item)))

    def _shown(
        self,
        status: str,
        details: dict[str, Any] | None = None,
        item: Item | None = None,
        usage: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": [] if item is None else [item.shown()],
            "conversation_id": self._conversation.id,
            **self._resource,
            "usage": usage,
        }

    def _usage(self, item: Item | None) -> dict[str, Any]:
        """What a model would have billed; nothing when nothing was said."""
        text_in, audio_in = (0, 0) if item is None else self._input_tokens
        text_out, audio_out = (0, 0) if item is None else item.tokens()
        cached = {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0}
        return {
            "total_tokens": text_in + audio_in + text_out + audio_out,
            "input_tokens": text_in + audio_in,
            "output_tokens": text_out + audio_out,
            "input_token_details": {
                "text_tokens": text_in,
                "audio_tokens": audio_in,
                "image_tokens": 0,
                "cached_tokens": 0,
                "cached_tokens_details": cached,
            },
            "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out},
        }

    def _emit_part(self, kind: str, **fields: Any) -> None:
        self._emit(
            kind,
            response_id=self.id,
            item_id=self._item.id,
            output_index=0,
            content_index=0,
            **fields,
        )

    def _jitter_s(self) -> float:
        return self._random() * self._pacing.jitter_ms / 1000
