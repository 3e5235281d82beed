"""Trunks that are asked whether they are there, on real sockets."""

import asyncio

import pytest
from structlog.testing import capture_logs

from gateway.sip.trunk import Trunk
from tests.legs.office import HOST, Office, free_port
from tests.legs.test_sip_registrations import Registrar

pytestmark = pytest.mark.loop


async def stands(office: Office, state: str) -> dict[str, str]:
    """What is told of the only trunk, once it stands so."""
    (standing,) = office.endpoint.probes.standings
    for _ in range(500):
        if standing.state == state:
            return standing.told
        await asyncio.sleep(0.01)
    raise AssertionError(standing)


async def test_a_trunk_that_answers_and_one_that_is_not_there() -> None:
    there, gone = Registrar("403 Forbidden"), free_port()
    port = free_port()
    server = await asyncio.get_running_loop().create_server(lambda: there, HOST, port)
    quiet = Trunk.parse("sip:quiet.example")
    for target, state in ((port, "up"), (gone, "down")):
        office = Office()
        await office.open()
        trunk = Trunk.parse(f"sip:carrier.example;proxy={HOST}:{target};transport=tcp;ping=5")
        with capture_logs() as logs:
            office.endpoint.probes.keep([quiet, trunk])
            reason = {} if state == "up" else {"reason": "transport"}
            told = await stands(office, state)
        assert told == {"trunk": "carrier.example", "state": state, **reason}
        (line,) = [line for line in logs if line["event"] == f"trunk.{state}"]
        assert line["trunk"] == "carrier.example"
        await office.close()
        assert office.agent.timers == office.agent.unanswered == 0
    assert there.heard[0].startswith("OPTIONS sip:carrier.example SIP/2.0")
    server.close()


async def test_a_look_up_that_is_going_on_ends_with_the_endpoint() -> None:
    office = Office()
    await office.open()
    office.endpoint.probes.keep([Trunk.parse("sip:nobody.invalid;transport=udp;ping=5")])
    await office.close()
    assert office.agent.timers == 0
