"""Replaces: a call that takes the place of another one (RFC 3891).

An attended transfer: whoever speaks with two others sends one of them to the other (REFER), and the
INVITE that comes of it names the dialog that it is to replace, by Call-ID and both tags. The tags
are named as the receiver of the INVITE sees them: "to" is its own.
"""

from gateway.sip.call_life import Phase
from gateway.sip.dialog import Dialog
from gateway.sip.message import TOKEN, Request
from gateway.sip.screening import Refusal
from gateway.sip.switchboard import Switchboard
from gateway.sip.uac import UacCall
from gateway.sip.uri import SipUri, UriError, find_param, parse_params

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()")
"""What stands unescaped in a header of a URI (RFC 3261 section 25.1), as far as all can read it."""
_NO_TAG = "0"
"""Stands for the tag of a peer of RFC 2543, which has none (section 6.1)."""


def replacing(target: str, other: Dialog) -> str:
    """A Refer-To URI of `target` that takes our place in the dialog `other`.

    Raises ValueError (also as UriError) when the target is no SIP URI, or names another such place
    already.
    """
    uri = SipUri.parse(target)
    if any(part.lower().startswith("replaces=") for part in uri.headers.split("&")):
        raise ValueError("the target replaces another call already")
    remote_tag = other.remote_tag or _NO_TAG
    value = f"{other.call_id};to-tag={remote_tag};from-tag={other.local_tag}"
    escaped = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in value.encode())
    headers = f"{uri.headers}&" if uri.headers else ""
    plain = (uri.scheme, uri.user, uri.password, uri.host, uri.port, uri.params)
    return str(SipUri(*plain, f"{headers}Replaces={escaped}"))


def replaced_by(invite: Request, board: Switchboard) -> str | Refusal:
    """The dialog whose place the caller wants, "" if none; or the answer to what cannot be
    (section 3)."""
    values = invite.headers.get_all("Replaces")
    if not values or not board.config.accept_replaces:
        return ""
    if len(values) > 1:
        return Refusal(400, reason="Multiple Replaces Headers")
    call_id, semicolon, rest = values[0].partition(";")
    try:
        params = parse_params(semicolon + rest)
    except UriError:
        params = ()
    ours, theirs = find_param(params, "to-tag"), find_param(params, "from-tag")
    if not ours or not theirs or not TOKEN.fullmatch(theirs):
        return Refusal(400, reason="Malformed Replaces Header")
    call = board.calls.get(ours)
    if call is None or call.dialog.call_id != call_id.strip(" "):
        return Refusal(481)
    if call.dialog.remote_tag != ("" if theirs == _NO_TAG else theirs):
        return Refusal(481)
    if call.phase is Phase.ENDED:
        return Refusal(603)
    if call.phase is Phase.EARLY:  # a call that nobody has taken yet is not to be taken away
        return call.id if isinstance(call, UacCall) else Refusal(481)
    return Refusal(486) if find_param(params, "early-only") is not None else call.id
