"""The call machine: every state with every input, and the life of a call in each of its ways."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audio.playout import Heard, ItemPart, Started, Stopped
from gateway.calls.commands import Accept, Command, HangUp, Press, Refer, Reject, no_call, no_leg
from gateway.calls.continuity import ContinuityPolicy, SessionFailed, SessionOpened
from gateway.calls.effects import (
    AnswerLeg,
    Background,
    ClearPlayout,
    DialLeg,
    Effect,
    EndLeg,
    Finish,
    JoinSession,
    Note,
    OpenSession,
    PlayApology,
    PostWebhook,
    PressKeys,
    ReferLeg,
    RejectLeg,
    RingLeg,
    Settle,
    ToBackend,
    ToControl,
)
from gateway.calls.farewell import APOLOGY
from gateway.calls.machine import CallMachine
from gateway.calls.patience import PatiencePolicy
from gateway.calls.policy import CallPolicy, Refusal
from gateway.calls.state import ANSWERED, State
from gateway.legs.leg import (
    DtmfIn,
    KeyRefused,
    LegAnswered,
    LegBroken,
    LegEnded,
    LegEvent,
    LegHeld,
    LegRinging,
    LegSilent,
    Played,
    ReferAnswered,
    ReferAsked,
    ReferProgress,
)
from gateway.realtime.errors import RealtimeError

pytestmark = pytest.mark.pure

PART = ItemPart("resp_1", "item_1", 0)
POLICY = CallPolicy(session={"type": "realtime", "instructions": "be kind"})


BY_APPLICATION = CallPolicy(application_decides=True)
SESSION = {"type": "realtime", "instructions": "be brief"}
TARGET = "tel:+4930123456"
OPENED = SessionOpened({})
NO_SESSION = RealtimeError("no", code="backend_unavailable", status=502)


def machine(
    policy: CallPolicy = POLICY,
    refusal: Refusal | None = None,
    *,
    outbound: bool = False,
    can_refer: bool = True,
) -> CallMachine:
    numbers = itertools.count()
    return CallMachine(
        policy,
        new_event_id=lambda: f"event_{next(numbers)}",
        refusal=refusal,
        outbound=outbound,
        can_refer=can_refer,
    )


def in_state(state: State, policy: CallPolicy = POLICY) -> CallMachine:
    outbound = state is State.DIALLING
    call = machine(BY_APPLICATION if state is State.RINGING else policy, outbound=outbound)
    if state is not State.INCOMING:
        call.start(0.0)
    if state is State.BRIDGED:
        call = machine(replace(policy, bridge="leave"), can_refer=False)
        call.start(0.0)
    if state in (State.ANSWERING, State.DIALLING, *ANSWERED):
        call.session_opened(OPENED, 1.0)
    if state in ANSWERED:
        call.leg_event(LegAnswered(), 2.0)
    if state in (State.TRANSFERRING, State.BRIDGED):
        call.command(Refer(TARGET), 7, 3.0)
    if state is State.BRIDGED:
        call.second_opened(3.1)
        call.second_event(LegAnswered(), 3.2)
    if state is State.ENDED:
        call.leg_event(LegEnded("cancelled", 487), 1.0)
    assert call.state is state
    return call


def settled(effects: list[Effect]) -> dict[int, str | None]:
    """The tickets that were settled, with the code of their error."""
    return {
        effect.ticket: None if effect.error is None else effect.error.code
        for effect in effects
        if isinstance(effect, Settle)
    }


def result(effects: list[Effect]) -> tuple[str, int | None] | None:
    """How a transfer turned out, as the log says it and as those who asked for it are told."""
    (note,) = [one for one in effects if isinstance(one, Note) and one.event == "transfer.result"]
    (told,) = [one for one in effects if isinstance(one, ToControl)]
    assert told.extension
    assert told.event["type"] == "gateway.transfer.ended"
    assert told.event["result"] == note.fields["result"]
    assert told.event["sip_status"] == note.fields["sip_status"]
    return note.fields["result"], note.fields["sip_status"]


def kinds(effects: list[Effect]) -> list[type]:
    return [type(effect) for effect in effects if not isinstance(effect, Note)]


def notes(effects: list[Effect]) -> list[str]:
    return [effect.event for effect in effects if isinstance(effect, Note)]


def test_a_call_is_answered_only_when_its_session_is_open() -> None:
    call = machine()
    effects = call.start(0.0)
    assert kinds(effects) == [RingLeg, PostWebhook, OpenSession]
    assert OpenSession(POLICY.session) in effects
    assert kinds(call.session_opened(OPENED, 1.0)) == [JoinSession, AnswerLeg]
    effects = call.leg_event(LegAnswered(), 2.0)
    assert notes(effects) == ["call.answered"]
    assert kinds(effects) == [ToBackend]
    assert ToBackend({"type": "response.create", "event_id": "event_0"}) in effects


def test_without_greeting_the_model_waits_for_the_caller() -> None:
    call = in_state(State.ANSWERING, CallPolicy(greet=False))
    assert kinds(call.leg_event(LegAnswered(), 2.0)) == []


def test_a_backend_that_cannot_be_had_is_a_503() -> None:
    call = in_state(State.CONNECTING)
    effects = call.session_failed(SessionFailed("backend_unavailable", NO_SESSION), 1.0)
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
    assert call.session_opened(OPENED, 2.0) == []
    assert call.next_timeout() is None


def give_up(call: CallMachine) -> list[Effect]:
    """The session is lost, and no other is to be had."""
    assert OpenSession in kinds(call.session_lost("closed with code 1006", 3.0))
    call.session_failed(SessionFailed("x", NO_SESSION), 3.0)
    effects: list[Effect] = []
    while "session.gave_up" not in notes(effects):
        at = call.next_timeout()
        assert at is not None
        effects = call.timeout(at)
        if OpenSession in kinds(effects):
            call.session_failed(SessionFailed("x", NO_SESSION), at)
    return effects


def test_a_lost_session_never_leaves_a_dead_line() -> None:
    call = in_state(State.ACTIVE)
    assert kinds(give_up(call))[-2:] == [EndLeg, Finish]
    assert call.reason == "session_lost"


def test_an_apology_is_said_before_the_end() -> None:
    call = in_state(State.ACTIVE, replace(POLICY, has_apology=True))
    assert kinds(give_up(call)) == [Background, PlayApology]
    assert call.leg_event(Played(Started(APOLOGY)), 24.0) == []
    assert kinds(call.leg_event(Played(Stopped(APOLOGY)), 27.0)) == [EndLeg, Finish]
    assert call.reason == "session_lost"


def test_an_apology_that_is_never_heard_is_not_waited_for_forever() -> None:
    call = in_state(State.ACTIVE, replace(POLICY, has_apology=True))
    give_up(call)
    at = call.next_timeout()
    assert at is not None
    assert kinds(call.timeout(at)) == [EndLeg, Finish]


def test_nobody_apologises_to_a_caller_who_is_not_there_yet() -> None:
    call = in_state(State.ANSWERING, replace(POLICY, has_apology=True))
    assert kinds(give_up(call))[-2:] == [EndLeg, Finish]


def test_a_human_may_take_the_call_when_there_is_no_session() -> None:
    call = in_state(State.ACTIVE, replace(POLICY, fallback_target=TARGET))
    assert give_up(call)[-1] == ReferLeg(TARGET)
    assert call.state is State.TRANSFERRING
    effects = call.leg_event(ReferProgress(200, True), 25.0)
    assert kinds(effects)[-2:] == [EndLeg, Finish]
    assert call.reason == "transferred"


def test_a_human_who_does_not_take_it_is_asked_once() -> None:
    call = in_state(State.ACTIVE, replace(POLICY, fallback_target=TARGET, has_apology=True))
    give_up(call)
    assert call.leg_event(Played(Stopped(APOLOGY)), 27.0) == [ReferLeg(TARGET)]
    effects = call.leg_event(ReferProgress(486, True), 28.0)
    assert kinds(effects)[-2:] == [EndLeg, Finish]
    assert call.reason == "session_lost"


def test_a_transfer_under_way_is_not_cut_by_the_end_of_the_session() -> None:
    call = in_state(State.TRANSFERRING)
    effects = give_up(call)
    assert EndLeg not in kinds(effects)
    effects = call.leg_event(ReferProgress(486, True), 30.0)
    assert kinds(effects)[-2:] == [EndLeg, Finish]
    assert call.reason == "session_lost"


def test_the_fallback_serves_a_call_whose_first_server_is_away() -> None:
    policy = replace(POLICY, continuity=ContinuityPolicy(has_fallback=True))
    call = in_state(State.CONNECTING, policy)
    failed = SessionFailed("backend_unavailable", NO_SESSION)
    assert call.session_failed(failed, 1.0) == [OpenSession(POLICY.session, fallback=True)]
    assert kinds(call.session_opened(OPENED, 2.0)) == [JoinSession, AnswerLeg]


def test_a_config_that_was_refused_is_not_tried_elsewhere() -> None:
    policy = replace(POLICY, continuity=ContinuityPolicy(has_fallback=True))
    call = in_state(State.CONNECTING, policy)
    refused = SessionFailed("backend_unavailable", NO_SESSION, refused=True)
    assert RejectLeg in kinds(call.session_failed(refused, 1.0))


def test_a_leg_that_cannot_be_answered_is_refused_with_its_status() -> None:
    call = in_state(State.ANSWERING)
    assert call.leg_failed(503, "no_media_port", 1.5)[0] == RejectLeg(503, "no_media_port")


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


INPUTS: dict[str, Callable[[CallMachine], list[Effect]]] = {
    "session_opened": lambda call: call.session_opened(OPENED, 5.0),
    "session_failed": lambda call: call.session_failed(SessionFailed("x", NO_SESSION), 5.0),
    "session_lost": lambda call: call.session_lost("x", 5.0),
    "leg_failed": lambda call: call.leg_failed(500, "x", 5.0),
    "leg_opened": lambda call: call.leg_opened(5.0),
    "hang_up": lambda call: call.hang_up("x", 5.0),
    "timeout": lambda call: call.timeout(1e9),
    "server_event": lambda call: call.server_event({"type": "error"}, 5.0),
    "client_event": lambda call: call.client_event({"type": "response.create"}, 5.0),
    "press": lambda call: call.client_event({"type": "gateway.dtmf.send", "digits": "1"}, 5.0),
    "cleared": lambda call: call.cleared([], "speech", 5.0),
    "refer_failed": lambda call: call.refer_failed(5.0),
    "second_opened": lambda call: call.second_opened(5.0),
    "second_taken": lambda call: call.second_taken(5.0),
    "second_failed": lambda call: call.second_failed(503, "no_media_port", 5.0),
    "second_ended": lambda call: call.second_event(LegEnded("refused", 486), 5.0),
    "second_pressed": lambda call: call.second_event(DtmfIn("1", 1), 5.0),
    "replaced": lambda call: call.replaced(5.0),
    "given_away": lambda call: call.given_away(),
}
LEG_EVENTS: list[LegEvent] = [
    LegRinging(180),
    LegAnswered(),
    ReferAnswered(202),
    ReferAnswered(603),
    ReferProgress(100, False),
    ReferProgress(200, True),
    ReferProgress(486, True),
    ReferAsked("1", TARGET),
    DtmfIn("1", 1),
    KeyRefused(415),
    Played(Started(PART)),
    LegHeld(True),
    LegSilent(),
    LegBroken(RuntimeError("a defect")),
    LegEnded("remote_bye"),
]
for leg_event in LEG_EVENTS:
    INPUTS[repr(leg_event)] = partial(CallMachine.leg_event, event=leg_event, now=5.0)


COMMANDS: list[Command] = [Accept(SESSION), Reject(486), HangUp(), Refer(TARGET), Press("1")]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_settled_once_whatever_the_state(state: State, command: Command) -> None:
    call = in_state(state)
    effects = call.command(command, 1, 5.0)
    effects += call.hang_up("drain", 6.0)
    settled_by = Settle | PressKeys  # keys settle their ticket when they are pressed
    assert [effect.ticket for effect in effects if isinstance(effect, settled_by)].count(1) == 1
    assert call.state is State.ENDED


def test_an_application_decides_while_the_caller_hears_ringing() -> None:
    call = machine(BY_APPLICATION)
    assert kinds(call.start(0.0)) == [RingLeg, PostWebhook]
    assert kinds(call.command(Accept(SESSION), 1, 1.0)) == [OpenSession]
    assert kinds(call.session_opened(OPENED, 2.0)) == [JoinSession, AnswerLeg]
    assert settled(call.leg_opened(2.1)) == {1: None}
    effects = call.leg_event(LegAnswered(), 2.2)
    assert kinds(effects) == []  # no greeting: the application speaks for itself


def test_nobody_decides_in_time() -> None:
    call = in_state(State.RINGING)
    effects = call.timeout(BY_APPLICATION.ring_timeout_s)
    assert effects[0] == RejectLeg(480, "no_decision")
    assert settled(call.command(Accept(SESSION), 1, 46.0)) == {1: "call_id_not_found"}


def test_after_a_backend_that_refused_the_caller_goes_on_ringing() -> None:
    call = in_state(State.RINGING)
    call.command(Accept(SESSION), 1, 1.0)
    effects = call.session_failed(SessionFailed("backend_unavailable", NO_SESSION), 2.0)
    assert effects == [Settle(1, NO_SESSION)]
    assert call.state is State.RINGING
    assert call.next_timeout() == BY_APPLICATION.ring_timeout_s
    assert kinds(call.command(Accept(SESSION), 2, 3.0)) == [OpenSession]


def test_by_policy_a_backend_that_refused_is_a_503_to_the_caller() -> None:
    call = machine(CallPolicy(application_decides=True, ring_on_failure=False))
    call.start(0.0)
    call.command(Accept(SESSION), 1, 1.0)
    error = RealtimeError("no", status=502)
    effects = call.session_failed(SessionFailed("backend_unavailable", error), 2.0)
    assert kinds(effects) == [Settle, RejectLeg, Finish]
    assert not error.retry  # a client that tries again would only find that the call is gone


def test_the_same_accept_again_shares_the_outcome_and_another_one_is_an_error() -> None:
    call = in_state(State.RINGING)
    call.command(Accept(SESSION), 1, 1.0)
    assert call.command(Accept(dict(SESSION)), 2, 1.1) == []
    other = call.command(Accept({"type": "realtime"}), 3, 1.2)
    assert settled(other) == {3: "call_already_accepted"}
    call.session_opened(OPENED, 2.0)
    assert settled(call.leg_opened(2.1)) == {1: None, 2: None}
    assert settled(call.command(Accept(SESSION), 4, 2.2)) == {4: None}
    call.leg_event(LegAnswered(), 2.3)
    assert settled(call.command(Accept(SESSION), 5, 2.4)) == {5: None}


def test_a_caller_who_gives_up_during_accept_is_gone() -> None:
    call = in_state(State.RINGING)
    call.command(Accept(SESSION), 1, 1.0)
    assert settled(call.leg_event(LegEnded("cancelled", 487), 1.5)) == {1: "call_id_not_found"}


@pytest.mark.parametrize("status", (300, 486, 603, 699))
def test_reject_says_the_status_and_can_be_repeated(status: int) -> None:
    call = in_state(State.RINGING)
    effects = call.command(Reject(status), 1, 1.0)
    assert effects[0] == RejectLeg(status, "rejected")
    assert settled(effects) == {1: None}
    assert settled(call.command(Reject(status), 2, 2.0)) == {2: None}
    assert settled(call.command(HangUp(), 3, 2.0)) == {3: "call_id_not_found"}


def test_an_answered_call_cannot_be_rejected() -> None:
    call = in_state(State.ACTIVE)
    assert settled(call.command(Reject(486), 1, 3.0)) == {1: "invalid_call_state"}
    assert call.state is State.ACTIVE


def test_hang_up_can_be_repeated_but_not_after_the_caller_left() -> None:
    call = in_state(State.ACTIVE)
    assert kinds(call.command(HangUp(), 1, 3.0)) == [EndLeg, Finish, Settle]
    assert call.reason == "hangup"
    assert settled(call.command(HangUp(), 2, 4.0)) == {2: None}
    left = in_state(State.ENDED)
    assert settled(left.command(HangUp(), 1, 4.0)) == {1: "call_id_not_found"}


def test_a_call_of_ours_dials_when_its_session_is_open() -> None:
    call = machine(POLICY, outbound=True)
    assert call.start(0.0, 0) == [OpenSession(POLICY.session)]
    assert call.session_opened(OPENED, 1.0) == [JoinSession(), DialLeg()]
    assert settled(call.leg_opened(1.1)) == {0: None}
    assert notes(call.leg_event(LegRinging(180), 2.0)) == ["call.ringing"]
    assert call.is_ringing
    assert notes(call.leg_event(LegRinging(183), 3.0)) == []
    effects = call.leg_event(LegAnswered(), 4.0)
    assert notes(effects) == ["call.answered"]
    assert kinds(effects) == [ToControl]  # who was called speaks first
    assert call.next_timeout() == 4.0 + POLICY.max_duration_s


def test_a_callee_who_does_not_answer_is_cancelled() -> None:
    call = in_state(State.DIALLING)
    assert kinds(call.timeout(POLICY.ring_timeout_s)) == [EndLeg, Finish]
    assert call.reason == "ring_timeout"


@pytest.mark.parametrize(("status", "code"), ((404, "unknown_host"), (503, "no_media_port")))
def test_a_call_that_cannot_be_made_says_why(status: int, code: str) -> None:
    call = machine(POLICY, outbound=True)
    call.start(0.0, 0)
    call.session_opened(OPENED, 1.0)
    effects = call.leg_failed(status, code, 1.1)
    assert settled(effects) == {0: code}
    assert call.reason == code


def test_without_a_session_nobody_is_called() -> None:
    call = machine(POLICY, outbound=True)
    call.start(0.0, 0)
    effects = call.session_failed(SessionFailed("backend_unavailable", NO_SESSION), 1.0)
    assert kinds(effects) == [Settle, EndLeg, Finish]
    assert settled(effects) == {0: "backend_unavailable"}


# Transfers.


def test_a_transfer_that_succeeds_ends_the_call() -> None:
    call = in_state(State.ACTIVE)
    assert call.command(Refer(TARGET), 1, 3.0) == [ReferLeg(TARGET)]
    assert settled(call.leg_event(ReferAnswered(202), 3.1)) == {1: None}
    assert call.leg_event(ReferProgress(100, False), 3.2) == []
    effects = call.leg_event(ReferProgress(200, True), 9.0)
    assert result(effects) == ("transferred", 200)
    assert kinds(effects) == [ToControl, EndLeg, Finish]
    assert call.reason == "transferred"
    assert settled(call.command(Refer(TARGET), 2, 10.0)) == {2: None}
    assert settled(call.command(Refer("tel:+1"), 3, 10.0)) == {3: "call_id_not_found"}


@pytest.mark.parametrize(
    ("status", "outcome"),
    (
        *((486, "busy"), (600, "busy"), (603, "declined"), (403, "declined"), (480, "no_answer")),
        *((408, "no_answer"), (487, "no_answer"), (404, "unreachable"), (503, "unreachable")),
    ),
)
def test_after_a_transfer_that_failed_the_caller_is_back(status: int, outcome: str) -> None:
    call = in_state(State.TRANSFERRING)
    call.leg_event(ReferAnswered(202), 3.1)
    assert result(call.leg_event(ReferProgress(status, True), 9.0)) == (outcome, status)
    assert call.state is State.ACTIVE
    assert call.command(Refer(TARGET), 8, 10.0) == [ReferLeg(TARGET)]


def test_news_of_the_target_may_overtake_the_answer_to_the_refer() -> None:
    call = in_state(State.TRANSFERRING)
    effects = call.leg_event(ReferProgress(486, True), 3.1)
    assert settled(effects) == {7: None}
    assert result(effects) == ("busy", 486)
    assert call.leg_event(ReferAnswered(202), 3.2) == []
    assert call.state is State.ACTIVE


@pytest.mark.parametrize(
    ("status", "code"),
    (
        *((405, "transfer_unsupported"), (501, "transfer_unsupported")),
        *((603, "transfer_refused"), (401, "transfer_refused")),
    ),
)
def test_a_peer_that_does_not_transfer_is_told_at_once(status: int, code: str) -> None:
    call = in_state(State.TRANSFERRING)
    effects = call.leg_event(ReferAnswered(status), 3.1)
    assert settled(effects) == {7: code}
    assert result(effects) == ("refused", status)
    assert call.state is State.ACTIVE


def test_a_peer_that_says_nothing_to_a_refer_keeps_its_call() -> None:
    call = in_state(State.TRANSFERRING)
    effects = call.leg_event(ReferAnswered(408), 35.0)
    assert settled(effects) == {7: "transfer_timeout"}
    assert result(effects) == ("timeout", 408)
    assert call.state is State.ACTIVE


def test_nobody_waits_longer_for_the_answer_to_a_refer_than_the_policy_says() -> None:
    call = in_state(State.TRANSFERRING)
    assert call.next_timeout() == 3.0 + POLICY.transfer_timeout_s
    effects = call.timeout(3.0 + POLICY.transfer_timeout_s)
    assert settled(effects) == {7: "transfer_timeout"}
    assert result(effects) == ("timeout", None)
    assert call.state is State.ACTIVE


def test_a_transfer_without_news_times_out() -> None:
    call = in_state(State.TRANSFERRING)
    call.leg_event(ReferAnswered(202), 3.0)
    call.leg_event(ReferProgress(180, False), 30.0)
    assert call.next_timeout() == 30.0 + POLICY.transfer_timeout_s
    assert result(call.timeout(30.0 + POLICY.transfer_timeout_s)) == ("timeout", None)
    assert call.state is State.ACTIVE


def test_a_peer_that_stops_telling_leaves_it_open_what_became_of_the_transfer() -> None:
    call = in_state(State.TRANSFERRING)
    call.leg_event(ReferAnswered(202), 3.0)
    assert result(call.leg_event(ReferProgress(None, True), 4.0)) == ("timeout", None)


def test_a_peer_that_agreed_and_hung_up_has_gone_where_it_was_sent() -> None:
    call = in_state(State.TRANSFERRING)
    call.leg_event(ReferAnswered(202), 3.0)
    effects = call.leg_event(LegEnded("remote_bye"), 4.0)
    assert result(effects) == ("transferred", None)
    assert call.reason == "transferred"


def test_a_peer_that_hangs_up_instead_of_answering_was_not_transferred() -> None:
    call = in_state(State.TRANSFERRING)
    effects = call.leg_event(LegEnded("remote_bye"), 4.0)
    assert result(effects) == ("refused", None)
    assert settled(effects) == {7: "call_id_not_found"}
    assert call.reason == "remote_bye"


def test_a_peer_that_is_lost_during_a_transfer_has_not_been_transferred() -> None:
    call = in_state(State.TRANSFERRING)
    call.leg_event(ReferAnswered(202), 3.0)
    effects = call.leg_event(LegEnded("bad_answer"), 4.0)
    assert result(effects) == ("timeout", None)
    assert call.reason == "bad_answer"


def test_a_caller_on_hold_during_a_transfer_may_be_silent() -> None:
    call = in_state(State.TRANSFERRING)
    call.leg_event(ReferAnswered(202), 3.0)
    assert call.leg_event(LegSilent(), 33.0) == []
    call.leg_event(ReferProgress(486, True), 40.0)
    assert kinds(call.leg_event(LegSilent(), 63.0)) == [EndLeg, Finish]


@pytest.mark.parametrize("end", ("hang_up", "timeout", "command"))
def test_a_call_of_ours_that_ends_while_it_connects_says_why(end: str) -> None:
    call = machine(POLICY, outbound=True)
    call.start(0.0, 0)
    if end == "hang_up":
        effects, reason = call.hang_up("drain", 1.0), "drain"
    elif end == "timeout":
        effects, reason = call.timeout(POLICY.ring_timeout_s), "ring_timeout"
    else:
        effects, reason = call.command(HangUp(), 1, 1.0), "hangup"
    assert settled(effects)[0] == reason
    assert call.reason == reason


@pytest.mark.parametrize(
    ("command", "code"),
    (
        (Accept(SESSION), "call_already_accepted"),
        (Reject(486), "invalid_call_state"),
        (Refer(TARGET), "invalid_call_state"),
        (HangUp(), None),
    ),
)
def test_what_may_be_asked_of_a_call_that_we_make(command: Command, code: str | None) -> None:
    call = in_state(State.DIALLING)
    assert settled(call.command(command, 1, 2.0))[1] == code
    assert (call.state is State.ENDED) == (code is None)


def test_one_transfer_at_a_time() -> None:
    call = in_state(State.TRANSFERRING)
    assert call.command(Refer(TARGET), 8, 3.1) == []  # the same again: shares the outcome
    assert settled(call.command(Refer("tel:+1"), 9, 3.2)) == {9: "transfer_in_progress"}
    assert settled(call.leg_event(ReferAnswered(202), 3.3)) == {7: None, 8: None}
    assert settled(call.command(Refer(TARGET), 10, 3.4)) == {10: None}


def test_only_an_answered_call_can_be_transferred() -> None:
    call = in_state(State.RINGING)
    assert settled(call.command(Refer(TARGET), 1, 1.0)) == {1: "invalid_call_state"}


def test_a_transfer_that_is_under_way_at_the_end_is_not_left_pending() -> None:
    call = in_state(State.TRANSFERRING)
    call.leg_event(ReferAnswered(202), 3.0)
    assert result(call.command(HangUp(), 1, 4.0)) == ("timeout", None)
    assert call.reason == "hangup"


@pytest.mark.parametrize("error", (no_call(), no_leg(404, "x"), no_leg(403, "x")))
def test_no_error_of_a_state_is_one_that_clients_repeat(error: RealtimeError) -> None:
    assert error.status in (400, 404)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("name", INPUTS)
def test_every_state_takes_every_input_and_ends_once(state: State, name: str) -> None:
    call = in_state(state)
    before = call.reason
    effects = INPUTS[name](call)
    if state in (State.RINGING, State.DIALLING, State.TRANSFERRING, State.ENDED):
        opens = any(isinstance(effect, OpenSession) for effect in effects)
        assert opens == (name == "session_lost" and state not in (State.RINGING, State.ENDED))
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


def test_a_key_during_the_apology_ends_it() -> None:
    call = in_state(State.ACTIVE, replace(POLICY, has_apology=True))
    give_up(call)
    assert ClearPlayout("dtmf") in call.leg_event(DtmfIn("1", 1), 24.0)
    assert kinds(call.cleared([Heard(APOLOGY, 100, 3000)], "dtmf", 24.0))[-2:] == [EndLeg, Finish]


def test_an_apology_may_be_long_once_it_has_begun() -> None:
    call = in_state(State.ACTIVE, replace(POLICY, has_apology=True))
    give_up(call)
    call.leg_event(Played(Started(APOLOGY)), 50.0)
    assert call.timeout(200.0) == []
    assert kinds(call.leg_event(Played(Stopped(APOLOGY)), 201.0)) == [EndLeg, Finish]


def test_what_was_queued_is_heard_before_the_end() -> None:
    call = in_state(State.ACTIVE)
    call.server_event({"type": "response.created", "response": {"id": "resp_1"}}, 2.5)
    call.leg_event(Played(Started(PART)), 2.6)
    assert EndLeg not in kinds(give_up(call))
    another = ItemPart("resp_2", "item_2", 0)
    assert EndLeg not in kinds(call.leg_event(Played(Stopped(PART)), 25.0))
    call.leg_event(Played(Started(another)), 25.0)  # it was queued behind
    assert EndLeg not in kinds(call.timeout(40.0))
    call.leg_event(Played(Stopped(another)), 41.0)
    at = call.next_timeout()
    assert at is not None and at < 42
    assert kinds(call.timeout(at)) == [EndLeg, Finish]
    assert call.reason == "session_lost"


def test_a_caller_on_hold_stays_so_after_a_transfer_that_failed() -> None:
    patience = PatiencePolicy(no_input_s=5, no_input_times=0)
    call = in_state(State.ACTIVE, replace(POLICY, patience=patience, greet=False))
    call.leg_event(LegHeld(True), 3.0)
    call.command(Refer(TARGET), 7, 3.5)
    call.leg_event(ReferProgress(486, True), 4.0)
    call.timeout(100.0)
    assert call.state is State.ACTIVE
    call.leg_event(LegHeld(False), 101.0)
    call.timeout(106.0)
    assert call.reason == "no_input"


def test_each_accept_may_be_served_by_the_fallback() -> None:
    policy = replace(BY_APPLICATION, continuity=ContinuityPolicy(has_fallback=True))
    call = machine(policy)
    call.start(0.0)
    failed = SessionFailed("backend_unavailable", NO_SESSION)
    for ticket in (1, 2):
        call.command(Accept(SESSION), ticket, 1.0)
        assert call.session_failed(failed, 2.0) == [OpenSession(SESSION, fallback=True)]
        assert settled(call.session_failed(failed, 3.0)) == {ticket: "backend_unavailable"}


_POLICY = CallPolicy(
    has_apology=True,
    fallback_target=TARGET,
    continuity=ContinuityPolicy(give_up_s=5.0, has_fallback=True),
    patience=PatiencePolicy(filler_after_s=1.0, no_input_s=7, goodbye="Goodbye.", idle_s=90),
)
_FAILED = SessionFailed("backend_unavailable", NO_SESSION)
_RESPONSE = {"id": "resp_1", "conversation_id": "conv_1"}
_EVENTS: dict[str, dict[str, Any]] = {
    "response.created": {"response": _RESPONSE},
    "response.done": {"response": _RESPONSE},
    "input_audio_buffer.speech_started": {"item_id": "item_u"},
    "input_audio_buffer.speech_stopped": {"item_id": "item_u"},
    "input_audio_buffer.committed": {"item_id": "item_u"},
}


def _said(kind: str, fields: dict[str, Any]) -> Callable[[CallMachine, float], list[Effect]]:
    return lambda call, now: call.server_event({"type": kind, **fields}, now)


_STEPS: dict[str, Callable[[CallMachine, float], list[Effect]]] = {
    "opened": lambda call, now: call.session_opened(SessionOpened({}, 20.0), now),
    "failed": lambda call, now: call.session_failed(_FAILED, now),
    "lost": lambda call, now: call.session_lost("x", now),
    "next_lost": lambda call, now: call.session_lost("x", now, joined=False),
    "digit": lambda call, now: call.leg_event(DtmfIn("1", 1), now),
    "refer": lambda call, now: call.command(Refer(TARGET), 9, now),
    "ringing": lambda call, now: call.leg_event(ReferProgress(180, False), now),
    "busy": lambda call, now: call.leg_event(ReferProgress(486, True), now),
    "held": lambda call, now: call.leg_event(LegHeld(True), now),
    "back": lambda call, now: call.leg_event(LegHeld(False), now),
    "started": lambda call, now: call.leg_event(Played(Started(PART)), now),
    "stopped": lambda call, now: call.leg_event(Played(Stopped(PART)), now),
    "apology": lambda call, now: call.leg_event(Played(Started(APOLOGY)), now),
    "cleared": lambda call, now: call.cleared([Heard(PART, 1, 2)], "speech", now),
    "asked": lambda call, now: call.client_event({"type": "response.create"}, now),
    **{kind: _said(kind, fields) for kind, fields in _EVENTS.items()},
}


@given(st.lists(st.tuples(st.sampled_from(sorted(_STEPS)), st.sampled_from([0.0, 0.3, 2.0, 61.0]))))
def test_time_never_stands_still(history: list[tuple[str, float]]) -> None:
    """A deadline that stays in the past would be asked for again and again, and hold up all."""
    call = in_state(State.ACTIVE, _POLICY)
    now = 2.0
    for step, passes_s in history:
        _STEPS[step](call, now)
        now += passes_s
        due = 0
        while (at := call.next_timeout()) is not None and at <= now:
            call.timeout(max(at, now))
            due += 1
            assert due < 10
