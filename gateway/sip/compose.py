"""The messages we write: answers (RFC 3261 section 8.2.6) and what belongs to a request of ours.

Header values of the peer are copied as they came, never parsed and printed again, so that a
response fits its request to the letter.
"""

import hashlib
from collections.abc import Sequence

from gateway.sip.config import SipConfig
from gateway.sip.headers import CSeq, with_tag
from gateway.sip.message import Headers, Message, Request, Response, header_key

ACCEPT = "application/sdp"
ACCEPTED = f"{ACCEPT}, multipart/mixed"
"""What bodies may be of: an SDP, also among other parts."""
MAX_FORWARDS = "70"

OURS = frozenset(
    (
        *("via", "from", "to", "call-id", "cseq", "max-forwards", "contact", "route"),
        *("record-route", "content-type", "content-length", "user-agent", "authorization"),
        *("proxy-authorization", "refer-to", "referred-by", "allow", "supported", "require"),
        *("session-expires", "min-se", "rseq", "rack", "replaces", "refer-sub", "event"),
        *("subscription-state", "unsupported"),
    )
)
"""Headers of our messages that nobody else may add to: what they say is said once, or not."""

REASONS = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    469: "Bad Info Package",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
}
_CLASSES = {1: "Progress", 2: "OK", 3: "Redirection", 4: "Error", 5: "Server Error", 6: "Failure"}


def allow(config: SipConfig) -> str:
    """The methods that we serve, as Allow lists them."""
    methods = "INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, INFO, UPDATE"
    if config.reliable_provisionals != "off":
        methods += ", PRACK"
    return f"{methods}, REFER" if config.accept_refer else methods


def supported(config: SipConfig, *, reliable: bool = True) -> tuple[str, ...]:
    """Option tags of the extensions that we speak.

    `reliable` is False where no reliable provisional answer could be used: in a re-INVITE, which
    nothing rings for, and in an INVITE without an offer.
    """
    spoken = (
        ("100rel", reliable and config.reliable_provisionals != "off"),
        ("timer", config.session_expires_s > 0),
        ("replaces", config.accept_replaces),
        ("norefersub", config.accept_refer),
    )
    return tuple(tag for tag, is_spoken in spoken if is_spoken)


def abilities(config: SipConfig, *, reliable: bool = True) -> tuple[tuple[str, str], ...]:
    """What we tell of ourselves with an INVITE and an UPDATE, and with their answers."""
    tags = ", ".join(supported(config, reliable=reliable))
    return (("Allow", allow(config)), *((("Supported", tags),) if tags else ()))


def options_answer(config: SipConfig) -> tuple[tuple[str, str], ...]:
    """Section 11.2."""
    tags = ", ".join(supported(config))
    return (("Allow", allow(config)), ("Accept", ACCEPTED), ("Supported", tags))


def reason_of(status: int) -> str:
    """The usual reason phrase."""
    return REASONS.get(status) or _CLASSES[status // 100]


def respond(
    request: Request,
    status: int,
    *,
    server: str,
    tag: str | None = None,
    reason: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
) -> Response:
    """A response to `request`, whose top Via has been stamped; `body` is SDP.

    `tag` goes into To unless the request brought one. `headers` come after those that the RFC
    wants. A header that a broken request lacks is left out.
    """
    copied = [("Via", value) for value in request.headers.get_all("Via")]
    for name in ("From", "To", "Call-ID", "CSeq"):
        value = request.headers.get(name)
        if value is not None:
            copied.append((name, with_tag(value, tag) if name == "To" and tag else value))
    if request.method == "INVITE" and 100 < status < 300:  # section 12.1.1
        copied += [("Record-Route", value) for value in request.headers.get_all("Record-Route")]
    timestamp = request.headers.get("Timestamp")
    if status == 100 and timestamp is not None:  # section 8.2.6.1
        copied.append(("Timestamp", timestamp))
    answer = adopted(copied)
    answer.add("Server", server)
    for name, value in headers:
        answer.add(name, value)
    if body:
        answer.set("Content-Type", ACCEPT)
    return Response(status, reason or reason_of(status), answer, body)


def additions(headers: Sequence[tuple[str, str]]) -> Headers:
    """What the application wants to stand in a message of ours, too.

    Raises ValueError for what must not be sent, and for what is ours to write.
    """
    checked = Headers(headers)
    for name in OURS:
        if name in checked:
            raise ValueError(f"the header {name} is not to be added to")
    return checked


def adopted(copied: Sequence[tuple[str, str]]) -> Headers:
    """Headers of values that came through the parser.

    They are not measured again: a long form or a tag of ours may make a line that was just short
    enough a little longer, and it still has to go back.
    """
    return Headers.adopt([(header_key(name), name, value) for name, value in copied])


def stateless_tag(request: Request) -> str:
    """A To tag for an answer that leaves no state: the same again for the same request.

    RFC 3261 section 8.2.7 wants that, so that a repeated request is answered alike. For the ACK of
    such an answer it is the same as well.
    """
    said = [request.headers.get(name) or "" for name in ("Via", "Call-ID", "From", "CSeq")]
    seed = "\n".join(said).rpartition(" ")[0]  # without the method
    return hashlib.blake2s(seed.encode(errors="replace"), digest_size=8).hexdigest()


def ack_of_refusal(invite: Request, response: Response) -> Request:
    """The ACK that a transaction sends for a 3xx-6xx (RFC 3261 section 17.1.1.3)."""
    return _same_hop(invite, "ACK", to=response.headers.get("To"))


def cancel_of(invite: Request) -> Request:
    """The CANCEL of an INVITE of ours that has seen a provisional response (section 9.1)."""
    return _same_hop(invite, "CANCEL")


def _same_hop(invite: Request, method: str, to: str | None = None) -> Request:
    """A request that takes the way of `invite`, under the same branch."""
    headers = invite.headers
    copied = [("Via", headers.get("Via") or "")]
    copied += [("Route", value) for value in headers.get_all("Route")]
    copied.append(("From", headers.get("From") or ""))
    copied.append(("To", to or headers.get("To") or ""))
    copied.append(("Call-ID", headers.get("Call-ID") or ""))
    copied.append(("CSeq", f"{sequence_number(invite)} {method}"))
    copied.append(("Max-Forwards", MAX_FORWARDS))
    return Request(method, invite.uri, adopted(copied))


def why(status: int, text: str) -> tuple[tuple[str, str], ...]:
    """The header that tells why a request ends something (RFC 3326); `text` is without quotes."""
    return (("Reason", f'SIP;cause={status};text="{text}"'),)


def sequence_number(message: Message) -> int:
    """The number in CSeq."""
    return CSeq.parse(message.headers.get("CSeq") or "").number
