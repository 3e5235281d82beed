"""`GET /v1/realtime`: one address, two kinds of WebSocket.

With `call_id` it is a sideband of that call. Otherwise it is a session with the backend, for
clients that are no phone. What a client may not have is told as an HTTP error before the upgrade.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Protocol

import structlog
from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from gateway.api.auth import CALLER
from gateway.api.errors import error_response
from gateway.api.sideband import Extensions, Sideband, SidebandCall, SidebandConfig
from gateway.calls.commands import no_call
from gateway.realtime.errors import RealtimeError, error_event, invalid
from gateway.realtime.events import encode_event
from gateway.upstream.backend import Backend
from gateway.upstream.errors import BackendError
from gateway.upstream.ids import new_event_id
from gateway.upstream.relay import Relay, RelayRequest
from gateway.upstream.socket import MAX_MESSAGE_BYTES

PATH: Final = "/v1/realtime"
_READABLE_BYTES: Final = 2 * MAX_MESSAGE_BYTES
"""A message up to here is read to its end and then refused with 1009. One that is cut off in its
middle leaves its sender with a broken connection and no code at all."""
_BETA_CLOSE: Final = 4000
_BETA_HEADER: Final = "OpenAI-Beta"
_BETA: Final = "realtime=v1"
_BETA_PROTOCOL: Final = "openai-beta.realtime-v1"
_PROTOCOL: Final = "realtime"
_HARMLESS_PROTOCOL: Final = re.compile(r"openai-(beta|agents-sdk)\.[\w.-]{1,64}", re.ASCII)
_HANDSHAKE: Final = (
    hdrs.UPGRADE,
    hdrs.CONNECTION,
    hdrs.SEC_WEBSOCKET_VERSION,
    hdrs.SEC_WEBSOCKET_KEY,
    hdrs.ORIGIN,
    hdrs.HOST,
)
_TRANSCRIPTION: Final = "transcription"
_PASSED_HEADERS: Final = (_BETA_HEADER, "OpenAI-Safety-Identifier")

_log = structlog.get_logger()


class FindsCalls(Protocol):
    """Where calls are."""

    async def joined(self, call_id: str, wait_s: float) -> SidebandCall:
        """The call, once it has a session.

        Raises:
            RealtimeError: 404, there is no such call, or it got no session in time.
        """


@dataclass(frozen=True, slots=True)
class RealtimeConfig:
    """Bounds of the WebSockets."""

    max_relays: int = 200
    join_wait_s: float = 5.0
    """How long the upgrade for a call that is being set up is held."""
    heartbeat_s: float = 20.0
    """A client that shows no life for one and a half of these is taken for gone."""
    sideband: SidebandConfig = field(default_factory=SidebandConfig)


class RealtimeSockets:
    """All WebSockets of the API.

    Args:
        line: finds calls.
        backend: what plain sessions are passed to.
    """

    def __init__(
        self, line: FindsCalls, backend: Backend, config: RealtimeConfig | None = None
    ) -> None:
        self._line = line
        self._backend = backend
        self._config = config or RealtimeConfig()
        self._relaying = 0  # those included that still connect
        self._relays: set[Relay] = set()
        self._connecting: set[asyncio.Timeout] = set()
        self._stopping = False
        self._handlers: set[asyncio.Task[object]] = set()

    def routes(self) -> list[web.RouteDef]:
        return [web.get(PATH, self._serve, allow_head=False)]

    def stop(self) -> None:
        """End the relays with 1001, those that still connect with 503; from here on there are no
        more. A sideband ends with its call."""
        self._stopping = True
        for relay in self._relays:
            relay.stop()
        now = asyncio.get_running_loop().time()
        while self._connecting:
            self._connecting.pop().reschedule(now)

    async def finished(self) -> None:
        """Wait, but not for long, until every WebSocket has had its last words.

        It has to be waited for before the server stops listening to its clients: a close frame that
        nobody reads any more is waited for in vain.
        """
        if self._handlers:
            await asyncio.wait(self._handlers, timeout=self._config.sideband.last_words_s)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        handler = asyncio.current_task()
        if handler is not None:
            self._handlers.add(handler)
            handler.add_done_callback(self._handlers.discard)
        socket = web.WebSocketResponse(
            protocols=_chosen(request),
            compress=False,
            decode_text=False,
            max_msg_size=_READABLE_BYTES,
            heartbeat=self._config.heartbeat_s,
            timeout=self._config.sideband.last_words_s,
        )
        if not socket.can_prepare(_handshake(request)).ok:
            return _upgrade_required()
        if "call_id" in request.query:
            return await self._sideband(request, socket)
        if self._stopping:
            raise _draining()
        if self._relaying >= self._config.max_relays:
            return _busy("Too many sessions are open.", None)
        self._relaying += 1
        try:
            return await self._relay(request, socket)
        finally:
            self._relaying -= 1

    async def _sideband(
        self, request: web.Request, socket: web.WebSocketResponse
    ) -> web.StreamResponse:
        if request[CALLER].kind == "secret":
            raise no_call()
        if _is_beta(request):
            return await _end_with(_no_beta(), _BETA_CLOSE, request, socket)
        call_id = request.query["call_id"]
        wanted = Extensions.parse(request.query.get("extensions", ""))
        await self._line.joined(call_id, self._config.join_wait_s)
        if not await _upgraded(request, socket):
            return web.Response()
        try:  # again, because meanwhile it may have ended, or others have come
            call = await self._line.joined(call_id, 0)
        except RealtimeError as error:
            await _close_with(error, WSCloseCode.POLICY_VIOLATION, socket)
            return socket
        sideband = Sideband(socket, request.transport, call, wanted, self._config.sideband)
        log = _log.bind(call_id=call_id)
        log.info("sideband.attached")
        with _contained(request):
            await sideband.run()
        log.info("sideband.detached", ended=sideband.ended)
        return socket

    async def _relay(
        self, request: web.Request, socket: web.WebSocketResponse
    ) -> web.StreamResponse:
        asked = _relay_request(request)
        try:
            relay = await self._connect(asked)
        except BackendError as error:
            _log.warning("relay.failed", reason=error.logged())
            if error.refused and asked.session is not None:
                # A browser, which holds the secret, is shown nothing of an HTTP error.
                return await _end_with(error.told(), WSCloseCode.POLICY_VIOLATION, request, socket)
            if error.status == web.HTTPTooManyRequests.status_code:
                return _busy("The Realtime backend takes no more sessions.", error.retry_after)
            raise error.told() from None
        self._relays.add(relay)
        try:
            if not await _upgraded(request, socket):
                return web.Response()
            with _contained(request):
                await relay.run(socket, request.transport)
            return socket
        finally:
            self._relays.discard(relay)
            await relay.close()

    async def _connect(self, asked: RelayRequest) -> Relay:
        """Open the backend's side, unless the service stops meanwhile."""
        try:
            async with asyncio.timeout(None) as until_stopped:
                self._connecting.add(until_stopped)
                try:
                    return await Relay.open(self._backend, asked)
                finally:
                    self._connecting.discard(until_stopped)
        except TimeoutError:
            raise _draining() from None


async def _upgraded(request: web.Request, socket: web.WebSocketResponse) -> bool:
    """Complete the handshake; False when the client has left, and nobody reads an answer."""
    try:
        await socket.prepare(_handshake(request))
    except ConnectionError:
        return False
    return True


@contextmanager
def _contained(request: web.Request) -> Iterator[None]:
    """Once it is a WebSocket, a defect of ours cannot be told over HTTP: it ends the connection."""
    try:
        yield
    except Exception as error:
        _log.error("realtime.failed", exc_info=error)
        if request.transport is not None:
            request.transport.abort()


async def _end_with(
    error: RealtimeError, code: int, request: web.Request, socket: web.WebSocketResponse
) -> web.StreamResponse:
    """Accept the upgrade only to tell why nothing comes of it."""
    if not await _upgraded(request, socket):
        return web.Response()
    await _close_with(error, code, socket)
    return socket


async def _close_with(error: RealtimeError, code: int, socket: web.WebSocketResponse) -> None:
    event = error_event(error, event_id=new_event_id(), client_event_id=None)
    with suppress(ConnectionError):
        await socket.send_frame(encode_event(event), WSMsgType.TEXT)
        await socket.close(code=code)


def _offered(request: web.Request) -> list[str]:
    lines = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ())
    return [protocol.strip() for line in lines for protocol in line.split(",")]


def _chosen(request: web.Request) -> tuple[str, ...]:
    """The subprotocol to select, if any. A browser that offered some drops a connection for which
    none was selected; among those that it offers is its key, which is not to be sent back."""
    offered = _offered(request)
    if _PROTOCOL in offered:
        return (_PROTOCOL,)
    harmless = (name for name in offered if _HARMLESS_PROTOCOL.fullmatch(name))
    return tuple(islice(harmless, 1))


def _handshake(request: web.Request) -> web.Request:
    """The request as aiohttp shall see it: of the subprotocols only the one to select.

    It looks at the first line of them alone, and where it would select none it logs them all.
    """
    values = {name: request.headers.get(name, "") for name in _HANDSHAKE}
    headers = {name: value for name, value in values.items() if value and value.isascii()}
    for protocol in _chosen(request):
        headers[hdrs.SEC_WEBSOCKET_PROTOCOL] = protocol
    return request.clone(headers=headers)


def _is_beta(request: web.Request) -> bool:
    shapes = request.headers.get(_BETA_HEADER, "").split(",")
    return _BETA in (shape.strip() for shape in shapes) or _BETA_PROTOCOL in _offered(request)


def _relay_request(request: web.Request) -> RelayRequest:
    """What the query asks for. What a client secret was made for cannot be changed by it.

    Raises:
        RealtimeError: 400, an unknown intent.
    """
    model, intent = request.query.get("model"), request.query.get("intent", "")
    if intent not in ("", _TRANSCRIPTION):
        raise invalid("intent", intent, f"'{_TRANSCRIPTION}'")
    session = request[CALLER].session
    if session is not None:
        model = session.get("model") or model
        intent = _TRANSCRIPTION if session.get("type") == _TRANSCRIPTION else ""
    headers = {_BETA_HEADER: _BETA} if _BETA_PROTOCOL in _offered(request) else {}
    for name in _PASSED_HEADERS:
        value = request.headers.get(name, "")
        if value and value.isascii():
            headers[name] = value
    return RelayRequest(model, intent, _is_beta(request), headers, session)


def _busy(message: str, retry_after: str | None) -> web.Response:
    error = RealtimeError(message, code="rate_limit_exceeded", kind="rate_limit_error", status=429)
    headers: dict[str, str] = {hdrs.RETRY_AFTER: retry_after} if retry_after else {}
    return error_response(error, headers=headers)


def _draining() -> RealtimeError:
    return RealtimeError(
        "The service stops.", code="draining", kind="server_error", status=503, retry=False
    )


def _upgrade_required() -> web.Response:
    error = RealtimeError(
        "This is a WebSocket: ask for an upgrade to it.", code="upgrade_required", status=426
    )
    headers: dict[str, str] = {
        hdrs.UPGRADE: "websocket",
        hdrs.CONNECTION: "Upgrade",
        hdrs.SEC_WEBSOCKET_VERSION: "13",
    }
    return error_response(error, headers=headers)


def _no_beta() -> RealtimeError:
    return RealtimeError(
        "Calls are controlled with events of the GA shape only: "
        f"leave out '{_BETA_HEADER}: {_BETA}'.",
        code="beta_api_shape_disabled",
    )
