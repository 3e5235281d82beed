"""Registrations on real sockets: found, shown, taken back, and what a lost connection does."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
from structlog.testing import capture_logs

from gateway.legs.sip_office import Standing
from gateway.sip.account import Account
from tests.legs.office import HOST, Office, free_port

pytestmark = pytest.mark.loop


class Registrar(asyncio.Protocol):
    """Answers every REGISTER over TCP with what it is told to; it understands no more."""

    def __init__(self, status: str = "200 OK") -> None:
        self.status = status
        self.heard: list[str] = []
        self.more = asyncio.Event()
        self.connections: list[asyncio.Transport] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connections.append(cast(asyncio.Transport, transport))  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        text = data.decode()
        self.heard.append(text)
        names = ("Via", "From", "To", "Call-ID", "CSeq", "Contact")
        lines = [line for line in text.split("\r\n") if line.split(":")[0] in names]
        answer = [f"SIP/2.0 {self.status}", *lines, "Expires: 600", "Content-Length: 0", "", ""]
        self.connections[-1].write("\r\n".join(answer).encode())
        self.more.set()

    async def next(self) -> str:
        """What it hears next."""
        async with asyncio.timeout(5):
            await self.more.wait()
        self.more.clear()
        return self.heard[-1]


@pytest.fixture
async def registrar() -> AsyncIterator[tuple[Registrar, str]]:
    registrar = Registrar()
    port = free_port()
    server = await asyncio.get_running_loop().create_server(lambda: registrar, HOST, port)
    yield registrar, f"sip:agent@{HOST}:{port};transport=tcp"
    for transport in registrar.connections:
        transport.abort()
    server.close()


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    office = Office(allow=())
    await office.open()
    yield office
    await office.close()


async def shown(office: Office, state: str) -> Standing:
    """The only registration, once it stands so."""
    (standing,) = office.endpoint.registrations.standings
    for _ in range(500):
        if standing.state == state:
            return standing
        await asyncio.sleep(0.01)
    raise AssertionError(standing)


async def test_its_life(office: Office, registrar: tuple[Registrar, str]) -> None:
    server, uri = registrar
    counted: list[str] = []
    with capture_logs() as logs:
        office.endpoint.registrations.keep([Account.parse(uri)], counted.append)
        (standing,) = office.endpoint.registrations.standings
        assert standing.told == {"registrar": HOST, "state": "registering"}
        assert "REGISTER sip:" in await server.next()
        assert (await shown(office, "up")).told == {"registrar": HOST, "state": "up"}

        server.connections[-1].abort()
        assert "Expires: 600" in await server.next()
        await shown(office, "up")

        office.endpoint.registrations.leave()
        assert "Expires: 0" in await server.next()
    assert counted == ["ok", "lost", "ok"]
    told = [line for line in logs if line["event"].startswith("registration.")]
    names = [line["event"].removeprefix("registration.") for line in told]
    assert names == ["up", "down", "up"]
    assert told[1]["reason"] == "lost"


async def test_a_refusal_is_told_without_who_we_are(
    office: Office, registrar: tuple[Registrar, str]
) -> None:
    server, uri = registrar
    server.status = "403 Forbidden"
    with capture_logs() as logs:
        office.endpoint.registrations.keep([Account.parse(uri)], lambda _: None)
        standing = await shown(office, "down")
    assert standing.told == {"registrar": HOST, "state": "down", "reason": "refused 403"}
    (line,) = [line for line in logs if line["event"] == "registration.failed"]
    assert (line["reason"], line["sip_status"]) == ("refused", 403)
    assert "agent" not in str(line)


async def test_which_realm_was_asked_for_is_told(
    office: Office, registrar: tuple[Registrar, str]
) -> None:
    server, uri = registrar
    server.status = '401 No\r\nWWW-Authenticate: Digest realm="asterisk", nonce="1"'
    with capture_logs() as logs:
        office.endpoint.registrations.keep([Account.parse(uri)], lambda _: None)
        standing = await shown(office, "down")
    assert standing.told["reason"] == "refused 401"  # which anybody may read
    (line,) = [line for line in logs if line["event"] == "registration.failed"]
    assert (line["sip_status"], line["realm_asked"]) == (401, "asterisk")


async def test_a_transport_that_is_off_has_no_address() -> None:
    office = Office()
    await office.open(tcp=False)
    account = Account.parse(f"sip:agent@{HOST};transport=tcp")
    office.endpoint.registrations.keep([account], lambda _: None)
    assert (await shown(office, "down")).reason == "unresolved"
    await office.close()


async def test_two_at_one_registrar_have_names_of_their_own(office: Office) -> None:
    texts = (f"sip:a@{HOST}:9", f"sip:b@{HOST}:9", "sip:a@127.0.0.2:9")
    office.endpoint.registrations.keep([Account.parse(text) for text in texts], lambda _: None)
    names = [standing.name for standing in office.endpoint.registrations.standings]
    assert names == [HOST, f"{HOST}/2", "127.0.0.2"]
