"""The record of one call while it runs. Pure.

Everything is noted in seconds since the INVITE. What happened becomes a list of moments; what was
heard is kept packet by packet, so that whoever tests a gateway can look at every frame.
"""

from collections.abc import Callable
from typing import NamedTuple

from gateway.phone.listener import Listener, ReceivedPacket, Stretch, is_voice
from gateway.sdp.plan import AudioCodec


class Moment(NamedTuple):
    """Something that happened.

    Events: `ringing` (detail: SIP status), `answered` (codec), `voice` and `silence` (the far end
    began and stopped to sound), `speaking`, `interrupting` and `spoken` (we began, began into the
    far end's voice, and ended), `digit` and `digit_not_sent` (the key), `hold` and `resume` (asked
    for by us), `hold_refused` (SIP status), `session_changed` (by the far end: our direction now),
    `hang_up`, `ended` (why).
    """

    at_s: float
    event: str
    detail: str = ""


class Timeline:
    """Notes moments and packets.

    Args:
        started_at: the clock when the INVITE was sent.
        on_moment: told each moment as it is noted. `silence` is noted 200 ms after it began, so
            moments come slightly out of order; in `moments` they stand in order.
    """

    def __init__(self, started_at: float, on_moment: Callable[[Moment], None] | None) -> None:
        self._started_at = started_at
        self._on_moment = on_moment
        self._moments: list[Moment] = []
        self._listener = Listener()
        self.received: list[ReceivedPacket] = []

    @property
    def moments(self) -> tuple[Moment, ...]:
        return tuple(sorted(self._moments, key=lambda moment: moment.at_s))

    @property
    def voice(self) -> tuple[Stretch, ...]:
        return self._listener.stretches

    def note(self, now: float, event: str, detail: str = "") -> None:
        """Note what happens now."""
        self._note(Moment(now - self._started_at, event, detail))

    def packet(
        self,
        now: float,
        codec: AudioCodec,
        *,
        timestamp: int,
        payload: bytes,
        ssrc: int,
        sequence_number: int,
    ) -> bool:
        """Take an audio packet of the far end; whether it is voice."""
        at_s = now - self._started_at
        self.received.append(ReceivedPacket(at_s, timestamp, payload, ssrc, sequence_number))
        self.tick(now)
        if not is_voice(payload, codec):
            return False
        if self._listener.voiced(at_s):
            self._note(Moment(at_s, "voice"))
        return True

    def tick(self, now: float) -> None:
        """Time has passed: the far end may have fallen silent."""
        stretch = self._listener.passed(now - self._started_at)
        if stretch is not None:
            self._note(Moment(stretch.end_s, "silence"))

    def elapsed(self, now: float) -> float:
        """Seconds since the INVITE."""
        return now - self._started_at

    def _note(self, moment: Moment) -> None:
        self._moments.append(moment)
        if self._on_moment is not None:
            self._on_moment(moment)
