"""The softphone's files and what the page is told: who gets them, and with which headers."""

import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.api.pages import Softphone, routes
from tests.api.site import Site, serving

pytestmark = pytest.mark.loop


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as site:
        yield site


async def test_the_page_and_all_that_it_names_are_open(site: Site) -> None:
    page = await site.ask("GET", "/", key=None)
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    named = set(re.findall(r'(?:href|src)="(web/[^"]+)"', page.body.decode()))
    assert {name.rpartition(".")[2] for name in named} == {"css", "js", "svg"}
    types = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    seen: set[str] = set()
    while named - seen:
        name = min(named - seen)
        seen.add(name)
        answer = await site.ask("GET", f"/{name}", key=None)
        assert answer.status == 200, name
        kind = types[name.rpartition(".")[2]]
        assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        named |= {f"web/{one}" for one in re.findall(r"from '\./([^']+)'", answer.body.decode())}
    assert len(seen) > 10


async def test_nothing_of_another_host_and_nothing_inline(site: Site) -> None:
    page = await site.ask("GET", "/", key=None)
    policy = page.headers["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'"
    assert rules.pop("frame-ancestors") == "'none'"
    assert set(rules.values()) <= {"'self'", "'none'"}
    text = page.body.decode()
    assert not re.search(
        r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=|https?:(?!//www\.w3)", text
    )


@pytest.mark.parametrize(
    "path",
    [
        "/web/",
        "/web/nothing.js",
        "/web/index.html",
        "/web/__init__.py",
        "/web/../pages.py",
        "/web/%2e%2e/pages.py",
        "/web/..%2fapi%2fpages.py",
        "/web/main.js%00.css",
    ],
)
async def test_only_the_files_of_the_page_are_served(site: Site, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    response = await site.raw(request.encode())
    # What is not below /web/ any more when the path is made plain asks for a key like any other.
    assert response.startswith((b"HTTP/1.1 404", b"HTTP/1.1 401"))
    assert b"import" not in response


@pytest.mark.parametrize("path", ["/", "/web/main.js"])
async def test_a_browser_asks_each_time_and_is_sent_it_once(site: Site, path: str) -> None:
    first = await site.ask("GET", path)
    assert first.headers["Cache-Control"] == "no-cache"
    tag = first.headers["ETag"]
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = await site.ask("GET", path, headers={"If-None-Match": known})
        assert (again.status, again.body) == (304, b"")
        assert again.headers["ETag"] == tag
        assert again.headers["Content-Security-Policy"] == first.headers["Content-Security-Policy"]
    changed = await site.ask("GET", path, headers={"If-None-Match": '"other"'})
    assert (changed.status, changed.body) == (200, first.body)
    head = await site.ask("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(first.body))


async def test_the_page_is_told_of_the_line() -> None:
    server = {"urls": ["turn:turn.example.com"], "username": "u", "credential": "secret"}
    app = web.Application()
    app.add_routes(routes(Softphone("sip:agent@example.com", "1.2.3", "gpt-realtime", [server])))
    async with (
        TestClient(TestServer(app)) as client,
        client.get("/v1/realtime/softphone") as answer,
    ):
        assert await answer.json() == {
            "dial": "sip:agent@example.com",
            "version": "1.2.3",
            "model": "gpt-realtime",
            "webrtc": True,
            "ice_servers": [server],
        }
        assert answer.headers["Cache-Control"] == "no-store"


async def test_only_who_has_a_key_is_told(site: Site) -> None:
    assert (await site.ask("GET", "/v1/realtime/softphone")).status == 200
    secret, _ = site.store.create({"type": "realtime"}, 60)
    for key, status in ((None, 401), ("wrong", 401), (secret, 403)):
        answer = await site.ask("GET", "/v1/realtime/softphone", key=key)
        assert answer.status == status
        assert b"sip:" not in answer.body
