"""Two agents on a simulated network: reliable answers, UPDATE, session timers, INFO, REFER of the
peer; also where messages are lost, and that nothing is left of any of it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.events import (
    Answered,
    CallEnded,
    IncomingCall,
    InfoAnswered,
    InfoReceived,
    Reanswered,
    ReferAnswered,
    ReferProgress,
    ReferReceived,
    Reoffer,
    Ringing,
    SipEvent,
)
from gateway.sip.message import Request
from tests.sip.network import Network, Node
from tests.sip.raw import SDP

pytestmark = pytest.mark.pure

FREED_AFTER_S = 64 * 0.5 + 5
EARLY, ANSWER = b"v=0 early\r\n", b"v=0 answer\r\n"


def pair(net: Network, *, early: bytes = b"", **config: Any) -> tuple[Node, Node]:
    """A caller, and a callee that says something early, and answers after a second."""
    caller, callee = net.node("10.0.0.1", **config), net.node("10.0.0.2", **config)

    def on_event(event: SipEvent, now: float) -> None:
        agent, dialog_id = callee.agent, event.dialog_id
        if isinstance(event, IncomingCall):
            agent.progress(dialog_id, 183 if early else 180, early, now)
            net.at(1.0, lambda now: agent.accept(dialog_id, ANSWER, now))
        elif isinstance(event, Reoffer):
            agent.answer_offer(dialog_id, b"v=0 again\r\n", now)

    callee.on_event = on_event
    return caller, callee


def call(net: Network, caller: Node, callee: Node, body: bytes | None = SDP) -> str:
    uri = f"sip:agent@{callee.host}"
    return caller.agent.invite(uri, body, net.now, to=callee.address(), from_uri="sip:me@10.0.0.1")


def requests(node: Node, method: str) -> list[Request]:
    return [message for _, message in node.wire(method) if isinstance(message, Request)]


# Reliable provisional answers (RFC 3262).


def test_early_media_is_acknowledged_and_not_answered_twice() -> None:
    net = Network()
    caller, callee = pair(net, early=EARLY)
    call(net, caller, callee)
    net.run(3)
    assert caller.only(Ringing).body == EARLY
    (prack,) = requests(caller, "PRACK")
    number = callee.wire(183)[0][1].headers.get("RSeq")
    assert prack.headers.get("RAck") == f"{number} 1 INVITE"
    assert caller.only(Answered).body == EARLY  # the 183 had the answer, the 200 has none
    assert callee.wire(200)[-1][1].body == b""


def test_ringing_alone_is_not_worth_an_acknowledgement() -> None:
    net = Network()
    caller, callee = pair(net)
    call(net, caller, callee)
    net.run(3)
    assert requests(caller, "PRACK") == []
    assert caller.only(Answered).body == ANSWER


@pytest.mark.parametrize("switch", ["off", "supported", "required"])
def test_both_sides_agree_whatever_is_set(switch: str) -> None:
    net = Network()
    caller, callee = pair(net, early=EARLY, reliable_provisionals=switch)
    call(net, caller, callee)
    net.run(3)
    assert len(requests(caller, "PRACK")) == (switch != "off")
    assert len(caller.all_told(Answered)) == 1


@pytest.mark.parametrize("lost", [b"SIP/2.0 183", b"PRACK", b"SIP/2.0 200 OK"])
def test_a_loss_is_made_good(lost: bytes) -> None:
    net = Network()
    left = [lost]

    def lose(outgoing: object) -> bool:
        if left and outgoing.data.startswith(left[0]):  # type: ignore[attr-defined]
            left.clear()
            return True
        return False

    net.lose = lose
    caller, callee = pair(net, early=EARLY)
    call(net, caller, callee)
    net.run(6)
    assert len(caller.all_told(Ringing)) == 1
    assert caller.only(Answered).body == EARLY
    assert len(callee.all_told(Answered)) == 1


def test_a_caller_who_never_acknowledges_is_refused() -> None:
    net = Network()
    net.lose = lambda outgoing: outgoing.data.startswith(b"PRACK")
    caller, callee = pair(net, early=EARLY)
    call(net, caller, callee)
    net.run(40)
    assert callee.only(CallEnded) == CallEnded(callee.only(CallEnded).dialog_id, "timeout", 504)
    assert caller.only(CallEnded).status == 504
    net.run(FREED_AFTER_S)
    assert caller.is_empty and callee.is_empty


# Session timers (RFC 4028).


def up(net: Network, **config: Any) -> tuple[Node, Node, str]:
    caller, callee = pair(net, **config)
    dialog_id = call(net, caller, callee)
    net.run(3)
    return caller, callee, dialog_id


def test_a_session_is_refreshed_by_update_for_as_long_as_it_lasts() -> None:
    net = Network()
    caller, callee, dialog_id = up(net, session_expires_s=100)
    net.run(3600)
    assert caller.all_told(CallEnded) == callee.all_told(CallEnded) == []
    refreshes = requests(caller, "UPDATE") + requests(callee, "UPDATE")
    assert 60 <= len(refreshes) <= 80
    assert {one.body for one in refreshes} == {b""}
    caller.agent.hang_up(dialog_id, net.now)
    net.run(FREED_AFTER_S)
    assert caller.is_empty and callee.is_empty


@pytest.mark.parametrize("dead", ["10.0.0.1", "10.0.0.2"])
def test_a_peer_that_is_gone_is_noticed(dead: str) -> None:
    net = Network()
    caller, callee, _ = up(net, session_expires_s=100)
    left = callee if dead == caller.host else caller
    del net.nodes[dead]  # it lost its power
    net.run(140)
    ended = left.only(CallEnded)
    assert ended.cause in ("session_expired", "timeout")
    net.run(FREED_AFTER_S)
    assert left.is_empty


def test_without_a_timer_nobody_asks() -> None:
    net = Network()
    caller, callee, _ = up(net, session_expires_s=0)
    net.run(7200)
    assert requests(caller, "UPDATE") == requests(callee, "UPDATE") == []
    assert caller.all_told(CallEnded) == []


def test_a_longer_interval_is_asked_for_where_it_is_wanted() -> None:
    net = Network()
    caller = net.node("10.0.0.1", session_expires_s=100)
    callee = net.node("10.0.0.2", min_se_s=400)
    call(net, caller, callee)
    net.run(1)
    first, second = requests(caller, "INVITE")
    assert first.headers.get("Session-Expires") == "100"
    assert second.headers.get("Session-Expires") == "400"
    assert second.headers.get("Min-SE") == "400"
    assert len(callee.all_told(IncomingCall)) == 1
    assert caller.all_told(CallEnded) == []


# UPDATE and re-INVITE.


def test_an_offer_of_ours_and_one_of_theirs_collide() -> None:
    net = Network()
    caller, callee, dialog_id = up(net)
    other = callee.only(IncomingCall).dialog_id
    caller.on_event = lambda event, now: (
        caller.agent.answer_offer(event.dialog_id, b"v=0 ok\r\n", now)
        if isinstance(event, Reoffer)
        else None
    )
    caller.agent.reinvite(dialog_id, b"v=0 one\r\n", net.now)
    callee.agent.reinvite(other, b"v=0 two\r\n", net.now)
    net.run(20)
    assert [event.status for event in caller.all_told(Reanswered)] == [200]
    assert [event.status for event in callee.all_told(Reanswered)] == [200]
    assert caller.all_told(CallEnded) == callee.all_told(CallEnded) == []


# INFO.


def test_a_key_in_an_info() -> None:
    net = Network()
    caller, callee, dialog_id = up(net)
    caller.agent.info(dialog_id, "application/dtmf-relay", b"Signal=5\r\n", net.now)
    net.run(1)
    heard = callee.only(InfoReceived)
    assert (heard.content_type, heard.body) == ("application/dtmf-relay", b"Signal=5\r\n")
    assert caller.only(InfoAnswered).status == 200


def test_an_info_that_nobody_answers() -> None:
    net = Network()
    caller, callee, dialog_id = up(net)
    net.down.add(callee.host)
    caller.agent.info(dialog_id, "application/dtmf-relay", b"Signal=5\r\n", net.now)
    net.run(40)
    assert caller.only(InfoAnswered).status == 408


# REFER of the peer (RFC 3515).


def test_a_refer_is_agreed_to_and_its_outcome_told() -> None:
    net = Network()
    caller, callee, dialog_id = up(net, accept_refer=True)
    caller.agent.refer(dialog_id, "sip:third@10.0.0.3", net.now)
    net.run(1)
    asked = callee.only(ReferReceived)
    assert asked.target_uri == "sip:third@10.0.0.3"
    callee.agent.answer_refer(asked.dialog_id, asked.refer_id, 202, net.now)
    net.run(1)
    callee.agent.report_refer(asked.dialog_id, asked.refer_id, 180, False, net.now)
    net.run(1)
    callee.agent.report_refer(asked.dialog_id, asked.refer_id, 200, True, net.now)
    net.run(1)
    assert caller.only(ReferAnswered).status == 202
    told = [(event.status, event.over) for event in caller.all_told(ReferProgress)]
    assert told == [(100, False), (180, False), (200, True)]


def test_a_refer_that_nobody_decides_about_is_declined() -> None:
    net = Network()
    caller, callee, dialog_id = up(net, accept_refer=True)
    caller.agent.refer(dialog_id, "sip:third@10.0.0.3", net.now)
    net.run(20)
    assert caller.only(ReferAnswered).status == 603


def test_a_refer_is_refused_unless_it_is_wanted() -> None:
    net = Network()
    caller, callee, dialog_id = up(net)
    caller.agent.refer(dialog_id, "sip:third@10.0.0.3", net.now)
    net.run(1)
    assert caller.only(ReferAnswered).status == 405
    assert callee.all_told(ReferReceived) == []


# Everything, on a bad network.

STEPS = st.lists(
    st.tuples(st.sampled_from(("offer", "info", "refer", "wait", "theirs")), st.floats(0, 30)),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), loss=st.sampled_from((0.0, 0.05, 0.2)), steps=STEPS)
def test_nothing_is_left_whatever_happens(
    seed: int, loss: float, steps: list[tuple[str, float]]
) -> None:
    net = Network(seed, loss=loss, duplicate=0.05, delay_s=(0.01, 0.2))
    caller, callee = pair(net, early=EARLY, session_expires_s=100, accept_refer=True)
    caller.on_event = lambda event, now: (
        caller.agent.answer_offer(event.dialog_id, b"v=0 ok\r\n", now)
        if isinstance(event, Reoffer)
        else None
    )
    dialog_id = call(net, caller, callee)
    for step, seconds in steps:
        agent, now = caller.agent, net.now
        if step == "offer":
            agent.reinvite(dialog_id, b"v=0 more\r\n", now)
        elif step == "info":
            agent.info(dialog_id, "application/dtmf", b"5", now)
        elif step == "refer":
            agent.refer(dialog_id, "sip:third@10.0.0.3", now)
        elif step == "theirs" and callee.all_told(IncomingCall):
            other = callee.only(IncomingCall).dialog_id
            callee.agent.reinvite(other, b"v=0 theirs\r\n", now)
        net.run(seconds)
    caller.agent.hang_up(dialog_id, net.now)
    net.run(100 + FREED_AFTER_S)  # what the callee did not hear of ends with its session
    net.run(FREED_AFTER_S)
    for node in (caller, callee):
        assert node.is_empty
        assert len(node.all_told(CallEnded)) <= 1
