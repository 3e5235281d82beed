"""What a call sees of the other side: types only, so that the pure call machine can load them.

A leg is signalling plus a media port. It is commanded by methods that return at once, and it tells
what happened by handing `LegEvent`s to its one listener, in order, on the event loop. Somebody
called us (`IncomingLeg`) or we call somebody (`OutgoingLeg`); once answered there is no difference.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from gateway.audio.formats import AudioFormat, Law
from gateway.audio.playout import Playout, Started, Stopped


@dataclass(frozen=True, slots=True)
class LegRinging:
    """The callee's side makes progress; told for each provisional answer from 101 to 199."""

    status: int
    """180: it rings. 183: progress, perhaps with early media."""


@dataclass(frozen=True, slots=True)
class LegRedirected:
    """The callee is to be found elsewhere, and is called there."""

    status: int | None
    """Of whoever said so; None where nobody answered at the place before."""


@dataclass(frozen=True, slots=True)
class LegAnswered:
    """Both sides have agreed and know it: the conversation may begin.

    Called: the caller acknowledged our answer. Calling: the callee's answer was usable and we have
    acknowledged it.
    """


@dataclass(frozen=True, slots=True)
class DtmfIn:
    """One key press, reported once."""

    digit: str
    received_at: int
    """Unix time in seconds."""
    way: Literal["event", "info", "tone"] = "event"
    """How it came: with the media (RFC 4733), in an INFO, or as tones in the audio."""


@dataclass(frozen=True, slots=True)
class KeyRefused:
    """The peer did not take a key that we pressed by INFO; those after it are not pressed."""

    status: int
    """SIP status; 408 also stands for silence, 503 for a peer that cannot be reached."""


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
    """Nothing was received from the caller for longer than the setting allows; told again each time
    that it has been silent for so long again."""


@dataclass(frozen=True, slots=True)
class LegBroken:
    """A defect of ours in this leg's media; it must end this call and hurt no other."""

    error: Exception


@dataclass(frozen=True, slots=True)
class ReferAnswered:
    """What the peer says to our `refer`; `ReferProgress` follows when it agrees."""

    status: int
    """2xx: the peer tries, and tells how far it has come. Anything else: it does not; 408 also
    stands for silence, 503 for a peer that cannot be reached."""


@dataclass(frozen=True, slots=True)
class ReferProgress:
    """The peer tells what became of our `refer`."""

    status: int | None
    """What it heard from the target: 1xx on the way, 2xx reached, else failed. None when that
    cannot be read."""
    over: bool
    """Whether this was the last report."""


@dataclass(frozen=True, slots=True)
class ReferAsked:
    """The peer asks us to call somebody in its place (RFC 3515); `answer_refer` says whether."""

    refer_id: str
    target_uri: str
    """Unchecked, of any scheme; it may have headers."""
    referred_by: str = ""
    """Of the REFER's header of that name."""


@dataclass(frozen=True, slots=True)
class LegEnded:
    """Signalling is over; nothing follows this event."""

    reason: str
    """As in `gateway.sip.events.CallEnded`, and bad_answer: what the peer answered our offer of
    media with was of no use. Of a peer connection: channel_closed, peer_closed, ice_failed,
    dtls_failed."""
    status: int | None = None
    """The final SIP status where there was one."""


LegEvent = (
    LegRinging
    | LegRedirected
    | LegAnswered
    | DtmfIn
    | KeyRefused
    | Played
    | LegHeld
    | LegSilent
    | LegBroken
    | ReferAnswered
    | ReferProgress
    | ReferAsked
    | LegEnded
)


@dataclass(frozen=True, slots=True)
class MediaStats:
    """What the media path of a leg counted."""

    rtp_received: int = 0
    rtp_sent: int = 0
    rtp_lost: int = 0
    jitter_ms: float = 0.0
    mos: float | None = None
    """Estimate after ITU-T G.107; None when nothing was received."""


Headers = tuple[tuple[str, str], ...]
"""(name, value) of SIP headers, in order."""


@dataclass(frozen=True, slots=True)
class CallOrder:
    """Whom to call, and what they are told."""

    target: str
    """A checked `tel:` or `sip:` URI."""
    caller: str | None = None
    """Who we say we are, of the same form; None is the line itself."""
    caller_name: str = ""
    """What stands beside that for people."""
    anonymous: bool = False
    """Keep that from whoever is called (RFC 3323)."""
    headers: Headers = ()
    """More of the INVITE; checked."""
    replaces: str = ""
    """Value of a Replaces header (RFC 3891)."""
    referred_by: str = ""
    """Value of a Referred-By header (RFC 3892)."""
    law: Law = "pcmu"
    """What the call is joined in, and asked for first."""


class LegError(Exception):
    """A leg could not do what it was asked; `status` is the SIP status the caller deserves."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class KeysError(Exception):
    """Keys that cannot be pressed; `status` is the HTTP status that whoever asked deserves."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class OfferError(Exception):
    """An offer of media that cannot be served; the text says why, for whoever wrote the offer."""

    def __init__(self, text: str, code: str = "invalid_sdp") -> None:
        super().__init__(text)
        self.code = code


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

    def hear_music(self, wanted: bool) -> None:
        """Whether the sink is also handed what comes while the caller holds; at first it is not."""

    def press(self, keys: str) -> bool:
        """Press these keys (RFC 4733); False where the peer takes none with its media.

        Raises:
            KeysError: 429 too_many_digits.
        """

    def stats(self) -> MediaStats: ...


class Leg(Protocol):
    """The other side of a call."""

    @property
    def kind(self) -> str:
        """`sip` or `webrtc`."""

    @property
    def sip_call_id(self) -> str:
        """Call-ID of its INVITE, the latest of those that we sent; "" when there is none."""

    @property
    def dialog_id(self) -> str:
        """Names its dialog; "" as long as there is none."""

    @property
    def direction(self) -> Literal["inbound", "outbound"]: ...

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Of the INVITE that came in, in order, as spelled; () when we call."""

    @property
    def caller(self) -> str:
        """Who calls, as the URI of the INVITE's From; "" when nobody says."""

    @property
    def callee(self) -> str:
        """Who is called, as a URI; "" when nobody says."""

    @property
    def contact(self) -> str:
        """Where the other side is reached now, as the URI that it gave; "" for nowhere."""

    @property
    def format(self) -> AudioFormat:
        """Of the audio that will be joined; it never changes."""

    @property
    def codec(self) -> str:
        """What the call was agreed in, or will be; certain once it is answered."""

    @property
    def media_security(self) -> str:
        """`rtp` or `srtp`."""

    def listen(self, listener: Callable[[LegEvent], None]) -> None: ...

    def refer(self, target_uri: str, replaces: "Leg | None" = None, headers: Headers = ()) -> None:
        """Ask the peer to call `target_uri` instead of us (RFC 3515); `ReferAnswered` follows.

        Args:
            headers: more of the REFER.
            replaces: another answered leg, in which the peer is to take our place (RFC 3891); ""
                as target is whoever that one leads to.

        Raises:
            LegError: 400 bad_target, it cannot be sent.
        """

    def answer_refer(self, refer_id: str, status: int) -> None:
        """Agree to a `ReferAsked` (2xx), or refuse it."""

    def report_refer(self, refer_id: str, status: int, *, over: bool) -> None:
        """Tell whoever asked how it goes with the target; `over` is the last report."""

    def press(self, keys: str) -> None:
        """Press keys on an answered leg: 0-9 * # A-D, and `,` or `w` for half a second of pause.

        Raises:
            KeysError: 400 no_digits, the other side takes none; 429 too_many_digits.
        """

    def hang_up(self, headers: Headers = ()) -> None:
        """End the call in whatever way its state allows; `LegEnded` follows, if it has not come.

        `headers` go with what says so, but for a CANCEL, which has none.
        """

    async def close(self) -> None:
        """Free what the leg holds; safe to call at any time and more than once."""


class IncomingLeg(Leg, Protocol):
    """Somebody who calls us."""

    @property
    def direction(self) -> Literal["inbound"]: ...

    @property
    def replaces(self) -> str:
        """The dialog of ours in which this caller wants to take the other side's place (RFC 3891);
        "" for a call like any other."""

    def ring(self) -> None: ...

    async def answer(self, headers: Headers = ()) -> MediaPort:
        """Open media and answer the call; `LegAnswered` follows, or `LegEnded`.

        Args:
            headers: more of the answer.

        Raises:
            LegError: 503 no_media_port, or 487 leg_ended, the caller has gone.
        """

    def reject(self, status: int, retry_after_s: int | None = None, headers: Headers = ()) -> None:
        """Refuse the call; `headers` are more of the refusal."""


class EventChannel(Protocol):
    """A road for Realtime events beside the audio of a leg: the data channel of a browser."""

    @property
    def is_open(self) -> bool: ...

    @property
    def waiting_bytes(self) -> int:
        """What was sent and has not left yet, because the peer does not take it."""

    def listen(self, opened: Callable[[], None], received: Callable[[bytes], None]) -> None:
        """Be told when the channel opens, and of each message that comes."""

    def send(self, message: bytes) -> None:
        """Send one event, as JSON text, on an open channel.

        Raises:
            ValueError: it is larger than the peer takes.
        """


class PeerLeg(IncomingLeg, Protocol):
    """Somebody who posted an offer of WebRTC, and waits for the answer."""

    @property
    def channel(self) -> EventChannel: ...

    @property
    def description(self) -> bytes:
        """The answer, as SDP; there once the leg is answered."""


class OutgoingLeg(Leg, Protocol):
    """Somebody whom we call."""

    @property
    def direction(self) -> Literal["outbound"]: ...

    async def dial(self) -> MediaPort:
        """Open media and send the INVITE; `LegRinging` follows, then `LegAnswered` or `LegEnded`.

        Raises:
            LegError: nothing was sent, and no event follows. Its statuses and reasons:

                400 bad_target: the target, a header or the caller's URI cannot be sent.
                403 unusable_host: no call may be sent to an address that the host has.
                404 unknown_host: the host's name has no address.
                487 leg_ended: `hang_up` or `close` came first.
                502 unresolved: nobody could tell the host's address in time.
                502 no_transport: the target's transport is off here.
                503 no_media_port: all are in use.
        """
