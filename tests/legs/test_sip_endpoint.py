"""The SIP sockets on loopback: what must not be able to hurt other calls."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.legs import sip_endpoint
from gateway.legs.leg import LegEnded
from gateway.legs.sip_leg import SipLeg
from tests.legs.office import Office, Phone
from tests.legs.test_sip_leg import sdp

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
    phone = await Phone.open(office.port)
    phone.transport.sendto(message("INVITE", "<sip:agent@127.0.0.1>", "sip:a@127.0.0.1:9", sdp()))
    await phone.until("SIP/2.0 480")
    phone.close()
