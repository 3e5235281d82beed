"""The audio of one call: two sockets, one `RtpSession`, a frame every 20 ms.

Deadlines are absolute, so lateness never adds up; after a stall of more than 200 ms the clock
starts anew instead of sending a burst.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

from gateway.audio import g711
from gateway.phone.plan import Press, Script, Speak
from gateway.phone.sockets import open_media, port_of
from gateway.phone.timeline import Timeline
from gateway.phone.uplink import KeyImpossible, KeyPressed, Mark, SpeechBegan, SpeechEnded, Uplink
from gateway.rtp.config import RtpConfig
from gateway.rtp.packet import RtpError, RtpPacket
from gateway.rtp.payload import PayloadFormat
from gateway.rtp.session import RtpSession, RtpStats
from gateway.sdp.plan import AudioPlan

_STALL_S: Final = 0.2
_NTP_EPOCH_S: Final = 2_208_988_800
_SAMPLES_PER_MS: Final = 8


class Media:
    """`open` it, `apply` each plan that signalling agrees on, `close` it.

    Args:
        voice: what there is to say.
        script: is told what is heard.
        on_tick: called every frame, before it is sent.
    """

    def __init__(self, voice: bytes, script: Script, on_tick: Callable[[float], None]) -> None:
        self._voice = voice
        self._script = script
        self._on_tick = on_tick
        self._loop = asyncio.get_running_loop()
        self._timeline: Timeline | None = None
        self._plan: AudioPlan | None = None
        self._remote: tuple[str, int] | None = None
        self._other_audio: dict[int, bytes | None] = {}
        self._rtp: RtpSession | None = None
        self._uplink: Uplink | None = None
        self._rtp_socket: asyncio.DatagramTransport | None = None
        self._rtcp_socket: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0
        self._period_s = 0.0
        self._cname = ""

    async def open(self, host: str) -> int:
        """Bind the sockets; returns the RTP port. Raises OSError."""
        self._cname = f"{random.getrandbits(64):x}@{host}"
        self._rtp_socket, self._rtcp_socket = await open_media(
            host, self._received, self._received_rtcp
        )
        return port_of(self._rtp_socket)

    @property
    def plan(self) -> AudioPlan | None:
        """What was agreed on last."""
        return self._plan

    @property
    def stats(self) -> RtpStats | None:
        return None if self._rtp is None else self._rtp.stats

    def apply(self, plan: AudioPlan, timeline: Timeline) -> None:
        """Do from now on what offer and answer agreed on. The packet length stays as it was."""
        self._plan = plan
        self._timeline = timeline
        self._remote, rtcp_port = plan.target(self._remote)
        self._other_audio = g711.translations(plan.heard, plan.codec)
        config = RtpConfig(
            payload_type=plan.payload_type,
            dtmf_payload_types=plan.dtmf_payload_types,
            remote=self._remote,
            rtcp_mux=plan.rtcp_mux,
            remote_rtcp_port=rtcp_port,
            other_audio=self._other_audio,
        )
        if self._rtp is None:
            self._rtp = self._begin(plan, config)
        else:
            self._rtp.retarget(config)
        if plan.can_receive:
            self._rtp.start(self._loop.time())
        else:
            self._rtp.pause()

    def do(self, action: Speak | Press) -> None:
        """Speak or press a key."""
        if self._uplink is None:
            return
        if isinstance(action, Speak):
            self._uplink.speak(interrupts=action.interrupts)
        else:
            self._uplink.press(action.digit)

    def stop(self) -> None:
        """The call is over: send and record no more, and say so by RTCP."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        if self._rtp is not None:
            self._send_rtcp(self._rtp.bye(self._loop.time()))

    def close(self) -> None:
        """Free the sockets."""
        self.stop()
        for transport in (self._rtp_socket, self._rtcp_socket):
            if transport is not None:
                transport.close()

    def _begin(self, plan: AudioPlan, config: RtpConfig) -> RtpSession:
        frame_samples = plan.ptime_ms * _SAMPLES_PER_MS
        rtp = RtpSession(
            config,
            ssrc=random.getrandbits(32),
            first_sequence=random.getrandbits(16),
            first_timestamp=random.getrandbits(32),
            cname=self._cname,
            random=random.random,
            format=PayloadFormat(frame_samples=frame_samples),
        )
        self._uplink = Uplink(rtp, plan.codec, self._voice, frame_samples)
        self._period_s = plan.ptime_ms / 1000
        self._next = self._loop.time()
        self._timer = self._loop.call_at(self._next, self._tick)
        return rtp

    # The network.

    def _received(self, data: bytes, source: tuple[str, int]) -> None:
        rtp, plan, timeline = self._rtp, self._plan, self._timeline
        if rtp is None or plan is None or timeline is None or self._timer is None:
            return
        now = self._loop.time()
        rtp.receive(data, source, now)
        if source[:2] != rtp.remote:
            return  # a stray packet, or one from an address that has yet to prove itself
        try:
            packet = RtpPacket.parse(data)
        except RtpError:
            return
        payload = packet.payload
        if packet.payload_type in self._other_audio:
            payload = payload.translate(self._other_audio[packet.payload_type])
        elif packet.payload_type != plan.payload_type:
            return
        is_voice = timeline.packet(
            now,
            plan.codec,
            timestamp=packet.timestamp,
            payload=payload,
            ssrc=packet.ssrc,
            sequence_number=packet.sequence_number,
        )
        if is_voice:
            self._script.hear(now)

    def _received_rtcp(self, data: bytes, source: tuple[str, int]) -> None:
        if self._rtp is not None:
            self._rtp.receive_rtcp(data, source, self._loop.time())

    # The clock.

    def _tick(self) -> None:
        now = self._loop.time()
        if now - self._next > _STALL_S:
            self._next = now
        self._next += self._period_s
        self._timer = self._loop.call_at(self._next, self._tick)
        self._on_tick(now)
        if self._timer is None:  # hung up
            return
        rtp, plan, uplink, timeline = self._rtp, self._plan, self._uplink, self._timeline
        if rtp is None or plan is None or uplink is None or timeline is None:
            return
        rtp.tick(now)
        timeline.tick(now)
        frame = uplink.frame(muted=not plan.can_send)
        for datagram in frame.datagrams:
            if self._rtp_socket is not None and rtp.remote is not None:
                self._rtp_socket.sendto(datagram, rtp.remote)
        for mark in frame.marks:
            timeline.note(now, *_moment(mark))
        report = rtp.rtcp_report(now, time.time() + _NTP_EPOCH_S)
        if report is not None:
            self._send_rtcp(report)

    def _send_rtcp(self, report: bytes) -> None:
        rtp, plan = self._rtp, self._plan
        if rtp is None or plan is None or not plan.has_address or rtp.remote_rtcp is None:
            return
        transport = self._rtp_socket if plan.rtcp_mux else self._rtcp_socket
        if transport is not None:
            transport.sendto(report, rtp.remote_rtcp)


def _moment(mark: Mark) -> tuple[str, str]:
    match mark:
        case SpeechBegan(interrupts=interrupts):
            return ("interrupting" if interrupts else "speaking"), ""
        case SpeechEnded():
            return "spoken", ""
        case KeyPressed(digit=digit):
            return "digit", digit
        case KeyImpossible(digit=digit):
            return "digit_not_sent", digit
