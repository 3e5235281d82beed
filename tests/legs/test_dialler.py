"""What trunks carry, and where a call may go on to."""

from typing import Any, cast

import pytest

from gateway.calls.targets import allowed_contact
from gateway.legs.dialler import Dialler, TrunkLoad
from gateway.legs.dialling import DialRules
from gateway.legs.leg import CallOrder, LegError
from gateway.legs.sip_outgoing import Course, DialPlan
from gateway.sip.trunk import Trunk, parse_trunks

pytestmark = pytest.mark.pure

HOST = "127.0.0.1"
TARGETS = ("tel:+49*", f"sip:*@{HOST}:5090")


class Made:
    """A leg that was made, as far as it matters here."""

    def __init__(self, plan: DialPlan, course: Course) -> None:
        self.plan, self.course = plan, course


class Office:
    """A dialler, and its clock."""

    def __init__(self, *trunks: str, redirects: int = 0) -> None:
        self.now = 100.0
        parsed = parse_trunks(trunks)
        hosts = [trunk.host for trunk in parsed]
        rules = DialRules(
            HOST,
            trunks=parsed,
            redirects=redirects,
            follows=lambda uri: allowed_contact(uri, TARGETS, hosts),
        )
        make: Any = Made
        self.dialler = Dialler(rules, make, lambda: self.now)

    def dial(self, target: str = "tel:+4930") -> Made:
        return cast("Made", self.dialler.dial(CallOrder(target)))

    def refuses(self, target: str = "tel:+4930") -> bool:
        try:
            self.dial(target).course.over()
        except LegError as error:
            assert (error.status, error.reason) == (429, "trunk_busy")
            return True
        return False


def test_a_trunk_carries_so_many_calls_at_once() -> None:
    office = Office("sip:a.example;calls=2", "sip:b.example;prefix=+491")
    first, _ = office.dial(), office.dial()
    assert office.refuses()
    assert not office.refuses("tel:+4911")  # another trunk, without a limit
    assert not office.refuses(f"sip:bob@{HOST}:5090")  # and none at all
    load = office.dialler.loads[0]
    assert (load.name, load.calls, load.refused) == ("a.example", 2, 1)
    first.course.over()
    first.course.over()
    assert load.calls == 1
    office.dial()
    assert office.refuses()


def test_a_trunk_carries_so_many_calls_a_second() -> None:
    office = Office("sip:a.example;rate=2")
    for _ in range(2):
        office.dial()
    assert office.refuses()
    office.now += 0.4
    assert office.refuses()
    office.now += 0.1
    office.dial()
    assert office.refuses()
    office.now += 3600  # a pause is not saved up for later
    for _ in range(2):
        office.dial()
    assert office.refuses()


def test_a_slow_trunk_lets_one_begin() -> None:
    office = Office("sip:a.example;rate=0.1")
    office.dial()
    office.now += 9
    assert office.refuses()
    office.now += 2
    office.dial()


def test_who_is_refused_takes_nothing() -> None:
    load = TrunkLoad(Trunk.parse("sip:a.example;calls=1;rate=10"), lambda: 0.0)
    load.take()
    for _ in range(50):
        with pytest.raises(LegError):
            load.take()
    load.give_back()
    load.take()
    assert (load.calls, load.refused) == (1, 50)


# Where else.


def targets(course: Course, contacts: tuple[str, ...], status: int | None = 302) -> list[str]:
    """All that are tried after this answer, if none of them says where else."""
    tried: list[str] = []
    plan = course.onward(contacts, status)
    while plan is not None and len(tried) < 20:
        tried.append(plan.target)
        plan = course.onward((), 486)
    return tried


def test_nobody_is_followed_unless_the_operator_says_so() -> None:
    assert targets(Office().dial(f"sip:a@{HOST}:5090").course, (f"sip:b@{HOST}:5090",)) == []


def test_those_whom_a_3xx_names_are_tried_in_their_order() -> None:
    course = Office(redirects=5).dial(f"sip:a@{HOST}:5090").course
    contacts = tuple(f"sip:{name}@{HOST}:5090" for name in ("b", "c", "a", "b"))
    assert targets(course, contacts) == list(contacts[:2])  # and nobody twice


def test_only_so_many_are_tried() -> None:
    course = Office(redirects=3).dial(f"sip:a@{HOST}:5090").course
    contacts = tuple(f"sip:b{number}@{HOST}:5090" for number in range(8))
    assert targets(course, contacts) == list(contacts[:3])


def test_a_loop_ends() -> None:
    course = Office(redirects=5).dial(f"sip:a@{HOST}:5090").course
    there, back = f"sip:b@{HOST}:5090", f"sip:a@{HOST}:5090"
    assert course.onward((there,), 302) is not None
    assert course.onward((back,), 302) is None


def test_whoever_is_nowhere_is_tried_nowhere_else() -> None:
    course = Office(redirects=5).dial(f"sip:a@{HOST}:5090").course
    there, other = f"sip:b@{HOST}:5090", f"sip:c@{HOST}:5090"
    assert course.onward((there, other), 300) is not None
    assert course.onward((), 603) is None


@pytest.mark.parametrize(
    "contact",
    (
        *("sip:b@127.0.0.1:5091", "sip:b@evil.example", "tel:+1900555", "sips:b@127.0.0.1:5090"),
        *("sip:+1900555@a.example", "sip:b@127.0.0.1:5090?Replaces=x", "mailto:b@a.example"),
        *("sip:b@127.0.0.1:5090;maddr=evil.example", "sip:b:c@127.0.0.1:5090", "nonsense", ""),
    ),
)
def test_nobody_is_followed_who_could_not_be_called(contact: str) -> None:
    course = Office("sip:a.example", redirects=5).dial(f"sip:a@{HOST}:5090").course
    assert targets(course, (contact,)) == []


def test_a_number_of_a_trunk_is_a_number() -> None:
    office = Office("sip:a.example;calls=1", redirects=5)
    made = office.dial()
    forwarded = ("sip:+4989@a.example;user=phone", "tel:+4940")
    assert targets(made.course, forwarded) == ["sip:+4989@a.example", "sip:+4940@a.example"]
    assert office.dialler.loads[0].calls == 1  # it is one call
    made.course.over()
    assert office.dialler.loads[0].calls == 0


def test_a_3xx_does_not_get_round_a_trunks_limit() -> None:
    office = Office("sip:a.example;calls=1", redirects=5)
    busy, made = office.dial(), office.dial(f"sip:a@{HOST}:5090")
    assert targets(made.course, ("tel:+4940",)) == []
    made.course.over()
    assert office.dialler.loads[0].calls == 1
    busy.course.over()
