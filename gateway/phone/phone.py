"""Places one call: drives a `SipAgent`, a `Script` and the media, and waits for the end.

    place_call ──► SipAgent ◄──► SIP socket
        │             │ events
        │           Script ──► what is due ──► agent, media
        └──► Media ◄──► RTP and RTCP sockets ──► Timeline ──► CallResult

Every wait is bounded: for the answer, for the end of the plan, and for the far end to confirm that
it was hung up on.
"""

import asyncio
import random
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from gateway.alarm import Alarm
from gateway.phone.media import Media
from gateway.phone.options import CallOptions
from gateway.phone.plan import HangUp, Hold, Press, Script, Speak
from gateway.phone.result import CallResult
from gateway.phone.sockets import SipChannel, open_sip
from gateway.phone.timeline import Moment, Timeline
from gateway.sdp import answer as offer_answer
from gateway.sdp.description import Direction, SdpError, parse
from gateway.sdp.plan import AudioPlan, LocalMedia
from gateway.sip.agent import SipAgent
from gateway.sip.config import SipConfig
from gateway.sip.events import Answered, CallEnded, Reanswered, Reoffer, Ringing, SipEvent

_USER_AGENT: Final = "gateway-phone"
_OVERTIME_S: Final = 5.0
_GOODBYE_S: Final = 2.0
"""For the answer to our last request, at most."""
_GOODBYE_QUIET_S: Final = 0.05
"""After something came, the goodbye is done when nothing more comes for this long."""

_LAST_WORD_WAS_THEIRS: Final = ("remote_bye", "refused", "timeout", "transport")


async def place_call(
    options: CallOptions,
    *,
    on_moment: Callable[[Moment], None] | None = None,
    stop: asyncio.Event | None = None,
) -> CallResult:
    """Place a call and see it through.

    Whatever goes wrong with the call is told by the result; cancelling hangs up too.

    Args:
        on_moment: told what happens while it happens.
        stop: when it is set, the phone hangs up.
    """
    phone = _Phone(options, on_moment)
    try:
        if await phone.dial():
            await phone.live(stop or asyncio.Event())
            await phone.say_goodbye()
    finally:
        phone.close()
    return phone.result()


class _Phone:
    """One call, once."""

    def __init__(self, options: CallOptions, on_moment: Callable[[Moment], None] | None) -> None:
        self._options = options
        self._on_moment = on_moment
        self._loop = asyncio.get_running_loop()
        self._timeline = Timeline(self._loop.time(), on_moment)
        self._script = Script(options.plan)
        self._media = Media(options.voice, self._script, self._do_what_is_due)
        self._channel: SipChannel | None = None
        self._agent: SipAgent | None = None
        self._alarm = Alarm(self._timeout)
        self._draining = False
        self._dialog_id = ""
        self._local = LocalMedia("127.0.0.1", 0, 0)
        self._offered: Direction = "sendrecv"
        self._settled = self._loop.create_future()
        self._over = self._loop.create_future()
        self._status: int | None = None
        self._reason = ""
        self._ended_s = 0.0
        self._messages = 0
        self._messages_at_end = 0

    # The call from outside.

    async def dial(self) -> bool:
        """Send the INVITE; False when there is no way to the far end."""
        options = self._options
        try:
            channel = self._channel = await open_sip(
                options.transport,
                options.remote,
                options.bind_host,
                self._received,
                self._failed,
            )
            host, port = channel.local
            media_port = await self._media.open(host)
        except OSError:
            self._ended("transport", None)
            return False
        config = SipConfig(host=host, udp_port=port, tcp_port=port, user_agent=_USER_AGENT)
        agent = self._agent = SipAgent(config, token=lambda: secrets.token_hex(8))
        self._local = LocalMedia(host, media_port, random.getrandbits(62), codecs=options.codecs)
        body = None if options.late_offer else offer_answer.offer(self._local).to_bytes()
        now = self._loop.time()
        self._timeline = Timeline(now, self._on_moment)
        self._dialog_id = agent.invite(
            options.uri,
            body,
            now,
            to=channel.remote,
            from_uri=options.caller_uri(host),
            headers=options.headers,
        )
        self._drain()
        return True

    async def live(self, stop: asyncio.Event) -> None:
        """Wait until the call is over, or end it when it is time."""
        stopping = self._loop.create_task(stop.wait())
        try:
            await self._until(self._settled, stopping, self._options.answer_timeout_s)
            if not self._settled.done() and not stopping.done():
                self._reason = "no_answer"
            elif not stopping.done():
                duration_s = self._options.plan.duration_s
                await self._until(self._over, stopping, duration_s + _OVERTIME_S)
            self._hang_up()
        finally:
            stopping.cancel()

    async def say_goodbye(self) -> None:
        """Give our BYE or CANCEL the time to be answered, and to be sent again if it is lost."""
        if self._agent is None or self._reason in _LAST_WORD_WAS_THEIRS:
            return
        deadline = self._loop.time() + _GOODBYE_S
        before = seen = self._messages_at_end
        while self._agent.dialogs and self._loop.time() < deadline:
            await asyncio.sleep(_GOODBYE_QUIET_S)
            if before < self._messages == seen:
                return
            seen = self._messages

    def close(self) -> None:
        """Free everything. A call that still stands is hung up."""
        self._hang_up()
        self._media.close()
        self._alarm.cancel()
        if self._channel is not None:
            self._channel.close()

    def result(self) -> CallResult:
        """What came of it, once it is over."""
        timeline, plan = self._timeline, self._media.plan
        return CallResult(
            uri=self._options.uri,
            codec=None if plan is None else plan.codec,
            status=self._status,
            end_reason=self._reason,
            ended_s=self._ended_s,
            timeline=timeline.moments,
            voice=timeline.voice,
            received=tuple(timeline.received),
            rtp=self._media.stats,
        )

    async def _until(
        self, event: asyncio.Future[None], stopping: asyncio.Task[bool], timeout_s: float
    ) -> None:
        either: set[asyncio.Future[Any]] = {event, stopping}
        await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)

    # Signalling: feed, drain, re-arm.

    def _received(self, data: bytes) -> None:
        self._messages += 1
        if self._agent is not None and self._channel is not None:
            self._agent.receive(data, self._channel.remote, self._loop.time())
            self._drain()

    def _failed(self) -> None:
        if self._agent is not None and self._channel is not None:
            self._agent.transport_failed(self._channel.remote, self._loop.time())
            self._drain()

    def _timeout(self, now: float) -> None:
        if self._agent is not None:
            self._agent.timeout(now)
            self._drain()

    def _drain(self) -> None:
        agent, channel = self._agent, self._channel
        if agent is None or channel is None or self._draining:
            return
        self._draining = True
        try:
            while True:
                for outgoing in agent.datagrams_to_send():
                    channel.send(outgoing.data)  # there is only one way to go
                events = agent.events()
                if not events:
                    break
                for event in events:
                    self._on_event(agent, event)
        finally:
            self._draining = False
        self._alarm.set(agent.next_timeout())

    def _hang_up(self) -> None:
        if self._agent is not None and not self._over.done():
            self._agent.hang_up(self._dialog_id, self._loop.time())
            self._drain()

    # What the far end does.

    def _on_event(self, agent: SipAgent, event: SipEvent) -> None:
        now = self._loop.time()
        match event:
            case Ringing(status=status):
                self._timeline.note(now, "ringing", str(status))
            case Answered(body=body):
                self._answered(agent, body, now)
            case Reoffer(offer=body):
                self._reoffered(agent, body, now)
            case Reanswered(status=status, body=body):
                self._reanswered(status, body, now)
            case CallEnded(cause=cause, status=status):
                self._ended(cause, status)

    def _answered(self, agent: SipAgent, body: bytes | None, now: float) -> None:
        self._status = 200
        self._script.answer(now)
        try:
            description = parse(body or b"")
            if self._options.late_offer:
                answer, plan = offer_answer.answer(description, self._local)
                agent.ack(self._dialog_id, answer.to_bytes(), now)
            else:
                plan = offer_answer.plan_from_answer(description, self._local)
        except SdpError:
            self._timeline.note(now, "answered")
            self._reason = "bad_sdp"
            agent.hang_up(self._dialog_id, now)
            return
        self._timeline.note(now, "answered", plan.codec)
        self._media.apply(plan, self._timeline)
        if not self._settled.done():
            self._settled.set_result(None)

    def _reoffered(self, agent: SipAgent, body: bytes | None, now: float) -> None:
        self._next_version()
        if body is None:
            self._offered = "sendrecv"
            agent.answer_offer(self._dialog_id, offer_answer.offer(self._local).to_bytes(), now)
            return
        try:
            answer, plan = offer_answer.answer(parse(body), self._local)
        except SdpError as error:
            agent.refuse_offer(self._dialog_id, 488, now, headers=(("Warning", error.warning),))
            return
        self._change(plan, now)
        agent.answer_offer(self._dialog_id, answer.to_bytes(), now)

    def _reanswered(self, status: int, body: bytes | None, now: float) -> None:
        if status >= 300:
            self._timeline.note(now, "hold_refused", str(status))
            return
        try:
            plan = offer_answer.plan_from_answer(parse(body or b""), self._local, self._offered)
        except SdpError:
            self._reason = "bad_sdp"
            self._hang_up()
            return
        self._change(plan, now)

    def _change(self, plan: AudioPlan, now: float) -> None:
        self._timeline.note(now, "session_changed", plan.direction)
        self._media.apply(plan, self._timeline)

    def _ended(self, cause: str, status: int | None) -> None:
        now = self._loop.time()
        self._media.stop()
        if self._status is None:
            self._status = status
        self._reason = self._reason or cause
        self._ended_s = self._timeline.elapsed(now)
        self._messages_at_end = self._messages
        self._timeline.note(now, "ended", self._reason)
        for future in (self._settled, self._over):
            if not future.done():
                future.set_result(None)

    # What we do.

    def _do_what_is_due(self, now: float) -> None:
        for action in self._script.due(now):
            match action:
                case Speak() | Press():
                    self._media.do(action)
                case Hold(on=on):
                    self._hold(on, now)
                case HangUp():
                    self._timeline.note(now, "hang_up")
                    self._hang_up()

    def _hold(self, on: bool, now: float) -> None:
        plan = self._media.plan
        if self._agent is None or plan is None:
            return
        self._timeline.note(now, "hold" if on else "resume")
        self._next_version()
        self._local = replace(self._local, codecs=(plan.codec,))  # a hold is no time for changes
        self._offered = "sendonly" if on else "sendrecv"
        body = offer_answer.offer(self._local, self._offered).to_bytes()
        self._agent.reinvite(self._dialog_id, body, now)
        self._drain()

    def _next_version(self) -> None:
        self._local = replace(self._local, session_version=self._local.session_version + 1)
