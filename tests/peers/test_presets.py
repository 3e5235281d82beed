"""Each preset of a Realtime server, by a call through a gateway to a fake of that server.

The fakes of `tests.peers.servers` refuse what the real ones refuse, and say what they say in their
own words. The caller hears a tone, speaks another one into it, is answered, and presses keys; what
an application sees of all that on a sideband is the official API, whoever the server is.
"""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.upstream.presets import PRESETS
from tests.peers.calls_api import CallsApi, PlainSideband
from tests.peers.gateway import GatewayProcess, eventually
from tests.peers.media import FRAME_BYTES, Packet, Phone
from tests.peers.servers import SERVERS
from tests.peers.servers.listener import Listener
from tests.peers.servers.server import KEY, MODEL, TONES_HZ, Event, Server
from tests.peers.servers.sound import LEVEL_DB, PCMA, PCMU, Measured, measure, tone
from tests.peers.wire import offer
from tests.sdk.phone import CallingPhone

pytestmark = [pytest.mark.peer, pytest.mark.slow]

CALLERS_HZ = 1000.0
CALLERS_S = 0.4
FRAME_MS = 20
ALAW = {"azure"}
"""Presets whose caller speaks A-law."""
SESSION = {
    **{"type": "realtime", "model": MODEL, "instructions": "Be brief."},
    "audio": {
        "input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 300}},
        "output": {"voice": "marin"},
    },
    "tools": [{"type": "function", "name": "get_weather", "parameters": {"type": "object"}}],
}


class Caller(CallingPhone):
    """Speaks mu-law or A-law, and can tell what it hears."""

    def __init__(self, gateway: tuple[str, int], alaw: bool) -> None:
        super().__init__(gateway)
        self.media.socket.close()
        self.media = Phone(payload_type=8 if alaw else 0)
        self.format = PCMA if alaw else PCMU
        self._formats = "8 101" if alaw else "0 101"

    def __enter__(self) -> "Caller":
        self.media.__enter__()
        self._caller.invite(offer(self.media.port, self._formats))
        self._thread.start()
        return self

    def say(self, frequency_hz: float, duration_s: float) -> None:
        audio = self.format.encode(tone(frequency_hz, duration_s, self.format.rate_hz))
        self.media.say(
            audio[at : at + FRAME_BYTES] for at in range(0, len(audio) - 159, FRAME_BYTES)
        )

    def voiced(self, since: int = 0) -> list[Packet]:
        return [packet for packet in self.media.heard(since) if not packet.silent]

    def hears(self, frames: int, since: int = 0) -> Measured:
        """The tone of the next so many frames with sound in them."""
        came = eventually(lambda: len(self.voiced(since)) >= frames, 4, 0.01)
        assert came, f"only {len(self.voiced(since))} of {frames} frames have sound in them"
        # The first ones swing in, after whatever the resampler makes of the beginning.
        return self._measured(self.voiced(since)[2:frames])

    def _measured(self, packets: list[Packet]) -> Measured:
        audio = b"".join(packet.payload for packet in packets)
        return measure(self.format.decode(audio), self.format.rate_hz)


class PresetCall:
    """The whole of it, for one preset."""

    def __init__(self, preset: str) -> None:
        self.kind = SERVERS[preset]
        self._preset = preset
        self._heard_ms = 0

    def run(self) -> list[Event]:
        """Returns what the sideband saw.

        Raises:
            AssertionError: something went otherwise.
        """
        with ExitStack() as stack:
            server = stack.enter_context(Listener(self.kind))
            gateway = stack.enter_context(_gateway(server, self._preset))
            caller = stack.enter_context(Caller(gateway.sip, self._preset in ALAW))
            caller.wait_for_status(200)
            call_id = gateway.wait_for("call.answered")["call_id"]
            sideband = stack.enter_context(CallsApi(gateway).sideband(call_id))
            self._greeted(server, caller)
            caller.say(CALLERS_HZ, CALLERS_S)
            if self.kind.hears_turns:
                self._interrupted(server, caller)
                self._answered(server, caller)
            self._heard(server, caller)
            self._pressed(server, caller)
            caller.hang_up()
            gateway.wait_for("call.ended", reason="remote_bye")
            sideband.until_closed()
            self._seen(server, sideband, gateway)
            return sideband.events

    def _greeted(self, server: Listener, caller: Caller) -> None:
        session = server.session()
        told = {"instructions": "Be brief.", "voice": "marin", "tools": ["get_weather"]}
        assert session.config == told
        _is_tone(caller.hears(18), TONES_HZ[0])

    def _interrupted(self, server: Listener, caller: Caller) -> None:
        """The caller speaks into the greeting, which is silent from then on."""
        server.until(lambda session: session._turn, "a turn of the caller")
        count = len(caller.media.heard())
        assert eventually(lambda: len(caller.media.heard()) >= count + 18, 2, 0.01)
        # Two hundred milliseconds later at most, and before the caller has said all of it.
        assert all(packet.silent for packet in caller.media.heard(count + 10)[:8])
        self._heard_ms = len(caller.voiced()) * FRAME_MS

    def _answered(self, server: Listener, caller: Caller) -> None:
        count = len(caller.media.heard())
        server.until(lambda session: len(session.replies) > 1, "an answer")
        _is_tone(caller.hears(12, count), TONES_HZ[1])
        session = server.session()
        assert session.cancelled == [session.replies[0].id]

    def _heard(self, server: Listener, caller: Caller) -> None:
        """What the caller said is what the server heard, no matter in which format."""
        assert eventually(lambda: not caller.media.talking, 2, 0.01)
        session = server.session()
        size = len(session.heard)
        server.until(lambda one: len(one.heard) > size + one.input.bytes_per_s // 10, "more audio")
        heard = session.input.decode(bytes(session.heard))
        first, last = np.flatnonzero(np.abs(heard) > 0.02)[[0, -1]]
        edge = session.input.rate_hz // 20
        _is_tone(measure(heard[first + edge : last - edge], session.input.rate_hz), CALLERS_HZ)
        assert abs((last - first) / session.input.rate_hz - CALLERS_S) < CALLERS_S / 2

    def _pressed(self, server: Listener, caller: Caller) -> None:
        """Keys silence the voice, come as an item of text, and are answered."""
        count = len(caller.media.heard())
        caller.press("1")
        caller.press("#")
        server.until(lambda session: session.texts == ["DTMF 1#"], "the keys")
        server.until(lambda session: session.replies[-1].frequency_hz == TONES_HZ[2], "an answer")
        assert eventually(lambda: _ends_with(caller, count, TONES_HZ[2]), 4, 0.02)

    def _seen(self, server: Listener, sideband: PlainSideband, gateway: GatewayProcess) -> None:
        session = server.session()
        assert not session.complaints
        assert not gateway.lines("session.error")
        kinds = [event["type"] for event in sideband.events]
        assert "ping" not in kinds and not [kind for kind in kinds if ".audio." in kind]
        truncated = [one for one in sideband.events if one["type"].endswith("item.truncated")]
        said = [reply.item_id for reply in session.replies]
        # The answer too may still have been heard when the keys came.
        assert [one["item_id"] for one in truncated] in (said[:1], said[:2])
        if self.kind.hears_turns:
            assert abs(truncated[0]["audio_end_ms"] - self._heard_ms) <= 2 * FRAME_MS
        if self.kind.truncates:
            assert session.truncated_ms == [one["audio_end_ms"] for one in truncated]
        done = [one["response"] for one in sideband.events if one["type"] == "response.done"]
        assert done[-1]["status"] == "completed"


def _gateway(server: Listener, preset: str) -> GatewayProcess:
    """A gateway with this preset, whose server is the fake."""
    env = {
        "GATEWAY_REALTIME_PRESET": preset,
        "GATEWAY_REALTIME_API_KEY": KEY,
        "GATEWAY_SESSION": json.dumps(SESSION),
    }
    known = PRESETS[preset]
    return GatewayProcess(server.url(known.url or known.shape), env, media_ports=20)


def _is_tone(measured: Measured, frequency_hz: float) -> None:
    assert abs(measured.frequency_hz - frequency_hz) < 3, measured
    assert abs(measured.level_db - LEVEL_DB) < 1.5, measured
    assert measured.purity > 0.97, measured


def _ends_with(caller: Caller, since: int, frequency_hz: float) -> bool:
    """Whether the last frames with sound in them are this tone."""
    voiced = caller.voiced(since)
    if len(voiced) < 8:
        return False
    return abs(caller._measured(voiced[-7:-1]).frequency_hz - frequency_hz) < 8


@pytest.fixture(scope="module")
def calls(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[list[Event]]]]:
    """The calls of all presets that are tested in this run, three at a time."""
    wanted = [
        str(item.callspec.params["preset"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test_a_call_by_preset
    ]
    with ThreadPoolExecutor(3) as pool:
        yield {preset: pool.submit(PresetCall(preset).run) for preset in wanted}


@pytest.mark.parametrize("preset", SERVERS)
def test_a_call_by_preset(calls: dict[str, Future[list[Event]]], preset: str) -> None:
    from tests.sdk.schemas import faults  # the clients take seconds to import

    assert faults(calls[preset].result()) == []


def test_every_preset_has_its_fake() -> None:
    assert set(PRESETS) == set(SERVERS)


# The fakes themselves: what is wrong does not pass.


@pytest.mark.parametrize("preset", SERVERS)
def test_a_fake_guards_its_door(preset: str) -> None:
    door = SERVERS[preset].door
    query = "&".join(f"{name}={value}" for name, value in door.query.items())
    right = {**dict(door.keys[:1]), **door.wanted}

    def refusal(path: str, headers: dict[str, str]) -> int:
        refused = door.refusal(make_mocked_request("GET", path, headers=headers))
        return refused[0] if refused else 0

    assert refusal(f"{door.path}?{query}", right) == 0
    assert refusal(f"/elsewhere{door.path}?{query}", right) == 404
    assert refusal(f"{door.path}?{query}&voice=marin", right) == 400
    assert refusal(door.path, right) == (400 if door.query else 0)
    if door.keys:
        assert refusal(f"{door.path}?{query}", {**right, door.keys[0][0]: "another"}) == 401
    for name in [*door.wanted, *door.refused]:
        assert refusal(f"{door.path}?{query}", {**right, name: "realtime=v2"}) == 400


def told(preset: str, *events: Event) -> tuple[Server, list[Event]]:
    """A fake that was sent these events, and what it says to them."""
    said: list[Event] = []

    async def converse() -> Server:
        async def send(event: Event) -> None:
            said.append(event)

        server = SERVERS[preset](send)
        await server.welcome()
        said.clear()
        for event in events:
            await server.take(event)
        server.close()
        return server

    return asyncio.run(converse()), said


GA_UPDATE = {"type": "session.update", "session": SESSION}
BETA_UPDATE = {"type": "session.update", "session": {"modalities": ["audio", "text"]}}
BETA = {"openai-beta", "azure-beta", "qwen", "speaches"}


@pytest.mark.parametrize("preset", SERVERS)
def test_a_fake_refuses_the_other_dialect(preset: str) -> None:
    server, said = told(preset, GA_UPDATE if preset in BETA else BETA_UPDATE)
    assert server.complaints
    assert [event["type"] for event in said] == ["error"]


def formatted(preset: str, kind: str, rate_hz: int | None) -> Event:
    """A `session.update` that asks for a format in both directions, in the preset's dialect."""
    if preset in BETA:
        names = {"audio/pcm": "pcm16", "audio/pcmu": "g711_ulaw"}
        formats = {f"{way}_audio_format": names[kind] for way in ("input", "output")}
        return {"type": "session.update", "session": formats}
    form: dict[str, Any] = {"type": kind} if rate_hz is None else {"type": kind, "rate": rate_hz}
    audio = {"input": {"format": form}, "output": {"format": form}}
    return {"type": "session.update", "session": {"type": "realtime", "audio": audio}}


@pytest.mark.parametrize("preset", SERVERS)
def test_a_fake_takes_no_format_but_its_own(preset: str) -> None:
    server, _ = told(preset, formatted(preset, "audio/pcmu", None))
    takes_g711 = "pcmu" in server.formats
    assert bool(server.complaints) != takes_g711
    if preset in BETA:
        return
    server, _ = told(preset, formatted(preset, "audio/pcm", 12_000))
    assert (server.complaints or server.input.rate_hz == 12_000) and server.output == server.input
    assert bool(server.complaints) != (preset == "localai")


@pytest.mark.parametrize("preset", SERVERS)
def test_a_fake_knows_its_events(preset: str) -> None:
    unknown = {"type": "output_audio_buffer.clear"}
    server, said = told(preset, unknown)
    assert server.complaints and said[-1]["type"] == "error"
    truncate = {"type": "conversation.item.truncate", "item_id": "item_0"}
    server, _ = told(preset, {**truncate, "content_index": 0, "audio_end_ms": 100})
    assert server.complaints, "there is no such item"
