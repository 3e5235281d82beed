"""The media of one leg between its packets and the call, whatever carries the packets.

In: a packet is ordered, decoded and handed to the sink in the same call; nothing is queued here.
Out: the pacer's tick pulls a frame from the playout, or takes silence, and sends it, so that RTP
never stops while the call is up and not on hold. A port decides nothing about the call: digits,
marks and defects are reported as `LegEvent`s.

`RtpPort` carries packets over sockets of its own, `WebRtcPort` over a peer connection.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.audio import g711
from gateway.audio.codec import Codec
from gateway.audio.playout import Playout
from gateway.audio.tones import ToneKeys
from gateway.legs.key_sender import KeySender
from gateway.legs.leg import DtmfIn, KeysError, LegBroken, LegEvent, MediaStats, Played
from gateway.legs.pacer import FRAME_S, Pacer
from gateway.rtp.config import RtpConfig
from gateway.rtp.dtmf import Digit
from gateway.rtp.latch import Source
from gateway.rtp.mos import estimate_mos
from gateway.rtp.payload import Clipped, PayloadFormat
from gateway.rtp.receiver import Heard
from gateway.rtp.session import RtpSession
from gateway.rtp.timeline import Lost

FRAME_MS: Final = int(FRAME_S * 1000)
_SLOW_TICKS: Final = 25
"""RTCP, and what else is slow, is seen to twice a second."""
_NTP_EPOCH_S: Final = 2_208_988_800


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


class AudioPort(ABC):
    """One leg's audio.

    Args:
        codec: of the wire.
        payload: how its payloads count time.
        packet_ms: how much audio a packet of ours carries.
        emit: is handed digits, marks and a defect of ours.
    """

    def __init__(
        self,
        codec: Codec,
        payload: PayloadFormat,
        packet_ms: int,
        flow: RtpFlow,
        pacer: Pacer,
        emit: Callable[[LegEvent], None],
    ) -> None:
        self.format = codec.format
        self.playout = Playout(self.format, frame_samples=packet_ms * self.format.rate_hz // 1000)
        self._flow = flow
        self._emit = emit
        self._rtp: RtpSession | None = None
        self._sends = False
        """Whether the caller may be sent audio: not so on hold."""
        self._receives = False
        """The caller may send audio."""
        self._early = False
        """Nothing may be sent yet, reports included."""
        self._hears_music = False
        self._pacer = pacer
        self._codec = codec
        self._payload = payload
        self._packet_ms = packet_ms
        self._packet_samples = packet_ms * payload.clock_hz // 1000
        self._tick_samples = FRAME_MS * payload.clock_hz // 1000
        self._sink: Callable[[bytes], None] | None = None
        self._keys = KeySender()
        self._ear: ToneKeys | None = None
        """Looks for keys in the audio, where that is wanted."""
        self._said_key = False
        """The caller has pressed a key as an event of its media, by what is agreed on now."""
        self._agreed: RtpConfig | None = None
        self._credit_ms = 0
        self._talking = False
        self._ticks = 0
        self._broken = False

    # What a call asks.

    def join(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink

    def part(self) -> None:
        self._sink = None

    def hear_music(self, wanted: bool) -> None:
        self._hears_music = wanted
        if self._rtp is not None:
            self._listen(self._rtp)

    def press(self, keys: str) -> bool:
        """Press these keys, the voice waiting for each; `,` and `w` are pauses.

        Returns:
            False: the peer takes no keys with its media.

        Raises:
            KeysError: 429 too_many_digits, as many are waiting as may.
        """
        if self._rtp is None or not self._rtp.takes_keys:
            return False
        if not self._keys.add(keys):
            raise KeysError(429, "too_many_digits")
        return True

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
        """Say goodbye over RTCP, and be heard of no more."""
        self._pacer.remove(self)
        self._sink = None
        if self._rtp is not None:
            now = time.monotonic()
            if not self._early and self._rtp.destination(now) is not None:
                self._transmit_report(self._rtp.bye(now))

    # What carries the packets.

    @abstractmethod
    def _transmit(self, packet: bytes, remote: Source) -> None:
        """Send one RTP packet."""

    @abstractmethod
    def _transmit_report(self, report: bytes) -> None:
        """Send one compound RTCP packet, if there is anywhere to send it to."""

    def _agree(self, config: RtpConfig, *, sends: bool, receives: bool) -> None:
        """Do from now on what signalling agreed on; keys are heard also where audio is not."""
        rtp = self._rtp
        if rtp is None:
            flow = self._flow
            rtp = self._rtp = RtpSession(
                config,
                ssrc=flow.ssrc,
                first_sequence=flow.first_sequence,
                first_timestamp=flow.first_timestamp,
                cname=flow.cname,
                random=flow.random,
                format=self._payload,
            )
            self._pacer.add(self)
        else:
            rtp.retarget(config)
        before, self._agreed = self._agreed, config
        if not config.dtmf_payload_types or (before and before.remote != config.remote):
            self._said_key = False  # that way is closed, or it is another device
        self._sends, self._receives = sends, receives
        self._talking = False
        if not rtp.takes_keys:
            self._keys.clear()
        elif not sends:
            self._keys.let_go()
        self._listen(rtp)

    def _listen(self, rtp: RtpSession) -> None:
        """On hold, in any of its forms, what still comes is music, not the caller."""
        if self._receives and (self._sends or self._early or self._hears_music):
            rtp.start(time.monotonic())
        else:
            rtp.pause()

    # Network in.

    def _received(self, data: bytes, source: Source) -> None:
        rtp = self._rtp
        if rtp is None:
            return
        try:
            received = rtp.receive(data, source, time.monotonic())
            if received:
                self._deliver(received)
        except Exception as error:
            self.failed(error)  # the event loop serves the other calls too

    def _received_rtcp(self, data: bytes, source: Source) -> None:
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

    def _deliver(self, items: Sequence[Heard]) -> None:
        codec = self._codec
        for index, item in enumerate(items):
            if type(item) is bytes:  # nearly always
                audio = codec.heard(item)
            elif isinstance(item, Lost):
                after = items[index + 1] if index + 1 < len(items) else None
                audio = codec.lost(item.samples, after if type(after) is bytes else None)
            elif isinstance(item, Clipped):
                audio = codec.clipped(item.payload, item.skip)
            elif isinstance(item, Digit):
                self._said_key = True
                self._emit(DtmfIn(item.event, int(time.time())))
                continue
            if self._ear is not None and self._sends:  # music on hold presses none
                self._listen_for_keys(self._ear, audio)
            if self._sink is not None:
                self._sink(audio)

    def _listen_for_keys(self, ear: ToneKeys, audio: bytes) -> None:
        """Of a caller who has a better way to say them, tones are nobody's business."""
        law = self.format.encoding
        if law == "pcm16" or self._said_key:
            return
        for key in ear.hear(g711.decode(audio, law)):
            self._emit(DtmfIn(key, int(time.time()), "tone"))

    # The clock.

    def tick(self) -> None:
        """20 ms have passed: see to the jitter buffer, send what is due."""
        rtp = self._rtp
        if rtp is None:
            return
        now = time.monotonic()
        waited = rtp.tick(now)
        if waited:
            self._deliver(waited)
        if self._keys.is_busy and self._sends and self._send_key(rtp, now):
            self._end_tick(rtp, now)
            return
        self._credit_ms += FRAME_MS
        while self._credit_ms >= self._packet_ms:
            self._credit_ms -= self._packet_ms
            remote = rtp.destination(now) if self._sends else None
            if remote is not None:
                # The marker opens a stretch of packets after a pause in sending (RFC 3551 section
                # 4.1); between words we send silence, so that is the start and the end of a hold.
                payload = self._codec.encode(self.playout.pull())
                self._transmit(rtp.send(payload, marker=not self._talking), remote)
                self._talking = True
            else:
                rtp.skip(self._packet_samples)
                self._talking = False
        self._end_tick(rtp, now)

    def _send_key(self, rtp: RtpSession, now: float) -> bool:
        """Send a piece of a key that is being pressed; whether there is one."""
        remote = rtp.destination(now)
        packets = None if remote is None else self._keys.step(rtp)
        if remote is None or packets is None:
            return False
        for packet in packets:
            self._transmit(packet, remote)
        return True

    def _end_tick(self, rtp: RtpSession, now: float) -> None:
        for mark in self.playout.marks():
            self._emit(Played(mark))
        self._ticks += 1
        if self._ticks % _SLOW_TICKS == 0:
            self._slow_tick(rtp, now)

    def skip(self, ticks: int) -> None:
        """The process was held up; the caller's clock went on without us."""
        if self._rtp is not None:
            self._rtp.skip(ticks * self._tick_samples)
            self._talking = False

    def _slow_tick(self, rtp: RtpSession, now: float) -> None:
        """Half a second has passed."""
        if self._early:
            return  # to ask for a destination begins the time in which it has to be heard of
        report = rtp.rtcp_report(now, time.time() + _NTP_EPOCH_S)
        if report is not None and rtp.destination(now) is not None:
            self._transmit_report(report)
