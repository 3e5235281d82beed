"""From settings to SIP: who we are, over the web too, where we listen, whom we call."""

import asyncio
from collections.abc import Callable

from gateway.calls.targets import allowed_contact
from gateway.legs.dialling import DialRules
from gateway.legs.dns import Dns
from gateway.legs.sip_endpoint import SipEndpoint, SipSockets
from gateway.legs.tls import TlsFiles
from gateway.settings import Settings, split
from gateway.settings.values import parse_name_servers, parse_users
from gateway.sip.account import Account
from gateway.sip.agent import SipAgent
from gateway.sip.config import SipConfig
from gateway.sip.trunk import parse_trunks

_PENDING = 100
"""Calls that may wait besides twice those that we take."""


def sip_config(settings: Settings, program: str) -> SipConfig:
    """Identity and rules of the agent; `program` is the text of User-Agent and Server."""
    return SipConfig(
        host=settings.sip_names[0],
        udp_port=settings.sip_udp_port,
        tcp_port=settings.sip_tcp_port,
        tls_port=settings.sip_tls_port,
        ws_port=settings.sip_ws_port,
        user_agent=program,
        allow=settings.sip_admits,
        reliable_provisionals=settings.sip_100rel,
        session_expires_s=settings.sip_session_timer_s,
        users=parse_users(settings.sip_users) if settings.sip_users else {},
        realm=settings.sip_realm,
        digests=tuple(split(settings.sip_digest)),
        rate=settings.sip_rate,
        # One trunk may bring all our calls, and as many again that are just being refused.
        pending=2 * settings.calls_max + _PENDING,
        accept_refer=settings.sip_accept_refer,
        accept_replaces=settings.sip_accept_replaces,
        other_host="".join(settings.sip_names[1:]),
    )


def sip_sockets(settings: Settings) -> SipSockets:
    """Where the agent listens."""
    return SipSockets(
        host=settings.sip_host,
        both=len(settings.sip_names) > 1,
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


def web_tls_files(settings: Settings) -> TlsFiles:
    """The certificate of the web server; "" without."""
    return TlsFiles(certificate=settings.http_tls_cert, key=settings.http_tls_key)


def dns(settings: Settings) -> Dns:
    """Whom we ask for names; needs a running loop."""
    servers = parse_name_servers(settings.sip_dns) if settings.sip_dns else ()
    return Dns(asyncio.get_running_loop().time, servers)


def accounts(settings: Settings) -> list[Account]:
    """Where we register."""
    return [Account.parse(text) for text in split(settings.sip_register)]


def dial_rules(settings: Settings) -> DialRules:
    """Whom this line may call, and by which way."""
    trunks = parse_trunks(split(settings.sip_trunk))
    targets = split(settings.calls_targets)
    return DialRules(
        host=settings.sip_names[0],
        other_host="".join(settings.sip_names[1:]),
        ports=(settings.sip_udp_port, settings.sip_tcp_port, settings.sip_tls_port),
        trunks=trunks,
        allow=settings.sip_networks,
        redirects=settings.calls_redirects,
        follows=lambda uri: allowed_contact(uri, targets, [trunk.host for trunk in trunks]),
    )


def add_sip_gauges(
    gauge: Callable[[str, str, Callable[[], float]], None], agent: SipAgent, endpoint: SipEndpoint
) -> None:
    """Show how much there is of SIP, by `gauge` (name, meaning, how it is read)."""
    gauge("gateway_sip_dialogs", "SIP dialogs.", lambda: agent.dialogs)
    gauge("gateway_sip_transactions", "SIP transactions.", lambda: agent.transactions)
    gauge(
        "gateway_sip_connections",
        "Open SIP connections over TCP, TLS and WebSocket.",
        lambda: endpoint.connections,
    )
    gauge(
        "gateway_sip_tls_failures",
        "TLS handshakes of SIP that came to nothing.",
        lambda: endpoint.tls_failures,
    )
