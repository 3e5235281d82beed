"""The Realtime protocol as other servers speak it, and GA on our side of it.

A `Dialect` stands between the gateway, which knows GA alone, and one connection. What it hands on
from a server is such that the strict official clients read it, whatever the server leaves out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gateway.realtime.beta_events import ITEM_EVENTS, client_to_beta, server_from_beta
from gateway.realtime.dialect_qwen import INPUT_HZ, QwenWords
from gateway.realtime.dialect_xai import XaiWords
from gateway.realtime.events import Event, EventError, encode_event, parse_event, without
from gateway.realtime.item_lifecycle import ItemLifecycle
from gateway.realtime.missing_fields import MissingFields
from gateway.realtime.session import format_of
from gateway.realtime.session_shape import lifted
from gateway.realtime.strict_items import is_known

_DELTA: Final = b'"response.output_audio.delta"'
_BETA_DELTA: Final = b'"response.audio.delta"'
_AUDIO: Final = b'"delta":'
_HEAD_BYTES: Final = 160
"""Within which the type of an event stands where servers write it first."""
_FIELDS_BYTES: Final = 600
"""Within which all that an audio delta has before its audio stands then."""
_DELTA_KEYS: Final = (
    "type",
    "event_id",
    "response_id",
    "item_id",
    "output_index",
    "content_index",
    "delta",
)
_AUDIO_DELTAS: Final = ("response.output_audio.delta", "response.audio.delta")
_UPDATES: Final = ("session.update", "transcription_session.update")
_PCM_HZ: Final = 24_000


@dataclass(frozen=True, slots=True)
class DialectOptions:
    """Which dialect a server speaks, and what it does differently."""

    name: str = "ga"
    """`ga`, `beta`, `xai` or `qwen`."""
    session_shape: str = "nested"
    """Where voice and turn detection stand in a session of GA words: `nested` as in GA, or `flat`
    at its top. `xai` is always flat; beta and Qwen have a shape of their own."""
    drop_events: frozenset[str] = frozenset()
    """Types of server events that are not to reach the gateway, as the server names them."""
    truncate: str = "send"
    """`skip`: the server cannot truncate an item, so it is not asked to, and the answer that
    clients wait for comes from here."""
    omit: frozenset[str] = frozenset()
    """Session fields that the server refuses to be told, as it names them, like
    `input_audio_format` or `turn_detection.prefix_padding_ms`."""


class _Words(Protocol):
    """One dialect's words, for one connection."""

    def to_server(self, event: Event) -> list[Event]:
        """A GA client event in the server's words."""

    def from_server(self, event: Event) -> list[Event]:
        """A server event in GA words, or in those of beta."""


class _GaWords:
    def __init__(self, *, flat: bool = False) -> None:
        self._flat = flat

    def to_server(self, event: Event) -> list[Event]:
        match event:
            case {"type": "session.update", "session": dict(session)} if self._flat:
                return [event | {"session": lifted(session)}]
        return [event]

    def from_server(self, event: Event) -> list[Event]:
        return [event]


class _BetaWords:
    def to_server(self, event: Event) -> list[Event]:
        return client_to_beta(event)

    def from_server(self, event: Event) -> list[Event]:
        return [event]


class Dialect:
    """One connection's two-way translation.

    Give it every event of the connection, in order: what an event leaves out, others told.

    Args:
        options: of the server.
        new_event_id: makes ids for events that come from here.
    """

    def __init__(self, options: DialectOptions, new_event_id: Callable[[], str]) -> None:
        self._options = options
        self._new_event_id = new_event_id
        self._words = _words_of(options)
        self._items = ItemLifecycle()
        self._missing = MissingFields(new_event_id)
        self._rates: dict[str, Any] = {}  # asked for, by direction, of linear audio
        if options.name == "qwen":
            self._rates["input"] = INPUT_HZ
        self._answers: list[Event] = []

    @property
    def plain(self) -> bool:
        """Whether there is nothing to translate, so that texts may pass unread."""
        return self._options == DialectOptions()

    def to_server(self, event: Event) -> list[Event]:
        """A GA client event in the server's words, the very same where nothing changes; nothing
        where it has none. Drain `answers` after it."""
        if event["type"] == "conversation.item.truncate" and self._options.truncate == "skip":
            self._answers.append(self._truncated(event))
            return []
        if event["type"] == "session.update":
            self._rates |= _rates(event.get("session"))
        return [self._omitting(said) for said in self._words.to_server(event)]

    def from_server(self, event: Event) -> list[Event]:
        """A server event as the GA events, often one, that say the same to strict clients."""
        if event["type"] in self._options.drop_events:
            return []
        events: list[Event] = []
        for said in self._words.from_server(event):
            event = server_from_beta(said)
            if event["type"] not in ITEM_EVENTS or is_known(event.get("item")):
                events += self._items.events(self._with_rates(event))
        return [self._missing.fill(said) for said in events]

    def answers(self) -> list[Event]:
        """GA server events in answer to what the server was not asked."""
        answers, self._answers = self._answers, []
        return answers

    def delta(self, message: bytes) -> bytes:
        """An audio delta as GA JSON text, its type first and its audio last; any other message as
        it is. On the hot path."""
        at = message.find(_DELTA, 0, _HEAD_BYTES)
        if at >= 0 and _is_in_order(message):
            return message
        at = message.find(_BETA_DELTA, 0, _HEAD_BYTES)
        if at >= 0 and _is_in_order(message):
            return message[:at] + _DELTA + message[at + len(_BETA_DELTA) :]
        if _DELTA in message or _BETA_DELTA in message:
            return self._rewritten(message)
        return message

    def _rewritten(self, message: bytes) -> bytes:
        """A delta in any order of keys, with any spaces, and with what is missing.

        Its audio is most of it and stays unread.
        """
        at = message.find(_AUDIO) + len(_AUDIO)
        start = message.find(b'"', at) + 1
        end = message.find(b'"', start)
        if at < len(_AUDIO) or message[at : start - 1].strip() or end < start:
            return message
        try:
            event = parse_event(message[:start] + message[end:])
        except EventError:
            return message
        if event["type"] not in _AUDIO_DELTAS:
            return message
        event = self._missing.fill(event | {"type": _AUDIO_DELTAS[0]})
        text = encode_event({key: event[key] for key in _DELTA_KEYS})
        return text.removesuffix(b'"}') + message[start:end] + b'"}'

    def _truncated(self, event: Event) -> Event:
        told = {name: event.get(name) for name in ("item_id", "content_index", "audio_end_ms")}
        return self._missing.fill({"type": "conversation.item.truncated"} | told)

    def _omitting(self, event: Event) -> Event:
        session = event.get("session")
        if not self._options.omit or event["type"] not in _UPDATES or not isinstance(session, dict):
            return event
        for path in self._options.omit:
            session = without(session, *path.split("."))
        return event | {"session": session}

    def _with_rates(self, event: Event) -> Event:
        """A session without the rates of linear audio that are as they were asked to be.

        Official types know one rate. Flat formats have none, so that theirs is no server's word.
        """
        session = event.get("session")
        if event["type"] not in ("session.created", "session.updated") or not isinstance(
            session, dict
        ):
            return event
        flat = self._options.name in ("beta", "qwen")
        for direction, asked in self._rates.items():
            told = _rates(session).get(direction)
            if told is not None and asked != _PCM_HZ and (flat or told == asked):
                session = without(session, "audio", direction, "format", "rate")
        return event | {"session": session}


def _words_of(options: DialectOptions) -> _Words:
    match options.name:
        case "beta":
            return _BetaWords()
        case "qwen":
            return QwenWords()
        case "xai":
            return XaiWords()
    return _GaWords(flat=options.session_shape == "flat")


def _is_in_order(message: bytes) -> bool:
    """Whether a delta has all that its reader wants to find, in front of its audio."""
    start = message.find(b'"response_id":"', 0, _FIELDS_BYTES)
    end = message.find(b'"delta":"', start, _FIELDS_BYTES)
    return (
        0 <= start < end
        and message.find(b'"item_id":"', start, end) > 0
        and message.find(b'"content_index":', start, end) > 0
    )


def _rates(session: object) -> dict[str, Any]:
    """The rate of each direction whose format in a session is linear audio."""
    rates: dict[str, Any] = {}
    for direction in ("input", "output"):
        told = format_of(session, direction)
        if told is not None and told.get("type") == "audio/pcm":
            rates[direction] = told.get("rate", _PCM_HZ)
    return rates
