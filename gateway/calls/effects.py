"""What the call machine wants done. A `Call` performs these, in order, and decides nothing."""

from dataclasses import dataclass
from typing import Any

from gateway.audio.playout import ItemPart
from gateway.realtime.errors import RealtimeError
from gateway.realtime.events import Event


@dataclass(frozen=True, slots=True)
class RingLeg:
    """Let the caller hear ringing."""


@dataclass(frozen=True, slots=True)
class PostWebhook:
    """Tell the application of the call, again and again until it has heard or decided."""


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Connect and configure a Realtime session; the outcome comes back as an input."""

    session: dict[str, Any]
    fallback: bool = False
    """With the second server."""


@dataclass(frozen=True, slots=True)
class JoinSession:
    """From here on the session that was opened last is the call's; the one before it is closed."""


@dataclass(frozen=True, slots=True)
class Retell:
    """Put something that the caller said into the session by this `conversation.item.create`: by
    its sound, if that was kept and nobody has the words."""

    event: Event


@dataclass(frozen=True, slots=True)
class TellSpeech:
    """Have the session hear what no session before it has made an item of."""


@dataclass(frozen=True, slots=True)
class DropSession:
    """The session that was opened last is not needed."""


@dataclass(frozen=True, slots=True)
class Background:
    """What the caller hears while nobody speaks."""

    sound: str
    """`comfort`, `filler`, or nothing: silence."""


@dataclass(frozen=True, slots=True)
class PlayApology:
    """Say the recorded words with which the gateway itself takes leave."""


@dataclass(frozen=True, slots=True)
class AnswerLeg:
    """Open media, join it to the session and answer the caller."""


@dataclass(frozen=True, slots=True)
class DialLeg:
    """Open media, join it to the session and call; the leg tells what becomes of it."""


@dataclass(frozen=True, slots=True)
class ReferLeg:
    """Ask the other side to call `target_uri` instead."""

    target_uri: str


@dataclass(frozen=True, slots=True)
class PressKeys:
    """Press keys; whoever asked is told by `ticket`, or a client by an event."""

    digits: object
    """Unchecked, as a client may have sent anything."""
    ticket: int | None = None
    client_event_id: str | None = None


@dataclass(frozen=True, slots=True)
class RejectLeg:
    """Refuse the caller with a final SIP status."""

    status: int
    reason: str
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class EndLeg:
    """Hang up."""


@dataclass(frozen=True, slots=True)
class ToBackend:
    """Send an event to the Realtime session."""

    event: Event


@dataclass(frozen=True, slots=True)
class ToControl:
    """Show an event to every client that controls the call."""

    event: Event
    extension: bool = False
    """Of the gateway's own types: only for clients that asked for these."""


@dataclass(frozen=True, slots=True)
class FinishPart:
    """No more audio of this part will come: its tail may be played out."""

    part: ItemPart


@dataclass(frozen=True, slots=True)
class ClearPlayout:
    """Silence the voice now. What was heard comes back through `CallMachine.cleared`."""

    cause: str
    """`speech`, `dtmf` or `client`."""


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the log."""

    event: str
    fields: dict[str, Any]
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Settle:
    """A command has had its effect, or cannot have it."""

    ticket: int
    error: RealtimeError | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The call is over: everything it holds is to be freed."""


Effect = (
    RingLeg
    | PostWebhook
    | OpenSession
    | JoinSession
    | DropSession
    | Retell
    | TellSpeech
    | Background
    | PlayApology
    | AnswerLeg
    | DialLeg
    | ReferLeg
    | PressKeys
    | RejectLeg
    | EndLeg
    | ToBackend
    | ToControl
    | FinishPart
    | ClearPlayout
    | Note
    | Settle
    | Finish
)
