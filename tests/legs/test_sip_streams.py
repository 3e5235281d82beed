"""What strangers do to connections, over TCP and TLS (threat T19): how much each may take."""

import asyncio
import contextlib
import ipaddress
import random
import resource
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from gateway.legs import sip_connections, sip_endpoint
from gateway.legs.tls import TlsFiles
from tests.legs.office import HOST, Office
from tests.sdk import authority

pytestmark = pytest.mark.loop


@dataclass
class Door:
    """Of an office, over one transport."""

    office: Office
    kind: str
    port: int
    context: ssl.SSLContext | None
    files: TlsFiles

    async def connect(self, host: str = HOST) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """From that host."""
        async with asyncio.timeout(3):
            return await asyncio.open_connection(
                HOST, self.port, ssl=self.context, local_addr=(host, 0)
            )

    def options(self, number: int, *lines: str, length: bool = True) -> bytes:
        head = [
            f"OPTIONS sip:agent@{HOST} SIP/2.0",
            f"Via: SIP/2.0/{self.kind.upper()} {HOST}:5061;branch=z9hG4bK-{number}",
            "Max-Forwards: 70",
            f"From: <sip:a@{HOST}>;tag=1",
            f"To: <sip:b@{HOST}>",
            f"Call-ID: stream-{number}",
            "CSeq: 1 OPTIONS",
            *lines,
        ]
        end = ["Content-Length: 0"] if length else []
        return "\r\n".join([*head, *end, "", ""]).encode()


@pytest.fixture(params=["tcp", "tls"])
async def door(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Door]:
    monkeypatch.setattr(sip_endpoint, "_LINGER_S", 0.1)
    files = authority.make(tmp_path)
    ours = TlsFiles(str(files.certificate), str(files.key))
    office = Office(tls=ours)
    await office.open(tls=True)
    if request.param == "tls":
        context = ssl.create_default_context(cafile=files.authority)
        yield Door(office, "tls", office.tls_port, context, ours)
    else:
        yield Door(office, "tcp", office.port, None, ours)
    await office.close()


async def answers(reader: asyncio.StreamReader, status: bytes, number: int) -> bytes:
    heard = b""
    async with asyncio.timeout(5):
        while heard.count(b"SIP/2.0 " + status) < number:
            more = await reader.read(65536)
            assert more, heard
            heard += more
    return heard


async def end(reader: asyncio.StreamReader) -> bytes:
    """What comes before the connection is closed."""
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            return await reader.read()
    return b""


async def dwindled(office: Office, within_s: float = 5) -> bool:
    """Whether its connections end in that time."""
    for _ in range(int(within_s / 0.02)):
        if not office.endpoint.connections:
            return True
        await asyncio.sleep(0.02)
    return False


async def unsent(office: Office) -> None:
    """Wait until its only connection holds more than the system takes."""
    (connection,) = office.endpoint._connections._open.values()
    transport = connection._transport
    assert transport is not None
    while not transport.get_write_buffer_size():  # noqa: ASYNC110 - nobody tells us
        await asyncio.sleep(0.01)


async def test_messages_split_and_joined_anywhere(door: Door) -> None:
    reader, writer = await door.connect()
    text = b"".join(door.options(number) + b"\r\n" * (number % 3) for number in range(200))
    source = random.Random(7)
    at = 0
    while at < len(text):
        size = source.choice((1, 2, 3, 7, 50, 900, 5000))
        writer.write(text[at : at + size])
        at += size
        if source.random() < 0.2:
            await asyncio.sleep(0)
    await answers(reader, b"200", 200)
    writer.close()


async def test_a_keep_alive_is_answered_between_messages(door: Door) -> None:
    reader, writer = await door.connect()
    writer.write(b"\r\n\r\n")
    async with asyncio.timeout(3):
        assert await reader.readexactly(2) == b"\r\n"
    writer.write(b"\r\n\r\n" + door.options(1) + b"\r\n\r\n")
    heard = await answers(reader, b"200", 1)
    assert heard.startswith(b"\r\n") or heard.endswith(b"\r\n")
    writer.close()


async def test_without_a_length_nothing_more_is_read(door: Door) -> None:
    reader, writer = await door.connect()
    writer.write(door.options(1, length=False) + door.options(2))
    heard = await end(reader)
    assert heard.startswith(b"SIP/2.0 400 Missing Content-Length")
    assert heard.count(b"SIP/2.0") == 1 + heard.count(b"Via: SIP/2.0")
    writer.close()


@pytest.mark.parametrize("body", [True, False])
async def test_no_message_is_longer_than_64_kilobytes(door: Door, body: bool) -> None:
    reader, writer = await door.connect()
    if body:
        writer.write(door.options(1, "Content-Length: 70000", length=False))
        heard = await end(reader)
        assert heard.startswith(b"SIP/2.0 513")
    else:
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                writer.write(b"X-Filler: " + b"x" * 990)
                await writer.drain()
        await end(reader)
    writer.close()
    await asyncio.sleep(0.05)
    assert door.office.endpoint.connections == 0


async def test_who_says_nothing_whole_is_let_go(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_connections, "FIRST_MESSAGE_S", 0.3)
    reader, writer = await door.connect()

    async def trickle() -> None:
        with contextlib.suppress(ConnectionError):
            for at in range(100):
                writer.write(door.options(1)[at : at + 1])
                await asyncio.sleep(0.02)

    task = asyncio.create_task(trickle())
    assert await end(reader) == b""
    task.cancel()
    writer.close()


async def test_a_later_message_has_to_be_whole_in_time_too(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_connections, "REST_S", 0.2)
    reader, writer = await door.connect()
    idle_reader, idle = await door.connect()
    for one, other in ((reader, writer), (idle_reader, idle)):
        other.write(door.options(1))
        await answers(one, b"200", 1)
    writer.write(door.options(2)[:50])
    assert await end(reader) == b""
    idle.write(door.options(3))  # between messages there is no hurry
    await answers(idle_reader, b"200", 1)
    writer.close()
    idle.close()


async def test_who_does_not_read_is_let_go(door: Door) -> None:
    """Closing waits for what was said before, but not for ever."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (HOST, door.port))
    name = HOST if door.context else None
    _, writer = await asyncio.open_connection(sock=sock, ssl=door.context, server_hostname=name)
    cast(asyncio.Transport, writer.transport).pause_reading()
    writer.write(b"".join(door.options(number) for number in range(10_000)))
    async with asyncio.timeout(5):
        await asyncio.gather(writer.drain(), unsent(door.office))
    writer.write(door.options(1, length=False))  # the last message of the connection
    assert await dwindled(door.office)
    writer.transport.abort()


@pytest.fixture
async def guarded(door: Door) -> AsyncIterator[Door]:
    """The same, where nobody is let in but who knows a password, and one host."""
    known = ipaddress.ip_network("127.0.0.9/32")
    office = Office((known,), tls=door.files, users={"alice": "s3cret"})
    await office.open(tls=True)
    port = office.port if door.kind == "tcp" else office.tls_port
    yield Door(office, door.kind, port, door.context, door.files)
    await office.close()


async def test_a_stranger_has_to_go_on(guarded: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip_connections, "_STRANGER_S", 0.3)
    reader, writer = await guarded.connect()
    writer.write(guarded.options(1))
    await answers(reader, b"401", 1)
    assert await end(reader) == b""
    writer.close()


async def test_strangers_do_not_shut_out_whom_we_know(
    guarded: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_connections, "_MAX_STRANGERS_OF_ONE_HOST", 3)
    strangers = [await guarded.connect() for _ in range(3)]
    with contextlib.suppress(OSError):
        reader, writer = await guarded.connect()
        assert await end(reader) == b""
        writer.close()
    assert guarded.office.endpoint.connections == 3
    reader, writer = await guarded.connect("127.0.0.9")
    writer.write(guarded.options(1))
    await answers(reader, b"200", 1)
    assert guarded.office.endpoint.connections == 4
    for _, other in (*strangers, (reader, writer)):
        other.close()


@pytest.mark.parametrize("answers_first", [True, False])
async def test_a_connection_of_ours_that_answers_no_ping_any_more_is_given_up(
    door: Door, monkeypatch: pytest.MonkeyPatch, answers_first: bool
) -> None:
    """One that never did may not know what a ping is."""
    monkeypatch.setattr(sip_connections, "_KEEP_ALIVE_S", 0.05)
    monkeypatch.setattr(sip_connections, "_PONG_S", 0.1)
    heard = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        while data := await reader.read(1000):
            heard += data.count(b"\r\n\r\n")
            if answers_first and heard < 4:
                writer.write(b"\r\n")
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    endpoint = door.office.endpoint
    leg = door.office.leg(f"sip:bob@{HOST}:{port};transport=tcp")
    await leg.dial()
    await asyncio.sleep(0.1)
    assert endpoint.connections == 1
    assert await dwindled(door.office, 5 if answers_first else 1) == answers_first
    assert heard >= 4
    server.close()


@pytest.mark.slow
async def test_ten_thousand_idle_connections(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take what they are given and no more, from whatever hosts, and not for long."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 4096:
        pytest.skip("needs 4096 files open at once (ulimit -n)")
    monkeypatch.setattr(sip_connections, "FIRST_MESSAGE_S", 2.0)
    monkeypatch.setattr("gateway.legs.sip_tcp.FIRST_MESSAGE_S", 2.0)
    most = 0
    idle: list[socket.socket] = []
    for number in range(10_000):
        one = socket.socket()
        one.setblocking(False)
        one.bind((f"127.0.{number % 7}.2", 0))
        with contextlib.suppress(BlockingIOError, ConnectionError):
            one.connect((HOST, door.port))
        idle.append(one)
        if len(idle) >= 1500:
            await asyncio.sleep(0.01)
            for other in idle[:200]:
                other.close()
            del idle[:200]
        if number % 50 == 0:
            await asyncio.sleep(0)
            most = max(most, door.office.endpoint.connections)
    assert most <= 1000
    async with asyncio.timeout(20):
        while door.office.endpoint.connections:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.05)
        while True:
            with contextlib.suppress(ConnectionError):  # handshakes of theirs that still wait
                reader, writer = await door.connect()
                break
            await asyncio.sleep(0.05)
    writer.write(door.options(1))
    await answers(reader, b"200", 1)
    writer.close()
    for one in idle:
        one.close()
