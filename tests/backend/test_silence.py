"""`idle_timeout_ms`: a silent caller is committed as silence, and spoken to."""

from typing import Any

import pytest

from tests.backend.test_output import said
from tests.backend.virtual import DIALOGUE, END, SMOOTH, VirtualClient, types

pytestmark = pytest.mark.pure

TIMEOUT = [
    "input_audio_buffer.timeout_triggered",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
]
QUIET_DIALOGUE = """
start = "menu"
otherwise = "Nothing new."
[states.menu]
say = "Hello."
"""


def client_with(**vad: Any) -> VirtualClient:
    """A client that has heard everything of a greeting of 300 ms, and is silent since."""
    detection = {"type": "server_vad", "idle_timeout_ms": 5000, **vad}
    client = VirtualClient(dialogue=QUIET_DIALOGUE)
    client.update({"audio": {"input": {"turn_detection": detection}}})
    client.hear(0.0, 1600)
    client.respond()
    played_s = 0.3 - (client.now - (1000 + 1.6 + SMOOTH.first_audio_ms / 1000))
    client.advance(played_s)
    client.log.clear()
    return client


def test_silence_is_committed_and_answered() -> None:
    client = client_with()
    assert client.hear(0.0, 4992) == []
    events = client.advance(0.2)
    assert types(events) == TIMEOUT
    triggered, committed, added, done, created = events
    assert triggered["item_id"] == committed["item_id"] == added["item"]["id"]
    assert (triggered["audio_start_ms"], triggered["audio_end_ms"]) == (6592 - 5000, 6592)
    assert committed["previous_item_id"] is not None
    assert done["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    (refused,) = client.send("input_audio_buffer.commit")
    assert refused["error"]["code"] == "input_audio_buffer_commit_empty"
    client.until_done()
    assert said(client.done()) == ["Nothing new."]


def test_it_comes_again_after_every_response_when_that_was_played() -> None:
    client = client_with()
    start = client.now
    client.heard_at.clear()
    client.advance(25.0)
    again = [
        at - start
        for event, at in zip(client.log, client.heard_at, strict=True)
        if event["type"] == TIMEOUT[0]
    ]
    answer_s = 0.2 + 0.05 * len("Nothing new.")
    assert again == pytest.approx([5 + n * (5 + answer_s) for n in range(4)])


def test_the_segment_is_no_longer_than_the_timeout_nor_what_came() -> None:
    client = client_with()
    client.hear(0.0, 3200)
    client.append(client.session.ear.format.silence(24 * 5000))
    client.advance(5.0)
    (triggered,) = client.of("input_audio_buffer.timeout_triggered")
    assert triggered["audio_end_ms"] == 1600 + 3200  # what was listened to
    assert triggered["audio_start_ms"] == 0 + max(0, 1600 + 3200 - 5000)
    client = client_with()
    client.advance(5.1)
    (triggered,) = client.of("input_audio_buffer.timeout_triggered")
    assert (triggered["audio_start_ms"], triggered["audio_end_ms"]) == (0, 1600)


def test_a_turn_after_it_does_not_reach_back_into_it() -> None:
    client = client_with()
    client.hear(0.0, 4992)
    client.advance(0.2)
    client.until_done()
    client.hear(0.9, 96)
    (started,) = client.of("input_audio_buffer.speech_started")
    assert started["audio_start_ms"] == 1600 + 4992


def test_speech_puts_it_off_until_the_next_response() -> None:
    client = client_with(create_response=False)
    client.hear(0.9, 6016)
    client.hear(0.0, 992)
    assert client.advance(60.0) == []
    client.respond()
    assert TIMEOUT == types(client.advance(6.0)[:5])


def test_who_speaks_while_the_agent_ends_is_not_silent() -> None:
    client = client_with(interrupt_response=False, create_response=False)
    client.send("response.create", response={"instructions": "say: " + "word " * 20})
    client.hear(0.9, 16_000)
    assert client.done()["status"] == "completed"
    assert client.of("input_audio_buffer.timeout_triggered") == []


def test_without_a_response_before_it_nothing_happens() -> None:
    client = VirtualClient(dialogue=QUIET_DIALOGUE)
    detection = {"type": "server_vad", "idle_timeout_ms": 5000}
    client.update({"audio": {"input": {"turn_detection": detection}}})
    assert client.advance(100.0) == []
    client.respond(conversation="none", instructions="say: Hi.")
    assert client.advance(100.0) == []


def test_the_dialogue_says_what_it_says_to_the_silent() -> None:
    client = VirtualClient()
    detection = {"type": "server_vad", "idle_timeout_ms": 6000}
    client.update({"audio": {"input": {"turn_detection": detection}}})
    client.respond()
    for _ in range(2):
        client.advance(10.0)
        assert said(client.done()) == ["Still here."]


def test_it_is_over_when_the_session_says_so() -> None:
    client = client_with()
    client.update({"audio": {"input": {"turn_detection": None}}})
    assert client.advance(100.0) == []
    client = client_with()
    client.update({"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}})
    assert client.advance(100.0) == []


def test_a_new_timeout_counts_at_once() -> None:
    client = client_with()
    client.advance(2.0)
    detection = {"type": "server_vad", "idle_timeout_ms": 10_000}
    client.update({"audio": {"input": {"turn_detection": detection}}})
    assert client.advance(7.5) == []
    assert TIMEOUT == types(client.advance(0.7)[:5])
    assert types(client.until_done())[-2:] == END


FORGET = {
    "clear": lambda client: client.send("input_audio_buffer.clear"),
    "format": lambda client: client.update(
        {"audio": {"input": {"format": {"type": "audio/pcmu"}}}}
    ),
}


@pytest.mark.parametrize("how", FORGET)
def test_a_turn_that_is_taken_back_is_silence_again(how: str) -> None:
    client = VirtualClient(dialogue=DIALOGUE)
    client.respond()
    client.advance(10.0)
    (started,) = client.hear(0.9, 640)
    FORGET[how](client)
    before = client.now
    client.hear(0.0, 992)
    client.heard_at.clear()
    client.advance(60.0)
    assert said(client.done()) == ["Still here."]
    assert client.heard_at[0] - before == pytest.approx(20.0)
    client.append(client.session.ear.format.silence(8000))
    committed = client.send("input_audio_buffer.commit")[0]
    assert committed["item_id"] != started["item_id"]


def test_a_turn_that_is_taken_back_begins_no_wait_for_who_was_not_spoken_to() -> None:
    client = VirtualClient(dialogue=DIALOGUE)
    client.hear(0.9, 640)
    client.send("input_audio_buffer.clear")
    assert client.advance(100.0) == []


def test_detection_that_was_off_for_a_while_waits_again() -> None:
    client = VirtualClient(dialogue=DIALOGUE)
    client.respond()
    (started,) = client.hear(0.9, 640)
    client.update({"audio": {"input": {"turn_detection": None}}})
    assert client.advance(100.0) == []
    committed = client.send("input_audio_buffer.commit")[0]
    assert committed["item_id"] == started["item_id"]  # its audio was left to the client
    client.update({"audio": {"input": {"turn_detection": {"type": "server_vad"}}}})
    client.advance(0.1)
    client.until_done()
    assert said(client.done()) == ["Still here."]
