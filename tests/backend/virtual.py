"""A client of one session in virtual time, which checks the form of everything that it is sent."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, get_args

from openai.types.realtime import RealtimeServerEvent

from gateway.audio.formats import AudioFormat
from gateway.backend.config import Pacing, RateLimits
from gateway.backend.dialogue_parse import parse_dialogue
from gateway.backend.ear import WINDOW_MS
from gateway.backend.session import BackendSession, SessionOptions
from gateway.backend.session_config import Kind

Event = dict[str, Any]

OFFICIAL: dict[str, Any] = {
    get_args(model.model_fields["type"].annotation)[0]: model
    for model in get_args(get_args(RealtimeServerEvent)[0])
}
PLACE = {"response_id", "item_id", "output_index"}
PART = PLACE | {"content_index"}
CATALOGUE: dict[str, set[str]] = {
    "session.created": {"session"},
    "session.updated": {"session"},
    "conversation.item.added": {"item", "previous_item_id"},
    "conversation.item.done": {"item", "previous_item_id"},
    "conversation.item.retrieved": {"item"},
    "conversation.item.deleted": {"item_id"},
    "conversation.item.truncated": {"item_id", "content_index", "audio_end_ms"},
    "input_audio_buffer.speech_started": {"item_id", "audio_start_ms"},
    "input_audio_buffer.speech_stopped": {"item_id", "audio_end_ms"},
    "input_audio_buffer.committed": {"item_id", "previous_item_id"},
    "input_audio_buffer.cleared": set(),
    "input_audio_buffer.timeout_triggered": {"item_id", "audio_start_ms", "audio_end_ms"},
    "response.created": {"response"},
    "response.done": {"response"},
    "response.output_item.added": {"response_id", "output_index", "item"},
    "response.output_item.done": {"response_id", "output_index", "item"},
    "response.content_part.added": PART | {"part"},
    "response.content_part.done": PART | {"part"},
    "response.output_audio.delta": PART | {"delta"},
    "response.output_audio.done": PART,
    "response.output_audio_transcript.delta": PART | {"delta"},
    "response.output_audio_transcript.done": PART | {"transcript"},
    "response.output_text.delta": PART | {"delta"},
    "response.output_text.done": PART | {"text"},
    "response.function_call_arguments.delta": PLACE | {"call_id", "delta"},
    "response.function_call_arguments.done": PLACE | {"call_id", "name", "arguments"},
    "conversation.item.input_audio_transcription.delta": {"item_id", "content_index", "delta"},
    "conversation.item.input_audio_transcription.completed": {
        *("item_id", "content_index", "transcript", "usage")
    },
    "mcp_list_tools.in_progress": {"item_id"},
    "mcp_list_tools.failed": {"item_id"},
    "rate_limits.updated": {"rate_limits"},
    "error": {"error"},
}
"""The server events in use, and all the fields that each has besides `type` and `event_id`."""

TRANSCRIPT = "response.output_audio_transcript.delta"
AUDIO = "response.output_audio.delta"
TEXT = "response.output_text.delta"
ARGUMENTS = "response.function_call_arguments.delta"
OPENING = ["response.output_item.added", "conversation.item.added", "response.content_part.added"]
CLOSING = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
]
WRITTEN_CLOSING = ["response.output_text.done", *CLOSING[2:]]
CALL_OPENING = OPENING[:2]
CALL_CLOSING = ["response.function_call_arguments.done", *CLOSING[3:]]
END = ["response.done", "rate_limits.updated"]

DIALOGUE = """
start = "menu"
otherwise = "Nothing new."
[states.menu]
say = "Welcome to the test. This greeting is a little longer."
[[on]]
dtmf = "1"
say = "One."
[[on]]
dtmf = "any"
say = "Keys {keys}."
[[on]]
any_speech = true
say = "You spoke for {duration}."
[[on]]
text = "any"
say = "Text."
[[on]]
idle_s = 20
say = "Still here."
"""
SMOOTH = Pacing(first_audio_ms=200, jitter_ms=0, speedup=4)


def types(events: list[Event]) -> list[str]:
    """Types in order; runs of deltas count as one."""
    kinds: list[str] = []
    for event in events:
        kind = event["type"]
        if not (kind in (AUDIO, TRANSCRIPT, TEXT, ARGUMENTS) and {kind} & set(kinds[-2:])):
            kinds.append(kind)
    return kinds


class VirtualClient:
    """Speaks to a session, answers its wishes for sound, and turns its clock.

    Args:
        letter_ms: how long the voice takes for a letter.
        mute: keep the requests for sound in `requests` instead of answering them.
    """

    def __init__(
        self,
        *,
        dialogue: str = DIALOGUE,
        pacing: Pacing = SMOOTH,
        random: Callable[[], float] | float = 0.0,
        letter_ms: int = 50,
        mute: bool = False,
        limit_s: float = 3600.0,
        kind: Kind = "realtime",
        rate_limits: RateLimits | None = None,
        token: Callable[[], str] | None = None,
        session: Event | None = None,
    ) -> None:
        self.now = 1000.0
        self.letter_ms = letter_ms
        self.mute = mute
        self.requests: list[Any] = []
        self.log: list[Event] = []
        self.heard_at: list[float] = []
        self.clips: dict[str, bytes] = {}
        numbers = count(1)
        options = SessionOptions(
            dialogue=parse_dialogue(dialogue),
            model="model-x",
            started_at=1_700_000_000,
            limit_s=limit_s,
            pacing=pacing,
            kind=kind,
            rate_limits=rate_limits or RateLimits(),
        )
        self.session = BackendSession(
            options,
            token=token or (lambda: f"{next(numbers):04}"),
            random=random if callable(random) else lambda: random,
            now=self.now,
        )
        self.drain()
        if session is not None:
            self.update(session)

    def send(self, kind: str, **fields: Any) -> list[Event]:
        """Send an event; returns what came back at once."""
        self.session.receive({"type": kind, **fields}, self.now)
        return self.drain()

    def update(self, session: Event) -> list[Event]:
        return self.send("session.update", session={"type": "realtime", **session})

    def text(self, text: str, **fields: Any) -> list[Event]:
        item = {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": text}],
        }
        return self.create(item, **fields)

    def create(self, item: Event, **fields: Any) -> list[Event]:
        return self.send("conversation.item.create", item=item, **fields)

    def respond(self, **wanted: Any) -> list[Event]:
        """Ask for a response and let it come to its end."""
        return self.send("response.create", response=wanted) + self.until_done()

    def truncate(self, item_id: str, audio_end_ms: int, **fields: Any) -> list[Event]:
        place = {"item_id": item_id, "content_index": 0, "audio_end_ms": audio_end_ms}
        return self.send("conversation.item.truncate", **place, **fields)

    def append(self, audio: bytes) -> list[Event]:
        return self.send("input_audio_buffer.append", audio=b64encode(audio).decode())

    def hear(self, probability: float, ms: int) -> list[Event]:
        """Let time pass with this much speech in the caller's audio."""
        out = []
        step = self.session.ear.format.bytes_per_ms * WINDOW_MS
        for _ in range(ms // WINDOW_MS):
            out += self.advance(WINDOW_MS / 1000)
            self.session.append(bytes(step))
            self.session.voice(probability, self.now)
            out += self.drain()
        return out

    def speak_turn(self, ms: int = 992) -> list[Event]:
        """A whole turn of the caller, up to where it is committed."""
        return self.hear(0.9, ms) + self.hear(0.0, 512)

    def advance(self, seconds: float) -> list[Event]:
        """Let time pass, with every timer at its time."""
        out = []
        end = self.now + seconds
        while (at := self.session.next_timeout()) is not None and at <= end:
            self.now = max(self.now, at)
            self.session.timeout(self.now)
            out += self.drain()
        self.now = end
        return out

    def until_done(self) -> list[Event]:
        """Let time pass until the response is done."""
        out: list[Event] = []
        for _ in range(2000):
            out += self.advance(0.01)
            if out and out[-1]["type"] == "rate_limits.updated":
                return out
        raise AssertionError("the response does not end")

    def answer(self) -> None:
        """Give the sound that was asked for, in `requests`."""
        for request in self.requests:
            clips = []
            for number, phrase in enumerate(request.line):
                size = len(phrase) * self.letter_ms * request.format.bytes_per_ms
                clips.append(bytes([number + 1]) * size)
            self.session.speak(request, clips, self.now)
        self.requests = []

    def drain(self) -> list[Event]:
        out = self.session.events()
        self.requests += self.session.lines_to_speak()
        if not self.mute and self.requests:
            self.answer()
            out += self.session.events()
        for event in out:
            check(event)
            self.heard_at.append(self.now)
        self.log += out
        ids = [event["event_id"] for event in self.log]
        assert len(set(ids)) == len(ids)
        return out

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.log if event["type"] == kind]

    def done(self) -> Event:
        """The response of the last `response.done`."""
        response: Event = self.of("response.done")[-1]["response"]
        return response

    def spoken(self, response_id: str) -> tuple[bytes, str]:
        """All audio and all words of a response."""
        mine = [event for event in self.log if event.get("response_id") == response_id]
        audio = b"".join(b64decode(e["delta"]) for e in mine if e["type"] == AUDIO)
        return audio, "".join(e["delta"] for e in mine if e["type"] == TRANSCRIPT)


def check(event: Event) -> None:
    """An event has exactly its fields, is of its official type, and strict clients can read it."""
    assert set(event) == {"type", "event_id"} | CATALOGUE[event["type"]], event
    assert event["event_id"].startswith("event_")
    OFFICIAL[event["type"]].model_validate(event)
    if event["type"] == "error":
        assert set(event["error"]) == {"type", "code", "message", "param", "event_id"}
        assert event["error"]["message"]
    for item in _items(event):
        check_item(item)
    if "part" in event:
        kind = event["part"]["type"]
        assert set(event["part"]) == {"type", {"audio": "transcript", "text": "text"}[kind]}
        assert all(isinstance(value, str) for value in event["part"].values())
    if "response" in event:
        check_response(event["response"])


def check_item(item: Event) -> None:
    assert item["object"] == "realtime.item"
    assert item["id"]
    if item["type"] != "mcp_list_tools":
        assert item["status"] in ("in_progress", "completed", "incomplete")
    if item["type"] == "function_call":
        assert item["call_id"].startswith("call")
        if item["status"] == "completed":
            json.loads(item["arguments"])
    for part in item.get("content", ()):
        if part["type"] in ("input_audio", "output_audio"):
            assert "transcript" in part
        if part["type"] == "output_audio":
            assert isinstance(part["transcript"], str)
        if part["type"] in ("input_text", "output_text"):
            assert isinstance(part["text"], str)


def check_response(response: Event) -> None:
    assert response["object"] == "realtime.response"
    assert isinstance(response["audio"]["output"]["voice"], str)
    assert AudioFormat.from_session(response["audio"]["output"]["format"])
    output = [item["status"] for item in response["output"]]
    assert "in_progress" not in output or response["status"] == "in_progress"
    details = response["status_details"]
    if response["status"] in ("in_progress", "completed"):
        assert details is None
    else:
        assert details["type"] == response["status"]
        if response["status"] == "failed":
            assert all(isinstance(details["error"][key], str) for key in ("type", "message"))
    usage = response["usage"]
    assert (usage is None) == (response["status"] == "in_progress")
    if usage is not None:
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        inputs, outputs = usage["input_token_details"], usage["output_token_details"]
        cached = inputs["cached_tokens_details"]
        assert inputs["cached_tokens"] == cached["text_tokens"] + cached["audio_tokens"]
        assert all(cached[kind] <= inputs[kind] for kind in cached)
        assert usage["input_tokens"] == inputs["text_tokens"] + inputs["audio_tokens"]
        assert usage["output_tokens"] == outputs["text_tokens"] + outputs["audio_tokens"]


def _items(event: Event) -> Iterator[Event]:
    if "item" in event:
        yield event["item"]
    yield from event.get("response", {}).get("output", ())
