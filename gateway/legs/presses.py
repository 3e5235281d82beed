"""Key presses of one caller, however they come, each told once.

A telephone may say a press as an event of its media (RFC 4733), in an INFO, and as tones that can
be heard; some say it in two ways at once. So a press that comes another way within a moment of one
that is known is the same press. One that comes the same way again is another one: who presses 5
twice means it.

An INFO that comes when the key is let go says how long it was held, and so when it went down.
"""

import re
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

Way = Literal["event", "info", "tone"]

_SAME_S: Final = 2.0
"""An INFO comes when the key is let go, the tones a moment after it is down."""
_REMEMBERED: Final = 32
_DURATION: Final = re.compile(
    rb"^[ \t]*+duration[ \t]*+[=:][ \t]*+([0-9]{1,5})[ \t]*+\r?$", re.I | re.M
)


@dataclass(slots=True)
class _Press:
    key: str
    at: float
    ways: set[Way]


class Presses:
    """Those of one call. Times are seconds on a monotonic clock."""

    def __init__(self) -> None:
        self._recent: deque[_Press] = deque(maxlen=_REMEMBERED)

    def is_new(self, key: str, way: Way, now: float, held_s: float = 0.0) -> bool:
        """Whether this is not a press that has come another way before; it went down `held_s`
        ago."""
        for press in self._recent:
            known_s = now - held_s - press.at
            if press.key == key and way not in press.ways and known_s <= _SAME_S:
                press.ways.add(way)
                return False
        self._recent.append(_Press(key, now, {way}))
        return True


def held_s(body: bytes) -> float:
    """How long a key was held by what the body of an INFO says, in milliseconds; 0 where it says
    nothing. Takes any bytes."""
    match = _DURATION.search(body)
    return 0.0 if match is None else int(match[1]) / 1000
