"""Offers of WebRTC: what browsers post to `/v1/realtime/calls`, in either of its two forms.

* `application/sdp`: the body is the offer. The session is that of the client secret, or the line's
  own, which `?model=` may name another model for.
* `multipart/form-data`: the part `sdp` is the offer, the part `session` a session config, whose
  fields go before those of a client secret.
"""

import json
from typing import Final, NamedTuple

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.multipart import BodyPartReader

from gateway.api.auth import CALLER
from gateway.api.body import media_type, read_bytes, within_time
from gateway.api.errors import body_too_large
from gateway.api.limits import LIMITS
from gateway.realtime.config import check_session
from gateway.realtime.errors import RealtimeError, invalid, invalid_type
from gateway.realtime.session import Session, without_formats

SDP: Final = "application/sdp"
MULTIPART: Final = "multipart/form-data"
_MOST_SDP_BYTES: Final = 65_536
_MOST_PARTS: Final = 8


class Offer(NamedTuple):
    """An order to take a WebRTC call."""

    sdp: bytes
    session: Session | None
    """Checked, without formats, which the media of the call settles; None for the line's own."""
    model: str | None
    """For a session that names none."""


async def read_offer(request: web.Request) -> Offer:
    """The offer that a request makes.

    Raises:
        RealtimeError: names the field.
    """
    parts: dict[str, bytes] = {}
    if media_type(request) == MULTIPART:
        parts = await _parts(request)
        if "sdp" not in parts:
            raise RealtimeError(
                "Missing required parameter: 'sdp'.", code="missing_required_parameter", param="sdp"
            )
    else:
        parts["sdp"] = await read_bytes(request)
    if not parts["sdp"].strip():
        raise RealtimeError("The SDP offer is empty.", code="invalid_sdp", param="sdp")
    if len(parts["sdp"]) > _MOST_SDP_BYTES:
        raise RealtimeError(
            f"The SDP offer is larger than {_MOST_SDP_BYTES} bytes.",
            code="invalid_sdp",
            param="sdp",
        )
    model = request.query.get("model") or None
    if model is not None:
        check_session({"type": "realtime", "model": model})
    return Offer(parts["sdp"], _session(request, parts.get("session")), model)


def _session(request: web.Request, part: bytes | None) -> Session | None:
    """The config of the session part, over that of the client secret, over none."""
    session = request[CALLER].session
    if session is not None and session.get("type") == "transcription":
        raise invalid("session.type", "transcription", "'realtime' for a call")
    if part is not None:
        session = _merged(session or {}, check_session(_json_object(part)))
    return None if session is None else without_formats(session)


def _json_object(part: bytes) -> object:
    try:
        value = json.loads(part)
    except (ValueError, RecursionError):
        raise RealtimeError(
            "We could not parse the JSON of the part 'session'.",
            code="invalid_json",
            param="session",
        ) from None
    if not isinstance(value, dict):
        raise invalid_type("session", value, "an object")
    return value


def _merged(below: Session, above: Session) -> Session:
    """Both configs, field by field; of `audio` each direction by itself."""
    merged = {**below, **above}
    audio_below, audio_above = below.get("audio"), above.get("audio")
    if isinstance(audio_below, dict) and isinstance(audio_above, dict):
        merged["audio"] = {
            direction: {**(audio_below.get(direction) or {}), **(audio_above.get(direction) or {})}
            for direction in audio_below.keys() | audio_above.keys()
        }
    return merged


async def _parts(request: web.Request) -> dict[str, bytes]:
    """The form's parts by name; of those with one name the first counts."""
    parts: dict[str, bytes] = {}
    most = request.app[LIMITS].body_bytes
    async with within_time(request):
        try:
            reader = await request.multipart()
            for _ in range(_MOST_PARTS):
                part = await reader.next()
                if part is None:
                    return parts
                if not isinstance(part, BodyPartReader):
                    raise ValueError("a form inside a form")
                size = sum(map(len, parts.values()))
                parts.setdefault(part.name or "", await _content(part, most - size))
        # What aiohttp raises for a part that is none.
        except (ValueError, AssertionError, RuntimeError, HttpProcessingError) as error:
            raise RealtimeError(
                "We could not parse the form of your request.", code="invalid_form"
            ) from error
    raise RealtimeError(f"The form has more than {_MOST_PARTS} parts.", code="invalid_form")


async def _content(part: BodyPartReader, most: int) -> bytes:
    """aiohttp bounds whole bodies, and no form that is read part by part."""
    content = b""
    while chunk := await part.read_chunk():
        content += chunk
        if len(content) > most:
            raise body_too_large()
    return content
