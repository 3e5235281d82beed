"""One Realtime session, as the server sees it. Pure.

Client events, the caller's audio, probabilities of speech and the clock come in; server events,
lines to be spoken and the next deadline come out:

    receive(event)  append(audio)  voice(probability)  speak(clips)  timeout(now)
        -> events()  lines_to_speak()  next_timeout()       drain these after each of the above

What a client may rely on:

* `response.create` while a response runs is an error; the running one goes on.
* Speech that starts cancels the running response when the session says `interrupt_response`. The
  events of the cancelled response follow `speech_started`. Audio that the client still plays is the
  client's affair: it sends `conversation.item.truncate` for what was not heard.
* With `turn_detection: null` nothing happens by itself: the client commits and asks for responses.
* An event that cannot be served is answered by `error` with its `event_id`, and changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.backend import requests
from gateway.backend.config import Pacing
from gateway.backend.dialogue import Dialogue, DialogueRun, Input, Line, Spoke
from gateway.backend.ear import Ear
from gateway.backend.input_buffer import InputBuffer
from gateway.backend.items import Conversation, Item, client_item, spoken_item
from gateway.backend.responses import Phase, Response
from gateway.backend.session_config import SessionConfig
from gateway.backend.speech import SpeechRequest, compose
from gateway.backend.turns import TurnStarted, TurnStopped
from gateway.realtime.errors import RealtimeError, error_event, invalid
from gateway.realtime.events import Event

_RATE_LIMITS: Final = (("requests", 10_000), ("tokens", 10_000_000))


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What the server decides about a session before it starts."""

    dialogue: Dialogue
    model: str
    started_at: int
    """Unix time, for `expires_at`."""
    limit_s: float
    pacing: Pacing


class BackendSession:
    """A session from `session.created` on.

    Args:
        token: fresh text for ids.
        random: numbers from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        options: SessionOptions,
        *,
        token: Callable[[], str],
        random: Callable[[], float],
        now: float,
    ) -> None:
        self._pacing = options.pacing
        self._token = token
        self._random = random
        self._out: list[Event] = []
        self._to_speak: list[SpeechRequest] = []
        self._config = SessionConfig(
            f"sess_{token()}",
            model=options.model,
            expires_at=int(options.started_at + options.limit_s),
        )
        self._input = InputBuffer(self._config.input_format, self._config.turns)
        self._conversation = Conversation(f"conv_{token()}")
        self._run = DialogueRun(options.dialogue)
        self._greeted = False
        self._heard: Input | None = None  # what the next response answers
        self._turn_item = ""  # the item that the caller's turn will become
        self._turn_from_ms = 0
        self._response: Response | None = None
        self._voiced = False  # the agent was heard in this session
        self._idle_at: float | None = None
        self._idle_spent = False
        self._limit_s = options.limit_s
        self._expires_at = now + options.limit_s
        self.ended = False
        """The session is over: send what is drained, then close the connection."""
        self._emit("session.created", session=self._config.shown())

    # Inputs.

    def receive(self, event: Event, now: float) -> None:
        """Take one event from the client."""
        try:
            self._take(event, now)
        except RealtimeError as error:
            self.refuse(error, event.get("event_id"))
        except RecursionError:
            too_deep = RealtimeError("The event is nested too deeply.", code="invalid_event")
            self.refuse(too_deep, event.get("event_id"))

    def append(self, audio: bytes) -> bool:
        """Take a piece of the caller's audio, without an event: on the hot path.

        Returns:
            Whether `ear` has a window to be judged. Nothing else needs to be drained.
        """
        return self._input.append(audio)

    def voice(self, probability: float, now: float) -> bool:
        """Take the probability of speech in the next window of `ear`.

        Returns:
            Whether anything came of it; mostly not, and then nothing needs to be drained.
        """
        change = self._input.voice(probability)
        if change is None:
            return False
        if isinstance(change, TurnStarted):
            self._start_turn(change.audio_start_ms, now)
        else:
            self._end_turn(change, now)
        return True

    def speak(self, request: SpeechRequest, clips: Sequence[bytes], now: float) -> None:
        """Take the sound of a line of `lines_to_speak`: one clip per phrase.

        It may come late, when its response was cancelled long ago.
        """
        if self._response is not None and self._response.id == request.response_id:
            self._response.speak(compose(request.line, clips, request.format), now)

    def refuse(self, error: RealtimeError, event_id: object = None) -> None:
        """Answer something with an `error` event."""
        asked = event_id if isinstance(event_id, str) else None
        self._out.append(error_event(error, event_id=self._id("event"), client_event_id=asked))

    # Outputs.

    @property
    def ear(self) -> Ear:
        """The audio that waits for the voice detector."""
        return self._input.ear

    def events(self) -> list[Event]:
        """The events to send, in order; each is handed out once."""
        out, self._out = self._out, []
        return out

    def lines_to_speak(self) -> list[SpeechRequest]:
        """Lines whose sound is wanted; each is handed out once, and answered by `speak`."""
        wanted, self._to_speak = self._to_speak, []
        return wanted

    def timeout(self, now: float) -> None:
        """Do what is due."""
        if self._response is not None:
            self._response.timeout(now)
            self._settle(now)
        if self._idle_at is not None and now >= self._idle_at:
            self._idle_at = None
            self._idle_spent = True
            if self._response is None and not self._input.speaking:
                self._respond(self._run.idle(), None, now)
        if now >= self._expires_at and not self.ended:
            self.ended = True
            message = f"Your session hit the maximum duration of {self._limit_s / 60:g} minutes."
            self.refuse(RealtimeError(message, code="session_expired"))

    def next_timeout(self) -> float | None:
        """When `timeout` is due next; None when the session has ended."""
        if self.ended:
            return None
        response_at = None if self._response is None else self._response.next_timeout()
        deadlines = (self._expires_at, response_at, self._idle_at)
        return min(at for at in deadlines if at is not None)

    # Client events.

    def _take(self, event: Event, now: float) -> None:
        match event["type"]:
            case "input_audio_buffer.append":
                self._input.append(requests.audio(event))
            case "input_audio_buffer.commit":
                length_ms = self._input.commit()
                self._commit(self._id("item"), length_ms, length_ms)
            case "input_audio_buffer.clear":
                self._input.clear()
                self._emit("input_audio_buffer.cleared")
            case "session.update":
                self._configure(event)
            case "response.create":
                self._create_response(event, now)
            case "response.cancel":
                self._cancel_response(event.get("response_id"), now)
            case "conversation.item.create":
                self._create_item(event)
            case "conversation.item.truncate":
                named = {key: event.get(key) for key in ("item_id", "content_index")}
                end_ms = event.get("audio_end_ms")
                self._conversation.truncate(**named, audio_end_ms=end_ms)
                self._emit("conversation.item.truncated", **named, audio_end_ms=end_ms)
            case "conversation.item.delete":
                self._conversation.delete(event.get("item_id"))
                self._emit("conversation.item.deleted", item_id=event["item_id"])
            case "conversation.item.retrieve":
                item = self._conversation.retrieve(event.get("item_id"))
                self._emit("conversation.item.retrieved", item=item.shown())
            case unknown:
                raise invalid("type", unknown, "the type of a client event")

    def _configure(self, event: Event) -> None:
        self._config.update(event.get("session"), voice_locked=self._voiced)
        self._input.configure(self._config.input_format, self._config.turns)
        self._emit("session.updated", session=self._config.shown())

    def _create_item(self, event: Event) -> None:
        item = client_item(event.get("item"), self._id("item"))
        self._add_item(item, requests.previous_item_id(event))
        heard = requests.user_input(item.body)
        if heard is not None:
            self._heard = heard
            self._caller_acted()

    def _create_response(self, event: Event, now: float) -> None:
        wanted = requests.response(event)
        if self._response is not None:
            raise RealtimeError(
                "Conversation already has an active response in progress: "
                f"{self._response.id}. Wait until the response is finished before creating a "
                "new one.",
                code="conversation_already_has_active_response",
            )
        self._respond(wanted.line or self._next_line(), wanted.metadata, now)

    def _cancel_response(self, response_id: object, now: float) -> None:
        response = self._response
        if response is None or response_id not in (None, response.id):
            message = "Cancellation failed: no active response found"
            raise RealtimeError(message, code="response_cancel_not_active")
        response.cancel("client_cancelled", now)
        self._settle(now)

    # Turns.

    def _start_turn(self, audio_start_ms: int, now: float) -> None:
        self._turn_item = self._id("item")
        self._turn_from_ms = audio_start_ms
        self._caller_acted()
        self._emit(
            "input_audio_buffer.speech_started",
            audio_start_ms=audio_start_ms,
            item_id=self._turn_item,
        )
        turns = self._config.turns
        if self._response is not None and turns is not None and turns.interrupt_response:
            self._response.cancel("turn_detected", now)
            self._settle(now)

    def _end_turn(self, change: TurnStopped, now: float) -> None:
        end_ms, item_id = change.audio_end_ms, self._turn_item
        self._emit("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=item_id)
        self._commit(item_id, end_ms - self._turn_from_ms, change.speech_ms)
        turns = self._config.turns
        if turns is not None and turns.create_response and self._response is None:
            self._respond(self._next_line(), None, now)

    def _commit(self, item_id: str, length_ms: int, speech_ms: int) -> None:
        """What the caller said becomes an item, and what the next response answers."""
        item = spoken_item(item_id, length_ms)
        previous = self._conversation.last
        self._emit("input_audio_buffer.committed", previous_item_id=previous, item_id=item_id)
        self._add_item(item, None)
        self._heard = Spoke(speech_ms)

    def _add_item(self, item: Item, after: str | None) -> None:
        previous = self._conversation.insert(item, after)
        for change in ("added", "done"):
            self._emit(f"conversation.item.{change}", previous_item_id=previous, item=item.shown())

    def _caller_acted(self) -> None:
        self._idle_at = None
        self._idle_spent = False

    # Responses.

    def _next_line(self) -> Line:
        """What to say next: the greeting, then answers."""
        heard, self._heard = self._heard, None
        if self._greeted:
            return self._run.answer(heard)
        self._greeted = True
        return self._run.greeting()

    def _respond(self, line: Line, metadata: dict[str, str] | None, now: float) -> None:
        self._idle_at = None
        audio_format = self._config.output_format
        self._response = Response(
            self._id("resp"),
            self._id("item"),
            audio_format=audio_format,
            resource={
                "output_modalities": ["audio"],
                "max_output_tokens": "inf",
                "audio": {
                    "output": {"format": audio_format.to_session(), "voice": self._config.voice}
                },
                "metadata": metadata,
            },
            conversation=self._conversation,
            pacing=self._pacing,
            random=self._random,
            emit=self._emit,
            now=now,
        )
        self._to_speak.append(SpeechRequest(self._response.id, line, audio_format))

    def _settle(self, now: float) -> None:
        """Look after a response that may have ended."""
        response = self._response
        if response is None:
            return
        self._voiced |= response.began
        if response.phase is not Phase.DONE:
            return
        self._response = None
        if not self._voiced:
            self._greeted = False  # cut off before a sound: the greeting is still owed
        limits = [
            {"name": name, "limit": limit, "remaining": limit, "reset_seconds": 0}
            for name, limit in _RATE_LIMITS
        ]
        self._emit("rate_limits.updated", rate_limits=limits)
        idle_s = self._run.idle_s()
        if idle_s is None or self._idle_spent or self._config.turns is None:
            return
        if not self._input.speaking:
            self._idle_at = max(now, response.plays_until) + idle_s

    # Ids and events.

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{self._token()}"

    def _emit(self, kind: str, /, **fields: Any) -> None:
        self._out.append({"type": kind, "event_id": self._id("event"), **fields})
