"""Bodies of several parts, of which we want the session description (RFC 2046, RFC 5621).

Carriers send the ISUP message that a call was beside the SDP, an emergency call says where it is,
PBXs tell each other things of their own. All that is passed over, unless its sender insists that it
be understood, or leaves us nothing else.

Every body is read in one pass over its lines, and holds no more than MAX_PARTS parts at each of
MAX_DEPTH levels.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.sip.compose import ACCEPT
from gateway.sip.headers import media_type
from gateway.sip.message import header_key
from gateway.sip.uri import UriError, find_param, parse_params

MAX_PARTS, MAX_DEPTH = 16, 3

_BOUNDARY = re.compile(r"[ -~]{0,69}[!-~]")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_FOLD = re.compile(r"\r?\n[ \t]+")
_UNCODED = frozenset(("", "7bit", "8bit", "binary", "identity"))


class MultipartError(ValueError):
    """A body that is not of its grammar, or has too many parts."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a body holds for us."""

    session: bytes | None
    """The session description that we take."""
    insists: bool = False
    """Whether something that we do not understand has to be understood."""
    is_spare: bool = True
    """Whether everything else may be left aside."""


def is_multipart(content_type: str) -> bool:
    return media_type(content_type).startswith("multipart/")


def contents(content_type: str, body: bytes, depth: int = MAX_DEPTH) -> Contents:
    """Look for the session description in a multipart body. Raises MultipartError.

    Of alternatives (multipart/alternative) the last one is the best, and one is enough. All other
    kinds are read as multipart/mixed, as RFC 2046 section 5.1.3 wants of those that nobody knows.
    """
    found = [_contents_of(*part, depth - 1) for part in _parts(content_type, body)]
    sessions = [one.session for one in found if one.session]
    insists = any(one.insists for one in found)
    if sessions and media_type(content_type) == "multipart/alternative":
        sessions, insists = sessions[::-1], False
    is_spare = all(one.is_spare for one in found)
    return Contents(sessions[0] if sessions else None, insists, is_spare)


def handling(disposition: str) -> str:
    """What a Content-Disposition says of a body that is not understood: `required`, `optional`, or
    something else."""
    try:
        return (_param(disposition, "handling") or "").lower()
    except UriError:
        return ""


def _contents_of(headers: dict[str, str], body: bytes, depth: int) -> Contents:
    content_type = headers.get("content-type", "")
    disposition = headers.get("content-disposition", "")
    said = handling(disposition)
    if _is_uncoded(headers):
        if depth and is_multipart(content_type):
            inner = contents(content_type, body, depth)
            insists = inner.insists and said != "optional"
            return Contents(inner.session, insists, inner.is_spare or said == "optional")
        # Media before the answer of another kind than ours may come in an SDP, too (RFC 3959).
        if media_type(content_type) == ACCEPT and media_type(disposition) != "early-session":
            return Contents(body)
    # Without a word it ought to be required (RFC 3261 section 20.11), but who sends something along
    # seldom means that the call shall fail without it.
    return Contents(None, said == "required", said == "optional")


def _is_uncoded(headers: dict[str, str]) -> bool:
    names = ("content-transfer-encoding", "content-encoding")
    return all(headers.get(name, "").lower() in _UNCODED for name in names)


def _parts(content_type: str, body: bytes) -> Iterator[tuple[dict[str, str], bytes]]:
    """Headers and content of each part."""
    delimiter = b"--" + _boundary(content_type)
    count = 0
    lines: list[bytes] | None = None  # before the first part
    for line in body.split(b"\n"):
        mark = line.rstrip(b" \t\r") if line.startswith(delimiter) else b""
        if mark not in (delimiter, delimiter + b"--"):
            if lines is not None:
                lines.append(line)
            continue
        if lines is not None:
            # The end of the line before a delimiter belongs to that.
            yield _part(b"\n".join(lines).removesuffix(b"\r"))
        count, lines = count + 1, []
        if mark != delimiter:
            break
        if count > MAX_PARTS:
            raise MultipartError("too many parts")
    else:
        raise MultipartError("no last delimiter")
    if count < 2:
        raise MultipartError("no part")


def _boundary(content_type: str) -> bytes:
    try:
        value = _param(content_type, "boundary") or ""
    except UriError:
        raise MultipartError("malformed Content-Type") from None
    if not _BOUNDARY.fullmatch(value):
        raise MultipartError("no boundary")
    return value.encode()


def _param(value: str, name: str) -> str | None:
    """A parameter of a header, without quotes. Some end the list with a semicolon. Raises
    UriError."""
    params = value.partition(";")[2].rstrip("; ")
    found = find_param(parse_params(f";{params}"), name) if params else None
    return found and found.strip('"')


def _part(text: bytes) -> tuple[dict[str, str], bytes]:
    """A part may begin with its content at once: the blank line is there all the same."""
    text = b"\n" + text
    blank = _BLANK_LINE.search(text)
    head, body = (text, b"") if blank is None else (text[: blank.start()], text[blank.end() :])
    headers: dict[str, str] = {}
    for line in _FOLD.sub(" ", head.decode("utf-8", "replace")).split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(header_key(name.strip()), value.strip())
    return headers, body
