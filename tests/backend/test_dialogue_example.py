"""The example of a dialogue does what its comments say."""

from pathlib import Path

import pytest

from gateway.backend.dialogue import (
    DialogueRun,
    Pressed,
    Reply,
    Returned,
    Spoke,
    ToolCall,
    Typed,
)
from gateway.backend.dialogue_parse import parse_dialogue

pytestmark = pytest.mark.pure

TEXT = (Path(__file__).parents[2] / "deploy" / "examples" / "dialogue.toml").read_text()
FOUND = '{"state": "on its way", "day": "Thursday"}'


def words(reply: Reply) -> str:
    return " ".join(reply.line)


@pytest.fixture
def talk() -> DialogueRun:
    return DialogueRun(parse_dialogue(TEXT))


def test_an_order_is_looked_for_and_found(talk: DialogueRun) -> None:
    assert words(talk.greeting()).startswith("Welcome to Brightwater Bicycles.")
    assert words(talk.answer(Pressed("1"))).startswith("Please type the number")
    missed = talk.answer(Pressed("77#"))
    assert words(missed) == "I am looking for order seven, seven, hash."
    assert missed.call == ToolCall("find_order", {"number": "77"})
    assert words(talk.answer(Returned("find_order", "not found"))).endswith("once more.")
    assert talk.answer(Pressed("1042#")).call == ToolCall("find_order", {"number": "1042"})
    answer = talk.answer(Returned("find_order", FOUND))
    assert words(answer).startswith("Your order is on its way. You can expect it on Thursday.")
    goodbye = talk.answer(Pressed("0"))
    assert goodbye.call == ToolCall("hang_up", {})
    assert words(goodbye).endswith("Goodbye!")


def test_the_workshop_and_back(talk: DialogueRun) -> None:
    assert talk.answer(Pressed("2")).call == ToolCall(
        "transfer", {"target": "sip:workshop@brightwater.example"}
    )
    assert "does not answer" in words(talk.answer(Returned("transfer", "busy")))
    assert words(talk.answer(Pressed("1"))).startswith("Please type")


def test_speech_silence_text_and_all_else(talk: DialogueRun) -> None:
    assert "about two seconds" in words(talk.answer(Spoke(2000)))
    assert "keys of your phone" in words(talk.answer(Spoke(2000)))
    assert talk.idle_s() == 12
    assert words(talk.idle()).startswith("Are you still there?")
    assert words(talk.answer(Pressed("9"))).startswith("Sorry")
    assert talk.answer(Typed("Bye, then")).call == ToolCall("hang_up", {})


def test_its_rehearsal_only_needs_the_comment_signs_taken_off() -> None:
    assert not parse_dialogue(TEXT).expect
    before, _, lines = TEXT.partition("# [[expect]]")
    steps = "[[expect]]" + lines.replace("\n# ", "\n").replace("\n#\n", "\n")
    assert len(parse_dialogue(before + steps).expect) == 6
