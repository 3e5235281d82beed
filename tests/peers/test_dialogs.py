"""What carriers do inside a call, by SIPp: reliable answers, UPDATE, session timers, INFO, and what
is refused. Each scenario is a telephone that insists on it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.ahead import Ahead, early, looks_at
from tests.peers.calls_api import CallsApi
from tests.peers.gateway import HOST, GatewayProcess, free_range
from tests.peers.line import RealtimeThread
from tests.peers.scenario import Scenario, session
from tests.peers.sipp import Sipp, SippResult, need_sipp, run_sipp

pytestmark = [pytest.mark.peer, pytest.mark.slow]

CALLS = 3
RELAY = ("Signal=5", "Duration=160")
MIXED = "multipart/mixed;boundary=unique-boundary-1"
SIP_I = (
    "--unique-boundary-1",
    "Content-Type: application/sdp",
    "",
    *session(),
    "",
    "--unique-boundary-1",
    "Content-Type: application/isup; version=itu-t92+; base=itu-t92+",
    "Content-Disposition: signal; handling=optional",
    "",
    "\\x01\\x00\\x49\\x00",
    "--unique-boundary-1--",
)


def _call(name: str, *headers: str) -> Scenario:
    return Scenario(name).invite(*headers).answered().ack()


def _reliable(name: str, *headers: str) -> Scenario:
    """A caller who wants ringing to arrive for certain, and acknowledges it."""
    return (
        Scenario(name)
        .invite(*headers)
        .response(100, optional=True)
        .response(183, has="RSeq: [0-9]+.*m=audio", keep="RSeq")
        .prack()
        .response(200, has="CSeq: [0-9]+ PRACK")
        .answered()
        .ack()
        .pause(300)
        .bye()
    )


SCENARIOS = {
    "UPDATE with an offer": _call("update")
    .pause(200)
    .request("UPDATE", body=session(direction="sendonly", version=2))
    .response(200, has="CSeq: [0-9]+ UPDATE.*a=recvonly")
    .pause(200)
    .request("UPDATE", body=session(version=3))
    .response(200, has="a=sendrecv")
    .bye(),
    "SIP-I: an ISUP message beside the SDP": Scenario("sip-i")
    .invite(sdp=SIP_I, kind=MIXED)
    .answered("Content-Type: application/sdp.*m=audio [1-9]")
    .ack()
    .pause(200)
    .request("UPDATE", body=SIP_I, kind=MIXED)
    .response(200, has="CSeq: [0-9]+ UPDATE.*a=sendrecv")
    .bye(),
    "UPDATE without an offer": _call("refresh", "Supported: timer", "Session-Expires: 1800")
    .request("UPDATE", "Supported: timer", "Session-Expires: 1800;refresher=uac")
    .response(200, has="Session-Expires: 1800;refresher=uac")
    .bye(),
    "session timer, the caller refreshes": Scenario("timer-uac")
    .invite("Supported: timer", "Session-Expires: 600;refresher=uac")
    .answered("Session-Expires: 600;refresher=uac")
    .ack()
    .pause(200)
    .bye(),
    "session timer, we refresh": Scenario("timer-uas")
    .invite("Supported: timer", "Session-Expires: 600;refresher=uas")
    .answered("Session-Expires: 600;refresher=uas")
    .ack()
    .pause(200)
    .bye(),
    "INFO with a key": _call("info")
    .pause(200)
    .request("INFO", body=RELAY, kind="application/dtmf-relay")
    .response(200)
    .request("INFO", body=("7",), kind="application/dtmf")
    .response(200)
    .bye(),
    "INFO of another kind": _call("info-other")
    .request("INFO", body=("x",), kind="text/plain")
    .response(415, has="Accept: application/dtmf-relay")
    .bye(),
    "MESSAGE in a call": _call("message")
    .request("MESSAGE", body=("hello",), kind="text/plain")
    .response(405, has="Allow: INVITE")
    .bye(),
    "REFER to us": _call("refer")
    .request("REFER", "Refer-To: <sip:x@127.0.0.1>")
    .response(405)
    .bye(),
    "a method that nobody knows": _call("dance").request("DANCE").response(501).bye(),
    "OPTIONS in a call": _call("options")
    .request("OPTIONS")
    .response(200, has="Supported: 100rel")
    .bye(),
}


def dialogs(directory: Path) -> dict[str, SippResult]:
    need_sipp()
    with RealtimeThread() as realtime, GatewayProcess(realtime.url) as gateway:

        def run(numbered: tuple[int, Scenario]) -> SippResult:
            place = directory / str(numbered[0])
            place.mkdir()
            return run_sipp(numbered[1], gateway.sip, place, calls=CALLS, timeout_s=20)

        with ThreadPoolExecutor(len(SCENARIOS)) as pool:
            results = list(pool.map(run, enumerate(SCENARIOS.values())))
        pressed = len(gateway.lines("dtmf.received"))
        assert pressed == 2 * CALLS, f"{pressed} keys"
    return dict(zip(SCENARIOS, results, strict=True))


@looks_at(dialogs)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_call_fails(ahead: Ahead, scenario: str) -> None:
    result = ahead.result(dialogs)[scenario]
    assert (result.status, result.successful, result.failed) == (0, CALLS, 0), str(result)


@early
def test_early_media_is_acknowledged(directory: Path) -> None:
    """With PRACK where the caller wants it, and without where it does not."""
    need_sipp()
    plain = Scenario("early").invite().response(100, optional=True).response(183, has="m=audio")
    scenarios = [
        _reliable("required", "Require: 100rel"),
        _reliable("supported", "Supported: 100rel"),
        plain.answered().ack().pause(300).bye(),
    ]
    env = {"GATEWAY_SIP_EARLY_MEDIA": "ringback"}
    with RealtimeThread() as realtime, GatewayProcess(realtime.url, env) as gateway:
        for number, scenario in enumerate(scenarios):
            place = directory / str(number)
            place.mkdir()
            result = run_sipp(scenario, gateway.sip, place, calls=CALLS, timeout_s=20)
            assert (result.status, result.successful) == (0, CALLS), str(result)
        ended = gateway.wait_for_lines("call.ended", 3 * CALLS)
    assert {record["reason"] for record in ended} == {"remote_bye"}


@early
def test_an_interval_that_is_too_short_is_refused(directory: Path) -> None:
    need_sipp()
    brief = Scenario("brief").invite("Supported: timer", "Session-Expires: 60")
    scenario = brief.response(100, optional=True).response(422, has="Min-SE: 90").ack_refusal()
    with RealtimeThread() as realtime, GatewayProcess(realtime.url) as gateway:
        result = run_sipp(scenario, gateway.sip, directory, calls=CALLS, timeout_s=20)
        assert (result.status, result.successful) == (0, CALLS), str(result)
        assert not gateway.lines("call.incoming")


@early
def test_a_callee_rings_reliably_and_is_asked_whether_it_is_still_there(directory: Path) -> None:
    """Its 200 says nothing of media: the 183 was the answer. Half of 90 s later we refresh."""
    need_sipp()
    telephone = Sipp(
        "reliable",
        None,
        directory,
        media_port=free_range(4),
        timeout_s=90,
        options=("-rtp_echo",),
    )
    with GatewayProcess("") as gateway, telephone as callee:
        call_id = CallsApi(gateway).call(f"sip:callee@{HOST}:{callee.port}")
        gateway.wait_for("call.answered", 10, call_id=call_id, codec="pcmu")
        record = gateway.wait_for("call.ended", 70, call_id=call_id)
        result = callee.result()
        assert (result.status, result.successful) == (0, 1), str(result)
    assert record["reason"] == "remote_bye"
    assert record["rtp_sent"] > 0
