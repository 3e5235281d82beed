"""Replaces: a call that takes the place of another one (RFC 3891).

An attended transfer: whoever speaks with two others sends one of them to the other (REFER), and the
INVITE that comes of it names the dialog that it is to replace, by Call-ID and both tags. The tags
are named as the receiver of the INVITE sees them: "to" is its own.
"""

from gateway.sip.dialog import Dialog
from gateway.sip.message import TOKEN
from gateway.sip.uri import SipUri

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()")
"""What stands unescaped in a header of a URI (RFC 3261 section 25.1)."""


def replacing(target: str, other: Dialog) -> str:
    """A Refer-To URI of `target` that takes our place in the dialog `other`.

    Raises ValueError (also as UriError) when the target is no SIP URI, or the peer has no tag.
    """
    if not TOKEN.fullmatch(other.remote_tag):
        raise ValueError("the other call cannot be named")
    uri = SipUri.parse(target)
    value = f"{other.call_id};to-tag={other.remote_tag};from-tag={other.local_tag}"
    escaped = "".join(chr(b) if b in _PLAIN else f"%{b:02X}" for b in value.encode())
    headers = f"{uri.headers}&" if uri.headers else ""
    return str(
        SipUri(
            uri.scheme,
            uri.user,
            uri.password,
            uri.host,
            uri.port,
            uri.params,
            f"{headers}Replaces={escaped}",
        )
    )
