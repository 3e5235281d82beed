import pytest

from gateway.rtp.latch import Latch, Source
from gateway.rtp.packet import RtpPacket

pytestmark = pytest.mark.pure

CALLER = ("192.0.2.10", 4000)
NATTED = ("198.51.100.7", 61234)
OTHER_PORT = ("192.0.2.10", 61234)
ATTACKER = ("203.0.113.66", 5555)


def packet(sequence: int, *, ssrc: int = 1, payload_type: int = 0) -> RtpPacket:
    return RtpPacket(payload_type, sequence & 0xFFFF, sequence * 160, ssrc, bytes(160))


def stream(
    latch: Latch, source: Source, start: float, count: int, *, first: int = 0, every: float = 0.02
) -> int:
    """How many packets of a regular stream are admitted."""
    return sum(latch.admit(source, packet(first + n), start + n * every) for n in range(count))


def test_before_anything_came_we_send_to_the_signalled_address() -> None:
    assert Latch(CALLER).remote == CALLER
    assert Latch(None).remote is None


def test_the_signalled_address_settles_at_once() -> None:
    latch = Latch(CALLER)
    assert stream(latch, CALLER, 0.0, 10) == 10
    assert latch.source == CALLER


def test_an_address_behind_a_nat_is_learned_by_its_fourth_packet_after_the_grace() -> None:
    latch = Latch(("10.0.0.5", 4000))
    assert stream(latch, NATTED, 0.0, 13) == 0  # 250 ms for the signalled one to speak
    assert stream(latch, NATTED, 0.26, 20, first=13) == 17
    assert latch.remote == NATTED


def test_another_port_of_the_signalled_host_needs_no_grace() -> None:
    latch = Latch(CALLER)
    assert stream(latch, OTHER_PORT, 0.0, 10) == 7
    assert latch.remote == OTHER_PORT


def test_the_grace_counts_from_the_answer() -> None:
    latch = Latch(CALLER)
    latch.start(0.0)
    latch.start(99.0)
    assert stream(latch, NATTED, 5.0, 10) == 7


def test_a_burst_is_no_proof() -> None:
    latch = Latch(CALLER)
    assert stream(latch, OTHER_PORT, 0.0, 20, every=0.001) == 0
    assert stream(latch, OTHER_PORT, 0.020, 5, first=20) > 0  # it goes on: then it is one


def test_without_a_signalled_address_nobody_is_the_caller() -> None:
    latch = Latch(None)
    latch.start(0.0)
    assert stream(latch, NATTED, 0.3, 100) == 0
    assert latch.dropped == 100
    latch.retarget(CALLER)
    assert latch.admit(CALLER, packet(0), 3.0)


@pytest.mark.parametrize(
    "disturb",
    [
        lambda n: packet(n * 2),
        lambda n: packet(n, ssrc=n),
        lambda n: packet(n, payload_type=n % 2),
        lambda n: packet(7),
        lambda n: packet(-n),
    ],
)
def test_packets_that_do_not_belong_together_prove_nothing(disturb) -> None:  # type: ignore[no-untyped-def]
    latch = Latch(CALLER)
    assert not any(latch.admit(OTHER_PORT, disturb(n), 1.0 + n * 0.02) for n in range(200))
    assert latch.remote == CALLER
    assert latch.dropped == 200


def test_a_pause_starts_the_proof_again() -> None:
    latch = Latch(CALLER)
    assert stream(latch, OTHER_PORT, 0.0, 3) == 0
    assert stream(latch, OTHER_PORT, 5.0, 3, first=3) == 0


def test_the_proof_may_wrap() -> None:
    latch = Latch(CALLER)
    assert stream(latch, OTHER_PORT, 0.0, 10, first=65534) == 7


def test_an_attacker_before_the_caller_gets_nothing() -> None:
    latch = Latch(CALLER)
    latch.start(0.0)
    assert stream(latch, ATTACKER, 0.0, 12) == 0
    assert latch.admit(CALLER, packet(500), 0.24)
    assert stream(latch, ATTACKER, 0.24, 10_000, first=12) == 0
    assert latch.remote == CALLER
    assert latch.dropped == 10_012


def test_an_attacker_in_mid_call_gets_nothing() -> None:
    latch = Latch(CALLER)
    stream(latch, CALLER, 0.0, 50)
    for n in range(10_000):
        now = 1.0 + n * 0.02
        assert not latch.admit(ATTACKER, packet(n, ssrc=1), now)
        assert not latch.admit((CALLER[0], 999), packet(n, ssrc=1), now)
    assert latch.admit(CALLER, packet(51), 300.0)
    assert latch.remote == CALLER


def test_after_a_learned_address_no_third_one_is_learned() -> None:
    latch = Latch(CALLER)
    latch.start(0.0)
    assert stream(latch, NATTED, 1.0, 50) == 47
    assert stream(latch, ATTACKER, 2.0, 10_000) == 0
    assert latch.remote == NATTED


def test_the_signalled_address_may_take_its_place_back_under_the_same_proof() -> None:
    latch = Latch(CALLER)
    latch.start(0.0)
    assert stream(latch, ATTACKER, 1.0, 10) == 7
    assert stream(latch, CALLER, 1.2, 10) == 7
    assert latch.remote == CALLER
    assert stream(latch, ATTACKER, 2.0, 100, first=10) == 0


def test_a_spray_from_many_addresses_does_not_keep_the_caller_out() -> None:
    latch = Latch(("10.0.0.5", 4000))
    latch.start(0.0)
    admitted = 0
    for n in range(20):
        now = 1.0 + n * 0.02
        for k in range(50):  # each address once
            latch.admit((f"203.0.113.{k}", n), packet(k), now)
        admitted += latch.admit(NATTED, packet(n), now)
    assert admitted == 17
    assert latch.remote == NATTED
    latch = Latch(CALLER)
    for k in range(500):
        latch.admit((f"192.0.2.{k % 200}", k), packet(k), 1.0 + k)
    assert len(latch._candidates) <= 64


def test_the_same_address_in_a_new_description_keeps_the_latch() -> None:
    latch = Latch(("10.0.0.5", 4000))
    latch.start(0.0)
    stream(latch, NATTED, 1.0, 10)
    latch.retarget(("10.0.0.5", 4000))
    assert latch.remote == NATTED
    assert latch.admit(NATTED, packet(99), 9.0)


def test_another_address_in_a_new_description_opens_it() -> None:
    latch = Latch(CALLER)
    stream(latch, CALLER, 0.0, 10)
    latch.retarget(NATTED)
    assert latch.remote == NATTED
    assert not latch.admit(CALLER, packet(10), 1.0)
    assert latch.admit(NATTED, packet(0), 1.01)
    assert stream(latch, CALLER, 2.0, 100) == 0


def test_addresses_are_compared_by_value() -> None:
    latch = Latch(("2001:DB8:0::7", 4000))
    assert latch.admit(("2001:db8::7", 4000), packet(1), 0.0)
    latch = Latch(("phone.example", 4000))
    assert latch.remote == ("phone.example", 4000)


def test_a_source_with_a_flow_and_a_scope_is_an_address_like_others() -> None:
    latch = Latch(("2001:db8::7", 4000))
    source = ("2001:db8::7", 4000, 0, 0)
    assert latch.admit(source, packet(1), 0.0)  # type: ignore[arg-type]
    assert latch.remote == ("2001:db8::7", 4000)
