"""Bodies of several parts: which session description is taken, and what else is refused for."""

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.events import Answered, IncomingCall, Reoffer, Ringing
from gateway.sip.message import Request, Response
from gateway.sip.multipart import MAX_PARTS, Contents, MultipartError, contents
from tests.sip.raw import SDP, Desk, answer_to, codes, request

pytestmark = pytest.mark.pure

MIXED = "multipart/mixed;boundary=x"
SESSION = ("Content-Type: application/sdp", SDP)
ISUP = b"\x01\x00\x49\x00\x00\r\n--y\r\n\x0a\x00\r\n\x02\x07"
"""Any bytes, lines that begin like delimiters among them."""
OTHER_SDP = SDP.replace(b"1 1 IN", b"2 2 IN")


def body(*parts: tuple[str, bytes], boundary: str = "x", end: str = "\r\n") -> bytes:
    """As carriers write it: no blank line behind the content."""
    mark = f"--{boundary}".encode()
    eol = end.encode()
    said = [mark + eol + head.encode() + eol + eol + text + eol for head, text in parts]
    return b"".join(said) + mark + b"--" + eol


def isup(handling: str = "", *, more: str = "") -> tuple[str, bytes]:
    said = f";handling={handling}" if handling else ""
    head = "Content-Type: application/isup; version=itu-t92+\r\n"
    return f"{head}Content-Disposition: signal{said}{more}", ISUP


PIDF = (
    "Content-Type: application/pidf+xml\r\nContent-ID: <target123@192.0.2.9>",
    b'<?xml version="1.0"?>\r\n<presence/>',
)
NESTED = (
    'Content-Type: multipart/alternative; boundary="in/ner"',
    body(SESSION, boundary="in/ner"),
)
EARLY = ("Content-Type: application/sdp\r\nContent-Disposition: early-session", OTHER_SDP)


@pytest.mark.parametrize(
    ("content_type", "text"),
    [
        (MIXED, body(SESSION)),
        (MIXED, body(SESSION, isup("optional"))),
        (MIXED, body(isup("optional"), SESSION)),
        (MIXED, body(isup(), SESSION)),
        (MIXED, body(PIDF, SESSION)),
        (MIXED, body(EARLY, SESSION)),
        (MIXED, body(SESSION, ("Content-Type: application/sdp", OTHER_SDP))),
        (MIXED, body(isup("optional"), NESTED)),
        (MIXED, body(("C :\tapplication/SDP ; charset=utf-8", SDP))),
        (MIXED, body(("Content-Type:\r\n application/sdp\r\nContent-Length: 1", SDP))),
        (MIXED, body(("Content-Type: application/sdp\r\nContent-Transfer-Encoding: 8BIT", SDP))),
        (MIXED, b"preamble\r\n--xy\r\n" + body(SESSION) + b"epilogue\r\n--x\r\n"),
        (MIXED, body(SESSION, end="\n")),
        (MIXED, body(SESSION).replace(b"--x\r", b"--x \t\r")),
        (MIXED, body(SESSION).removesuffix(b"\r\n")),
        (MIXED, body(SESSION, ("", b""), ("Content-Type: a/b", b""))),
        ("Multipart/Mixed ; charset=utf-8; Boundary = x ;", body(SESSION)),
        (
            'multipart/mixed;a="boundary=y;";boundary="a \'()+_,-./:=?z"',
            body(SESSION, boundary="a '()+_,-./:=?z"),
        ),
        ('multipart/related;type="application/sdp";boundary=x', body(SESSION, PIDF)),
        ("multipart/never-heard-of;boundary=x", body(isup("optional"), SESSION)),
        (
            "multipart/alternative;boundary=x",
            body(("Content-Type: application/sdp", OTHER_SDP), SESSION, isup("required")),
        ),
    ],
)
def test_the_session_is_found_and_the_rest_passed_over(content_type: str, text: bytes) -> None:
    held = contents(content_type, text)
    assert (held.session, held.insists) == (SDP, False)


@pytest.mark.parametrize(
    ("content_type", "text", "status"),
    [
        (MIXED, body(SESSION, isup("required")), 415),
        (MIXED, body(SESSION, isup('"REQUIRED"', more=";a=b")), 415),
        (MIXED, body(isup("optional"), ("Content-Type: text/plain", b"hello")), 415),
        (MIXED, body(isup()), 415),
        (MIXED, body(("", SDP)), 415),
        (MIXED, body(("Content-Type: application/sdp\r\nContent-Encoding: gzip", SDP)), 415),
        (MIXED, body((f"{SESSION[0]}\r\nContent-Transfer-Encoding: base64", SDP)), 415),
        ("multipart/alternative;boundary=x", body(isup("required"), isup("optional")), 415),
        ("multipart/mixed", body(SESSION), 400),
        ("multipart/mixed;boundary", body(SESSION), 400),
        ('multipart/mixed;boundary=""', body(SESSION), 400),
        ("multipart/mixed;boundary=" + "x" * 71, body(SESSION, boundary="x" * 71), 400),
        ("multipart/mixed;;boundary=x", body(SESSION), 400),
        (MIXED, body(SESSION, boundary="y"), 400),
        (MIXED, body(), 400),
        (MIXED, b"hello", 400),
        (MIXED, body(SESSION).replace(b"--x--", b""), 400),
        (MIXED, body(SESSION, *[isup("optional")] * MAX_PARTS), 400),
        (MIXED, body(isup("optional"), ("Content-Type: multipart/mixed", SDP)), 400),
    ],
)
@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INVITE inside"])
def test_what_must_be_understood_and_is_not(
    content_type: str, text: bytes, status: int, method: str
) -> None:
    desk = Desk()
    if method == "INVITE":
        (answer,) = desk.send(request("INVITE", body=text, body_type=content_type))
    else:
        dialog_id = desk.confirmed()
        name = method.split()[0]
        within = desk.within(name, dialog_id, body=text, body_type=content_type)
        (answer,) = desk.send(within)
    assert isinstance(answer, Response) and answer.status == status
    accept = "application/sdp, multipart/mixed" if status == 415 else None
    assert answer.headers.get("Accept") == accept
    assert desk.events() == []


def test_a_call_with_other_things_beside_its_offer() -> None:
    """SIP-I from its INVITE to its end: also re-INVITE, UPDATE and INVITE without an offer."""
    desk = Desk()
    both = body(isup("optional"), SESSION)
    (trying,) = desk.send(request("INVITE", body=both, body_type=MIXED))
    (incoming,) = desk.events()
    assert codes([trying]) == [100] and isinstance(incoming, IncomingCall)
    assert incoming.offer == SDP and ("Content-Type", MIXED) in incoming.headers
    dialog_id = incoming.dialog_id
    desk.agent.accept(dialog_id, SDP, desk.now)
    (answer,) = desk.drain()
    assert answer.headers.get("Content-Type") == "application/sdp" and answer.body == SDP
    desk.send(desk.within("ACK", dialog_id, cseq=1))
    desk.events()
    for number, method in enumerate(("INVITE", "UPDATE"), 2):
        desk.send(desk.within(method, dialog_id, cseq=number, body=both, body_type=MIXED))
        assert desk.events() == [Reoffer(dialog_id, SDP)]
        desk.agent.answer_offer(dialog_id, SDP, desk.now)
        assert 200 in codes(desk.drain())
        if method == "INVITE":
            desk.send(desk.within("ACK", dialog_id, cseq=number, branch="ack2"))
    only = body(isup("optional"))
    desk.send(desk.within("INVITE", dialog_id, cseq=4, branch="l", body=only, body_type=MIXED))
    assert desk.events() == [Reoffer(dialog_id, None)]


def test_an_ack_and_a_prack_with_several_parts() -> None:
    both = body(isup("required"), SESSION)
    desk = Desk()
    late = desk.incoming(body=b"")
    desk.agent.accept(late, SDP, desk.now)
    desk.drain()
    desk.send(desk.within("ACK", late, cseq=1, body=both, body_type=MIXED))
    assert desk.events() == [Answered(late, SDP)], "nobody can refuse an ACK"
    early = desk.incoming(call_id="e", branch="e", headers=(("Supported", "100rel"),))
    desk.agent.progress(early, 183, SDP, desk.now)
    (ringing,) = desk.drain()
    rack = (("RAck", f"{ringing.headers.get('RSeq')} 1 INVITE"),)
    both = body(SESSION, isup())
    fields = {"call_id": "e", "headers": rack, "body": both, "body_type": MIXED}
    desk.send(desk.within("PRACK", early, **fields))
    assert desk.events() == [Reoffer(early, SDP)]


def test_answers_with_several_parts() -> None:
    desk = Desk()
    dialog_id, invite = desk.calling()
    both = body(SESSION, isup("required"))
    for status in (183, 200):
        answer = answer_to(invite, status, body=both)
        desk.send(
            answer.replace(
                b"Content-Type: application/sdp\r\n", b"c: " + MIXED.encode() + b"\r\n", 1
            )
        )
    assert desk.events() == [Ringing(dialog_id, 183, SDP), Answered(dialog_id, SDP)]
    desk.agent.reinvite(dialog_id, SDP, desk.now)
    asked = [one for one in desk.drain() if isinstance(one, Request) and one.method == "INVITE"]
    broken = answer_to(asked[-1], 200, tag=None, body=both[:-6])
    desk.send(
        broken.replace(b"Content-Type: application/sdp\r\n", b"c: " + MIXED.encode() + b"\r\n", 1)
    )
    assert [getattr(event, "body", 0) for event in desk.events()] == [None]


PIECES = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\n",
            b"\r",
            b"--x",
            b"--x--",
            b"--y",
            b"--y--",
            b" ",
            b"\t",
            b"\0",
            b"\xff",
            b":",
        ),
        *(b"Content-Type: application/sdp", b"Content-Type: multipart/mixed;boundary=y", SDP),
        *(b"Content-Type: multipart/alternative;boundary=x", b"Content-Disposition: a;handling="),
        *(b"required", b"optional", b";", b'"', b"c: application/sdp", ISUP),
    ]
) | st.binary(max_size=8)


@settings(max_examples=400, deadline=None)
@given(
    pieces=st.lists(PIECES, max_size=60),
    kind=st.sampled_from([MIXED, "multipart/alternative;boundary=x", "multipart/x"]) | st.text(),
)
def test_any_body_is_read_or_malformed(pieces: list[bytes], kind: str) -> None:
    text = b"".join(pieces)
    try:
        held = contents(kind, text)
    except MultipartError:
        return
    assert held.session is None or held.session in text


@given(
    st.lists(
        st.tuples(st.sampled_from([SESSION[0], "Content-Type: a/b"]), st.binary()),
        min_size=1,
        max_size=MAX_PARTS,
    )
)
def test_parts_are_read_as_they_were_written(parts: list[tuple[str, bytes]]) -> None:
    boundary = "not-in-any-of-them"
    sessions = [text for head, text in parts if head == SESSION[0] and text]
    held = contents(f"multipart/mixed;boundary={boundary}", body(*parts, boundary=boundary))
    spare = all(head == SESSION[0] for head, _ in parts)
    assert held == Contents(sessions[0] if sessions else None, False, spare)


def test_the_longest_bodies_are_read_in_no_time() -> None:
    """One look at each line and each level, however it is nested."""
    inner = b"\n" * 20_000 + b"--x" * 10_000
    for _ in range(20):
        inner = b"--x\nc: multipart/mixed;boundary=x\n\n" + inner
    for text in (inner, b"\r\n\t" * 20_000, b"--x\r\n" + b"a:b\r\n\t" * 10_000 + b"\r\n--x--"):
        started = time.perf_counter()
        with suppress(MultipartError):
            contents(MIXED, text)
        assert time.perf_counter() - started < 0.5
