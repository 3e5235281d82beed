"""The flat session shapes of the beta API, to and from the GA config.

Two old endpoints speak them, `/v1/realtime/sessions` and `/v1/realtime/transcription_sessions`.
Everything behind them knows GA alone. What GA no longer has, `temperature`, is checked and dropped.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from gateway.realtime.beta_session import flat_session, nested
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
    return {"type": "realtime"} | nested(check(BetaSession, value, ""))


def transcription_from_beta(value: object) -> Session:
    """Check the body of `POST /v1/realtime/transcription_sessions` and say it in GA.

    Raises:
        RealtimeError: status 400; names the first fault by its flat path.
    """
    session: Session = {"type": "transcription"} | nested(check(BetaTranscription, value, ""))
    session.pop("output_modalities", None)
    return session


def session_to_beta(effective: Session, *, temperature: float = _TEMPERATURE) -> dict[str, Any]:
    """The flat form of an effective realtime session, without a `client_secret`.

    Args:
        temperature: to show; GA has none.
    """
    return flat_session(effective) | {"temperature": temperature}


def transcription_to_beta(effective: Session) -> dict[str, Any]:
    """The flat form of an effective transcription session, without a `client_secret`."""
    return flat_session(effective) | {"modalities": ["audio", "text"]}


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
