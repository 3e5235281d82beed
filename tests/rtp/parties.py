"""The parties of a session under test: the gateway, a phone, and an attacker."""

from collections.abc import Sequence

from gateway.rtp.config import RtpConfig
from gateway.rtp.dtmf import Digit
from gateway.rtp.payload import G711, PayloadFormat
from gateway.rtp.receiver import Heard
from gateway.rtp.session import RtpSession
from tests.rtp.simulation import payload_of, samples_of

CALLER = ("192.0.2.10", 4000)
CALLER_RTCP = ("192.0.2.10", 4001)
ATTACKER = ("203.0.113.66", 5555)
NTP = 3_900_000_000.0


def gateway(format: PayloadFormat = G711, **changes: object) -> RtpSession:
    fields = {"payload_type": 0, "dtmf_payload_types": (101,), "remote": CALLER} | changes
    return RtpSession(
        RtpConfig(**fields),  # type: ignore[arg-type]
        ssrc=0xAAAA,
        first_sequence=65530,
        first_timestamp=2**32 - 480,
        cname="gateway",
        random=lambda: 0.5,
        format=format,
    )


def phone(
    format: PayloadFormat = G711,
    *,
    ssrc: int = 0xBBBB,
    sequence: int = 100,
    timestamp: int = 5000,
    dtmf_payload_types: tuple[int, ...] = (101,),
) -> RtpSession:
    remote = ("192.0.2.1", 20000)
    return RtpSession(
        RtpConfig(payload_type=0, dtmf_payload_types=dtmf_payload_types, remote=remote),
        ssrc=ssrc,
        first_sequence=sequence,
        first_timestamp=timestamp,
        cname="phone",
        random=lambda: 0.5,
        format=format,
    )


def frame(n: int, format: PayloadFormat = G711) -> bytes:
    return payload_of(n, format.frame_samples, format)


def audio(heard: Sequence[Heard]) -> list[bytes]:
    return [item for item in heard if isinstance(item, bytes)]


def keys(heard: Sequence[Heard]) -> str:
    return "".join(item.event for item in heard if isinstance(item, Digit))


def length(heard: Sequence[Heard], format: PayloadFormat = G711) -> int:
    return samples_of((item for item in heard if not isinstance(item, Digit)), format)


def talk(
    session: RtpSession,
    caller: RtpSession,
    start: float,
    count: int,
    *,
    format: PayloadFormat = G711,
    first: int = 0,
    source: tuple[str, int] = CALLER,
) -> list[Heard]:
    heard: list[Heard] = []
    for n in range(count):
        now = start + n * 0.02
        heard += session.receive(caller.send(frame(first + n, format)), source, now)
        heard += session.tick(now + 0.01)
    return heard
