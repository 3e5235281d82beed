"""Serves the application: the part of aiohttp that sees a connection before there is a request."""

import asyncio
import ipaddress
import sys
from collections import Counter
from typing import Any, Final, cast

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError

from gateway.api.errors import error_response, internal, malformed, of_http
from gateway.api.headers import bare_headers
from gateway.api.limits import LIMITS, Limits

_log = structlog.get_logger()
_LAST_ANSWERS_S: Final = 5.0
"""For requests that are being answered when the service stops."""


class Runner(web.AppRunner):
    """Serves an application within its limits. Sites are added as to any runner."""

    def __init__(self, app: web.Application) -> None:
        super().__init__(
            app, access_log=None, handle_signals=False, shutdown_timeout=_LAST_ANSWERS_S
        )
        self._open: Counter[str] = Counter()

    @property
    def server(self) -> Any:
        """Makes the protocol of each connection; a site listens with it."""
        server = super().server
        if server is None:
            return None
        limits = self.app[LIMITS]
        return lambda: _Connection(server, self._open, limits)


class _Connection(web.RequestHandler):
    """One connection.

    One too many of its address ends before it is read. What aiohttp answers before any middleware
    runs (no HTTP, an overlong header, an unknown Expect) gets the error envelope here.
    """

    __slots__ = ("_address", "_most", "_open")

    def __init__(self, server: web.Server, open_: Counter[str], limits: Limits) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.keepalive_s,
            lingering_time=limits.lingering_s,
            access_log=None,  # type: ignore[arg-type]  # means none, and so aiohttp passes it on
        )
        self._open = open_
        self._most = limits.connections
        self._address: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        address = _network(transport.get_extra_info("peername"))
        if self._open[address] >= self._most:
            cast(asyncio.Transport, transport).abort()
            return
        self._address = address
        self._open[address] += 1
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._address is not None:
            self._open[self._address] -= 1
            if not self._open[self._address]:
                del self._open[self._address]
            self._address = None
        super().connection_lost(exc)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """What comes here went wrong outside of the middlewares. A body that nobody wanted and that
        is broken is no defect of ours; anybody can send one, and none fills the log."""
        error = kw.get("exc_info")
        error = error if isinstance(error, BaseException) else sys.exception()
        if isinstance(error, web.RequestPayloadError | HttpProcessingError):
            _log.debug("api.broken_request", reason=type(error).__name__)
        else:
            _log.error("api.failed", exc_info=error)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if status >= 500:  # outside of the middlewares: nobody else would say
            self.log_exception("Error handling request", exc_info=exc)
        error = internal() if status >= 500 else malformed(exc)
        response = error_response(error, headers=bare_headers())
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if isinstance(resp, web.HTTPException):
            resp = of_http(resp, request)
        return await super().finish_response(request, resp, start_time)


def _network(peer: Any) -> str:
    """The address of a peer; of IPv6 the /64, which one host has to itself."""
    try:
        address = ipaddress.ip_address(peer[0].partition("%")[0])
    except (TypeError, IndexError, ValueError):
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return str(address)
