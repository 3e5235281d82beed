"""The pool of media ports."""

import pytest

from gateway.legs.ports import NoPortError, PortPool

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("first", "last", "ports"),
    [
        (20000, 20003, [20000, 20002]),
        (20001, 20005, [20002, 20004]),
        (20000, 20002, [20000]),
        (20000, 20001, [20000]),
        (20001, 20002, []),
    ],
)
def test_every_pair_lies_in_the_range(first: int, last: int, ports: list[int]) -> None:
    pool = PortPool(first, last)
    assert [pool.take() for _ in range(len(pool))] == ports
    with pytest.raises(NoPortError):
        pool.take()


def test_a_freed_pair_is_the_last_to_be_used_again() -> None:
    pool = PortPool(20000, 20007)
    port = pool.take()
    pool.give_back(port)
    assert [pool.take() for _ in range(4)] == [20002, 20004, 20006, 20000]
