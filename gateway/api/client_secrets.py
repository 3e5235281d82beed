"""Keys that a browser may hold: `/v1/realtime/client_secrets`, and the two elder routes in their
flat beta shapes, which hide the secret inside the session that they answer with."""

import secrets
from typing import Any, Final

from aiohttp import web

from gateway.api.body import read_object
from gateway.api.secrets import SecretStore
from gateway.realtime.beta import (
    expiry_seconds,
    session_from_beta,
    session_to_beta,
    transcription_from_beta,
    transcription_to_beta,
)
from gateway.realtime.config import check_session, effective_session
from gateway.realtime.session import Session
from gateway.realtime.validation import ABSENT, Model, check

_TYPES: Final = ("realtime", "transcription")
_ID_BYTES: Final = 12


class _Order(Model):
    expires_after: Any = ABSENT
    session: Any = ABSENT


def routes(store: SecretStore, model: str) -> list[web.RouteDef]:
    """The routes of this module; `model` is that of sessions that name none."""

    def effective(session: Session, expires_at: int = 0) -> Session:
        return effective_session(
            session,
            session_id=f"sess_{secrets.token_hex(_ID_BYTES)}",
            model=model,
            expires_at=expires_at,
        )

    async def create(request: web.Request) -> web.Response:
        order = check(_Order, await read_object(request), "")
        ttl_s = expiry_seconds(order.get("expires_after"), "expires_after")
        session = check_session(order.get("session", {"type": "realtime"}), types=_TYPES)
        value, expires_at = store.create(session, ttl_s)
        return web.json_response(
            {"value": value, "expires_at": expires_at, "session": effective(session)}
        )

    async def beta_session(request: web.Request) -> web.Response:
        body = await read_object(request)
        session = session_from_beta(body)
        secret = _secret(store, session, body, "expires_after")
        temperature = {"temperature": body["temperature"]} if "temperature" in body else {}
        flat = session_to_beta(effective(session), **temperature)
        return web.json_response(flat | {"client_secret": secret})

    async def beta_transcription(request: web.Request) -> web.Response:
        body = await read_object(request)
        session = transcription_from_beta(body)
        secret = _secret(store, session, body, "expires_at")
        return web.json_response(
            transcription_to_beta(effective(session)) | {"client_secret": secret}
        )

    return [
        web.post("/v1/realtime/client_secrets", create),
        web.post("/v1/realtime/sessions", beta_session),
        web.post("/v1/realtime/transcription_sessions", beta_transcription),
    ]


def _secret(
    store: SecretStore, session: Session, body: dict[str, Any], expiry: str
) -> dict[str, Any]:
    """A secret for a checked flat body, which names its expiry by `client_secret.<expiry>`."""
    asked = (body.get("client_secret") or {}).get(expiry)
    value, expires_at = store.create(session, expiry_seconds(asked, f"client_secret.{expiry}"))
    return {"value": value, "expires_at": expires_at}
