"""How a call is passed on: by REFER, with Replaces, by a bridge of ours, because the other side
asks for it, or because somebody takes its place."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.commands import HangUp, Press, Refer
from gateway.calls.continuity import ContinuityPolicy, SessionFailed, SessionOpened
from gateway.calls.effects import (
    AnswerRefer,
    DialSecond,
    DropSession,
    Effect,
    EndLeg,
    EndSecond,
    Finish,
    JoinLegs,
    Note,
    PassKey,
    ReferLeg,
    ReportRefer,
    RingBack,
    Settle,
    SwapLegs,
    TakeSecond,
    TellCall,
    ToControl,
    Word,
)
from gateway.calls.machine import CallMachine
from gateway.calls.patience import PatiencePolicy
from gateway.calls.policy import CallPolicy
from gateway.calls.state import State
from gateway.legs.leg import (
    DtmfIn,
    LegAnswered,
    LegBroken,
    LegEnded,
    LegEvent,
    LegHeld,
    LegRinging,
    LegSilent,
    ReferAnswered,
    ReferAsked,
    ReferProgress,
)
from gateway.realtime.errors import RealtimeError
from tests.calls.test_machine import kinds, notes, result, settled

pytestmark = pytest.mark.pure

TARGET = "tel:+4930123456"
OTHER = "rtc_2"
LEAVE = CallPolicy(bridge="leave")
LISTEN = CallPolicy(bridge="listen")
ACCEPTS = CallPolicy(accepts_refer=True, targets=("tel:+49", "sip:*@example.com"))
FAILED = SessionFailed("backend_unavailable", RealtimeError("no", code="x", status=502))


def active(policy: CallPolicy, *, can_refer: bool = True) -> CallMachine:
    numbers = itertools.count()
    call = CallMachine(policy, new_event_id=lambda: f"event_{next(numbers)}", can_refer=can_refer)
    call.start(0.0)
    call.session_opened(SessionOpened({}), 1.0)
    call.leg_event(LegAnswered(), 2.0)
    assert call.state is State.ACTIVE
    return call


def dialling(policy: CallPolicy = LEAVE) -> CallMachine:
    call = active(policy, can_refer=False)
    assert call.command(Refer(TARGET), 7, 3.0)[-1] == DialSecond(TARGET, overheard=True)
    assert settled(call.second_opened(3.1)) == {7: None}
    return call


def bridged(policy: CallPolicy = LEAVE) -> CallMachine:
    call = dialling(policy)
    call.second_event(LegAnswered(), 5.0)
    assert call.state is State.BRIDGED
    return call


def how(effects: list[Effect]) -> str:
    (note,) = [one for one in effects if isinstance(one, Note) and one.event == "transfer.result"]
    return str(note.fields["how"])


@pytest.mark.parametrize("status", [405, 501])
def test_a_peer_that_cannot_refer_is_bridged(status: int) -> None:
    call = active(LEAVE)
    assert call.command(Refer(TARGET), 7, 3.0) == [ReferLeg(TARGET)]
    assert call.leg_event(ReferAnswered(status), 3.2) == [DialSecond(TARGET, overheard=True)]
    assert settled(call.second_opened(3.3)) == {7: None}  # our INVITE is on its way
    assert call.second_event(LegRinging(180), 3.5) == [RingBack(True)]
    assert call.second_event(LegRinging(180), 3.6) == []
    effects = call.second_event(LegAnswered(), 5.0)
    assert effects[:2] == [RingBack(False), JoinLegs(listens=False)]
    assert result(effects) == ("transferred", 200)
    assert how(effects) == "bridge"
    assert call.state is State.BRIDGED and EndLeg not in kinds(effects)


@pytest.mark.parametrize("status", [403, 408, 486, 603])
def test_a_peer_that_will_not_refer_is_taken_at_its_word(status: int) -> None:
    call = active(LEAVE)
    call.command(Refer(TARGET), 7, 3.0)
    effects = call.leg_event(ReferAnswered(status), 3.2)
    assert how(effects) == "refer" and call.state is State.ACTIVE
    assert DialSecond not in kinds(effects)


def test_without_the_setting_nobody_is_called() -> None:
    call = active(CallPolicy())
    call.command(Refer(TARGET), 7, 3.0)
    effects = call.leg_event(ReferAnswered(405), 3.2)
    assert settled(effects) == {7: "transfer_unsupported"}


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        (LegEnded("refused", 486), ("busy", 486)),
        (LegEnded("refused", 603), ("declined", 603)),
        (LegEnded("refused", 404), ("unreachable", 404)),
        (LegEnded("refused", 480), ("no_answer", 480)),
        (LegEnded("timeout"), ("no_answer", None)),
        (LegBroken(RuntimeError("a defect")), ("unreachable", None)),
    ],
)
def test_a_target_that_does_not_answer_gives_the_caller_back(
    event: LegEvent, outcome: tuple[str, int | None]
) -> None:
    call = dialling()
    effects = call.second_event(event, 9.0)
    assert effects[:2] == [RingBack(False), EndSecond()]
    assert result(effects) == outcome
    assert call.state is State.ACTIVE
    assert call.command(Refer("tel:+49302"), 8, 9.5)[-1] == DialSecond("tel:+49302", overheard=True)


def test_a_target_may_ring_as_long_as_any_callee() -> None:
    call = dialling()
    at = call.next_timeout()
    assert at is not None and at == pytest.approx(3.1 + LEAVE.ring_timeout_s)
    effects = call.timeout(at)
    assert EndSecond() in effects and result(effects) == ("no_answer", None)
    assert call.state is State.ACTIVE


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [(403, "not_allowed", "not_allowed"), (503, "no_media_port", "no_media_port")],
)
def test_a_target_that_cannot_be_called_is_told_to_whoever_asked(
    status: int, reason: str, code: str
) -> None:
    call = active(LEAVE, can_refer=False)
    call.command(Refer(TARGET), 7, 3.0)
    effects = call.second_failed(status, reason, 3.1)
    assert settled(effects) == {7: code}
    assert result(effects) == ("unreachable", None)
    assert call.state is State.ACTIVE


def test_whoever_waits_is_told_even_when_the_target_is_gone_at_once() -> None:
    call = active(LEAVE, can_refer=False)
    call.command(Refer(TARGET), 7, 3.0)
    assert settled(call.second_event(LegEnded("refused", 486), 3.1)) == {7: None}
    assert call.second_opened(3.1) == []


def test_the_caller_who_hangs_up_meanwhile_is_not_bridged() -> None:
    call = dialling()
    effects = call.leg_event(LegEnded("remote_bye"), 4.0)
    assert result(effects) == ("timeout", None) and effects[-1] == Finish()
    assert call.reason == "remote_bye"
    assert call.second_event(LegAnswered(), 4.1) == []


def test_either_side_ends_a_bridge() -> None:
    call = bridged()
    assert kinds(call.leg_event(LegEnded("remote_bye"), 9.0)) == [Finish]
    assert call.reason == "remote_bye"
    call = bridged()
    assert kinds(call.second_event(LegEnded("remote_bye"), 9.0)) == [EndLeg, Finish]
    assert call.reason == "transferred"
    call = bridged()
    assert kinds(call.command(HangUp(), 8, 9.0)) == [EndLeg, Finish, Settle]
    assert call.reason == "hangup"


@pytest.mark.parametrize(
    ("event", "reason"),
    [(LegSilent(), "media_timeout"), (LegBroken(RuntimeError("x")), "internal_error")],
)
def test_a_bridge_with_a_dead_side_ends(event: LegEvent, reason: str) -> None:
    for tell in (CallMachine.leg_event, CallMachine.second_event):
        call = bridged()
        assert kinds(tell(call, event, 9.0)) == [EndLeg, Finish]
        assert call.reason == reason


def test_a_bridge_lasts_no_longer_than_a_call_may() -> None:
    call = bridged()
    at = call.next_timeout()
    assert at is not None and at == 2.0 + LEAVE.max_duration_s
    call.timeout(at)
    assert call.reason == "max_duration"


SHORT = replace(LEAVE, max_duration_s=100.0)
LIMIT = 2.0 + SHORT.max_duration_s


def until(call: CallMachine, now: float) -> list[Effect]:
    """All that the clock brings about up to then."""
    effects: list[Effect] = []
    while (at := call.next_timeout()) is not None and at <= now:
        effects += call.timeout(at)
    return effects


@pytest.mark.parametrize("bridge", ["leave", "listen"])
def test_a_bridge_that_comes_after_the_limit_ends_at_once(
    bridge: Literal["leave", "listen"],
) -> None:
    call = active(replace(SHORT, bridge=bridge), can_refer=False)
    call.command(Refer(TARGET), 7, 90.0)
    call.second_opened(90.1)
    assert (until(call, LIMIT + 3), call.state) == ([], State.TRANSFERRING)
    call.second_event(LegAnswered(), LIMIT + 4)
    until(call, LIMIT + 4)
    assert call.state is State.ENDED and call.reason == "max_duration"


def test_a_bridge_that_comes_during_the_last_words_ends_at_once() -> None:
    patience = PatiencePolicy(max_duration_say="Say goodbye.")
    call = active(replace(SHORT, bridge="listen", patience=patience), can_refer=False)
    assert until(call, LIMIT) != [] and call.state is State.ACTIVE
    call.command(Refer(TARGET), 7, LIMIT + 1)
    call.second_opened(LIMIT + 1)
    until(call, LIMIT + 2)
    call.second_event(LegAnswered(), LIMIT + 2)
    until(call, LIMIT + 2)
    assert call.reason == "max_duration"


def test_a_caller_who_is_back_after_the_limit_takes_leave() -> None:
    call = active(SHORT, can_refer=False)
    call.command(Refer(TARGET), 7, 90.0)
    call.second_opened(90.1)
    until(call, LIMIT + 3)
    call.second_event(LegEnded("refused", 486), LIMIT + 4)
    until(call, LIMIT + 4)
    assert call.reason == "max_duration"


def test_keys_pass_from_side_to_side_and_not_to_the_session() -> None:
    call = bridged(LISTEN)
    effects = call.leg_event(DtmfIn("1", 1), 9.0)
    assert notes(effects) == ["dtmf.received"]
    assert effects[1:] == [PassKey("1", to_second=True)]
    assert call.second_event(DtmfIn("2", 1, "info"), 9.0) == [PassKey("2", to_second=False)]
    # Tones pass in the audio.
    assert call.second_event(DtmfIn("2", 1, "tone"), 9.0) == []
    assert settled(call.command(Press("1"), 8, 9.1)) == {8: "invalid_call_state"}


def test_no_keys_are_pressed_in_a_call_that_is_passed_on() -> None:
    for call, why in ((dialling(), "is being passed on"), (bridged(), "was passed on")):
        (settle,) = call.command(Press("1"), 8, 9.0)
        assert isinstance(settle, Settle) and settle.error is not None
        assert why in settle.error.message and settle.error.code == "invalid_call_state"
        (told,) = call.client_event({"type": "gateway.dtmf.send", "digits": "1"}, 9.0)
        assert isinstance(told, ToControl) and why in told.event["error"]["message"]


def test_whom_the_call_was_passed_on_to_passes_nobody_on() -> None:
    refused = [
        AnswerRefer("5", 603, to_second=True),
        Note("call.referred", {"result": "refused", "sip_status": 603}),
    ]
    for call in (bridged(replace(ACCEPTS, bridge="leave")), dialling(), active(ACCEPTS)):
        state = call.state
        assert call.second_event(asked(), 9.0) == refused
        assert call.state is state
    call = active(ACCEPTS)
    call.leg_event(asked(), 3.0)
    assert call.second_event(asked(), 3.1) == refused
    call.hang_up("hangup", 4.0)
    assert call.second_event(asked(), 5.0) == []


def test_an_agent_that_left_is_asked_nothing_more() -> None:
    call = bridged(LEAVE)
    assert call.session_lost("closed", 9.0) == []
    assert call.session_opened(SessionOpened({}), 9.0) == [DropSession()]
    assert call.server_event({"type": "response.created", "response": {"id": "r"}}, 9.0) == []
    (told,) = call.client_event({"type": "response.create", "event_id": "e"}, 9.0)
    assert isinstance(told, ToControl) and told.event["type"] == "error"


def test_an_agent_that_listens_lives_on() -> None:
    call = bridged(LISTEN)
    assert call.session_lost("closed", 9.0) != []  # another one is opened
    while (at := call.next_timeout()) is not None and at < 100:
        call.timeout(at)
        call.session_failed(FAILED, at)
    assert call.state is State.BRIDGED  # two people talk, whatever becomes of the agent


def test_the_same_transfer_again_is_no_error_in_a_bridge_and_another_one_is() -> None:
    call = bridged()
    assert settled(call.command(Refer(TARGET), 8, 9.0)) == {8: None}
    assert settled(call.command(Refer("tel:+1"), 9, 9.0)) == {9: "transfer_in_progress"}


def test_a_human_is_called_when_there_is_no_session_and_no_refer() -> None:
    policy = replace(LEAVE, fallback_target=TARGET, continuity=ContinuityPolicy(give_up_s=1.0))
    call = active(policy, can_refer=False)
    effects = call.session_lost("closed", 3.0)
    call.session_failed(FAILED, 3.0)
    while DialSecond not in kinds(effects):
        at = call.next_timeout()
        assert at is not None and at < 60
        effects = [*call.timeout(at), *call.session_failed(FAILED, at)]
    call.second_event(LegAnswered(), 30.0)
    assert call.state is State.BRIDGED
    call.second_event(LegEnded("remote_bye"), 40.0)
    assert call.reason == "transferred"


# With Replaces.


def test_the_other_side_takes_our_place_in_another_call() -> None:
    call = active(CallPolicy())
    asked = Refer("", OTHER, callee="sip:bob@example.com")
    refer = ReferLeg("sip:bob@example.com", OTHER)
    assert call.command(asked, 7, 3.0) == [TellCall(OTHER, "offered"), refer]
    assert settled(call.leg_event(ReferAnswered(202), 3.1)) == {7: None}
    effects = call.leg_event(ReferProgress(200, True), 4.0)
    assert effects[0] == TellCall(OTHER, "transferred")
    assert (how(effects), call.reason) == ("replaces", "transferred")
    assert call.had_its_effect(Refer("", OTHER)) and not call.had_its_effect(Refer(TARGET))


def test_a_call_that_was_not_taken_is_kept() -> None:
    call = active(CallPolicy())
    call.command(Refer("", OTHER), 7, 3.0)
    effects = call.leg_event(ReferProgress(486, True), 4.0)
    assert TellCall(OTHER, "kept") in effects and call.state is State.ACTIVE


def test_whoever_leaves_on_its_way_into_another_call_has_not_taken_it_yet() -> None:
    call = active(CallPolicy())
    call.command(Refer("", OTHER), 7, 3.0)
    call.leg_event(ReferAnswered(202), 3.1)
    effects = call.leg_event(LegEnded("remote_bye"), 3.2)
    assert effects[0] == TellCall(OTHER, "coming")
    assert result(effects) == ("transferred", None) and call.reason == "transferred"
    call = active(CallPolicy())
    call.command(Refer("", OTHER), 7, 3.0)
    effects = call.leg_event(LegEnded("remote_bye"), 3.1)  # it never agreed
    assert TellCall(OTHER, "kept") in effects and result(effects) == ("refused", None)


@pytest.mark.parametrize(
    ("words", "at", "reason"),
    [
        (["offered"], 900.0, "transferred"),
        (["offered", "kept"], 9.0, "remote_bye"),
        (["offered", "coming"], 3.0 + CallPolicy().transfer_timeout_s - 0.1, "transferred"),
        (["offered", "coming"], 3.0 + CallPolicy().transfer_timeout_s, "remote_bye"),
    ],
)
def test_a_call_that_was_offered_and_ends_has_been_taken(
    words: list[Literal["offered", "coming", "kept"]], at: float, reason: str
) -> None:
    call = active(CallPolicy())
    for word in words:
        assert call.told(word, 3.0) == []
    assert kinds(call.leg_event(LegEnded("remote_bye"), at)) == [Finish]
    assert call.reason == reason


def test_a_call_that_was_taken_ends() -> None:
    call = active(CallPolicy())
    assert kinds(call.told("transferred", 3.0)) == [EndLeg, Finish]
    assert call.reason == "transferred"


def test_a_bridge_takes_the_leg_of_another_call() -> None:
    call = active(LEAVE)
    call.command(Refer("", OTHER), 7, 3.0)
    effects = call.leg_event(ReferAnswered(501), 3.1)
    assert effects == [TellCall(OTHER, "kept"), TakeSecond(OTHER)]
    effects = call.second_taken(3.2)
    assert settled(effects) == {7: None} and JoinLegs(listens=False) in effects
    assert result(effects) == ("transferred", None) and call.state is State.BRIDGED


def test_another_call_whose_leg_is_gone_is_told() -> None:
    call = active(LEAVE, can_refer=False)
    call.command(Refer("", OTHER), 7, 3.0)
    effects = call.second_failed(404, "call_not_up", 3.1)
    (settle,) = [one for one in effects if isinstance(one, Settle)]
    assert settle.error is not None
    assert (settle.error.status, settle.error.param) == (400, "replaces_call_id")
    assert call.state is State.ACTIVE


def test_a_call_whose_leg_was_given_away_is_over_and_hangs_nobody_up() -> None:
    call = active(CallPolicy())
    assert call.may_be_given_away
    assert kinds(call.given_away()) == [Finish]
    assert call.reason == "transferred" and not call.may_be_given_away


# The other side asks.


def asked(target: str = TARGET) -> ReferAsked:
    return ReferAsked("5", target, "<sip:alice@example.com>")


def test_the_other_side_has_the_call_passed_on() -> None:
    call = active(ACCEPTS)
    dial = DialSecond(TARGET, referred_by="<sip:alice@example.com>")
    assert call.leg_event(asked(), 3.0) == [AnswerRefer("5", 202), dial]
    assert call.second_opened(3.1) == []
    assert call.second_event(LegRinging(180), 3.2) == [ReportRefer("5", 180, False)]
    effects = call.second_event(LegAnswered(), 4.0)
    assert effects[:2] == [ReportRefer("5", 200, True), SwapLegs()]
    assert notes(effects) == ["call.referred"] and call.state is State.ACTIVE
    assert call.next_timeout() == 2.0 + ACCEPTS.max_duration_s


@pytest.mark.parametrize(
    ("policy", "target"),
    [
        (CallPolicy(), TARGET),
        (replace(ACCEPTS, targets=()), TARGET),
        (ACCEPTS, "tel:+19005551234"),
        (ACCEPTS, "sip:bob@evil.example"),
        (ACCEPTS, "sip:bob@example.com;method=BYE"),
        (ACCEPTS, "http://example.com"),
        (ACCEPTS, "sip:bob:secret@example.com"),
        (ACCEPTS, ""),
    ],
)
def test_only_whom_the_operator_names_is_called_for_others(policy: CallPolicy, target: str) -> None:
    call = active(policy)
    effects = call.leg_event(asked(target), 3.0)
    assert effects[0] == AnswerRefer("5", 603) and kinds(effects) == [AnswerRefer]


def test_a_call_with_somebody_else_is_taken_over_by_its_name() -> None:
    call = active(ACCEPTS)
    uri = "sip:bob@example.com?Subject=x&Replaces=1%40b%3Bto-tag%3Da%3Bfrom-tag%3Db"
    dial = call.leg_event(asked(uri), 3.0)[1]
    assert isinstance(dial, DialSecond)
    assert dial.target_uri == "sip:bob@example.com"
    assert dial.replaces == "1@b;to-tag=a;from-tag=b"


@pytest.mark.parametrize(
    ("news", "status"),
    [
        (lambda call: call.second_event(LegEnded("refused", 486), 4.0), 486),
        (lambda call: call.second_event(LegEnded("timeout"), 4.0), 503),
        (lambda call: call.second_failed(404, "unknown_host", 4.0), 404),
        (lambda call: call.timeout(3.0 + ACCEPTS.ring_timeout_s), 408),
    ],
)
def test_whoever_asked_hears_why_not_and_is_still_there(
    news: Callable[[CallMachine], list[Effect]], status: int
) -> None:
    call = active(ACCEPTS)
    call.leg_event(asked(), 3.0)
    effects = news(call)
    assert effects[:2] == [EndSecond(), ReportRefer("5", status, True)]
    assert call.state is State.ACTIVE
    assert call.leg_event(asked(), 60.0)[0] == AnswerRefer("5", 202)


def test_whoever_asked_may_hang_up_meanwhile() -> None:
    call = active(ACCEPTS)
    call.leg_event(asked(), 3.0)
    assert call.leg_event(LegEnded("remote_bye"), 3.1) == []
    assert SwapLegs() in call.second_event(LegAnswered(), 4.0)
    assert call.state is State.ACTIVE
    call = active(ACCEPTS)
    call.leg_event(asked(), 3.0)
    call.leg_event(LegEnded("remote_bye"), 3.1)
    assert call.second_event(LegEnded("refused", 486), 4.0)[-1] == Finish()
    assert call.reason == "remote_bye"


def test_one_way_of_passing_on_at_a_time() -> None:
    call = active(ACCEPTS)
    call.leg_event(asked(), 3.0)
    assert call.leg_event(asked(), 3.1)[0] == AnswerRefer("5", 491)
    assert settled(call.command(Refer(TARGET), 7, 3.2)) == {7: "transfer_in_progress"}
    assert call.replaced(3.3) == [] and not call.may_be_given_away
    call = active(ACCEPTS)
    call.command(Refer(TARGET), 7, 3.0)
    assert call.leg_event(asked(), 3.1)[0] == AnswerRefer("5", 491)
    assert call.replaced(3.2) == []
    call = active(ACCEPTS)
    call.replacing()
    assert not call.may_be_given_away
    assert call.leg_event(asked(), 3.1)[0] == AnswerRefer("5", 491)
    assert settled(call.command(Refer(TARGET), 7, 3.2)) == {7: "transfer_in_progress"}
    assert call.not_replaced(3.3) == []
    assert call.leg_event(asked(), 3.4)[0] == AnswerRefer("5", 202)


HUMAN = "tel:+49309"


def left_alone(*, can_refer: bool) -> tuple[CallMachine, list[Effect]]:
    """The session is given up while we call whom the other side named."""
    policy = replace(ACCEPTS, bridge="leave", fallback_target=HUMAN)
    policy = replace(policy, continuity=ContinuityPolicy(give_up_s=1.0))
    call = active(policy, can_refer=can_refer)
    call.leg_event(asked(), 3.0)
    effects = [*call.session_lost("closed", 3.1), *call.session_failed(FAILED, 3.1)]
    while not call.talk.over:
        at = call.next_timeout()
        assert at is not None and at < 30
        effects += [*call.timeout(at), *call.session_failed(FAILED, at)]
    return call, effects


@pytest.mark.parametrize("can_refer", [True, False])
def test_no_human_is_called_before_it_is_known_who_the_other_side_is(can_refer: bool) -> None:
    passes_on: Effect = ReferLeg(HUMAN) if can_refer else DialSecond(HUMAN, overheard=True)
    call, effects = left_alone(can_refer=can_refer)
    passed = {ReferLeg, DialSecond} & set(kinds(effects))
    assert (passed, call.state) == (set(), State.ACTIVE)
    effects = call.second_event(LegEnded("refused", 486), 30.0)
    assert effects[:2] == [EndSecond(), ReportRefer("5", 486, True)]
    assert effects[-1] == passes_on and call.state is State.TRANSFERRING
    call, _ = left_alone(can_refer=can_refer)
    effects = call.second_failed(404, "unknown_host", 30.0)
    assert effects[-1] == passes_on and call.state is State.TRANSFERRING
    call, _ = left_alone(can_refer=can_refer)
    effects = call.second_event(LegAnswered(), 30.0)
    assert SwapLegs() in effects and effects[-1] == passes_on


def test_who_asked_and_left_leaves_nobody_to_pass_on() -> None:
    call, _ = left_alone(can_refer=False)
    call.leg_event(LegEnded("remote_bye"), 29.0)
    effects = call.second_event(LegEnded("refused", 486), 30.0)
    assert effects[-1] == Finish() and DialSecond not in kinds(effects)
    assert call.reason == "remote_bye"


def test_a_second_leg_is_of_no_transfer_that_has_none() -> None:
    call = active(LEAVE)
    call.command(Refer(TARGET), 7, 3.0)
    assert call.second_opened(3.1) == [] and call.second_taken(3.1) == []
    assert call.second_failed(503, "no_media_port", 3.1) == []
    for event in (LegRinging(180), LegAnswered(), LegEnded("refused", 486)):
        assert call.second_event(event, 3.2) == []
    assert call.state is State.TRANSFERRING


def test_no_human_is_called_before_it_is_known_whether_somebody_takes_the_place() -> None:
    policy = replace(LEAVE, fallback_target=HUMAN, continuity=ContinuityPolicy(give_up_s=1.0))
    for told in (CallMachine.replaced, CallMachine.not_replaced):
        call = active(policy, can_refer=False)
        call.replacing()
        effects = [*call.session_lost("closed", 3.1), *call.session_failed(FAILED, 3.1)]
        effects += until(call, 20.0)
        assert DialSecond not in kinds(effects) and call.talk.over
        effects = told(call, 20.0)
        assert effects[-1] == DialSecond(HUMAN, overheard=True)
        assert (SwapLegs() in effects) == (told is CallMachine.replaced)


def test_somebody_takes_the_other_sides_place() -> None:
    call = active(CallPolicy())
    call.replacing()
    assert call.replaced(3.0) == [Note("call.replaced", {}), SwapLegs()]
    assert call.state is State.ACTIVE


_POLICIES = st.sampled_from(
    [
        replace(policy, accepts_refer=True, targets=("tel:+49",), fallback_target=fallback)
        for policy in (CallPolicy(), LEAVE, LISTEN)
        for fallback in ("", TARGET)
    ]
)
_EVENTS: list[LegEvent] = [
    *(LegRinging(180), LegAnswered(), LegHeld(True), LegHeld(False), LegSilent(), asked()),
    *(DtmfIn("1", 1), LegEnded("remote_bye"), LegEnded("refused", 486), LegBroken(ValueError())),
    *(ReferAnswered(202), ReferAnswered(405), ReferAnswered(603), ReferProgress(180, False)),
    *(ReferProgress(200, True), ReferProgress(486, True)),
]
_Step = Callable[[CallMachine, int, float], list[Effect]]


def _replacing(call: CallMachine, _ticket: int, _now: float) -> list[Effect]:
    call.replacing()
    return []


def _told(word: Word) -> _Step:
    return lambda call, _, now: call.told(word, now)


def _heard(tell: Callable[[CallMachine, LegEvent, float], list[Effect]], event: LegEvent) -> _Step:
    return lambda call, _, now: tell(call, event, now)


_WORDS: tuple[Word, ...] = ("offered", "coming", "kept", "transferred")
_STEPS: dict[str, _Step] = {
    "refer": lambda call, ticket, now: call.command(Refer(TARGET), ticket, now),
    "another": lambda call, ticket, now: call.command(Refer("tel:+1"), ticket, now),
    "replaces": lambda call, ticket, now: call.command(Refer("", OTHER), ticket, now),
    "hang_up": lambda call, ticket, now: call.command(HangUp(), ticket, now),
    "opened": lambda call, _, now: call.second_opened(now),
    "taken": lambda call, _, now: call.second_taken(now),
    "failed": lambda call, _, now: call.second_failed(503, "no_media_port", now),
    "unsendable": lambda call, _, now: call.refer_failed(now),
    "replacing": _replacing,
    "not replaced": lambda call, _, now: call.not_replaced(now),
    "replaced": lambda call, _, now: call.replaced(now),
    "given": lambda call, _, now: call.given_away() if call.may_be_given_away else [],
    "lost": lambda call, _, now: call.session_lost("x", now),
    "no session": lambda call, _, now: call.session_failed(FAILED, now),
    **{f"told {word}": _told(word) for word in _WORDS},
    "time": lambda call, _, now: call.timeout(call.next_timeout() or now),
    **{
        f"{name} {number}": _heard(tell, event)
        for number, event in enumerate(_EVENTS)
        for name, tell in (("leg", CallMachine.leg_event), ("second", CallMachine.second_event))
    },
}


@given(_POLICIES, st.booleans(), st.lists(st.sampled_from(sorted(_STEPS)), max_size=30))
def test_every_way_ends_once_and_nobody_is_left_waiting(
    policy: CallPolicy, can_refer: bool, history: list[str]
) -> None:
    call = active(policy, can_refer=can_refer)
    effects: list[Effect] = []
    now, tickets = 3.0, itertools.count(1)
    asked_for = set()
    for step in history:
        now += 0.5
        ticket = next(tickets)
        made = _STEPS[step](call, ticket, now)
        if step in ("refer", "another", "replaces", "hang_up"):
            asked_for.add(ticket)
        effects += made
    effects += call.hang_up("drain", now)
    assert call.state is State.ENDED and call.reason
    assert kinds(effects).count(Finish) == 1
    told = [one.ticket for one in effects if isinstance(one, Settle)]
    assert sorted(told) == sorted(asked_for)
    begun = sum(isinstance(one, ReferLeg | DialSecond | TakeSecond) for one in effects)
    results = [one for one in effects if isinstance(one, Note) and one.event == "transfer.result"]
    assert len(results) <= begun
    assert call.transfer is None or call.transfer.result is not None
    # Whoever was told that their call is offered is told what came of it.
    words = [one.word for one in effects if isinstance(one, TellCall)]
    assert words.count("offered") <= len(words) - words.count("offered")
    assert call.next_timeout() is None
