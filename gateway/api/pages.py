"""The softphone: the page at `/`, the files that it is made of, and what it is told at its start.

The files are open to anyone: they hold nothing of this installation. What belongs to it, from the
SIP address to the TURN password, the page asks for at `/v1/realtime/softphone`, with the key.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from aiohttp import ETag, hdrs, web

FILES: Final = "/web/"
"""Below here everything is open, like the page itself."""
_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_HEADERS: Final = {
    # A page with a microphone runs what is in these files, and nothing else.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # After an upgrade of the gateway no file of the old page may meet one of the new.
    hdrs.CACHE_CONTROL: "no-cache",
}


@dataclass(frozen=True, slots=True)
class Softphone:
    """What the page is told."""

    dial: str
    """The SIP URI that reaches the agent."""
    version: str
    """Of the program."""
    model: str
    """The model of sessions that name none."""
    ice_servers: Sequence[Mapping[str, Any]] = ()
    """As the constructor of RTCPeerConnection takes them."""
    webrtc: bool = True
    """Whether browsers can call."""


def routes(softphone: Softphone) -> list[web.RouteDef]:
    """The routes of this module. The files are read now, and once."""
    pages = {
        entry.name: _File(entry.read_bytes(), _TYPES[kind])
        for entry in files("gateway.web").iterdir()
        if (kind := f".{entry.name.rpartition('.')[2]}") in _TYPES
    }
    page = pages.pop("index.html")
    told = {
        "dial": softphone.dial,
        "version": softphone.version,
        "model": softphone.model,
        "webrtc": softphone.webrtc,
        "ice_servers": [dict(server) for server in softphone.ice_servers],
    }

    async def index(request: web.Request) -> web.Response:
        return page.answer(request)

    async def file(request: web.Request) -> web.Response:
        found = pages.get(request.match_info["file"])
        if found is None:
            raise web.HTTPNotFound
        return found.answer(request)

    async def tell(_: web.Request) -> web.Response:
        return web.json_response(told, headers={hdrs.CACHE_CONTROL: "no-store"})

    return [
        web.get("/", index),
        web.get(FILES + "{file}", file),
        web.get("/v1/realtime/softphone", tell, allow_head=False),
    ]


class _File:
    """One file, and the answer to who asks for it."""

    def __init__(self, body: bytes, content_type: str) -> None:
        self._body = body
        self._type = content_type
        self._tag = hashlib.sha256(body).hexdigest()[:32]

    def answer(self, request: web.Request) -> web.Response:
        """All of it, or that it is as the browser has it (RFC 9110, section 13.1.2)."""
        known = {tag.value for tag in request.if_none_match or ()}
        response = web.Response(headers=_HEADERS)
        response.etag = ETag(self._tag)
        if known & {self._tag, "*"}:
            response.set_status(web.HTTPNotModified.status_code)
        else:
            response.body = self._body
            response.content_type, response.charset = self._type, "utf-8"
        return response
