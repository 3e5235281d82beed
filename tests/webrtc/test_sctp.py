"""What a caller may send on an association without harm to anybody else."""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest
from aiortc.rtcsctptransport import (
    AbortChunk,
    Chunk,
    CookieAckChunk,
    DataChunk,
    ForwardTsnChunk,
    HeartbeatAckChunk,
    HeartbeatChunk,
    InitAckChunk,
    SackChunk,
    parse_packet,
    serialize_packet,
)

from gateway.sdp.data_channel import SCTP_PORT
from gateway.webrtc.config import PeerCounters
from gateway.webrtc.dtls import Dtls
from gateway.webrtc.reassembly import Stream
from gateway.webrtc.sctp import MAX_MESSAGE_BYTES, Association

pytestmark = pytest.mark.loop

LAST, FIRST, UNORDERED = 0x01, 0x02, 0x04
WHOLE = FIRST | LAST
TEXT = 51
OPEN = b"\x03\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00x"
OPENING = 50
WINDOW = 1024 * 1024  # aiortc's
MAX_WAITING = 2048


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


class Several:
    """Chunks in one packet."""

    def __init__(self, *chunks: Chunk) -> None:
        self._chunks = chunks

    def __bytes__(self) -> bytes:
        return b"".join(map(bytes, self._chunks))


def piece(
    tsn: int, data: bytes = b"x", *, flags: int = WHOLE, stream: int = 0, sequence: int = 0
) -> DataChunk:
    chunk = DataChunk(flags=flags)
    chunk.tsn, chunk.stream_id, chunk.stream_seq, chunk.protocol = tsn, stream, sequence, TEXT
    chunk.user_data = data
    return chunk


def forward(tsn: int, *streams: tuple[int, int]) -> ForwardTsnChunk:
    chunk = ForwardTsnChunk()
    chunk.cumulative_tsn, chunk.streams = tsn, list(streams)
    return chunk


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

    async def receive(self, *chunks: Chunk) -> None:
        tag = self.association._local_verification_tag
        packet = cast(Chunk, Several(*chunks))
        await self.association._handle_data(serialize_packet(5000, SCTP_PORT, tag, packet))

    @property
    def sack(self) -> SackChunk:
        """The last."""
        return [one for one in self.wire.sent if isinstance(one, SackChunk)][-1]

    @property
    def waiting(self) -> list[int]:
        """Parts that wait, by stream."""
        return [len(cast(Stream, one)) for one in self.association._inbound_streams.values()]

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
        self.tsn += 1
        chunk = piece(self.tsn, data, flags=flags, stream=stream, sequence=self.sequences[stream])
        chunk.protocol = protocol
        self.sequences[stream] += flags & LAST
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
    assert bench.sack.cumulative_tsn == bench.tsn
    assert bench.counters.dropped_sctp == 0


async def test_we_announce_no_more_streams_than_we_keep(bench: Bench) -> None:
    await bench.data(b"x", stream=1023)
    await bench.data(b"x", stream=1024)
    await bench.receive(forward(bench.tsn, (5000, 1)))
    assert bench.counters.dropped_sctp == 2
    assert set(bench.association._inbound_streams) == {0, 1023}


async def test_a_message_without_end_is_kept_up_to_a_bound(bench: Bench) -> None:
    """The window, and as much again as the longest message may have."""
    part = bytes(1024)
    await bench.data(part, flags=FIRST)
    for _ in range(1700):
        await bench.data(part, flags=0)
    assert bench.waiting == [(WINDOW + MAX_MESSAGE_BYTES) // 1024]
    assert bench.counters.dropped_sctp == 1701 - sum(bench.waiting)
    assert bench.sack.advertised_rwnd == 0


async def test_nor_is_one_of_tiny_parts_kept_without_a_bound(bench: Bench) -> None:
    await bench.data(b"x", flags=FIRST)
    for _ in range(2 * MAX_WAITING + 50):
        await bench.data(b"x", flags=0)
    await bench.data(b"", flags=0)
    assert bench.waiting == [2 * MAX_WAITING]
    assert bench.counters.dropped_sctp == 52


async def _filled(bench: Bench, chunks: list[DataChunk]) -> None:
    """Packets of many chunks each."""
    for begin in range(0, len(chunks), 60):
        await bench.receive(*chunks[begin : begin + 60])


async def _behind(bench: Bench, missing: int, size: int, *, count: int) -> None:
    """Messages arrive, and the parts before them do not."""
    first = bench.sequences[0]
    chunks = [
        piece(missing + number, (b"%d " % number).ljust(size), sequence=first + number)
        for number in range(1, count + 1)
    ]
    await _filled(bench, chunks)


@pytest.mark.parametrize(
    ("size", "kept"), [(8, MAX_WAITING), (4096, WINDOW // 4096)], ids=["many", "large"]
)
async def test_what_others_wait_for_still_gets_in(bench: Bench, size: int, kept: int) -> None:
    """One lost packet, and more behind it than there is room for: all is sent again."""
    lost, count = bench.tsn + 1, kept + 40
    await _behind(bench, lost, size, count=count)
    assert (bench.waiting, bench.messages) == ([kept], [])
    assert bench.counters.dropped_sctp == 40
    await bench.receive(piece(lost, b"0", sequence=bench.sequences[0]))
    assert len(bench.messages) == 1 + kept
    await _behind(bench, lost, size, count=count)
    assert [int(str(one)) for one in bench.messages] == list(range(count + 1))
    assert (bench.sack.cumulative_tsn, bench.sack.advertised_rwnd) == (lost + count, WINDOW)
    assert bench.counters.dropped_sctp == 40


async def test_so_does_the_longest_message_there_is(bench: Bench) -> None:
    parts = MAX_MESSAGE_BYTES // 1024
    lost = bench.tsn + parts
    await _behind(bench, lost, 4096, count=WINDOW // 4096 + 1)
    for number in range(parts):
        flags = FIRST * (number == 0) | LAST * (number == parts - 1)
        await bench.data(bytes(1024), flags=flags)
    assert [len(str(one)) for one in bench.messages[:2]] == [MAX_MESSAGE_BYTES, 4096]
    assert bench.sack.advertised_rwnd == WINDOW


async def test_what_was_told_to_have_come_is_told_again(bench: Bench) -> None:
    """However full it is; the peer did not hear it the first time."""
    lost = bench.tsn + 1
    await _behind(bench, lost, 8, count=MAX_WAITING)
    for tsn in (bench.tsn, lost + MAX_WAITING):
        before = len(bench.wire.sent)
        await bench.receive(piece(tsn))
        assert bench.wire.sent[before:] == [bench.sack]
        assert bench.sack.duplicates == [tsn]
    assert bench.counters.dropped_sctp == 0


async def test_what_came_after_one_that_is_missing_is_noted_up_to_a_bound(bench: Bench) -> None:
    """Messages that wait for no others are taken at once, and yet have to be told of."""
    ahead = range(2, 2 * MAX_WAITING + 22, 2)
    await _filled(bench, [piece(bench.tsn + one, flags=WHOLE | UNORDERED) for one in ahead])
    assert len(bench.messages) == len(bench.association._sack_misordered) == MAX_WAITING
    assert bench.counters.dropped_sctp == 10
    # All gaps would not fit into a packet: the first ones are told (RFC 9260 section 6.2).
    assert bench.sack.gaps == [(one, one) for one in ahead[:128]]
    assert len(bytes(bench.sack)) < 1200


async def test_nothing_is_taken_that_could_not_be_told(bench: Bench) -> None:
    await bench.receive(piece(bench.tsn + 65_535, flags=WHOLE | UNORDERED))
    await bench.receive(piece(bench.tsn + 65_536, flags=WHOLE | UNORDERED))
    assert bench.sack.gaps == [(65_535, 65_535)]
    assert (len(bench.messages), bench.counters.dropped_sctp) == (1, 1)


async def test_what_came_twice_is_noted_up_to_a_bound(bench: Bench) -> None:
    """Where each packet breaks before the peer is answered, and is told when one does not."""
    broken = piece(0, b"\xff")  # no text
    for _ in range(10):
        bench.tsn += 1
        broken.tsn, broken.stream_seq = bench.tsn, bench.sequences[0]
        bench.sequences[0] += 1
        await bench.receive(*[piece(1)] * 60, broken)
    assert bench.counters.dropped_sctp == 10
    assert 60 <= len(bench.association._sack_duplicates) <= 128
    await bench.data(b"x")
    assert set(bench.sack.duplicates) == {1}
    assert len(bytes(bench.sack)) < 1200
    assert not bench.association._sack_duplicates


async def test_what_came_first_is_told_from_what_comes_again_where_numbers_begin_anew(
    bench: Bench,
) -> None:
    last = 2**32 - 3
    await bench.receive(forward(2**31))
    await bench.receive(forward(last))
    bench.association._sack_duplicates.clear()
    for tsn in (1, 2**32 - 1, 0, 2**32 - 2, 1, 2**32 - 1):
        await bench.receive(piece(tsn, b"%d" % tsn, flags=WHOLE | UNORDERED))
    assert bench.messages == ["1", "4294967295", "0", "4294967294"]
    assert bench.sack.cumulative_tsn == 1
    assert bench.sack.duplicates == [2**32 - 1]


async def test_a_packet_says_a_thing_once(bench: Bench) -> None:
    await bench.receive(*[HeartbeatChunk() for _ in range(200)])
    assert sum(isinstance(one, HeartbeatAckChunk) for one in bench.wire.sent) == 1
    assert bench.counters.dropped_sctp == 199
    await bench.receive(HeartbeatChunk())
    assert sum(isinstance(one, HeartbeatAckChunk) for one in bench.wire.sent) == 2


def _work(run: Callable[[], object]) -> int:
    """How many functions are called meanwhile."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(before)
    return calls


_MANY = 1900
_FILLED: dict[str, Callable[[int], list[DataChunk]]] = {
    "whole, out of turn": lambda tsn: [piece(tsn + 2 * n, sequence=9) for n in range(1, _MANY)],
    "whole, taken": lambda tsn: [
        piece(tsn + 2 * n, flags=WHOLE | UNORDERED) for n in range(1, _MANY)
    ],
    "middles": lambda tsn: [piece(tsn + 2 * n, flags=UNORDERED) for n in range(1, _MANY)],
    "a message without end": lambda tsn: [
        piece(tsn + n, flags=FIRST * (n == 1)) for n in range(1, _MANY)
    ],
    "many streams": lambda tsn: [
        piece(tsn + 2 * n, flags=FIRST, stream=n % 1024) for n in range(1, _MANY)
    ],
}
_PACKETS: dict[str, Callable[[int], list[Chunk]]] = {
    "behind": lambda tsn: [
        piece(tsn + 2 * n, flags=UNORDERED) for n in range(_MANY + 60, _MANY + 120)
    ],
    "before": lambda tsn: [
        piece(tsn + 4001 - 2 * n, flags=UNORDERED, sequence=10) for n in range(60)
    ],
    "forward": lambda tsn: [forward(tsn + n, *[(0, 1)] * 2) for n in range(1, 60)],
    "forward, many streams": lambda tsn: [forward(tsn + 1, *[(0, 1)] * 280)],
}


@pytest.mark.parametrize("filled", _FILLED)
@pytest.mark.parametrize("packet", _PACKETS)
async def test_what_waits_does_not_make_a_packet_much_work(
    bench: Bench, filled: str, packet: str
) -> None:
    """A caller would hold up all calls. aiortc alone calls up to 550 000 functions for one."""
    await _filled(bench, _FILLED[filled](bench.tsn))
    coroutine = bench.receive(*_PACKETS[packet](bench.tsn))

    def run() -> None:
        with pytest.raises(StopIteration):
            coroutine.send(None)

    assert _work(run) < 40_000


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
