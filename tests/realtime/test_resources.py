"""What a server shows: the parts that are made here, and the effective sessions, are as typed."""

from typing import Any

import pytest
from openai.types.realtime.realtime_response import RealtimeResponse
from openai.types.realtime.realtime_response_status import RealtimeResponseStatus

from gateway.realtime.config import effective_session
from gateway.realtime.errors import ErrorFields, RealtimeError, error_event, invalid_value
from gateway.realtime.resources import (
    FailedDetails,
    RateLimit,
    ResponseResource,
    Usage,
    failed,
    rate_limit,
    usage,
)
from gateway.realtime.session_resources import (
    RealtimeSessionResource,
    TranscriptionSessionResource,
)
from tests.realtime.shapes import misfits
from tests.realtime.test_config import GOOD

pytestmark = pytest.mark.pure

TRANSCRIPTION = [
    {"type": "transcription"},
    {
        "type": "transcription",
        "include": ["item.input_audio_transcription.logprobs"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcma"},
                "transcription": {"model": "m", "language": "de"},
                "turn_detection": {"type": "semantic_vad"},
            }
        },
    },
]


TYPED = [config for config in [*GOOD, *TRANSCRIPTION] if "model_version" not in repr(config)]


@pytest.mark.parametrize("config", TYPED, ids=repr)
def test_an_effective_session_is_as_typed(config: dict[str, Any]) -> None:
    shown = effective_session(config, session_id="sess_1", model="m", expires_at=7)
    resource: Any = RealtimeSessionResource
    if config["type"] == "transcription":
        resource = TranscriptionSessionResource
    assert misfits(shown, resource) == []


def test_usage_adds_up() -> None:
    counted = usage(100, 200, 30, 40, cached=(64, 128))
    assert misfits(counted, Usage) == []
    assert counted == {
        "total_tokens": 370,
        "input_tokens": 300,
        "output_tokens": 70,
        "input_token_details": {
            "text_tokens": 100,
            "audio_tokens": 200,
            "image_tokens": 0,
            "cached_tokens": 192,
            "cached_tokens_details": {
                "text_tokens": 64,
                "audio_tokens": 128,
                "image_tokens": 0,
            },
        },
        "output_token_details": {"text_tokens": 30, "audio_tokens": 40},
    }
    assert usage(0, 0, 0, 0)["input_token_details"]["cached_tokens"] == 0


@pytest.mark.parametrize(
    ("used", "remaining", "reset_s"),
    [
        (284, 14_999_716, 0.001),  # as the official service was seen to say
        (0, 15_000_000, 0.0),
        (15_000_000, 0, 60.0),
        (16_000_000, 0, 60.0),
    ],
)
def test_a_rate_limit(used: int, remaining: int, reset_s: float) -> None:
    limit = rate_limit("tokens", 15_000_000, used)
    assert misfits(limit, RateLimit) == []
    assert (limit["remaining"], limit["reset_seconds"]) == (remaining, reset_s)


def test_a_response_that_failed_says_why() -> None:
    details = failed(RealtimeError("No.", code="rate_limit_exceeded", kind="requests"))
    assert misfits(details, FailedDetails) == []
    official = RealtimeResponseStatus.model_validate(details)
    assert official.error is not None
    assert (official.error.type, official.error.code, official.error.message) == (
        "requests",
        "rate_limit_exceeded",
        "No.",
    )


def test_an_error_is_as_typed() -> None:
    error = invalid_value("a", "b", ["c"])
    assert misfits(error.fields(), ErrorFields) == []
    event = error_event(error, event_id="event_1", client_event_id=None)
    assert misfits(event["error"], ErrorFields) == []


def test_a_response_is_one_for_the_official_client() -> None:
    response: ResponseResource = {
        "object": "realtime.response",
        "id": "resp_1",
        "status": "cancelled",
        "status_details": {"type": "cancelled", "reason": "turn_detected"},
        "output": [
            {
                "type": "message",
                "id": "item_1",
                "role": "assistant",
                "status": "incomplete",
                "content": [{"type": "output_audio", "transcript": "Hel"}],
            },
            {
                "type": "function_call",
                "id": "item_2",
                "status": "completed",
                "name": "f",
                "call_id": "call_1",
                "arguments": "{}",
            },
        ],
        "conversation_id": None,
        "output_modalities": ["audio"],
        "max_output_tokens": "inf",
        "audio": {"output": {"format": {"type": "audio/pcmu"}, "voice": "marin"}},
        "usage": usage(1, 2, 3, 4),
        "metadata": None,
    }
    assert misfits(response, ResponseResource) == []
    assert RealtimeResponse.model_validate(response).model_dump(exclude_unset=True) == response
