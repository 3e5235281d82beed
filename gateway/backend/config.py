"""What the embedded agent can be told at start. Imports nothing heavy, so that `run` can read it
before numpy is loaded."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

DEFAULT_DIALOGUE: Final = Path(__file__).parent / "dialogues" / "default.toml"
"""The built-in dialogue."""


@dataclass(frozen=True, slots=True)
class Pacing:
    """How fast the agent answers and speaks."""

    first_audio_ms: float = 200.0
    """From `response.created` to the first audio."""
    jitter_ms: float = 40.0
    """Up to this much is added to the first audio and to every delta, by the seed."""
    speedup: float = 4.0
    """Audio is sent this many times faster than it plays."""

    def __post_init__(self) -> None:
        if self.first_audio_ms < 0 or self.jitter_ms < 0 or self.speedup <= 0:
            raise ValueError("delays cannot be negative, and the speed-up must be above 0")


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Budgets for each minute of a session."""

    requests: int = 10_000
    tokens: int = 10_000_000

    def __post_init__(self) -> None:
        if self.requests < 1 or self.tokens < 1:
            raise ValueError("a rate limit must be 1 or more")


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """One embedded server."""

    host: str = "127.0.0.1"
    port: int = 8090
    """0 binds any free port."""
    dialogue: Path | None = None
    """A dialogue in TOML; None is the built-in one."""
    seed: int | None = None
    """Makes ids and jitter repeat from run to run."""
    pacing: Pacing = field(default_factory=Pacing)
    rate_limits: RateLimits = field(default_factory=RateLimits)
    model: str = "embedded"
    """What the session reports when the client names no model."""
    session_limit_s: float = 3600.0
    """A session ends with `session_expired` after this long."""
    max_sessions: int = 1000
    """Further connections are refused with status 503."""
    faults: Path | None = None
    """A plan of faults: JSON if its name says so, else TOML."""
    test: bool = False
    """Test mode: faults by header, and the control endpoint."""
    rehearsals: bool = True
    """Sessions are held against the `expect` lines of the dialogue."""
    rehearse: bool = False
    """The first session is a rehearsal: a step that is not met ends it, and then it is over."""

    def __post_init__(self) -> None:
        if self.session_limit_s <= 0:
            raise ValueError("a session must be allowed to last")
