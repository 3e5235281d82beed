"""The session's configuration: what the client set over what the server began with.

The whole object is kept and shown, fields that this server does not read included: noise reduction,
speed, truncation, prompts, tracing, reasoning. What a client sends has been checked before
(`gateway.realtime.client_events`); an update takes effect as a whole or not at all.
"""

from copy import deepcopy
from typing import Any, Final, Literal

from gateway.audio.formats import PCM24K, AudioFormat
from gateway.backend.turns import TurnSettings
from gateway.realtime.config import effective_session, effective_turn_detection
from gateway.realtime.errors import RealtimeError, invalid_value

Kind = Literal["realtime", "transcription"]

_FIXED: Final = {"id", "object", "model", "expires_at"}
"""Not the client's to change. A model named later is ignored: clients send whole configs."""
_PATIENCE_MS: Final = {"low": 2000, "medium": 800, "auto": 800, "high": 400}
"""Silence that ends a turn of `semantic_vad`: nobody here understands whether it was meant to."""
_VOICE: Final = "built-in"
_STRENGTH: Final = {"strength": 1.0}


class SessionConfig:
    """The effective configuration of one session."""

    def __init__(self, session_id: str, kind: Kind, *, model: str, expires_at: int) -> None:
        self.kind = kind
        self.fields = effective_session(
            {"type": kind}, session_id=session_id, model=model, expires_at=expires_at
        )
        """The effective session; not to be changed from outside."""
        if kind == "realtime":
            self.fields["audio"]["output"]["voice"] = _VOICE
        self.input_format = PCM24K
        self.output_format = PCM24K
        self.turns: TurnSettings | None = TurnSettings()
        """None when the client ends the turns itself."""

    def shown(self) -> dict[str, Any]:
        """A copy of the effective session."""
        return deepcopy(self.fields)

    @property
    def voice(self) -> str:
        voice: str = self.fields["audio"]["output"]["voice"]
        return voice

    @property
    def transcribes(self) -> bool:
        """Whether the caller's audio is to be transcribed: a transcription session always does."""
        wanted = self.fields["audio"]["input"]["transcription"] is not None
        return wanted or self.kind == "transcription"

    @property
    def mcp_servers(self) -> list[str]:
        """Labels of the MCP servers among the tools."""
        tools = self.fields.get("tools", ())
        return [tool["server_label"] for tool in tools if tool["type"] == "mcp"]

    def update(self, session: dict[str, Any], *, voice_locked: bool) -> None:
        """Take over the fields that are present.

        Raises:
            RealtimeError: it is of the other kind, or changes what cannot be changed any more.
                Nothing was changed.
        """
        if session["type"] != self.kind:
            raise invalid_value("session.type", session["type"], [self.kind])
        fields = self.fields | {k: v for k, v in session.items() if k not in _FIXED}
        tracing = self.fields.get("tracing")
        if tracing is not None and fields["tracing"] not in (None, tracing):
            message = "Cannot update a session's tracing configuration once it is enabled."
            raise RealtimeError(message, code="invalid_value", param="session.tracing")
        if "reasoning" in session:
            fields["reasoning"] = {"effort": "low"} | session["reasoning"]
        before, update = self.fields["audio"], session.get("audio", {})
        audio = {"input": _input(before["input"], update.get("input", {}))}
        input_format = output_format = AudioFormat.from_session(audio["input"]["format"])
        if self.kind == "realtime":
            audio["output"] = _output(before["output"], update.get("output", {}))
            output_format = AudioFormat.from_session(audio["output"]["format"])
            if voice_locked and audio["output"]["voice"] != self.voice:
                raise voice_is_locked("session.audio.output.voice")
        self.fields = deepcopy(fields | {"audio": audio})
        self.turns = _turns(audio["input"]["turn_detection"])
        self.input_format, self.output_format = input_format, output_format


def voice_name(voice: Any) -> str:
    """A voice as a server shows it: official types of responses know no objects."""
    name: str = voice["id"] if isinstance(voice, dict) else voice
    return name


def voice_is_locked(param: str) -> RealtimeError:
    """The agent was heard in a voice, and keeps it."""
    message = "Cannot update a conversation's voice if assistant audio is present."
    return RealtimeError(message, code="cannot_update_voice", param=param)


def _input(before: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    side = before | update
    side["format"] = _whole_format(side["format"])
    noise_reduction = update.get("noise_reduction")
    if noise_reduction is not None:
        side["noise_reduction"] = (before["noise_reduction"] or _STRENGTH) | noise_reduction
    vad, was = update.get("turn_detection"), before["turn_detection"]
    if vad is not None:
        same = was is not None and was["type"] == vad["type"]
        side["turn_detection"] = was | vad if same else effective_turn_detection(vad)
    return side


def _output(before: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    side = before | update
    return side | {"format": _whole_format(side["format"]), "voice": voice_name(side["voice"])}


def _whole_format(value: dict[str, Any]) -> dict[str, Any]:
    return AudioFormat.from_session(value).to_session()


def _turns(vad: dict[str, Any] | None) -> TurnSettings | None:
    if vad is None:
        return None
    shared = {
        "create_response": vad["create_response"],
        "interrupt_response": vad["interrupt_response"],
    }
    if vad["type"] == "semantic_vad":
        return TurnSettings(silence_duration_ms=_PATIENCE_MS[vad["eagerness"]], **shared)
    names = ("threshold", "prefix_padding_ms", "silence_duration_ms", "idle_timeout_ms")
    return TurnSettings(**{name: vad[name] for name in names}, **shared)
