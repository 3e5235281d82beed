"""What modules of this folder share: a gateway that asks a webhook about every call."""

from collections.abc import Iterator

import pytest

from tests.sdk.site import Site, running


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    with running() as site:
        yield site
