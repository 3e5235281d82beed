"""What of the received audio is a voice, and when it began and stopped. Pure.

A packet is voice when its energy is above a floor. Gateways send silence or comfort noise between
sentences so that the stream never stops; neither reaches the floor. A voice has stopped when 200 ms
have passed without a voiced packet, since there are shorter gaps inside words; the moment it
stopped is the arrival of the last voiced packet, not the moment at which that became certain.
"""

from typing import Final, NamedTuple

import numpy as np

from gateway.audio import g711
from gateway.audio.formats import Law

_FLOOR: Final = 184.0
"""-45 dB below full scale, as the root of the mean square of 16-bit samples."""
PAUSE_S: Final = 0.2


class Stretch(NamedTuple):
    """The far end's voice without a pause of 200 ms. Times are arrivals of packets."""

    start_s: float
    end_s: float
    """Of the last voiced packet so far."""
    stopped: bool
    """A pause of 200 ms followed."""


class ReceivedPacket(NamedTuple):
    """An audio packet of the far end, in the order of arrival."""

    arrival_s: float
    timestamp: int
    """RTP, 32 bits, wraps."""
    payload: bytes
    ssrc: int
    sequence_number: int
    """RTP, 16 bits, wraps."""


def is_voice(payload: bytes, law: Law) -> bool:
    """Whether G.711 audio is louder than silence, comfort noise and the hum of a line."""
    if not payload:
        return False
    samples = g711.decode(payload, law).astype(np.float64)
    return float(np.sqrt(np.mean(np.square(samples)))) > _FLOOR


class Listener:
    """Finds the stretches of voice while they come."""

    def __init__(self) -> None:
        self._past: list[Stretch] = []
        self._start_s: float | None = None
        self._last_s = 0.0

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """All so far; the last one may not have stopped yet."""
        if self._start_s is None:
            return tuple(self._past)
        return (*self._past, Stretch(self._start_s, self._last_s, False))

    def voiced(self, at_s: float) -> bool:
        """A voiced packet arrived; True when a stretch begins with it. Call `passed` first."""
        self._last_s = at_s
        if self._start_s is not None:
            return False
        self._start_s = at_s
        return True

    def passed(self, now_s: float) -> Stretch | None:
        """Time has passed; the stretch of which it is now certain that it stopped."""
        if self._start_s is None or now_s < self._last_s + PAUSE_S:
            return None
        stretch = Stretch(self._start_s, self._last_s, True)
        self._past.append(stretch)
        self._start_s = None
        return stretch
