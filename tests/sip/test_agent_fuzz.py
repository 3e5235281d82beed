"""Damaged messages at every moment of a call: no exception, and nothing is left behind."""

import random
import re
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.auth import Credentials
from gateway.sip.call_life import Phase
from gateway.sip.events import CallEnded, IncomingCall, ReferReceived, Reoffer
from gateway.sip.message import Address, Request
from gateway.sip.uac import UacCall
from gateway.sip.uas import UasCall
from tests.sip.raw import (
    PEER,
    PEER_TCP,
    PEER_WS,
    SDP,
    SPARE_LINES,
    Desk,
    answer_to,
    notify,
    read,
    request,
)
from tests.sip.rfc4475 import FOLDER

pytestmark = pytest.mark.pure

ELSEWHERE = Address("2606:4700::1112", 5060, "udp")
PARTS = (
    b"--x\r\nContent-Type: application/sdp\r\n\r\n" + SDP + b"\r\n--x\r\nc: a/b\r\n\r\n\r\n--x--"
)
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
    data = data.replace(b"branch=z9hG4bK", b"branch=z9hG4bK%d-" % number)
    data = data.replace(b"Call-ID: call-1\r\n", b"Call-ID: call-%d\r\n" % number)
    return re.sub(rb"(To: [^\r]+;tag=.*CSeq: )\d+", rb"\g<1>%d" % (number + 10), data, flags=re.S)


def messages_of_calls(desk: Desk) -> list[bytes]:
    """Messages that belong to calls in several states, so that damage meets live state."""
    early = desk.incoming(call_id="early", branch="e", headers=(("Supported", "100rel"),))
    up = desk.confirmed(call_id="up", branch="u")
    answered = desk.incoming(call_id="answered", branch="a")
    desk.agent.accept(answered, SDP, desk.now)
    desk.drain()
    _, invite = desk.calling(body=None)
    _, asked = desk.calling(credentials=Credentials("me", "secret", "r"))
    desk.agent.refer(up, "sip:carol@192.0.2.5", desk.now)
    (refer,) = desk.drain()
    known = [
        request("INVITE", body=SDP, call_id="early", branch="e"),
        request("CANCEL", call_id="early", branch="e"),
        desk.within("ACK", answered, cseq=1, call_id="answered"),
        desk.within("INVITE", up, cseq=5, call_id="up", body=SDP),
        desk.within("BYE", early, cseq=9, call_id="early"),
        desk.within("OPTIONS", up, cseq=4, call_id="up"),
        request("INVITE", body=SDP, headers=(("Record-Route", "<sip:a;lr>, <sip:b>"),)),
        request("OPTIONS", headers=(("Require", "a, b"), ("Accept", "x/y"))),
        answer_to(invite, 183, headers=(("Record-Route", "<sip:a;lr>, <sip:b>"),), body=SDP),
        answer_to(invite, 200, tag="other", body=SDP),
        answer_to(invite, 486),
        answer_to(asked, 401, headers=(("WWW-Authenticate", 'Digest realm="r", nonce="n"'),)),
        answer_to(asked, 407, headers=(("Proxy-Authenticate", 'Digest realm="r", nonce="n"'),)),
        answer_to(refer, 202, tag=None),
        *messages_inside(desk, early, up, invite),
        notify(desk, up, "SIP/2.0 100 Trying", cseq=6, call_id="up"),
        notify(desk, up, "SIP/2.0 486 Busy", "terminated", cseq=7, call_id="up"),
    ]
    return known + [path.read_bytes() for path in sorted(FOLDER.glob("*.dat"))]


def messages_inside(desk: Desk, early: str, up: str, invite: Request) -> list[bytes]:
    """What else is said in calls: reliable answers, UPDATE, INFO, REFER, and who replaces whom."""
    desk.agent.progress(early, 183, SDP, desk.now)
    (ringing,) = desk.drain()
    acknowledged = (("RAck", f"{ringing.headers.get('RSeq')} 1 INVITE"),)
    reliable = (("Require", "100rel"), ("RSeq", "1"))
    timed = (("Supported", "timer"), ("Session-Expires", "90;refresher=uas"))
    place = (("Replaces", f"up;to-tag={up};from-tag=bob"),)
    return [
        desk.within("PRACK", early, call_id="early", headers=acknowledged),
        desk.within("PRACK", early, cseq=3, call_id="early", headers=acknowledged, body=SDP),
        desk.within("UPDATE", up, cseq=8, call_id="up", headers=timed),
        desk.within("UPDATE", up, cseq=9, call_id="up", headers=timed, body=SDP),
        desk.within("INVITE", up, cseq=10, call_id="up", headers=timed, body=SDP),
        desk.within("INFO", up, cseq=11, call_id="up", body=b"5", body_type="application/dtmf"),
        desk.within("REFER", up, cseq=12, call_id="up", headers=(("Refer-To", "<sip:x@h>"),)),
        request("INVITE", body=SDP, branch="place", headers=place),
        request("INVITE", body=PARTS, body_type="multipart/mixed;boundary=x", branch="parts"),
        answer_to(invite, 183, headers=reliable, body=SDP),
        answer_to(invite, 200, headers=(("Session-Expires", "90;refresher=uac"),), body=SDP),
        answer_to(invite, 422, headers=(("Min-SE", "3600"),)),
        answer_to(invite, 302, headers=(("Contact", "<sip:x@h>;q=0.5"),)),
    ]


def drain(desk: Desk) -> None:
    for outgoing in desk.agent.datagrams_to_send():
        message = read(outgoing.data)
        if isinstance(message, Request):
            desk.agent.receive(answer_to(message, 481, tag=None), outgoing.to, desk.now)
    for event in desk.events():
        if isinstance(event, IncomingCall):
            desk.agent.progress(event.dialog_id, 183, SDP, desk.now)
        elif isinstance(event, ReferReceived):
            desk.agent.answer_refer(event.dialog_id, event.refer_id, 202, desk.now)
        elif isinstance(event, Reoffer):
            desk.agent.answer_offer(event.dialog_id, SDP, desk.now)


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
def test_damaged_messages(seed: int, damage: Callable[[random.Random, bytes], bytes]) -> None:
    rng = random.Random(seed)
    desk = Desk(accept_refer=True, accept_replaces=True, session_expires_s=90)
    told: list[str] = []
    pool = messages_of_calls(desk)
    for number in range(500):
        source = rng.choice([PEER, PEER_TCP, PEER_WS, ELSEWHERE])
        data = rng.choice(pool)
        if rng.random() < 0.7:
            data = anew(data, number)
        desk.agent.receive(damage(rng, data), source, desk.now)
        if rng.random() < 0.01:
            desk.agent.connection_lost(rng.choice([PEER_TCP, PEER_WS]), desk.now)
        told += [event.dialog_id for event in desk.events() if isinstance(event, CallEnded)]
        drain(desk)
        assert knows_its_peers(desk)
        desk.skip(rng.random() * 0.2)
    assert len(told) == len(set(told))
    for dialog_id in list(desk.agent._board.calls):
        desk.agent.hang_up(dialog_id, desk.now)
    desk.skip(40)
    desk.skip(40)
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
