"""The RTP port on loopback sockets, with its clock turned by hand."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.audio import g711
from gateway.audio.playout import ItemPart, Started, Stopped
from gateway.legs import audio_port, rtp_port
from gateway.legs.audio_port import RtpFlow
from gateway.legs.leg import DtmfIn, LegBroken, LegEvent, LegSilent, Played
from gateway.legs.rtp_port import RtpPort
from gateway.sdp.plan import AudioPlan

pytestmark = pytest.mark.loop

FRAME = bytes(range(160))
SILENCE = b"\xff" * 160
PART = ItemPart("resp_1", "item_1", 0)


class HandPacer:
    """Ticks when the test says so."""

    def __init__(self) -> None:
        self.ports: list[Any] = []

    def add(self, port: Any) -> None:
        self.ports.append(port)

    def remove(self, port: Any) -> None:
        if port in self.ports:
            self.ports.remove(port)


class Peer(asyncio.DatagramProtocol):
    """The caller's end."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.transport: asyncio.DatagramTransport
        self.sequence = 100
        self.ssrc = 7

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.packets.append(data)

    def send(self, payload: bytes, to: tuple[str, int], payload_type: int = 0) -> None:
        self.sequence += 1
        timestamp = self.sequence * 160
        header = struct.pack("!BBHII", 0x80, payload_type, self.sequence, timestamp, self.ssrc)
        self.transport.sendto(header + payload, to)

    def payloads(self) -> list[bytes]:
        return [packet[12:] for packet in self.packets]


class Bench:
    def __init__(self) -> None:
        self.events: list[LegEvent] = []
        self.heard: list[bytes] = []
        self.pacer = HandPacer()
        self.peer: Peer
        self.rtcp_peer: Peer
        self.port: RtpPort

    async def open(
        self, packet_ms: int = 20, timeout_s: float = 30.0, *, hears_tones: bool = False
    ) -> None:
        loop = asyncio.get_running_loop()
        _, self.peer = await loop.create_datagram_endpoint(Peer, ("127.0.0.1", 0))
        _, self.rtcp_peer = await loop.create_datagram_endpoint(Peer, ("127.0.0.1", 0))
        flow = RtpFlow(1, 2, 3, "a@b", random.Random(1).random)
        pacer: Any = self.pacer
        self.port = RtpPort(
            "pcmu",
            packet_ms,
            flow,
            pacer,
            self.events.append,
            timeout_s,
            hears_tones=hears_tones,
        )
        for _ in range(50):
            self.number = random.randrange(32_000, 60_000, 2)
            try:
                await self.port.open("127.0.0.1", self.number)
                break
            except OSError:
                self.port.close()
        self.port.join(self.heard.append)

    def plan(self, **changes: Any) -> AudioPlan:
        plan = {
            "codec": "pcmu",
            "payload_type": 0,
            "dtmf_payload_type": 101,
            "ptime_ms": 20,
            "remote_host": "127.0.0.1",
            "remote_port": self.peer.address[1],
            "rtcp_mux": False,
            "remote_rtcp_port": self.rtcp_peer.address[1],
            "direction": "sendrecv",
        }
        return AudioPlan(**(plan | changes))

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            for port in tuple(self.pacer.ports):
                port.tick()

    async def say(self, payload: bytes, payload_type: int = 0) -> None:
        self.peer.send(payload, ("127.0.0.1", self.number), payload_type)
        await self.arrive()

    async def arrive(self) -> None:
        await asyncio.sleep(0.005)


class HandClock:
    """Stands in for the `time` of the port."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    clock = HandClock()
    for module in (audio_port, rtp_port):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.port.close()
    bench.peer.transport.close()
    bench.rtcp_peer.transport.close()


async def test_what_the_caller_says_is_handed_on_at_once(bench: Bench) -> None:
    await bench.open()
    bench.port.apply(bench.plan())
    for _ in range(3):
        await bench.say(FRAME)
    assert bench.heard == [FRAME] * 3


async def test_a_frame_leaves_at_every_tick(bench: Bench) -> None:
    await bench.open()
    bench.port.apply(bench.plan())
    bench.port.playout.push(PART, FRAME * 2)
    bench.port.playout.finish(PART)
    bench.tick(4)
    await bench.arrive()
    assert bench.peer.payloads() == [FRAME, FRAME, SILENCE, SILENCE]
    headers = [struct.unpack("!BBHII", packet[:12]) for packet in bench.peer.packets]
    assert [header[1] for header in headers] == [0x80, 0, 0, 0]  # the marker opens the stream
    assert [header[2] for header in headers] == [2, 3, 4, 5]
    assert [header[3] for header in headers] == [3, 163, 323, 483]
    assert bench.events == [Played(Started(PART)), Played(Stopped(PART))]


@pytest.mark.parametrize(
    ("packet_ms", "sizes"), [(10, [80] * 12), (30, [240] * 4), (60, [480] * 2)]
)
async def test_packets_are_as_long_as_agreed(
    bench: Bench, packet_ms: int, sizes: list[int]
) -> None:
    await bench.open(packet_ms=packet_ms)
    bench.port.apply(bench.plan(ptime_ms=packet_ms))
    bench.tick(6)
    await bench.arrive()
    assert [len(payload) for payload in bench.peer.payloads()] == sizes


@pytest.mark.parametrize("direction", ["inactive", "recvonly"])
async def test_on_hold_nothing_is_sent_and_nobody_is_missed(bench: Bench, direction: str) -> None:
    await bench.open(timeout_s=0.001)
    bench.port.apply(bench.plan(direction=direction))
    bench.port.playout.push(PART, FRAME)
    bench.tick(100)
    await bench.arrive()
    assert bench.peer.packets == []
    assert bench.events == []
    await bench.say(FRAME)
    assert bench.heard == []  # music on hold is nothing to the model
    bench.port.apply(bench.plan())
    bench.tick(1)
    await bench.arrive()
    assert bench.peer.payloads() == [FRAME]
    (header,) = (struct.unpack("!BBHII", packet[:12]) for packet in bench.peer.packets)
    assert header[1] == 0x80  # a marker after the pause
    assert header[3] == 3 + 100 * 160  # time went on


async def test_music_on_hold_is_heard_by_people(bench: Bench) -> None:
    await bench.open()
    bench.port.apply(bench.plan(direction="recvonly"))
    bench.port.hear_music(True)  # they are joined while it holds already
    await bench.say(FRAME)
    assert bench.heard == [FRAME]
    bench.port.apply(bench.plan(direction="inactive"))
    await bench.say(FRAME)
    bench.port.apply(bench.plan(direction="recvonly"))
    await bench.say(FRAME)
    assert bench.heard.count(FRAME) == 2
    bench.port.hear_music(False)
    await bench.say(FRAME)
    assert bench.heard.count(FRAME) == 2


async def test_a_change_of_law_is_translated_on_the_wire(bench: Bench) -> None:
    await bench.open()
    bench.port.apply(bench.plan())
    bench.port.apply(bench.plan(codec="pcma", payload_type=8))
    bench.port.playout.push(PART, FRAME)
    bench.tick(2)
    await bench.say(FRAME.translate(g711.TRANSLATE["pcmu"]), payload_type=8)
    assert bench.peer.payloads() == [
        FRAME.translate(g711.TRANSLATE["pcmu"]),
        SILENCE.translate(g711.TRANSLATE["pcmu"]),
    ]
    assert bench.peer.packets[0][1] & 0x7F == 8
    assert len(bench.heard) == 1 and len(bench.heard[0]) == 160


async def test_a_key_is_reported_once(bench: Bench) -> None:
    await bench.open()
    bench.port.apply(bench.plan())
    await bench.say(FRAME)
    timestamp = 55
    for duration in (160, 320, 480):
        bench.peer.sequence += 1
        header = struct.pack("!BBHII", 0x80, 101, bench.peer.sequence, timestamp, 7)
        event = struct.pack("!BBH", 5, 10, duration)
        bench.peer.transport.sendto(header + event, ("127.0.0.1", bench.number))
    await bench.arrive()
    assert [event.digit for event in bench.events if isinstance(event, DtmfIn)] == ["5"]


async def test_a_caller_who_sends_nothing_is_reported_again_and_again(
    bench: Bench, clock: HandClock
) -> None:
    await bench.open(timeout_s=10)
    bench.port.apply(bench.plan())
    for passes_s, told in [(9, 0), (2, 1), (9, 1), (2, 2), (9, 2), (2, 3), (0, 3)]:
        clock.now += passes_s
        bench.tick(100)
        assert bench.events == [LegSilent()] * told
    await bench.say(FRAME)
    for passes_s, told in [(9, 3), (2, 4)]:
        clock.now += passes_s
        bench.tick(100)
        assert bench.events == [LegSilent()] * told


async def test_a_caller_on_hold_need_not_send(bench: Bench, clock: HandClock) -> None:
    await bench.open(timeout_s=10)
    bench.port.apply(bench.plan())
    bench.port.apply(bench.plan(direction="sendonly"))
    for passes_s, told in [(30, 0), (30, 0)]:
        clock.now += passes_s
        bench.tick(100)
        assert bench.events == [LegSilent()] * told
    bench.port.apply(bench.plan())
    for passes_s, told in [(9, 0), (2, 1)]:
        clock.now += passes_s
        bench.tick(100)
        assert bench.events == [LegSilent()] * told


async def test_reports_go_to_the_rtcp_port_and_say_goodbye(bench: Bench) -> None:
    await bench.open()
    bench.port.apply(bench.plan())
    bench.port.close()
    await bench.arrive()
    (packet,) = bench.rtcp_peer.packets
    kinds = []
    while packet:
        kinds.append(packet[1])
        packet = packet[4 * (1 + int.from_bytes(packet[2:4], "big")) :]
    assert kinds == [201, 202, 203]


async def test_nothing_is_sent_before_it_is_known_where_to(bench: Bench) -> None:
    await bench.open()
    bench.tick(5)
    await bench.say(FRAME)
    assert bench.heard == []
    assert bench.peer.packets == []
    assert bench.port.stats().rtp_received == 0


async def test_garbage_is_counted_by_nobody_and_breaks_nothing(bench: Bench) -> None:
    await bench.open()
    bench.port.apply(bench.plan())
    rng = random.Random(3)
    for _ in range(300):
        bench.peer.transport.sendto(
            rng.randbytes(rng.randrange(0, 60)), ("127.0.0.1", bench.number)
        )
        bench.peer.transport.sendto(
            rng.randbytes(rng.randrange(0, 60)), ("127.0.0.1", bench.number + 1)
        )
    await bench.arrive()
    await bench.say(FRAME)
    await bench.say(FRAME)
    assert bench.heard[-1] == FRAME


# -- who is sent what ------------------------------------------------------------------------------


async def another_peer() -> Peer:
    loop = asyncio.get_running_loop()
    _, peer = await loop.create_datagram_endpoint(Peer, ("127.0.0.1", 0))
    return peer


async def pass_time(bench: Bench, clock: HandClock, seconds: float) -> None:
    for n in range(round(seconds / 0.02)):
        clock.now += 0.02
        bench.tick()
        if n % 100 == 99:
            await bench.arrive()  # a socket holds no more than a few hundred packets
    await bench.arrive()


HOLDS: list[dict[str, Any]] = [
    {"remote_host": "0.0.0.0", "direction": "inactive"},
    {"remote_host": "0.0.0.0", "direction": "recvonly"},
    {"remote_host": "::", "direction": "inactive"},
    {"remote_port": 0, "remote_rtcp_port": 0, "direction": "inactive"},
]


@pytest.mark.parametrize("hold", HOLDS)
async def test_a_hold_without_an_address_lets_nobody_else_in(
    bench: Bench, clock: HandClock, hold: dict[str, Any]
) -> None:
    await bench.open()
    bench.port.apply(bench.plan())
    await bench.say(FRAME)
    bench.port.apply(bench.plan(**hold))
    stranger = await another_peer()
    await pass_time(bench, clock, 0.5)
    for n in range(20):
        clock.now += 0.02
        key = n >= 10
        payload = struct.pack("!BBH", 5, 10, 160) if key else FRAME
        stranger.send(payload, ("127.0.0.1", bench.number), 101 if key else 0)
        await bench.arrive()
    await pass_time(bench, clock, 20.0)
    stranger.transport.close()
    assert bench.events == []
    assert stranger.packets == []
    assert bench.rtcp_peer.packets == []  # reports are not wanted either (RFC 3264 section 8.4)
    bench.port.apply(bench.plan())
    bench.tick()
    await bench.say(FRAME)
    assert bench.peer.payloads() == [SILENCE]
    assert bench.heard[-1] == FRAME


async def test_a_call_that_begins_on_hold_belongs_to_nobody_yet(
    bench: Bench, clock: HandClock
) -> None:
    await bench.open()
    bench.port.apply(bench.plan(**HOLDS[0]))
    await pass_time(bench, clock, 5.0)
    for _ in range(20):
        clock.now += 0.02
        await bench.say(struct.pack("!BBH", 5, 10, 160), payload_type=101)
    assert bench.events == []
    bench.port.apply(bench.plan())
    await bench.say(FRAME)
    assert bench.heard == [FRAME]


async def test_a_silent_address_is_not_flooded(bench: Bench, clock: HandClock) -> None:
    await bench.open()
    bench.port.apply(bench.plan())
    bench.port.playout.push(PART, FRAME * 3)
    await pass_time(bench, clock, 30.0)
    assert len(bench.peer.packets) == pytest.approx(500, abs=1)
    assert len(bench.rtcp_peer.packets) <= 4
    before = len(bench.peer.packets)
    await bench.say(FRAME)
    await pass_time(bench, clock, 5.0)
    headers = [struct.unpack("!BBHII", packet[:12]) for packet in bench.peer.packets]
    assert len(headers) == before + 250
    assert headers[before][1] == 0x80  # a marker after the pause
    assert headers[before][3] == 3 + 1500 * 160  # time went on


async def test_a_muted_caller_who_sends_reports_is_sent_audio(
    bench: Bench, clock: HandClock
) -> None:
    await bench.open(timeout_s=30.0)
    bench.port.apply(bench.plan())
    report = bytes((0x80, 201, 0, 1, 0, 0, 0, 7))
    for _ in range(12):
        await pass_time(bench, clock, 5.0)
        bench.rtcp_peer.transport.sendto(report, ("127.0.0.1", bench.number + 1))
        await bench.arrive()
    assert len(bench.peer.packets) == 3000
    assert bench.events == []


async def test_an_unreachable_caller_is_sent_audio_where_they_are(
    bench: Bench, clock: HandClock
) -> None:
    await bench.open()
    bench.port.apply(bench.plan(remote_host="127.9.9.9"), reachable=False)
    bench.port.playout.push(PART, FRAME * 2)
    await pass_time(bench, clock, 0.5)
    bench.port.apply(bench.plan(remote_host="0.0.0.0", direction="inactive"), reachable=True)
    bench.port.apply(bench.plan(remote_host="127.9.9.9"), reachable=False)
    await pass_time(bench, clock, 0.5)
    assert bench.port.stats().rtp_sent == 0
    for _ in range(5):
        clock.now += 0.02
        await bench.say(FRAME)
    bench.tick(2)
    await bench.arrive()
    assert bench.peer.payloads() == [FRAME, FRAME]  # nothing of it was lost on nobody


# -- defects of ours -------------------------------------------------------------------------------


async def test_a_broken_sink_is_reported_once_and_hurts_nobody_else(bench: Bench) -> None:
    def broken(_: bytes) -> None:
        raise error

    await bench.open()
    bench.port.apply(bench.plan())
    error = RuntimeError("a defect")
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    bench.port.join(broken)
    for _ in range(3):
        await bench.say(FRAME)
    bench.port.failed(ValueError("another"))
    assert bench.events == [LegBroken(error)]
    assert raised == []


async def test_a_defect_in_reading_reports_is_reported_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bool:
        raise error

    await bench.open()
    bench.port.apply(bench.plan())
    error = RuntimeError("a defect")
    monkeypatch.setattr(bench.port, "_rtp", SimpleNamespace(receive_rtcp=broken))
    bench.port._received_rtcp(b"", ("127.0.0.1", 1))
    bench.port._received_rtcp(b"", ("127.0.0.1", 1))
    monkeypatch.undo()
    assert bench.events == [LegBroken(error)]
