"""What a caller may send on an association without harm to anybody else."""

import asyncio
from collections import Counter
from typing import Any, cast

import pytest
from aiortc.rtcsctptransport import (
    AbortChunk,
    Chunk,
    CookieAckChunk,
    DataChunk,
    ForwardTsnChunk,
    InitAckChunk,
    SackChunk,
    parse_packet,
    serialize_packet,
)

from gateway.webrtc.config import PeerCounters
from gateway.webrtc.dtls import Dtls
from gateway.webrtc.sctp import MAX_MESSAGE_BYTES, SCTP_PORT, Association

pytestmark = pytest.mark.loop

LAST, FIRST = 0x01, 0x02
WHOLE = FIRST | LAST
TEXT = 51
OPEN = b"\x03\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00x"
OPENING = 50


class Wire:
    """In place of DTLS: keeps what is sent."""

    state = "connected"
    _role = "client"

    def __init__(self) -> None:
        self.sent: list[Chunk] = []

    async def _send_data(self, data: bytes) -> None:
        self.sent += parse_packet(data)[3]

    def _register_data_receiver(self, receiver: object) -> None: ...

    def _unregister_data_receiver(self, receiver: object) -> None: ...


class Bench:
    def __init__(self) -> None:
        self.wire = Wire()
        self.counters = PeerCounters()
        self.aborts = 0
        self.messages: list[object] = []
        self.association = Association(cast(Dtls, self.wire), self.counters, self._abort)
        self.association.on(
            "datachannel", lambda channel: channel.on("message", self.messages.append)
        )
        self.tsn = 0
        self.sequences: Counter[int] = Counter()

    def _abort(self) -> None:
        self.aborts += 1

    async def receive(self, chunk: Chunk) -> None:
        tag = self.association._local_verification_tag
        await self.association._handle_data(serialize_packet(5000, SCTP_PORT, tag, chunk))

    async def establish(self) -> None:
        await self.association.open(5000, 10_000)
        init = InitAckChunk()
        init.initiate_tag, init.initial_tsn, init.advertised_rwnd = 1, 1, 100_000
        init.outbound_streams = init.inbound_streams = 10
        await self.receive(init)
        await self.receive(CookieAckChunk())
        await self.data(OPEN, protocol=OPENING)
        assert self.association.state == "connected"

    async def data(
        self, data: bytes, *, flags: int = WHOLE, protocol: int = TEXT, stream: int = 0
    ) -> None:
        chunk = DataChunk(flags=flags)
        self.tsn += 1
        chunk.tsn, chunk.stream_id, chunk.protocol = self.tsn, stream, protocol
        chunk.stream_seq = self.sequences[stream]
        self.sequences[stream] += flags & LAST
        chunk.user_data = data
        await self.receive(chunk)


@pytest.fixture
async def bench() -> Any:
    bench = Bench()
    await bench.establish()
    yield bench
    await bench.association.stop()


async def test_a_message_is_put_together(bench: Bench) -> None:
    await bench.data(b"one ", flags=FIRST)
    await bench.data(b"message", flags=LAST)
    assert bench.messages == ["one message"]
    sacks = [one for one in bench.wire.sent if isinstance(one, SackChunk)]
    assert sacks[-1].cumulative_tsn == bench.tsn
    assert bench.counters.dropped_sctp == 0


async def test_we_announce_no_more_streams_than_we_keep(bench: Bench) -> None:
    await bench.data(b"x", stream=1023)
    await bench.data(b"x", stream=1024)
    forward = ForwardTsnChunk()
    forward.cumulative_tsn, forward.streams = bench.tsn, [(5000, 1)]
    await bench.receive(forward)
    assert bench.counters.dropped_sctp == 2
    assert set(bench.association._inbound_streams) == {0, 1023}


async def test_a_message_without_end_is_kept_up_to_the_window(bench: Bench) -> None:
    part = bytes(1024)
    await bench.data(part, flags=FIRST)
    for _ in range(1200):
        await bench.data(part, flags=0)
    kept = sum(len(one.user_data) for one in bench.association._inbound_streams[0].reassembly)
    assert MAX_MESSAGE_BYTES < kept <= 1024 * 1024
    assert bench.counters.dropped_sctp == 1201 - kept // 1024
    assert bench.wire.sent[-1].advertised_rwnd == 0  # type: ignore[attr-defined]


async def test_nor_is_one_of_tiny_parts_kept_without_a_bound(bench: Bench) -> None:
    await bench.data(b"x", flags=FIRST)
    for _ in range(2200):
        await bench.data(b"x", flags=0)
    await bench.data(b"", flags=0)
    assert len(bench.association._inbound_streams[0].reassembly) == 2048
    assert bench.counters.dropped_sctp == 2202 - 2048


async def test_what_it_cannot_read_is_counted(bench: Bench) -> None:
    await bench.data(OPEN, protocol=OPENING)  # the same channel again
    await bench.data(b"\xff")  # no text
    await bench.data(b"\x03" + bytes(11) + b"\xff", protocol=OPENING, stream=2)
    await bench.association._handle_data(b"no checksum, dropped in silence")
    await bench.data(b"still here")
    assert bench.counters.dropped_sctp == 2
    assert bench.messages == ["still here"]


@pytest.mark.parametrize(
    "gaps",
    [
        [(1, 65_535)] * 200,
        [(1, 1), (1, 1)],
        [(5, 2)],
        [(0, 1)],
        [(65_535, 65_535)],
    ],
)
async def test_confirmations_of_what_was_never_sent_are_not_walked(
    bench: Bench, gaps: list[tuple[int, int]]
) -> None:
    sack = SackChunk()
    sack.cumulative_tsn = bench.association._last_sacked_tsn
    sack.advertised_rwnd = 1000
    sack.gaps = gaps
    await bench.receive(sack)
    sack.gaps, sack.cumulative_tsn = [], bench.association._local_tsn
    await bench.receive(sack)
    assert bench.counters.dropped_sctp == 2


async def test_the_peer_ends_it_once(bench: Bench) -> None:
    await bench.receive(AbortChunk())
    assert bench.aborts == 1
    assert bench.association.state == "closed"


async def test_what_is_sent_counts_until_it_is_confirmed(bench: Bench) -> None:
    (channel,) = bench.association._data_channels.values()
    sack = SackChunk()
    assert bench.association.unconfirmed_bytes == 1  # that there is a channel
    sack.cumulative_tsn = (bench.association._local_tsn - 1) % 2**32
    await bench.receive(sack)
    channel.send("x" * 5000)
    await asyncio.sleep(0)
    assert bench.association.unconfirmed_bytes == 5000
    sack.cumulative_tsn = (sack.cumulative_tsn + 2) % 2**32
    await bench.receive(sack)
    assert 0 < bench.association.unconfirmed_bytes < 5000
    sack.cumulative_tsn = (bench.association._local_tsn - 1) % 2**32
    await bench.receive(sack)
    assert bench.association.unconfirmed_bytes == 0
