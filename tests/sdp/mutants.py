"""Offers with something wrong: what a broken or hostile peer might send."""

import random
from collections.abc import Iterator

from tests.sdp.webrtc_offers import NAMES, offer

_NUMBERS = ["", "-1", "0", "65536", "99999999999999999999", "\u0661", "1e3", "0x10", "nan"]
_LINES = [
    "a=fmtp:200 x=y",
    "a=fmtp",
    "a=rtpmap:0",
    "a=rtcp-fb:*",
    "a=ssrc:1",
    "a=candidate:",
    "a=setup:maybe",
    "a=group:BUNDLE",
    "a=extmap:1",
    "a=rtcp:x",
    "a=sctp-port:x",
    "a=mid",
    "c=IN",
    "m=audio 9 UDP/TLS/RTP/SAVPF",
    "m=audio 9 UDP/TLS/RTP/SAVPF 72",
    "m=application 9 DTLS/SCTP x",
    "m=video 0 x y\r\na=bundle-only",
    "m=video 0 UDP/TLS/RTP/SAVPF",
    "m=audio 0 UDP/TLS/RTP/SAVPF\r\na=bundle-only",
    "m=application 0 DTLS/SCTP\r\na=bundle-only\r\na=sctpmap:webrtc-datachannel",
]


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """So many offers, each with one to four changes of lines or bytes; the same for a seed."""
    chance = random.Random(seed)
    originals = [offer(name) for name in NAMES]
    for _ in range(count):
        text = chance.choice(originals)
        for _ in range(chance.randint(1, 4)):
            text = _changed(text, chance)
        body = text.encode("utf-8", "replace")
        if chance.random() < 0.2:
            at = chance.randrange(len(body) + 1)
            body = body[:at] + chance.randbytes(3) + body[at + chance.randrange(4) :]
        yield body


def _changed(text: str, chance: random.Random) -> str:
    lines = text.split("\r\n")
    at = chance.randrange(len(lines))
    line = lines[at]
    fields = line.replace(":", " : ").split(" ")
    match chance.randrange(8):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[chance.randrange(len(lines))])
        case 2:
            lines[at] = line[: chance.randrange(len(line) + 1)]
        case 3:
            lines[at] = chance.choice(_LINES)
        case 4:  # one field is another number
            fields[chance.randrange(len(fields))] = chance.choice(_NUMBERS)
            lines[at] = " ".join(fields).replace(" : ", ":")
        case 5:  # one field is missing
            del fields[chance.randrange(len(fields))]
            lines[at] = " ".join(fields).replace(" : ", ":")
        case 6:
            lines[at] = line.replace("=", "=" + chr(chance.randrange(1, 0x3000)), 1)
        case _:
            other = chance.randrange(len(lines))
            lines[at], lines[other] = lines[other], line
    return "\r\n".join(lines)
