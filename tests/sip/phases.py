"""Calls in every phase, messages that belong to them, and an application that does its part or not:
what a fuzzer needs, so that damage meets live state."""

import random

from gateway.sip.auth import Credentials
from gateway.sip.events import IncomingCall, ReferReceived, Reoffer
from gateway.sip.message import Request
from tests.sip.raw import SDP, Desk, answer_to, notify, read, request
from tests.sip.rfc4475 import FOLDER

PARTS = (
    b"--x\r\nContent-Type: application/sdp\r\n\r\n" + SDP + b"\r\n--x\r\nc: a/b\r\n\r\n\r\n--x--"
)
STATUSES = (200, 200, 200, 202, 481, 491, 500, 503)
"""What peers say to requests of ours, if they say anything."""


def messages_of_calls(desk: Desk) -> list[bytes]:
    """Messages that belong to calls, which are begun here and left in all their phases."""
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
        *messages_to_callees(desk),
        *messages_from_callees(desk),
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


def messages_to_callees(desk: Desk) -> list[bytes]:
    """Of callers whose call waits for something: for the answer to an offer, a REFER, a 2xx."""
    desk.events()
    agreed = desk.incoming(call_id="agreed", branch="agreed", headers=(("Supported", "100rel"),))
    desk.agent.progress(agreed, 183, SDP, desk.now)
    (answer,) = desk.drain()
    rack = (("RAck", f"{answer.headers.get('RSeq')} 1 INVITE"),)
    desk.send(desk.within("PRACK", agreed, call_id="agreed", branch="agreed-p", headers=rack))
    referred = desk.confirmed(call_id="referred", branch="referred")
    target = (("Refer-To", "<sip:x@h>"),)
    refer = desk.within("REFER", referred, call_id="referred", branch="refer", headers=target)
    desk.send(refer)
    desk.events()
    updated = desk.confirmed(call_id="updated", branch="updated")
    desk.send(desk.within("UPDATE", updated, call_id="updated", branch="update", body=SDP))
    desk.events()
    invited = desk.confirmed(call_id="invited", branch="invited")
    desk.send(desk.within("INVITE", invited, call_id="invited", branch="again", body=SDP))
    desk.events()
    late = desk.incoming(call_id="late", branch="late", body=b"")
    desk.agent.accept(late, SDP, desk.now)
    desk.drain()
    timed = (("Supported", "timer"), ("x", "90;refresher=uas"))
    desk.confirmed(call_id="timed", branch="timed", headers=timed)
    calls = {"agreed": agreed, "referred": referred, "updated": updated, "invited": invited}
    return [
        *(
            desk.within(method, tag, call_id=name, branch=f"{name}-{method}", cseq=3, body=body)
            for name, tag in calls.items()
            for method, body in (("INVITE", SDP), ("UPDATE", SDP), ("BYE", b""))
        ),
        refer,
        desk.within("REFER", referred, call_id="referred", branch="r3", cseq=3, headers=target),
        request("CANCEL", call_id="agreed", branch="agreed"),
        desk.within("CANCEL", invited, call_id="invited", branch="again"),
        desk.within("ACK", late, call_id="late", branch="late-ack", cseq=1, body=SDP),
        desk.within("INVITE", late, call_id="late", branch="late-again", cseq=3, body=SDP),
    ]


def messages_from_callees(desk: Desk) -> list[bytes]:
    """Of peers that have an offer of ours: in an INVITE that they agreed to early, and after."""
    _, invite = desk.calling()
    reliable = (("Require", "100rel"), ("RSeq", "7"))
    (prack,) = desk.send(answer_to(invite, 183, headers=reliable, body=SDP))
    desk.events()
    holding = desk.confirmed(call_id="holding", branch="holding")
    desk.agent.reinvite(holding, SDP, desk.now)
    (hold,) = desk.drain()
    theirs = {
        "caller": f"{invite.headers.get('To')};tag=callee",
        "to": invite.headers.get("From") or "",
        "call_id": invite.headers.get("Call-ID") or "",
    }
    return [
        request("UPDATE", branch="their-update", body=SDP, **theirs),  # type: ignore[arg-type]
        request("INVITE", branch="their-invite", cseq=2, body=SDP, **theirs),  # type: ignore[arg-type]
        request("BYE", branch="their-bye", cseq=3, **theirs),  # type: ignore[arg-type]
        answer_to(prack, 200, tag=None),
        answer_to(invite, 183, tag="other", headers=reliable, body=SDP),
        answer_to(invite, 200),
        answer_to(invite, 200, tag="third", body=SDP),
        *(answer_to(hold, status, tag=None, body=SDP) for status in (200, 488, 491)),
        answer_to(hold, 500, tag=None, headers=(("Retry-After", "2"),)),
        desk.within("INVITE", holding, call_id="holding", branch="meets", body=SDP),
        desk.within("UPDATE", holding, call_id="holding", branch="meets-u", cseq=3, body=SDP),
    ]


def drain(desk: Desk, rng: random.Random) -> None:
    """Peers answer us and the application does its part, but neither always."""
    for outgoing in desk.agent.datagrams_to_send():
        message = read(outgoing.data)
        if isinstance(message, Request) and rng.random() < 0.8:
            answer = answer_to(message, rng.choice(STATUSES), tag=None)
            desk.agent.receive(answer, outgoing.to, desk.now)
    for event in desk.events():
        if rng.random() < 0.3:
            continue
        if isinstance(event, IncomingCall):
            desk.agent.progress(event.dialog_id, 183, SDP, desk.now)
        elif isinstance(event, ReferReceived):
            desk.agent.answer_refer(event.dialog_id, event.refer_id, 202, desk.now)
        elif isinstance(event, Reoffer):
            desk.agent.answer_offer(event.dialog_id, SDP, desk.now)
    if rng.random() < 0.1:
        act(desk, rng)


def act(desk: Desk, rng: random.Random) -> None:
    """The application does something with one of its calls."""
    calls = sorted(desk.agent._board.calls)
    if not calls:
        return
    agent, call, now = desk.agent, rng.choice(calls), desk.now
    match rng.randrange(8):
        case 0:
            agent.ring(call, now)
        case 1:
            agent.progress(call, 183, SDP, now)
        case 2:
            agent.accept(call, SDP, now)
        case 3:
            agent.reinvite(call, SDP, now)
        case 4:
            agent.answer_offer(call, SDP, now)
        case 5:
            agent.refuse_offer(call, 488, now)
        case 6:
            agent.ack(call, SDP, now)
        case _:
            agent.refer(call, "sip:x@h", now)
