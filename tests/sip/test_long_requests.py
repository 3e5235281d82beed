"""Requests that are too long for UDP go over TCP, where there is TCP (RFC 3261 section 18.1.1)."""

import pytest

from gateway.sip.auth import Credentials
from gateway.sip.events import Answered, CallEnded, IncomingCall, Ringing
from gateway.sip.headers import top_via
from gateway.sip.long_requests import MAX_UDP_REQUEST_BYTES
from gateway.sip.message import Address, Outgoing
from gateway.sip.parse import parse
from tests.sip.network import Network, Node
from tests.sip.raw import PEER, Desk, answer_to, codes
from tests.sip.test_agent_pair import FREED_AFTER_S, pair

pytestmark = pytest.mark.pure

OVER_TCP = Address(PEER.host, PEER.port, "tcp")
LONG = (("X-Long", "x" * MAX_UDP_REQUEST_BYTES),)


def call(net: Network, caller: Node, callee: Node) -> str:
    return caller.agent.invite(
        f"sip:agent@{callee.host}",
        b"v=0\r\n",
        net.now,
        to=callee.address(),
        from_uri="sip:me@10.0.0.1",
        headers=LONG,
    )


def ways(node: Node, method: str) -> list[tuple[str, str]]:
    """Transport of each request of that method, and what its Via says."""
    starts = f"{method} ".encode()
    return [
        (out.to.transport, top_via(parse(out.data).headers).transport)
        for _, out in node.sent
        if out.data.startswith(starts)
    ]


def test_a_long_invite_goes_over_tcp_and_the_call_stays_there() -> None:
    net = Network()
    caller, callee = pair(net)
    dialog_id = call(net, caller, callee)
    net.run(3)
    assert caller.told == [Ringing(dialog_id, 180, None), Answered(dialog_id, b"v=0 answer\r\n")]
    caller.agent.hang_up(dialog_id, net.now)
    net.run(FREED_AFTER_S)
    assert {*ways(caller, "INVITE"), *ways(caller, "ACK"), *ways(caller, "BYE")} == {("tcp", "TCP")}
    assert caller.is_empty
    assert callee.is_empty


def test_a_cancel_goes_the_way_of_its_invite() -> None:
    net = Network()
    caller, callee = pair(net, answer_after_s=None)
    dialog_id = call(net, caller, callee)
    net.run(1)
    caller.agent.hang_up(dialog_id, net.now)
    net.run(FREED_AFTER_S)
    assert ways(caller, "CANCEL") == ways(caller, "ACK") == [("tcp", "TCP")]
    assert callee.only(CallEnded).cause == "cancelled"
    assert caller.is_empty
    assert callee.is_empty


def without_tcp(net: Network, host: str) -> None:
    """Nobody listens there for connections."""
    carry = net._carry

    def refuse(node: Node, outgoing: Outgoing) -> None:
        if outgoing.to.transport == "tcp" and outgoing.to.host == host:
            node.agent.transport_failed(outgoing.to, net.now)
        else:
            carry(node, outgoing)

    net._carry = refuse  # type: ignore[method-assign]


def test_where_there_is_no_tcp_it_goes_over_udp_after_all_and_at_once_the_next_time() -> None:
    net = Network()
    caller, callee = pair(net)
    without_tcp(net, callee.host)
    dialog_id = call(net, caller, callee)
    net.run(3)
    assert callee.only(IncomingCall)
    assert isinstance(caller.told[-1], Answered)
    assert ways(caller, "INVITE") == [("tcp", "TCP"), ("udp", "UDP")]
    caller.agent.hang_up(dialog_id, net.now)
    net.run(FREED_AFTER_S)
    assert caller.is_empty
    assert callee.is_empty
    caller.sent.clear()
    call(net, caller, callee)
    net.run(3)
    assert ways(caller, "INVITE") == [("udp", "UDP")]
    caller.sent.clear()
    net.run(600)
    call(net, caller, callee)
    assert len([out for out in caller.agent.datagrams_to_send() if out.to.transport == "tcp"]) == 1


def test_over_udp_after_all_copies_are_sent_as_over_udp() -> None:
    net = Network()
    caller, callee = pair(net)
    without_tcp(net, callee.host)
    lost = 0

    def lose(outgoing: Outgoing) -> bool:
        nonlocal lost
        lost += outgoing.data.startswith(b"INVITE")
        return outgoing.data.startswith(b"INVITE") and lost <= 3

    net.lose = lose
    call(net, caller, callee)
    net.run(10)
    assert isinstance(caller.told[-1], Answered)
    assert lost == 4


def test_a_peer_that_is_nowhere_is_told_of_once() -> None:
    net = Network()
    caller, callee = pair(net)
    net.down.add(callee.host)
    dialog_id = call(net, caller, callee)
    net.run(FREED_AFTER_S)
    assert caller.told == [CallEnded(dialog_id, "timeout", 408)]
    assert caller.is_empty


def silently(desk: Desk, silent_s: float = 4.0) -> str:
    """Call PEER, whose firewall swallows what would open a connection; the dialog id."""
    dialog_id, _ = desk.calling(headers=LONG, silent_s=silent_s)
    assert desk.addresses == [OVER_TCP]
    assert desk.agent.has_second_way(OVER_TCP)
    return dialog_id


def test_the_silence_counts_from_when_it_goes_over_udp() -> None:
    desk = Desk()
    dialog_id = silently(desk)
    assert desk.wait(2) == []
    desk.agent.transport_failed(OVER_TCP, desk.now)
    assert (codes(desk.drain()), desk.addresses) == (["INVITE"], [PEER])
    assert not desk.agent.has_second_way(OVER_TCP)
    assert codes([one for _, one in desk.wait(3.9)]) == ["INVITE"] * 3
    assert desk.events() == []
    desk.wait(0.2)
    assert desk.events() == [CallEnded(dialog_id, "timeout", 408)]


def test_a_server_that_asked_for_a_password_has_as_long_for_the_next_invite() -> None:
    desk = Desk()
    dialog_id, invite = desk.calling(credentials=Credentials("me", "secret", "r"), silent_s=4.0)
    desk.wait(3.5)
    asked = (("WWW-Authenticate", 'Digest realm="r", nonce="n"'),)
    assert codes(desk.send(answer_to(invite, 401, headers=asked))) == ["ACK", "INVITE"]
    desk.wait(3.9)
    assert desk.events() == []
    desk.wait(0.2)
    assert desk.events() == [CallEnded(dialog_id, "timeout", 408)]


@pytest.mark.parametrize("by_us", [True, False])
def test_what_was_given_up_unheard_goes_no_other_way(by_us: bool) -> None:
    desk = Desk()
    dialog_id = silently(desk)
    if by_us:
        desk.agent.hang_up(dialog_id, desk.now)
        assert desk.drain() == []
    else:
        assert desk.wait(4) == []
    assert [type(event) for event in desk.events()] == [CallEnded]
    assert not desk.agent.has_second_way(OVER_TCP)
    desk.agent.transport_failed(OVER_TCP, desk.now)
    assert desk.drain() == []
    desk.skip(80)
    assert desk.is_empty


def test_over_a_connection_that_came_about_it_is_cancelled_when_it_is_heard() -> None:
    desk = Desk()
    dialog_id, invite = desk.calling(headers=LONG)
    desk.agent.hang_up(dialog_id, desk.now)
    (cancel,) = desk.send(answer_to(invite, 180), OVER_TCP)
    assert (codes([cancel]), desk.addresses) == (["CANCEL"], [OVER_TCP])


@pytest.mark.parametrize(("tcp_port", "length"), [(0, 1300), (5060, 100)])
def test_without_tcp_or_length_nothing_changes(tcp_port: int, length: int) -> None:
    net = Network()
    caller = net.node("10.0.0.1", tcp_port=tcp_port)
    caller.agent.invite(
        "sip:agent@10.0.0.2",
        b"v=0\r\n",
        net.now,
        to=net.node("10.0.0.2").address(),
        from_uri="sip:me@10.0.0.1",
        headers=(("X-Long", "x" * length),),
    )
    [outgoing] = caller.agent.datagrams_to_send()
    assert outgoing.to.transport == "udp"


def test_how_many_places_without_tcp_are_known_is_bounded() -> None:
    net = Network()
    caller = net.node("10.0.0.1")
    for number in range(400):
        host = f"10.0.{1 + number // 250}.{number % 250}"
        to = Node(caller.agent, host).address()
        caller.agent.invite(
            f"sip:a@{host}", b"v=0\r\n", net.now, to=to, from_uri="sip:me@h", headers=LONG
        )
        net.settle()
    assert len(caller.agent._board.transactions._without_tcp) == 256
