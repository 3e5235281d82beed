"""A gateway that is not there, for the page: what it answers and sends is the test's to write.

The page's files are the real ones, served by the real route. A call is answered by aiortc. It all
runs on a thread of its own; what a test may touch meanwhile is said below.
"""

import asyncio
import json
import re
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
from aiohttp import web
from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from av import AudioFrame

from gateway.api import pages
from tests.peers.gateway import HOST, eventually

DIAL = "sip:agent@192.0.2.2:5060"
KEY = "key-of-the-page"
UNREACHABLE = "192.0.2.99"
_CALLS = "/v1/realtime/calls"
_WAIT_S = 10.0

Event = dict[str, Any]


@dataclass
class Refusal:
    """How the next offer is answered instead."""

    status: int
    message: str
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


class FakeGateway:
    """What the page finds, and what it has asked. Use as a context manager.

    Args:
        webrtc: whether it takes calls from browsers.
    """

    def __init__(self, *, webrtc: bool = True) -> None:
        self._softphone = pages.Softphone(DIAL, "0.0.test", "gpt-realtime", webrtc=webrtc)
        # What a test sets, for the next request that asks.
        self.key: str | None = None
        """Asked for when it is set."""
        self.refusal: Refusal | None = None
        self.reachable = True
        """Whether the answer has an address at which somebody is."""
        self.calls: list[dict[str, Any]] = []
        self.not_ready: str | None = None
        self.proxy: int | None = None
        """The status with which something in front of the gateway answers in its place."""
        # What a test looks at.
        self.url = ""
        self.offers: list[str] = []
        self.sessions: list[Any] = []
        self.hung_up: list[str] = []
        self.referred: list[tuple[str, str]] = []
        self.received: list[Event] = []
        """Events of the page, in its latest call."""
        self._peers: list[RTCPeerConnection] = []
        self._channel: RTCDataChannel | None = None
        self._listening: list[asyncio.Task[None]] = []
        self._loudness = 0.0  # of the latest 20 ms that the page has sent, full scale 1.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(_WAIT_S)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_WAIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def send(self, *events: Event) -> None:
        """To the page, on the data channel."""
        assert self._channel is not None
        for number, event in enumerate(events):
            text = json.dumps({"event_id": f"event_{number}", **event})
            self._loop.call_soon_threadsafe(self._channel.send, text)

    def asked(self, kind: str) -> Event:
        """The first event of this type that the page sent; waits for it."""

        def found() -> list[Event]:
            return [event for event in self.received if event["type"] == kind]

        assert eventually(lambda: bool(found()), _WAIT_S, 0.02), f"no {kind}: {self.received}"
        return found()[0]

    def hears(self, *, above: float = -1.0, below: float = 2.0) -> None:
        """Wait until what the page sends is as loud as this."""
        heard = eventually(lambda: above < self._loudness < below, _WAIT_S, 0.02)
        assert heard, f"it was {self._loudness}"

    def leave(self) -> None:
        """The line hangs up."""
        asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result(_WAIT_S)

    async def _serve(self) -> None:
        app = web.Application(middlewares=[self._doors])
        app.add_routes(pages.routes(self._softphone))
        app.add_routes(
            [
                web.get(_CALLS, self._listing),
                web.post(_CALLS, self._create),
                web.get(_CALLS + "/{call_id}", self._retrieve),
                web.post(_CALLS + "/{call_id}/hangup", self._hang_up),
                web.post(_CALLS + "/{call_id}/refer", self._refer),
                web.get("/readyz", self._ready),
            ]
        )
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
        self.url = f"http://{HOST}:{self._runner.addresses[0][1]}/"

    async def _close(self) -> None:
        await self._leave()
        await self._runner.cleanup()

    async def _leave(self) -> None:
        for peer in self._peers:
            await peer.close()
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)

    # HTTP.

    async def _create(self, request: web.Request) -> web.Response:
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
        self.received.clear()
        peer.on("datachannel", self._channel_came)
        peer.on(
            "track", lambda track: self._listening.append(asyncio.create_task(self._hear(track)))
        )
        if not self.reachable:  # and nobody there tries to reach the page
            offer = re.sub(r"a=candidate.*\r\n", "", offer)
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        peer.addTrack(AudioStreamTrack())
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

    async def _hear(self, track: MediaStreamTrack) -> None:
        while True:
            frame = await track.recv()
            assert isinstance(frame, AudioFrame)
            samples = frame.to_ndarray().astype(np.float64) / 32768
            self._loudness = float(np.sqrt((samples**2).mean()))

    async def _listing(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": self.calls, "has_more": False})

    async def _retrieve(self, request: web.Request) -> web.Response:
        for call in self.calls:
            if call["id"] == request.match_info["call_id"]:
                return web.json_response(call)
        return error(404, "No session found for the provided call_id", "call_id_not_found")

    async def _hang_up(self, request: web.Request) -> web.Response:
        call_id = request.match_info["call_id"]
        self.hung_up.append(call_id)
        if call_id == "rtc_page":
            await self._leave()
        return web.Response()

    async def _refer(self, request: web.Request) -> web.Response:
        target = (await request.json())["target_uri"]
        if not target.startswith(("sip:", "tel:")):
            return error(400, "Invalid value. Expected a sip: or tel: URI.", "invalid_value")
        self.referred.append((request.match_info["call_id"], target))
        return web.Response()

    async def _ready(self, _: web.Request) -> web.Response:
        if self.not_ready is None:
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "unavailable", "reason": self.not_ready}, status=503)

    @web.middleware
    async def _doors(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.proxy is not None and request.path.startswith("/v1/"):
            page = "<html><body>Bad gateway</body></html>"
            return web.Response(status=self.proxy, text=page, content_type="text/html")
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
