"""What is wrong with a request that reads well but cannot be served (RFC 3261 section 8.2).

The order is the RFC's: first the method, then where it is going and how it came, then what it
requires of us, then what it carries. The first objection is the answer.
"""

from dataclasses import dataclass

from gateway.sip.compose import ACCEPT, ACCEPTED, allow, supported
from gateway.sip.config import SipConfig
from gateway.sip.dialog import MAX_TARGET_CHARS, contact_of
from gateway.sip.headers import (
    BRANCH_MAGIC,
    HeaderError,
    media_type,
    option_tags,
    tag_of,
    top_via,
    words,
)
from gateway.sip.message import TOKEN, Message, Request
from gateway.sip.multipart import MultipartError, contents, handling, is_multipart
from gateway.sip.parse import KNOWN_METHODS
from gateway.sip.session_timer import is_too_brief
from gateway.sip.uri import uri_scheme

SCHEMES = frozenset(("sip", "tel"))
"""Of Request-URIs that may mean us; over TLS also `sips`, which promises TLS on every hop."""
_PRIVATE = frozenset(("TLS", "WSS"))
MAX_TAGS, MAX_TAG_CHARS = 32, 64
"""What we repeat of a Require header."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer that a request deserves."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    reason: str | None = None
    """None: the usual phrase."""


def objection(request: Request, config: SipConfig) -> Refusal | None:
    """Why this request, neither ACK nor CANCEL, is not served; None when it may be."""
    allowed = allow(config)
    if request.method not in allowed.split(", "):
        # Section 21.5.2: what nobody here has heard of is no matter of permission.
        status = 405 if request.method in KNOWN_METHODS else 501
        return Refusal(status, (("Allow", allowed),))
    if not _is_meant_for_us(request):
        return Refusal(416)
    outside = tag_of(request.headers.get("To") or "") is None
    if request.method == "INVITE" and outside and _is_spent(request):
        return Refusal(483)
    refusal = _objection_to_requirements(request, config)
    if refusal is None and request.method == "INVITE":
        refusal = _objection_to_invite(request, outside)
    if refusal is None and request.method in ("UPDATE", "PRACK"):
        refusal = _objection_to_body(request)
    if refusal is None and request.method in ("INVITE", "UPDATE") and is_too_brief(request, config):
        return Refusal(422, (("Min-SE", str(config.min_se_s)),))
    return refusal


def _objection_to_requirements(request: Request, config: SipConfig) -> Refusal | None:
    try:
        required = option_tags(request.headers, "Require")
    except HeaderError:
        return Refusal(400, reason="Malformed Require Header")
    ours = supported(config)
    unsupported = [tag for tag in required if tag not in ours]
    if not unsupported:
        return _objection_to_abilities(request, config)
    if any(len(tag) > MAX_TAG_CHARS or not TOKEN.fullmatch(tag) for tag in unsupported):
        return Refusal(400, reason="Malformed Require Header")
    return Refusal(420, (("Unsupported", ", ".join(unsupported[:MAX_TAGS])),))


def _objection_to_abilities(request: Request, config: SipConfig) -> Refusal | None:
    """Whether a caller cannot do what we insist on."""
    outside = tag_of(request.headers.get("To") or "") is None
    if config.reliable_provisionals != "required" or request.method != "INVITE" or not outside:
        return None
    try:
        tags = option_tags(request.headers, "Supported") + option_tags(request.headers, "Require")
    except HeaderError:
        tags = []
    return None if "100rel" in tags else Refusal(421, (("Require", "100rel"),))


def _objection_to_invite(request: Request, outside: bool) -> Refusal | None:
    headers = request.headers
    if outside and contact_of(request) is None and _is_of_rfc_3261(request):
        return Refusal(400, reason="Missing Contact Header")
    if len(headers.get("From") or "") > MAX_TARGET_CHARS:
        return Refusal(513)
    refusal = _objection_to_body(request)
    if refusal is not None:
        return refusal
    try:
        accepted = {media_type(element) for element in words(headers, "Accept")}
    except HeaderError:
        return Refusal(400, reason="Malformed Accept Header")
    if "Accept" in headers and not accepted & {ACCEPT, "application/*", "*/*"}:
        return Refusal(406)
    return None


def _objection_to_body(request: Request) -> Refusal | None:
    if not request.body or is_optional(request):
        return None
    content_type = request.headers.get("Content-Type")
    if content_type is None:
        return Refusal(400, reason="Missing Content-Type Header")
    try:
        if not _is_understood(content_type, request.body):
            return Refusal(415, (("Accept", ACCEPTED),))
    except MultipartError:
        return Refusal(400, reason="Malformed Multipart Body")
    if (request.headers.get("Content-Encoding") or "identity").lower() != "identity":
        return Refusal(415, (("Accept-Encoding", "identity"),))
    return None


def _is_understood(content_type: str, body: bytes) -> bool:
    """Whether it is of the types that we read, as much of it as has to be (RFC 5621). Raises
    MultipartError."""
    if not is_multipart(content_type):
        return media_type(content_type) == ACCEPT
    held = contents(content_type, body)
    return not held.insists and (held.session is not None or held.is_spare)


def sdp_of(message: Message) -> bytes | None:
    """The session description in a message; None without one that we read."""
    content_type = message.headers.get("Content-Type") or ""
    if is_multipart(content_type):
        try:
            return contents(content_type, message.body).session
        except MultipartError:
            return None
    return message.body if message.body and media_type(content_type) == ACCEPT else None


def _is_meant_for_us(request: Request) -> bool:
    scheme = uri_scheme(request.uri)
    if scheme == "sips":
        return top_via(request.headers).transport.upper() in _PRIVATE
    return scheme in SCHEMES


def _is_spent(request: Request) -> bool:
    # Max-Forwards 0 stops a proxy, not an endpoint (RFC 4475 section 3.3.11), and an OPTIONS that
    # traces the way ends here on purpose. A call that has used up all its hops went in a circle.
    return request.headers.get("Max-Forwards") == "0"


def _is_of_rfc_3261(request: Request) -> bool:
    return (top_via(request.headers).branch or "").startswith(BRANCH_MAGIC)


def is_optional(request: Request) -> bool:
    """Whether the body may be left aside if it cannot be read (section 20.11)."""
    return handling(request.headers.get("Content-Disposition") or "") == "optional"
