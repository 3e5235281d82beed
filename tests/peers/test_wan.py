"""The wire cases by which gateways are judged, on networks that lose, delay and reorder packets.

SIPp is on one host, two gateways are on another. No call may fail, whatever is lost, and nothing
may be left of any of them. Each network is a scene: all cases run through it at once, a few calls
each, and beside them those of `wan_calls`, in which it matters what is heard.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from tests.ahead import Ahead, Scene, looks_at
from tests.peers import pcap
from tests.peers.audio import write_wav
from tests.peers.calls_api import CallsApi
from tests.peers.fake_realtime import FakeConnection
from tests.peers.gateway import FREED_WITHIN_S, GatewayProcess, free_port
from tests.peers.line import RealtimeThread
from tests.peers.scenario import Scenario
from tests.peers.sipp import SippResult, need_sipp, run_sipp
from tests.peers.speech import monologue
from tests.peers.wan import Link, Wan, need_namespaces
from tests.peers.wan_calls import HEARD, PASSWORD, RINGS_S, UNHEARD, USER, Place
from tests.peers.wan_cases import BRIDGE, CASES, TRANSFER, Case
from tests.sdk import authority

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.timeout(240),  # a call is up for a minute, and half a minute later forgotten
    pytest.mark.usefixtures("meanwhile"),
]

CALLS = 4
SEED = 7
RTP_TIMEOUT_S = 5
_listening = threading.Lock()
"""Of all networks, one at a time."""
_UNEXPECTED = ("-default_behaviors", "all,-abortunexp")
"""Where packets overtake each other, a late one is nothing to give a call up for."""
KEYS = pcap.KEYS + "00##"
DTMF = "DTMF by RFC 4733"
"""Replayed from a capture."""


@dataclass(frozen=True)
class Crossing:
    """What came of one network."""

    results: dict[str, SippResult]
    by_hand: dict[str, Future[Counter[str]]]
    reasons: Counter[str]
    """Of the ends of all calls, at the gateways."""
    keys: Counter[str]
    """What the callers pressed, as the gateway reports it, and how many calls it was."""
    joined: int
    """Calls that were, to a third party."""
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
@pytest.mark.parametrize("case", [*CASES, DTMF])
def test_no_call_fails(ahead: Ahead, network: Scene[Crossing], case: str) -> None:
    result = ahead.result(network).results[case]
    assert (result.status, result.successful, result.failed) == (0, CALLS, 0), str(result)


@across_each
@pytest.mark.parametrize("case", [*HEARD, *UNHEARD])
def test_no_call_by_hand_fails(ahead: Ahead, network: Scene[Crossing], case: str) -> None:
    print(dict(ahead.result(network).by_hand[case].result()))


@across_each
def test_each_key_is_reported_once(ahead: Ahead, network: Scene[Crossing]) -> None:
    """Whether its packets were lost or overtaken, or the INFO came twice."""
    assert ahead.result(network).keys == {KEYS: CALLS, "57": CALLS}


@across_each
def test_each_call_ended_as_it_should(ahead: Ahead, network: Scene[Crossing]) -> None:
    """And nothing was left of any, or the scene would have failed."""
    crossing = ahead.result(network)
    wanted: Counter[str] = Counter(remote_bye=CALLS)  # with the keys
    for case in CASES.values():
        wanted[case.reason] += CALLS
    del wanted[""]
    for outcome in crossing.by_hand.values():
        wanted += outcome.result()
    assert crossing.reasons == wanted
    assert crossing.joined == CALLS
    assert crossing.lost > 0 or network is clean


def _crossing(link: Link, directory: Path) -> Crossing:
    need_sipp(raw_socket=True)
    need_namespaces()
    with Wan(link, seed=SEED) as wan:
        crossing = wan.far.run(partial(_cross, wan, link, directory))
    return replace(crossing, lost=sum(counts["lost"] for counts in wan.counts))


@contextmanager
def _place(wan: Wan, link: Link, directory: Path, callee_port: int) -> Iterator[Place]:
    """Both gateways, on the far host, and their model. Callers at `callee_port` may be called."""
    files = authority.make(directory)
    write_wav(directory / "announcement.wav", monologue())
    ports = [free_port() for _ in range(CALLS)]
    both = {"GATEWAY_RTP_TIMEOUT_S": str(RTP_TIMEOUT_S)}
    for_all = {
        "GATEWAY_SIP_ALLOW": f"{wan.near.address}/32",
        "GATEWAY_SIP_TLS_PORT": str(free_port()),
        "GATEWAY_SIP_TLS_CERT": str(files.certificate),
        "GATEWAY_SIP_TLS_KEY": str(files.key),
        "GATEWAY_CALLS_BRIDGE": "leave",
        "GATEWAY_CALLS_TARGETS": ",".join(
            ["tel:+1555", *(f"sip:*@{wan.near.address}:{port}" for port in (callee_port, *ports))]
        ),
    }
    for_few = {
        "GATEWAY_SIP_USERS": f"{USER}:{PASSWORD}",
        "GATEWAY_SIP_DIGEST": "MD5",
        "GATEWAY_SIP_RATE": "0",
        "GATEWAY_SIP_EARLY_MEDIA": str(directory / "announcement.wav"),
    }
    host = wan.far.address

    async def script(session: FakeConnection, number: int) -> None:
        await place.script(session, number)

    with (
        RealtimeThread(script) as realtime,
        RealtimeThread() as slow,
        GatewayProcess(realtime.url, both | for_all, host=host) as for_everybody,
        GatewayProcess(slow.url, both | for_few, host=host) as guarded,
    ):
        slow.server.update_after_s = RINGS_S
        place = Place(wan.near, link, for_everybody, guarded, files.authority, realtime, ports)
        yield place


def _cross(wan: Wan, link: Link, directory: Path) -> Crossing:
    callee_port = free_port()
    with (
        _place(wan, link, directory, callee_port) as place,
        ThreadPoolExecutor(len(CASES) + len(UNHEARD) + 2) as pool,
    ):
        gateways = place.open, place.guarded
        baselines = [gateway.footprint() for gateway in gateways]
        runs = {
            name: pool.submit(_place_calls, place, case, directory) for name, case in CASES.items()
        }
        callee = pool.submit(_answer_calls, place, callee_port, directory)
        while not all(run.done() for name, run in runs.items() if not CASES[name].waits):
            _refer(place, callee_port)
            time.sleep(0.2)
        callee.result()
        # Whoever listens is beside those that wait: beside all others it would be late, and what a
        # busy machine loses is no loss of the network's.
        by_hand = {name: pool.submit(call, place) for name, call in UNHEARD.items()}
        with _listening:
            pressing = pool.submit(_press_keys, place, directory)
            for name, call in HEARD.items():
                by_hand[name] = pool.submit(call, place)
                wait([by_hand[name]])
            keys = pressing.result()
        results = {name: run.result() for name, run in runs.items()} | {DTMF: keys}
        for gateway, baseline in zip(gateways, baselines, strict=True):
            gateway.wait_for_footprint(baseline, RTP_TIMEOUT_S + FREED_WITHIN_S)
        ended = [record for gateway in gateways for record in gateway.ended_calls()]
        pressed: dict[object, str] = {}
        for line in place.open.lines("dtmf.received"):
            pressed[line["call_id"]] = pressed.get(line["call_id"], "") + line["digit"]
        return Crossing(
            results,
            by_hand,
            Counter(str(record["reason"]) for record in ended),
            Counter(pressed.values()),
            sum(bool(record["bridged"]) for record in ended),
            lost=0,
        )


def _refer(place: Place, callee_port: int) -> None:
    """The application: it sends whoever called `TRANSFER` or `BRIDGE` elsewhere, once."""
    api = CallsApi(place.open)
    targets = {
        TRANSFER: "tel:+15550001111",
        BRIDGE: f"sip:callee@{place.near.address}:{callee_port}",
    }
    for call in api.calls():
        for user, target in targets.items():
            wanted = call["to"].startswith(f"sip:…{user[-4:]}@")
            if wanted and call["state"] == "active" and call["transfer"] is None:
                api.refer(call["id"], target)


def _place_calls(place: Place, case: Case, directory: Path) -> SippResult:
    gateway = place.guarded if case.guarded else place.open
    return _run(
        place,
        case.scenario,
        gateway.sip,
        directory,
        transport=case.transport,
        options=(
            *_UNEXPECTED,
            *(["-rtp_echo"] if case.echoes else []),
            *("-auth_uri", f"agent@{gateway.host}:{gateway.sip_port}"),
        ),
    )


def _press_keys(place: Place, directory: Path) -> SippResult:
    capture = directory / "keys.pcap"
    duration_s = pcap.write(capture, pcap.key_presses(KEYS, pcap.whole))
    # SIPp plays it as fast as it is let: what is not played before the BYE was not pressed.
    fill = {"CAPTURE": str(capture), "HOLD_MS": f"{(duration_s + 4) * 1000:.0f}"}
    return _run(place, "replay", place.open.sip, directory, options=_UNEXPECTED, fill=fill)


def _answer_calls(place: Place, port: int, directory: Path) -> SippResult:
    """Whom callers are joined to."""
    fill = {"THEN": "hears_bye", "HOLD_MS": "0"}
    options = (*_UNEXPECTED, "-rtp_echo")
    return _run(place, "answering", None, directory, port=port, options=options, fill=fill)


def _run(
    place: Place,
    scenario: str | Scenario,
    gateway: tuple[str, int] | None,
    directory: Path,
    **options: object,
) -> SippResult:
    """SIPp on the near host."""
    fixed = {"host": place.near.address, "calls": CALLS, "rate": 2, "timeout_s": 120}
    own = directory / f"sipp-{free_port()}"
    own.mkdir()
    return place.near.run(lambda: run_sipp(scenario, gateway, own, **fixed, **options))
