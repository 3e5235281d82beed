"""Text of others in messages of ours: it is refused, or stands where it was meant to and nowhere
else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.auth import Credentials
from gateway.sip.message import Headers, Request, header_key
from gateway.sip.parse import parse
from gateway.sip.uri import NameAddr
from tests.sip.others import proof_fields
from tests.sip.raw import PEER, SDP, Desk, answer_to, codes

pytestmark = pytest.mark.pure

PIECES = st.sampled_from(
    [
        *(
            "\r\n",
            "\n",
            "\r",
            "\r\n\r\n",
            "\r\nVia: x",
            "\0",
            "\t",
            " ",
            "\x85",
            "\u2028",
            "\ud800",
        ),
        *(
            "<",
            ">",
            '"',
            "\\",
            ",",
            ";tag=evil",
            "?",
            "@",
            ":",
            "%0d%0a",
            "ü",
            "sip:",
            "tel:+49",
            "h",
        ),
    ]
)
TEXT = st.text(max_size=20) | st.lists(PIECES | st.text(max_size=3), max_size=6).map("".join)
URIS = TEXT | TEXT.map(lambda text: f"sip:{text}") | TEXT.map(lambda text: f"sip:a@h;x={text}")
NAMES = TEXT | st.sampled_from(
    [*("X-Test", "Subject", "P-Asserted-Identity", "via", "V", "TO", "l", "Content-Length"), "CSeq"]
)
EXTRA = st.lists(st.tuples(NAMES, TEXT), max_size=3)
INVITE_HAS = [
    *("Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact", "Allow"),
    *("Content-Type", "User-Agent", "Content-Length", "Supported", "Session-Expires"),
]
REFER_HAS = [
    *("Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact", "Referred-By"),
    *("Refer-To", "User-Agent", "Content-Length"),
]


def sent(desk: Desk) -> Request:
    """The only message that leaves, as a stranger reads it."""
    (outgoing,) = desk.agent.datagrams_to_send()
    message = parse(outgoing.data)
    assert isinstance(message, Request)
    return message


def added(headers: Headers, ours: list[str]) -> list[tuple[str, str]]:
    """What stands there besides our own headers, each of which is there once."""
    keys = [header_key(name) for name, _ in headers.items()]
    assert all(keys.count(header_key(name)) == 1 for name in ours)
    own = {header_key(name) for name in ours}
    return [pair for pair in headers.items() if header_key(pair[0]) not in own]


def as_sent(extra: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value.strip(" ")) for name, value in extra]


@settings(max_examples=500, deadline=None)
@given(target=URIS, from_uri=URIS, extra=EXTRA)
def test_an_invite(target: str, from_uri: str, extra: list[tuple[str, str]]) -> None:
    for fields in (
        {"target": target, "from_uri": "sip:me@h"},
        {"target": "sip:a@h", "from_uri": from_uri},
        {"target": "sip:a@h", "from_uri": "sip:me@h", "headers": extra},
    ):
        desk = Desk()
        try:
            dialog_id = desk.agent.invite(body=SDP, now=desk.now, to=PEER, **fields)
        except ValueError:
            assert desk.agent.datagrams_to_send() == []
            assert desk.is_empty
            continue
        invite = sent(desk)
        if "headers" in fields:
            assert added(invite.headers, INVITE_HAS) == as_sent(extra)
        else:
            assert added(invite.headers, INVITE_HAS) == []
        caller = NameAddr.parse(invite.headers.get("From") or "")
        assert caller == NameAddr("", str(fields["from_uri"]), (("tag", dialog_id),))
        assert NameAddr.parse(invite.headers.get("To") or "") == NameAddr("", invite.uri)
        assert invite.body == SDP


@settings(max_examples=500, deadline=None)
@given(target=URIS)
def test_a_refer(target: str) -> None:
    desk = Desk()
    dialog_id = desk.confirmed()
    try:
        desk.agent.refer(dialog_id, target, desk.now)
    except ValueError:
        assert desk.agent.datagrams_to_send() == []
        return
    request = sent(desk)
    assert added(request.headers, REFER_HAS) == []
    assert request.headers.get("Refer-To") == f"<{target}>"
    assert NameAddr.parse(request.headers.get("Refer-To") or "") == NameAddr("", target)


@settings(max_examples=200, deadline=None)
@given(username=TEXT, password=TEXT, realm=TEXT)
def test_a_proof(username: str, password: str, realm: str) -> None:
    quoted = realm.replace("\\", "\\\\").replace('"', '\\"')
    try:
        user = Credentials(username, password, realm)
        Headers([("X", quoted)])
    except ValueError:
        return
    desk = Desk()
    _, invite = desk.calling(credentials=user)
    challenge = (("WWW-Authenticate", f'Digest realm="{quoted}", nonce="n"'),)
    desk.agent.receive(answer_to(invite, 401, headers=challenge), PEER, desk.now)
    _, again = desk.drain()
    assert isinstance(again, Request)
    (value,) = added(again.headers, INVITE_HAS)
    fields = proof_fields(value[1])
    assert (fields["username"], fields["realm"], len(fields)) == (username, realm, 5)


@pytest.mark.parametrize(
    ("fields", "caller"),
    [
        ({"from_uri": "sip:+4912345@host"}, "<sip:+4912345@host>"),
        ({"from_uri": "tel:+4912345"}, "<tel:+4912345>"),
        ({"from_uri": "sip:a@b;user=phone"}, "<sip:a@b;user=phone>"),
        ({"from_uri": "sip:a@[::1]:5070"}, "<sip:a@[::1]:5070>"),
    ],
)
def test_who_calls(fields: dict[str, str], caller: str) -> None:
    desk = Desk()
    dialog_id, invite = desk.calling(**fields)
    assert invite.headers.get("From") == f"{caller};tag={dialog_id}"
    assert codes(desk.send(answer_to(invite, 200, body=SDP))) == ["ACK"]
    desk.agent.refer(dialog_id, "tel:+1", desk.now)
    assert sent(desk).headers.get("Referred-By") == f"<{fields['from_uri']}>"


@pytest.mark.parametrize(
    "fields",
    [
        *(
            {"from_uri": uri}
            for uri in ("", "me", "sip:", "sip:a@b\n", "sip:a b@c", "sip:a@b:99999")
        ),
        *({"from_uri": uri} for uri in ("<sip:a@b>", "sip:a@b>\r\nX: y", 'sip:"a"@b', "sip:ü@b")),
        *(
            {"headers": [(name, "x")]}
            for name in ("Via", "f", "To", "i", "CSeq", "m", "l", "Route")
        ),
        *({"headers": [(name, "x")]} for name in ("Content-Type", "Max-Forwards", "Authorization")),
    ],
)
def test_what_no_invite_may_hold(fields: dict[str, object]) -> None:
    desk = Desk()
    with pytest.raises(ValueError, match="."):
        desk.calling(**fields)
    assert desk.drain() == []
    assert desk.is_empty
