"""From settings to SIP: who we are, where we listen, whom we call."""

from gateway.legs.dialling import DialRules
from gateway.legs.sip_endpoint import SipSockets
from gateway.legs.tls import TlsFiles
from gateway.settings import Settings, split
from gateway.sip.config import SipConfig
from gateway.sip.trunk import Trunk


def sip_config(settings: Settings, program: str) -> SipConfig:
    """Identity and rules of the agent; `program` is the text of User-Agent and Server."""
    return SipConfig(
        host=settings.sip_advertised_host or settings.sip_host,
        udp_port=settings.sip_udp_port,
        tcp_port=settings.sip_tcp_port,
        tls_port=settings.sip_tls_port,
        ws_port=settings.sip_ws_port,
        user_agent=program,
        allow=settings.sip_networks,
    )


def sip_sockets(settings: Settings) -> SipSockets:
    """Where the agent listens."""
    return SipSockets(
        host=settings.sip_host,
        udp_port=settings.sip_udp_port,
        tcp_port=settings.sip_tcp_port,
        tls_port=settings.sip_tls_port,
        ws_port=settings.sip_ws_port,
        ws_origins=tuple(split(settings.sip_ws_origins)),
    )


def tls_files(settings: Settings) -> TlsFiles:
    """Our certificate, and whom we believe."""
    return TlsFiles(
        certificate=settings.sip_tls_cert,
        key=settings.sip_tls_key,
        client_ca=settings.sip_tls_ca,
        trust=settings.sip_tls_trust,
    )


def dial_rules(settings: Settings) -> DialRules:
    """Whom this line may call, and by which way."""
    return DialRules(
        host=settings.sip_advertised_host or settings.sip_host,
        ports=(settings.sip_udp_port, settings.sip_tcp_port, settings.sip_tls_port),
        trunk=Trunk.parse(settings.sip_trunk) if settings.sip_trunk else None,
        allow=settings.sip_networks,
    )
