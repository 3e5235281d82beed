"""From settings to the media of all legs."""

import ipaddress
from typing import get_args

import ifaddr

from gateway.audio import libopus
from gateway.legs.leg_media import MediaConfig, WebRtcConfig
from gateway.legs.pacer import Pacer
from gateway.legs.ports import PortPool
from gateway.sdp.webrtc import AudioCodecName
from gateway.settings import Settings, split
from gateway.upstream.target import BackendConfig
from gateway.webrtc.config import PeerConfig
from gateway.webrtc.servers import parse_ice_servers

_MOST_HOSTS = 8
"""Each costs a socket a call, and a pair of addresses for the browser to try."""
_CODECS: tuple[AudioCodecName, ...] = get_args(AudioCodecName)
_OPUS_RATE_HZ = 24_000
"""What Realtime servers speak unless they say otherwise."""


def media_config(
    settings: Settings, ports: PortPool, pacer: Pacer, backend: BackendConfig
) -> MediaConfig:
    """How legs send and receive.

    Args:
        backend: whose rate Opus is decoded at, so that nothing has to be resampled.
    """
    known = backend.input_format
    rate_hz = _OPUS_RATE_HZ if known is None else known.rate_hz
    servers = parse_ice_servers(settings.webrtc_ice_servers)
    wanted = set(split(settings.webrtc_codecs))
    if opus_missing() is not None:
        wanted.discard("opus")
    return MediaConfig(
        bind_host=settings.sip_host,
        advertised_host=settings.sip_advertised_host or settings.sip_host,
        ports=ports,
        pacer=pacer,
        timeout_s=settings.rtp_timeout_s,
        allow=settings.sip_networks,
        webrtc=WebRtcConfig(
            hosts=(settings.webrtc_host,) if settings.webrtc_host else host_addresses(),
            peer=PeerConfig(
                stun=servers.stun,
                turn=servers.turn,
                advertised_host=settings.webrtc_advertised_host,
                allow=settings.sip_networks,
            ),
            codecs=tuple(name for name in _CODECS if name in wanted),
            opus_rate_hz=rate_hz if rate_hz in libopus.RATES_HZ else _OPUS_RATE_HZ,
        ),
    )


def opus_missing() -> str | None:
    """Why there are no calls in Opus, or None."""
    try:
        libopus.version()
    except libopus.LibopusMissing as error:
        return str(error)
    return None


def host_addresses() -> tuple[str, ...]:
    """The addresses of this host, those first that others reach.

    Loopback is among them: a browser on this machine may find no other way, and nobody else gets
    there.
    """
    found = [
        ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    ]
    usable = sorted(
        (address for address in found if not address.is_link_local), key=lambda one: one.version
    )
    ours = [str(address) for address in usable if address.is_loopback]
    others = [str(address) for address in usable if not address.is_loopback]
    return (*others[: _MOST_HOSTS - len(ours)], *ours)
