"""xAI's Grok Voice: the GA names, with a session and with events of its own.

From its schema (docs.x.ai, `voice-realtime.ws.json`), and from what clients put right: litellm's
normalizer for xAI, the session update of livekit-agents' plugin, the events of pipecat's service.

* `voice` and `turn_detection` stand at the top of the session; where GA has them they mean nothing.
* `conversation.created` comes first, and `ping` events in between.
* No event of a response's stream has an `output_index` or a `content_index`; `content_part.done`
  has no `part`; the usage is `{}`. Items are added, never done, with no `previous_item_id`.
* `conversation.item.truncated` tells the transcript too.
"""

from base64 import b64encode
from typing import ClassVar

from tests.peers.servers.ga import WORDS, GAServer, only
from tests.peers.servers.server import Door, Event, Reply, Wrong


class XAI(GAServer):
    door: ClassVar = Door("/v1/realtime", refused=frozenset({"openai-beta"}))
    formats: ClassVar = {
        "pcm": (8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
        "pcmu": (8000,),
        "pcma": (8000,),
    }
    session_fields: ClassVar = frozenset(
        "model instructions reasoning voice turn_detection resumption audio tools replace "
        "type output_modalities tool_choice parallel_tool_calls".split()  # these it overlooks
    )
    input_fields: ClassVar = frozenset({"format", "transcription"})
    output_fields: ClassVar = frozenset({"format", "speed"})

    async def welcome(self) -> None:
        audio = self.session["audio"]
        self.session["turn_detection"] = {"type": "server_vad"}
        self.session["voice"] = "eve"
        del audio["input"]["turn_detection"], audio["output"]["voice"], audio["output"]["speed"]
        for name in ("type", "output_modalities", "tool_choice", "expires_at"):
            del self.session[name]
        conversation = {"id": "conv_1", "object": "realtime.conversation"}
        await self.say("conversation.created", conversation=conversation)
        await super().welcome()
        await self.ping()

    async def configure(self, session: Event) -> None:
        self.check_session({"type": "realtime", **session})
        turns = session.get("turn_detection") or {}
        if turns.get("type", "server_vad") != "server_vad":
            raise Wrong("invalid_value", "There is only server_vad.", "session.turn_detection.type")
        if "voice" in session:
            self.config["voice"] = session["voice"]
        for name in ("instructions", "voice", "turn_detection", "tools"):
            if name in session:
                self.session[name] = session[name]
        for direction, own in session.get("audio", {}).items():
            self.session["audio"][direction].update(own)
        await self.ping()
        await self.say("session.updated", session=self.session)

    async def ping(self) -> None:
        await self.say("ping", timestamp=1_700_000_000_000)

    async def begin(self, reply: Reply) -> None:
        place = {"response_id": reply.id, "item_id": reply.item_id}
        item: Event = {"object": "realtime.item", "type": "message", "id": reply.item_id}
        item |= {"role": "assistant", "status": "in_progress", "content": []}
        await self.say("response.created", response=self.response(reply, "in_progress"))
        await self.say("response.output_item.added", response_id=reply.id, item=item)
        await self.say("conversation.item.added", previous_item_id=None, item=item)
        part = {"type": "audio", "transcript": ""}
        await self.say("response.content_part.added", **place, part=part)
        await self.say("response.output_audio_transcript.delta", **place, delta=WORDS)

    async def piece(self, reply: Reply, audio: bytes) -> None:
        place = {"response_id": reply.id, "item_id": reply.item_id}
        delta = b64encode(audio).decode()
        await self.say("response.output_audio.delta", **place, delta=delta)

    async def end(self, reply: Reply, status: str, reason: str | None) -> None:
        place = {"response_id": reply.id, "item_id": reply.item_id}
        await self.ping()
        await self.say("response.output_audio.done", **place)
        await self.say("response.output_audio_transcript.done", **place, transcript=WORDS)
        await self.say("response.content_part.done", **place)
        item = self.said(reply, status)
        await self.say("response.output_item.done", response_id=reply.id, item=item)
        response = self.response(reply, status, reason)
        await self.say("response.done", response=response, usage={})

    async def turn_ends(self, item_id: str, at_ms: int) -> None:
        await self.say("input_audio_buffer.speech_stopped", audio_end_ms=at_ms, item_id=item_id)
        await self.say("input_audio_buffer.committed", item_id=item_id, previous_item_id=None)
        content = [{"type": "input_audio", "transcript": WORDS}]
        item = {"object": "realtime.item", "type": "message", "id": item_id, "role": "user"}
        await self.item_made(item | {"content": content})

    async def item_made(self, item: Event) -> None:
        shown = {"object": "realtime.item", "status": "completed", **item}
        await self.say("conversation.item.added", previous_item_id=None, item=shown)

    async def truncate(self, event: Event) -> None:
        names = ("item_id", "content_index", "audio_end_ms")
        fields = {name: event[name] for name in names}
        await self.say("conversation.item.truncated", **fields, transcript=WORDS)

    def response(self, reply: Reply, status: str, reason: str | None = None) -> Event:
        whole = super().response(reply, status, reason)
        del whole["conversation_id"], whole["output_modalities"]
        return whole | {"usage": {}}

    def check_response(self, wishes: Event) -> None:
        only(wishes, frozenset({"modalities", "instructions", "metadata"}), "response")
