"""The description, held against what is served."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from gateway.api.openapi import description
from gateway.calls.commands import no_leg, not_made
from gateway.realtime.errors import RealtimeError
from gateway.realtime.events import call_answered, call_ringing, transfer_ended
from tests.api.site import CALL_ID, KEY, Site, serving

pytestmark = pytest.mark.loop

CALLS = "/v1/realtime/calls"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as site:
        yield site


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }


def references(part: Any) -> set[str]:
    if isinstance(part, list):
        return set().union(*map(references, part))
    if not isinstance(part, dict):
        return set()
    found = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
    return found.union(*map(references, part.values()))


def test_it_is_openapi() -> None:
    validate(description("1.2.3"))


def test_every_part_is_used_and_there() -> None:
    document = description("1.2.3")
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses")
        for name in document["components"][kind]
    }
    assert references(document) == there


async def test_every_route_is_described_and_every_description_routed(site: Site) -> None:
    document = (await site.ask("GET", "/openapi.json", key=None)).json
    assert document["info"] == description("0.0.test")["info"]
    assert site.runner is not None
    routed = {
        (route.method, route.resource.canonical)
        for route in site.runner.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert set(operations(document)) == routed


async def test_what_asks_for_a_key_is_described_so(site: Site) -> None:
    for (method, path), operation in operations(description("1")).items():
        answer = await site.ask(method, path.replace("{call_id}", CALL_ID), key=None)
        assert (answer.status == 401) == (operation.get("security") != []), path
        assert ("401" in operation["responses"]) == (answer.status == 401), path


NO_ROOM = RealtimeError("No call can be made now: at_capacity.", code="at_capacity", status=429)


@pytest.mark.parametrize("error", [NO_ROOM, not_made("drain"), no_leg(503, "no_media_port")])
async def test_why_there_is_no_call_of_ours_is_described(site: Site, error: RealtimeError) -> None:
    site.line.failure = error
    answer = await site.ask("POST", CALLS, json={"to": "tel:+15551234567"})
    assert answer.status == error.status
    _check(answer, document_responses(operations(description("1"))["POST", CALLS]), ("POST", CALLS))


def test_the_gateways_own_events_are_named() -> None:
    parameters = operations(description("1"))["GET", "/v1/realtime"]["parameters"]
    (text,) = [one["description"] for one in parameters if one["name"] == "extensions"]
    for built in (
        call_ringing(180, "event_1"),
        call_answered("event_2"),
        transfer_ended("busy", 486, "event_3"),
    ):
        assert f"`{built['type']}`" in text
        assert all(f"`{name}`" in text for name in built.keys() - {"type", "event_id"})


JSON, SDP, TEXT = "application/json", "application/sdp", "text/plain"
BODIES = [
    (JSON, b""),
    (JSON, b"{"),
    (JSON, b"[]"),
    (JSON, b'{"type": "realtime"}'),
    (JSON, b'{"target_uri": "tel:+15551234567"}'),
    (JSON, b'{"to": "tel:+15551234567"}'),
    (SDP, b"v=0"),
    (TEXT, b"{}"),
]


async def test_no_answer_is_undescribed(site: Site) -> None:
    """What a client can do by itself: any key, any body of any type, a call that is not there."""
    secret, _ = site.store.create({"type": "realtime"}, 600)
    seen: set[int] = set()
    for (method, path), operation in operations(description("1")).items():
        call_ids = (CALL_ID, "rtc_unknown") if "{" in path else ("",)
        bodies = BODIES if method == "POST" else BODIES[:1]
        asked: list[tuple[str | None, str, tuple[str, bytes]]] = [
            (KEY, call_id, body) for call_id in call_ids for body in bodies
        ]
        asked += [(key, call_ids[0], body) for key in (None, secret) for body in (bodies[-1],)]
        for key, call_id, (kind, body) in asked:
            place = path.replace("{call_id}", call_id)
            headers = {"Content-Type": kind}
            answer = await site.ask(method, place, key=key, data=body, headers=headers)
            seen.add(answer.status)
            _check(answer, document_responses(operation), (method, path))
    assert seen >= {200, 201, 400, 401, 403, 404, 415, 426}


def document_responses(operation: dict[str, Any]) -> dict[str, Any]:
    common = description("1")["components"]["responses"]
    return {
        status: common[response["$ref"].rpartition("/")[2]] if "$ref" in response else response
        for status, response in operation["responses"].items()
    }


def _check(answer: Any, responses: dict[str, Any], where: tuple[str, str]) -> None:
    assert str(answer.status) in responses, (where, answer.status)
    content = responses[str(answer.status)].get("content")
    if content is None:
        assert answer.body == b""
    else:
        assert answer.headers["Content-Type"].partition(";")[0] in content, where
