"""Where a peer is looked for: few places, and none where no peer can be."""

import ipaddress

import pytest

from gateway.sdp.description import parse
from gateway.sdp.transport import Candidate
from gateway.sdp.webrtc import read_offer
from gateway.webrtc.candidates import MAX_CANDIDATES, usable
from tests.sdp.webrtc_offers import CODECS, offer

pytestmark = pytest.mark.pure

PUBLIC = ["198.51.100.1", "2001:db8::1"]
OFFICE = ["192.168.1.10"]
LOOPBACK = ["127.0.0.1", "::1"]


def at(host: str, port: int = 5000) -> Candidate:
    return Candidate("1", 1, "udp", 2_130_706_431, host, port, "host")


def hosts(
    *told: str, local: list[str], advertised: str = "", allow: tuple[str, ...] | None = None
) -> list[str]:
    networks = None if allow is None else tuple(ipaddress.ip_network(item) for item in allow)
    found = usable(map(at, told), local=local, advertised=advertised, allow=networks)
    return [candidate.host for candidate in found]


@pytest.mark.parametrize(
    ("host", "local", "tried"),
    [
        ("203.0.113.5", PUBLIC, True),
        ("2001:db8:5::5", PUBLIC, True),
        ("203.0.113.5", OFFICE, True),
        ("203.0.113.5", LOOPBACK, True),
        ("2001:db8:5::5", OFFICE, False),  # we have no socket that reaches it
        ("127.0.0.1", LOOPBACK, True),
        ("::1", LOOPBACK, True),
        ("127.0.0.1", PUBLIC, False),
        ("127.0.0.1", OFFICE, False),
        ("::1", PUBLIC, False),
        ("127.0.0.1", ["::1"], False),
        ("10.1.2.3", OFFICE, True),
        ("10.1.2.3", LOOPBACK, True),
        ("10.1.2.3", PUBLIC, False),
        ("100.64.0.1", PUBLIC, False),
        ("fd00::5", PUBLIC, False),
        ("fd00::5", ["fd00::1"], True),
        ("10.1.2.3", ["198.51.100.1", "fd00::1"], False),
        ("0.0.0.0", LOOPBACK, False),
        ("::", LOOPBACK, False),
        ("0.1.2.3", LOOPBACK, False),
        ("224.0.0.1", LOOPBACK, False),
        ("ff02::1", LOOPBACK, False),
        ("255.255.255.255", LOOPBACK, False),
        ("240.0.0.1", LOOPBACK, False),
        ("169.254.169.254", LOOPBACK, False),
        ("fe80::1", LOOPBACK, False),
        ("2001:db8:5::5%eth0", PUBLIC, False),
        ("3f95bb05-ca3d-4af3-a29b-ef10333d8e46.local", LOOPBACK, False),
        ("example.net", LOOPBACK, False),
        ("0x7f.1", LOOPBACK, False),
        ("2130706433", LOOPBACK, False),
        ("", LOOPBACK, False),
    ],
)
def test_where(host: str, local: list[str], tried: bool) -> None:
    assert hosts(host, local=local) == ([host] if tried else [])


def test_an_address_is_one_however_it_is_written() -> None:
    assert hosts("::ffff:203.0.113.5", "203.0.113.5", local=PUBLIC) == ["203.0.113.5"]
    assert hosts("2001:DB8:5:0::5", "2001:db8:5::5", local=PUBLIC) == ["2001:db8:5::5"]
    assert hosts("::ffff:127.0.0.1", "::ffff:10.0.0.1", local=PUBLIC) == []


def test_behind_a_nat_private_addresses_are_those_of_others() -> None:
    assert hosts("192.168.1.77", local=OFFICE) == ["192.168.1.77"]
    assert hosts("192.168.1.77", local=OFFICE, advertised="203.0.113.9") == []
    # The NAT is there for one family.
    told = ("192.168.1.77", "fd00::77")
    assert hosts(*told, local=[*OFFICE, "fd00::1"], advertised="203.0.113.9") == ["fd00::77"]
    assert hosts("127.0.0.1", local=LOOPBACK, advertised="203.0.113.9") == ["127.0.0.1"]


def test_loopback_beside_other_addresses_opens_nothing_to_strangers() -> None:
    told = ("127.0.0.1", "::1", "10.1.2.3", "fd00::5", "203.0.113.5")
    assert hosts(*told, local=[*PUBLIC, *LOOPBACK]) == ["203.0.113.5"]
    assert hosts(*told, local=[*OFFICE, *LOOPBACK]) == ["10.1.2.3", "203.0.113.5"]
    assert hosts(*told, local=[*OFFICE, *LOOPBACK], advertised="203.0.113.9") == ["203.0.113.5"]


def test_private_networks_that_we_reach_all_the_same() -> None:
    told = ("10.1.2.3", "10.2.0.1", "fd00:1::5", "203.0.113.5")
    assert hosts(*told, local=PUBLIC, allow=("10.1.0.0/16", "fd00:1::/32")) == [
        "10.1.2.3",
        "fd00:1::5",
        "203.0.113.5",
    ]
    # Who lets anybody in has not said that anybody's network is ours.
    assert hosts(*told, local=PUBLIC, allow=("0.0.0.0/0", "::/0")) == ["203.0.113.5"]


@pytest.mark.parametrize(
    ("candidate", "tried"),
    [
        (at("203.0.113.5", 1024), True),
        (at("203.0.113.5", 1023), False),
        (at("203.0.113.5", 53), False),
        (at("203.0.113.5", 0), False),
        (Candidate("1", 2, "udp", 1, "203.0.113.5", 5000, "host"), False),
        (Candidate("1", 1, "tcp", 1, "203.0.113.5", 5000, "host", tcp_type="passive"), False),
        (Candidate("1", 1, "udp", 1, "203.0.113.5", 5000, "relay", "10.0.0.1", 53), True),
    ],
)
def test_what_kind(candidate: Candidate, tried: bool) -> None:
    assert usable([candidate], local=PUBLIC) == ((candidate,) if tried else ())


def test_one_check_for_one_place() -> None:
    told = [at("203.0.113.5"), at("203.0.113.5"), at("203.0.113.5", 5001), at("203.0.113.6")]
    assert usable(told, local=PUBLIC) == (told[0], *told[2:])


def test_we_are_not_the_peer() -> None:
    own = [("127.0.0.1", 5000), ("::ffff:127.0.0.1", 5001)]
    told = [at("127.0.0.1", port) for port in (5000, 5001, 5002)]
    assert usable(told, local=LOOPBACK, own=own) == (told[2],)


def test_who_lists_four_hundred_gets_sixteen() -> None:
    """One offer must not make us send to whomever the caller likes."""
    victims = [f"203.0.{n // 250}.{n % 250}" for n in range(400)]
    lines = "".join(f"a=candidate:1 1 udp 9 {host} 5000 typ host\r\n" for host in victims)
    text = offer("rtpengine", ("a=ptime:20\r\n", f"a=ptime:20\r\n{lines}"))
    remote = read_offer(parse(text), CODECS).remote
    found = usable(remote.candidates, local=LOOPBACK)
    assert [item.host for item in found] == victims[:MAX_CANDIDATES]
    assert MAX_CANDIDATES == 16


def test_those_that_cannot_be_used_do_not_take_the_place_of_others() -> None:
    told = [at("10.0.0.1", 5000 + n) for n in range(50)] + [at("203.0.113.5")]
    assert usable(told, local=PUBLIC) == (told[-1],)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("chrome", []),
        ("firefox_gathered", []),  # all hidden: its own checks tell where it is
        ("chrome_gathered", ["192.0.2.2"]),  # its private and its TCP ones are no use to us
        ("jssip", ["192.0.2.2"]),
        ("rtpengine", []),
    ],
)
def test_real_offers(name: str, found: list[str]) -> None:
    remote = read_offer(parse(offer(name)), CODECS).remote
    assert [item.host for item in usable(remote.candidates, local=PUBLIC)] == found
