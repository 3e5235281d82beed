"""The receiving half of an RTP session: from datagrams to audio in order and pressed keys.

A packet passes four questions: does it come from the caller's address (`Latch`), from the source
that is known (SSRC), of which kind is it, and is it its turn (`JitterBuffer`)? Nearly every packet
answers them all like the one before, so `receive` asks the first three in one comparison each.

A new SSRC at the caller's address (another device, music on hold, a restarted sender) takes over
when two packets in sequence came and none of the old source in between; both are handed on, so
nothing is lost. Gateways that send keys under an SSRC of their own are known after two packets too.

Packets that are not audio (keys, comfort noise) share the numbering of the audio they replace: the
jitter buffer is told that they came, and the time they take passes as `Lost`.

Audio may come under several payload types and change from packet to packet (RFC 3264 section 7).
What is not of the main one, off the way of nearly all packets, is translated to it first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.rtp.config import RtpConfig
from gateway.rtp.dtmf import Digit, DtmfReceiver
from gateway.rtp.jitter import JitterBuffer
from gateway.rtp.latch import Latch, Source
from gateway.rtp.packet import HEADER, HEADER_BYTES, PLAIN, RtpError, RtpPacket
from gateway.rtp.payload import G711, PayloadFormat
from gateway.rtp.source import SourceStatistics
from gateway.rtp.timeline import Placed

Heard = Placed | Digit
"""What a caller is heard to do: audio, time without audio, a key."""

_COMFORT_NOISE = 13
_MOST_PAYLOAD_S = 0.200
_PROBATION_S = 0.500
_NOTHING: tuple[()] = ()
_read_header = HEADER.unpack_from


@dataclass(frozen=True, slots=True)
class _Probation:
    """The first packet of a source that is not known yet."""

    packet: RtpPacket
    arrival: float
    received: int
    """Packets of the known source until then."""


class RtpReceiver:
    """One incoming stream."""

    __slots__ = (
        "_buffer",
        "_clock_hz",
        "_dtmf",
        "_event_ssrc",
        "_event_types",
        "_malformed",
        "_most_bytes",
        "_new_audio",
        "_new_events",
        "_other_audio",
        "_past_lost",
        "_past_received",
        "_push",
        "_source",
        "dropped_payload",
        "dropped_source",
        "last_received",
        "latch",
        "payload_type",
        "ssrc",
        "statistics",
    )

    def __init__(self, config: RtpConfig, format: PayloadFormat = G711) -> None:
        self._hear(config)
        self.latch = Latch(config.remote)
        self.ssrc = -1
        """The source that is heard, -1 before the first packet."""
        self.statistics = SourceStatistics()
        self.last_received: float | None = None
        """When the last packet of the caller came."""
        self.dropped_payload = 0
        """Packets of a payload type that was not agreed on."""
        self.dropped_source = 0
        """Packets of an unknown SSRC at the caller's address."""
        self._clock_hz = float(format.clock_hz)  # `_count` is faster with floats alone
        # No format takes more than a byte for a sample.
        self._most_bytes = HEADER_BYTES + int(_MOST_PAYLOAD_S * format.clock_hz)
        self._malformed = 0
        self._buffer = JitterBuffer(format)
        self._push = self._buffer.push
        self._dtmf = DtmfReceiver(format)
        self._source: Source | None = None
        self._event_ssrc = -1
        self._new_audio: _Probation | None = None
        self._new_events: _Probation | None = None
        self._past_received = 0
        self._past_lost = 0

    @property
    def received(self) -> int:
        """Packets of the caller, under all SSRCs."""
        return self._past_received + self.statistics.received

    @property
    def lost(self) -> int:
        """Packets that the caller sent and that never came."""
        return max(self._past_lost + self.statistics.lost, 0)

    @property
    def malformed(self) -> int:
        """What was no RTP packet, or had no payload of the format."""
        return self._malformed + self._buffer.unusable

    @property
    def late(self) -> int:
        return self._buffer.late

    @property
    def duplicate(self) -> int:
        return self._buffer.duplicate

    def receive(self, data: bytes, source: Source, now: float) -> Sequence[Heard]:
        """Take one datagram of the RTP port; what is heard by it, in order."""
        size = len(data)
        if HEADER_BYTES < size <= self._most_bytes:
            first, kind, sequence, timestamp, ssrc = _read_header(data)
            if (
                kind == self.payload_type
                and first == PLAIN
                and ssrc == self.ssrc
                and source == self._source
            ):
                self.last_received = now
                self._count(sequence, timestamp, now)
                return self._push(sequence, timestamp, data[HEADER_BYTES:], now)
        return self._examine(data, source, now)

    def tick(self, now: float) -> Sequence[Placed]:
        """Let time pass; call it every 20 ms."""
        return self._buffer.tick(now)

    def start(self, now: float) -> None:
        """The conversation begins, or goes on after `pause`: time passes from now on."""
        self.latch.start(now)
        self._buffer.start(now)

    def pause(self) -> None:
        """On hold: audio is ignored and no time passes until `start`. Keys are still heard."""
        self._buffer.pause()

    def retarget(self, config: RtpConfig) -> None:
        """A new description was agreed on."""
        self._hear(config)
        self.latch.retarget(config.remote)
        self._source = self.latch.source

    def _hear(self, config: RtpConfig) -> None:
        self.payload_type = config.payload_type
        self._other_audio = config.other_audio
        audio = {config.payload_type, *config.other_audio}
        self._event_types = frozenset(config.dtmf_payload_types) - audio

    def _count(self, sequence: int, timestamp: int, now: float) -> None:
        statistics = self.statistics
        statistics.received += 1
        if sequence == statistics.next_sequence:
            statistics.next_sequence = sequence + 1
        else:
            statistics.observe(sequence)
        transit = now * self._clock_hz - timestamp
        change = transit - statistics.transit
        statistics.transit = transit
        if change < 0.0:
            change = -change
        if change < self._clock_hz:  # a wrap or a jump of the timestamps is not jitter
            statistics.jitter += (change - statistics.jitter) * 0.0625

    def _examine(self, data: bytes, source: Source, now: float) -> Sequence[Heard]:
        """Any packet that is not just like the one before."""
        try:
            packet = RtpPacket.parse(data)
        except RtpError:
            self._malformed += 1
            return _NOTHING
        if len(packet.payload) > self._most_bytes:
            self._malformed += 1
            return _NOTHING
        if not self._is_agreed(packet.payload_type):
            return self._refuse(packet, source, now)
        if not self.latch.admit(source, packet, now):
            return _NOTHING
        self._source = self.latch.source
        self.last_received = now
        if self.ssrc < 0:
            self.ssrc = packet.ssrc
        if packet.ssrc == self.ssrc:
            return self._accept(packet, now)
        if packet.payload_type in self._event_types:
            return self._foreign_event(packet, now)
        return self._foreign_audio(packet, now)

    def _is_agreed(self, payload_type: int) -> bool:
        return (
            payload_type == self.payload_type
            or payload_type in self._event_types
            or payload_type in self._other_audio
            or payload_type == _COMFORT_NOISE
        )

    def _refuse(self, packet: RtpPacket, source: Source, now: float) -> Sequence[Heard]:
        if source != self._source:
            self.latch.dropped += 1
            return _NOTHING
        self.dropped_payload += 1
        self.last_received = now
        if packet.ssrc != self.ssrc:
            return _NOTHING
        return self._account(packet, now)

    def _accept(self, packet: RtpPacket, now: float) -> Sequence[Heard]:
        """A packet of the known source."""
        payload = self._audio_of(packet)
        if payload:
            self._count(packet.sequence_number, packet.timestamp, now)
            return self._push(packet.sequence_number, packet.timestamp, payload, now)
        heard = self._account(packet, now)
        if packet.payload_type in self._event_types:
            digit = self._dtmf.receive(packet)
            if digit is not None:
                return [*heard, digit]
        return heard

    def _audio_of(self, packet: RtpPacket) -> bytes:
        """The payload as it is under the main payload type; b"" where there is no audio."""
        kind = packet.payload_type
        if kind == self.payload_type:
            return packet.payload
        if kind in self._other_audio:
            return packet.payload.translate(self._other_audio[kind])
        return b""

    def _account(self, packet: RtpPacket, now: float) -> Sequence[Placed]:
        """A packet of the known source that is not audio: keys repeat one timestamp for long, which
        must not look like jitter."""
        self.statistics.received += 1
        self.statistics.observe(packet.sequence_number)
        return self._buffer.account(packet.sequence_number, now)

    def _foreign_event(self, packet: RtpPacket, now: float) -> Sequence[Heard]:
        packets = [packet]
        if packet.ssrc != self._event_ssrc:
            first, self._new_events = self._new_events, _Probation(packet, now, 0)
            if first is None or not _follows(packet, now, first):
                self.dropped_source += 1
                return _NOTHING
            self._event_ssrc = packet.ssrc
            self._new_events = None
            packets.insert(0, first.packet)
        digits = [self._dtmf.receive(each) for each in packets]
        return [digit for digit in digits if digit is not None]

    def _foreign_audio(self, packet: RtpPacket, now: float) -> Sequence[Heard]:
        received = self.statistics.received
        first, self._new_audio = self._new_audio, _Probation(packet, now, received)
        if first is None or first.received != received or not _follows(packet, now, first):
            self.dropped_source += 1
            return _NOTHING
        self._new_audio = None
        self.dropped_source -= 1  # the first one was none of these after all
        self._past_received += received
        self._past_lost += self.statistics.lost
        self.statistics = SourceStatistics()
        self.ssrc = packet.ssrc
        heard: list[Heard] = [*self._buffer.restart()]
        heard += self._accept(first.packet, first.arrival)
        heard += self._accept(packet, now)
        return heard


def _follows(packet: RtpPacket, now: float, first: _Probation) -> bool:
    return (
        packet.ssrc == first.packet.ssrc
        and packet.sequence_number == (first.packet.sequence_number + 1) & 0xFFFF
        and now - first.arrival <= _PROBATION_S
    )
