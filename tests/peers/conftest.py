"""What the modules of this folder share: two gateways that live as long as the whole run.

A SIP transaction outlives its call by half a minute. A test that waited for that by itself would do
nothing else; so the tests leave their calls behind, and the last module, `test_zero`, looks at what
is left of all of them together.
"""

import time
from collections.abc import Iterator

import pytest

from tests.peers.gateway import GatewayProcess, eventually
from tests.peers.line import (
    HalfOpen,
    Line,
    LoadLine,
    RealtimeThread,
    bench_model,
    speech_file,
)
from tests.peers.media import Phone
from tests.peers.sipp import Sipp, need_sipp
from tests.peers.wire import Caller, UdpWire, offer

HALF_OPEN_CALLS = 400


@pytest.fixture(scope="session")
def line() -> Iterator[Line]:
    with (
        RealtimeThread() as realtime,
        GatewayProcess(realtime.url, {"GATEWAY_RTP_TIMEOUT_S": "60"}) as gateway,
    ):
        warm_up(gateway)
        yield Line(gateway, realtime, gateway.footprint())


@pytest.fixture(scope="session")
def stream_line(line: Line) -> Iterator[Line]:
    """A second gateway, for what must not meet the transactions that `line` remembers."""
    with GatewayProcess(line.realtime.url) as gateway:
        warm_up(gateway)
        yield Line(gateway, line.realtime, gateway.footprint())


@pytest.fixture(scope="session")
def load_line() -> Iterator[LoadLine]:
    need_sipp()
    settings = {
        "GATEWAY_CALLS_MAX": str(2 * HALF_OPEN_CALLS),
        "GATEWAY_RTP_TIMEOUT_S": "90",
        "GATEWAY_LOG_LEVEL": "info",
    }
    with (
        bench_model() as url,
        GatewayProcess(url, settings, media_ports=4 * HALF_OPEN_CALLS) as gateway,
    ):
        warm_up(gateway)
        yield LoadLine(gateway, gateway.footprint())


@pytest.fixture(scope="session")
def half_open(load_line: LoadLine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HalfOpen]:
    """Returns as soon as all are answered; `test_zero` sees to their end."""
    gateway = load_line.gateway
    mark = gateway.mark()
    with Sipp(
        "half_open",
        gateway.sip,
        tmp_path_factory.mktemp("half-open"),
        calls=HALF_OPEN_CALLS,
        rate=100,
        timeout_s=70,
    ) as run:
        gateway.wait_for_lines("call.accepted", HALF_OPEN_CALLS, 20, mark)
        yield HalfOpen(run, mark, time.monotonic())


@pytest.fixture(scope="session")
def mulaw_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return speech_file(tmp_path_factory.mktemp("audio"))


def warm_up(gateway: GatewayProcess) -> None:
    """One short call, so that what is made once and kept is there before anything is counted."""
    with Phone() as phone, Caller(UdpWire(gateway.sip), gateway.sip) as caller:
        mark = gateway.mark()
        # The Realtime server may still be starting.
        assert eventually(lambda: _answered(caller, phone), 10, 0.2)
        caller.hang_up()
        gateway.wait_for("call.ended", since=mark, reason="remote_bye")
    eventually(lambda: gateway.footprint().calls == 0, 5)


def _answered(caller: Caller, phone: Phone) -> bool:
    caller.invite(offer(phone.port))
    final = caller.final()
    caller.ack(final)
    return final.status == 200
