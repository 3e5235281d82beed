"""`/v1/realtime/calls`: what an application asks of its calls."""

import json
import re
from collections.abc import Callable
from typing import Any, Final, Protocol

from aiohttp import hdrs, web

from gateway.api import offers
from gateway.api.body import media_type, read_bytes, read_object, unsupported_type
from gateway.api.orders import (
    check_accept,
    check_dial,
    check_hang_up,
    check_press,
    check_refer,
    check_reject,
)
from gateway.calls.commands import Accept, Command, Dial, HangUp, Press, Refer, Reject, no_call
from gateway.realtime.errors import invalid
from gateway.realtime.session import Session

_CALLS: Final = "/v1/realtime/calls"
_CALL_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_LIMIT: Final = re.compile(r"[0-9]{1,3}")
_OFFERS: Final = (offers.SDP, offers.MULTIPART)
_DEFAULT_LIMIT, _MOST_LISTED = 20, 100


class PhoneLine(Protocol):
    """The calls, as this module uses them. Errors are RealtimeErrors with their status."""

    async def command(self, call_id: str, command: Command) -> None:
        """Do it; returns when it is done."""

    async def dial(self, order: Dial) -> dict[str, Any]:
        """Call somebody; returns the summary of the new call."""

    async def connect(
        self, offer: bytes, session: Session | None, model: str | None
    ) -> tuple[str, bytes]:
        """Take the call of whoever made an offer of WebRTC; returns its id and the answer."""

    def call_ids(self) -> list[str]:
        """Of the calls now and lately, newest first."""

    def summary(self, call_id: str) -> dict[str, Any]:
        """Of one call; 404 when it is not known (any more)."""


def routes(line: PhoneLine) -> list[web.RouteDef]:
    """The routes of this module. An unknown call is told before anything about the body."""

    def command(
        read: Callable[[web.Request], Any],
    ) -> Callable[[web.Request], Any]:
        async def run(request: web.Request) -> web.Response:
            call_id = _call_id(request)
            line.summary(call_id)
            await line.command(call_id, await read(request))
            return web.Response()

        return run

    async def listing(request: web.Request) -> web.Response:
        return web.json_response(_page(line, request))

    async def retrieve(request: web.Request) -> web.Response:
        return web.json_response(line.summary(_call_id(request)))

    async def create(request: web.Request) -> web.Response:
        kind = media_type(request)
        if kind in _OFFERS:
            call_id, answer = await line.connect(*await offers.read_offer(request))
            if request.transport is None or request.transport.is_closing():
                await line.command(call_id, HangUp())  # nobody is there to take the answer
            return web.Response(
                body=answer, status=201, content_type=offers.SDP, headers=_location(call_id)
            )
        if kind not in (None, "application/json"):
            raise unsupported_type(kind, "application/json", *_OFFERS)
        summary = await line.dial(check_dial(await read_object(request)))
        return web.json_response(summary, status=201, headers=_location(summary["id"]))

    return [
        web.get(_CALLS, listing, allow_head=False),
        web.post(_CALLS, create),
        web.get(_CALLS + "/{call_id}", retrieve, allow_head=False),
        web.post(_CALLS + "/{call_id}/accept", command(_accept)),
        web.post(_CALLS + "/{call_id}/reject", command(_reject)),
        web.post(_CALLS + "/{call_id}/refer", command(_refer)),
        web.post(_CALLS + "/{call_id}/dtmf", command(_press)),
        web.post(_CALLS + "/{call_id}/hangup", command(_hang_up)),
    ]


async def _accept(request: web.Request) -> Accept:
    return check_accept(await read_object(request))


async def _reject(request: web.Request) -> Reject:
    return check_reject(await read_object(request))


async def _press(request: web.Request) -> Press:
    return Press(check_press(await read_object(request)))


async def _refer(request: web.Request) -> Refer:
    return check_refer(await read_object(request))


async def _hang_up(request: web.Request) -> HangUp:
    # It needs no body, and what comes as one is nobody's concern unless it says something.
    if media_type(request) != "application/json":
        return HangUp()
    try:
        body = json.loads(await read_bytes(request) or b"{}")
    except (ValueError, RecursionError):
        return HangUp()
    return check_hang_up(body)


def _location(call_id: str) -> dict[str, str]:
    return {hdrs.LOCATION: f"{_CALLS}/{call_id}"}


def _page(line: PhoneLine, request: web.Request) -> dict[str, Any]:
    """One page of a list, as the official service pages its lists: by `limit` and `after`."""
    limit = request.query.get("limit", str(_DEFAULT_LIMIT))
    if not _LIMIT.fullmatch(limit) or not 1 <= int(limit) <= _MOST_LISTED:
        raise invalid("limit", limit, f"an integer from 1 to {_MOST_LISTED}")
    call_ids = line.call_ids()
    after = request.query.get("after")
    if after:
        if after not in call_ids:
            raise invalid("after", after, "the id of a call that is still remembered")
        call_ids = call_ids[call_ids.index(after) + 1 :]
    page = [line.summary(call_id) for call_id in call_ids[: int(limit)]]
    return {
        "object": "list",
        "data": page,
        "has_more": len(call_ids) > int(limit),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }


def _call_id(request: web.Request) -> str:
    call_id = request.match_info["call_id"]
    if not _CALL_ID.fullmatch(call_id):
        raise no_call()
    return call_id
