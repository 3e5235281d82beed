"""Who may ask what: keys, client secrets, nobody's keys, and pages of strangers."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import WSServerHandshakeError
from structlog.testing import capture_logs

from gateway.api.auth import Caller, Keys
from tests.api.site import CALL_ID, KEY, SECOND_KEY, Answer, Site, serving

pytestmark = pytest.mark.loop

CALLS = "/v1/realtime/calls"
GUARDED = [
    ("GET", CALLS),
    ("POST", CALLS),
    ("GET", f"{CALLS}/{CALL_ID}"),
    ("POST", f"{CALLS}/{CALL_ID}/accept"),
    ("POST", f"{CALLS}/{CALL_ID}/reject"),
    ("POST", f"{CALLS}/{CALL_ID}/refer"),
    ("POST", f"{CALLS}/{CALL_ID}/hangup"),
    ("POST", "/v1/realtime/client_secrets"),
    ("POST", "/v1/realtime/sessions"),
    ("POST", "/v1/realtime/transcription_sessions"),
    ("GET", "/v1/realtime"),
    ("GET", "/v1/no/such/path"),
    ("DELETE", CALLS),
]
OPEN = ["/", "/healthz", "/readyz", "/metrics", "/openapi.json"]
SDP = {"Content-Type": "application/sdp"}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as site:
        yield site


@pytest.fixture
async def open_site() -> AsyncIterator[Site]:
    async with serving(keys=()) as site:
        yield site


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_every_door_asks_for_a_key(site: Site, method: str, path: str) -> None:
    secret, _ = site.store.create({"type": "realtime"}, 60)
    expired, _ = site.store.create({"type": "realtime"}, 10)
    site.clock.now += 11

    none = await site.ask(method, path, key=None)
    assert none.status == 401
    assert none.error["code"] is None
    for wrong in ("key-on", "key-one-", "KEY-ONE", "ek_unknown", expired, "ключ"):
        answer = await site.ask(method, path, key=wrong)
        assert answer.status == 401, wrong
        assert answer.error["code"] == "invalid_api_key"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert wrong not in answer.error["message"]
    assert (await site.ask(method, path, key=secret)).status == 403
    assert not site.line.commands
    for right in (KEY, SECOND_KEY):
        assert (await site.ask(method, path, key=right)).status not in (401, 403)


@pytest.mark.parametrize("path", OPEN)
async def test_what_tells_nothing_of_calls_is_open(site: Site, path: str) -> None:
    assert (await site.ask("GET", path, key=None)).status == 200


@pytest.mark.parametrize(
    "value", ["Bearer", "Bearer ", "Basic a2V5LW9uZQ==", KEY, f"Token {KEY}", f"Bearer{KEY}"]
)
async def test_only_bearer_tokens_count(site: Site, value: str) -> None:
    headers = {"Authorization": value}
    assert (await site.ask("GET", CALLS, key=None, headers=headers)).status == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(site: Site, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {KEY}"}
    assert (await site.ask("GET", CALLS, key=None, headers=headers)).status == 200


async def socket_caller(site: Site, protocols: list[str], key: str | None = None) -> object:
    assert site.client is not None
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    url = f"{site.url}/v1/realtime"
    async with site.client.ws_connect(url, protocols=protocols, headers=headers) as socket:
        return await socket.receive_json()


async def test_a_websocket_may_bring_its_key_as_a_subprotocol(site: Site) -> None:
    session = {"type": "realtime", "instructions": "Sing."}
    secret, _ = site.store.create(session, 60)
    as_key = {"kind": "key", "session": None}
    as_secret = {"kind": "secret", "session": session}
    prefix = "openai-insecure-api-key."
    assert await socket_caller(site, ["realtime", prefix + SECOND_KEY]) == as_key
    assert await socket_caller(site, ["realtime", prefix + secret, "x"]) == as_secret
    assert await socket_caller(site, [], secret) == as_secret
    assert await socket_caller(site, ["realtime", prefix + "wrong"], KEY) == as_key
    for wrong in ("wrong", "ek_wrong", ""):
        with pytest.raises(WSServerHandshakeError) as caught:
            await socket_caller(site, ["realtime", prefix + wrong])
        assert caught.value.status == 401


async def test_a_subprotocol_is_no_key_without_an_upgrade(site: Site) -> None:
    headers = {"Sec-WebSocket-Protocol": f"realtime, openai-insecure-api-key.{KEY}"}
    assert (await site.ask("GET", CALLS, key=None, headers=headers)).status == 401


async def test_a_client_secret_opens_webrtc_calls(site: Site) -> None:
    secret, _ = site.store.create({"type": "realtime"}, 60)
    headers = {"Content-Type": "application/sdp"}
    answer = await site.ask("POST", CALLS, key=secret, data=b"v=0\r\n", headers=headers)
    assert answer.status == 201


async def test_a_client_secret_places_no_phone_call(site: Site) -> None:
    secret, _ = site.store.create({"type": "realtime"}, 60)
    answer = await site.ask("POST", CALLS, key=secret, json={"to": "tel:+15551234567"})
    assert answer.status == 403
    assert answer.error["code"] == "insufficient_permissions"
    assert not site.line.dialled


async def test_secrets_are_in_no_log_and_in_no_repr(site: Site) -> None:
    site.line.failure = RuntimeError("a defect")
    with capture_logs() as logs:
        made = await site.ask("POST", "/v1/realtime/client_secrets")
        secret = made.json["value"]
        await site.ask("POST", f"{CALLS}/{CALL_ID}/hangup")
        await site.ask("POST", f"{CALLS}/{CALL_ID}/hangup", key=secret)
    assert [line["event"] for line in logs] == ["api.failed", "api.refused"]
    assert (logs[1]["status"], logs[1]["log_level"]) == (403, "debug")
    assert KEY not in repr(logs)
    assert secret not in repr(logs)
    shown = repr([Caller("secret", {"instructions": "hush"}), Keys([KEY], site.store), site.store])
    assert KEY not in shown
    assert "hush" not in shown


# Without keys.


@pytest.mark.parametrize("key", [None, "anything"])
async def test_without_keys_everybody_of_this_machine_may_ask(
    open_site: Site, key: str | None
) -> None:
    assert (await open_site.ask("GET", CALLS, key=key)).status == 200
    assert await socket_caller(open_site, ["realtime"], key) == {"kind": "open", "session": None}


async def test_without_keys_a_client_secret_still_is_one(open_site: Site) -> None:
    session = {"type": "realtime", "instructions": "Sing."}
    secret, _ = open_site.store.create(session, 60)
    caller = {"kind": "secret", "session": session}
    assert await socket_caller(open_site, ["realtime"], secret) == caller
    open_site.clock.now += 61
    answer = await open_site.ask("POST", CALLS, key=secret, headers=SDP)
    assert answer.status == 401


async def from_page(site: Site, origin: str, host: str | None = None) -> Answer:
    headers = {"Origin": origin} | ({} if host is None else {"Host": host})
    return await site.ask("POST", f"{CALLS}/{CALL_ID}/hangup", key=None, headers=headers)


LOCAL_ORIGINS = [
    "http://localhost",
    "http://localhost:3000",
    "https://localhost:3000",
    "http://app.localhost:3000",
    "http://127.0.0.1:8080",
    "http://127.1.2.3",
    "http://[::1]:8080",
]
FOREIGN_ORIGINS = [
    "https://evil.example",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "http://evil.example:8080",
    "http://10.0.0.1",
    "http://[::2]",
    "http://0.0.0.0:8080",
    "null",
    "",
    "file://",
    "http://",
    "http://[",
    "http://evil.example#localhost",
    "chrome-extension://abcdef",
]


@pytest.mark.parametrize("origin", LOCAL_ORIGINS)
async def test_pages_of_this_machine_are_served(open_site: Site, origin: str) -> None:
    answer = await from_page(open_site, origin)
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
async def test_a_strangers_page_cannot_drive_the_gateway(open_site: Site, origin: str) -> None:
    answer = await from_page(open_site, origin)
    assert answer.status == 403
    assert answer.error["code"] == "origin_not_allowed"
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert not open_site.line.commands
    with pytest.raises(WSServerHandshakeError) as caught:
        assert open_site.client is not None
        await open_site.client.ws_connect(f"{open_site.url}/v1/realtime", origin=origin)
    assert caught.value.status == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.evil.example"])
async def test_a_name_that_was_made_to_mean_loopback_is_not_served(
    open_site: Site, host: str
) -> None:
    answer = await open_site.ask("GET", CALLS, key=None, headers={"Host": host})
    assert answer.status == 403
    assert (await from_page(open_site, f"http://{host}", host)).status == 403
    # Whether it lives, a load balancer may ask by any name.
    assert (await open_site.ask("GET", "/readyz", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:80", "10.0.0.1"]
)
async def test_names_of_this_machine_and_addresses_are_served(open_site: Site, host: str) -> None:
    assert (await open_site.ask("GET", CALLS, key=None, headers={"Host": host})).status == 200


async def test_with_keys_any_page_may_ask_and_any_name_does(site: Site) -> None:
    headers = {"Origin": "https://app.example", "Host": "gateway.example"}
    answer = await site.ask("GET", CALLS, headers=headers)
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
