"""The softphone on a running gateway with its embedded agent: one call, as a person would make it.

Nothing is faked but the microphone. The page is used by keyboard where a keyboard will do.
"""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.audio import spoken
from tests.peers.gateway import HOST, GatewayProcess
from tests.peers.record import EVENTS
from tests.web.browser import Browser, need_browser

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

KEY = "sk-of-the-page"
# How loud the agent's voice is, as root mean square of the last 40 ms.
LOUDNESS = """
  if (!window.ear) {
    const context = new AudioContext();
    window.ear = context.createAnalyser();
    context.createMediaStreamSource(document.querySelector('#voice').srcObject).connect(ear);
  }
  const samples = new Float32Array(2048);
  ear.getFloatTimeDomainData(samples);
  const loudness = Math.hypot(...samples) / Math.sqrt(samples.length);
"""


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    need_browser()
    with GatewayProcess(env={"GATEWAY_API_KEYS": KEY}) as gateway:
        yield gateway


async def test_a_newcomer_talks_to_the_line(
    browser: Browser, gateway: GatewayProcess, tmp_path: Path
) -> None:
    mark = gateway.mark()
    await browser.open(f"http://{HOST}:{gateway.http_port}/")
    await browser.see("#key-text", "GATEWAY_API_KEYS")
    await browser.fill("textbox", "API key", KEY)
    await browser.press("Enter")
    await browser.see("#dial", f"sip:agent@{HOST}:{gateway.sip_port}")
    assert await browser.axe() == []

    # The key was taken, and the focus is on the one button that matters.
    assert await browser.evaluate("return document.activeElement.id") == "call"
    await browser.press("Enter")
    await browser.see("#status-text", "The agent is speaking", timeout_s=20)
    await browser.see(".turn.agent", "Hello!")
    await browser.until(f"{LOUDNESS} return loudness > 0.01")
    call_id = str(await browser.see("#call-id"))
    gateway.wait_for("call.answered", since=mark, call_id=call_id, codec="opus")

    # Whoever speaks over the agent stops it: it is silent, and what was not heard is struck out.
    await browser.say(spoken("Excuse me.", tmp_path))
    await browser.see(".turn.agent[data-state=cut] .cut-mark", "stopped at")
    await browser.until(f"{LOUDNESS} return loudness < 0.0005")
    unheard = await browser.texts(".turn.agent[data-state=cut] .unheard")
    assert unheard[0].strip()
    await browser.see(".turn.user .words", "[speech,")
    await browser.see(".turn.agent .state", "answered in")

    # Keys, by keyboard and by mouse.
    await browser.press("1", "#")
    await browser.see(".turn.agent", "You pressed one")
    assert await browser.texts(".turn.keys .pressed kbd.known") == ["1", "#"]
    await browser.click("button", "7 pqrs")
    gateway.wait_for("dtmf.received", since=mark, digit="7")
    await browser.until("return document.querySelectorAll('.turn.keys kbd.known').length === 3")

    await check_timeline(browser)
    await check_looks(browser)
    events = await copied_events(browser)
    kinds = {event["type"] for event in events}
    assert {
        "conversation.item.truncated",
        "output_audio_buffer.cleared",
        "session.created",
    } <= kinds
    EVENTS.extend(events)

    # The other tab shows the call, and ends it.
    await browser.press("Home")  # nothing: the focus is not on the tabs
    await browser.click("tab", "Softphone")
    await browser.press("ArrowRight")
    row = await browser.see("#calls-body tr", "(this page)")
    assert "Talking" in row and "Opus, SRTP" in row and "good" in row
    assert await browser.axe() == []
    await browser.click("button", "Hang up " + call_id)
    await browser.press("Enter")
    await browser.see("#calls-body tr", "Ended: hung up by the API")
    await browser.press("Shift+Tab")
    ended = gateway.wait_for("call.ended", since=mark, call_id=call_id)
    assert (ended["reason"], ended["leg"], ended["dtmf_count"]) == ("hangup", "webrtc", 3)
    assert ended["bargeins"] >= 2
    await browser.click("tab", "Softphone")
    await browser.see("#status-text", "hung up by the API")


async def check_timeline(browser: Browser) -> None:
    for mark in (".span.user", ".span.agent.cut", ".cut-line", ".answer", ".key-mark"):
        found = await browser.evaluate(
            f"return document.querySelectorAll('#timeline {mark}').length"
        )
        assert found, mark
    assert (await browser.see("#figure-last")).endswith("s")
    summary = await browser.until(
        "const text = document.querySelector('#timeline-summary').textContent;"
        "return text.includes('3 keys pressed') && text"
    )
    for words in ("You spoke once", "Interrupted", "of voice", "Response time:"):
        assert words in summary
    picture = "return document.querySelector('#timeline svg').getAttribute('aria-label')"
    assert await browser.evaluate(picture) == summary


async def check_looks(browser: Browser) -> None:
    """In mid-call, in both schemes and on both kinds of screen."""
    for scheme in ("light", "dark"):
        for width, height in ((360, 740), (1200, 800)):
            await browser.look(width=width, height=height, scheme=scheme)
            assert await browser.axe() == [], (scheme, width)
            wide = "return document.documentElement.scrollWidth"
            assert await browser.evaluate(wide) <= width, (scheme, width)


async def copied_events(browser: Browser) -> list[dict[str, object]]:
    """What the gateway sent, as the log copies it."""
    await browser.click("checkbox", "Deltas")
    await browser.click("button", "Copy JSON")
    await browser.see("#events-copy", "Copied")
    copied = json.loads(await browser.evaluate("return navigator.clipboard.readText()"))
    assert {one["way"] for one in copied} == {"sent", "received", "page"}
    assert all(earlier["at_ms"] <= later["at_ms"] for earlier, later in zip(copied, copied[1:]))
    return [one["event"] for one in copied if one["way"] == "received"]


async def test_leaving_the_page_ends_the_call(browser: Browser, gateway: GatewayProcess) -> None:
    mark = gateway.mark()
    await browser.open(f"http://{HOST}:{gateway.http_port}/")
    await browser.fill("textbox", "API key", KEY)
    await browser.press("Enter")
    await browser.click("button", "Call the agent")
    await browser.see("#status-text", "The agent is speaking", timeout_s=20)
    await browser.evaluate("location.assign('about:blank')")
    ended = await asyncio.to_thread(gateway.wait_for, "call.ended", 10, mark)
    assert ended["reason"] in ("hangup", "peer_closed", "channel_closed")
