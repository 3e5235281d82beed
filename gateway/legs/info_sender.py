"""Keys that we press by INFO, for a peer that takes none with its media.

Each key waits for the answer to the one before, and for the time that the one before takes: the
other side may turn each into tones, and those must not run together. A key that is refused is not
followed by the rest, which would be another number than the one that was meant.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from gateway.legs.key_sender import GAP_MS, MAX_KEYS, PAUSE_MS, PAUSES, PRESS_MS
from gateway.legs.outlet import unheard


class InfoSender:
    """The keys that are still to be pressed on one leg.

    Args:
        send: sends an INFO with this key; `answered` tells what came of it.
    """

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send = send
        self._keys: deque[str] = deque()
        self._asked = False  # an INFO is on its way
        self._wait: asyncio.TimerHandle | None = None

    def add(self, keys: str) -> bool:
        """Press these after those that wait. Returns whether there was room."""
        if len(self._keys) + len(keys) > MAX_KEYS:
            return False
        self._keys += keys
        if not self._asked and self._wait is None:
            self._next()
        return True

    def answered(self, status: int) -> None:
        """The final status of the INFO that was sent last."""
        self._asked = False
        if status >= 300:
            self._keys.clear()
        else:
            self._next_in(PRESS_MS + GAP_MS)

    def close(self) -> None:
        """Press no more."""
        self._keys.clear()
        self._send = unheard
        if self._wait is not None:
            self._wait.cancel()
            self._wait = None

    def _next(self) -> None:
        self._wait = None
        if not self._keys:
            return
        key = self._keys.popleft()
        if key in PAUSES:
            self._next_in(PAUSE_MS)
            return
        self._asked = True
        self._send(key)

    def _next_in(self, delay_ms: int) -> None:
        self._wait = asyncio.get_running_loop().call_later(delay_ms / 1000, self._next)
