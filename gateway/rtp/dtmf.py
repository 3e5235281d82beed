"""Keys pressed during a call, as named telephone events (RFC 4733).

A press is a run of packets that share one RTP timestamp, the moment the key went down. Every packet
repeats the whole event with its duration so far, and the last one is sent three times with the end
bit. Networks lose, repeat and reorder these packets and senders forget the marker bit, so the only
thing that tells one press from the next is the timestamp: the first packet that shows a new one is
the press, and everything else with that timestamp is the same press again. Two exceptions follow.

A key held longer than the 16-bit duration (8.2 s at 8 kHz, but 1.4 s at 48 kHz) goes on under a
new timestamp, without marker, that begins where the full duration ended (section 2.5.1.3); that is
not a new press. Browsers begin it at their next frame, and if the key goes up just then they put
the end bit on the full duration as well, which therefore ends nothing.

Some senders stamp each packet with its own time, against section 2.2.2. Their press is told by what
else it has: no marker, a duration that does not shrink, and a timestamp that the growth of the
duration explains. A new press cannot look like that: it begins after the whole duration of the one
before, and its own duration begins anew.

Beside Opus, senders count keys at 8 or at 48 kHz, under a payload type for each clock. Two payload
types may stand for two timelines, so only presses under the same one are put in order.
"""

from collections import deque
from dataclasses import dataclass

from gateway.rtp.packet import RtpPacket
from gateway.rtp.payload import G711, PayloadFormat
from gateway.rtp.sequence import timestamp_delta

DIGITS = "0123456789*#ABCD"
"""Events 0 to 15 (RFC 4733 section 3.2); higher ones, such as 16 (flash), are not keys."""

_FULL_DURATION = 0xFFFF
_END = 0x80
_SEGMENT_SLACK_S = 0.100  # by which senders miss the exact start of a segment
_MOVING_SLACK_S = 0.060  # two packets lost, where the duration has nothing more to tell
_REORDER_S = 10.0
_REMEMBERED_PRESSES = 64


@dataclass(frozen=True, slots=True)
class Digit:
    """One key press, reported once."""

    event: str
    """One of `0`-`9`, `*`, `#`, `A`-`D`."""


class DtmfReceiver:
    """Turns event packets into presses, each at its first packet that arrives."""

    __slots__ = (
        "_duration",
        "_ended",
        "_event",
        "_moving_slack",
        "_recent",
        "_reorder_samples",
        "_segment_slack",
        "_stream",
        "_timestamp",
    )

    def __init__(self, format: PayloadFormat = G711) -> None:
        self._stream: tuple[int, int] | None = None
        """SSRC and payload type of the newest event."""
        self._timestamp = 0
        self._event = -1
        self._duration = 0
        """The longest so far, in samples."""
        self._ended = False
        self._segment_slack = int(_SEGMENT_SLACK_S * format.clock_hz)
        self._moving_slack = int(_MOVING_SLACK_S * format.clock_hz)
        # An event older than the newest one is a straggler. One that is older by more than any
        # network delays is the sender starting a new timeline, and must not silence the keypad.
        self._reorder_samples = int(_REORDER_S * format.clock_hz)
        self._recent: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_PRESSES)

    def receive(self, packet: RtpPacket) -> Digit | None:
        """Take one event packet; the press if this is the first that is heard of it."""
        payload = packet.payload
        if len(payload) < 4 or payload[0] >= len(DIGITS):
            return None
        event = payload[0]
        duration = int.from_bytes(payload[2:4], "big")
        ended = bool(payload[1] & _END) and duration < _FULL_DURATION
        if (packet.ssrc, packet.timestamp) in self._recent:
            if packet.timestamp == self._timestamp:
                self._duration = max(self._duration, duration)
                self._ended = self._ended or ended
            return None
        continues = False
        stream = packet.ssrc, packet.payload_type
        if stream == self._stream:
            since = timestamp_delta(packet.timestamp, self._timestamp)
            if -self._reorder_samples < since < 0:
                return None
            continues = (
                event == self._event
                and not packet.marker
                and (self._is_next_segment(since) or self._has_moved(since, duration, ended))
            )
        self._stream = stream
        self._timestamp = packet.timestamp
        self._event = event
        self._duration = duration
        self._ended = ended
        self._recent.append((packet.ssrc, packet.timestamp))
        return None if continues else Digit(DIGITS[event])

    def _is_next_segment(self, since: int) -> bool:
        return not self._ended and abs(since - _FULL_DURATION) <= self._segment_slack

    def _has_moved(self, since: int, duration: int, ended: bool) -> bool:
        """Whether a packet `since` samples after the newest is of the same press."""
        grown = duration - self._duration
        if since < 0 or grown < 0:
            return False
        if self._ended:  # then only a repetition of the end is, and it comes soon
            return ended and since <= min(self._duration, self._moving_slack)
        return since - grown <= self._moving_slack


def event_payloads(
    digit: str, *, duration_samples: int, frame_samples: int, volume: int = 10
) -> list[tuple[bytes, ...]]:
    """Payloads of one press: a group for each frame interval, the last with the end bit, thrice.

    Raises:
        ValueError: not a key, or a duration that does not fit one segment.
    """
    if len(digit) != 1 or digit not in DIGITS:
        raise ValueError(f"not a key: {digit!r}")
    if not 0 < duration_samples <= _FULL_DURATION:
        raise ValueError("the duration must be 1 to 65535 samples")
    event = DIGITS.index(digit)
    frames = -(-duration_samples // frame_samples)
    updates = [(_event_payload(event, volume, n * frame_samples),) for n in range(1, frames)]
    return [*updates, (_event_payload(event, volume | _END, duration_samples),) * 3]


def _event_payload(event: int, flags: int, duration_samples: int) -> bytes:
    return bytes((event, flags)) + duration_samples.to_bytes(2, "big")
