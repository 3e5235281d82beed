"""A caller and a Realtime server for tests of calls: no sockets, a media clock turned by hand."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from gateway.audio.formats import PCM24K, PCMU, AudioFormat
from gateway.audio.playout import Playout
from gateway.calls.effects import TellCall
from gateway.legs.leg import (
    CallOrder,
    Headers,
    KeysError,
    Leg,
    LegEnded,
    LegError,
    LegEvent,
    MediaPort,
    MediaStats,
    Played,
)
from gateway.realtime.session import settled_formats, with_formats
from gateway.upstream.errors import BackendError
from gateway.upstream.webhook import Delivered, WebhookError

SILENCE = b"\xff" * 160


class FakePort:
    """A media port whose 20 ms ticks are called by the test."""

    def __init__(self, leg: "FakeLeg", audio_format: AudioFormat) -> None:
        self.format = audio_format
        self.playout = Playout(audio_format)
        self.sink: Callable[[bytes], None] | None = None
        self.sent: list[bytes] = []
        self.hears_music = False
        self.counted = MediaStats()
        """Besides what was sent."""
        self._leg = leg

    def join(self, sink: Callable[[bytes], None]) -> None:
        self.sink = sink

    def part(self) -> None:
        self.sink = None

    def hear_music(self, wanted: bool) -> None:
        self.hears_music = wanted

    def press(self, keys: str) -> bool:
        return True

    def stats(self) -> MediaStats:
        return replace(self.counted, rtp_sent=len(self.sent))

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.sent.append(self.playout.pull() or SILENCE)
            for mark in self.playout.marks():
                self._leg.emit(Played(mark))

    def voice_frames(self) -> int:
        return sum(frame != SILENCE for frame in self.sent)


class FakeLeg:
    """A caller who does what the test says."""

    kind = "sip"
    codec = "pcmu"
    media_security = "rtp"
    direction: Literal["inbound"] = "inbound"
    dialog_id = "dialog"
    sip_call_id = "1@example.com"
    replaces = ""

    def __init__(
        self,
        audio_format: AudioFormat = PCMU,
        answer_error: LegError | None = None,
        refer_error: LegError | None = None,
    ) -> None:
        self.format = audio_format
        self.headers: tuple[tuple[str, str], ...] = (
            ("From", "<sip:alice@example.com>"),
            ("X-Customer", "42"),
        )
        self.caller, self.callee = "sip:+4930123456@example.com", "sip:bob@example.com:5070;x=1"
        self.contact = "sip:+4930123456@192.0.2.4:5060;transport=udp"
        self._refer_error = refer_error
        self.done: list[Any] = []
        self.port = FakePort(self, audio_format)
        self._answer_error = answer_error
        self.press_error: KeysError | None = None
        self._listener: Callable[[LegEvent], None] | None = None

    def listen(self, listener: Callable[[LegEvent], None]) -> None:
        self._listener = listener

    def emit(self, event: LegEvent) -> None:
        if self._listener is not None:
            self._listener(event)

    def ring(self) -> None:
        self.done.append("ring")

    async def answer(self, headers: Headers = ()) -> FakePort:
        if self._answer_error is not None:
            raise self._answer_error
        self.done.append(("answer", headers) if headers else "answer")
        return self.port

    def reject(self, status: int, retry_after_s: int | None = None, headers: Headers = ()) -> None:
        self.done.append(("reject", status, retry_after_s, *((headers,) if headers else ())))

    def refer(self, target_uri: str, replaces: Leg | None = None, headers: Headers = ()) -> None:
        if self._refer_error is not None:
            raise self._refer_error
        more = (*(() if replaces is None else (replaces,)), *((headers,) if headers else ()))
        self.done.append(("refer", target_uri, *more))

    def answer_refer(self, refer_id: str, status: int) -> None:
        self.done.append(("answer_refer", refer_id, status))

    def report_refer(self, refer_id: str, status: int, *, over: bool) -> None:
        self.done.append(("report_refer", refer_id, status, over))

    def press(self, keys: str) -> None:
        if self.press_error is not None:
            raise self.press_error
        self.done.append(("press", keys))

    def hang_up(self, headers: Headers = ()) -> None:
        self.done.append(("hang_up", headers) if headers else "hang_up")
        self.emit(LegEnded("local_bye"))

    async def close(self) -> None:
        self.done.append("close")
        self._listener = None


class FakeCallee(FakeLeg):
    """Somebody whom we call."""

    direction: Literal["outbound"] = "outbound"  # type: ignore[assignment]

    async def dial(self) -> FakePort:
        if self._answer_error is not None:
            raise self._answer_error
        self.done.append("dial")
        return self.port


class FakeOthers:
    """The line as one call sees it: whom it may call, and other calls' legs."""

    def __init__(self) -> None:
        self.callees: list[FakeCallee | LegError] = []
        """Who is called next, or why nobody is."""
        self.orders: list[CallOrder] = []
        self.legs: dict[str, FakeLeg] = {}
        self.told: list[TellCall] = []

    def second(self, order: CallOrder) -> Any:
        self.orders.append(order)
        callee = self.callees.pop(0)
        if isinstance(callee, LegError):
            raise callee
        return callee

    def leg_of(self, call_id: str) -> Leg | None:
        return self.legs.get(call_id)

    def take_leg(self, call_id: str) -> tuple[Leg, MediaPort] | None:
        leg = self.legs.pop(call_id, None)
        return None if leg is None else (leg, leg.port)

    def tell(self, told: TellCall) -> None:
        self.told.append(told)


class FakeChannel:
    """A data channel; the test plays the browser."""

    def __init__(self) -> None:
        self.is_open = False
        self.waiting_bytes = 0
        self.most_bytes = 1 << 20
        self.events: list[dict[str, Any]] = []
        """What the browser was sent."""
        self._opened: Callable[[], None] = lambda: None
        self._received: Callable[[bytes], None] = lambda _: None

    def listen(self, opened: Callable[[], None], received: Callable[[bytes], None]) -> None:
        self._opened, self._received = opened, received

    def send(self, message: bytes) -> None:
        assert self.is_open
        if len(message) > self.most_bytes:
            raise ValueError("it is too large")
        self.events.append(json.loads(message))

    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def open(self) -> None:
        self.is_open = True
        self._opened()

    def say(self, event: dict[str, Any] | bytes) -> None:
        """The browser sends this."""
        self._received(event if isinstance(event, bytes) else json.dumps(event).encode())


class FakePeerLeg(FakeLeg):
    """Somebody who posted an offer of WebRTC."""

    kind = "webrtc"
    codec = "opus"
    media_security = "srtp"

    def __init__(self, answer_error: LegError | None = None) -> None:
        super().__init__(PCM24K, answer_error)
        self.headers, self.caller, self.callee, self.contact = (), "", "", ""
        self.channel = FakeChannel()
        self.description = b"v=0 answer"


class FakeSession:
    """A Realtime session; the test plays the server."""

    def __init__(
        self, effective: dict[str, Any], input_format: AudioFormat, output_format: AudioFormat
    ) -> None:
        self.effective = effective
        self.input_format, self.output_format = input_format, output_format
        self.cancels = False
        self.lives_s: float | None = None
        self.sent: list[dict[str, Any]] = []
        self.audio = b""
        self.close_reason = ""
        self.dropped_appends = 0
        self.congested = False
        self.closed = False
        self.ended = asyncio.Event()
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()

    def append_audio(self, audio: bytes) -> None:
        self.audio += audio

    def send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)

    async def receive(self) -> bytes | None:
        return await self._inbox.get()

    async def close(self) -> None:
        self.closed = True
        self.ended.set()

    async def say(self, *events: dict[str, Any]) -> None:
        """The server sends these, and the call has dealt with them when this returns."""
        for event in events:
            self._inbox.put_nowait(json.dumps(event, separators=(",", ":")).encode())
        await settle()

    async def raw(self, message: bytes) -> None:
        self._inbox.put_nowait(message)
        await settle()

    async def lose(self, reason: str = "closed with code 1006") -> None:
        self.close_reason = reason
        self._inbox.put_nowait(None)
        await settle()

    def types(self) -> list[str]:
        return [event["type"] for event in self.sent]


class FakeControl:
    """A sideband that remembers what it was sent."""

    def __init__(self, *, audio: bool = False, extensions: bool = False) -> None:
        self.wants_audio = audio
        self.wants_extensions = extensions
        self.events: list[dict[str, Any]] = []
        self.closed = False

    def send(self, message: bytes) -> None:
        assert not self.closed
        self.events.append(json.loads(message))

    def close(self) -> None:
        self.closed = True

    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


class FakeWebhook:
    """Takes webhooks, or fails when the test says so."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.wanted: Callable[[], bool] = lambda: False
        self.done: Callable[[Delivered | WebhookError], None] = lambda _: None

    def send(
        self,
        body: bytes,
        *,
        deadline: float | None,
        wanted: Callable[[], bool],
        done: Callable[[Delivered | WebhookError], None],
    ) -> None:
        self.bodies.append(json.loads(body))
        self.wanted, self.done = wanted, done


class FakeBackend:
    """Opens a `FakeSession`, fails, or never answers."""

    def __init__(
        self,
        *,
        error: str | BackendError = "",
        hang: bool = False,
        effective: dict[str, Any] | None = None,
        cancels: bool = False,
    ) -> None:
        self._cancels = cancels
        self._error = error
        self._hang = hang
        self._effective = effective
        self.asked: list[dict[str, Any]] = []
        self.sessions: list[FakeSession] = []
        self.lives_s: float | None = None
        """Of the sessions that are opened from now on."""
        self._news = asyncio.Event()
        self._gate: asyncio.Event | None = None

    @property
    def session(self) -> FakeSession | None:
        """The one that was opened last."""
        return self.sessions[-1] if self.sessions else None

    async def opened(self, number: int) -> None:
        """Wait until so many sessions were opened, and the call has dealt with the last."""
        async with asyncio.timeout(5):
            while len(self.sessions) < number:
                self._news.clear()
                await self._news.wait()
        await settle()

    def hold(self) -> asyncio.Event:
        """Open no session until this is set."""
        self._gate = asyncio.Event()
        return self._gate

    def fail(self, error: str | BackendError = "") -> None:
        """Open no session any more; without an error open them again."""
        self._error = error

    async def open(self, session: dict[str, Any], leg_format: AudioFormat) -> Any:
        asked = with_formats(session, leg_format)
        self.asked.append(asked)
        if self._hang:
            await asyncio.Event().wait()
        if self._gate is not None:
            await self._gate.wait()
        if self._error:
            error = self._error
            raise error if isinstance(error, BackendError) else BackendError(error)
        effective = asked if self._effective is None else self._effective
        try:
            formats = settled_formats(asked, effective)
        except ValueError as error:
            raise BackendError(str(error), code="unsupported_format", refused=True) from None
        opened = FakeSession(effective, *formats)
        opened.lives_s, opened.cancels = self.lives_s, self._cancels
        self.sessions.append(opened)
        self._news.set()
        return opened


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(10):
        await asyncio.sleep(0)
