"""What a call sees of a caller: types only, so that the pure call machine can load them.

A leg is signalling plus a media port. It is commanded by methods that return at once, and it tells
what happened by handing `LegEvent`s to its one listener, in order, on the event loop.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.audio.formats import AudioFormat
from gateway.audio.playout import Playout, Started, Stopped


@dataclass(frozen=True, slots=True)
class LegAnswered:
    """The caller has our answer and acknowledged it: the conversation may begin."""


@dataclass(frozen=True, slots=True)
class DtmfIn:
    """One key press, reported once."""

    digit: str
    received_at: int
    """Unix time in seconds."""


@dataclass(frozen=True, slots=True)
class Played:
    """The playout reached the start or the end of a response's audio."""

    mark: Started | Stopped


@dataclass(frozen=True, slots=True)
class LegHeld:
    """The caller put us on hold (True) or came back (False)."""

    held: bool


@dataclass(frozen=True, slots=True)
class LegSilent:
    """Nothing was received from the caller for longer than the setting allows."""


@dataclass(frozen=True, slots=True)
class LegBroken:
    """A defect of ours in this leg's media; it must end this call and hurt no other."""

    error: Exception


@dataclass(frozen=True, slots=True)
class LegEnded:
    """Signalling is over; nothing follows this event."""

    reason: str
    status: int | None = None
    """The final SIP status where there was one."""


LegEvent = LegAnswered | DtmfIn | Played | LegHeld | LegSilent | LegBroken | LegEnded


@dataclass(frozen=True, slots=True)
class MediaStats:
    """What the media path of a leg counted."""

    rtp_received: int = 0
    rtp_sent: int = 0
    rtp_lost: int = 0
    jitter_ms: float = 0.0
    mos: float | None = None
    """Estimate after ITU-T G.107; None when nothing was received."""


class LegError(Exception):
    """A leg could not do what it was asked; `status` is the SIP status the caller deserves."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class MediaPort(Protocol):
    """Audio of one leg: a sink for what the caller says, a playout for what the caller hears."""

    @property
    def format(self) -> AudioFormat: ...

    @property
    def playout(self) -> Playout: ...

    def join(self, sink: Callable[[bytes], None]) -> None:
        """From now on hand every 20 ms of the caller's audio, in `format`, to `sink`."""

    def part(self) -> None:
        """Stop handing audio to the sink."""

    def stats(self) -> MediaStats: ...


class Leg(Protocol):
    """One caller."""

    @property
    def kind(self) -> str:
        """`sip` or `webrtc`."""

    @property
    def format(self) -> AudioFormat:
        """Of the audio that will be joined; settled by the offer."""

    @property
    def codec(self) -> str: ...

    @property
    def media_security(self) -> str:
        """`rtp` or `srtp`."""

    def listen(self, listener: Callable[[LegEvent], None]) -> None: ...

    def ring(self) -> None: ...

    async def answer(self) -> MediaPort:
        """Open media and answer the call.

        Raises:
            LegError: no port was free, or the caller has gone.
        """

    def reject(self, status: int, retry_after_s: int | None = None) -> None: ...

    def hang_up(self) -> None: ...

    async def close(self) -> None:
        """Free what the leg holds; safe to call at any time and more than once."""
