"""Which lines of an offer a WebRTC session takes, and which of them tell about the transport.

The lines of a BUNDLE group share one transport (RFC 9143). In a first offer each may still have its
own, for peers that know no bundles, or be there only as part of the bundle, with port 0. Whatever
is in no bundle with the audio would need a transport of its own, and is not taken.
"""

import re
from dataclasses import dataclass
from typing import Final

from gateway.sdp.data_channel import DataPlan, read_data_line
from gateway.sdp.description import MediaDescription, SdpError, SessionDescription, values

_PLAIN: Final = ("RTP/AVP", "RTP/AVPF")
_SRTP: Final = ("RTP/SAVP", "RTP/SAVPF")  # keyed by DTLS if there is a fingerprint: the older way
_DTLS: Final = re.compile(r"(?:UDP/TLS|TCP/TLS|TCP/DTLS)/RTP/SAVPF?")
_TOKEN: Final = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of an offer that are not refused."""

    audio: MediaDescription
    data: MediaDescription | None
    data_plan: DataPlan | None
    idle: MediaDescription | None
    """The first line of the bundle, if it is of no use to us: it stays, without media. A peer that
    bundles all it has gives its transport to the first line, and Chrome loses it with that line."""
    bundle: tuple[str, ...]
    """The mids of the group that the audio is in, in order; empty if nothing is bundled."""
    leader: MediaDescription
    """The first line of the group that stays. It tells the transport of all, in the offer and in
    the answer (RFC 9143 sections 7.2 and 7.3); the others need not, or had one of their own that
    is given up."""

    @property
    def bundled(self) -> tuple[str, ...]:
        """The mids of the group in the answer."""
        mids = [mid_of(line) for line in (self.idle, self.audio, self.data) if line is not None]
        return tuple(mid for mid in self.bundle if mid in mids)


def is_webrtc(description: SessionDescription) -> bool:
    """Whether the first audio that somebody here could serve is SRTP keyed by DTLS."""
    for line in _live(description, "audio"):
        if _is_dtls(line, description):
            return True
        if line.protocol.upper() in _PLAIN:
            return False
    return False


def take_lines(description: SessionDescription, *, with_data: bool = True) -> Lines:
    """The first audio line with DTLS, and the first data channel line in the same bundle.

    Raises:
        SdpError: 488, there is no such audio line.
    """
    audio = _audio(description)
    bundle = _bundle_of(audio, description)
    data, data_plan = _data(description, bundle) if with_data else (None, None)
    if not bundle:
        return Lines(audio, None, None, None, (), audio)
    by_mid = {mid_of(line): line for line in reversed(description.media)}
    first = by_mid.get(bundle[0], audio)
    useless = first is not audio and first is not data
    idle = first if useless and first.port and _is_dtls(first, description) else None
    stay = {mid_of(line): line for line in (data, audio, idle) if line is not None}
    leader = next(stay[mid] for mid in bundle if mid in stay)
    return Lines(audio, data, data_plan, idle, bundle, leader)


def mid_of(line: MediaDescription) -> str:
    """The name of a line (RFC 5888); empty if it has none."""
    mid = line.attribute("mid") or ""
    return mid if _TOKEN.fullmatch(mid) else ""


def _audio(description: SessionDescription) -> MediaDescription:
    if not any(line.kind == "audio" for line in description.media):
        raise _unusable(304, "The offer has no audio (no m=audio line)")
    lines = _live(description, "audio")
    if not lines:
        raise _unusable(304, "The offer switches its audio off (its port is 0)")
    for line in lines:
        if _is_dtls(line, description):
            return line
    raise _unusable(302, "The audio is offered without DTLS; UDP/TLS/RTP/SAVPF is needed")


def _live(description: SessionDescription, kind: str) -> list[MediaDescription]:
    """The lines of a kind that are not switched off. What is there only as part of a bundle
    (RFC 9143 section 6) has port 0 as well."""
    bundled = {mid for mids in _bundles(description) for mid in mids}
    return [
        line
        for line in description.media
        if line.kind == kind
        and (line.port or (line.has("bundle-only") and mid_of(line) in bundled))
    ]


def _is_dtls(line: MediaDescription, description: SessionDescription) -> bool:
    protocol = line.protocol.upper()
    if protocol in _SRTP:
        attributes = line.attributes + description.attributes
        return bool(values(attributes, "fingerprint"))
    return _DTLS.fullmatch(protocol) is not None


def _bundles(description: SessionDescription) -> list[tuple[str, ...]]:
    """The mids of each group that is not empty."""
    groups = [value.split() for value in values(description.attributes, "group")]
    return [tuple(dict.fromkeys(group[1:])) for group in groups if group[:1] == ["BUNDLE"]]


def _bundle_of(audio: MediaDescription, description: SessionDescription) -> tuple[str, ...]:
    bundles = [mids for mids in _bundles(description) if mids]
    for mids in bundles:
        if mid_of(audio) in mids:
            return mids
    if bundles:
        raise _unusable(399, "The audio line is not in the BUNDLE group of the offer")
    return ()


def _data(
    description: SessionDescription, bundle: tuple[str, ...]
) -> tuple[MediaDescription | None, DataPlan | None]:
    for line in _live(description, "application"):
        plan = read_data_line(line, mid_of(line))
        if plan is not None and plan.mid in bundle:
            return line, plan
    return None, None


def _unusable(warn_code: int, reason: str) -> SdpError:
    return SdpError(reason, status=488, warn_code=warn_code)
