"""One RTP session: everything that the media of one leg decides, without a socket or a clock.

The port hands in what its sockets receive and what the playout wants sent, ticks every 20 ms, and
sends what it gets back to `remote` and `remote_rtcp`. Here both halves meet in RTCP: reports about
what was heard, sent about every five seconds, and the round-trip time they reveal.

A description can name anybody's address. So an address that never sent anything itself is sent
media on trial only (consent, as RFC 7675 has it for ICE): for ten seconds and 500 packets, and then
nothing until an RTP packet or a report comes from there. A trial that brought nothing is not begun
anew at the next address, or a caller could keep a victim's ports busy by turns.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gateway.rtp.config import RtpConfig
from gateway.rtp.latch import Source
from gateway.rtp.payload import G711, PayloadFormat
from gateway.rtp.receiver import Heard, RtpReceiver
from gateway.rtp.rtcp import (
    Goodbye,
    ReceiverReport,
    ReportBlock,
    RtcpError,
    SenderReport,
    SourceDescription,
    build_compound,
    parse_compound,
)
from gateway.rtp.sender import RtpSender

_INTERVAL_S = 5.0
_REPORTS_REMEMBERED = 8
_RTT_AT_MOST_S = 10.0
_TRIAL_S = 10.0
_TRIAL_PACKETS = 500
_NOTHING: tuple[()] = ()


@dataclass(frozen=True, slots=True)
class RtpStats:
    """What one session counted so far."""

    received: int
    sent: int
    lost: int
    """Packets of the caller that never came."""
    late: int
    """Packets that came too late to be heard."""
    duplicate: int
    dropped_source: int
    """Packets from elsewhere: another address or an unknown SSRC."""
    dropped_payload: int
    """Packets of a payload type that was not agreed on."""
    malformed: int
    jitter_ms: float
    rtt_ms: float | None
    """None until a report came back."""

    @property
    def loss(self) -> float:
        """Share of the caller's packets that could not be heard, 0 to 1."""
        sent = self.received + self.lost
        return min((self.lost + self.late) / sent, 1.0) if sent else 0.0


class RtpSession:
    """Both directions of one leg's audio."""

    __slots__ = (
        "_clock_hz",
        "_cname",
        "_config",
        "_latch",
        "_malformed",
        "_packets_at_report",
        "_random",
        "_receiver",
        "_report_at",
        "_reported_loss",
        "_reporter",
        "_reporter_at",
        "_rtt_s",
        "_sent_reports",
        "_sr_arrival",
        "_sr_middle",
        "_trial_packets",
        "_trial_until",
        "sender",
    )

    def __init__(
        self,
        config: RtpConfig,
        *,
        ssrc: int,
        first_sequence: int,
        first_timestamp: int,
        cname: str,
        random: Callable[[], float],
        format: PayloadFormat = G711,
    ) -> None:
        """`random` gives numbers from 0 up to 1; it spreads reports in time."""
        self._config = config
        self._clock_hz = format.clock_hz
        self._cname = cname
        self._random = random
        self._receiver = RtpReceiver(config, format)
        self._latch = self._receiver.latch
        self.sender = RtpSender(
            payload_type=config.payload_type,
            dtmf_payload_types=config.dtmf_payload_types,
            ssrc=ssrc,
            first_sequence=first_sequence,
            first_timestamp=first_timestamp,
            format=format,
        )
        self.sender.dtmf_clock_hz = config.dtmf_clock_hz or self._clock_hz
        self._report_at: float | None = None
        self._packets_at_report = 0
        self._sent_reports: dict[int, float] = {}
        self._sr_middle = 0
        self._sr_arrival = 0.0
        self._rtt_s: float | None = None
        self._reported_loss: float | None = None
        self._reporter: tuple[Source, Source] | None = None
        """Where the caller's reports come from, after the `remote` that they belong to."""
        self._reporter_at: float | None = None
        self._trial_until: float | None = None
        self._trial_packets = 0
        self._malformed = 0

    # -- audio and keys --------------------------------------------------------------------------

    def receive(self, data: bytes, source: Source, now: float) -> Sequence[Heard]:
        """Take one datagram of the RTP port; what the caller is heard to do by it, in order.

        RTCP on the RTP port (RFC 5761) is recognised and taken as such.
        """
        if len(data) > 1 and 192 <= data[1] <= 223:
            self.receive_rtcp(data, source, now)
            return _NOTHING
        return self._receiver.receive(data, source, now)

    def tick(self, now: float) -> Sequence[Heard]:
        """Let time pass; what was given up, or is silence by now. Call it every 20 ms."""
        return self._receiver.tick(now)

    def send(self, payload: bytes, *, marker: bool = False) -> bytes:
        """The datagram that carries a frame to `remote`."""
        return self.sender.send(payload, marker=marker)

    def skip(self, samples: int) -> None:
        """Time passes and nothing is sent (hold)."""
        self.sender.skip(samples)

    @property
    def takes_keys(self) -> bool:
        """Whether telephone-event was agreed on."""
        return bool(self.sender.dtmf_payload_types)

    def press(self, digit: str, *, duration_ms: int = 160) -> Iterator[list[bytes]]:
        """Send a key: for each frame interval the datagrams that take the place of a frame.

        Raises:
            ValueError: not a key, no payload type for keys, or a press too short or too long.
        """
        return self.sender.press(digit, duration_ms=duration_ms)

    # -- what signalling says --------------------------------------------------------------------

    def start(self, now: float) -> None:
        """The call was answered, or a hold is over: the caller is heard, and from now on time
        passes, even if no packet ever comes."""
        self._receiver.start(now)

    def pause(self) -> None:
        """On hold: the caller's audio is ignored and no time passes until `start`. Keys are still
        heard."""
        self._receiver.pause()

    def retarget(self, config: RtpConfig) -> None:
        """A re-INVITE was answered; another signalled address opens the latch again."""
        if config.remote != self._config.remote:
            if self._consented:
                self._trial_until = None
            self._reporter = None
        self._config = config
        self._receiver.retarget(config)
        self.sender.payload_type = config.payload_type
        self.sender.dtmf_payload_types = config.dtmf_payload_types
        self.sender.dtmf_clock_hz = config.dtmf_clock_hz or self._clock_hz

    @property
    def remote(self) -> Source | None:
        """Where the caller is, as far as one may send there."""
        latch = self._latch
        if latch.source is None and not self._config.reachable:
            return None
        return latch.remote

    def destination(self, now: float) -> Source | None:
        """Where to send a packet now; None when there is nowhere, or nobody there wants it."""
        source = self._latch.source
        if source is not None:
            return source[:2]
        remote = self.remote
        return remote if remote is None or self._consented or self._on_trial(now) else None

    @property
    def _consented(self) -> bool:
        """Whether anything valid came from `remote`, or nothing has to."""
        reporter = self._reporter
        return (
            self._config.consented
            or self._latch.source is not None
            or (reporter is not None and reporter[0] == self.remote)
        )

    def _on_trial(self, now: float) -> bool:
        packets = self.sender.sent
        if self._trial_until is None:
            self._trial_until = now + _TRIAL_S
            self._trial_packets = packets + _TRIAL_PACKETS
        return now < self._trial_until and packets < self._trial_packets

    @property
    def remote_rtcp(self) -> Source | None:
        """Where reports go now."""
        remote = self.remote
        if remote is None or self._config.rtcp_mux:
            return remote
        if self._reporter is not None and self._reporter[0] == remote:
            return self._reporter[1][:2]
        port = self._config.remote_rtcp_port
        if port is None or remote != self._latch.signalled:
            port = min(remote[1] + 1, 0xFFFF)
        return remote[0], port

    @property
    def last_received(self) -> float | None:
        """When the last packet or report of the caller came, None before the first."""
        media_at, report_at = self._receiver.last_received, self._reporter_at
        if media_at is None or report_at is None:
            return report_at if media_at is None else media_at
        return max(media_at, report_at)

    @property
    def stats(self) -> RtpStats:
        """What was counted so far."""
        receiver = self._receiver
        return RtpStats(
            received=receiver.received,
            sent=self.sender.sent,
            lost=receiver.lost,
            late=receiver.late,
            duplicate=receiver.duplicate,
            dropped_source=receiver.dropped_source + self._latch.dropped,
            dropped_payload=receiver.dropped_payload,
            malformed=receiver.malformed + self._malformed,
            jitter_ms=receiver.statistics.jitter * 1000 / self._clock_hz,
            rtt_ms=None if self._rtt_s is None else self._rtt_s * 1000,
        )

    def news_of_loss(self) -> float | None:
        """Share of our packets that the caller missed by its latest report, 0 to 1; None if no
        report came since this was last asked."""
        news, self._reported_loss = self._reported_loss, None
        return news

    # -- RTCP ------------------------------------------------------------------------------------

    def receive_rtcp(self, data: bytes, source: Source, now: float) -> bool:
        """Take one datagram of the RTCP port; True when the caller's source says goodbye.

        A goodbye can be forged: it is worth a line in a log, and no call ends by it.
        """
        remote = self.remote
        if remote is None or source[0] != remote[0]:
            self._receiver.dropped_source += 1
            return False
        try:
            packets = parse_compound(data)
        except RtcpError:
            self._malformed += 1
            return False
        known = self._receiver.ssrc
        goodbye = False
        for packet in packets:
            match packet:
                case SenderReport() | ReceiverReport() if known in (-1, packet.ssrc):
                    self._reporter = remote, source
                    self._reporter_at = now
                    self._read_report(packet, now)
                case Goodbye() if known in packet.ssrcs:
                    goodbye = True
        return goodbye

    def rtcp_report(self, now: float, wallclock_ntp: float) -> bytes | None:
        """The datagram to send to `remote_rtcp` if a report is due, every 2.5 to 7.5 s.

        Args:
            now: seconds on the monotonic clock.
            wallclock_ntp: seconds since 1900, of the wall clock.
        """
        if self._report_at is None:
            self._report_at = now + self._interval_s() / 2  # the first one early (section 6.2)
        if now < self._report_at:
            return None
        self._report_at = now + self._interval_s()
        report = self._report(now)
        sender = self.sender
        if sender.sent > self._packets_at_report:
            self._packets_at_report = sender.sent
            ntp = int(wallclock_ntp * 0x1_0000_0000)
            self._sent_reports[(ntp >> 16) & 0xFFFF_FFFF] = now
            if len(self._sent_reports) > _REPORTS_REMEMBERED:
                del self._sent_reports[next(iter(self._sent_reports))]
            report = SenderReport(
                ssrc=sender.ssrc,
                ntp=ntp,
                rtp_timestamp=sender.timestamp,
                packets=sender.packets,
                octets=sender.octets,
                reports=report.reports,
            )
        return build_compound([report, self._description()])

    def bye(self, now: float) -> bytes:
        """The last datagram for `remote_rtcp`."""
        return build_compound(
            [self._report(now), self._description(), Goodbye((self.sender.ssrc,))]
        )

    def _interval_s(self) -> float:
        return _INTERVAL_S * (0.5 + self._random())

    def _description(self) -> SourceDescription:
        return SourceDescription(((self.sender.ssrc, self._cname),))

    def _report(self, now: float) -> SenderReport | ReceiverReport:
        receiver = self._receiver
        if receiver.ssrc < 0:
            return ReceiverReport(self.sender.ssrc)
        statistics = receiver.statistics
        block = ReportBlock(
            ssrc=receiver.ssrc,
            fraction_lost=statistics.report_interval(),
            cumulative_lost=statistics.lost,
            highest_sequence=statistics.highest_sequence,
            jitter=int(statistics.jitter),
            last_sr=self._sr_middle,
            delay_since_last_sr=int((now - self._sr_arrival) * 0x10000) if self._sr_middle else 0,
        )
        return ReceiverReport(self.sender.ssrc, (block,))

    def _read_report(self, packet: SenderReport | ReceiverReport, now: float) -> None:
        if isinstance(packet, SenderReport):
            self._sr_middle = (packet.ntp >> 16) & 0xFFFF_FFFF
            self._sr_arrival = now
        for block in packet.reports:
            if block.ssrc != self.sender.ssrc:
                continue
            self._reported_loss = block.fraction_lost / 256
            sent_at = self._sent_reports.get(block.last_sr)
            if sent_at is not None:
                rtt_s = now - sent_at - block.delay_since_last_sr / 0x10000
                if rtt_s <= _RTT_AT_MOST_S:
                    self._rtt_s = max(rtt_s, 0.0)
