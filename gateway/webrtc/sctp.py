"""SCTP over DTLS (RFC 8831), with bounds on what a peer may make us do.

aiortc's association believes what it is told. A caller is only somebody who was let in: what breaks
the protocol is dropped and counted, and so is more than we announced to keep.
"""

from collections.abc import Callable
from typing import Final, cast

from aiortc.rtcsctptransport import (
    AbortChunk,
    Chunk,
    DataChunk,
    ForwardTsnChunk,
    RTCSctpCapabilities,
    RTCSctpTransport,
    SackChunk,
)

from gateway.sdp.data_channel import MAX_STREAMS, SCTP_PORT
from gateway.webrtc.config import PeerCounters
from gateway.webrtc.dtls import Dtls
from gateway.webrtc.reassembly import Stream

MAX_MESSAGE_BYTES: Final = 524_288
"""The longest message that we take: half of aiortc's window, which only whole messages free. So
much is kept beyond the window for a message that all others wait for."""
_MAX_WAITING: Final = 2048
"""Parts of messages that wait for others: over two windows of parts as large as they are sent.
Likewise how many may have come after one that is missing, whether they wait or not."""
_MAX_TOLD: Final = 128
"""Gaps that one packet tells the peer of, and duplicates likewise. Both fit together into a packet
that goes through in one piece; browsers take none of over 2048 bytes."""
_FARTHEST: Final = 0xFFFF
"""A gap that is farther ahead cannot be told (RFC 9260 section 3.3.4)."""


class Association(RTCSctpTransport):
    """The association with one peer.

    Args:
        aborted: is called when the peer ended it.
    """

    def __init__(self, dtls: Dtls, counters: PeerCounters, aborted: Callable[[], object]) -> None:
        super().__init__(dtls, port=SCTP_PORT)
        self._inbound_streams_max = MAX_STREAMS
        self._counters = counters
        self._aborted = aborted
        self._parts_waiting = 0
        self._kinds: set[type[Chunk]] = set()

    async def open(self, port: int, max_message_bytes: int) -> None:
        """Begin to set it up; both sides do.

        Args:
            port: the peer's.
            max_message_bytes: the longest message that the peer takes.
        """
        await self.start(RTCSctpCapabilities(maxMessageSize=max_message_bytes), port)

    @property
    def unconfirmed_bytes(self) -> int:
        """Of messages that are being sent: what the peer has not confirmed."""
        return sum(
            len(chunk.user_data)
            for queue in (self._sent_queue, self._outbound_queue)
            for chunk in queue
        )

    # What aiortc calls.

    async def _handle_data(self, data: bytes) -> None:
        # Counted for each packet and not for each part, of which one packet has up to 80; what the
        # packet itself completes is counted as waiting until then.
        streams = cast(dict[int, Stream], self._inbound_streams)
        self._parts_waiting = sum(map(len, streams.values()))
        self._kinds.clear()
        try:
            await super()._handle_data(data)
        except Exception:  # it unpacks and asserts what the peer sent
            self._counters.dropped_sctp += 1

    def _get_inbound_stream(self, stream_id: int) -> Stream:
        if stream_id not in self._inbound_streams:
            self._inbound_streams[stream_id] = Stream()
        return cast(Stream, self._inbound_streams[stream_id])

    async def _receive_chunk(self, chunk: Chunk) -> None:
        if isinstance(chunk, AbortChunk):
            self._aborted()
        if self._is_sound(chunk):
            await super()._receive_chunk(chunk)
        else:
            self._counters.dropped_sctp += 1

    def _is_sound(self, chunk: Chunk) -> bool:
        if isinstance(chunk, DataChunk):
            return self._fits(chunk)
        # Nobody has to say anything else twice in a packet; each is answered, or is much work.
        if type(chunk) in self._kinds:
            return False
        self._kinds.add(type(chunk))
        if isinstance(chunk, SackChunk):
            return self._acknowledges(chunk)
        if isinstance(chunk, ForwardTsnChunk):
            return all(stream < MAX_STREAMS for stream, _ in chunk.streams)
        return True

    def _fits(self, chunk: DataChunk) -> bool:
        """Whether there is room for a part of a message. One without data would take none."""
        last = self._last_received_tsn
        if chunk.stream_id >= MAX_STREAMS or not chunk.user_data or last is None:
            return False
        ahead = (chunk.tsn - last) % 2**32
        if ahead == 0 or ahead >= 2**31 or chunk.tsn in self._sack_misordered:
            return True  # sent again: takes no room, and the peer waits to be told that it came
        waiting, window = _MAX_WAITING, 0
        if ahead == 1:
            # All others may wait for this one, and for what follows it in its message.
            waiting, window = 2 * _MAX_WAITING, -MAX_MESSAGE_BYTES
        elif ahead > _FARTHEST or len(self._sack_misordered) >= _MAX_WAITING:
            return False
        if self._parts_waiting >= waiting or self._advertised_rwnd <= window:
            return False
        self._parts_waiting += 1
        return True

    def _mark_received(self, tsn: int) -> bool:
        """Note what came; tells whether it had come before.

        Like aiortc's, which sorts for each part all that came after one that is missing.
        """
        ahead = self._sack_misordered
        last = cast(int, self._last_received_tsn)  # without one no part was let in
        if (tsn - last) % 2**32 not in range(1, 2**31) or tsn in ahead:
            if len(self._sack_duplicates) < _MAX_TOLD:
                self._sack_duplicates.append(tsn)
            return True
        ahead.add(tsn)
        while (following := (last + 1) % 2**32) in ahead:
            ahead.remove(following)
            last = following
        self._last_received_tsn = last
        return False

    async def _send_chunk(self, chunk: Chunk) -> None:
        if isinstance(chunk, SackChunk):
            # The lowest gaps, and no more than fit (RFC 9260 section 6.2).
            chunk.gaps = chunk.gaps[:_MAX_TOLD]
        await super()._send_chunk(chunk)

    def _acknowledges(self, chunk: SackChunk) -> bool:
        """Whether the blocks of a SACK are within what we sent, in order (RFC 9260 section 3.3.4).

        aiortc walks them number by number: a packet of made-up ones would hold up all calls.
        """
        sent = (self._local_tsn - 1 - chunk.cumulative_tsn) % 2**32
        if sent >= 2**31:  # confirms what is yet to be sent
            return False
        last = 0
        for first, end in chunk.gaps:
            if not last < first <= end <= sent:
                return False
            last = end
        return True
