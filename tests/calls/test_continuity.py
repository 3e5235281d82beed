"""When a call gets its next session, in virtual time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.continuity import Act, Continuity, ContinuityPolicy, Link

pytestmark = pytest.mark.pure


def begun(lives_s: float | None = None, *, fallback: bool = False) -> Continuity:
    """The first session has been there since 0."""
    continuity = Continuity(ContinuityPolicy(give_up_s=20.0, has_fallback=fallback))
    continuity.began(lives_s, 0.0)
    return continuity


def due(continuity: Continuity) -> tuple[float, list[Act]]:
    """Let time pass to the next deadline."""
    at = continuity.next_timeout()
    assert at is not None
    return at, continuity.timeout(at)


def test_a_session_without_a_limit_is_never_renewed() -> None:
    assert begun(None).next_timeout() is None


@pytest.mark.parametrize(
    ("lives_s", "renewed_at"),
    [(3600.0, 3540.0), (1800.0, 1740.0), (300.0, 270.0), (20.0, 18.0), (2.0, 1.0)],
)
def test_the_next_session_is_opened_before_the_limit(lives_s: float, renewed_at: float) -> None:
    assert due(begun(lives_s)) == (renewed_at, [Act.OPEN])


def test_it_is_joined_in_a_quiet_moment() -> None:
    continuity = begun(20.0)
    due(continuity)
    assert continuity.quiet() == []  # it is not open yet
    assert continuity.opened(18.2) == []
    assert continuity.quiet() == [Act.JOIN]
    continuity.joined(19.0, 18.5)
    assert (continuity.state, continuity.handovers, continuity.losses) == (Link.LIVE, 1, 0)
    assert continuity.outage_s(18.5) == 0
    assert due(continuity) == (18.5 + 19.0 - 2.0, [Act.OPEN])


def test_without_a_quiet_moment_it_is_joined_before_the_limit() -> None:
    continuity = begun(20.0)
    due(continuity)
    continuity.opened(18.2)
    at, acts = due(continuity)
    assert acts == [Act.JOIN]
    assert 19.0 < at < 20.0


def test_a_renewal_that_fails_is_tried_again() -> None:
    continuity = begun(600.0)
    at, _ = due(continuity)
    pauses = []
    for _ in range(6):
        continuity.failed(None, at)
        again, acts = due(continuity)
        assert acts == [Act.OPEN]
        pauses.append(round(again - at, 3))
        at = again
    assert pauses == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]


def test_a_lost_session_is_replaced_at_once() -> None:
    continuity = begun()
    assert continuity.lost(100.0) == [Act.OPEN]
    assert continuity.opened(100.3) == [Act.JOIN]
    continuity.joined(None, 100.3)
    assert (continuity.handovers, continuity.losses) == (1, 1)
    assert continuity.outage_s(500.0) == pytest.approx(0.3)
    assert continuity.next_timeout() is None


def test_a_session_that_waits_takes_over_from_a_lost_one() -> None:
    continuity = begun(20.0)
    due(continuity)
    continuity.opened(18.2)
    assert continuity.lost(18.3) == [Act.JOIN]


def test_an_attempt_under_way_is_not_doubled_by_a_loss() -> None:
    continuity = begun(20.0)
    due(continuity)
    assert continuity.lost(18.3) == []
    assert continuity.opened(18.4) == [Act.JOIN]


def test_the_one_that_was_to_take_over_may_be_lost_too() -> None:
    continuity = begun(600.0)
    at, _ = due(continuity)
    continuity.opened(at)
    continuity.next_lost(at + 1)
    assert due(continuity) == (at + 1.25, [Act.OPEN])
    assert continuity.losses == 0


def test_a_call_gives_up_in_the_end() -> None:
    continuity = begun()
    assert continuity.lost(100.0) == [Act.OPEN]
    now, acts = 100.0, [Act.OPEN]
    while acts != [Act.GIVE_UP]:
        continuity.failed(None, now)
        now, acts = due(continuity)
    assert now == 120.0
    assert continuity.next_timeout() is None
    assert continuity.outage_s(now) == pytest.approx(20.0)
    assert continuity.opened(121.0) == []


def test_an_attempt_that_hangs_does_not_keep_a_call_from_giving_up() -> None:
    continuity = begun()
    continuity.lost(100.0)
    assert due(continuity) == (120.0, [Act.GIVE_UP])


def test_the_fallback_takes_turns_with_the_first_server() -> None:
    continuity = begun(fallback=True)
    acts = continuity.lost(100.0)
    tried, now = list(acts), 100.0
    for _ in range(5):
        continuity.failed(None, now)
        now, acts = due(continuity)
        tried += acts
    first, second = Act.OPEN, Act.OPEN_FALLBACK
    assert tried == [first, first, second, first, second, first]


def test_a_server_that_hangs_leaves_time_for_the_fallback() -> None:
    continuity = begun(fallback=True)
    assert continuity.lost(100.0) == [Act.OPEN]
    continuity.failed(None, 110.0)  # as long as an attempt may take by default
    at, acts = due(continuity)
    assert at == pytest.approx(111.0, abs=1) and acts == [Act.OPEN_FALLBACK]


def test_a_session_that_lives_for_a_moment_is_not_chased() -> None:
    assert begun(1.0).next_timeout() is None


def test_a_server_may_ask_for_time_unless_there_is_another() -> None:
    alone, helped = begun(), begun(fallback=True)
    for continuity in (alone, helped):
        continuity.lost(100.0)
        continuity.failed(7, 100.1)
    assert due(alone) == (107.1, [Act.OPEN])
    assert due(helped)[0] == pytest.approx(100.35)


def test_sessions_that_die_at_once_do_not_make_a_storm() -> None:
    continuity = begun()
    now, acts, opened = 100.0, continuity.lost(100.0), 0
    while acts != [Act.GIVE_UP]:
        if acts == [Act.OPEN]:
            opened += 1
            assert continuity.opened(now) == [Act.JOIN]
            continuity.joined(None, now)
            acts = continuity.lost(now)
        else:
            now, acts = due(continuity)
    assert opened < 15
    assert now == 120.0


def test_trouble_is_over_when_a_session_lives() -> None:
    continuity = begun()
    for number in range(50):
        now = 100.0 + number * 2
        assert continuity.lost(now) == [Act.OPEN]
        assert continuity.opened(now + 0.5) == [Act.JOIN]
        continuity.joined(None, now + 0.5)
    assert continuity.losses == 50
    assert continuity.outage_s(500.0) == pytest.approx(25.0)


def test_the_first_session_is_tried_elsewhere_once() -> None:
    policy = ContinuityPolicy(has_fallback=True)
    continuity = Continuity(policy)
    assert continuity.first_failed()
    assert not continuity.first_failed()
    assert not Continuity(ContinuityPolicy()).first_failed()


_INPUTS = ("opened", "failed", "lost", "next_lost", "quiet", "time")


@given(
    st.lists(st.tuples(st.sampled_from(_INPUTS), st.floats(0, 30))),
    st.sampled_from([None, 2.0, 20.0, 600.0]),
    st.booleans(),
)
def test_any_history_leaves_one_next_step(
    history: list[tuple[str, float]], lives_s: float | None, fallback: bool
) -> None:
    continuity = begun(lives_s, fallback=fallback)
    now, opening = 0.0, 0
    for what, passes_s in history:
        acts: list[Act] = []
        if what == "opened" and opening:
            opening -= 1
            acts = continuity.opened(now)
        elif what == "failed" and opening:
            opening -= 1
            continuity.failed(None, now)
        elif what == "lost":
            acts = continuity.lost(now)
        elif what == "next_lost":
            continuity.next_lost(now)
        elif what == "quiet":
            acts = continuity.quiet()
        else:
            now += passes_s
            acts = continuity.timeout(now)
        opening += sum(act in (Act.OPEN, Act.OPEN_FALLBACK) for act in acts)
        assert opening <= 1
        if Act.JOIN in acts:
            continuity.joined(lives_s, now)
        at = continuity.next_timeout()
        if continuity.state is Link.LOST:
            assert at is not None  # it never waits for nothing


def test_a_server_that_is_back_just_in_time_is_found() -> None:
    continuity = Continuity(ContinuityPolicy(give_up_s=1.5))
    continuity.began(None, 0.0)
    tried = []
    now, acts = 100.0, continuity.lost(100.0)
    while acts != [Act.GIVE_UP]:
        tried.append(round(now - 100.0, 3))
        continuity.failed(None, now)
        now, acts = due(continuity)
    assert tried == [0.0, 0.25, 0.75, 1.0]


def test_a_loss_does_not_wait_for_the_pause_of_a_renewal_that_failed() -> None:
    continuity = begun(600.0)
    now, _ = due(continuity)
    for _ in range(4):
        continuity.failed(None, now)
        now, _ = due(continuity)
    continuity.failed(None, now)
    assert continuity.lost(now + 0.1) == [Act.OPEN]
