"""Messages of a stream, put together from parts that arrive in any order."""

import random
from dataclasses import dataclass

import pytest
from aiortc.rtcsctptransport import DataChunk

from gateway.webrtc.reassembly import Stream

pytestmark = pytest.mark.pure

LAST, FIRST, UNORDERED = 0x01, 0x02, 0x04
TURN = 2**16 - 8  # sequence numbers begin again at 0 on the way, and so do TSNs


@dataclass
class Sent:
    """A message; its number is told as its kind."""

    number: int
    ordered: bool
    parts: list[DataChunk]

    @property
    def tsns(self) -> set[int]:
        return {part.tsn for part in self.parts}


def part(tsn: int, flags: int, data: bytes, sequence: int = 0, kind: int = 51) -> DataChunk:
    chunk = DataChunk(flags=flags)
    chunk.tsn, chunk.stream_id, chunk.stream_seq = tsn % 2**32, 7, sequence % 2**16
    chunk.protocol, chunk.user_data = kind, data
    return chunk


def messages(rng: random.Random, count: int) -> list[Sent]:
    """Of one to five parts each, some of them unordered."""
    sent: list[Sent] = []
    tsn, sequence = 2**32 - 20, TURN
    for number in range(count):
        ordered, length = rng.random() < 0.7, rng.randrange(1, 6)
        parts = []
        for index in range(length):
            flags = FIRST * (index == 0) | LAST * (index == length - 1) | UNORDERED * (not ordered)
            parts.append(part(tsn + index, flags, b"%d.%d " % (number, index), sequence, number))
        sent.append(Sent(number, ordered, parts))
        tsn += length
        sequence += ordered
    return sent


class Reader:
    """A stream, and what it told so far."""

    def __init__(self) -> None:
        self.stream = Stream()
        self.stream.sequence_number = TURN
        self.told: list[tuple[int, int, bytes]] = []

    def add(self, chunk: DataChunk) -> None:
        self.stream.add_chunk(chunk)
        self.take()

    def take(self) -> None:
        self.told += self.stream.pop_messages()

    def check(self, right: list[Sent]) -> None:
        """It told these messages, whole, and the ordered ones in order."""
        assert sorted(self.told) == [
            (7, one.number, b"".join(part.user_data for part in one.parts)) for one in right
        ]
        turns = [one.number for one in right if one.ordered]
        assert [number for _, number, _ in self.told if number in turns] == turns


def due(sent: list[Sent], here: set[int]) -> list[Sent]:
    """Messages that are complete, the ordered ones up to the first that is not."""
    found, in_turn = [], True
    for one in sent:
        complete = one.tsns <= here
        in_turn = in_turn and (complete or not one.ordered)
        if complete and (in_turn or not one.ordered):
            found.append(one)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_each_message_is_told_as_soon_as_it_may_be(seed: int) -> None:
    rng = random.Random(seed)
    sent = messages(rng, 25)
    places = {part.tsn: place for place, part in enumerate(p for one in sent for p in one.parts)}
    arriving = [part for one in sent for part in one.parts]
    arriving.sort(key=lambda part: places[part.tsn] + rng.uniform(0, 1 + 2 * seed))
    reader, here = Reader(), set()
    for chunk in arriving:
        reader.add(chunk)
        here.add(chunk.tsn)
        right = due(sent, here)
        reader.check(right)
        assert len(reader.stream) == len(here) - sum(len(one.parts) for one in right)
    assert len(reader.stream) == 0


@pytest.mark.parametrize("seed", range(20))
def test_what_the_peer_gives_up_is_waited_for_no_longer(seed: int) -> None:
    """RFC 3758 section 3.6. What came of other messages is told, before and behind it."""
    rng = random.Random(seed)
    sent = messages(rng, 12)
    arriving = [part for one in sent for part in one.parts if rng.random() < 0.7]
    rng.shuffle(arriving)
    reader = Reader()
    for chunk in arriving:
        reader.add(chunk)

    # Up to here nothing is missing but what is given up: whole messages. One may have begun.
    here = {chunk.tsn for chunk in arriving}
    behind = rng.randrange(1, len(sent) - 1)
    before, begun = sent[:behind], sent[behind]
    last = before[-1].parts[-1].tsn
    for chunk in begun.parts[:-1]:
        if chunk.tsn not in here:
            break
        last = chunk.tsn
    lost = [one for one in before if not one.tsns <= here]
    passed = [one.parts[0].stream_seq for one in before if one.ordered]
    if passed and (passed[-1] + 1 - reader.stream.sequence_number) % 2**16 < 2**15:
        reader.stream.sequence_number = (passed[-1] + 1) % 2**16
    reader.take()
    assert reader.stream.prune_chunks(last) == sum(
        len(chunk.user_data) for one in lost for chunk in one.parts if chunk.tsn in here
    )

    kept = [one for one in sent if one not in lost]
    reader.check(due(kept, here))
    for one in sent[behind:]:
        for chunk in one.parts:
            if chunk.tsn not in here:
                reader.add(chunk)
    reader.check(kept)
    assert len(reader.stream) == 0


def test_the_rest_of_what_was_given_up_is_kept_for_nobody() -> None:
    reader = Reader()
    for chunk in (part(11, 0, b"abc"), part(12, LAST, b"de"), part(14, FIRST, b"so far", TURN)):
        reader.add(chunk)
    assert reader.stream.prune_chunks(11) == 5  # its beginning will not come any more
    assert reader.stream.prune_chunks(14) == 0  # that began here, and the rest may come
    reader.add(part(15, 0, b" and ", TURN))
    assert reader.stream.prune_chunks(14) == 0
    reader.add(part(16, LAST, b"whole", TURN))
    assert [data for _, _, data in reader.told] == [b"so far and whole"]
    assert len(reader.stream) == 0


def test_messages_that_were_due_are_given_up_with_their_parts() -> None:
    """Whoever took them failed over the first."""
    stream = Stream()
    for tsn in (1, 2, 3):
        stream.add_chunk(part(tsn, FIRST | LAST | UNORDERED, b"%d" % tsn))
    assert next(stream.pop_messages())[2] == b"1"
    assert stream.prune_chunks(2) == 1
    assert [data for _, _, data in stream.pop_messages()] == [b"3"]
    assert len(stream) == 0


def test_so_are_those_that_waited_for_a_turn_that_the_peer_did_not_give_up() -> None:
    reader = Reader()
    reader.add(part(2, FIRST | LAST, b"early", TURN + 1))
    assert reader.stream.prune_chunks(2) == 5
    reader.add(part(3, FIRST | LAST, b"late", TURN))
    reader.add(part(4, FIRST | LAST, b"next", TURN + 1))
    assert [data for _, _, data in reader.told] == [b"late", b"next"]


def test_a_number_that_is_used_twice_waits_for_its_turn_once() -> None:
    reader = Reader()
    for tsn in (5, 6):
        reader.add(part(tsn, FIRST | LAST, b"%d" % tsn, TURN + 1))
    reader.add(part(4, FIRST | LAST, b"4", TURN))
    assert [data for _, _, data in reader.told] == [b"4", b"5"]
    reader.add(part(7, FIRST | LAST, b"7", TURN))  # whose turn is over
    assert reader.told[-1][2] == b"7"
    assert len(reader.stream) == 1
