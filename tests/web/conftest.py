"""One browser for all tests of the page, and for each a page with nothing kept."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import pytest

from tests.peers.chromium import Chromium, need_chromium
from tests.web.browser import Person, need_axe


class Opens(Protocol):
    def __call__(self, url: str, **options: Any) -> AbstractContextManager[Person]:
        """A person in front of the page at this URL; options are those of `Person`."""


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    need_chromium()
    need_axe()
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def opened(chromium: Chromium) -> Opens:
    @contextmanager
    def opened(url: str, **options: Any) -> Iterator[Person]:
        with Person(chromium, **options) as person:
            person.go(url)
            yield person
            assert not person.faults, person.faults

    return opened
