"""Offers of WebRTC peers and our answers to them (RFC 8829).

A peer here is a browser, or what speaks like one: audio as SRTP whose keys come from DTLS
(RFC 5763), over a way that ICE finds, RTCP on the same port, and often a data channel beside it
(RFC 8841). All of that shares one transport, which the lines of a BUNDLE group have in common.

Of an offer we take its first audio line, with its first codec that we may use, and the data channel
in the same bundle; all other lines are refused, but for one that may have to stay idle. What is
agreed on is the `WebRtcPlan`. A further offer in the same session, for hold say, is read and
answered alike; `Transport.restarts` tells one that wants another connection.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from gateway.sdp.bundle import Lines, is_webrtc, mid_of, take_lines
from gateway.sdp.data_channel import DataPlan, data_line_answer
from gateway.sdp.description import (
    Attributes,
    Codec,
    Connection,
    Direction,
    MediaDescription,
    Origin,
    SdpError,
    SessionDescription,
)
from gateway.sdp.events import TELEPHONE_EVENT, common_events
from gateway.sdp.transport import Candidate, Fingerprint, Transport, read_transport

__all__ = [
    "AudioCodecName",
    "Candidate",
    "DataPlan",
    "Fingerprint",
    "LocalTransport",
    "Transport",
    "WebRtcPlan",
    "answer",
    "is_webrtc",
    "read_offer",
]

AudioCodecName = Literal["opus", "pcmu", "pcma"]

_CLOCKS_HZ: Final[dict[AudioCodecName, int]] = {"opus": 48_000, "pcmu": 8000, "pcma": 8000}
_CHANNELS: Final[dict[AudioCodecName, tuple[int, ...]]] = {
    "opus": (2, 1),  # always told as 2, whatever is sent (RFC 7587 section 7); some tell 1
    "pcmu": (1,),
    "pcma": (1,),
}
_NAMES: Final = {"pcmu": "PCMU", "pcma": "PCMA"}
_EVENT_CLOCKS_HZ: Final = (8000, 48_000)
_PTIME_MS: Final = 20

# On a shared port nothing tells packets of these types from RTCP (RFC 5761 section 4).
_RTCP_PAYLOAD_TYPES: Final = range(64, 96)

_MIRRORED: Final[dict[Direction, Direction]] = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}
_PRINTABLE: Final = re.compile(r"[ -~]+")
_NOWHERE: Final = Connection("0.0.0.0")
_STREAM: Final = "gateway audio"


@dataclass(frozen=True, slots=True)
class WebRtcPlan:
    """What was agreed on. Packets carry 20 ms."""

    codec: AudioCodecName
    payload_type: int
    dtmf_payload_types: tuple[int, ...]
    """Of telephone-events (RFC 4733), the one with the codec's clock first; may be empty."""
    fec: bool
    """Whether the peer makes use of what Opus can send of a packet within the next one."""
    direction: Direction
    """From our side."""
    remote: Transport
    data: DataPlan | None
    dtmf_clock_hz: int = 0
    """Of the first of the telephone-events; 0 without any."""

    @property
    def can_send(self) -> bool:
        return self.direction in ("sendrecv", "sendonly")

    @property
    def can_receive(self) -> bool:
        return self.direction in ("sendrecv", "recvonly")

    @property
    def active(self) -> bool:
        """Whether we open DTLS, if the session has just begun: always where we may choose, and then
        it begins without waiting for our answer to arrive (RFC 5763 section 5)."""
        return self.remote.setup != "active"


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """What we bring to a session."""

    transport: Transport
    """With a `setup` of active or passive."""
    host: str
    """Of the default candidate: for who does not speak ICE, and to be printed."""
    port: int
    session_id: int
    """A number that no other session of this host has."""
    session_version: int
    ssrc: int
    cname: str
    opus_rate_hz: int
    """The rate at which we encode and decode Opus; more bandwidth would be wasted."""
    max_message_bytes: int
    """The longest message that we take on a data channel."""


def read_offer(description: SessionDescription, codecs: Sequence[AudioCodecName]) -> WebRtcPlan:
    """The plan that follows from an offer, or from a peer's answer to an offer of ours.

    Args:
        codecs: what may be used; the offer's order decides among them.

    Raises:
        SdpError: 488, it cannot be used; the text says why.
    """
    lines = take_lines(description)
    audio = lines.audio
    remote = read_transport([lines.leader.attributes, description.attributes])
    if not (_has_mux(audio) or _has_mux(lines.leader)):
        raise _unusable(
            399, "The audio is offered without a=rtcp-mux; RTCP has no port of its own here"
        )
    offered = [item for item in audio.codecs() if item.payload_type not in _RTCP_PAYLOAD_TYPES]
    codec, name = _codec(offered, codecs)
    parameters = _parameters(audio.fmtp(codec.payload_type))
    events = _dtmf(offered, codec.clock_hz)
    return WebRtcPlan(
        codec=name,
        payload_type=codec.payload_type,
        dtmf_payload_types=tuple(event.payload_type for event in events),
        dtmf_clock_hz=events[0].clock_hz if events else 0,
        fec=name == "opus" and parameters.get("useinbandfec") == "1",
        direction=_MIRRORED[audio.direction],
        remote=remote,
        data=lines.data_plan,
    )


def answer(
    offer: SessionDescription, plan: WebRtcPlan, local: LocalTransport
) -> SessionDescription:
    """The answer to the offer that the plan was read from. Where the plan has no data channel, the
    offer's is refused.

    It tells all of our candidates, and that there will be no others; and no header extensions
    and no feedback messages, because we have none.
    """
    lines = take_lines(offer, with_data=plan.data is not None)
    attributes: list[tuple[str, str | None]] = [("msid-semantic", "WMS *")]
    if lines.bundle:
        attributes.insert(0, ("group", " ".join(["BUNDLE", *lines.bundled])))
    session = (str(local.session_id), str(local.session_version))
    return SessionDescription(
        origin=Origin("-", *session, _connection(local)),
        media=tuple(_answer_line(line, lines, plan, local) for line in offer.media),
        timing=offer.timing,
        attributes=tuple(attributes),
    )


# Reading.


def _codec(
    offered: Sequence[Codec], codecs: Sequence[AudioCodecName]
) -> tuple[Codec, AudioCodecName]:
    """The first of the peer's codecs that may be used, and our name for it."""
    for codec in offered:
        for name in codecs:
            if (
                codec.name == name
                and codec.clock_hz == _CLOCKS_HZ[name]
                and codec.channels in _CHANNELS[name]
            ):
                return codec, name
    ours = ", ".join(_NAMES.get(name, name) for name in codecs)
    raise _unusable(305, f"None of the offered codecs can be used; one of these can: {ours}")


def _dtmf(offered: Sequence[Codec], clock_hz: int) -> list[Codec]:
    """The telephone-events, one for each clock, that of the audio first."""
    by_clock: dict[int, Codec] = {}
    for codec in offered:
        if codec.name == TELEPHONE_EVENT and codec.clock_hz in _EVENT_CLOCKS_HZ:
            by_clock.setdefault(codec.clock_hz, codec)
    return sorted(by_clock.values(), key=lambda codec: codec.clock_hz != clock_hz)


def _parameters(fmtp: str | None) -> dict[str, str]:
    """Format parameters of the form `name=value;name=value`, the names in lower case."""
    pairs = (item.partition("=") for item in (fmtp or "").split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _has_mux(line: MediaDescription) -> bool:
    return line.has("rtcp-mux") or line.has("rtcp-mux-only")


# Answering.


def _answer_line(
    line: MediaDescription, lines: Lines, plan: WebRtcPlan, local: LocalTransport
) -> MediaDescription:
    if line is lines.audio:
        formats, attributes = _audio_answer(line, plan, local)
        direction = plan.direction
    elif line is lines.data:
        formats, attributes = data_line_answer(line, local.max_message_bytes)
        direction = "sendrecv"
    elif line is lines.idle:
        formats, attributes = _idle_answer(line)
        direction = "inactive"
    else:
        return _refused(line, lines, local)
    return MediaDescription(
        kind=line.kind,
        port=local.port,
        protocol=line.protocol,
        formats=formats,
        connection=_connection(local),
        direction=direction,
        attributes=(*_transport(line, lines, local), *attributes),
    )


def _audio_answer(
    line: MediaDescription, plan: WebRtcPlan, local: LocalTransport
) -> tuple[tuple[str, ...], list[tuple[str, str | None]]]:
    codecs = {codec.payload_type: codec for codec in line.codecs()}
    types = (plan.payload_type, *plan.dtmf_payload_types)
    attributes: list[tuple[str, str | None]] = [("rtcp-mux", None)]
    attributes += [("rtpmap", _rtpmap(codecs[number])) for number in types]
    if plan.codec == "opus":  # mono needs no word (RFC 7587 section 7)
        rate_hz = local.opus_rate_hz
        parameters = (
            f"minptime=10;useinbandfec=1;maxplaybackrate={rate_hz};sprop-maxcapturerate={rate_hz}"
        )
        attributes.append(("fmtp", f"{plan.payload_type} {parameters}"))
    for number in plan.dtmf_payload_types:
        attributes.append(("fmtp", f"{number} {common_events(line.fmtp(number))}"))
    attributes.append(("ptime", str(_PTIME_MS)))
    if plan.can_send:
        attributes.append(("msid", _STREAM))
        attributes.append(("ssrc", f"{local.ssrc} cname:{local.cname}"))
        attributes.append(("ssrc", f"{local.ssrc} msid:{_STREAM}"))
    return tuple(str(number) for number in types), attributes


def _idle_answer(line: MediaDescription) -> tuple[tuple[str, ...], list[tuple[str, str | None]]]:
    """The first format of the offer, because one is needed, as the offer describes it."""
    attributes: list[tuple[str, str | None]] = [("rtcp-mux", None)]
    codec = next(
        (item for item in line.codecs() if str(item.payload_type) == line.formats[0]), None
    )
    if codec is not None:
        said = [("rtpmap", _rtpmap(codec))]
        parameters = line.fmtp(codec.payload_type)
        if parameters:
            said.append(("fmtp", f"{codec.payload_type} {parameters}"))
        # A peer's own words, so nothing in them that would end the line for some readers.
        attributes += [(name, value) for name, value in said if _PRINTABLE.fullmatch(value)]
    return line.formats[:1], attributes


def _transport(line: MediaDescription, lines: Lines, local: LocalTransport) -> Attributes:
    """What a line says about the transport. All say the same, as browsers do, for peers that look
    into each line; but the candidates are told once."""
    ours = local.transport
    attributes: list[tuple[str, str | None]] = []
    if line is lines.leader:
        attributes += [("candidate", candidate.to_text()) for candidate in ours.candidates]
        attributes.append(("end-of-candidates", None))
    attributes += [("ice-ufrag", ours.ufrag), ("ice-pwd", ours.pwd)]
    attributes += [("fingerprint", f"{item.algorithm} {item.value}") for item in ours.fingerprints]
    attributes.append(("setup", ours.setup))
    return (*attributes, *_name(line))


def _refused(line: MediaDescription, lines: Lines, local: LocalTransport) -> MediaDescription:
    """The same line with port 0; one format has to be named, and none counts. Nothing else counts
    either, but aiortc takes no answer whose data channel line does not tell a transport."""
    is_data = line.kind == "application" and "TLS" in line.protocol.upper()
    said = _transport(line, lines, local) if is_data else _name(line)
    formats = line.formats[:1] or ("0",)
    return MediaDescription(line.kind, 0, line.protocol, formats, _NOWHERE, "inactive", said)


def _name(line: MediaDescription) -> Attributes:
    mid = mid_of(line)
    return (("mid", mid),) if mid else ()


def _rtpmap(codec: Codec) -> str:
    channels = f"/{codec.channels}" if codec.channels > 1 else ""
    name = _NAMES.get(codec.name, codec.name)
    return f"{codec.payload_type} {name}/{codec.clock_hz}{channels}"


def _connection(local: LocalTransport) -> Connection:
    return Connection(local.host, "IP6" if ":" in local.host else "IP4")


def _unusable(warn_code: int, reason: str) -> SdpError:
    return SdpError(reason, status=488, warn_code=warn_code)
