"""The wire cases by which gateways are judged, on networks that lose, delay and reorder packets.

SIPp is on one host, the gateway on another. No call may fail, whatever is lost, and nothing may be
left of any of them. Each network is a scene: all cases run through it at once, a few calls each.
"""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.ahead import Ahead, Scene, looks_at
from tests.peers.calls_api import CallsApi
from tests.peers.gateway import FREED_WITHIN_S, GatewayProcess
from tests.peers.line import RealtimeThread
from tests.peers.scenario import Scenario, session
from tests.peers.sipp import SippResult, need_sipp, run_sipp
from tests.peers.wan import Host, Link, Wan, need_namespaces

pytestmark = [pytest.mark.peer, pytest.mark.slow]

CALLS = 4
SEED = 7
RTP_TIMEOUT_S = 5
TRANSFER = "transfer"
"""Whoever calls this is sent elsewhere."""


@dataclass(frozen=True)
class Case:
    """What the callers do, and how that ends at the gateway."""

    scenario: Scenario
    reason: str = "remote_bye"
    transport: str = "u1"


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
        _transferred("transfer", "200 OK").asked("BYE").respond(200), reason="transferred"
    ),
    "transfer that fails": Case(_transferred("busy", "486 Busy Here").pause(500).bye()),
    "caller gone without BYE": Case(_call("gone").pause(500), reason="media_timeout"),
}


@dataclass(frozen=True)
class Crossing:
    """What came of one network."""

    results: dict[str, SippResult]
    reasons: Counter[str]
    """Of the ends of all calls, at the gateway."""
    lost: int
    """Packets."""


def clean(directory: Path) -> Crossing:
    return _crossing(Link(delay_s=0.01), directory)


def one_lost_of_a_hundred(directory: Path) -> Crossing:
    return _crossing(Link(loss=0.01, delay_s=0.02, jitter_s=0.05, reorder=0.02), directory)


def one_lost_of_twenty(directory: Path) -> Crossing:
    return _crossing(Link(loss=0.05, delay_s=0.02, jitter_s=0.05, reorder=0.05), directory)


NETWORKS = (clean, one_lost_of_a_hundred, one_lost_of_twenty)
across_each = pytest.mark.parametrize(
    "network", [pytest.param(one, marks=looks_at(one), id=one.__name__) for one in NETWORKS]
)


@across_each
@pytest.mark.parametrize("case", CASES)
def test_no_call_fails(ahead: Ahead, network: Scene[Crossing], case: str) -> None:
    result = ahead.result(network).results[case]
    assert (result.status, result.successful, result.failed) == (0, CALLS, 0), str(result)


@across_each
def test_each_call_ended_as_it_should(ahead: Ahead, network: Scene[Crossing]) -> None:
    """And nothing was left of any, or the scene would have failed."""
    crossing = ahead.result(network)
    wanted: Counter[str] = Counter()
    for case in CASES.values():
        wanted[case.reason] += CALLS
    assert crossing.reasons == wanted
    assert crossing.lost > 0 or network is clean


def _crossing(link: Link, directory: Path) -> Crossing:
    need_sipp()
    need_namespaces()
    with Wan(link, seed=SEED) as wan:
        results, reasons = wan.far.run(partial(_cross, wan, directory))
    return Crossing(results, reasons, sum(counts["lost"] for counts in wan.counts))


def _cross(wan: Wan, directory: Path) -> tuple[dict[str, SippResult], Counter[str]]:
    env = {
        "GATEWAY_SIP_ALLOW": f"{wan.near.address}/32",
        "GATEWAY_RTP_TIMEOUT_S": str(RTP_TIMEOUT_S),
    }
    with (
        RealtimeThread() as realtime,
        GatewayProcess(realtime.url, env, host=wan.far.address) as gateway,
        ThreadPoolExecutor(len(CASES)) as pool,
    ):
        baseline = gateway.footprint()
        runs = {}
        for number, (name, case) in enumerate(CASES.items()):
            place = directory / str(number)
            place.mkdir()
            runs[name] = pool.submit(_place_calls, wan.near, gateway.sip, case, place)
        while not all(run.done() for run in runs.values()):
            _refer(gateway)
            time.sleep(0.2)
        results = {name: run.result() for name, run in runs.items()}
        gateway.wait_for_footprint(baseline, RTP_TIMEOUT_S + FREED_WITHIN_S)
        return results, Counter(str(record["reason"]) for record in gateway.ended_calls())


def _refer(gateway: GatewayProcess) -> None:
    """The application: it sends whoever called `TRANSFER` elsewhere, once."""
    api = CallsApi(gateway)
    for call in api.calls():
        wanted = call["to"].startswith(f"sip:…{TRANSFER[-4:]}@")
        if wanted and call["state"] == "active" and call["transfer"] is None:
            api.refer(call["id"], "tel:+15550001111")


def _place_calls(host: Host, gateway: tuple[str, int], case: Case, directory: Path) -> SippResult:
    def there() -> SippResult:
        return run_sipp(
            case.scenario,
            gateway,
            directory,
            host=host.address,
            transport=case.transport,
            calls=CALLS,
            rate=2,
            timeout_s=50,
            # Where packets overtake each other, a late one is nothing to give a call up for.
            options=("-default_behaviors", "all,-abortunexp"),
        )

    return host.run(there)
