"""Coroutine tests run on the loop that their subject runs on.

The service uses uvloop, which differs from asyncio's own loop in what it raises, in when its timers
fire and in what becomes of a cancelled call. The test phone uses asyncio's own.
"""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

Loop = asyncio.AbstractEventLoop


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], Loop]]:
    if "phone" in item.path.parts:
        return {"asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}
