"""The media side of a leg, as its signalling sees it: descriptions in, descriptions out, one port.

`PlainMedia` is RTP on a port of ours, as phones and carriers speak it; `WebRtcMedia` is a peer
connection, as browsers do. A SIP leg takes the one that its offer asks for.
"""

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from gateway.audio.comfort import Prompt
from gateway.audio.formats import AudioFormat
from gateway.legs.audio_port import RtpFlow
from gateway.legs.leg import LegEvent, MediaPort
from gateway.legs.pacer import Pacer
from gateway.legs.ports import PortPool
from gateway.reach import Network
from gateway.sdp.description import SessionDescription
from gateway.sdp.webrtc import AudioCodecName
from gateway.webrtc.config import PeerConfig

PACKET_MS = 20
BIND_TRIES = 256
"""Pairs of ports that are tried for one call; another program may sit on a stretch of them."""

Emit = Callable[[LegEvent], None]


@dataclass(frozen=True, slots=True)
class WebRtcConfig:
    """How peer connections are made."""

    hosts: Callable[[], Sequence[str]]
    """The addresses that the next one listens on; they come and go with the networks."""
    peer: PeerConfig
    codecs: tuple[AudioCodecName, ...] = ("opus", "pcmu", "pcma")
    """What may be agreed on; the offer's order decides."""
    opus_rate_hz: int = 24_000
    """At which Opus is decoded and encoded; calls in Opus are joined at this rate."""
    tell: Callable[[Mapping[str, int]], None] = lambda _: None
    """Is handed what went wrong on a connection, as `PeerCounters` names it."""


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """What the media of all legs of the process share.

    Peers in the networks of `allow` are sent media at private addresses although ours is public.
    """

    bind_host: str
    """:: is for IPv6 only."""
    advertised_host: str
    ports: PortPool
    pacer: Pacer
    timeout_s: float
    """Without a packet for this long a phone counts as gone."""
    allow: tuple[Network, ...] | None = None
    webrtc: WebRtcConfig | None = None
    """None: offers of WebRTC are refused."""
    srtp: Literal["off", "offer", "require"] = "offer"
    """Of phones: plain RTP only, also SRTP, or SRTP only."""
    hears_tones: bool = False
    """Keys are also looked for in the audio of phones."""
    early: Prompt | None = None
    """What callers hear, over and over, before they are answered; None: their own ringing tone."""
    tell_dropped: Callable[[Mapping[str, int]], None] = lambda _: None
    """Is handed what a phone's port did not hear, as `RtpPort.dropped` names it, at its end."""
    keys_out: Literal["auto", "rfc4733", "info"] = "auto"
    """How keys are pressed on phones: with the media, by INFO, or as the phone can."""
    hears_early: bool = False
    """Whom we call is heard before the answer: announcements, their ringing tone."""
    other_host: str = ""
    """What we are called by phones of the other IP family; "": there are none. We bind every
    address of a family then."""

    def hosts_for(self, peer: str) -> tuple[str, str]:
        """(where we bind, what we are called) for a phone at that IP address; "" is any."""
        if self.other_host and peer and (":" in peer) != (":" in self.advertised_host):
            return "::" if ":" in self.other_host else "0.0.0.0", self.other_host
        if self.other_host:
            return "::" if ":" in self.advertised_host else "0.0.0.0", self.advertised_host
        return self.bind_host, self.advertised_host

    def new_flow(self) -> RtpFlow:
        """Random numbers for one leg.

        The first packet's is in the lower half: under SRTP a peer counts the wraps of what it
        hears, and is off by one for good if it heard nothing before the first (RFC 4568 section
        6.4).
        """
        return RtpFlow(
            ssrc=secrets.randbits(32),
            first_sequence=secrets.randbits(15),
            first_timestamp=secrets.randbits(32),
            cname=f"{secrets.randbits(64):x}@{self.advertised_host}",
            random=random.random,
        )


class LegMedia(Protocol):
    """One leg's media, from the first description to the last packet."""

    @property
    def media_security(self) -> str:
        """`rtp` or `srtp`."""

    @property
    def codec(self) -> str:
        """What was agreed on first; until then, what we would choose."""

    @property
    def format(self) -> AudioFormat:
        """Of the audio that is joined; it does not change once there is a port."""

    def look_at(self, offer: SessionDescription) -> None:
        """Learn whether an offer can be served, before anything is opened for it.

        Raises:
            SdpError: it cannot.
        """

    async def open(self) -> MediaPort:
        """Bind what media needs, for as long as the leg lives.

        Raises:
            LegError: 503 no_media_port; 487 leg_ended, it did so meanwhile.
        """

    def answer(self) -> bytes:
        """The answer to the offer that was looked at; media may flow from here on."""

    def offer(self) -> bytes:
        """An offer of ours, for a peer who asks for one."""

    def take_answer(self, body: bytes) -> None:
        """The answer to an offer of ours. Raises SdpError when it is of no use."""

    def answer_again(self, offer: SessionDescription) -> bytes:
        """The answer to a new offer inside the call: hold, resume, another address or codec.

        Raises:
            SdpError: it cannot be had, and all stays as it was.
        """

    def press(self, keys: str) -> bool:
        """As `MediaPort.press`."""

    async def close(self) -> None:
        """Free everything; safe to call at any time and more than once."""
