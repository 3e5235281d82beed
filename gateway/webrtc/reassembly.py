"""Messages of one stream of SCTP, put together (RFC 9260 sections 6.5, 6.6 and 6.9).

aiortc's own looks through all parts that wait whenever one arrives. A packet holds up to 80 parts
of a byte each, and thousands may wait, so a caller who sends nothing else would hold up all calls.
Here what one part costs does not depend on the others.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

from aiortc.rtcsctptransport import DataChunk, InboundStream

_LAST: Final = 0x01
_FIRST: Final = 0x02
_UNORDERED: Final = 0x04
_TSNS: Final = 2**32
_SEQUENCES: Final = 2**16


class Stream(InboundStream):
    """In place of aiortc's; each part is given to it once."""

    def __init__(self) -> None:
        self.sequence_number = 0
        """Of the ordered message whose turn it is; whoever skips messages sets it."""
        self._turn = 0  # the same, as far as messages were taken
        self._parts: dict[int, DataChunk] = {}
        # Parts of one message that follow each other: from either end to the other.
        self._runs: dict[int, int] = {}
        # Messages that are complete, by their first part.
        self._due: deque[int] = deque()
        self._early: dict[int, int] = {}  # by sequence number

    def __len__(self) -> int:
        """How many parts wait."""
        return len(self._parts)

    def add_chunk(self, chunk: DataChunk) -> None:
        tsn = first = last = chunk.tsn
        self._parts[tsn] = chunk
        before = self._parts.get((tsn - 1) % _TSNS)
        if before is not None and not (before.flags & _LAST or chunk.flags & _FIRST):
            first = self._runs.pop(before.tsn)
        after = self._parts.get((tsn + 1) % _TSNS)
        if after is not None and not (chunk.flags & _LAST or after.flags & _FIRST):
            last = self._runs.pop(after.tsn)
        self._runs[first], self._runs[last] = last, first
        begin = self._parts[first]
        if not (begin.flags & _FIRST and self._parts[last].flags & _LAST):
            return
        if begin.flags & _UNORDERED or _is_before(begin.stream_seq, self.sequence_number):
            self._due.append(first)
        else:
            self._early.setdefault(begin.stream_seq, first)

    def pop_messages(self) -> Iterator[tuple[int, int, bytes]]:
        """Stream, kind and content of each message whose turn it is."""
        if self._turn != self.sequence_number:
            passed = [one for one in self._early if _is_before(one, self.sequence_number)]
            passed.sort(key=lambda one: (one - self.sequence_number) % _SEQUENCES)
            self._due += [self._early.pop(one) for one in passed]
        while self._due or self.sequence_number in self._early:
            if self._due:
                first = self._due.popleft()
            else:
                first = self._early.pop(self.sequence_number)
                self.sequence_number = (self.sequence_number + 1) % _SEQUENCES
            parts = self._take(first)
            yield parts[0].stream_id, parts[0].protocol, b"".join(one.user_data for one in parts)
        self._turn = self.sequence_number

    def prune_chunks(self, tsn: int) -> int:
        """Give up what began up to this TSN and can never be completed, because the peer has given
        up what is missing before it (RFC 3758 section 3.6); tells its bytes."""
        given_up = [
            first
            for first, last in self._runs.items()
            if _reaches(first, last)
            and _reaches(first, tsn)
            and not self._goes_on(first, last, tsn)
        ]
        size = sum(len(part.user_data) for first in given_up for part in self._take(first))
        self._due = deque(one for one in self._due if one in self._runs)
        self._early = {number: one for number, one in self._early.items() if one in self._runs}
        return size

    def _goes_on(self, first: int, last: int, tsn: int) -> bool:
        """Whether a run that began lacks nothing up to a TSN, and the rest may yet come."""
        if not self._parts[first].flags & _FIRST:
            return False
        return not _reaches(last, tsn) or (last == tsn and not self._parts[last].flags & _LAST)

    def _take(self, first: int) -> list[DataChunk]:
        last = self._runs.pop(first)
        self._runs.pop(last, None)
        return [
            self._parts.pop((first + index) % _TSNS) for index in range((last - first) % _TSNS + 1)
        ]


def _is_before(sequence: int, other: int) -> bool:
    return (other - sequence) % _SEQUENCES in range(1, _SEQUENCES // 2)


def _reaches(tsn: int, other: int) -> bool:
    """Whether a TSN is the other or comes before it."""
    return (other - tsn) % _TSNS < _TSNS // 2
