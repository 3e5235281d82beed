"""Callers interrupt the voice in mid-sentence: what they still hear, what the model is told.

The voice is noise of its own for each caller, so that a capture shows exactly which of it was sent.
"""

import asyncio
import random
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pytest

from tests.peers.fake_realtime import PCM24K, FakeConnection
from tests.peers.gateway import GatewayProcess, eventually
from tests.peers.line import Line
from tests.peers.media import FRAME_BYTES, SILENCE, Packet, Phone
from tests.peers.wire import Caller, UdpWire, offer

pytestmark = [pytest.mark.peer, pytest.mark.slow]

CALLS = 20
VOICE_S = 6
FRAME_MS = 20


@dataclass
class Interrupted:
    """One call and what the model's side did in it."""

    number: int
    phone: Phone
    caller: Caller
    session: FakeConnection
    spoken_at_s: float = 0.0
    """Unix time just before `speech_started` was sent."""
    audio_end_ms: int = -1

    @property
    def item(self) -> str:
        return f"item_of_{self.caller.call_id}"


@pytest.fixture
def calls(line: Line, request: pytest.FixtureRequest) -> Iterator[list[Interrupted]]:
    """Answered calls, each with its session."""
    count, override = request.param
    gateway = line.gateway
    line.realtime.server.override = override
    first = len(line.realtime.server.connections)
    with ExitStack() as stack:
        placed = []
        for number in range(count):
            phone = stack.enter_context(Phone())
            caller = stack.enter_context(Caller(UdpWire(gateway.sip), gateway.sip))
            phone.talk_to(caller.call(offer(phone.port, "0 101")).media)
            session = line.realtime.connection(first + number)
            placed.append(Interrupted(number, phone, caller, session))
        yield placed
        for call in placed:
            call.caller.hang_up()
    line.realtime.server.override = {}


def voice(number: int) -> bytes:
    """Noise without a silent byte."""
    codes = random.Random(number).randbytes(2 * VOICE_S * 8000).translate(None, b"\xff\x7f")
    return codes[: VOICE_S * 8000]


async def interrupt(call: Interrupted, audio: bytes, late: bytes) -> None:
    """Speak faster than real time, be interrupted at a random moment, go on for a moment."""
    session, response = call.session, f"resp_barge_{call.number}"
    chance = random.Random(call.number)
    await session.expect("response.create")
    generating = call.number % 2 == 0
    await session.speak(call.item, response, audio, finish=not generating)
    await asyncio.sleep(chance.uniform(0.2, 3.0))
    call.spoken_at_s = time.time()
    await session.speech_started()
    if generating:
        delta = {
            **{"type": "response.output_audio.delta", "response_id": response},
            **{"item_id": call.item, "output_index": 0, "content_index": 0},
        }
        for _ in range(3):
            await session.send({**delta, "delta": b64encode(late).decode()})
            await asyncio.sleep(0.03)
        await session.finish(call.item, response, "cancelled")
    truncate = await session.expect("conversation.item.truncate")
    assert truncate["item_id"] == call.item and truncate["content_index"] == 0
    call.audio_end_ms = truncate["audio_end_ms"]


def cleared_at_s(gateway: GatewayProcess, item: str) -> float:
    """When the gateway says that it emptied the playout, as Unix time."""
    cleared = gateway.wait_for("bargein.cleared", item_id=item)
    return datetime.fromisoformat(str(cleared["timestamp"]).replace("Z", "+00:00")).timestamp()


def assert_cut(gateway: GatewayProcess, call: Interrupted, voiced: list[Packet]) -> None:
    """No frame of voice more than one after the clear, and the model knows what was heard."""
    cleared_s = cleared_at_s(gateway, call.item)
    delay_s = cleared_s - call.spoken_at_s
    assert delay_s < 0.25
    after_clear = sum(packet.at_s > cleared_s for packet in voiced)
    after_event = sum(packet.at_s > call.spoken_at_s for packet in voiced)
    assert after_clear <= 1, f"call {call.number}: {after_clear} frames of voice after the clear"
    assert after_event <= 2 + delay_s * 1000 // FRAME_MS, (
        f"call {call.number}: {after_event} frames after speech_started"
    )
    captured_ms = len(voiced) * FRAME_MS
    assert abs(call.audio_end_ms - captured_ms) <= FRAME_MS, (
        f"call {call.number}: told {call.audio_end_ms} ms, captured {captured_ms} ms"
    )


def assert_rtp_never_stopped(packets: list[Packet]) -> None:
    pauses = [b.at_s - a.at_s for a, b in zip(packets, packets[1:], strict=False)]
    assert max(pauses) < 0.2
    sequences = {
        b.sequence - a.sequence & 0xFFFF for a, b in zip(packets, packets[1:], strict=False)
    }
    assert sequences == {1}


@pytest.mark.parametrize("calls", [(CALLS, {})], indirect=True, ids=["mu-law"])
def test_twenty_interruptions(line: Line, calls: list[Interrupted]) -> None:
    late = bytes(range(1, 101)) * 16

    async def all_at_once() -> None:
        await asyncio.gather(*(interrupt(call, voice(call.number), late) for call in calls))

    line.realtime.run(all_at_once())
    packets_then = {call.number: len(call.phone.packets) for call in calls}
    assert eventually(
        lambda: all(len(call.phone.packets) > packets_then[call.number] + 25 for call in calls), 3
    )
    for call in calls:
        heard = list(call.phone.packets)
        voiced = [packet for packet in heard if packet.payload != SILENCE]
        captured = b"".join(packet.payload for packet in voiced)
        # What was heard is the beginning of what was said: nothing skipped, nothing of the rest.
        assert voice(call.number).startswith(captured)
        assert len(captured) >= 5 * FRAME_BYTES
        assert_cut(line.gateway, call, voiced)
        assert_rtp_never_stopped(heard)


@pytest.mark.parametrize(
    "calls",
    [(4, {"audio": {"output": {"format": PCM24K}}})],
    indirect=True,
    ids=["24 kHz"],
)
def test_the_tail_of_the_resampler_goes_too(line: Line, calls: list[Interrupted]) -> None:
    at_s = np.arange(24_000 * VOICE_S) / 24_000
    tone = (8000 * np.sin(2 * np.pi * 440 * at_s)).astype("<i2").tobytes()

    async def all_at_once() -> None:
        await asyncio.gather(*(interrupt(call, tone, tone[:9600]) for call in calls))

    line.realtime.run(all_at_once())
    time.sleep(0.6)
    for call in calls:
        heard = list(call.phone.packets)
        voiced = [packet for packet in heard if not packet.silent]
        assert len(voiced) >= 5
        assert_cut(line.gateway, call, voiced)
        assert_rtp_never_stopped(heard)
