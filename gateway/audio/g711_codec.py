"""G.711 as the codec of a leg: bytes pass through, unless the two ends speak different laws."""

from collections.abc import Callable
from typing import Final

from gateway.audio import g711
from gateway.audio.conceal import Concealer
from gateway.audio.formats import AudioFormat, Law

_SAMPLES_PER_MS: Final = 8


class G711Codec:
    """The `Codec` of a leg in G.711.

    Args:
        joined: the law that the call is joined in, for its whole life.
        packet_ms: how much audio a packet of ours carries.
    """

    heard: Callable[[bytes], bytes]

    def __init__(self, joined: Law, packet_ms: int) -> None:
        self.format: Final = AudioFormat(joined, _SAMPLES_PER_MS * 1000)
        self._joined: Final[Law] = joined
        self._packet_samples = packet_ms * _SAMPLES_PER_MS
        self._concealer = Concealer(self.format)
        self.wire(joined)

    def wire(self, law: Law) -> None:
        """Payloads are in this law from now on; at first they are in the joined one."""
        heard = self._concealer.heard
        self._silence = AudioFormat(law, _SAMPLES_PER_MS * 1000).silence(self._packet_samples)
        self._to_wire: bytes | None = None
        self.heard = heard  # nothing stands between
        if law != self._joined:
            from_wire = g711.TRANSLATE[law]
            self._to_wire = g711.TRANSLATE[self._joined]
            self.heard = lambda payload: heard(payload.translate(from_wire))

    def clipped(self, payload: bytes, skip: int) -> bytes:
        return self.heard(payload[skip:])

    def lost(self, samples: int, following: bytes | None) -> bytes:
        return self._concealer.lost(samples)

    def encode(self, frame: bytes | None) -> bytes:
        if frame is None:
            return self._silence
        return frame if self._to_wire is None else frame.translate(self._to_wire)

    def reported_loss(self, fraction: float) -> None:
        """G.711 has nothing to set against it."""
