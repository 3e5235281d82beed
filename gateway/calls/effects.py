"""What the call machine wants done. A `Call` performs these, in order, and decides nothing."""

from dataclasses import dataclass
from typing import Any, Literal

from gateway.audio.playout import ItemPart
from gateway.legs.leg import Headers
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

    headers: Headers = ()
    """More of the answer."""


@dataclass(frozen=True, slots=True)
class DialLeg:
    """Open media, join it to the session and call; the leg tells what becomes of it."""


@dataclass(frozen=True, slots=True)
class ReferLeg:
    """Ask the other side to call `target_uri` instead."""

    target_uri: str
    replaces: str = ""
    """The call of ours in which it is to take our place."""
    headers: Headers = ()
    """More of the REFER."""


@dataclass(frozen=True, slots=True)
class DialSecond:
    """Call somebody as well; who that is, is the call's second leg."""

    target_uri: str
    replaces: str = ""
    """Value of a Replaces header, for one whose call with somebody else is to be taken over."""
    referred_by: str = ""
    """Value of a Referred-By header."""
    headers: Headers = ()
    """More of the INVITE."""
    overheard: bool = False
    """The other side hears what comes from there before the answer."""


@dataclass(frozen=True, slots=True)
class TakeSecond:
    """Have the leg of another call as the second one."""

    call_id: str


@dataclass(frozen=True, slots=True)
class EndSecond:
    """Hang up on whoever was called as well."""


@dataclass(frozen=True, slots=True)
class JoinLegs:
    """Both legs hear each other from here on; nobody else is heard."""

    listens: bool
    """The session goes on hearing both. It is left otherwise."""


@dataclass(frozen=True, slots=True)
class SwapLegs:
    """The second leg takes the place of the first, which is hung up on."""


@dataclass(frozen=True, slots=True)
class RingBack:
    """Let the caller hear that it rings elsewhere, while nobody speaks; or no more."""

    on: bool


@dataclass(frozen=True, slots=True)
class PassKey:
    """Press a key on one leg that was pressed on the other."""

    key: str
    to_second: bool


Word = Literal["offered", "coming", "kept", "transferred"]
"""Somebody was asked to take our place in a call; has left another one to do so; nobody will;
somebody has."""


@dataclass(frozen=True, slots=True)
class TellCall:
    """Tell another call what is being done with its leg."""

    call_id: str
    word: Word


@dataclass(frozen=True, slots=True)
class AnswerRefer:
    """Say whether we call whom the other side wants us to."""

    refer_id: str
    status: int
    to_second: bool = False
    """It was the second leg that asked."""


@dataclass(frozen=True, slots=True)
class ReportRefer:
    """Tell the other side how that goes."""

    refer_id: str
    status: int
    over: bool


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
    headers: Headers = ()
    """More of the refusal."""


@dataclass(frozen=True, slots=True)
class EndLeg:
    """Hang up."""

    headers: Headers = ()
    """More of the BYE."""


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
    | DialSecond
    | TakeSecond
    | EndSecond
    | JoinLegs
    | SwapLegs
    | RingBack
    | PassKey
    | TellCall
    | AnswerRefer
    | ReportRefer
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
