"""Audio between two people who speak with each other now: late audio is worse than lost audio.

A `LiveFeed` carries one direction. What one leg hears arrives when the network brings it; what the
other leg is sent leaves by the media clock. Between both lies a little audio, so that a packet that
comes late is not missed at once, and never much. That also bears with two clocks that do not agree:
the one that is too fast costs a frame now and then, the other adds one of silence.

`EarlyMedia` is what comes from somebody who is being called, and our ringing while nothing does.

A `Mixer` is for a third one who listens: it adds what both say.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from gateway.audio.formats import AudioFormat
from gateway.audio.playout import Background
from gateway.audio.transcode import Transcoder

FRAME_MS: Final = 20
LIMIT_MS: Final = 60
"""As much may wait; the oldest is dropped of more."""
GAP_MS: Final = 1000
"""After so long without a packet of early media it rings again."""
_CUSHION_MS: Final = 20
"""So much waits behind a frame before a stretch of audio begins to be sent."""


class LiveFeed:
    """One direction, from a leg that is heard to a leg that is sent audio; a `Background` there.

    Args:
        source, target: the formats of the legs. Equal ones pass untouched.
    """

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        self.dropped_ms = 0
        """Audio that came faster than it could be sent."""
        self._convert = Transcoder(source, target).convert
        self._target = target
        self._per_ms = target.bytes_per_ms
        self._waiting = bytearray()
        self._taken = 0  # bytes at a time
        self._runs = False

    @property
    def waiting_ms(self) -> int:
        return len(self._waiting) // self._per_ms

    def push(self, audio: bytes) -> None:
        """What the one leg says."""
        piece = self._convert(audio)
        self._waiting += piece
        # Packets of more than a frame need room for two of them. Only the latest counts: a gap of
        # the network comes as one piece too, and what waits after it must not wait for good.
        limit = max(LIMIT_MS * self._per_ms, 2 * len(piece), 2 * self._taken)
        excess = len(self._waiting) - limit
        if excess > 0:
            excess += -excess % (self._target.bytes_per_sample)
            del self._waiting[:excess]
            self.dropped_ms += excess // self._per_ms

    def next(self, size: int) -> bytes:
        """What the other leg is sent now: silence while there is nothing, or too little yet."""
        self._taken = size
        waiting = self._waiting
        if not self._runs and len(waiting) < size + _CUSHION_MS * self._per_ms:
            return self._silence(size)
        piece = bytes(waiting[:size])
        del waiting[:size]
        self._runs = bool(waiting) or len(piece) == size
        return piece + self._silence(size - len(piece))

    def _silence(self, size: int) -> bytes:
        return self._target.silence(size // self._target.bytes_per_sample)


class EarlyMedia:
    """What somebody who is being called plays before the answer; a `Background` for who waits.

    A port with media passes time on as silence also where no packet comes: many announce early
    media and send none, or end an announcement and go on ringing.

    Args:
        source, target: formats of the leg there, and of who waits.
        ringing: is heard while nothing comes.
        received: how many packets have come from there.
    """

    def __init__(
        self,
        source: AudioFormat,
        target: AudioFormat,
        ringing: Background,
        received: Callable[[], int],
    ) -> None:
        feed = LiveFeed(source, target)
        self.push = feed.push
        self._feed = feed
        self._ringing = ringing
        self._received = received
        self._last = received()
        self._most = GAP_MS * target.bytes_per_ms
        self._missed = self._most

    def next(self, size: int) -> bytes:
        received = self._received()
        self._missed = self._missed + size if received == self._last else 0
        self._last = received
        heard = self._feed.next(size)
        return heard if self._missed < self._most else self._ringing.next(size)


class Mixer:
    """What both sides say, added, for a listener.

    Nobody's clock rules: a frame is made when both have said one. A side that says nothing, on hold
    perhaps, is waited for no longer than `LIMIT_MS`.

    Args:
        first, second: the formats of the sides.
        target: of the listener.
        sink: is given the sum, a frame of 20 ms at a time.
    """

    def __init__(
        self,
        first: AudioFormat,
        second: AudioFormat,
        target: AudioFormat,
        sink: Callable[[bytes], None],
    ) -> None:
        linear = AudioFormat("pcm16", target.rate_hz)
        self._inputs = tuple(Transcoder(side, linear).convert for side in (first, second))
        self._waiting = (bytearray(), bytearray())
        self._encode = Transcoder(linear, target).convert
        self._frame = FRAME_MS * linear.bytes_per_ms
        self._most = LIMIT_MS * linear.bytes_per_ms
        self._sink = sink

    def first(self, audio: bytes) -> None:
        self._push(0, audio)

    def second(self, audio: bytes) -> None:
        self._push(1, audio)

    def _push(self, side: int, audio: bytes) -> None:
        first, second = self._waiting
        self._waiting[side].extend(self._inputs[side](audio))
        while min(len(first), len(second)) >= self._frame:
            self._sink(self._encode(_sum(self._take(first), self._take(second))))
        mine = self._waiting[side]
        while len(mine) > self._most:
            self._sink(self._encode(self._take(mine)))

    def _take(self, waiting: bytearray) -> bytes:
        frame = bytes(waiting[: self._frame])
        del waiting[: self._frame]
        return frame


def _sum(one: bytes, other: bytes) -> bytes:
    total = np.frombuffer(one, np.int16).astype(np.int32) + np.frombuffer(other, np.int16)
    return np.clip(total, -32768, 32767).astype(np.int16).tobytes()
