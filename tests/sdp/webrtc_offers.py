"""The offers of WebRTC peers in `offers/webrtc/`. Lines that begin with # say where one is from."""

from pathlib import Path

from gateway.sdp.transport import Candidate, Fingerprint, Setup, Transport
from gateway.sdp.webrtc import AudioCodecName, LocalTransport

FOLDER = Path(__file__).parent / "offers" / "webrtc"
NAMES = sorted(path.stem for path in FOLDER.glob("*.sdp"))
CODECS: tuple[AudioCodecName, ...] = ("opus", "pcmu", "pcma")


def offer(name: str, *changes: tuple[str, str]) -> str:
    """One of the offers, as text on the wire, with each `(old, new)` replaced everywhere."""
    lines = (FOLDER / f"{name}.sdp").read_text().splitlines()
    text = "".join(f"{line}\r\n" for line in lines if not line.startswith("#"))
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def local(setup: Setup = "active", host: str = "192.0.2.10") -> LocalTransport:
    """What we bring: real values for all, and two candidates."""
    return LocalTransport(
        transport=Transport(
            ufrag="K7hb2QdF",
            pwd="u2XbT0zLq8RvYw5Nc1GkPd",
            fingerprints=(Fingerprint("sha-256", ":".join(["A7"] * 32)),),
            setup=setup,
            candidates=(
                Candidate("1", 1, "udp", 2_130_706_431, host, 20_000, "host"),
                Candidate(
                    "2", 1, "udp", 1_694_498_815, "198.51.100.4", 20_001, "srflx", host, 20_000
                ),
            ),
        ),
        host=host,
        port=20_000,
        session_id=77,
        session_version=1,
        ssrc=3_735_928_559,
        cname="k2vZq0",
        opus_rate_hz=24_000,
        max_message_bytes=262_144,
    )
