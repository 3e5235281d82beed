"""What a stretch of audio bytes means: the encoding and the sampling rate. Always mono.

Three encodings meet in a call. G.711 (`pcmu`, the mu-law of North America and Japan, and `pcma`,
the A-law of the rest) is what telephones speak: 8000 samples a second, one byte each. `pcm16` is
linear, signed, little-endian, two bytes a sample, and is what speech models prefer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Encoding = Literal["pcmu", "pcma", "pcm16"]
Law = Literal["pcmu", "pcma"]

_SILENT_SAMPLE: Final[dict[Encoding, bytes]] = {
    "pcmu": b"\xff",  # the code of +0
    "pcma": b"\xd5",  # A-law has no zero: this is its smallest positive value
    "pcm16": b"\0\0",
}
_SESSION_TYPES: Final[dict[Encoding, str]] = {
    "pcmu": "audio/pcmu",
    "pcma": "audio/pcma",
    "pcm16": "audio/pcm",
}
_DEFAULT_PCM_HZ: Final = 24_000


class AudioFormatError(ValueError):
    """A description names a format that the gateway cannot carry."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Encoding and rate of mono audio.

    Raises:
        AudioFormatError: G.711 at another rate than 8 kHz, or a PCM rate that is not a whole
            number of kHz from 8 to 48.
    """

    encoding: Encoding
    rate_hz: int

    def __post_init__(self) -> None:
        if self.encoding not in _SESSION_TYPES:
            raise AudioFormatError(f"unknown audio encoding {self.encoding!r}")
        if self.encoding != "pcm16" and self.rate_hz != 8000:
            raise AudioFormatError(f"{self.encoding} is sampled at 8000 Hz, not {self.rate_hz}")
        # Whole samples per millisecond keep every length and position in this package exact.
        if not 8000 <= self.rate_hz <= 48_000 or self.rate_hz % 1000:
            raise AudioFormatError(f"unsupported sampling rate {self.rate_hz} Hz")

    @property
    def bytes_per_sample(self) -> int:
        return len(_SILENT_SAMPLE[self.encoding])

    @property
    def bytes_per_ms(self) -> int:
        return self.rate_hz // 1000 * self.bytes_per_sample

    def silence(self, samples: int) -> bytes:
        """This many samples of silence."""
        return _SILENT_SAMPLE[self.encoding] * samples

    def to_session(self) -> dict[str, Any]:
        """The `format` object of a Realtime session."""
        if self.encoding == "pcm16":
            return {"type": "audio/pcm", "rate": self.rate_hz}
        return {"type": _SESSION_TYPES[self.encoding]}

    @classmethod
    def from_session(cls, value: Mapping[str, Any]) -> "AudioFormat":
        """Read the `format` object of a Realtime session; `audio/pcm` without a rate is 24 kHz.

        G.711 has one rate, so a rate beside it says nothing: servers that merge a session config
        key by key leave the one of their default there.

        Raises:
            AudioFormatError: anything the gateway cannot carry.
        """
        kind = value.get("type")
        for encoding, session_type in _SESSION_TYPES.items():
            if kind == session_type:
                if encoding != "pcm16":
                    return cls(encoding, 8000)
                rate_hz = value.get("rate", _DEFAULT_PCM_HZ)
                if not isinstance(rate_hz, int):
                    raise AudioFormatError(f"unsupported sampling rate {rate_hz!r}")
                return cls(encoding, rate_hz)
        raise AudioFormatError(f"unknown audio format {kind!r}")


PCMU: Final = AudioFormat("pcmu", 8000)
PCMA: Final = AudioFormat("pcma", 8000)
G711: Final[dict[Law, AudioFormat]] = {"pcmu": PCMU, "pcma": PCMA}
PCM24K: Final = AudioFormat("pcm16", 24_000)
