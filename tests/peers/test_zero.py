"""What is left when everybody has hung up: nothing. The last module, on purpose.

Here end the gateways that the other modules shared. Each of their calls is over by now, and 64 * T1
later the last transaction is, whatever the callers did or did not do.
"""

import time

import pytest

from tests.peers.conftest import HALF_OPEN_CALLS
from tests.peers.gateway import FREED_WITHIN_S, GatewayProcess
from tests.peers.line import HalfOpen, Line, LoadLine

pytestmark = [pytest.mark.peer, pytest.mark.slow]


def assert_every_call_ended_once(gateway: GatewayProcess) -> None:
    incoming = [line["call_id"] for line in gateway.lines("call.incoming")]
    ended = [line["call_id"] for line in gateway.lines("call.ended")]
    assert sorted(incoming) == sorted(ended)
    assert all(line["reason"] for line in gateway.ended_calls())
    samples = gateway.metrics()
    counted = sum(value for name, value in samples.items() if name.startswith("gateway_calls_tot"))
    assert counted == len(ended)


def test_calls_that_were_never_acknowledged_are_given_up(half_open: HalfOpen) -> None:
    result = half_open.run.result()
    assert (result.status, result.successful) == (0, HALF_OPEN_CALLS), str(result)


def test_the_loaded_gateway_holds_nothing(load_line: LoadLine, half_open: HalfOpen) -> None:
    gateway = load_line.gateway
    left_s = half_open.answered_at_s + FREED_WITHIN_S - time.monotonic()
    ended = gateway.wait_for_lines("call.ended", HALF_OPEN_CALLS, max(left_s, 1), half_open.mark)
    assert {record["reason"] for record in ended} == {"no_ack"}
    left_s = half_open.answered_at_s + FREED_WITHIN_S - time.monotonic()
    gateway.wait_for_footprint(load_line.baseline, max(left_s, 2))
    assert_every_call_ended_once(gateway)
    gateway.check()


@pytest.mark.parametrize("name", ["line", "stream_line"])
def test_the_shared_gateways_hold_nothing(name: str, request: pytest.FixtureRequest) -> None:
    shared: Line = request.getfixturevalue(name)
    shared.gateway.wait_for_footprint(shared.baseline, FREED_WITHIN_S)
    assert_every_call_ended_once(shared.gateway)
    shared.gateway.check()
