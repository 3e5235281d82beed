"""What the Agents SDKs, stricter than any type, make of servers of other dialects."""

import pytest

from tests.realtime.test_dialects_servers import STREAMS, read

pytestmark = pytest.mark.loop  # one of the clients runs on Node, and one on an event loop


def test_the_agents_sdks_understand_every_server() -> None:
    from tests.sdk.schemas import (  # the clients take seconds to import
        faults,
        has_node,
        javascript_faults,
    )

    events = [event for name in STREAMS for event in read(name)]
    assert faults(events) == []
    if has_node():
        assert javascript_faults(events) == []
