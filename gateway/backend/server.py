"""The embedded Realtime server: a WebSocket at `/v1/realtime`, and one ear for all its sessions.

The voice detector is cheap only in batches. So the first audio that makes up a window starts a
short timer, and when it fires every session that has a window by then is judged in one pass.
"""

import asyncio
import random
import time
from pathlib import Path
from typing import Final

import structlog
from aiohttp import WSCloseCode, web

from gateway.backend.config import BackendConfig
from gateway.backend.connection import Connection
from gateway.backend.dialogue import Dialogue, DialogueError
from gateway.backend.hearing import Hearing
from gateway.backend.session import BackendSession, SessionOptions
from gateway.backend.voice import Voice

DEFAULT_DIALOGUE: Final = Path(__file__).parent / "dialogues" / "default.toml"
LISTEN_S: Final = 0.016
"""How long windows are collected: the delay that batching adds, at most."""
_ROUNDS: Final = 8
"""Windows per session in one go; what is left waits until others had the event loop."""
_MAX_MESSAGE_BYTES: Final = 16 << 20
_ID_BITS: Final = 80

_log = structlog.get_logger()


class BackendServer:
    """A running server. Made by `serve`."""

    def __init__(self, config: BackendConfig, dialogue: Dialogue) -> None:
        self._config = config
        self._dialogue = dialogue
        self._hearing = Hearing()
        self._voice = Voice()
        self._connections: set[Connection] = set()
        self._to_hear: set[Connection] = set()  # with a window that waits
        self._opened = 0
        self._listening: asyncio.Handle | None = None
        self._loop = asyncio.get_running_loop()
        app = web.Application()
        app.router.add_get("/v1/realtime", self._realtime)
        self._runner = web.AppRunner(app, access_log=None)
        self.port = 0
        """The port it is bound to."""

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, self._config.host, self._config.port).start()
        self.port = self._runner.addresses[0][1]
        _log.info("backend.started", port=self.port)

    async def close(self) -> None:
        """Close all sessions and stop."""
        if self._listening is not None:
            self._listening.cancel()
        going = [connection.close(WSCloseCode.GOING_AWAY) for connection in self._connections]
        await asyncio.gather(*going, return_exceptions=True)
        await self._runner.cleanup()
        await self._voice.close()

    async def _realtime(self, request: web.Request) -> web.StreamResponse:
        if len(self._connections) >= self._config.max_sessions:
            return _refusal(503, "server_error", "Too many sessions.", None)
        for parameter in ("call_id", "intent"):
            if parameter in request.query:
                message = f"This server has no sessions by {parameter}."
                return _refusal(404, "invalid_request_error", message, parameter)
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        socket = web.WebSocketResponse(
            # A browser that offers subprotocols drops a connection for which none was chosen.
            protocols=("realtime",) if "realtime" in offered else (),
            compress=False,
            max_msg_size=_MAX_MESSAGE_BYTES,
            decode_text=False,
        )
        if not socket.can_prepare(request).ok:
            return _refusal(426, "invalid_request_error", "This is a WebSocket.", None)
        await socket.prepare(request)
        connection = Connection(
            socket,
            request.transport,
            self._session(request.query.get("model")),
            self._voice,
            self._listen_soon,
        )
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self._to_hear.discard(connection)
        return socket

    def _session(self, model: str | None) -> BackendSession:
        config = self._config
        self._opened += 1
        source = random.Random(None if config.seed is None else f"{config.seed}/{self._opened}")
        options = SessionOptions(
            dialogue=self._dialogue,
            model=model or config.model,
            started_at=int(time.time()),
            limit_s=config.session_limit_s,
            pacing=config.pacing,
        )
        return BackendSession(
            options,
            token=lambda: f"{source.getrandbits(_ID_BITS):0{_ID_BITS // 4}x}",
            random=source.random,
            now=self._loop.time(),
        )

    def _listen_soon(self, connection: Connection) -> None:
        self._to_hear.add(connection)
        if self._listening is None:
            self._listening = self._loop.call_later(LISTEN_S, self._listen)

    def _listen(self) -> None:
        """Judge what all sessions have heard."""
        self._listening = None
        for _ in range(_ROUNDS):
            waiting = {c.session.ear: c for c in self._to_hear if c.session.ear.windows > 0}
            self._to_hear = set(waiting.values())
            if not waiting:
                return
            now = self._loop.time()
            for ear, probability in self._hearing.listen(list(waiting)):
                waiting[ear].voice(probability, now)
        self._listening = self._loop.call_soon(self._listen)


def _refusal(status: int, kind: str, message: str, parameter: str | None) -> web.Response:
    error = {"message": message, "type": kind, "param": parameter, "code": None}
    return web.json_response({"error": error}, status=status)


async def serve(config: BackendConfig) -> BackendServer:
    """Start an embedded server.

    Raises:
        DialogueError: the dialogue cannot be read or understood; the text names the file.
        OSError: the port is taken, or the address is not ours.
        SileroError: the voice detector's model is not installed.
    """
    server = BackendServer(config, _dialogue(config.dialogue or DEFAULT_DIALOGUE))
    await server.start()
    return server


def _dialogue(path: Path) -> Dialogue:
    try:
        return Dialogue.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DialogueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DialogueError(f"{path}: not UTF-8") from None
    except DialogueError as error:
        raise DialogueError(f"{path}: {error}") from None
