"""Key presses in the bodies of INFOs, as telephones write them.

There is no RFC of either form. `application/dtmf-relay` is lines of `Signal=5` and `Duration=160`,
with blanks and other lines as anybody likes; `application/dtmf` is the key and nothing else. Some
write 10 and 11 for the star and the hash, as the events of RFC 4733 are numbered, and small
letters.
"""

import re
from typing import Final

_SIGNAL: Final = re.compile(rb"^[ \t]*+signal[ \t]*+[=:][ \t]*+([^\r\n]*)\r?$", re.I | re.M)
_KEYS: Final = {key: key for key in "0123456789*#ABCD"} | {"10": "*", "11": "#"}
_MAX_BYTES: Final = 1024


def key_in(content_type: str, body: bytes) -> str | None:
    """The key of a body of one of the two types; None when there is none. Takes any bytes."""
    if len(body) > _MAX_BYTES:
        return None
    text = body
    if content_type == "application/dtmf-relay":
        match = _SIGNAL.search(body)
        if match is None:
            return None
        text = match[1]
    return _KEYS.get(text.decode("ascii", "replace").strip().upper())


def relay_body(key: str, duration_ms: int) -> bytes:
    """The `application/dtmf-relay` body of a press."""
    return f"Signal={key}\r\nDuration={duration_ms}\r\n".encode()
