"""Two agents on a simulated network: whole calls, lost messages, races, and hundreds at once."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.events import (
    Answered,
    CallEnded,
    IncomingCall,
    Reanswered,
    Reoffer,
    Ringing,
    SipEvent,
)
from gateway.sip.message import Outgoing
from tests.sip.network import Network, Node
from tests.sip.raw import SDP

pytestmark = pytest.mark.pure

FREED_AFTER_S = 64 * 0.5 + 5


def pair(net: Network, *, answer_after_s: float | None = 1.0) -> tuple[Node, Node]:
    """A caller, and a callee that rings at once and answers after a while."""
    caller, callee = net.node("10.0.0.1"), net.node("10.0.0.2")

    def on_event(event: SipEvent, now: float) -> None:
        agent, dialog_id = callee.agent, event.dialog_id
        if isinstance(event, IncomingCall):
            agent.ring(dialog_id, now)
            if answer_after_s is not None:
                net.at(answer_after_s, lambda now: agent.accept(dialog_id, b"v=0 answer\r\n", now))
        elif isinstance(event, Reoffer):
            agent.answer_offer(dialog_id, b"v=0 again\r\n", now)

    callee.on_event = on_event
    return caller, callee


def call(net: Network, caller: Node, callee: Node, transport: str = "udp") -> str:
    to, uri = callee.address(transport), f"sip:agent@{callee.host}"
    return caller.agent.invite(uri, SDP, net.now, to=to, from_uri="sip:me@10.0.0.1")


def losing(net: Network, *starts: bytes) -> None:
    """Lose exactly these messages, each the first that starts like it."""
    left = list(starts)

    def lose(outgoing: Outgoing) -> bool:
        for start in left:
            if outgoing.data.startswith(start):
                left.remove(start)
                return True
        return False

    net.lose = lose


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_with_hold_and_resume(transport: str) -> None:
    net = Network()
    caller, callee = pair(net)
    dialog_id = call(net, caller, callee, transport)
    net.run(3)
    for offer in (b"v=0 hold\r\n", b"v=0 resume\r\n"):
        caller.agent.reinvite(dialog_id, offer, net.now)
        net.run(1)
    called = callee.only(IncomingCall).dialog_id
    callee.agent.hang_up(called, net.now)
    net.run(1)
    assert caller.told == [
        Ringing(dialog_id, 180, None),
        Answered(dialog_id, b"v=0 answer\r\n"),
        Reanswered(dialog_id, 200, b"v=0 again\r\n"),
        Reanswered(dialog_id, 200, b"v=0 again\r\n"),
        CallEnded(dialog_id, "remote_bye", None),
    ]
    assert callee.told[1:] == [
        Answered(called, None),
        Reoffer(called, b"v=0 hold\r\n"),
        Reoffer(called, b"v=0 resume\r\n"),
        CallEnded(called, "local_bye", None),
    ]
    assert caller.agent.counters.retransmits == callee.agent.counters.retransmits == 0
    net.run(FREED_AFTER_S)
    assert caller.is_empty
    assert callee.is_empty


@pytest.mark.parametrize(
    "lost",
    [
        [b"INVITE"],
        [b"INVITE"] * 4,
        [b"SIP/2.0 100", b"SIP/2.0 180"],
        [b"SIP/2.0 200"],
        [b"SIP/2.0 200"] * 5,
        [b"ACK"],
        [b"ACK"] * 5,
        [b"SIP/2.0 200", b"ACK", b"SIP/2.0 200", b"ACK"],
        [b"BYE"] * 3,
    ],
)
def test_whatever_is_lost_the_call_comes_up_and_ends(lost: list[bytes]) -> None:
    net = Network()
    caller, callee = pair(net)
    losing(net, *lost)
    dialog_id = call(net, caller, callee)
    net.run(20)
    caller.agent.hang_up(dialog_id, net.now)
    net.run(10)
    assert len(callee.all_told(IncomingCall)) == 1
    assert len(caller.all_told(Answered)) == len(callee.all_told(Answered)) == 1
    assert caller.only(CallEnded).cause == "local_bye"
    assert callee.only(CallEnded).cause == "remote_bye"
    net.run(FREED_AFTER_S)
    assert caller.is_empty
    assert callee.is_empty


def test_a_lost_200_to_the_bye_is_said_again() -> None:
    net = Network()
    caller, callee = pair(net)
    dialog_id = call(net, caller, callee)
    net.run(3)
    losing(net, b"SIP/2.0 200", b"SIP/2.0 200")
    caller.agent.hang_up(dialog_id, net.now)
    net.run(5)
    assert len(caller.wire("BYE")) == 3
    assert callee.only(CallEnded).cause == "remote_bye"


def test_both_hang_up_at_once() -> None:
    net = Network()
    caller, callee = pair(net)
    dialog_id = call(net, caller, callee)
    net.run(3)
    caller.agent.hang_up(dialog_id, net.now)
    callee.agent.hang_up(callee.only(IncomingCall).dialog_id, net.now)
    net.run(1)
    assert caller.only(CallEnded).cause == callee.only(CallEnded).cause == "local_bye"
    assert not caller.wire(481)
    net.run(FREED_AFTER_S)
    assert caller.is_empty
    assert callee.is_empty


def test_both_offer_at_once_and_then_take_turns() -> None:
    net = Network(seed=5)
    caller, callee = pair(net)
    dialog_id = call(net, caller, callee)
    caller.on_event = lambda event, now: (
        caller.agent.answer_offer(dialog_id, SDP, now) if isinstance(event, Reoffer) else None
    )
    net.run(3)
    caller.agent.reinvite(dialog_id, SDP, net.now)
    callee.agent.reinvite(callee.only(IncomingCall).dialog_id, SDP, net.now)
    net.run(6)
    assert len(caller.wire(491)) == len(callee.wire(491)) == 1
    assert [event.status for event in caller.all_told(Reanswered)] == [200]
    assert [event.status for event in callee.all_told(Reanswered)] == [200]


@pytest.mark.parametrize("delay_ms", range(990, 1060, 5))
def test_a_cancel_that_meets_the_200(delay_ms: int) -> None:
    net = Network(delay_s=(0.02, 0.02))
    caller, callee = pair(net)
    dialog_id = call(net, caller, callee)
    net.at(delay_ms / 1000, lambda now: caller.agent.hang_up(dialog_id, now))
    net.run(5)
    assert caller.only(CallEnded).cause in ("cancelled", "local_bye")
    assert callee.only(CallEnded).cause in ("cancelled", "remote_bye")
    net.run(FREED_AFTER_S)
    assert caller.is_empty
    assert callee.is_empty


def test_a_caller_that_vanishes_after_the_200() -> None:
    net = Network()
    caller, callee = pair(net)
    call(net, caller, callee)
    net.run(0.5)
    net.down.add(caller.host)
    net.run(1 + FREED_AFTER_S)
    assert callee.only(CallEnded).cause == "no_ack"
    assert len(callee.wire("BYE")) > 0
    assert callee.is_empty


def test_a_callee_that_vanishes_while_it_rings() -> None:
    net = Network()
    caller, callee = pair(net, answer_after_s=None)
    dialog_id = call(net, caller, callee)
    net.run(5)
    net.down.add(callee.host)
    caller.agent.hang_up(dialog_id, net.now)
    net.run(FREED_AFTER_S)
    assert caller.only(CallEnded).cause == "cancelled"
    assert caller.is_empty


def test_nobody_listens_over_tcp() -> None:
    net = Network()
    caller, callee = pair(net)
    net.down.add(callee.host)
    call(net, caller, callee, "tcp")
    net.run(0.1)
    assert caller.only(CallEnded).cause == "transport"
    assert caller.is_empty


@pytest.mark.parametrize("per_second", [20, 50])
def test_calls_at_a_rate_leave_nothing_behind(per_second: int) -> None:
    net = Network(seed=1, loss=0.05, duplicate=0.02, delay_s=(0.001, 0.03))
    caller, callee = pair(net, answer_after_s=0.1)

    def start(now: float) -> None:
        dialog_id = call(net, caller, callee)
        net.at(4.0, lambda now: caller.agent.hang_up(dialog_id, now))

    for number in range(200):
        net.at(number / per_second, start)
    net.run(200 / per_second + 4)
    assert len(callee.all_told(IncomingCall)) == 200
    net.run(10)
    assert len(callee.all_told(Answered)) == len(caller.all_told(Answered)) == 200
    assert {event.cause for event in caller.all_told(CallEnded)} == {"local_bye"}
    assert {event.cause for event in callee.all_told(CallEnded)} == {"remote_bye"}
    net.run(FREED_AFTER_S)
    assert caller.is_empty
    assert callee.is_empty


class Chaos:
    """Random calls on a bad line: everybody does anything at any moment.

    The caller hangs up every call sooner or later.
    """

    def __init__(self, seed: int, calls: int, *, loss: float, over_s: float) -> None:
        self.random = random.Random(seed)
        bad = {"loss": loss, "duplicate": 0.1, "delay_s": (0.005, 0.4)}
        self.net = Network(self.random.getrandbits(32), **bad)  # type: ignore[arg-type]
        self.caller = self.net.node("10.0.0.1", on_event=self.caller_hears)
        self.callee = self.net.node("10.0.0.2", on_event=self.callee_hears)
        self.invited = 0
        self.closed = False
        for _ in range(calls):
            self.net.at(self.random.uniform(0, over_s), self.start)

    def start(self, now: float) -> None:
        chance = self.random.random
        transport = "tcp" if chance() < 0.2 else "udp"
        body = None if chance() < 0.2 else SDP
        to = self.callee.address(transport)
        uri = "sip:agent@10.0.0.2"
        agent = self.caller.agent
        dialog_id = agent.invite(uri, body, now, to=to, from_uri="sip:me@10.0.0.1")
        self.invited += 1
        self.sometime(20, lambda now: agent.hang_up(dialog_id, now))
        if chance() < 0.3:
            self.sometime(20, lambda now: agent.reinvite(dialog_id, SDP, now))

    def sometime(self, within_s: float, task) -> None:  # type: ignore[no-untyped-def]
        self.net.at(self.random.uniform(0, within_s), task)

    def caller_hears(self, event: SipEvent, now: float) -> None:
        agent, dialog_id = self.caller.agent, event.dialog_id
        if isinstance(event, Answered):
            self.sometime(1, lambda now: agent.ack(dialog_id, SDP, now))
        elif isinstance(event, Reoffer):
            self.reply_to_offer(agent, dialog_id)

    def callee_hears(self, event: SipEvent, now: float) -> None:
        agent, dialog_id, chance = self.callee.agent, event.dialog_id, self.random.random()
        if isinstance(event, IncomingCall) and self.closed:
            agent.reject(dialog_id, 503, now)
        elif isinstance(event, IncomingCall):
            self.sometime(2, lambda now: agent.ring(dialog_id, now))
            if chance < 0.7:
                self.sometime(8, lambda now: agent.accept(dialog_id, SDP, now))
            elif chance < 0.9:
                self.sometime(8, lambda now: agent.reject(dialog_id, 486, now))
            if chance < 0.3:
                self.sometime(20, lambda now: agent.hang_up(dialog_id, now))
            if chance < 0.2:
                self.sometime(20, lambda now: agent.reinvite(dialog_id, SDP, now))
        elif isinstance(event, Reoffer):
            self.reply_to_offer(agent, dialog_id)

    def reply_to_offer(self, agent, dialog_id: str) -> None:  # type: ignore[no-untyped-def]
        chance = self.random.random()
        if chance < 0.7:
            self.sometime(1, lambda now: agent.answer_offer(dialog_id, SDP, now))
        elif chance < 0.9:
            self.sometime(1, lambda now: agent.refuse_offer(dialog_id, 488, now))

    def close(self) -> None:
        """What ring timeouts and silent media do in the end: both sides hang up what is left."""
        self.closed = True
        for node in (self.caller, self.callee):
            for event in node.told:
                node.agent.hang_up(event.dialog_id, self.net.now)

    def run_and_check(self, seconds: float) -> None:
        self.net.run(seconds)
        for node in (self.caller, self.callee):
            begun = [event.dialog_id for event in node.all_told(IncomingCall)]
            ended = [event.dialog_id for event in node.all_told(CallEnded)]
            assert len(ended) == len(set(ended)), "ended twice"
            last: dict[str, SipEvent] = {event.dialog_id: event for event in node.told}
            assert all(isinstance(event, CallEnded) for event in last.values())
            if node is self.caller:
                assert len(ended) == self.invited
            else:
                assert sorted(begun) == sorted(ended)
                calls = [event.call_id for event in node.all_told(IncomingCall)]
                assert len(calls) == len(set(calls)), "one call came in twice"
            assert node.is_empty


@pytest.mark.parametrize("seed", range(3))
def test_three_hundred_random_calls_at_twenty_percent_loss(seed: int) -> None:
    chaos = Chaos(seed, 300, loss=0.2, over_s=30)
    chaos.run_and_check(30 + 20 + 2 * FREED_AFTER_S)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), loss=st.sampled_from([0.0, 0.1, 0.3, 0.6, 0.95]))
def test_random_calls_on_any_line(seed: int, loss: float) -> None:
    chaos = Chaos(seed, 8, loss=loss, over_s=10)
    chaos.net.run(10 + 20)
    chaos.close()  # a line that loses every BYE leaves the other side talking to nobody
    chaos.run_and_check(2 * FREED_AFTER_S)
