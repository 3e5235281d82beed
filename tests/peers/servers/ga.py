"""The GA dialect of the Realtime API as its own server speaks it, word for word."""

from base64 import b64encode
from copy import deepcopy
from typing import Any, ClassVar

from tests.peers.servers.server import MODEL, Event, Reply, Server, Wrong

WORDS = "words"
USAGE = {
    **{"total_tokens": 30, "input_tokens": 10, "output_tokens": 20},
    "input_token_details": {
        **{"text_tokens": 10, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 0},
        "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 5, "audio_tokens": 15},
}
LIMIT = {"name": "tokens", "limit": 10_000, "remaining": 9000, "reset_seconds": 0.5}

FIELDS: dict[str, frozenset[str] | None] = {
    "session.update": frozenset({"session"}),
    "input_audio_buffer.append": frozenset({"audio"}),
    "input_audio_buffer.commit": frozenset(),
    "input_audio_buffer.clear": frozenset(),
    "conversation.item.create": frozenset({"item", "previous_item_id"}),
    "conversation.item.retrieve": frozenset({"item_id"}),
    "conversation.item.delete": frozenset({"item_id"}),
    "conversation.item.truncate": frozenset({"item_id", "content_index", "audio_end_ms"}),
    "response.create": frozenset({"response"}),
    "response.cancel": frozenset({"response_id"}),
}
_SESSION = frozenset(
    "type model output_modalities instructions audio tools tool_choice parallel_tool_calls "
    "reasoning max_output_tokens truncation tracing prompt include".split()
)
_INPUT = frozenset("format noise_reduction transcription turn_detection".split())
_OUTPUT = frozenset("format voice speed".split())
_TURNS = frozenset(
    "type threshold prefix_padding_ms silence_duration_ms create_response interrupt_response "
    "idle_timeout_ms eagerness".split()
)
_MESSAGE = {"object": "realtime.item", "type": "message"}


class GAServer(Server):
    """What the other GA servers differ from, in what they override."""

    fields: ClassVar = FIELDS
    session_fields: ClassVar[frozenset[str]] = _SESSION
    input_fields: ClassVar[frozenset[str]] = _INPUT
    output_fields: ClassVar[frozenset[str]] = _OUTPUT
    modalities: ClassVar[tuple[list[str], ...]] = (["audio"], ["text"])
    tells_limits: ClassVar[bool] = True

    def __init__(self, send: Any) -> None:
        super().__init__(send)
        turns = {"type": "server_vad", "create_response": True, "interrupt_response": True}
        pcm = {"type": "audio/pcm", "rate": 24_000}
        self.session: Event = {
            **{"type": "realtime", "object": "realtime.session", "id": "sess_1", "model": MODEL},
            **{"output_modalities": ["audio"], "instructions": "", "tools": []},
            **{"tool_choice": "auto", "expires_at": 4_000_000_000},
            "audio": {
                "input": {"format": pcm, "turn_detection": turns},
                "output": {"format": pcm, "voice": "marin", "speed": 1.0},
            },
        }
        self._last_item: str | None = None

    async def welcome(self) -> None:
        await self.say("session.created", session=self.session)

    async def configure(self, session: Event) -> None:
        if "type" not in session:
            raise Wrong(
                "missing_required_parameter",
                "Missing required parameter: 'session.type'.",
                "session.type",
            )
        self.check_session(session)
        merge(self.session, session)
        await self.say("session.updated", session=self.session)

    def check_session(self, session: Event) -> None:
        """Take what it says, or refuse the first thing that is wrong."""
        only(session, self.session_fields, "session")
        if session.get("model", MODEL) != MODEL or session.get("type", "realtime") != "realtime":
            raise Wrong("invalid_value", "no such model or type", "session.model")
        if session.get("output_modalities", self.modalities[0]) not in self.modalities:
            raise Wrong("invalid_value", "Invalid modalities.", "session.output_modalities")
        audio = session.get("audio", {})
        only(audio, frozenset({"input", "output"}), "session.audio")
        hearing, speaking = audio.get("input", {}), audio.get("output", {})
        only(hearing, self.input_fields, "session.audio.input")
        only(speaking, self.output_fields, "session.audio.output")
        only(hearing.get("turn_detection") or {}, _TURNS, "session.audio.input.turn_detection")
        if "format" in hearing:
            self.input = self.take_format(hearing["format"], "session.audio.input.format")
        if "format" in speaking:
            self.output = self.take_format(speaking["format"], "session.audio.output.format")
        for tool in session.get("tools", []):
            only(tool, frozenset({"type", "name", "description", "parameters"}), "session.tools")
        self.note(session, speaking.get("voice"))

    def note(self, session: Event, voice: str | None) -> None:
        """Keep in `config` what the session was told."""
        if "instructions" in session:
            self.config["instructions"] = session["instructions"]
        if voice is not None:
            self.config["voice"] = voice
        if "tools" in session:
            self.config["tools"] = [tool["name"] for tool in session["tools"]]

    async def begin(self, reply: Reply) -> None:
        place = self.place(reply)
        item = {**_MESSAGE, "id": reply.item_id, "role": "assistant", "status": "in_progress"}
        await self.say("response.created", response=self.response(reply, "in_progress"))
        await self.outer("response.output_item.added", reply, item | {"content": []})
        await self.item("conversation.item.added", item | {"content": []})
        part = {"type": "audio", "transcript": ""}
        await self.say("response.content_part.added", **place, part=part)
        kind = "response.output_audio_transcript.delta"
        await self.say(kind, **place, delta=WORDS, obfuscation="a8Xk2")

    async def piece(self, reply: Reply, audio: bytes) -> None:
        delta = b64encode(audio).decode()
        kind = "response.output_audio.delta"
        await self.say(kind, **self.place(reply), delta=delta, obfuscation="bQ")

    async def end(self, reply: Reply, status: str, reason: str | None) -> None:
        place, item = self.place(reply), self.said(reply, status)
        part = {"type": "audio", "transcript": WORDS}
        await self.say("response.output_audio.done", **place)
        await self.say("response.output_audio_transcript.done", **place, transcript=WORDS)
        await self.say("response.content_part.done", **place, part=part)
        await self.item("conversation.item.done", item)
        await self.outer("response.output_item.done", reply, item)
        await self.say("response.done", response=self.response(reply, status, reason))
        if self.tells_limits:
            await self.say("rate_limits.updated", rate_limits=[LIMIT])

    async def turn_begins(self, item_id: str, at_ms: int) -> None:
        kind = "input_audio_buffer.speech_started"
        await self.say(kind, audio_start_ms=at_ms, item_id=item_id)
        await self.cut("turn_detected")

    async def turn_ends(self, item_id: str, at_ms: int) -> None:
        await self.say("input_audio_buffer.speech_stopped", audio_end_ms=at_ms, item_id=item_id)
        kind = "input_audio_buffer.committed"
        await self.say(kind, item_id=item_id, previous_item_id=self._last_item)
        content = [{"type": "input_audio", "transcript": None}]
        item = {**_MESSAGE, "id": item_id, "role": "user", "status": "completed"}
        for kind in ("conversation.item.added", "conversation.item.done"):
            await self.item(kind, item | {"content": content})

    async def item_made(self, item: Event) -> None:
        for kind in ("conversation.item.added", "conversation.item.done"):
            await self.item(kind, {"object": "realtime.item", "status": "completed", **item})

    # Parts of what it says.

    def said(self, reply: Reply, status: str) -> Event:
        """The item of a response that has ended."""
        ended = "completed" if status == "completed" else "incomplete"
        content = [{"type": "output_audio", "transcript": WORDS}]
        item = {**_MESSAGE, "id": reply.item_id, "role": "assistant", "status": ended}
        return item | {"content": content}

    def response(self, reply: Reply, status: str, reason: str | None = None) -> Event:
        open_still = status == "in_progress"
        return {
            **{"object": "realtime.response", "id": reply.id, "status": status},
            **{"conversation_id": "conv_1", "output_modalities": ["audio"], "metadata": None},
            "status_details": {"type": status, "reason": reason} if reason else None,
            "output": [] if open_still else [self.said(reply, status)],
            "usage": None if open_still else USAGE,
        }

    async def outer(self, kind: str, reply: Reply, item: Event) -> None:
        await self.say(kind, response_id=reply.id, output_index=0, item=item)

    async def item(self, kind: str, item: Event) -> None:
        await self.say(kind, previous_item_id=self._last_item, item=item)
        if kind.endswith("done"):
            self._last_item = item["id"]


def only(value: Event, known: frozenset[str], param: str) -> None:
    """Refuse the first field that is not known."""
    for name in value:
        if name not in known:
            where = f"{param}.{name}"
            raise Wrong("unknown_parameter", f"Unknown parameter: '{where}'.", where)


def merge(config: Event, changes: Event) -> None:
    """Lay `changes` over `config`, objects key by key and formats whole."""
    for name, value in changes.items():
        if name != "format" and isinstance(value, dict) and isinstance(config.get(name), dict):
            merge(config[name], value)
        else:
            config[name] = deepcopy(value)
