"""From a host's name to the address that is called."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.legs import resolve as module
from gateway.legs.leg import LegError
from gateway.legs.resolve import Resolver

pytestmark = pytest.mark.loop


class Names:
    """What the system knows, and a clock."""

    def __init__(self) -> None:
        self.addresses: tuple[str, ...] = ("192.0.2.1",)
        self.error: Exception | None = None
        self.now_s = 0.0
        self.asked: list[tuple[str, int]] = []
        self.begun = threading.Semaphore(0)
        self.answers = threading.Event()
        self.answers.set()
        self.resolver = Resolver(lambda: self.now_s)

    def getaddrinfo(self, host: str, port: None, family: int, kind: int) -> list[Any]:
        self.asked.append((host, family))
        self.begun.release()
        error, addresses = self.error, self.addresses
        self.answers.wait()
        if error is not None:
            raise error
        return [(family, kind, 17, "", (address, 0)) for address in addresses]

    async def resolve(self, host: str = "pbx.example", bind_host: str = "198.51.100.1") -> str:
        return (await self.resolver.resolve(host, bind_host))[0]

    async def failure(
        self, host: str = "pbx.example", bind_host: str = "198.51.100.1"
    ) -> tuple[int, str]:
        with pytest.raises(LegError) as caught:
            await self.resolve(host, bind_host)
        return caught.value.status, caught.value.reason

    async def until_asked(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=3)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    yield names
    names.answers.set()
    await_answers()


def await_answers() -> None:
    for thread in threading.enumerate():
        if thread.name == "resolve":
            thread.join(3)
            assert not thread.is_alive()


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
    names: Names, host: str, bind_host: str, address: str
) -> None:
    assert await names.resolve(host, bind_host) == address
    assert names.asked == []


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
async def test_an_address_of_no_caller_is_not_called(
    names: Names, host: str, bind_host: str
) -> None:
    assert await names.failure(host, bind_host) == (403, "unusable_host")


async def test_what_the_system_reads_as_a_number_is_judged_by_its_address() -> None:
    for host in ("127.1", "0x7f000001", "2130706433"):
        names = Names()
        assert await names.failure(host, "198.51.100.1") == (403, "unusable_host")
        assert await names.resolve(host, "127.0.0.1") == "127.0.0.1"


async def test_the_first_address_that_will_do_is_taken(names: Names) -> None:
    names.addresses = ("127.0.0.1", "169.254.0.1", "192.0.2.1", "192.0.2.2")
    assert await names.resolve() == "192.0.2.1"
    usable = await names.resolver.resolve("pbx.example", "198.51.100.1")
    assert usable == ["192.0.2.1", "192.0.2.2"]
    names.addresses = ("127.0.0.1", "0.0.0.0")
    assert await names.failure("other.example") == (403, "unusable_host")


async def test_an_address_of_the_other_family_is_not_looked_for(names: Names) -> None:
    names.error = socket.gaierror(socket.EAI_NONAME, "no address")
    assert await names.failure("2001:db8::7", "127.0.0.1") == (404, "unknown_host")
    assert await names.failure("192.0.2.1", "::1") == (404, "unknown_host")
    assert [family for _, family in names.asked] == [socket.AF_INET, socket.AF_INET6]


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
    names: Names, error: Exception, told: tuple[int, str]
) -> None:
    names.error = error
    assert await names.failure() == told


async def test_a_label_that_no_name_has() -> None:
    assert await Names().failure("a" * 64 + ".example") == (404, "unknown_host")


async def test_what_was_found_is_known_for_a_while(names: Names) -> None:
    for now_s, asked in [(0.0, 1), (29.0, 1), (31.0, 2), (60.0, 2), (62.0, 3)]:
        names.now_s = now_s
        assert await names.resolve("PBX.example") == await names.resolve() == "192.0.2.1"
        assert len(names.asked) == asked
    # What may be called is asked anew each time: it depends on who calls.
    assert await names.failure(bind_host="127.0.0.1") == (403, "unusable_host")
    assert len(names.asked) == 3


@pytest.mark.parametrize(
    ("code", "is_known"), [(socket.EAI_NONAME, True), (socket.EAI_AGAIN, False)]
)
async def test_that_there_is_no_such_name_is_known_too(
    names: Names, code: int, is_known: bool
) -> None:
    names.error = socket.gaierror(code, "x")
    assert await names.failure() == await names.failure()
    assert len(names.asked) == (1 if is_known else 2)
    names.error, names.now_s = None, 31.0
    assert await names.resolve() == "192.0.2.1"


async def test_no_more_names_are_known_than_can_be_of_use(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_KEPT", 2)
    for host, asked in [("a", 1), ("b", 2), ("c", 3), ("b", 3), ("c", 3), ("a", 4), ("b", 5)]:
        await names.resolve(host)
        assert len(names.asked) == asked


async def test_many_who_ask_for_one_name_are_answered_together(names: Names) -> None:
    names.answers.clear()
    dials = [asyncio.create_task(names.resolve()) for _ in range(50)]
    await names.until_asked()
    dials[0].cancel()
    await asyncio.sleep(0)
    names.answers.set()
    assert await asyncio.gather(*dials[1:]) == ["192.0.2.1"] * 49
    assert dials[0].cancelled()
    assert len(names.asked) == 1


async def test_a_name_server_that_is_silent_holds_nobody_else_up(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.01)
    names.answers.clear()
    for _ in range(3):
        for number in range(module._MAX_UNDER_WAY):
            assert await names.failure(f"{number}.example") == (502, "unresolved")
    assert len(names.asked) == module._MAX_UNDER_WAY, "those that go on are waited for again"
    monkeypatch.setattr(module, "_TIMEOUT_S", 3600.0)
    assert await names.failure("one.more.example") == (502, "unresolved"), "at once"
    assert len(names.asked) == module._MAX_UNDER_WAY
    async with asyncio.timeout(3):
        await asyncio.to_thread(lambda: None)  # where the rest of the process looks names up
    names.answers.set()
    assert await names.resolve("0.example") == "192.0.2.1"
    await asyncio.to_thread(await_answers)
    assert await names.resolve("one.more.example") == "192.0.2.1"


async def test_closed_while_a_name_is_looked_up(names: Names) -> None:
    names.answers.clear()
    dial = asyncio.create_task(names.failure())
    await names.until_asked()
    names.resolver.close()
    assert await dial == (502, "unresolved")
    names.answers.set()
    await asyncio.sleep(0.01)
    names.resolver.close()


def test_an_answer_that_nobody_waits_for_any_more(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop is gone when it comes."""
    failed: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    names.answers.clear()

    async def dial() -> None:
        dialling = asyncio.create_task(names.resolve())
        await names.until_asked()
        dialling.cancel()

    asyncio.run(dial())
    names.answers.set()
    await_answers()
    assert failed == []
