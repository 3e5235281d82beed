"""speaches: transcription, a language model and a voice behind the beta events.

From its source (`src/speaches/realtime`, `routers/realtime_ws.py`, `types/realtime.py`).

* 16-bit PCM at 24 kHz, both ways. A `session.update` that names a format is told that it cannot be
  configured, by an `error` without code or `event_id`, and has its effect all the same; so is
  `prefix_padding_ms`. A `turn_detection` that is not whole is overlooked.
* A response begins when the caller's words are written down, and until then the old one goes on; it
  is then dropped without a word: no `done` of any kind.
* `conversation.item.truncate` and `response.cancel` are not implemented, and an error says so.
* Builds of its next version tell what they understood so far: `partial_transcription`.
* A response in progress is `incomplete`, items have no other state but `completed`, and the usage
  is missing everywhere.
"""

from typing import ClassVar

from tests.peers.servers.beta import BetaServer
from tests.peers.servers.ga import FIELDS, WORDS
from tests.peers.servers.server import KEY, Door, Event, Reply, Wrong

_UNSUPPORTED = ("input_audio_format", "output_audio_format")


class Speaches(BetaServer):
    door: ClassVar = Door("/v1/realtime", (("authorization", f"Bearer {KEY}"), ("x-api-key", KEY)))
    fields: ClassVar = {
        **{name: None for name in FIELDS if name != "conversation.item.retrieve"},
    }
    interrupts: ClassVar = False
    truncates: ClassVar = False
    tells_limits: ClassVar = False

    async def welcome(self) -> None:
        del self.session["expires_at"]
        self.session |= {
            **{"voice": "af_heart", "speech_model": "a-voice"},
            "input_audio_transcription": {"model": "a-transcriber", "language": None},
        }
        await self.say("session.created", session=self.session)

    async def configure(self, session: Event) -> None:
        turns = session.get("turn_detection", {})
        if turns is None:
            raise Wrong("", "turn_detection cannot be null", "session.turn_detection")
        unsupported = [name for name in _UNSUPPORTED if name in session]
        if "prefix_padding_ms" in turns:
            unsupported.append("turn_detection.prefix_padding_ms")
        for name in unsupported:
            message = f"Specifying `session.{name}` is not supported."
            await self.say("error", error={"type": "invalid_request_error", "message": message})
        for name in _UNSUPPORTED:
            if session.get(name, "pcm16") != "pcm16":
                self.complaints.append(f"{name} is {session[name]}, and what comes is pcm16")
        self.check_session({key: session[key] for key in session if key not in _UNSUPPORTED})
        known = {key: value for key, value in session.items() if key not in _UNSUPPORTED}
        if len(turns) < 5:
            known.pop("turn_detection", None)
        self.session.update(known)
        await self.say("session.updated", session=self.session)

    async def _do(self, event: Event) -> None:
        if event["type"] in ("conversation.item.truncate", "response.cancel"):
            raise Wrong("", f"Handling of the '{event['type']}' event is not implemented.")
        await super()._do(event)

    async def refuse(self, wrong: Wrong, event: Event) -> None:
        message = wrong.fields["message"]
        error = {"type": "server_error", "message": message, "event_id": event.get("event_id")}
        await self.say("error", error=error)

    async def turn_ends(self, item_id: str, at_ms: int) -> None:
        await super().turn_ends(item_id, at_ms)
        kind = "input_audio_buffer.partial_transcription"
        await self.say(kind, item_id=item_id, transcript=WORDS)
        kind = "conversation.item.input_audio_transcription.completed"
        usage = {"type": "duration", "seconds": 0.5}
        await self.say(kind, item_id=item_id, content_index=0, transcript=WORDS, usage=usage)
        if reply := self.active():
            self.close()
            reply.done = True
            self.cancelled.append(reply.id)

    def response(self, reply: Reply, status: str, reason: str | None = None) -> Event:
        output = [] if status == "in_progress" else [self.said(reply, status)]
        state = "incomplete" if status == "in_progress" else status
        response = {"object": "realtime.response", "id": reply.id, "status": state}
        return {**response, "output": output, "modalities": ["audio", "text"]}
