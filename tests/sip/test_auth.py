"""Digest proofs: known answers, challenges of every shape, and text that would break a header."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.auth import Challenge, Credentials, Login, challenges, proof
from gateway.sip.message import Headers, Request, Response
from tests.sip.others import proof_fields, response_to

pytestmark = pytest.mark.pure

MUFASA = Credentials("Mufasa", "Circle of Life", "http-auth@example.org")
HOST = "192.0.2.9"


def offered(*values: str) -> list[Challenge]:
    return challenges(
        Headers([("WWW-Authenticate", value) for value in values]), "WWW-Authenticate"
    )


def test_the_example_of_rfc_2617() -> None:
    (challenge,) = offered(
        'Digest realm="testrealm@host.com", qop="auth,auth-int", '
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    user = Credentials("Mufasa", "Circle Of Life", "testrealm@host.com")
    value = proof(challenge, user, method="GET", uri="/dir/index.html", count=1, cnonce="0a4f113b")
    fields = proof_fields(value)
    assert fields.pop("response") == "6629fae49393a05397450978507c4ef1"
    assert fields == {
        "username": "Mufasa",
        "realm": "testrealm@host.com",
        "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        "uri": "/dir/index.html",
        "qop": "auth",
        "nc": "00000001",
        "cnonce": "0a4f113b",
        "opaque": "5ccc069c403ebaf9f0171e9517f40e41",
    }


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_rfc_7616(algorithm: str, response: str) -> None:
    """Section 3.9.1."""
    (challenge,) = offered(
        f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    value = proof(challenge, MUFASA, method="GET", uri="/dir/index.html", count=1, cnonce=cnonce)
    fields = proof_fields(value)
    assert fields["response"] == response
    assert fields["algorithm"] == algorithm


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256"])
@pytest.mark.parametrize("qop", ["", ', qop="auth"', ', qop="auth-int , AUTH"'])
def test_agrees_with_a_server(algorithm: str, qop: str) -> None:
    text = f'Digest realm="a \\"b\\" \\\\ ü", nonce="n,=", algorithm="{algorithm}"{qop}'
    (challenge,) = offered(text)
    user = Credentials('m"e\\', "sé:cret", 'a "b" \\ ü')
    uri = "sip:+49@h;x=1"
    value = proof(challenge, user, method="INVITE", uri=uri, count=10, cnonce="c")
    fields = proof_fields(value)
    assert fields["response"] == response_to(fields, "INVITE", 'm"e\\', "sé:cret", algorithm)
    assert (fields["username"], fields["realm"]) == ('m"e\\', 'a "b" \\ ü')
    assert fields.get("nc") == ("0000000a" if qop else None)


def test_the_first_that_we_can_answer_in_the_order_of_the_server() -> None:
    found = offered(
        'Basic realm="r"',
        'Digest realm="r", nonce="1", algorithm=SHA-512-256-sess',
        'Digest realm="r", nonce="2", algorithm=AKAv1-MD5',
        'Digest realm="r", nonce="3", algorithm=sha-256, qop="auth-int"',
        'digest  realm = "r" , nonce="4",algorithm = sha-256 ,qop=auth , stale=TRUE, domain="a b"',
        'Digest realm="r", nonce="5"',
    )
    assert found == [
        Challenge("r", "4", "sha-256", qop=True, stale=True),
        Challenge("r", "5"),
    ]


@pytest.mark.parametrize(
    "value",
    [
        'Digest realm="r", nonce="n", qop=auth,auth-int',
        'Digest realm="r", qop=auth-int , Auth, nonce="n"',
        'Digest qop=auth-int,auth-conf,auth,nonce="n", realm="r"',
        'Digest realm="r", nonce="n", qop=auth,',
    ],
)
def test_the_options_of_a_challenge_may_lack_their_quotes(value: str) -> None:
    assert offered(value) == [Challenge("r", "n", qop=True)]


@pytest.mark.parametrize(
    "value",
    [
        *("", "Digest", "Digest ", "Digest realm", 'Digest realm="r"', 'Digest nonce="n"'),
        *(
            'Digest realm="r" nonce="n"',
            'Digest realm="r", nonce="n',
            'Digest realm="r",, nonce="n"',
        ),
        *('Digest realm="r", realm="s", nonce="n"', 'Digest realm="r", nonce="n", x=y z'),
        *('Digest realm="r", nonce="n", algorithm=""', 'Digest realm="r", nonce="n", qop=""'),
        'Digest realm="r", nonce="n", qop=auth-int,auth-conf',
        *('Digest realm="r", nonce="n", qop=auth,auth-int x', "Digest realm=r, nonce=n,auth"),
        *('Digest realm="r", nonce="n", qop="auth",auth-int', 'Digest realm="r",auth,nonce="n"'),
        *('xDigest realm="r", nonce="n"', 'Digest realm="r\\", nonce="n"'),
    ],
)
def test_what_is_no_challenge(value: str) -> None:
    assert offered(value) == []


@pytest.mark.parametrize("field", ["username", "password", "realm"])
@pytest.mark.parametrize("text", ["a\r\nb", "a\x00", "\ud800", "\u2028", "\x7f"])
def test_credentials_that_no_header_can_carry(field: str, text: str) -> None:
    fields = {"username": "me", "password": "hunter2", "realm": "r"} | {field: text}
    with pytest.raises(ValueError, match="trunk") as caught:
        Credentials(fields["username"], fields["password"], fields["realm"])
    assert text not in str(caught.value)
    assert "hunter2" not in repr(caught.value)
    with pytest.raises(ValueError, match="empty"):
        Credentials("", "x", "r")


def test_a_password_is_never_shown() -> None:
    user = Credentials("me", "hunter2", "r")
    assert "hunter2" not in f"{user!r}{user}"


def invite(to: str = "<sip:a@h>") -> Request:
    return Request("INVITE", "sip:a@h", Headers([("To", to)]))


def refusal(*values: str, status: int = 401) -> Response:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    return Response(status, "x", Headers([(name, value) for value in values]))


def login(realm: str = "r") -> Login:
    return Login(Credentials("me", "secret", realm), HOST, lambda: "c")


class TestLogin:
    def test_the_count_of_a_nonce(self) -> None:
        one = login()
        for count, nonce in [(1, "n"), (2, "n"), (1, "m"), (2, "m")]:
            asked = refusal(f'Digest realm="r", nonce="{nonce}", qop="auth"', status=407)
            answer = one.answer(invite(), asked, HOST, [])
            assert answer is not None
            assert (answer[0], answer[2]) == ("Proxy-Authorization", nonce)
            assert proof_fields(answer[1])["nc"] == f"{count:08x}"

    def test_only_one_realm(self) -> None:
        one = login()
        other = refusal('Digest realm="s", nonce="1"')
        mixed = refusal('Digest realm="s", nonce="2"', 'Digest realm="r", nonce="3"')
        for asked, nonce in ((other, None), (mixed, "3"), (other, None)):
            answer = one.answer(invite(), asked, HOST, [])
            assert (answer and answer[2]) == nonce

    @pytest.mark.parametrize("realm", ["R", "r ", "", "rr", "*"])
    def test_not_a_realm_that_looks_alike(self, realm: str) -> None:
        asked = refusal(f'Digest realm="{realm}", nonce="1"')
        assert login().answer(invite(), asked, HOST, []) is None

    @pytest.mark.parametrize(
        ("asked_by", "is_told"),
        [("Trunk.Example", True), ("trunk.example.org", False), ("", False)],
    )
    def test_the_realm_of_a_host_in_any_case(self, asked_by: str, is_told: bool) -> None:
        user = Credentials("me", "secret", "trunk.EXAMPLE", realm_is_host=True)
        asked = refusal(f'Digest realm="{asked_by}", nonce="1"')
        answer = Login(user, HOST, lambda: "c").answer(invite(), asked, HOST, [])
        assert (answer is not None) is is_told
        if answer is not None:
            fields = proof_fields(answer[1])
            assert fields["realm"] == asked_by
            assert fields["response"] == response_to(fields, "INVITE", "me", "secret")

    @pytest.mark.parametrize("method", ["BYE", "REFER", "INVITE"])
    def test_also_first_within_a_dialog(self, method: str) -> None:
        request = Request(method, "sip:a@h", Headers([("To", "<sip:a@h>;tag=t")]))
        assert login().answer(request, refusal('Digest realm="r", nonce="1"'), HOST, [])
        assert login().answer(request, refusal('Digest realm="s", nonce="1"'), HOST, []) is None

    @pytest.mark.parametrize("status", [400, 403, 404, 486, 500, 603])
    def test_not_another_refusal(self, status: int) -> None:
        response = Response(status, "x", refusal('Digest realm="r", nonce="1"').headers)
        assert login().answer(invite(), response, HOST, []) is None

    def test_not_elsewhere(self) -> None:
        asked = refusal('Digest realm="r", nonce="1"')
        assert login().answer(invite(), asked, "192.0.2.66", []) is None
        # Each status has its own header: the other one is a proxy's to ask by.
        crossed = Response(407, "x", asked.headers)
        assert login().answer(invite(), crossed, HOST, []) is None

    def test_again_only_for_a_nonce_that_is_fresh(self) -> None:
        one = login()
        for stale, nonce, answered, is_answered in [
            ("false", "1", [], True),
            ("true", "1", [], True),
            ("false", "2", ["1"], False),
            ("true", "1", ["1"], False),
            ("true", "2", ["1"], True),
            ("true", "4", ["1", "2", "3"], True),
            ("true", "5", ["1", "2", "3", "4"], False),
        ]:
            asked = refusal(f'Digest realm="r", nonce="{nonce}", stale={stale}')
            request = invite()
            if answered:
                request.headers.add("Authorization", "Digest")
            assert (one.answer(request, asked, HOST, answered) is not None) is is_answered


TEXT = st.text(max_size=40)
QUOTED = TEXT.map(lambda text: text.replace("\\", "\\\\").replace('"', '\\"'))


@settings(max_examples=300, deadline=None)
@given(value=TEXT | TEXT.map(lambda text: f'Digest realm="r", nonce="n", {text}'))
def test_a_challenge_of_any_text(value: str) -> None:
    response = Response(401, "x", Headers.adopt([("www-authenticate", "WWW-Authenticate", value)]))
    for challenge in challenges(response.headers, "WWW-Authenticate"):
        assert challenge.algorithm is None or challenge.algorithm.isascii()


@settings(max_examples=300, deadline=None)
@given(realm=QUOTED, nonce=QUOTED, opaque=QUOTED, username=TEXT, password=TEXT)
def test_a_proof_is_one_line_that_says_what_it_means(
    realm: str, nonce: str, opaque: str, username: str, password: str
) -> None:
    value = f'Digest realm="{realm}", nonce="{nonce}", opaque="{opaque}", qop="auth"'
    try:
        user = Credentials(username, password, "r")
        headers = Headers([("WWW-Authenticate", value)])
    except ValueError:
        return
    (challenge,) = challenges(headers, "WWW-Authenticate")
    text = proof(challenge, user, method="BYE", uri="sip:a\\b@h", count=1, cnonce="c")
    Headers([("Authorization", text)])
    fields = proof_fields(text)
    assert fields["username"] == username
    assert fields["uri"] == "sip:a\\b@h"
    assert fields["response"] == response_to(fields, "BYE", username, password)
