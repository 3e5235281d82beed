"""Others that speak STUN: a peer of ICE as a test says, and servers."""

import asyncio
import socket
import struct
from hashlib import md5
from typing import Any, cast

from aioice import stun

from gateway.sdp.webrtc import Candidate, Transport

Address = tuple[str, int]

UFRAG, PWD = "theirs", "p" * 24
MAPPED = ("198.51.100.7", 40_000)
"""Where a STUN server says that it sees everybody."""


class _Party(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.transport: asyncio.DatagramTransport
        self.seen: list[stun.Message] = []
        self.mute = False

    async def listen(self, sock: socket.socket) -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=sock)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    @property
    def address(self) -> Address:
        name = self.transport.get_extra_info("sockname")
        return name[0], name[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        message = stun.parse_message(data)
        self.seen.append(message)
        if not self.mute and message.message_class is stun.Class.REQUEST:
            self.answer(message, addr)

    def answer(self, request: stun.Message, addr: Address) -> None:
        raise NotImplementedError


def _response(request: stun.Message, kind: stun.Class, **attributes: Any) -> stun.Message:
    named = {name.replace("_", "-"): value for name, value in attributes.items()}
    return stun.Message(request.message_method, kind, request.transaction_id, named)


class Remote(_Party):
    """A peer's end of ICE: answers checks unless it is mute, and checks when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals = 0
        """How many checks it answers yet with that their role is its own, whichever they name."""

    def answer(self, request: stun.Message, addr: Address) -> None:
        if self.refusals:
            self.refusals -= 1
            response = _response(request, stun.Class.ERROR, ERROR_CODE=(487, "Role Conflict"))
        else:
            response = _response(request, stun.Class.RESPONSE, XOR_MAPPED_ADDRESS=addr)
        response.add_message_integrity(PWD.encode())
        self.transport.sendto(bytes(response), addr)

    def check(
        self,
        to: Address,
        ufrag: str,
        pwd: str,
        *,
        nominate: bool = False,
        priority: int | None = 1_000_000,
    ) -> None:
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{ufrag}:{UFRAG}"
        request.attributes["ICE-CONTROLLING"] = 2**64 - 1
        if priority is not None:
            request.attributes["PRIORITY"] = priority
        if nominate:
            request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity(pwd.encode())
        self.transport.sendto(bytes(request), to)


def described(*remotes: Remote, lite: bool = False) -> Transport:
    """What signalling says of a peer at these places."""
    candidates = tuple(
        Candidate(str(number), 1, "udp", 2_000_000 - number, *remote.address, "host")
        for number, remote in enumerate(remotes)
    )
    return Transport(UFRAG, PWD, (), "actpass", candidates, ice_lite=lite)


class StunServer(_Party):
    def answer(self, request: stun.Message, addr: Address) -> None:
        response = _response(request, stun.Class.RESPONSE, XOR_MAPPED_ADDRESS=MAPPED)
        self.transport.sendto(bytes(response), addr)


class TurnServer(_Party):
    """Relays for one client (RFC 8656), with channels only.

    Args:
        host: where the relayed address is.
        keeps: whether it never answers to being asked to release it.
    """

    USER, PASSWORD, REALM = "user", "secret", "here"

    def __init__(self, host: str, *, keeps: bool = False) -> None:
        super().__init__()
        self.released = False
        self._host = host
        self._keeps = keeps
        self._key = md5(f"{self.USER}:{self.REALM}:{self.PASSWORD}".encode()).digest()
        self._relay: asyncio.DatagramTransport | None = None
        self._channels: dict[int, Address] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if data[0] & 0xC0 != 0x40:
            super().datagram_received(data, addr)
            return
        channel, length = struct.unpack_from("!HH", data)
        assert self._relay is not None
        self._relay.sendto(data[4 : 4 + length], self._channels[channel])

    def answer(self, request: stun.Message, addr: Address) -> None:
        if "USERNAME" not in request.attributes:
            error = _response(request, stun.Class.ERROR, REALM=self.REALM, NONCE=b"once")
            error.attributes["ERROR-CODE"] = (401, "Unauthorized")
            self.transport.sendto(bytes(error), addr)
            return
        assert request.check_message_integrity(self._key)
        if request.message_method is stun.Method.ALLOCATE:
            task = asyncio.create_task(self._allocate(request, addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif request.message_method is stun.Method.CHANNEL_BIND:
            channel, peer = (
                request.attributes["CHANNEL-NUMBER"],
                request.attributes["XOR-PEER-ADDRESS"],
            )
            self._channels[channel] = peer
            self._confirm(request, addr)
        elif request.message_method is stun.Method.REFRESH and not self._keeps:
            self.released = request.attributes["LIFETIME"] == 0
            self._confirm(request, addr, LIFETIME=0)

    @property
    def bound(self) -> int:
        """How many peers of the client it relays from and to."""
        return len(self._channels)

    async def _allocate(self, request: stun.Message, addr: Address) -> None:
        server, client = self, addr

        class Relay(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                for channel, peer in server._channels.items():
                    if peer == addr[:2]:
                        padded = data + bytes(-len(data) % 4)
                        header = struct.pack("!HH", channel, len(data))
                        server.transport.sendto(header + padded, client)

        loop = asyncio.get_running_loop()
        relay, _ = await loop.create_datagram_endpoint(Relay, (self._host, 0))
        self._relay = relay
        self._confirm(
            request,
            addr,
            LIFETIME=600,
            XOR_MAPPED_ADDRESS=addr,
            XOR_RELAYED_ADDRESS=relay.get_extra_info("sockname")[:2],
        )

    def _confirm(self, request: stun.Message, addr: Address, **attributes: Any) -> None:
        response = _response(request, stun.Class.RESPONSE, **attributes)
        response.add_message_integrity(self._key)
        self.transport.sendto(bytes(response), addr)

    def close(self) -> None:
        self.transport.close()
        if self._relay is not None:
            self._relay.close()


class TcpTurnServer(TurnServer):
    """The same over TCP."""

    async def listen(self, sock: socket.socket) -> None:
        host = sock.getsockname()[0]
        sock.close()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Client(self), host, 0)

    @property
    def address(self) -> Address:
        name = self._server.sockets[0].getsockname()
        return name[0], name[1]

    def close(self) -> None:
        super().close()
        self._server.close()


class _Client(asyncio.Protocol):
    """A server's connection with its client, in place of its socket."""

    def __init__(self, server: TurnServer) -> None:
        self._server = server
        self._waiting = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._server.transport = cast(asyncio.DatagramTransport, self)
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        while len(self._waiting) >= 4:
            channel, length = struct.unpack_from("!HH", self._waiting)
            whole = length + (-length % 4 + 4 if channel >= 0x4000 else 20)
            if len(self._waiting) < whole:
                break
            message, self._waiting = self._waiting[:whole], self._waiting[whole:]
            self._server.datagram_received(message, self._transport.get_extra_info("peername"))

    def sendto(self, data: bytes, addr: Address) -> None:
        self._transport.write(data)

    def close(self) -> None:
        self._transport.close()
