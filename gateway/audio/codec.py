"""What turns the payloads of a leg into the audio that its call is joined in, and back."""

from typing import Protocol

from gateway.audio.formats import AudioFormat


class Codec(Protocol):
    """The codec of one leg, both ways, with a memory of its stream in each.

    Payloads are those of RTP, in order. Lengths are samples of the RTP clock, which is 48 kHz for
    Opus whatever is encoded in it (RFC 7587 section 4.1) and 8 kHz for G.711. Whatever arrives
    costs or yields exactly as much audio as it stands for, and nothing that a peer sends raises.
    """

    @property
    def format(self) -> AudioFormat:
        """What the call is joined in."""
        ...

    def heard(self, payload: bytes, /) -> bytes:
        """The audio of a payload."""
        ...

    def clipped(self, payload: bytes, skip: int, /) -> bytes:
        """The audio of a payload without its first `skip` samples, which are not wanted any more:
        something else stood in for them already."""
        ...

    def lost(self, samples: int, following: bytes | None, /) -> bytes:
        """Audio for a time of which nothing came.

        Args:
            following: the payload after the gap, if it is there: it may tell what was lost. It is
                heard by a call of its own.
        """
        ...

    def encode(self, frame: bytes | None, /) -> bytes:
        """The payload of a frame; of None, a frame of silence."""
        ...

    def reported_loss(self, fraction: float, /) -> None:
        """The peer says that it misses this part of what we send, from 0 to 1."""
        ...
