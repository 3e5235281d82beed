"""What the bodies of requests about calls ask for."""

from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field

from gateway.calls.commands import check_digits
from gateway.calls.targets import check_target
from gateway.realtime.config import check_session
from gateway.realtime.session import Session
from gateway.realtime.validation import ABSENT, Model, check

_DECLINE: Final = 603


class _Reject(Model):
    status_code: Annotated[int, Field(ge=300, le=699)] | None = None


class _Refer(Model):
    target_uri: str


class _Press(Model):
    digits: Any


class _Dial(Model):
    to: str
    # `from` is a word of Python's.
    from_: Annotated[str | None, Field(alias="from")] = None
    session: Any = ABSENT


class Dial(NamedTuple):
    """An order to call somebody."""

    to: str
    caller: str | None
    """Who we say we are, or None for the line itself."""
    session: Session | None
    """Checked, or None for the gateway's own."""


def check_reject(value: object) -> int:
    """The final SIP status that the body of a reject asks for. None is a body that is not there.

    Raises:
        RealtimeError: names the parameter.
    """
    status: int | None = _body(_Reject, value).get("status_code")
    return _DECLINE if status is None else status


def check_refer(value: object) -> str:
    """The target that the body of a refer names, as `check_target` returns it.

    Raises:
        RealtimeError: names the parameter.
    """
    return check_target(_body(_Refer, value)["target_uri"], "target_uri")


def check_press(value: object) -> str:
    """The keys that the body of a dtmf asks for, as `check_digits` returns them.

    Raises:
        RealtimeError: names the parameter.
    """
    return check_digits(_body(_Press, value)["digits"], "digits")


def check_dial(value: object) -> Dial:
    """The order in the body of an outgoing call: `{to, from?, session?}`.

    Raises:
        RealtimeError: names the parameter.
    """
    body = _body(_Dial, value)
    caller, session = body.get("from"), body.get("session")
    return Dial(
        check_target(body["to"], "to"),
        None if caller is None else check_target(caller, "from"),
        None if session is None else check_session(session),
    )


def _body(model: type[Model], value: object) -> dict[str, Any]:
    return check(model, {} if value is None else value, "")
