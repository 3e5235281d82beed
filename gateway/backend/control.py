"""The control endpoint of the embedded server in test mode.

    GET    /control/sessions    the open sessions
    POST   /control/expire      let them expire now; {"session_id": ...} only that one
    POST   /control/faults      put this plan in force, in JSON: see `faults`
    DELETE /control/faults      no faults any more

It is for programs on the same machine: it answers on the loopback address only, and no web page.
"""

import ipaddress
import json
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from aiohttp import web

from gateway.backend.connection import Connection
from gateway.backend.fault_plan import FaultError, plan_from_json
from gateway.backend.faulty import PlanInForce

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """Answers the requests.

    Args:
        connections: those that are open, kept up to date by the server.
    """

    def __init__(self, connections: Collection[Connection], plan: PlanInForce) -> None:
        self._connections = connections
        self._plan = plan

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/control/sessions", _local(self._sessions))
        app.router.add_post("/control/expire", _local(self._expire))
        app.router.add_post("/control/faults", _local(self._change_faults))
        app.router.add_delete("/control/faults", _local(self._clear_faults))

    async def _sessions(self, _: web.Request) -> web.Response:
        sessions = [
            {
                "id": connection.session.id,
                "dialect": "ga" if connection.beta is None else "beta",
                "age_s": round(connection.age_s, 3),
            }
            for connection in self._connections
        ]
        return web.json_response({"sessions": sessions})

    async def _expire(self, request: web.Request) -> web.Response:
        try:
            body: Any = json.loads(await request.read() or b"{}")
        except (ValueError, RecursionError) as error:
            return refusal(400, f"The body is not JSON: {error}.")
        if not isinstance(body, dict) or set(body) - {"session_id"}:
            return refusal(400, "The body is an object with session_id, or empty.")
        session_id = body.get("session_id")
        expired = [
            connection
            for connection in self._connections
            if session_id in (None, connection.session.id)
        ]
        if session_id is not None and not expired:
            return refusal(404, "There is no such session.", "session_id")
        for connection in expired:
            connection.expire()
        return web.json_response({"expired": [each.session.id for each in expired]})

    async def _change_faults(self, request: web.Request) -> web.Response:
        try:
            plan = plan_from_json(await request.read())
        except FaultError as error:
            return refusal(400, f"{error}.")
        self._plan.change(plan, self._connections)
        return web.json_response({"faults": len(plan)})

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self._plan.change((), self._connections)
        return web.Response(status=204)


def refusal(status: int, message: str, parameter: str | None = None) -> web.Response:
    """An error as the official service answers it."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": parameter, "code": None}
    return web.json_response({"error": error}, status=status)


def _local(handle: _Handler) -> _Handler:
    """Only for programs of this machine, whatever address the server is bound to."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if not is_loopback(request.remote):
            return refusal(403, "This is answered on the loopback address only.")
        if "Origin" in request.headers:  # a browser's, on behalf of whatever page
            return refusal(403, "This is not for web pages.")
        return await handle(request)

    return guarded


def is_loopback(address: str | None) -> bool:
    """Whether a peer's address is one of this machine's own."""
    try:
        peer = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    mapped = peer.ipv4_mapped if isinstance(peer, ipaddress.IPv6Address) else None
    return (mapped or peer).is_loopback
