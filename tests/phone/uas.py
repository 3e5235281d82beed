"""A telephone that answers: the other end of the test phone's calls, on loopback sockets."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count

from gateway.audio import g711
from gateway.phone.listener import is_voice
from gateway.phone.voice import speech
from gateway.rtp.config import RtpConfig
from gateway.rtp.dtmf import Digit
from gateway.rtp.session import RtpSession
from gateway.sdp import answer as offer_answer
from gateway.sdp.description import Direction, parse
from gateway.sdp.plan import AudioCodec, AudioPlan, LocalMedia
from gateway.sip.agent import SipAgent
from gateway.sip.config import SipConfig
from gateway.sip.events import Answered, CallEnded, IncomingCall, Reanswered, Reoffer, SipEvent
from gateway.sip.message import Address, Outgoing
from gateway.sip.stream import StreamFramer

HOST = "127.0.0.1"
FRAME = 160


@dataclass(frozen=True, slots=True)
class Manners:
    """How calls are treated."""

    reject: int | None = None
    """Refuse with this status."""
    answers: bool = True
    """False: let it ring."""
    talk_s: float = 0.0
    """Speak for this long from the answer on."""
    yields: bool = False
    """Stop speaking when the caller is heard."""
    echoes: bool = False
    """Send back what is heard instead of speaking."""
    sends: bool = True
    """Send packets at all."""
    hangs_up_after_s: float | None = None
    holds_after_s: float | None = None
    refuses_holds: bool = False
    codecs: tuple[AudioCodec, ...] = ("pcmu", "pcma")
    dtmf: bool = True
    """Agree to telephone-events."""


class Uas:
    """Takes one call after the other; what became of the last one can be looked at."""

    def __init__(self, manners: Manners) -> None:
        self.manners = manners
        self.agent: SipAgent
        self.port = 0
        self.incoming: IncomingCall | None = None
        self.ended: CallEnded | None = None
        self.hearing = asyncio.Event()
        """The caller's first packet has come."""
        self._over = asyncio.Event()
        self.digits = ""
        self.directions: list[Direction] = []
        """What the caller offered: at first, and at each change."""
        self.heard_payloads: list[bytes] = []
        self.voice_ended_at: int | None = None
        """RTP timestamp of the last frame with our voice."""
        self.plan: AudioPlan | None = None
        self._loop = asyncio.get_running_loop()
        self._rtp: RtpSession | None = None
        self._rtp_socket: asyncio.DatagramTransport
        self._udp: asyncio.DatagramTransport
        self._streams: dict[Address, asyncio.Transport] = {}
        self._sip_timer: asyncio.TimerHandle | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._ticker: asyncio.TimerHandle | None = None
        self._local = LocalMedia(HOST, 0, 1)
        self._voice = b""
        self._timestamps = count(1000, FRAME)
        self._echo: list[bytes] = []

    async def open(self) -> None:
        loop = self._loop
        server = await loop.create_server(lambda: _Stream(self), HOST, 0)
        self._server = server
        self.port = server.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(lambda d, a: self.receive(d, Address(*a, "udp"))),
            local_addr=(HOST, self.port),
        )
        self._rtp_socket, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._heard), local_addr=(HOST, 0)
        )
        port = self._rtp_socket.get_extra_info("sockname")[1]
        self._local = LocalMedia(HOST, port, 1, codecs=self.manners.codecs)
        config = SipConfig(host=HOST, udp_port=self.port, tcp_port=self.port)
        self.agent = SipAgent(config, token=lambda: secrets.token_hex(8))

    def uri(self, transport: str = "udp") -> str:
        return f"sip:agent@{HOST}:{self.port};transport={transport}"

    async def wait_for_end(self) -> CallEnded:
        await self._over.wait()
        assert self.ended is not None
        return self.ended

    def close(self) -> None:
        self._stop_media()
        if self._sip_timer is not None:
            self._sip_timer.cancel()
        for timer in self._timers:
            timer.cancel()
        self._server.close()
        for stream in self._streams.values():
            stream.abort()
        self._udp.close()
        self._rtp_socket.close()

    # SIP.

    def receive(self, data: bytes, source: Address) -> None:
        self.agent.receive(data, source, self._loop.time())
        self.drain()

    def drain(self) -> None:
        while True:
            for outgoing in self.agent.datagrams_to_send():
                self._send(outgoing)
            events = self.agent.events()
            if not events:
                break
            for event in events:
                self._on_event(event, self._loop.time())
        if self._sip_timer is not None:
            self._sip_timer.cancel()
        deadline = self.agent.next_timeout()
        if deadline is not None:
            self._sip_timer = self._loop.call_at(deadline, self._timeout)

    def _timeout(self) -> None:
        self.agent.timeout(self._loop.time())
        self.drain()

    def _send(self, outgoing: Outgoing) -> None:
        if outgoing.to.transport == "udp":
            self._udp.sendto(outgoing.data, (outgoing.to.host, outgoing.to.port))
        elif outgoing.to in self._streams:
            self._streams[outgoing.to].write(outgoing.data)

    def connected(self, peer: Address, stream: asyncio.Transport) -> None:
        self._streams[peer] = stream

    def _on_event(self, event: SipEvent, now: float) -> None:
        match event:
            case IncomingCall(dialog_id=dialog_id):
                self.incoming = event
                self._over.clear()
                if self.manners.reject is not None:
                    self.agent.reject(dialog_id, self.manners.reject, now)
                    return
                self.agent.ring(dialog_id, now)
                if self.manners.answers:
                    self._accept(event, now)
            case Answered(body=body):
                if body is not None:
                    self._start(offer_answer.plan_from_answer(parse(body), self._local))
            case Reoffer(dialog_id=dialog_id, offer=body):
                self._reoffered(dialog_id, body, now)
            case Reanswered(body=body):
                self.plan = offer_answer.plan_from_answer(parse(body or b""), self._local)
            case CallEnded():
                self.ended = event
                self._over.set()
                self._stop_media()

    def _accept(self, event: IncomingCall, now: float) -> None:
        if event.offer is None:
            body = offer_answer.offer(self._local).to_bytes()
        else:
            offer = parse(event.offer)
            self.directions.append(offer.media[0].direction)
            answer, plan = offer_answer.answer(offer, self._local)
            if not self.manners.dtmf:
                media = answer.media[0]
                keyless = replace(media, formats=media.formats[:1], attributes=media.attributes[:1])
                answer = replace(answer, media=(keyless,))
            body = answer.to_bytes()
            self._start(plan)
        self.agent.accept(event.dialog_id, body, now)
        for after_s, action in (
            (self.manners.hangs_up_after_s, self._hang_up),
            (self.manners.holds_after_s, self._hold),
        ):
            if after_s is not None:
                self._timers.append(self._loop.call_later(after_s, action))

    def _reoffered(self, dialog_id: str, body: bytes | None, now: float) -> None:
        if self.manners.refuses_holds or body is None:
            self.agent.refuse_offer(dialog_id, 488, now)
            return
        offer = parse(body)
        self.directions.append(offer.media[0].direction)
        answer, self.plan = offer_answer.answer(offer, self._local)
        self.agent.answer_offer(dialog_id, answer.to_bytes(), now)

    def _hang_up(self) -> None:
        assert self.incoming is not None
        self.agent.hang_up(self.incoming.dialog_id, self._loop.time())
        self.drain()

    def _hold(self) -> None:
        assert self.incoming is not None
        body = offer_answer.offer(self._local, "sendonly").to_bytes()
        self.agent.reinvite(self.incoming.dialog_id, body, self._loop.time())
        self.drain()

    # Media.

    def _start(self, plan: AudioPlan) -> None:
        self.plan = plan
        if self.manners.talk_s:
            self._voice = g711.encode(speech(self.manners.talk_s, seed=7), plan.codec)
        dtmf = plan.dtmf_payload_type
        self._rtp = RtpSession(
            RtpConfig(
                payload_type=plan.payload_type,
                dtmf_payload_types=() if dtmf is None else (dtmf,),
                remote=(plan.remote_host, plan.remote_port),
            ),
            ssrc=77,
            first_sequence=65_530,
            first_timestamp=next(self._timestamps),
            cname="uas",
            random=lambda: 0.5,
        )
        self._rtp.start(self._loop.time())
        self._next = self._loop.time()
        self._ticker = self._loop.call_at(self._next, self._tick)

    def _stop_media(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None

    def _heard(self, data: bytes, source: tuple[str, int]) -> None:
        if self._rtp is None or self.plan is None:
            return
        self.hearing.set()
        for item in self._rtp.receive(data, source, self._loop.time()):
            if isinstance(item, Digit):
                self.digits += item.event
            elif isinstance(item, bytes):
                self.heard_payloads.append(item)
                self._echo.append(item)
                if self.manners.yields and is_voice(item, self.plan.codec):
                    self._voice = b""

    def _tick(self) -> None:
        self._next += 0.02
        self._ticker = self._loop.call_at(self._next, self._tick)
        rtp, plan = self._rtp, self.plan
        assert rtp is not None and plan is not None
        timestamp = next(self._timestamps) - FRAME
        if not self.manners.sends or not plan.can_send or rtp.remote is None:
            rtp.skip(FRAME)
            return
        silence = bytes([255 if plan.codec == "pcmu" else 213]) * FRAME
        frame = silence
        if self.manners.echoes:
            frame = self._echo.pop(0) if self._echo else silence
        elif self._voice:
            frame = self._voice[:FRAME].ljust(FRAME, silence[:1])
            self._voice = self._voice[FRAME:]
        if is_voice(frame, plan.codec):
            self.voice_ended_at = timestamp
        self._rtp_socket.sendto(rtp.send(frame), rtp.remote)


@asynccontextmanager
async def answering(manners: Manners | None = None) -> AsyncIterator[Uas]:
    """A telephone for the duration of a test."""
    uas = Uas(manners or Manners())
    await uas.open()
    try:
        yield uas
    finally:
        uas.close()
        await asyncio.sleep(0)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, receive: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._receive(data, addr)


class _Stream(asyncio.Protocol):
    def __init__(self, uas: Uas) -> None:
        self._uas = uas
        self._framer = StreamFramer()
        self._peer = Address("", 0, "tcp")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        host, port = transport.get_extra_info("peername")
        self._peer = Address(host, port, "tcp")
        self._uas.connected(self._peer, transport)

    def data_received(self, data: bytes) -> None:
        for message in self._framer.feed(data):
            self._uas.receive(message, self._peer)
