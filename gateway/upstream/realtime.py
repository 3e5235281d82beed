"""One Realtime WebSocket per call: opened, configured, fed with audio, read until it ends.

Audio is written without awaiting: a frame is one synchronous call into the transport. A server that
does not read fast enough is seen by what waits in the transport and in the kernel's send queue,
which alone would take minutes of speech. Audio that would wait longer than two seconds is dropped
and counted, because late audio is worse than none. Control events are few and are always written;
past a far larger bound the connection is given up.

A peer that has vanished leaves an open connection behind. So the server is pinged every few
seconds, and one that stays silent, or takes no audio for long, is given up like one that closed.
Both hold only while nothing of what waits for it gets less: a large event on a thin line keeps
audio and pings behind it for many seconds, and its server is alive.
"""

import asyncio
import socket
from array import array
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fcntl import ioctl
from termios import TIOCOUTQ
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import quote

import aiohttp
from aiohttp import ClientWebSocketResponse, WSMsgType, hdrs
from yarl import URL

from gateway.realtime import events
from gateway.realtime.audio import append_event
from gateway.realtime.events import Event, EventError, encode_event, text_of
from gateway.realtime.session import append_bytes
from gateway.upstream.errors import BackendError

_AUDIO_WAIT_S = 2
"""Audio that would reach the server later than this is not sent at all."""
_FRAME_MS = 20
_FRAME_HEADER_BYTES = 8
_KERNEL_BUFFER_BYTES = 256 << 10
"""Room for all audio that may wait, whatever the format. Once the kernel is full, a TLS transport
passes 64 KiB on to the transport underneath, and nobody can see those."""
_CONGESTED_BYTES = 1 << 20
"""Far more than the audio that may wait: what a client's own large event leaves behind."""
_BACKLOG_BYTES = 20 << 20
"""Of control events; the largest, a client's own append, may be 15 MiB."""
_NEVER_PAUSED_BYTES = 1 << 30
MAX_MESSAGE_BYTES: Final = 16 << 20
"""An `input_audio_buffer.append` may be 15 MiB; nothing a server sends is larger."""
_LONGEST_MODEL = 256
_CLOSE_TIMEOUT_S = 1.0
"""A server that does not answer our close frame is not waited for longer."""
_PING_EVERY_S = 5.0
_SILENT_PINGS = 2
"""So many pings may see nothing come back; then the server counts as gone."""
_BLOCKED_S = 5.0
"""How long all audio may be dropped while the server takes nothing else either."""


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """Where the Realtime server is and how to reach it."""

    url: str
    """`{model}` is replaced by the session's model."""
    api_key: str = field(default="", repr=False)
    auth: str = "bearer"
    """`bearer`, `header:<name>` or `query:<name>`."""
    default_model: str = "gpt-realtime"
    connect_timeout_s: float = 10.0
    """For the handshake and the configuration together."""


class RealtimeSession:
    """A connected and configured session.

    Call `receive()` without long pauses until it returns None, then look at `close_reason`.
    """

    def __init__(self, connection: "BackendSocket") -> None:
        self._socket = connection
        self.effective: dict[str, Any] = {}
        """The session config as the server confirmed it."""
        self.dropped_appends = 0
        """Frames of the caller's audio that were not sent because the server was too slow."""
        self.close_reason = ""
        self._audio_backlog_bytes = _audio_backlog_bytes({}, {})
        self._blocked_since: float | None = None
        self._blocked_taken = 0  # `_taken` when audio was last dropped
        self._silent_pings = 0
        self._ping_waited = False  # whether the last ping had much before it
        self._pinged_taken = 0  # `_taken` then
        self._sent_bytes = 0  # all but audio
        self._loop = asyncio.get_running_loop()
        self._next_ping = self._loop.call_later(_PING_EVERY_S, self._ping)

    @property
    def congested(self) -> bool:
        """Whether the server is so far behind that events that can wait should."""
        return self._socket.backlog() > _CONGESTED_BYTES

    def append_audio(self, audio: bytes) -> None:
        """Send a frame of the caller's audio, in the session's input format. Never waits."""
        backlog = self._socket.backlog()
        if backlog > self._audio_backlog_bytes:
            self._drop(backlog)
        else:
            self._blocked_since = None
            self._socket.write(append_event(audio))

    def send(self, event: Event) -> None:
        """Send a control event. Never waits; gives the connection up if it takes nothing more."""
        self._write(encode_event(event), WSMsgType.TEXT)

    async def receive(self) -> bytes | None:
        """The next JSON text from the server; None when the connection has ended."""
        while True:
            message = await self._socket.receive()
            self._silent_pings = 0
            if message.type is WSMsgType.TEXT:
                # Bytes, as asked for when connecting; the declared type only knows the default.
                data: str | bytes = message.data
                return data if isinstance(data, bytes) else data.encode()
            if message.type is WSMsgType.PING:
                self._write(message.data, WSMsgType.PONG)
            elif message.type not in (WSMsgType.PONG, WSMsgType.BINARY):
                break  # no Realtime server we know means anything by a binary message
        self._next_ping.cancel()
        code = self._socket.close_code
        ended = f"closed with code {code}" if code else "connection lost"
        self.close_reason = self.close_reason or ended
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
                self._audio_backlog_bytes = _audio_backlog_bytes(session, self.effective)
                return
            if event["type"] == "error":
                raise refusal(event)
        raise BackendError(self.close_reason)

    async def close(self) -> None:
        self._next_ping.cancel()
        # A transport closes once its buffer is empty, which for a deaf server is never.
        self._loop.call_later(_CLOSE_TIMEOUT_S, self._socket.abort)
        await self._socket.close()

    def _write(self, message: bytes, kind: WSMsgType) -> None:
        if self._socket.backlog() > _BACKLOG_BYTES:
            self._give_up("the server does not read")
        else:
            self._sent_bytes += len(message)
            self._socket.write(message, kind)

    def _taken(self, backlog: int) -> int:
        """A number of bytes that grows while the server takes anything of a large backlog.

        While so much waits, no audio is sent, so that audio need not be counted.
        """
        return self._sent_bytes - backlog

    def _drop(self, backlog: int) -> None:
        self.dropped_appends += 1
        now = self._loop.time()
        taken = self._taken(backlog)
        if self._blocked_since is None or taken > self._blocked_taken:
            self._blocked_since = now
        elif now - self._blocked_since >= _BLOCKED_S:
            self._give_up(f"the server took no audio for {_BLOCKED_S:g} s")
        self._blocked_taken = taken

    def _ping(self) -> None:
        backlog = self._socket.backlog()
        taken = self._taken(backlog)
        lives = self._ping_waited and taken > self._pinged_taken
        self._ping_waited = backlog > self._audio_backlog_bytes
        self._pinged_taken = taken
        if self._silent_pings < _SILENT_PINGS:
            self._silent_pings += 1
        elif not lives:
            self._give_up(f"the server was silent for {_SILENT_PINGS * _PING_EVERY_S:g} s")
            return
        self._next_ping = self._loop.call_later(_PING_EVERY_S, self._ping)
        self._write(b"", WSMsgType.PING)

    def _give_up(self, reason: str) -> None:
        """Break the connection, so that `receive` returns None."""
        self._next_ping.cancel()
        self.close_reason = self.close_reason or reason
        self._socket.abort()


class Backend:
    """Opens sessions with the configured Realtime server. Use as an async context."""

    def __init__(self, config: BackendConfig) -> None:
        self._config = config
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            ws_response_class=BackendSocket,
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
            BackendError: see there.
        """
        async with self.reaching():
            # The session looks at pings itself.
            connection = await self.dial(str(session.get("model") or ""), autoping=False)
            connection.take_over()
            opened = RealtimeSession(connection)
            try:
                await opened.configure(session)
            except BaseException:
                await opened.close()
                raise
            return opened

    async def dial(
        self,
        model: str | None,
        *,
        intent: str = "",
        headers: Mapping[str, str] | None = None,
        autoping: bool = True,
        heartbeat_s: float | None = None,
    ) -> "BackendSocket":
        """Connect, and nothing more.

        Args:
            model: goes into the URL; the default model when it is None or empty.
            intent: goes into the URL as `intent=` where the model would stand in its query.
            headers: more of them; the key is added here.
            autoping: whether pings are answered by whoever reads.
            heartbeat_s: how often the server is pinged; None leaves that to the caller.

        Raises:
            BackendError: see there.
        """
        if self._client is None:
            raise RuntimeError("Backend is used outside of its context")
        url, auth = self._target(model, intent)
        async with self.reaching():
            connection = await self._client.ws_connect(
                url,
                headers={**(headers or {}), **auth},
                decode_text=False,
                max_msg_size=MAX_MESSAGE_BYTES,
                autoping=autoping,
                heartbeat=heartbeat_s,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_TIMEOUT_S),
            )
        if not isinstance(connection, BackendSocket):
            raise RuntimeError("the WebSocket is not of the class that was asked for")
        return connection

    @asynccontextmanager
    async def reaching(self) -> AsyncIterator[None]:
        """Have what is done inside be done in time, and have it fail as BackendError."""
        try:
            async with asyncio.timeout(self._config.connect_timeout_s):
                yield
        except aiohttp.WSServerHandshakeError as error:
            retry_after = error.headers.get(hdrs.RETRY_AFTER) if error.headers else None
            raise BackendError(
                f"handshake answered {error.status}", status=error.status, retry_after=retry_after
            ) from None
        except TimeoutError:
            raise BackendError(f"no answer in {self._config.connect_timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            # The text of an OSError names host and port; that of a client error may name the URL.
            detail = error.strerror if isinstance(error, OSError) else None
            raise BackendError(f"{type(error).__name__}: {detail or 'no connection'}") from None

    def _target(self, model: str | None, intent: str) -> tuple[URL, dict[str, str]]:
        """The URL to dial, and the headers that open it."""
        config = self._config
        url = URL(config.url.replace("{model}", _url_part(model or config.default_model)))
        if intent:
            template = URL(config.url)
            fed = [name for name, value in template.query.items() if "{model}" in value]
            url = url.without_query_params(*fed).update_query(intent=intent)
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


def refusal(event: Event) -> BackendError:
    """The server's `error` in answer to a config of ours."""
    return BackendError(
        text_of(event, "error", "message") or "session refused",
        code=text_of(event, "error", "code") or None,
        param=text_of(event, "error", "param") or None,
        refused=True,
    )


def _url_part(model: str) -> str:
    """The model's name as one part of a URL, whatever it holds: clients choose it.

    Raises:
        BackendError: no server has a model of this name. Dots alone would lead to another path.
    """
    if len(model) > _LONGEST_MODEL or not model.strip("."):
        raise BackendError(
            "There is no model of this name.", code="model_not_found", param="model", refused=True
        )
    return quote(model, safe="", errors="replace")


def _audio_backlog_bytes(asked: dict[str, Any], effective: dict[str, Any]) -> int:
    """How much two seconds of audio are on the wire."""
    frame = append_bytes(asked, effective, _FRAME_MS) + _FRAME_HEADER_BYTES
    return frame * _AUDIO_WAIT_S * 1000 // _FRAME_MS


class BackendSocket(ClientWebSocketResponse[Literal[True]]):
    """aiohttp's client WebSocket with a write that never waits."""

    _descriptor = -1
    _kernel_queue = array("i", [0])  # `ioctl` writes here; kept so that a frame allocates nothing

    def take_over(self) -> None:
        """Let `backlog` be all that bounds what waits: in the transport and in the kernel."""
        self._writer.transport.set_write_buffer_limits(high=_NEVER_PAUSED_BYTES)
        tcp = self.get_extra_info("socket")
        if tcp is not None:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER_BYTES)
            self._descriptor = tcp.fileno()

    def backlog(self) -> int:
        """Bytes written and not yet acknowledged by the server's kernel."""
        transport = self._writer.transport
        if transport.is_closing():
            return 0  # the descriptor may be another connection's by now
        try:
            ioctl(self._descriptor, TIOCOUTQ, self._kernel_queue)
        except OSError:  # no such count on this system
            return transport.get_write_buffer_size()
        return transport.get_write_buffer_size() + self._kernel_queue[0]

    def write(self, message: bytes, kind: WSMsgType = WSMsgType.TEXT) -> None:
        """Send one frame, now.

        `send_frame` writes first and then waits only when the transport has paused us, which it
        was told never to do. One step of it is therefore the whole of it.
        """
        frame = self._writer.send_frame(message, kind)
        try:
            frame.send(None)
        except StopIteration:
            pass
        except aiohttp.ClientError:
            pass  # the connection is closing; whoever reads it learns why

    def abort(self) -> None:
        self._writer.transport.abort()
        self._response.close()  # what was lost without a close is still in the connector's books
