"""The signature of a webhook, by the Standard Webhooks scheme `v1`."""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence

_PREFIX = "whsec_"
_BASE64 = re.compile(r"[A-Za-z0-9+/]*+")


def key_of(secret: str) -> bytes:
    """The HMAC key that a secret stands for: base64 after `whsec_`, or else the text itself.

    Padding may be missing. Other characters than those of base64 are refused, because receivers
    differ in what they make of them.

    Raises:
        ValueError: no key can be made of it; the text quotes nothing of the secret.
    """
    if secret.startswith(_PREFIX):
        text = secret.removeprefix(_PREFIX).rstrip("=")
        if not _BASE64.fullmatch(text) or len(text) % 4 == 1:
            raise ValueError("what follows whsec_ is not base64")
        key = base64.b64decode(text + "=" * (-len(text) % 4))
    else:
        key = secret.encode(errors="surrogateescape")
    if not key:
        raise ValueError("the secret is empty")
    return key


def signature(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one `v1,…` for each key, a blank between them.

    A receiver takes the message when any of them fits, so that secrets can be changed without a
    gap. `timestamp` is the unix time in seconds that goes into `webhook-timestamp`.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key, signed, hashlib.sha256) for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
