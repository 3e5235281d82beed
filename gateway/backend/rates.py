"""How much a session may ask for in a minute.

Each response takes a request when it is created, and its tokens when it is done; what was taken
comes back evenly, all of it within a minute. When either budget is spent a response fails at once,
with `rate_limit_exceeded`, and says nothing.
"""

from math import ceil
from typing import Final, Literal

from gateway.backend.config import RateLimits
from gateway.backend.tokens import Tokens
from gateway.realtime.errors import RealtimeError
from gateway.realtime.resources import RateLimit, rate_limit

_PERIOD_S: Final = 60.0
_NOTHING: Final = 1e-6  # what rounding leaves of a budget that came back


class _Budget:
    def __init__(self, name: Literal["requests", "tokens"], limit: int, now: float) -> None:
        self.name = name
        self._limit = limit
        self._used = 0.0
        self._at = now

    def take(self, amount: int, now: float) -> None:
        """Count what was used, however much is left."""
        self._used = self._used_by(now) + amount
        self._at = now

    def refusal(self, now: float) -> RealtimeError | None:
        used = self._used_by(now)
        if ceil(used - _NOTHING) < self._limit:
            return None
        wait_s = (used + 1 - self._limit) * _PERIOD_S / self._limit
        return RealtimeError(
            f"Rate limit reached on {self.name} per minute: limit {self._limit}. "
            f"Please try again in {wait_s:.3f}s.",
            code="rate_limit_exceeded",
            kind="rate_limit_error",
        )

    def shown(self, now: float) -> RateLimit:
        return rate_limit(self.name, self._limit, ceil(self._used_by(now) - _NOTHING))

    def _used_by(self, now: float) -> float:
        return max(self._used - self._limit * (now - self._at) / _PERIOD_S, 0.0)


class Rates:
    """What is left of one session's budgets."""

    def __init__(self, limits: RateLimits, now: float) -> None:
        self._requests = _Budget("requests", limits.requests, now)
        self._tokens = _Budget("tokens", limits.tokens, now)

    def take_request(self, now: float) -> RealtimeError | None:
        """Count a response. Returns None, or why it cannot be had; then nothing is counted."""
        refusal = self._requests.refusal(now) or self._tokens.refusal(now)
        if refusal is None:
            self._requests.take(1, now)
        return refusal

    def take_tokens(self, used: Tokens, now: float) -> None:
        """Count what a response has used."""
        self._tokens.take(used.total, now)

    def shown(self, now: float) -> list[RateLimit]:
        """As `rate_limits.updated` has it."""
        return [self._requests.shown(now), self._tokens.shown(now)]
