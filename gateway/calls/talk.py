"""The conversation of a call, whatever session carries it.

    Conversation   turns, interruptions, digits
    Memory         what a new session must know
    Continuity     when a new session is due
    Patience       what happens when nobody speaks

Here they are put together: what the server says is shown to each of them, and what they want sent
reaches the session that the call has. While it has none, events of clients wait for the next one.

A session that takes over is told the conversation so far: items with the ids that everybody knows,
as text. Its echo of them is news to nobody and is hidden. An item that lives as text cannot be
truncated; it is replaced by what was heard of it.

Pure: events, news and `now` in; effects out.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from gateway.audio.playout import Heard, ItemPart, Started, Stopped
from gateway.calls.continuity import Act, Continuity, Link, SessionFailed, SessionOpened
from gateway.calls.conversation import Conversation
from gateway.calls.effects import (
    Background,
    Effect,
    JoinSession,
    Note,
    OpenSession,
    PlayApology,
    TellSpeech,
    TellTurn,
    ToBackend,
    ToControl,
)
from gateway.calls.memory import Memory
from gateway.calls.patience import End, Fill, Patience, Say
from gateway.calls.policy import CallPolicy
from gateway.realtime import events
from gateway.realtime.events import Event, text_of

APOLOGY: Final = ItemPart("", "apology", 0)
"""What the gateway says by itself is no part of the conversation."""
_MAX_APOLOGY_S: Final = 60.0
_MAX_HELD: Final = 256
_PASSING: Final = frozenset(
    {
        "input_audio_buffer.append",
        "input_audio_buffer.commit",
        "input_audio_buffer.clear",
        "response.cancel",
    }
)
"""Client events that mean nothing to another session."""
_LOST: Final = ("session_lost", "The connection to the model was lost.")
_EXPIRED: Final = ("session_expired", "The session with the model has reached its time limit.")


class Talk:
    """All that is said in one call.

    Args:
        policy: see `CallPolicy`.
        new_event_id: makes ids for the events that the gateway originates.
    """

    def __init__(self, policy: CallPolicy, *, new_event_id: Callable[[], str]) -> None:
        self.conversation = Conversation(
            new_event_id=new_event_id, digits_to_model=policy.digits_to_model
        )
        self.continuity = Continuity(policy.continuity)
        self.over = ""
        """Why the call is to be ended; "" while it is not."""
        self._new_event_id = new_event_id
        self._memory = Memory({}, new_event_id=new_event_id)
        self._patience = Patience(policy.patience)
        self._next: tuple[SessionOpened, float] | None = None  # opened to take over, and when
        self._held: list[Event] = []  # of clients, until there is a session
        self._retold: set[str] = set()  # items that the session knows as text
        self._echoes: Counter[tuple[str, str]] = Counter()  # server events that are no news
        self._retelling: set[str] = set()  # ids of the events that retell
        self._untold_turn = ""  # the caller's latest item, while nobody wrote down what it says
        self._filling = False
        self._background = ""
        self._has_apology = policy.has_apology
        self._answered = False
        self._apology_until: float | None = None

    # Sessions.

    def begin(self, session: dict[str, Any]) -> list[Effect]:
        """The call wants its first session, of this config."""
        self._memory = Memory(session, new_event_id=self._new_event_id)
        return [OpenSession(session)]

    def first_failed(self, failed: SessionFailed) -> list[Effect]:
        """The first session could not be had; none of the effects says that this is the end."""
        return [] if failed.refused else self._act(self.continuity.first_failed(), 0.0)

    def began(self, opened: SessionOpened, now: float) -> list[Effect]:
        """The first session is there."""
        self.continuity.began(opened.lives_s, now)
        self._configured(opened)
        return [JoinSession()]

    def session_opened(self, opened: SessionOpened, now: float) -> list[Effect]:
        """A further session is there."""
        self._next = (opened, now)
        return [*self._act(self.continuity.opened(now), now), *self._when_quiet(now)]

    def session_failed(self, failed: SessionFailed, now: float) -> list[Effect]:
        """A further session could not be had."""
        self.continuity.failed(failed.retry_after_s, now)
        return self._act(self.continuity.timeout(now), now)

    def session_lost(self, reason: str, now: float) -> list[Effect]:
        """The call's session is gone."""
        acts = self.continuity.lost(now)
        effects: list[Effect] = [Note("session.lost", {"reason": reason}, "warning")]
        effects += self._outgoing(now, self.conversation.lost(*_LOST))
        effects += self._settle(self._patience.lost(now), now)
        return [*effects, *self._act(acts, now), *self._sound()]

    def next_lost(self, reason: str, now: float) -> list[Effect]:
        """The session that was to take over is gone before it did."""
        self.continuity.next_lost(now)
        return [Note("session.lost", {"reason": reason, "joined": False}, "warning")]

    # What is said.

    def answered(self, now: float, *, greet: bool) -> list[Effect]:
        """The caller is there; `greet` has the model speak first."""
        self._answered = True
        effects = self._settle(self._patience.answered(now), now)
        return [*effects, *self._outgoing(now, self.conversation.say() if greet else [])]

    def server_event(self, event: Event, now: float) -> list[Effect]:
        """An event of the session, audio deltas excepted."""
        if self._is_echo(event):
            return []
        self._memory.server_event(event)
        self._watch_turn(event)
        effects = self._outgoing(now, self.conversation.server_event(event, now))
        effects += self._settle(self._patience.server_event(event, now), now)
        return [*effects, *self._when_quiet(now)]

    def client_event(self, event: Event, now: float) -> list[Effect]:
        """An event from a client that controls the call."""
        effects = self._outgoing(now, self.conversation.client_event(event))
        if event["type"] == "response.create":
            return effects  # patience hears of all of them, whoever asks
        return [*effects, *self._settle(self._patience.client_event(event, now), now)]

    def played(self, mark: Started | Stopped, now: float) -> list[Effect]:
        """The playout passed the start or the end of a response."""
        if mark.part == APOLOGY:
            if isinstance(mark, Stopped):
                self._end("session_lost")
            return []
        effects = self._outgoing(now, self.conversation.played(mark, now))
        return [*effects, *self._settle(self._patience.played(mark, now), now)]

    def digit(self, digit: str, received_at: int, now: float) -> list[Effect]:
        """One key press."""
        effects = self._outgoing(now, self.conversation.digit(digit, received_at, now))
        return [*effects, *self._settle(self._patience.digit(now), now)]

    def cleared(self, heard: list[Heard], cause: str, now: float) -> list[Effect]:
        """The playout was emptied."""
        heard = [entry for entry in heard if entry.part != APOLOGY]
        for entry in heard:
            self._memory.cut(entry)
        if self.conversation.active:
            self._memory.interrupt(self.conversation.active)
        effects = self._outgoing(now, self.conversation.cleared(heard, cause))
        return [*effects, *self._settle(self._patience.cleared(now), now)]

    def held(self, on: bool, now: float) -> list[Effect]:
        """The caller put us on hold, or came back."""
        return self._settle(self._patience.held(on, now), now)

    def too_long(self, now: float) -> list[Effect]:
        """The call has lasted as long as it may."""
        return self._settle(self._patience.too_long(now), now)

    def timeout(self, now: float) -> list[Effect]:
        """The clock reached `next_timeout()`, or passed it."""
        if self._apology_until is not None and now >= self._apology_until:
            self._end("session_lost")
        effects = self._act(self.continuity.timeout(now), now)
        effects += self._outgoing(now, self.conversation.timeout(now))
        return [*effects, *self._settle(self._patience.timeout(now), now), *self._when_quiet(now)]

    def next_timeout(self) -> float | None:
        parts = (self.continuity, self.conversation, self._patience)
        times = (self._apology_until, *(part.next_timeout() for part in parts))
        return min((at for at in times if at is not None), default=None)

    # Handing over.

    def _act(self, acts: list[Act], now: float) -> list[Effect]:
        effects: list[Effect] = []
        for act in acts:
            match act:
                case Act.OPEN:
                    effects.append(OpenSession(self._memory.session))
                case Act.OPEN_FALLBACK:
                    effects.append(OpenSession(self._memory.session, fallback=True))
                case Act.JOIN:
                    effects += self._join(now)
                case Act.GIVE_UP:
                    after_s = round(self.continuity.gap_s(now), 3)
                    effects.append(Note("session.gave_up", {"after_s": after_s}, "warning"))
                    effects += [*self._sound(), *self._apologise(now)]
        return effects

    def _apologise(self, now: float) -> list[Effect]:
        """Say the recorded words, if there are any and somebody hears them; then it is over."""
        if not self._has_apology or not self._answered:
            self._end("session_lost")
            return []
        self._apology_until = now + _MAX_APOLOGY_S
        return [PlayApology()]

    def _end(self, reason: str) -> None:
        self.over = self.over or reason

    def _configured(self, opened: SessionOpened) -> None:
        self.conversation.configured(opened.session, cancels=opened.cancels)
        self._patience.configured(opened.session)

    def _when_quiet(self, now: float) -> list[Effect]:
        quiet = self.continuity.state is Link.READY and self.conversation.is_quiet
        return self._act(self.continuity.quiet(), now) if quiet else []

    def _join(self, now: float) -> list[Effect]:
        """Go on with the session that was opened to take over."""
        if self._next is None:
            return []
        (opened, opened_at), self._next = self._next, None
        planned = not self.continuity.is_lost
        gap_ms = round(self.continuity.gap_s(now) * 1000)
        # A response that runs into the limit ends as it would have ended there.
        effects = [] if not planned else self.conversation.lost(*_EXPIRED)
        left_s = None if opened.lives_s is None else opened.lives_s - (now - opened_at)
        self.continuity.joined(left_s, now)
        self._configured(opened)
        effects += [JoinSession(), *self._retell()]
        effects += [ToBackend(event) for event in self._memory.unanswered()]
        held, self._held = self._held, []
        effects += self._outgoing(now, [ToBackend(event) for event in held])
        fields = {"planned": planned, "gap_ms": gap_ms, "items": len(self._retold)}
        updated = events.session_updated(opened.session, self._new_event_id())
        effects += [TellSpeech(), Note("session.resumed", fields), ToControl(updated)]
        effects += self._settle(self._patience.resumed(now), now)
        return [*effects, *self._outgoing(now, self.conversation.resumed())]

    def _retell(self) -> list[Effect]:
        """Tell the new session what was said so far."""
        self._retold.clear()
        self._echoes.clear()
        self._retelling.clear()
        effects: list[Effect] = []
        for event in self._memory.replay():
            item_id = text_of(event, "item", "id")
            self._retold.add(item_id)
            self._expect_echo(event)
            untold = bool(item_id) and item_id == self._untold_turn
            effects.append(TellTurn(event) if untold else ToBackend(event))
        return effects

    def _expect_echo(self, event: Event) -> None:
        self._retelling.add(event["event_id"])
        if event["type"] == "conversation.item.delete":
            self._echoes["conversation.item.deleted", text_of(event, "item_id")] += 1
            return
        for change in ("added", "done"):
            self._echoes[f"conversation.item.{change}", text_of(event, "item", "id")] += 1

    def _is_echo(self, event: Event) -> bool:
        """Whether the server only repeats what it was retold, or could not take it."""
        kind = event["type"]
        if kind == "error":
            return text_of(event, "error", "event_id") in self._retelling
        if not kind.startswith("conversation.item."):
            return False
        place = (kind, text_of(event, "item_id") or text_of(event, "item", "id"))
        if self._echoes[place] <= 0:
            del self._echoes[place]
            return False
        self._echoes[place] -= 1
        return True

    def _watch_turn(self, event: Event) -> None:
        kind = event["type"]
        if kind == "input_audio_buffer.committed":
            self._untold_turn = text_of(event, "item_id")
        elif kind == "conversation.item.input_audio_transcription.completed":
            if text_of(event, "item_id") == self._untold_turn:
                self._untold_turn = ""

    # Sending.

    def _outgoing(self, now: float, effects: list[Effect]) -> list[Effect]:
        """The effects, with what goes to the session fit for the one that there is."""
        fit: list[Effect] = []
        for effect in effects:
            if isinstance(effect, ToBackend):
                fit += self._to_session(effect.event, now)
            else:
                fit.append(effect)
        return fit

    def _to_session(self, event: Event, now: float) -> list[Effect]:
        kind = event["type"]
        lost = self.continuity.is_lost
        wishes = self._patience.client_event(event, now) if kind == "response.create" else []
        if kind == "conversation.item.truncate":
            if lost or text_of(event, "item_id") in self._retold:
                return self._rewrite(event, lost)
        if not lost:
            return [ToBackend(self._memory.to_backend(event)), *self._settle(wishes, now)]
        if kind not in _PASSING and len(self._held) < _MAX_HELD:
            self._held.append(event)
        return self._settle(wishes, now)

    def _rewrite(self, event: Event, lost: bool) -> list[Effect]:
        """Cut an item that the session knows as text; the next one will be told no more of it."""
        item_id, end_ms = text_of(event, "item_id"), event.get("audio_end_ms", 0)
        effects: list[Effect] = []
        for told in [] if lost else self._memory.rewrite(item_id):
            self._expect_echo(told)
            effects.append(ToBackend(told))
        index = event.get("content_index", 0)
        done = events.truncated(item_id, index, end_ms, self._new_event_id())
        return [*effects, ToControl(done)]

    def _settle(self, wishes: list[Fill | Say | End], now: float) -> list[Effect]:
        """Do what patience asks for."""
        effects: list[Effect] = []
        for wish in wishes:
            match wish:
                case Fill(on):
                    self._filling = on
                case Say(instructions):
                    effects += self._outgoing(now, self.conversation.say(instructions))
                case End(reason):
                    self._end(reason)
        return [*effects, *self._sound()]

    def _sound(self) -> list[Effect]:
        """What is to be heard while nobody speaks, if that has changed."""
        lost = self.continuity.state is Link.LOST
        wanted = "comfort" if lost else "filler" if self._filling else ""
        if wanted == self._background:
            return []
        self._background = wanted
        return [Background(wanted)]
