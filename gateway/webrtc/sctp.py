"""SCTP over DTLS (RFC 8831), with bounds on what a peer may make us do.

aiortc's association believes what it is told. A caller is only somebody who was let in: what breaks
the protocol is dropped and counted, and so is more than we announced to keep.
"""

from collections.abc import Callable
from typing import Final

from aiortc.rtcsctptransport import (
    AbortChunk,
    Chunk,
    DataChunk,
    ForwardTsnChunk,
    RTCSctpCapabilities,
    RTCSctpTransport,
    SackChunk,
)

from gateway.webrtc.config import PeerCounters
from gateway.webrtc.dtls import Dtls

SCTP_PORT: Final = 5000
"""Ours; it is told in the answer, and means nothing."""
MAX_MESSAGE_BYTES: Final = 524_288
"""The longest message that we take: half of aiortc's window. Only whole messages free that, so none
that is longer would arrive; and the work for each part grows with the parts before it."""
_MAX_STREAMS: Final = 1024
"""Channels at a time. We announce as many, in place of all 65535, each of which takes memory."""
_MAX_WAITING_CHUNKS: Final = 2048
"""Parts of messages that are not complete: over two windows of parts as large as they are sent."""


class Association(RTCSctpTransport):
    """The association with one peer.

    Args:
        aborted: is called when the peer ended it.
    """

    def __init__(self, dtls: Dtls, counters: PeerCounters, aborted: Callable[[], None]) -> None:
        super().__init__(dtls, port=SCTP_PORT)
        self._inbound_streams_max = _MAX_STREAMS
        self._counters = counters
        self._aborted = aborted

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
        try:
            await super()._handle_data(data)
        except Exception:  # it unpacks and asserts what the peer sent
            self._counters.dropped_sctp += 1

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
        if isinstance(chunk, SackChunk):
            return self._acknowledges(chunk)
        if isinstance(chunk, ForwardTsnChunk):
            return all(stream < _MAX_STREAMS for stream, _ in chunk.streams)
        return True

    def _fits(self, chunk: DataChunk) -> bool:
        """Whether there is room for a part of a message. One without data would take none."""
        if chunk.stream_id >= _MAX_STREAMS or not chunk.user_data or self._advertised_rwnd <= 0:
            return False
        return self._waiting_chunks() < _MAX_WAITING_CHUNKS

    def _waiting_chunks(self) -> int:
        return sum(len(stream.reassembly) for stream in self._inbound_streams.values())

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
