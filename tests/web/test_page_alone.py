"""The softphone in front of a gateway that says what a test has it say: refusals, ends, other calls."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from tests.api.site import summary
from tests.peers.audio import RATE_HZ
from tests.web import fake
from tests.web.browser import Browser
from tests.web.fake import KEY, FakeGateway, Refusal

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

# The page waits long for a connection; a test does not.
IMPATIENT = "const wait = setTimeout; setTimeout = (act, ms) => wait(act, ms >= 20000 ? 400 : ms);"
SOON = "setTimeout = ((wait) => (act, ms) => wait(act, Math.min(ms, 100)))(setTimeout);"


@pytest_asyncio.fixture(loop_scope="session")
async def gateway() -> AsyncIterator[FakeGateway]:
    async with fake.serving() as gateway:
        yield gateway


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(8):
        while not true():
            await asyncio.sleep(0.02)


async def call(browser: Browser, gateway: FakeGateway, name: str = "Call the agent") -> None:
    await browser.click("button", name)
    await gateway.asked("response.create")
    await browser.see("#status-text", "The agent is listening")


async def test_a_microphone_that_is_refused_leaves_ears_and_keys(
    browser: Browser, gateway: FakeGateway
) -> None:
    await browser.open(gateway.url)
    await browser.evaluate("testPage.refusal = 'NotAllowedError'")
    await browser.click("button", "Call the agent")
    await browser.see("#trouble", "The microphone was refused")
    assert await browser.axe() == []
    assert gateway.offers == []
    await call(browser, gateway, "Call without a microphone")
    await browser.press("5")
    assert await browser.texts(".turn.keys kbd") == ["5"]


async def test_plain_http_from_elsewhere_says_what_to_do(
    browser: Browser, gateway: FakeGateway
) -> None:
    script = "Object.defineProperty(window, 'isSecureContext', { value: false });"
    await browser.open(gateway.url, script=script, width=360, height=740)
    trouble = await browser.see("#trouble", "plain http from 127.0.0.1")
    assert "GATEWAY_HTTP_TLS_CERT" in trouble and "ssh -L" in trouble
    assert await browser.evaluate("return document.documentElement.scrollWidth") <= 360


async def test_a_key_is_asked_for_checked_and_kept_for_the_tab(
    browser: Browser, gateway: FakeGateway
) -> None:
    gateway.key = KEY
    await browser.open(gateway.url)
    await browser.see("#key-text", "asks for one of its keys")
    assert await browser.axe() == []
    await browser.fill("textbox", "API key", "sk-wrong")
    await browser.press("Enter")
    await browser.see("#key-text", "not accepted")
    await browser.fill("textbox", "API key", KEY)
    await browser.press("Enter")
    await browser.see("#dial", fake.DIAL)
    await browser.evaluate("location.reload()")
    await browser.see("#dial", fake.DIAL)
    assert await browser.evaluate("return document.querySelector('#key').hidden")
    assert await browser.evaluate("return JSON.stringify(localStorage)") == "{}"
    gateway.key = "sk-another"  # withdrawn while the page is open
    await browser.click("button", "Call the agent")
    await browser.see("#key-text", "not accepted")
    await browser.see("#status-text", "No call: the gateway asks for a key")


async def test_a_refusal_is_put_into_words_until_the_next_call(
    browser: Browser, gateway: FakeGateway
) -> None:
    gateway.refusal = Refusal(503, "No.", "draining", {"Retry-After": "10"})
    await browser.open(gateway.url)
    await browser.click("button", "Call the agent")
    await browser.see("#trouble", "Try again in 10 s.")
    assert await browser.texts("#status-text") == ["No call: it could not be placed"]
    gateway.refusal = None
    await asyncio.sleep(0.6)  # a click right after a change would be a double click
    await call(browser, gateway, "Call again")
    assert await browser.evaluate("return document.querySelector('#trouble').hidden")


async def test_no_way_for_the_audio_says_what_to_check(
    browser: Browser, gateway: FakeGateway
) -> None:
    gateway.reachable = False
    await browser.open(gateway.url, script=IMPATIENT)
    await browser.click("button", "Call the agent")
    trouble = await browser.see("#trouble", "No way for the audio")
    assert "GATEWAY_WEBRTC_ADVERTISED_HOST" in trouble
    assert gateway.hung_up == ["rtc_page"]  # it would keep its line for us


async def test_the_line_hangs_up_and_the_page_says_why(
    browser: Browser, gateway: FakeGateway
) -> None:
    await browser.open(gateway.url)
    await call(browser, gateway)
    gateway.calls = [summary("rtc_page", "ended") | {"reason": "max_duration"}]
    await gateway.leave()
    await browser.see("#status-text", "the longest duration was reached")
    await browser.see(".turn.note", "Call ended after")


async def test_the_session_is_the_lines_own_unless_asked_otherwise(
    browser: Browser, gateway: FakeGateway
) -> None:
    await browser.open(gateway.url)
    await call(browser, gateway)
    update = await gateway.asked("session.update")
    transcription = {"model": "gpt-4o-mini-transcribe"}
    assert update["session"] == {
        "type": "realtime",
        "audio": {"input": {"transcription": transcription}},
    }
    await asyncio.sleep(0.6)
    await browser.click("button", "Hang up")
    await browser.see("#status-text", "you hung up")
    await browser.evaluate("document.querySelector('#setup').open = true")
    await browser.fill("textbox", "Instructions", "Speak like a pirate.")
    await browser.fill("combobox", "Voice", "cedar")
    await browser.fill("textbox", "Your words as text, by model", "")
    await asyncio.sleep(0.6)
    await call(browser, gateway, "Call again")
    assert gateway.sessions == [
        None,
        {
            "type": "realtime",
            "instructions": "Speak like a pirate.",
            "audio": {"output": {"voice": "cedar"}},
        },
    ]
    assert "session.update" not in {event["type"] for event in gateway.received}


async def test_errors_of_the_session_are_shown_but_not_that_the_line_greets_too(
    browser: Browser, gateway: FakeGateway
) -> None:
    await browser.open(gateway.url)
    await call(browser, gateway)
    greeting = (await gateway.asked("response.create"))["event_id"]
    gateway.send(
        {"type": "error", "error": {"message": "Already speaking.", "event_id": greeting}},
        {"type": "error", "error": {"message": "Something else.", "event_id": None}},
    )
    await browser.see(".turn.note[data-tone=error]", "Something else.")
    assert not [text for text in await browser.texts(".turn") if "Already" in text]
    await browser.fill("searchbox", "Filter the events", "already")
    assert len(await browser.texts("#events li:not([hidden])")) == 1


async def test_mute_is_silence_for_the_gateway(browser: Browser, gateway: FakeGateway) -> None:
    await browser.open(gateway.url)
    await call(browser, gateway)
    await browser.say(0.3 * np.sin(np.arange(30 * RATE_HZ) / 5), wait=False)
    await eventually(lambda: gateway.loudness > 0.05)
    await browser.click("button", "Mute")
    await browser.see("#status-text", "Muted")
    await eventually(lambda: gateway.loudness < 0.001)
    await browser.click("button", "Unmute")
    await eventually(lambda: gateway.loudness > 0.05)


def calls() -> list[dict[str, Any]]:
    poor = {"rtp_received": 2000, "rtp_lost": 222, "jitter_ms": 41.0, "mos": 2.9}
    browser = summary("rtc_browser") | {"leg": "webrtc", "from": None, "to": None, "codec": "opus"}
    browser["counters"] |= poor
    ringing = summary("rtc_ringing", "ringing") | {"answered_at": None, "direction": "outbound"}
    return [browser, ringing, summary("rtc_sip"), summary("rtc_over", "ended")]


async def test_the_line_shows_its_calls_and_what_can_be_done_with_each(
    browser: Browser, gateway: FakeGateway
) -> None:
    gateway.calls = calls()
    await browser.open(gateway.url + "#line", width=360, height=740)
    await browser.see("#line-status", "Ready for calls. 3 calls on the line.")
    assert await browser.evaluate("return document.documentElement.scrollWidth") <= 360
    for scheme in ("light", "dark"):
        await browser.look(scheme=scheme, width=1200, height=800)
        assert await browser.axe() == []
    first, ringing, sip, over = await browser.texts("#calls-body tr")
    assert "A browser" in first and "10 %" in first and "2.9 poor" in first
    assert "Ringing" in ringing and "SIP out" in ringing
    assert "Transfer" in sip and "Transfer" not in first and "Transfer" not in ringing
    assert "Ended" in over and "Hang up" not in over


async def test_a_transfer_asks_where_to_and_tells_why_not(
    browser: Browser, gateway: FakeGateway
) -> None:
    gateway.calls = calls()
    await browser.open(gateway.url + "#line")
    await browser.click("button", "Transfer …3456@example.com")
    await browser.fill("textbox", "To", "somewhere")
    await browser.press("Enter")
    await browser.see("#order-error", "Expected a sip: or tel: URI")
    assert await browser.axe() == []
    await browser.fill("textbox", "To", "tel:+15551234567")
    await browser.press("Enter")
    await browser.until("return !document.querySelector('#order').open")
    assert gateway.referred == [("rtc_sip", "tel:+15551234567")]


async def test_the_list_goes_on_by_itself_and_says_when_it_is_old(
    browser: Browser, gateway: FakeGateway
) -> None:
    gateway.not_ready = "draining"
    gateway.calls = calls()
    await browser.open(gateway.url + "#line", script=SOON)
    await browser.see("#line-status", "is being stopped")
    gateway.calls = [*calls(), summary("rtc_new", "ended")]
    await browser.until("return document.querySelectorAll('#calls-body tr').length === 5")
    gateway.key = "sk-now"
    await browser.see("#line-status", "asks for a key")
    await browser.fill("textbox", "API key", "sk-now")
    await browser.press("Enter")
    await browser.see("#line-status", "is being stopped")
