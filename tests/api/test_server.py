"""What every request meets: ids, the envelope, CORS, and what aiohttp would say by itself."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientError, WSMsgType, WSServerHandshakeError
from structlog.testing import capture_logs

from gateway.api import connection
from gateway.realtime.errors import RealtimeError
from tests.api.site import CALL_ID, KEY, Site, serving

pytestmark = pytest.mark.loop

CALLS = "/v1/realtime/calls"
HANG_UP = f"{CALLS}/{CALL_ID}/hangup"
BEARER = f"Authorization: Bearer {KEY}\r\n".encode()
PAGE = {"Origin": "https://app.example"}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as site:
        yield site


def parsed(response: bytes) -> tuple[int, dict[str, str], dict[str, object]]:
    """Status, headers (names in lower case) and the error of a raw answer."""
    head, _, body = response.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert headers["content-type"].startswith("application/json")
    assert headers["x-request-id"].startswith("req_")
    assert "aiohttp" not in headers["server"]
    return int(first.split()[1]), headers, error


async def test_every_answer_has_an_id_of_its_own(site: Site) -> None:
    answers = [
        await site.ask("GET", "/healthz", headers={"x-request-id": "mine"}),
        await site.ask("GET", CALLS, headers={"x-request-id": "mine\tand\tmore"}),
        await site.ask("GET", CALLS, key=None),
        await site.ask("POST", HANG_UP),
        await site.ask("GET", "/v1/nothing"),
        await site.ask("DELETE", "/healthz"),
    ]
    site.line.failure = RuntimeError()
    with capture_logs():
        answers.append(await site.ask("POST", HANG_UP))
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    assert all(name.startswith("req_") and len(name) == 36 for name in ids)
    assert all(answer.headers["Server"] == "voice-agent-gateway" for answer in answers)


async def test_an_upgrade_and_a_refused_one_have_an_id_too(site: Site) -> None:
    assert site.client is not None
    url = f"{site.url}/v1/realtime"
    response = await site.raw(
        b"GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + BEARER + b"\r\n\x88\x80\0\0\0\0"
    )
    head = response.partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 101")
    assert b"\r\nx-request-id: req_" in head
    with pytest.raises(WSServerHandshakeError) as caught:
        await site.client.ws_connect(url)
    assert caught.value.headers is not None
    assert caught.value.headers["x-request-id"].startswith("req_")


async def test_an_unknown_path_and_a_wrong_method(site: Site) -> None:
    nothing = await site.ask("GET", "/v1/realtime/nothing")
    assert nothing.status == 404
    assert nothing.error["message"] == "Invalid URL (GET /v1/realtime/nothing)"
    translations = await site.ask("POST", "/v1/realtime/translations/client_secrets", json={})
    assert translations.status == 404
    assert translations.error["type"] == "invalid_request_error"
    wrong = await site.ask("DELETE", CALLS)
    assert wrong.status == 405
    assert wrong.error["code"] == "method_not_allowed"
    assert set(wrong.headers["Allow"].split(",")) == {"GET", "POST"}
    assert (await site.ask("OPTIONS", HANG_UP)).headers["Allow"] == "POST"


async def test_a_long_path_is_not_thrown_back(site: Site) -> None:
    answer = await site.ask("GET", "/v1/" + "x" * 4000)
    assert answer.status == 404
    assert len(answer.error["message"]) < 300


async def test_a_defect_is_logged_once_and_told_as_no_more(site: Site) -> None:
    site.line.failure = RuntimeError("the secret reason")
    with capture_logs() as logs:
        answer = await site.ask("POST", HANG_UP)
    assert answer.status == 500
    assert answer.error["type"] == "server_error"
    assert b"secret reason" not in answer.body
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("api.failed", "error")
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["path"] == HANG_UP
    assert (await site.ask("GET", CALLS)).status == 200


async def test_a_defect_after_an_upgrade_ends_the_socket(site: Site) -> None:
    assert site.client is not None
    headers = {"Authorization": f"Bearer {KEY}"}
    with capture_logs() as logs:
        async with site.client.ws_connect(f"{site.url}/v1/realtime?break", headers=headers) as ws:
            await ws.receive_json()
            # Nothing that would be HTTP in the middle of frames.
            assert (await ws.receive()).type in (WSMsgType.CLOSED, WSMsgType.CLOSE)
    assert [line["event"] for line in logs] == ["api.failed"]


@pytest.mark.parametrize(("retry", "header"), [(True, None), (False, "false")])
async def test_an_error_says_when_not_to_repeat(
    site: Site, retry: bool, header: str | None
) -> None:
    site.line.failure = RealtimeError("No backend.", status=502, retry=retry)
    answer = await site.ask("POST", HANG_UP)
    assert answer.status == 502
    assert answer.error["message"] == "No backend."
    assert answer.headers.get("x-should-retry") == header


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX : smuggled\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: magic\r\n\r\n", 417),
    ],
)
async def test_what_is_no_http_gets_the_envelope(
    site: Site, request_: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    got, _, error = parsed(await site.raw(request_))
    assert got == status
    assert error["type"] == "invalid_request_error"
    assert not caplog.records  # nobody fills our log from outside
    assert (await site.ask("GET", "/healthz")).status == 200


@pytest.mark.parametrize(
    "call_id",
    [
        "..%2f..%2fetc",
        "%2e%2e",
        "rtc_live%0d%0aX-Evil:%201",
        "rtc_live%00",
        "rtc live",
        "rtc_" + "x" * 200,
        "rtc_%F0%9F%92%A9",
        "rtc_live;x",
        "rtc_zz_live",
    ],
)
@pytest.mark.parametrize("action", ["", "/accept", "/hangup"])
async def test_a_call_id_is_only_ever_looked_up(site: Site, call_id: str, action: str) -> None:
    method = "POST" if action else "GET"
    path = f"{CALLS}/{call_id}{action}".replace(" ", "%20")
    request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n"
    response = await site.raw(request.encode() + BEARER + b"\r\n")
    status, headers, error = parsed(response)
    assert status == 404
    assert error == {
        "message": "No session found for the provided call_id",
        "type": "invalid_request_error",
        "code": "call_id_not_found",
        "param": "",
    }
    assert "x-evil" not in headers


# CORS.


async def test_a_preflight_needs_no_key(site: Site) -> None:
    asked = "authorization, content-type, x-openai-agents-sdk, x-stainless-os"
    headers = PAGE | {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    for path in (CALLS, HANG_UP, "/v1/realtime/client_secrets", "/healthz"):
        answer = await site.ask("OPTIONS", path, key=None, headers=headers)
        assert answer.status == 204
        assert answer.body == b""
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Access-Control-Allow-Headers"] == asked
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert int(answer.headers["Access-Control-Max-Age"]) > 0
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert answer.headers["x-request-id"].startswith("req_")


async def test_a_preflight_gets_back_only_names_of_headers(site: Site) -> None:
    names = [f"x-{number}" for number in range(100)]
    asked = 'ok, two words, "quoted", <b>, , a\u00e9, ' + "x" * 200 + ", last, " + ",".join(names)
    headers = PAGE | {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    answer = await site.ask("OPTIONS", CALLS, headers=headers)
    allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
    assert allowed[:3] == ["ok", "last", "x-0"]
    assert len(allowed) <= 64


async def test_a_page_may_read_answers_and_errors(site: Site) -> None:
    made = await site.ask("POST", CALLS, json={"to": "tel:+15551234567"}, headers=PAGE)
    assert made.status == 201
    exposed = made.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"Location", "x-request-id"} <= set(exposed)
    errors = [
        await site.ask("GET", CALLS, key=None, headers=PAGE),
        await site.ask("GET", "/v1/nothing", headers=PAGE),
        await site.ask("DELETE", CALLS, headers=PAGE),
        await site.ask("POST", CALLS, json={}, headers=PAGE),
    ]
    assert [error.status for error in errors] == [401, 404, 405, 400]
    for error in errors:
        assert error.error["message"]
        assert error.headers["Access-Control-Allow-Origin"] == "*"


async def test_without_keys_a_strangers_preflight_fails() -> None:
    headers = PAGE | {"Access-Control-Request-Method": "POST"}
    local = headers | {"Origin": "http://localhost:3000"}
    async with serving(keys=()) as site:
        answer = await site.ask("OPTIONS", CALLS, key=None, headers=headers)
        assert answer.status == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
        answer = await site.ask("OPTIONS", CALLS, key=None, headers=local)
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"


async def test_no_page_means_no_cors(site: Site) -> None:
    answer = await site.ask("GET", CALLS)
    assert not any(name.lower().startswith("access-control") for name in answer.headers)


async def test_the_pages_of_the_service(site: Site) -> None:
    assert (await site.ask("GET", "/readyz")).json == {"status": "ready"}
    site.ready.append("draining")
    answer = await site.ask("GET", "/readyz")
    assert answer.status == 503
    assert answer.json == {"status": "unavailable", "reason": "draining"}
    assert (await site.ask("GET", "/healthz")).json == {"status": "ok"}
    assert (await site.ask("HEAD", "/healthz")).status == 200
    assert (await site.ask("GET", "/metrics")).body == b"# nothing\n"


async def test_an_answer_that_does_not_come_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_LAST_ANSWERS_S", 0.05)
    asked = asyncio.Event()

    async def hang(*_: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with serving() as site:
        monkeypatch.setattr(site.line, "command", hang)
        asking = asyncio.create_task(site.ask("POST", HANG_UP))
        await asked.wait()
        assert site.runner is not None
        async with asyncio.timeout(20):
            await site.runner.cleanup()
        with pytest.raises(ClientError):
            await asking
