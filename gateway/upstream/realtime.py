"""One Realtime WebSocket per call: opened, configured, fed with audio, read until it ends.

Audio is written without awaiting: a frame is one synchronous call into the transport. A server that
does not read fast enough is seen by the size of the transport's buffer; the audio that would make
it grow past two seconds is dropped and counted, because late audio is worse than none. Control
events are few and are always written; past a far larger bound the connection is given up.
"""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
from aiohttp import ClientWebSocketResponse, WSMsgType
from yarl import URL

from gateway.realtime import events
from gateway.realtime.audio import append_event
from gateway.realtime.events import Event, EventError, encode_event, text_of

_AUDIO_BACKLOG_BYTES = 32_000
"""About two seconds of G.711 appends."""
_BACKLOG_BYTES = 4 << 20
_MAX_MESSAGE_BYTES = 16 << 20
"""An `input_audio_buffer.append` may be 15 MiB; nothing a server sends is larger."""


_CLOSE_TIMEOUT_S = 1.0
"""A server that does not answer our close frame is not waited for longer."""


class BackendError(Exception):
    """The Realtime server could not be reached, refused, or broke the protocol."""


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """Where the Realtime server is and how to reach it."""

    url: str
    """`{model}` is replaced by the session's model."""
    api_key: str = ""
    auth: str = "bearer"
    """`bearer`, `header:<name>` or `query:<name>`."""
    default_model: str = "gpt-realtime"
    connect_timeout_s: float = 10.0
    """For the handshake and the configuration together."""


class RealtimeSession:
    """A connected and configured session.

    Call `receive()` until it returns None, then look at `close_reason`.
    """

    def __init__(self, socket: "_Socket") -> None:
        self._socket = socket
        self.effective: dict[str, Any] = {}
        """The session config as the server confirmed it."""
        self.dropped_appends = 0
        self.close_reason = ""

    def append_audio(self, audio: bytes) -> None:
        """Send a frame of the caller's audio, in the session's input format. Never waits."""
        if self._socket.backlog() > _AUDIO_BACKLOG_BYTES:
            self.dropped_appends += 1
        else:
            self._socket.write(append_event(audio))

    def send(self, event: Event) -> None:
        """Send a control event. Never waits; gives the connection up if it takes nothing more."""
        if self._socket.backlog() > _BACKLOG_BYTES:
            self._socket.abort()
        else:
            self._socket.write(encode_event(event))

    async def receive(self) -> bytes | None:
        """The next JSON text from the server; None when the connection has ended."""
        message = await self._socket.receive()
        while message.type is WSMsgType.BINARY:  # no Realtime server we know means anything by it
            message = await self._socket.receive()
        if message.type is WSMsgType.TEXT:
            # Bytes, as asked for when connecting; the declared type only knows the default.
            data: str | bytes = message.data
            return data if isinstance(data, bytes) else data.encode()
        code = self._socket.close_code
        self.close_reason = f"closed with code {code}" if code else "connection lost"
        return None

    async def configure(self, session: dict[str, Any]) -> None:
        """Send the config and wait until the server took it.

        Raises:
            BackendError: the server refused it or went away.
        """
        self.send(events.session_update(session))
        while (message := await self.receive()) is not None:
            try:
                event = events.parse_event(message)
            except EventError as error:
                raise BackendError(f"the server sent what is {error}") from None
            if event["type"] == "session.updated":
                effective = event.get("session")
                self.effective = effective if isinstance(effective, dict) else {}
                return
            if event["type"] == "error":
                raise BackendError(text_of(event, "error", "message") or "session refused")
        raise BackendError(self.close_reason)

    async def close(self) -> None:
        await self._socket.close()


class Backend:
    """Opens sessions with the configured Realtime server. Use as an async context."""

    def __init__(self, config: BackendConfig) -> None:
        self._config = config
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            ws_response_class=_Socket,
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.close()

    async def open(self, session: dict[str, Any]) -> RealtimeSession:
        """Connect and configure a session.

        Raises:
            BackendError: with a reason fit for a log; it holds no secret.
        """
        try:
            async with asyncio.timeout(self._config.connect_timeout_s):
                return await self._connect(session)
        except aiohttp.WSServerHandshakeError as error:
            raise BackendError(f"handshake answered {error.status}") from None
        except TimeoutError:
            raise BackendError(f"no answer in {self._config.connect_timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            # The text of an OSError names host and port; that of a client error may name the URL.
            detail = error.strerror if isinstance(error, OSError) else None
            raise BackendError(f"{type(error).__name__}: {detail or 'no connection'}") from None

    async def _connect(self, session: dict[str, Any]) -> RealtimeSession:
        if self._client is None:
            raise RuntimeError("Backend is used outside of its context")
        url, headers = self._target(session)
        socket = await self._client.ws_connect(
            url,
            headers=headers,
            decode_text=False,
            max_msg_size=_MAX_MESSAGE_BYTES,
            timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_TIMEOUT_S),
        )
        if not isinstance(socket, _Socket):
            raise RuntimeError("the WebSocket is not of the class that was asked for")
        opened = RealtimeSession(socket)
        try:
            await opened.configure(session)
        except BaseException:
            await opened.close()
            raise
        return opened

    def _target(self, session: dict[str, Any]) -> tuple[URL, dict[str, str]]:
        config = self._config
        model = session.get("model")
        url = URL(config.url.replace("{model}", str(model or config.default_model)))
        headers: dict[str, str] = {}
        kind, _, name = config.auth.partition(":")
        if not config.api_key:
            pass
        elif kind == "header":
            headers[name] = config.api_key
        elif kind == "query":
            url = url.update_query({name: config.api_key})
        else:
            headers["Authorization"] = f"Bearer {config.api_key}"
        return url, headers


class _Socket(ClientWebSocketResponse[Literal[True]]):
    """aiohttp's client WebSocket with a write that never waits."""

    def backlog(self) -> int:
        """Bytes written and not yet taken by the kernel."""
        transport = self._writer.transport
        return 0 if transport.is_closing() else transport.get_write_buffer_size()

    def write(self, message: bytes) -> None:
        """Send one text frame, now.

        `send_frame` writes first and only then may wait for the buffer to drain. One step of it is
        therefore the whole frame, and the waiting is ours to skip: `backlog` bounds the buffer.
        """
        frame = self._writer.send_frame(message, WSMsgType.TEXT)
        try:
            frame.send(None)
        except StopIteration:
            pass
        except aiohttp.ClientError:
            pass  # the connection is closing; whoever reads it learns why
        else:
            frame.close()

    def abort(self) -> None:
        self._writer.transport.abort()
