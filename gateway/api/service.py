"""Health, metrics and the status page: what an operator and a load balancer look at."""

from collections.abc import Callable
from importlib.resources import files

from aiohttp import web

Readiness = Callable[[], str | None]
"""Why no call can be taken now, or None."""


def routes(readiness: Readiness, metrics: Callable[[], bytes], dial: str) -> list[web.RouteDef]:
    """The routes of this page.

    Args:
        readiness: asked at each `/readyz`.
        metrics: renders the Prometheus exposition.
        dial: the SIP URI to show on the status page.
    """
    page = (files("gateway.web") / "index.html").read_text().replace("{{dial}}", dial)

    async def index(_: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

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
        web.get("/", index),
        web.get("/healthz", healthz),
        web.get("/readyz", readyz),
        web.get("/metrics", scrape),
    ]
