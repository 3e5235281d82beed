"""The unmodified `openai` package for Python runs calls, from the webhook to the hang-up."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from openai import (
    AuthenticationError,
    BadRequestError,
    InvalidWebhookSignatureError,
    NotFoundError,
    OpenAI,
    PermissionDeniedError,
)
from openai.types.realtime import RealtimeFunctionToolParam
from websockets.exceptions import InvalidStatus

from tests.ahead import early
from tests.peers.gateway import eventually
from tests.sdk.phone import CallingPhone
from tests.sdk.sideband import Sideband, user_text
from tests.sdk.site import KEY, OLD_SECRET, OTHER_KEY, SECRET, Site, running
from tests.sdk.webhooks import Delivery

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.usefixtures("meanwhile")]

TOOL: RealtimeFunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[OpenAI]:
    with OpenAI(api_key=KEY, base_url=site.base_url, webhook_secret=SECRET) as client:
        yield client


def incoming(site: Site, client: OpenAI) -> str:
    """The id of the call that the next webhook is about."""
    delivery = site.hooks.next()
    event = client.webhooks.unwrap(delivery.body, delivery.headers)
    assert event.type == "realtime.call.incoming"
    return event.data.call_id


def accepted(site: Site, client: OpenAI, phone: CallingPhone, **session: Any) -> str:
    """Accept the call that the phone has made; returns its id."""
    call_id = incoming(site, client)
    client.realtime.calls.accept(call_id, **{"type": "realtime", **session})
    phone.wait_for_status(200)
    return call_id


def call_of(client: OpenAI, call_id: str) -> dict[str, Any]:
    """What the gateway's own page says about a call."""
    response = client.get(f"/realtime/calls/{call_id}", cast_to=httpx.Response)
    call: dict[str, Any] = response.json()
    return call


def test_webhook_is_signed_and_tells_about_the_call(site: Site, client: OpenAI) -> None:
    headers = ["X-Order: 17", "X-Order: 18", 'Authorization: Digest username="a"']
    with site.phone(headers=headers) as phone:
        delivery: Delivery = site.hooks.next()
        phone.wait_for_status(180)
        event = client.webhooks.unwrap(delivery.body, delivery.headers)
        assert event.type == "realtime.call.incoming"
        assert event.object == "event"
        assert event.id.startswith("evt_")
        assert abs(event.created_at - time.time()) < 60
        assert event.data.call_id.startswith("rtc_")
        assert event.data.sip_media_security == "rtp"
        told = [(one.name, one.value) for one in event.data.sip_headers]
        names = [name for name, _ in told]
        assert [value for name, value in told if name == "X-Order"] == ["17", "18"]
        assert names.index("From") < names.index("To") < names.index("CSeq")
        assert not {"authorization", "proxy-authorization"} & {name.lower() for name in names}
        assert delivery.headers["content-type"] == "application/json"
        assert delivery.headers["webhook-id"].startswith("wh_")

        client.webhooks.verify_signature(delivery.body, delivery.headers, secret=OLD_SECRET)
        with pytest.raises(InvalidWebhookSignatureError):
            client.webhooks.unwrap(delivery.body + b" ", delivery.headers)
        with pytest.raises(InvalidWebhookSignatureError):
            client.webhooks.unwrap(delivery.body, delivery.headers, secret="whsec_bm90IGl0")
    site.ended(event.data.call_id)


def test_a_call_from_accept_to_hang_up(site: Site, client: OpenAI) -> None:
    with site.phone() as phone:
        call_id = accepted(site, client, phone, instructions="Be brief.", model="a-model")
        with Sideband(client, call_id=call_id) as sideband:
            created = sideband.next("session.created")
            assert sideband.kinds()[0] == "session.created"
            assert created.session.type == "realtime"
            assert created.session.instructions == "Be brief."

            sideband.connection.session.update(
                session={"type": "realtime", "instructions": "Be briefer.", "tools": [TOOL]}
            )
            updated = sideband.next("session.updated")
            assert updated.session.instructions == "Be briefer."
            assert updated.session.tools[0].name == "get_weather"

            sideband.connection.response.create(response={"instructions": "Greet."})
            response_id = sideband.next("response.created").response.id
            started = sideband.any("output_audio_buffer.started")
            assert started.response_id == response_id
            done = sideband.any("response.done")
            assert (done.response.id, done.response.status) == (response_id, "completed")
            stopped = sideband.next("output_audio_buffer.stopped")
            assert stopped.response_id == response_id
            assert any(not packet.silent for packet in phone.media.heard())
            assert "response.output_audio.delta" not in sideband.kinds()

            assert call_of(client, call_id)["state"] == "active"
            client.realtime.calls.hangup(call_id)
            assert phone.over.wait(5) and phone.ended_by_gateway
            assert sideband.closed() == 1000
        record = site.ended(call_id)
        assert record["direction"] == "inbound" and record["rtp_sent"] > 0
        call = call_of(client, call_id)
        assert (call["state"], call["reason"]) == ("ended", record["reason"])


def test_every_sideband_sees_every_event(site: Site, client: OpenAI) -> None:
    with site.phone() as phone:
        call_id = accepted(site, client, phone)
        with Sideband(client, call_id=call_id) as one, Sideband(client, call_id=call_id) as two:
            one.next("session.created")
            two.next("session.created")
            two.connection.response.create()
            one.next("output_audio_buffer.stopped")
            two.next("output_audio_buffer.stopped")
            phone.hang_up()
            assert (one.closed(), two.closed()) == (1000, 1000)
        first, second = (
            [event.get("event_id") for event in side.events if event["type"] != "session.created"]
            for side in (one, two)
        )
        assert first[-len(second) :] == second[-len(first) :]
    assert site.ended(call_id)["reason"] == "remote_bye"


def test_sideband_is_opened_while_the_phone_rings(site: Site, client: OpenAI) -> None:
    with site.phone() as phone:
        call_id = incoming(site, client)
        calls = client.realtime.calls
        accept = threading.Timer(0.3, lambda: calls.accept(call_id, type="realtime"))
        accept.start()
        with Sideband(client, call_id=call_id) as sideband:
            sideband.next("session.created")
        accept.join()
        phone.wait_for_status(200)
    site.ended(call_id)


def test_tool_call_makes_the_round(site: Site, client: OpenAI) -> None:
    with site.phone() as phone:
        call_id = accepted(site, client, phone, tools=[TOOL])
        with Sideband(client, call_id=call_id) as sideband:
            sideband.next("session.created")
            sideband.connection.conversation.item.create(item=user_text("How is the weather?"))
            assert sideband.next("conversation.item.done").item.role == "user"
            sideband.connection.response.create()
            called = sideband.next("response.function_call_arguments.done")
            assert (called.name, json.loads(called.arguments)) == ("get_weather", {"city": "Oslo"})
            item = sideband.next("response.output_item.done").item
            assert (item.type, item.call_id, item.status) == (
                "function_call",
                called.call_id,
                "completed",
            )
            sideband.next("response.done")
            sideband.connection.conversation.item.create(
                item={
                    "type": "function_call_output",
                    "call_id": called.call_id,
                    "output": '{"sky": "clear"}',
                }
            )
            assert sideband.next("conversation.item.done").item.type == "function_call_output"
            sideband.connection.response.create()
            sideband.next("output_audio_buffer.started")
    site.ended(call_id)


def test_key_of_the_phone_is_told_once(site: Site, client: OpenAI) -> None:
    with site.phone() as phone:
        call_id = accepted(site, client, phone)
        with Sideband(client, call_id=call_id) as sideband:
            sideband.next("session.created")
            for key in "5#":
                phone.press(key)
                pressed = sideband.next("input_audio_buffer.dtmf_event_received")
                assert pressed.event == key
                assert abs(pressed.received_at - time.time()) < 60
            assert sideband.kinds().count("input_audio_buffer.dtmf_event_received") == 2
    assert site.ended(call_id)["dtmf_count"] == 2


def test_playout_is_cleared_and_the_item_truncated(site: Site, client: OpenAI) -> None:
    with site.phone() as phone:
        call_id = accepted(site, client, phone)
        with Sideband(client, call_id=call_id) as sideband:
            sideband.next("session.created")
            sideband.connection.response.create(response={"instructions": "A long story."})
            response_id = sideband.any("output_audio_buffer.started").response_id
            item_id = sideband.any("response.output_item.added").item.id
            assert eventually(lambda: sum(not one.silent for one in phone.media.heard()) > 20, 5)
            sideband.connection.output_audio_buffer.clear()
            assert sideband.next("output_audio_buffer.cleared").response_id == response_id
            truncated = sideband.any("conversation.item.truncated")
            assert (truncated.item_id, truncated.content_index) == (item_id, 0)
            assert 100 <= truncated.audio_end_ms < 20_000
            count = len(phone.media.heard())
            assert eventually(lambda: len(phone.media.heard()) > count + 15, 5)
            assert all(packet.silent for packet in phone.media.heard(count + 10))
            assert "output_audio_buffer.stopped" not in sideband.kinds()
    site.ended(call_id)


def test_transfer_that_succeeds_ends_the_call(site: Site, client: OpenAI) -> None:
    with site.phone(transfer=200) as phone:
        call_id = accepted(site, client, phone)
        with Sideband(client, call_id=call_id) as sideband:
            client.realtime.calls.refer(call_id, target_uri="tel:+15557654321")
            assert sideband.closed() == 1000
            assert not [kind for kind in sideband.kinds() if kind.startswith("gateway.")]
        assert phone.over.wait(5)
        assert phone.refers[0].header("refer-to").strip("<>") == "tel:+15557654321"
        assert [answer.status for answer in phone.notified] == [200, 200]
    record = site.ended(call_id)
    call = call_of(client, call_id)
    assert call["transfer"]["result"] == record["reason"] == "transferred"
    assert call["state"] == "ended"
    assert "+15557654321" not in json.dumps(call)
    result = site.gateway.wait_for("transfer.result", call_id=call_id)
    assert result["result"] == "transferred"


def test_transfer_that_fails_brings_the_caller_back(site: Site, client: OpenAI) -> None:
    with site.phone(transfer=486) as phone:
        call_id = accepted(site, client, phone)
        with Sideband(client, call_id=call_id) as sideband:
            sideband.next("session.created")
            client.realtime.calls.refer(call_id, target_uri="sip:desk@example.com")
            assert eventually(
                lambda: (call_of(client, call_id)["transfer"] or {}).get("result") == "busy", 5
            )
            call = call_of(client, call_id)
            assert call["transfer"]["sip_status"] == 486
            assert call["state"] == "active"
            sideband.connection.response.create()
            sideband.next("output_audio_buffer.started")
        assert not phone.over.is_set()
    assert site.ended(call_id)["reason"] == "remote_bye"


def test_refer_that_the_peer_refuses_is_an_error(site: Site, client: OpenAI) -> None:
    with site.phone(refer_status=405) as phone:
        call_id = accepted(site, client, phone)
        with pytest.raises(BadRequestError, match="405"):
            client.realtime.calls.refer(call_id, target_uri="tel:+15557654321")
        assert call_of(client, call_id)["transfer"]["result"] == "refused"
        with pytest.raises(BadRequestError) as refused:
            client.realtime.calls.refer(call_id, target_uri="tel:+1555\r\nX-Injected: yes")
        assert refused.value.param == "target_uri"
        assert len(phone.refers) == 1
        assert not phone.over.is_set()
    site.ended(call_id)


@pytest.mark.parametrize("status", [None, 486])
def test_reject(site: Site, client: OpenAI, status: int | None) -> None:
    with site.phone() as phone:
        call_id = incoming(site, client)
        if status is None:
            client.realtime.calls.reject(call_id)
        else:
            client.realtime.calls.reject(call_id, status_code=status)
        phone.wait_for_status(status or 603)
        record = site.ended(call_id)
        assert (record["sip_status"], record["reason"]) == (status or 603, "rejected")


def test_what_cannot_be_done_leaves_the_phone_ringing(site: Site, client: OpenAI) -> None:
    with site.phone() as phone:
        call_id = incoming(site, client)
        for status in (200, 100, 700):
            with pytest.raises(BadRequestError) as error:
                client.realtime.calls.reject(call_id, status_code=status)
            assert error.value.param == "status_code"
        with pytest.raises(BadRequestError) as error:
            client.realtime.calls.accept(
                call_id,
                type="realtime",
                audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 7}}},
            )
        assert error.value.param == "session.audio.input.turn_detection.threshold"
        with pytest.raises(BadRequestError):
            client.realtime.calls.refer(call_id, target_uri="tel:+15557654321")
        with pytest.raises(BadRequestError) as error:
            client.post(f"/realtime/calls/{call_id}/accept", body={}, cast_to=httpx.Response)
        assert error.value.param == "session.type"
        phone.wait_for_status(180)
        assert phone.ringing
        client.realtime.calls.accept(call_id, type="realtime")
        phone.wait_for_status(200)
    assert site.ended(call_id)["reason"] == "remote_bye"


def test_hang_up_of_a_phone_that_rings(site: Site, client: OpenAI) -> None:
    with site.phone() as phone:
        call_id = incoming(site, client)
        client.realtime.calls.hangup(call_id)
        assert phone.over.wait(5)
        assert phone.status >= 400
    site.ended(call_id)


def test_accept_comes_too_late(site: Site, client: OpenAI) -> None:
    with site.phone() as phone:
        call_id = incoming(site, client)
        phone.wait_for_status(180)
        phone.hang_up()
        site.ended(call_id)
        began = len(site.gateway.logs)
        with pytest.raises(NotFoundError) as error:
            client.realtime.calls.accept(call_id, type="realtime")
        assert error.value.code == "call_id_not_found"
        with pytest.raises(InvalidStatus) as refused:
            client.realtime.connect(call_id=call_id).enter()
        assert refused.value.response.status_code == 404
        assert json.loads(refused.value.response.body)["error"]["code"] == "call_id_not_found"
        assert not site.gateway.lines("session.connected", began)


def test_unknown_call(site: Site, client: OpenAI) -> None:
    calls = client.realtime.calls
    for ask in (
        lambda: calls.accept("rtc_unknown", type="realtime"),
        lambda: calls.reject("rtc_unknown"),
        lambda: calls.refer("rtc_unknown", target_uri="tel:+15557654321"),
        lambda: calls.hangup("rtc_unknown"),
        lambda: client.get("/realtime/calls/rtc_unknown", cast_to=httpx.Response),
    ):
        with pytest.raises(NotFoundError) as error:
            ask()
        assert error.value.code == "call_id_not_found"
        assert error.value.type == "invalid_request_error"


def test_error_event_names_the_event_that_was_wrong(site: Site, client: OpenAI) -> None:
    with site.phone() as phone:
        call_id = accepted(site, client, phone)
        with Sideband(client, call_id=call_id) as sideband:
            sideband.next("session.created")
            sideband.connection.send({"type": "response.cancel", "event_id": "for the model"})
            error = sideband.next("error").error
            assert (error.event_id, error.code) == ("for the model", "response_cancel_not_active")
            sideband.connection.send_raw('{"event_id": "for nobody"}')
            error = sideband.next("error").error
            assert (error.event_id, error.code) == ("for nobody", "invalid_event")
            assert error.type == "invalid_request_error"
            sideband.connection.response.create()
            sideband.next("response.done")
    site.ended(call_id)


def test_keys(site: Site, client: OpenAI) -> None:
    wrong = client.with_options(api_key="sk-wrong")
    with pytest.raises(AuthenticationError) as error:
        wrong.realtime.calls.hangup("rtc_unknown")
    assert error.value.code == "invalid_api_key"
    with pytest.raises(NotFoundError):
        client.with_options(api_key=OTHER_KEY).realtime.calls.hangup("rtc_unknown")
    with pytest.raises(InvalidStatus) as refused:
        wrong.realtime.connect(call_id="rtc_unknown").enter()
    assert refused.value.response.status_code == 401


def test_client_secret_opens_a_session_and_nothing_else(site: Site, client: OpenAI) -> None:
    made = client.realtime.client_secrets.create(
        expires_after={"anchor": "created_at", "seconds": 600},
        session={"type": "realtime", "instructions": "From the secret."},
    )
    assert made.value.startswith("ek_")
    assert 500 < made.expires_at - time.time() < 660
    assert made.session.type == "realtime"
    assert made.session.instructions == "From the secret."
    bearer = client.with_options(api_key=made.value)
    with Sideband(bearer, model="a-model") as session:
        assert session.next("session.created").session.type == "realtime"
        session.connection.response.create()
        session.next("response.output_audio.delta")
        session.next("response.done")
    with pytest.raises(PermissionDeniedError):
        bearer.realtime.calls.hangup("rtc_unknown")
    for seconds in (9, 7201):
        with pytest.raises(BadRequestError) as error:
            client.realtime.client_secrets.create(
                expires_after={"anchor": "created_at", "seconds": seconds}
            )
        assert error.value.param == "expires_after.seconds"


@early
def test_expired_secret_opens_nothing(_: Path) -> None:
    """The shortest life of a secret is long for a test."""
    with running() as site, OpenAI(api_key=KEY, base_url=site.base_url) as client:
        made = client.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 10}, session={"type": "realtime"}
        )
        bearer = client.with_options(api_key=made.value)
        with Sideband(bearer, model="a-model") as session:
            session.next("session.created")
        time.sleep(10.2)
        with pytest.raises(InvalidStatus) as refused:
            bearer.realtime.connect(model="a-model").enter()
        assert refused.value.response.status_code == 401


def test_the_gateway_holds_nothing(site: Site) -> None:
    assert eventually(lambda: site.gateway.metrics()["gateway_calls_active"] == 0, 5)
    site.gateway.check()
