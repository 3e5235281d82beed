"""Which hosts calls are with, and that a flood of strangers does not look at every call."""

import sys
from collections.abc import Callable
from ipaddress import ip_network
from types import FrameType

import pytest

from gateway.sip.message import Address
from gateway.sip.peers import Peers
from tests.sip.raw import PEER, SDP, Desk, answer_to, request

pytestmark = pytest.mark.pure

STRANGER = Address("198.51.100.7", 5060, "udp")
OTHER = Address("192.0.2.44", 5060, "udp")


def steps(work: Callable[[], object]) -> int:
    """How many functions were called, Python's own included."""
    count = 0

    def seen(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def crowded(calls: int) -> Desk:
    desk = Desk(allow=(ip_network("192.0.2.0/24"),), rate=5.0)
    for number in range(calls):
        desk.confirmed(call_id=f"c{number}", branch=f"c{number}")
        _, invite = desk.calling()
        desk.send(answer_to(invite, 200, body=SDP))
        desk.events()
    assert desk.agent.dialogs == 2 * calls
    return desk


def test_what_is_not_read_costs_the_same_with_any_number_of_calls() -> None:
    junk = request("OPTIONS", branch="junk")
    costs = []
    for calls in (0, 1, 100):
        desk = crowded(calls)
        for _ in range(50):
            desk.send(junk, STRANGER)
        unread = desk.agent.counters.strangers["unread"]
        costs.append(
            steps(lambda: desk.agent.receive(junk, STRANGER, desk.now))  # noqa: B023
            + steps(lambda: desk.agent.knows(STRANGER))  # noqa: B023
        )
        assert desk.agent.counters.strangers["unread"] == unread + 1
    assert costs[0] == costs[1] == costs[2]


def test_a_host_is_known_as_long_as_any_call_is_with_it() -> None:
    peers = Peers()
    peers.note("1", "a", "a")
    peers.note("2", "a", "b")
    peers.note("1", "c")
    assert [host in peers for host in "abc"] == [True, True, True]
    peers.note("2")
    assert [host in peers for host in "abc"] == [False, False, True]
    peers.note("1")
    peers.note("never")
    assert (peers._calls, peers._hosts_of) == ({}, {})


def test_a_caller_that_moves_is_heard_where_it_is() -> None:
    desk = Desk()
    dialog_id = desk.confirmed()
    callers = desk.agent._board.callers
    assert PEER.host in callers and OTHER.host not in callers
    desk.send(desk.within("OPTIONS", dialog_id), OTHER)
    assert PEER.host not in callers and OTHER.host in callers
    desk.send(desk.within("BYE", dialog_id, cseq=3), OTHER)
    assert OTHER.host not in callers


def test_a_callee_that_moves_is_one_of_whom_we_call() -> None:
    desk = Desk(allow=())
    dialog_id, invite = desk.calling()
    desk.send(answer_to(invite, 200, body=SDP))
    moved = request(
        "INVITE",
        cseq=7,
        branch="moved",
        to=invite.headers.get("From") or "",
        caller=f"{invite.headers.get('To')};tag=callee",
        call_id=invite.headers.get("Call-ID") or "",
        contact=f"<sip:callee@{OTHER.host}>",
        body=SDP,
    )
    desk.send(moved, OTHER)
    desk.agent.answer_offer(dialog_id, SDP, desk.now)
    assert desk.agent.knows(OTHER) and desk.agent.knows(PEER)
    desk.agent.hang_up(dialog_id, desk.now)
    assert not (desk.agent.knows(OTHER) or desk.agent.knows(PEER))
