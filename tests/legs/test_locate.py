"""From where a URI says that a request goes to the places that it is sent to (RFC 3263)."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from dns.resolver import NoResolverConfiguration

from gateway.legs import dns as dns_module
from gateway.legs.dns import Dns
from gateway.legs.leg import LegError
from gateway.legs.locate import MAX_PLACES, Locator
from gateway.sip.message import Address
from tests.legs.name_server import NameServer

pytestmark = pytest.mark.loop

OURS = "198.51.100.1"
ALL = ("udp", "tcp", "tls")


class Net:
    """A locator, its name server, and a clock."""

    def __init__(self, server: NameServer) -> None:
        self.now_s = 0.0
        self.server = server
        self.dns = Dns(lambda: self.now_s, [server.address])
        self.locator = Locator(lambda: self.now_s, self.dns, lambda: 0.5)

    async def places(
        self,
        host: str = "carrier.example",
        port: int = 0,
        transport: str = "",
        *,
        transports: tuple[str, ...] = ALL,
        ours: str = OURS,
    ) -> list[str]:
        """transport:host:port[:name] of each."""
        hop = Address(host, port, transport)
        found = await self.locator.locate(hop, transports, (ours,))
        return [
            ":".join((one.transport, one.host, str(one.port), *((one.name,) if one.name else ())))
            for one in found
        ]

    async def failure(self, *args: Any, **options: Any) -> tuple[int, str]:
        with pytest.raises(LegError) as caught:
            await self.places(*args, **options)
        return caught.value.status, caught.value.reason


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    server = await NameServer.open()
    net = Net(server)
    yield net
    await net.locator.close()
    server.close()


CARRIER = {
    ("carrier.example", "NAPTR"): [
        '20 10 "s" "SIP+D2U" "" _sip._udp.carrier.example.',
        '10 20 "s" "SIP+D2T" "" _sip._tcp.carrier.example.',
        '10 10 "s" "SIPS+D2T" "" _sips._tcp.carrier.example.',
        '5 5 "u" "E2U+sip" "!^.*$!sip:info@carrier.example!" .',
        '1 1 "s" "SIP+D2S" "" _sip._sctp.carrier.example.',
    ],
    ("_sip._udp.carrier.example", "SRV"): ["0 0 5060 a.carrier.example."],
    ("_sip._tcp.carrier.example", "SRV"): ["0 0 5062 b.carrier.example."],
    ("_sips._tcp.carrier.example", "SRV"): [
        "10 0 5063 b.carrier.example.",
        "5 0 5061 a.carrier.example.",
    ],
    ("a.carrier.example", "A"): ["192.0.2.1", "192.0.2.2"],
    ("a.carrier.example", "AAAA"): ["2001:db8::1"],
    ("b.carrier.example", "A"): ["192.0.2.3"],
}


async def test_the_domain_says_what_it_prefers(net: Net) -> None:
    net.server.zone = CARRIER
    assert await net.places() == [
        "tls:192.0.2.1:5061:carrier.example",
        "tls:192.0.2.2:5061:carrier.example",
        "tls:192.0.2.3:5063:carrier.example",
        "tcp:192.0.2.3:5062",
        "udp:192.0.2.1:5060",
        "udp:192.0.2.2:5060",
    ]


async def test_what_we_do_not_speak_is_passed_over(net: Net) -> None:
    net.server.zone = CARRIER
    assert await net.places(transports=("udp",)) == ["udp:192.0.2.1:5060", "udp:192.0.2.2:5060"]


async def test_the_family_is_ours(net: Net) -> None:
    net.server.zone = CARRIER
    assert await net.places(transport="udp", ours="2001:db8::9") == ["udp:2001:db8::1:5060"]


async def test_a_transport_that_is_named_is_taken(net: Net) -> None:
    net.server.zone = CARRIER
    assert await net.places(transport="tcp") == ["tcp:192.0.2.3:5062"]
    assert (await net.places(transport="tls"))[0] == "tls:192.0.2.1:5061:carrier.example"
    assert await net.failure(transport="tcp", transports=("udp",)) == (502, "no_transport")


async def test_a_port_that_is_named_means_one_host(net: Net) -> None:
    net.server.zone = CARRIER | {("carrier.example", "A"): ["192.0.2.9"]}
    assert await net.places(port=5070) == ["udp:192.0.2.9:5070"]
    assert await net.places(port=5070, transport="tcp") == ["tcp:192.0.2.9:5070"]
    assert {kind for _, kind in net.server.asked} == {"A"}


async def test_without_naptr_the_usual_names_are_asked_for(net: Net) -> None:
    net.server.zone = {key: value for key, value in CARRIER.items() if key[1] != "NAPTR"}
    assert [one.split(":")[0] for one in await net.places()] == ["udp"] * 2 + ["tcp"] + ["tls"] * 3


@pytest.mark.parametrize(
    ("transport", "place"),
    [("", "udp:192.0.2.9:5060")] * 1
    + [
        ("tcp", "tcp:192.0.2.9:5060"),
        ("tls", "tls:192.0.2.9:5061"),
    ],
)
async def test_without_services_the_host_of_that_name_is_called(
    net: Net, transport: str, place: str
) -> None:
    net.server.zone = {("carrier.example", "A"): ["192.0.2.9"]}
    assert await net.places(transport=transport) == [place]


@pytest.mark.parametrize("fault", ["silent", "broken"])
async def test_name_servers_that_do_not_know_srv(
    net: Net, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    assert net.dns._resolver is not None
    net.dns._resolver.lifetime = net.dns._resolver.timeout = 0.1
    net.server.zone = {("carrier.example", "A"): ["192.0.2.9"]}
    wrong = {("carrier.example", "NAPTR")} | {
        (f"_{name}.carrier.example", "SRV") for name in ("sip._udp", "sip._tcp", "sips._tcp")
    }
    setattr(net.server, fault, wrong)
    assert await net.places() == ["udp:192.0.2.9:5060"]
    asked = len(net.server.asked)
    assert await net.places() == ["udp:192.0.2.9:5060"]
    assert len(net.server.asked) == asked, "whoever could not tell is left alone for a while"
    setattr(net.server, fault, set())
    net.server.zone |= {("_sip._tcp.carrier.example", "SRV"): ["0 0 5062 carrier.example."]}
    net.now_s = 31.0
    assert await net.places() == ["tcp:192.0.2.9:5062"]


async def test_a_service_that_is_not_to_be_had(net: Net) -> None:
    net.server.zone = CARRIER | {
        ("carrier.example", "A"): ["192.0.2.9"],
        ("_sip._tcp.carrier.example", "SRV"): ["0 0 0 ."],
    }
    assert await net.failure(transport="tcp") == (404, "unknown_host")


async def test_names_of_nobody(net: Net) -> None:
    assert await net.failure("nobody.example") == (404, "unknown_host")
    assert await net.failure("a" * 64 + ".example") == (404, "unknown_host")
    net.server.zone = {("_sip._udp.carrier.example", "SRV"): ["0 0 5060 gone.example."]}
    assert await net.failure() == (404, "unknown_host")
    net.server.broken = {("carrier.example", "A")}
    assert await net.failure("carrier.example", 5060) == (502, "unresolved")


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1"])
async def test_a_server_where_no_call_may_be_sent(net: Net, address: str) -> None:
    net.server.zone = {
        ("_sip._udp.carrier.example", "SRV"): ["0 0 5060 a.example.", "1 0 5060 b.example."],
        ("a.example", "A"): [address],
    }
    assert await net.failure() == (404, "unknown_host")  # what was wrong with the last of them
    net.server.zone[("b.example", "A")] = ["192.0.2.1"]
    net.now_s = 31.0
    assert await net.places() == ["udp:192.0.2.1:5060"]
    net.server.zone[("_sip._udp.other.example", "SRV")] = ["0 0 5060 a.example."]
    assert await net.failure("other.example") == (403, "unusable_host")


async def test_no_more_places_than_anybody_would_try(net: Net) -> None:
    net.server.zone = {
        ("_sip._udp.carrier.example", "SRV"): [f"{n} 0 5060 h{n}.example." for n in range(20)],
    } | {(f"h{n}.example", "A"): [f"192.0.2.{n}", f"192.0.3.{n}"] for n in range(20)}
    assert len(await net.places()) == MAX_PLACES
    assert len([kind for _, kind in net.server.asked if kind == "A"]) == 8


async def test_answers_are_kept_as_long_as_they_say_within_bounds(net: Net) -> None:
    net.server.zone = dict(CARRIER)
    for ttl, held_s, over_s in ((60, 59.0, 62.0), (0, 4.0, 6.0), (100_000, 599.0, 602.0)):
        net.server.ttl = ttl
        await net.places()
        asked, begun = len(net.server.asked), net.now_s
        net.now_s = begun + held_s
        await net.places()
        assert len(net.server.asked) == asked
        net.now_s = begun + over_s
        await net.places()
        assert len(net.server.asked) > asked
        net.now_s += 1000.0


async def test_many_who_ask_wait_for_the_same_answer(net: Net) -> None:
    net.server.zone = CARRIER
    calls = [asyncio.create_task(net.places()) for _ in range(100)]
    await asyncio.sleep(0)
    calls[0].cancel()
    found = await asyncio.gather(*calls[1:])
    assert all(one == found[0] for one in found)
    assert len(net.server.asked) == len(set(net.server.asked))


async def test_few_questions_are_under_way_at_once(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns_module, "_MAX_UNDER_WAY", 3)
    names = [f"h{number}.example" for number in range(10)]
    net.server.silent = {(name, "A") for name in names}
    calls = [asyncio.create_task(net.failure(name, 5060)) for name in names]
    done, waiting = await asyncio.wait(calls, timeout=0.5)
    assert {call.result() for call in done} == {(502, "unresolved")}
    assert len(waiting) == 3
    await net.locator.close()  # they are told that nobody can tell
    assert {call.result() for call in (await asyncio.wait(waiting))[0]} == {(502, "unresolved")}


@pytest.mark.parametrize("garbage", [b"", b"\x00" * 10, b"\xff" * 600, bytes(range(256)) * 2])
async def test_what_is_no_answer_is_none(net: Net, garbage: bytes) -> None:
    assert net.dns._resolver is not None
    net.dns._resolver.lifetime = net.dns._resolver.timeout = 0.1
    net.server.garbage = garbage
    assert await net.failure("carrier.example", 5060) == (502, "unresolved")


@pytest.mark.parametrize("host", ["localhost", "pbx", "pbx.local.example"])
async def test_names_of_this_machine_are_asked_of_nobody(
    net: Net, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str
) -> None:
    def getaddrinfo(*_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("10.0.0.7", 0))]

    hosts = tmp_path / "hosts"
    hosts.write_text("# ours\n10.0.0.7 PBX.local.example other # and no more\n")  # noqa: ASYNC240
    monkeypatch.setattr(dns_module, "_HOSTS_FILE", hosts)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    locator = Locator(lambda: 0.0, Dns(lambda: 0.0, [net.server.address]))
    [place] = await locator.locate(Address(host, 0, ""), ALL, ("10.0.0.1",))
    assert place == Address("10.0.0.7", 5060, "udp")
    assert net.server.asked == []
    await locator.close()


async def test_an_address_is_called_as_it_is(net: Net) -> None:
    assert await net.places("192.0.2.7") == ["udp:192.0.2.7:5060"]
    assert await net.places("192.0.2.7", 0, "tls") == ["tls:192.0.2.7:5061"]
    assert await net.places("2001:db8::7", ours="2001:db8::1") == ["udp:2001:db8::7:5060"]
    assert net.server.asked == []


async def test_without_dns_a_domain_is_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("192.0.2.7", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    locator = Locator(lambda: 0.0, None)
    [place] = await locator.locate(Address("carrier.example", 0, ""), ALL, (OURS,))
    assert place == Address("192.0.2.7", 5060, "udp")
    await locator.close()


async def test_a_system_without_name_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise NoResolverConfiguration

    monkeypatch.setattr("dns.asyncresolver.Resolver", fail)
    assert await Dns(lambda: 0.0).servers("_sip._udp.carrier.example") == []


async def test_with_addresses_of_both_families_ipv4_is_tried_first(net: Net) -> None:
    net.server.zone = CARRIER
    hop, ours = Address("carrier.example", 0, "udp"), ("0.0.0.0", "::")
    places = await net.locator.locate(hop, ALL, ours)
    assert [place.host for place in places] == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    [six] = await net.locator.locate(Address("2001:db8::7", 5060, "udp"), ALL, ours)
    assert six.host == "2001:db8::7"
    with pytest.raises(LegError):
        await net.locator.locate(Address("nobody.example", 0, ""), ALL, ours)
