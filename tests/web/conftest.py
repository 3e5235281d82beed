"""One browser for all tests of the page; each test opens the page anew, with nothing kept."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.web.browser import Browser, need_browser, running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def started() -> AsyncIterator[Browser]:
    need_browser()
    async with running() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def browser(started: Browser) -> AsyncIterator[Browser]:
    started.faults.clear()
    yield started
    assert not started.faults, started.faults
