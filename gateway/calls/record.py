"""What is known of a call from outside: its record at the end, and its summary at any time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from gateway.calls.commands import Command, Refer, ended_by
from gateway.calls.machine import CallMachine
from gateway.calls.media import CallMedia
from gateway.calls.state import State
from gateway.legs.leg import Leg, MediaStats

_STATES: Final = {
    State.INCOMING: "incoming",
    State.RINGING: "ringing",
    State.CONNECTING: "connecting",
    State.ANSWERING: "answering",
    State.DIALLING: "connecting",
    State.ACTIVE: "active",
    State.TRANSFERRING: "transferring",
    State.BRIDGED: "bridged",
    State.ENDED: "ended",
}
_SHOWN_DIGITS: Final = 4
_MAX_CALL_ID: Final = 256


@dataclass(frozen=True, slots=True)
class EndedCall:
    """What is remembered of a call that is over: nothing of what it was made of."""

    summary: dict[str, Any]
    reason: str
    sip_status: int | None
    asked: Refer | None
    """Its last transfer."""

    def had_its_effect(self, command: Command) -> bool:
        """Whether the call ended because of a command like this one, which is no error then."""
        return ended_by(command, self.reason, self.sip_status, self.asked)


class CallRecord:
    """The times of a call, and the reader of all its counters.

    Args:
        call_id: names the call.
        leg: whom the call is with at first; who called whom then is the call's direction.
        machine: of the call.
        clock: seconds, monotonic.
    """

    def __init__(
        self, call_id: str, leg: Leg, machine: CallMachine, clock: Callable[[], float]
    ) -> None:
        self.machine = machine
        self._call_id = call_id
        self._direction = leg.direction
        self._leg = leg
        self._second: Leg | None = None
        self._joined_at = 0.0
        self._clock = clock
        self._began_at = clock()
        self._created_at = int(time.time())
        self._answered_at: float | None = None
        self._answered_unix: int | None = None
        self._ended_at: float | None = None
        self._ended_unix: int | None = None
        self._media: CallMedia | None = None
        self.detail: dict[str, Any] | None = None
        """What `ended` returned."""
        self.setup_ms: float | None = None
        """From the call's arrival to our answer; of a call that we made, to the callee's."""

    @property
    def sip_call_id(self) -> str | None:
        """As the carrier's log has it, too."""
        return _shown_id(self._leg)

    def opened(self, media: CallMedia) -> None:
        """There is media to count."""
        self._media = media

    def set_up(self) -> None:
        """Our answer is on its way."""
        self.setup_ms = round((self._clock() - self._began_at) * 1000, 3)

    def answered(self) -> None:
        """The conversation begins."""
        if self.setup_ms is None:  # of a call that we made
            self.set_up()
        self._answered_at, self._answered_unix = self._clock(), int(time.time())

    def swapped(self, leg: Leg) -> None:
        """The call goes on with somebody else."""
        self._leg = leg

    def joined(self, second: Leg) -> None:
        """The other side speaks with a second leg until the call is over."""
        self._second, self._joined_at = second, self._clock()

    def ended(self, dropped_appends: int) -> dict[str, Any]:
        """The call detail record, made once, before anything is freed."""
        self._ended_at, self._ended_unix = self._clock(), int(time.time())
        talk, transfer = self.machine.talk, self.machine.transfer
        continuity, response_ms = talk.continuity, talk.conversation.response_ms
        self.detail = {
            "direction": self._direction,
            "leg": self._leg.kind,
            "reason": self.machine.reason,
            "sip_status": self._sip_status(),
            "sip_call_id": self.sip_call_id,
            "duration_s": self._duration_s(),
            "setup_ms": self.setup_ms,
            "codec": self._codec(),
            "transfer": None if transfer is None else transfer.result,
            "bridged": transfer is not None and transfer.is_bridged,
            "second": self._second_leg(self._ended_at),
            "appends_dropped": dropped_appends,
            "handovers": continuity.handovers,
            "session_losses": continuity.losses,
            "outage_s": round(continuity.outage_s(self._ended_at), 3),
            **self._counters(),
            "response_ms_p50": round(median(response_ms), 1) if response_ms else None,
        }
        return self.detail

    def summary(self) -> dict[str, Any]:
        """What the API shows of the call."""
        machine, transfer = self.machine, self.machine.transfer
        state = _STATES[machine.state]
        if machine.state is State.DIALLING and machine.is_ringing:
            state = "ringing"
        return {
            "id": self._call_id,
            "object": "realtime.call",
            "direction": self._direction,
            "leg": self._leg.kind,
            "from": masked(self._leg.caller) or None,
            "to": masked(self._leg.callee) or None,
            "state": state,
            "created_at": self._created_at,
            "answered_at": self._answered_unix,
            "ended_at": self._ended_unix,
            "duration_s": self._duration_s(),
            "codec": self._codec(),
            "media_security": self._leg.media_security,
            "reason": machine.reason or None,
            "sip_status": self._sip_status(),
            "sip_call_id": self.sip_call_id,
            "transfer": None
            if transfer is None
            else {
                "target": masked(transfer.asked.shown),
                "result": transfer.result or "pending",
                "sip_status": transfer.sip_status,
                "how": transfer.how,
            },
            "counters": self._counters(),
        }

    def kept(self) -> EndedCall:
        """What outlives the call; to be asked when it is over."""
        machine, transfer = self.machine, self.machine.transfer
        asked = None if transfer is None else transfer.asked
        return EndedCall(self.summary(), machine.reason, machine.sip_status, asked)

    def _counters(self) -> dict[str, Any]:
        stats = MediaStats() if self._media is None else self._media.stats()
        conversation = self.machine.talk.conversation
        return {
            "rtp_received": stats.rtp_received,
            "rtp_sent": stats.rtp_sent,
            "rtp_lost": stats.rtp_lost,
            "jitter_ms": round(stats.jitter_ms, 1),
            "mos": stats.mos,
            "turns": conversation.turns,
            "bargeins": conversation.bargeins,
            "dtmf_count": conversation.dtmf_count,
        }

    def _second_leg(self, until: float) -> dict[str, Any] | None:
        """With whom the call was bridged, and how long."""
        leg = self._second
        if leg is None:
            return None
        to = leg.callee if leg.direction == "outbound" else leg.caller
        return {
            "sip_call_id": _shown_id(leg),
            "to": masked(to) or None,
            "duration_s": round(until - self._joined_at, 3),
        }

    def _codec(self) -> str | None:
        """Before the answer it is only an offer."""
        return None if self._answered_at is None else self._leg.codec

    def _sip_status(self) -> int | None:
        return self.machine.sip_status if self._leg.kind == "sip" else None

    def _duration_s(self) -> float:
        if self._answered_at is None:
            return 0.0
        until = self._clock() if self._ended_at is None else self._ended_at
        return round(until - self._answered_at, 3)


def _shown_id(leg: Leg) -> str | None:
    return leg.sip_call_id[:_MAX_CALL_ID] or None


def masked(uri: str) -> str:
    """A URI of somebody, with no more than the last digits of the number in it; "" for nobody."""
    if not uri:
        return ""
    scheme, _, rest = uri.partition(":")
    who, at, where = rest.partition("@")
    who = who.partition(";")[0].partition(":")[0]
    hidden = "…" if len(who) > _SHOWN_DIGITS else ""
    return f"{scheme}:{hidden}{who[-_SHOWN_DIGITS:]}{at}{where.partition(';')[0]}"
