"""The clients that control a call, on sidebands or a data channel, as the call sees them."""

from typing import Protocol

from gateway.realtime.events import Event, encode_event

MAX_CONTROLS = 32
"""Of one call; each holds what waits for it."""


class Control(Protocol):
    """Is shown every server event of the call, in order."""

    @property
    def wants_audio(self) -> bool:
        """Whether audio deltas are to be sent too."""

    @property
    def wants_extensions(self) -> bool:
        """Whether events of the gateway's own (`gateway.…`) are to be sent too. Some official
        clients take a type that they do not know for a failure of the session."""

    def send(self, message: bytes) -> None:
        """Send one event, as JSON text. Never waits."""

    def close(self) -> None:
        """The call is over. What was sent before still goes out."""


class Controllable(Protocol):
    """A call, as any client of it sees it."""

    @property
    def congested(self) -> bool:
        """Whether what was sent before should go out before there is more."""

    def attach(self, control: Control) -> None: ...

    def detach(self, control: Control) -> None: ...

    def control(self, event: Event) -> None: ...


class Controls:
    """All clients attached to one call."""

    def __init__(self) -> None:
        self._all: list[Control] = []
        self._listeners: list[Control] = []
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether no more can be attached."""
        return len(self._all) >= MAX_CONTROLS

    def attach(self, control: Control) -> None:
        if self._closed:
            control.close()
            return
        self._all.append(control)
        if control.wants_audio:
            self._listeners.append(control)

    def detach(self, control: Control) -> None:
        for controls in (self._all, self._listeners):
            if control in controls:
                controls.remove(control)

    def show(self, event: Event, extension: bool) -> None:
        """Send an event to everyone who wants its kind."""
        wanting = [one for one in self._all if one.wants_extensions or not extension]
        if wanting:
            message = encode_event(event)
            for control in wanting:
                control.send(message)

    def show_audio(self, delta: bytes) -> None:
        """Send an audio delta, as it came, to those who listen. On the hot path."""
        for control in self._listeners:
            control.send(delta)

    def close(self) -> None:
        self._closed = True
        controls, self._all, self._listeners = self._all, [], []
        for control in controls:
            control.close()
