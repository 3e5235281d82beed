"""Packet loss on a WebRTC leg: how much of the rest is played, and how late.

The same calls go to stock aiortc, for comparison: its figures are printed, and nothing is asked of
them.
"""

import asyncio
from base64 import b64decode

import aiohttp
import numpy as np
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from tests.peers import lossy
from tests.peers.audio import mulaw
from tests.peers.fake_realtime import FakeConnection, FakeRealtime
from tests.peers.gateway import HOST, GatewayProcess
from tests.peers.lossy import Heard, Outcome

pytestmark = [pytest.mark.peer, pytest.mark.slow]

LOSSES = (0.0, 0.01, 0.03, 0.1)
CALLS = 4
"""Of each."""
DURATION_S = 6.0


async def to_gateway(gateway: GatewayProcess, realtime: FakeRealtime, loss: float, seed: int) -> Outcome:
    heard = Heard()
    url = f"http://{HOST}:{gateway.http_port}/v1/realtime/calls"

    async def answer(offer: str) -> str:
        headers = {"Content-Type": "application/sdp"}
        async with aiohttp.ClientSession() as session, session.post(
            url, data=offer, headers=headers
        ) as response:
            text = await response.text()
            assert response.status == 201, text
        return text

    return await lossy.call(answer, heard, loss, seed, DURATION_S)
