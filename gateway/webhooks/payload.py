"""The body of the webhook `realtime.call.incoming`.

What stands in the SIP headers was written by strangers. It is passed on as text, and whatever it
holds, the body is JSON that every parser takes.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

MAX_BODY_BYTES = 64 << 10
"""A SIP message may bring more; the receiver should not have to read megabytes to see a call."""

_CREDENTIALS = {
    "authorization",
    "proxy-authorization",
    "www-authenticate",
    "proxy-authenticate",
    "authentication-info",
    "proxy-authentication-info",
}
"""Headers of digest authentication (RFC 3261 section 22). None of them has a compact form."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def incoming_call(
    *,
    event_id: str,
    created_at: int,
    call_id: str,
    headers: Sequence[tuple[str, str]],
    media_security: str | None,
) -> bytes:
    """The JSON text that announces a call, at most `MAX_BODY_BYTES` long.

    Headers keep their order, their spelling and their repeats; those that authenticate the caller
    are left out. What does not fit is left out too, from the first header that would make the body
    too long to the last.

    Args:
        event_id: `evt_…`.
        created_at: unix time in seconds.
        call_id: `rtc_…`.
        headers: (name, value) of the INVITE, in order.
        media_security: "rtp" or "srtp" as negotiated; None when unknown, then it is not told.
    """
    data: dict[str, Any] = {"call_id": call_id, "sip_headers": []}
    if media_security is not None:
        data["sip_media_security"] = media_security
    event = {
        "id": event_id,
        "object": "event",
        "type": "realtime.call.incoming",
        "created_at": created_at,
        "data": data,
    }
    room = MAX_BODY_BYTES - len(_json(event)) + 1  # the first header has no comma
    for name, value in headers:
        if name.strip().lower() in _CREDENTIALS:
            continue
        header = {"name": _text(name), "value": _text(value)}
        room -= len(_json(header)) + 1
        if room < 0:
            break
        data["sip_headers"].append(header)
    return _json(event)


def _text(text: str) -> str:
    """Without lone surrogates: JSON can write them, but many parsers refuse to read them."""
    return _SURROGATE.sub("\ufffd", text)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
