"""A client's plain Realtime WebSocket, passed to the backend.

Text goes both ways untouched and in order; to and from a backend of another dialect it is
translated. Each direction is read only as fast as the other side takes it, so a slow client slows
the server down and nothing piles up here. How one side ends is what the other side is told.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from aiohttp import WebSocketError, WSCloseCode, WSMsgType, web

from gateway.realtime.beta_events import client_to_beta
from gateway.realtime.errors import RealtimeError, error_event
from gateway.realtime.events import Event, EventError, encode_event, parse_event, session_update
from gateway.realtime.session import Session
from gateway.upstream.backend import Backend
from gateway.upstream.errors import BackendError
from gateway.upstream.ids import new_event_id
from gateway.upstream.session import refusal
from gateway.upstream.socket import MAX_MESSAGE_BYTES, BackendSocket
from gateway.upstream.translator import Translator, translator

_HEARTBEAT_S: Final = 20.0
"""A side that shows no life for one and a half of these is taken for gone."""
_LAST_WORDS_S: Final = 5.0
"""How long a side may take for what is on its way to it when the other has ended."""
_MAX_WAITING: Final = 32
"""Events that a server may send before it has taken a config."""


@dataclass(frozen=True, slots=True)
class RelayRequest:
    """What a client asked for."""

    model: str | None = None
    """None is the backend's default."""
    intent: str = ""
    """`transcription`, or nothing."""
    beta: bool = False
    """Whether the client speaks the beta API instead of GA."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those of the client that go along; the key is never among them."""
    session: Session | None = None
    """A config that is in force before the client sees anything."""


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a side ended. The code is 1005 or 1006 where there was none."""

    code: int
    reason: str = ""


class Relay:
    """A connected backend that waits for its client."""

    def __init__(self, backend: BackendSocket, translator: Translator | None = None) -> None:
        self._backend = backend
        self._translator = translator
        self._first: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._stopped: asyncio.Future[_Ending] = self._loop.create_future()

    @classmethod
    async def open(cls, backend: Backend, request: RelayRequest) -> Self:
        """Connect to the backend and have it take the config.

        Raises:
            BackendError: it could not be reached, or `refused` the config.
        """
        async with backend.reaching():
            socket = await backend.dial(
                request.model,
                intent=request.intent,
                headers=request.headers,
                heartbeat_s=_HEARTBEAT_S,
            )
            relay = cls(socket, translator(backend.config.dialect, beta_client=request.beta))
            if request.session is not None:
                try:
                    await relay._configure(request.session, request.beta, backend.config.confirms)
                except BaseException:
                    await relay.close()
                    raise
            return relay

    async def run(self, client: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        """Pass messages until one side ends, and end the other."""
        pumps = [
            self._loop.create_task(self._from_backend(client)),
            self._loop.create_task(self._from_client(client)),
        ]
        ending = _Ending(WSCloseCode.INTERNAL_ERROR)
        try:
            ends = [*pumps, self._stopped]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            ending = next(end.result() for end in ends if end.done())
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            if transport is not None:
                # A transport closes once its buffer is empty, which for a dead client is never.
                self._loop.call_later(_LAST_WORDS_S, transport.abort)
            reason = ending.reason.encode()
            with contextlib.suppress(ConnectionError):
                await client.close(
                    code=_sendable(ending.code, WSCloseCode.INTERNAL_ERROR), message=reason
                )
            await self.close(_sendable(ending.code, WSCloseCode.GOING_AWAY), reason)

    def stop(self) -> None:
        """End both sides: the service stops."""
        if not self._stopped.done():
            self._stopped.set_result(_Ending(WSCloseCode.GOING_AWAY, "the service stops"))

    async def close(self, code: int = WSCloseCode.OK, reason: bytes = b"") -> None:
        """End the backend's side."""
        self._loop.call_later(_LAST_WORDS_S, self._backend.abort)
        await self._backend.close(code=code, message=reason)

    async def _configure(self, session: Session, beta: bool, confirms: bool) -> None:
        """Send the config; what the client sees first then is the session as it was confirmed."""
        for text in self._config_texts(session_update(session), beta):
            await self._backend.send_frame(text, WSMsgType.TEXT)
        created: dict[str, Any] = {}
        others: list[bytes] = []
        while len(others) <= _MAX_WAITING:
            message = await self._backend.receive()
            if message.type is not WSMsgType.TEXT:
                raise BackendError(f"closed with code {self._backend.close_code}")
            for text in self._told(_bytes(message.data)):
                try:
                    event = parse_event(text)
                except EventError as error:
                    raise BackendError(f"the server sent what is {error}") from None
                match event["type"]:
                    case "session.created" | "transcription_session.created":
                        created = event
                        if not confirms:
                            self._first = [text, *others]
                            return
                    case "session.updated" | "transcription_session.updated" as updated:
                        kind = updated.replace("updated", "created")
                        confirmed = {"type": kind, "session": event.get("session")}
                        self._first = [encode_event((created or event) | confirmed), *others]
                        return
                    case "error":
                        raise refusal(event)
                    case _:
                        others.append(text)
        raise BackendError("the server did not answer session.update")

    def _config_texts(self, update: Event, beta: bool) -> list[bytes]:
        if self._translator is not None:
            return self._translator.to_server(update)
        # Untranslated, a client that speaks beta has a server that does.
        return [encode_event(said) for said in (client_to_beta(update) if beta else [update])]

    def _told(self, message: bytes) -> list[bytes]:
        """What a text of the server means to the client."""
        if self._translator is None:
            return [message]
        return self._translator.from_server(message)

    def _asked(self, message: bytes) -> tuple[list[bytes], list[bytes]]:
        """What a text of the client means to the server, and what is answered here."""
        if self._translator is None:
            return [message], []
        return self._translator.from_client(message), self._translator.answers()

    async def _from_backend(self, client: web.WebSocketResponse) -> _Ending:
        for event in self._first:
            await _pass(client.send_frame(event, WSMsgType.TEXT))
        while True:
            message = await self._backend.receive()
            if message.type is WSMsgType.TEXT:
                for text in self._told(_bytes(message.data)):
                    await _pass(client.send_frame(text, WSMsgType.TEXT))
            elif message.type is not WSMsgType.BINARY:  # which no Realtime server we know sends
                return _ending(message.type, message.data, message.extra)

    async def _from_client(self, client: web.WebSocketResponse) -> _Ending:
        while True:
            message = await client.receive()
            if message.type is WSMsgType.TEXT:
                if len(message.data) > MAX_MESSAGE_BYTES:
                    return _Ending(WSCloseCode.MESSAGE_TOO_BIG)
                asked, answers = self._asked(_bytes(message.data))
                for text in asked:
                    await _pass(self._backend.send_frame(text, WSMsgType.TEXT))
                for text in answers:
                    await _pass(client.send_frame(text, WSMsgType.TEXT))
            elif message.type is WSMsgType.BINARY:
                await _pass(client.send_frame(_not_text(), WSMsgType.TEXT))
            else:
                return _ending(message.type, message.data, message.extra)


async def _pass(sending: Coroutine[Any, Any, None]) -> None:
    """Send, unless that side has gone; whoever reads it learns how."""
    with contextlib.suppress(ConnectionError):
        await sending


def _ending(kind: WSMsgType, data: object, extra: object) -> _Ending:
    if kind is WSMsgType.CLOSE and isinstance(data, int):
        return _Ending(
            data or WSCloseCode.ABNORMAL_CLOSURE, extra if isinstance(extra, str) else ""
        )
    if kind is WSMsgType.ERROR and isinstance(data, WebSocketError):
        return _Ending(data.code)
    return _Ending(WSCloseCode.ABNORMAL_CLOSURE)


def _sendable(code: int, otherwise: int) -> int:
    """The code, if an endpoint may send it (RFC 6455 section 7.4)."""
    allowed = 1000 <= code <= 1014 and code not in (1004, 1005, 1006) or 3000 <= code <= 4999
    return code if allowed else otherwise


def _not_text() -> bytes:
    error = RealtimeError("Events are text messages, not binary ones.", code="invalid_event")
    return encode_event(error_event(error, event_id=new_event_id(), client_event_id=None))


def _bytes(data: str | bytes) -> bytes:
    """Both sockets were opened without decoding; the declared types only know the default."""
    return data if isinstance(data, bytes) else data.encode()
