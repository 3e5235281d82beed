"""SIP over TLS: who proves what to whom, what is renewed, and how much strangers may take."""

import asyncio
import os
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.legs.leg import LegAnswered, LegEnded
from gateway.legs.sip_outgoing import SipOutgoingLeg
from gateway.legs.tls import TlsFiles
from gateway.sip.message import Address
from tests.legs.office import HOST, Office
from tests.sdk import authority
from tests.sip.raw import request

pytestmark = pytest.mark.loop

OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0\r\n"
)


class Town:
    """Offices that talk over TLS, each with a certificate of an authority that all believe."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.files = authority.make(folder, "trunk.example")
        self._stack = stack

    @property
    def own(self) -> TlsFiles:
        files = self.files
        return TlsFiles(str(files.certificate), str(files.key), "", str(files.authority))

    async def office(self, tls: TlsFiles) -> Office:
        office = Office(tls=tls)
        self._stack.push_async_callback(office.close)
        await office.open(tls=bool(tls.certificate))
        return office


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        yield Town(tmp_path, stack)


def leg_to(caller: Office, callee: Office, name: str = "") -> SipOutgoingLeg:
    """A call from one to the other, who has to prove this name."""
    target = f"sip:agent@{HOST}:{callee.tls_port};transport=tls"
    return caller.leg(target, hop=Address(HOST, callee.tls_port, "tls", name))


async def answered(leg: SipOutgoingLeg, caller: Office, callee: Office) -> None:
    await leg.dial()
    called = await callee.called()
    called.ring()
    await called.answer()
    await caller.until(LegAnswered())
    await callee.until(LegAnswered())


async def legs(office: Office, number: int) -> None:
    """Wait until the office has had so many."""
    async with asyncio.timeout(3):
        while len(office.legs) < number:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", ["", "trunk.example"])
async def test_a_call_over_tls(town: Town, name: str) -> None:
    caller = await town.office(TlsFiles(trust=town.own.trust))  # it has no certificate
    callee = await town.office(town.own)
    leg = leg_to(caller, callee, name)
    await answered(leg, caller, callee)
    contact = callee.legs[-1].headers
    assert any(";transport=tls" in value for key, value in contact if key == "Contact")
    # The callee has nowhere to connect to: its BYE takes the connection that is there.
    callee.legs[-1].hang_up()
    await caller.until(LegEnded("remote_bye"))
    assert (caller.endpoint.connections, callee.endpoint.connections) == (1, 1)
    assert callee.endpoint.tls_failures == caller.endpoint.tls_failures == 0


async def test_whoever_proves_to_be_somebody_else_is_told_nothing(town: Town) -> None:
    caller, callee = await town.office(town.own), await town.office(town.own)
    leg = leg_to(caller, callee, "other.example")
    await leg.dial()
    await caller.until(LegEnded("transport"))
    assert callee.agent.counters.requests == {}
    assert caller.endpoint.tls_failures == 1


async def test_an_authority_that_is_not_believed(town: Town) -> None:
    caller, callee = await town.office(TlsFiles()), await town.office(town.own)
    await leg_to(caller, callee).dial()
    await caller.until(LegEnded("transport"))
    assert callee.agent.counters.requests == {}


@pytest.mark.parametrize("certified", [True, False])
async def test_who_calls_must_show_a_certificate(town: Town, certified: bool) -> None:
    own = town.own
    asking = TlsFiles(own.certificate, own.key, client_ca=own.trust, trust=own.trust)
    callee = await town.office(asking)
    caller = await town.office(own if certified else TlsFiles(trust=own.trust))
    leg = leg_to(caller, callee)
    if certified:
        await answered(leg, caller, callee)
        return
    await leg.dial()
    # Over TLS 1.3 a client learns of it after its own part is done.
    await caller.until(LegEnded("transport"))
    assert callee.agent.counters.requests == {}
    assert callee.endpoint.tls_failures == 1


async def test_a_peer_that_has_proved_its_name_is_called_on_its_own_connection(town: Town) -> None:
    own = town.own
    asking = TlsFiles(own.certificate, own.key, client_ca=own.trust, trust=own.trust)
    trunk, gateway = await town.office(own), await town.office(asking)
    await answered(leg_to(trunk, gateway), trunk, gateway)  # RFC 5923: its Via says `alias`
    await leg_to(gateway, trunk, "trunk.example").dial()
    await legs(trunk, 2)
    assert (trunk.endpoint.connections, gateway.endpoint.connections) == (1, 1)
    # It proved no other name.
    await leg_to(gateway, trunk, "other.example").dial()
    await gateway.until(LegEnded("transport"))


async def test_who_has_proved_nothing_is_connected_to(town: Town) -> None:
    trunk, gateway = await town.office(town.own), await town.office(town.own)
    await answered(leg_to(trunk, gateway), trunk, gateway)
    await leg_to(gateway, trunk, "trunk.example").dial()
    await legs(trunk, 2)
    assert gateway.endpoint.connections == 2


@pytest.mark.parametrize("name", ["localhost", "other.example"])
async def test_a_name_is_connected_to_when_the_connection_is_gone(town: Town, name: str) -> None:
    """Whoever is there proves it, or hears nothing."""
    town.files = authority.make(Path(town.own.trust).parent, "localhost")
    callee = await town.office(town.own)
    reader, writer = await asyncio.open_connection(
        HOST,
        callee.tls_port,
        ssl=ssl.create_default_context(cafile=town.own.trust),
        server_hostname="localhost",
    )
    heard: list[bytes] = []
    came = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        came.set()
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(town.own.certificate, town.own.key)
    server = await asyncio.start_server(listen, HOST, 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    route = ("Record-Route", f"<sip:{name}:{port};transport=tls;lr>")
    via, contact = f"SIP/2.0/TLS {HOST};branch=z9hG4bK", "<sip:bob@10.1.1.1>"
    writer.write(request("INVITE", via=f"{via}1", contact=contact, headers=(route,), body=OFFER))
    called = await callee.called()
    await called.answer()
    await reader.readuntil(b"SIP/2.0 200")
    tagged = (await reader.readuntil(b"\r\nCall-ID")).partition(b"\r\nTo: ")[2]
    to = tagged.partition(b"\r\n")[0].decode()
    writer.write(request("ACK", via=f"{via}2", to=to))
    await callee.until(LegAnswered())
    writer.close()
    async with asyncio.timeout(3):
        while callee.endpoint.connections:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)
    called.hang_up()
    if name == "localhost":
        async with asyncio.timeout(3):
            await came.wait()
        assert heard[0].startswith(b"BYE sip:bob@10.1.1.1")
    else:
        await callee.until(LegEnded("local_bye"))
        assert not heard
    server.close()


async def test_when_its_connection_ends_a_peer_is_connected_to(town: Town) -> None:
    own = town.own
    asking = TlsFiles(own.certificate, own.key, client_ca=own.trust, trust=own.trust)
    trunk, gateway = await town.office(own), await town.office(asking)
    await answered(leg_to(trunk, gateway), trunk, gateway)
    await trunk.close()
    async with asyncio.timeout(3):
        while gateway.endpoint.connections:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)
    gateway.events.clear()
    await leg_to(gateway, trunk, "trunk.example").dial()
    await gateway.until(LegEnded("transport"))


async def test_certificates_are_renewed_while_we_listen(town: Town, tmp_path: Path) -> None:
    callee = await town.office(town.own)
    (tmp_path / "next").mkdir()
    renewed = authority.make(tmp_path / "next", "trunk.example")
    caller = await town.office(TlsFiles(trust=str(renewed.authority)))
    await leg_to(caller, callee).dial()
    await caller.until(LegEnded("transport"))  # it does not believe the old one
    town.files.key.write_text("no key at all")  # noqa: ASYNC240 - a test may wait
    callee.endpoint.renew_certificates()  # what cannot be used is not
    still = await town.office(TlsFiles(trust=town.own.trust))
    await answered(leg_to(still, callee), still, callee)
    for new, old in ((renewed.certificate, town.files.certificate), (renewed.key, town.files.key)):
        shutil.copyfile(new, old)
        os.utime(old, (1, 1))
    callee.endpoint.renew_certificates()
    later = await town.office(TlsFiles(trust=str(renewed.authority)))
    leg = leg_to(later, callee)
    await leg.dial()
    await legs(callee, 2)


async def test_certificates_are_looked_at_again_whatever_came_of_it(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.legs.tls_watch.LOOK_AGAIN_S", 0.01)
    loop, looks, failures = asyncio.get_running_loop(), 0, []
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))

    def fails(*_: object, force: bool = False) -> bool:
        nonlocal looks
        looks += 1
        raise MemoryError

    monkeypatch.setattr("gateway.legs.tls.TlsContexts.refresh", fails)
    await town.office(town.own)
    async with asyncio.timeout(3):
        while looks < 3:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)
    assert [type(error) for error in failures[:3]] == [MemoryError] * 3


async def test_a_peer_that_never_shakes_hands_is_let_go(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.legs.sip_tcp.FIRST_MESSAGE_S", 0.2)
    callee = await town.office(town.own)
    reader, writer = await asyncio.open_connection(HOST, callee.tls_port)
    async with asyncio.timeout(3):
        assert await reader.read() == b""
    writer.close()
    assert callee.endpoint.connections == 0
    assert callee.endpoint.tls_failures == 1


async def test_one_host_cannot_take_all_handshakes(town: Town) -> None:
    callee = await town.office(town.own)
    idle = [await asyncio.open_connection(HOST, callee.tls_port) for _ in range(60)]
    closed = 0
    for reader, _ in idle:
        try:
            async with asyncio.timeout(0.02):
                closed += await reader.read() == b""
        except TimeoutError:
            pass
        except ConnectionResetError:
            closed += 1
    assert closed == 10
    for _, writer in idle:
        writer.close()


async def test_sip_without_tls_on_its_port_is_no_handshake(town: Town) -> None:
    callee = await town.office(town.own)
    reader, writer = await asyncio.open_connection(HOST, callee.tls_port)
    writer.write(b"OPTIONS sip:agent@127.0.0.1 SIP/2.0\r\n\r\n")
    async with asyncio.timeout(3):
        assert await reader.read() in (
            b"",
            b"\x15\x03\x01\x00\x02\x02F",
            b"\x15\x03\x03\x00\x02\x02F",
        )
    writer.close()
    assert callee.agent.counters.requests == {}


@pytest.mark.parametrize("scheme", ["sip", "sips"])
async def test_who_calls_sips_is_answered_by_sips(town: Town, scheme: str) -> None:
    caller, callee = await town.office(town.own), await town.office(town.own)
    leg = caller.leg(f"{scheme}:agent@{HOST}:{callee.tls_port};transport=tls")
    await answered(leg, caller, callee)
    assert contact_of(callee) == contact_of(caller) == scheme
    leg.hang_up()
    await callee.until(LegEnded("remote_bye"))


def contact_of(office: Office) -> str:
    """The scheme of where requests to the other side go."""
    [call] = office.agent._board.calls.values()
    return call.dialog.target.partition(":")[0]


async def test_messages_split_at_any_byte(town: Town) -> None:
    callee = await town.office(town.own)
    context = ssl.create_default_context(cafile=town.own.trust)
    reader, writer = await asyncio.open_connection(HOST, callee.tls_port, ssl=context)
    message = (
        f"OPTIONS sip:agent@{HOST} SIP/2.0\r\nVia: SIP/2.0/TLS {HOST}:5061;branch=z9hG4bK-%d\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:a@{HOST}>;tag=1\r\nTo: <sip:b@{HOST}>\r\n"
        f"Call-ID: split-%d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    text = b"".join((message % (number, number)).encode() for number in range(3))
    for at in range(len(text)):
        writer.write(text[at : at + 1])
        await writer.drain()
    answers = b""
    async with asyncio.timeout(3):
        while answers.count(b"SIP/2.0 200 OK") < 3:
            answers += await reader.read(65536)
    writer.close()
