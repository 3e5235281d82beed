"""Offer and answer (RFC 3264): how two peers agree on the audio of a call.

The offer lists streams and, for each, the codecs its author can use in the order of preference. The
answer has the same streams in the same order: ours takes the first audio stream it can serve, with
the first codec of the offer that it knows and the offer's own payload types, and refuses all others
with port 0. It mirrors the direction: who is sent nothing but audio may only listen. An address of
0.0.0.0 is the older way to say "send me nothing" (RFC 3264 section 8.4). What both sides may do
afterwards is the `AudioPlan`. An INVITE without a description asks for our offer; the plan then
comes from the peer's answer.
"""

from dataclasses import replace
from typing import Final

from gateway.sdp import crypto
from gateway.sdp.crypto import Crypto, SrtpKeys
from gateway.sdp.description import (
    Codec,
    Direction,
    MediaDescription,
    Origin,
    SdpError,
    SessionDescription,
    values,
)
from gateway.sdp.events import TELEPHONE_EVENT, common_events
from gateway.sdp.plan import (
    CLOCK_HZ,
    PTIME_MS,
    SECURE,
    AudioCodec,
    AudioPlan,
    LocalMedia,
    connection_of,
    heard_as_offered,
    plan_for,
    unacceptable,
)

_PAYLOAD_TYPES: Final[dict[AudioCodec, int]] = {"pcmu": 0, "pcma": 8}
_DTMF_PAYLOAD_TYPE: Final = 101


def answer(offer: SessionDescription, local: LocalMedia) -> tuple[SessionDescription, AudioPlan]:
    """The answer to an offer, and the plan that follows from it.

    An offer in which all has port 0, audio too, takes the stream away; that is answered alike, with
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
    protected = was.has("crypto") or was.protocol.upper() in SECURE
    keyed = replace(local, offers_keys=local.offers_keys or protected)
    media = tuple(
        _offered_audio(was.protocol, keyed, direction) if n == place else _refused(line, local)
        for n, line in enumerate(before.media)
    )
    return _description(local, media, before.timing)


def _offered_audio(protocol: str, local: LocalMedia, direction: Direction) -> MediaDescription:
    codecs = [Codec(_PAYLOAD_TYPES[name], name, CLOCK_HZ) for name in local.codecs]
    return MediaDescription(
        kind="audio",
        port=local.port,
        protocol=protocol,
        formats=(*(str(codec.payload_type) for codec in codecs), str(_DTMF_PAYLOAD_TYPE)),
        connection=connection_of(local),
        direction=direction,
        attributes=(
            *(_rtpmap(codec.payload_type, codec.name.upper()) for codec in codecs),
            _rtpmap(_DTMF_PAYLOAD_TYPE, TELEPHONE_EVENT),
            ("fmtp", f"{_DTMF_PAYLOAD_TYPE} 0-16"),
            ("ptime", str(PTIME_MS)),
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
    place, stream = 0, _offered_audio("RTP/AVP", local, offered)
    if said is not None:
        place = _audio_place(said)
        stream = said.media[place]
    keys_offered = crypto.read(values(stream.attributes, "crypto"))
    line = answer.media[place] if place < len(answer.media) else None
    if line is None or line.kind != "audio" or line.port == 0:
        raise unacceptable(304, "Media type not available")
    told = values(line.attributes, "crypto")
    both = crypto.taken(told, keys_offered)
    if both is None and (local.secure or line.protocol.upper() in SECURE or told):
        raise unacceptable(399, "No key for SRTP that was offered")
    ours, theirs = both or (None, None)
    keys = None
    if ours is not None and theirs is not None:
        keys = SrtpKeys(ours.suite, sends=ours.key, receives=theirs.key, mki=theirs.mki)
    return heard_as_offered(plan_for(line, local, stream.direction, keys), stream, line)


def _choose(
    offer: SessionDescription, local: LocalMedia
) -> tuple[MediaDescription | None, AudioPlan]:
    """The stream to serve, or None if there was one and it was taken away."""
    lines = [line for line in offer.media if line.kind == "audio"]
    if not lines:
        raise unacceptable(304, "Media type not available")
    live = [line for line in lines if line.port]
    if not live:
        if any(line.port for line in offer.media):
            # Audio given up for a fax, say: without this stream nothing would be left of the call.
            raise unacceptable(304, "Media type not available")
        return None, plan_for(lines[0], local)  # there is nothing to protect
    refusal: SdpError | None = None
    for line in live:
        try:
            return line, _protected(line, local)
        except SdpError as error:
            refusal = refusal or error
    try:
        raise refusal or unacceptable(305, "Incompatible media format")
    finally:
        del refusal  # which knows this frame: no circle is to remain


def _protected(line: MediaDescription, local: LocalMedia) -> AudioPlan:
    """The plan for a stream of an offer, with the first of its keys that we can do."""
    plan = plan_for(line, local)
    theirs = crypto.first_usable(values(line.attributes, "crypto"), local.keys)
    if theirs is None:
        if local.secure or line.protocol.upper() in SECURE:
            raise unacceptable(399, "No key for SRTP that can be used")
        return plan
    ours = Crypto(theirs.tag, theirs.suite, local.keys[theirs.suite])
    keys = SrtpKeys(theirs.suite, sends=ours.key, receives=theirs.key, mki=theirs.mki)
    return replace(plan, srtp=keys, crypto=ours)


def _refused(line: MediaDescription, local: LocalMedia) -> MediaDescription:
    """The same stream with port 0; one format has to be named, and none counts."""
    formats = line.formats[:1] or ("0",)
    return MediaDescription(line.kind, 0, line.protocol, formats, connection_of(local), "inactive")


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
        connection=connection_of(local),
        direction=plan.direction,
        attributes=tuple(attributes),
    )


def _description(
    local: LocalMedia, media: tuple[MediaDescription, ...], timing: str
) -> SessionDescription:
    connection = connection_of(local)
    origin = Origin("-", str(local.session_id), str(local.session_version), connection)
    return SessionDescription(origin, media, connection, timing)


def _rtpmap(payload_type: int, name: str) -> tuple[str, str]:
    return "rtpmap", f"{payload_type} {name}/{CLOCK_HZ}"
