"""The phone's sockets: one for SIP, two for media. They carry bytes and decide nothing.

The UDP socket for SIP is connected to the far end. The kernel then reports that nobody listens
there, and a call to a gateway that is not running fails at once instead of after half a minute.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Protocol

from gateway.sip.errors import SipError
from gateway.sip.message import Address
from gateway.sip.stream import StreamFramer

_CONNECT_TIMEOUT_S: Final = 5.0
_PORT_TRIES: Final = 50

OnDatagram = Callable[[bytes, tuple[str, int]], None]


class SipChannel(Protocol):
    """A way to one SIP peer."""

    local: tuple[str, int]
    """Our address on it."""
    remote: Address
    """Theirs."""

    def send(self, data: bytes) -> None:
        """Send one message."""

    def close(self) -> None:
        """Let go of it; what was sent still leaves."""


async def open_sip(
    transport: str,
    remote: tuple[str, int],
    bind_host: str | None,
    on_message: Callable[[bytes], None],
    on_failure: Callable[[], None],
) -> SipChannel:
    """Open the way to a host, by "udp" or "tcp".

    Raises:
        OSError: the name is unknown, nobody accepts, or our address is not ours.
    """
    loop = asyncio.get_running_loop()
    local = None if bind_host is None else (bind_host, 0)
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            host, port = await _resolve(transport, remote)
            if transport == "udp":
                _, datagrams = await loop.create_datagram_endpoint(
                    lambda: _UdpChannel(on_message, on_failure),
                    local_addr=local,
                    remote_addr=(host, port),
                )
                return datagrams
            _, stream = await loop.create_connection(
                lambda: _TcpChannel(on_message, on_failure), host, port, local_addr=local
            )
            return stream
    except TimeoutError as error:
        raise OSError(f"no connection within {_CONNECT_TIMEOUT_S:.0f} s") from error
    except UnicodeError as error:
        raise OSError("not a host name") from error


async def open_media(
    host: str, on_rtp: OnDatagram, on_rtcp: OnDatagram
) -> tuple[asyncio.DatagramTransport, asyncio.DatagramTransport]:
    """An even port of the system's choice for RTP and the next one for RTCP (RFC 3550 section 11).

    Raises:
        OSError: there is no such pair.
    """
    loop = asyncio.get_running_loop()
    for _ in range(_PORT_TRIES):
        rtp, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(on_rtp), local_addr=(host, 0)
        )
        port = port_of(rtp)
        if port % 2 == 0:
            try:
                rtcp, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(on_rtcp), local_addr=(host, port + 1)
                )
            except OSError:
                pass  # another program has that one
            else:
                return rtp, rtcp
        rtp.close()
    raise OSError("no pair of free media ports")


def port_of(transport: asyncio.BaseTransport) -> int:
    """The local port of a socket."""
    port: int = transport.get_extra_info("sockname")[1]
    return port


async def _resolve(transport: str, remote: tuple[str, int]) -> tuple[str, int]:
    """The address of a host; of several an IPv4 one, because `localhost` is ::1 to many systems
    while most gateways listen on 127.0.0.1."""
    kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
    found = await asyncio.get_running_loop().getaddrinfo(*remote, type=kind)
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    address = found[0][4]
    return str(address[0]), int(address[1])


def _peer(transport: asyncio.BaseTransport, name: str) -> Address:
    host, port = transport.get_extra_info("peername")[:2]
    return Address(host, port, name)


class _UdpChannel(asyncio.DatagramProtocol):
    def __init__(self, on_message: Callable[[bytes], None], on_failure: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_failure = on_failure
        self._transport: asyncio.DatagramTransport | None = None
        self.local = ("", 0)
        self.remote = Address("", 0, "udp")

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport
        self.local = transport.get_extra_info("sockname")[:2]
        self.remote = _peer(transport, "udp")

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._on_message(data)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there (ICMP)."""
        self._on_failure()

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.sendto(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _TcpChannel(asyncio.Protocol):
    def __init__(self, on_message: Callable[[bytes], None], on_failure: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_failure = on_failure
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self.local = ("", 0)
        self.remote = Address("", 0, "tcp")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self.local = transport.get_extra_info("sockname")[:2]
        self.remote = _peer(transport, "tcp")

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._framer.feed(data):
                self._on_message(message)
        except SipError:
            if self._transport is not None:
                self._transport.close()  # where the next message begins is unknown
            return
        pong = self._framer.replies()
        if pong:
            self.send(pong)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self._closing:
            self._on_failure()

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
        else:
            # Not now: whoever sends is in the middle of something.
            asyncio.get_running_loop().call_soon(self._on_failure)

    def close(self) -> None:
        self._closing = True
        if self._transport is not None:
            self._transport.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, receive: OnDatagram) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._receive(data, addr)

    def error_received(self, exc: Exception) -> None:
        """The far end's media port is closed: it will hang up, or be silent, which is noticed."""
