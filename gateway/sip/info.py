"""INFO: key presses beside the media (RFC 2976 and the two body types of practice; RFC 6086).

What else comes in an INFO is refused by name. We have no Info-Packages, and an INFO without a body
asks nothing but whether somebody is there.
"""

from gateway.sip.headers import media_type
from gateway.sip.message import Request
from gateway.sip.screening import Refusal, is_optional

KEYS = ("application/dtmf-relay", "application/dtmf")
"""The types of bodies that are key presses."""


def info_objection(request: Request) -> Refusal | None:
    """Why this INFO is not answered 200."""
    if request.headers.get("Info-Package") is not None:
        return Refusal(469, (("Recv-Info", ""),))
    if not request.body or is_optional(request):
        return None
    if info_type(request) is None:
        return Refusal(415, (("Accept", ", ".join(KEYS)),))
    if (request.headers.get("Content-Encoding") or "identity").lower() != "identity":
        return Refusal(415, (("Accept-Encoding", "identity"),))
    return None


def info_type(request: Request) -> str | None:
    """The type of a body that is a key press; None of any other, and without a body."""
    kind = media_type(request.headers.get("Content-Type") or "")
    return kind if request.body and kind in KEYS else None
