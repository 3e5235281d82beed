"""Keys that we press: what goes out, when, and how the voice goes on."""

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest

from gateway.audio.playout import ItemPart
from gateway.legs.key_sender import MAX_KEYS
from gateway.legs.leg import KeysError
from gateway.rtp.dtmf import DtmfReceiver
from gateway.rtp.packet import RtpPacket
from tests.legs.test_rtp_port import Bench

pytestmark = pytest.mark.loop

PART = ItemPart("resp_1", "item_1", 0)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.open()
    yield bench
    bench.port.close()
    bench.peer.transport.close()
    bench.rtcp_peer.transport.close()
    await bench.arrive()


async def run(bench: Bench, ticks: int) -> list[RtpPacket]:
    """What goes out meanwhile."""
    for _ in range(ticks):
        bench.tick()
        await asyncio.sleep(0.0005)
    await bench.arrive()
    packets = [RtpPacket.parse(data) for data in bench.peer.packets]
    bench.peer.packets.clear()
    return packets


def keys_in(packets: list[RtpPacket]) -> str:
    receiver = DtmfReceiver()
    events = (receiver.receive(packet) for packet in packets if packet.payload_type == 101)
    return "".join(event.event for event in events if event is not None)


async def test_each_key_is_heard_once(bench: Bench) -> None:
    bench.port.apply(bench.plan())
    assert bench.port.press("12#") and bench.port.press("*D")
    packets = await run(bench, 80)
    assert keys_in(packets) == "12#*D"
    ends = [one for one in packets if one.payload_type == 101 and one.payload[1] & 0x80]
    assert len(ends) == 3 * 5
    assert {struct.unpack("!H", one.payload[2:4])[0] for one in ends} == {160 * 8}


async def test_the_voice_goes_on_between_keys_and_nothing_of_it_is_lost(bench: Bench) -> None:
    bench.port.apply(bench.plan())
    words = bytes(range(200)) * 24  # 30 frames
    bench.port.playout.push(PART, words)
    bench.port.playout.finish(PART)
    bench.port.press("11")
    packets = await run(bench, 60)
    voice = b"".join(one.payload for one in packets if one.payload_type == 0)
    assert words in voice
    kinds = [one.payload_type for one in packets]
    first = kinds.index(0)
    assert set(kinds[:first]) == {101}  # the first key comes first
    assert kinds[first : first + 5] == [0] * 5 and kinds[first + 5] == 101


async def test_sequence_and_time_go_on(bench: Bench) -> None:
    bench.port.apply(bench.plan())
    bench.port.press("5")
    packets = await run(bench, 20)
    numbers = [one.sequence_number for one in packets]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    press = {one.timestamp for one in packets if one.payload_type == 101}
    (at,) = press
    after = next(one for one in packets if one.payload_type == 0)
    assert after.timestamp == at + 8 * 160 and after.marker


@pytest.mark.parametrize("pause", [",", "w"])
async def test_a_pause_gives_time(bench: Bench, pause: str) -> None:
    bench.port.apply(bench.plan())
    bench.port.press(f"1{pause}2")
    kinds = [one.payload_type for one in await run(bench, 60)]
    first_end = kinds.index(0)
    assert kinds[first_end:].index(101) == 5 + 25


async def test_a_peer_that_takes_no_keys(bench: Bench) -> None:
    assert not bench.port.press("1")
    bench.port.apply(bench.plan(dtmf_payload_type=None))
    assert not bench.port.press("1")


async def test_on_hold_keys_wait(bench: Bench) -> None:
    bench.port.apply(bench.plan(direction="recvonly"))
    bench.port.press("7")
    assert await run(bench, 20) == []
    bench.port.apply(bench.plan())
    assert keys_in(await run(bench, 20)) == "7"


async def test_what_waits_is_bounded(bench: Bench) -> None:
    bench.port.apply(bench.plan())
    bench.port.press("1" * MAX_KEYS)
    with pytest.raises(KeysError) as caught:
        bench.port.press("2")
    assert (caught.value.status, caught.value.reason) == (429, "too_many_digits")


async def test_keys_that_wait_are_dropped_when_the_peer_takes_no_more(bench: Bench) -> None:
    """It may say so in a re-INVITE; the call goes on."""
    bench.port.apply(bench.plan())
    bench.port.press("123")
    await run(bench, 10)
    bench.port.apply(bench.plan(dtmf_payload_type=None))
    packets = await run(bench, 30)
    assert {one.payload_type for one in packets} == {0}
    bench.port.apply(bench.plan())
    assert keys_in(await run(bench, 20)) == ""
    assert bench.events == []


async def test_a_key_that_is_interrupted_by_hold_is_not_taken_up_again(bench: Bench) -> None:
    """It would seem to have lasted all the time; the next one is a press of its own."""
    bench.port.apply(bench.plan())
    bench.port.press("12")
    first = await run(bench, 3)
    bench.port.apply(bench.plan(direction="recvonly"))
    assert await run(bench, 20) == []
    bench.port.apply(bench.plan())
    packets = await run(bench, 40)
    begun = {one.timestamp for one in first if one.payload_type == 101}
    assert not begun & {one.timestamp for one in packets}
    assert keys_in([*first, *packets]) == "12"
