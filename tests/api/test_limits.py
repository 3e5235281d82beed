"""Those who take their time, take too much, or take all there is."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.api.limits import Limits
from tests.api.site import CALL_ID, KEY, Site, serving
from tests.api.test_server import BEARER, parsed

pytestmark = pytest.mark.loop

ACCEPT = f"/v1/realtime/calls/{CALL_ID}/accept"
SECRETS = "/v1/realtime/client_secrets"
JSON = {"Content-Type": "application/json"}
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SMALL = Limits(body_bytes=64_000, lingering_s=0.1)
QUICK = Limits(body_s=0.3, keepalive_s=0.3, lingering_s=0.1)
PATIENCE_S = 20.0


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving(limits=SMALL) as site:
        yield site


@pytest.fixture
async def quick_site() -> AsyncIterator[Site]:
    async with serving(limits=QUICK) as site:
        yield site


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(site: Site, first: bytes = b"") -> Streams:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(first)
    return reader, writer


async def until_closed(streams: Streams) -> bytes:
    reader, writer = streams
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


@pytest.mark.parametrize(
    "first", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"]
)
async def test_connections_that_never_ask_are_ended(quick_site: Site, first: bytes) -> None:
    waiting = [await connect(quick_site, first) for _ in range(20)]
    assert await asyncio.gather(*map(until_closed, waiting)) == [b""] * 20


async def test_a_head_that_dribbles_in_is_not_waited_for(quick_site: Site) -> None:
    reader, writer = await connect(quick_site)
    answer = asyncio.create_task(until_closed((reader, writer)))
    for byte in b"GET /healthz HTTP/1.1\r\nHost: a-very-patient-client-with-a-long-name\r\n":
        if answer.done():
            break
        writer.write(bytes([byte]))
        await asyncio.sleep(0.02)
    assert await answer == b""


async def test_a_connection_between_requests_is_ended(quick_site: Site) -> None:
    got = await until_closed(await connect(quick_site, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert got.startswith(b"HTTP/1.1 200")


async def test_a_body_that_does_not_come_is_a_408_and_the_end(quick_site: Site) -> None:
    request = head(ACCEPT, "Content-Length: 100", f"Authorization: Bearer {KEY}") + b'{"type":'
    waiting = [await connect(quick_site, request) for _ in range(20)]
    for response in await asyncio.gather(*map(until_closed, waiting)):
        status, headers, error = parsed(response)
        assert status == 408
        assert headers["x-should-retry"] == "false"
        assert headers["connection"] == "close"
        assert error["code"] == "request_timeout"
    assert not quick_site.line.commands


async def test_others_are_served_meanwhile() -> None:
    async with serving(limits=Limits(body_s=60, keepalive_s=60, lingering_s=0.1)) as site:
        request = head(ACCEPT, "Content-Length: 100", f"Authorization: Bearer {KEY}")
        waiting = [await connect(site, request) for _ in range(50)]
        waiting += [await connect(site, b"GET / HT") for _ in range(50)]
        answers = await asyncio.gather(*(site.ask("POST", SECRETS) for _ in range(20)))
        assert {answer.status for answer in answers} == {200}
        for _, writer in waiting:
            writer.close()


async def test_a_body_cut_off_reaches_no_call(site: Site) -> None:
    request = head(ACCEPT, "Content-Length: 100", f"Authorization: Bearer {KEY}") + b'{"type":'
    _, writer = await connect(site, request)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await site.ask("GET", "/healthz")).status == 200
    assert not site.line.commands


async def test_who_has_no_key_is_told_so_before_the_body(site: Site) -> None:
    request = head(ACCEPT, "Content-Length: 1000000000", "Content-Type: application/json")
    status, _, _ = parsed(await until_closed(await connect(site, request)))
    assert status == 401


@pytest.mark.parametrize("path", [ACCEPT, SECRETS, "/v1/realtime/calls"])
async def test_a_body_beyond_the_limit(site: Site, path: str) -> None:
    body = json.dumps({"type": "realtime", "instructions": "x" * SMALL.body_bytes}).encode()
    answer = await site.ask("POST", path, data=body, headers=JSON)
    assert answer.status == 413
    assert answer.error["code"] == "body_too_large"
    # Of unknown length, it is the same.
    answer = await site.ask("POST", path, data=_in_pieces(body), headers=JSON)
    assert answer.status == 413
    assert not site.line.commands


async def _in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]


async def test_the_largest_body_passes(site: Site) -> None:
    empty = json.dumps({"type": "realtime", "instructions": ""})
    text = "x" * (SMALL.body_bytes - len(empty))
    answer = await site.ask("POST", ACCEPT, json={"type": "realtime", "instructions": text})
    assert answer.status == 200


async def test_a_config_of_200_kib_passes_and_one_of_300_does_not() -> None:
    async with serving() as site:
        for kib, status in [(200, 200), (300, 413)]:
            session = {"type": "realtime", "instructions": "x" * (kib << 10)}
            assert (await site.ask("POST", ACCEPT, json=session)).status == status


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_does_not_go_off(
    site: Site, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    squeeze = gzip.compress if encoding == "gzip" else zlib.compress
    bomb = squeeze(b" " * 30_000_000)
    assert len(bomb) < SMALL.body_bytes
    headers = JSON | {"Content-Encoding": encoding}
    answer = await site.ask("POST", ACCEPT, data=bomb, headers=headers)
    assert answer.status == 413
    small = squeeze(b'{"type":"realtime"}')
    assert (await site.ask("POST", ACCEPT, data=small, headers=headers)).status == 200
    broken = await site.ask("POST", ACCEPT, data=small[:-4] + b"oops", headers=headers)
    assert broken.status == 400
    assert broken.error["type"] == "invalid_request_error"
    unwanted = await site.ask("POST", ACCEPT, key=None, data=b"no gzip", headers=headers)
    assert unwanted.status == 401
    assert caplog.records == []  # of a body that nobody reads, nobody complains


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "null",
        "[]",
        '"text"',
        "NaN",
        "1" * 10_000,
        '{"type": "realtime", "tools": ' + deep(10_000) + "}",
        '{"type": "realtime", "tools": ' + deep(500) + "}",
        '{"type": "realtime", "max_output_tokens": ' + "9" * 5000 + "}",
        '{"type": "realtime", "max_output_tokens": ' + "9" * 4000 + "}",
        '{"type": "realtime", "max_output_tokens": 1e999}',
        '{"type": "realtime", "max_output_tokens": NaN}',
        '{"type": "realtime", "max_output_tokens": -Infinity}',
        '{"type": "realtime", "instructions": "\\ud800"}',
        '{"type": "realtime", "\\ud800": 1}',
        b'{"type": "realtime", "instructions": "\xff"}',
        b"\xff\xfe{\x00}\x00",
        "\ufeff{}",
        '{"type": "realtime"} {}',
    ],
)
async def test_what_is_no_config_is_a_400(site: Site, body: str | bytes) -> None:
    for path in (ACCEPT, "/v1/realtime/calls"):
        answer = await site.ask("POST", path, data=body, headers=JSON)
        assert answer.status == 400
        assert answer.error["code"] is not None
    assert not site.line.commands
    assert not site.line.dialled


async def test_one_address_has_only_so_many_connections() -> None:
    async with serving(limits=Limits(connections=20)) as site:
        kept = [await connect(site, b"GET /healthz HTTP/1.1\r\nHost: x\r\n") for _ in range(20)]
        more = [await connect(site, HEALTH) for _ in range(5)]
        assert await asyncio.gather(*map(until_closed, more)) == [b""] * 5
        for _, writer in kept:
            writer.write(b"Connection: close\r\n\r\n")
        for answer in await asyncio.gather(*map(until_closed, kept)):
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        # Those that have gone do not count.
        assert (await until_closed(await connect(site, HEALTH))).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("request_", [HEALTH, b"BAD\r\n\r\n"])
async def test_nothing_is_left_of_connections(site: Site, request_: bytes) -> None:
    assert site.runner is not None
    await asyncio.gather(*[until_closed(await connect(site, request_)) for _ in range(10)])
    async with asyncio.timeout(PATIENCE_S):
        while site.runner._open:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_json_body_is_what_it_says(site: Site) -> None:
    body = b'{"type": "realtime"}'
    taken: list[dict[str, Any]] = [
        {"Content-Type": "application/json"},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "APPLICATION/JSON"},
        {"Content-Type": ""},
    ]
    for headers in taken:
        answer = await site.ask("POST", ACCEPT, data=body, headers=headers)
        assert answer.status == 200, headers
    without = head(ACCEPT, f"Content-Length: {len(body)}", "Connection: close")[:-2]
    response = await site.raw(without + BEARER + b"\r\n" + body)
    assert response.startswith(b"HTTP/1.1 200")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"):
        answer = await site.ask("POST", ACCEPT, data=body, headers={"Content-Type": kind})
        assert answer.status == 415
        assert answer.error["code"] == "unsupported_content_type"
