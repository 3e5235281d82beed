"""SIP over WebSocket (RFC 7118): browsers call in.

One message of the WebSocket is one SIP message, as text or as bytes; ours are text. Only the peer
can open such a connection, so what is for it goes out on it or not at all.

Pages of other hosts are kept out, unless the settings name them (`gateway.origin`).
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import sys
from collections.abc import Iterable
from typing import Any, Final, Literal, cast

from aiohttp import WSCloseCode, WSMsgType, hdrs, web
from aiohttp.http import HttpProcessingError
from structlog.typing import FilteringBoundLogger

from gateway.legs.sip_connections import FIRST_MESSAGE_S, Connection, Connections, Endpoint
from gateway.origin import is_local_host, is_page_of, loopback_origin
from gateway.sip.message import MAX_MESSAGE_BYTES
from gateway.sip.parse import is_keepalive

_SUBPROTOCOL: Final = "sip"
_PING: Final = b"\r\n\r\n"
_PONG: Final = b"\r\n"
"""RFC 5626 section 4.4.1, which some clients go by instead of the WebSocket's own pings."""
_HEARTBEAT_S: Final = 25.0
"""Proxies in front give up a WebSocket on which nothing came for a minute."""
_LAST_WORDS_S: Final = 0.5
"""For a peer to hear that its connection is closed; one that is gone says nothing to it."""
_LONGEST_SHOWN: Final = 100
_NEVER_WAIT_BYTES: Final = 1 << 62

_Socket = web.WebSocketResponse[Literal[False]]


class WebSockets:
    """The listening socket, plain (`ws`) or over TLS (`wss`)."""

    def __init__(
        self, endpoint: Endpoint, connections: Connections, log: FilteringBoundLogger
    ) -> None:
        self._endpoint = endpoint
        self._connections = connections
        self._log = log
        self._server: asyncio.Server | None = None
        self._http: web.Server | None = None
        self._is_local = False
        self._origins: frozenset[str] = frozenset()

    async def open(
        self, listener: socket.socket, tls: ssl.SSLContext | None, origins: Iterable[str] = ()
    ) -> None:
        """Listen.

        Args:
            origins: of pages that may call besides our host's own, like `https://a.example`.
        """
        self._origins = frozenset(origins)
        loop = asyncio.get_running_loop()
        self._is_local = ipaddress.ip_address(listener.getsockname()[0]).is_loopback
        http = self._http = web.Server(self._serve)
        kind = "ws" if tls is None else "wss"
        self._server = await loop.create_server(
            lambda: _Http(
                http, WebSocketConnection(self._endpoint, self._connections), kind, self._log
            ),
            sock=listener,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else FIRST_MESSAGE_S,
            ssl_shutdown_timeout=None if tls is None else _LAST_WORDS_S,
        )

    async def close(self) -> None:
        """Accept no more connections, and let those end that were closed."""
        if self._server is not None:
            self._server.close()
        if self._http is not None:
            await self._http.shutdown(_LAST_WORDS_S)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        socket: _Socket = web.WebSocketResponse(
            protocols=(_SUBPROTOCOL,),
            heartbeat=_HEARTBEAT_S,
            autoping=False,
            compress=False,
            max_msg_size=MAX_MESSAGE_BYTES + 1,  # the first size that is refused
            writer_limit=_NEVER_WAIT_BYTES,
            decode_text=False,
        )
        refusal = self._refusal(request)
        if refusal is None and not socket.can_prepare(request):
            refusal = web.Response(status=400, text="This is no handshake of RFC 6455.\n")
        if refusal is not None:
            refusal.force_close()
            return refusal
        await socket.prepare(request)
        await cast(_Http, request.protocol).connection.run(socket)
        return socket

    def _refusal(self, request: web.BaseRequest) -> web.Response | None:
        """The answer to who may not, or cannot, talk SIP here (RFC 7118 section 4.1)."""
        headers = request.headers
        if not self._is_welcome(request):
            origin = request.headers.get(hdrs.ORIGIN, "")[:_LONGEST_SHOWN]
            self._log.info("sip.page_refused", origin=origin, hint="see GATEWAY_SIP_WS_ORIGINS")
            return web.Response(status=403, text="Pages of that origin may not call here.\n")
        if headers.get(hdrs.UPGRADE, "").lower() != "websocket":
            upgrade = {hdrs.UPGRADE: "websocket", hdrs.CONNECTION: "upgrade, close"}
            return web.Response(
                status=426, headers=upgrade, text="This is SIP over WebSocket (RFC 7118).\n"
            )
        offered = [name.strip() for name in headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")]
        if request.method != hdrs.METH_GET or _SUBPROTOCOL not in offered:
            return web.Response(status=400, text="The WebSocket subprotocol here is: sip\n")
        return None

    def _is_welcome(self, request: web.BaseRequest) -> bool:
        """Whether no page of somebody else asks: a browser inside the networks that may call would
        carry any page's calls in. What is no browser sends no Origin."""
        host, origins = request.headers.get(hdrs.HOST), request.headers.getall(hdrs.ORIGIN, ())
        if len(origins) == 1 and origins[0] in self._origins:
            return True
        if self._is_local:
            return is_local_host(host) and all(map(loopback_origin, origins))
        return all(is_page_of(host, origin) for origin in origins)


class WebSocketConnection(Connection):
    """One connection, from before the handshake."""

    def __init__(self, endpoint: Endpoint, connections: Connections) -> None:
        super().__init__(connections, accepted=True)
        self._endpoint = endpoint
        self._socket: _Socket | None = None

    async def run(self, socket: _Socket) -> None:
        """Take what comes, until the end.

        The handshake is proof enough: a page may be open for long before its user calls.
        """
        self._socket = socket
        self._has_proved_itself()
        while True:
            message = await socket.receive()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                self._receive(message.data)
            elif message.type is WSMsgType.PING:
                self._write(message.data, WSMsgType.PONG)
            elif message.type is not WSMsgType.PONG:
                return
            # What has come already is handed out without a pause, and audio would wait for the
            # end of a flood.
            await asyncio.sleep(0)

    def send(self, data: bytes) -> None:
        self._write(data, WSMsgType.TEXT)

    def close(self) -> None:
        self._write(WSCloseCode.GOING_AWAY.to_bytes(2, "big"), WSMsgType.CLOSE)
        if self._transport is not None:
            self._transport.close()

    def _receive(self, data: bytes) -> None:
        if not is_keepalive(data):
            self._endpoint.receive(data, self.peer)
        elif data == _PING:
            self.send(_PONG)

    def _write(self, data: bytes, kind: WSMsgType) -> None:
        """Send one frame, now.

        `send_frame` writes first and waits only beyond a limit that is never reached; so one step
        of it is the whole of it, and what waits to be sent is bounded here.
        """
        if self._socket is None or self._writable() is None:
            return
        frame = self._socket.send_frame(data, kind)
        with contextlib.suppress(StopIteration, ConnectionError):
            frame.send(None)


class _Http(web.RequestHandler):
    """What aiohttp makes of one connection."""

    __slots__ = ("_kind", "_log", "connection")

    def __init__(
        self,
        server: web.Server,
        connection: WebSocketConnection,
        kind: str,
        log: FilteringBoundLogger,
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # means none, and so aiohttp passes it on
        )
        self.connection = connection
        self._kind = kind
        self._log = log

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        opened = cast(asyncio.Transport, transport)
        if self.connection.opened(opened, self._kind):
            super().connection_made(transport)
        else:
            opened.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.connection.lost()
        super().connection_lost(exc)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Whoever sends no HTTP is answered 400; only a defect of ours is worth a line."""
        error = kw.get("exc_info")
        error = error if isinstance(error, BaseException) else sys.exception()
        if not isinstance(error, web.RequestPayloadError | HttpProcessingError):
            self._log.error("sip.failed", exc_info=error)
