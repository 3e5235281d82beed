"""Requests that are too long for UDP, and where TCP was tried in vain (RFC 3261 s. 18.1.1)."""

from typing import Final

from gateway.sip.message import Address

MAX_UDP_REQUEST_BYTES: Final = 1300
"""Longer ones go over TCP: in pieces, UDP is easily lost."""
_BELIEVED_S: Final = 600.0
"""Where TCP was tried in vain it is not tried again for so long."""
_MAX_PLACES: Final = 256


class WithoutTcp:
    """Places, by their address over UDP, where no connection could be made."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[Address, float] = {}  # the time until which that is believed

    def __len__(self) -> int:
        return len(self._until)

    def note(self, to: Address, now: float) -> None:
        """It was tried there in vain."""
        self._until.pop(to, None)
        if len(self._until) >= _MAX_PLACES:
            del self._until[next(iter(self._until))]  # the oldest
        self._until[to] = now + _BELIEVED_S

    def holds(self, to: Address, now: float) -> bool:
        """Whether it is not to be tried there now."""
        return self._until.get(to, now) > now
