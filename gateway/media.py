"""From settings to the media of all legs."""

import asyncio
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import ifaddr

from gateway.audio import libopus
from gateway.audio.comfort import Prompt
from gateway.legs.leg_media import MediaConfig, WebRtcConfig
from gateway.legs.pacer import Pacer
from gateway.legs.ports import PortPool, bind_udp
from gateway.legs.resolve import Resolver
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
    settings: Settings,
    ports: PortPool,
    pacer: Pacer,
    backend: BackendConfig,
    tell: Callable[[Mapping[str, int]], None] = lambda _: None,
    early: Prompt | None = None,
    tell_dropped: Callable[[Mapping[str, int]], None] = lambda _: None,
) -> MediaConfig:
    """How legs send and receive.

    Args:
        backend: whose rate Opus is decoded at, so that nothing has to be resampled.
        tell: is handed what went wrong on each peer connection.
        early: what callers hear before they are answered.
        tell_dropped: is handed what the ports of phones did not hear.

    Raises:
        OSError: the host has no address as the settings name it.
    """
    wanted = split(settings.webrtc_codecs)
    return MediaConfig(
        bind_host=settings.sip_host,
        advertised_host=settings.sip_names[0],
        other_host="".join(settings.sip_names[1:]),
        ports=ports,
        pacer=pacer,
        timeout_s=settings.rtp_timeout_s,
        allow=settings.sip_networks,
        srtp=settings.sip_srtp,
        hears_tones=settings.dtmf_inband,
        keys_out=settings.dtmf_out,
        early=early,
        tell_dropped=tell_dropped,
        hears_early=settings.calls_hear_early,
        webrtc=None if wanted == ["off"] else _webrtc_config(settings, wanted, backend, tell),
    )


def _webrtc_config(
    settings: Settings,
    wanted: Sequence[str],
    backend: BackendConfig,
    tell: Callable[[Mapping[str, int]], None],
) -> WebRtcConfig:
    for host in (settings.webrtc_host,) if settings.webrtc_host else host_addresses():
        bind_udp(host, 0).close()
    known = backend.input_format
    rate_hz = _OPUS_RATE_HZ if known is None else known.rate_hz
    servers = parse_ice_servers(settings.webrtc_ice_servers)
    codecs = [name for name in _CODECS if name in wanted]
    if "opus" in codecs and opus_missing() is not None:
        codecs.remove("opus")
    return WebRtcConfig(
        hosts=(lambda: (settings.webrtc_host,)) if settings.webrtc_host else host_addresses,
        peer=PeerConfig(
            stun=servers.stun,
            turn=servers.turn,
            advertised_host=settings.webrtc_advertised_host,
            allow=settings.sip_networks,
            resolve=Resolver(asyncio.get_running_loop().time).look_up,
        ),
        codecs=tuple(codecs),
        opus_rate_hz=rate_hz if rate_hz in libopus.RATES_HZ else _OPUS_RATE_HZ,
        tell=tell,
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
