"""What RTCP reports about a received stream (RFC 3550 appendix A.1, A.3 and A.8).

Loss is what the sequence numbers promised minus what came; it counts every packet of the stream,
whatever its payload. Jitter is the smoothed difference between the spacing of two packets when they
were sent, by their timestamps, and when they came.
"""

from math import inf

from gateway.rtp.sequence import sequence_delta

_CYCLE = 0x10000
_RESTART = 3000  # a jump of the numbers by more than this is a new beginning (MAX_DROPOUT)


class SourceStatistics:
    """Counts one stream; `RtpReceiver` advances the public fields itself for most packets."""

    __slots__ = (
        "_base",
        "_cycles",
        "_expected_before",
        "_lost_before",
        "_received_before",
        "_received_in_report",
        "jitter",
        "next_sequence",
        "received",
        "transit",
    )

    def __init__(self) -> None:
        self.received = 0
        self.next_sequence = -1
        """One past the highest number; 65536 at the wrap."""
        self.transit = inf
        """Arrival minus timestamp of the last audio packet, in samples; infinite before it."""
        self.jitter = 0.0
        """In samples."""
        self._base = 0
        self._cycles = 0
        self._lost_before = 0
        self._received_before = 0
        self._expected_before = 0
        self._received_in_report = 0

    @property
    def highest_sequence(self) -> int:
        """The highest number, wraps counted in the upper half."""
        return self._cycles + self.next_sequence - 1 if self.next_sequence >= 0 else 0

    @property
    def lost(self) -> int:
        """Packets that never came; repetitions may make it negative."""
        if self.next_sequence < 0:
            return self._lost_before
        expected = self.highest_sequence - self._base + 1
        return self._lost_before + expected - (self.received - self._received_before)

    def observe(self, sequence: int) -> None:
        """Take a number that is not simply the next one; `received` has counted the packet."""
        if self.next_sequence < 0:
            self._begin(sequence)
            return
        ahead = sequence_delta(sequence, self.next_sequence & 0xFFFF)
        if not -_RESTART <= ahead <= _RESTART:
            self._lost_before = self.lost + 1  # the expected ones stay missing; this one came
            self._received_before = self.received - 1
            self._begin(sequence)
        elif ahead >= 0:
            if sequence < self.next_sequence:
                self._cycles += _CYCLE
            self.next_sequence = sequence + 1

    def report_interval(self) -> int:
        """Loss since the last call, in 1/256 of what was expected."""
        expected = self.lost + self.received
        promised = expected - self._expected_before
        missing = promised - (self.received - self._received_in_report)
        self._expected_before = expected
        self._received_in_report = self.received
        return min(256 * missing // promised, 255) if promised > 0 and missing > 0 else 0

    def _begin(self, sequence: int) -> None:
        self._base = sequence
        self._cycles = 0
        self.next_sequence = sequence + 1
