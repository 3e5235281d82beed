"""Client secrets: short-lived keys that a server hands to a browser with a session inside."""

import hashlib
import heapq
import time
from collections.abc import Callable
from secrets import token_hex

from gateway.realtime.errors import RealtimeError
from gateway.realtime.session import Session

PREFIX = "ek_"
_TOKEN_BYTES = 24


class SecretStore:
    """The secrets that have not expired. Their values are not in it, only SHA-256 digests.

    Args:
        limit: this many live secrets at once.
        clock: seconds that only grow; by them a secret expires.
        wall: unix time, for what clients are told.
        new_token: at least 128 random bits, as letters and digits.
    """

    def __init__(
        self,
        limit: int = 10_000,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        new_token: Callable[[], str] = lambda: token_hex(_TOKEN_BYTES),
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._wall = wall
        self._new_token = new_token
        self._sessions: dict[bytes, Session] = {}
        self._expiry: list[tuple[float, bytes]] = []  # a heap, soonest first

    def create(self, session: Session, ttl_s: int) -> tuple[str, int]:
        """A new secret that opens sessions of this config for `ttl_s` seconds.

        Returns:
            The secret, which cannot be had again, and the unix time at which it expires.

        Raises:
            RealtimeError: 429, as many secrets live as the store may hold.
        """
        self._forget_expired()
        if len(self._sessions) >= self._limit:
            raise RealtimeError(
                "Too many client secrets are valid at once. Wait until some have expired.",
                code="rate_limit_exceeded",
                kind="rate_limit_error",
                status=429,
                retry=False,
            )
        value = PREFIX + self._new_token()
        digest = _digest(value)
        self._sessions[digest] = session
        heapq.heappush(self._expiry, (self._clock() + ttl_s, digest))
        return value, int(self._wall()) + ttl_s

    def find(self, value: str) -> Session | None:
        """The session config of a secret, or None when it is unknown or has expired."""
        self._forget_expired()
        return self._sessions.get(_digest(value))

    def _forget_expired(self) -> None:
        now = self._clock()
        while self._expiry and self._expiry[0][0] <= now:
            del self._sessions[heapq.heappop(self._expiry)[1]]


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode(errors="surrogateescape")).digest()
