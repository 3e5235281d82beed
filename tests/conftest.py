"""What holds for the whole suite: the loop that coroutines run on, and what clients make of events.

Coroutine tests run on the loop that their subject runs on. The service uses uvloop, which differs
from asyncio's own loop in what it raises, in when its timers fire and in what becomes of a
cancelled call. The test phone uses asyncio's own.

Every event that a running gateway sent in this run, whichever tests it were, is shown to the
official clients at its end. A fault is an error of the last test, so that the run fails.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop

from gateway import collector
from tests.ahead import Ahead
from tests.peers.record import EVENTS

Loop = asyncio.AbstractEventLoop

_VERDICT = pytest.StashKey[list[str]]()


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], Loop]]:
    if "phone" in item.path.parts:
        return {"asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In each folder, first what needs the machine for itself, then what may run while scenes go
    on, then what looks at the scenes, and last `test_zero`, for which all has to be over."""
    folders = {item.path.parent: place for place, item in reversed(list(enumerate(items)))}

    def place(item: pytest.Item) -> tuple[int, bool, bool, bool]:
        looks = item.get_closest_marker("ahead") is not None
        beside = isinstance(item, pytest.Function) and "meanwhile" in item.fixturenames
        return folders[item.path.parent], item.path.stem == "test_zero", looks, beside

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """People speak in threads of this process: a collection of all that the tests are made of stops
    them for half a second, and they are not understood."""
    collector.settle()


@pytest.fixture(scope="session", autouse=True)
def clients_understand_every_event(request: pytest.FixtureRequest) -> Iterator[None]:
    """Looks when the gateways that the run shared are down, and nobody says anything any more."""
    yield
    verdict = request.config.stash.setdefault(_VERDICT, [])
    if not EVENTS:
        verdict.append("no sideband was read in this run: nothing was shown to any client")
        return
    from tests.sdk import schemas  # only now: the clients take seconds to import

    found = schemas.faults(EVENTS)
    clients = ["openai", "openai-agents"]
    if schemas.has_node():
        found += schemas.javascript_faults(EVENTS)
        clients.append("@openai/agents-realtime")
    else:
        verdict.append("not shown to @openai/agents-realtime: the npm packages are not installed")
    shown = Counter(str(one.get("type")) for one in EVENTS if not schemas.is_extension(one))
    verdict += [
        f"{shown.total()} events of {len(shown)} types were shown to {', '.join(clients)}: "
        f"{len(found)} faults; {len(EVENTS) - shown.total()} more were the gateway's own, unshown",
        ", ".join(f"{kind} {count}" for kind, count in sorted(shown.items())),
    ]
    assert not found, "\n".join(found[:20])


@pytest.fixture(scope="session")
def ahead(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ahead]:
    with Ahead(tmp_path_factory) as ahead:
        yield ahead


@pytest.fixture(scope="module")
def meanwhile(request: pytest.FixtureRequest, ahead: Ahead) -> None:
    """Scenes of this folder go on from here, those that a test of this run looks at."""
    for item in request.session.items:
        if item.path.parent == request.path.parent:
            for mark in item.iter_markers("ahead"):
                ahead.begin(mark.args[0])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if verdict := config.stash.get(_VERDICT, []):
        terminalreporter.section("server events")
        for line in verdict:
            terminalreporter.line(line)
