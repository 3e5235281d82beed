"""Reads request bodies within limits: bytes and time."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import hdrs, web

from gateway.api.errors import body_too_large
from gateway.api.limits import LIMITS
from gateway.realtime.errors import RealtimeError, invalid_type


def media_type(request: web.Request) -> str | None:
    """The type in Content-Type, without parameters, in lower case; None when there is none."""
    value = request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    return value or None


async def read_object(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body; an empty one when there is no body, whatever its type.

    Python's reader lets through what is no JSON (NaN, 1e999, halves of surrogate pairs) and almost
    any depth; `gateway.realtime.validation` refuses that by name.

    Raises:
        RealtimeError: 400 not a JSON object; 408, 413 limits; 415 another media type.
    """
    body = await read_bytes(request)
    if not body:
        return {}
    kind = media_type(request)
    if kind not in (None, "application/json"):
        raise unsupported_type(kind, "application/json")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise RealtimeError(
            "We could not parse the JSON body of your request.", code="invalid_json"
        ) from None
    if not isinstance(value, dict):
        raise invalid_type("", value, "an object")
    return value


def unsupported_type(kind: str | None, *taken: str) -> RealtimeError:
    """A body of a type that is none of those taken."""
    these = ", ".join(map(repr, taken))
    return RealtimeError(
        f"Unsupported content type: {(kind or '')[:100]!r}. This method takes {these}.",
        code="unsupported_content_type",
        status=415,
    )


async def read_bytes(request: web.Request) -> bytes:
    """The body as it is. Raises RealtimeError: 400 broken off; 408, 413 limits."""
    async with within_time(request):
        return await request.read()


@asynccontextmanager
async def within_time(request: web.Request) -> AsyncIterator[None]:
    """Read a body inside: too large, too slow or broken off, it fails as RealtimeError."""
    limits = request.app[LIMITS]
    if (request.content_length or 0) > limits.body_bytes:
        raise body_too_large()
    try:
        async with asyncio.timeout(limits.body_s):
            yield
    except TimeoutError:
        # Clients repeat a 408 by themselves, and would be as slow again.
        raise RealtimeError(
            "The request body took too long.", code="request_timeout", status=408, retry=False
        ) from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise RealtimeError(
            "The request body is broken off or not encoded as its headers say.", code="bad_request"
        ) from error
