"""The error envelope: every failure of the API, of ours or of aiohttp's, has the same shape."""

from typing import Final

from aiohttp import hdrs, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.typedefs import LooseHeaders

from gateway.realtime.errors import RealtimeError

_SHOULD_RETRY: Final = "x-should-retry"
_LONGEST_PATH: Final = 200


def error_response(error: RealtimeError, *, headers: LooseHeaders | None = None) -> web.Response:
    """`{"error": {"message", "type", "param", "code"}}`, all four keys always there."""
    response = web.json_response({"error": error.fields()}, status=error.status, headers=headers)
    if not error.retry:
        response.headers[_SHOULD_RETRY] = "false"
    if error.retry_after_s is not None:
        response.headers[hdrs.RETRY_AFTER] = str(error.retry_after_s)
    if error.status == web.HTTPUnauthorized.status_code:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    if error.status in _CLOSING:
        response.force_close()
    return response


def of_http(exception: web.HTTPException, request: web.BaseRequest) -> web.Response:
    """What aiohttp raises by itself (no such path, wrong method, body too large, …)."""
    place = f"{request.method} {request.path[:_LONGEST_PATH]}"
    headers: dict[str, str] = {}
    code: str | None = None
    if isinstance(exception, web.HTTPMethodNotAllowed):
        headers[hdrs.ALLOW] = exception.headers[hdrs.ALLOW]
        message, code = f"Not allowed: {place}. See the Allow header.", "method_not_allowed"
    elif isinstance(exception, web.HTTPNotFound):
        message = f"Invalid URL ({place})"
    elif isinstance(exception, web.HTTPRequestEntityTooLarge):
        return error_response(body_too_large())
    else:
        message = exception.reason
    error = RealtimeError(message, code=code, status=exception.status)
    return error_response(error, headers=headers)


def body_too_large() -> RealtimeError:
    return RealtimeError("The request body is too large.", code="body_too_large", status=413)


def malformed(fault: BaseException | None) -> RealtimeError:
    """The request is not HTTP as this server takes it."""
    if isinstance(fault, LineTooLong):
        return RealtimeError(
            "A line of the request's head is too long.", code="headers_too_large", status=431
        )
    return RealtimeError("The request could not be read as HTTP.", code="bad_request")


def internal() -> RealtimeError:
    """What the client is told of a defect of ours. The log says more."""
    return RealtimeError(
        "The server had an error while processing the request.",
        kind="server_error",
        code="server_error",
        status=500,
    )


_CLOSING: Final = frozenset({408, 413})
"""After these the rest of the body is still on its way: the connection is of no more use."""
