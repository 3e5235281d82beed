"""The parser on all torture messages of RFC 4475, and on ten thousand mutations of them."""

import random

import pytest

from gateway.sip.errors import SipError
from gateway.sip.headers import CSeq, name_addrs, top_via, words
from gateway.sip.message import Message, Request, Response
from gateway.sip.parse import parse
from gateway.sip.stream import StreamFramer
from gateway.sip.uri import NameAddr, SipUri, uri_scheme
from tests.sip.raw import vias
from tests.sip.rfc4475 import CASES, FOLDER, torture

pytestmark = pytest.mark.pure

VALID = [name for name, case in CASES.items() if case.parse is None]
BROKEN = [name for name, case in CASES.items() if case.parse is not None]


def request(name: str) -> Request:
    message = parse(torture(name))
    assert isinstance(message, Request)
    return message


def without_length(message: Message) -> list[tuple[str, str]]:
    lengths = ("content-length", "l")
    return [pair for pair in message.headers.items() if pair[0].lower() not in lengths]


def test_the_table_leaves_no_file_out() -> None:
    if not FOLDER.is_dir():
        pytest.skip(f"the RFC 4475 messages are not at {FOLDER}")
    assert {path.stem for path in FOLDER.glob("*.dat")} == set(CASES)


@pytest.mark.parametrize("name", VALID)
def test_valid_is_understood_and_survives_a_round_trip(name: str) -> None:
    message = parse(torture(name))
    again = parse(message.to_bytes())
    assert type(again) is type(message)
    assert again.body == message.body
    assert without_length(again) == without_length(message)
    if isinstance(message, Request):
        assert isinstance(again, Request)
        assert (again.method, again.uri) == (message.method, message.uri)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_gets_its_status(name: str) -> None:
    case = CASES[name]
    with pytest.raises(SipError) as caught:
        parse(torture(name))
    assert caught.value.status == case.parse
    assert case.reason in caught.value.reason
    refused = caught.value.request
    assert (refused is not None) == (case.answer is not None)
    if refused is not None and name != "insuf":
        # Everything that the answer echoes is there.
        for header in ("Via", "From", "To", "Call-ID", "CSeq"):
            assert refused.headers.get(header), header


def test_wsinv_blanks_folds_and_short_names() -> None:
    message = request("wsinv")
    assert message.uri == "sip:vivekg@chair-dnrc.example.com;unknownparam"
    caller = NameAddr.parse(message.headers.get("From") or "")
    assert caller.display == 'J Rosenberg \\"'
    assert caller.tag == "98asjd8"
    callee = NameAddr.parse(message.headers.get("to") or "")
    assert (callee.uri, callee.tag) == ("sip:vivekg@chair-dnrc.example.com", "1918181833n")
    assert CSeq.parse(message.headers.get("CSeq") or "") == CSeq(9, "INVITE")
    assert message.headers.get("Subject") == ""
    assert message.headers.get("NewFangledHeader") == "newfangled value continued newfangled value"
    hops = [(via.transport, via.host, via.branch) for via in vias(message.headers)]
    assert hops == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    contact = name_addrs(message.headers, "Contact")[0]
    assert contact.display == 'Quoted string ""'
    assert contact.params == (("newparam", "newvalue"), ("secondparam", None), ("q", "0.33"))
    assert len(message.body) == 150


def test_intmeth_odd_characters() -> None:
    message = request("intmeth")
    assert message.method == "!interesting-Method0123456789_*+`.%indeed'~"
    uri = SipUri.parse(message.uri)
    assert uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    # The escaped controls are gone: no answer may carry them.
    assert NameAddr.parse(message.headers.get("To") or "").display == (
        "BEL:\ufffd NUL:\ufffd DEL:\ufffd"
    )
    caller = NameAddr.parse(message.headers.get("From") or "")
    assert caller.display == "token1~` token2'+_ token3*%!.-"
    assert caller.param("fromparam''~+*_!.-%") == '"работающий"'
    assert caller.tag == "_token~1'+`*%!-."
    assert message.headers.get("extensionheader-!.%*+_`'~") == "\ufeff大停電"


def test_escapes_stay_as_they_came() -> None:
    assert SipUri.parse(request("esc01").uri).user == "sips%3Auser%40example.com"
    assert name_addrs(request("esc01").headers, "Contact")[0].uri == (
        "sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31"
    )
    strange = request("esc02")
    assert strange.method == "RE%47IST%45R"
    assert len(name_addrs(strange.headers, "Contact")) == 2
    assert NameAddr.parse(strange.headers.get("To") or "").display == "%Z%45"
    assert name_addrs(request("escnull").headers, "Contact")[1].sip_uri().user == "%00%00"
    assert SipUri.parse(request("semiuri").uri).user == "user;par=u%40example.net"
    assert words(request("semiuri").headers, "Accept")[2] == "multipart/mixed"


def test_parameters_belong_to_header_or_uri() -> None:
    outside = name_addrs(request("cparam01").headers, "Contact")[0]
    assert outside.params == (("unknownparam", None),)
    inside = name_addrs(request("cparam02").headers, "Contact")[0]
    assert inside.params == ()
    assert inside.sip_uri().params == (("unknownparam", None),)
    escaped = name_addrs(request("regescrt").headers, "Contact")[0]
    assert escaped.sip_uri().headers == "Route=%3Csip:sip.example.com%3E"


def test_other_valid_details() -> None:
    assert NameAddr.parse(request("lwsdisp").headers.get("From") or "").display == "caller"
    assert len(vias(request("longreq").headers)) == 34
    assert [via.transport for via in vias(request("transports").headers)] == [
        "UDP",
        "SCTP",
        "TLS",
        "UNKNOWN",
        "TCP",
    ]
    assert request("dblreq").body == b""
    assert len(request("mpart01").body) == 553
    unreason = parse(torture("unreason"))
    assert isinstance(unreason, Response)
    assert unreason.reason.startswith("= 2**3 * 5**2 но")
    noreason = parse(torture("noreason"))
    assert isinstance(noreason, Response)
    assert (noreason.status, noreason.reason) == (100, "")
    assert uri_scheme(request("novelsc").uri) == "soap.beep"
    assert uri_scheme(request("unkscm").uri) == "nobodyknowsthisscheme"
    assert NameAddr.parse(request("unksm2").headers.get("To") or "").uri == "isbn:2983792873"
    old = request("inv2543")
    assert top_via(old.headers).branch is None
    assert old.headers.get("Max-Forwards") is None


def test_a_display_name_with_a_comma_is_refused_for_what_it_is() -> None:
    with pytest.raises(SipError, match="Malformed From Header"):
        parse(torture("baddn") + b"\r\n")


def test_as_a_stream() -> None:
    two = StreamFramer().feed(torture("dblreq"))
    for cseq in ("8 REGISTER", "8 INVITE"):
        assert parse(next(two)).headers.get("CSeq") == cseq
    with pytest.raises(SipError):  # the second body is one byte longer than it says
        next(two)
    assert list(StreamFramer().feed(torture("clerr"))) == []  # the rest may still come
    for name, reason in (
        ("ncl", "Malformed Content-Length Header"),
        ("mcl01", "Multiple Content-Length Headers"),
        ("inv2543", "Missing Content-Length Header"),
    ):
        with pytest.raises(SipError, match=f"400 {reason}") as caught:
            list(StreamFramer().feed(torture(name)))
        assert caught.value.request is not None


def mutated(data: bytes, donor: bytes, dice: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 4, 16))):
        at = dice.randrange(len(changed) + 1)
        length = dice.choice((1, 1, 2, 4, 32))
        match dice.randrange(6):
            case 0:
                changed[at : at + 1] = bytes((dice.randrange(256),))
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = dice.choice(
                    (b"\r\n", b"\r", b"\n", b"\0", b'"', b"<", b">", b",", b";", b":", b"%", b" ")
                )
            case 3:
                changed[at:at] = changed[at : at + length] * dice.choice((1, 2, 300))
            case 4:
                start = dice.randrange(len(donor))
                changed[at : at + length] = donor[start : start + length]
            case _:
                changed = changed[:at] or changed
    return bytes(changed)


def test_mutations_raise_nothing_else() -> None:
    originals = [torture(name) for name in CASES]
    dice = random.Random(4475)
    understood = refused = 0
    for _ in range(10_000):
        data = mutated(dice.choice(originals), dice.choice(originals), dice)
        try:
            message = parse(data)
        except SipError as error:
            refused += 1
            assert error.status in (400, 414, 501, 505, 513)
            continue
        understood += 1
        again = parse(message.to_bytes())
        assert again.body == message.body
        assert without_length(again) == without_length(message)
    assert understood > 1000
    assert refused > 1000


def test_mutated_streams_raise_nothing_else() -> None:
    originals = [torture(name) for name in CASES]
    dice = random.Random(3261)
    for _ in range(1_000):
        framer = StreamFramer()
        try:
            for _ in range(3):
                data = mutated(dice.choice(originals), dice.choice(originals), dice)
                for whole in framer.feed(data):
                    try:
                        parse(whole)
                    except SipError:
                        continue
        except SipError as error:
            assert error.status in (400, 513)
            assert list(framer.feed(b"OPTIONS")) == []
