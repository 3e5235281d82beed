"""The conversation of a call, whatever session carries it.

    Conversation   turns, interruptions, digits
    Memory         what a new session must know
    Continuity     when a new session is due
    Retelling      what a new session was told
    Patience       what happens when nobody speaks
    Farewell       how it ends

Here they are put together: what the server says is shown to each of them, and what they want sent
reaches the session that the call has. While it has none, events of clients wait for the next one.

Pure: events, news and `now` in; effects out.
"""

from collections.abc import Callable
from typing import Final

from gateway.audio.playout import Heard, Started, Stopped
from gateway.calls.continuity import Act, Continuity, Link, SessionFailed, SessionOpened
from gateway.calls.conversation import Conversation
from gateway.calls.effects import (
    Background,
    DropSession,
    Effect,
    JoinSession,
    Note,
    OpenSession,
    TellSpeech,
    ToBackend,
    ToControl,
)
from gateway.calls.farewell import APOLOGY, Farewell
from gateway.calls.memory import Memory
from gateway.calls.patience import End, Fill, Patience, Say
from gateway.calls.policy import CallPolicy
from gateway.calls.retelling import Retelling
from gateway.realtime import events
from gateway.realtime.errors import RealtimeError, error_event
from gateway.realtime.events import Event, encode_event, text_of
from gateway.realtime.session import Session, without_fixed

_MAX_HELD_BYTES: Final = 1 << 20
"""Of events that wait for a session; from a quarter of it on, clients should wait themselves."""
_PASSING: Final = frozenset(
    {"input_audio_buffer.append", "input_audio_buffer.clear", "response.cancel"}
)
"""Client events that mean nothing to another session."""
_LOST: Final = RealtimeError(
    "The connection to the model was lost.", code="session_lost", kind="server_error"
)
_EXPIRED: Final = RealtimeError(
    "The session with the model has reached its time limit.",
    code="session_expired",
    kind="server_error",
)
_TOO_MUCH: Final = RealtimeError(
    "The model is away, and too much waits for it.", code="session_lost", kind="server_error"
)


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
        self._policy = policy
        self._new_event_id = new_event_id
        self._memory = Memory({}, new_event_id=new_event_id)
        self._patience = Patience(policy.patience)
        self._farewell = Farewell(has_apology=policy.has_apology)
        self._retelling = Retelling()
        self._config: Session = {}  # what the session that was opened last is configured with
        self._next: tuple[SessionOpened, float] | None = None  # opened to take over, and when
        self._held: list[Event] = []  # of clients, until there is a session
        self._held_bytes = 0
        self._answered = False
        self._on_hold = self._away = False
        self._cut = False  # a response was under way when the session before was left
        self._filling = False
        self._background = ""

    @property
    def over(self) -> str:
        """Why the call is to be ended; "" while it is not."""
        return self._farewell.over

    @property
    def congested(self) -> bool:
        """Whether so much waits for a session that clients should."""
        return self._held_bytes > _MAX_HELD_BYTES // 4

    # Sessions.

    def begin(self, session: Session) -> list[Effect]:
        """The call wants its first session, of this config."""
        self._memory = Memory(session, new_event_id=self._new_event_id)
        self.continuity = Continuity(self._policy.continuity)
        return [self._open()]

    def first_failed(self, failed: SessionFailed) -> list[Effect]:
        """The first session could not be had; nothing to be done says that this is the end."""
        elsewhere = not failed.refused and self.continuity.first_failed()
        return [self._open(fallback=True)] if elsewhere else []

    def began(self, opened: SessionOpened, now: float) -> list[Effect]:
        """The first session is there."""
        self.continuity.began(opened.lives_s, now)
        self._configured(opened)
        return [JoinSession()]

    def session_opened(self, opened: SessionOpened, now: float) -> list[Effect]:
        """A further session is there."""
        if self.continuity.state is Link.GONE:
            return [DropSession()]
        self._next = (opened, now)
        return [*self._act(self.continuity.opened(now), now), *self._when_quiet(now)]

    def session_failed(self, failed: SessionFailed, now: float) -> list[Effect]:
        """A further session could not be had."""
        if failed.refused:
            self._memory.forget_updates()  # the first config was good enough for a session
        self.continuity.failed(failed.retry_after_s, now)
        return self._act(self.continuity.timeout(now), now)

    def session_lost(self, reason: str, now: float) -> list[Effect]:
        """The call's session is gone."""
        acts = self.continuity.lost(now)
        effects: list[Effect] = [Note("session.lost", {"reason": reason}, "warning")]
        self._cut = bool(self.conversation.active)
        effects += self._outgoing(now, self.conversation.lost(_LOST))
        effects += self._settle(self._patience.lost(now), now)
        return [*effects, *self._act(acts, now), *self._sound()]

    def next_lost(self, reason: str, now: float) -> list[Effect]:
        """The session that was to take over is gone before it did."""
        self._next = None
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
        echo = self._retelling.hear(event)
        if echo is not None:
            return echo
        self._memory.server_event(event)
        said = self.conversation.server_event(event, now)
        effects = self._outgoing(now, said)
        # What is said of a response may be ours, where the server forgot to.
        made = [one.event for one in said if isinstance(one, ToControl) and one.event is not event]
        for news in (event, *made):
            effects += self._settle(self._patience.server_event(news, now), now)
        return [*effects, *self._when_quiet(now)]

    def client_event(self, event: Event, now: float) -> list[Effect]:
        """An event from a client that controls the call."""
        effects = self._outgoing(now, self.conversation.client_event(event))
        if event["type"] == "response.create":
            return effects  # patience hears of all of them, whoever asks
        return [*effects, *self._settle(self._patience.client_event(event, now), now)]

    def played(self, mark: Started | Stopped, now: float) -> list[Effect]:
        """The playout passed the start or the end of a response."""
        self._farewell.played(mark, now)
        if mark.part == APOLOGY:
            return []
        effects = self._outgoing(now, self.conversation.played(mark, now))
        return [*effects, *self._settle(self._patience.played(mark, now), now)]

    def digit(self, digit: str, received_at: int, now: float) -> list[Effect]:
        """One key press."""
        effects = self._outgoing(now, self.conversation.digit(digit, received_at, now))
        return [*effects, *self._settle(self._patience.digit(now), now)]

    def cleared(self, heard: list[Heard], cause: str, now: float) -> list[Effect]:
        """The playout was emptied."""
        self._farewell.cleared()
        heard = [entry for entry in heard if entry.part != APOLOGY]
        for entry in heard:
            self._memory.cut(entry)
        if self.conversation.active:
            self._memory.interrupt(self.conversation.active)
        effects = self._outgoing(now, self.conversation.cleared(heard, cause))
        return [*effects, *self._settle(self._patience.cleared(now), now)]

    def held(self, on: bool, now: float) -> list[Effect]:
        """The caller put us on hold, or came back."""
        self._on_hold = on
        return self._settle(self._patience.held(on or self._away, now), now)

    def away(self, on: bool, now: float) -> list[Effect]:
        """The caller is being transferred, or is back."""
        self._away = on
        return self._settle(self._patience.held(on or self._on_hold, now), now)

    def too_long(self, now: float) -> list[Effect]:
        """The call has lasted as long as it may."""
        return self._settle(self._patience.too_long(now), now)

    def timeout(self, now: float) -> list[Effect]:
        """The clock reached `next_timeout()`, or passed it."""
        self._farewell.timeout(now)
        effects = self._act(self.continuity.timeout(now), now)
        effects += self._outgoing(now, self.conversation.timeout(now))
        return [*effects, *self._settle(self._patience.timeout(now), now), *self._when_quiet(now)]

    def next_timeout(self) -> float | None:
        parts = (self.continuity, self.conversation, self._patience, self._farewell)
        return min((at for part in parts if (at := part.next_timeout()) is not None), default=None)

    # Handing over.

    def _act(self, acts: list[Act], now: float) -> list[Effect]:
        effects: list[Effect] = []
        for act in acts:
            match act:
                case Act.OPEN | Act.OPEN_FALLBACK:
                    effects.append(self._open(fallback=act is Act.OPEN_FALLBACK))
                case Act.JOIN:
                    effects += self._join(now)
                case Act.GIVE_UP:
                    fields = {"after_s": round(self.continuity.trouble_s(now), 3)}
                    effects += [Note("session.gave_up", fields, "warning"), *self._sound()]
                    effects += self._farewell.give_up(
                        now, answered=self._answered, sounding=self.conversation.sounding
                    )
        return effects

    def _open(self, *, fallback: bool = False) -> OpenSession:
        self._config = self._memory.session
        return OpenSession(self._config, fallback)

    def _configured(self, opened: SessionOpened) -> None:
        self.conversation.configured(opened.session, cancels=opened.cancels)
        self._patience.configured(opened.session)

    def _when_quiet(self, now: float) -> list[Effect]:
        quiet = self.continuity.state is Link.READY and self.conversation.is_quiet
        return self._act(self.continuity.quiet(), now) if quiet else []

    def _join(self, now: float) -> list[Effect]:
        """Go on with the session that was opened to take over.

        It is told, in this order: what has changed since it was opened, what was said, what clients
        wanted meanwhile, and what it is to answer.
        """
        if self._next is None:
            return []
        (opened, opened_at), self._next = self._next, None
        planned = not self.continuity.is_lost
        gap_ms = round(self.continuity.gap_s(now) * 1000)
        # A response that runs into the limit ends as it would have ended there.
        self._cut = bool(self.conversation.active) if planned else self._cut
        ended = self.conversation.lost(_EXPIRED) if planned else []
        left_s = None if opened.lives_s is None else opened.lives_s - (now - opened_at)
        self.continuity.joined(left_s, now)
        self._configured(opened)
        effects: list[Effect] = [one for one in ended if not isinstance(one, ToBackend)]
        effects += [JoinSession(), *self._retelling.begin(self._memory.replay())]
        if self._memory.session != self._config:
            update = without_fixed(events.session_update(self._memory.session))
            effects += self._retelling.update(update | {"event_id": self._new_event_id()})
        else:
            updated = events.session_updated(opened.session, self._new_event_id())
            effects.append(ToControl(updated))  # of the other one the server tells
        fields = {"planned": planned, "gap_ms": gap_ms, "items": self._retelling.items}
        effects += [TellSpeech(), Note("session.resumed", fields | {"cut": self._cut})]
        effects += self._settle(self._patience.resumed(now), now)
        held, self._held, self._held_bytes = self._held, [], 0
        wanted = [ToBackend(event) for event in (*self._memory.unanswered(), *held)]
        asked = [effect for effect in ended if isinstance(effect, ToBackend)]
        return [*effects, *self._outgoing(now, [*wanted, *asked, *self.conversation.resumed()])]

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
            if lost or self._retelling.knows(text_of(event, "item_id")):
                return self._rewrite(event, lost)
        effects = self._settle(wishes, now)
        if not lost:
            return [ToBackend(self._memory.to_backend(event)), *effects]
        return effects if kind in _PASSING else [*effects, *self._hold(event)]

    def _hold(self, event: Event) -> list[Effect]:
        """Keep an event for the next session."""
        size = len(encode_event(event))
        if self._held_bytes + size <= _MAX_HELD_BYTES:
            self._held.append(event)
            self._held_bytes += size
            return []
        self.conversation.not_sent(event)
        asked = text_of(event, "event_id") or None
        told = error_event(_TOO_MUCH, event_id=self._new_event_id(), client_event_id=asked)
        return [ToControl(told)]

    def _rewrite(self, event: Event, lost: bool) -> list[Effect]:
        """Cut an item that the session knows as text; no session will be told more of it."""
        item_id, end_ms = text_of(event, "item_id"), event.get("audio_end_ms", 0)
        index = event.get("content_index", 0)
        done = events.truncated(item_id, index, end_ms, self._new_event_id())
        self._memory.server_event(done)
        rewritten = [] if lost else self._retelling.rewrite(self._memory.rewrite(item_id))
        return [*rewritten, ToControl(done)]

    def _settle(self, wishes: list[Fill | Say | End], now: float) -> list[Effect]:
        """Do what patience asks for."""
        effects: list[Effect] = []
        for wish in wishes:
            match wish:
                case Fill(on):
                    self._filling = on
                case Say(instructions):
                    effects.append(Note("call.prompted", {}))
                    effects += self._outgoing(now, self.conversation.say(instructions))
                case End(reason):
                    self._farewell.end(reason)
        return [*effects, *self._sound()]

    def _sound(self) -> list[Effect]:
        """What is to be heard while nobody speaks, if that has changed."""
        lost = self.continuity.state is Link.LOST
        wanted = "comfort" if lost else "filler" if self._filling else ""
        if wanted == self._background:
            return []
        self._background = wanted
        return [Background(wanted)]
