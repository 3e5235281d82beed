"""A browser on its data channel, as one of the clients that control its call.

It is attached when the call gets its session, which is before the browser's channel opens: what is
said until then waits here. The browser reads as fast as it can; one that lets megabytes wait has
stopped reading, and since the channel is all it has, its call ends.
"""

import contextlib
from collections import deque
from typing import Final, Protocol

from gateway.calls.client_messages import (
    MessageRefused,
    read_message,
    session_created,
    without_sound,
)
from gateway.calls.control import Controllable
from gateway.legs.leg import EventChannel
from gateway.realtime.events import parse_event
from gateway.realtime.session import Session

_MOST_WAITING: Final = 2000
_MOST_WAITING_BYTES: Final = 4 << 20


class BrowsersCall(Controllable, Protocol):
    """The call, as a browser sees it."""

    def hang_up(self, reason: str) -> None: ...


class ChannelControl:
    """The client at the other end of a leg's event channel."""

    wants_audio = False
    """It hears the audio itself."""
    wants_extensions = False

    def __init__(self, channel: EventChannel, call: BrowsersCall) -> None:
        self._channel = channel
        self._call = call
        self._early: deque[bytes] = deque()
        self._early_bytes = 0
        self._closed = False
        channel.listen(self._opened, self._received)

    def begin(self, session: Session) -> None:
        """The call has its session: from here on the client is shown all that happens."""
        self.send(session_created(session))
        self._call.attach(self)

    def send(self, message: bytes) -> None:
        if self._closed:
            return
        if not self._channel.is_open:
            self._keep(message)
            return
        if self._channel.waiting_bytes > _MOST_WAITING_BYTES:
            self._give_up()
            return
        try:
            self._channel.send(message)
        except ValueError as error:
            self._send_less(message, str(error))

    def _send_less(self, message: bytes, why: str) -> None:
        """An event is larger than the client takes: of an item it can do without the sound, which
        it has heard; of anything else it is told that it misses it."""
        event = parse_event(message)
        refused = MessageRefused(f"{event['type']} cannot be sent to you: {why}.", code="too_large")
        for smaller in (without_sound(event), refused.to_message()):
            if smaller is not None:
                with contextlib.suppress(ValueError):
                    self._channel.send(smaller)
                    return
        self._give_up()

    def close(self) -> None:
        self._closed = True
        self._early.clear()

    def _keep(self, message: bytes) -> None:
        self._early.append(message)
        self._early_bytes += len(message)
        if len(self._early) > _MOST_WAITING or self._early_bytes > _MOST_WAITING_BYTES:
            self._give_up()

    def _give_up(self) -> None:
        self.close()
        self._call.hang_up("channel_closed")

    def _opened(self) -> None:
        early, self._early = self._early, deque()
        for message in early:
            self.send(message)

    def _received(self, data: bytes) -> None:
        if self._closed:
            return
        try:
            event = read_message(data)
            if self._call.congested:
                # A WebSocket's client would be kept waiting; a channel's cannot be.
                raise MessageRefused(
                    "The session is behind with what it was sent.", code="rate_limit_exceeded"
                )
        except MessageRefused as refused:
            self.send(refused.to_message())
            return
        self._call.control(event)
