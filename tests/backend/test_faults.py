"""Plans of faults: reading them, and what they make of one connection's traffic."""

import json
from typing import Any, get_args

import openai.types.beta.realtime as beta
import openai.types.realtime as ga
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backend.fault_plan import (
    SERVER_EVENTS,
    FaultError,
    plan_from_json,
    plan_from_toml,
)
from gateway.backend.faults import (
    Close,
    Delay,
    Drop,
    Fail,
    Fault,
    Http,
    Malformed,
    Raw,
    Stall,
    Step,
    Swap,
    Truncate,
    Twice,
    WireFaults,
    frame,
)
from tests.backend.virtual import CATALOGUE

pytestmark = pytest.mark.pure

DELTA = "response.output_audio.delta"


def plan(*faults: dict[str, Any]) -> tuple[Fault, ...]:
    return plan_from_json(json.dumps(faults))


def wire(*faults: dict[str, Any], number: int | None = 1) -> WireFaults:
    return WireFaults(plan(*faults), number)


def send(wire: WireFaults, *messages: bytes, kind: str = DELTA) -> list[list[Step]]:
    return [wire.sending(kind, message) for message in messages]


# Plans.


def test_every_kind_of_fault() -> None:
    read = plan(
        {"at": "connect", "do": "http", "status": 429, "retry_after": 2, "n": 3},
        {"at": "connect", "do": "drop"},
        {"at": "append", "do": "stall", "n": 7, "connection": 2},
        {"at": "response.create", "do": "delay", "ms": 250},
        {"at": 4096, "do": "stall", "ms": 10},
        {"at": "session.created", "do": "error", "code": "server_error", "message": "Oh."},
        {"at": "response.done", "do": "close", "code": 1013, "reason": "later"},
        {"at": DELTA, "do": "malformed"},
        {"at": DELTA, "do": "dup"},
        {"at": DELTA, "do": "reorder"},
        {"at": "response.audio.delta", "do": "truncate_frame"},
    )
    assert read == (
        Fault("connect", 1, 3, Http(429, 2)),
        Fault("connect", 1, None, Drop()),
        Fault("input_audio_buffer.append", 7, 2, Stall(None)),
        Fault("response.create", 1, None, Delay(0.25)),
        Fault(4096, 1, None, Stall(0.01)),
        Fault("session.created", 1, None, Fail("server_error", "Oh.")),
        Fault("response.done", 1, None, Close(1013, "later")),
        Fault(DELTA, 1, None, Malformed()),
        Fault(DELTA, 1, None, Twice()),
        Fault(DELTA, 1, None, Swap()),
        Fault("response.audio.delta", 1, None, Truncate()),
    )


def test_a_plan_in_toml_is_the_same() -> None:
    text = '[[faults]]\nat = "append"\ndo = "drop"\nn = 4\n'
    assert plan_from_toml(text) == plan({"at": "append", "do": "drop", "n": 4})
    assert plan_from_json('{"faults": []}') == ()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("drop", "faults[0]: must be a table"),
        ({"at": "connect"}, "faults[0].do: None is none of drop, http"),
        ({"at": "connect", "do": "dropp"}, "faults[0].do: 'dropp'"),
        ({"do": "drop"}, "faults[0].at: None is not"),
        ({"at": "response.output_audio.detla", "do": "drop"}, "faults[0].at: 'response.output"),
        ({"at": -1, "do": "drop"}, "faults[0].at: -1"),
        ({"at": True, "do": "drop"}, "faults[0].at: True"),
        ({"at": ["x"], "do": "drop"}, "faults[0].at: ['x']"),
        ({"at": DELTA, "do": "http", "status": 429}, "http cannot be done at 'response"),
        ({"at": "append", "do": "malformed"}, "malformed cannot be done at 'append'"),
        ({"at": 1, "do": "close", "code": 1000}, "close cannot be done at 1"),
        ({"at": 1, "do": "drop", "n": 2}, "faults[0].n: a number of bytes is passed once"),
        ({"at": "connect", "do": "http"}, "faults[0].status: None"),
        ({"at": "connect", "do": "http", "status": 200}, "faults[0].status: 200 is not"),
        ({"at": "connect", "do": "http", "status": 429, "retry_after": "1"}, "retry_after: '1'"),
        ({"at": "connect", "do": "drop", "n": 1, "connection": 2}, "are the same"),
        ({"at": DELTA, "do": "drop", "n": 0}, "faults[0].n: 0 is not a whole number from 1 on"),
        ({"at": DELTA, "do": "drop", "connection": True}, "faults[0].connection: True"),
        ({"at": DELTA, "do": "delay"}, "faults[0].ms: None"),
        ({"at": DELTA, "do": "stall", "ms": 0.5}, "faults[0].ms: 0.5"),
        ({"at": DELTA, "do": "drop", "ms": 5}, "faults[0]: unknown ms"),
        ({"at": DELTA, "do": "error"}, "faults[0].code: None is not a text"),
        ({"at": DELTA, "do": "close", "code": 1006}, "faults[0].code: 1006 is never sent"),
        ({"at": DELTA, "do": "close", "code": 999}, "faults[0].code: 999"),
        ({"at": DELTA, "do": "close", "code": 1000, "reason": "x" * 201}, "faults[0].reason"),
    ],
)
def test_mistakes_name_their_place(fault: Any, said: str) -> None:
    with pytest.raises(FaultError) as error:
        plan_from_json(json.dumps([fault]))
    assert said in str(error.value)


def test_the_names_of_events_are_those_of_the_service_and_none_is_missing() -> None:
    official = {"transcription_session.created"}  # has no type in the package
    for union in (ga.RealtimeServerEvent, beta.RealtimeServerEvent):
        for model in get_args(get_args(union)[0]):
            official |= set(get_args(model.model_fields["type"].annotation))
    assert official >= SERVER_EVENTS >= set(CATALOGUE)


@pytest.mark.parametrize("text", ["", "{", "5", '{"fault": []}', "[" * 10_000, '{"faults": {}}'])
def test_what_is_no_plan(text: str) -> None:
    with pytest.raises(FaultError):
        plan_from_json(text)


def test_what_is_no_toml() -> None:
    with pytest.raises(FaultError, match="not TOML"):
        plan_from_toml("[[")


# One connection.


def test_the_nth_of_its_type_is_struck() -> None:
    faults = wire({"at": DELTA, "n": 2, "do": "close", "code": 1011})
    assert send(faults, b"1", kind="error") == [[b"1"]]
    assert send(faults, b"1", b"2", b"3") == [[b"1"], [Close(1011), b"2"], [b"3"]]


def test_only_the_connection_that_is_meant() -> None:
    both = ({"at": "append", "do": "drop"}, {"at": "append", "do": "stall", "connection": 2})
    for number, expected in [(1, [Drop()]), (2, [Drop(), Stall(None)]), (None, [Drop()])]:
        assert wire(*both, number=number).receiving("input_audio_buffer.append") == expected
    second = {"at": "connect", "n": 2, "do": "http", "status": 503}
    assert wire(second, number=1).connecting() == []
    assert wire(second, number=2).connecting() == [Http(503, None)]


def test_what_is_done_to_the_event_itself() -> None:
    assert send(wire({"at": DELTA, "do": "malformed"}), b'{"a":1}') == [[b'{"a']]
    assert send(wire({"at": DELTA, "do": "dup"}), b"1", b"2") == [[b"1", b"1"], [b"2"]]
    assert send(wire({"at": DELTA, "do": "reorder"}), b"1", b"2", b"3") == [
        [],
        [b"2", b"1"],
        [b"3"],
    ]
    (steps,) = send(wire({"at": DELTA, "do": "truncate_frame"}), b"12345678")
    assert steps == [Raw(b"\x81\x081234"), Drop()]


def test_several_faults_at_one_event_come_in_their_order() -> None:
    fail = {"at": DELTA, "do": "error", "code": "c", "message": "m"}
    faults = wire(fail, {"at": DELTA, "do": "delay", "ms": 5}, {"at": DELTA, "do": "dup"})
    assert send(faults, b"1") == [[Fail("c", "m"), Delay(0.005), b"1", b"1"]]


def test_a_fault_in_the_middle_of_a_message() -> None:
    faults = wire({"at": 5, "do": "stall", "ms": 1}, {"at": 7, "do": "drop"})
    assert send(faults, b"123", b"45678", b"9") == [
        [b"123"],
        [Raw(b"\x81\x0545"), Stall(0.001), Raw(b"67"), Drop(), Raw(b"8")],
        [b"9"],
    ]


@given(st.lists(st.integers(0, 70_000), max_size=4), st.lists(st.integers(0, 66_000), max_size=4))
def test_pieces_are_the_whole(cuts: list[int], sizes: list[int]) -> None:
    faults = wire(*({"at": cut, "do": "stall", "ms": 1} for cut in cuts))
    messages = [bytes([number]) * size for number, size in enumerate(sizes)]
    sent = [step for steps in send(faults, *messages) for step in steps]
    wired = b"".join(
        frame(step) if isinstance(step, bytes) else step.data
        for step in sent
        if isinstance(step, bytes | Raw)
    )
    assert wired == b"".join(map(frame, messages))
    assert sent.count(Stall(0.001)) == sum(cut < sum(sizes) for cut in cuts)


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, "8100"),
        (125, "817d"),
        (126, "817e007e"),
        (65_535, "817effff"),
        (65_536, "817f0000000000010000"),
    ],
)
def test_frames(size: int, header: str) -> None:
    assert frame(bytes(size)) == bytes.fromhex(header) + bytes(size)
