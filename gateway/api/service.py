"""Health and metrics: what an operator and a load balancer look at."""

from collections.abc import Callable

from aiohttp import web

Readiness = Callable[[], str | None]
"""Why no call can be taken now, or None."""


def routes(readiness: Readiness, metrics: Callable[[], bytes]) -> list[web.RouteDef]:
    """The routes of this module.

    Args:
        readiness: asked at each `/readyz`.
        metrics: renders the Prometheus exposition.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        reason = readiness()
        if reason is None:
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "unavailable", "reason": reason}, status=503)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(
            body=metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    return [
        web.get("/healthz", healthz),
        web.get("/readyz", readyz),
        web.get("/metrics", scrape),
    ]
