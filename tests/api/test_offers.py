"""Offers of WebRTC as browsers post them: what reaches the line, and what comes back."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import FormData

from gateway.calls.commands import HangUp
from tests.api.site import CALL_ID, KEY, Site, serving

pytestmark = pytest.mark.loop

CALLS = "/v1/realtime/calls"
SDP = {"Content-Type": "application/sdp"}
OFFER = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n"
PCM = {"type": "audio/pcm", "rate": 24000}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as site:
        yield site


def form(**parts: Any) -> FormData:
    """Parts as the official clients send them: without file names, each with its type."""
    data = FormData(default_to_multipart=True)
    for name, value in parts.items():
        if name == "sdp":
            data.add_field(name, value.decode(), content_type="application/sdp")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            data.add_field(name, text, content_type="application/json")
    return data


async def test_a_raw_offer_gets_the_lines_own_session(site: Site) -> None:
    answer = await site.ask("POST", CALLS, data=OFFER, headers=SDP)
    assert answer.status == 201
    assert answer.headers["Content-Type"] == "application/sdp"
    assert answer.headers["Location"] == f"{CALLS}/rtc_new"
    assert answer.body == b"v=0\r\n"
    assert site.line.offers == [(OFFER, None, None)]


async def test_elder_clients_name_the_model_in_the_query(site: Site) -> None:
    await site.ask("POST", CALLS + "?model=gpt-x", data=OFFER, headers=SDP)
    assert site.line.offers == [(OFFER, None, "gpt-x")]


async def test_a_form_brings_its_session(site: Site) -> None:
    session = {
        "type": "realtime",
        "model": "gpt-x",
        "audio": {"input": {"format": PCM}, "output": {"format": PCM, "voice": "ash"}},
    }
    answer = await site.ask("POST", CALLS + "?model=other", data=form(sdp=OFFER, session=session))
    assert answer.status == 201
    ((offer, asked, model),) = site.line.offers
    assert (offer, model) == (OFFER, "other")  # which counts if the session names none
    # Its formats are those of the call, which SDP agrees on.
    assert asked == {
        "type": "realtime",
        "model": "gpt-x",
        "audio": {"input": {}, "output": {"voice": "ash"}},
    }


async def test_a_form_without_a_session_is_a_raw_offer(site: Site) -> None:
    await site.ask("POST", CALLS, data=form(sdp=OFFER))
    assert site.line.offers == [(OFFER, None, None)]


async def test_a_client_secret_brings_the_session_that_it_was_made_for(site: Site) -> None:
    session = {"type": "realtime", "model": "gpt-s", "instructions": "be brief"}
    value, _ = site.store.create(session, 60)
    answer = await site.ask("POST", CALLS + "?model=other", key=value, data=OFFER, headers=SDP)
    assert answer.status == 201
    assert site.line.offers == [(OFFER, session, "other")]


async def test_a_form_changes_fields_of_the_secrets_session(site: Site) -> None:
    secret = {
        "type": "realtime",
        "instructions": "be brief",
        "audio": {"output": {"voice": "ash"}, "input": {"turn_detection": None}},
    }
    value, _ = site.store.create(secret, 60)
    change = {"type": "realtime", "audio": {"output": {"voice": "marin"}}}
    await site.ask("POST", CALLS, key=value, data=form(sdp=OFFER, session=change))
    assert site.line.offers == [
        (
            OFFER,
            {
                "type": "realtime",
                "instructions": "be brief",
                "audio": {"output": {"voice": "marin"}, "input": {"turn_detection": None}},
            },
            None,
        )
    ]


async def test_an_expired_secret_calls_nobody(site: Site) -> None:
    value, _ = site.store.create({"type": "realtime"}, 60)
    site.clock.now += 61
    answer = await site.ask("POST", CALLS, key=value, data=OFFER, headers=SDP)
    assert answer.status == 401
    assert answer.json["error"]["message"] == "The client secret is not known or has expired."
    assert site.line.offers == []


async def test_a_secret_for_transcription_is_for_no_call(site: Site) -> None:
    value, _ = site.store.create({"type": "transcription"}, 60)
    answer = await site.ask("POST", CALLS, key=value, data=OFFER, headers=SDP)
    assert (answer.status, answer.json["error"]["param"]) == (400, "session.type")


@pytest.mark.parametrize(
    ("options", "param", "code"),
    [
        ({"data": b"", "headers": SDP}, "sdp", "invalid_sdp"),
        ({"data": b" \r\n", "headers": SDP}, "sdp", "invalid_sdp"),
        ({"data": b"v" * 65_537, "headers": SDP}, "sdp", "invalid_sdp"),
        ({"data": form(session={"type": "realtime"})}, "sdp", "missing_required_parameter"),
        ({"data": form(sdp=OFFER, session="{")}, "session", "invalid_json"),
        ({"data": form(sdp=OFFER, session="[]")}, "session", "invalid_type"),
        ({"data": form(sdp=OFFER, session={})}, "session.type", "missing_required_parameter"),
        (
            {"data": form(sdp=OFFER, session={"type": "realtime", "voice": 1})},
            "session.voice",
            "unknown_parameter",
        ),
        ({"data": form(**{f"p{n}": "x" for n in range(9)})}, None, "invalid_form"),
        (
            {"data": b"no form", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            None,
            "invalid_form",
        ),
        (
            {"data": b"no form", "headers": {"Content-Type": "multipart/form-data"}},
            None,
            "invalid_form",
        ),
        *(
            (
                {
                    "data": b"--x\r\n" + head + b"\r\n\r\nv=0\r\n--x--\r\n",
                    "headers": {"Content-Type": "multipart/form-data; boundary=x"},
                },
                None,
                "invalid_form",
            )
            for head in (
                b"X: " + b"y" * 20_000,
                b"no header",
                b"\r\n".join(b"X: y" for _ in range(5000)),
                b"X\x01: y",
            )
        ),
    ],
)
async def test_what_is_wrong_with_an_offer_is_named(
    site: Site, options: dict[str, Any], param: str | None, code: str
) -> None:
    answer = await site.ask("POST", CALLS, **options)
    assert answer.status == 400
    error = answer.json["error"]
    assert (error["param"], error["code"]) == (param, code), error
    assert site.line.offers == []


async def test_a_form_that_is_too_large_is_not_read_to_its_end(site: Site) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="sdp"\r\n\r\n'
        for _ in range(64):
            yield b"v" * (1 << 20)

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = await site.ask("POST", CALLS, data=endless(), headers=kind)
    assert (answer.status, answer.json["error"]["code"]) == (413, "body_too_large")


async def test_nobody_is_left_in_a_call_whose_browser_has_gone(site: Site) -> None:
    waits = asyncio.Event()

    async def slow(*_: object, **__: object) -> tuple[str, bytes]:
        await waits.wait()
        return CALL_ID, b"v=0\r\n"

    site.line.connect = slow  # type: ignore[method-assign]
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    head = f"POST {CALLS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    head += "Content-Type: application/sdp\r\nContent-Length: 4\r\n\r\nv=0\n"
    writer.write(head.encode())
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.transport.abort()
    await asyncio.sleep(0.05)
    waits.set()
    async with asyncio.timeout(5):
        while not site.line.commands:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
    assert site.line.commands == [(CALL_ID, HangUp())]


async def test_another_type_is_told_what_is_taken(site: Site) -> None:
    answer = await site.ask("POST", CALLS, data=OFFER, headers={"Content-Type": "text/plain"})
    assert answer.status == 415
    assert "'application/sdp'" in answer.json["error"]["message"]
