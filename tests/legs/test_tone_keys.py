"""Keys in the audio of a caller, as a port and a leg tell them."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from gateway.audio import g711
from gateway.legs.leg import DtmfIn
from gateway.sip.events import Answered, InfoReceived
from tests.audio.test_tones import pressed
from tests.legs.test_early_media import our_port, peer, peers
from tests.legs.test_rtp_port import Bench, HandClock, Peer, clock
from tests.legs.test_sip_leg import Line, free_pairs, sdp

pytestmark = pytest.mark.loop

__all__ = ["clock", "peer", "peers"]
EVENT = bytes((5, 0x80, 0x05, 0x00))
"""A press of 5, its only packet."""


def frames(key: str, law: Any = "pcmu") -> list[bytes]:
    """A press and a pause, 100 ms each."""
    samples = np.concatenate((pressed(key, 100), np.zeros(800))).astype(np.int16)
    audio = g711.encode(samples, law)
    return [audio[at : at + 160] for at in range(0, len(audio), 160)]


@pytest.fixture(params=[True, False])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.open(hears_tones=request.param)
    yield bench
    bench.port.close()
    for one in (bench.peer, bench.rtcp_peer):
        one.transport.close()
    await bench.arrive()


async def say(bench: Bench, clock: HandClock, keys: str, law: Any = "pcmu") -> None:
    for key in keys:
        for frame in frames(key, law):
            clock.now += 0.02
            await bench.say(frame, 0 if law == "pcmu" else 8)
            bench.tick()


def told(bench: Bench) -> list[tuple[str, str]]:
    return [(event.digit, event.way) for event in bench.events if isinstance(event, DtmfIn)]


@pytest.mark.parametrize("law", ["pcmu", "pcma"])
async def test_tones_are_keys_where_that_is_wanted(
    bench: Bench, clock: HandClock, law: Any
) -> None:
    wanted = bench.port._ear is not None
    bench.port.apply(bench.plan(codec=law, payload_type=0 if law == "pcmu" else 8))
    await say(bench, clock, "55#", law)
    assert told(bench) == ([("5", "tone"), ("5", "tone"), ("#", "tone")] if wanted else [])
    assert len(bench.heard) >= 28  # and the session hears all the same what was said


async def test_of_a_caller_who_has_a_better_way_tones_are_nobodys_business(
    bench: Bench, clock: HandClock
) -> None:
    bench.port.apply(bench.plan())
    await bench.say(EVENT, 101)
    await say(bench, clock, "9")
    assert told(bench) == [("5", "event")]


@pytest.mark.parametrize(
    ("changes", "hears"),
    [
        ({"dtmf_payload_type": None}, True),
        ({"remote_port": 9}, True),
        ({"direction": "sendonly"}, False),
        ({}, False),
    ],
)
async def test_whom_another_description_leaves_no_better_way_is_listened_to_again(
    bench: Bench, clock: HandClock, changes: dict[str, Any], hears: bool
) -> None:
    bench.port.apply(bench.plan())
    await bench.say(EVENT, 101)
    bench.port.apply(bench.plan(**changes))
    bench.port.apply(bench.plan(**{**changes, "direction": "sendrecv"}))
    await say(bench, clock, "9")
    tones = [("9", "tone")] if hears and bench.port._ear is not None else []
    assert told(bench) == [("5", "event"), *tones]


async def test_a_key_that_comes_in_three_ways_is_told_once(peer: Peer) -> None:
    line = Line(sdp(port=peer.address[1]), free_pairs(), hears_tones=True)
    line.leg.listen(line.events.append)
    await line.leg.answer()
    line.leg.dialog_event(Answered("d1", None))
    line.asked.insert(0, ("progress", (183, line.asked[-1][1][0])))
    for frame in frames("5"):
        peer.send(frame, our_port(line))
    bench = Bench()
    await bench.arrive()
    peer.send(EVENT, our_port(line), 101)
    await bench.arrive()
    line.leg.dialog_event(InfoReceived("d1", "application/dtmf-relay", b"Signal=5"))
    keys = [event for event in line.events if isinstance(event, DtmfIn)]
    assert [(key.digit, key.way) for key in keys] == [("5", "tone")]
    line.leg.dialog_event(InfoReceived("d1", "application/dtmf-relay", b"Signal=5"))
    assert len([event for event in line.events if isinstance(event, DtmfIn)]) == 2
    await line.leg.close()


async def test_a_key_held_for_long_is_told_once(peer: Peer, monkeypatch: Any) -> None:
    """The event begins when it goes down, the INFO comes when it is let go."""
    line = Line(sdp(port=peer.address[1]), free_pairs())
    line.leg.listen(line.events.append)
    await line.leg.answer()
    line.leg.dialog_event(Answered("d1", None))
    line.asked.insert(0, ("progress", (183, line.asked[-1][1][0])))
    clock = HandClock()
    monkeypatch.setattr("gateway.legs.sip_leg.time", clock)
    peer.send(EVENT, our_port(line), 101)
    await Bench().arrive()
    for passes, held_ms in ((2.6, 2500), (0.4, 200)):
        clock.now += passes
        body = f"Signal=5\r\nDuration={held_ms}\r\n".encode()
        line.leg.dialog_event(InfoReceived("d1", "application/dtmf-relay", body))
    keys = [event for event in line.events if isinstance(event, DtmfIn)]
    assert [(key.digit, key.way) for key in keys] == [("5", "event"), ("5", "info")]
    await line.leg.close()
