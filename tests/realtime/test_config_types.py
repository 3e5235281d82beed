"""The session config beside the types of the official `openai` package."""

import typing
from typing import Any, Required

import pytest
from openai.types.beta.realtime import session_create_params, transcription_session_create_params
from openai.types.beta.realtime.session_create_response import SessionCreateResponse
from openai.types.beta.realtime.transcription_session import TranscriptionSession
from openai.types.realtime.call_accept_params import CallAcceptParams
from openai.types.realtime.client_secret_create_params import ClientSecretCreateParams
from openai.types.realtime.client_secret_create_response import ClientSecretCreateResponse
from openai.types.realtime.realtime_session_create_request_param import (
    RealtimeSessionCreateRequestParam,
)
from openai.types.realtime.realtime_transcription_session_create_request_param import (
    RealtimeTranscriptionSessionCreateRequestParam,
)
from typing_extensions import is_typeddict

from gateway.realtime.beta import (
    expiry_seconds,
    session_from_beta,
    session_to_beta,
    transcription_from_beta,
    transcription_to_beta,
)
from gateway.realtime.config import check_session, effective_session
from tests.realtime.test_config import BOTH, GOOD

pytestmark = pytest.mark.pure

SAMPLES: dict[Any, list[Any]] = {
    str: ["x"],
    bool: [True],
    int: [5000],
    float: [1.0],
    object: [{}],
    type(None): [None],
}
# Where the words of the SDK are narrower than its types.
NARROWER: dict[str, list[Any]] = {
    "max_output_tokens": [1, "inf"],
    "max_response_output_tokens": [1, "inf"],
    "output_modalities": [["audio"], ["text"]],
    "modalities": [["text"], ["audio", "text"]],
    "include": [["item.input_audio_transcription.logprobs"]],
}


def samples(hint: Any) -> list[Any]:
    """Values of a type of the SDK: each arm of a union, each word of a literal."""
    if is_typeddict(hint):
        return objects(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is None:
        return SAMPLES[hint]
    if origin is typing.Literal:
        return list(arguments)
    if origin is dict:
        return [{"a": one} for one in samples(arguments[1])]
    if isinstance(origin, type) and issubclass(list, origin):
        return [[one] for one in samples(arguments[0])]
    return [one for arm in arguments for one in samples(arm)]  # a union, or Required[…]


def objects(hint: Any) -> list[dict[str, Any]]:
    """One object for each sample of each field, with what must be there around it."""
    hints = typing.get_type_hints(hint, include_extras=True)
    words = {name: NARROWER.get(name) or samples(field) for name, field in hints.items()}
    around = {
        name: some[0]
        for name, some in words.items()
        if typing.get_origin(hints[name]) is Required or name in ("type", "name")
    }
    if hints.get("tool_choice") is str:
        words["tool_choice"] = ["auto", "none", "required"]
    made = [around | {name: one} for name, some in words.items() for one in some]
    for one in made:
        if "eagerness" in one and "threshold" in words:  # beta has one type for both detections
            one["type"] = "semantic_vad"
    return made


@pytest.mark.parametrize(
    "params",
    [
        CallAcceptParams,
        RealtimeSessionCreateRequestParam,
        RealtimeTranscriptionSessionCreateRequestParam,
    ],
)
def test_every_field_of_the_official_types_is_known(params: Any) -> None:
    configs = objects(params)
    assert len(configs) > 10
    for config in configs:
        assert check_session(config, types=BOTH) == config


@pytest.mark.parametrize(
    ("params", "from_beta"),
    [
        (session_create_params.SessionCreateParams, session_from_beta),
        (
            transcription_session_create_params.TranscriptionSessionCreateParams,
            transcription_from_beta,
        ),
    ],
)
def test_every_field_of_the_beta_types_is_known(params: Any, from_beta: Any) -> None:
    bodies = objects(params)
    assert len(bodies) > 10
    for body in bodies:
        check_session(from_beta(body), types=BOTH)


def test_the_expiry_of_the_official_type() -> None:
    hints = typing.get_type_hints(ClientSecretCreateParams)
    for value in samples(hints["expires_after"]):
        assert expiry_seconds(value, "expires_after") in (5000, 600)


SECRET = {"value": "ek_1", "expires_at": 1}


@pytest.mark.parametrize("config", [*GOOD, {"type": "transcription"}], ids=repr)
def test_the_effective_session_is_one_for_the_official_client(config: dict[str, Any]) -> None:
    session = effective_session(config, session_id="sess_1", model="m", expires_at=0)
    answer = ClientSecretCreateResponse.model_validate(SECRET | {"session": session})
    assert (answer.session.id, answer.session.type) == ("sess_1", config["type"])


@pytest.mark.parametrize("body", [{}, {"voice": "alloy", "turn_detection": None}])
def test_the_flat_sessions_are_ones_for_the_official_client(body: dict[str, Any]) -> None:
    config = session_from_beta(body)
    session = effective_session(config, session_id="s", model="m", expires_at=0)
    flat = session_to_beta(session) | {"client_secret": SECRET}
    assert SessionCreateResponse.model_validate(flat).client_secret.value == "ek_1"


def test_the_flat_transcription_session_is_one_for_the_official_client() -> None:
    config = transcription_from_beta({})
    session = effective_session(config, session_id="s", model="m", expires_at=0)
    flat = transcription_to_beta(session) | {"client_secret": SECRET}
    assert TranscriptionSession.model_validate(flat).client_secret.value == "ek_1"
