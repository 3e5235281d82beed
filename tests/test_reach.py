"""Which addresses are sent anything."""

import ipaddress

import pytest

from gateway.reach import reachable_host, usable_host

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("host", "ours", "usable"),
    [
        ("192.0.2.1", "198.51.100.1", True),
        ("10.1.2.3", "198.51.100.1", True),
        ("2001:db8::1", "2001:db8::2", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "198.51.100.1", False),
        ("::1", "198.51.100.1", False),
        ("::ffff:127.0.0.1", "198.51.100.1", False),
        ("0.0.0.0", "127.0.0.1", False),
        ("0.0.0.1", "127.0.0.1", False),
        ("0.255.0.1", "0.0.0.1", False),
        ("::ffff:0.0.0.1", "127.0.0.1", False),
        ("fe80::1%eth0", "fe80::1", False),
        ("240.0.0.1", "127.0.0.1", False),
        ("127.0.0.1", "gateway.example", False),
        ("::", "127.0.0.1", False),
        ("224.0.0.1", "127.0.0.1", False),
        ("255.255.255.255", "127.0.0.1", False),
        ("169.254.169.254", "127.0.0.1", False),
        ("example.net", "127.0.0.1", False),
        ("", "127.0.0.1", False),
    ],
)
def test_where_media_may_be_sent(host: str, ours: str, usable: bool) -> None:
    assert usable_host(host, ours) is usable


PRIVATE = ["10.1.2.3", "172.31.0.1", "192.168.0.9", "100.64.0.1", "::ffff:10.0.0.1", "fd00::1"]


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_address_is_usable_and_reachable_only_from_our_side_of_the_nat(host: str) -> None:
    assert usable_host(host, "198.51.100.1")
    assert not reachable_host(host, "198.51.100.1", "203.0.113.5", ())
    assert not reachable_host(host, "gateway.example", "203.0.113.5", ())
    assert reachable_host(host, "198.51.100.1", host, ())
    for ours in ("127.0.0.1", "10.9.9.9", "100.127.0.1", "fd00::9"):
        assert reachable_host(host, ours, "203.0.113.5", ())


def test_networks_of_ours_are_reachable() -> None:
    allow = (ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00:1::/32"))
    assert reachable_host("10.1.2.3", "198.51.100.1", "203.0.113.5", allow)
    assert reachable_host("fd00:1::5", "198.51.100.1", "203.0.113.5", allow)
    assert not reachable_host("10.2.2.3", "198.51.100.1", "203.0.113.5", allow)
    anyone = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
    assert not reachable_host("10.1.2.3", "198.51.100.1", "203.0.113.5", anyone)


@pytest.mark.parametrize("host", ["192.0.2.1", "100.128.0.1", "172.32.0.1", "2001:db8::1"])
def test_public_addresses_are_reachable(host: str) -> None:
    allow = (ipaddress.ip_network("10.1.0.0/16"),)
    assert reachable_host(host, "198.51.100.1", "203.0.113.5", allow)
