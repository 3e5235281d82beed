"""What the server was asked to say and has not begun to: by the gateway, and by clients.

A conversation has one response at a time. What the gateway is to ask for while another response is
in progress waits for its end; so does what the server refuses for that reason, because it had begun
another one by itself.

A request that was on its way when a session was lost was never answered. Nobody but we knows that,
so it is made again.

Pure: events in, events to be sent out.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.realtime import events
from gateway.realtime.events import Event, text_of

_MAX_OF_CLIENTS: Final = 16
_BUSY: Final = {"conversation_already_has_active_response", "response_already_active"}
"""How servers say that another response is in progress: as the error's code, or as its type."""


class Requests:
    """The requests of one call.

    Args:
        new_event_id: makes ids for those of the gateway's own.
    """

    def __init__(self, new_event_id: Callable[[], str]) -> None:
        self._new_event_id = new_event_id
        self._asked = ""  # the event id of ours that no response has followed yet
        self._last_asked = ""  # the same, kept: the refusal may come after another response began
        self._last: Event = {}  # what we asked for then
        self._due: Event | None = None  # to be asked for when the response in progress is done
        self._unwanted = False  # ours was interrupted before it began
        self._of_clients: deque[Event] = deque(maxlen=_MAX_OF_CLIENTS)
        self._again: list[Event] = []  # those of a session that was lost

    @property
    def pending(self) -> bool:
        """Whether anything was asked for that has not begun."""
        return bool(self._asked or self._due or self._of_clients or self._again)

    def ask(self, request: Event, *, busy: bool) -> list[Event]:
        """Ask for a response as soon as there may be one; `busy` while another is in progress."""
        if busy or self._asked:
            self._due = request
            return []
        self._due = None
        self._last = request
        self._asked = self._last_asked = self._new_event_id()
        return [request | {"event_id": self._asked}]

    def ask_due(self, *, busy: bool) -> list[Event]:
        """Ask for what had to wait, if there may be a response now."""
        return [] if self._due is None or busy else self.ask(self._due, busy=False)

    def drop_due(self) -> None:
        """What had to wait is not wanted any more."""
        self._due = None

    def by_client(self, event: Event) -> None:
        """A client asks for a response."""
        self._of_clients.append(event)

    def withdraw(self, event: Event) -> None:
        """A client's request was not sent after all."""
        if event in self._of_clients:
            self._of_clients.remove(event)

    def interrupt(self) -> None:
        """What the gateway asked for and has not begun is not to be heard."""
        self._unwanted = bool(self._asked)

    def begun(self, *, out_of_band: bool) -> bool:
        """A response has begun; returns whether it is one that nobody wants any more."""
        if out_of_band or not self._asked:
            self._forget_client(out_of_band)
            return False
        self._asked = ""
        unwanted, self._unwanted = self._unwanted, False
        return unwanted

    def refused(self, event: Event) -> None:
        """The server could not do something, perhaps what was asked for."""
        event_id = text_of(event, "error", "event_id")
        for request in self._of_clients:
            if event_id and text_of(request, "event_id") == event_id:
                self._of_clients.remove(request)
                return
        request_id = event_id or self._asked
        if not request_id:
            self._of_clients.clear()  # one of them may be meant: better none than twice
        if not request_id or request_id != self._last_asked:
            return
        if {text_of(event, "error", "code"), text_of(event, "error", "type")} & _BUSY:
            self._due = self._due or (None if self._unwanted else self._last)
            self._forget_client(out_of_band=False)  # so it was that one which began
        self._asked, self._unwanted = "", False

    def lost(self) -> bool:
        """The session is gone; returns whether the caller is owed what the gateway asked for."""
        self._again += self._of_clients
        self._of_clients.clear()
        owed = bool(self._asked) and not self._unwanted
        self._asked, self._unwanted = "", False
        return owed

    def resumed(self, *, owed: bool, busy: bool) -> list[Event]:
        """Another session is there: what to ask it for; `owed` if it is to answer in any case."""
        again, self._again = self._again, []
        in_band = (one for one in self._of_clients if not _is_out_of_band(one))
        if self._asked or any(in_band):  # asked for meanwhile: that is answer enough
            again = [request for request in again if _is_out_of_band(request)]
            owed = False
        self._of_clients += again
        if owed and not any(not _is_out_of_band(request) for request in again):
            return [*again, *self.ask(events.response_create(), busy=busy)]
        return again

    def _forget_client(self, out_of_band: bool) -> None:
        for request in self._of_clients:
            if _is_out_of_band(request) == out_of_band:
                self._of_clients.remove(request)
                return


def _is_out_of_band(request: Event) -> bool:
    return text_of(request, "response", "conversation") == "none"
