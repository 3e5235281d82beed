"""Damaged messages at every moment of a call: no exception, and nothing is left behind."""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.call_life import Phase
from gateway.sip.events import CallEnded
from gateway.sip.message import Address
from gateway.sip.uac import UacCall
from gateway.sip.uas import UasCall
from tests.sip.phases import drain, messages_of_calls
from tests.sip.raw import (
    PEER,
    PEER_TCP,
    PEER_WS,
    SDP,
    SPARE_LINES,
    Desk,
    answer_to,
    request,
)

pytestmark = pytest.mark.pure

Damage = Callable[[random.Random, bytes], bytes]

ELSEWHERE = Address("2606:4700::1112", 5060, "udp")
PIECES = [
    b"\r\n",
    b"\r\n\r\n",
    b";tag=",
    b"<",
    b">",
    b'"',
    b",",
    b"\0",
    b"\xff",
    b"%00",
    b"sip:",
    b"Via: ",
    b"[::1]",
    b"99999999999",
    b"x" * 9000,
]


def damaged(rng: random.Random, data: bytes) -> bytes:
    """`data` with one to three wounds."""
    for _ in range(rng.randint(1, 3)):
        at, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        match rng.randrange(6):
            case 0:
                data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
            case 1:
                data = data[:at] + rng.choice(PIECES) + data[at:]
            case 2:
                data = data[:at] + data[min(end, at + 40) :]
            case 3:
                lines = data.split(b"\r\n")
                lines.insert(rng.randrange(len(lines)), rng.choice(lines))
                data = b"\r\n".join(lines)
            case 4:
                data = with_more_lines(rng, data)
            case _:
                lines = data.split(b"\r\n")
                del lines[rng.randrange(len(lines))]
                data = b"\r\n".join(lines)
    return data


def with_more_lines(rng: random.Random, data: bytes) -> bytes:
    """One to three lines more, often of one header, anywhere among those that are there."""
    head, end, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    header = rng.choice(sorted(SPARE_LINES))
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.2:
            header = rng.choice(sorted(SPARE_LINES))
        lines.insert(rng.randint(1, len(lines)), rng.choice(SPARE_LINES[header]).encode())
    return b"\r\n".join(lines) + end + body


def anew(data: bytes, number: int) -> bytes:
    """The same request, no copy of an earlier one; a response as it is."""
    if data.startswith(b"SIP/2.0"):
        return data
    data = under_another_branch(data, number)
    data = data.replace(b"Call-ID: call-1\r\n", b"Call-ID: call-%d\r\n" % number)
    return re.sub(rb"(To: [^\r]+;tag=.*CSeq: )\d+", rb"\g<1>%d" % (number + 10), data, flags=re.S)


def traffic(
    rng: random.Random, pool: list[bytes], count: int, damage: Damage = damaged
) -> Iterator[bytes]:
    """Messages of the pool, most of them damaged: as they are, as new requests, as requests that
    were counted before; and some said twice, as no copies."""
    for number in range(count):
        data, kind = rng.choice(pool), rng.random()
        if kind < 0.6:
            data = anew(data, number)
        elif kind < 0.8:
            data = under_another_branch(data, number)
        if rng.random() < 0.8:
            data = damage(rng, data)
        yield data
        if rng.random() < 0.2:
            yield under_another_branch(data, number)


def under_another_branch(data: bytes, number: int) -> bytes:
    """Another request, though it may have the number in CSeq of an earlier one."""
    return data.replace(b"branch=z9hG4bK", b"branch=z9hG4bK%d-" % number)


def knows_its_peers(desk: Desk) -> bool:
    """Whether what is noted of the hosts of calls is what the calls say themselves."""
    board = desk.agent._board
    callees: Counter[str] = Counter()
    callers: Counter[str] = Counter()
    for call in board.calls.values():
        if isinstance(call, UacCall) and call.phase is not Phase.ENDED:
            callees.update((call._to.host, call.dialog.next_hop().host))
        elif isinstance(call, UasCall):
            callers[call.dialog.flow.host] += 1
    return (board.callees._calls, board.callers._calls) == (callees, callers)


@pytest.mark.parametrize("damage", [damaged, with_more_lines])
@pytest.mark.parametrize("seed", range(10))
def test_damaged_messages(seed: int, damage: Damage) -> None:
    rng = random.Random(seed)
    desk = Desk(accept_refer=True, accept_replaces=True, session_expires_s=90)
    told: list[str] = []
    pool = messages_of_calls(desk)
    for data in traffic(rng, pool, 500, damage):
        desk.agent.receive(data, rng.choice([PEER, PEER_TCP, PEER_WS, ELSEWHERE]), desk.now)
        if rng.random() < 0.01:
            desk.agent.connection_lost(rng.choice([PEER_TCP, PEER_WS]), desk.now)
        told += [event.dialog_id for event in desk.events() if isinstance(event, CallEnded)]
        drain(desk, rng)
        assert knows_its_peers(desk)
        desk.skip(rng.random() * 0.2)
    assert len(told) == len(set(told))
    assert desk.forgotten == []
    for dialog_id in list(desk.agent._board.calls):
        desk.agent.hang_up(dialog_id, desk.now)
    desk.skip(40)
    desk.skip(40)
    assert desk.forgotten == []
    assert desk.is_empty
    assert desk.status(request("OPTIONS", branch="alive")) == 200


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    desk = Desk()
    desk.agent.receive(data, PEER, desk.now)
    desk.agent.receive(b"INVITE sip:a SIP/2.0\r\n" + data, PEER, desk.now)
    desk.agent.receive(b"SIP/2.0 200 \r\n" + data, PEER, desk.now)


LONG = st.integers(8100, 8192)


@settings(max_examples=100, deadline=None)
@given(name=st.sampled_from(["v", "f", "t", "i", "m", "Record-Route"]), length=LONG)
def test_lines_that_are_just_short_enough(name: str, length: int) -> None:
    """A copy of one under a longer name, or with our tag, may exceed the limit for one line."""
    values = {
        "v": "SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bK1;x=%s",
        "f": "<sip:bob@192.0.2.9>;tag=bob;x=%s",
        "t": "<sip:agent@192.0.2.1>;x=%s",
        "i": "%s",
        "m": "<sip:bob@192.0.2.9;x=%s>",
        "Record-Route": "<sip:192.0.2.9;lr;x=%s>",
    }
    value = values[name] % ("y" * (length - len(values[name]) + 2 - len(name) - 2))
    line = f"{name}: {value}"
    assert len(line) == length
    headers = {
        "v": "v: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bK1",
        "f": "f: <sip:bob@192.0.2.9>;tag=bob",
        "t": "t: <sip:agent@192.0.2.1>",
        "i": "i: 1",
        "m": "m: <sip:bob@192.0.2.9>",
        "CSeq": "CSeq: 1 INVITE",
    } | {name: line}
    desk = Desk()
    invite = "INVITE sip:agent@192.0.2.1 SIP/2.0\r\n" + "\r\n".join(headers.values()) + "\r\n\r\n"
    desk.agent.receive(invite.encode(), PEER, desk.now)
    for event in desk.events():
        desk.agent.ring(event.dialog_id, desk.now)
        desk.agent.accept(event.dialog_id, SDP, desk.now)
        ack = f"ACK sip:192.0.2.1 SIP/2.0\r\n{headers['v']}2\r\n{headers['f']}\r\n"
        ack += (
            f"t: <sip:agent@192.0.2.1>;tag={event.dialog_id}\r\n{headers['i']}\r\nCSeq: 1 ACK\r\n"
        )
        desk.agent.receive(ack.encode() + b"\r\n", PEER, desk.now)
        desk.agent.reinvite(event.dialog_id, SDP, desk.now)
        desk.agent.hang_up(event.dialog_id, desk.now)
    desk.agent.datagrams_to_send()
    desk.skip(80)
    assert desk.is_empty


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(["t", "m", "Record-Route"]), length=LONG)
def test_the_same_in_an_answer(name: str, length: int) -> None:
    desk = Desk()
    dialog_id, invite = desk.calling()
    answer = answer_to(invite, 200, contact=None, tag=None).decode()
    to = invite.headers.get("To") or ""
    answer = answer.replace(f"To: {to}\r\n", "")
    start = {"t": f"{to};tag=x;p=", "m": "<sip:bob@192.0.2.9;p=", "Record-Route": "<sip:b;lr;p="}
    end = "" if name == "t" else ">"
    fill = "y" * (length - len(name) - 2 - len(start[name]) - len(end))
    lines = f"{name}: {start[name]}{fill}{end}\r\n" + ("" if name == "t" else f"t: {to};tag=x\r\n")
    first, _, rest = answer.partition("\r\n")
    desk.agent.receive(f"{first}\r\n{lines}{rest}".encode(), PEER, desk.now)
    assert [type(event).__name__ for event in desk.events()] == ["Answered"]
    desk.agent.hang_up(dialog_id, desk.now)
    assert len(desk.agent.datagrams_to_send()) == 2
