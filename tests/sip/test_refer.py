"""REFER in a dialog of ours: every answer, every report, and who may not send us one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.auth import Credentials
from gateway.sip.events import Answered, CallEnded, ReferAnswered, ReferProgress
from gateway.sip.message import Message, Request, Response
from gateway.sip.refer import reported_status
from tests.sip.raw import PEER, PEER_TCP, SDP, Desk, answer_to, codes, notify, request

pytestmark = pytest.mark.pure

TARGET = "sip:carol@example.com"
RINGING, BUSY, REACHED = "SIP/2.0 180 Ringing\r\n", "SIP/2.0 486 Busy Here", "SIP/2.0 200 OK\r\n"


def only_request(said: list[Message]) -> Request:
    (message,) = said
    assert isinstance(message, Request)
    return message


def only_response(said: list[Message]) -> Response:
    (message,) = said
    assert isinstance(message, Response)
    return message


def referring(desk: Desk, target: str = TARGET) -> tuple[str, Request]:
    """A call that came in, and the REFER in it."""
    dialog_id = desk.confirmed()
    return dialog_id, refer(desk, dialog_id, target)


def refer(desk: Desk, dialog_id: str, target: str = TARGET) -> Request:
    desk.agent.refer(dialog_id, target, desk.now)
    return only_request(desk.drain())


def test_the_refer_and_a_transfer_that_succeeds() -> None:
    desk = Desk()
    dialog_id, asked = referring(desk, "sip:carol@example.com?Replaces=a")
    assert desk.addresses == [PEER]
    assert (asked.method, asked.uri) == ("REFER", "sip:bob@192.0.2.9:5062")
    assert asked.headers.get("Refer-To") == "<sip:carol@example.com?Replaces=a>"
    assert asked.headers.get("Referred-By") == "<sip:agent@192.0.2.1>"
    assert asked.headers.get("Contact") == "<sip:192.0.2.1:5060>"
    assert asked.headers.get("From") == f"<sip:agent@192.0.2.1>;tag={dialog_id}"
    assert asked.headers.get("To") == "<sip:bob@192.0.2.9>;tag=bob"
    assert asked.headers.get("CSeq") == "1 REFER"
    assert desk.send(answer_to(asked, 100, tag=None)) == []
    assert desk.send(answer_to(asked, 202, tag=None)) == []
    assert codes(desk.send(notify(desk, dialog_id, "SIP/2.0 100 Trying", branch="n1"))) == [200]
    last = notify(desk, dialog_id, REACHED, "terminated;reason=noresource", cseq=3, branch="n2")
    assert codes(desk.send(last)) == [200]
    assert codes(desk.send(last)) == [200], "a copy"
    assert desk.events() == [
        ReferAnswered(dialog_id, 202),
        ReferProgress(dialog_id, 100, False),
        ReferProgress(dialog_id, 200, True),
    ]
    desk.agent.hang_up(dialog_id, desk.now)
    bye = only_request(desk.drain())
    assert bye.headers.get("CSeq") == "2 BYE"
    desk.send(answer_to(bye, 200, tag=None))
    desk.wait(40)
    assert desk.is_empty


@pytest.mark.parametrize("target", ["tel:+4930123456", "sips:c@h", "sip:+49@h;user=phone", "x:y"])
def test_targets(target: str) -> None:
    _, asked = referring(Desk(), target)
    assert asked.headers.get_all("Refer-To") == [f"<{target}>"]


@pytest.mark.parametrize(
    "target",
    [
        *("carol", "", "sip:", "sip:a b@h", "sip:ü@h"),
        *("sip:c@h>\r\nX: y", "sip:c@h\nX: y", "sip:c@h>,<sip:d@h", "sip:c@h>;x=<y"),
        f"sip:{'c' * 8190}@h",
    ],
)
@pytest.mark.parametrize("is_up", [True, False])
def test_what_cannot_be_sent(target: str, is_up: bool) -> None:
    desk = Desk()
    dialog_id = desk.confirmed() if is_up else "none"
    with pytest.raises(ValueError, match="."):
        desk.agent.refer(dialog_id, target, desk.now)
    assert desk.drain() == []
    if is_up:
        assert refer(desk, dialog_id).headers.get("CSeq") == "1 REFER", "no number was used up"


def test_of_a_call_of_ours() -> None:
    desk = Desk()
    dialog_id, invite = desk.calling()
    desk.agent.refer(dialog_id, TARGET, desk.now)
    assert desk.drain() == [], "not before the answer"
    desk.send(answer_to(invite, 200, body=SDP))
    asked = refer(desk, dialog_id)
    assert asked.uri == "sip:callee@192.0.2.9:5062"
    assert asked.headers.get("Referred-By") == "<sip:me@192.0.2.1>"
    desk.send(answer_to(asked, 202, tag=None))
    assert desk.events() == [Answered(dialog_id, SDP), ReferAnswered(dialog_id, 202)]


@pytest.mark.parametrize("status", [300, 401, 403, 405, 407, 420, 501, 503, 603])
def test_refused(status: int) -> None:
    desk = Desk()
    dialog_id, asked = referring(desk)
    desk.send(answer_to(asked, status, tag=None))
    assert desk.events() == [ReferAnswered(dialog_id, status)]
    assert desk.status(notify(desk, dialog_id, REACHED)) == 481, "nothing was subscribed to"
    assert desk.events() == []
    assert refer(desk, dialog_id).headers.get("CSeq") == "2 REFER"


def test_when_the_dialog_is_gone() -> None:
    desk = Desk()
    dialog_id, asked = referring(desk)
    assert codes(desk.send(answer_to(asked, 481, tag=None))) == ["BYE"]
    assert desk.events() == [ReferAnswered(dialog_id, 481), CallEnded(dialog_id, "refused", 481)]


def test_when_nobody_answers_the_call_goes_on() -> None:
    desk = Desk()
    dialog_id, _ = referring(desk)
    assert codes([one for _, one in desk.wait(32)]) == ["REFER"] * 10
    assert desk.events() == [ReferAnswered(dialog_id, 408)]
    assert refer(desk, dialog_id).headers.get("CSeq") == "2 REFER"


def test_when_the_answer_is_lost_but_reports_come() -> None:
    desk = Desk()
    dialog_id, _ = referring(desk)
    desk.send(notify(desk, dialog_id, BUSY, "terminated"))
    desk.wait(32)
    assert desk.events() == [ReferAnswered(dialog_id, 202), ReferProgress(dialog_id, 486, True)]
    assert refer(desk, dialog_id).method == "REFER"


def test_when_the_connection_breaks() -> None:
    desk = Desk()
    dialog_id = desk.confirmed(PEER_TCP, via="SIP/2.0/TCP 192.0.2.9:5062;branch=z9hG4bK1;rport")
    refer(desk, dialog_id)
    assert desk.addresses == [PEER_TCP]
    desk.agent.transport_failed(PEER_TCP, desk.now)
    assert desk.events() == [ReferAnswered(dialog_id, 503)]


class TestReports:
    def test_before_the_answer(self) -> None:
        desk = Desk()
        dialog_id, asked = referring(desk)
        assert desk.status(notify(desk, dialog_id, RINGING)) == 200
        desk.send(answer_to(asked, 202, tag=None))
        assert desk.events() == [
            ReferAnswered(dialog_id, 202),
            ReferProgress(dialog_id, 180, False),
        ]

    def test_before_an_answer_that_contradicts(self) -> None:
        desk = Desk()
        dialog_id, first = referring(desk)
        assert desk.status(notify(desk, dialog_id, BUSY, "terminated")) == 200
        second = refer(desk, dialog_id)
        desk.events()
        for status in (202, 481):
            desk.send(answer_to(first, status, tag=None))
        assert desk.events() == []
        desk.send(answer_to(second, 603, tag=None))
        assert desk.events() == [ReferAnswered(dialog_id, 603)]
        late = notify(desk, dialog_id, REACHED, event="refer;id=1", cseq=3, branch="late")
        assert desk.status(late) == 200
        assert desk.events() == []

    def test_after_the_last(self) -> None:
        desk = Desk()
        dialog_id, asked = referring(desk)
        desk.send(answer_to(asked, 202, tag=None))
        desk.send(notify(desk, dialog_id, BUSY, "terminated", branch="n1"))
        desk.events()
        late = notify(desk, dialog_id, REACHED, "terminated", cseq=3, branch="n2")
        assert desk.status(late) == 200
        assert desk.events() == []

    def test_one_that_was_overtaken(self) -> None:
        desk = Desk()
        dialog_id, _ = referring(desk)
        desk.send(notify(desk, dialog_id, BUSY, "terminated", cseq=3, branch="n2"))
        assert desk.status(notify(desk, dialog_id, RINGING, cseq=2, branch="n1")) == 500
        assert desk.events()[1:] == [ReferProgress(dialog_id, 486, True)]

    def test_of_two_refers_one_after_the_other(self) -> None:
        desk = Desk()
        dialog_id, first = referring(desk)
        desk.send(answer_to(first, 202, tag=None))
        second = refer(desk, dialog_id, "sip:dave@example.com")
        desk.send(answer_to(second, 202, tag=None))
        desk.events()
        for cseq, (event, told) in enumerate(
            [
                ("refer;id=1", []),
                ("refer;id=2", [ReferProgress(dialog_id, 180, False)]),
                ("refer", [ReferProgress(dialog_id, 180, False)]),
                ("REFER ; id=2", [ReferProgress(dialog_id, 180, False)]),
            ],
            start=2,
        ):
            report = notify(desk, dialog_id, RINGING, event=event, cseq=cseq, branch=f"n{cseq}")
            assert desk.status(report) == 200
            assert desk.events() == told
        strange = notify(desk, dialog_id, RINGING, event="refer;id=3", cseq=9, branch="x")
        assert desk.status(strange) == 481

    @pytest.mark.parametrize("answer", [202, 603, 481])
    def test_a_second_refer_takes_the_place_of_one_that_was_not_answered(self, answer: int) -> None:
        desk = Desk()
        dialog_id, first = referring(desk)
        second = refer(desk, dialog_id, "sip:dave@example.com")
        assert [one.headers.get("CSeq") for one in (first, second)] == ["1 REFER", "2 REFER"]
        late = answer_to(first, answer, tag=None)
        of_first = notify(desk, dialog_id, REACHED, "terminated", event="refer;id=1", branch="n1")
        assert (desk.send(late), desk.status(of_first), desk.events()) == ([], 200, [])
        desk.send(answer_to(second, 202, tag=None))
        for number, (fragment, state) in enumerate([(RINGING, "active"), (BUSY, "terminated")], 3):
            report = notify(
                desk,
                dialog_id,
                fragment,
                state,
                event="refer;id=2",
                cseq=number,
                branch=f"n{number}",
            )
            assert desk.status(report) == 200
        assert desk.events() == [
            ReferAnswered(dialog_id, 202),
            ReferProgress(dialog_id, 180, False),
            ReferProgress(dialog_id, 486, True),
        ]

    def test_the_first_is_not_said_again(self) -> None:
        """Neither because it was lost, nor because it was challenged."""
        desk = Desk()
        dialog_id, invite = desk.calling(credentials=Credentials("me", "hunter2", "r"))
        desk.send(answer_to(invite, 200, body=SDP))
        desk.events()
        first = refer(desk, dialog_id)
        refer(desk, dialog_id, "sip:dave@example.com")
        challenge = ("WWW-Authenticate", 'Digest realm="r", nonce="n"')
        assert desk.send(answer_to(first, 401, tag=None, headers=(challenge,))) == []
        said = [one for _, one in desk.wait(40)]
        targets = {one.headers.get("Refer-To") for one in said}
        assert (codes(said), targets) == (["REFER"] * 10, {"<sip:dave@example.com>"})
        assert desk.events() == [ReferAnswered(dialog_id, 408)]

    def test_of_many_only_the_latest_is_under_way(self) -> None:
        desk = Desk()
        dialog_id, _ = referring(desk)
        for _ in range(30):
            latest = refer(desk, dialog_id)
            assert desk.agent.unanswered == 1
        assert desk.status(notify(desk, dialog_id, BUSY, event="refer;id=1")) == 481
        desk.send(answer_to(latest, 603, tag=None))
        assert desk.events() == [ReferAnswered(dialog_id, 603)]

    @pytest.mark.parametrize(
        ("changes", "status", "header"),
        [
            ({"event": None}, 489, ("Allow-Events", "refer")),
            ({"event": ""}, 489, ("Allow-Events", "refer")),
            ({"event": "refer;id"}, 481, None),
            ({"event": "refer;<"}, 489, ("Allow-Events", "refer")),
            ({"event": "message-summary"}, 489, ("Allow-Events", "refer")),
            ({"state": None}, 400, None),
            ({"state": ""}, 400, None),
            ({"state": ";reason=x"}, 400, None),
            ({"state": "act ive"}, 400, None),
        ],
    )
    def test_that_break_the_rules(
        self, changes: dict[str, str | None], status: int, header: tuple[str, str] | None
    ) -> None:
        desk = Desk()
        dialog_id, _ = referring(desk)
        answer = only_response(desk.send(notify(desk, dialog_id, BUSY, **changes)))
        assert answer.status == status
        if header is not None:
            assert answer.headers.get(header[0]) == header[1]
        assert desk.events() == []

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"", None),
            (b"SIP/2.0 ", None),
            (b"SIP/2.0 99 x", None),
            (b"SIP/2.0 700 x", None),
            (b"SIP/2.0 2000 x", None),
            (b"INVITE sip:a SIP/2.0", None),
            (b"\xff\x00", None),
            (b"Contact: <sip:a>", None),
            (b"SIP/2.0 503", 503),
            (b"sip/2.0 486 \xff\r\nX: \x00", 486),
            (b"\r\nSIP/2.0 200 OK\r\n\r\n", 200),
            (b"SIP/2.0 404\nx", 404),
        ],
    )
    def test_bodies(self, body: bytes, status: int | None) -> None:
        desk = Desk()
        dialog_id, _ = referring(desk)
        assert desk.status(notify(desk, dialog_id, body, "terminated")) == 200
        assert desk.events()[1:] == [ReferProgress(dialog_id, status, True)]

    @pytest.mark.parametrize("body_type", ["text/plain", "application/sdp", None])
    def test_another_type_of_body(self, body_type: str | None) -> None:
        desk = Desk()
        dialog_id, _ = referring(desk)
        report = notify(desk, dialog_id, REACHED, "Terminated", body_type=body_type)
        answer = only_response(desk.send(report))
        assert (answer.status, answer.headers.get("Accept")) == (415, "message/sipfrag")
        assert desk.events()[1:] == [ReferProgress(dialog_id, None, True)], (
            "that it is over is clear"
        )

    def test_without_a_refer(self) -> None:
        desk = Desk()
        dialog_id = desk.confirmed()
        assert desk.status(notify(desk, dialog_id, REACHED)) == 481
        early = desk.incoming(call_id="early", branch="early")
        assert desk.status(notify(desk, early, REACHED, call_id="early", branch="e2")) == 481
        events = (("Event", "refer"), ("Subscription-State", "active"))
        assert desk.status(request("NOTIFY", headers=events, branch="x")) == 481
        assert desk.events() == []

    def test_after_we_hung_up(self) -> None:
        desk = Desk()
        dialog_id, asked = referring(desk)
        desk.send(answer_to(asked, 202, tag=None))
        desk.agent.hang_up(dialog_id, desk.now)
        (bye,) = desk.drain()
        desk.events()
        assert desk.status(notify(desk, dialog_id, REACHED, "terminated")) == 481
        assert desk.events() == []
        desk.send(answer_to(bye, 200, tag=None))
        desk.wait(40)
        assert desk.is_empty


def test_the_peer_hangs_up_before_it_answers() -> None:
    desk = Desk()
    dialog_id, asked = referring(desk)
    assert desk.status(desk.within("BYE", dialog_id)) == 200
    assert desk.send(answer_to(asked, 202, tag=None)) == []
    assert desk.events() == [CallEnded(dialog_id, "remote_bye", None)]
    desk.agent.refer(dialog_id, TARGET, desk.now)
    assert desk.drain() == []
    desk.wait(40)
    assert desk.is_empty


def test_the_peer_hangs_up_and_never_answers() -> None:
    desk = Desk()
    dialog_id, _ = referring(desk)
    desk.send(desk.within("BYE", dialog_id))
    desk.wait(40)
    assert desk.events() == [CallEnded(dialog_id, "remote_bye", None)]
    assert desk.is_empty


def test_a_reinvite_is_not_in_the_way() -> None:
    desk = Desk()
    dialog_id, asked = referring(desk)
    desk.agent.reinvite(dialog_id, SDP, desk.now)
    again = only_request(desk.drain())
    assert again.headers.get("CSeq") == "2 INVITE"
    desk.send(answer_to(asked, 202, tag=None))
    assert codes(desk.send(answer_to(again, 200, tag=None, body=SDP))) == ["ACK"]
    assert desk.status(notify(desk, dialog_id, REACHED, event="refer;id=1")) == 200
    assert desk.events()[-1] == ReferProgress(dialog_id, 200, False)


@pytest.mark.parametrize("within", [True, False])
def test_nobody_sends_us_elsewhere(within: bool) -> None:
    desk = Desk()
    fields = {"headers": (("Refer-To", "<sip:premium@192.0.2.66>"),)}
    dialog_id = desk.confirmed()
    data = desk.within("REFER", dialog_id, **fields) if within else request("REFER", **fields)  # type: ignore[arg-type]
    answer = only_response(desk.send(data))
    assert answer.status == 405
    assert "REFER" not in (answer.headers.get("Allow") or "")
    assert desk.events() == []


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda end: b"SIP/2.0 200" + end))
def test_a_fragment_of_any_bytes(body: bytes) -> None:
    status = reported_status(body)
    assert status is None or 100 <= status <= 699


TEXT = st.text(max_size=30) | st.sampled_from(["refer", "active", "message/sipfrag", 'a;id="', ""])


@settings(max_examples=300, deadline=None)
@given(event=TEXT, state=TEXT, kind=TEXT, body=st.binary(max_size=100))
def test_a_report_of_any_text(event: str, state: str, kind: str, body: bytes) -> None:
    desk = Desk()
    dialog_id, _ = referring(desk)
    headers = [f"Event: {event}", f"Subscription-State: {state}", f"Content-Type: {kind}"]
    whole = desk.within("NOTIFY", dialog_id).decode()
    data = whole.replace(
        "Content-Length: 0", "\r\n".join([*headers, f"Content-Length: {len(body)}"])
    )
    desk.agent.receive(data.encode("utf-8", "replace") + body, PEER, desk.now)
    said = codes(desk.drain())
    assert len(said) <= 1
    told = desk.events()
    assert all(isinstance(event, ReferAnswered | ReferProgress) for event in told)
    assert not told or said in ([200], [415])
