"""Whose packets are the caller's, and where do ours go: symmetric RTP that cannot be stolen.

The session description names the caller's address, but behind a NAT the packets come from another
one, and ours must go there. Whoever may change that address by merely sending gets the call's audio
("RTP bleed"). So an address is taken over under these rules only:

1. A packet from the signalled address settles it at once.
2. Any other address must first send four packets in sequence, of one source and payload type, over
   at least 22 ms, while the signalled address stays silent; another host must do so after the first
   250 ms, in which the real caller usually has spoken.
3. That happens once. From then on only one more change is possible: back to the signalled address,
   under the same proof, because the signalling named it and nobody else.

Everything else is dropped and counted; it changes nothing. As long as no address was signalled at
all (a call that begins on hold) that is every packet.
"""

from dataclasses import dataclass
from ipaddress import ip_address

from gateway.rtp.packet import RtpPacket

Source = tuple[str, int]

_PROOF_PACKETS = 4
_PROOF_S = 0.022
_GRACE_S = 0.250
_CANDIDATES = 64
_CANDIDATE_PAUSE_S = 1.0


@dataclass(slots=True)
class _Candidate:
    ssrc: int
    payload_type: int
    next_sequence: int
    since: float
    last: float
    packets: int = 1


class Latch:
    """Decides which source address belongs to the call."""

    __slots__ = ("_candidates", "_opened_at", "dropped", "signalled", "source")

    def __init__(self, signalled: Source | None) -> None:
        self.signalled = _plain(signalled)
        """The address of the session description."""
        self._candidates: dict[Source, _Candidate] = {}
        self._opened_at: float | None = None
        self.source: Source | None = None
        """The address that is settled, as the socket reports it."""
        self.dropped = 0

    @property
    def remote(self) -> Source | None:
        """Where to send: the settled address, else the signalled one."""
        return self.signalled if self.source is None else self.source[:2]

    def start(self, now: float) -> None:
        """The call was answered: the caller may be heard from now on."""
        if self._opened_at is None:
            self._opened_at = now

    def retarget(self, signalled: Source | None) -> None:
        """A new description: another address in it opens the latch again."""
        signalled = _plain(signalled)
        if signalled != self.signalled:
            self.signalled = signalled
            self._candidates.clear()
            self._opened_at = None
            self.source = None

    def admit(self, source: Source, packet: RtpPacket, now: float) -> bool:
        """Whether a packet is the caller's; a refused one is counted."""
        if source == self.source:
            return True
        if self._opened_at is None:
            self._opened_at = now
        if self.signalled is None:
            self.dropped += 1
            return False
        address = _plain(source)
        from_signalled = address == self.signalled
        if self.source is None and from_signalled:
            return self._settle(source)
        if self.source is None or from_signalled:
            same_host = source[0] == self.signalled[0]
            in_time = same_host or from_signalled or now - self._opened_at >= _GRACE_S
            if in_time and self._proves(source, packet, now):
                return self._settle(source)
        self.dropped += 1
        return False

    def _settle(self, source: Source) -> bool:
        self.source = source
        self._candidates.clear()
        return True

    def _proves(self, source: Source, packet: RtpPacket, now: float) -> bool:
        candidates = self._candidates
        candidate = candidates.get(source)
        if (
            candidate is None
            or packet.sequence_number != candidate.next_sequence
            or packet.ssrc != candidate.ssrc
            or packet.payload_type != candidate.payload_type
            or now - candidate.last > _CANDIDATE_PAUSE_S
        ):
            candidates.pop(source, None)
            if len(candidates) >= _CANDIDATES:
                # A spray from many addresses must not push out the one that goes on.
                del candidates[min(candidates, key=lambda other: candidates[other].packets)]
            candidates[source] = _Candidate(
                ssrc=packet.ssrc,
                payload_type=packet.payload_type,
                next_sequence=(packet.sequence_number + 1) & 0xFFFF,
                since=now,
                last=now,
            )
            return False
        candidate.packets += 1
        candidate.last = now
        candidate.next_sequence = (candidate.next_sequence + 1) & 0xFFFF
        return candidate.packets >= _PROOF_PACKETS and now - candidate.since >= _PROOF_S


def _plain(address: Source | None) -> Source | None:
    """The address in the spelling that sockets use, so that equal ones compare equal."""
    if address is None:
        return None
    try:
        host = str(ip_address(address[0]))
    except ValueError:
        host = address[0]
    return host, address[1]
