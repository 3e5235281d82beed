"""Who asks: a holder of a key, a holder of a client secret, or, on loopback without keys, anyone.

The softphone's files, `/healthz`, `/readyz`, `/metrics` and `/openapi.json` are open: they tell how
the gateway does and what it can, and nothing of any call. Everything else, known path or not, asks
for a key.

Without keys the gateway listens on loopback only. There the one stranger is a web page in the
user's browser, which can reach loopback too: it is known by its Origin, or by the name in Host
when it had its own name resolve to 127.0.0.1. Both are refused.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from aiohttp import hdrs, web

from gateway.api.pages import FILES
from gateway.api.secrets import PREFIX, SecretStore
from gateway.origin import is_local_host, loopback_origin
from gateway.realtime.errors import RealtimeError
from gateway.realtime.session import Session

_OPEN_PATHS: Final = frozenset({"/", "/healthz", "/readyz", "/metrics", "/openapi.json"})
_SUBPROTOCOL: Final = "openai-insecure-api-key."
_CALLS: Final = "/v1/realtime/calls"
_REALTIME: Final = "/v1/realtime"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who made a request, and with a client secret the session config (GA, checked) inside it."""

    kind: Literal["key", "secret", "open"]
    session: Session | None = field(default=None, repr=False)


CALLER: Final = web.RequestKey("caller", Caller)
"""`request[CALLER]` is set before any route runs that is not open."""


def is_open(path: str) -> bool:
    """Whether what is at a path is for anyone."""
    return path in _OPEN_PATHS or path.startswith(FILES)


class Keys:
    """The keys that open the API.

    Args:
        keys: bearer keys; none means that everybody may ask, which needs a loopback bind.
        secrets: the client secrets that are valid.
    """

    def __init__(self, keys: Sequence[str], secrets: SecretStore) -> None:
        self._digests = [_digest(key) for key in keys]
        self._secrets = secrets

    @property
    def open(self) -> bool:
        """Whether there are no keys."""
        return not self._digests

    def allowed_origin(self, request: web.Request) -> str | None:
        """Pages of which origin may read the answer: `*`, this one, or (None) not this one.

        With keys it is the key that counts, which a browser never sends by itself.
        """
        if not self.open:
            return "*"
        origins = request.headers.getall(hdrs.ORIGIN, ())
        return loopback_origin(origins[0]) if len(origins) == 1 else None

    def identify(self, request: web.Request) -> Caller:
        """Who asks, by `Authorization: Bearer` or, on a WebSocket, by subprotocol.

        Raises:
            RealtimeError: 401 no key, or one that is not valid (any more); 403 a client secret
                for what it does not open, or a web page that may not come here.
        """
        self.check_page(request)
        token = _token(request)
        if token is not None and token.startswith(PREFIX):
            session = self._secrets.find(token)
            if session is None:
                raise _unauthorized(
                    "The client secret is not known or has expired.", "invalid_api_key"
                )
            if not _opens_session(request):
                raise RealtimeError(
                    "A client secret opens WebRTC calls and WebSockets only; use an API key.",
                    code="insufficient_permissions",
                    status=403,
                )
            return Caller("secret", session)
        if self.open:
            return Caller("open")
        if token is None:
            raise _unauthorized(
                "Missing bearer authentication in header: Authorization: Bearer YOUR_KEY.", None
            )
        if not self._holds(token):
            raise _unauthorized("Incorrect API key provided.", "invalid_api_key")
        return Caller("key")

    def check_page(self, request: web.Request) -> None:
        """Keep out what a page of another site asks, where there are no keys.

        Raises:
            RealtimeError: 403.
        """
        if not self.open:
            return
        is_page = hdrs.ORIGIN in request.headers
        is_local = is_local_host(request.headers.get(hdrs.HOST))
        if (is_page and self.allowed_origin(request) is None) or not is_local:
            raise RealtimeError(
                "Without GATEWAY_API_KEYS only programs and pages of this machine are served.",
                code="origin_not_allowed",
                status=403,
            )

    def _holds(self, token: str) -> bool:
        """Takes the same time whichever key it is, and for any that it is not."""
        digest, found = _digest(token), False
        for known in self._digests:
            found |= hmac.compare_digest(digest, known)
        return found


def is_upgrade(request: web.Request) -> bool:
    """Whether a WebSocket is asked for."""
    return request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"


def _token(request: web.Request) -> str | None:
    scheme, _, credentials = request.headers.get(hdrs.AUTHORIZATION, "").strip().partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    if is_upgrade(request):
        for line in request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ()):
            for protocol in map(str.strip, line.split(",")):
                if protocol.startswith(_SUBPROTOCOL):
                    return protocol.removeprefix(_SUBPROTOCOL)
    return None


def _opens_session(request: web.Request) -> bool:
    """Whether this is what a client secret is for: a WebSocket, or the offer of a WebRTC call."""
    if request.path == _REALTIME:
        return request.method == hdrs.METH_GET and is_upgrade(request)
    return (
        request.path == _CALLS
        and request.method == hdrs.METH_POST
        and request.content_type in ("application/sdp", "multipart/form-data")
    )


def _unauthorized(message: str, code: str | None) -> RealtimeError:
    return RealtimeError(message, code=code, status=401)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()
