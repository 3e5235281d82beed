"""The session config (GA): checked as clients send it, and filled up as a server shows it.

One check serves the accept of a call, client secrets, outgoing calls and the gateway's own default
session, so that a wrong field is named the same way everywhere and before anything is connected.
"""

from copy import deepcopy
from typing import Any, Final, cast

from gateway.audio.formats import PCM24K
from gateway.realtime.config_models import RealtimeSession, TranscriptionSession
from gateway.realtime.errors import invalid_type, invalid_value, missing
from gateway.realtime.session import Session
from gateway.realtime.session_resources import (
    AudioInputResource,
    AudioOutputResource,
    Format,
    RealtimeSessionResource,
    TranscriptionSessionResource,
    TurnDetectionResource,
)
from gateway.realtime.validation import Model, check

SERVER_VAD: Final = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "create_response": True,
    "interrupt_response": True,
    "idle_timeout_ms": None,
}
"""As the reference documents it; sample events of the official service show a silence of 200."""
_SEMANTIC_VAD: Final = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}
_VOICE: Final = "marin"
_MODELS: Final[dict[str, type[Model]]] = {
    "realtime": RealtimeSession,
    "transcription": TranscriptionSession,
}


def check_session(
    value: object, *, path: str = "session", types: tuple[str, ...] = ("realtime",)
) -> Session:
    """Check a whole session config.

    Args:
        value: JSON, as it was parsed.
        path: under which an error names the parameters.
        types: which types of session may be asked for: "realtime", "transcription".

    Returns:
        `value` itself: the fields that the client sent and no others.

    Raises:
        RealtimeError: status 400; names the first fault, the least deep one before others.
    """
    if not isinstance(value, dict):
        raise invalid_type(path, value, "an object")
    at = f"{path}.type" if path else "type"
    if "type" not in value:
        raise missing(at)
    kind = value["type"]
    if not isinstance(kind, str):
        raise invalid_type(at, kind, "a string")
    if kind not in types:
        raise invalid_value(at, kind, types)
    return check(_MODELS[kind], value, path)


def effective_session(config: Session, *, session_id: str, model: str, expires_at: int) -> Session:
    """The session that a checked config asks for, every default filled in.

    Args:
        model: the one to show where the config names none.
        expires_at: unix seconds; 0 where the session has not begun.
    """
    config = deepcopy(config)
    if config.get("type") == "transcription":
        return dict(_transcription(config, session_id, expires_at))
    return dict(_realtime(config, session_id, model, expires_at))


def effective_turn_detection(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """A checked `turn_detection`, its defaults filled in."""
    if value is None:
        return None
    return (_SEMANTIC_VAD if value.get("type") == "semantic_vad" else SERVER_VAD) | value


def _realtime(
    config: Session, session_id: str, model: str, expires_at: int
) -> RealtimeSessionResource:
    audio = config.get("audio", {})
    shown: RealtimeSessionResource = {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "expires_at": expires_at,
        "model": config.get("model", model),
        "output_modalities": config.get("output_modalities", ["audio"]),
        "instructions": config.get("instructions", ""),
        "audio": {
            "input": _input(audio.get("input", {})),
            "output": _output(audio.get("output", {})),
        },
        "tools": config.get("tools", []),
        "tool_choice": config.get("tool_choice", "auto"),
        "max_output_tokens": config.get("max_output_tokens", "inf"),
        "truncation": config.get("truncation", "auto"),
        "tracing": config.get("tracing"),
        "prompt": config.get("prompt"),
        "include": config.get("include"),
    }
    if "parallel_tool_calls" in config:
        shown["parallel_tool_calls"] = config["parallel_tool_calls"]
    if "reasoning" in config:
        shown["reasoning"] = {"effort": config["reasoning"].get("effort", "low")}
    return shown


def _transcription(
    config: Session, session_id: str, expires_at: int
) -> TranscriptionSessionResource:
    return {
        "type": "transcription",
        "object": "realtime.transcription_session",
        "id": session_id,
        "expires_at": expires_at,
        "audio": {"input": _input(config.get("audio", {}).get("input", {}))},
        "include": config.get("include"),
    }


def _input(side: dict[str, Any]) -> AudioInputResource:
    noise_reduction = side.get("noise_reduction")
    if noise_reduction is not None:
        noise_reduction = {"strength": 1.0} | noise_reduction
    detection = effective_turn_detection(side.get("turn_detection", SERVER_VAD))
    return {
        "format": _format(side),
        "transcription": side.get("transcription"),
        "noise_reduction": noise_reduction,
        "turn_detection": cast("TurnDetectionResource | None", detection),
    }


def _output(side: dict[str, Any]) -> AudioOutputResource:
    voice = side.get("voice", _VOICE)
    return {
        "format": _format(side),
        # Answers of the official types know strings alone.
        "voice": voice["id"] if isinstance(voice, dict) else voice,
        "speed": side.get("speed", 1.0),
    }


def _format(side: dict[str, Any]) -> Format:
    chosen: Format = side.get("format", {"type": "audio/pcm"})
    if chosen["type"] == "audio/pcm":
        return {"type": "audio/pcm", "rate": chosen.get("rate", PCM24K.rate_hz)}
    return chosen
