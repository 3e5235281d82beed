"""A trunk of several servers, found by DNS: who fails is passed over (RFC 3263 section 4.3)."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager, suppress
from typing import Any

import pytest

from gateway.legs import sip_outgoing, sip_tcp
from gateway.legs.dns import Dns
from gateway.legs.leg import LegAnswered, LegEnded
from gateway.sip.auth import Credentials
from gateway.sip.message import Address
from tests.legs.name_server import NameServer
from tests.legs.office import HOST, Office, Phone, free_port, header
from tests.legs.test_sip_leg import sdp

pytestmark = pytest.mark.loop

TRUNK = "carrier.example"


class Carrier:
    """Telephones behind a domain, in the order in which they are to be tried."""

    def __init__(self, office: Office, server: NameServer) -> None:
        self.office = office
        self._server = server
        server.zone[(f"host.{TRUNK}", "A")] = ["127.0.0.1"]

    def serve(self, *ports: int, transport: str = "udp") -> None:
        self._server.zone[(f"_sip._{transport}.{TRUNK}", "SRV")] = [
            f"{number} 0 {port} host.{TRUNK}." for number, port in enumerate(ports)
        ]

    async def dial(self, **plan: Any) -> None:
        leg = self.office.leg(f"sip:+4930@{TRUNK}", hop=Address(TRUNK, 0, ""), **plan)
        await leg.dial()


@pytest.fixture
async def carrier(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Carrier]:
    monkeypatch.setattr(sip_outgoing, "_SILENT_S", 0.3)
    async with AsyncExitStack() as stack:
        server = await NameServer.open()
        stack.callback(server.close)
        office = Office(dns=Dns(asyncio.get_running_loop().time, [server.address]))
        stack.push_async_callback(office.close)
        await office.open()
        yield Carrier(office, server)
    assert office.left() == {}


@pytest.fixture
async def phones() -> AsyncIterator[list[Phone]]:
    phones = [await Phone.open() for _ in range(2)]
    yield phones
    for phone in phones:
        phone.close()


async def taken(carrier: Carrier, phone: Phone) -> str:
    invite = await phone.until("INVITE")
    phone.answer(invite, 200, body=sdp())
    await carrier.office.until(LegAnswered())
    await phone.until("ACK")
    carrier.office.legs[0].hang_up()
    phone.answer(await phone.until("BYE"), 200)
    return invite


async def test_a_server_that_cannot_serve_now(carrier: Carrier, phones: list[Phone]) -> None:
    busy, free = phones
    carrier.serve(busy.port, free.port)
    await carrier.dial()
    busy.answer(await busy.until("INVITE"), 503)
    invite = await taken(carrier, free)
    assert await busy.until("ACK")
    assert invite.startswith(f"INVITE sip:+4930@{TRUNK} SIP/2.0\r\n")
    assert header(invite, "Call-ID") != header(busy.heard[0], "Call-ID")
    assert carrier.office.events == [LegAnswered(), LegEnded("local_bye")]


async def test_a_server_that_says_nothing(carrier: Carrier, phones: list[Phone]) -> None:
    silent, free = phones
    carrier.serve(silent.port, free.port)
    await carrier.dial()
    await taken(carrier, free)
    # Should it be there after all, it is told that nobody waits.
    silent.answer(await silent.until("INVITE"), 100)
    silent.answer(await silent.until("CANCEL"), 200)
    silent.answer(silent.heard[0], 487)
    await silent.until("ACK")


async def test_a_server_that_goes_on_at_another_address_of_the_trunk(
    carrier: Carrier, phones: list[Phone]
) -> None:
    """What asks for the password there is the same carrier, as DNS has it."""
    first, _ = phones
    host, other_host = HOST, "127.0.0.2"
    carrier._server.zone[(f"host.{TRUNK}", "A")] = [host, other_host]
    loop = asyncio.get_running_loop()
    _, second = await loop.create_datagram_endpoint(Phone, (other_host, first.port))
    with closing(second):
        carrier.serve(first.port)
        asks = 'Proxy-Authenticate: Digest realm="r", nonce="%s"'
        await carrier.dial(credentials=Credentials("me", "secret", "r"))
        first.answer(await first.until("INVITE"), 407, asks % "1")
        invite = await first.until("INVITE", lambda text: "Proxy-Authorization" in text)
        route = f"Record-Route: <sip:{other_host}:{first.port};lr>"
        first.answer(invite, 200, route, body=sdp())
        await carrier.office.until(LegAnswered())
        assert "Proxy-Authorization" in await second.until("ACK")
        carrier.office.legs[0].hang_up()
        second.answer(await second.until("BYE"), 407, asks % "2")
        second.answer(await second.until("BYE", lambda text: "Proxy-Authorization" in text), 200)


async def test_a_server_where_no_connection_can_be_made(
    carrier: Carrier, phones: list[Phone]
) -> None:
    carrier.serve(free_port(), transport="tcp")
    carrier._server.zone[(TRUNK, "NAPTR")] = [
        f'1 1 "s" "SIP+D2T" "" _sip._tcp.{TRUNK}.',
        f'2 1 "s" "SIP+D2U" "" _sip._udp.{TRUNK}.',
    ]
    carrier.serve(phones[0].port)
    await carrier.dial()
    await taken(carrier, phones[0])


@contextmanager
def deaf(port: int) -> Iterator[None]:
    """What would open a connection to that port is swallowed, as by a firewall."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind((HOST, port))
        full.listen(0)
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect((HOST, port))
        yield


async def test_a_server_that_swallows_connections_is_asked_over_udp_before_it_is_left(
    carrier: Carrier, phones: list[Phone], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_tcp, "_TRIAL_S", 0.2)
    first, other = phones
    with deaf(first.port):
        carrier.serve(first.port, other.port)
        await carrier.dial(headers=(("X-Long", "x" * 1300),))
        invite = await first.until("INVITE")
        await asyncio.sleep(0.15)
        first.answer(invite, 180)
        await taken(carrier, first)
    assert other.heard == []


async def test_a_server_that_swallows_connections_and_says_nothing_over_udp_either(
    carrier: Carrier, phones: list[Phone], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_tcp, "_TRIAL_S", 0.2)
    silent, free = phones
    with deaf(silent.port):
        carrier.serve(silent.port, free.port)
        await carrier.dial(headers=(("X-Long", "x" * 1300),))
        await taken(carrier, free)
    silent.answer(await silent.until("INVITE"), 487)
    await silent.until("ACK")


@pytest.mark.parametrize("status", [486, 404, 603, 500])
async def test_what_the_callee_says_is_not_asked_elsewhere(
    carrier: Carrier, phones: list[Phone], status: int
) -> None:
    first, other = phones
    carrier.serve(first.port, other.port)
    await carrier.dial()
    first.answer(await first.until("INVITE"), status)
    await carrier.office.until(LegEnded("refused", status))
    assert other.heard == []


async def test_when_all_have_failed_the_last_one_is_told_of(
    carrier: Carrier, phones: list[Phone]
) -> None:
    carrier.serve(phones[0].port, phones[1].port)
    await carrier.dial()
    for phone in phones:
        phone.answer(await phone.until("INVITE"), 503)
    await carrier.office.until(LegEnded("refused", 503))
    assert carrier.office.events == [LegEnded("refused", 503)]


async def test_who_hangs_up_is_not_called_elsewhere(carrier: Carrier, phones: list[Phone]) -> None:
    first, other = phones
    carrier.serve(first.port, other.port)
    await carrier.dial()
    invite = await first.until("INVITE")
    first.answer(invite, 100)
    await asyncio.sleep(0.05)
    carrier.office.legs[0].hang_up()
    first.answer(await first.until("CANCEL"), 200)
    first.answer(invite, 503)
    await asyncio.sleep(0.1)
    assert other.heard == []
    assert carrier.office.events == [LegEnded("cancelled")]
