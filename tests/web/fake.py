"""A gateway that is not there, for the page: its HTTP answers and its events are the test's to write.

The page's files are the real ones, served by the real route. A call is answered by aiortc; the
agent's voice is a tone that a test switches on and off.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from aiohttp import web
from aiortc import MediaStreamTrack, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from gateway.api import pages

RATE_HZ = 48_000
FRAME = RATE_HZ // 50
DIAL = "sip:agent@192.0.2.2:5060"
KEY = "key-of-the-page"
UNREACHABLE = "192.0.2.99"

Event = dict[str, Any]


class Voice(MediaStreamTrack):
    """20 ms after 20 ms, a tone or silence."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.speaking = False
        self._frames = 0
        self._began = 0.0

    async def recv(self) -> AudioFrame:
        loop = asyncio.get_running_loop()
        if not self._frames:
            self._began = loop.time()
        self._frames += 1
        await asyncio.sleep(max(0.0, self._began + self._frames / 50 - loop.time()))
        at = np.arange(FRAME) + self._frames * FRAME
        swell = 0.55 + 0.45 * np.sin(2 * np.pi * 2.7 * at / RATE_HZ)
        tone = np.sin(2 * np.pi * 220 * at / RATE_HZ) * swell * (0.3 if self.speaking else 0)
        frame = AudioFrame.from_ndarray((tone * 32767).astype(np.int16)[None, :], layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, int(at[0]), Fraction(1, RATE_HZ)
        return frame


@dataclass
class Refusal:
    """How the next offer is answered instead."""

    status: int
    message: str
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class FakeGateway:
    """What the page finds, and what it has asked."""

    key: str | None = None
    """Asked for when it is set."""
    refusal: Refusal | None = None
    reachable: bool = True
    """Whether the answer has an address at which somebody is."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    not_ready: str | None = None
    url: str = ""
    offers: list[str] = field(default_factory=list)
    sessions: list[Any] = field(default_factory=list)
    hung_up: list[str] = field(default_factory=list)
    referred: list[tuple[str, str]] = field(default_factory=list)
    received: list[Event] = field(default_factory=list)
    """Events of the page."""
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    voice: Voice | None = None
    loudness: float = 0.0
    """Of the latest 20 ms that the page has sent, full scale 1.0."""
    _peers: list[RTCPeerConnection] = field(default_factory=list)
    _channel: RTCDataChannel | None = None
    _listening: list[asyncio.Task[None]] = field(default_factory=list)

    def send(self, *events: Event) -> None:
        """To the page, on the data channel."""
        assert self._channel is not None
        for number, event in enumerate(events):
            self._channel.send(json.dumps({"event_id": f"event_{number}", **event}))

    async def asked(self, kind: str) -> Event:
        """The first event of this type that the page sent."""
        async with asyncio.timeout(10):
            while True:
                for event in self.received:
                    if event["type"] == kind:
                        return event
                await asyncio.sleep(0.02)

    async def leave(self) -> None:
        """The line hangs up."""
        for peer in self._peers:
            await peer.close()
        await asyncio.gather(*self._listening)

    # HTTP.

    async def create(self, request: web.Request) -> web.Response:
        form = await request.post()
        offer, session = str(form["sdp"]), form.get("session")
        self.offers.append(offer)
        self.sessions.append(None if session is None else json.loads(str(session)))
        if self.refusal is not None:
            refusal = self.refusal
            return error(refusal.status, refusal.message, refusal.code, refusal.headers)
        answer = await self._answer(offer)
        headers = {"Location": "/v1/realtime/calls/rtc_page"}
        return web.Response(
            text=answer, status=201, content_type="application/sdp", headers=headers
        )

    async def _answer(self, offer: str) -> str:
        peer = RTCPeerConnection()
        self._peers.append(peer)
        self.opened.clear()
        self.received.clear()
        peer.on("datachannel", self._channel_came)
        peer.on(
            "track", lambda track: self._listening.append(asyncio.create_task(self._hear(track)))
        )
        if not self.reachable:  # and nobody there tries to reach the page
            offer = re.sub(r"a=candidate.*\r\n", "", offer)
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        self.voice = Voice()
        peer.addTrack(self.voice)
        await peer.setLocalDescription(await peer.createAnswer())
        lines = peer.localDescription.sdp.splitlines()
        _take_keys(offer, lines)
        if not self.reachable:
            lines = [line for line in lines if not line.startswith("a=candidate")]
            at = next(index for index, line in enumerate(lines) if line.startswith("a=mid"))
            lines.insert(at, f"a=candidate:1 1 udp 2130706431 {UNREACHABLE} 9 typ host")
        return "\r\n".join(lines) + "\r\n"

    def _channel_came(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", lambda text: self.received.append(json.loads(text)))
        self.send({"type": "session.created", "session": {"type": "realtime", "audio": {}}})
        self.opened.set()

    async def _hear(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, AudioFrame)
            samples = frame.to_ndarray().astype(np.float64) / 32768
            self.loudness = float(np.sqrt((samples**2).mean()))

    async def listing(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": self.calls, "has_more": False})

    async def retrieve(self, request: web.Request) -> web.Response:
        for call in self.calls:
            if call["id"] == request.match_info["call_id"]:
                return web.json_response(call)
        return error(404, "No session found for the provided call_id", "call_id_not_found")

    async def hang_up(self, request: web.Request) -> web.Response:
        call_id = request.match_info["call_id"]
        self.hung_up.append(call_id)
        if call_id == "rtc_page":
            await self.leave()
        return web.Response()

    async def refer(self, request: web.Request) -> web.Response:
        target = (await request.json())["target_uri"]
        if not target.startswith(("sip:", "tel:")):
            return error(400, "Invalid value. Expected a sip: or tel: URI.", "invalid_value")
        self.referred.append((request.match_info["call_id"], target))
        return web.Response()

    async def ready(self, _: web.Request) -> web.Response:
        if self.not_ready is None:
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "unavailable", "reason": self.not_ready}, status=503)

    @web.middleware
    async def doors(self, request: web.Request, handler: Any) -> web.StreamResponse:
        given = request.headers.get("Authorization")
        if self.key and request.path.startswith("/v1/") and given != f"Bearer {self.key}":
            told = "Missing bearer authentication." if given is None else "Incorrect API key."
            return error(401, told, None if given is None else "invalid_api_key")
        response: web.StreamResponse = await handler(request)
        return response


def _take_keys(offer: str, answer: list[str]) -> None:
    """Have the answer take telephone-events, of which aiortc knows nothing."""
    payload_type = re.findall(r"^a=rtpmap:(\d+) telephone-event/48000", offer, re.MULTILINE)[0]
    at = next(index for index, line in enumerate(answer) if line.startswith("m=audio"))
    answer[at] += f" {payload_type}"
    answer.insert(at + 2, f"a=rtpmap:{payload_type} telephone-event/48000")


def error(
    status: int, message: str, code: str | None, headers: dict[str, str] | None = None
) -> web.Response:
    fields = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return web.json_response({"error": fields}, status=status, headers=headers)


@asynccontextmanager
async def serving(port: int = 0) -> AsyncIterator[FakeGateway]:
    gateway = FakeGateway()
    calls = "/v1/realtime/calls"
    app = web.Application(middlewares=[gateway.doors])
    app.add_routes(pages.routes(pages.Softphone(DIAL, "0.0.test", "gpt-realtime")))
    app.add_routes(
        [
            web.get(calls, gateway.listing),
            web.post(calls, gateway.create),
            web.get(calls + "/{call_id}", gateway.retrieve),
            web.post(calls + "/{call_id}/hangup", gateway.hang_up),
            web.post(calls + "/{call_id}/refer", gateway.refer),
            web.get("/readyz", gateway.ready),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    gateway.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield gateway
    finally:
        await gateway.leave()
        await runner.cleanup()
