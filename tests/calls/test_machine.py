"""The call machine: every state with every input, and the life of a call in each of its ways."""

import itertools

import pytest

from gateway.audio.playout import ItemPart, Started
from gateway.calls.effects import (
    AnswerLeg,
    Effect,
    EndLeg,
    Finish,
    Note,
    OpenSession,
    RejectLeg,
    RingLeg,
    ToBackend,
)
from gateway.calls.machine import CallMachine, CallPolicy, Refusal, State
from gateway.legs.leg import (
    DtmfIn,
    LegAnswered,
    LegBroken,
    LegEnded,
    LegEvent,
    LegHeld,
    LegSilent,
    Played,
)

pytestmark = pytest.mark.pure

PART = ItemPart("resp_1", "item_1", 0)
POLICY = CallPolicy(session={"type": "realtime", "instructions": "be kind"})


def machine(policy: CallPolicy = POLICY, refusal: Refusal | None = None) -> CallMachine:
    numbers = itertools.count()
    return CallMachine(policy, new_event_id=lambda: f"event_{next(numbers)}", refusal=refusal)


def in_state(state: State, policy: CallPolicy = POLICY) -> CallMachine:
    call = machine(policy)
    if state is not State.INCOMING:
        call.start(0.0)
    if state in (State.ANSWERING, State.ACTIVE):
        call.session_opened({}, 1.0)
    if state is State.ACTIVE:
        call.leg_event(LegAnswered(), 2.0)
    if state is State.ENDED:
        call.leg_event(LegEnded("cancelled", 487), 1.0)
    assert call.state is state
    return call


def kinds(effects: list[Effect]) -> list[type]:
    return [type(effect) for effect in effects if not isinstance(effect, Note)]


def notes(effects: list[Effect]) -> list[str]:
    return [effect.event for effect in effects if isinstance(effect, Note)]


def test_a_call_is_answered_only_when_its_session_is_open() -> None:
    call = machine()
    effects = call.start(0.0)
    assert kinds(effects) == [RingLeg, OpenSession]
    assert OpenSession(POLICY.session) in effects
    assert kinds(call.session_opened({}, 1.0)) == [AnswerLeg]
    effects = call.leg_event(LegAnswered(), 2.0)
    assert notes(effects) == ["call.answered"]
    assert kinds(effects) == [ToBackend]
    assert ToBackend({"type": "response.create", "event_id": "event_0"}) in effects


def test_without_greeting_the_model_waits_for_the_caller() -> None:
    call = in_state(State.ANSWERING, CallPolicy(greet=False))
    assert kinds(call.leg_event(LegAnswered(), 2.0)) == []


def test_a_backend_that_cannot_be_had_is_a_503() -> None:
    call = in_state(State.CONNECTING)
    effects = call.session_failed("backend_unavailable", 1.0)
    assert effects[0] == RejectLeg(503, "backend_unavailable")
    assert (call.reason, call.sip_status) == ("backend_unavailable", 503)


def test_a_refused_call_is_never_rung() -> None:
    call = machine(refusal=Refusal(503, "full", 10))
    effects = call.start(0.0)
    assert effects[0] == RejectLeg(503, "full", 10)
    assert kinds(effects) == [RejectLeg, Finish]
    assert notes(effects) == ["call.rejected"]


def test_ringing_ends_at_its_time_out() -> None:
    call = in_state(State.CONNECTING)
    deadline = call.next_timeout()
    assert deadline == POLICY.ring_timeout_s
    assert call.timeout(deadline - 0.001) == []
    assert kinds(call.timeout(deadline)) == [RejectLeg, Finish]
    assert (call.reason, call.sip_status) == ("ring_timeout", 480)


def test_the_longest_call_is_counted_from_the_answer() -> None:
    call = in_state(State.ACTIVE)
    assert call.next_timeout() == 2.0 + POLICY.max_duration_s
    assert kinds(call.timeout(2.0 + POLICY.max_duration_s)) == [EndLeg, Finish]
    assert call.reason == "max_duration"


def test_a_caller_who_gives_up_while_ringing_leaves_nothing_behind() -> None:
    call = in_state(State.CONNECTING)
    assert kinds(call.leg_event(LegEnded("cancelled", 487), 1.0)) == [Finish]
    assert (call.reason, call.sip_status) == ("cancelled", 487)
    assert call.session_opened({}, 2.0) == []
    assert call.next_timeout() is None


def test_a_lost_session_never_leaves_a_dead_line() -> None:
    call = in_state(State.ACTIVE)
    effects = call.session_lost("closed with code 1006", 3.0)
    assert kinds(effects) == [EndLeg, Finish]
    assert notes(effects) == ["session.lost"]
    assert call.reason == "session_lost"


def test_a_leg_that_cannot_be_answered_is_refused_with_its_status() -> None:
    call = in_state(State.ANSWERING)
    assert call.answer_failed(503, "no_media_port", 1.5)[0] == RejectLeg(503, "no_media_port")


def test_a_silent_caller_is_hung_up_on() -> None:
    call = in_state(State.ACTIVE)
    assert kinds(call.leg_event(LegSilent(), 40.0)) == [EndLeg, Finish]
    assert call.reason == "media_timeout"


def test_hold_is_only_noted() -> None:
    call = in_state(State.ACTIVE)
    assert notes(call.leg_event(LegHeld(True), 3.0)) == ["call.held"]
    assert notes(call.leg_event(LegHeld(False), 4.0)) == ["call.resumed"]
    assert call.state is State.ACTIVE


def test_a_call_that_was_ended_before_it_began_stays_ended() -> None:
    call = machine()
    assert kinds(call.hang_up("drain", 0.0)) == [RejectLeg, Finish]
    assert call.start(0.1) == []
    assert call.state is State.ENDED


INPUTS = {
    "session_opened": lambda call: call.session_opened({}, 5.0),
    "session_failed": lambda call: call.session_failed("x", 5.0),
    "session_lost": lambda call: call.session_lost("x", 5.0),
    "answer_failed": lambda call: call.answer_failed(500, "x", 5.0),
    "hang_up": lambda call: call.hang_up("x", 5.0),
    "timeout": lambda call: call.timeout(1e9),
    "server_event": lambda call: call.server_event({"type": "error"}, 5.0),
    "client_event": lambda call: call.client_event({"type": "response.create"}, 5.0),
    "cleared": lambda call: call.cleared([], "speech", 5.0),
}
LEG_EVENTS: list[LegEvent] = [
    LegAnswered(),
    DtmfIn("1", 1),
    Played(Started(PART)),
    LegHeld(True),
    LegSilent(),
    LegBroken(RuntimeError("a defect")),
    LegEnded("remote_bye"),
]
for leg_event in LEG_EVENTS:
    INPUTS[type(leg_event).__name__] = lambda call, event=leg_event: call.leg_event(event, 5.0)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("name", INPUTS)
def test_every_state_takes_every_input_and_ends_once(state: State, name: str) -> None:
    call = in_state(state)
    before = call.reason
    effects = INPUTS[name](call)
    ended = any(isinstance(effect, Finish) for effect in effects)
    if state is State.ENDED:
        assert effects == []
        assert call.reason == before
    assert ended == (call.state is State.ENDED and state is not State.ENDED)
    if ended:
        assert call.reason
        assert isinstance(effects[-1], Finish)
        assert call.next_timeout() is None
        assert call.hang_up("again", 6.0) == []
