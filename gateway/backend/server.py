"""The embedded Realtime server: a WebSocket at `/v1/realtime`, and one ear for all its sessions.

It asks for no key, and reads none. Clients that ask for the beta API (`OpenAI-Beta: realtime=v1`,
or the subprotocol that stands for it) get it; `?intent=transcription` begins a session that only
listens.

The voice detector is cheap only in batches. So the first audio that makes up a window starts a
short timer, and when it fires every session that has a window by then is judged in one pass.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import structlog
from aiohttp import WSCloseCode, web

from gateway.backend.config import DEFAULT_DIALOGUE, BackendConfig
from gateway.backend.connection import Connection
from gateway.backend.control import Control, refusal
from gateway.backend.dialogue import Dialogue, DialogueError
from gateway.backend.dialogue_parse import parse_dialogue
from gateway.backend.fault_plan import FaultError, plan_from_json, plan_from_toml
from gateway.backend.faults import Action, Delay, Drop, Fault, Http, Stall, WireFaults
from gateway.backend.faulty import FaultyConnection, PlanInForce
from gateway.backend.hearing import Hearing
from gateway.backend.rehearsal import Rehearsal
from gateway.backend.session import BackendSession, SessionOptions
from gateway.backend.voice import Voice

LISTEN_S: Final = 0.016
"""How long windows are collected: the delay that batching adds, at most."""
FAULTS_HEADER: Final = "x-embedded-faults"
"""In test mode: faults of this one connection, in JSON."""
_ROUNDS: Final = 8
"""Windows per session in one go; what is left waits until others had the event loop."""
_MAX_MESSAGE_BYTES: Final = 16 << 20
_ID_BITS: Final = 80
_LOOK_S: Final = 0.05

_Read = TypeVar("_Read")

_log = structlog.get_logger()


class BackendServer:
    """A running server. Made by `serve`."""

    def __init__(self, config: BackendConfig, dialogue: Dialogue, faults: Sequence[Fault]) -> None:
        self._config = config
        self._dialogue = dialogue
        self._hearing = Hearing()
        self._voice = Voice()
        self._connections: set[Connection] = set()
        self._to_hear: set[Connection] = set()  # with a window that waits
        self._opened = 0
        self._listening: asyncio.Handle | None = None
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._plan = PlanInForce(faults) if faults or config.test else None
        self.rehearsed: asyncio.Future[bool] = self._loop.create_future()
        """Whether the first session that was rehearsed has passed, once it has ended."""
        app = web.Application()
        app.router.add_get("/v1/realtime", self._realtime)
        if self._plan is not None and config.test:
            Control(self._connections, self._plan).add_routes(app)
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
        self._closing = True
        if self._listening is not None:
            self._listening.cancel()
        going = [connection.close(WSCloseCode.GOING_AWAY) for connection in self._connections]
        await asyncio.gather(*going, return_exceptions=True)
        await self._runner.cleanup()
        await self._voice.close()

    async def _realtime(self, request: web.Request) -> web.StreamResponse:
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        socket = web.WebSocketResponse(
            # A browser that offers subprotocols drops a connection for which none was chosen.
            protocols=("realtime",) if "realtime" in offered else (),
            compress=False,
            max_msg_size=_MAX_MESSAGE_BYTES,
            decode_text=False,
        )
        if not socket.can_prepare(request).ok:
            return refusal(426, "This is a WebSocket.")
        try:
            faults = self._faults(request)
        except FaultError as error:
            return refusal(400, f"{error}.", FAULTS_HEADER)
        struck = faults.connecting() if faults is not None else []
        refused = await self._strike(request, struck) or self._refused(request)
        if refused is not None:
            return refused
        await socket.prepare(request)
        connection = self._connection(socket, request, faults)
        if isinstance(connection, FaultyConnection):
            connection.strike(struck)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self._to_hear.discard(connection)
        self._end_rehearsal(connection)
        return socket

    def _refused(self, request: web.Request) -> web.Response | None:
        if len(self._connections) >= self._config.max_sessions:
            return refusal(503, "Too many sessions.")
        if "call_id" in request.query:
            return refusal(404, "This server has no calls to join.", "call_id")
        if request.query.get("intent", "transcription") != "transcription":
            return refusal(400, "The only intent is transcription.", "intent")
        return None

    def _connection(
        self, socket: web.WebSocketResponse, request: web.Request, faults: WireFaults | None
    ) -> Connection:
        make = Connection if faults is None else partial(FaultyConnection, faults=faults)
        expect = self._dialogue.expect if self._config.rehearsals else ()
        strict = self._config.rehearse
        rehearsal = Rehearsal(expect, self._loop.time(), strict=strict) if expect else None
        return make(
            socket,
            request.transport,
            self._session(request.query),
            self._voice,
            self._listen_soon,
            beta=_is_beta(request),
            rehearsal=rehearsal,
        )

    def _session(self, query: Mapping[str, str]) -> BackendSession:
        config = self._config
        self._opened += 1
        source = random.Random(None if config.seed is None else f"{config.seed}/{self._opened}")
        options = SessionOptions(
            dialogue=self._dialogue,
            model=query.get("model") or config.model,
            started_at=int(time.time()),
            limit_s=config.session_limit_s,
            pacing=config.pacing,
            rate_limits=config.rate_limits,
            kind="transcription" if query.get("intent") == "transcription" else "realtime",
        )
        return BackendSession(
            options,
            token=lambda: f"{source.getrandbits(_ID_BITS):0{_ID_BITS // 4}x}",
            random=source.random,
            now=self._loop.time(),
        )

    def _end_rehearsal(self, connection: Connection) -> None:
        rehearsal, session_id = connection.rehearsal, connection.session.id
        if rehearsal is None:
            return
        rehearsal.end(self._loop.time())
        if rehearsal.failure is None:
            _log.info("rehearsal.passed", session_id=session_id)
        else:
            # Keys and texts are a caller's own: only a log at level debug has a `message`.
            told = {"failure": rehearsal.failure, "message": rehearsal.seen}
            _log.error("rehearsal.failed", session_id=session_id, **told)
        if not self.rehearsed.done():
            self.rehearsed.set_result(rehearsal.failure is None)

    def _faults(self, request: web.Request) -> WireFaults | None:
        """The faults of a new connection; None when there are none anywhere."""
        if self._plan is None:
            return None
        faults = self._plan.next_connection()
        if self._config.test and FAULTS_HEADER in request.headers:
            faults = WireFaults(plan_from_json(request.headers[FAULTS_HEADER]), 1)
        return faults

    async def _strike(self, request: web.Request, actions: Sequence[Action]) -> web.Response | None:
        """Fail a handshake, with a response if it is not to go on."""
        for action in actions:
            match action:
                case Http(status, retry_after):
                    refused = refusal(status, "The server refuses, as it was told to.")
                    if retry_after is not None:
                        refused.headers["Retry-After"] = str(retry_after)
                    return refused
                case Delay() | Stall():
                    if not await self._hold(request, action.seconds):
                        return refusal(503, "The server stops.")
                case Drop():
                    if request.transport is not None:
                        request.transport.close()
                    return web.Response(status=503)  # for nobody
        return None

    async def _hold(self, request: web.Request, seconds: float | None) -> bool:
        """Wait; returns whether both sides are still there then."""
        until = math.inf if seconds is None else self._loop.time() + seconds
        while (left := until - self._loop.time()) > 0:
            if self._closing or request.transport is None:
                return False
            await asyncio.sleep(min(left, _LOOK_S))
        return True

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


def _is_beta(request: web.Request) -> bool:
    header = request.headers.get("OpenAI-Beta", "")
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    return "realtime=v1" in header or "openai-beta.realtime-v1" in offered


async def serve(config: BackendConfig) -> BackendServer:
    """Start an embedded server.

    Raises:
        DialogueError: the dialogue cannot be read or understood, or has nothing to rehearse; the
            text names the file.
        FaultError: so with the plan of faults.
        OSError: the port is taken, or the address is not ours.
        SileroError: the voice detector's model is not installed.
    """
    path = config.dialogue or DEFAULT_DIALOGUE
    dialogue = _read(path, parse_dialogue, DialogueError)
    if config.rehearse and not dialogue.expect:
        raise DialogueError(f"{path}: there is no [[expect]], so there is nothing to rehearse")
    faults: tuple[Fault, ...] = ()
    if config.faults is not None:
        parse = plan_from_json if config.faults.suffix == ".json" else plan_from_toml
        faults = _read(config.faults, parse, FaultError)
    server = BackendServer(config, dialogue, faults)
    await server.start()
    return server


def _read(path: Path, parse: Callable[[str], _Read], error_type: type[Exception]) -> _Read:
    """What a file says; whatever is wrong with it is an error of this type that names it."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise error_type(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise error_type(f"{path}: not UTF-8") from None
    except (DialogueError, FaultError) as error:
        raise error_type(f"{path}: {error}") from None
