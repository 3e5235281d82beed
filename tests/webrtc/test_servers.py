"""The list of ICE servers: what is told, what is used, what is refused."""

import json
from typing import Any

import pytest

from gateway.webrtc.servers import TurnServer, parse_ice_servers

pytestmark = pytest.mark.pure

TURN = {"urls": "turn:relay.example.org", "username": "u", "credential": "p"}


def read(*servers: Any) -> Any:
    return parse_ice_servers(json.dumps(servers))


def test_none_is_none() -> None:
    assert parse_ice_servers(" ") == parse_ice_servers("[]")
    assert parse_ice_servers("").told == ()


def test_browsers_are_told_all_and_we_use_the_first_of_each_kind() -> None:
    servers = [
        {"urls": ["stun:one.example.org:19302", "stun:two.example.org"]},
        TURN | {"urls": ["turns:[2001:db8::1]:443?transport=tcp", "turn:relay.example.org"]},
    ]
    found = read(*servers)
    assert found.told == tuple(servers)
    assert found.stun == ("one.example.org", 19302)
    assert found.turn == TurnServer("2001:db8::1", 443, "tcp", True, "u", "p")


@pytest.mark.parametrize(
    ("url", "port", "transport", "tls"),
    [
        ("turn:a", 3478, "udp", False),
        ("turn:a?transport=tcp", 3478, "tcp", False),
        ("turns:a", 5349, "tcp", True),
        ("turn:192.0.2.1:1?transport=udp", 1, "udp", False),
    ],
)
def test_what_a_turn_url_leaves_out(url: str, port: int, transport: str, tls: bool) -> None:
    turn = read(TURN | {"urls": url}).turn
    assert (turn.port, turn.transport, turn.tls) == (port, transport, tls)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{", "is not JSON at character 2"),
        ("{}", "is JSON but no list"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "has a server 1 that is no object"),
        ('[{"urls": "stun:a", "user": "b"}]', "has a server 1 with other fields than urls"),
        ('[{"urls": "stun:a"}, {}]', "has a server 2 without a stun: or turn: URL"),
        ('[{"urls": []}]', "has a server 1 without a stun: or turn: URL"),
        ('[{"urls": "http://secret"}]', "has a server 1 without a stun: or turn: URL"),
        ('[{"urls": "stun:a:0"}]', "has a server 1 without a stun: or turn: URL"),
        ('[{"urls": "stun:a:99999"}]', "has a server 1 without a stun: or turn: URL"),
        ('[{"urls": ["stun:a", 1]}]', "has a server 1 without a stun: or turn: URL"),
        ('[{"urls": "turn:a"}]', "has a server 1 of TURN without username and credential"),
        (
            '[{"urls": "turn:a", "username": "u", "credential": ""}]',
            "has a server 1 of TURN without username and credential",
        ),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_quoted(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong) as caught:
        parse_ice_servers(text)
    assert "secret" not in str(caught.value)
