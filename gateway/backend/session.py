"""One Realtime session, as the server sees it. Pure.

Client events, the caller's audio, probabilities of speech and the clock come in; server events,
lines to be spoken and the next deadline come out:

    receive(event)  append(audio)  voice(probability)  speak(clips)  timeout(now)
        -> events()  lines_to_speak()  next_timeout()       drain these after each of the above

What a client may rely on:

* `response.create` while a response runs is an error; the running one goes on. Responses outside of
  the conversation run beside it.
* Speech that starts cancels the running response when the session says `interrupt_response`. The
  events of the cancelled response follow `speech_started`. Audio that the client still plays is the
  client's affair: it sends `conversation.item.truncate` for what was not heard.
* With `turn_detection: null` nothing happens by itself: the client commits and asks for responses.
* `idle_timeout_ms` counts from the end of what the agent has said, as a client plays it that plays
  at once. Without it the dialogue's own `idle_s` does the same, but commits nothing.
* MCP servers are never reached: for each that a session names, the listing of its tools fails.
* A transcription session makes no responses.
* An event that cannot be served is answered by `error` with its `event_id`, and changes nothing.
"""

from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.backend.agent import Agent
from gateway.backend.client_items import ClientItems
from gateway.backend.config import Pacing, RateLimits
from gateway.backend.dialogue import Dialogue, Spoke
from gateway.backend.ear import Ear
from gateway.backend.input_buffer import InputBuffer
from gateway.backend.items import Conversation, Item, listing_item, spoken_item
from gateway.backend.plans import Plan, plan_response
from gateway.backend.session_config import Kind, SessionConfig
from gateway.backend.speech import SpeechRequest, compose
from gateway.backend.transcription import Heard, Transcriber
from gateway.backend.turns import TurnStarted, TurnStopped
from gateway.realtime.client_events import check_client_event
from gateway.realtime.errors import RealtimeError, error_event
from gateway.realtime.events import Event


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What the server decides about a session before it starts."""

    dialogue: Dialogue
    model: str
    started_at: int
    """Unix time, for `expires_at`."""
    limit_s: float
    pacing: Pacing
    kind: Kind = "realtime"
    rate_limits: RateLimits = field(default_factory=RateLimits)


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
        self._token = token
        self._out: list[Event] = []
        self._config = SessionConfig(
            f"sess_{token()}",
            options.kind,
            model=options.model,
            expires_at=int(options.started_at + options.limit_s),
        )
        self._input = InputBuffer(self._config.input_format, self._config.turns)
        self._conversation = Conversation(f"conv_{token()}")
        self._client_items = ClientItems(self._conversation, token)
        self._agent = Agent(
            options.dialogue,
            self._conversation,
            pacing=options.pacing,
            rate_limits=options.rate_limits,
            token=token,
            random=random,
            emit=self._emit,
            now=now,
        )
        self._transcriber = Transcriber(
            self._conversation,
            self._emit,
            lambda: (options.pacing.first_audio_ms + random() * options.pacing.jitter_ms) / 1000,
        )
        self._mcp_servers: set[str] = set()
        self._turn_from_ms = 0
        self._limit_s = options.limit_s
        self._expires_at = now + options.limit_s
        self.ended = False
        """The session is over: send what is drained, then close the connection."""
        self._emit("session.created", session=self._config.shown())

    # Inputs.

    def receive(self, event: Event, now: float) -> None:
        """Take one event from the client."""
        try:
            self._take(check_client_event(event), now)
        except RealtimeError as error:
            self.refuse(error, event.get("event_id"))

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
        self._agent.speak(request, compose(request.line, clips, request.format), now)

    def refuse(self, error: RealtimeError, event_id: object = None) -> None:
        """Answer something with an `error` event."""
        asked = event_id if isinstance(event_id, str) else None
        self._out.append(error_event(error, event_id=self._id("event"), client_event_id=asked))

    # Outputs.

    @property
    def id(self) -> str:
        session_id: str = self._config.fields["id"]
        return session_id

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
        return self._agent.lines_to_speak()

    def timeout(self, now: float) -> None:
        """Do what is due."""
        self._agent.timeout(now)
        self._transcriber.timeout(now)
        idle_at = self._idle_at()
        if idle_at is not None and now >= idle_at:
            self._idle(now)
        if now >= self._expires_at and not self.ended:
            self.ended = True
            whole = self._limit_s % 60 == 0
            limit = f"{self._limit_s / 60:g} minutes" if whole else f"{self._limit_s:g} seconds"
            message = f"Your session hit the maximum duration of {limit}."
            self.refuse(RealtimeError(message, code="session_expired"))

    def expire(self, now: float) -> None:
        """End the session as it ends at its limit, though that is not reached."""
        self._expires_at = now
        self.timeout(now)

    def next_timeout(self) -> float | None:
        """When `timeout` is due next; None when the session has ended."""
        if self.ended:
            return None
        deadlines = (
            self._expires_at,
            self._agent.next_timeout(),
            self._transcriber.next_timeout(),
            self._idle_at(),
        )
        return min(at for at in deadlines if at is not None)

    # Client events.

    def _take(self, event: Event, now: float) -> None:
        match event["type"]:
            case "input_audio_buffer.append":
                self._input.append(b64decode(event["audio"]))
            case "input_audio_buffer.commit":
                self._commit_buffer(now)
            case "input_audio_buffer.clear":
                speaking = self._input.speaking
                self._input.clear()
                self._conversation.upcoming = ""
                if speaking:
                    self._agent.overlook(now)
                self._emit("input_audio_buffer.cleared")
            case "session.update":
                self._configure(event["session"], now)
            case "response.create":
                self._create_response(event.get("response") or {}, now)
            case "response.cancel":
                self._agent.cancel(event.get("response_id"), now)
            case "conversation.item.create":
                self._create_item(event["item"], event.get("previous_item_id"), now)
            case "conversation.item.truncate":
                place = {n: event[n] for n in ("item_id", "content_index", "audio_end_ms")}
                self._conversation.truncate(**place)
                self._emit("conversation.item.truncated", **place)
            case "conversation.item.delete":
                self._conversation.delete(event["item_id"])
                self._emit("conversation.item.deleted", item_id=event["item_id"])
            case "conversation.item.retrieve":
                item = self._conversation.retrieve(event["item_id"])
                self._emit("conversation.item.retrieved", item=item.shown())
            case kind:  # output_audio_buffer.clear
                message = f"'{kind}' is for WebRTC and SIP only: over a WebSocket the client plays."
                raise RealtimeError(message, code="invalid_value", param="type")

    def _configure(self, session: dict[str, Any], now: float) -> None:
        self._config.update(session, voice_locked=self._agent.voiced)
        speaking = self._input.speaking
        self._input.configure(self._config.input_format, self._config.turns)
        if speaking and not self._input.speaking:
            self._agent.overlook(now)
            if self._config.turns is not None:  # else the client may still commit the item
                self._conversation.upcoming = ""
        self._emit("session.updated", session=self._config.shown())
        for server in self._config.mcp_servers:
            if server not in self._mcp_servers:
                self._mcp_servers.add(server)
                self._fail_listing(server)

    def _fail_listing(self, server: str) -> None:
        item = listing_item(self._conversation.new_id(self._token), server)
        previous = self._conversation.insert(item)
        self._emit("conversation.item.added", previous_item_id=previous, item=item.shown())
        for change in ("in_progress", "failed"):
            self._emit(f"mcp_list_tools.{change}", item_id=item.id)

    def _create_item(self, value: dict[str, Any], after: str | None, now: float) -> None:
        item = self._client_items.created(value, self._config.input_format)
        self._add_item(item, after)
        heard = self._client_items.heard(item)
        if heard is not None:
            self._agent.hear(heard)
            self._agent.notice()
        elif item.body.get("role") == "assistant" or item.body["type"] == "function_call":
            said = " ".join(part.get("text", "") for part in item.body.get("content", ()))
            self._agent.follow(said, now)

    def _create_response(self, asked: dict[str, Any], now: float) -> None:
        if self._config.kind != "realtime":
            message = "A transcription session makes no responses."
            raise RealtimeError(message, code="invalid_value", param="type")
        context = heard = None
        if "input" in asked:
            context = self._client_items.input(asked["input"], self._config.input_format)
            heard = self._client_items.heard(context[-1], context) if context else None
        self._agent.create(self._plan(asked, context), heard, now)

    def _plan(self, asked: dict[str, Any], context: Sequence[Item] | None = None) -> Plan:
        return plan_response(self._config, asked, context, voice_locked=self._agent.voiced)

    # Turns.

    def _start_turn(self, audio_start_ms: int, now: float) -> None:
        item_id = self._conversation.upcoming = self._conversation.new_id(self._token)
        self._turn_from_ms = audio_start_ms
        self._emit(
            "input_audio_buffer.speech_started", audio_start_ms=audio_start_ms, item_id=item_id
        )
        turns = self._config.turns
        if turns is not None and turns.interrupt_response:
            self._agent.interrupt(now)
        self._agent.notice()

    def _end_turn(self, change: TurnStopped, now: float) -> None:
        end_ms, item_id = change.audio_end_ms, self._conversation.upcoming
        self._emit("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=item_id)
        heard = Heard("speech", change.speech_ms)
        self._commit(item_id, end_ms - self._turn_from_ms, heard, now)
        self._agent.hear(Spoke(change.speech_ms))
        turns = self._config.turns
        if turns is not None and turns.create_response:
            self._answer(self._agent.answer, now)

    def _commit_buffer(self, now: float) -> None:
        """The client's commit, which may cut off a turn that has begun."""
        length_ms = self._input.commit()
        item_id = self._conversation.upcoming or self._conversation.new_id(self._token)
        self._commit(item_id, length_ms, Heard("audio", length_ms), now)
        self._agent.hear(Spoke(length_ms))

    def _commit(self, item_id: str, length_ms: int, heard: Heard, now: float) -> None:
        """What came from the caller becomes an item."""
        self._conversation.upcoming = ""
        previous = self._conversation.last
        self._emit("input_audio_buffer.committed", previous_item_id=previous, item_id=item_id)
        self._add_item(spoken_item(item_id, length_ms), None)
        if self._config.transcribes:
            self._transcriber.transcribe(item_id, heard, now)

    def _add_item(self, item: Item, after: str | None) -> None:
        previous = self._conversation.insert(item, after)
        for change in ("added", "done"):
            self._emit(f"conversation.item.{change}", previous_item_id=previous, item=item.shown())

    def _answer(self, respond: Callable[[Plan, float], None], now: float) -> None:
        """Respond without having been asked, if the session and what goes on allow it."""
        if self._config.kind == "realtime" and not self._agent.busy:
            respond(self._plan({}), now)

    # Silence.

    def _idle_at(self) -> float | None:
        """When the caller has been silent for too long."""
        since, turns = self._agent.silent_since, self._config.turns
        if since is None or turns is None or self._input.speaking:
            return None
        if turns.idle_timeout_ms is not None:
            return since + turns.idle_timeout_ms / 1000
        idle_s = self._agent.idle_s()
        return None if idle_s is None else since + idle_s

    def _idle(self, now: float) -> None:
        turns = self._config.turns
        if turns is not None and turns.idle_timeout_ms is not None:
            start_ms, end_ms = self._input.take_silence(turns.idle_timeout_ms)
            item_id = self._conversation.new_id(self._token)
            self._emit(
                "input_audio_buffer.timeout_triggered",
                item_id=item_id,
                audio_start_ms=start_ms,
                audio_end_ms=end_ms,
            )
            length_ms = end_ms - start_ms
            self._commit(item_id, length_ms, Heard("silence", length_ms), now)
        self._answer(self._agent.prompt, now)

    # Ids and events.

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{self._token()}"

    def _emit(self, kind: str, /, **fields: Any) -> None:
        self._out.append({"type": kind, "event_id": self._id("event"), **fields})
