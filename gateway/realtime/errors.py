"""What clients of the API are told when something cannot be done, in the words of the protocol.

The same error serves an HTTP answer and an `error` event. Clients read `code` and `param`, show
`message`, and wait for the outcome of an event by its `event_id`; so all of them are always there.
"""

from collections.abc import Sequence
from typing import Final, NotRequired, TypedDict

from gateway.realtime.events import Event

_LONGEST_VALUE = 80

_KINDS: Final[dict[type, str]] = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    str: "a string",
    list: "an array",
    dict: "an object",
}


class ErrorFields(TypedDict):
    """An error object of the protocol; `event_id` is that of a client's event, in events only."""

    message: str
    type: str
    param: str | None
    code: str | None
    event_id: NotRequired[str | None]


class RealtimeError(Exception):
    """What a client did wrong, or cannot have.

    Args:
        message: for people; quotes no secret.
        code: one of the protocol's error codes, or None.
        param: the path of the offending field, like `session.audio.input.format`, or None.
        kind: the protocol's error type.
        status: the HTTP status that it deserves.
        retry: False tells clients not to repeat the request, which they do by themselves on 408,
            409, 429 and from 500 on.
        retry_after_s: when it is worth while.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
        status: int = 400,
        retry: bool = True,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.kind = kind
        self.status = status
        self.retry = retry
        self.retry_after_s = retry_after_s

    def fields(self) -> ErrorFields:
        """The four keys of an error object."""
        return {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }


def missing(param: str) -> RealtimeError:
    """A required field is not there."""
    return RealtimeError(
        f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param
    )


def unknown(param: str) -> RealtimeError:
    """A field that this version does not know."""
    return RealtimeError(f"Unknown parameter: '{param}'.", code="unknown_parameter", param=param)


def invalid_type(param: str, value: object, expected: str) -> RealtimeError:
    """A field holds another kind of JSON value; `expected` is like "a string". `param` may be ""
    for the request body as a whole."""
    where = f"for '{param}'" if param else "for the request body"
    got = _KINDS.get(type(value), "something else")
    return RealtimeError(
        f"Invalid type {where}: expected {expected}, but got {got} instead.",
        code="invalid_type",
        param=param or None,
    )


def invalid_value(param: str, value: object, supported: Sequence[object]) -> RealtimeError:
    """A field holds none of the values that it may hold."""
    values = [shown(one) for one in supported]
    if len(values) == 1:
        allowed = f"Value must be {values[0]}"
    else:
        comma = "," if len(values) > 2 else ""
        allowed = f"Supported values are: {', '.join(values[:-1])}{comma} and {values[-1]}"
    return RealtimeError(
        f"Invalid value: {shown(value)}. {allowed}.", code="invalid_value", param=param
    )


def invalid(param: str, value: object, expected: str) -> RealtimeError:
    """A field holds what it may not hold; `expected` completes "Expected …"."""
    return RealtimeError(
        f"Invalid value: {shown(value)}. Expected {expected}.", code="invalid_value", param=param
    )


def unfit(
    param: str, fault: str, expected: str, *, got: object = None, code: str = "invalid_value"
) -> RealtimeError:
    """A field breaks a rule: `fault` says which ("string too long"), `expected` what would fit.
    `got` is quoted when it is given."""
    instead = "" if got is None else f", but got {got} instead"
    return RealtimeError(
        f"Invalid '{param}': {fault}. Expected {expected}{instead}.", code=code, param=param
    )


def malformed(param: str, expected: str, got: str) -> RealtimeError:
    """A field holds a string that does not encode what it should: `got` says what it is."""
    return RealtimeError(
        f"Invalid '{param}'. Expected {expected} but got {got}.", code="invalid_value", param=param
    )


def error_event(error: RealtimeError, *, event_id: str, client_event_id: str | None) -> Event:
    """The `error` event that answers the client's event of that id."""
    return {
        "type": "error",
        "event_id": event_id,
        "error": error.fields() | {"event_id": client_event_id},
    }


def shown(value: object) -> str:
    """A value as a message quotes it: cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits; too many levels
        text = "..."
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
