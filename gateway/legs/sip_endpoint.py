"""The sockets of SIP: feeds a `SipAgent`, sends what it wants sent, keeps its one timer.

UDP is one socket. Everything else is connections, known by the peer's address: a message goes out
on the one that leads there. Over TCP and TLS a new one is opened when there is none. This shell
decides nothing; dialogs' events go to their legs.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from gateway.alarm import Alarm
from gateway.legs.dns import Dns
from gateway.legs.leg_media import MediaConfig
from gateway.legs.locate import Locator
from gateway.legs.ports import bind_udp, listen_tcp, mapped_host, plain_host
from gateway.legs.sip_connections import Connections
from gateway.legs.sip_incoming import SipIncomingLeg
from gateway.legs.sip_leg import SipLeg
from gateway.legs.sip_outgoing import Course, DialPlan, SipOutgoingLeg
from gateway.legs.sip_probes import SipProbes
from gateway.legs.sip_registrations import SipRegistrations
from gateway.legs.sip_tcp import Tcp, Tls
from gateway.legs.sip_websocket import WebSockets
from gateway.legs.tls import TlsFiles
from gateway.legs.tls_watch import TlsWatch
from gateway.sip.agent import SipAgent
from gateway.sip.errors import SipError
from gateway.sip.events import CallEnded, IncomingCall, SipEvent
from gateway.sip.message import Address, Outgoing
from gateway.sip.throttle import Notice

_UDP_BUFFER_BYTES = 4 << 20
_REFUSED_HINTS = {
    401: "unknown name or wrong password; see GATEWAY_SIP_USERS",
    403: "see GATEWAY_SIP_ALLOW",
    None: "its connection was closed unheard; see GATEWAY_SIP_ALLOW",
}
_LINGER_S = 2.0
"""At shutdown, this long for the last BYEs to be answered."""

OnCall = Callable[[SipIncomingLeg], None]


@dataclass(frozen=True, slots=True)
class SipSockets:
    """Where to listen. A port of 0 leaves its transport off."""

    host: str
    """:: takes IPv6 only, unless `both`."""
    udp_port: int = 0
    tcp_port: int = 0
    tls_port: int = 0
    ws_port: int = 0
    """Secure where there is a certificate."""
    ws_origins: tuple[str, ...] = ()
    """Of pages that may call besides our host's own."""
    both: bool = False
    """IPv4 as well as IPv6, over the same ports."""


class SipEndpoint:
    """SIP on the network.

    Args:
        agent: decides about everything.
        media: what the legs' RTP ports share.
        on_call: is given each caller.
        log: for what concerns no call.
        tls: who we are over TLS, and whom we believe.
        dns: where domains are asked for what they offer; None: nowhere, each is a host.

    Raises:
        OSError: one of these files cannot be used.
    """

    def __init__(
        self,
        agent: SipAgent,
        media: MediaConfig,
        on_call: OnCall,
        log: FilteringBoundLogger,
        tls: TlsFiles,
        dns: Dns | None = None,
    ) -> None:
        self._agent = agent
        self._media = media
        self._on_call = on_call
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._legs: dict[str, SipLeg] = {}
        self._alarm = Alarm(self._timeout)
        self._locator = Locator(self._loop.time, dns)
        self._hosts: tuple[str, ...] = ()
        self._maps = False  # IPv4 is inside of IPv6 for the UDP socket
        self._udp: asyncio.DatagramTransport | None = None
        self._connections = Connections(agent, self._disconnected, self._turned_away)
        self._tcp = Tcp(self, self._connections)
        self.certificates = TlsWatch("sip", tls, log)
        self._tls = Tls(self, self._connections, self.certificates.contexts, log)
        self._websockets = WebSockets(self, self._connections, log)
        self.registrations = SipRegistrations(self, log)
        self.probes = SipProbes(self, log)
        self._draining = False
        self._quiet: asyncio.Event | None = None

    async def open(self, listen: SipSockets) -> None:
        """Listen.

        Raises:
            OSError: a port is taken or the address is not ours.
        """
        host, both = listen.host, listen.both
        self._hosts = ("0.0.0.0", host) if both else (host,)
        self._maps = both
        if listen.udp_port:
            sock = bind_udp(host, listen.udp_port, both=both)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UDP_BUFFER_BYTES)
            self._udp, _ = await self._loop.create_datagram_endpoint(
                lambda: _Udp(self.receive), sock=sock
            )
        if listen.tcp_port:
            await self._tcp.open(listen_tcp(host, listen.tcp_port, both=both))
        if listen.tls_port:
            await self._tls.open(listen_tcp(host, listen.tls_port, both=both))
        if listen.ws_port:
            listener = listen_tcp(host, listen.ws_port, both=both)
            web = self.certificates.contexts.web
            await self._websockets.open(listener, web, listen.ws_origins)
        self.certificates.start()

    def renew_certificates(self) -> None:
        """Read the certificates again, for the connections to come."""
        self.certificates.renew()

    def dial(self, plan: DialPlan, course: Course | None = None) -> SipOutgoingLeg:
        """A leg that calls somebody; nothing is sent before its `dial`."""
        return SipOutgoingLeg(self, plan, self._media, course)

    # What the legs ask.

    def act(self, action: Callable[[SipAgent, float], None]) -> None:
        """Ask something of the agent and send what comes of it."""
        action(self._agent, self._loop.time())
        self._drain()

    async def locate(self, hop: Address) -> list[Address]:
        """Where to send what is meant for `hop`, the best place first; see `Locator.locate`.

        Raises:
            LegError: 502 no_transport, its transport is off here; and as `callable_from`.
        """
        open_ones = {"udp": self._udp is not None, "tcp": self._tcp.is_open, "tls": True}
        transports = [transport for transport, is_open in open_ones.items() if is_open]
        found = await self._locator.locate(hop, transports, self._hosts)
        # Who is registered there is known at one of them, and has a connection to it.
        known = self._agent.registrations.address_of(hop)
        return found if known is None else [known, *(one for one in found if one != known)]

    def place(self, leg: SipLeg, invite: Callable[[SipAgent, float], str]) -> None:
        """Call somebody; the events of the dialog that `invite` returns go to `leg`."""
        leg.dialog_id = invite(self._agent, self._loop.time())
        self._legs[leg.dialog_id] = leg
        self._drain()

    @property
    def connections(self) -> int:
        """Open connections, over TCP, TLS and WebSocket."""
        return len(self._connections)

    @property
    def tls_failures(self) -> int:
        """TLS handshakes that came to nothing."""
        return self._tls.failures

    async def close(self) -> None:
        """Wait for answers to our last requests, but not for long, then free the sockets."""
        await self.probes.close()
        self._quiet = asyncio.Event()
        self._drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                await self._quiet.wait()
        self._alarm.cancel()
        await self.registrations.close()
        await self._locator.close()
        self.certificates.close()
        await self._tcp.close()
        await self._tls.close()
        self._connections.close()
        await self._websockets.close()
        if self._udp is not None:
            self._udp.close()

    # The ten lines that every core's shell is made of.

    def receive(self, data: bytes, source: Address) -> None:
        self._agent.receive(data, source, self._loop.time())
        self._drain()

    def refuse(self, error: SipError, source: Address) -> None:
        """Answer what a framer could not read to its end."""
        self._agent.refuse(error, source, self._loop.time())
        self._drain()

    def unreachable(self, to: Address) -> None:
        """No connection could be made to `to`."""
        self._agent.transport_failed(to, self._loop.time())
        self._drain()

    def has_second_way(self, to: Address) -> bool:
        """Whether what waits for a connection to `to` goes over UDP if none is made."""
        return self._agent.has_second_way(to)

    def _timeout(self, now: float) -> None:
        self._agent.timeout(now)
        self._drain()

    def _drain(self) -> None:
        if self._draining:
            return  # an event's receiver asked for more; the loop below sees to it
        self._draining = True
        try:
            while self._send_all() or self._dispatch_all() or self._tell_providers():
                pass
        finally:
            self._draining = False
            self._alarm.set(self._agent.next_timeout())
        if self._quiet is not None and not self._agent.unanswered:
            self._quiet.set()

    def _send_all(self) -> bool:
        """Returns whether the agent had to be told of something that could not be sent."""
        unsent = [
            outgoing.to for outgoing in self._agent.datagrams_to_send() if not self._send(outgoing)
        ]
        for to in unsent:
            self._agent.transport_failed(to, self._loop.time())
        return bool(unsent)

    def _dispatch_all(self) -> bool:
        """Returns whether there was any event."""
        for notice in self._agent.notices():
            self._tell_of(notice)
        events = self._agent.events()
        for event in events:
            try:
                self._dispatch(event)
            except Exception as error:
                # The others of this batch belong to other calls.
                self._log.error("sip.failed", exc_info=error)
                self._agent.hang_up(event.dialog_id, self._loop.time())
        return bool(events)

    def _tell_of(self, notice: Notice) -> None:
        if notice.kind != "refused":
            self._log.warning(
                f"sip.source_{notice.kind}",
                source=notice.host,
                failures=notice.failures,
                why=notice.why,
            )
            return
        self._log.warning(
            "sip.refused",
            source=notice.host,
            method=notice.method or None,
            sip_status=notice.status,
            why=notice.why,
            hint=_REFUSED_HINTS.get(notice.status, ""),
        )

    def _tell_providers(self) -> bool:
        """Returns whether there was anything to tell of registrations or trunks."""
        registered, probed = self._agent.registrations.events(), self._agent.probes.events()
        for event in registered:
            self.registrations.told(event)
        for answer in probed:
            self.probes.told(answer)
        return bool(registered or probed)

    def _dispatch(self, event: SipEvent) -> None:
        if isinstance(event, IncomingCall):
            self._incoming(event)
            return
        leg = self._legs.get(event.dialog_id)
        if isinstance(event, CallEnded):
            self._legs.pop(event.dialog_id, None)
        if leg is not None:
            leg.dialog_event(event)

    def _incoming(self, event: IncomingCall) -> None:
        leg = SipIncomingLeg(self, event, self._media)
        self._legs[event.dialog_id] = leg
        self._on_call(leg)

    # Sockets.

    def _send(self, outgoing: Outgoing) -> bool:
        """Returns whether it is on its way, as far as that is known at once."""
        to = outgoing.to
        if to.transport == "udp":
            try:
                if self._udp is not None:
                    host = mapped_host(to.host) if self._maps else to.host
                    self._udp.sendto(outgoing.data, (host, to.port))
            except (ValueError, OSError):
                return False  # an address that this socket cannot reach
            return True
        connection = self._connections.find(to)
        if connection is not None:
            connection.send(outgoing.data)
        elif to.is_websocket:
            return False  # only its peer could open another
        else:
            (self._tls if to.transport == "tls" else self._tcp).connect(outgoing.data, to)
        return True

    def _disconnected(self, peer: Address) -> None:
        self._agent.connection_lost(peer, self._loop.time())
        self._drain()

    def _turned_away(self, peer: Address) -> None:
        self._agent.turned_away(peer, self._loop.time())
        self._drain()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, receive: Callable[[bytes, Address], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._receive(data, Address(plain_host(addr[0]), addr[1], "udp"))

    def error_received(self, exc: Exception) -> None:
        """An ICMP error says nothing that the transaction's timer will not say."""
