"""From settings to the media of legs."""

import ipaddress
from pathlib import Path

import pytest

from gateway.audio import libopus
from gateway.audio.formats import PCMU, AudioFormat
from gateway.legs.leg_media import MediaConfig
from gateway.legs.pacer import Pacer
from gateway.legs.ports import PortPool, bind_udp
from gateway.media import host_addresses, media_config, opus_missing
from gateway.settings import Settings
from gateway.upstream.target import BackendConfig

pytestmark = pytest.mark.loop


def config(
    monkeypatch: pytest.MonkeyPatch, rate: AudioFormat | None = None, **env: str
) -> MediaConfig:
    for name, value in env.items():
        monkeypatch.setenv(f"GATEWAY_{name}", value)
    settings = Settings.load(Path("no.env"))
    backend = BackendConfig("ws://127.0.0.1", input_format=rate)
    return media_config(settings, PortPool(20000, 20100), Pacer(), backend)


async def test_browsers_are_heard_at_every_address_of_the_host() -> None:
    hosts = host_addresses()
    assert "127.0.0.1" in hosts
    assert len(set(hosts)) == len(hosts) <= 8
    for host in hosts:
        assert not ipaddress.ip_address(host).is_link_local
        bind_udp(host, 0).close()
    others = [host for host in hosts if not ipaddress.ip_address(host).is_loopback]
    assert list(hosts[: len(others)]) == others


async def test_what_settings_say_of_webrtc(monkeypatch: pytest.MonkeyPatch) -> None:
    webrtc = config(
        monkeypatch,
        WEBRTC_HOST="127.0.0.1",
        WEBRTC_ADVERTISED_HOST="198.51.100.7",
        WEBRTC_ICE_SERVERS='[{"urls": "stun:stun.example.org"}]',
        WEBRTC_CODECS="pcmu, opus",
    ).webrtc
    assert webrtc is not None
    assert webrtc.hosts() == ("127.0.0.1",)
    assert webrtc.codecs == ("opus", "pcmu")
    assert webrtc.peer.advertised_host == "198.51.100.7"
    assert webrtc.peer.stun == ("stun.example.org", 3478)
    assert webrtc.peer.turn is None


@pytest.mark.parametrize(
    ("known", "rate_hz"),
    [
        (None, 24_000),
        (AudioFormat("pcm16", 16_000), 16_000),
        (AudioFormat("pcm16", 48_000), 48_000),
        (AudioFormat("pcm16", 44_000), 24_000),  # no rate of Opus
        (PCMU, 8000),
    ],
)
async def test_opus_has_the_rate_of_the_server(
    monkeypatch: pytest.MonkeyPatch, known: AudioFormat | None, rate_hz: int
) -> None:
    webrtc = config(monkeypatch, known).webrtc
    assert webrtc is not None
    assert webrtc.opus_rate_hz == rate_hz


async def test_without_libopus_there_is_g711(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise libopus.LibopusMissing("nowhere")

    monkeypatch.setattr(libopus, "version", missing)
    webrtc = config(monkeypatch).webrtc
    assert webrtc is not None
    assert webrtc.codecs == ("pcmu", "pcma")
    assert opus_missing() == "nowhere"


async def test_webrtc_can_be_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config(monkeypatch, WEBRTC_CODECS="off").webrtc is None


async def test_an_address_of_another_host_is_told_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError):
        config(monkeypatch, WEBRTC_HOST="203.0.113.9")
