"""Inworld's Realtime API: GA events on a path of its own.

From docs.inworld.ai ("WebSocket", "OpenAI migration") and the Inworld service of pipecat.

* The key is Base64 already and comes as `Basic`. The query has a session id of the client's own
  choice and `protocol=realtime`, and no model: that stands in the session.
* Turns are found by `semantic_vad` unless the session says otherwise. Text comes with the audio,
  and `audio.output.model` is the voice's.
"""

from typing import Any, ClassVar

from tests.peers.servers.ga import GAServer
from tests.peers.servers.server import ANY, KEY, Door


class Inworld(GAServer):
    door: ClassVar = Door(
        "/api/v1/realtime/session",
        (("authorization", f"Basic {KEY}"),),
        {"key": ANY, "protocol": "realtime"},
    )
    formats: ClassVar = {
        "pcm": (8000, 16_000, 24_000, 32_000, 44_100, 48_000),
        "pcmu": (8000,),
        "pcma": (8000,),
    }
    output_fields: ClassVar = GAServer.output_fields | {"model"}
    modalities: ClassVar = (["audio", "text"], ["audio"], ["text"])
    tells_limits: ClassVar = False

    def __init__(self, send: Any) -> None:
        super().__init__(send)
        self.session["output_modalities"] = ["audio", "text"]
        turns = {"type": "semantic_vad", "eagerness": "medium"}
        self.session["audio"]["input"]["turn_detection"] |= turns
        self.session["audio"]["output"]["model"] = "a-voice-model"
        del self.session["expires_at"]
