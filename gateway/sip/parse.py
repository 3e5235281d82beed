"""Bytes to message (RFC 3261 sections 7 and 25), and what is wrong with it if something is.

The wire is read once, front to back. A fault does not stop the reading: the first one is kept as
the answer, the rest of the message is still collected, so that a refused request can be answered
with the Via, From, To, Call-ID and CSeq that it came with.

Liberal: compact and odd spellings of names, folding, blanks around every separator, comma lists,
escapes, unknown methods, schemes and headers, empty lines in front, bytes that are not UTF-8
(U+FFFD), a datagram longer than its Content-Length, and what RFC 2543 left out (branch, From tag,
Max-Forwards, Contact, Content-Length). Strict: everything that two readers could understand in two
ways, such as lines that end in anything but CRLF, start lines with blanks too many, doubled headers
that may be there once, blanks before the colon of headers that proxies guard, URIs that leak into
their header's parameters, quotes left open.

What is well formed but cannot be served is not decided here: the scheme of the Request-URI (416),
Require (420), the type of the body (415) and of the answer (406), the method (405), a response for
somebody else, the time zone of a Date and Max-Forwards 0 are the agent's to judge.
"""

import re
from collections.abc import Callable

from gateway.sip.errors import SipError
from gateway.sip.headers import BRANCH_MAGIC, CSeq, Via, split_list
from gateway.sip.message import (
    FORBIDDEN,
    MAX_HEADERS,
    MAX_LINE_CHARS,
    MAX_MESSAGE_BYTES,
    TOKEN,
    Headers,
    Message,
    Request,
    Response,
    header_key,
)
from gateway.sip.uri import NameAddr, SipUri, UriError, uri_scheme

KNOWN_METHODS = frozenset(
    "ACK BYE CANCEL INFO INVITE MESSAGE NOTIFY OPTIONS PRACK PUBLISH REFER REGISTER SUBSCRIBE "
    "UPDATE".split()
)

_REQUEST_LINE = re.compile(
    r"(?P<method>[^ ]++) (?P<uri>[^ ]++) SIP/(?P<version>[0-9]++\.[0-9]++)", re.I | re.A
)
_STATUS_LINE = re.compile(r"SIP/2\.0 (?P<status>[1-6][0-9]{2})(?: (?P<reason>.*+))?", re.I | re.A)
_FOLD = re.compile(r"\r\n[ \t]++")
_ESCAPED_PAIR = re.compile(r"\\([^\r\n])")
_SEPARATORS = re.compile("[\x80-\x9f\u2028\u2029]")
_NUMBER = re.compile(r"[0-9]{1,10}")
_CALL_ID = re.compile(r"[!-~]++")
_C0_AND_DEL = bytes({*range(32), 127} - set(b"\r\n\t"))

_NAMED = {
    "via": "Via",
    "from": "From",
    "to": "To",
    "call-id": "Call-ID",
    "cseq": "CSeq",
    "max-forwards": "Max-Forwards",
    "content-length": "Content-Length",
    "content-type": "Content-Type",
    "contact": "Contact",
    "route": "Route",
    "record-route": "Record-Route",
}
# The spellings nearly everybody uses, so that they need no further look.
_SPELLED = {name: key for key, name in _NAMED.items()} | {
    name: name.lower()
    for name in ("Allow", "Supported", "Accept", "User-Agent", "Date", "P-Asserted-Identity")
}
_ONCE = frozenset(
    ("from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type")
)
# In a request they decide what is done; a response that doubles them is only odd.
_ONCE_ASKED = frozenset(
    (
        *("event", "subscription-state", "refer-to", "referred-by", "replaces", "rack"),
        *("session-expires", "min-se", "expires", "content-disposition"),
    )
)
# Proxies take away what strangers write into these. Some overlook a blank before the colon.
_GUARDED = frozenset(
    (
        *("p-asserted-identity", "p-preferred-identity", "remote-party-id", "privacy"),
        *("diversion", "history-info", "identity", "authorization", "proxy-authorization"),
    )
)
_REQUIRED = ("via", "from", "to", "call-id", "cseq")

_Entry = tuple[str, str, str]
_Fault = tuple[int, str]


def is_keepalive(data: bytes) -> bool:
    """Whether a datagram is only line ends or zeros (RFC 5626 section 4.4.1, pings of NATs)."""
    return not data.strip(b"\r\n\0")


def parse(data: bytes) -> Message:
    """Read one whole message.

    Raises SipError and nothing else. Its `request` is set when an answer can be sent. Faults:
    400 malformed (the reason names the header), 414 and 513 over a limit, 501 a method we do not
    know that CSeq contradicts (RFC 4475 section 3.1.2.18), 505 another version of SIP.
    """
    data = data.lstrip(b"\r\n")
    faults: list[_Fault] = []
    if len(data) > MAX_MESSAGE_BYTES:
        faults.append((513, "Message Too Large"))
        data = data[:MAX_MESSAGE_BYTES]
    end = data.find(b"\r\n\r\n")
    whole = end >= 0
    lines = _lines(data[:end] if whole else data.removesuffix(b"\r\n"))
    message = _start(lines[0], faults)
    entries = _entries(lines, faults)
    message.headers = Headers.adopt(entries)
    first = _first_values(message, entries, faults)
    for key in _REQUIRED:
        if key not in first:
            faults.append((400, f"Missing {_NAMED[key]} Header"))
    _check_values(entries, faults)
    if first.get("contact") is not None:
        _check_contacts(message, entries, faults)
    if isinstance(message, Request) and not faults:
        _check_method(message.method, first["cseq"], faults)
    if not whole:
        faults.append((400, "Missing Empty Line After Headers"))
    body = data[end + 4 :] if whole else b""
    message.body = _body(body, first.get("content-length"), faults)
    if faults:
        status, reason = faults[0]
        request = message if isinstance(message, Request) and first.get("via") else None
        raise SipError(status, reason, request)
    return message


def _lines(head: bytes) -> list[str | None]:
    """The unfolded lines without any control character; None for a line that cannot be so."""
    text = head.decode("utf-8", "replace")
    if "\r\n " in text or "\r\n\t" in text:
        text = _FOLD.sub(" ", text)
    if "\t" in text:
        text = text.replace("\t", " ")
    lines = text.split("\r\n")
    breaks = 2 * (len(lines) - 1)
    if (
        text.count("\r") + text.count("\n") == breaks
        and len(head.translate(None, _C0_AND_DEL)) == len(head)
        and (head.isascii() or not _SEPARATORS.search(text))
    ):
        return list(lines)
    return [_clean(line) for line in lines]


def _clean(line: str) -> str | None:
    # A quoted string may hold an escaped control (RFC 4475 section 3.1.1.2). Nobody needs to see
    # it, and no message of ours may carry it, so its place is marked and the rest understood.
    line = _ESCAPED_PAIR.sub(lambda pair: "\ufffd" if FORBIDDEN.match(pair[1]) else pair[0], line)
    line = _SEPARATORS.sub("\ufffd", line)
    return None if FORBIDDEN.search(line) else line


def _start(line: str | None, faults: list[_Fault]) -> Request | Response:
    if line is None:
        raise SipError(400, "Malformed Start Line")
    if line[:4].upper() == "SIP/":
        status = _STATUS_LINE.fullmatch(line)
        if status is None or len(line) > MAX_LINE_CHARS:
            raise SipError(400, "Malformed Status Line")
        return Response(int(status["status"]), status["reason"] or "")
    method = TOKEN.match(line)
    if method is None:
        raise SipError(400, "Malformed Request Line")
    if len(line) > MAX_LINE_CHARS:
        faults.append((414, "Request-URI Too Long"))
        return Request(method[0], "")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None or match["method"] != method[0]:
        faults.append((400, "Malformed Request Line"))
        return Request(method[0], "")
    if match["version"] != "2.0":
        faults.append((505, "Version Not Supported"))
    _check_request_uri(match["uri"], faults)
    return Request(match["method"], match["uri"])


def _check_request_uri(text: str, faults: list[_Fault]) -> None:
    try:
        # Headers in a Request-URI would be somebody else's headers in our request (section 19.1.1).
        if uri_scheme(text) in ("sip", "sips") and SipUri.parse(text).headers:
            faults.append((400, "Headers In Request-URI"))
    except UriError:
        faults.append((400, "Malformed Request-URI"))


def _entries(lines: list[str | None], faults: list[_Fault]) -> list[_Entry]:
    entries: list[_Entry] = []
    if len(lines) > MAX_HEADERS + 1:
        faults.append((513, "Too Many Headers"))
        lines = lines[: MAX_HEADERS + 1]
    for line in lines[1:]:
        if line is None:
            faults.append((400, "Control Character In Header"))
            continue
        name, colon, value = line.partition(":")
        key = _SPELLED.get(name)
        if key is None or not colon:
            name = name.rstrip(" ")
            if not colon or not TOKEN.fullmatch(name):
                faults.append((400, "Malformed Header Line"))
                continue
            key = header_key(name)
            if line[len(name)] == " " and (key in _GUARDED or key.startswith("x-")):
                faults.append((400, "Malformed Header Line"))
                continue
        if len(line) > MAX_LINE_CHARS:
            faults.append((513, f"{_NAMED.get(key, '')} Header Too Long".strip()))
            continue
        entries.append((key, name, value.strip(" ")))
    return entries


def _first_values(message: Message, entries: list[_Entry], faults: list[_Fault]) -> dict[str, str]:
    """By name; what may be there once and is there twice, two readers would read in two ways."""
    once = _ONCE | _ONCE_ASKED if isinstance(message, Request) else _ONCE
    first: dict[str, str] = {}
    for key, name, value in entries:
        if key not in first:
            first[key] = value
        elif key in once:
            faults.append((400, f"Multiple {_NAMED.get(key, name)} Headers"))
    return first


def _check_values(entries: list[_Entry], faults: list[_Fault]) -> None:
    for key, _, value in entries:
        check = _CHECKS.get(key)
        if check is None:
            continue
        try:
            check(value)
        except ValueError:
            faults.append((400, f"Malformed {_NAMED[key]} Header"))


def _check_contacts(message: Message, entries: list[_Entry], faults: list[_Fault]) -> None:
    """`*` is all bindings of a registration: it stands alone and where one registers."""
    contacts = [value for key, _, value in entries if key == "contact"]
    elsewhere = isinstance(message, Request) and message.method != "REGISTER"
    if "*" in contacts and (elsewhere or len(contacts) > 1):
        faults.append((400, "Malformed Contact Header"))


def _check_method(method: str, cseq: str, faults: list[_Fault]) -> None:
    if CSeq.parse(cseq).method == method:
        return
    if method in KNOWN_METHODS:
        faults.append((400, "CSeq Method Mismatch"))
    else:
        faults.append((501, "Not Implemented"))


def _check_via(value: str) -> None:
    for part in split_list(value):
        branches = [text for name, text in Via.parse(part).params if name.lower() == "branch"]
        # The magic alone names no transaction (RFC 4475 section 3.2.1).
        if branches and (len(branches) > 1 or branches[0] in (None, BRANCH_MAGIC)):
            raise ValueError("ambiguous branch")


def _check_party(value: str) -> None:
    tags = [text for name, text in NameAddr.parse(value).params if name.lower() == "tag"]
    if tags and (len(tags) > 1 or tags[0] is None or not TOKEN.fullmatch(tags[0])):
        raise ValueError("ambiguous tag")


def _check_addresses(value: str) -> None:
    for part in split_list(value):
        NameAddr.parse(part)


def _check_contact(value: str) -> None:
    if value != "*":
        _check_addresses(value)


def _check_call_id(value: str) -> None:
    if not _CALL_ID.fullmatch(value):
        raise ValueError("not one word")


def _check_max_forwards(value: str) -> None:
    if not _NUMBER.fullmatch(value) or int(value) > 255:
        raise ValueError("not 0 to 255")


_CHECKS: dict[str, Callable[[str], object]] = {
    "via": _check_via,
    "from": _check_party,
    "to": _check_party,
    "call-id": _check_call_id,
    "cseq": CSeq.parse,
    "max-forwards": _check_max_forwards,
    "contact": _check_contact,
    "route": _check_addresses,
    "record-route": _check_addresses,
}


def _body(body: bytes, length: str | None, faults: list[_Fault]) -> bytes:
    if length is None:
        return body
    if not _NUMBER.fullmatch(length):
        faults.append((400, "Malformed Content-Length Header"))
        return body
    if int(length) > len(body):
        faults.append((400, "Content-Length Exceeds Message"))
    return body[: int(length)]
