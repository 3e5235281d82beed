"""A browser on the data channel of its call: what it is shown, what it may say, how it ends."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from gateway.calls.call import Call
from gateway.calls.machine import CallMachine
from gateway.calls.policy import CallPolicy
from gateway.calls.sessions import Sources
from gateway.calls.sounds import Sounds
from gateway.legs.leg import LegAnswered, LegEnded
from tests.calls.fakes import (
    FakeBackend,
    FakeChannel,
    FakeControl,
    FakeOthers,
    FakePeerLeg,
    FakeSession,
    settle,
)
from tests.calls.line import SPEECH, VOICE, created, delta

pytestmark = pytest.mark.loop

MIB = 1 << 20


class Browser:
    """A call of a browser in progress."""

    def __init__(self) -> None:
        numbers = itertools.count()
        self.leg = FakePeerLeg()
        self.backend = FakeBackend()
        machine = CallMachine(
            CallPolicy(greet=False), new_event_id=lambda: f"event_{next(numbers)}"
        )
        self.call = Call(
            "rtc_1",
            self.leg,
            machine,
            Sources(self.backend),
            structlog.get_logger(),
            Sounds(),
            FakeOthers(),
            channel=self.leg.channel,
        )
        self.task = asyncio.ensure_future(self.call.run())

    @property
    def channel(self) -> FakeChannel:
        return self.leg.channel

    @property
    def session(self) -> FakeSession:
        assert self.backend.session is not None
        return self.backend.session


@asynccontextmanager
async def browser(*, opened: bool = True) -> AsyncIterator[Browser]:
    one = Browser()
    await settle()
    one.leg.emit(LegAnswered())
    if opened:
        one.channel.open()
    yield one
    one.leg.emit(LegEnded("peer_closed"))
    await asyncio.wait_for(one.task, 1)


async def test_it_is_shown_the_session_first_and_then_all_that_happens() -> None:
    async with browser() as one:
        await one.session.say(SPEECH)
        assert one.channel.types() == ["session.created", "input_audio_buffer.speech_started"]
        session = one.channel.events[0]["session"]
        assert session == one.call.session
        assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}


async def test_what_happens_before_it_opens_waits_and_comes_in_order() -> None:
    async with browser(opened=False) as one:
        await one.session.say(SPEECH, created())
        assert one.channel.events == []
        one.channel.open()
        assert one.channel.types() == [
            "session.created",
            "input_audio_buffer.speech_started",
            "response.created",
        ]


async def test_it_hears_audio_and_is_sent_none() -> None:
    async with browser() as one:
        await one.session.say(created(), delta(VOICE * 6))
        one.leg.port.tick()
        assert one.channel.types() == [
            "session.created",
            "response.created",
            "output_audio_buffer.started",
        ]


async def test_what_it_says_reaches_the_session_without_what_media_has_settled() -> None:
    async with browser() as one:
        pcm = {"format": {"type": "audio/pcm", "rate": 24_000}}
        one.channel.say(
            {
                "type": "session.update",
                "session": {"type": "realtime", "model": "other", "audio": {"input": pcm}},
            }
        )
        (sent,) = one.session.sent
        assert sent["session"] == {"type": "realtime", "audio": {"input": {}}}


@pytest.mark.parametrize(
    ("message", "event_id"),
    [
        (b"\xff\xfe", None),
        (b"[]", None),
        (b'{"event_id": "mine"}', "mine"),
        (b'{"type": "x", "event_id": "mine", "text": "' + b"x" * MIB + b'"}', "mine"),
    ],
)
async def test_what_is_no_event_is_refused_and_goes_nowhere(
    message: bytes, event_id: str | None
) -> None:
    async with browser() as one:
        one.channel.say(message)
        error = one.channel.events[-1]
        assert (error["type"], error["error"]["code"]) == ("error", "invalid_event")
        assert error["error"]["event_id"] == event_id
        assert one.session.sent == []


async def test_a_session_that_is_behind_is_given_nothing_more() -> None:
    async with browser() as one:
        one.session.congested = True
        one.channel.say({"type": "response.create"})
        assert one.channel.events[-1]["error"]["code"] == "rate_limit_exceeded"
        one.session.congested = False
        one.channel.say({"type": "response.create"})
        assert one.session.types() == ["response.create"]


async def test_an_event_that_is_too_large_for_it_is_told_as_an_error() -> None:
    async with browser() as one:
        one.channel.most_bytes = 2000
        await one.session.say({"type": "conversation.item.retrieved", "item": "x" * 3000})
        await one.session.say(SPEECH)
        assert one.channel.types()[1:] == ["error", "input_audio_buffer.speech_started"]
        assert one.channel.events[1]["error"]["code"] == "too_large"
        assert "conversation.item.retrieved" in one.channel.events[1]["error"]["message"]


async def test_an_item_that_is_too_large_comes_without_its_sound() -> None:
    async with browser() as one:
        one.channel.most_bytes = 2000
        part = {"type": "input_audio", "transcript": "hello"}
        item = {"id": "item_1", "content": [part | {"audio": "x" * 3000}]}
        await one.session.say({"type": "conversation.item.retrieved", "item": item})
        shown = one.channel.events[-1]
        assert shown["item"] == {"id": "item_1", "content": [part]}


async def test_a_client_that_takes_nothing_loses_its_call() -> None:
    async with browser() as one:
        one.channel.most_bytes = 10
        await one.session.say(SPEECH)
        assert (await record(one))["reason"] == "channel_closed"


async def record(one: Browser) -> dict[str, Any]:
    made: dict[str, Any] = await asyncio.wait_for(one.task, 1)
    return made


async def test_one_that_does_not_read_loses_its_call() -> None:
    async with browser() as one:
        one.channel.waiting_bytes = 5 * MIB
        await one.session.say(SPEECH)
        assert (await record(one))["reason"] == "channel_closed"
        assert one.leg.done[-1] == "close"


async def test_one_that_never_opens_may_let_only_so_much_wait() -> None:
    async with browser(opened=False) as one:
        for _ in range(5):
            await one.session.say({"type": "x", "text": "x" * MIB})
        assert (await record(one))["reason"] == "channel_closed"


async def test_other_clients_may_come_and_see_the_same() -> None:
    async with browser() as one:
        control = FakeControl()
        one.call.attach(control)
        await one.session.say(SPEECH)
        assert control.types() == one.channel.types()[1:]
