"""The flat session shapes of the beta API, to and from the GA config.

Two old endpoints speak them, `/v1/realtime/sessions` and `/v1/realtime/transcription_sessions`.
Everything behind them knows GA alone. What GA no longer has, `temperature`, is checked and dropped.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from gateway.realtime.config_models import (
    BetaTurnDetection,
    Include,
    MaxOutputTokens,
    Name,
    NoiseReduction,
    Prompt,
    Speed,
    Tool,
    ToolChoice,
    Tracing,
    Transcription,
)
from gateway.realtime.session import Session
from gateway.realtime.validation import ABSENT, Array, Model, check, wrong_combination

DEFAULT_EXPIRY_S: Final = 600
_TEMPERATURE: Final = 0.8

_FORMATS: Final[dict[str, dict[str, Any]]] = {
    "pcm16": {"type": "audio/pcm", "rate": 24000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
_FLAT_FORMATS: Final[dict[str, str]] = {value["type"]: name for name, value in _FORMATS.items()}

# Flat name -> GA name, where the value is the same.
_SAME: Final = {
    "model": "model",
    "instructions": "instructions",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "max_response_output_tokens": "max_output_tokens",
    "tracing": "tracing",
    "prompt": "prompt",
    "include": "include",
}
_INPUT: Final = {
    "input_audio_transcription": "transcription",
    "input_audio_noise_reduction": "noise_reduction",
    "turn_detection": "turn_detection",
}
_OUTPUT: Final = {"voice": "voice", "speed": "speed"}


def _text_or_both(modalities: list[str]) -> list[str]:
    if sorted(modalities) not in (["text"], ["audio", "text"]):
        raise wrong_combination("['text'] and ['audio', 'text']")
    return modalities


_Modalities = Annotated[Array[Literal["text", "audio"]], AfterValidator(_text_or_both)]
_FlatFormat = Literal["pcm16", "g711_ulaw", "g711_alaw"]


class _Expiry(Model):
    anchor: Literal["created_at"] = ABSENT
    seconds: Annotated[int, Field(ge=10, le=7200)] = ABSENT


class _SessionSecret(Model):
    expires_after: _Expiry | None = None


class _TranscriptionSecret(Model):
    expires_at: _Expiry | None = None


class _Input(Model):
    modalities: _Modalities = ABSENT
    input_audio_format: _FlatFormat = ABSENT
    input_audio_transcription: Transcription | None = None
    input_audio_noise_reduction: NoiseReduction | None = None
    turn_detection: BetaTurnDetection | None = None
    include: Include | None = None


class BetaSession(_Input):
    model: Name = ABSENT
    instructions: str = ABSENT
    voice: Name = ABSENT
    output_audio_format: _FlatFormat = ABSENT
    tools: Array[Tool] = ABSENT
    tool_choice: ToolChoice = ABSENT
    temperature: Annotated[float, Field(ge=0.6, le=1.2)] = ABSENT
    max_response_output_tokens: MaxOutputTokens = ABSENT
    speed: Speed = ABSENT
    tracing: Tracing | None = None
    prompt: Prompt | None = None
    client_secret: _SessionSecret | None = None


class BetaTranscription(_Input):
    client_secret: _TranscriptionSecret | None = None


def session_from_beta(value: object) -> Session:
    """Check the body of `POST /v1/realtime/sessions` and say it in GA.

    Its `client_secret` is checked too; read it with `expiry_seconds`.

    Raises:
        RealtimeError: status 400; names the first fault by its flat path.
    """
    flat = check(BetaSession, value, "")
    session: Session = {"type": "realtime"} | _renamed(flat, _SAME)
    if "modalities" in flat:
        session["output_modalities"] = ["audio" if "audio" in flat["modalities"] else "text"]
    audio = {"input": _input(flat), "output": _renamed(flat, _OUTPUT)}
    if "output_audio_format" in flat:
        audio["output"]["format"] = dict(_FORMATS[flat["output_audio_format"]])
    return _with_audio(session, audio)


def transcription_from_beta(value: object) -> Session:
    """Check the body of `POST /v1/realtime/transcription_sessions` and say it in GA.

    Raises:
        RealtimeError: status 400; names the first fault by its flat path.
    """
    flat = check(BetaTranscription, value, "")
    session: Session = {"type": "transcription"} | _renamed(flat, {"include": "include"})
    return _with_audio(session, {"input": _input(flat)})


def session_to_beta(effective: Session, *, temperature: float = _TEMPERATURE) -> dict[str, Any]:
    """The flat form of an effective realtime session, without a `client_secret`.

    Args:
        temperature: to show; GA has none.
    """
    audio = effective["audio"]
    speaks = "audio" in effective["output_modalities"]
    return {
        "id": effective["id"],
        "object": "realtime.session",
        "expires_at": effective["expires_at"],
        **{flat: effective.get(name) for flat, name in _SAME.items()},
        "modalities": ["audio", "text"] if speaks else ["text"],
        **{flat: audio["output"][name] for flat, name in _OUTPUT.items()},
        **_flat_input(audio["input"]),
        "output_audio_format": _flat_format(audio["output"]),
        "temperature": temperature,
    }


def transcription_to_beta(effective: Session) -> dict[str, Any]:
    """The flat form of an effective transcription session, without a `client_secret`."""
    return {
        "id": effective["id"],
        "object": "realtime.transcription_session",
        "expires_at": effective["expires_at"],
        "modalities": ["audio", "text"],
        "include": effective["include"],
        **_flat_input(effective["audio"]["input"]),
    }


def expiry_seconds(value: object, path: str) -> int:
    """Seconds until a client secret expires, by `{"anchor": "created_at", "seconds": 10..7200}`.

    Serves `expires_after` and, at `path`, its old homes `client_secret.expires_after` and
    `client_secret.expires_at`. Null is the default.

    Raises:
        RealtimeError: names the parameter.
    """
    if value is None:
        return DEFAULT_EXPIRY_S
    seconds: int = check(_Expiry, value, path).get("seconds", DEFAULT_EXPIRY_S)
    return seconds


def _renamed(flat: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {name: flat[old] for old, name in names.items() if old in flat}


def _input(flat: dict[str, Any]) -> dict[str, Any]:
    side = _renamed(flat, _INPUT)
    if side.get("turn_detection") is not None:
        side["turn_detection"] = {"type": "server_vad"} | side["turn_detection"]
    if "input_audio_format" in flat:
        side["format"] = dict(_FORMATS[flat["input_audio_format"]])
    return side


def _with_audio(session: Session, audio: dict[str, dict[str, Any]]) -> Session:
    audio = {direction: side for direction, side in audio.items() if side}
    return session | {"audio": audio} if audio else session


def _flat_input(side: dict[str, Any]) -> dict[str, Any]:
    return {
        **{flat: side[name] for flat, name in _INPUT.items()},
        "input_audio_format": _flat_format(side),
    }


def _flat_format(side: dict[str, Any]) -> str:
    return _FLAT_FORMATS[side["format"]["type"]]
