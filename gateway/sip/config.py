"""What an agent is told once, when it is made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Literal

from gateway.sip.message import Address
from gateway.sip.uri import format_host


@dataclass(frozen=True, slots=True)
class SipConfig:
    """Identity, ports and timers of one agent."""

    host: str
    """Where others reach us: an IP literal without brackets, or a name. Goes into Via, Contact."""
    udp_port: int = 5060
    tcp_port: int = 5060
    ws_port: int = 0
    """Of SIP over WebSocket, plain or secure."""
    tls_port: int = 0
    """0: we listen nowhere, and are reached on connections that we opened."""
    user_agent: str = "voice-agent-gateway"
    """Text of User-Agent and Server."""
    allow: tuple[IPv4Network | IPv6Network, ...] | None = None
    """Networks whose requests are served; None serves everybody."""
    retry_after_s: int = 10
    """What the 503 to an OPTIONS tells."""
    t1: float = 0.5
    """Seconds; estimate of a round trip (RFC 3261 table 4)."""
    t2: float = 4.0
    """Seconds; longest pause between two copies."""
    t4: float = 5.0
    """Seconds; how long a message may live in the network."""
    reliable_provisionals: Literal["off", "supported", "required"] = "supported"
    """Ringing and early media that are acknowledged (RFC 3262); required: of every peer."""
    session_expires_s: int = 1800
    """Seconds without a refresh after which a session is over (RFC 4028); 0: no such timer."""
    min_se_s: int = 90
    """The shortest such time that we agree to."""
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Names and passwords of those who may call from anywhere; {}: nobody may."""
    realm: str = ""
    """What these are for; "" is `host`."""
    digests: tuple[str, ...] = ("SHA-512-256", "SHA-256", "MD5")
    """What a proof may be made with, in the order in which it is asked for (RFC 8760)."""
    rate: float = 0.0
    """Requests a second that are read of one source that is not in `allow`; 0: all."""
    pending: int = 0
    """Calls of one source that may wait for an answer, or for the ACK of a refusal; 0: any."""
    accept_refer: bool = False
    """Whether a peer may ask us to call somebody; `ReferReceived` is told then."""
    accept_replaces: bool = False
    """Whether a call may take the place of another; `IncomingCall.replaces` is told then."""
    other_host: str = ""
    """Where those of the other IP family reach us; "": nowhere."""

    def host_for(self, peer: str) -> str:
        """What we are called by a peer at that IP address."""
        other = self.other_host
        return other if other and (":" in peer) != (":" in self.host) else self.host

    def sent_by(self, transport: str, peer: str = "") -> tuple[str, int]:
        """(host, port) of our Via for "udp", "tcp", "tls", "ws" or "wss", to that IP address."""
        ports = {"tcp": self.tcp_port, "ws": self.ws_port, "wss": self.ws_port}
        ports["tls"] = self.tls_port or 5061
        return self.host_for(peer or self.host), ports.get(transport, self.udp_port)

    def contact(self, transport: str, *, sips: bool = False, peer: str = "") -> str:
        """Value of our Contact for a dialog over "udp", "tcp", "tls", "ws" or "wss" with that IP
        address; `sips` for one that is private on every hop (RFC 3261 section 12.1.1)."""
        host, port = self.sent_by(transport, peer)
        # RFC 7118 section 5.2.2 has `ws` for both.
        named = {"tcp": "tcp", "tls": "tls", "ws": "ws", "wss": "ws"}.get(transport)
        if sips and named == "tls":
            named = None  # the scheme says it (RFC 5630 section 3.1.3)
        suffix = f";transport={named}" if named else ""
        return f"<{'sips' if sips else 'sip'}:{format_host(host)}:{port}{suffix}>"

    def serves(self, source: Address) -> bool:
        """Whether requests from that address are let in, without a proof."""
        if self.allow is None:
            return True
        try:
            address = ip_address(source.host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self.allow)
