"""Where a leg's events leave it."""

from collections.abc import Callable

from gateway.legs.leg import LegEnded, LegEvent


class Outlet:
    """Hands a leg's events to its one listener, in order, up to the end.

    A caller may give up before the call has begun to listen, so what comes earlier is kept.
    """

    def __init__(self) -> None:
        self.ended = False
        """`LegEnded` was told; nothing follows it."""
        self.closed = False
        self._listener: Callable[[LegEvent], None] | None = None
        self._early: list[LegEvent] = []

    def listen(self, listener: Callable[[LegEvent], None]) -> None:
        self._listener = listener
        early, self._early = self._early, []
        for event in early:
            listener(event)

    def emit(self, event: LegEvent) -> None:
        if self.ended:
            return  # nothing follows the end, which has several causes: we hang up, then they do
        self.ended = isinstance(event, LegEnded)
        if self._listener is not None:
            self._listener(event)
        elif not self.closed:
            self._early.append(event)

    def close(self) -> None:
        """Nobody listens any more."""
        self.closed = True
        self._listener = None


def unheard(*told: object) -> None:
    """Who listens where nobody does yet, or any more. In the end it takes the place of who did:
    what knows each other in a circle stays until the garbage collector comes by."""
