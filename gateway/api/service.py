"""Health and metrics: what an operator and a load balancer look at."""

from collections.abc import Callable

from aiohttp import web

Readiness = Callable[[], str | None]
"""Why no call can be taken now, or None."""


Providers = Callable[[], dict[str, list[dict[str, str]]]]
"""How `registrations` (with a registrar) and `trunks` (that are asked) stand: registrar or trunk,
state and reason."""


def routes(
    readiness: Readiness, metrics: Callable[[], bytes], providers: Providers
) -> list[web.RouteDef]:
    """The routes of this module.

    Args:
        readiness: asked at each `/readyz`.
        metrics: renders the Prometheus exposition.
        providers: shown at each `/readyz`, whose status they leave alone: a gateway that one of
            them has lost is reached by all others.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        reason = readiness()
        more = providers()
        if reason is None:
            return web.json_response({"status": "ready", **more})
        return web.json_response({"status": "unavailable", "reason": reason, **more}, status=503)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(
            body=metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    return [
        web.get("/healthz", healthz),
        web.get("/readyz", readyz),
        web.get("/metrics", scrape),
    ]
