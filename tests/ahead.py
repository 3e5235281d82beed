"""Tests that take long because somebody speaks or waits in them, begun before it is their turn.

Such a test is a scene, and is marked by `early`. Where several tests look at one scene, each is
marked by `looks_at` and asks the fixture `ahead` what became of it. Modules that wait more than
they work, and mind no neighbours, use the fixture `meanwhile`: the scenes of their folder go on
while they run. `tests/conftest.py` puts all of them in order.
"""

import functools
import inspect
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest

Result = TypeVar("Result")
Scene = Callable[[Path], Result]
"""What happens; it is given a directory of its own."""

_AT_ONCE = 4


class Ahead:
    """Use as a context manager, which waits for what goes on."""

    def __init__(self, directories: pytest.TempPathFactory) -> None:
        self._directories = directories
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._begun: dict[Scene[Any], Future[Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def begin(self, scene: Scene[Any]) -> None:
        """Have it begin as soon as there is room, unless it was asked for before."""
        if scene not in self._begun:
            directory = self._directories.mktemp(scene.__name__)
            self._begun[scene] = self._pool.submit(scene, directory)

    def result(self, scene: Scene[Result]) -> Result:
        """What it returns, when it is over.

        Raises:
            whatever it raises, which may be that the test is to be skipped.
        """
        self.begin(scene)
        outcome: Result = self._begun[scene].result()
        return outcome


def early(scene: Scene[str | None]) -> Callable[[Ahead, None], None]:
    """The test that this scene is; what it returns is printed."""

    @functools.wraps(scene)
    def test(ahead: Ahead, meanwhile: None) -> None:
        print(ahead.result(scene) or "")

    fixtures = inspect.signature(test, follow_wrapped=False)
    test.__signature__ = fixtures  # type: ignore[attr-defined]
    marked: Callable[[Ahead, None], None] = looks_at(scene)(test)
    return marked


def looks_at(scene: Scene[Any]) -> pytest.MarkDecorator:
    """The test will ask for this scene."""
    return pytest.mark.ahead.with_args(scene)
