"""How long nobody may say anything, and what is done about it.

Whose turn it is decides what a silence means:

* The model's. The caller is *owed* something: an answer that was asked for, that the server gives
  by itself or that has begun, or what comes of a function call. After a while a filler may sound.
* The caller's. Nothing is owed and nothing is heard. After a while the model asks whether somebody
  is there, a few times, then takes leave, and the call ends.

Apart from both, a call in which nothing at all happens ends, and so does one that has lasted too
long, with a few words if there are any to be said. Last words may take `LAST_WORDS_S`. A caller who
speaks up after all stops the leave that was taken because of silence, but not that of a call that
has lasted too long.

While the caller holds the line, or the call has no session, no time passes here.

The caller is there when the server hears them speak, so noise on the line is silence, and when they
press a key. A session without turn detection hears nobody speak: there, what clients commit counts.
Of the model only the marks of the playout tell. A response that waits for more audio in the middle
is not silent to them.

Pure: events, marks and `now` in; wishes out. After any input, re-arm the timer from
`next_timeout()`.
"""

from dataclasses import dataclass
from typing import Any, Final

from gateway.audio.playout import Started, Stopped
from gateway.realtime.events import Event, is_out_of_band, text_of
from gateway.realtime.session import turn_detection_of

LAST_WORDS_S: Final = 15.0
"""From asking for the last words to the end, if they were not heard to their end before."""
_BEGIN_S: Final = 1.0
"""A response that is complete begins to sound within this time, or has no sound."""
_SAME_WAIT_S: Final = 1.0
"""The caller waits on when something is owed again so soon: an answer to the result of a call."""


@dataclass(frozen=True, slots=True)
class PatiencePolicy:
    """When silence is too much; the same for all calls of a process. Instructions tell the model
    what to say."""

    filler_after_s: float | None = None
    """How long the caller waits in silence for what is owed; None: no filler."""
    no_input_s: float = 0
    """How long the caller may be silent when it is their turn; 0: for ever."""
    no_input_times: int = 2
    """How often they are asked before the call is ended."""
    no_input_say: str = "Ask the caller whether they are still there."
    """Instructions for asking."""
    goodbye: str = ""
    """Instructions for the last words to a silent caller; "": none are said."""
    idle_s: float = 0
    """How long nothing at all may happen; 0: for ever."""
    max_duration_say: str = ""
    """Instructions for the last words in a call that has lasted too long; "": none are said."""


@dataclass(frozen=True, slots=True)
class Fill:
    """Begin with the filler, or stop it."""

    on: bool


@dataclass(frozen=True, slots=True)
class Say:
    """Have the model say something."""

    instructions: str


@dataclass(frozen=True, slots=True)
class End:
    """Hang up. It is the last wish."""

    reason: str
    """`no_input`, `idle` or `max_duration`."""


Wish = Fill | Say | End


class Patience:
    """The silences of one call."""

    def __init__(self, policy: PatiencePolicy) -> None:
        self._policy = policy
        self._running = False  # answered and not ended
        self._held = False
        self._lost = False
        # What the caller is owed.
        self._answers = True  # the server answers a turn without being asked
        self._turn_over = False  # the caller's, and it will answer
        self._asked = False  # a response was asked for and has not begun
        self._active = ""  # the response in progress
        self._calls: dict[str, str] = {}  # of functions without a result yet: id, its response
        self._remote_calls: set[str] = set()  # items of the calls that the server makes itself
        # Who is heard.
        self._speaking = False  # the caller is
        self._sounding: set[str] = set()  # responses
        # Since when.
        self._owed_since = 0.0
        self._owed_until: float | None = -_SAME_WAIT_S  # None while something is owed
        self._quiet_since: float | None = None  # nobody is heard; None while somebody is
        self._turn_since: float | None = None  # it is the caller's turn; None while it is not
        self._happened_at = 0.0
        self._prompts = 0
        self._filling = False
        self._leave: _Leave | None = None

    # Inputs. Each returns what is wished for.

    def answered(self, now: float) -> list[Wish]:
        """The caller is there; before that, no time passes."""
        self._running = True
        return self._happened(now)

    def configured(self, session: dict[str, Any]) -> None:
        """The session as the server confirmed it."""
        detection = turn_detection_of(session)
        self._answers = detection is not None and detection.get("create_response") is not False

    def server_event(self, event: Event, now: float) -> list[Wish]:
        """An event of the session, audio deltas excepted."""
        match event["type"]:
            case "input_audio_buffer.speech_started":
                self._speaking, self._turn_over = True, False
                self._caller_is_there()
            case "input_audio_buffer.speech_stopped" | "input_audio_buffer.cleared":
                self._speaking = False
            case "input_audio_buffer.committed":
                self._speaking, self._turn_over = False, self._answers
            case "response.created":
                self._created(event)
            case "response.done":
                self._done(text_of(event, "response", "id"), now)
            case "error":
                # Whatever was refused: if it was no response, the next one is still seen to begin.
                self._asked = self._turn_over = False
            case "session.updated":
                session = event.get("session")
                self.configured(session if isinstance(session, dict) else {})
            case kind:
                self._watch_calls(kind, event)
        return self._happened(now)

    def client_event(self, event: Event, now: float) -> list[Wish]:
        """An event on its way to the session, from a client or from the gateway itself."""
        kind = event["type"]
        if kind == "input_audio_buffer.commit":
            self._caller_is_there()
        elif kind == "response.create":
            self._asked |= text_of(event, "response", "conversation") != "none"
        elif kind == "conversation.item.create":
            self._returned(event)
        return self._happened(now)

    def played(self, mark: Started | Stopped, now: float) -> list[Wish]:
        """The playout passed the start or the end of a response."""
        response_id = mark.part.response_id
        if isinstance(mark, Started):
            self._sounding.add(response_id)
            # Whose voice goes on has nobody wait for what was called before.
            self._calls = {
                c: made_by for c, made_by in self._calls.items() if made_by == response_id
            }
            if self._leave is not None and response_id == self._leave.response_id:
                self._leave.begun = True
        else:
            self._sounding.discard(response_id)
        return self._happened(now)

    def cleared(self, now: float) -> list[Wish]:
        """The playout was emptied."""
        self._sounding.clear()
        return self._happened(now)

    def digit(self, now: float) -> list[Wish]:
        """The caller pressed a key."""
        self._caller_is_there()
        return self._happened(now)

    def held(self, on: bool, now: float) -> list[Wish]:
        """The caller put us on hold, or came back."""
        self._held = on
        self._caller_is_there()
        return self._happened(now)

    def lost(self, now: float) -> list[Wish]:
        """The session is gone. What is heard until there is another is up to others."""
        self._lost = True
        self._forget_session(now)
        self._stay()
        return self._happened(now)

    def resumed(self, now: float) -> list[Wish]:
        """Another session has taken the place of the one before, lost or not."""
        self._forget_session(now)
        if not self._lost:
            return self._review(now)  # nobody has noticed
        self._lost = False
        return self._happened(now)

    def too_long(self, now: float) -> list[Wish]:
        """The call has lasted as long as it may."""
        if not self._running:
            return []
        if self._leave is not None:
            self._leave.reason = "max_duration"
            return self._review(now)
        wishes = self._take_leave("max_duration", self._policy.max_duration_say, now)
        return [*wishes, *self._review(now)]

    def timeout(self, now: float) -> list[Wish]:
        """The clock reached `next_timeout()`, or passed it."""
        return self._review(now)

    def next_timeout(self) -> float | None:
        """When `timeout` wants to be called, in the same clock as `now`; None for never."""
        if not self._running:
            return None
        ends = (self._idle_at(), self._no_input_at(), self._leave_at())
        due = (*ends, None if self._filling else self._fill_at())
        return min((at for at in due if at is not None), default=None)

    # What the caller is owed.

    def _is_owed(self) -> bool:
        answer = self._turn_over or self._asked or self._active
        return bool(answer or self._calls or self._remote_calls)

    def _created(self, event: Event) -> None:
        if is_out_of_band(event):
            return
        self._active = text_of(event, "response", "id")
        if self._leave is not None and not self._turn_over:  # else it answers what was said before
            self._leave.response_id = self._leave.response_id or self._active
        self._asked = self._turn_over = False

    def _done(self, response_id: str, now: float) -> None:
        if response_id == self._active:
            self._active = ""
        if self._leave is not None and response_id == self._leave.response_id:
            self._leave.done_at = now

    def _watch_calls(self, kind: str, event: Event) -> None:
        if kind == "response.output_item.done":
            status = text_of(event, "item", "status")
            ours = text_of(event, "response_id") == self._active and status != "incomplete"
            if ours and text_of(event, "item", "type") == "function_call":
                self._calls[text_of(event, "item", "call_id")] = self._active
        elif kind in ("conversation.item.added", "conversation.item.done"):
            self._returned(event)
        elif kind == "response.mcp_call.in_progress":
            self._remote_calls.add(text_of(event, "item_id"))
        elif kind in ("response.mcp_call.completed", "response.mcp_call.failed"):
            self._remote_calls.discard(text_of(event, "item_id"))

    def _returned(self, event: Event) -> None:
        if text_of(event, "item", "type") == "function_call_output":
            self._calls.pop(text_of(event, "item", "call_id"), None)

    def _forget_session(self, now: float) -> None:
        """The session does nothing any more. The calls of functions are in other hands."""
        if self._leave is not None and self._leave.done_at is None:
            self._leave.done_at = now
        self._active = ""
        self._asked = self._turn_over = self._speaking = False
        self._remote_calls.clear()

    # The clock.

    def _caller_is_there(self) -> None:
        self._prompts = 0
        self._quiet_since = self._turn_since = None
        self._stay()

    def _stay(self) -> None:
        if self._leave is not None and self._leave.reason == "no_input":
            self._leave = None

    def _happened(self, now: float) -> list[Wish]:
        self._happened_at = now
        return self._review(now)

    def _review(self, now: float) -> list[Wish]:
        """What is wished for, as things stand."""
        if not self._running:
            return []
        self._measure(now)
        if self._leave is not None and _due(self._leave_at(), now):
            return self._end(self._leave.reason)
        if _due(self._idle_at(), now):
            return self._end("idle")
        wishes: list[Wish] = []
        if _due(self._no_input_at(), now):
            wishes = self._no_input(now)
            self._measure(now)
        filling = self._running and _due(self._fill_at(), now)
        if filling != self._filling:
            self._filling = filling
            wishes.append(Fill(filling))
        return wishes

    def _measure(self, now: float) -> None:
        """Begin to measure what has begun, and no longer what is over."""
        here = not (self._held or self._lost)
        quiet = here and not (self._speaking or self._sounding)
        owed = self._is_owed()
        self._quiet_since = _since(self._quiet_since, quiet, now)
        self._turn_since = _since(self._turn_since, quiet and not owed, now)
        if not (owed and here):
            self._owed_until = now if self._owed_until is None else self._owed_until
        elif self._owed_until is not None:
            self._owed_since = now if now - self._owed_until > _SAME_WAIT_S else self._owed_since
            self._owed_until = None

    def _fill_at(self) -> float | None:
        after_s = self._policy.filler_after_s
        if after_s is None or self._quiet_since is None or self._owed_until is not None:
            return None
        return max(self._quiet_since, self._owed_since) + after_s

    def _no_input_at(self) -> float | None:
        after_s = self._policy.no_input_s
        if not after_s or self._turn_since is None or self._leave is not None:
            return None
        return self._turn_since + after_s

    def _idle_at(self) -> float | None:
        after_s = self._policy.idle_s
        if not after_s or self._quiet_since is None or self._leave is not None:
            return None
        return self._happened_at + after_s

    def _leave_at(self) -> float | None:
        if self._leave is None:
            return None
        leave, sounding = self._leave, self._leave.response_id in self._sounding
        if leave.done_at is None or sounding or self._speaking:
            return leave.ends_at
        return min(leave.ends_at, leave.done_at if leave.begun else leave.done_at + _BEGIN_S)

    # What is wished for.

    def _no_input(self, now: float) -> list[Wish]:
        """The caller has been silent for too long."""
        if self._prompts >= self._policy.no_input_times:
            return self._take_leave("no_input", self._policy.goodbye, now)
        self._prompts += 1
        self._asked = True
        return [Say(self._policy.no_input_say)]

    def _take_leave(self, reason: str, words: str, now: float) -> list[Wish]:
        """End the call, after these words if there is somebody to say them to."""
        if not words or self._held or self._lost:
            return self._end(reason)
        self._leave = _Leave(reason, now + LAST_WORDS_S)
        self._asked = True
        return [Say(words)]

    def _end(self, reason: str) -> list[Wish]:
        self._running = False
        return [End(reason)]


@dataclass(slots=True)
class _Leave:
    """The last words, from asking for them to the end."""

    reason: str
    ends_at: float
    """At the latest."""
    response_id: str = ""
    begun: bool = False
    """They were heard to begin."""
    done_at: float | None = None
    """When the server had made all of them."""


def _since(since: float | None, holds: bool, now: float) -> float | None:
    """Since when something holds, if it does."""
    if not holds:
        return None
    return now if since is None else since


def _due(at: float | None, now: float) -> bool:
    return at is not None and now >= at
