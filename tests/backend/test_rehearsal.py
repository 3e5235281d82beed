"""Rehearsals: what is expected of a caller, against what the session showed."""

from typing import Any

import pytest

from gateway.backend.dialogue import DialogueError
from gateway.backend.dialogue_parse import parse_dialogue
from gateway.backend.rehearsal import Rehearsal

pytestmark = pytest.mark.pure

DIALOGUE = """
start = "menu"
otherwise = "Sorry?"
[states.menu]
say = "Hello."
"""
STEPS = """
[[expect]]
any_speech = true
within_s = 10
[[expect]]
dtmf = "12"
[[expect]]
result = "find_order"
contains = "sent"
[[expect]]
silence_s = 5
[[expect]]
text = "bye"
within_s = 3
"""


class Play:
    """A session of which one knows no more than the events that it sends."""

    def __init__(self, steps: str = STEPS, *, strict: bool = False) -> None:
        expect = parse_dialogue(DIALOGUE + steps).expect
        self.now = 100.0
        self.rehearsal = Rehearsal(expect, self.now, strict=strict)
        self.number = 0

    def sent(self, kind: str, **fields: Any) -> None:
        self.rehearsal.sent({"type": kind, "event_id": "event_1", **fields}, self.now)

    def item(self, **item: Any) -> None:
        self.number += 1
        item = {"id": f"item_{self.number}"} | item
        for change in ("added", "done"):
            self.sent(f"conversation.item.{change}", item=item, previous_item_id=None)

    def user(self, part: dict[str, Any], **fields: Any) -> None:
        self.item(type="message", role="user", content=[part], **fields)

    def speak(self) -> None:
        self.sent("input_audio_buffer.speech_started", item_id="item_x", audio_start_ms=0)
        self.user({"type": "input_audio", "transcript": None})

    def write(self, text: str) -> None:
        self.user({"type": "input_text", "text": text})

    def call(self, name: str, output: str) -> None:
        self.item(type="function_call", call_id="call_1", name=name, arguments="{}")
        self.item(type="function_call_output", call_id="call_1", output=output)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (at := self.rehearsal.next_timeout()) is not None and at <= end:
            self.now = at
            self.rehearsal.timeout(at)
        self.now = end

    def failure(self) -> str | None:
        self.rehearsal.end(self.now)
        return self.rehearsal.failure


def test_all_steps_in_their_order() -> None:
    play = Play()
    play.item(type="message", role="assistant", content=[{"type": "output_audio"}])
    play.wait(9)
    play.speak()
    play.wait(1000)
    play.write("DTMF 12#")
    play.call("find_order", "It was SENT.")
    play.wait(7.5)
    play.write("Good bye!")
    play.write("What comes after the last step does not count.")
    assert play.failure() is None


def test_a_step_that_comes_too_late() -> None:
    play = Play()
    play.wait(10.5)
    play.speak()
    expected = "expect[0] (any_speech = True, within_s = 10): nothing of it within 10 s"
    assert play.failure() == expected


def test_something_else_comes() -> None:
    play = Play()
    play.write("DTMF 3")
    assert (
        play.failure()
        == "expect[0] (any_speech = True, within_s = 10): the caller pressed other keys instead"
    )
    assert play.rehearsal.seen == "3"
    play = Play('[[expect]]\ndtmf = "any"\n[[expect]]\nresult = "a"')
    play.write("DTMF 3")
    play.call("b", "x" * 200)
    assert play.failure() == "expect[1] (result = 'a'): b returned other output instead"
    assert play.rehearsal.seen.startswith("xxx") and len(play.rehearsal.seen) < 100
    play = Play('[[expect]]\ndtmf = "any"')
    play.write("DTMF please")
    assert play.failure() == "expect[0] (dtmf = 'any'): other text came instead"


def test_the_first_failure_is_the_one_that_counts() -> None:
    play = Play('[[expect]]\ndtmf = "1"\n[[expect]]\ndtmf = "2"')
    play.write("DTMF 3")
    play.write("DTMF 1")
    play.write("DTMF 2")
    failure = play.failure()
    assert failure is not None and failure.startswith("expect[0]")


def test_silence_is_broken_by_the_first_sound() -> None:
    steps = "[[expect]]\nsilence_s = 5"
    play = Play(steps)
    play.wait(4)
    play.sent("input_audio_buffer.speech_started", item_id="item_1", audio_start_ms=0)
    assert play.failure() == "expect[0] (silence_s = 5): the caller spoke after 4.0 s"
    play = Play(steps)
    play.wait(2)
    play.write("hello")
    assert play.failure() == "expect[0] (silence_s = 5): text came after 2.0 s"
    assert play.rehearsal.seen == "hello"
    play = Play(steps)
    play.wait(4.9)
    assert play.failure() == "expect[0] (silence_s = 5): the session ended before"
    play = Play(steps)
    play.wait(5)
    assert play.failure() is None


def test_silence_that_the_server_has_committed_is_not_speech() -> None:
    play = Play("[[expect]]\nsilence_s = 9")
    play.sent(
        "input_audio_buffer.timeout_triggered",
        item_id="item_t",
        audio_start_ms=0,
        audio_end_ms=5000,
    )
    play.user({"type": "input_audio", "transcript": None}, id="item_t")
    play.wait(9)
    assert play.failure() is None


def test_a_session_that_ends_early() -> None:
    play = Play()
    play.speak()
    assert play.failure() == "expect[1] (dtmf = '12'): the session ended before"


def test_only_a_strict_rehearsal_ends_the_session() -> None:
    for strict in (False, True):
        play = Play(strict=strict)
        assert not play.rehearsal.over
        play.write("hello")
        assert play.rehearsal.over is strict


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("[expect]", "[[expect]]: must be a list of tables"),
        ("[[expect]]\nsay = 'x'", "expect[0]: unknown say"),
        ("[[expect]]\nwithin_s = 1", "expect[0]: one of dtmf, any_speech, text, result, silence_s"),
        ("[[expect]]\nidle_s = 1", "expect[0]: unknown idle_s"),
        ("[[expect]]\nsilence_s = 0", "expect[0].silence_s: 0 is not a number of seconds"),
        ("[[expect]]\ndtmf = '1'\nwithin_s = true", "expect[0].within_s: True"),
        ("[[expect]]\nsilence_s = 1\nwithin_s = 2", "silence_s has no use for within_s"),
        ("[[expect]]\ndtmf = 'x'", "expect[0].dtmf: 'x' holds what is not a key"),
    ],
)
def test_mistakes_name_their_place(steps: str, said: str) -> None:
    with pytest.raises(DialogueError) as error:
        parse_dialogue(DIALOGUE + steps)
    assert said in str(error.value)
