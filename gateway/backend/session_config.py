"""The session's configuration: what the client set over what the server began with.

The whole object is kept and shown, fields that this server does not read included. Those that it
reads are checked before anything is changed, so that an update takes effect as a whole or not at
all.
"""

from copy import deepcopy
from typing import Any, Final

from gateway.audio.formats import PCM24K, PCMA, PCMU, AudioFormat, AudioFormatError
from gateway.backend.errors import RequestError, invalid, missing
from gateway.backend.turns import TurnSettings

_FIXED: Final = {"id", "object", "model", "expires_at"}
"""Not the client's to change. A model named later is ignored: clients send whole configs."""
_FORMATS: Final = (PCMU, PCMA, PCM24K)
_DEFAULT_VAD: Final = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "create_response": True,
    "interrupt_response": True,
    "idle_timeout_ms": None,
}


class SessionConfig:
    """The effective configuration of one session."""

    def __init__(self, session_id: str, *, model: str, expires_at: int) -> None:
        self._fields: dict[str, Any] = {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": model,
            "expires_at": expires_at,
            "output_modalities": ["audio"],
            "instructions": "",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "truncation": "auto",
            "tracing": None,
            "prompt": None,
            "include": None,
            "audio": {
                "input": {
                    "format": PCM24K.to_session(),
                    "transcription": None,
                    "noise_reduction": None,
                    "turn_detection": dict(_DEFAULT_VAD),
                },
                "output": {"format": PCM24K.to_session(), "voice": "built-in", "speed": 1.0},
            },
        }
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
            RequestError: nothing was changed.
        """
        if not isinstance(session, dict):
            raise missing("session")
        if "type" not in session:
            raise missing("session.type")
        if session["type"] != "realtime":
            raise invalid("session.type", session["type"], "'realtime'")
        fields = self._fields | {k: v for k, v in session.items() if k not in _FIXED}
        if fields["output_modalities"] != ["audio"]:
            raise invalid("session.output_modalities", fields["output_modalities"], "['audio']")
        fields["audio"] = audio = self._merged(session.get("audio", {}))
        if voice_locked and audio["output"]["voice"] != self.voice:
            raise RequestError(
                "cannot_update_voice",
                "Cannot update a conversation's voice if assistant audio is present.",
                "session.audio.output.voice",
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
            before = self._fields["audio"]["input"]["turn_detection"] or _DEFAULT_VAD
            audio["input"]["turn_detection"] = before | vad
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
    path = "session.audio.input.turn_detection"
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid(path, value, "an object or null")
    if value.get("type") != "server_vad":
        raise invalid(f"{path}.type", value.get("type"), "'server_vad'")
    threshold = value["threshold"]
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise invalid(f"{path}.threshold", threshold, "a number from 0 to 1")
    if not 0 <= threshold <= 1:
        raise invalid(f"{path}.threshold", threshold, "a number from 0 to 1")
    for name in ("prefix_padding_ms", "silence_duration_ms"):
        number = value[name]
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise invalid(f"{path}.{name}", number, "a number of milliseconds, 0 or more")
    for name in ("create_response", "interrupt_response"):
        if not isinstance(value[name], bool):
            raise invalid(f"{path}.{name}", value[name], "true or false")
    return TurnSettings(
        threshold,
        value["prefix_padding_ms"],
        value["silence_duration_ms"],
        value["create_response"],
        value["interrupt_response"],
    )
