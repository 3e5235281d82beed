"""A mark in every audio frame, so that delay and loss are measured instead of inferred.

G.711 passes through the gateway untouched, so any 160 bytes are valid audio. 18 of them say which
call sent the frame, its number and the moment it left. They lie near the frame's end, since after
a loss the start of the next frame is blended; and so that they are exactly 24 characters of its
base64, which spares the fake Realtime server to decode the rest.
"""

from struct import Struct

FRAME_BYTES = 160
"""20 ms of G.711."""
MAGIC = b"\xd5\x2a\x93"
MAGIC_BASE64 = b"1SqT"
MARK = Struct("!3sBHIQ")
"""Magic, flags, call, counter, sent at (unix time in nanoseconds)."""
MARK_AT = 141
MARK_BASE64_AT, MARK_BASE64_END = MARK_AT * 4 // 3, (MARK_AT + 18) * 4 // 3

MEASURED = 1
"""Flag: sent inside the measured window."""
NEAR_KEY = 2
"""Flag: sent close to a key press, which may cut it off on purpose."""


def percentile(ordered: list[float], share: float) -> float:
    """The value below which `share` (0..1) of the sorted values lie; 0.0 when there are none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
