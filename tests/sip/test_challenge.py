"""Digest as a server: who is believed, how often, and what strangers learn."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.auth import Challenge, Credentials, challenges, hashed, proof
from gateway.sip.challenge import ALGORITHMS, Challenger, Verdict
from gateway.sip.message import Headers, Request

pytestmark = pytest.mark.pure

REALM, URI = "line.example", "sip:agent@192.0.2.1"


def tokens() -> Callable[[], str]:
    source = random.Random(5)
    return lambda: f"{source.getrandbits(64):016x}"


@pytest.fixture
def desk() -> Challenger:
    return Challenger(REALM, {"alice": "s3cret", "bob": 'pa:ss"\\'}, tokens())


def asked(desk: Challenger, now: float = 0.0) -> list[Challenge]:
    return challenges(Headers(desk.challenges(now)), "WWW-Authenticate")


def proven(
    challenge: Challenge,
    name: str = "alice",
    password: str = "s3cret",
    *,
    count: int = 1,
    uri: str = URI,
    method: str = "INVITE",
) -> Request:
    credentials = Credentials(name, password, REALM)
    value = proof(challenge, credentials, method=method, uri=uri, count=count, cnonce="0a4f113b")
    return Request("INVITE", URI, Headers([("Authorization", value)]))


def test_the_best_algorithm_comes_first(desk: Challenger) -> None:
    assert tuple(one.algorithm for one in asked(desk)) == ALGORITHMS
    assert len({one.nonce for one in asked(desk)}) == 1


@pytest.mark.parametrize("at", range(3), ids=ALGORITHMS)
@pytest.mark.parametrize(("name", "password"), [("alice", "s3cret"), ("bob", 'pa:ss"\\')])
def test_who_knows_the_password_comes_in(
    desk: Challenger, at: int, name: str, password: str
) -> None:
    challenge = asked(desk)[at]
    assert desk.judge(proven(challenge, name, password), 1.0) is Verdict.GOOD


def test_a_proof_counts_once_and_its_nonce_goes_on(desk: Challenger) -> None:
    challenge = asked(desk)[0]
    for count in (1, 2, 3, 9):
        assert desk.judge(proven(challenge, count=count), 1.0) is Verdict.GOOD
    assert desk.judge(proven(challenge, count=9), 1.0) is Verdict.STALE


@pytest.mark.parametrize(
    "request_",
    [
        lambda one: proven(one, "alice", "wrong"),
        lambda one: proven(one, "mallory", "s3cret"),
        lambda one: proven(one, "alice", "s3cret", method="BYE"),
        lambda one: proven(one, "alice", "s3cret", uri="sip:premium@192.0.2.1"),
        lambda one: proven(Challenge(REALM, one.nonce, "SHA-256"), "alice"),  # without qop
    ],
    ids=["password", "user", "another method", "another number", "RFC 2069"],
)
def test_what_is_wrong(desk: Challenger, request_: Callable[[Challenge], Request]) -> None:
    challenge = asked(desk)[1]
    assert desk.judge(request_(challenge), 1.0) is Verdict.WRONG
    assert desk.judge(proven(challenge), 1.0) is Verdict.GOOD  # nothing was used up


def test_a_proxy_may_write_another_host_into_the_request_line(desk: Challenger) -> None:
    challenge = asked(desk)[0]
    assert desk.judge(proven(challenge, uri="sip:agent@line.example"), 1.0) is Verdict.GOOD


@pytest.mark.parametrize(("later", "verdict"), [(300.0, Verdict.GOOD), (302.0, Verdict.STALE)])
def test_a_nonce_grows_old(desk: Challenger, later: float, verdict: Verdict) -> None:
    challenge = asked(desk, 1000.0)[0]
    assert desk.judge(proven(challenge), 1000.0 + later) is verdict


def test_nobody_else_can_make_a_nonce(desk: Challenger) -> None:
    other = Challenger(REALM, {"alice": "s3cret"}, lambda: "0123456789abcdef")
    assert desk.judge(proven(asked(other)[0]), 0.0) is Verdict.STALE
    made_up = Challenge(REALM, "0-1234", "MD5", True)
    assert desk.judge(proven(made_up), 0.0) is Verdict.STALE


def test_md5_can_be_left_out() -> None:
    desk = Challenger(REALM, {"alice": "s3cret"}, tokens(), ALGORITHMS[:2])
    challenge = asked(desk)[0]
    old = Challenge(REALM, challenge.nonce, "MD5", True)
    assert desk.judge(proven(old), 0.0) is Verdict.WRONG


def test_no_proof_or_one_for_somebody_else(desk: Challenger) -> None:
    assert desk.judge(Request("INVITE", URI), 0.0) is Verdict.NONE
    for value in ("Basic YTpi", 'Digest realm="elsewhere", nonce="1"'):
        request = Request("INVITE", URI, Headers([("Authorization", value)]))
        assert desk.judge(request, 0.0) is Verdict.NONE


def test_a_proof_that_was_overheard_never_counts_again(desk: Challenger) -> None:
    """Neither does what its owner goes on with under that nonce; with a new one it comes in."""
    challenge = asked(desk)[1]
    overheard = proven(challenge)
    assert desk.judge(overheard, 1.0) is Verdict.GOOD
    assert [desk.judge(overheard, 1.0 + at) for at in range(299)] == [Verdict.STALE] * 299
    assert desk.judge(proven(challenge, count=2), 299.0) is Verdict.STALE
    again = asked(desk, 299.0)[1]
    assert desk.judge(proven(again), 299.0) is Verdict.GOOD
    assert desk.judge(proven(again, count=2), 299.5) is Verdict.GOOD
    assert desk.judge(overheard, 400.0) is Verdict.STALE


@pytest.mark.parametrize("count", ["", "0x1", "-1", "1_0", " 2", "100000000", "g"])
def test_a_count_is_a_count(desk: Challenger, count: str) -> None:
    challenge = asked(desk)[1]
    secret = hashed("SHA-256", "alice", REALM, "s3cret")
    told = hashed("SHA-256", "INVITE", URI)
    response = hashed("SHA-256", secret, challenge.nonce, count, "c", "auth", told)
    value = (
        f'Digest username="alice", realm="{REALM}", nonce="{challenge.nonce}", uri="{URI}", '
        f'response="{response}", algorithm=SHA-256, cnonce="c", qop=auth, nc="{count}"'
    )
    request = Request("INVITE", URI, Headers([("Authorization", value)]))
    assert desk.judge(request, 1.0) is Verdict.WRONG


def test_what_is_remembered_is_bounded_and_nothing_forgotten_counts_again(
    desk: Challenger,
) -> None:
    kept = asked(desk, 0.0)[2]  # by somebody who brings the proof only at the end
    lasting = asked(desk, 0.0)[2]
    proofs = []
    for number in range(5000):
        now = number * 0.05
        proofs.append(proven(asked(desk, now)[2]))
        assert desk.judge(proofs[-1], now + 0.04) is Verdict.GOOD
        if number == 2000:
            assert desk.judge(proven(lasting), now) is Verdict.GOOD
    assert len(desk._used) == 4096
    assert {desk.judge(proof, 250.0) for proof in proofs} == {Verdict.STALE}
    assert len(desk._used) == 4096
    assert desk.judge(proven(lasting, count=2), 250.0) is Verdict.GOOD, "remembered, though old"
    assert desk.judge(proven(kept), 250.0) is Verdict.STALE, "it might have been used"
    assert desk.judge(proven(asked(desk, 250.0)[2]), 250.1) is Verdict.GOOD


@given(st.text(max_size=300))
def test_any_header_is_judged(text: str) -> None:
    desk = Challenger(REALM, {"alice": "s3cret"}, tokens())
    for value in (text, f'Digest realm="{REALM}", {text}'):
        try:
            request = Request("INVITE", URI, Headers([("Authorization", value)]))
        except ValueError:
            continue
        assert desk.judge(request, 0.0) is not Verdict.GOOD


@given(st.text(max_size=40) | st.sampled_from(['a"b', "a\\", 'x", nonce="', "\r\nVia: x", "\x85"]))
def test_a_realm_is_one_value_of_one_header(realm: str) -> None:
    """Whatever the setting says (threat T10)."""
    try:
        desk = Challenger(realm, {"alice": "s3cret"}, tokens())
    except ValueError:
        return
    headers = Headers(desk.challenges(0.0, stale=True))
    found = challenges(headers, "WWW-Authenticate")
    assert [(one.realm, one.stale, one.qop) for one in found] == [(realm, True, True)] * 3


def test_passwords_are_not_kept(desk: Challenger) -> None:
    assert "s3cret" not in repr(vars(desk))
