"""Packet loss on a WebRTC leg: how much of the rest is played, and how late.

The same calls then go to stock aiortc, for comparison: its figures are printed beside the
gateway's, and nothing is asked of them.
"""

import asyncio
from base64 import b64decode

import aiohttp
import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from tests.peers import lossy
from tests.peers.audio import mulaw
from tests.peers.fake_realtime import FakeRealtime
from tests.peers.gateway import HOST, GatewayProcess
from tests.peers.lossy import Heard, Outcome

pytestmark = [pytest.mark.peer, pytest.mark.slow]

LOSSES = (0.0, 0.01, 0.03, 0.1)
CALLS = 3
"""Of each, side by side."""
DURATION_S = 5.0
MOST_DELAY_S = 0.12


class ToGateway:
    """Calls whose audio is heard by the Realtime server behind a gateway."""

    def __init__(self, gateway: GatewayProcess, realtime: FakeRealtime) -> None:
        self._url = f"http://{HOST}:{gateway.http_port}/v1/realtime/calls"
        self._realtime = realtime
        self._turn = asyncio.Lock()  # so that it is known whose session is whose

    async def call(self, loss: float, seed: int) -> Outcome:
        heard, number = Heard(), 0

        async def answer(offer: str) -> str:
            nonlocal number
            async with self._turn, aiohttp.ClientSession() as client:
                number = len(self._realtime.connections)
                headers = {"Content-Type": "application/sdp"}
                async with client.post(self._url, data=offer, headers=headers) as response:
                    text = await response.text()
                assert response.status == 201, text
                assert len(self._realtime.connections) == number + 1
            return text

        def told() -> None:
            for one in self._realtime.connections[number].received:
                if one.event["type"] == "input_audio_buffer.append":
                    heard.add(b64decode(one.event["audio"]), one.at_s)

        return await lossy.call(answer, heard, loss, seed, DURATION_S, told)


async def to_aiortc(loss: float, seed: int) -> Outcome:
    """A call whose audio comes out of a track of aiortc."""
    heard, callee = Heard(), RTCPeerConnection()
    listening: list[asyncio.Task[None]] = []

    async def listen(track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                assert isinstance(frame, AudioFrame)
                samples = frame.to_ndarray().reshape(-1) / 32768
                heard.add(mulaw(samples), asyncio.get_running_loop().time())
        except MediaStreamError:
            return

    async def answer(offer: str) -> str:
        await callee.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await callee.setLocalDescription(await callee.createAnswer())
        return str(callee.localDescription.sdp)

    callee.on("track", lambda track: listening.append(asyncio.create_task(listen(track))))
    try:
        return await lossy.call(answer, heard, loss, seed, DURATION_S)
    finally:
        await callee.close()
        await asyncio.gather(*listening)


async def test_little_is_lost_beside_what_the_network_loses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = [(loss, seed) for loss in LOSSES for seed in range(CALLS)]
    async with FakeRealtime() as realtime:
        gateway = GatewayProcess(realtime.url)
        await asyncio.to_thread(gateway.start)
        try:
            line = ToGateway(gateway, realtime)
            to_us = await asyncio.gather(*(line.call(loss, seed) for loss, seed in plan))
        finally:
            gateway.terminate()
            await asyncio.to_thread(gateway.wait)
        gateway.check()
    # One after the other: all of it at once is more than a processor does in time.
    to_them = await asyncio.gather(*(to_aiortc(loss, seed) for loss, seed in plan))
    ours = [lossy.together(some) for some in batched(to_us)]
    theirs = [lossy.together(some) for some in batched(to_them)]
    with capsys.disabled():
        print()
        for name, some in (("gateway", ours), ("stock aiortc", theirs)):
            for loss, row in zip(LOSSES, some, strict=True):
                print(lossy.told(name, loss, row))

    # What a busy machine costs, it costs the calls without loss as well.
    whole, *lossy_ones = ours
    assert whole.share > 0.9
    for loss, row in zip(LOSSES[1:], lossy_ones, strict=True):
        assert row.received > CALLS * DURATION_S / lossy.FRAME_S * 0.5
        assert row.mean_delay_s - whole.mean_delay_s < MOST_DELAY_S, loss
        if loss == 0.01:
            assert row.share > 0.97 * whole.share


def batched(outcomes: list[Outcome]) -> list[list[Outcome]]:
    """Those of one loss each."""
    return [outcomes[at : at + CALLS] for at in range(0, len(outcomes), CALLS)]
