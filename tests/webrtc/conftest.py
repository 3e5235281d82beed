"""Which event loops the tests of peer connections run on."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

Loop = asyncio.AbstractEventLoop


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], Loop]]:
    """The service's, and asyncio's own for tests that ask for both: sockets differ."""
    factories: dict[str, Callable[[], Loop]] = {"uvloop": uvloop.new_event_loop}
    if any("loop_factories" in mark.kwargs for mark in item.iter_markers("asyncio")):
        factories["asyncio"] = asyncio.new_event_loop
    return factories
