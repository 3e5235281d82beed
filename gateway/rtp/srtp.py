"""SRTP (RFC 3711, RFC 7714): packets that nobody else can read or make.

libsrtp does the arithmetic and keeps what has to be kept of each stream: the rollover counter,
which counts the wraps of the sequence number and travels with no packet, and which packets came.

The number of a key (MKI) that a peer's packets may carry is not covered by their seal. It stands
before the tag, or of the AEAD suites, whose tag is part of the ciphertext, at the very end (RFC
3711 sections 3.1 and 3.4, RFC 7714 sections 8 and 9). Our own packets carry none.

A key that has sealed a packet must never seal another one of the same number, or both can be read.
So a `Seal` lives as long as its key is in use, and is never made anew from the same one.
"""

from functools import partial
from typing import Final

from pylibsrtp import Error, Policy, Session

from gateway.rtp.rollover import MOST_QUARTERS, Probe, turned

_PROFILES: Final[dict[str, int]] = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
_TAG_BYTES: Final[dict[str, tuple[int, int]]] = {
    "AES_CM_128_HMAC_SHA1_80": (10, 10),
    "AES_CM_128_HMAC_SHA1_32": (4, 10),
    "AEAD_AES_128_GCM": (0, 0),
    "AEAD_AES_256_GCM": (0, 0),
}
"""What follows an MKI, of RTP and of RTCP."""
_WINDOW: Final = 1024
"""Packets that may come late: 20 s of them, as after a pause of a bad network."""
_MOST_SOURCES: Final = 32
"""Of a peer at a time. It needs two or three: a device, its keys, music on hold."""


class Seal:
    """What goes out.

    Args:
        suite: as in a=crypto.
        key: master key and salt.
    """

    __slots__ = ("_session", "protect", "protect_rtcp")

    def __init__(self, suite: str, key: bytes) -> None:
        policy = Policy(key, Policy.SSRC_ANY_OUTBOUND, srtp_profile=_PROFILES[suite])
        policy.window_size = _WINDOW
        self._session = Session(policy)
        self.protect = self._session.protect
        """Takes an RTP packet, returns what to send."""
        self.protect_rtcp = self._session.protect_rtcp


class Opener:
    """What comes in; the arguments are those of `Seal`. With an `mki`, only packets that carry it.

    Whoever changes its key goes on with the old one until it has our answer: what the new key does
    not open is shown to the opener `before`, as long as the new one has opened nothing. Whether its
    sources go on with their rollover counters is found out, see `rollover`.
    """

    __slots__ = (
        "_before",
        "_carried",
        "_latest",
        "_number",
        "_probe",
        "_quarters",
        "_session",
        "_sources",
        "forged",
    )

    def __init__(
        self, suite: str, key: bytes, before: "Opener | None" = None, *, mki: bytes = b""
    ) -> None:
        self._before = before
        self.forged = 0
        """Packets that were not made with the key, or came a second time."""
        self._latest = b""
        self._quarters = 0
        """Of the numbers of the latest source that have passed, as the last packet came."""
        self._sources: dict[bytes, int] = {}
        """The same of all by their SSRCs, the one that spoke last at the end."""
        policy = Policy(key, Policy.SSRC_ANY_INBOUND, srtp_profile=_PROFILES[suite])
        policy.window_size = _WINDOW
        self._session = Session(policy)
        self._number = _Number(suite, mki) if mki else None
        # Of less than three quarters nothing can have wrapped.
        counts = {} if before is None else before.quarters
        self._carried = {ssrc: n for ssrc, n in counts.items() if 3 <= n <= MOST_QUARTERS}
        """What sources had come to under the key before, until they are opened with this one."""
        self._probe: Probe | None = None
        if self._carried:
            self._probe = Probe(partial(Session, policy), lambda: Seal(suite, key).protect)

    @property
    def quarters(self) -> dict[bytes, int]:
        """How many quarters of its numbers each source has passed."""
        return {**self._sources, self._latest: self._quarters, **self._carried}

    def unprotect(self, data: bytes) -> bytes | None:
        """The RTP packet, or the RTCP where both share a port (RFC 5761); None for one that the
        peer did not make, or not for the first time."""
        rtcp = len(data) > 1 and 192 <= data[1] <= 223
        number = self._number
        try:
            sealed = data if number is None else number.cut(data, rtcp=rtcp)
            if rtcp:
                packet = self._session.unprotect_rtcp(sealed)
            else:
                packet = self._session.unprotect(sealed)
        except (Error, ValueError):
            if self._carried and not rtcp and self._goes_on(data):
                return self.unprotect(data)
            older = None if self._before is None else self._before.unprotect(data)
            if older is None:
                self.forged += 1
            return older
        ssrc = data[4:8] if rtcp else data[8:12]
        if ssrc != self._latest:
            self._note(ssrc)
        if not rtcp and (self._carried or data[2] >> 6 != self._quarters & 3):
            self._quarters = turned(self._quarters, data[2] >> 6)
            self._carried.pop(ssrc, None)
        return packet

    def stand_alone(self) -> None:
        """Ask nobody else any more."""
        self._before = None

    def _goes_on(self, data: bytes) -> bool:
        """Whether the source of an RTP packet goes on with its count; it is taken over then."""
        ssrc = data[8:12]
        quarters, probe = self._carried.get(ssrc), self._probe
        if quarters is None or probe is None:
            return False
        try:
            sealed = data if self._number is None else self._number.cut(data, rtcp=False)
        except ValueError:
            return False
        if not probe.opens(sealed, ssrc, quarters):
            return False
        del self._carried[ssrc]
        self._note(ssrc)
        probe.wind(self._session, ssrc, quarters)
        self._quarters = quarters - 1
        return True

    def _note(self, ssrc: bytes) -> None:
        """Let libsrtp forget whom it has not heard for longest, once it knows too many.

        It looks each packet's source up in a list, which a peer could make as long as it likes and
        every packet as slow. Only who has the key can push a source out.
        """
        self._before = None
        sources = self._sources
        if self._latest in sources:
            sources[self._latest] = self._quarters
        self._quarters = sources.pop(ssrc, 0)
        sources[ssrc] = self._quarters
        self._latest = ssrc
        if len(sources) > _MOST_SOURCES:
            oldest = next(iter(sources))
            del sources[oldest]
            self._session.remove_stream(int.from_bytes(oldest))


class _Number:
    """The MKI that all packets of a peer carry."""

    __slots__ = ("_mki", "_tags")

    def __init__(self, suite: str, mki: bytes) -> None:
        self._mki = mki
        self._tags = _TAG_BYTES[suite]

    def cut(self, data: bytes, *, rtcp: bool) -> bytes:
        """The packet without it. Raises ValueError for one that has another, or none."""
        end = len(data) - self._tags[rtcp]
        at = end - len(self._mki)
        if at < 0 or data[at:end] != self._mki:
            raise ValueError("another key")
        return data[:at] + data[end:]
