"""The yardstick for WebRTC: an echo server as one writes it with aiortc, `python -m bench.stock`.

An aiohttp server that answers each posted offer with an `RTCPeerConnection`, and sends what comes
back through a track of its own: aiortc orders the packets in its jitter buffer, decodes them in a
thread, measures the level of each frame, encodes it in another thread and sends it. Nothing of
aiortc is changed, and the event loop is uvloop as in the gateway.

It does less than the gateway: there is no Realtime server behind it, so no WebSocket, no JSON
and no base64, no change of rate, no playout that can be cut off, no digits, no API and no log. More
than the gateway it does only where aiortc does: it decodes and encodes PCMU too, Opus in stereo at
48 kHz and 96 kbit/s.

It prints its port.
"""

import asyncio
import signal
from typing import Any

import uvloop
from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from av.frame import Frame
from av.packet import Packet


class Echo(MediaStreamTrack):
    """What another track brings."""

    kind = "audio"

    def __init__(self, source: MediaStreamTrack) -> None:
        super().__init__()
        self._source = source

    async def recv(self) -> "Frame | Packet[Any]":
        return await self._source.recv()


class EchoServer:
    """All calls."""

    def __init__(self) -> None:
        self._peers: set[RTCPeerConnection] = set()

    async def answer(self, request: web.Request) -> web.Response:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))  # else it asks Google for each
        self._peers.add(peer)

        @peer.on("track")
        def track_came(track: MediaStreamTrack) -> None:
            peer.addTrack(Echo(track))

        @peer.on("connectionstatechange")
        async def state_changed() -> None:
            if peer.connectionState in ("closed", "failed") and peer in self._peers:
                self._peers.remove(peer)
                await peer.close()

        await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        return web.Response(
            status=201, text=peer.localDescription.sdp, content_type="application/sdp"
        )


async def serve() -> None:
    """Serve on loopback until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app = web.Application()
    app.router.add_post("/", EchoServer().answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(serve())
