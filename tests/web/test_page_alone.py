"""The softphone on a gateway that says what a test has it say: refusals, ends, other calls."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.api.site import summary
from tests.peers.audio import RATE_HZ
from tests.web.browser import Person
from tests.web.conftest import Opens
from tests.web.fake import DIAL, KEY, FakeGateway, Refusal

pytestmark = pytest.mark.peer

PHONE = {"width": 360, "height": 740, "touch": True}
# The page waits long for a connection, and two seconds for news of the line; a test does not.
IMPATIENT = "const wait = setTimeout; setTimeout = (act, ms) => wait(act, ms >= 20000 ? 400 : ms);"
SOON = "setTimeout = ((wait) => (act, ms) => wait(act, Math.min(ms, 100)))(setTimeout);"
# A browser that plays only what was first played within a click, on these elements.
PLAYS_AFTER_A_CLICK = """
    const play = HTMLMediaElement.prototype.play;
    let may = false;
    HTMLMediaElement.prototype.play = function () {
        may ||= window.event?.type === 'click' && window.event.target.closest('%s') !== null;
        if (!may) return Promise.reject(new DOMException('No gesture.', 'NotAllowedError'));
        return play.call(this);
    };
"""
# What the page asks first is answered when it is let go.
HELD = """
    const ask = fetch;
    const held = new Promise((go) => { window.letGo = go; });
    fetch = async (path, options) => {
        if (path.endsWith('softphone')) await held;
        return ask(path, options);
    };
"""
# What another version of the page may have kept, and a browser that tells of no microphones.
ODD = """
    const kept = %s;
    if (location.protocol === 'http:') localStorage.setItem('gateway.options', kept);
    if (navigator.mediaDevices) {
        navigator.mediaDevices.enumerateDevices = async () => { throw new DOMException('No.'); };
    }
"""


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with FakeGateway() as gateway:
        yield gateway


def call(person: Person, gateway: FakeGateway, button: str = "#call") -> None:
    person.click(button)
    gateway.asked("response.create")
    person.see("#status-text", "The agent is listening")


def later(person: Person) -> None:
    """Let some time go by on the page, after which a click is no second half of a double one."""
    person.evaluate(
        "(now => { performance.now = () => now() + 700; })(performance.now.bind(performance))"
    )


def test_a_microphone_that_is_refused_leaves_ears_and_keys(
    opened: Opens, gateway: FakeGateway
) -> None:
    with opened(gateway.url) as person:
        person.evaluate("testPage.refusal = 'NotAllowedError'")
        person.click("#call")
        person.see("#trouble", "The microphone was refused")
        assert person.barriers() == []
        assert gateway.offers == []
        call(person, gateway, "#trouble-act")
        person.press("5")
        assert person.texts(".turn.keys kbd") == ["5"]


def test_a_test_of_the_microphone_does_not_take_it_from_the_call(
    opened: Opens, gateway: FakeGateway
) -> None:
    with opened(gateway.url) as person:
        person.evaluate("testPage.prompts = []")
        person.click("#check")
        person.until("testPage.prompts.length === 1")  # the browser asks, and the person calls
        person.click("#call")
        person.until("testPage.prompts.length === 2")
        assert person.evaluate("document.querySelector('#check').disabled")
        person.evaluate("testPage.prompts[1]()")
        gateway.asked("response.create")
        person.evaluate("testPage.prompts[0]()")
        person.say(0.3 * np.sin(np.arange(30 * RATE_HZ) / 5), wait=False)
        gateway.hears(above=0.05)
        assert person.texts("#check-label") == []


def test_plain_http_from_elsewhere_says_what_to_do(opened: Opens, gateway: FakeGateway) -> None:
    script = "Object.defineProperty(window, 'isSecureContext', { value: false });"
    with opened(gateway.url, script=script, **PHONE) as person:
        trouble = person.see("#trouble", "plain http from 127.0.0.1")
        assert "GATEWAY_HTTP_TLS_CERT" in trouble and "ssh -L" in trouble
        assert person.overflow_px <= 0
        # Browsers on phones zoom into a field with smaller letters.
        person.click("#setup summary")
        sizes = person.evaluate(
            """[...document.querySelectorAll('input, select, textarea')]
                .filter((one) => one.checkVisibility())
                .map((one) => parseFloat(getComputedStyle(one).fontSize))"""
        )
        assert len(sizes) >= 5 and min(sizes) >= 16


def test_a_key_is_asked_for_checked_and_kept_for_the_tab(
    opened: Opens, gateway: FakeGateway
) -> None:
    gateway.key = KEY
    with opened(gateway.url) as person:
        person.see("#key-text", "asks for one of its keys")
        assert person.barriers() == []
        person.type("sk-wrong")  # the focus is there
        person.press("Enter")
        person.see("#key-text", "not accepted")
        person.fill("#key-field", KEY)
        person.press("Enter")
        person.see("#dial", DIAL)
        person.go(gateway.url)
        person.see("#dial", DIAL)
        assert not person.is_shown("#key")
        assert person.evaluate("JSON.stringify(localStorage)") == "{}"
        gateway.key = "sk-another"  # withdrawn while the page is open
        person.click("#call")
        person.see("#key-text", "not accepted")
        person.see("#status-text", "No call: the gateway asks for a key")
        person.fill("#key-field", "sk-another")
        person.press("Enter")
        person.see("#status-text", "Your browser will ask for the microphone")
        person.see("#call-label", "Call the agent")


def test_a_gateway_for_phones_only_offers_no_call(opened: Opens) -> None:
    with FakeGateway(webrtc=False) as gateway, opened(gateway.url) as person:
        person.see("#status-text", "Phones only")
        person.see("#trouble", "GATEWAY_WEBRTC_CODECS")
        assert person.evaluate("document.getElementById('call').disabled")
        assert person.barriers() == []


def test_a_refusal_is_put_into_words_until_the_next_call(
    opened: Opens, gateway: FakeGateway
) -> None:
    gateway.refusal = Refusal(503, "No.", "draining", {"Retry-After": "10"})
    with opened(gateway.url) as person:
        person.click("#call")
        person.see("#trouble", "Try again in 10 s.")
        assert person.texts("#status-text") == ["No call: it could not be placed"]
        gateway.refusal = None
        later(person)
        call(person, gateway)
        assert not person.is_shown("#trouble")


def test_an_answer_that_is_not_the_gateways_is_told_from_none(
    opened: Opens, gateway: FakeGateway
) -> None:
    gateway.proxy = 502
    with opened(gateway.url) as person:
        trouble = person.see("#trouble", "does not answer as it should (502)")
        assert "make run" not in trouble
        gateway.proxy = None
        call(person, gateway)
        assert not person.is_shown("#trouble")


def test_who_hangs_up_before_the_gateway_has_told_of_itself_has_called_nobody(
    opened: Opens, gateway: FakeGateway
) -> None:
    with opened(gateway.url, script=HELD) as person:
        person.click("#call")
        person.see("#call", "Hang up")
        later(person)
        person.click("#call")
        person.see("#status-text", "No call: you hung up")
        person.evaluate("letGo()")
        person.see("#status-text", "Your browser will ask for the microphone")
        later(person)
        call(person, gateway)
        assert len(gateway.offers) == 1


@pytest.mark.parametrize("kept", ["'{'", "'null'", '\'{"voice": {}, "instructions": "Sing."}\''])
def test_what_the_browser_keeps_or_hides_does_not_stop_the_page(
    opened: Opens, gateway: FakeGateway, kept: str
) -> None:
    with opened(gateway.url, script=ODD % kept) as person:
        person.see("#dial", DIAL)
        assert person.evaluate("document.querySelector('#option-voice').value") == ""


def test_a_browser_that_wants_a_click_first_had_one(opened: Opens, gateway: FakeGateway) -> None:
    with opened(gateway.url, script=PLAYS_AFTER_A_CLICK % "#call") as person:
        call(person, gateway)
        person.until("document.querySelector('#voice').currentTime > 0")
        assert not person.is_shown("#trouble")


def test_a_voice_that_the_browser_holds_back_is_a_click_away(
    opened: Opens, gateway: FakeGateway
) -> None:
    with opened(gateway.url, script=PLAYS_AFTER_A_CLICK % "#trouble-act") as person:
        person.click("#call")
        person.see("#trouble-act", "Play the voice")
        gateway.asked("response.create")
        assert person.barriers() == []
        person.evaluate("document.querySelector('#voice').pause()")
        person.click("#trouble-act")
        person.until("!document.querySelector('#voice').paused")
        assert not person.is_shown("#trouble")


def test_no_way_for_the_audio_says_what_to_check(opened: Opens, gateway: FakeGateway) -> None:
    gateway.reachable = False
    with opened(gateway.url, script=IMPATIENT) as person:
        person.click("#call")
        trouble = person.see("#trouble", "No way for the audio")
        assert "GATEWAY_WEBRTC_ADVERTISED_HOST" in trouble
        assert gateway.hung_up == ["rtc_page"]  # it would keep its line for us


def test_the_line_hangs_up_and_the_page_says_why(opened: Opens, gateway: FakeGateway) -> None:
    with opened(gateway.url) as person:
        call(person, gateway)
        gateway.calls = [summary("rtc_page", "ended") | {"reason": "max_duration"}]
        gateway.leave()
        person.see("#status-text", "the longest duration was reached")
        person.see(".turn.note", "Call ended after")


def test_the_session_is_the_lines_own_unless_asked_otherwise(
    opened: Opens, gateway: FakeGateway
) -> None:
    with opened(gateway.url) as person:
        call(person, gateway)
        transcription = {"model": "gpt-4o-mini-transcribe"}
        assert gateway.asked("session.update")["session"] == {
            "type": "realtime",
            "audio": {"input": {"transcription": transcription}},
        }
        later(person)
        person.click("#call")
        person.see("#status-text", "you hung up")
        person.click("#setup summary")
        person.fill("#option-instructions", "Speak like a pirate.")
        person.fill("#option-voice", "cedar")
        person.fill("#option-transcription", "")
        later(person)
        call(person, gateway)
    assert gateway.sessions == [
        None,
        {
            "type": "realtime",
            "instructions": "Speak like a pirate.",
            "audio": {"output": {"voice": "cedar"}},
        },
    ]
    assert "session.update" not in {event["type"] for event in gateway.received}


def test_errors_of_the_session_are_shown_but_for_those_that_are_none(
    opened: Opens, gateway: FakeGateway
) -> None:
    with opened(gateway.url) as person:
        call(person, gateway)
        greeting = gateway.asked("response.create")["event_id"]

        def fails(message: str, code: str | None, event_id: str | None = None) -> dict[str, Any]:
            return {"type": "error", "error": dict(message=message, code=code, event_id=event_id)}

        gateway.send(
            # The line greets too.
            fails("Already speaking.", "conversation_already_has_active_response", greeting),
            fails("Already responding.", "response_already_active", greeting),
            fails("A picture cannot be sent to you.", "too_large"),
            fails("No credit is left.", "insufficient_quota", greeting),
            fails("Something else.", None),
        )
        person.see(".turn.note[data-tone=error]", "Something else.")
        told = person.texts(".turn.note[data-tone=error]")
        assert told == ["No credit is left.", "Something else."]
        person.fill("#event-filter", '"error"')
        assert len(person.texts("#events li")) == 5
        (quiet,) = person.texts("#events li:not([data-family=error])")
        assert "A picture" in quiet


def test_mute_is_silence_for_the_gateway(opened: Opens, gateway: FakeGateway) -> None:
    with opened(gateway.url) as person:
        call(person, gateway)
        person.say(0.3 * np.sin(np.arange(30 * RATE_HZ) / 5), wait=False)
        gateway.hears(above=0.05)
        person.click("#mute")
        person.see("#status-text", "Muted")
        gateway.hears(below=0.001)
        person.click("#mute")
        gateway.hears(above=0.05)


def calls() -> list[dict[str, Any]]:
    poor = {"rtp_received": 2000, "rtp_lost": 222, "jitter_ms": 41.0, "mos": 2.9}
    browser = summary("rtc_browser") | {"leg": "webrtc", "from": None, "to": None, "codec": "opus"}
    browser["counters"] |= poor
    ringing = summary("rtc_ringing", "ringing") | {"answered_at": None, "direction": "outbound"}
    return [browser, ringing, summary("rtc_sip"), summary("rtc_over", "ended")]


def test_the_line_shows_its_calls_and_what_can_be_done_with_each(
    opened: Opens, gateway: FakeGateway
) -> None:
    gateway.calls = calls()
    with opened(gateway.url + "#line", **PHONE) as person:
        person.see("#line-status", "Ready for calls. 3 calls on the line.")
        assert person.overflow_px <= 0
        for dark in (False, True):
            person.look(width=1200, height=800, dark=dark)
            assert person.barriers() == []
        first, ringing, sip, over = person.texts("#calls-body tr")
    assert "A browser" in first and "10 %" in first and "2.9 poor" in first
    assert "Ringing" in ringing and "SIP out" in ringing
    assert "Transfer" in sip and "Transfer" not in first and "Transfer" not in ringing
    assert "Ended" in over and "Hang up" not in over


def test_a_transfer_asks_where_to_and_tells_why_not(opened: Opens, gateway: FakeGateway) -> None:
    gateway.calls = calls()
    with opened(gateway.url + "#line") as person:
        person.click("button[aria-label='Transfer …3456@example.com']:not([hidden])")
        person.type("somewhere")  # the focus is there
        person.press("Enter")
        person.see("#order-error", "Expected a sip: or tel: URI")
        assert person.barriers() == []
        person.fill("#order-target", "tel:+15551234567")
        person.press("Enter")
        person.until("!document.querySelector('#order').open")
    assert gateway.referred == [("rtc_sip", "tel:+15551234567")]


def test_the_list_goes_on_by_itself_and_says_when_it_is_old(
    opened: Opens, gateway: FakeGateway
) -> None:
    gateway.not_ready = "draining"
    gateway.calls = calls()
    with opened(gateway.url + "#line", script=SOON) as person:
        person.see("#line-status", "is being stopped")
        gateway.calls = [*calls(), summary("rtc_new", "ended")]
        person.until("document.querySelectorAll('#calls-body tr').length === 5")
        gateway.key = "sk-now"
        person.see("#line-status", "asks for a key")
        person.fill("#key-field", "sk-now")
        person.press("Enter")
        person.see("#line-status", "is being stopped")
