"""The session config (GA): checked as clients send it, and filled up as a server shows it.

One check serves the accept of a call, client secrets, outgoing calls and the gateway's own default
session, so that a wrong field is named the same way everywhere and before anything is connected.
"""

from copy import deepcopy
from typing import Any, Final

from gateway.audio.formats import PCM24K
from gateway.realtime.config_models import RealtimeSession, TranscriptionSession
from gateway.realtime.errors import invalid_type, invalid_value, missing
from gateway.realtime.session import Session
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
_OBJECTS: Final = {
    "realtime": "realtime.session",
    "transcription": "realtime.transcription_session",
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
    kind = config.get("type", "realtime")
    shown: Session = {
        "type": kind,
        "object": _OBJECTS[kind],
        "id": session_id,
        "expires_at": expires_at,
    }
    if kind == "realtime":
        shown |= {
            "model": model,
            "output_modalities": ["audio"],
            "instructions": "",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "truncation": "auto",
            "tracing": None,
            "prompt": None,
        }
    shown |= {"include": None} | config
    audio = config.get("audio", {})
    shown["audio"] = {"input": _effective_input(audio.get("input", {}))}
    if kind == "realtime":
        output = {"voice": _VOICE, "speed": 1.0} | audio.get("output", {})
        if isinstance(output["voice"], dict):  # answers of the official types know strings alone
            output["voice"] = output["voice"]["id"]
        shown["audio"]["output"] = output | {"format": _effective_format(output)}
    if "reasoning" in shown:
        shown["reasoning"] = {"effort": "low"} | shown["reasoning"]
    return shown


def effective_turn_detection(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """A checked `turn_detection`, its defaults filled in."""
    if value is None:
        return None
    return (_SEMANTIC_VAD if value.get("type") == "semantic_vad" else SERVER_VAD) | value


def _effective_input(side: dict[str, Any]) -> dict[str, Any]:
    noise_reduction = side.get("noise_reduction")
    if noise_reduction is not None:
        noise_reduction = {"strength": 1.0} | noise_reduction
    return {
        "format": _effective_format(side),
        "transcription": side.get("transcription"),
        "noise_reduction": noise_reduction,
        "turn_detection": effective_turn_detection(side.get("turn_detection", SERVER_VAD)),
    }


def _effective_format(side: dict[str, Any]) -> dict[str, Any]:
    chosen: dict[str, Any] = side.get("format", {})
    default = PCM24K.to_session()
    return chosen if chosen.get("type", default["type"]) != default["type"] else default | chosen
