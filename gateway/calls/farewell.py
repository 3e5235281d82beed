"""The end of a talk: why it is over, and what is heard before.

When no session is to be had any more, what was queued is heard to its end, then the recorded
apology if there is one. Each of them is waited for, but not forever.

Pure: news and `now` in, effects out.
"""

from typing import Final

from gateway.audio.playout import ItemPart, Started, Stopped
from gateway.calls.effects import Effect, PlayApology

APOLOGY: Final = ItemPart("", "apology", 0)
"""What the gateway says by itself is no part of the conversation."""
_MAX_TAIL_S: Final = 60.0
"""Of speech that was queued when the last session was lost."""
_PAUSE_S: Final = 0.2
"""After a response was heard to its end: one that was queued behind it begins at once."""
_MAX_APOLOGY_S: Final = 330.0
"""No recording is longer."""


class Farewell:
    """Of one call.

    Args:
        has_apology: there are recorded words.
    """

    def __init__(self, *, has_apology: bool) -> None:
        self.over = ""
        """Why the call is to be ended; "" while it is not."""
        self._has_apology = has_apology
        self._deadline: float | None = None  # while the last words are waited for

    def end(self, reason: str) -> None:
        """The talk is over, without another word."""
        self.over = self.over or reason
        self._deadline = None

    def give_up(self, now: float, *, answered: bool, sounding: bool) -> list[Effect]:
        """There will be no session. `sounding`: something is still to be heard."""
        if not answered or not (sounding or self._has_apology):
            self.end("session_lost")
            return []
        self._deadline = now + _MAX_TAIL_S
        return [PlayApology()] if self._has_apology else []

    def played(self, mark: Started | Stopped, now: float) -> None:
        """The playout passed the start or the end of a response, or of the apology."""
        if self._deadline is None:
            return
        apology = mark.part == APOLOGY
        if isinstance(mark, Started):
            self._deadline = now + (_MAX_APOLOGY_S if apology else _MAX_TAIL_S)
        elif apology:
            self.end("session_lost")
        elif not self._has_apology:
            self._deadline = now + _PAUSE_S  # unless another response follows

    def cleared(self) -> None:
        """The playout was emptied: of the last words too."""
        if self._deadline is not None:
            self.end("session_lost")

    def timeout(self, now: float) -> None:
        if self._deadline is not None and now >= self._deadline:
            self.end("session_lost")

    def next_timeout(self) -> float | None:
        return self._deadline
