"""How often a peer's sequence numbers have wrapped, when it takes a new key.

The count is part of every seal and travels with no packet. It goes on under a new key (RFC 3711
section 3.3.1), and does so with pjsip and with whoever uses libsrtp's `srtp_update`; baresip,
FreeSWITCH and Asterisk make a new stream, which begins at zero. No description says which, so both
are tried, and what the first packet can be opened with is it.

Counted are quarters of the 65,536 numbers: they turn so seldom that nearly no packet is looked at
for it, and libsrtp, which does not tell what it counts, opens nothing that is two of them older.
"""

from collections.abc import Callable
from typing import Final

from pylibsrtp import Error, Session

from gateway.rtp.packet import HEADER, PLAIN

MOST_QUARTERS: Final = 512
"""More than a day and a half of packets every 20 ms; a count beyond that is not taken over."""
_QUARTER: Final = 0x4000

Protect = Callable[[bytes], bytes]


def turned(quarters: int, quarter: int) -> int:
    """How many quarters have passed after a packet of that one (0 to 3) was opened."""
    step = ((quarter - quarters + 1) & 3) - 1  # one back, or up to two ahead
    return quarter if quarters + step < 0 else quarters + step


def wind(session: Session, protect: Protect, ssrc: bytes, quarters: int) -> None:
    """Have a session count as if it had heard a source until a while before the end of the quarter
    that came before.

    libsrtp learns from packets alone, so it is shown some: empty ones, made by a `protect` that has
    seen nothing yet, that never leave this place. The while, 80 s of packets, keeps real ones from
    looking like repetitions.
    """
    for quarter in range(quarters):
        number = (quarter * _QUARTER + _QUARTER - 0x1000) & 0xFFFF
        session.unprotect(protect(HEADER.pack(PLAIN, 0, number, 0, int.from_bytes(ssrc))))


class Probe:
    """Whether packets under a new key go on with the count under the old one.

    Args:
        new_session: that opens with the new key.
        new_protect: that seals as the peer does.
    """

    __slots__ = ("_new_protect", "_session", "_wound")

    def __init__(
        self, new_session: Callable[[], Session], new_protect: Callable[[], Protect]
    ) -> None:
        self._new_protect = new_protect
        self._session = new_session()
        self._wound: set[bytes] = set()

    def opens(self, data: bytes, ssrc: bytes, quarters: int) -> bool:
        """Whether this packet of a source does, which had come to `quarters`."""
        if ssrc not in self._wound:
            self._wound.add(ssrc)  # once, whatever somebody floods us with
            self.wind(self._session, ssrc, quarters)
        try:
            self._session.unprotect(data)
        except (Error, ValueError):
            return False
        return True

    def wind(self, session: Session, ssrc: bytes, quarters: int) -> None:
        wind(session, self._new_protect(), ssrc, quarters)
