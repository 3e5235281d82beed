"""Keys of SRTP in a session description (SDES, RFC 4568; the AEAD suites, RFC 7714).

`a=crypto:<tag> <suite> inline:<key and salt>` tells the key that its author *sends* with, so an
offer and its answer bring one for each direction. Whoever can read the description can read the
media: they are of use where signalling is encrypted.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Self, get_args

Suite = Literal[
    "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"
]
"""What a stream may be protected by, in the order in which we offer it."""

SUITES: Final[tuple[Suite, ...]] = get_args(Suite)
KEY_BYTES: Final[Mapping[Suite, int]] = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AEAD_AES_128_GCM": 28,
    "AEAD_AES_256_GCM": 44,
}
"""Master key and master salt together."""

MAX_MKI_BYTES: Final = 128

_LINE: Final = re.compile(
    r"(?P<tag>0|[1-9][0-9]{0,8})[ \t]++(?P<suite>[A-Za-z0-9_]++)[ \t]++"
    r"inline:(?P<key>[A-Za-z0-9+/]++={0,2})(?:\|(?:2\^)?[0-9]{1,15})?"
    r"(?:\|(?P<mki>[0-9]{1,309}):(?P<size>[0-9]{1,3}))?"
    r"(?P<rest>(?:[ \t]++[!-~]++)*+)[ \t]*+"
)
_HARMLESS: Final = re.compile(r"WSH=[0-9]{1,6}", re.I)
"""The only session parameter that asks nothing of us: how many packets may come out of order."""


@dataclass(frozen=True, slots=True)
class Crypto:
    """One `a=crypto` line."""

    tag: int
    """Its number; an answer has that of the line it takes."""
    suite: Suite
    key: bytes = field(repr=False)
    """Master key and salt."""
    mki: bytes = b""
    """The number of the key (Master Key Identifier), which each packet under it carries; b"":
    none does. We have one key at a time and say none."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read the value of the attribute; None for what we cannot do.

        That is another suite, several keys at once, and session parameters that would change what
        is encrypted.
        """
        match = _LINE.fullmatch(text)
        if match is None:
            return None
        suite = next((one for one in SUITES if one == match["suite"].upper()), None)
        if suite is None or not all(map(_HARMLESS.fullmatch, match["rest"].split())):
            return None
        try:
            key = base64.b64decode(match["key"] + "=" * (-len(match["key"]) % 4), validate=True)
            mki = b"" if match["mki"] is None else _mki(int(match["mki"]), int(match["size"]))
        except (binascii.Error, ValueError):
            return None
        return cls(int(match["tag"]), suite, key, mki) if len(key) == KEY_BYTES[suite] else None

    def to_text(self) -> str:
        """The value of the attribute."""
        return f"{self.tag} {self.suite} inline:{base64.b64encode(self.key).decode()}"


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """What was agreed on: how a stream is protected, and by which keys."""

    suite: Suite
    sends: bytes = field(repr=False)
    """Ours."""
    receives: bytes = field(repr=False)
    """The peer's."""
    mki: bytes = b""
    """The number of the peer's, which its packets carry."""


def _mki(number: int, size: int) -> bytes:
    """As packets carry it (RFC 4568 section 6.1). Raises ValueError."""
    if not 1 <= size <= MAX_MKI_BYTES or number.bit_length() > 8 * size:
        raise ValueError("no such MKI")
    return number.to_bytes(size)


def read(values: Iterable[str]) -> tuple[Crypto, ...]:
    """The lines that we can do, in order."""
    found = (Crypto.parse(value) for value in values)
    return tuple(one for one in found if one is not None)


def first_usable(values: Iterable[str], keys: Mapping[Suite, bytes]) -> Crypto | None:
    """The first line of an offer that we can take, and have a key of our own for."""
    return next((one for one in read(values) if one.suite in keys), None)


def taken(values: Iterable[str], offered: Iterable[Crypto]) -> tuple[Crypto, Crypto] | None:
    """The line of our offer that an answer takes, and that of the answer."""
    by_tag = {one.tag: one for one in offered}
    for theirs in read(values):
        ours = by_tag.get(theirs.tag)
        if ours is not None and theirs.suite == ours.suite:
            return ours, theirs
    return None


def lines(keys: Mapping[Suite, bytes]) -> tuple[Crypto, ...]:
    """What we offer."""
    wanted = [suite for suite in SUITES if suite in keys]
    return tuple(Crypto(number, suite, keys[suite]) for number, suite in enumerate(wanted, 1))
