"""One response of the agent, from `response.created` to `response.done`.

    waiting --the latency is over, and the first output is ready--> its outputs, piece by piece
            --all sent--> settling --> done

Pieces go out faster than they would be spoken. A short while after the last item is complete the
response is done: in between, as at any time before, it can be cancelled. What a client then sees
depends on where it is:

* waiting: only `response.done`, without output: nothing was said.
* in an output: its part and its item are closed as incomplete, then `response.done`.
* settling: only `response.done`; the items stay complete.

A response that would need more than its `max_output_tokens` ends before the piece that is too much,
as `incomplete`. What counts as a token is in `tokens`.

Pure: `timeout(now)` whenever `next_timeout()` says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, Literal

from gateway.backend.config import Pacing
from gateway.backend.items import tokens_of
from gateway.backend.output import Output, SpokenMessage, Stage, Step
from gateway.backend.speech import Speech
from gateway.backend.tokens import Tokens
from gateway.realtime.errors import RealtimeError
from gateway.realtime.resources import (
    ResponseResource,
    ResponseStatus,
    ResponseStatusDetails,
    ResponseTerms,
    Usage,
    failed,
    usage,
)

SETTLE_S: Final = 0.02
"""From the end of the last item to the end of the response."""
Reason = Literal["turn_detected", "client_cancelled"]
"""Why a response was cancelled."""

_TOO_LONG: Final[ResponseStatusDetails] = {"type": "incomplete", "reason": "max_output_tokens"}


@dataclass(frozen=True, slots=True)
class Context:
    """What a model would have read for a response."""

    tokens: Tokens
    cached: Tokens = Tokens()
    """Those of them that the response before had read too."""


class Pace:
    """When the next step of a response is due. A late step does not make those after it late.

    Args:
        random: numbers from 0 to 1, for the jitter.
    """

    def __init__(self, pacing: Pacing, random: Callable[[], float], now: float) -> None:
        self._speedup = pacing.speedup
        self._jitter_s = pacing.jitter_ms / 1000
        self._random = random
        self._regular = now + pacing.first_audio_ms / 1000  # without jitter
        self.due = self._regular + self._jitter()

    def not_before(self, now: float) -> None:
        self._regular = max(self._regular, now)
        self.due = max(self.due, now)

    def wait(self, speech_ms: int) -> None:
        """The next step is due when this much would have been spoken."""
        self._regular += speech_ms / 1000 / self._speedup
        self.due = max(self.due, self._regular + self._jitter())

    def settle(self) -> None:
        self.due += SETTLE_S

    def _jitter(self) -> float:
        return self._random() * self._jitter_s


class Response:
    """A response with any number of outputs.

    Args:
        resource: the fields of the response that do not change while it runs.
    """

    def __init__(
        self,
        stage: Stage,
        outputs: Sequence[Output],
        *,
        resource: ResponseTerms,
        context: Context,
        pace: Pace,
        now: float,
    ) -> None:
        self.id = stage.response_id
        self.done = False
        self.voiced = False
        """Audio was sent."""
        self.plays_until = now
        """When a client that plays at once has played what was sent."""
        self._stage = stage
        self._left = list(outputs)
        self._output: Output | None = None  # the one that has begun
        self._resource = resource
        self._context = context
        self._pace = pace
        self._too_long = False
        limit = resource["max_output_tokens"]
        self._budget = inf if limit == "inf" else limit
        stage.emit("response.created", response=self._shown("in_progress"))

    @property
    def began(self) -> bool:
        """Something was put out."""
        return bool(self._stage.items)

    @property
    def tokens(self) -> Tokens:
        """What a model would have billed, input and output; nothing when nothing was put out."""
        return self._input.tokens.plus(tokens_of(self._stage.items))

    def speak(self, speech: Speech, now: float) -> None:
        """The sound of the line is there. The first audio goes out at the next `timeout`."""
        for output in self._left:
            if isinstance(output, SpokenMessage):
                output.sound(speech)
                self._pace.not_before(now)

    def next_timeout(self) -> float | None:
        waits = self._output is None and self._left and not self._left[0].ready
        return None if waits or self.done else self._pace.due

    def timeout(self, now: float) -> None:
        """Do all that is due."""
        while (due := self.next_timeout()) is not None and now >= due:
            if self._output is not None:
                self._step(self._output, now)
            elif self._left:
                self._output = self._left.pop(0)
                self._output.open()
            elif self._too_long:
                self._end("incomplete", _TOO_LONG)
            else:
                self._end("completed", None)

    def cancel(self, reason: Reason, now: float) -> None:
        """End the response now."""
        self.plays_until = now  # who cancels stops playing
        if self._output is not None:
            self._output.close("incomplete")
        self._end("cancelled", {"type": "cancelled", "reason": reason})

    def fail(self, error: RealtimeError) -> None:
        """End a response that has put out nothing."""
        self._end("failed", failed(error))

    def _step(self, output: Output, now: float) -> None:
        sent_ms = output.sent_ms
        step = output.step(self._budget)
        played_ms = output.sent_ms - sent_ms
        self.voiced |= played_ms > 0
        self.plays_until = max(self.plays_until, now) + played_ms / 1000
        if step is Step.MORE:
            self._pace.wait(output.piece_ms)
            return
        self._output = None
        if step is Step.LAST:
            output.close("completed")
            self._budget -= self._stage.items[-1].tokens.total
        else:
            output.close("incomplete")
            self._left.clear()
            self._too_long = True
        if self._left:
            self._pace.wait(output.piece_ms)
        else:
            self._pace.settle()

    def _end(self, status: ResponseStatus, details: ResponseStatusDetails | None) -> None:
        self.done = True
        self._stage.emit("response.done", response=self._shown(status, details, self._usage()))

    def _shown(
        self,
        status: ResponseStatus,
        details: ResponseStatusDetails | None = None,
        used: Usage | None = None,
    ) -> ResponseResource:
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": [item.shown() for item in self._stage.items],
            "conversation_id": self._stage.conversation_id,
            **self._resource,
            "usage": used,
        }

    @property
    def _input(self) -> Context:
        return self._context if self.began else Context(Tokens())

    def _usage(self) -> Usage:
        read = self._input
        made = tokens_of(self._stage.items)
        return usage(*read.tokens, *made, cached=read.cached)
