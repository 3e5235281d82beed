"""A great many messages, most of them damaged, over each transport, to calls in every phase: no
exception, no request that waits for an answer of nobody, and nothing is kept, not even for the
garbage collector to find.

`FUZZ_MESSAGES=200000` makes it the whole of that. One agent lives through all of them, so that
what it forgets to let go of adds up.
"""

import gc
import os
import random
from collections.abc import Callable
from ipaddress import ip_network

import pytest

from gateway.sip.errors import SipError
from gateway.sip.message import Address
from gateway.sip.stream import StreamFramer
from tests.circles import circles
from tests.sip.phases import drain, messages_of_calls
from tests.sip.raw import PEER, Desk, request
from tests.sip.test_agent_fuzz import traffic

pytestmark = pytest.mark.pure

MESSAGES = int(os.environ.get("FUZZ_MESSAGES", "1000"))
ROUND = 500
"""After so many the calls are over, and others are set up for the next ones to hit."""
FRIENDS = 0.8
"""So many come from somebody who is let in."""
GROWTH = 1000
"""So many objects may be there at the end that were not there after the first rounds, those in the
caches of what was parsed among them."""


def origin(rng: random.Random, transport: str) -> Address:
    if rng.random() < FRIENDS:
        return Address(PEER.host, PEER.port if transport == "udp" else 40000, transport)
    return Address(f"198.51.{rng.randrange(100)}.{rng.randrange(250)}", 40000, transport)


class Datagrams:
    """What one datagram, or one frame of a WebSocket, is to the agent."""

    def __init__(self, desk: Desk, rng: random.Random, transport: str) -> None:
        self._desk, self._rng, self._transport = desk, rng, transport

    def send(self, data: bytes) -> None:
        source = origin(self._rng, self._transport)
        self._desk.agent.receive(data, source, self._desk.now)
        if source.is_websocket and self._rng.random() < 0.01:
            self._desk.agent.connection_lost(source, self._desk.now)


class Stream:
    """A connection that is cut into pieces anywhere; after nonsense there is another."""

    def __init__(self, desk: Desk, rng: random.Random, transport: str) -> None:
        self._desk, self._rng, self._transport = desk, rng, transport
        self._connect()

    def _connect(self) -> None:
        self._framer = StreamFramer()
        self._source = origin(self._rng, self._transport)

    def send(self, data: bytes) -> None:
        while data:
            size = self._rng.choice((1, 7, 100, 1500, len(data)))
            self._arrive(data[:size])
            data = data[size:]
        if self._rng.random() < 0.05:
            self._close()

    def _arrive(self, piece: bytes) -> None:
        agent, now = self._desk.agent, self._desk.now
        try:
            for message in self._framer.feed(piece):
                agent.receive(message, self._source, now)
            self._framer.replies()
        except SipError as error:
            agent.refuse(error, self._source, now)
            self._close()

    def _close(self) -> None:
        self._desk.agent.connection_lost(self._source, self._desk.now)
        self._connect()


WIRES: dict[str, Callable[[Desk, random.Random, str], Datagrams | Stream]] = {
    "udp": Datagrams,
    "tcp": Stream,
    "tls": Stream,
    "ws": Datagrams,
    "wss": Datagrams,
}


def guarded() -> Desk:
    """Somebody is let in as he is, others with a password, and most not at all."""
    return Desk(
        allow=(ip_network(f"{PEER.host}/32"),),
        users={"alice": "s3cret"},
        realm="line",
        rate=1000.0,
        accept_refer=True,
        accept_replaces=True,
    )


@pytest.mark.parametrize("transport", sorted(WIRES))
def test_nothing_is_left_of_any_of_them(transport: str) -> None:
    rng, desk = random.Random(transport), guarded()
    wire = WIRES[transport](desk, rng, transport)
    objects = []
    for number in range(MESSAGES // ROUND):
        with circles() as left:
            for data in traffic(rng, messages_of_calls(desk), ROUND):
                wire.send(data)
                drain(desk, rng)
                desk.agent.notices()
                desk.skip(rng.random() * 0.2)
            assert desk.forgotten == [], f"in round {number}"
            for dialog_id in list(desk.agent._board.calls):
                desk.agent.hang_up(dialog_id, desk.now)
            desk.skip(600)
            desk.events()
            assert desk.forgotten == [], f"in round {number}"
            assert desk.is_empty, f"in round {number}"
        assert not left, f"in round {number}"
        objects.append(len(gc.get_objects()))
        again = request("OPTIONS", branch=f"alive{number}")
        assert desk.status(again) == 200
    sources = len(desk.agent._reception.throttle)
    assert objects[-1] - objects[1] < GROWTH + sources, (objects, sources)
