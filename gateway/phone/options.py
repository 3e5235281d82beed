"""What the phone is asked to do."""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from gateway.phone.plan import MAX_DURATION_S, Plan
from gateway.phone.voice import speech
from gateway.sdp.plan import AudioCodec
from gateway.sip.uri import NameAddr, SipUri, UriError

_DEFAULT_PORT: Final = 5060
_TRANSPORTS: Final = ("udp", "tcp")
_SPEECH_S: Final = 2.5
_NUMBER: Final = re.compile(r"[A-Za-z0-9+*#._-]+")


@cache
def default_voice() -> bytes:
    """Two and a half seconds that sound like speech."""
    return speech(_SPEECH_S).tobytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """One call.

    Raises:
        ValueError: something that cannot be dialled or done.
    """

    uri: str
    """Whom to call: a sip URI, by UDP unless it says `;transport=tcp`."""
    plan: Plan = field(default_factory=Plan)
    """What to do when."""
    voice: bytes = field(default_factory=default_voice, repr=False)
    """What there is to say: linear 16-bit little-endian samples at 8 kHz; empty for nothing."""
    caller: str = "phone"
    """Who we say we are: a sip URI, or the user part of one."""
    codecs: tuple[AudioCodec, ...] = ("pcmu", "pcma")
    """Offered, best first."""
    late_offer: bool = False
    """Send the INVITE without SDP, so that the far end has to offer."""
    answer_timeout_s: float = 30.0
    """Give up when nobody has answered for this long."""
    bind_host: str | None = None
    """Our own address; None: the one that the system takes towards the far end."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers of the INVITE."""

    def __post_init__(self) -> None:
        uri = SipUri.parse(self.uri)
        if uri.scheme != "sip":
            raise ValueError("this phone speaks no TLS: use a sip: URI")
        if self.transport not in _TRANSPORTS:
            raise ValueError("the transport must be udp or tcp")
        if uri.port == 0:
            raise ValueError("a port is 1 to 65535")
        if not self.codecs:
            raise ValueError("no codec to offer")
        if not 0.0 < self.answer_timeout_s <= MAX_DURATION_S:
            raise ValueError(f"the answer must come within 0 to {MAX_DURATION_S:.0f} seconds")
        if len(self.voice) % 2:
            raise ValueError("the voice must be whole 16-bit samples")
        try:
            NameAddr("", self.caller_uri("localhost"))
        except UriError:
            raise ValueError("the caller (--from) is a number, a name or a sip: URI") from None

    @property
    def transport(self) -> str:
        """ "udp" or "tcp"."""
        return (SipUri.parse(self.uri).param("transport") or "udp").lower()

    @property
    def remote(self) -> tuple[str, int]:
        """Host, maybe a name, and port to send to."""
        uri = SipUri.parse(self.uri)
        return uri.host, _DEFAULT_PORT if uri.port is None else uri.port

    def caller_uri(self, host: str) -> str:
        """The URI for From; `host` is ours."""
        if _NUMBER.fullmatch(self.caller):
            user = self.caller.replace("#", "%23")
            return f"sip:{user}@{f'[{host}]' if ':' in host else host}"
        return str(SipUri.parse(self.caller))
