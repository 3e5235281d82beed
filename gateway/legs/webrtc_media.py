"""A leg's media over a peer connection: offers and answers of WebRTC (RFC 8829), and its port.

Whoever signals takes it alike: a browser that posts its offer over HTTP, and a SIP peer that offers
`UDP/TLS/RTP/SAVPF`, be it a browser over WebSocket or a B2BUA in front of a carrier.
"""

import asyncio
import contextlib
import errno
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Final

from gateway.audio import formats
from gateway.audio.codec import Codec
from gateway.audio.formats import PCMU, AudioFormat
from gateway.audio.g711_codec import G711Codec
from gateway.audio.opus import OpusCodec
from gateway.legs.audio_port import RtpFlow
from gateway.legs.leg import LegError, LegHeld
from gateway.legs.leg_media import BIND_TRIES, PACKET_MS, Emit, MediaConfig, WebRtcConfig
from gateway.legs.outlet import unheard
from gateway.legs.ports import NoPortError, bind_udp
from gateway.legs.webrtc_port import WebRtcPort
from gateway.rtp.payload import G711, OPUS, PayloadFormat
from gateway.sdp import webrtc as sdp
from gateway.sdp.description import SdpError, SessionDescription, parse
from gateway.sdp.webrtc import LocalTransport, WebRtcPlan
from gateway.webrtc.peer import MAX_MESSAGE_BYTES, Peer

_SETUP: Final = "setup"
_LAST_WORDS_S: Final = 0.5
_LOOK_AGAIN_S: Final = 0.01


class WebRtcMedia:
    """One leg's media.

    Args:
        emit: is handed what the port tells, and hold.
        connected: is called when media can flow, once.
        gone: is called with the reason when the connection is lost, once.
        with_channel: whether a data channel may come with it.
    """

    media_security = "srtp"

    def __init__(
        self,
        config: MediaConfig,
        webrtc: WebRtcConfig,
        emit: Emit,
        *,
        connected: Callable[[], None],
        gone: Callable[[str], None],
        with_channel: bool = False,
    ) -> None:
        self.codec = "pcmu"
        self.format: AudioFormat = PCMU
        self.channel = PeerChannel()
        self._config = config
        self._webrtc = webrtc
        self._emit = emit
        self._connected = connected
        self._gone = gone
        self._with_channel = with_channel
        self._flow: RtpFlow = config.new_flow()
        self._session_id = secrets.randbits(62)
        self._offered: SessionDescription | None = None
        self._plan: WebRtcPlan | None = None
        self._last: SessionDescription | None = None
        self._active = False
        """We open DTLS; who does cannot change within the connection."""
        self._peer: Peer | None = None
        self._port: WebRtcPort | None = None
        self._port_number: int | None = None
        self._closed = False

    # Offers and answers.

    def look_at(self, offer: SessionDescription) -> None:
        plan = sdp.read_offer(offer, self._webrtc.codecs)
        self._offered = offer
        self._plan = plan if self._with_channel else replace(plan, data=None)
        self.codec = plan.codec
        if plan.codec == "opus":
            self.format = AudioFormat("pcm16", self._webrtc.opus_rate_hz)
        else:
            self.format = formats.G711[plan.codec]

    def answer(self) -> bytes:
        peer, port, plan, offered = self._peer, self._port, self._plan, self._offered
        if peer is None or port is None or plan is None or offered is None:
            raise RuntimeError("there is no offer, or no port")
        self._active = plan.active
        description = sdp.answer(offered, plan, self._local(peer))
        port.apply(plan)
        peer.start(plan.remote, plan.data, active=self._active)
        return self._described(description)

    def offer(self) -> bytes:
        """What is agreed on, offered anew (RFC 3261 section 14.2)."""
        if self._last is None:
            raise RuntimeError("only a connection that there is can be offered again")
        media = tuple(
            replace(
                line,
                direction="sendrecv" if line.kind == "audio" and line.port else line.direction,
                attributes=tuple(
                    (name, "actpass" if name == _SETUP else value)
                    for name, value in line.attributes
                ),
            )
            for line in self._last.media
        )
        return self._described(replace(self._last, media=media))

    def take_answer(self, body: bytes) -> None:
        self._apply(self._agreed_again(parse(body)))

    def answer_again(self, offer: SessionDescription) -> bytes:
        plan, peer = self._agreed_again(offer), self._peer
        if peer is None:
            raise SdpError("there is no connection yet", status=488)
        description = sdp.answer(offer, plan, self._local(peer))
        self._apply(plan)
        return self._described(description)

    def _agreed_again(self, description: SessionDescription) -> WebRtcPlan:
        """What a further description changes: hold and payload types, within the connection."""
        before = self._plan
        if before is None:
            raise SdpError("nothing was offered before", status=488)
        plan = sdp.read_offer(description, (before.codec,))
        if plan.remote.restarts(before.remote):
            raise SdpError("ICE cannot be restarted in a call", status=488)
        return replace(plan, data=before.data)

    def _apply(self, plan: WebRtcPlan) -> None:
        was_held = self._plan is not None and not self._plan.can_send
        self._plan = plan
        if self._port is not None:
            self._port.apply(plan)
        if was_held == plan.can_send:
            self._emit(LegHeld(not plan.can_send))

    def _local(self, peer: Peer) -> LocalTransport:
        transport = replace(peer.local, setup="active" if self._active else "passive")
        first = transport.candidates[0]  # each address that was bound is one
        return LocalTransport(
            transport=transport,
            host=first.host,
            port=first.port,
            session_id=self._session_id,
            session_version=1,
            ssrc=self._flow.ssrc,
            cname=self._flow.cname,
            opus_rate_hz=self._webrtc.opus_rate_hz,
            max_message_bytes=MAX_MESSAGE_BYTES,
        )

    def _described(self, description: SessionDescription) -> bytes:
        if self._last is not None:
            description = description.following(self._last)
        self._last = description
        return description.to_bytes()

    # The port and the channel.

    async def open(self) -> WebRtcPort:
        plan = self._plan
        if plan is None:
            raise RuntimeError("nothing was offered")
        peer = self._peer = Peer(self._webrtc.peer, self)
        try:
            await peer.open(self._bind())
        except ConnectionError:
            await self.close()
            raise LegError(487, "leg_ended") from None
        if self._closed:
            raise LegError(487, "leg_ended")
        if silent := peer.counters.silent_servers:
            peer.counters.silent_servers = 0
            self._webrtc.tell({"silent_servers": silent})  # now, while somebody wonders
        self.channel.peer = peer
        codec, payload = _codec(plan, self.format)
        self._port = WebRtcPort(peer, codec, payload, self._flow, self._config.pacer, self._emit)
        return self._port

    def _bind(self) -> list[socket.socket]:
        """One socket for each address, all with the same port.

        Raises:
            LegError: 503 no_media_port.
        """
        ports, hosts = self._config.ports, self._webrtc.hosts()
        for _ in range(BIND_TRIES):
            try:
                number = ports.take()
            except NoPortError:
                break
            sockets = _bind_all(hosts, number)
            if sockets:
                self._port_number = number
                return sockets
            ports.give_back(number)  # another program sits there; to the end of the line
        raise LegError(503, "no_media_port")

    def press(self, keys: str) -> bool:
        return self._port is not None and self._port.press(keys)

    async def close(self) -> None:
        self._closed = True
        self._emit = self._connected = self._gone = unheard
        port, self._port = self._port, None
        if port is not None:
            port.close()
        self.channel.listen(unheard, unheard)
        peer, self._peer = self._peer, None
        if peer is not None:
            try:
                await _say_the_last(peer)
                await peer.close()
            finally:
                self._give_back()
                self._webrtc.tell(asdict(peer.counters))

    def _give_back(self) -> None:
        number, self._port_number = self._port_number, None
        if number is not None:
            self._config.ports.give_back(number)

    # What the peer connection tells.

    def peer_connected(self) -> None:
        if self._port is not None:
            self._port.connected()
        self._connected()

    def rtp_received(self, data: bytes) -> None:
        if self._port is not None:
            self._port.received(data)

    def rtcp_received(self, data: bytes) -> None:
        if self._port is not None:
            self._port.received_rtcp(data)

    def channel_opened(self, label: str) -> None:
        self.channel.opened()

    def message_received(self, data: bytes) -> None:
        self.channel.received(data)

    def channel_closed(self) -> None:
        self._gone("channel_closed")

    def peer_failed(self, reason: str) -> None:
        self._gone(reason)


class PeerChannel:
    """The first data channel that the peer opens: an `EventChannel`."""

    def __init__(self) -> None:
        self.peer: Peer | None = None
        self.opened: Callable[[], None] = unheard
        self.received: Callable[[bytes], None] = unheard

    @property
    def is_open(self) -> bool:
        return self.peer is not None and self.peer.channel_open

    @property
    def waiting_bytes(self) -> int:
        return 0 if self.peer is None else self.peer.waiting_bytes

    def listen(self, opened: Callable[[], None], received: Callable[[bytes], None]) -> None:
        self.opened, self.received = opened, received

    def send(self, message: bytes) -> None:
        if self.peer is not None:
            self.peer.send_message(message)


def _bind_all(hosts: Sequence[str], number: int) -> list[socket.socket]:
    """A socket for this port at each address; none if somebody else has it at one of them. An
    address that the host has lost meanwhile is left out."""
    sockets: list[socket.socket] = []
    for host in hosts:
        try:
            sockets.append(bind_udp(host, number))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                continue
            for sock in sockets:
                sock.close()
            return []
    return sockets


async def _say_the_last(peer: Peer) -> None:
    """Events of the call's end may still be on their way: of what waits no more will be sent once
    the connection is closed."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORDS_S):
            while peer.channel_open and peer.waiting_bytes:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(_LOOK_AGAIN_S)


def _codec(plan: WebRtcPlan, joined: AudioFormat) -> tuple[Codec, PayloadFormat]:
    """What turns the payloads of a plan into audio that the call is joined in."""
    if plan.codec == "opus":
        return OpusCodec(joined.rate_hz, fec=plan.fec), OPUS
    return G711Codec(plan.codec, PACKET_MS), G711
