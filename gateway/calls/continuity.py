"""Which Realtime session a call has, and when it needs another.

    FIRST --opened--> LIVE --its limit is near--> RENEWING --opened--> READY --joined--> LIVE
                        |                            |                   |
                        +------------- lost ---------+                   +-- lost: joined at once
                                        v
                                      LOST --opened--> joined, LIVE
                                        |
                                        +--for too long--> GONE

* Before a session ends by its limit, the next one is opened beside it (make before break), and
  joined in a moment when nobody would notice: no response under way, the caller silent. When no
  such moment comes, it is joined just before the limit all the same.
* A session that is lost is replaced as soon as another can be had: at once, then after pauses that
  grow. After two failures, or one that took long, the fallback takes turns with the first server.
  If there is none, a server that asks for time (Retry-After) is given it, even beyond giving up.

Pure: what happened and `now` in, what to do out.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from gateway.realtime.errors import RealtimeError

_LEAD_SHARE: Final = 0.1
_LEAD_S: Final = (2.0, 60.0)
"""How long before its limit a session is replaced: this share of its life, within these bounds."""
_SHORTEST_S: Final = 1.5
"""A session that lives no longer than this is not replaced before it is lost."""
_LAST_SHARE: Final = 0.25
"""The share of the lead that is left when no quiet moment is waited for any longer."""
_PAUSES_S: Final = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Before each attempt to open a session; the last one before all that follow."""
_BEFORE_FALLBACK: Final = 2
"""Failures of the first server before the fallback is tried."""
_PATIENCE_SHARE: Final = 0.25
"""Of the time until giving up: after so much, one failure is enough."""
_LAST_TRY_S: Final = 0.5
"""No later than so long before giving up a session is tried for once more."""
_STABLE_S: Final = 1.0
"""A session that is lost sooner than this after it was joined counts as one more failure."""


class Link(Enum):
    FIRST = auto()
    LIVE = auto()
    RENEWING = auto()
    READY = auto()
    LOST = auto()
    GONE = auto()


class Act(Enum):
    """What is to be done."""

    OPEN = auto()
    """Open a session with the first server."""
    OPEN_FALLBACK = auto()
    JOIN = auto()
    """The session that was opened last is the call's from here on."""
    GIVE_UP = auto()
    """No session is to be had; what is still being opened is not waited for."""


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A session that is connected and configured."""

    session: dict[str, Any]
    """As the server confirmed it."""
    lives_s: float | None = None
    """How long from now on; None when nobody knows."""
    cancels: bool = False
    """Its server does not cancel a response when the caller speaks: we do."""


@dataclass(frozen=True, slots=True)
class SessionFailed:
    """There is no session to be had."""

    reason: str
    """For the call's record."""
    error: RealtimeError
    """For whoever wanted it."""
    refused: bool = False
    """By its config: no other server would take it either."""
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class ContinuityPolicy:
    """How long a call does without a session, and where else it may find one."""

    give_up_s: float = 20.0
    has_fallback: bool = False


class Continuity:
    """Follows the sessions of one call."""

    def __init__(self, policy: ContinuityPolicy) -> None:
        self.state = Link.FIRST
        self.handovers = 0
        """Sessions that took over from another, planned or not."""
        self.losses = 0
        self._policy = policy
        self._opening = False
        self._failures = 0  # since a session was there for a while
        self._live_since = 0.0
        self._trouble_since: float | None = None  # the first loss since then
        self._lost_at: float | None = None
        self._outage_s = 0.0  # before that
        self._renew_at: float | None = None
        self._join_by: float | None = None
        self._try_at: float | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the call is without a session that it had."""
        return self.state in (Link.LOST, Link.GONE)

    def gap_s(self, now: float) -> float:
        """How long the call has been without a session; 0 while it has one."""
        return 0.0 if self._lost_at is None else now - self._lost_at

    def outage_s(self, now: float) -> float:
        """How long the call has been without a session in all."""
        return self._outage_s + self.gap_s(now)

    def trouble_s(self, now: float) -> float:
        """How long the call has been without a session that lasted; 0 while all is well."""
        if self._trouble_since is None or not self.is_lost:
            return 0.0
        return now - self._trouble_since

    def first_failed(self) -> bool:
        """The first session could not be had; whether it is to be tried elsewhere, once."""
        self._failures += 1
        return self._policy.has_fallback and self._failures == 1

    def began(self, lives_s: float | None, now: float) -> None:
        """The first session is there, and lives so long; None when nobody knows."""
        self._live(lives_s, now)

    def opened(self, now: float) -> list[Act]:
        """A further session is open."""
        self._opening = False
        self._try_at = None
        if self.state is Link.LOST:
            return [Act.JOIN]
        if self.state is Link.RENEWING:
            self.state = Link.READY
        return []

    def failed(self, retry_after_s: int | None, now: float) -> None:
        """A further session could not be opened."""
        if self.state is Link.GONE:
            return
        self._opening = False
        self._failures += 1
        if self.trouble_s(now) >= self._policy.give_up_s * _PATIENCE_SHARE:
            # An attempt that hangs takes long. There may be no time for another.
            self._failures = max(self._failures, _BEFORE_FALLBACK)
        self._try_again(now)
        if retry_after_s is not None and not self._policy.has_fallback:
            self._try_at = max(self._try_at or now, now + retry_after_s)

    def lost(self, now: float) -> list[Act]:
        """The call's session is gone."""
        if self.is_lost or self.state is Link.FIRST:
            return []
        self.losses += 1
        self._lost_at = now
        self._renew_at = self._join_by = None
        ready, self.state = self.state is Link.READY, Link.LOST
        if now - self._live_since >= _STABLE_S:
            self._failures, self._trouble_since = 0, now
        elif self._trouble_since is None:
            self._trouble_since = now
        else:
            self._failures += 1
        if ready:
            return [Act.JOIN]
        if not self._opening:
            self._try_again(now)
        return self.timeout(now)

    def next_lost(self, now: float) -> None:
        """The session that was to take over is gone before it did."""
        if self.state is Link.READY:
            self.state = Link.RENEWING
            self.failed(None, now)

    def joined(self, lives_s: float | None, now: float) -> None:
        """`JOIN` was done; the session lives so long from here on."""
        self.handovers += 1
        self._outage_s, self._lost_at = self.outage_s(now), None
        self._live(lives_s, now)

    def quiet(self) -> list[Act]:
        """Nobody would notice a handover now."""
        return [Act.JOIN] if self.state is Link.READY else []

    def timeout(self, now: float) -> list[Act]:
        """What is due."""
        if self._give_up_at is not None and now >= self._give_up_at:
            self.state = Link.GONE
            self._try_at = None
            return [Act.GIVE_UP]
        if self._renew_at is not None and now >= self._renew_at:
            self._renew_at = None
            self._failures = 0
            self.state = Link.RENEWING
            self._try_at = now
        if self.state is Link.READY and self._join_by is not None and now >= self._join_by:
            return [Act.JOIN]
        if self._try_at is not None and now >= self._try_at:
            self._try_at = None
            self._opening = True
            return [self._source()]
        return []

    def next_timeout(self) -> float | None:
        if self.state is Link.GONE:
            return None
        join_by = self._join_by if self.state is Link.READY else None
        times = (self._renew_at, join_by, self._try_at, self._give_up_at)
        return min((at for at in times if at is not None), default=None)

    @property
    def _give_up_at(self) -> float | None:
        if self.state is not Link.LOST or self._trouble_since is None:
            return None
        return self._trouble_since + self._policy.give_up_s

    def _try_again(self, now: float) -> None:
        self._try_at = now + _PAUSES_S[min(self._failures, len(_PAUSES_S) - 1)]
        if self._give_up_at is not None and now < self._give_up_at - _LAST_TRY_S:
            self._try_at = min(self._try_at, self._give_up_at - _LAST_TRY_S)

    def _live(self, lives_s: float | None, now: float) -> None:
        self.state = Link.LIVE
        self._live_since = now
        self._renew_at = self._join_by = None
        if lives_s is None or lives_s < _SHORTEST_S:
            return  # opening sessions all the time would help nobody
        least, most = _LEAD_S
        lead = min(max(lives_s * _LEAD_SHARE, least), most, lives_s / 2)
        self._renew_at = now + lives_s - lead
        self._join_by = now + lives_s - lead * _LAST_SHARE

    def _source(self) -> Act:
        beyond = self._failures - _BEFORE_FALLBACK
        fallback = self._policy.has_fallback and beyond >= 0 and beyond % 2 == 0
        return Act.OPEN_FALLBACK if fallback else Act.OPEN
