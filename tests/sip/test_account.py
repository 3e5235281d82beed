"""What may stand in GATEWAY_SIP_REGISTER."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.account import Account
from gateway.sip.auth import Credentials
from gateway.sip.message import Address

pytestmark = pytest.mark.pure


def test_the_shortest() -> None:
    account = Account.parse("sip:agent:hunter2@sip.example.org")
    assert account.hop == Address("sip.example.org", 0, "")
    assert account.registrar == "sip:sip.example.org"
    assert account.address_of_record == "sip:agent@sip.example.org"
    assert account.credentials == Credentials("agent", "hunter2", "sip.example.org", True)
    assert (account.expires_s, account.keepalive_s) == (600, 25)


def test_everything() -> None:
    account = Account.parse(
        "sip:%2B49301:p%40ss%2Cword@example.org:5070;transport=TLS;realm=Ex%20ample;auth=log-in;"
        "proxy=edge.example.org:5062;expires=120;contact=line-1;keepalive=0"
    )
    assert account.hop == Address("edge.example.org", 5062, "tls", "edge.example.org")
    assert account.registrar == "sip:example.org:5070"
    assert account.address_of_record == "sip:%2B49301@example.org"
    assert account.credentials == Credentials("log-in", "p@ss,word", "Ex ample")
    assert (account.expires_s, account.keepalive_s, account.contact) == (120, 0, "line-1")


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("sip:a@[2001:db8::1]", Address("2001:db8::1", 0, "")),
        ("sip:a@example.org;transport=tcp", Address("example.org", 0, "tcp")),
        ("sip:a@example.org;transport=tls", Address("example.org", 0, "tls", "example.org")),
        ("sip:a@example.org;proxy=[::1]:5", Address("::1", 5, "")),
        ("sip:a@example.org:5070;proxy=192.0.2.1", Address("192.0.2.1", 0, "")),
    ],
)
def test_where_its_requests_go(text: str, hop: Address) -> None:
    account = Account.parse(text)
    assert account.hop == hop
    assert account.credentials is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "sip:", "sips:a@h", "tel:+49", "sip:h", "sip:a@h?x=y", "sip::p@h", "a@h"),
        *("sip:a@h;transport=ws", "sip:a@h;transport=sctp", "sip:a@h;colour=red"),
        *("sip:a:p@h;expires=60;expires=60", "sip:a:p@h;expires", "sip:a:p@h;expires="),
        *("sip:a:p@h;expires=1", "sip:a:p@h;expires=86401", "sip:a:p@h;expires=1e3"),
        *("sip:a:p@h;expires=-60", "sip:a:p@h;keepalive=1", "sip:a:p@h;keepalive=x"),
        *("sip:a@h;realm=r", "sip:a@h;auth=b", "sip:a:p@h;realm=", "sip:a:p@h;realm=%0A"),
        *("sip:a:p@h;proxy=b@h", "sip:a:p@h;proxy=:5", "sip:a:p@h;proxy=h:99999"),
        *("sip:a:p@h;proxy=h:0", "sip:a:p@h;proxy=%20", "sip:a%0D%0A:p@h", "sip:a:%00@h"),
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        Account.parse(text)
    assert "hunter2" not in str(caught.value)


def test_its_password_is_not_shown() -> None:
    assert "hunter2" not in repr(Account.parse("sip:a:hunter2@h"))


@given(st.text(max_size=60) | st.text(alphabet="sip:@;=[]%ab0.1realmproxy", max_size=60))
def test_any_text(text: str) -> None:
    try:
        account = Account.parse(text)
    except ValueError:
        return
    assert account.hop.port >= 0
