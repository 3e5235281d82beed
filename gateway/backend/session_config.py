"""The session's configuration: what the client set over what the server began with.

The whole object is kept and shown, fields that this server does not read included. Those that it
reads are checked before anything is changed, so that an update takes effect as a whole or not at
all.
"""

from copy import deepcopy
from typing import Any, Final

from gateway.audio.formats import PCM24K, PCMA, PCMU, AudioFormat, AudioFormatError
from gateway.backend.turns import TurnSettings
from gateway.realtime.config import SERVER_VAD, effective_session, effective_turn_detection
from gateway.realtime.config_models import SemanticVad, ServerVad
from gateway.realtime.errors import RealtimeError, invalid, invalid_value, missing
from gateway.realtime.validation import check

_FIXED: Final = {"id", "object", "model", "expires_at"}
"""Not the client's to change. A model named later is ignored: clients send whole configs."""
_FORMATS: Final = (PCMU, PCMA, PCM24K)
_PATIENCE_MS: Final = {"low": 2000, "medium": 800, "auto": 800, "high": 400}
"""Silence that ends a turn of `semantic_vad`: nobody here understands whether it was meant to."""
_DEFAULT: Final = {"type": "realtime", "audio": {"output": {"voice": "built-in"}}}


class SessionConfig:
    """The effective configuration of one session."""

    def __init__(self, session_id: str, *, model: str, expires_at: int) -> None:
        self._fields = effective_session(
            _DEFAULT, session_id=session_id, model=model, expires_at=expires_at
        )
        self.input_format = PCM24K
        self.output_format = PCM24K
        self.turns: TurnSettings | None = TurnSettings()
        """None when the client ends the turns itself."""

    def shown(self) -> dict[str, Any]:
        """A copy of the effective session."""
        return deepcopy(self._fields)

    @property
    def voice(self) -> object:
        return self._fields["audio"]["output"]["voice"]

    def update(self, session: object, *, voice_locked: bool) -> None:
        """Take over the fields that are present.

        Raises:
            RealtimeError: nothing was changed.
        """
        if not isinstance(session, dict):
            raise missing("session")
        if "type" not in session:
            raise missing("session.type")
        if session["type"] != "realtime":
            raise invalid_value("session.type", session["type"], ["realtime"])
        fields = self._fields | {k: v for k, v in session.items() if k not in _FIXED}
        if fields["output_modalities"] != ["audio"]:
            raise invalid("session.output_modalities", fields["output_modalities"], "['audio']")
        fields["audio"] = audio = self._merged(session.get("audio", {}))
        if voice_locked and audio["output"]["voice"] != self.voice:
            raise RealtimeError(
                "Cannot update a conversation's voice if assistant audio is present.",
                code="cannot_update_voice",
                param="session.audio.output.voice",
            )
        input_format = _format(audio["input"], "session.audio.input.format")
        output_format = _format(audio["output"], "session.audio.output.format")
        turns = _turns(audio["input"]["turn_detection"])
        self._fields = deepcopy(fields)
        self.turns = turns
        self.input_format, self.output_format = input_format, output_format

    def _merged(self, update: object) -> dict[str, Any]:
        if not isinstance(update, dict):
            raise invalid("session.audio", update, "an object")
        audio: dict[str, Any] = self._fields["audio"] | update
        for direction in ("input", "output"):
            side = update.get(direction, {})
            if not isinstance(side, dict):
                raise invalid(f"session.audio.{direction}", side, "an object")
            audio[direction] = self._fields["audio"][direction] | side
        vad = audio["input"]["turn_detection"]
        if isinstance(vad, dict):
            before = self._fields["audio"]["input"]["turn_detection"] or SERVER_VAD
            same = vad.get("type", before["type"]) == before["type"]
            whole = before | vad if same else effective_turn_detection(vad)
            audio["input"]["turn_detection"] = whole
        return audio


def _format(side: dict[str, Any], path: str) -> AudioFormat:
    value = side["format"]
    expected = "audio/pcmu, audio/pcma, or audio/pcm at 24000"
    try:
        audio_format = AudioFormat.from_session(value if isinstance(value, dict) else {})
    except AudioFormatError:
        raise invalid(path, value, expected) from None
    if audio_format not in _FORMATS:
        raise invalid(path, value, expected)
    side["format"] = audio_format.to_session()
    return audio_format


def _turns(value: object) -> TurnSettings | None:
    if value is None:
        return None
    path = "session.audio.input.turn_detection"
    if isinstance(value, dict) and value.get("type") == "semantic_vad":
        vad = check(SemanticVad, value, path)
        return TurnSettings(
            silence_duration_ms=_PATIENCE_MS[vad["eagerness"]],
            create_response=vad["create_response"],
            interrupt_response=vad["interrupt_response"],
        )
    vad = check(ServerVad, value, path)
    return TurnSettings(
        vad["threshold"],
        vad["prefix_padding_ms"],
        vad["silence_duration_ms"],
        vad["create_response"],
        vad["interrupt_response"],
    )
