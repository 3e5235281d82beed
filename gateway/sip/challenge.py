"""Asking others for a proof, and judging it: digest as a server (RFC 3261 section 22, RFC 7616).

Nothing is remembered of whoever was only asked, or a flood of strangers would drive out those who
are proving themselves: a nonce carries its own date, under a seal that nobody else can make. What
is remembered is how often a nonce was used by somebody who knew a password, so that no proof counts
twice. When there is no more room the nonce used first is forgotten, and with it every nonce as old
that nobody used yet, since these two can no longer be told apart.

A user whom nobody knows costs the same work and gets the same answer as a wrong password.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import Final

from gateway.sip.auth import MAX_COUNT, digest_params, hashed, secret_of
from gateway.sip.message import FORBIDDEN, Request
from gateway.sip.uri import SipUri, UriError

ALGORITHMS: Final = ("SHA-512-256", "SHA-256", "MD5")
"""In the order of our liking (RFC 8760 section 2.3): who can choose takes the first."""
_LIFETIME_S: Final = 300
_MAX_REMEMBERED: Final = 4096
_COUNT: Final = re.compile(r"[0-9A-Fa-f]{1,8}")
_NEEDED: Final = ("username", "realm", "nonce", "uri", "response", "nc", "cnonce", "qop")


class Verdict(Enum):
    NONE = auto()
    """The request brings no proof for us."""
    GOOD = auto()
    STALE = auto()
    """A proof for a nonce that is too old, not ours, or was used: to be given again."""
    WRONG = auto()


class Challenger:
    """Knows who may come in.

    Args:
        realm: what the passwords are for.
        users: names and passwords.
        token: returns fresh random hexadecimal text of at least 16 digits at every call.
        algorithms: what proofs may be made with, the best first.
    """

    def __init__(
        self,
        realm: str,
        users: Mapping[str, str],
        token: Callable[[], str],
        algorithms: Sequence[str] = ALGORITHMS,
    ) -> None:
        if FORBIDDEN.search(realm):
            raise ValueError("control character or line break in a realm")
        self._realm = realm
        self._token = token
        self._algorithms = tuple(algorithms)
        self._seal = (token() + token()).encode()
        self._opaque = token()
        decoy = token() + token()
        self._secrets = {
            algorithm: {
                name: secret_of(algorithm, name, realm, password)
                for name, password in users.items()
            }
            for algorithm in self._algorithms
        }
        self._decoys = {name: secret_of(name, "", realm, decoy) for name in self._algorithms}
        self._used: dict[str, int] = {}  # the highest count of a nonce, the one used first in front
        self._horizon_ms = -1  # of the dates of what was forgotten, the latest

    def challenges(self, now: float, *, stale: bool = False) -> list[tuple[str, str]]:
        """The headers of a 401, one for each algorithm."""
        nonce = self._new_nonce(now)
        quoted = self._realm.replace("\\", "\\\\").replace('"', '\\"')
        again = ", stale=true" if stale else ""
        return [
            (
                "WWW-Authenticate",
                f'Digest realm="{quoted}", nonce="{nonce}", opaque="{self._opaque}", '
                f'algorithm={algorithm}, qop="auth"{again}',
            )
            for algorithm in self._algorithms
        ]

    def judge(self, request: Request, now: float) -> Verdict:
        """What the proof of a request is worth; a good one counts once."""
        for value in request.headers.get_all("Authorization"):
            params = digest_params(value)
            if params is not None and params.get("realm") == self._realm:
                return self._judge(params, request, now)
        return Verdict.NONE

    def _judge(self, params: dict[str, str], request: Request, now: float) -> Verdict:
        algorithm = params.get("algorithm", "MD5").upper()
        if algorithm not in self._algorithms or any(name not in params for name in _NEEDED):
            return Verdict.WRONG
        if params["qop"].lower() != "auth" or not _same_resource(params["uri"], request.uri):
            return Verdict.WRONG
        secrets = self._secrets[algorithm]
        secret = secrets.get(params["username"], self._decoys[algorithm])
        wanted = hashed(
            algorithm,
            secret,
            *(params[name] for name in ("nonce", "nc", "cnonce")),
            "auth",
            hashed(algorithm, request.method, params["uri"]),
        )
        right = hmac.compare_digest(wanted.encode(), params["response"].lower().encode())
        if not right or params["username"] not in secrets:
            return Verdict.WRONG
        return self._use(params["nonce"], params["nc"], now)

    def _use(self, nonce: str, count: str, now: float) -> Verdict:
        if not self._is_ours(nonce):
            return Verdict.STALE
        if not _COUNT.fullmatch(count):
            return Verdict.WRONG
        age_ms = now * 1000 - _date_ms(nonce)
        if not 0 <= age_ms <= _LIFETIME_S * 1000:
            return Verdict.STALE
        if nonce not in self._used:
            if _date_ms(nonce) <= self._horizon_ms:
                return Verdict.STALE
            self._make_room()
        is_new = int(count, 16) > self._used.get(nonce, 0)
        # Who says a count again has not kept its own, or is another: the nonce is of no more use.
        self._used[nonce] = int(count, 16) if is_new else MAX_COUNT
        return Verdict.GOOD if is_new else Verdict.STALE

    def _make_room(self) -> None:
        if len(self._used) >= _MAX_REMEMBERED:
            first = next(iter(self._used))
            del self._used[first]
            self._horizon_ms = max(self._horizon_ms, _date_ms(first))

    def _new_nonce(self, now: float) -> str:
        body = f"{int(now * 1000):x}-{self._token()}{self._token()}"
        return f"{body}-{self._sealed(body)}"

    def _is_ours(self, nonce: str) -> bool:
        body, _, seal = nonce.rpartition("-")
        return hmac.compare_digest(seal.encode(), self._sealed(body).encode())

    def _sealed(self, body: str) -> str:
        return hmac.new(self._seal, body.encode(), hashlib.sha256).hexdigest()[:32]


def _date_ms(nonce: str) -> int:
    """When one of our own was made."""
    return int(nonce.partition("-")[0], 16)


def _same_resource(proven: str, asked: str) -> bool:
    """Whether a proof is for this Request-URI. A proxy on the way may have written another host and
    other parameters into it; whom it is for stays."""
    if proven == asked:
        return True
    try:
        return SipUri.parse(proven).user == SipUri.parse(asked).user
    except UriError:
        return False
