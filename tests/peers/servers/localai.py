"""LocalAI: a pipeline of models behind GA events, not all of them.

From its source (`core/http/endpoints/openai/realtime.go` and `types/server_events.go`).

* PCM at any rate, 24 kHz unless the session says otherwise; another format is overlooked, and what
  comes is read as PCM. `session.updated` tells no formats.
* Most events have no `event_id`. Those of the session and of the caller's speech all have the same,
  `event_TODO`, a placeholder in its source that goes over the wire; the item before a committed one
  is likewise called `TODO`. Speech has no item, and the item that is committed is another one than
  the one that is added.
* Items are added and never done; the assistant's is not even added. The part of a response is
  `output_audio`, as its content is. A response has an id and a status, and nothing else.
* `conversation.item.truncate` is overlooked: no effect, no answer. What is cancelled ends without
  the `done` of its parts.
"""

from base64 import b64encode
from typing import Any, ClassVar

from tests.peers.servers.ga import WORDS, GAServer
from tests.peers.servers.server import Door, Event, Reply
from tests.peers.servers.sound import Format

_SAME_ID = "event_TODO"  # as its source has it


class LocalAI(GAServer):
    door: ClassVar = Door("/v1/realtime")
    truncates: ClassVar = False

    def __init__(self, send: Any) -> None:
        super().__init__(send)
        self.session = {
            **{"type": "realtime", "object": "realtime.session", "id": "sess_1"},
            **{"model": self.session["model"], "instructions": ""},
            "audio": {
                "input": {"turn_detection": {"type": "server_vad"}, "transcription": {}},
                "output": {"voice": "a-voice"},
            },
        }

    async def say(self, kind: str, **fields: Any) -> None:
        await self._put({"type": kind, **fields})

    async def welcome(self) -> None:
        await self.say("session.created", event_id=_SAME_ID, session=self.session)

    async def configure(self, session: Event) -> None:
        self.check_session(session)
        audio = session.get("audio", {})
        shown = self.session["audio"]
        self.session["instructions"] = session.get("instructions", self.session["instructions"])
        self.session["tools"] = session.get("tools", [])
        for direction, name in (("input", "turn_detection"), ("output", "voice")):
            if name in audio.get(direction, {}):
                shown[direction][name] = audio[direction][name]
        await self.say("session.updated", event_id=_SAME_ID, session=self.session)

    def take_format(self, value: Event, param: str) -> Format:
        if value.get("type") != "audio/pcm":
            self.complaints.append(f"{param} is {value}, and what comes is PCM at 24 kHz")
            return Format()
        return Format("pcm", value.get("rate", 24_000))

    async def begin(self, reply: Reply) -> None:
        place = self.place(reply)
        part = {"type": "output_audio", "transcript": WORDS}
        item: Event = {"type": "message", "role": "assistant", "id": reply.item_id}
        item |= {"status": "in_progress", "content": [part]}
        await self.say("response.created", response=self.response(reply, "in_progress"))
        await self.outer("response.output_item.added", reply, item)
        await self.say("response.content_part.added", **place, part=part)
        await self.say("response.output_audio_transcript.delta", **place, delta=WORDS)
        await self.say("response.output_audio_transcript.done", **place, transcript=WORDS)

    async def piece(self, reply: Reply, audio: bytes) -> None:
        delta = b64encode(audio).decode()
        await self.say("response.output_audio.delta", **self.place(reply), delta=delta)

    async def end(self, reply: Reply, status: str, reason: str | None) -> None:
        if status == "completed":
            place, item = self.place(reply), self.said(reply, status)
            part = {"type": "output_audio", "transcript": WORDS}
            await self.say("response.output_audio.done", **place)
            await self.say("response.content_part.done", **place, part=part)
            await self.outer("response.output_item.done", reply, item)
        await self.say("response.done", response=self.response(reply, status))

    async def turn_begins(self, item_id: str, at_ms: int) -> None:
        await self.cut("turn_detected")
        kind = "input_audio_buffer.speech_started"
        await self.say(kind, event_id=_SAME_ID, audio_start_ms=at_ms, item_id="")

    async def turn_ends(self, item_id: str, at_ms: int) -> None:
        kind = "input_audio_buffer.speech_stopped"
        await self.say(kind, event_id=_SAME_ID, audio_end_ms=at_ms, item_id="")
        kind = "input_audio_buffer.committed"
        await self.say(kind, event_id=_SAME_ID, item_id=item_id, previous_item_id="TODO")
        kind = "conversation.item.input_audio_transcription.completed"
        await self.say(kind, item_id=self.name("item"), content_index=0, transcript=WORDS)
        content = [{"type": "input_audio", "audio": "AAAA", "transcript": WORDS}]
        item = {"type": "message", "role": "user", "id": self.name("item"), "status": "completed"}
        await self.say("conversation.item.added", item=item | {"content": content})

    async def item_made(self, item: Event) -> None:
        await self.say("conversation.item.added", item=item)

    async def truncate(self, event: Event) -> None:
        """Nothing."""

    def response(self, reply: Reply, status: str, reason: str | None = None) -> Event:
        return {"id": reply.id, "object": "realtime.response", "status": status}
