"""What the bodies of requests about calls ask for."""

from typing import Annotated, Any, Final

from pydantic import Field

from gateway.calls.commands import Accept, Dial, HangUp, Refer, Reject, check_digits
from gateway.calls.sip_headers import check_sip_headers
from gateway.calls.targets import check_target
from gateway.realtime.config import check_session
from gateway.realtime.errors import missing, unfit
from gateway.realtime.validation import ABSENT, Model, check

_DECLINE: Final = 603
_MAX_NAME: Final = 128


class _Reject(Model):
    status_code: Annotated[int, Field(ge=300, le=699)] | None = None
    sip_headers: Any = None


class _Refer(Model):
    target_uri: str = ABSENT
    replaces_call_id: Annotated[str, Field(min_length=1, max_length=128)] = ABSENT
    sip_headers: Any = None


class _Press(Model):
    digits: Any


class _Dial(Model):
    to: str
    # `from` is a word of Python's.
    from_: Annotated[str | None, Field(alias="from")] = None
    from_name: str | None = None
    anonymous: bool | None = None
    ring_timeout_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    sip_headers: Any = None
    session: Any = ABSENT


def check_accept(value: object) -> Accept:
    """The body of an accept: a session config, and beside it `sip_headers`.

    Raises:
        RealtimeError: names the parameter.
    """
    headers = None
    if isinstance(value, dict) and "sip_headers" in value:
        headers = value["sip_headers"]
        value = {name: field for name, field in value.items() if name != "sip_headers"}
    return Accept(check_session(value), check_sip_headers(headers))


def check_reject(value: object) -> Reject:
    """The body of a reject: `{status_code?, sip_headers?}`. None is a body that is not there.

    Raises:
        RealtimeError: names the parameter.
    """
    body = _body(_Reject, value)
    status: int | None = body.get("status_code")
    headers = check_sip_headers(body.get("sip_headers"))
    return Reject(_DECLINE if status is None else status, headers)


def check_refer(value: object) -> Refer:
    """The body of a refer: `{target_uri, replaces_call_id?, sip_headers?}`; with the second the
    first may be left out.

    Raises:
        RealtimeError: names the parameter.
    """
    body = _body(_Refer, value)
    replaces = body.get("replaces_call_id", "")
    if "target_uri" not in body and not replaces:
        raise missing("target_uri")
    target = check_target(body["target_uri"], "target_uri") if "target_uri" in body else ""
    return Refer(target, replaces, headers=check_sip_headers(body.get("sip_headers")))


def check_hang_up(value: object) -> HangUp:
    """The body of a hangup, which may be anything: only `sip_headers` of an object means something.

    Raises:
        RealtimeError: names the parameter.
    """
    return HangUp(check_sip_headers(value.get("sip_headers") if isinstance(value, dict) else None))


def check_press(value: object) -> str:
    """The keys that the body of a dtmf asks for, as `check_digits` returns them.

    Raises:
        RealtimeError: names the parameter.
    """
    return check_digits(_body(_Press, value)["digits"], "digits")


def check_dial(value: object) -> Dial:
    """The order in the body of an outgoing call: `{to, from?, from_name?, anonymous?,
    ring_timeout_s?, sip_headers?, session?}`.

    Raises:
        RealtimeError: names the parameter.
    """
    body = _body(_Dial, value)
    caller, session = body.get("from"), body.get("session")
    return Dial(
        check_target(body["to"], "to"),
        None if caller is None else check_target(caller, "from"),
        _name(body.get("from_name") or ""),
        bool(body.get("anonymous")),
        check_sip_headers(body.get("sip_headers")),
        body.get("ring_timeout_s"),
        None if session is None else check_session(session),
    )


def _name(text: str) -> str:
    """What stands beside a number, for people."""
    if len(text) > _MAX_NAME or not text.isprintable():
        raise unfit("from_name", "no name", f"one line of at most {_MAX_NAME} characters")
    return text.strip()


def _body(model: type[Model], value: object) -> dict[str, Any]:
    return check(model, {} if value is None else value, "")
