"""What the API may ask of a call, and how a transfer may turn out."""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from gateway.realtime.errors import RealtimeError, invalid_type, missing, unfit


@dataclass(frozen=True, slots=True)
class Accept:
    """Connect a Realtime session of this config (GA, checked) and answer the caller."""

    session: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse the caller with a final SIP status, 300 to 699."""

    status: int = 603


@dataclass(frozen=True, slots=True)
class Refer:
    """Have the caller's side call `target_uri` instead of us (RFC 3515)."""

    target_uri: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call, whatever its state."""


@dataclass(frozen=True, slots=True)
class Press:
    """Press these keys: 0-9 * # A-D, and `,` or `w` for a pause; checked."""

    digits: str


Command = Accept | Reject | Refer | HangUp | Press


def ended_by(command: Command, reason: str, sip_status: int | None, target: str | None) -> bool:
    """Whether a call that ended so was ended by a command like this one.

    Args:
        reason, sip_status: of the call's end.
        target: of its transfer, if there was one.
    """
    match command:
        case HangUp():
            return reason == "hangup"
        case Reject(status):
            return reason == "rejected" and sip_status == status
        case Refer(target_uri):
            return reason == "transferred" and target == target_uri
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


_NOBODY_THERE: Final = {
    "no_trunk": "A telephone number needs a trunk: see GATEWAY_SIP_TRUNK.",
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
