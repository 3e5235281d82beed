"""The softphone on a running gateway with its embedded agent: one call, as a person would make it.

Nothing is faked but the microphone. The page is used by keyboard where a keyboard will do.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.audio import spoken
from tests.peers.chromium import need_chromium
from tests.peers.gateway import HOST, GatewayProcess
from tests.peers.record import EVENTS
from tests.web.browser import Person
from tests.web.conftest import Opens

pytestmark = [pytest.mark.peer, pytest.mark.slow]

KEY = "sk-of-the-page"
# How loud the agent's voice is: root mean square of the last 40 ms.
LOUDNESS = """(() => {
    if (!window.ear) {
        const context = new AudioContext();
        window.ear = context.createAnalyser();
        context.createMediaStreamSource(document.querySelector('#voice').srcObject).connect(ear);
    }
    const samples = new Float32Array(2048);
    ear.getFloatTimeDomainData(samples);
    return Math.hypot(...samples) / Math.sqrt(samples.length);
})()"""
SILENT, AUDIBLE = 0.0005, 0.01


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    need_chromium()
    with GatewayProcess(env={"GATEWAY_API_KEYS": KEY}) as gateway:
        yield gateway


def give_key(person: Person) -> None:
    person.see("#key-text", "GATEWAY_API_KEYS")
    person.type(KEY)  # the focus is there
    person.press("Enter")
    person.until("document.activeElement.id === 'call'")


def test_a_newcomer_talks_to_the_line(
    opened: Opens, gateway: GatewayProcess, tmp_path: Path
) -> None:
    mark = gateway.mark()
    with opened(f"http://{HOST}:{gateway.http_port}/") as person:
        give_key(person)
        person.see("#dial", f"sip:agent@{HOST}:{gateway.sip_port}")
        assert person.barriers() == []
        person.press("Enter")  # the focus is on the one button that matters
        person.see("#status-text", "The agent is speaking", timeout_s=20)
        person.see(".turn.agent", "Hello!")
        person.until(f"{LOUDNESS} > {AUDIBLE}")
        call_id = person.see("#call-id")
        gateway.wait_for("call.answered", since=mark, call_id=call_id, codec="opus")

        # Whoever speaks over the agent stops it, and what was not heard is struck out.
        person.say(spoken("Excuse me.", tmp_path))
        person.see(".turn.agent[data-state=cut] .cut-mark", "stopped at")
        person.until(f"{LOUDNESS} < {SILENT}")
        assert person.see(".turn.agent[data-state=cut] .unheard")
        person.see(".turn.user .words", "[speech,")
        person.see(".turn.agent .state", "answered in")

        # Keys, by keyboard and by mouse.
        person.press("1")
        person.press("#", shift=True)
        person.see(".turn.agent", "You pressed one")
        assert person.texts(".turn.keys kbd.known") == ["1", "#"]
        person.click(".key:nth-child(7)")
        gateway.wait_for("dtmf.received", since=mark, digit="7")
        person.until("document.querySelectorAll('.turn.keys kbd.known').length === 3")

        check_timeline(person)
        check_looks(person)
        events = copied_events(person)
        EVENTS.extend(events)
        assert {
            "session.created",
            "output_audio_buffer.cleared",
            "conversation.item.truncated",
            "response.output_audio_transcript.delta",
        } <= {event["type"] for event in events}

        end_from_the_other_tab(person, call_id)
        ended = gateway.wait_for("call.ended", since=mark, call_id=call_id)
        assert (ended["reason"], ended["leg"], ended["dtmf_count"]) == ("hangup", "webrtc", 3)
        assert ended["bargeins"] >= 2
        person.click("#tab-phone")
        person.see("#status-text", "hung up on this side")


def check_timeline(person: Person) -> None:
    summary = person.see("#timeline-summary", "3 keys pressed")  # it is written once a second
    for mark in (".span.user", ".span.agent.cut", ".cut-line", ".answer", ".key-mark"):
        assert person.count(f"#timeline {mark}"), mark
    assert person.see("#figure-last").endswith("s")
    for words in ("You spoke once", "Interrupted", "of voice", "Response time:"):
        assert words in summary
    picture = "document.querySelector('#timeline svg').getAttribute('aria-label')"
    assert "3 keys pressed" in person.evaluate(picture)


def check_looks(person: Person) -> None:
    """In mid-call, in both schemes and on both kinds of screen."""
    for dark in (False, True):
        for width, height in ((360, 740), (1200, 800)):
            person.look(width=width, height=height, dark=dark)
            assert person.barriers() == [], (dark, width)
            assert person.overflow_px <= 0, (dark, width)


def copied_events(person: Person) -> list[dict[str, object]]:
    """What the gateway sent, as the log copies it."""
    person.click("#event-deltas")
    person.click("#events-copy")
    person.see("#events-copy", "Copied")
    copied = json.loads(person.evaluate("navigator.clipboard.readText()"))
    assert {one["way"] for one in copied} == {"sent", "received", "page"}
    times = [one["at_ms"] for one in copied]
    assert times == sorted(times)
    return [one["event"] for one in copied if one["way"] == "received"]


def end_from_the_other_tab(person: Person, call_id: str) -> None:
    person.click("#tab-phone")
    person.press("ArrowRight")
    row = person.see("#calls-body tr", "(this page)")
    assert "Talking" in row and "Opus, SRTP" in row and "good" in row
    assert person.barriers() == []
    person.click(f"button[aria-label='Hang up {call_id}']")
    person.press("Enter")  # the focus is on the button that does it
    person.see("#calls-body tr", "Ended: hung up on this side")


def test_leaving_the_page_ends_the_call(opened: Opens, gateway: GatewayProcess) -> None:
    mark = gateway.mark()
    with opened(f"http://{HOST}:{gateway.http_port}/") as person:
        give_key(person)
        person.click("#call")
        person.see("#status-text", "The agent is speaking", timeout_s=20)
        person.go("about:blank")
        ended = gateway.wait_for("call.ended", 10, mark)
    assert ended["reason"] in ("hangup", "peer_closed", "channel_closed")
