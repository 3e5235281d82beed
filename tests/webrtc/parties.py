"""The two ends of a peer connection: ours, and a real one of aiortc's beside it."""

import asyncio
import gc
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aioice.ice import get_host_addresses
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from gateway.sdp import webrtc as sdp
from gateway.sdp.description import parse
from gateway.webrtc.peer import MAX_MESSAGE_BYTES, Peer, PeerConfig

PATIENCE_S = 20.0
"""Only a test that fails waits for so long."""
SSRC = 7

both_loops = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])


class Ear:
    """A `PeerListener` that keeps all that it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []
        self.messages: list[bytes] = []

    def peer_connected(self) -> None:
        self.told.append("connected")

    def rtp_received(self, data: bytes) -> None:
        self.rtp.append(data)

    def rtcp_received(self, data: bytes) -> None:
        self.rtcp.append(data)

    def channel_opened(self, label: str) -> None:
        self.told.append(f"opened {label}")

    def message_received(self, data: bytes) -> None:
        self.messages.append(data)

    def channel_closed(self) -> None:
        self.told.append("closed")

    def peer_failed(self, reason: str) -> None:
        self.told.append(reason)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - of things that know no events
            await asyncio.sleep(0.005)


def own_host() -> str:
    """An address of this host; aiortc offers none of loopback."""
    found = get_host_addresses(use_ipv4=True, use_ipv6=False)
    if not found:
        pytest.skip("this host has no address besides loopback")
    return found[0]


def bound(*hosts: str) -> list[socket.socket]:
    """As whoever has a peer binds its sockets."""
    sockets = []
    for host in hosts:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.bind((host, 0))
        except OSError:
            sock.close()
            if ":" in host:
                pytest.skip("this host has no IPv6")
            raise
        sock.setblocking(False)
        sockets.append(sock)
    return sockets


def pcmu(sequence: int, payload: bytes = b"\xff" * 160) -> bytes:
    """An RTP packet."""
    return struct.pack("!BBHII", 0x80, 0, sequence & 0xFFFF, sequence * 160, SSRC) + payload


class Browser:
    """The one that offers: aiortc's own peer connection, whose microphone hears silence."""

    def __init__(self, channel: str | None = "oai-events") -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.sender = self.pc.addTrack(AudioStreamTrack())
        self.messages: list[str | bytes] = []
        self.channel: Any = None
        if channel is not None:
            self.channel = self.pc.createDataChannel(channel)
            self.channel.on("message", self.messages.append)

    @property
    def dtls(self) -> Any:
        return self.sender.transport

    @property
    def sctp(self) -> Any:
        return self.pc.sctp

    @property
    def ice(self) -> Any:
        """aioice's connection."""
        return self.dtls.transport._connection

    async def offer(self) -> str:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return str(self.pc.localDescription.sdp)

    async def take(self, answer: str) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    def vanish(self) -> None:
        """Say no word any more."""
        for protocol in self.ice._protocols:
            protocol.transport.close()

    async def close(self) -> None:
        await self.pc.close()


def respond(peer: Peer, offer: str, *, named: bool = True) -> str:
    """Start a peer that was opened, and return its answer to an offer.

    Args:
        named: whether it learns the offer's candidates.
    """
    description = parse(offer.encode())
    plan = sdp.read_offer(description, ("pcmu",))
    first = peer.local.candidates[0]
    local = sdp.LocalTransport(
        transport=replace(peer.local, setup="active" if plan.active else "passive"),
        host=first.host,
        port=first.port,
        session_id=1,
        session_version=1,
        ssrc=SSRC,
        cname="us",
        opus_rate_hz=24_000,
        max_message_bytes=MAX_MESSAGE_BYTES,
    )
    remote = plan.remote if named else replace(plan.remote, candidates=())
    peer.start(remote, plan.data, active=plan.active)
    return sdp.answer(description, plan, local).to_bytes().decode()


@dataclass
class Call:
    peer: Peer
    ear: Ear
    browser: Browser

    @property
    def port(self) -> tuple[str, int]:
        """Where the peer listens."""
        first = self.peer.local.candidates[0]
        return first.host, first.port

    async def connected(self) -> None:
        opened = self.browser.channel is None
        await until(
            lambda: (
                "connected" in self.ear.told
                and (opened or any(told.startswith("opened") for told in self.ear.told))
            )
        )


@asynccontextmanager
async def call(
    config: PeerConfig | None = None,
    *,
    channel: str | None = "oai-events",
    named: bool = True,
    change: Callable[[str], str] = str,
) -> AsyncIterator[Call]:
    """A call that is being set up.

    Args:
        change: what happens to the offer on its way.
    """
    ear = Ear()
    browser = Browser(channel)
    peer = Peer(config or PeerConfig(), ear)
    try:
        await peer.open(bound(own_host()))
        answer = respond(peer, change(await browser.offer()), named=named)
        await browser.take(answer)
        yield Call(peer, ear, browser)
    finally:
        await peer.close()
        await browser.close()


@asynccontextmanager
async def no_defects() -> AsyncIterator[None]:
    """Nothing goes to where the event loop reports what nobody caught."""
    found: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: found.append(repr(context)))
    yield
    await asyncio.sleep(0)
    gc.collect()  # a task that failed unseen is reported when it goes
    loop.set_exception_handler(None)
    assert not found
