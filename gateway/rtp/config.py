"""What the two sides of a call agreed on about its RTP."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.rtp.latch import Source


@dataclass(frozen=True, slots=True)
class RtpConfig:
    """What signalling agreed on for one leg."""

    payload_type: int
    dtmf_payload_types: tuple[int, ...] = ()
    """Of telephone-event, as far as it was agreed on. All are heard, but for what may be audio; the
    first is sent."""
    remote: Source | None = None
    """The signalled address; None when there is none to send to."""
    reachable: bool = True
    """False: nothing may be sent to `remote` before a packet came from the caller. So it is with a
    private address behind a NAT, which means another host here or none."""
    consented: bool = False
    """Somebody else makes sure that `remote` wants what it is sent, as ICE does."""
    rtcp_mux: bool = False
    """RTCP shares the RTP port (RFC 5761)."""
    remote_rtcp_port: int | None = None
    """None: the port after the RTP port."""
    dtmf_clock_hz: int = 0
    """Of the first telephone-event; 0 is that of the audio."""
    other_audio: Mapping[int, bytes | None] = field(default_factory=dict)
    """More payload types under which audio may come. Each has the table, for `bytes.translate`, by
    which it becomes what it is under `payload_type`; None where it is that already."""
