"""How calls are treated: the same for all calls of a process, and why one is turned away."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.calls.continuity import ContinuityPolicy
from gateway.calls.patience import PatiencePolicy


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call is turned away before anything is tried."""

    status: int
    reason: str
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How calls are treated; the same for all calls of a process."""

    session: dict[str, Any] = field(default_factory=lambda: {"type": "realtime"})
    """Session config (GA) for calls that the gateway accepts by itself, or makes."""
    application_decides: bool = False
    """Tell the application of each call and wait for its word; False: accept."""
    ring_on_failure: bool = True
    """A call whose session cannot be had after Accept goes on ringing; False: it gets 503."""
    posted: bool = False
    """The call came by a request that waits for our answer, and is told why there is none."""
    greet: bool = True
    """Ask for a response as soon as a call that the gateway accepted is answered."""
    digits_to_model: bool = True
    ring_timeout_s: float = 45.0
    max_duration_s: float = 3600.0
    """Counted from the answer."""
    transfer_timeout_s: float = 60.0
    """How long a transfer may be without news."""
    bridge: Literal["off", "leave", "listen"] = "off"
    """Whether the gateway itself calls the target of a transfer that the other side cannot make,
    and joins both; the session then ends (leave), or hears both and is not heard (listen)."""
    accepts_refer: bool = False
    """The other side may have us call somebody of `targets` in its place."""
    targets: Sequence[str] = ()
    """As `target_allowed` reads them."""
    continuity: ContinuityPolicy = ContinuityPolicy()
    patience: PatiencePolicy = PatiencePolicy()
    has_apology: bool = False
    """There are recorded words for a caller whose session cannot be had any more."""
    fallback_target: str = ""
    """Whom such a caller is transferred to; "" for nobody."""
