"""The flat session shapes of the beta API."""

from copy import deepcopy
from typing import Any

import pytest

from gateway.realtime.beta import (
    expiry_seconds,
    session_from_beta,
    session_to_beta,
    transcription_from_beta,
    transcription_to_beta,
)
from gateway.realtime.config import check_session, effective_session
from gateway.realtime.errors import RealtimeError

pytestmark = pytest.mark.pure

FLAT: dict[str, Any] = {
    "model": "gpt-realtime",
    "modalities": ["text", "audio"],
    "instructions": "Be kind.",
    "voice": "alloy",
    "input_audio_format": "g711_ulaw",
    "output_audio_format": "g711_alaw",
    "input_audio_transcription": {"model": "whisper-1"},
    "input_audio_noise_reduction": {"type": "near_field"},
    "turn_detection": {"type": "server_vad", "threshold": 0.4},
    "tools": [{"type": "function", "name": "f", "parameters": {}}],
    "tool_choice": "required",
    "temperature": 0.7,
    "max_response_output_tokens": 200,
    "speed": 1.1,
    "tracing": "auto",
    "client_secret": {"expires_after": {"anchor": "created_at", "seconds": 60}},
}
GA: dict[str, Any] = {
    "type": "realtime",
    "model": "gpt-realtime",
    "output_modalities": ["audio"],
    "instructions": "Be kind.",
    "tools": [{"type": "function", "name": "f", "parameters": {}}],
    "tool_choice": "required",
    "max_output_tokens": 200,
    "tracing": "auto",
    "audio": {
        "input": {
            "format": {"type": "audio/pcmu"},
            "transcription": {"model": "whisper-1"},
            "noise_reduction": {"type": "near_field"},
            "turn_detection": {"type": "server_vad", "threshold": 0.4},
        },
        "output": {"format": {"type": "audio/pcma"}, "voice": "alloy", "speed": 1.1},
    },
}


def effective(config: dict[str, Any]) -> dict[str, Any]:
    return effective_session(config, session_id="sess_1", model="m", expires_at=9)


def test_a_whole_session_becomes_ga() -> None:
    before = deepcopy(FLAT)
    assert session_from_beta(FLAT) == GA
    assert before == FLAT
    assert check_session(session_from_beta(FLAT))


def test_what_is_not_there_stays_away() -> None:
    assert session_from_beta({}) == {"type": "realtime"}
    assert transcription_from_beta({}) == {"type": "transcription"}


@pytest.mark.parametrize(
    ("flat", "fields"),
    [
        ({"modalities": ["text"]}, {"output_modalities": ["text"]}),
        ({"modalities": ["audio", "text"]}, {"output_modalities": ["audio"]}),
        ({"max_response_output_tokens": "inf"}, {"max_output_tokens": "inf"}),
        ({"turn_detection": None}, {"audio": {"input": {"turn_detection": None}}}),
        (
            {"turn_detection": {"threshold": 1}},
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 1}}}},
        ),
        (
            {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}},
            {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}}},
        ),
        (
            {"output_audio_format": "pcm16"},
            {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}}}},
        ),
        ({"temperature": 0.6, "client_secret": None}, {}),
        ({"tracing": None, "prompt": None, "include": None}, None),
    ],
)
def test_single_fields(flat: dict[str, Any], fields: dict[str, Any] | None) -> None:
    wanted = {"type": "realtime"} | (flat if fields is None else fields)
    assert session_from_beta(flat) == wanted


@pytest.mark.parametrize(
    ("flat", "code", "param"),
    [
        (None, "invalid_type", None),
        ([], "invalid_type", None),
        ({"type": "realtime"}, "unknown_parameter", "type"),
        ({"audio": {}}, "unknown_parameter", "audio"),
        ({"model": 1}, "invalid_type", "model"),
        ({"modalities": ["audio"]}, "invalid_value", "modalities"),
        ({"modalities": []}, "invalid_value", "modalities"),
        ({"modalities": ["text", "text"]}, "invalid_value", "modalities"),
        ({"modalities": ["video"]}, "invalid_value", "modalities[0]"),
        ({"instructions": None}, "invalid_type", "instructions"),
        ({"voice": {"id": "v"}}, "invalid_type", "voice"),
        ({"input_audio_format": "opus"}, "invalid_value", "input_audio_format"),
        ({"output_audio_format": {}}, "invalid_type", "output_audio_format"),
        ({"turn_detection": {"type": "none"}}, "invalid_value", "turn_detection.type"),
        (
            {"turn_detection": {"threshold": 2}},
            "decimal_above_max_value",
            "turn_detection.threshold",
        ),
        (
            {"turn_detection": {"type": "semantic_vad", "threshold": 0.5}},
            "unknown_parameter",
            "turn_detection.threshold",
        ),
        (
            {"input_audio_transcription": {"model": 1}},
            "invalid_type",
            "input_audio_transcription.model",
        ),
        (
            {"input_audio_noise_reduction": {"type": "x"}},
            "invalid_value",
            "input_audio_noise_reduction.type",
        ),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "tools[0].name"),
        ({"tool_choice": "maybe"}, "invalid_value", "tool_choice"),
        ({"temperature": 0.59}, "decimal_below_min_value", "temperature"),
        ({"temperature": 1.21}, "decimal_above_max_value", "temperature"),
        (
            {"max_response_output_tokens": 5000},
            "integer_above_max_value",
            "max_response_output_tokens",
        ),
        ({"max_output_tokens": 5}, "unknown_parameter", "max_output_tokens"),
        ({"speed": 2}, "decimal_above_max_value", "speed"),
        (
            {"client_secret": {"expires_after": {"seconds": 9}}},
            "integer_below_min_value",
            "client_secret.expires_after.seconds",
        ),
        (
            {"client_secret": {"expires_at": {"seconds": 60}}},
            "unknown_parameter",
            "client_secret.expires_at",
        ),
    ],
)
def test_a_wrong_field_is_named_by_its_flat_path(
    flat: object, code: str, param: str | None
) -> None:
    with pytest.raises(RealtimeError) as refused:
        session_from_beta(flat)
    assert (refused.value.code, refused.value.param) == (code, param)
    assert refused.value.status == 400


def test_the_modalities_of_beta_are_told() -> None:
    with pytest.raises(RealtimeError) as refused:
        session_from_beta({"modalities": ["audio"]})
    assert refused.value.message == (
        "Invalid modalities: ['audio']. Supported combinations are: ['text'] and ['audio', 'text']."
    )


def test_a_session_is_shown_flat() -> None:
    shown = session_to_beta(effective(GA), temperature=0.7)
    assert shown == {
        "id": "sess_1",
        "object": "realtime.session",
        "expires_at": 9,
        **{key: value for key, value in FLAT.items() if key != "client_secret"},
        "modalities": ["audio", "text"],
        "input_audio_noise_reduction": {"type": "near_field", "strength": 1.0},
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.4,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
            "create_response": True,
            "interrupt_response": True,
            "idle_timeout_ms": None,
        },
        "prompt": None,
        "include": None,
    }
    defaults = session_to_beta(effective({"type": "realtime", "output_modalities": ["text"]}))
    assert defaults["modalities"] == ["text"]
    assert defaults["temperature"] == 0.8
    assert defaults["input_audio_format"] == defaults["output_audio_format"] == "pcm16"


def test_a_transcription_session_there_and_back() -> None:
    include = ["item.input_audio_transcription.logprobs"]
    flat = {
        "include": include,
        "modalities": ["text"],
        "input_audio_format": "g711_alaw",
        "input_audio_transcription": {"model": "gpt-4o-transcribe", "language": "de"},
        "turn_detection": None,
        "client_secret": {"expires_at": {"anchor": "created_at", "seconds": 60}},
    }
    config = transcription_from_beta(flat)
    assert config == {
        "type": "transcription",
        "include": include,
        "audio": {
            "input": {
                "format": {"type": "audio/pcma"},
                "transcription": {"model": "gpt-4o-transcribe", "language": "de"},
                "turn_detection": None,
            }
        },
    }
    assert transcription_to_beta(effective(config)) == {
        "id": "sess_1",
        "object": "realtime.transcription_session",
        "expires_at": 9,
        "modalities": ["audio", "text"],
        "include": include,
        "input_audio_format": "g711_alaw",
        "input_audio_transcription": {"model": "gpt-4o-transcribe", "language": "de"},
        "input_audio_noise_reduction": None,
        "turn_detection": None,
    }


def test_a_transcription_session_has_no_voice_and_the_odd_name() -> None:
    for flat, param in [
        ({"voice": "alloy"}, "voice"),
        ({"client_secret": {"expires_after": {}}}, "client_secret.expires_after"),
    ]:
        with pytest.raises(RealtimeError) as refused:
            transcription_from_beta(flat)
        assert (refused.value.code, refused.value.param) == ("unknown_parameter", param)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 600),
        ({}, 600),
        ({"anchor": "created_at"}, 600),
        ({"seconds": 10}, 10),
        ({"anchor": "created_at", "seconds": 7200}, 7200),
    ],
)
def test_when_a_secret_expires(value: object, seconds: int) -> None:
    assert expiry_seconds(value, "expires_after") == seconds


@pytest.mark.parametrize(
    ("value", "code", "param"),
    [
        (60, "invalid_type", "expires_after"),
        ({"seconds": 9}, "integer_below_min_value", "expires_after.seconds"),
        ({"seconds": 7201}, "integer_above_max_value", "expires_after.seconds"),
        ({"seconds": 60.5}, "invalid_type", "expires_after.seconds"),
        ({"seconds": True}, "invalid_type", "expires_after.seconds"),
        ({"seconds": None}, "invalid_type", "expires_after.seconds"),
        ({"anchor": "now"}, "invalid_value", "expires_after.anchor"),
        ({"at": 1}, "unknown_parameter", "expires_after.at"),
    ],
)
def test_an_expiry_that_is_none(value: object, code: str, param: str) -> None:
    with pytest.raises(RealtimeError) as refused:
        expiry_seconds(value, "expires_after")
    assert (refused.value.code, refused.value.param) == (code, param)
