"""The audio formats that the fake Realtime server speaks."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Format:
    """G.711 or 16-bit PCM, at a whole multiple of 8 kHz."""

    rate_hz: int
    linear: bool

    @property
    def sample_bytes(self) -> int:
        return 1 + self.linear

    @property
    def bytes_per_ms(self) -> int:
        return self.rate_hz // 1000 * self.sample_bytes

    @classmethod
    def from_session(cls, value: Mapping[str, Any]) -> "Format":
        """Read the `format` object of a session.

        Raises:
            ValueError: the bench has no use for it.
        """
        if value["type"] == "audio/pcmu":
            return PCMU
        rate_hz = value.get("rate", 24_000)
        if value["type"] != "audio/pcm" or rate_hz % 8000:
            raise ValueError(f"no format of this bench: {value}")
        return cls(rate_hz, linear=True)


PCMU = Format(8000, linear=False)


def in_format(audio: bytes, source: Format, target: Format) -> bytes:
    """PCM at another rate: to each instant the nearest sample, which marks survive.

    Raises:
        ValueError: one of the two is not PCM.
    """
    if not source.linear or not target.linear:
        raise ValueError("only PCM changes its rate here")
    samples = np.frombuffer(audio, np.int16)
    return samples.take(_nearest(len(samples), source.rate_hz, target.rate_hz)).tobytes()


@lru_cache(maxsize=64)
def _nearest(samples: int, source_hz: int, target_hz: int) -> NDArray[np.int64]:
    instants = np.arange(samples * target_hz // source_hz) * source_hz / target_hz
    return np.minimum(np.rint(instants), samples - 1).astype(np.int64)
