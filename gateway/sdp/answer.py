"""Offer and answer (RFC 3264): how two peers agree on the audio of a call.

The offer lists streams and, for each, the codecs its author can use in the order of preference. The
answer has the same streams in the same order: ours takes the first audio stream it can serve, with
the first codec of the offer that it knows and the offer's own payload types, and refuses all others
with port 0. It mirrors the direction: who is sent nothing but audio may only listen. An address of
0.0.0.0 is the older way to say "send me nothing" (RFC 3264 section 8.4). What both sides may do
afterwards is the `AudioPlan`. An INVITE without a description asks for our offer; the plan then
comes from the peer's answer.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Final, Literal

from gateway.sdp import crypto
from gateway.sdp.crypto import Crypto, SrtpKeys, Suite
from gateway.sdp.description import (
    Codec,
    Connection,
    Direction,
    MediaDescription,
    Origin,
    SdpError,
    SessionDescription,
    values,
)
from gateway.sdp.events import TELEPHONE_EVENT, common_events

AudioCodec = Literal["pcmu", "pcma"]

_PAYLOAD_TYPES: Final[dict[AudioCodec, int]] = {"pcmu": 0, "pcma": 8}
_CLOCK_HZ: Final = 8000
_PLAIN: Final = ("RTP/AVP", "RTP/AVPF")  # AVPF permits early feedback and demands none
_SECURE: Final = ("RTP/SAVP", "RTP/SAVPF")
_SENDING: Final = ("sendrecv", "sendonly")
_RECEIVING: Final = ("sendrecv", "recvonly")

_DTMF_PAYLOAD_TYPE: Final = 101

_PTIME_MS: Final = 20
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
    """None: the peer has no telephone-events (RFC 4733)."""
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


def answer(offer: SessionDescription, local: LocalMedia) -> tuple[SessionDescription, AudioPlan]:
    """The answer to an offer, and the plan that follows from it.

    An offer whose audio has port 0 everywhere takes the stream away; that is answered alike, with
    a plan that allows nothing. It makes sense in a running call only.

    Raises:
        SdpError: nothing in the offer can be served; status 488 and a warning that says why.
    """
    chosen, plan = _choose(offer, local)
    media = tuple(
        _audio(line.protocol, local, plan, line.fmtp(plan.dtmf_payload_type or -1))
        if line is chosen
        else _refused(line, local)
        for line in offer.media
    )
    return _description(local, media, offer.timing), plan


def offer(
    local: LocalMedia,
    direction: Direction = "sendrecv",
    before: SessionDescription | None = None,
) -> SessionDescription:
    """Our own offer: all our codecs and telephone-events.

    Within a session it has the streams of what we said `before` in the same places (RFC 3264
    section 8), and the audio is protected if it was.
    """
    if before is None or not before.media:
        protocol = "RTP/SAVP" if local.secure else "RTP/AVP"
        return _description(local, (_offered_audio(protocol, local, direction),), "0 0")
    place = _audio_place(before)
    was = before.media[place]
    # A stream that was refused or taken away says no key, whatever its protocol demands.
    protected = was.has("crypto") or was.protocol.upper() in _SECURE
    keyed = replace(local, offers_keys=local.offers_keys or protected)
    media = tuple(
        _offered_audio(was.protocol, keyed, direction) if n == place else _refused(line, local)
        for n, line in enumerate(before.media)
    )
    return _description(local, media, before.timing)


def _offered_audio(protocol: str, local: LocalMedia, direction: Direction) -> MediaDescription:
    codecs = [Codec(_PAYLOAD_TYPES[name], name, _CLOCK_HZ) for name in local.codecs]
    return MediaDescription(
        kind="audio",
        port=local.port,
        protocol=protocol,
        formats=(*(str(codec.payload_type) for codec in codecs), str(_DTMF_PAYLOAD_TYPE)),
        connection=_connection(local),
        direction=direction,
        attributes=(
            *(_rtpmap(codec.payload_type, codec.name.upper()) for codec in codecs),
            _rtpmap(_DTMF_PAYLOAD_TYPE, TELEPHONE_EVENT),
            ("fmtp", f"{_DTMF_PAYLOAD_TYPE} 0-16"),
            ("ptime", str(_PTIME_MS)),
            *((("rtcp-mux", None),) if local.rtcp_mux else ()),
            *(("crypto", one.to_text()) for one in _offered(local)),
        ),
    )


def _offered(local: LocalMedia) -> tuple[Crypto, ...]:
    return crypto.lines(local.keys) if local.secure or local.offers_keys else ()


def has_audio(description: SessionDescription) -> bool:
    """Whether a stream of audio is in use."""
    return any(line.kind == "audio" and line.port for line in description.media)


def _audio_place(description: SessionDescription) -> int:
    """Which of the streams is the audio: the one in use, or else the first."""
    places = [n for n, line in enumerate(description.media) if line.kind == "audio"]
    return next((n for n in places if description.media[n].port), places[0] if places else 0)


def plan_from_answer(
    answer: SessionDescription,
    local: LocalMedia,
    offered: Direction = "sendrecv",
    *,
    said: SessionDescription | None = None,
) -> AudioPlan:
    """The plan that follows from a peer's answer to our `offer` of that direction.

    What we offer may also be what we have `said` before, an answer of ours for instance, when a
    session is refreshed by saying it again (RFC 4028). Then its streams, keys and direction count.

    Raises:
        SdpError: the peer refused the audio, or answered with something we cannot use.
    """
    place, keys_offered = 0, _offered(local)
    if said is not None:
        place = _audio_place(said)
        stream = said.media[place]
        offered = stream.direction
        keys_offered = crypto.read(values(stream.attributes, "crypto"))
    line = answer.media[place] if place < len(answer.media) else None
    if line is None or line.kind != "audio" or line.port == 0:
        raise _unacceptable(304, "Media type not available")
    told = values(line.attributes, "crypto")
    both = crypto.taken(told, keys_offered)
    if both is None and (local.secure or line.protocol.upper() in _SECURE or told):
        raise _unacceptable(399, "No key for SRTP that was offered")
    ours, theirs = both or (None, None)
    keys = None
    if ours is not None and theirs is not None:
        keys = SrtpKeys(ours.suite, sends=ours.key, receives=theirs.key, mki=theirs.mki)
    return _plan(line, local, offered, keys)


def _choose(
    offer: SessionDescription, local: LocalMedia
) -> tuple[MediaDescription | None, AudioPlan]:
    """The stream to serve, or None if there was one and it was taken away."""
    lines = [line for line in offer.media if line.kind == "audio"]
    if not lines:
        raise _unacceptable(304, "Media type not available")
    live = [line for line in lines if line.port]
    if not live:
        return None, _plan(lines[0], local)  # there is nothing to protect
    refusal: SdpError | None = None
    for line in live:
        try:
            return line, _protected(line, local)
        except SdpError as error:
            refusal = refusal or error
    try:
        raise refusal or _unacceptable(305, "Incompatible media format")
    finally:
        del refusal  # which knows this frame: no circle is to remain


def _protected(line: MediaDescription, local: LocalMedia) -> AudioPlan:
    """The plan for a stream of an offer, with the first of its keys that we can do."""
    plan = _plan(line, local)
    theirs = crypto.first_usable(values(line.attributes, "crypto"), local.keys)
    if theirs is None:
        if local.secure or line.protocol.upper() in _SECURE:
            raise _unacceptable(399, "No key for SRTP that can be used")
        return plan
    ours = Crypto(theirs.tag, theirs.suite, local.keys[theirs.suite])
    keys = SrtpKeys(theirs.suite, sends=ours.key, receives=theirs.key, mki=theirs.mki)
    return replace(plan, srtp=keys, crypto=ours)


def _plan(
    line: MediaDescription,
    local: LocalMedia,
    offered: Direction = "sendrecv",
    keys: SrtpKeys | None = None,
) -> AudioPlan:
    """What a stream of the peer allows us to do."""
    protocol = line.protocol.upper()
    if protocol not in _PLAIN and not (protocol in _SECURE and local.keys):
        raise _unacceptable(302, "Incompatible transport protocol")
    codecs = [codec for codec in line.codecs() if codec.clock_hz == _CLOCK_HZ]
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
    raise _unacceptable(305, "Incompatible media format")


def _host(connection: Connection | None, local: LocalMedia) -> str:
    """The peer's address, checked: an IP address, of our family, of one host.

    A name is refused as well: media cannot wait for a resolver, and nobody sends one.
    """
    if connection is None:
        raise _unacceptable(301, "Incompatible network address formats")
    if connection.network_type != "IN":
        raise _unacceptable(300, "Incompatible network protocol")
    try:
        address = ip_address(connection.address)
    except ValueError:
        raise _unacceptable(301, "Incompatible network address formats") from None
    if address.is_multicast:
        raise _unacceptable(330, "Multicast not available")
    family = "IP6" if address.version == 6 else "IP4"
    if not address.is_unspecified and family != _connection(local).address_type:
        raise _unacceptable(301, "Incompatible network address formats")
    return connection.address


def _rtcp_port(line: MediaDescription) -> int:
    """Where the peer takes RTCP that has its own port: as it says (RFC 3605), or the next one."""
    said = (line.attribute("rtcp") or "").split(" ")[0]
    port = int(said) if re.fullmatch(r"\d{1,5}", said, re.ASCII) else line.port + 1
    return port if line.port and port <= 65_535 else 0


def _ptime_ms(line: MediaDescription) -> int:
    """What the peer asks for if we can do it, else 20 ms; no longer than it permits."""
    asked_ms, longest_ms = line.ptime_ms, line.maxptime_ms
    ptime_ms = asked_ms if asked_ms and asked_ms in _PTIMES_MS else _PTIME_MS
    if longest_ms is not None and ptime_ms > longest_ms:
        ptime_ms = max(_PTIMES_MS.start, longest_ms - longest_ms % _PTIMES_MS.step)
    return ptime_ms


def _refused(line: MediaDescription, local: LocalMedia) -> MediaDescription:
    """The same stream with port 0; one format has to be named, and none counts."""
    formats = line.formats[:1] or ("0",)
    return MediaDescription(line.kind, 0, line.protocol, formats, _connection(local), "inactive")


def _audio(
    protocol: str, local: LocalMedia, plan: AudioPlan, events: str | None
) -> MediaDescription:
    """Our side of the stream that we take; `events` are the telephone-events of the offer."""
    formats = [plan.payload_type]
    attributes: list[tuple[str, str | None]] = [_rtpmap(plan.payload_type, plan.codec.upper())]
    if plan.dtmf_payload_type is not None:
        formats.append(plan.dtmf_payload_type)
        attributes.append(_rtpmap(plan.dtmf_payload_type, TELEPHONE_EVENT))
        attributes.append(("fmtp", f"{plan.dtmf_payload_type} {common_events(events)}"))
    attributes.append(("ptime", str(plan.ptime_ms)))
    if plan.rtcp_mux:
        attributes.append(("rtcp-mux", None))
    if plan.crypto is not None:
        attributes.append(("crypto", plan.crypto.to_text()))
    return MediaDescription(
        kind="audio",
        port=local.port,
        protocol=protocol,
        formats=tuple(str(item) for item in formats),
        connection=_connection(local),
        direction=plan.direction,
        attributes=tuple(attributes),
    )


def _description(
    local: LocalMedia, media: tuple[MediaDescription, ...], timing: str
) -> SessionDescription:
    connection = _connection(local)
    origin = Origin("-", str(local.session_id), str(local.session_version), connection)
    return SessionDescription(origin, media, connection, timing)


def _connection(local: LocalMedia) -> Connection:
    return Connection(local.host, "IP6" if ":" in local.host else "IP4")


def _rtpmap(payload_type: int, name: str) -> tuple[str, str]:
    return "rtpmap", f"{payload_type} {name}/{_CLOCK_HZ}"


def _unacceptable(warn_code: int, reason: str) -> SdpError:
    return SdpError(reason, status=488, warn_code=warn_code)
