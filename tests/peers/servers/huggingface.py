"""Hugging Face speech-to-speech: the core of the GA events around a local pipeline.

From its source and README (`src/speech_to_speech/api/openai_realtime`).

* No key, no model. PCM at 16 kHz where the session names no format, else 24 kHz, which is the one
  rate of the official types; another format is taken and misread.
* A response is created, then come its transcript and its audio, and it is done: there are no items,
  no parts. What is spoken by the caller is no item either, and nothing is committed.
* When the caller interrupts, the response ends first, and `speech_started` comes behind it.
* Errors have a type and a message and no code. Items of the client are `created`.
* `conversation.item.truncate` is taken, has no effect and no answer.
"""

from base64 import b64encode
from typing import Any, ClassVar

from tests.peers.servers.ga import FIELDS, WORDS, GAServer
from tests.peers.servers.server import Door, Event, Reply, Wrong
from tests.peers.servers.sound import Format

_UNKNOWN = {"input_audio_buffer.clear", "conversation.item.retrieve", "conversation.item.delete"}
_NATIVE = Format("pcm", 16_000)


class HuggingFace(GAServer):
    door: ClassVar = Door("/v1/realtime", (), {})
    fields: ClassVar = {name: FIELDS[name] for name in FIELDS if name not in _UNKNOWN}
    truncates: ClassVar = False

    def __init__(self, send: Any) -> None:
        super().__init__(send)
        self.input = self.output = _NATIVE
        self.session = {
            **{"type": "realtime", "id": "session_1", "instructions": ""},
            "audio": {"input": {"turn_detection": {"type": "server_vad"}}, "output": {}},
        }

    def take_format(self, value: Event, param: str) -> Format:
        if value.get("type") != "audio/pcm":
            self.complaints.append(f"{param} is {value}, and what comes is PCM at 16 kHz")
            return _NATIVE
        if value.get("rate", 24_000) != 24_000:
            raise Wrong("unknown_or_invalid_event", f"{param} is {value}", param)
        return Format() if "rate" in value else _NATIVE

    async def refuse(self, wrong: Wrong, event: Event) -> None:
        kind = "unknown_or_invalid_event" if wrong.fields["param"] else wrong.fields["code"]
        error = {"type": kind, "message": wrong.fields["message"]}
        await self.say("error", error=error)

    async def begin(self, reply: Reply) -> None:
        await self.say("response.created", response=self.response(reply, "in_progress"))
        kind = "response.output_audio_transcript.delta"
        await self.say(kind, **self.place(reply), delta=WORDS)

    async def piece(self, reply: Reply, audio: bytes) -> None:
        delta = b64encode(audio).decode()
        await self.say("response.output_audio.delta", **self.place(reply), delta=delta)

    async def end(self, reply: Reply, status: str, reason: str | None) -> None:
        place = self.place(reply)
        await self.say("response.output_audio.done", **place)
        await self.say("response.output_audio_transcript.done", **place, transcript=WORDS)
        await self.say("response.done", response=self.response(reply, status, reason))

    async def turn_begins(self, item_id: str, at_ms: int) -> None:
        await self.cut("turn_detected")
        kind = "input_audio_buffer.speech_started"
        await self.say(kind, audio_start_ms=at_ms, item_id=item_id)

    async def turn_ends(self, item_id: str, at_ms: int) -> None:
        await self.say("input_audio_buffer.speech_stopped", audio_end_ms=at_ms, item_id=item_id)
        kind = "conversation.item.input_audio_transcription.completed"
        usage = {"type": "duration", "seconds": 0.5}
        await self.say(kind, item_id=item_id, content_index=0, transcript=WORDS, usage=usage)

    async def item_made(self, item: Event) -> None:
        shown = {"object": "realtime.item", **item}
        await self.say("conversation.item.created", previous_item_id=None, item=shown)

    async def truncate(self, event: Event) -> None:
        """Nothing."""

    def response(self, reply: Reply, status: str, reason: str | None = None) -> Event:
        whole = super().response(reply, status, reason)
        del whole["output_modalities"]
        whole["usage"] = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}
        return whole | {"audio": {"output": {"voice": self.config.get("voice")}}}
