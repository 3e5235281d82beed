"""From a host's name to the address that is called."""

import asyncio
import socket
from typing import Any

import pytest

from gateway.legs import resolve as module
from gateway.legs.leg import LegError
from gateway.legs.resolve import resolve

pytestmark = pytest.mark.loop


def names(monkeypatch: pytest.MonkeyPatch, *addresses: str, error: Exception | None = None) -> None:
    """Have every name stand for these addresses."""

    async def getaddrinfo(host: str, port: None, **_: Any) -> list[Any]:
        if error is not None:
            raise error
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (item, 0)) for item in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


async def failure(host: str, bind_host: str = "127.0.0.1") -> tuple[int, str]:
    with pytest.raises(LegError) as caught:
        await resolve(host, bind_host)
    return caught.value.status, caught.value.reason


@pytest.mark.parametrize(
    ("host", "bind_host", "address"),
    [
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("2001:DB8:0::7", "2001:db8::1", "2001:db8::7"),
        ("10.0.0.9", "0.0.0.0", "10.0.0.9"),
    ],
)
async def test_an_address_needs_no_look_up(
    monkeypatch: pytest.MonkeyPatch, host: str, bind_host: str, address: str
) -> None:
    names(monkeypatch, error=AssertionError("looked up"))
    assert await resolve(host, bind_host) == address


@pytest.mark.parametrize(
    ("host", "bind_host"),
    [
        ("224.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("255.255.255.255", "0.0.0.0"),
        ("169.254.169.254", "198.51.100.1"),
        ("127.0.0.1", "198.51.100.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("::1", "2001:db8::1"),
        ("::ffff:127.0.0.1", "::"),
        ("ff02::1", "::"),
    ],
)
async def test_an_address_of_no_caller_is_not_called(host: str, bind_host: str) -> None:
    assert await failure(host, bind_host) == (403, "unusable_host")


async def test_what_the_system_reads_as_a_number_is_judged_by_its_address() -> None:
    for host in ("127.1", "0x7f000001", "2130706433"):
        assert await failure(host, "198.51.100.1") == (403, "unusable_host")
        assert await resolve(host, "127.0.0.1") == "127.0.0.1"


async def test_the_first_address_that_will_do_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, "127.0.0.1", "169.254.0.1", "192.0.2.1", "192.0.2.2")
    assert await resolve("pbx.example", "198.51.100.1") == "192.0.2.1"
    names(monkeypatch, "127.0.0.1", "0.0.0.0")
    assert await failure("pbx.example", "198.51.100.1") == (403, "unusable_host")


async def test_an_address_of_the_other_family_is_not_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    families: list[int] = []

    async def getaddrinfo(host: str, port: None, *, family: int, **_: Any) -> list[Any]:
        families.append(family)
        raise socket.gaierror(socket.EAI_NONAME, "no address")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    assert await failure("2001:db8::7", "127.0.0.1") == (404, "unknown_host")
    assert await failure("192.0.2.1", "::1") == (404, "unknown_host")
    assert families == [socket.AF_INET, socket.AF_INET6]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), (404, "unknown_host")),
        (socket.gaierror(socket.EAI_AGAIN, "later"), (502, "unresolved")),
        (socket.gaierror(socket.EAI_FAIL, "broken"), (502, "unresolved")),
        (UnicodeError("label too long"), (404, "unknown_host")),
        (OSError("no resolver"), (502, "unresolved")),
    ],
)
async def test_a_name_without_an_address(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: tuple[int, str]
) -> None:
    names(monkeypatch, error=error)
    assert await failure("pbx.example") == told


async def test_a_label_that_no_name_has() -> None:
    assert await failure("a" * 64 + ".example") == (404, "unknown_host")


async def test_a_resolver_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.01)
    assert await failure("pbx.example") == (502, "unresolved")
