"""Qwen-Omni-Realtime of Alibaba Cloud (DashScope): a beta dialect with gaps.

From its documents (alibabacloud.com/help, "Client events" and "Server events" of the Qwen-Omni
Realtime API), and for items of text from clients that send them.

* What comes in is 16 kHz, what goes out 24 kHz, whatever the names say: `pcm16` and `pcm24` of the
  first documents, `pcm` both ways in the new ones. There is no G.711.
* Text alone, or text and audio; never audio alone. The model is in the URL and not in the session.
* Functions are nested as in Chat Completions; flat ones are taken too.
* Nothing is truncated, deleted or retrieved: no such events. The usage has `input_tokens_details`.
"""

from typing import ClassVar

from tests.peers.servers.beta import BetaServer
from tests.peers.servers.ga import FIELDS, only
from tests.peers.servers.server import Door, Event, Reply, Wrong
from tests.peers.servers.sound import Format

USAGE = {
    **{"total_tokens": 30, "input_tokens": 10, "output_tokens": 20},
    "input_tokens_details": {"text_tokens": 10, "audio_tokens": 0},
    "output_tokens_details": {"text_tokens": 5, "audio_tokens": 15},
}
_FORMATS = {"input": ({"pcm", "pcm16"}, 16_000), "output": ({"pcm", "pcm24"}, 24_000)}


class Qwen(BetaServer):
    door: ClassVar = Door("/api-ws/v1/realtime", refused=frozenset({"openai-beta"}))
    fields: ClassVar = {
        name: FIELDS[name]
        for name in FIELDS
        if name not in {f"conversation.item.{what}" for what in ("truncate", "delete", "retrieve")}
    }
    session_fields: ClassVar = frozenset(
        "modalities voice instructions input_audio_format output_audio_format turn_detection "
        "input_audio_transcription tools tool_choice temperature top_p top_k max_tokens seed "
        "smooth_output enable_search presence_penalty repetition_penalty".split()
    )
    response_fields: ClassVar = frozenset({"instructions", "modalities"})
    truncates: ClassVar = False
    tells_limits: ClassVar = False

    async def welcome(self) -> None:
        self.input = Format("pcm", 16_000)
        for name in ("expires_at", "tools", "tool_choice", "max_response_output_tokens"):
            del self.session[name]
        self.session |= {"input_audio_format": "pcm16", "output_audio_format": "pcm24"}
        await self.say("session.created", session=self.session)

    def flat_format(self, value: object, param: str) -> Format:
        names, rate_hz = _FORMATS["input" if "input" in param else "output"]
        if value not in names:
            raise Wrong("invalid_value", f"no such format: {value}", param)
        return Format("pcm", rate_hz)

    def tool(self, tool: Event) -> str:
        if "function" not in tool:
            return super().tool(tool)
        only(tool, frozenset({"type", "function"}), "session.tools")
        return super().tool({"type": "function", **tool["function"]})

    def response(self, reply: Reply, status: str, reason: str | None = None) -> Event:
        whole = super().response(reply, status, reason)
        return whole | ({"usage": USAGE} if whole["usage"] else {})
