"""SIP over WebSocket on loopback: raw messages of a browser against a whole endpoint."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from gateway.legs import sip_connections, sip_endpoint, sip_websocket
from gateway.legs.leg import (
    LegAnswered,
    LegEnded,
    LegHeld,
    ReferAnswered,
    ReferProgress,
)
from gateway.legs.sip_incoming import SipIncomingLeg
from gateway.legs.tls import TlsFiles
from gateway.sip.agent import SipAgent
from gateway.sip.message import MAX_MESSAGE_BYTES, Address
from tests.legs.office import HOST, Office, header
from tests.legs.page import Page
from tests.legs.test_sip_leg import sdp
from tests.sdk import authority

pytestmark = pytest.mark.loop


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip_endpoint, "_LINGER_S", 0.1)


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    office = Office()
    await office.open(ws=True)
    yield office
    await office.close()


Visit = Callable[..., Awaitable[Page]]


@pytest.fixture
async def visit() -> AsyncIterator[Visit]:
    """Opens pages, and closes them in the end."""
    pages: list[Page] = []

    async def visit(office: Office, **options: Any) -> Page:
        pages.append(await Page.open(office.ws_port, **options))
        return pages[-1]

    yield visit
    for page in pages:
        await page.close()


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> tuple[TlsFiles, ssl.SSLContext]:
    """What the server shows, and what the page believes."""
    files = authority.make(tmp_path_factory.mktemp("tls"))
    shown = TlsFiles(str(files.certificate), str(files.key))
    return shown, ssl.create_default_context(cafile=files.authority)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(3):
        while not condition():  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.002)


async def until_open(office: Office, connections: int) -> None:
    """Wait until there are as many connections."""
    await until(lambda: office.endpoint.connections == connections)


async def talking(office: Office, page: Page) -> tuple[SipIncomingLeg, str]:
    """The page's call, answered; its leg, and the 200."""
    calls, up = len(office.legs), office.events.count(LegAnswered())
    await page.send(page.invite())
    await until(lambda: len(office.legs) > calls)
    leg = await office.called()
    leg.ring()
    await page.until("SIP/2.0 180")
    await leg.answer()
    ok = await page.acknowledge()
    await until(lambda: office.events.count(LegAnswered()) > up)
    return leg, ok


# Calls.


@pytest.mark.parametrize("kind", ["ws", "wss"])
@pytest.mark.parametrize("binary", [False, True])
async def test_a_call_that_the_page_ends(
    visit: Visit, trust: tuple[TlsFiles, ssl.SSLContext], kind: str, binary: bool
) -> None:
    secure = kind == "wss"
    office = Office(tls=trust[0] if secure else None)
    await office.open(ws=True)
    try:
        page = await visit(office, trust=trust[1] if secure else None, binary=binary)
        assert page.socket.protocol == "sip"
        leg, ok = await talking(office, page)
        assert office.endpoint.connections == 1
        assert header(ok, "Contact") == f"<sip:{HOST}:{office.ws_port};transport=ws>"
        assert header(ok, "Via").endswith(f";received={HOST}")
        assert leg.caller == "sip:page@gateway.example"
        await page.send(page.within("BYE", ok, 2))
        await page.until("SIP/2.0 200")
        await office.until(LegEnded("remote_bye"))
        await leg.close()
        await page.close()
        await until_open(office, 0)
        assert office.left() == {}
    finally:
        await office.close()


@pytest.mark.parametrize("kind", ["ws", "wss"])
async def test_a_call_that_we_change_transfer_and_end(
    visit: Visit, trust: tuple[TlsFiles, ssl.SSLContext], kind: str
) -> None:
    secure = kind == "wss"
    office = Office(tls=trust[0] if secure else None)
    await office.open(ws=True)
    try:
        page = await visit(office, trust=trust[1] if secure else None)
        leg, ok = await talking(office, page)
        hold = sdp(direction="sendonly").decode()
        typed = "Content-Type: application/sdp"
        await page.send(page.within("INVITE", ok, 2, typed, body=hold))
        await page.until("SIP/2.0 200")
        await page.send(page.within("ACK", ok, 2))
        await office.until(LegHeld(True))
        leg.refer("sip:carol@192.0.2.7")
        refer = await page.until("REFER sip:page@")
        assert refer.split(" ")[1].endswith(".invalid;transport=ws;ob")
        assert header(refer, "Via").startswith(f"SIP/2.0/{kind.upper()} {HOST}:{office.ws_port};")
        assert header(refer, "Refer-To") == "<sip:carol@192.0.2.7>"
        await page.send(page.answer(refer, 202))
        await office.until(ReferAnswered(202))
        told = ("Event: refer", "Subscription-State: terminated", "Content-Type: message/sipfrag")
        await page.send(page.within("NOTIFY", ok, 3, *told, body="SIP/2.0 200 OK\r\n"))
        await page.until("SIP/2.0 200")
        await office.until(ReferProgress(200, True))
        leg.hang_up()
        bye = await page.until("BYE sip:page@")
        await page.send(page.answer(bye, 200))
        await office.until(LegEnded("local_bye"))
        await until(lambda: not office.agent.dialogs)
    finally:
        await office.close()


@pytest.mark.parametrize("vanishes", [False, True])
@pytest.mark.parametrize("up", [False, True])
async def test_a_page_that_is_gone_ends_its_call(
    office: Office, visit: Visit, vanishes: bool, up: bool
) -> None:
    page, other = await visit(office), await visit(office)
    if up:
        await talking(office, page)
    else:
        await page.send(page.invite())
        (await office.called()).ring()
        await page.until("SIP/2.0 180")
    await (page.vanish() if vanishes else page.close())
    await office.until(LegEnded("transport"))
    assert len(office.events) == (2 if up else 1)
    await until_open(office, 1)
    assert office.agent.dialogs == 0
    await talking(office, other)
    await talking(office, await visit(office))


async def test_a_page_goes_on_over_another_connection(office: Office, visit: Visit) -> None:
    page = await visit(office)
    leg, ok = await talking(office, page)
    again = await visit(office)
    await again.send(page.within("OPTIONS", ok, 2))
    await again.until("SIP/2.0 200")
    await page.vanish()
    await until_open(office, 1)
    assert LegEnded("transport") not in office.events
    leg.hang_up()
    await again.send(again.answer(await again.until("BYE"), 200))
    await office.until(LegEnded("local_bye"))


async def test_nobody_is_connected_to(office: Office) -> None:
    """A request for which there is no WebSocket fails at once."""

    def invite(agent: SipAgent, now: float) -> str:
        to = Address(HOST, 9, "ws")
        return agent.invite("sip:bob@x.invalid", sdp(), now, to=to, from_uri=f"sip:a@{HOST}")

    office.endpoint.place(office.leg("sip:bob@x.invalid"), invite)
    assert office.events == [LegEnded("transport")]


async def test_a_caller_who_gives_up(office: Office, visit: Visit) -> None:
    page = await visit(office)
    await page.send(page.invite())
    await office.called()
    cancel = page.invite().replace("INVITE", "CANCEL").partition("Contact")[0] + "\r\n"
    await page.send(cancel.replace("CANCEL1", "INVITE1"))
    await page.until("SIP/2.0 487")
    await page.until("SIP/2.0 200")
    await office.until(LegEnded("cancelled", 487))


async def test_at_the_end_pages_are_told_that_we_go(office: Office, visit: Visit) -> None:
    page = await visit(office)
    leg, _ = await talking(office, page)
    await leg.close()
    await office.endpoint.close()
    await page.until("BYE")
    await page.ended()
    assert page.close_code == aiohttp.WSCloseCode.GOING_AWAY
    assert office.left() == {}


# Messages.


async def test_each_message_stands_alone(office: Office, visit: Visit) -> None:
    page = await visit(office)
    two = page.options() + page.options().replace("7 OPTIONS", "8 OPTIONS")
    await page.send(two)
    await page.send(page.options().replace("7 OPTIONS", "9 OPTIONS"))
    assert header(await page.until("SIP/2.0 200"), "CSeq") == "7 OPTIONS"
    assert header(await page.until("SIP/2.0 200"), "CSeq") == "9 OPTIONS", "one a frame"


async def test_a_broken_message_costs_no_connection(office: Office, visit: Visit) -> None:
    page = await visit(office, binary=True)
    for garbage in (b"", b"\0", b"\xff" * 100, b"HELLO", page.options().encode()[:100]):
        await page.send(garbage)
    await page.send(page.options().replace("CSeq: 7 OPTIONS", "CSeq: seven"))
    await page.until("SIP/2.0 400")
    await page.send(page.options())
    await page.until("SIP/2.0 200")


async def test_text_that_is_none_is_read_as_far_as_it_can_be(office: Office, visit: Visit) -> None:
    page = await visit(office)
    data = page.options().replace("Max-", "Subject: \xe4\r\nMax-").encode("latin-1")
    await page.socket.send_frame(data, aiohttp.WSMsgType.TEXT)
    await page.until("SIP/2.0 200")


async def test_the_largest_message_is_taken_and_a_larger_one_ends_it(
    office: Office, visit: Visit
) -> None:
    page = await visit(office)
    await talking(office, page)
    rest = MAX_MESSAGE_BYTES - len(page.options(10_000)) + 10_000
    assert len(page.options(rest)) == MAX_MESSAGE_BYTES
    await page.send(page.options(rest))
    await page.until("SIP/2.0 200")
    await page.send(page.options(rest + 1))
    await page.ended()
    assert page.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
    await office.until(LegEnded("transport"))
    await until_open(office, 0)


async def test_registering_is_not_needed(office: Office, visit: Visit) -> None:
    page = await visit(office)
    await page.send(page.options().replace("OPTIONS", "REGISTER"))
    await page.until("SIP/2.0 405")
    await talking(office, page)


async def test_keepalives_are_answered(office: Office, visit: Visit) -> None:
    page = await visit(office, autoping=False, listen=False)
    await page.send("\r\n\r\n")
    assert (await page.socket.receive(3)).data == "\r\n"
    await page.send("\r\n")
    await page.socket.ping(b"are you there")
    pong = await page.socket.receive(3)
    assert (pong.type, pong.data) == (aiohttp.WSMsgType.PONG, b"are you there")


async def test_a_flood_of_one_page_delays_nobody(
    office: Office, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes at once is taken in as many turns of the loop, so that audio can leave between."""
    page, turns, taken = await visit(office, listen=False), 0, set[int]()
    send = sip_websocket.WebSocketConnection.send

    def seen(connection: sip_websocket.WebSocketConnection, data: bytes) -> None:
        taken.add(turns)
        send(connection, data)

    monkeypatch.setattr(sip_websocket.WebSocketConnection, "send", seen)
    keepalive = b"\x81\x84\0\0\0\0\r\n\r\n"  # a text frame, masked with zeros
    page.socket._response.connection.transport.write(keepalive * 100)
    async with asyncio.timeout(3):
        while len(taken) < 100:
            turns += 1
            await asyncio.sleep(0)


@pytest.mark.parametrize("secure", [False, True])
async def test_a_connection_that_is_dead_is_noticed(
    visit: Visit,
    trust: tuple[TlsFiles, ssl.SSLContext],
    secure: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sip_websocket, "_HEARTBEAT_S", 0.1)
    monkeypatch.setattr(sip_websocket, "_LAST_WORDS_S", 0.1)
    office = Office(tls=trust[0] if secure else None)
    believed = trust[1] if secure else None
    await office.open(ws=True)
    try:
        dead = await visit(office, trust=believed, autoping=False, listen=False)
        live = await visit(office, trust=believed)
        await dead.send(dead.invite())
        dead.socket._response.connection.transport.pause_reading()
        await office.called()
        await office.until(LegEnded("transport"))
        await until_open(office, 1)
        await live.send(live.options())
        await live.until("SIP/2.0 200")
        await dead.vanish()
    finally:
        await office.close()


async def test_a_page_that_does_not_read_is_given_up(
    office: Office, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_connections, "_MAX_UNSENT_BYTES", 1 << 16)
    page = await visit(office, listen=False)
    await page.send(page.invite())
    await office.called()
    page.socket._response.connection.transport.pause_reading()
    (connection,) = office.endpoint._connections._open.values()
    for _ in range(1000):  # the kernel takes some
        connection.send(b"x" * (1 << 16))
    await office.until(LegEnded("transport"))
    await until_open(office, 0)
    await page.vanish()


# Who may connect.


async def status(office: Office, **options: Any) -> int:
    """What a handshake is answered with."""
    try:
        page = await Page.open(office.ws_port, **options)
    except aiohttp.WSServerHandshakeError as error:
        return error.status
    await page.close()
    return 101


@pytest.mark.parametrize(
    ("protocols", "answer"),
    [((), 400), (("chat",), 400), (("SIP",), 400), (("chat", "sip"), 101), (("sip", "msrp"), 101)],
)
async def test_the_subprotocol_has_to_be_sip(
    office: Office, protocols: tuple[str, ...], answer: int
) -> None:
    assert await status(office, protocols=protocols) == answer
    await until_open(office, 0)


async def test_what_is_no_websocket_is_told_so(office: Office) -> None:
    async with aiohttp.ClientSession(f"http://{HOST}:{office.ws_port}") as session:
        async with session.get("/") as answer:
            assert (answer.status, answer.headers["Upgrade"]) == (426, "websocket")
        async with session.post("/", data=b"x" * 100_000) as answer:
            assert answer.status == 426
        upgrade = {"Upgrade": "websocket", "Sec-WebSocket-Protocol": "sip"}
        for headers in (upgrade, upgrade | {"Connection": "Upgrade"}):
            async with session.get("/", headers=headers) as answer:
                assert answer.status == 400
        await until_open(office, 0)


async def test_what_is_no_http_is_told_so(office: Office) -> None:
    reader, writer = await asyncio.open_connection(HOST, office.ws_port)
    writer.write(b"OPTIONS sip:agent@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n\r\n")
    async with asyncio.timeout(3):
        assert (await reader.read()).startswith(b"HTTP/1.0 400 ")
    writer.close()
    await until_open(office, 0)


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://192.0.2.1"}, 403),
        ({"Host": "rebound.example"}, 403),
        ({"Host": "rebound.example", "Origin": "http://rebound.example"}, 403),
        ({"Origin": "http://localhost:3000"}, 101),
        ({"Origin": "https://127.0.0.1:8443", "Host": "127.0.0.1"}, 101),
        ({"Host": "localhost:5066"}, 101),
    ],
)
async def test_on_loopback_pages_of_other_sites_are_kept_out(
    office: Office, headers: dict[str, str], answer: int
) -> None:
    assert await status(office, headers=headers) == answer


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({"Host": "phone.example.org:5066", "Origin": "https://phone.example.org"}, 101),
        ({"Host": "phone.example.org:5066", "Origin": "https://shop.example"}, 101),  # it is named
        ({"Host": "phone.example.org:5066", "Origin": "https://evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),  # a page that found us by our address
        ({"Host": "phone.example.org:5066"}, 101),  # no browser
    ],
)
async def test_off_loopback_pages_of_our_host_and_those_that_are_named_may_call(
    headers: dict[str, str], answer: int
) -> None:
    office = Office(allow=(ipaddress.ip_network("127.0.0.0/8"),))
    await office.open("0.0.0.0", ws=True, origins=("https://shop.example",))
    try:
        assert await status(office, headers=headers) == answer
    finally:
        await office.close()


async def test_a_host_that_is_not_served_gets_no_connection() -> None:
    office = Office(allow=())
    await office.open(ws=True)
    try:
        with pytest.raises(aiohttp.ClientConnectionError):
            await status(office)
        assert office.endpoint.connections == 0
    finally:
        await office.close()


async def test_who_never_shakes_hands_is_cut_off_and_who_never_calls_is_not(
    office: Office, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_connections, "FIRST_MESSAGE_S", 0.1)
    page = await visit(office)
    reader, writer = await asyncio.open_connection(HOST, office.ws_port)
    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    await until_open(office, 2)
    async with asyncio.timeout(3):
        assert await reader.read() == b""
    writer.close()
    await until_open(office, 1)
    await talking(office, page)


async def test_one_host_has_one_share_of_connections_of_all_kinds(
    office: Office, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_connections, "_MAX_CONNECTIONS_OF_ONE_HOST", 2)
    await visit(office)
    _, writer = await asyncio.open_connection(HOST, office.port)
    await until_open(office, 2)
    with pytest.raises(aiohttp.ClientConnectionError):
        await status(office)
    writer.close()
    await until_open(office, 1)
    assert await status(office) == 101


async def test_a_message_from_where_nobody_may_call_is_refused(visit: Visit) -> None:
    """Whom we call may connect to us, and may not call."""
    office = Office(allow=())
    await office.open(ws=True)
    try:
        await office.leg(f"sip:bob@{HOST}:9").dial()
        page = await visit(office)
        await page.send(page.invite())
        await page.until("SIP/2.0 403")
    finally:
        await office.close()
