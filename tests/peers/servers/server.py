"""What every fake does: guard its door, hear the caller, take turns, and say a tone.

A subclass declares what its server takes and writes down, in that server's own words, what it says.
Whatever a client gets wrong is answered as the real server answers it, and kept in `complaints`.

The server hears speech where the sound is loud, and answers each turn with the next of `TONES_HZ`.
It speaks faster than real time, but not all at once: an interruption finds it still generating.
"""

import asyncio
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from aiohttp import web

from tests.peers.servers.sound import Format, tone

Event = dict[str, Any]

KEY = "a-key-for-the-server"
MODEL = "a-model"
ANY = "*"
"""In the query of a door: whatever the client likes."""

TONES_HZ = (440.0, 620.0, 880.0)
"""Of the greeting, of the answer to what was spoken, and of the answer to keys."""
GREETING_S, ANSWER_S = 3.0, 0.3

_PIECE_S, _AT_ONCE, _PAUSE_S = 0.1, 6, 0.04
_LOUD = 10 ** (-35 / 20)
_SPEECH_S, _SILENCE_S = 0.06, 0.12


class Wrong(Exception):
    """A client event that the server refuses, in the fields of its `error` event."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.fields: Event = {"code": code, "message": message, "param": param}


@dataclass(frozen=True, slots=True)
class Door:
    """What a handshake must look like; names of headers in lower case."""

    path: str
    keys: tuple[tuple[str, str], ...] = (("authorization", f"Bearer {KEY}"),)
    """Headers of which any one opens; none is needed where there are none."""
    query: Mapping[str, str] = field(default_factory=lambda: {"model": MODEL})
    wanted: Mapping[str, str] = field(default_factory=dict)
    """Headers that must all be there."""
    refused: frozenset[str] = frozenset()
    """Headers with which the server does not let anybody in."""

    def refusal(self, request: web.Request) -> tuple[int, str] | None:
        """The status and the reason with which this handshake is answered, if it is wrong."""
        if request.path != self.path:
            return 404, f"no such path: {request.path}"
        if self.keys and not any(request.headers.get(name) == key for name, key in self.keys):
            return 401, f"no key in {dict(request.headers)}"
        given = dict(request.query)
        if {name: ANY if self.query.get(name) == ANY else given[name] for name in given} != dict(
            self.query
        ):
            return 400, f"the query is {given}"
        for name, value in self.wanted.items():
            if request.headers.get(name) != value:
                return 400, f"{name} is {request.headers.get(name)!r}"
        if found := self.refused & {name.lower() for name in request.headers}:
            return 400, f"headers that do not belong here: {sorted(found)}"
        return None


@dataclass(slots=True)
class Reply:
    """One response that the server gives."""

    id: str
    item_id: str
    frequency_hz: float
    duration_s: float
    sent_s: float = 0.0
    done: bool = False


class Server:
    """One session. `send` puts an event on the wire as it is.

    Attributes:
        door: what its handshake must look like.
        fields: the client events that it knows, and the fields of each beside `type` and
            `event_id`; None where it does not look.
        formats: kinds of audio that it takes, each with its rates in Hz.
        hears_turns: it has voice detection; a server without one is asked for each answer.
        interrupts: it ends its response when the caller begins to speak.
        truncates: it shortens an item to what was heard, and says that it did.
    """

    door: ClassVar[Door]
    fields: ClassVar[Mapping[str, frozenset[str] | None]]
    formats: ClassVar[Mapping[str, range | tuple[int, ...]]] = {"pcm": (24_000,)}
    hears_turns: ClassVar[bool] = True
    interrupts: ClassVar[bool] = True
    truncates: ClassVar[bool] = True

    def __init__(self, send: Callable[[Event], Awaitable[None]]) -> None:
        self.complaints: list[str] = []
        """What the client got wrong."""
        self.received: list[Event] = []
        """Every client event but appends."""
        self.input = Format()
        self.output = Format()
        self.heard = bytearray()
        """The caller's audio, in `input`."""
        self.config: Event = {}
        """What it was told: `instructions`, `voice`, and `tools` as a list of names."""
        self.texts: list[str] = []
        """What the client wrote as the caller's words."""
        self.truncated_ms: list[int] = []
        self.replies: list[Reply] = []
        self.cancelled: list[str] = []
        """The responses that were cut, by either side."""
        self._put = send
        self._speaking: asyncio.Task[None] | None = None
        self._loud_s = self._quiet_s = 0.0
        self._turn = ""  # the item that the caller speaks now
        self._count = 0
        self._asked_since = 0  # texts that have been answered

    # What its server says; all of it in its words.

    async def welcome(self) -> None:
        """The connection is open."""
        raise NotImplementedError

    async def configure(self, session: Event) -> None:
        """`session.update`."""
        raise NotImplementedError

    async def begin(self, reply: Reply) -> None:
        """All that stands before the audio of a response."""
        raise NotImplementedError

    async def piece(self, reply: Reply, audio: bytes) -> None:
        """A delta of its audio."""
        raise NotImplementedError

    async def end(self, reply: Reply, status: str, reason: str | None) -> None:
        """All that stands behind it; `completed`, or `cancelled` for this reason."""
        raise NotImplementedError

    async def turn_begins(self, item_id: str, at_ms: int) -> None:
        raise NotImplementedError

    async def turn_ends(self, item_id: str, at_ms: int) -> None:
        """Up to the caller's item; the response follows."""
        raise NotImplementedError

    async def item_made(self, item: Event) -> None:
        """`conversation.item.create` has its effect."""
        raise NotImplementedError

    async def truncate(self, event: Event) -> None:
        """`conversation.item.truncate`, its fields checked."""
        names = ("item_id", "content_index", "audio_end_ms")
        await self.say("conversation.item.truncated", **{name: event[name] for name in names})

    def check_response(self, wishes: Event) -> None:
        """Refuse what is wrong in a `response.create`."""

    async def refuse(self, wrong: Wrong, event: Event) -> None:
        """The `error` event."""
        error = {"type": "invalid_request_error", **wrong.fields, "event_id": event.get("event_id")}
        await self.say("error", error=error)

    # What it does.

    def place(self, reply: Reply) -> Event:
        """Where in its response a piece stands; there is one item with one part."""
        place = {"response_id": reply.id, "item_id": reply.item_id}
        return {**place, "output_index": 0, "content_index": 0}

    async def say(self, kind: str, **fields: Any) -> None:
        await self._put({"type": kind, "event_id": self.name("event"), **fields})

    def name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"

    async def take(self, event: Event) -> None:
        """A client event."""
        try:
            self._check(event)
            await self._do(event)
        except Wrong as wrong:
            self.complaints.append(f"{event.get('type')}: {wrong}")
            await self.refuse(wrong, event)

    def close(self) -> None:
        if self._speaking is not None:
            self._speaking.cancel()

    def take_format(self, value: Event, param: str) -> Format:
        """A GA format, if the server takes it."""
        kind = str(value.get("type")).removeprefix("audio/")
        rate_hz = value.get("rate", 24_000) if kind == "pcm" else 8000
        if rate_hz not in self.formats.get(kind, ()) or "rate" in value and kind != "pcm":
            raise Wrong("invalid_value", f"no such format: {value}", param)
        return Format(kind, rate_hz)

    async def answer(self) -> None:
        """Say the next tone; the task goes on until it is said or cut."""
        texts, self._asked_since = self.texts[self._asked_since :], len(self.texts)
        number = 2 if texts else min(len(self.replies), 1)
        duration_s = ANSWER_S if number else GREETING_S
        reply = Reply(self.name("resp"), self.name("item"), TONES_HZ[number], duration_s)
        self.replies.append(reply)
        self._speaking = asyncio.create_task(self._speak(reply))

    async def cut(self, reason: str) -> None:
        """End the response that is being generated, if there is one."""
        reply = self.active()
        if reply is None:
            return
        self.close()
        reply.done = True
        self.cancelled.append(reply.id)
        await self.end(reply, "cancelled", reason)

    def active(self) -> Reply | None:
        """The response that is being generated."""
        return next((one for one in self.replies if not one.done), None)

    # Parts of the above.

    def _check(self, event: Event) -> None:
        kind = event.get("type")
        if kind is None or kind not in self.fields:
            raise Wrong("invalid_value", f"no such event: {kind}", "type")
        known = self.fields[kind]
        for name in event:
            if known is not None and name not in known and name not in ("type", "event_id"):
                raise Wrong("unknown_parameter", f"Unknown parameter: '{name}'.", name)

    async def _do(self, event: Event) -> None:
        kind = event["type"]
        if kind == "input_audio_buffer.append":
            await self._hear(b64decode(event["audio"], validate=True))
            return
        self.received.append(event)
        if kind == "session.update":
            await self.configure(event["session"])
        elif kind == "response.create":
            if self.active() is not None:
                raise Wrong("conversation_already_has_active_response", "There is one.")
            self.check_response(event.get("response") or {})
            await self.answer()
        elif kind == "response.cancel":
            if self.active() is None:
                raise Wrong("response_cancel_not_active", "There is none.")
            await self.cut("client_cancelled")
        elif kind == "conversation.item.create":
            await self._add(event["item"])
        elif kind == "conversation.item.truncate":
            self._check_truncation(event)
            self.truncated_ms.append(event["audio_end_ms"])
            await self.truncate(event)

    async def _add(self, item: Event) -> None:
        if item.get("type") == "message" and item.get("role") == "user":
            for part in item["content"]:
                if part.get("type") != "input_text":
                    raise Wrong("invalid_value", f"no such content: {part}", "item.content")
                self.texts.append(part["text"])
        await self.item_made({"id": self.name("item"), **item})

    def _check_truncation(self, event: Event) -> None:
        reply = next((one for one in self.replies if one.item_id == event["item_id"]), None)
        if reply is None or event["content_index"] != 0:
            raise Wrong("item_truncate_invalid_item_id", f"no such item: {event}", "item_id")
        if event["audio_end_ms"] > reply.sent_s * 1000:
            raise Wrong("invalid_value", f"only {reply.sent_s} s were said", "audio_end_ms")

    async def _speak(self, reply: Reply) -> None:
        await self.begin(reply)
        audio = self.output.encode(tone(reply.frequency_hz, reply.duration_s, self.output.rate_hz))
        step = round(_PIECE_S * self.output.bytes_per_s)
        for number, at in enumerate(range(0, len(audio), step)):
            reply.sent_s += len(audio[at : at + step]) / self.output.bytes_per_s
            await self.piece(reply, audio[at : at + step])
            if number >= _AT_ONCE:
                await asyncio.sleep(_PAUSE_S)
        reply.done = True
        await self.end(reply, "completed", None)

    async def _hear(self, audio: bytes) -> None:
        self.heard += audio
        if not self.hears_turns or not audio:
            return
        signal = self.input.decode(audio)
        duration_s = len(signal) / self.input.rate_hz
        loud = bool(np.sqrt(np.mean(signal**2)) > _LOUD)
        self._loud_s = self._loud_s + duration_s if loud else 0.0
        self._quiet_s = 0.0 if loud else self._quiet_s + duration_s
        at_ms = round(len(self.heard) / self.input.bytes_per_s * 1000)
        if not self._turn and self._loud_s >= _SPEECH_S:
            self._turn = self.name("item")
            await self.turn_begins(self._turn, at_ms)
        elif self._turn and self._quiet_s >= _SILENCE_S:
            item_id, self._turn = self._turn, ""
            await self.turn_ends(item_id, at_ms)
            if self.active() is None:
                await self.answer()
