"""What a peer may ask for besides offers, and what we may add to messages of ours: INFO, REFER,
Replaces, the contacts of a 3xx, headers of the application's choice; message by message."""

from urllib.parse import unquote

import pytest

from gateway.sip.events import (
    CallEnded,
    IncomingCall,
    InfoAnswered,
    InfoReceived,
    ReferReceived,
    SipEvent,
)
from gateway.sip.message import Message, Request
from gateway.sip.uri import NameAddr
from tests.sip.raw import SDP, Desk, answer_to, codes, request

pytestmark = pytest.mark.pure

RELAY = "application/dtmf-relay"

# INFO (RFC 6086).

INFOS: list[tuple[dict[str, object], int, tuple[str, str] | None]] = [
    ({"body": b"Signal=5\r\n", "body_type": RELAY}, 200, None),
    ({"body": b"5", "body_type": "Application/DTMF;a=b"}, 200, None),
    ({}, 200, None),
    ({"body": b"x", "body_type": "text/plain"}, 415, ("Accept", f"{RELAY}, application/dtmf")),
    ({"body": b"x", "body_type": None}, 415, ("Accept", f"{RELAY}, application/dtmf")),
    (
        {"body": b"5", "body_type": RELAY, "headers": (("Content-Encoding", "gzip"),)},
        415,
        ("Accept-Encoding", "identity"),
    ),
    (
        {
            "body": b"x",
            "body_type": "text/plain",
            "headers": (("Content-Disposition", "render;handling=optional"),),
        },
        200,
        None,
    ),
    ({"headers": (("Info-Package", "conf"),)}, 469, ("Recv-Info", "")),
]


@pytest.mark.parametrize(("changes", "status", "header"), INFOS)
def test_info(changes: dict[str, object], status: int, header: tuple[str, str] | None) -> None:
    desk = Desk()
    (answer,) = desk.send(desk.within("INFO", desk.confirmed(), **changes))
    assert codes([answer]) == [status]
    if header is not None:
        assert answer.headers.get(header[0]) == header[1]
    keys = [event for event in desk.events() if isinstance(event, InfoReceived)]
    wanted = status == 200 and bool(changes.get("body")) and "headers" not in changes
    assert [key.body for key in keys] == ([changes["body"]] if wanted else [])
    assert all(key.content_type in (RELAY, "application/dtmf") for key in keys)


@pytest.mark.parametrize("method", ["INFO", "UPDATE", "PRACK", "NOTIFY", "BYE"])
def test_outside_a_dialog_there_is_nothing_to_say(method: str) -> None:
    desk = Desk()
    assert desk.status(request(method)) == 481
    assert desk.is_empty


@pytest.mark.parametrize("method", ["MESSAGE", "SUBSCRIBE", "PUBLISH", "REGISTER", "REFER"])
def test_what_we_know_and_do_not_serve(method: str) -> None:
    desk = Desk()
    for message in (request(method), desk.within(method, desk.confirmed())):
        (answer,) = desk.send(message)
        assert codes([answer]) == [405]
        assert "INVITE" in (answer.headers.get("Allow") or "")


@pytest.mark.parametrize(("status", "told"), [(200, 200), (415, 415), (481, 481)])
def test_an_info_of_ours(status: int, told: int) -> None:
    desk = Desk()
    dialog_id = desk.confirmed()
    desk.agent.info(dialog_id, RELAY, b"Signal=1\r\n", desk.now)
    (info,) = desk.drain()
    assert isinstance(info, Request)
    assert (info.method, info.headers.get("Content-Type"), info.body) == (
        "INFO",
        RELAY,
        b"Signal=1\r\n",
    )
    desk.send(answer_to(info, status, tag=None))
    assert desk.events() == [InfoAnswered(dialog_id, told)]


# REFER of the peer (RFC 3515, RFC 4488).


def asked(desk: Desk, dialog_id: str, *headers: tuple[str, str], cseq: int = 2) -> list[Message]:
    fields = {"cseq": cseq, "branch": f"r{cseq}", "headers": headers}
    return desk.send(desk.within("REFER", dialog_id, **fields))


def reports(said: list[Message]) -> list[tuple[str, str]]:
    """Subscription-State and body of each NOTIFY."""
    notifies = [one for one in said if isinstance(one, Request) and one.method == "NOTIFY"]
    assert all(one.headers.get("Event") == "refer;id=2" for one in notifies)
    return [(one.headers.get("Subscription-State") or "", one.body.decode()) for one in notifies]


def test_a_refer_from_its_beginning_to_its_end() -> None:
    desk = Desk(accept_refer=True)
    dialog_id = desk.confirmed()
    assert asked(desk, dialog_id, ("Refer-To", "<sip:x@h?Replaces=a%3Bb>"), ("X-A", "1")) == []
    (event,) = desk.events()
    assert isinstance(event, ReferReceived)
    assert (event.refer_id, event.target_uri) == ("2", "sip:x@h?Replaces=a%3Bb")
    assert ("X-A", "1") in event.headers
    desk.agent.answer_refer(dialog_id, "2", 200, desk.now)
    said = desk.drain()
    assert codes(said) == [202, "NOTIFY"]
    assert said[1].headers.get("Content-Type") == "message/sipfrag;version=2.0"
    assert reports(said) == [("active;expires=180", "SIP/2.0 100 Trying\r\n")]
    desk.send(answer_to(said[1], 200, tag=None))
    desk.wait(20)
    desk.agent.report_refer(dialog_id, "2", 180, False, desk.now)
    said = desk.drain()
    assert reports(said) == [("active;expires=160", "SIP/2.0 180 Ringing\r\n")]
    desk.send(answer_to(said[0], 200, tag=None))
    desk.agent.report_refer(dialog_id, "2", 486, True, desk.now)
    said = desk.drain()
    assert reports(said) == [("terminated;reason=noresource", "SIP/2.0 486 Busy Here\r\n")]
    desk.send(answer_to(said[0], 200, tag=None))
    desk.agent.report_refer(dialog_id, "2", 200, True, desk.now)
    assert desk.drain() == [], "the last was the last"
    assert desk.wait(300) == []


def test_a_number_is_good_for_one_request() -> None:
    """Two REFERs under one number would be one to us, and one of them would never be answered."""
    desk = Desk(accept_refer=True)
    dialog_id = desk.confirmed()
    target = ("Refer-To", "<sip:x@h>")
    assert asked(desk, dialog_id, target) == []
    for number in range(50):
        again = desk.within("REFER", dialog_id, branch=f"again{number}", headers=(target,))
        (refusal,) = desk.send(again)
        assert codes([refusal]) == [500]
        assert 0 <= int(refusal.headers.get("Retry-After") or "") <= 10
    assert [type(event) for event in desk.events()] == [ReferReceived]
    for method in ("INFO", "UPDATE", "OPTIONS", "NOTIFY", "INVITE"):
        assert desk.status(desk.within(method, dialog_id)) == 500
    assert codes(desk.send(desk.within("BYE", dialog_id))) == [200, 487], "the call is to be over"
    desk.skip(100)
    assert desk.is_empty


def test_who_wants_no_reports_gets_none() -> None:
    desk = Desk(accept_refer=True)
    dialog_id = desk.confirmed()
    norefersub = (("Require", "norefersub"), ("Refer-Sub", "false"))
    asked(desk, dialog_id, ("Refer-To", "sip:x@h"), *norefersub)
    desk.agent.answer_refer(dialog_id, "2", 202, desk.now)
    (answer,) = desk.drain()
    assert (codes([answer]), answer.headers.get("Refer-Sub")) == ([202], "false")
    desk.agent.report_refer(dialog_id, "2", 200, True, desk.now)
    assert desk.drain() == []


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("Refer-To", "<sip:x@h"),),
        (("Refer-To", "<sip:x@h>"), ("Refer-To", "<sip:y@h>")),
        (("Refer-To", "<sip:x@h>, <sip:y@h>"),),
        (("Refer-To", f"<sip:{'x' * 5000}@h>"),),
    ],
)
def test_a_refer_to_nowhere(headers: tuple[tuple[str, str], ...]) -> None:
    desk = Desk(accept_refer=True)
    (answer,) = asked(desk, desk.confirmed(), *headers)
    assert codes([answer]) == [400]
    assert desk.events() == []


def test_only_so_many_at_a_time() -> None:
    desk = Desk(accept_refer=True)
    dialog_id = desk.confirmed()
    for number in range(4):
        assert asked(desk, dialog_id, ("Refer-To", "sip:x@h"), cseq=2 + number) == []
    (answer,) = asked(desk, dialog_id, ("Refer-To", "sip:x@h"), cseq=9)
    assert codes([answer]) == [500] and answer.headers.get("Retry-After")
    assert codes(desk.send(desk.within("BYE", dialog_id, cseq=10))) == [200, 487, 487, 487, 487]
    desk.skip(40)
    assert desk.is_empty


@pytest.mark.parametrize("status", [481, 489, 603])
def test_reports_that_nobody_wants_end(status: int) -> None:
    desk = Desk(accept_refer=True)
    dialog_id = desk.confirmed()
    asked(desk, dialog_id, ("Refer-To", "sip:x@h"))
    desk.agent.answer_refer(dialog_id, "2", 202, desk.now)
    _, notify = desk.drain()
    desk.send(answer_to(notify, status, tag=None))
    desk.agent.report_refer(dialog_id, "2", 180, False, desk.now)
    assert desk.drain() == []


def test_a_refer_that_comes_to_nothing_times_out() -> None:
    desk = Desk(accept_refer=True)
    dialog_id = desk.confirmed()
    asked(desk, dialog_id, ("Refer-To", "sip:x@h"))
    desk.agent.answer_refer(dialog_id, "2", 202, desk.now)
    _, notify = desk.drain()
    desk.send(answer_to(notify, 200, tag=None))
    (when, last), *_ = desk.wait(181)
    assert (when, reports([last])[0][0]) == (180.0, "terminated;reason=timeout")


def test_a_refer_before_the_call_is_up() -> None:
    desk = Desk(accept_refer=True)
    dialog_id = desk.incoming()
    assert codes(asked(desk, dialog_id, ("Refer-To", "sip:x@h"))) == [500]


def test_what_is_told_of_refer_and_replaces() -> None:
    for config, has in (({}, False), ({"accept_refer": True, "accept_replaces": True}, True)):
        (answer,) = Desk(**config).send(request("OPTIONS"))
        assert ("REFER" in (answer.headers.get("Allow") or "")) is has
        supported = (answer.headers.get("Supported") or "").split(", ")
        assert ("replaces" in supported, "norefersub" in supported) == (has, has)


# Replaces (RFC 3891).


def replacing(
    desk: Desk, value: str | None, *more: tuple[str, str]
) -> tuple[list[Message], list[SipEvent]]:
    """What becomes of an INVITE that wants the place of another call."""
    headers = (*((("Replaces", value),) if value is not None else ()), *more)
    caller = "<sip:carol@192.0.2.9>;tag=carol"
    fields = {"call_id": "carol", "branch": "carol", "caller": caller}
    said = desk.send(request("INVITE", body=SDP, headers=headers, **fields))  # type: ignore[arg-type]
    return said, desk.events()


def test_a_call_takes_the_place_of_another() -> None:
    desk = Desk(accept_replaces=True)
    old = desk.confirmed()
    value = f"call-1 ; from-tag=bob;to-tag={old}"
    said, events = replacing(desk, value, ("Require", "replaces"))
    assert codes(said) == [100]
    (event,) = events
    assert isinstance(event, IncomingCall) and event.replaces == old != event.dialog_id


def test_it_is_a_call_like_any_other_unless_that_is_wanted() -> None:
    desk = Desk()
    old = desk.confirmed()
    said, events = replacing(desk, f"call-1;to-tag={old};from-tag=bob")
    assert codes(said) == [100]
    assert isinstance(events[0], IncomingCall) and events[0].replaces == ""
    assert desk.status(request("INVITE", branch="r", headers=(("Require", "replaces"),))) == 420


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("call-1;to-tag={old};from-tag=eve", 481),
        ("call-2;to-tag={old};from-tag=bob", 481),
        ("call-1;to-tag=nobody;from-tag=bob", 481),
        ("call-1;to-tag={old};from-tag=0", 481),
        ("call-1;to-tag={old};from-tag=bob;early-only", 486),
        ("call-1;to-tag={old}", 400),
        ("call-1;from-tag=bob", 400),
        ("call-1;to-tag;from-tag", 400),
        ("call-1;;", 400),
        ("", 400),
        ("call-1", 400),
    ],
)
def test_a_place_that_cannot_be_had(value: str, status: int) -> None:
    desk = Desk(accept_replaces=True)
    old = desk.confirmed()
    said, events = replacing(desk, value.format(old=old))
    assert (codes(said), events) == ([status], [])


def test_two_places_are_too_many() -> None:
    desk = Desk(accept_replaces=True)
    value = f"call-1;to-tag={desk.confirmed()};from-tag=bob"
    said, _ = replacing(desk, value, ("Replaces", value))
    assert codes(said) == [400]


def test_the_place_of_a_call_that_is_over_or_not_up() -> None:
    desk = Desk(accept_replaces=True)
    old = desk.confirmed()
    desk.agent.hang_up(old, desk.now)
    desk.drain(), desk.events()
    assert codes(replacing(desk, f"call-1;to-tag={old};from-tag=bob")[0]) == [603]
    early = desk.incoming(call_id="e", branch="e")
    assert codes(replacing(desk, f"e;to-tag={early};from-tag=bob")[0]) == [481]


def test_the_place_of_a_call_that_we_make() -> None:
    desk = Desk(accept_replaces=True)
    dialog_id, invite = desk.calling()
    desk.send(answer_to(invite, 180))
    desk.events()
    call_id = invite.headers.get("Call-ID")
    value = f"{call_id};to-tag={dialog_id};from-tag=callee;early-only"
    said, events = replacing(desk, value)
    assert codes(said) == [100]
    assert isinstance(events[0], IncomingCall) and events[0].replaces == dialog_id


def test_the_peer_is_sent_to_another_call() -> None:
    desk = Desk()
    one = desk.confirmed()
    two, invite = desk.calling()
    desk.send(answer_to(invite, 200, body=SDP, contact="<sip:carol@192.0.2.9:5066;x=1>"))
    desk.agent.refer(one, "", desk.now, replaces=two)
    (refer,) = desk.drain()
    uri = NameAddr.parse(refer.headers.get("Refer-To") or "").sip_uri()
    assert (uri.user, uri.port, uri.param("x")) == ("carol", 5066, "1")
    name, _, value = uri.headers.partition("=")
    call_id = invite.headers.get("Call-ID")
    assert (name, unquote(value)) == ("Replaces", f"{call_id};to-tag=callee;from-tag={two}")
    desk.agent.refer(one, "sip:carol@h?X=1", desk.now, replaces=two)
    (refer,) = desk.drain()
    assert "sip:carol@h?X=1&Replaces=" in (refer.headers.get("Refer-To") or "")


def test_where_a_peer_is_reached_is_where_it_said_last() -> None:
    desk = Desk()
    one = desk.confirmed()
    assert desk.agent.remote_target(one) == "sip:bob@192.0.2.9:5062"
    two, invite = desk.calling()
    desk.send(answer_to(invite, 200, body=SDP, contact="<sip:carol@192.0.2.9:5066;x=1>"))
    assert desk.agent.remote_target(two) == "sip:carol@192.0.2.9:5066;x=1"
    assert desk.agent.remote_target("nobody") == ""


def test_no_peer_is_sent_to_what_is_not_up() -> None:
    desk = Desk()
    one = desk.confirmed()
    early = desk.incoming(call_id="e", branch="e")
    for other in (early, "nobody"):
        with pytest.raises(ValueError, match="not up"):
            desk.agent.refer(one, "", desk.now, replaces=other)
    two = desk.confirmed(call_id="two", branch="two")
    for target in ("tel:+1", "sip:x@h?replaces=a"):
        with pytest.raises(ValueError):  # noqa: PT011  # also UriError
            desk.agent.refer(one, target, desk.now, replaces=two)
    assert desk.drain() == []


def test_a_call_of_ours_that_replaces() -> None:
    desk = Desk()
    _, invite = desk.calling(replaces="a@b;to-tag=1;from-tag=2", referred_by="<sip:bob@h>")
    assert invite.headers.get("Replaces") == "a@b;to-tag=1;from-tag=2"
    assert invite.headers.get("Require") == "replaces"
    assert invite.headers.get("Referred-By") == "<sip:bob@h>"


# 3xx.


def test_where_else_the_callee_may_be() -> None:
    desk = Desk()
    dialog_id, invite = desk.calling()
    contacts = (
        ("Contact", "<sip:low@h>;q=0.1, <sip:first@h>, <http://h/>;q=1"),
        ("Contact", '"A, B" <tel:+1555>;q=0.5, <sips:s@h>;q=0.50, <mailto:a@h>'),
        ("Contact", "<sip:odd@h>;q=high"),
    )
    desk.send(answer_to(invite, 302, contact=None, headers=contacts))
    (ended,) = desk.events()
    assert ended == CallEnded(
        dialog_id,
        "refused",
        302,
        ("sip:first@h", "tel:+1555", "sips:s@h", "sip:low@h", "sip:odd@h"),
    )


@pytest.mark.parametrize(("status", "many"), [(300, 8), (486, 0)])
def test_not_too_many_and_of_no_other_refusal(status: int, many: int) -> None:
    desk = Desk()
    _, invite = desk.calling()
    contacts = tuple(("Contact", f"<sip:c{number}@h>") for number in range(20))
    desk.send(answer_to(invite, status, contact=None, headers=contacts))
    (ended,) = desk.events()
    assert isinstance(ended, CallEnded)
    assert ended.contacts == tuple(f"sip:c{number}@h" for number in range(many))


# Headers of the application's choice.

CHOSEN = (("X-Account", "7"), ("X-Account", "8"))


def chosen(message: Message) -> list[str]:
    return message.headers.get_all("X-Account")


def test_headers_on_what_we_send() -> None:
    desk = Desk()
    dialog_id = desk.incoming()
    desk.agent.accept(dialog_id, SDP, desk.now, headers=CHOSEN)
    (answer,) = desk.drain()
    desk.send(desk.within("ACK", dialog_id, cseq=1, branch="ack"))
    desk.agent.refer(dialog_id, "sip:x@h", desk.now, headers=CHOSEN)
    (refer,) = desk.drain()
    desk.agent.hang_up(dialog_id, desk.now, headers=CHOSEN)
    (bye,) = desk.drain()
    for message, kind in ((answer, 200), (refer, "REFER"), (bye, "BYE")):
        assert codes([message]) == [kind]
        assert chosen(message) == ["7", "8"]


def test_headers_of_a_bye_that_has_to_wait() -> None:
    desk = Desk()
    dialog_id = desk.incoming()
    desk.agent.accept(dialog_id, SDP, desk.now)
    desk.agent.hang_up(dialog_id, desk.now, headers=CHOSEN)
    desk.drain()
    (bye,) = desk.send(desk.within("ACK", dialog_id, cseq=1, branch="ack"))
    assert (codes([bye]), chosen(bye)) == (["BYE"], ["7", "8"])
    desk.events()
    early = desk.incoming(call_id="e", branch="e")
    desk.agent.hang_up(early, desk.now, headers=CHOSEN)
    (refusal,) = desk.drain()
    assert (codes([refusal]), chosen(refusal)) == ([480], ["7", "8"])


@pytest.mark.parametrize(
    "name", ["Via", "t", "Session-Expires", "x", "RSeq", "Require", "k", "Replaces", "Event", "X Y"]
)
def test_headers_that_are_ours_to_write(name: str) -> None:
    desk = Desk()
    dialog_id = desk.confirmed()
    for headers in (((name, "1"),), (("X-A", "1\r\nVia: 2"),)):
        with pytest.raises(ValueError):  # noqa: PT011  # the words differ
            desk.agent.accept(dialog_id, SDP, desk.now, headers=headers)
        with pytest.raises(ValueError):  # noqa: PT011
            desk.agent.refer(dialog_id, "sip:x@h", desk.now, headers=headers)
        with pytest.raises(ValueError):  # noqa: PT011
            desk.agent.hang_up(dialog_id, desk.now, headers=headers)
    assert desk.drain() == []
    assert desk.agent.dialogs == 1
