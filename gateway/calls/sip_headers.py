"""SIP headers that an application wants to stand in messages of ours. Pure.

Only such as inform, and change nothing of what a message does: what is not named here is refused,
so that a key of the API is no key to the signalling. Values are one line of text.
"""

import re
from typing import Any, Final

from gateway.legs.leg import Headers
from gateway.realtime.errors import unfit
from gateway.realtime.validation import Array, Model, check

_MAX_HEADERS: Final = 32
_MAX_NAME: Final = 64
_MAX_VALUE: Final = 1024
_MAX_ALL: Final = 8192
_NAMES: Final = re.compile(
    r"x-[a-z0-9\-._]+"
    r"|user-to-user"  # RFC 7433
    r"|diversion"  # RFC 5806
    r"|history-info"  # RFC 7044
    r"|reason"  # RFC 3326
    r"|subject|alert-info|call-info",  # RFC 3261 section 20
    re.IGNORECASE,
)
_FORM: Final = (
    "X-…, User-to-User, Diversion, History-Info, Reason, Subject, Alert-Info or Call-Info"
)
_ESCAPED_BREAK: Final = re.compile("%(?:0[0ad])", re.IGNORECASE)
"""Somebody on the way may decode it before the message is split into lines."""


class SipHeader(Model):
    name: str
    value: str


class _Headers(Model):
    sip_headers: Array[SipHeader] | None = None


def check_sip_headers(value: Any) -> Headers:
    """The headers in the field `sip_headers` of a body, a list of `{name, value}`.

    Args:
        value: JSON; None is none.

    Returns:
        (name, value) in order, without blanks around the values.

    Raises:
        RealtimeError: names the member, like `sip_headers[0].name`.
    """
    told = check(_Headers, {"sip_headers": value}, "")["sip_headers"] or []
    if len(told) > _MAX_HEADERS:
        raise unfit(
            "sip_headers",
            "array too long",
            f"an array with maximum length {_MAX_HEADERS}",
            got=f"an array with length {len(told)}",
            code="array_above_max_length",
        )
    headers = tuple(_checked(f"sip_headers[{at}]", one) for at, one in enumerate(told))
    if sum(len(name) + len(text.encode()) for name, text in headers) > _MAX_ALL:
        raise unfit("sip_headers", "too much text", f"at most {_MAX_ALL} bytes")
    return headers


def _checked(param: str, header: dict[str, str]) -> tuple[str, str]:
    name, value = header["name"], header["value"]
    if len(name) > _MAX_NAME or not _NAMES.fullmatch(name):
        raise unfit(f"{param}.name", "a header that is not ours to hand on", _FORM)
    if len(value) > _MAX_VALUE:
        raise unfit(
            f"{param}.value",
            "string too long",
            f"a string with maximum length {_MAX_VALUE}",
            got=f"a string with length {len(value)}",
            code="string_above_max_length",
        )
    if not value.isprintable() or _ESCAPED_BREAK.search(value):
        raise unfit(f"{param}.value", "characters that no header may hold", "one line of text")
    return name, value.strip(" ")
