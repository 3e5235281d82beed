"""Every event of the Realtime API, GA and beta: what clients of a call send reaches the server, and
what the server sends reaches them. What only a phone has is the gateway's own affair."""

from typing import get_args

import pytest
from openai.types.beta.realtime import RealtimeClientEvent as BetaClientEvent
from openai.types.beta.realtime import RealtimeServerEvent as BetaServerEvent
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent

from gateway.calls.commands import Accept
from gateway.legs.leg import LegAnswered
from tests.calls.fakes import FakeControl, settle
from tests.calls.test_commands import SESSION, Desk, desk

pytestmark = pytest.mark.loop


def types(*unions: object) -> list[str]:
    """The values of `type` in unions of event models."""
    found = set()
    for union in unions:
        for model in get_args(get_args(union)[0]):
            found |= set(get_args(model.model_fields["type"].annotation))
    return sorted(found)


CLIENT = types(RealtimeClientEvent, BetaClientEvent)
SERVER = types(RealtimeServerEvent, BetaServerEvent)
AUDIO = ("response.output_audio.delta", "response.audio.delta")
OURS = "output_audio_buffer.clear"


def test_the_catalogue_is_whole() -> None:
    assert len(CLIENT) >= 12
    assert len(SERVER) >= 50
    assert {OURS, "session.update", "transcription_session.update"} <= set(CLIENT)
    assert {*AUDIO, "input_audio_buffer.dtmf_event_received"} <= set(SERVER)


async def answered(place: Desk) -> tuple[str, FakeControl]:
    call_id, leg = await place.call()
    await place.line.command(call_id, Accept(SESSION))
    leg.emit(LegAnswered())
    control = FakeControl()
    (await place.line.joined(call_id, 1)).attach(control)
    return call_id, control


@pytest.mark.parametrize("kind", CLIENT)
async def test_a_client_event_reaches_the_server_as_it_was_sent(kind: str) -> None:
    async with desk() as place:
        call_id, _ = await answered(place)
        event = {"type": kind, "event_id": "mine", "tomorrow": {"a": [1, None]}}
        call = await place.line.joined(call_id, 1)
        call.control(dict(event))
        assert place.backend.session is not None
        assert place.backend.session.sent == ([] if kind == OURS else [event])


@pytest.mark.parametrize("kind", SERVER)
async def test_a_server_event_reaches_the_clients_as_it_was_sent(kind: str) -> None:
    async with desk() as place:
        _, control = await answered(place)
        session = place.backend.session
        assert session is not None
        event = {"type": kind, "event_id": "event_1", "tomorrow": {"a": [1, None]}}
        await session.say(event)
        await settle()
        assert control.events == ([] if kind in AUDIO else [event])
