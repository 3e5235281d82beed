"""A call in progress with a caller and a server that the test plays, and the server's events.

Time is the media clock, which the tests turn by hand.
"""

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from gateway.calls.call import Call
from gateway.calls.machine import CallMachine
from gateway.calls.policy import CallPolicy
from gateway.calls.sessions import Sources
from gateway.calls.sounds import Sounds
from gateway.legs.leg import LegAnswered, LegEnded
from tests.calls.fakes import (
    FakeBackend,
    FakeControl,
    FakeLeg,
    FakeOthers,
    FakeSession,
    settle,
)

VOICE = bytes(range(160))  # one frame, nothing in it is silence


def delta(audio: bytes, response: str = "resp_1", item: str = "item_1") -> dict[str, Any]:
    return {
        "type": "response.output_audio.delta",
        "event_id": "event_x",
        "response_id": response,
        "item_id": item,
        "output_index": 0,
        "content_index": 0,
        "delta": base64.b64encode(audio).decode(),
    }


def created(response: str = "resp_1") -> dict[str, Any]:
    return {"type": "response.created", "response": {"id": response, "conversation_id": "conv_1"}}


def audio_done(response: str = "resp_1", item: str = "item_1") -> dict[str, Any]:
    return {
        "type": "response.output_audio.done",
        "response_id": response,
        "item_id": item,
        "output_index": 0,
        "content_index": 0,
    }


def done(response: str = "resp_1", status: str = "completed") -> dict[str, Any]:
    return {"type": "response.done", "response": {"id": response, "status": status}}


SPEECH = {"type": "input_audio_buffer.speech_started", "item_id": "item_u", "audio_start_ms": 0}


class Line:
    """A call in progress, and all that was seen of it."""

    def __init__(
        self,
        leg: FakeLeg,
        backend: FakeBackend,
        policy: CallPolicy,
        sources: Sources | None = None,
        sounds: Sounds | None = None,
    ) -> None:
        numbers = itertools.count()
        machine = CallMachine(policy, new_event_id=lambda: f"event_{next(numbers)}")
        self.leg = leg
        self.backend = backend
        self.others = FakeOthers()
        self.call = Call(
            "rtc_1",
            leg,
            machine,
            sources or Sources(backend),
            structlog.get_logger(),
            sounds or Sounds(),
            self.others,
        )
        self.control = FakeControl()
        self.call.attach(self.control)
        self.task = asyncio.ensure_future(self.call.run())

    @property
    def session(self) -> FakeSession:
        assert self.backend.session is not None
        return self.backend.session

    @property
    def seen(self) -> list[dict[str, Any]]:
        return self.control.events

    def buffer_events(self) -> list[tuple[str, str]]:
        return [
            (event["type"].rpartition(".")[2], event["response_id"])
            for event in self.seen
            if event["type"].startswith("output_audio_buffer.")
        ]

    def truncations(self) -> list[tuple[str, int]]:
        return [
            (event["item_id"], event["audio_end_ms"])
            for event in self.session.sent
            if event["type"] == "conversation.item.truncate"
        ]


@asynccontextmanager
async def line(
    *,
    leg: FakeLeg | None = None,
    backend: FakeBackend | None = None,
    policy: CallPolicy | None = None,
    answered: bool = True,
    sources: Sources | None = None,
    sounds: Sounds | None = None,
) -> AsyncIterator[Line]:
    backend = backend or FakeBackend()
    call = Line(leg or FakeLeg(), backend, policy or CallPolicy(), sources, sounds)
    await settle()
    if answered:
        call.leg.emit(LegAnswered())
    yield call
    call.leg.emit(LegEnded("remote_bye"))
    await asyncio.wait_for(call.task, 1)


async def record_of(call: Line) -> dict[str, Any]:
    record: dict[str, Any] = await asyncio.wait_for(call.task, 1)
    return record
