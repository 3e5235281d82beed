"""Whatever JSON comes, the answer is a client event or a RealtimeError."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.realtime.client_events import CLIENT_EVENTS, check_client_event
from gateway.realtime.errors import RealtimeError
from tests.realtime.test_client_events import GOOD_EVENTS
from tests.realtime.test_config_any import anything, keys, names_of

pytestmark = pytest.mark.pure

NAMES = sorted({name for model in CLIENT_EVENTS.values() for name in names_of(model)})

fields = st.dictionaries(st.sampled_from(NAMES) | keys, anything, max_size=5)


def told(error: RealtimeError) -> None:
    assert error.status == 400
    assert error.code
    json.dumps(error.fields(), ensure_ascii=False).encode()


@given(fields, st.sampled_from([*CLIENT_EVENTS, None]))
@settings(max_examples=200, deadline=None)
def test_no_event_raises_anything_else(event: dict[str, Any], kind: str | None) -> None:
    if kind:
        event["type"] = kind
    before = repr(event)
    try:
        assert check_client_event(event) is event
    except RealtimeError as error:
        told(error)
    assert repr(event) == before


@st.composite
def spoiled(draw: st.DrawFn) -> Any:
    """A good event in which one thing somewhere was replaced."""
    event = deepcopy(draw(st.sampled_from(GOOD_EVENTS)))
    at: Any = event
    while True:
        places = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not places:
            return event
        place = draw(st.sampled_from(places))
        if not isinstance(at[place], dict | list) or draw(st.booleans()):
            at[place] = draw(anything)
            return event
        at = at[place]


@given(spoiled())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nor_does_a_good_event_that_was_spoiled(event: Any) -> None:
    try:
        check_client_event(event)
    except RealtimeError as error:
        told(error)
        assert error.param


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("session.update", "session"),
        ("conversation.item.create", "item"),
        ("response.create", "response"),
    ],
)
@given(anything)
@settings(max_examples=100, deadline=None)
def test_nor_does_any_value_of_its_parts(kind: str, part: str, value: Any) -> None:
    event = {"type": kind, part: value}
    try:
        assert check_client_event(event) is event
    except RealtimeError as error:
        told(error)
        assert error.param is None or error.param.startswith(part)
