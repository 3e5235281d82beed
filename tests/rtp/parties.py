"""The parties of a session under test: the gateway, a phone, and an attacker."""

from collections.abc import Sequence

from gateway.rtp.dtmf import Digit
from gateway.rtp.receiver import Heard
from gateway.rtp.session import RtpConfig, RtpSession
from gateway.rtp.timeline import Lost

CALLER = ("192.0.2.10", 4000)
CALLER_RTCP = ("192.0.2.10", 4001)
ATTACKER = ("203.0.113.66", 5555)
NTP = 3_900_000_000.0


def gateway(**changes: object) -> RtpSession:
    fields = {"payload_type": 0, "dtmf_payload_type": 101, "remote": CALLER} | changes
    return RtpSession(
        RtpConfig(**fields),  # type: ignore[arg-type]
        ssrc=0xAAAA,
        first_sequence=65530,
        first_timestamp=2**32 - 480,
        cname="gateway",
        random=lambda: 0.5,
    )


def phone(*, ssrc: int = 0xBBBB, sequence: int = 100, timestamp: int = 5000) -> RtpSession:
    return RtpSession(
        RtpConfig(payload_type=0, dtmf_payload_type=101, remote=("192.0.2.1", 20000)),
        ssrc=ssrc,
        first_sequence=sequence,
        first_timestamp=timestamp,
        cname="phone",
        random=lambda: 0.5,
    )


def frame(n: int) -> bytes:
    return n.to_bytes(4, "big") * 40


def audio(heard: Sequence[Heard]) -> list[bytes]:
    return [item for item in heard if isinstance(item, bytes)]


def keys(heard: Sequence[Heard]) -> str:
    return "".join(item.event for item in heard if isinstance(item, Digit))


def length(heard: Sequence[Heard]) -> int:
    return sum(
        item.samples if isinstance(item, Lost) else len(item)
        for item in heard
        if not isinstance(item, Digit)
    )


def talk(
    session: RtpSession,
    caller: RtpSession,
    start: float,
    count: int,
    *,
    first: int = 0,
    source: tuple[str, int] = CALLER,
) -> list[Heard]:
    heard: list[Heard] = []
    for n in range(count):
        now = start + n * 0.02
        heard += session.receive(caller.send(frame(first + n)), source, now)
        heard += session.tick(now + 0.01)
    return heard
