"""The torture messages of RFC 4475: what each one deserves.

`parse` is what the parser says: None for a message that it must understand, else the status of the
SipError and the words its reason must have. `answer` is what a user agent that takes every call,
keeps no registrations and speaks SDP only owes in the end: a final status, or None for silence.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2].parent / "shared/data/rfc4475"


@dataclass(frozen=True, slots=True)
class Case:
    section: str
    parse: int | None
    reason: str
    answer: int | None
    note: str = ""


def valid(section: str, answer: int | None, note: str = "") -> Case:
    return Case(section, None, "", answer, note)


def broken(section: str, status: int, reason: str, note: str = "") -> Case:
    return Case(section, status, reason, status, note)


def dropped(section: str, reason: str, note: str) -> Case:
    return Case(section, 400, reason, None, note)


CASES: dict[str, Case] = {
    # 3.1.1 valid messages
    "wsinv": valid("3.1.1.1", 481),  # its To tag names a dialog that nobody has
    "intmeth": valid("3.1.1.2", 501, "a method nobody knows"),
    "esc01": valid("3.1.1.3", 200),
    "escnull": valid("3.1.1.4", 405),
    "esc02": valid("3.1.1.5", 501, "RE%47IST%45R is not REGISTER, C%6Fntact is not Contact"),
    "lwsdisp": valid("3.1.1.6", 200),
    "longreq": valid("3.1.1.7", 200),
    "dblreq": valid("3.1.1.8", 405, "over UDP the second request is not looked at"),
    "semiuri": valid("3.1.1.9", 200),
    "transports": valid("3.1.1.10", 200),
    "mpart01": valid("3.1.1.11", 405),
    "unreason": valid("3.1.1.12", None, "a response to nothing we sent"),
    "noreason": valid("3.1.1.13", None, "a response to nothing we sent"),
    # 3.1.2 invalid messages
    "badinv01": broken("3.1.2.1", 400, "Via"),
    "clerr": broken("3.1.2.2", 400, "Content-Length"),
    "ncl": broken("3.1.2.3", 400, "Content-Length"),
    "scalar02": broken("3.1.2.4", 400, "CSeq"),
    "scalarlg": dropped("3.1.2.5", "CSeq", "a response"),
    "quotbal": broken("3.1.2.6", 400, "To"),
    "ltgtruri": broken("3.1.2.7", 400, "Request-URI"),
    "lwsruri": broken("3.1.2.8", 400, "Request Line"),
    "lwsstart": broken("3.1.2.9", 400, "Request Line"),
    "trws": broken("3.1.2.10", 400, "Request Line"),
    "escruri": broken("3.1.2.11", 400, "Request-URI"),
    "baddate": valid("3.1.2.12", 200, "a Date that nobody reads is no reason to refuse a call"),
    "regbadct": broken("3.1.2.13", 400, "Contact"),
    "badaspec": broken("3.1.2.14", 400, "To"),
    "baddn": broken("3.1.2.15", 400, "From", "the file also ends before the empty line"),
    "badvers": broken("3.1.2.16", 505, "Version"),
    "mismatch01": broken("3.1.2.17", 400, "CSeq"),
    "mismatch02": broken("3.1.2.18", 501, "Not Implemented"),
    "bigcode": dropped("3.1.2.19", "Status Line", "a response"),
    # 3.2 transaction layer
    "badbranch": broken("3.2.1", 400, "Via"),
    # 3.3 application layer
    "insuf": broken("3.3.1", 400, "Missing From"),
    "unkscm": valid("3.3.2", 416),
    "novelsc": valid("3.3.3", 416),
    "unksm2": valid("3.3.4", 405, "a registrar would say 400 for the scheme of To"),
    "bext01": valid("3.3.5", 420),
    "invut": valid("3.3.6", 415),
    "regaut01": valid("3.3.7", 405),
    "multi01": broken("3.3.8", 400, "Multiple"),
    "mcl01": broken("3.3.9", 400, "Multiple Content-Length"),
    "bcast": valid("3.3.10", None, "a response to nothing we sent"),
    "zeromf": valid(
        "3.3.11", 200, "483 is for proxies; an endpoint goes on as if it were positive"
    ),
    "cparam01": valid("3.3.12", 405),
    "cparam02": valid("3.3.13", 405),
    "regescrt": valid("3.3.14", 405),
    "sdp01": valid("3.3.15", 406),
    # 3.4 backward compatibility
    "inv2543": valid("3.4.1", 200, "no branch, tag, Max-Forwards, Contact or Content-Length"),
    # Not of the RFC: no version, no From tag, no Via, a line without a colon
    "test": dropped("-", "Request Line", "without a Via there is nobody to answer"),
}


def torture(name: str) -> bytes:
    """The bytes of one message; skips the test where the collection is not at hand."""
    if not FOLDER.is_dir():
        pytest.skip(f"the RFC 4475 messages are not at {FOLDER}")
    return (FOLDER / f"{name}.dat").read_bytes()
