"""What a peer is told, whom it tells, and what it counts."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from gateway.webrtc.certificates import Certificates
from gateway.webrtc.servers import TurnServer

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


async def ask_the_system(host: str) -> str:
    """The IPv4 address of a name, or the literal that it is. Raises OSError."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_DGRAM)
        return str(found[0][4][0])


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """What holds for all peers of a process, which share one of these and so a certificate."""

    stun: tuple[str, int] | None = None
    """Host and port of the server that says which address others see us at."""
    turn: TurnServer | None = None
    advertised_host: str = ""
    """An IP address told instead of those of our sockets, where a NAT maps it one to one."""
    allow: tuple[Network, ...] | None = None
    """Private networks whose addresses a peer may name though we are not in one of them."""
    resolve: Callable[[str], Awaitable[str]] = ask_the_system
    """From the name of a server to its address; raises OSError."""
    certificates: Certificates = field(default_factory=Certificates)
    gather_s: float = 1.0
    """How long servers may take to give us candidates. The caller waits for the answer meanwhile:
    long enough for a second packet when the first is lost, no longer."""
    connect_s: float = 30.0
    """How long a way to the peer is looked for. Checks are sent in the first 8 seconds; the rest is
    for a person whom the browser asks for permission, and whose checks only come then."""
    handshake_s: float = 15.0
    """How long DTLS may take. A lost packet costs 1, then 2, then 4 seconds."""
    consent_interval_s: float = 5.0
    consent_s: float = 30.0
    """Who answers no check for so long is gone, and is sent nothing any more (RFC 7675)."""


@dataclass(slots=True)
class PeerCounters:
    """What did not get through, in packets unless it says otherwise."""

    dropped_source: int = 0
    """Media or DTLS from where no check succeeded: anybody's."""
    dropped_stun: int = 0
    """No STUN at all, or checks by somebody who has not read our description."""
    dropped_dtls: int = 0
    """Came faster than it was read, or is longer than anybody sends."""
    dropped_srtp: int = 0
    """Before there were keys, not made with them, sent twice, or of too many senders."""
    dropped_sctp: int = 0
    """Against the protocol, or more than we keep."""
    dropped_other: int = 0
    """Of no protocol that shares the port (RFC 7983)."""
    dropped_sending: int = 0
    """Ours, that the socket or the protocol did not take."""
    silent_servers: int = 0
    """STUN and TURN servers that gave us no candidate in time."""
    ignored_candidates: int = 0
    """Of the peer: places where nothing is sent to."""
    ignored_channels: int = 0
    """Data channels after the first."""


class PeerListener(Protocol):
    """Whoever has a `Peer`. What these raise goes to the event loop's exception handler."""

    def peer_connected(self) -> None:
        """Media can flow."""

    def rtp_received(self, data: bytes) -> None:
        """A packet, decrypted; called for each in the datagram's own callback."""

    def rtcp_received(self, data: bytes) -> None:
        """Likewise, a compound packet."""

    def channel_opened(self, label: str) -> None:
        """The peer opened its first data channel."""

    def message_received(self, data: bytes) -> None:
        """A message on it, be it text (in UTF-8) or binary."""

    def channel_closed(self) -> None:
        """The peer closed it, and nothing else."""

    def peer_failed(self, reason: str) -> None:
        """It is over, and nothing more is told; `close` is still to be called.

        `ice_failed`: no way to the peer was found, or the peer is gone from it. `dtls_failed`: no
        keys could be agreed on, or the peer is not who signalled. `peer_closed`: the peer said so.
        """
