"""The torture messages of RFC 4475 through a whole agent: every answer is the one they deserve."""

from pathlib import Path

import pytest

from gateway.sip.events import IncomingCall
from gateway.sip.message import Address
from tests.sip.raw import Desk, read
from tests.sip.rfc4475 import CASES, FOLDER, torture

pytestmark = pytest.mark.pure

SOURCES = [Address("192.0.2.9", 5060, "udp"), Address("192.0.2.9", 40000, "tcp")]


@pytest.mark.parametrize("source", SOURCES, ids=["udp", "tcp"])
@pytest.mark.parametrize("name", CASES)
def test_the_answer_it_deserves(name: str, source: Address) -> None:
    """The agent takes every call that it is offered."""
    desk = Desk()
    desk.agent.receive(torture(name), source, desk.now)
    for event in desk.events():
        assert isinstance(event, IncomingCall)
        desk.agent.accept(event.dialog_id, b"v=0\r\n", desk.now)
    statuses = [
        int(outgoing.data.split(b" ")[1])
        for outgoing in desk.agent.datagrams_to_send()
        if outgoing.to.host == source.host and outgoing.to.transport == source.transport
    ]
    final = [status for status in statuses if status >= 200]
    answer = CASES[name].answer
    assert final == ([] if answer is None else [answer])


@pytest.mark.parametrize("name", CASES)
def test_nothing_of_it_stays(name: str) -> None:
    desk = Desk()
    desk.agent.receive(torture(name), SOURCES[0], desk.now)
    for event in desk.events():
        desk.agent.accept(event.dialog_id, b"v=0\r\n", desk.now)
    desk.wait(37)
    assert desk.is_empty


def test_one_agent_survives_all_of_them() -> None:
    if not FOLDER.is_dir():
        pytest.skip(f"the RFC 4475 messages are not at {FOLDER}")
    desk = Desk()
    for path in sorted(Path(FOLDER).glob("*.dat")):
        for source in SOURCES:
            desk.agent.receive(path.read_bytes(), source, desk.now)
    for outgoing in desk.agent.datagrams_to_send():
        read(outgoing.data)
    calls = [event for event in desk.events() if isinstance(event, IncomingCall)]
    assert len(calls) == desk.agent.dialogs
    for call in calls:
        desk.agent.reject(call.dialog_id, 486, desk.now)
    desk.wait(37)
    assert desk.is_empty
