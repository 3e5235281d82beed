"""Both ends of SIP calls on loopback: an endpoint of ours, and a telephone that only sends text."""

import asyncio
import itertools
import random
import re
import socket
from collections.abc import Callable
from typing import Any

import structlog

from gateway.legs.dns import Dns
from gateway.legs.leg import LegEvent
from gateway.legs.leg_media import MediaConfig
from gateway.legs.ports import PortPool
from gateway.legs.sip_endpoint import SipEndpoint, SipSockets
from gateway.legs.sip_incoming import SipIncomingLeg
from gateway.legs.sip_leg import SipLeg
from gateway.legs.sip_outgoing import DialPlan, SipOutgoingLeg
from gateway.legs.tls import TlsFiles
from gateway.reach import Network
from gateway.sip.agent import SipAgent
from gateway.sip.config import SipConfig
from tests.legs.test_rtp_port import HandPacer

HOST = "127.0.0.1"
_PAIRS = 5
_names = itertools.count(1)


class Office:
    """An endpoint, the calls that it was handed and those that it makes."""

    def __init__(
        self,
        allow: tuple[Network, ...] | None = None,
        *,
        tls: TlsFiles | None = None,
        dns: Dns | None = None,
        users: dict[str, str] | None = None,
        **media_settings: Any,
    ) -> None:
        numbers = itertools.count(next(_names) << 32)
        first = random.randrange(32_000, 60_000, 2)
        self.port, self.ws_port, self.tls_port = free_port(), free_port(), free_port()
        self.config = SipConfig(
            HOST,
            self.port,
            self.port,
            self.ws_port,
            self.tls_port,
            allow=allow,
            users=users or {},
        )
        self.agent = SipAgent(self.config, token=lambda: f"{next(numbers):016x}")
        self.pacer = HandPacer()
        self.ports = PortPool(first, first + 2 * _PAIRS - 1)
        pacer: Any = self.pacer
        self.media = MediaConfig(HOST, HOST, self.ports, pacer, 30.0, **media_settings)
        self.legs: list[SipLeg] = []
        self.events: list[LegEvent] = []
        self._more = asyncio.Event()
        self.endpoint = SipEndpoint(
            self.agent,
            self.media,
            self._take,
            structlog.get_logger(),
            TlsFiles() if tls is None else tls,
            dns,
        )

    async def open(
        self,
        host: str = HOST,
        *,
        tcp: bool = True,
        ws: bool = False,
        tls: bool = False,
        origins: tuple[str, ...] = (),
    ) -> None:
        sockets = SipSockets(
            host,
            self.port,
            self.port if tcp else 0,
            tls_port=self.tls_port if tls else 0,
            ws_port=self.ws_port if ws else 0,
            ws_origins=origins,
        )
        await self.endpoint.open(sockets)

    def leg(self, target: str, **plan: Any) -> SipOutgoingLeg:
        """One that calls `target`."""
        leg = self.endpoint.dial(DialPlan(target, **{"from_uri": f"sip:office@{HOST}"} | plan))
        self._keep(leg)
        return leg

    async def called(self) -> SipIncomingLeg:
        """The latest caller, once there is one."""
        async with asyncio.timeout(3):
            while not self.legs:
                await self._next()
        leg = self.legs[-1]
        assert isinstance(leg, SipIncomingLeg)
        return leg

    async def until(self, event: LegEvent) -> None:
        """Wait until a leg has told this."""
        async with asyncio.timeout(3):
            while event not in self.events:
                await self._next()

    async def close(self) -> None:
        for leg in self.legs:
            await leg.close()
        await self.endpoint.close()

    def left(self) -> dict[str, int]:
        """What is held although all calls are over and all timers have run down."""
        now = asyncio.get_running_loop().time()
        for later_s in (40, 80, 120):
            self.agent.timeout(now + later_s)
        held = {
            "dialogs": self.agent.dialogs,
            "transactions": self.agent.transactions,
            "timers": self.agent.timers,
            "ports": _PAIRS - len(self.ports),
            "ticking": len(self.pacer.ports),
            "connections": self.endpoint.connections,
        }
        return {name: number for name, number in held.items() if number}

    def _take(self, leg: SipIncomingLeg) -> None:
        self._keep(leg)
        self._more.set()

    def _keep(self, leg: SipLeg) -> None:
        self.legs.append(leg)
        leg.listen(self._told)

    def _told(self, event: LegEvent) -> None:
        self.events.append(event)
        self._more.set()

    async def _next(self) -> None:
        self._more.clear()
        await self._more.wait()


class Phone(asyncio.DatagramProtocol):
    """Sends text, keeps what comes."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._more = asyncio.Event()

    @classmethod
    async def open(cls, port: int | None = None) -> "Phone":
        """One that calls the endpoint at `port`, or waits to be called."""
        remote = None if port is None else (HOST, port)
        local = (HOST, 0) if port is None else None
        loop = asyncio.get_running_loop()
        _, phone = await loop.create_datagram_endpoint(cls, local, remote_addr=remote)
        return phone

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.port: int = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard.append(data.decode())
        self.peer = addr
        self._more.set()

    def close(self) -> None:
        self.transport.close()

    @property
    def uri(self) -> str:
        return f"sip:phone@{HOST}:{self.port}"

    async def until(self, start: str, seen: Callable[[str], bool] = lambda _: True) -> str:
        """The first message that begins so and satisfies `seen`, once it is there."""
        async with asyncio.timeout(3):
            while True:
                for text in self.heard:
                    if text.startswith(start) and seen(text):
                        return text
                self._more.clear()
                await self._more.wait()

    def send(self, text: str | bytes) -> None:
        """To whoever was heard last."""
        self.transport.sendto(text.encode() if isinstance(text, str) else text, self.peer)

    def answer(self, request: str, status: int, *lines: str, body: bytes = b"") -> None:
        """Answer a request; `lines` are more header lines."""
        copied = [
            line if not line.startswith("To:") or ";tag=" in line else f"{line};tag=phone"
            for line in request.split("\r\n\r\n")[0].split("\r\n")[1:]
            if re.match("(Via|From|To|Call-ID|CSeq):", line)
        ]
        head = [f"SIP/2.0 {status} Text", *copied, f"Contact: <{self.uri}>", *lines]
        kind = ["Content-Type: application/sdp"] if body else []
        text = "\r\n".join([*head, *kind, f"Content-Length: {len(body)}", "", ""])
        self.send(text.encode() + body)

    def request(self, method: str, of: str, number: int, *lines: str, body: str = "") -> None:
        """Send a request inside the dialog that `of`, a request of the peer, belongs to."""
        target = header(of, "Contact").strip("<>")
        remote = header(of, "From")
        local = header(of, "To")
        local = local if ";tag=" in local else f"{local};tag=phone"
        head = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/UDP {HOST}:{self.port};branch=z9hG4bK{method}{number};rport",
            "Max-Forwards: 70",
            f"From: {local}",
            f"To: {remote}",
            f"Call-ID: {header(of, 'Call-ID')}",
            f"CSeq: {number} {method}",
            f"Contact: <{self.uri}>",
            *lines,
        ]
        self.send("\r\n".join([*head, f"Content-Length: {len(body)}", "", body]))


def header(text: str, name: str) -> str:
    """The value of a message's header."""
    found = re.search(rf"^{name}: (.*)\r$", text, re.MULTILINE)
    assert found, f"no {name} in\n{text}"
    return found[1]


def free_port() -> int:
    """A port that is free for UDP and for TCP, and below those that the system hands out."""
    while True:
        port = random.randrange(10_000, 17_000)
        try:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                with socket.socket(type=kind) as sock:
                    sock.bind((HOST, port))
        except OSError:
            continue
        return port
