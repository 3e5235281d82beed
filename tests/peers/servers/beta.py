"""The beta dialect of the Realtime API as its own server spoke it, word for word."""

from base64 import b64encode
from copy import deepcopy
from typing import Any, ClassVar

from tests.peers.servers.ga import FIELDS, LIMIT, USAGE, WORDS, only
from tests.peers.servers.server import MODEL, Event, Reply, Server, Wrong
from tests.peers.servers.sound import Format

_SESSION = frozenset(
    "model modalities instructions voice input_audio_format output_audio_format speed "
    "input_audio_transcription input_audio_noise_reduction turn_detection tools tool_choice "
    "temperature max_response_output_tokens tracing include".split()
)
_RESPONSE = frozenset(
    "modalities instructions voice output_audio_format tools tool_choice temperature "
    "max_response_output_tokens conversation metadata input".split()
)
_KINDS = {"pcm16": "pcm", "g711_ulaw": "pcmu", "g711_alaw": "pcma"}
_MESSAGE = {"object": "realtime.item", "type": "message"}


class BetaServer(Server):
    """What the other beta servers differ from, in what they override."""

    fields: ClassVar = FIELDS
    session_fields: ClassVar[frozenset[str]] = _SESSION
    response_fields: ClassVar[frozenset[str]] = _RESPONSE
    modalities: ClassVar[tuple[list[str], ...]] = (["audio", "text"], ["text"])
    tells_limits: ClassVar[bool] = True

    def __init__(self, send: Any) -> None:
        super().__init__(send)
        self.session: Event = {
            **{"object": "realtime.session", "id": "sess_1", "model": MODEL, "instructions": ""},
            **{"modalities": ["audio", "text"], "voice": "alloy", "temperature": 0.8},
            **{"input_audio_format": "pcm16", "output_audio_format": "pcm16", "tools": []},
            **{"tool_choice": "auto", "max_response_output_tokens": "inf"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 200},
            "expires_at": 4_000_000_000,
        }
        self._last_item: str | None = None

    async def welcome(self) -> None:
        await self.say("session.created", session=self.session)
        conversation = {"id": "conv_1", "object": "realtime.conversation"}
        await self.say("conversation.created", conversation=conversation)

    async def configure(self, session: Event) -> None:
        self.check_session(session)
        self.session.update(deepcopy(session))
        await self.say("session.updated", session=self.session)

    def check_session(self, session: Event) -> None:
        """Take what it says, or refuse the first thing that is wrong."""
        only(session, self.session_fields, "session")
        known = [sorted(one) for one in self.modalities]
        if "modalities" in session and sorted(session["modalities"]) not in known:
            raise Wrong("invalid_value", "Invalid modalities.", "session.modalities")
        for direction in ("input", "output"):
            name = f"{direction}_audio_format"
            if name in session:
                setattr(self, direction, self.flat_format(session[name], f"session.{name}"))
        for name in ("instructions", "voice"):
            if name in session:
                self.config[name] = session[name]
        if "tools" in session:
            self.config["tools"] = [self.tool(tool) for tool in session["tools"]]

    def flat_format(self, value: object, param: str) -> Format:
        """The format of this name, if the server takes it."""
        kind = _KINDS.get(str(value), "")
        if kind not in self.formats:
            raise Wrong("invalid_value", f"no such format: {value}", param)
        return Format(kind, 24_000 if kind == "pcm" else 8000)

    def tool(self, tool: Event) -> str:
        """The name of a tool, if it has the right shape."""
        only(tool, frozenset({"type", "name", "description", "parameters"}), "session.tools")
        name = tool["name"]
        assert isinstance(name, str)
        return name

    def check_response(self, wishes: Event) -> None:
        only(wishes, self.response_fields, "response")

    async def begin(self, reply: Reply) -> None:
        place = self.place(reply)
        item = {**_MESSAGE, "id": reply.item_id, "role": "assistant", "status": "in_progress"}
        await self.say("response.created", response=self.response(reply, "in_progress"))
        if self.tells_limits:
            await self.say("rate_limits.updated", rate_limits=[LIMIT])
        await self.outer("response.output_item.added", reply, item | {"content": []})
        await self.created(item | {"content": []})
        part = {"type": "audio", "transcript": ""}
        await self.say("response.content_part.added", **place, part=part)
        await self.say("response.audio_transcript.delta", **place, delta=WORDS)

    async def piece(self, reply: Reply, audio: bytes) -> None:
        delta = b64encode(audio).decode()
        await self.say("response.audio.delta", **self.place(reply), delta=delta)

    async def end(self, reply: Reply, status: str, reason: str | None) -> None:
        place = self.place(reply)
        part = {"type": "audio", "transcript": WORDS}
        await self.say("response.audio.done", **place)
        await self.say("response.audio_transcript.done", **place, transcript=WORDS)
        await self.say("response.content_part.done", **place, part=part)
        await self.outer("response.output_item.done", reply, self.said(reply, status))
        await self.say("response.done", response=self.response(reply, status, reason))

    async def turn_begins(self, item_id: str, at_ms: int) -> None:
        kind = "input_audio_buffer.speech_started"
        await self.say(kind, audio_start_ms=at_ms, item_id=item_id)
        if self.interrupts:
            await self.cut("turn_detected")

    async def turn_ends(self, item_id: str, at_ms: int) -> None:
        await self.say("input_audio_buffer.speech_stopped", audio_end_ms=at_ms, item_id=item_id)
        kind = "input_audio_buffer.committed"
        await self.say(kind, item_id=item_id, previous_item_id=self._last_item)
        content = [{"type": "input_audio", "transcript": None}]
        item = {**_MESSAGE, "id": item_id, "role": "user", "status": "completed"}
        await self.created(item | {"content": content})

    async def item_made(self, item: Event) -> None:
        await self.created({"object": "realtime.item", "status": "completed", **item})

    # Parts of what it says.

    def said(self, reply: Reply, status: str) -> Event:
        """The item of a response that has ended."""
        ended = "completed" if status == "completed" else "incomplete"
        content = [{"type": "audio", "transcript": WORDS}]
        item = {**_MESSAGE, "id": reply.item_id, "role": "assistant", "status": ended}
        return item | {"content": content}

    def response(self, reply: Reply, status: str, reason: str | None = None) -> Event:
        open_still = status == "in_progress"
        return {
            **{"object": "realtime.response", "id": reply.id, "status": status},
            **{"conversation_id": "conv_1", "modalities": ["audio", "text"], "voice": "alloy"},
            **{"output_audio_format": "pcm16", "temperature": 0.8, "metadata": None},
            "status_details": {"type": status, "reason": reason} if reason else None,
            "output": [] if open_still else [self.said(reply, status)],
            "usage": None if open_still else USAGE,
        }

    async def outer(self, kind: str, reply: Reply, item: Event) -> None:
        await self.say(kind, response_id=reply.id, output_index=0, item=item)

    async def created(self, item: Event) -> None:
        kind = "conversation.item.created"
        await self.say(kind, previous_item_id=self._last_item, item=item)
        self._last_item = item["id"]
