"""What the API may ask of a call, and how a transfer may turn out."""

import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from gateway.legs.leg import Headers
from gateway.realtime.errors import RealtimeError, invalid_type, missing, unfit


@dataclass(frozen=True, slots=True)
class Accept:
    """Connect a Realtime session of this config (GA, checked) and answer the caller."""

    session: dict[str, Any]
    headers: Headers = ()
    """More of our answer; checked, like those of the other commands."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse the caller with a final SIP status, 300 to 699."""

    status: int = 603
    headers: Headers = ()
    """More of the refusal."""


@dataclass(frozen=True, slots=True)
class Refer:
    """Have the caller speak with somebody else instead of us."""

    target_uri: str
    """Whom to; "" for whoever the call `replaces` is with."""
    replaces: str = ""
    """A call of ours in which the caller takes our place (RFC 3891)."""
    callee: str = field(default="", compare=False)
    """Where that call leads to, as a URI; checked, if somebody else wrote it."""
    headers: Headers = field(default=(), compare=False)
    """More of the REFER."""

    @property
    def shown(self) -> str:
        """Whom to, as far as that is known."""
        return self.target_uri or self.callee


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call, whatever its state."""

    headers: Headers = ()
    """More of the BYE, or of the refusal of a caller who was not answered."""


@dataclass(frozen=True, slots=True)
class Press:
    """Press these keys: 0-9 * # A-D, and `,` or `w` for a pause; checked."""

    digits: str


@dataclass(frozen=True, slots=True)
class Dial:
    """Call somebody; all but whom may be left open. All of it is checked."""

    to: str
    """As `check_target` returns it, like `caller`."""
    caller: str | None = None
    """Who we say we are; None is the line itself."""
    caller_name: str = ""
    anonymous: bool = False
    """Keep that from whoever is called."""
    headers: Headers = ()
    """More of the INVITE."""
    ring_timeout_s: float | None = None
    """None: as long as the line lets a call ring; more than that is refused."""
    session: dict[str, Any] | None = None
    """A config (GA); None is the line's own."""


Command = Accept | Reject | Refer | HangUp | Press


def ended_by(command: Command, reason: str, sip_status: int | None, asked: Refer | None) -> bool:
    """Whether a call that ended so was ended by a command like this one.

    Args:
        reason, sip_status: of the call's end.
        asked: its transfer, if there was one.
    """
    match command:
        case HangUp():
            return reason == "hangup"
        case Reject(status):
            return reason == "rejected" and sip_status == status
        case Refer():
            return reason == "transferred" and asked == command
        case Accept() | Press():
            return False


TransferResult = Literal[
    "transferred", "busy", "declined", "no_answer", "unreachable", "refused", "timeout"
]

_RESULTS: Final[dict[int, TransferResult]] = {
    **dict.fromkeys((486, 600), "busy"),
    **dict.fromkeys((403, 603, 607, 608), "declined"),
    **dict.fromkeys((408, 480, 487), "no_answer"),
}


def transfer_result(status: int) -> TransferResult:
    """What the final SIP status that the target gave means."""
    if 200 <= status < 300:
        return "transferred"
    return _RESULTS.get(status, "unreachable")


_DIGITS: Final = re.compile(r"[0-9*#A-Da-d,w]{1,64}")


def check_digits(digits: object, param: str) -> str:
    """Keys to press, as `Press` has them.

    Raises:
        RealtimeError: there are none, more than 64, or others than those.
    """
    if digits is None:
        raise missing(param)
    if not isinstance(digits, str):
        raise invalid_type(param, digits, "a string")
    if not _DIGITS.fullmatch(digits):
        form = "1 to 64 of 0-9, *, #, A-D, and ',' or 'w' for half a second of pause"
        raise unfit(param, "keys that no telephone has, too many, or none", form)
    return digits.upper().replace("W", "w")


def no_press(status: int, reason: str) -> RealtimeError:
    """Keys could not be pressed; as in `KeysError`."""
    if status == 429:
        return RealtimeError(
            "More keys are waiting to be pressed than may.",
            code=reason,
            kind="rate_limit_error",
            status=429,
        )
    return RealtimeError("The other side takes no keys.", code=reason, param="call_id")


_BUSY_S: Final = 1
"""After this long a trunk that was busy is worth another try."""
_NOBODY_THERE: Final = {
    "no_trunk": "No trunk carries that telephone number: see GATEWAY_SIP_TRUNK.",
    "not_allowed": "That host is not among those that SIP is exchanged with: see "
    "GATEWAY_SIP_ALLOW.",
    "own_line": "That is this line itself.",
    "unknown_host": "The host, of the target or of the trunk, has no address.",
    "unusable_host": "The host has an address at which nobody can be called from here.",
    "bad_target": "The target, or the caller, is not one that can be sent.",
}


def no_call() -> RealtimeError:
    """No such call, or one that is over."""
    return RealtimeError(
        "No session found for the provided call_id", code="call_id_not_found", param="", status=404
    )


def not_made(reason: str) -> RealtimeError:
    """A call that somebody asked for ended before it was on its way, or answered."""
    return RealtimeError(
        f"The call was not made: {reason}.",
        code=reason,
        kind="server_error",
        status=503,
        retry=False,
    )


def wrong_state(message: str, code: str = "invalid_call_state") -> RealtimeError:
    """The call is not in a state in which this can be done.

    A 400 and not a 409, which the official clients would repeat.
    """
    return RealtimeError(message, code=code, param="call_id")


def no_leg(status: int, reason: str) -> RealtimeError:
    """The caller could not be answered, or the callee not be called; as in `LegError`."""
    if status == 487:
        return no_call()
    if reason == "trunk_busy":
        return RealtimeError(
            "The trunk carries no more calls now: see calls and rate of GATEWAY_SIP_TRUNK.",
            code=reason,
            kind="rate_limit_error",
            status=429,
            retry_after_s=_BUSY_S,
        )
    if status in (400, 403, 404):
        text = _NOBODY_THERE.get(reason, "Nobody can be called there.")
        return RealtimeError(text, code=reason, param="to")
    return RealtimeError(
        f"The call cannot be taken: {reason}.",
        code=reason,
        kind="server_error",
        status=503,
        retry=False,
    )
