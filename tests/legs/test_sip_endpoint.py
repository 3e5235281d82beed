"""The SIP sockets on loopback: what must not be able to hurt other calls."""

import asyncio
import itertools
import random
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from gateway.legs import sip_endpoint
from gateway.legs.leg import LegEnded, LegEvent
from gateway.legs.ports import PortPool
from gateway.legs.sip_endpoint import SipEndpoint
from gateway.legs.sip_leg import MediaConfig, SipLeg
from gateway.sip.agent import SipAgent
from gateway.sip.config import SipConfig
from tests.legs.test_rtp_port import HandPacer
from tests.legs.test_sip_leg import sdp

pytestmark = pytest.mark.loop


class Office:
    """An endpoint, and the calls that it was handed."""

    def __init__(self) -> None:
        numbers = itertools.count(1)
        first = random.randrange(30000, 60000, 2)
        self.port = _free_port()
        self.config = SipConfig("127.0.0.1", self.port, self.port)
        self.agent = SipAgent(self.config, token=lambda: f"{next(numbers):016x}")
        pacer: Any = HandPacer()
        media = MediaConfig("127.0.0.1", "127.0.0.1", PortPool(first, first + 9), pacer, 30.0)
        self.legs: list[SipLeg] = []
        self.events: list[LegEvent] = []
        self.served = True
        self.endpoint = SipEndpoint(
            self.agent, media, self._take, lambda _: self.served, structlog.get_logger()
        )

    def _take(self, leg: SipLeg) -> None:
        self.legs.append(leg)
        leg.listen(self.events.append)


def _free_port() -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        port: int = udp.getsockname()[1]
        return port


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    office = Office()
    await office.endpoint.open("127.0.0.1", office.port, office.port)
    yield office
    for leg in office.legs:
        await leg.close()
    await office.endpoint.close()


class Phone(asyncio.DatagramProtocol):
    """Sends text, keeps what comes."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._more = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard.append(data.decode())
        self._more.set()

    async def until(self, start: str) -> str:
        async with asyncio.timeout(3):
            while not (found := [text for text in self.heard if text.startswith(start)]):
                self._more.clear()
                await self._more.wait()
        return found[0]


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
    loop = asyncio.get_running_loop()
    transport, phone = await loop.create_datagram_endpoint(
        Phone, remote_addr=("127.0.0.1", office.port)
    )
    transport.sendto(message("INVITE", "<sip:agent@127.0.0.1>", contact, sdp()))
    await phone.until("SIP/2.0 100")
    await office.legs[0].answer()
    ok = await phone.until("SIP/2.0 200")
    to = next(line[4:] for line in ok.split("\r\n") if line.startswith("To: "))
    transport.sendto(message("ACK", to, contact))
    await asyncio.sleep(0.05)
    office.legs[0].hang_up()
    await asyncio.sleep(0.05)
    assert office.events[-1] == LegEnded("local_bye", None)
    transport.sendto(message("OPTIONS", "<sip:agent@127.0.0.1>", "sip:a@127.0.0.1"))
    await phone.until("SIP/2.0 200")
    transport.close()


async def connect(office: Office) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", office.port)


async def ended(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(3):
        return await reader.read(10) == b""


async def test_an_idle_connection_is_closed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_endpoint, "_FIRST_MESSAGE_S", 0.1)
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


async def test_a_host_that_is_not_served_gets_no_connection(office: Office) -> None:
    office.served = False
    reader, writer = await connect(office)
    assert await ended(reader)
    assert office.endpoint.connections == 0
    writer.close()


async def test_one_host_cannot_shut_the_others_out(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_endpoint, "_MAX_CONNECTIONS_OF_ONE_HOST", 3)
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
    loop = asyncio.get_running_loop()
    transport, phone = await loop.create_datagram_endpoint(
        Phone, remote_addr=("127.0.0.1", office.port)
    )
    transport.sendto(message("INVITE", "<sip:agent@127.0.0.1>", "sip:a@127.0.0.1:9", sdp()))
    await phone.until("SIP/2.0 480")
    transport.close()
