"""What SIPp's callers do across a network that loses packets: the wire cases by which gateways are
judged, and what carriers do besides. Each step that waits insists on what it waits for."""

from dataclasses import dataclass

from tests.peers.scenario import Scenario, session
from tests.peers.wan_calls import PASSWORD, USER

TRANSFER, BRIDGE = "transfer", "bridge"
"""Whoever calls these is sent elsewhere."""
RELAY = ("Signal=5", "Duration=160")


@dataclass(frozen=True)
class Case:
    """What the callers do, and how that ends at the gateway."""

    scenario: Scenario
    reason: str = "remote_bye"
    """"" if there is no call of it."""
    transport: str = "u1"
    guarded: bool = False
    """They call the gateway that wants a password."""
    echoes: bool = False
    """They send back what they hear; the others send nothing."""
    waits: bool = False
    """They wait for most of a minute."""


def _call(name: str) -> Scenario:
    return Scenario(name).invite().answered().ack()


def _changed(name: str, has: str, *sdp: str) -> Scenario:
    """A call whose session is changed once."""
    call = _call(name).pause(500).invite(sdp=sdp).answered(has).ack()
    return call.pause(500).bye()


def _held(name: str, answer: str, *sdp: str) -> Scenario:
    call = _call(name).pause(500).invite(sdp=sdp).answered(f"a={answer}").ack().pause(1000)
    return call.invite(sdp=session(version=3)).answered("a=sendrecv").ack().pause(500).bye()


def _transferred(name: str, outcome: str) -> Scenario:
    """A caller who is sent to somebody else, and tells what comes of it."""
    events = ("Event: refer", "Subscription-State: active;expires=60")
    over = ("Event: refer", "Subscription-State: terminated;reason=noresource")
    kind = "message/sipfrag;version=2.0"
    call = Scenario(name, user=TRANSFER).invite().answered().ack().asked("REFER").respond(202)
    call.request("NOTIFY", *events, body=("SIP/2.0 100 Trying",), kind=kind).response(200)
    return call.request("NOTIFY", *over, body=(f"SIP/2.0 {outcome}",), kind=kind).response(200)


def _guarded(name: str, *headers: str) -> Scenario:
    """A caller who was asked who it is, and has said it."""
    proof = f"{USER}:{PASSWORD}"
    return Scenario(name).invite(*headers).challenged().invite(*headers, proof=proof)


def _rings(scenario: Scenario) -> Scenario:
    """A reliable answer has come, with the early media."""
    scenario.response(100, optional=True)
    return scenario.response(183, has="RSeq: [0-9]+.*m=audio", keep="RSeq")


def _refreshed(name: str, *headers: str) -> Scenario:
    """A call that we refresh as often as may be, after 45 s."""
    asks = ("Supported: timer", "Session-Expires: 90;refresher=uas", *headers)
    call = Scenario(name).invite(*asks, sdp=session(direction="inactive"))
    return call.answered("Session-Expires: 90;refresher=uas").ack()


def _glare() -> Scenario:
    """Both sides want to change the session at the same time: both are told 491, and both try again
    (RFC 3261 section 14). Its own INVITE goes out when ours has come and is not answered yet."""
    quiet = session(direction="inactive", version=2)
    call = _refreshed("glare").asked("INVITE", keep="first")
    call.invite(sdp=session(version=2)).response(491).ack_refusal()
    call.respond(491, to="first", until_acked=True).asked("ACK")
    call.pause(400)  # copies of the first one may be on their way
    call.asked("INVITE", has="a=inactive").respond(200, sdp=quiet, until_acked=True)
    call.asked("ACK").pause(500)
    return call.invite(sdp=session(version=3)).answered("a=sendrecv").ack().pause(500).bye()


MANY_CODECS = session("9 18 4 3 96 97 98 99 110 111 8 0 101")
CASES = {
    "a call": Case(_call("call").pause(2000).bye()),
    "SIP over TCP": Case(_call("tcp").pause(2000).bye(), transport="t1"),
    "late offer": Case(
        Scenario("late")
        .invite(late=True)
        .answered("m=audio")
        .ack(session("0 101"))
        .pause(1000)
        .bye()
    ),
    "offer with many codecs": Case(
        Scenario("codecs").invite(sdp=MANY_CODECS).answered("RTP/AVP 8").ack().pause(500).bye()
    ),
    "hold and resume: sendonly": Case(
        _held("sendonly", "recvonly", *session(direction="sendonly", version=2))
    ),
    "hold and resume: inactive": Case(
        _held("inactive", "inactive", *session(direction="inactive", version=2))
    ),
    "hold and resume: 0.0.0.0": Case(
        _held("zero", "(recvonly|inactive)", *session(host="0.0.0.0", version=2))
    ),
    "codec change by re-INVITE": Case(
        _changed("codec", "m=audio [0-9]* RTP/AVP 8", *session("8 101", version=2))
    ),
    "re-INVITE with a new media address": Case(
        _changed("address", "m=audio", *session(port="[media_port+2]", version=2))
    ),
    "transfer and its result": Case(
        _transferred("transfer", "200 OK").asked("BYE").respond(200),
        reason="transferred",
        echoes=True,
    ),
    "transfer that fails": Case(
        _transferred("busy", "486 Busy Here").pause(500).bye(), echoes=True
    ),
    "caller gone without BYE": Case(_call("gone").pause(4000), reason="media_timeout"),
    "transfer to who is called and joined": Case(
        Scenario("bridge", user=BRIDGE)
        .invite()
        .answered()
        .ack()
        .asked("REFER")
        .respond(405)
        .pause(4000)
        .bye(),
        echoes=True,
    ),
    "DTMF by INFO": Case(
        _call("info")
        .pause(200)
        .request("INFO", body=RELAY, kind="application/dtmf-relay")
        .response(200)
        .request("INFO", body=("7",), kind="application/dtmf")
        .response(200)
        .pause(4000)  # keys wait for an ACK that was lost, and there is none after the BYE
        .bye(),
        echoes=True,
    ),
    "UPDATE": Case(
        _call("update")
        .request("UPDATE", body=session(direction="sendonly", version=2))
        .response(200, has="a=recvonly")
        .pause(300)
        .request("UPDATE", body=session(version=3))
        .response(200, has="a=sendrecv")
        .bye()
    ),
    "session timer, refreshed by the caller": Case(
        Scenario("timer-uac")
        .invite("Supported: timer", "Session-Expires: 90;refresher=uac")
        .answered("Session-Expires: 90;refresher=uac")
        .ack()
        .request("UPDATE", "Supported: timer", "Session-Expires: 90;refresher=uac")
        .response(200, has="Session-Expires: 90;refresher=uac")
        .invite("Supported: timer", "Session-Expires: 90;refresher=uac", sdp=session(version=2))
        .answered("Session-Expires: 90;refresher=uac")
        .ack()
        .pause(300)
        .bye()
    ),
    "session timer, refreshed by us with UPDATE": Case(
        _refreshed("timer-update", "Allow: INVITE, ACK, BYE, CANCEL, UPDATE")
        .asked("UPDATE", has="Session-Expires: 90;refresher=uac")
        .respond(200)
        .pause(1000)
        .bye(),
        waits=True,
    ),
    "session timer, refreshed by us with re-INVITE": Case(
        _refreshed("timer-invite")
        .asked("INVITE", has="a=inactive")
        .respond(200, sdp=session(direction="inactive", version=2), until_acked=True)
        .asked("ACK")
        .pause(1000)
        .bye(),
        waits=True,
    ),
    "session timer, our refresh is not answered": Case(
        _refreshed("timer-silent").pause(58_000).asked("BYE").respond(200),
        reason="session_expired",
        waits=True,
    ),
    "session timer, too short": Case(
        Scenario("brief")
        .invite("Supported: timer", "Session-Expires: 60")
        .response(100, optional=True)
        .response(422, has="Min-SE: 90")
        .ack_refusal()
        .pause(1000),
        reason="",
    ),
    "re-INVITE glare": Case(_glare(), waits=True),
    "digest": Case(_guarded("digest").answered().ack().pause(500).bye(), guarded=True),
    "PRACK": Case(
        _rings(_guarded("prack", "Require: 100rel"))
        .prack()
        .response(200)
        .answered()
        .ack()
        .pause(500)
        .bye(),
        guarded=True,
    ),
    "CANCEL while it rings": Case(
        _rings(_guarded("cancel", "Require: 100rel"))
        .pause(300)
        .cancel()
        .response(200)
        .response(487)
        .ack_refusal()
        .pause(1000),
        reason="cancelled",
        guarded=True,
    ),
}
