"""The sending half of an RTP session: numbers and stamps what one side says.

Timestamps count samples whether or not something is sent, so that the receiver can tell silence
from loss. A key press takes the place of audio for its duration: its packets continue the sequence
numbers, and all carry the timestamp of its beginning (RFC 4733 section 2.5.1).
"""

from collections.abc import Iterator

from gateway.rtp.dtmf import event_payloads
from gateway.rtp.packet import HEADER, MARKER, PLAIN
from gateway.rtp.payload import G711, PayloadFormat

_write_header = HEADER.pack


class RtpSender:
    """One outgoing stream."""

    __slots__ = (
        "_clock_hz",
        "_divisible",
        "_first",
        "_frame_samples",
        "_past",
        "_resuming",
        "_samples",
        "_sequence",
        "dtmf_clock_hz",
        "dtmf_payload_types",
        "octets",
        "packets",
        "payload_type",
        "ssrc",
        "timestamp",
    )

    def __init__(
        self,
        *,
        payload_type: int,
        dtmf_payload_types: tuple[int, ...],
        ssrc: int,
        first_sequence: int,
        first_timestamp: int,
        format: PayloadFormat = G711,
    ) -> None:
        self.payload_type = payload_type
        self.dtmf_payload_types = dtmf_payload_types
        self.dtmf_clock_hz = format.clock_hz
        """Of the first of them. How long a key is down is counted by it, when it went down by the
        clock of the audio, as browsers do where the two differ."""
        self.ssrc = ssrc
        self.timestamp = first_timestamp & 0xFFFF_FFFF
        """Of the sample that is sent next."""
        self.packets = 0
        """Of this source, as sender reports count them."""
        self.octets = 0
        """Payload bytes, likewise."""
        self._clock_hz = format.clock_hz
        self._divisible = format.divisible
        self._frame_samples = format.frame_samples
        self._samples = format.samples
        self._sequence = self._first = first_sequence & 0xFFFF
        self._past = 0  # packets of earlier sources
        self._resuming = True

    @property
    def sent(self) -> int:
        """Packets of all sources that this one has been."""
        return self._past + self.packets

    @property
    def is_young(self) -> bool:
        """Whether the numbers have not left the lower half since this source began."""
        return self._first + self.packets < 0x8000

    def become(self, ssrc: int, first_sequence: int) -> None:
        """Go on as another source."""
        self.ssrc = ssrc
        self._sequence = self._first = first_sequence
        self._past += self.packets
        self.packets = self.octets = 0
        self._resuming = True

    def send(self, payload: bytes, *, marker: bool = False) -> bytes:
        """The next packet; the marker is set by itself after silence."""
        sequence = self._sequence
        timestamp = self.timestamp
        size = len(payload)
        kind = self.payload_type
        if marker or self._resuming:
            kind |= MARKER
            self._resuming = False
        samples = size if self._divisible else self._samples(payload)  # spares G.711 a call
        self._sequence = sequence + 1 if sequence < 0xFFFF else 0
        self.timestamp = (timestamp + samples) & 0xFFFF_FFFF
        self.packets += 1
        self.octets += size
        return _write_header(PLAIN, kind, sequence, timestamp, self.ssrc) + payload

    def skip(self, samples: int) -> None:
        """Time passes and nothing is sent."""
        self.timestamp = (self.timestamp + samples) & 0xFFFF_FFFF
        self._resuming = True

    def press(self, digit: str, *, duration_ms: int = 160) -> Iterator[list[bytes]]:
        """One key press: for each frame interval the packets that take the place of `send`.

        Raises:
            ValueError: not a key, no payload type for keys, or a press too short or too long.
        """
        if not self.dtmf_payload_types:
            raise ValueError("telephone-event was not agreed on")
        clock_hz = self.dtmf_clock_hz
        groups = event_payloads(
            digit,
            duration_samples=duration_ms * clock_hz // 1000,
            frame_samples=self._frame_samples * clock_hz // self._clock_hz,
        )
        return self._stamp(groups, self.dtmf_payload_types[0])

    def _stamp(self, groups: list[tuple[bytes, ...]], payload_type: int) -> Iterator[list[bytes]]:
        start = self.timestamp
        kind = payload_type | MARKER
        for group in groups:
            datagrams = []
            for payload in group:
                header = _write_header(PLAIN, kind, self._sequence, start, self.ssrc)
                datagrams.append(header + payload)
                self._sequence = (self._sequence + 1) & 0xFFFF
                self.packets += 1
                self.octets += len(payload)
                kind = payload_type
            self.timestamp = (self.timestamp + self._frame_samples) & 0xFFFF_FFFF
            yield datagrams
        self._resuming = True
