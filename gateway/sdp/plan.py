"""What a stream of a peer's description allows us to do: the plan for the audio of a call.

All that is in the stream is checked here: that its transport and one of its codecs are ours, that
its address is one that media can be sent to. Which of the peer's streams counts, and what our own
description says, is decided in `answer`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Final, Literal, get_args

from gateway.sdp.crypto import Crypto, SrtpKeys, Suite
from gateway.sdp.description import Codec, Connection, Direction, MediaDescription, SdpError
from gateway.sdp.events import TELEPHONE_EVENT

AudioCodec = Literal["pcmu", "pcma"]
_LAWS: Final[tuple[AudioCodec, ...]] = get_args(AudioCodec)

CLOCK_HZ: Final = 8000
PTIME_MS: Final = 20
SECURE: Final = ("RTP/SAVP", "RTP/SAVPF")
_PLAIN: Final = ("RTP/AVP", "RTP/AVPF")  # AVPF permits early feedback and demands none
_SENDING: Final = ("sendrecv", "sendonly")
_RECEIVING: Final = ("sendrecv", "recvonly")
_PTIMES_MS: Final = range(10, 61, 10)


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """What we bring to a session."""

    host: str
    """The address at which the peer reaches our media."""
    port: int
    session_id: int
    """A number that no other session of this host has."""
    session_version: int = 1
    codecs: tuple[AudioCodec, ...] = ("pcmu", "pcma")
    """What we can use; in an offer, best first."""
    rtcp_mux: bool = True
    """Whether we can take RTCP on the RTP port (RFC 5761)."""
    keys: Mapping[Suite, bytes] = field(default_factory=dict, repr=False)
    """Ours, for each way in which media may be protected; {} for none."""
    secure: bool = False
    """Whether media must be protected."""
    offers_keys: bool = False
    """Whether an offer of ours that need not be secure has keys (RFC 8643)."""


@dataclass(frozen=True, slots=True)
class AudioPlan:
    """What was agreed on about the audio."""

    codec: AudioCodec
    payload_type: int
    dtmf_payload_type: int | None
    """The peer's number, under which keys are sent; None: it has no telephone-events (RFC 4733)."""
    ptime_ms: int
    """How much audio to send in a packet: a multiple of 10, at most 60."""
    remote_host: str
    """An IP address in text form; may be unspecified (0.0.0.0), and then nothing may be sent."""
    remote_port: int
    """0: the peer took the stream away."""
    rtcp_mux: bool
    remote_rtcp_port: int
    """0: none."""
    direction: Direction
    """From our side, with all that keeps us from sending taken into account."""
    srtp: SrtpKeys | None = None
    """How the media is protected; None: it is not."""
    crypto: Crypto | None = None
    """What an answer of ours says of that."""
    heard: tuple[tuple[int, AudioCodec], ...] = ()
    """Payload types under which audio may come besides `payload_type`, each with its law."""
    heard_dtmf_payload_type: int | None = None
    """Under which keys may come as well: our own number, where the peer's answer has another."""

    @property
    def dtmf_payload_types(self) -> tuple[int, ...]:
        """All under which keys are heard, the one that is sent first; () for no keys."""
        types = self.dtmf_payload_type, self.heard_dtmf_payload_type
        return tuple(number for number in types if number is not None)

    @property
    def can_send(self) -> bool:
        return self.direction in _SENDING

    @property
    def can_receive(self) -> bool:
        return self.direction in _RECEIVING

    @property
    def has_address(self) -> bool:
        """Whether the peer can be sent anything, reports included (RFC 3264 section 8.4)."""
        return self.remote_port != 0 and not ip_address(self.remote_host).is_unspecified

    def target(self, before: tuple[str, int] | None) -> tuple[tuple[str, int] | None, int | None]:
        """Where the peer takes RTP, and the port where it takes RTCP.

        A plan without an address names no other one: the peer stays where it was, `before`, or
        nowhere yet. The port is None when it was not told.
        """
        if not self.has_address:
            return before, None
        return (self.remote_host, self.remote_port), self.remote_rtcp_port or None


def plan_for(
    line: MediaDescription,
    local: LocalMedia,
    offered: Direction = "sendrecv",
    keys: SrtpKeys | None = None,
) -> AudioPlan:
    """What a stream of the peer's description allows us to do.

    Args:
        offered: the direction of our offer, if the stream is part of an answer to one.
        keys: how the media is protected, if that is agreed on already.

    Raises:
        SdpError: we cannot serve it; status 488 and a warning that says why.
    """
    protocol = line.protocol.upper()
    if protocol not in _PLAIN and not (protocol in SECURE and local.keys):
        raise unacceptable(302, "Incompatible transport protocol")
    codecs = [codec for codec in line.codecs() if codec.clock_hz == CLOCK_HZ]
    codec, name = _common(codecs, local)
    host = _host(line.connection, local)
    mux = local.rtcp_mux and line.has("rtcp-mux")
    held = ip_address(host).is_unspecified
    send = line.port and not held and line.direction in _RECEIVING and offered in _SENDING
    receive = line.port and line.direction in _SENDING and offered in _RECEIVING
    return AudioPlan(
        codec=name,
        payload_type=codec.payload_type,
        dtmf_payload_type=next(
            (item.payload_type for item in codecs if item.name == TELEPHONE_EVENT), None
        ),
        ptime_ms=_ptime_ms(line),
        remote_host=host,
        remote_port=line.port,
        rtcp_mux=mux,
        remote_rtcp_port=line.port if mux else _rtcp_port(line),
        direction=_direction(send=bool(send), receive=bool(receive)),
        srtp=keys,
    )


def heard_as_offered(
    plan: AudioPlan, ours: MediaDescription, theirs: MediaDescription
) -> AudioPlan:
    """The plan for an answer, `theirs`, to our offer, `ours`, with all that may come by both.

    The peer sends whichever format both have, and may change at any time (RFC 3264 sections 5.1 and
    7). It need not take our numbers over into its answer (section 6.1), and whoever sends takes the
    number that the receiver gave to a format. A number that the plan has already keeps its meaning.
    """
    theirs_too = _numbers(theirs)
    numbers = {name: number for name, number in _numbers(ours).items() if name in theirs_too}
    heard = tuple(
        (numbers[law], law) for law in _LAWS if law in numbers and numbers[law] != plan.payload_type
    )
    dtmf = numbers.get(TELEPHONE_EVENT)
    if dtmf in (plan.dtmf_payload_type, plan.payload_type):
        dtmf = None
    return replace(plan, heard=heard, heard_dtmf_payload_type=dtmf)


def _numbers(line: MediaDescription) -> dict[str, int]:
    """The payload type of each format at our clock, by its name; of several the first counts."""
    codecs = [item for item in line.codecs() if (item.clock_hz, item.channels) == (CLOCK_HZ, 1)]
    return {item.name: item.payload_type for item in reversed(codecs)}


def _direction(*, send: bool, receive: bool) -> Direction:
    if send:
        return "sendrecv" if receive else "sendonly"
    return "recvonly" if receive else "inactive"


def _common(codecs: Iterable[Codec], local: LocalMedia) -> tuple[Codec, AudioCodec]:
    """The first of the peer's codecs that we have, and our name for it."""
    for codec in codecs:
        for name in local.codecs:
            if codec.name == name and codec.channels == 1:
                return codec, name
    raise unacceptable(305, "Incompatible media format")


def _host(connection: Connection | None, local: LocalMedia) -> str:
    """The peer's address, checked: an IP address, of our family, of one host.

    A name is refused as well: media cannot wait for a resolver, and nobody sends one.
    """
    if connection is None:
        raise unacceptable(301, "Incompatible network address formats")
    if connection.network_type != "IN":
        raise unacceptable(300, "Incompatible network protocol")
    try:
        address = ip_address(connection.address)
    except ValueError:
        raise unacceptable(301, "Incompatible network address formats") from None
    if address.is_multicast:
        raise unacceptable(330, "Multicast not available")
    family = "IP6" if address.version == 6 else "IP4"
    if not address.is_unspecified and family != connection_of(local).address_type:
        raise unacceptable(301, "Incompatible network address formats")
    return connection.address


def _rtcp_port(line: MediaDescription) -> int:
    """Where the peer takes RTCP that has its own port: as it says (RFC 3605), or the next one."""
    said = (line.attribute("rtcp") or "").split(" ")[0]
    port = int(said) if re.fullmatch(r"\d{1,5}", said, re.ASCII) else line.port + 1
    return port if line.port and port <= 65_535 else 0


def _ptime_ms(line: MediaDescription) -> int:
    """What the peer asks for if we can do it, else 20 ms; no longer than it permits."""
    asked_ms, longest_ms = line.ptime_ms, line.maxptime_ms
    ptime_ms = asked_ms if asked_ms and asked_ms in _PTIMES_MS else PTIME_MS
    if longest_ms is not None and ptime_ms > longest_ms:
        ptime_ms = max(_PTIMES_MS.start, longest_ms - longest_ms % _PTIMES_MS.step)
    return ptime_ms


def connection_of(local: LocalMedia) -> Connection:
    """Our own address."""
    return Connection(local.host, "IP6" if ":" in local.host else "IP4")


def unacceptable(warn_code: int, reason: str) -> SdpError:
    """A refusal (488) with one of the warnings of RFC 3261 section 20.43."""
    return SdpError(reason, status=488, warn_code=warn_code)
