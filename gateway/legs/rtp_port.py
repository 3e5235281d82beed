"""The media port of a plain RTP leg: two sockets around an `RtpSession` and a `Playout`.

In: a datagram is read, ordered and handed to the sink in the same call; nothing is queued here.
Out: the pacer's tick pulls a frame from the playout, or takes silence, and sends it, so that RTP
never stops while the call is up and not on hold. The port decides nothing about the call: digits,
marks and silence of the caller are reported as `LegEvent`s.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from gateway.audio import g711
from gateway.audio.conceal import Concealer
from gateway.audio.formats import PCMA, PCMU, AudioFormat, Law
from gateway.audio.playout import Playout
from gateway.legs.leg import DtmfIn, LegBroken, LegEvent, LegSilent, MediaStats, Played
from gateway.legs.pacer import FRAME_S, Pacer
from gateway.legs.ports import bind_udp
from gateway.rtp.dtmf import Digit
from gateway.rtp.mos import estimate_mos
from gateway.rtp.session import RtpConfig, RtpSession
from gateway.rtp.timeline import Lost
from gateway.sdp.answer import AudioPlan

FORMATS: dict[Law, AudioFormat] = {"pcmu": PCMU, "pcma": PCMA}
_FRAME_MS = int(FRAME_S * 1000)
_SAMPLES_PER_MS = 8
_SLOW_TICKS = 25
"""RTCP and the silence of the caller are looked at twice a second."""
_NTP_EPOCH_S = 2_208_988_800


@dataclass(frozen=True, slots=True)
class RtpFlow:
    """What a port needs that SDP does not say.

    The numbers are random per call (RFC 3550 section 5.1).
    """

    ssrc: int
    first_sequence: int
    first_timestamp: int
    cname: str
    random: Callable[[], float]
    """From 0 up to 1; spreads the RTCP reports of many calls."""
    timeout_s: float
    """Without a packet for this long the caller counts as gone."""


class RtpPort:
    """Media of one leg. `open` it, `apply` each plan that signalling agrees on, `close` it.

    Args:
        codec: what the call is joined in, for its whole life; the wire may change to the other law.
        packet_ms: how much audio a packet of ours carries.
        emit: is handed digits, marks, the caller's silence and a defect of ours.
    """

    def __init__(
        self,
        codec: Law,
        packet_ms: int,
        flow: RtpFlow,
        pacer: Pacer,
        emit: Callable[[LegEvent], None],
    ) -> None:
        self.format: AudioFormat = FORMATS[codec]
        self.playout = Playout(self.format, frame_samples=packet_ms * _SAMPLES_PER_MS)
        self._codec = codec
        self._flow = flow
        self._pacer = pacer
        self._emit = emit
        self._sink: Callable[[bytes], None] | None = None
        self._rtp: RtpSession | None = None
        self._plan: AudioPlan | None = None
        self._remote: tuple[str, int] | None = None
        self._reachable = True
        self._rtp_socket = _Datagrams(self._received)
        self._rtcp_socket = _Datagrams(self._received_rtcp)
        self._concealer = Concealer(self.format)
        self._to_wire: bytes | None = None
        self._from_wire: bytes | None = None
        self._silence = self.format.silence(packet_ms * _SAMPLES_PER_MS)
        self._packet_ms = packet_ms
        self._credit_ms = 0
        self._talking = False
        self._ticks = 0
        self._heard_at = 0.0
        self._told_at = 0.0
        self._broken = False

    async def open(self, host: str, port: int) -> None:
        """Bind RTP to `port` and RTCP to the next one.

        Raises:
            OSError: one of them is taken.
        """
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self._rtp_socket, sock=bind_udp(host, port))
        await loop.create_datagram_endpoint(
            lambda: self._rtcp_socket, sock=bind_udp(host, port + 1)
        )

    def apply(self, plan: AudioPlan, *, reachable: bool = True) -> None:
        """Do from now on what offer and answer agreed on.

        Unless the plan's address is `reachable` nothing is sent before the caller was heard, and
        then to where the caller's packets come from.
        """
        self._plan = plan
        self._remote, rtcp_port = plan.target(self._remote)
        if plan.has_address:
            self._reachable = reachable
        config = RtpConfig(
            payload_type=plan.payload_type,
            dtmf_payload_type=plan.dtmf_payload_type,
            remote=self._remote,
            reachable=self._reachable,
            rtcp_mux=plan.rtcp_mux,
            remote_rtcp_port=rtcp_port,
        )
        if self._rtp is None:
            self._rtp = RtpSession(
                config,
                ssrc=self._flow.ssrc,
                first_sequence=self._flow.first_sequence,
                first_timestamp=self._flow.first_timestamp,
                cname=self._flow.cname,
                random=self._flow.random,
            )
            self._pacer.add(self)
        else:
            self._rtp.retarget(config)
        same_law = plan.codec == self._codec
        self._to_wire = None if same_law else g711.TRANSLATE[self._codec]
        self._from_wire = None if same_law else g711.TRANSLATE[plan.codec]
        self._talking = False
        self._heard_at = time.monotonic()
        if plan.can_send and plan.can_receive:
            self._rtp.start(self._heard_at)
        else:
            # On hold, in any of its forms. What still comes is music, not the caller.
            self._rtp.pause()

    def join(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink

    def part(self) -> None:
        self._sink = None

    def stats(self) -> MediaStats:
        if self._rtp is None:
            return MediaStats()
        stats = self._rtp.stats
        delay_ms = (stats.rtt_ms or 0.0) / 2 + stats.jitter_ms + self._packet_ms
        return MediaStats(
            rtp_received=stats.received,
            rtp_sent=stats.sent,
            rtp_lost=stats.lost,
            jitter_ms=stats.jitter_ms,
            mos=round(estimate_mos(stats.loss, delay_ms), 2) if stats.received else None,
        )

    def close(self) -> None:
        """Say goodbye over RTCP and free the sockets."""
        self._pacer.remove(self)
        self._sink = None
        if self._rtp is not None:
            now = time.monotonic()
            self._send_rtcp(self._rtp.bye(now), now)
        self._rtp_socket.close()
        self._rtcp_socket.close()

    # Network in.

    def _received(self, data: bytes, source: tuple[str, int]) -> None:
        rtp = self._rtp
        if rtp is None:
            return
        try:
            received = rtp.receive(data, source, time.monotonic())
            if received:
                self._deliver(received)
        except Exception as error:
            self.failed(error)  # the event loop serves the other calls too

    def _received_rtcp(self, data: bytes, source: tuple[str, int]) -> None:
        if self._rtp is None:
            return
        try:
            self._rtp.receive_rtcp(data, source, time.monotonic())
        except Exception as error:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """A defect of ours came up in this port: said once, or each packet would say it again."""
        if not self._broken:
            self._broken = True
            self._emit(LegBroken(error))

    def _deliver(self, items: Sequence[bytes | Lost | Digit]) -> None:
        for item in items:
            if type(item) is bytes:  # nearly always
                audio = item if self._from_wire is None else item.translate(self._from_wire)
                audio = self._concealer.heard(audio)
            elif isinstance(item, Lost):
                audio = self._concealer.lost(item.samples)
            elif isinstance(item, Digit):
                self._emit(DtmfIn(item.event, int(time.time())))
                continue
            if self._sink is not None:
                self._sink(audio)

    # The clock.

    def tick(self) -> None:
        """20 ms have passed: see to the jitter buffer, send what is due."""
        rtp, plan = self._rtp, self._plan
        if rtp is None or plan is None:
            return
        now = time.monotonic()
        waited = rtp.tick(now)
        if waited:
            self._deliver(waited)
        self._credit_ms += _FRAME_MS
        while self._credit_ms >= self._packet_ms:
            self._credit_ms -= self._packet_ms
            remote = rtp.destination(now) if plan.can_send else None
            if remote is not None:
                self._send_frame(rtp, remote)
            else:
                rtp.skip(self._packet_ms * _SAMPLES_PER_MS)
                self._talking = False
        for mark in self.playout.marks():
            self._emit(Played(mark))
        self._ticks += 1
        if self._ticks % _SLOW_TICKS == 0:
            self._slow_tick(rtp, plan, now)

    def skip(self, ticks: int) -> None:
        """The process was held up; the caller's clock went on without us."""
        if self._rtp is not None:
            self._rtp.skip(ticks * _FRAME_MS * _SAMPLES_PER_MS)
            self._talking = False

    def _send_frame(self, rtp: RtpSession, remote: tuple[str, int]) -> None:
        frame = self.playout.pull()
        if frame is None:
            frame = self._silence
        if self._to_wire is not None:
            frame = frame.translate(self._to_wire)
        # The marker opens a stretch of packets after a pause in sending (RFC 3551 section 4.1);
        # between words we send silence, so that is the start of the call and the end of a hold.
        packet = rtp.send(frame, marker=not self._talking)
        self._talking = True
        self._rtp_socket.send(packet, remote)

    def _slow_tick(self, rtp: RtpSession, plan: AudioPlan, now: float) -> None:
        report = rtp.rtcp_report(now, time.time() + _NTP_EPOCH_S)
        if report is not None:
            self._send_rtcp(report, now)
        if rtp.last_received is not None:
            self._heard_at = max(self._heard_at, rtp.last_received)
        if not (plan.can_send and plan.can_receive):
            self._heard_at = now  # nobody has to send on hold
        if now - max(self._heard_at, self._told_at) > self._flow.timeout_s:
            self._told_at = now
            self._emit(LegSilent())

    def _send_rtcp(self, report: bytes, now: float) -> None:
        rtp, plan = self._rtp, self._plan
        if rtp is None or plan is None or not plan.has_address or rtp.destination(now) is None:
            return
        sender = self._rtp_socket if plan.rtcp_mux else self._rtcp_socket
        remote = rtp.remote_rtcp
        if remote is not None:
            sender.send(report, remote)


class _Datagrams(asyncio.DatagramProtocol):
    """One socket: hands datagrams on, and sends.

    It may be closed before it was opened: a call that ends while its port is being opened leaves
    an event loop behind that still opens the socket.
    """

    def __init__(self, receive: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._receive = receive
        self._transport: asyncio.DatagramTransport | None = None
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do what asyncio.DatagramTransport declares without being one.
        self._transport = cast(asyncio.DatagramTransport, transport)
        if self._closed:
            transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._receive(data, addr)

    def error_received(self, exc: Exception) -> None:
        """An ICMP error: the caller's port is closed. Their silence is noticed by its time-out."""

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        if self._transport is not None:
            self._transport.sendto(data, to)

    def close(self) -> None:
        self._closed = True
        if self._transport is not None:
            self._transport.close()
            self._transport = None
