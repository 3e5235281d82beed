"""The sockets of SIP: feeds a `SipAgent`, sends what it wants sent, keeps its one timer.

UDP is one socket. TCP is a listening socket and connections, known by the peer's address: a message
goes out on the connection that its peer opened, and a new one is opened only when there is none
(RFC 3261 section 18). This shell decides nothing; dialogs' events go to their legs.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from structlog.typing import FilteringBoundLogger

from gateway.alarm import Alarm
from gateway.legs.leg import LegError
from gateway.legs.ports import bind_udp
from gateway.legs.resolve import Resolver
from gateway.legs.sip_incoming import SipIncomingLeg
from gateway.legs.sip_leg import MediaConfig, SipLeg
from gateway.legs.sip_outgoing import DialPlan, SipOutgoingLeg
from gateway.sip.agent import SipAgent
from gateway.sip.errors import SipError
from gateway.sip.events import CallEnded, IncomingCall, SipEvent
from gateway.sip.message import Address, Outgoing
from gateway.sip.stream import StreamFramer

_UDP_BUFFER_BYTES = 4 << 20
_MAX_CONNECTIONS = 1000
_MAX_CONNECTIONS_OF_ONE_HOST = 500
_FIRST_MESSAGE_S = 5.0
"""A connection on which no whole message has come by then is closed."""
_MAX_UNSENT_BYTES = 1 << 20
_CONNECT_TIMEOUT_S = 5.0
_LINGER_S = 2.0
"""At shutdown, this long for the last BYEs to be answered."""

OnCall = Callable[[SipIncomingLeg], None]


class SipEndpoint:
    """SIP on the network.

    Args:
        agent: decides about everything.
        media: what the legs' RTP ports share.
        on_call: is given each caller.
        serves: whether anything is accepted from an address whom no call of ours is with.
        log: for what concerns no call.
    """

    def __init__(
        self,
        agent: SipAgent,
        media: MediaConfig,
        on_call: OnCall,
        serves: Callable[[Address], bool],
        log: FilteringBoundLogger,
    ) -> None:
        self._agent = agent
        self._media = media
        self._on_call = on_call
        self._serves = serves
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._legs: dict[str, SipLeg] = {}
        self._alarm = Alarm(self._timeout)
        self._resolver = Resolver(self._loop.time)
        self._host = ""
        self._udp: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._connections: dict[tuple[str, int], _Connection] = {}
        self._connecting: dict[tuple[str, int], list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._quiet: asyncio.Event | None = None

    async def open(self, host: str, udp_port: int, tcp_port: int) -> None:
        """Listen; a port of 0 leaves that transport off.

        Raises:
            OSError: a port is taken or the address is not ours.
        """
        self._host = host
        if udp_port:
            sock = bind_udp(host, udp_port)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UDP_BUFFER_BYTES)
            self._udp, _ = await self._loop.create_datagram_endpoint(
                lambda: _Udp(self.receive), sock=sock
            )
        if tcp_port:
            self._server = await self._loop.create_server(
                lambda: _Connection(self, accepted=True), host, tcp_port
            )

    def dial(self, plan: DialPlan) -> SipOutgoingLeg:
        """A leg that calls somebody; nothing is sent before its `dial`."""
        return SipOutgoingLeg(self, plan, self._media)

    # What the legs ask.

    def act(self, action: Callable[[SipAgent, float], None]) -> None:
        """Ask something of the agent and send what comes of it."""
        action(self._agent, self._loop.time())
        self._drain()

    async def locate(self, hop: Address) -> Address:
        """Where to send what is meant for `hop`, whose host may be a name.

        Raises:
            LegError: 502 no_transport, its transport is off here; and as `Resolver.resolve`.
        """
        if (self._udp if hop.transport == "udp" else self._server) is None:
            raise LegError(502, "no_transport")
        return replace(hop, host=await self._resolver.resolve(hop.host, self._host))

    def place(self, leg: SipLeg, invite: Callable[[SipAgent, float], str]) -> None:
        """Call somebody; the events of the dialog that `invite` returns go to `leg`."""
        leg.dialog_id = invite(self._agent, self._loop.time())
        self._legs[leg.dialog_id] = leg
        self._drain()

    @property
    def connections(self) -> int:
        """Open TCP connections."""
        return len(self._connections)

    async def close(self) -> None:
        """Wait for answers to our last requests, but not for long, then free the sockets."""
        self._quiet = asyncio.Event()
        self._drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                await self._quiet.wait()
        self._alarm.cancel()
        self._resolver.close()
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self._connections.values()):
            connection.close()
        if self._udp is not None:
            self._udp.close()

    # The ten lines that every core's shell is made of.

    def receive(self, data: bytes, source: Address) -> None:
        self._agent.receive(data, source, self._loop.time())
        self._drain()

    def refuse(self, error: SipError, source: Address) -> None:
        """Answer what a framer could not read to its end."""
        self._agent.refuse(error, source)
        self._drain()

    def _timeout(self, now: float) -> None:
        self._agent.timeout(now)
        self._drain()

    def _drain(self) -> None:
        if self._draining:
            return  # an event's receiver asked for more; the loop below sees to it
        self._draining = True
        try:
            while self._send_all() or self._dispatch_all():
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
        events = self._agent.events()
        for event in events:
            try:
                self._dispatch(event)
            except Exception as error:
                # The others of this batch belong to other calls.
                self._log.error("sip.failed", exc_info=error)
                self._agent.hang_up(event.dialog_id, self._loop.time())
        return bool(events)

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
                    self._udp.sendto(outgoing.data, (to.host, to.port))
            except (ValueError, OSError):
                return False  # an address that this socket cannot reach
            return True
        key = (to.host, to.port)
        connection = self._connections.get(key)
        if connection is not None:
            connection.send(outgoing.data)
        elif key in self._connecting:
            self._connecting[key].append(outgoing.data)
        else:
            self._connecting[key] = [outgoing.data]
            task = self._loop.create_task(self._connect(to))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return True

    async def _connect(self, to: Address) -> None:
        key = (to.host, to.port)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await self._loop.create_connection(
                    lambda: _Connection(self, accepted=False), to.host, to.port
                )
        except (OSError, TimeoutError):
            self._connecting.pop(key, None)
            self._agent.transport_failed(to, self._loop.time())
            self._drain()

    # What the connections tell.

    def connected(self, connection: "_Connection") -> bool:
        """Returns whether the connection may stay."""
        if connection.accepted and not self._admits(connection.peer):
            return False
        self._connections[connection.peer] = connection
        for data in self._connecting.pop(connection.peer, ()):
            connection.send(data)
        return True

    def _admits(self, peer: tuple[str, int]) -> bool:
        """Whether a connection that a peer opens is taken: no host may shut the others out."""
        of_this_host = sum(host == peer[0] for host, _ in self._connections)
        return (
            (self._serves(Address(*peer, "tcp")) or self._agent.is_calling(peer[0]))
            and len(self._connections) < _MAX_CONNECTIONS
            and of_this_host < _MAX_CONNECTIONS_OF_ONE_HOST
        )

    def disconnected(self, connection: "_Connection") -> None:
        if self._connections.get(connection.peer) is connection:
            del self._connections[connection.peer]
            self._agent.connection_lost(Address(*connection.peer, "tcp"), self._loop.time())
            self._drain()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, receive: Callable[[bytes, Address], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._receive(data, Address(addr[0], addr[1], "udp"))

    def error_received(self, exc: Exception) -> None:
        """An ICMP error says nothing that the transaction's timer will not say."""


class _Connection(asyncio.Protocol):
    """One TCP connection, accepted or opened by us."""

    def __init__(self, endpoint: SipEndpoint, *, accepted: bool) -> None:
        self.accepted = accepted
        self._endpoint = endpoint
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self.peer = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do what asyncio.Transport declares without being one.
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.peer = (peer[0], peer[1])
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self.accepted:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(_FIRST_MESSAGE_S, self.close)
        if not self._endpoint.connected(self):
            self.close()

    def data_received(self, data: bytes) -> None:
        source = Address(*self.peer, "tcp")
        try:
            for message in self._framer.feed(data):
                self._has_proved_itself()
                self._endpoint.receive(message, source)
        except SipError as error:
            # Where the next message starts is unknown, so this one is the last of the connection.
            self._endpoint.refuse(error, source)
            self.close()
            return
        self.send(self._framer.replies())

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_proved_itself()
        self._endpoint.disconnected(self)

    def send(self, data: bytes) -> None:
        transport = self._transport
        if not data or transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            transport.abort()  # the peer does not read
            return
        transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _has_proved_itself(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
