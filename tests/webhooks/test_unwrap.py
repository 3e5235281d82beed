"""The official client takes what we sign, within its tolerance of five minutes."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from gateway.webhooks.payload import incoming_call
from gateway.webhooks.sign import key_of, signature

pytestmark = pytest.mark.pure

Unwrap = Callable[..., Any]

NOW = 1750287018
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = incoming_call(
    event_id="evt_1",
    created_at=NOW,
    call_id="rtc_1",
    headers=[("From", "<sip:+15550100@sip.example>"), ("X-A", "é\udcff")],
    media_security="srtp",
)


def headers(*secrets: str, timestamp: int = NOW, body: bytes = BODY) -> dict[str, str]:
    return {
        "webhook-id": "wh_1",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature([key_of(one) for one in secrets], "wh_1", timestamp, body),
    }


@pytest.fixture
def unwrap(monkeypatch: pytest.MonkeyPatch) -> Iterator[Unwrap]:
    monkeypatch.setattr(time, "time", lambda: NOW + 0.5)
    with OpenAI(api_key="none", webhook_secret=SECRET) as client:
        yield client.webhooks.unwrap


def test_the_event_arrives_whole(unwrap: Unwrap) -> None:
    event = unwrap(BODY, headers(SECRET))
    assert type(event).__name__ == "RealtimeCallIncomingWebhookEvent"
    assert (event.id, event.object, event.created_at) == ("evt_1", "event", NOW)
    assert event.data.call_id == "rtc_1"
    assert event.data.sip_media_security == "srtp"
    assert [(header.name, header.value) for header in event.data.sip_headers] == [
        ("From", "<sip:+15550100@sip.example>"),
        ("X-A", "é\ufffd"),
    ]


@pytest.mark.parametrize("age_s", [300, 0, -300])
def test_five_minutes_either_way_are_taken(unwrap: Unwrap, age_s: int) -> None:
    unwrap(BODY, headers(SECRET, timestamp=NOW - age_s))


@pytest.mark.parametrize(("age_s", "fault"), [(301, "too old"), (-301, "too new")])
def test_one_second_more_is_not(unwrap: Unwrap, age_s: int, fault: str) -> None:
    with pytest.raises(InvalidWebhookSignatureError, match=fault):
        unwrap(BODY, headers(SECRET, timestamp=NOW - age_s))


@pytest.mark.parametrize("secrets", [(SECRET, "new"), ("whsec_b2xk", SECRET)])
def test_while_secrets_change_both_are_good(unwrap: Unwrap, secrets: tuple[str, ...]) -> None:
    unwrap(BODY, headers(*secrets))


def test_a_plain_secret_is_its_text(unwrap: Unwrap) -> None:
    unwrap(BODY, headers("a plain secret"), secret="a plain secret")


@pytest.mark.parametrize(
    "changes", [{"webhook-id": "wh_2"}, {"webhook-timestamp": str(NOW + 1)}, {"body": "no"}]
)
def test_whatever_is_changed_breaks_it(unwrap: Unwrap, changes: dict[str, str]) -> None:
    forged = headers(SECRET) | changes
    body = BODY.replace(b"rtc_1", b"rtc_2") if "body" in forged else BODY
    with pytest.raises(InvalidWebhookSignatureError, match="does not match"):
        unwrap(body, forged)
