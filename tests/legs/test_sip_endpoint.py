"""The SIP sockets on loopback: what must not be able to hurt other calls."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from gateway.legs import sip_connections, sip_endpoint
from gateway.legs.leg import LegAnswered, LegEnded
from gateway.legs.sip_leg import SipLeg
from tests.legs.office import HOST, Office, Phone, header
from tests.legs.test_sip_leg import sdp
from tests.sip.raw import request

pytestmark = pytest.mark.loop


@pytest.fixture
async def office(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    monkeypatch.setattr(sip_endpoint, "_LINGER_S", 0.1)
    office = Office()
    await office.open()
    yield office
    await office.close()


def message(method: str, to: str, contact: str, body: bytes = b"") -> bytes:
    return (
        f"{method} sip:agent@127.0.0.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{method};rport\r\nMax-Forwards: 70\r\n"
        f"From: <sip:a@127.0.0.1>;tag=a\r\nTo: {to}\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n"
        f"Contact: <{contact}>\r\nContent-Type: application/sdp\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


@pytest.mark.parametrize(
    "contact", ["sip:a@[2606:4700::1111]", "sip:a@[::1]:5060", "sip:a@0.0.0.0:0", "sip:a@x:65535"]
)
async def test_a_contact_that_cannot_be_reached_hurts_nobody(office: Office, contact: str) -> None:
    phone = await Phone.open(office.port)
    phone.transport.sendto(message("INVITE", "<sip:agent@127.0.0.1>", contact, sdp()))
    await phone.until("SIP/2.0 100")
    await (await office.called()).answer()
    ok = await phone.until("SIP/2.0 200")
    to = next(line[4:] for line in ok.split("\r\n") if line.startswith("To: "))
    phone.transport.sendto(message("ACK", to, contact))
    await asyncio.sleep(0.05)
    office.legs[0].hang_up()
    await asyncio.sleep(0.05)
    assert office.events[-1] == LegEnded("local_bye", None)
    phone.transport.sendto(message("OPTIONS", "<sip:agent@127.0.0.1>", "sip:a@127.0.0.1"))
    await phone.until("SIP/2.0 200")
    phone.close()


async def connect(office: Office) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", office.port)


async def ended(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(3):
        return await reader.read(10) == b""


async def test_an_idle_connection_is_closed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_connections, "FIRST_MESSAGE_S", 0.1)
    idle, writer = await connect(office)
    writer.write(b"OPTIONS sip:")
    used, used_writer = await connect(office)
    options = message("OPTIONS", "<sip:agent@127.0.0.1>", "sip:a@127.0.0.1")
    used_writer.write(options.replace(b"UDP", b"TCP"))
    assert (await used.readline()).startswith(b"SIP/2.0 200")
    assert await ended(idle)
    assert office.endpoint.connections == 1
    for one in (writer, used_writer):
        one.close()


@pytest.fixture
async def closed_office(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    """One that nobody may call."""
    monkeypatch.setattr(sip_endpoint, "_LINGER_S", 0.1)
    office = Office(allow=())
    await office.open()
    yield office
    await office.close()


async def test_a_host_that_is_not_served_gets_no_connection(closed_office: Office) -> None:
    with capture_logs() as lines:
        for _ in range(2):
            reader, writer = await connect(closed_office)
            assert await ended(reader)
            writer.close()
    assert closed_office.endpoint.connections == 0
    assert lines == [
        {
            "event": "sip.refused",
            "log_level": "warning",
            "source": HOST,
            "method": None,
            "sip_status": None,
            "why": "not_allowed",
            "hint": "its connection was closed unheard; see GATEWAY_SIP_ALLOW",
        }
    ]


async def test_a_host_that_is_not_served_is_told_of(closed_office: Office) -> None:
    with capture_logs() as lines, socket.socket(type=socket.SOCK_DGRAM) as stranger:
        stranger.sendto(request("INVITE"), (HOST, closed_office.port))
        async with asyncio.timeout(3):
            while not lines:  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.01)
    assert lines == [
        {
            "event": "sip.refused",
            "log_level": "warning",
            "source": HOST,
            "method": "INVITE",
            "sip_status": 403,
            "why": "not_allowed",
            "hint": "see GATEWAY_SIP_ALLOW",
        }
    ]


class TrunkWire:
    """A trunk on TCP: answers the INVITE, keeps the rest of what it hears."""

    def __init__(self) -> None:
        self.invite = ""
        self.acknowledged = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        for one in self.writers:
            one.close()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError):  # we were hung up on
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                await reader.readexactly(int(header(head, "Content-Length")))
                if head.startswith("INVITE"):
                    self.invite = head
                    writer.write(self._answer(sdp()))
                elif head.startswith("ACK"):
                    self.acknowledged.set()

    def _answer(self, body: bytes) -> bytes:
        lines = self.invite.rstrip().split("\r\n")[1:]
        copied = [line for line in lines if re.match("(Via|From|Call-ID|CSeq):", line)]
        head = [
            "SIP/2.0 200 OK",
            *copied,
            f"To: {header(self.invite, 'To')};tag=trunk",
            f"Contact: <sip:trunk@{HOST}:{self.port};transport=tcp>",
            f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n",
        ]
        return "\r\n".join(head).encode() + body

    def bye(self) -> bytes:
        head = [
            f"BYE {header(self.invite, 'Contact').strip('<>')} SIP/2.0",
            f"Via: SIP/2.0/TCP {HOST}:{self.port};branch=z9hG4bKbye",
            f"Max-Forwards: 70\r\nFrom: {header(self.invite, 'To')};tag=trunk",
            f"To: {header(self.invite, 'From')}",
            f"Call-ID: {header(self.invite, 'Call-ID')}",
            "CSeq: 7 BYE\r\nContent-Length: 0\r\n\r\n",
        ]
        return "\r\n".join(head).encode()


@pytest.fixture
async def trunk() -> AsyncIterator[TrunkWire]:
    trunk = TrunkWire()
    await trunk.open()
    yield trunk
    trunk.close()


async def test_whom_we_call_may_connect_to_us_until_the_call_is_over(
    closed_office: Office, trunk: TrunkWire
) -> None:
    office = closed_office
    await office.leg(f"sip:bob@{HOST}:{trunk.port};transport=tcp").dial()
    await office.until(LegAnswered())
    async with asyncio.timeout(3):
        await trunk.acknowledged.wait()
    elsewhere = await asyncio.open_connection(HOST, office.port, local_addr=("127.0.0.2", 0))
    assert await ended(elsewhere[0])
    reader, writer = await connect(office)
    try:
        async with asyncio.timeout(3):
            writer.write(message("INVITE", "<sip:agent@127.0.0.1>", "sip:a@127.0.0.1", sdp()))
            assert (await reader.readline()).startswith(b"SIP/2.0 403"), "it may not call"
            await reader.readuntil(b"\r\n\r\n")
            writer.write(trunk.bye())
            assert (await reader.readline()).startswith(b"SIP/2.0 200")
        await office.until(LegEnded("remote_bye"))
        late = await connect(office)
        assert await ended(late[0])
        late[1].close()
    finally:
        writer.close()
        elsewhere[1].close()


async def test_one_host_cannot_shut_the_others_out(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_connections, "_MAX_CONNECTIONS_OF_ONE_HOST", 3)
    writers = [(await connect(office))[1] for _ in range(3)]
    reader, writer = await connect(office)
    assert await ended(reader)
    for one in (*writers, writer):
        one.close()


async def test_a_defect_in_one_call_does_not_stop_the_next(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: SipLeg) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(office.endpoint, "_on_call", broken)
    phone = await Phone.open(office.port)
    phone.transport.sendto(message("INVITE", "<sip:agent@127.0.0.1>", "sip:a@127.0.0.1:9", sdp()))
    await phone.until("SIP/2.0 480")
    phone.close()
