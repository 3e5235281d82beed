"""Headers that every answer bears: the request's id, and what lets web pages read it (CORS)."""

import re
from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import Final

from aiohttp import hdrs, web

from gateway.api.auth import Keys

REQUEST_ID: Final = "x-request-id"
_ID_KEY: Final = web.RequestKey("request_id", str)
_SERVER: Final = "voice-agent-gateway"
_EXPOSED: Final = f"Location, {REQUEST_ID}"
_METHODS: Final = "GET, POST, OPTIONS"
_PREFLIGHT_AGE_S: Final = 600
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_MOST_NAMES: Final = 64


def bare_headers() -> dict[str, str]:
    """For the answer to what could not even be read as a request."""
    return {REQUEST_ID: _new_request_id(), hdrs.SERVER: _SERVER}


def request_id(request: web.Request) -> str:
    """The id of this request. It is ours: what a client calls its request is not repeated."""
    if _ID_KEY not in request:
        request[_ID_KEY] = _new_request_id()
    return request[_ID_KEY]


def is_preflight(request: web.Request) -> bool:
    """Whether a browser asks what a page may ask."""
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ORIGIN in request.headers
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    )


def preflight_response(request: web.Request) -> web.Response:
    """Any header may be sent: no answer depends on what a browser adds by itself, like cookies."""
    asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "").split(",", _MOST_NAMES)
    names = [name.strip() for name in asked[:_MOST_NAMES]]
    return web.Response(
        status=204,
        headers={
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: _METHODS,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ", ".join(filter(_NAME.fullmatch, names)),
            hdrs.ACCESS_CONTROL_MAX_AGE: str(_PREFLIGHT_AGE_S),
        },
    )


def finish(keys: Keys) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Adds the headers to an answer that is about to be sent, an upgrade and an error included."""

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        response.headers[REQUEST_ID] = request_id(request)
        response.headers[hdrs.SERVER] = _SERVER
        if hdrs.ORIGIN not in request.headers:
            return
        allowed = keys.allowed_origin(request)
        if allowed is not None:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = allowed
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED
        if allowed != "*":
            response.headers[hdrs.VARY] = hdrs.ORIGIN

    return add


def _new_request_id() -> str:
    return f"req_{token_hex(16)}"
