"""The HTTP application: what every request passes before its route, and every answer after it."""

from collections.abc import Callable, Sequence

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from structlog.typing import FilteringBoundLogger

from gateway.api import calls, client_secrets, openapi, pages, service
from gateway.api.auth import CALLER, Keys, is_open
from gateway.api.errors import error_response, internal, of_http
from gateway.api.headers import finish, is_preflight, preflight_response, request_id
from gateway.api.limits import LIMITS, Limits
from gateway.api.pages import Softphone
from gateway.api.secrets import SecretStore
from gateway.realtime.errors import RealtimeError


def application(
    *,
    keys: Keys,
    store: SecretStore,
    line: calls.PhoneLine,
    readiness: service.Readiness,
    metrics: Callable[[], bytes],
    softphone: Softphone,
    log: FilteringBoundLogger,
    providers: service.Providers = dict,
    extra: Sequence[web.RouteDef] = (),
    limits: Limits | None = None,
) -> web.Application:
    """The API, the health pages and the softphone; `connection.Runner` serves it.

    Args:
        keys: who may ask.
        store: where client secrets are made; the one that `keys` looks them up in.
        line: does what is asked of calls.
        readiness: why no call can be taken now, or None.
        metrics: renders the Prometheus exposition.
        softphone: what the page is told.
        log: is told of defects.
        providers: how registrations and trunks stand.
        extra: more routes behind the same doors: the WebSockets.
        limits: what one client may take up.
    """
    limits = limits or Limits()
    app = web.Application(
        middlewares=[_errors(log), _doors(keys)], client_max_size=limits.body_bytes
    )
    app[LIMITS] = limits
    app.add_routes(pages.routes(softphone))
    app.add_routes(service.routes(readiness, metrics, providers))
    app.add_routes(openapi.routes(softphone.version))
    app.add_routes(client_secrets.routes(store, softphone.model))
    app.add_routes(calls.routes(line))
    app.add_routes(extra)
    app.on_response_prepare.append(finish(keys))
    return app


def _errors(log: FilteringBoundLogger) -> Middleware:
    """Whatever goes wrong becomes the envelope; a defect is logged, and told as nothing more."""

    @web.middleware
    async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except RealtimeError as error:
            response = error_response(error)
            _note_refusal(log, request, error)
        except web.HTTPException as error:
            response = of_http(error, request)
        except Exception:
            log.error(
                "api.failed",
                request_id=request_id(request),
                method=request.method,
                path=request.path,
                exc_info=True,
            )
            response = error_response(internal())
        if request.writer.output_size > 0:  # an upgraded socket, say: no place for an answer
            raise ConnectionError("the answer has begun already")
        return response

    return errors


def _note_refusal(log: FilteringBoundLogger, request: web.Request, error: RealtimeError) -> None:
    """For the operator whose developers only see what their client makes of it. A stranger without
    a key must not be able to fill the log."""
    tell = log.info if CALLER in request else log.debug
    tell(
        "api.refused",
        request_id=request_id(request),
        method=request.method,
        route=getattr(request.match_info.route.resource, "canonical", None),
        status=error.status,
        code=error.code,
        param=error.param,
    )


def _doors(keys: Keys) -> Middleware:
    """Preflights are answered; everything else must say who asks, before its body is read."""

    @web.middleware
    async def doors(request: web.Request, handler: Handler) -> web.StreamResponse:
        if is_preflight(request):
            keys.check_page(request)
            return preflight_response(request)
        if not is_open(request.path):
            request[CALLER] = keys.identify(request)
        return await handler(request)

    return doors
