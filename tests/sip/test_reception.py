"""Who is let in: by address, by proof, or not; how slowly strangers are refused; and whom we stop
hearing."""

from ipaddress import ip_network

import pytest

from gateway.sip.auth import Credentials, Login
from gateway.sip.config import SipConfig
from gateway.sip.events import Answered, CallEnded, IncomingCall
from gateway.sip.message import Address, Request, Response
from gateway.sip.parse import parse
from gateway.sip.throttle import ASKED, DEAF_FROM, SLOW_FROM, TELL_AGAIN_S, Notice
from tests.sip.network import tokens
from tests.sip.raw import PEER, SDP, Desk, codes, request

pytestmark = pytest.mark.pure

USERS = {"alice": "s3cret"}


def guarded(**more: object) -> Desk:
    desk = Desk()
    config = SipConfig(host="192.0.2.1", allow=(), users=USERS, realm="line", rate=50, **more)  # type: ignore[arg-type]
    desk.agent = type(desk.agent)(config, token=tokens(3))
    return desk


def fates(desk: Desk) -> list[str]:
    """What became of a source, without what it was refused."""
    return [notice.kind for notice in desk.agent.notices() if notice.kind != "refused"]


def numbered(message: bytes, number: int) -> bytes:
    """The same as a request of its own."""
    return message.replace(b"branch=z9hG4bK1", f"branch=z9hG4bKn{number}".encode())


def challenged(desk: Desk, message: bytes) -> Response:
    (answer,) = desk.send(message)
    assert isinstance(answer, Response) and answer.status == 401
    return answer


def proven(
    message: bytes, answer: Response, password: str = "s3cret", name: str = "alice"
) -> bytes:
    """The same again, as somebody who answers a challenge says it."""
    asked = parse(message)
    assert isinstance(asked, Request)
    login = Login(Credentials(name, password, "line"), PEER.host, tokens(4))
    found = login.answer(asked, answer, PEER.host, ())
    assert found is not None
    header, value, _ = found
    again = message.replace(b"branch=z9hG4bK", b"branch=z9hG4bKagain")
    return again.replace(b"\r\nCall-ID", f"\r\n{header}: {value}\r\nCall-ID".encode(), 1)


def test_only_the_ack_of_nothing_counts_as_dropped() -> None:
    desk = guarded()
    answer = challenged(desk, request("INVITE", body=SDP))
    assert desk.send(request("ACK", to=answer.headers.get("To") or "")) == []
    assert desk.agent.counters.dropped == 0
    assert desk.send(request("ACK", to="<sip:agent@192.0.2.1>;tag=made-up")) == []
    assert desk.agent.counters.dropped == 1


def test_who_proves_who_it_is_may_call_and_is_not_asked_in_the_call() -> None:
    desk = guarded()
    invite = request("INVITE", body=SDP)
    answer = challenged(desk, invite)
    told = answer.headers.get_all("WWW-Authenticate")
    algorithms = [value.split("algorithm=")[1].split(",")[0] for value in told]
    assert algorithms == ["SHA-512-256", "SHA-256", "MD5"]
    assert codes(desk.send(proven(invite, answer))) == [100]
    (incoming,) = desk.events()
    assert isinstance(incoming, IncomingCall)
    desk.agent.accept(incoming.dialog_id, SDP, desk.now)
    desk.drain()
    desk.send(desk.within("ACK", incoming.dialog_id, cseq=1))
    assert desk.status(desk.within("OPTIONS", incoming.dialog_id)) == 200
    assert desk.status(desk.within("BYE", incoming.dialog_id, cseq=3)) == 200


def test_a_cancel_needs_no_proof() -> None:
    desk = guarded()
    invite = request("INVITE", body=SDP)
    again = proven(invite, challenged(desk, invite))
    desk.send(again)
    cancel = again.replace(b"INVITE sip", b"CANCEL sip").replace(b"1 INVITE", b"1 CANCEL")
    cancel = cancel.replace(SDP, b"").replace(b"Content-Type: application/sdp\r\n", b"")
    cancel = cancel.replace(f"Content-Length: {len(SDP)}".encode(), b"Content-Length: 0")
    assert codes(desk.send(cancel)) == [200, 487]


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_a_wrong_password_and_an_unknown_user_look_alike(name: str) -> None:
    desk = guarded()
    invite = request("INVITE", body=SDP)
    (answer,) = desk.send(proven(invite, challenged(desk, invite), "guess", name))
    assert isinstance(answer, Response) and answer.status == 401
    assert "stale" not in (answer.headers.get("WWW-Authenticate") or "")
    assert desk.events() == [] and desk.is_empty


@pytest.mark.parametrize("method", ["OPTIONS", "INVITE", "REGISTER", "MESSAGE", "BYE"])
def test_whatever_a_stranger_asks_it_is_asked_back(method: str) -> None:
    challenged(guarded(), request(method, body=SDP if method == "INVITE" else b""))


def test_an_ack_is_never_answered() -> None:
    assert guarded().send(request("ACK")) == []


def test_failures_are_answered_late_and_then_not_at_all() -> None:
    desk = guarded()
    late = []
    for number in range(60):
        at_once = desk.send(numbered(request("INVITE", body=SDP), number))
        answers = at_once or [message for _, message in desk.wait(4)]
        if not answers:
            break  # nobody listens any more
        guess = proven(numbered(request("INVITE", body=SDP), number), answers[0], "guess")  # type: ignore[arg-type]
        at_once = desk.send(guess)
        assert len(at_once) + len(desk.wait(4)) <= 1
        late.append(not at_once)
    else:
        pytest.fail("it is still heard")
    assert late == sorted(late) and late.count(False) >= 2
    assert DEAF_FROM / 2 < len(late) < 2 * DEAF_FROM
    assert fates(desk) == ["slowed", "dropped"]
    assert desk.send(request("OPTIONS")) == []
    strangers = desk.agent.counters.strangers
    assert (strangers["slowed"], strangers["dropped"]) == (1, 1) and strangers["unread"] >= 1


def test_operators_hear_who_is_not_on_the_list() -> None:
    """Also of a source that we call ourselves, such as a trunk."""
    desk = Desk(allow=(ip_network("192.0.2.0/24"),), rate=50.0)
    assert desk.status(request("INVITE", body=SDP), STRANGER) == 403
    assert desk.status(request("OPTIONS", branch="two"), STRANGER) == 403
    told = Notice("refused", STRANGER.host, why="not_allowed", method="INVITE", status=403)
    assert desk.agent.notices() == [told]
    desk.agent.invite("sip:a@x", SDP, desk.now, to=STRANGER, from_uri="sip:b@192.0.2.1")
    desk.drain()
    desk.skip(TELL_AGAIN_S)
    assert desk.status(request("INVITE", body=SDP, branch="three"), STRANGER) == 403
    assert desk.agent.notices() == [told]


def test_operators_hear_of_a_wrong_password_but_not_of_the_first_question() -> None:
    desk = guarded()
    invite = request("INVITE", body=SDP)
    answer = challenged(desk, invite)
    assert desk.agent.notices() == []
    desk.send(proven(invite, answer, "guess"))
    (told,) = desk.agent.notices()
    assert told == Notice("refused", PEER.host, why="wrong_password", method="INVITE", status=401)
    assert desk.agent.counters.strangers == {}


def test_why_a_source_is_slowed_is_told() -> None:
    desk = guarded()
    for number in range(60):
        desk.send(numbered(request("REGISTER"), number))
    desk.wait(10)
    assert [(one.kind, one.why) for one in desk.agent.notices()] == [
        ("slowed", "no_password"),
        ("dropped", "no_password"),
    ]


def test_one_who_never_brings_the_proof_tries_doors() -> None:
    """As a scanner that only looks which names are answered otherwise."""
    desk = guarded()
    answers = [desk.send(numbered(request("REGISTER"), number)) for number in range(60)]
    at_once = [bool(one) for one in answers]
    assert at_once == sorted(at_once, reverse=True)
    assert at_once.count(True) == SLOW_FROM / ASKED
    late = desk.wait(10)
    assert {message.status for _, message in late if isinstance(message, Response)} == {401}
    assert at_once.count(True) + len(late) == DEAF_FROM / ASKED
    assert fates(desk) == ["slowed", "dropped"]
    assert desk.is_empty


def test_who_proves_itself_each_time_is_never_slowed() -> None:
    desk = guarded()
    for number in range(200):
        invite = numbered(request("INVITE", body=SDP, call_id=str(number)), number)
        assert codes(desk.send(proven(invite, challenged(desk, invite)))) == [100]
        desk.skip(0.1)
    assert desk.agent.notices() == []


def test_a_flood_of_one_stranger_is_not_read() -> None:
    desk = guarded()
    answers = sum(len(desk.send(numbered(request("OPTIONS"), number))) for number in range(1000))
    answers += len(desk.wait(10))
    assert answers <= DEAF_FROM / ASKED
    assert desk.agent.counters.dropped == 1000 - answers
    assert desk.is_empty


def test_calls_of_one_source_that_wait_are_bounded() -> None:
    """Somebody who is let in sends INVITEs and nothing else: it is refused without state, and all
    of that is gone after 64 T1 (reliability R5)."""
    desk = Desk(pending=50, retry_after_s=7)
    for number in range(5000):
        invite = numbered(request("INVITE", body=SDP, call_id=str(number)), number)
        (answer,) = desk.send(invite)
        assert isinstance(answer, Response)
        assert answer.status == (100 if number < 50 else 503)
        assert answer.headers.get("Retry-After") == (None if number < 50 else "7")
    assert (desk.agent.dialogs, desk.agent.transactions) == (50, 50)
    other = Address("192.0.2.77", 5060, "udp")
    assert desk.status(request("INVITE", body=SDP, branch="o", call_id="o"), other) == 100
    for event in desk.events():
        desk.agent.reject(event.dialog_id, 486, desk.now)
    desk.skip(64 * 0.5 + 1)
    assert desk.is_empty
    again = request("INVITE", body=SDP, branch="again", call_id="again")
    assert desk.status(again) == 100


def test_a_refusal_that_nobody_acknowledges_still_waits() -> None:
    desk = Desk(pending=2)
    for name in ("a", "b"):
        desk.agent.reject(desk.incoming(call_id=name, branch=name), 486, desk.now)
        assert codes(desk.drain()) == [486] and len(desk.events()) == 1
    third = request("INVITE", body=SDP, branch="c", call_id="c")
    assert desk.status(third) == 503
    acked = request("ACK", branch="a", call_id="a", to="<sip:agent@192.0.2.1>;tag=x")
    assert desk.send(acked) == []
    assert desk.status(third) == 100


def test_calls_that_are_up_do_not_wait() -> None:
    desk = Desk(pending=2)
    for number in range(20):
        desk.confirmed(call_id=f"c{number}", branch=f"c{number}")
    assert desk.agent.dialogs == 20


def test_whom_we_call_is_never_throttled() -> None:
    desk = guarded()
    desk.agent.invite("sip:a@192.0.2.9", SDP, desk.now, to=PEER, from_uri="sip:b@192.0.2.1")
    desk.drain()
    for number in range(500):
        text = request("OPTIONS").replace(b"z9hG4bK1", f"z9hG4bKx{number}".encode())
        assert len(desk.send(text)) == 1
    assert desk.agent.counters.dropped == 0


def test_who_is_in_a_call_is_heard_whatever_comes_from_its_address() -> None:
    desk = guarded()
    invite = request("INVITE", body=SDP)
    desk.send(proven(invite, challenged(desk, invite)))
    (incoming,) = desk.events()
    assert isinstance(incoming, IncomingCall)
    desk.agent.accept(incoming.dialog_id, SDP, desk.now)
    desk.drain()
    desk.send(desk.within("ACK", incoming.dialog_id, cseq=1))
    for number in range(100):
        desk.send(numbered(request("REGISTER", call_id="scan"), number))
    assert fates(desk) == ["slowed", "dropped"]
    assert desk.status(desk.within("BYE", incoming.dialog_id)) == 200
    desk.skip(64 * 0.5 + 5)
    assert desk.send(request("OPTIONS", branch="later")) == []


STRANGER = Address("203.0.113.77", 5060, "udp")


@pytest.mark.parametrize("users", [{}, USERS], ids=["list", "list and users"])
def test_a_call_goes_on_from_an_address_that_may_not_call(users: dict[str, str]) -> None:
    """A carrier with several machines, of which only one is listed."""
    desk = Desk(allow=(ip_network("192.0.2.0/24"),), users=users, rate=50.0)
    dialog_id = desk.incoming()
    desk.agent.accept(dialog_id, SDP, desk.now)
    desk.drain()
    assert desk.send(desk.within("ACK", dialog_id, cseq=1), STRANGER) == []
    assert [type(event) for event in desk.events()] == [Answered]
    for number, method in enumerate(("OPTIONS", "UPDATE", "INVITE"), 2):
        within = desk.within(method, dialog_id, cseq=number)
        assert codes(desk.send(within, STRANGER))[0] in (100, 200)
    assert 200 in codes(desk.send(desk.within("BYE", dialog_id, cseq=5), STRANGER))
    assert CallEnded(dialog_id, "remote_bye", None) in desk.events()
    assert desk.agent.counters.strangers == {}


@pytest.mark.parametrize(
    ("users", "status"), [({}, 403), (USERS, 401)], ids=["list", "list and users"]
)
@pytest.mark.parametrize("method", ["BYE", "INVITE", "UPDATE", "INFO", "REFER"])
def test_a_guess_at_a_call_is_a_strangers(users: dict[str, str], status: int, method: str) -> None:
    desk = Desk(allow=(ip_network("192.0.2.0/24"),), users=users, accept_refer=True)
    dialog_id = desk.confirmed()
    right = desk.within(method, dialog_id)
    for number, (before, after) in enumerate(
        [
            (b"tag=bob", b"tag=eve"),
            (b"Call-ID: call-1", b"Call-ID: call-2"),
            (dialog_id.encode(), dialog_id[:-1].encode()),
        ]
    ):
        guess = right.replace(before, after).replace(
            b"branch=z9hG4bK", b"branch=z9hG4bK%d" % number
        )
        assert guess != right and desk.status(guess, STRANGER) == status
    assert desk.send(desk.within("ACK", dialog_id[:-1], cseq=1), STRANGER) == []
    assert desk.events() == []


def test_listed_addresses_need_no_proof() -> None:
    desk = Desk()
    config = SipConfig(
        host="192.0.2.1", allow=(ip_network("192.0.2.0/24"),), users=USERS, realm="line", rate=5
    )
    desk.agent = type(desk.agent)(config, token=tokens(3))
    assert desk.status(request("OPTIONS")) == 200
    assert desk.agent.takes_passwords
