"""Whatever JSON comes, the answer is a session or a RealtimeError."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.api.orders import check_dial, check_refer, check_reject
from gateway.calls.targets import check_target
from gateway.realtime.beta import expiry_seconds, session_from_beta, transcription_from_beta
from gateway.realtime.config import check_session, effective_session
from gateway.realtime.config_models import RealtimeSession, TranscriptionSession
from gateway.realtime.errors import RealtimeError
from gateway.realtime.validation import Model
from tests.realtime.test_config import BOTH, GOOD

pytestmark = pytest.mark.pure


def names_of(model: type[Model]) -> set[str]:
    """Names of the fields of a model and of those below it."""
    return set(model.model_fields) | {
        key
        for one in model.model_json_schema().get("$defs", {}).values()
        for key in one["properties"]
    }


NAMES = sorted(names_of(RealtimeSession) | names_of(TranscriptionSession))
WORDS = ["realtime", "transcription", "server_vad", "semantic_vad", "function", "mcp", "auto"]
WORDS += ["<string>", "<object>", "<server_vad>", "audio/pcm", "\ud800", "\0", "inf"]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**20, 10**400, -(2**1024)])
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(WORDS)
)
keys = st.sampled_from(NAMES + WORDS) | st.text(st.characters(), max_size=5)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=5)
        | st.dictionaries(keys, inner, max_size=4).map(lambda some: {"type": "server_vad"} | some)
    ),
    max_leaves=25,
)


@given(anything, st.sampled_from(["realtime", "transcription", None]))
@settings(max_examples=600, deadline=None)
def test_no_json_value_raises_anything_else(value: Any, kind: str | None) -> None:
    if isinstance(value, dict) and kind:
        value["type"] = kind
    before = deepcopy(value)
    try:
        checked = check_session(value, types=BOTH)
    except RealtimeError as error:
        assert error.status == 400
        assert error.param
        json.dumps(error.fields(), ensure_ascii=False).encode()
    else:
        assert checked == before
        effective_session(checked, session_id="s", model="m", expires_at=0)
    assert repr(value) == repr(before)


@st.composite
def spoiled(draw: st.DrawFn) -> Any:
    """A good config in which one thing somewhere was replaced."""
    config = deepcopy(draw(st.sampled_from(GOOD)))
    at: Any = config
    while True:
        places = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not places:
            return config
        place = draw(st.sampled_from(places))
        if not isinstance(at[place], dict | list) or draw(st.booleans()):
            at[place] = draw(anything)
            return config
        at = at[place]


@given(spoiled())
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nor_does_a_good_config_that_was_spoiled(value: Any) -> None:
    before = deepcopy(value)
    try:
        assert check_session(value, types=BOTH) == before
    except RealtimeError as error:
        assert (error.param or "").startswith("session")
    else:
        effective_session(value, session_id="s", model="m", expires_at=0)


@pytest.mark.parametrize(
    "checker",
    [
        session_from_beta,
        transcription_from_beta,
        lambda value: expiry_seconds(value, "expires_after"),
        check_reject,
        check_refer,
        check_dial,
        lambda value: check_target(value, "to"),
        lambda value: check_refer({"target_uri": value}),
        lambda value: check_reject({"status_code": value}),
    ],
)
@given(anything)
@settings(max_examples=150, deadline=None)
def test_nor_do_the_other_checks(checker: Any, value: Any) -> None:
    try:
        checker(value)
    except RealtimeError as error:
        assert error.status == 400
        json.dumps(error.fields(), ensure_ascii=False).encode()
