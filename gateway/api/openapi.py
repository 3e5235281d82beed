"""`GET /openapi.json`: the description (OpenAPI 3.1) of all that this server serves.

Written by hand, beside the session configs, which describe themselves. A test holds it against the
router, both ways.
"""

import json
from typing import Any, Final

from aiohttp import web

from gateway.api import offers
from gateway.api.schemas import Schema, ref, schemas

_JSON: Final = "application/json"
_CALLS: Final = "/v1/realtime/calls"
_CALL: Final = _CALLS + "/{call_id}"
_SECRET_BODY: Final = "All of it may be left out."
_EXTENSIONS: Final = (
    "With `call_id`, a list of what is shown beyond the official events. `audio`: the audio that "
    "goes to the phone. `events`: the gateway's own event types, which are `gateway.call.ringing` "
    "(with `sip_status`) and `gateway.call.answered` of a call that we make, and "
    "`gateway.transfer.ended` (with `result` and `sip_status`)."
)

_Operation = dict[str, Any]

_ERRORS: Final = {
    400: "Something in the request is not as it must be; `param` names it.",
    401: "No key, or one that is not valid (any more).",
    403: "The key does not open this, or a page of another site asks.",
    404: "No such call, or one that is over.",
    408: "The body took too long to come.",
    413: "The body is too large.",
    415: "The body is of a type that is not taken here.",
    426: "This is a WebSocket: ask for an upgrade.",
    429: "No room now.",
    500: "A defect of the gateway.",
    502: "The Realtime backend cannot be reached, or refuses.",
    503: "There is no call or session to be had, or it ended at once; `code` says why.",
}
_GUARDED: Final = (400, 401, 403, 500)
_BODIED: Final = (408, 413, 415)


def routes(version: str) -> list[web.RouteDef]:
    """The route of this module; `version` is the program's."""
    text = json.dumps(description(version))

    async def serve(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type=_JSON)

    return [web.get("/openapi.json", serve)]


def description(version: str) -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "voice-agent-gateway",
            "version": version,
            "description": "Phone calls for realtime voice agents: the Realtime Calls API, "
            "client secrets, the Realtime WebSocket, and calls as resources.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": _calls() | _client_secrets() | _websocket() | _service(),
        "components": {
            "schemas": schemas(),
            "responses": {str(status): _error(text) for status, text in _ERRORS.items()},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _calls() -> dict[str, Any]:
    call_id = _parameter("call_id", "path", {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,128}$"})
    listing = [
        _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 100}),
        _parameter("after", "query", {"type": "string"}, "The id of the call before the page."),
    ]
    one = {"parameters": [call_id]}

    def command(what: str, body: dict[str, Any], *errors: int) -> dict[str, Any]:
        told = (404, 502, 503, *errors, *_BODIED)
        done = {"description": "Done."}
        return one | {"post": _operation(what, "Calls", {200: done}, told, body=body)}

    text = {"type": "string"}
    location = {"Location": {"schema": text, "description": "Of the new call."}}
    made = _answer("JSON: the call is being set up. SDP: the answer to the offer.", "Call")
    made["content"][offers.SDP] = {"schema": text}
    order = _body("Dial")
    order["content"] |= {
        offers.SDP: {"schema": text},
        offers.MULTIPART: {
            "schema": ref("Offer"),
            "encoding": {"sdp": {"contentType": offers.SDP}},
        },
    }
    return {
        _CALLS: {
            "get": _operation(
                "List the calls now and lately, newest first",
                "Calls",
                {200: _answer("A page of calls.", "CallList")},
                parameters=listing,
            ),
            "post": _operation(
                "Call somebody, or call the agent over WebRTC",
                "Calls",
                {201: made | {"headers": location}},
                (429, 502, 503, *_BODIED),
                parameters=[_parameter("model", "query", text, "Of the session of a raw offer.")],
                body=order,
            ),
        },
        _CALL: one
        | {
            "get": _operation(
                "Look at one call", "Calls", {200: _answer("The call.", "Call")}, (404,)
            )
        },
        _CALL + "/accept": command("Connect a session and answer the caller", _body("Accept")),
        _CALL + "/reject": command(
            "Turn a caller away", _body("Reject", "603 unless it says otherwise.")
        ),
        _CALL + "/refer": command("Transfer the caller", _body("Refer")),
        _CALL + "/dtmf": command("Press keys (an extension of ours)", _body("Press")),
        _CALL + "/hangup": command(
            "End the call", _body("HangUp", "Only `sip_headers` means something.")
        ),
    }


def _client_secrets() -> dict[str, Any]:
    def maker(what: str, order: str, answer: str) -> dict[str, Any]:
        made = {200: _answer("The secret, which is shown only now.", answer)}
        body = _body(order, _SECRET_BODY)
        return {"post": _operation(what, "Client secrets", made, (429, *_BODIED), body=body)}

    return {
        "/v1/realtime/client_secrets": maker(
            "Make a key for a browser", "ClientSecretOrder", "ClientSecret"
        ),
        "/v1/realtime/sessions": maker(
            "Make a key for a browser (beta shape)", "BetaSession", "BetaSessionWithSecret"
        ),
        "/v1/realtime/transcription_sessions": maker(
            "Make a key for transcription (beta shape)",
            "BetaTranscription",
            "BetaSessionWithSecret",
        ),
    }


def _websocket() -> dict[str, Any]:
    text = {"type": "string"}
    parameters = [
        _parameter("call_id", "query", text, "Control this call; `model` then means nothing."),
        _parameter("extensions", "query", text, _EXTENSIONS),
        _parameter("model", "query", text, "A session with this model, of no call."),
        _parameter("intent", "query", text, "`transcription`: a session that only listens."),
    ]
    upgraded = {101: {"description": "Realtime events follow, as text messages."}}
    told = (404, 426, 429, 502, 503)
    return {
        "/v1/realtime": {
            "get": _operation(
                "Open a Realtime WebSocket", "Realtime", upgraded, told, parameters=parameters
            )
        }
    }


def _service() -> dict[str, Any]:
    def page(what: str, responses: dict[int, dict[str, Any]]) -> dict[str, Any]:
        return {"get": _operation(what, "Service", responses, open_=True)}

    def of_type(kind: str, schema: Schema) -> dict[str, Any]:
        return {"description": "As it says.", "content": {kind: {"schema": schema}}}

    text = {"type": "string"}
    name = _parameter("file", "path", text)
    kinds = ("text/css", "text/javascript", "image/svg+xml")
    file = {"description": "As it says.", "content": {kind: {"schema": text} for kind in kinds}}
    unchanged = {"description": "It is as you have it."}
    return {
        "/": page("The softphone", {200: of_type("text/html", text), 304: unchanged}),
        "/web/{file}": {
            "parameters": [name],
            "get": _operation(
                "A file of the softphone",
                "Service",
                {200: file, 304: unchanged},
                (404,),
                open_=True,
            ),
        },
        "/v1/realtime/softphone": {
            "get": _operation(
                "What the softphone is told", "Service", {200: _answer("This.", "Softphone")}
            )
        },
        "/healthz": page("Whether it lives", {200: _answer("It does.", "Health")}),
        "/readyz": page(
            "Whether a call can be taken",
            {200: _answer("Yes.", "Health"), 503: _answer("No, and why.", "Health")},
        ),
        "/metrics": page("Numbers for Prometheus", {200: of_type("text/plain", text)}),
        "/openapi.json": page("This description", {200: of_type(_JSON, {"type": "object"})}),
    }


def _operation(
    summary: str,
    tag: str,
    responses: dict[int, dict[str, Any]],
    errors: tuple[int, ...] = (),
    *,
    body: dict[str, Any] | None = None,
    parameters: list[dict[str, Any]] | None = None,
    open_: bool = False,
) -> _Operation:
    """One operation: what it answers, and the failures that it can tell of."""
    told = sorted({500, *errors} if open_ else {*_GUARDED, *errors})
    operation: _Operation = {
        "summary": summary,
        "tags": [tag],
        "responses": {str(status): response for status, response in responses.items()}
        | {str(status): {"$ref": f"#/components/responses/{status}"} for status in told},
    }
    if body is not None:
        operation["requestBody"] = body
    if parameters is not None:
        operation["parameters"] = parameters
    if open_:
        operation["security"] = []
    return operation


def _parameter(name: str, place: str, schema: Schema, text: str | None = None) -> dict[str, Any]:
    parameter = {"name": name, "in": place, "required": place == "path", "schema": schema}
    return parameter | ({"description": text} if text else {})


def _body(schema: str, optional: str | None = None) -> dict[str, Any]:
    """A JSON body; `optional` says what it means to leave it out."""
    body = {"required": optional is None, "content": {_JSON: {"schema": ref(schema)}}}
    return body | ({"description": optional} if optional else {})


def _answer(text: str, schema: str) -> dict[str, Any]:
    return {"description": text, "content": {_JSON: {"schema": ref(schema)}}}


def _error(text: str) -> dict[str, Any]:
    request_id = {"schema": {"type": "string"}, "description": "Name it when you report it."}
    return _answer(text, "Error") | {"headers": {"x-request-id": request_id}}
