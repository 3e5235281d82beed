"""Keys that we press: one after the other, in the place of frames of the voice (RFC 4733).

press ──► ▓▓▓▓▓▓▓▓ 160 ms of events, the voice waits
          ░░░░░    100 ms of voice, so that a menu hears two keys and not one
,  w      half a second of voice: whoever writes it gives the other side time
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

from gateway.rtp.session import RtpSession

PRESS_MS: Final = 160
GAP_MS: Final = 100
PAUSE_MS: Final = 500
PAUSES: Final = frozenset(",w")
MAX_KEYS: Final = 64
"""That may wait, pauses among them."""
_TICK_MS: Final = 20
_GAP_TICKS: Final = GAP_MS // _TICK_MS
_PAUSE_TICKS: Final = PAUSE_MS // _TICK_MS


class KeySender:
    """The keys that are still to be pressed on one leg."""

    __slots__ = ("_keys", "_pause", "_press")

    def __init__(self) -> None:
        self._keys: deque[str] = deque()
        self._press: Iterator[list[bytes]] | None = None
        self._pause = 0

    def add(self, keys: str) -> bool:
        """Press these after those that wait. Returns whether there was room."""
        if len(self._keys) + len(keys) > MAX_KEYS:
            return False
        self._keys += keys
        return True

    @property
    def is_busy(self) -> bool:
        """Whether there is anything to do at the next step."""
        return bool(self._keys or self._pause or self._press is not None)

    def let_go(self) -> None:
        """Nothing can be sent for a while: the key that is down has been pressed."""
        if self._press is not None:
            self._press = None
            self._pause = _GAP_TICKS

    def clear(self) -> None:
        """Press nothing more."""
        self._keys.clear()
        self._press = None
        self._pause = 0

    def step(self, rtp: RtpSession) -> list[bytes] | None:
        """20 ms have passed: the packets to send in the place of a frame, None to send a frame."""
        if self._pause:
            self._pause -= 1
            return None
        if self._press is None:
            if not self._keys:
                return None
            key = self._keys.popleft()
            if key in PAUSES:
                self._pause = _PAUSE_TICKS - 1
                return None
            self._press = rtp.press(key, duration_ms=PRESS_MS)
        packets = next(self._press, None)
        if packets is None:
            self._press = None
            self._pause = _GAP_TICKS - 1
        return packets
