"""SIGTERM while an application listens: its sideband ends with the call, and nobody waits."""

import time

import pytest
from openai import OpenAI

from tests.sdk.sideband import Sideband
from tests.sdk.site import KEY, SECRET, running

pytestmark = pytest.mark.peer

LAST_WORDS_S = 5.0
"""So long the gateway would wait for a client that says nothing to its close."""


def test_a_sideband_ends_with_the_call_that_a_drain_ends() -> None:
    with running() as site:
        client = OpenAI(base_url=site.base_url, api_key=KEY, webhook_secret=SECRET)
        with site.phone() as phone:
            told = site.hooks.next()
            event = client.webhooks.unwrap(told.body, told.headers)
            assert event.type == "realtime.call.incoming"
            client.realtime.calls.accept(event.data.call_id, type="realtime")
            assert phone.answered.wait(10)
            with Sideband(client, call_id=event.data.call_id) as sideband:
                sideband.next("session.created")
                began = time.monotonic()
                site.gateway.terminate()
                assert sideband.closed() == 1000
                assert site.gateway.wait() == 0
                took_s = time.monotonic() - began
        assert phone.ended_by_gateway
        assert took_s < LAST_WORDS_S
        assert site.gateway.lines("call.ended")[0]["reason"] == "drain"
