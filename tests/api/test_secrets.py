"""The store of client secrets, in a time of its own."""

import pytest

from gateway.api.secrets import SecretStore
from gateway.realtime.errors import RealtimeError
from tests.api.site import Clock

pytestmark = pytest.mark.pure

SESSION = {"type": "realtime", "instructions": "Be brief."}


def store(clock: Clock, limit: int = 10) -> SecretStore:
    tokens = iter(range(1000))
    return SecretStore(
        limit, clock=clock, wall=lambda: 1_750_000_000.7, new_token=lambda: f"t{next(tokens)}"
    )


def test_a_secret_is_found_until_it_expires_by_the_steady_clock() -> None:
    clock = Clock()
    secrets = store(clock)
    value, expires_at = secrets.create(SESSION, 60)
    assert (value, expires_at) == ("ek_t0", 1_750_000_060)
    clock.now += 59.9
    assert secrets.find(value) == SESSION
    clock.now += 0.1
    assert secrets.find(value) is None
    assert not secrets._sessions


def test_a_short_secret_goes_before_an_older_long_one() -> None:
    clock = Clock()
    secrets = store(clock)
    long, _ = secrets.create(SESSION, 7200)
    short, _ = secrets.create(SESSION, 10)
    clock.now += 11
    assert secrets.find(short) is None
    assert secrets.find(long) == SESSION


@pytest.mark.parametrize("value", ["", "ek_", "ek_T0", "t0", "ek_t0 ", "ek_\udcff"])
def test_nothing_else_is_a_secret(value: str) -> None:
    secrets = store(Clock())
    secrets.create(SESSION, 60)
    assert secrets.find(value) is None


def test_a_full_store_says_so_and_takes_the_next_when_one_has_expired() -> None:
    clock = Clock()
    secrets = store(clock, limit=2)
    secrets.create(SESSION, 10)
    secrets.create(SESSION, 20)
    with pytest.raises(RealtimeError) as caught:
        secrets.create(SESSION, 10)
    assert caught.value.status == 429
    assert caught.value.code == "rate_limit_exceeded"
    assert not caught.value.retry
    clock.now += 10
    value, _ = secrets.create(SESSION, 10)
    assert secrets.find(value) == SESSION


def test_values_are_long_differ_and_are_not_kept() -> None:
    secrets = SecretStore()
    values = {secrets.create(SESSION, 60)[0] for _ in range(100)}
    assert len(values) == 100
    assert all(len(value.removeprefix("ek_")) * 4 >= 128 for value in values)
    kept = repr(vars(secrets))
    assert not any(value in kept or value[3:] in kept for value in values)
