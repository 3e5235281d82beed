"""All that gateways said on sidebands in this run, shown to all clients. The last of its folder."""

import pytest

from tests.sdk.record import EVENTS
from tests.sdk.schemas import faults, javascript_faults, need_node

pytestmark = pytest.mark.loop


@pytest.fixture(scope="module", autouse=True)
def heard() -> None:
    if not EVENTS:
        pytest.skip("no sideband was read in this run: run the other modules of this folder too")


def test_python_clients_understand_every_event() -> None:
    assert faults(EVENTS) == []


def test_javascript_client_understands_every_event() -> None:
    need_node()
    assert javascript_faults(EVENTS) == []
