"""Keys, secrets, numbers and what people say go through the gateway, and into no log or page."""

import contextlib
import json

import openai
import pytest
from openai import OpenAI

from tests.sdk.sideband import Sideband
from tests.sdk.site import KEY, OLD_SECRET, OTHER_KEY, SECRET, running

pytestmark = pytest.mark.peer

CALLER = "15550987654"
TARGET = "4930555444333"
WORDS = "canary-instructions"
WRONG_KEY = "sk-canary-wrong"
HEADER = "canary-header"
ESCAPE = "canary\x1b[31m\n{}"


def test_what_is_nobody_elses_business_is_in_no_log() -> None:
    with running() as site:
        client = OpenAI(base_url=site.base_url, api_key=KEY, webhook_secret=SECRET)
        wrong = OpenAI(base_url=site.base_url, api_key=WRONG_KEY)
        made = client.realtime.client_secrets.create(
            session={"type": "realtime", "instructions": WORDS}
        )
        with contextlib.suppress(openai.AuthenticationError):
            wrong.realtime.calls.hangup("rtc_1")
        with contextlib.suppress(openai.PermissionDeniedError):
            OpenAI(base_url=site.base_url, api_key=made.value).realtime.calls.hangup("rtc_1")
        with contextlib.suppress(openai.NotFoundError):
            client.realtime.calls.hangup(f"rtc_{WORDS}")
        headers = [f"X-Secret: {HEADER}", f"P-Asserted-Identity: <sip:{CALLER}@example.com>"]
        with site.phone(headers=headers, transfer=486) as phone:
            told = site.hooks.next()
            call_id = client.webhooks.unwrap(told.body, told.headers).data.call_id  # type: ignore[union-attr]
            client.realtime.calls.accept(call_id, type="realtime", instructions=WORDS)
            assert phone.answered.wait(10)
            with Sideband(client, call_id=call_id) as sideband:
                sideband.next("session.created")
                sideband.connection.send({"type": [ESCAPE]})  # type: ignore[arg-type]
                sideband.next("error")
            client.realtime.calls.refer(call_id, target_uri=f"tel:+{TARGET}")
            site.gateway.wait_for("transfer.result", call_id=call_id, result="busy")
        site.ended(call_id)
        metrics, description = site.gateway.get("/metrics")[1], site.gateway.get("/openapi.json")[1]
        logged = json.dumps(site.gateway.logs) + metrics + description
    secrets = (KEY, OTHER_KEY, WRONG_KEY, SECRET, OLD_SECRET, made.value)
    for canary in (*secrets, CALLER, TARGET, WORDS, HEADER, "\x1b"):
        assert canary not in logged, canary
    assert f"…{TARGET[-4:]}" not in logged  # the API alone shows that much of a target
