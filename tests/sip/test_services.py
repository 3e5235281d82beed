"""What a domain says of its services, put in order (RFC 3263, RFC 2782)."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.services import (
    Pointer,
    Server,
    Service,
    preferred_services,
    ranked,
    usual_services,
)

pytestmark = pytest.mark.pure


def test_the_usual_names() -> None:
    assert usual_services("a.example", ["tls", "udp"]) == [
        Service("_sip._udp.a.example", "udp"),
        Service("_sips._tcp.a.example", "tls"),
    ]


def test_pointers_are_followed_in_their_order() -> None:
    pointers = [
        Pointer(20, 1, "s", "SIP+D2U", "u.example"),
        Pointer(10, 2, "S", "sip+d2t", "t.example"),
        Pointer(10, 1, "s", "SIPS+D2T", "s.example"),
        Pointer(10, 1, "s", "SIPS+D2T", "s.example"),
        Pointer(0, 0, "a", "SIP+D2U", "not.example"),
        Pointer(0, 0, "s", "SIP+D2X", "not.example"),
        Pointer(0, 0, "s", "SIP+D2U", ""),
    ]
    assert preferred_services(pointers, ["udp", "tcp", "tls"]) == [
        Service("s.example", "tls"),
        Service("t.example", "tcp"),
        Service("u.example", "udp"),
    ]
    assert preferred_services(pointers, ["udp"]) == [Service("u.example", "udp")]


def test_priority_comes_first_and_the_root_is_nobody() -> None:
    servers = [
        Server(2, 9, 1, "c"),
        Server(1, 0, 1, "b"),
        Server(0, 0, 1, ""),
        Server(0, 1, 1, "a"),
    ]
    assert [server.host for server in ranked(servers, lambda: 0.0)] == ["a", "b", "c"]


def test_weight_is_a_share() -> None:
    random = Random(1)
    servers = [Server(0, 60, 1, "a"), Server(0, 30, 1, "b"), Server(0, 10, 1, "c")]
    first = Counter(ranked(servers, random.random)[0].host for _ in range(10_000))
    assert abs(first["a"] - 6000) < 200
    assert abs(first["b"] - 3000) < 200
    assert abs(first["c"] - 1000) < 200


def test_no_weight_is_hardly_a_share() -> None:
    servers = [Server(0, 1, 1, "a"), Server(0, 0, 1, "b")]
    assert ranked(servers, lambda: 0.0)[0].host == "b"
    assert ranked(servers, lambda: 0.001)[0].host == "a"


@given(
    st.lists(st.builds(Server, st.integers(0, 3), st.integers(0, 65535), st.just(1), st.text())),
    st.randoms(use_true_random=False),
)
def test_nobody_is_lost(servers: list[Server], random: Random) -> None:
    order = ranked(servers, random.random)
    assert Counter(order) == Counter(server for server in servers if server.host)
    assert [one.priority for one in order] == sorted(one.priority for one in order)
