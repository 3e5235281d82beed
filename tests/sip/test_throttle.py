"""Strangers: how much is read of them, how slow they are answered, when nobody listens any more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.throttle import (
    DEAF_FROM,
    DEAF_S,
    MAX_SOURCES,
    MAX_TOLD,
    SLOW_FROM,
    SLOWEST_S,
    TELL_AGAIN_S,
    Notice,
    Throttle,
    source_of,
)

pytestmark = pytest.mark.pure

HOST = "198.51.100.7"


def test_a_steady_rate_is_read_and_a_flood_is_not() -> None:
    throttle = Throttle(10)
    assert all(throttle.admits(HOST, number / 10) for number in range(1000))
    admitted = sum(throttle.admits(HOST, 100 + number / 1000) for number in range(10_000))
    assert 100 <= admitted <= 10 * 10 + 20
    assert throttle.dropped == 10_000 - admitted
    assert throttle.admits("198.51.100.8", 110.0)  # another one is none the worse


def test_failures_make_answers_slower_and_then_nobody_listens() -> None:
    throttle = Throttle(100)
    waits = [throttle.failed(HOST, number * 0.01) for number in range(int(DEAF_FROM) + 1)]
    assert waits[: int(SLOW_FROM)] == [0.0] * int(SLOW_FROM)
    assert waits == sorted(waits) and 0 < waits[-1] <= SLOWEST_S
    assert [notice.kind for notice in throttle.notices()] == ["slowed", "dropped"]
    assert throttle.notices() == []
    assert not throttle.admits(HOST, 1.0)
    assert not throttle.admits(HOST, DEAF_S)
    assert throttle.admits(HOST, DEAF_S + 1)


def test_who_mistypes_now_and_then_is_never_slowed() -> None:
    throttle = Throttle(100)
    assert {throttle.failed(HOST, number * 15.0) for number in range(100)} == {0.0}
    assert throttle.notices() == []


def test_a_name_mends_and_may_be_told_anew() -> None:
    throttle = Throttle(100)
    for _ in range(8):
        throttle.failed(HOST, 0.0)
    for _ in range(8):
        throttle.failed(HOST, 200.0)
    assert throttle.notices() == [Notice("slowed", HOST, 6), Notice("slowed", HOST, 6)]


def test_refusals_are_told_once_a_minute_and_of_few() -> None:
    throttle = Throttle(0)  # a source that is refused is told without a limit too
    for second in range(int(TELL_AGAIN_S)):
        for number in range(100):
            throttle.refused(f"198.51.100.{number}", "INVITE", 403, "not_allowed", float(second))
    told = throttle.notices()
    assert [notice.host for notice in told] == [f"198.51.100.{n}" for n in range(MAX_TOLD)]
    throttle.refused("198.51.100.77", "BYE", 401, "wrong_password", TELL_AGAIN_S)
    throttle.refused("2001:db8:1:2::1", "BYE", 401, "wrong_password", TELL_AGAIN_S)
    throttle.refused("2001:db8:1:2::2", "BYE", 401, "wrong_password", TELL_AGAIN_S)
    assert [(one.host, one.method, one.status) for one in throttle.notices()] == [
        ("198.51.100.77", "BYE", 401),
        ("2001:db8:1:2::1", "BYE", 401),
    ]


def test_connections_do_not_keep_refused_requests_out_of_the_log() -> None:
    throttle = Throttle(0)
    for number in range(100):
        throttle.refused(f"203.0.113.{number}", "", None, "not_allowed", 0.0)
    assert len(throttle.notices()) == MAX_TOLD
    throttle.refused("203.0.113.1", "INVITE", 403, "not_allowed", 1.0)
    assert [one.status for one in throttle.notices()] == [403]


def test_one_network_is_one_source_in_ipv6() -> None:
    assert source_of("2001:db8:1:2:3::4") == source_of("2001:db8:1:2:ffff::1")
    assert source_of("2001:db8:1:2::1") != source_of("2001:db8:1:3::1")
    assert source_of("::ffff:192.0.2.1") == source_of("192.0.2.1")
    assert source_of("no address") == "no address"


def test_without_a_limit_nothing_is_kept() -> None:
    throttle = Throttle(0)
    assert all(throttle.admits(HOST, 0.0) for _ in range(100))
    assert throttle.failed(HOST, 0.0) == 0.0
    assert len(throttle) == 0


def test_a_flood_from_everywhere_is_bounded_and_forgets_the_oldest() -> None:
    throttle = Throttle(10)
    for number in range(MAX_SOURCES + 500):
        throttle.admits(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", number * 0.001)
    assert len(throttle) == MAX_SOURCES


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=200))
def test_nobody_is_answered_faster_for_failing(steps: list[tuple[bool, float]]) -> None:
    throttle, now, last = Throttle(5), 0.0, 0.0
    for fails, pause in steps:
        now += pause
        if fails:
            wait = throttle.failed(HOST, now)
            assert 0 <= wait <= SLOWEST_S
            last = wait
        else:
            throttle.admits(HOST, now)
    assert last >= 0
