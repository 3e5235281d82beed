"""What Qwen's Realtime service (DashScope) does differently: beta, and a part of it.

* Audio is 16 kHz to the server and 24 kHz from it. Each generation of the service has other names
  for these two formats, so they are not sent, and any is read.
* Functions stand one level deeper, and the limit of a response is `max_tokens`.
* Its transcription has a model of its own. There is no noise reduction, speed, tracing or prompt.
* The caller's words come whole each time, as `text` beside a guess (`stash`) at what follows.
"""

from typing import Any, Final

from gateway.realtime.beta_events import client_to_beta
from gateway.realtime.events import Event, text_of, without
from gateway.realtime.transcripts import GrowingTranscripts

INPUT_HZ: Final = 16_000

_FORMATS: Final = ("input_audio_format", "output_audio_format")
_UNKNOWN: Final = {
    *_FORMATS,
    "model",
    "speed",
    "tracing",
    "prompt",
    "include",
    "input_audio_noise_reduction",
    "max_response_output_tokens",
}
_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"


class QwenWords:
    """Qwen's words, for one connection. What comes from the server is left in those of beta."""

    def __init__(self) -> None:
        self._transcripts = GrowingTranscripts()

    def to_server(self, event: Event) -> list[Event]:
        return [_said(beta) for beta in client_to_beta(event)]

    def from_server(self, event: Event) -> list[Event]:
        kind = event["type"]
        if kind in ("session.created", "session.updated"):
            session = event.get("session")
            named = dict.fromkeys(_FORMATS, "pcm16")
            return [event | {"session": session | named} if isinstance(session, dict) else event]
        if kind == f"{_TRANSCRIPTION}.completed":
            self._transcripts.end(text_of(event, "item_id"))
        elif kind == f"{_TRANSCRIPTION}.delta" and "delta" not in event:
            words = self._transcripts.added(text_of(event, "item_id"), text_of(event, "text"))
            return [event | {"delta": words}] if words else []
        return [event]


def _said(event: Event) -> Event:
    """A beta client's event."""
    match event:
        case {"type": "session.update", "session": dict(config)}:
            return event | {"session": _config(config)}
        case {"type": "response.create", "response": dict(config)}:
            return event | {"response": _config(config)}
    return event


def _config(beta: dict[str, Any]) -> dict[str, Any]:
    """What is asked of a session or of a response."""
    config = {name: value for name, value in beta.items() if name not in _UNKNOWN}
    if isinstance(beta.get("max_response_output_tokens"), int):
        config["max_tokens"] = beta["max_response_output_tokens"]
    if isinstance(config.get("tools"), list):
        config["tools"] = [_deeper(tool) for tool in config["tools"]]
    transcription = config.get("input_audio_transcription")
    if isinstance(transcription, dict):
        config["input_audio_transcription"] = {
            name: value for name, value in transcription.items() if name == "language"
        }
    return config


def _deeper(tool: Any) -> Any:
    match tool:
        case {"type": "function", "name": _}:
            return {"type": "function", "function": without(tool, "type")}
    return tool
