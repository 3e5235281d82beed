"""Dialogues: reading, following, and the built-in one."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.backend.config import DEFAULT_DIALOGUE
from gateway.backend.dialogue import (
    DURATIONS,
    KEYS,
    DialogueError,
    DialogueRun,
    Input,
    Pressed,
    Reply,
    Returned,
    Spoke,
    ToolCall,
    Typed,
    expand,
    phrases_of,
    spoken_duration,
)
from gateway.backend.dialogue_parse import parse_dialogue

pytestmark = pytest.mark.pure

SMALL = """
start = "one"
otherwise = "Nothing. At all."
[states.one]
say = "First. Second!"
[[states.one.on]]
dtmf = "7"
goto = "two"
[[states.one.on]]
dtmf = "any"
say = "In one: {keys}."
[states.two]
say = "Now in two."
[[states.two.on]]
idle_s = 5
say = "Silence in two."
[[on]]
dtmf = "12#"
say = "A number."
[[on]]
dtmf = "12"
say = "Another number."
[[on]]
dtmf = "any"
say = "Anywhere: {keys}."
[[on]]
any_speech = true
say = ["Once.", "Twice, {duration}."]
[[on]]
text = "weather"
say = "It rains."
"""
CALLS = """
start = "menu"
otherwise = "Sorry?"
[states.menu]
say = "Your order number, please."
[[states.menu.on]]
dtmf = "0"
say = "One moment."
goto = "desk"
[[states.menu.on]]
dtmf = "*"
goto = "desk"
[[states.menu.on]]
dtmf = "any"
say = "I look for {keys}."
call = {name = "find_order", arguments = {number = "{keys}", tags = ["phone", "{text}"], limit = 1}}
[[states.menu.on]]
result = "find_order"
contains = "NOT FOUND"
say = "There is no order {keys}."
[[states.menu.on]]
result = "find_order"
say = "It is {result.status}. It comes on {result.when.day}, in {result.parts} parts. {result.no}"
[[states.menu.on]]
text = "any"
say = "You wrote {text}."
[[states.menu.on]]
any_speech = true
call = {name = "hang_up"}
[states.desk]
say = "I connect you."
call = {name = "transfer", arguments = {target = "sip:desk@example.com"}}
[[on]]
result = "any"
say = "{result}"
"""


def run(text: str = SMALL) -> DialogueRun:
    return DialogueRun(parse_dialogue(text))


def said(talk: DialogueRun, heard: Input | None) -> str:
    return " ".join(talk.answer(heard).line)


def test_states_and_rules() -> None:
    talk = run()
    assert talk.greeting() == Reply(("First.", "Second!"))
    assert said(talk, Pressed("12#")) == "A number."
    assert said(talk, Pressed("12")) == "Another number."
    assert said(talk, Pressed("5")) == "In one: five."
    assert talk.idle_s() is None
    assert talk.idle() == Reply()
    assert said(talk, Pressed("7")) == "Now in two."
    assert said(talk, Pressed("7")) == "Anywhere: seven."
    assert (talk.idle_s(), talk.idle()) == (5, Reply(("Silence in two.",)))


def test_the_hash_that_ends_a_number_is_not_part_of_it() -> None:
    talk = run()
    assert said(talk, Pressed("7#")) == "Now in two."
    assert said(talk, Pressed("#")) == "Anywhere: hash."


def test_lines_of_one_rule_take_turns() -> None:
    talk = run()
    lines = [said(talk, Spoke(2400)) for _ in range(3)]
    assert lines == ["Once.", "Twice, about two seconds.", "Once."]


def test_text_and_nothing() -> None:
    talk = run()
    assert said(talk, Typed("What WEATHER is it?")) == "It rains."
    assert said(talk, Typed("hello")) == "Nothing. At all."
    assert said(talk, None) == "Nothing. At all."


def test_a_function_is_called_with_what_was_pressed_and_its_result_is_spoken() -> None:
    talk = run(CALLS)
    reply = talk.answer(Pressed("12#"))
    assert reply.line == ("I look for", "one,", "two,", "hash.")
    arguments = {"number": "12", "tags": ["phone", ""], "limit": 1}
    assert reply.call == ToolCall("find_order", arguments)
    assert said(talk, Typed("a {keys} b")) == "You wrote a {keys} b."
    again = talk.answer(Pressed("7")).call
    assert again is not None and again.arguments["tags"] == ["phone", "a {keys} b"]
    assert said(talk, Returned("find_order", "order not found")) == "There is no order seven."
    result = '{"status": "sent. Today", "when": {"day": "Monday"}, "parts": 2}'
    assert talk.answer(Returned("find_order", result)).line == (
        "It is sent.",
        "Today.",
        "It comes on Monday, in 2 parts.",
    )
    assert said(talk, Returned("find_order", "[no object]")) == "It is . It comes on , in parts."
    assert said(talk, Returned("another", "Fine. Good.")) == "Fine. Good."


def test_a_line_has_an_end_whatever_came() -> None:
    talk = run(CALLS)
    talk.answer(Typed("a" * 50_000))
    reply = talk.answer(Pressed("1" * 50_000))
    assert len(reply.line) == 200
    assert reply.call is not None
    assert reply.call.arguments["number"] == "1" * 300
    assert reply.call.arguments["tags"] == ["phone", "a" * 300]
    assert said(talk, Typed("b" * 50_000)) == f"You wrote {'b' * 300}."
    assert said(talk, Returned("another", "c" * 50_000)) == "c" * 300
    # What a field of it is, is known only when all of it is kept.
    result = json.dumps({"more": "d" * 50_000, "status": "e" * 50_000})
    assert said(talk, Returned("find_order", result)).startswith(f"It is {'e' * 300}. It comes")


def test_a_state_may_call_when_it_is_entered() -> None:
    transfer = ToolCall("transfer", {"target": "sip:desk@example.com"})
    assert run(CALLS).answer(Pressed("*")) == Reply(("I connect you.",), transfer)
    assert run(CALLS).answer(Pressed("0")) == Reply(("One moment.",), transfer)
    assert run(CALLS).answer(Spoke(400)) == Reply((), ToolCall("hang_up", {}))


def test_what_is_not_known_in_advance_is_no_phrase_of_the_dialogue() -> None:
    phrases = parse_dialogue(CALLS).phrases()
    assert not any("{" in phrase for phrase in phrases)
    assert {"I look for", "nine,", "There is no order", "I connect you."} <= set(phrases)


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "less than a second"),
        (499, "less than a second"),
        (500, "about one second"),
        (2499, "about two seconds"),
        (15_400, "about fifteen seconds"),
        (15_500, "more than fifteen seconds"),
        (10**9, "more than fifteen seconds"),
    ],
)
def test_durations(ms: int, words: str) -> None:
    assert spoken_duration(ms) == words
    assert words in DURATIONS


@pytest.mark.parametrize(
    ("text", "keys", "phrases"),
    [
        ("One. Two? Three", "", ("One.", "Two?", "Three")),
        ("It costs 3.50 now.", "", ("It costs 3.50 now.",)),
        ("You pressed {keys}.", "1", ("You pressed", "one.")),
        ("You pressed {keys}. Well.", "1#", ("You pressed", "one,", "hash.", "Well.")),
        ("So {keys} it is", "*0", ("So", "star,", "zero", "it is")),
        ("{keys}, really?", "A", ("a,", "really?")),
        ("{keys}", "", ()),
        ("You pressed {keys}.", "", ("You pressed",)),
        ("{keys} or {keys}?", "12", ("one,", "two", "or", "one,", "two?")),
        ("{keys}!", "1" * 9999, (*["one,"] * 299, "one!")),
    ],
)
def test_phrases(text: str, keys: str, phrases: tuple[str, ...]) -> None:
    assert expand(text, {"keys": keys}) == phrases


def test_a_text_as_it_stands_keeps_its_braces() -> None:
    assert phrases_of("  {keys} and\n{duration}. Yes. ") == ("{keys} and {duration}.", "Yes.")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("start", "begin"), "begin"),
        (('"one"', '"nowhere"'), "nowhere"),
        (('goto = "two"', 'goto = "three"'), "three"),
        (('goto = "two"', ""), "say, call or goto"),
        (('goto = "two"', "goto = 2"), "goto"),
        (('dtmf = "7"', 'dtmf = "7x"'), "7x"),
        (('dtmf = "7"', "dtmf = 7"), "dtmf"),
        (('dtmf = "7"', 'dtmf = "7"\ntext = "x"'), "one of"),
        (('text = "weather"', "txt = 1"), "txt"),
        (("any_speech = true", "any_speech = false"), "any_speech"),
        (("idle_s = 5", 'idle_s = "soon"'), "idle_s"),
        (("{duration}", "{time}"), "{time}"),
        (('say = "Now in two."', "say = 5"), "states.two.say"),
        (('say = "Now in two."', ""), "states.two"),
        (('say = "First. Second!"', ""), "greeting"),
        (('otherwise = "Nothing. At all."', ""), "otherwise"),
        (("[states.two]", "[states.two"), "TOML"),
        (('say = "It rains."', 'say = [" "]'), "say"),
        (('say = "It rains."', f'say = "{"Rain. " * 201}"'), "on[4].say: more than 200 sentences"),
    ],
)
def test_mistakes_are_named(change: tuple[str, str], named: str) -> None:
    broken = SMALL.replace(*change, 1)
    assert broken != SMALL
    with pytest.raises(DialogueError, match=re.escape(named)):
        parse_dialogue(broken)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('name = "find_order", ', ""), 'states.menu.on[2].call needs name = "..."'),
        (("limit = 1", "limit = inf"), "states.menu.on[2].call.arguments.limit: inf"),
        (("limit = 1", "limit = 2026-01-01"), "arguments.limit: 2026-01-01"),
        (('"phone", ', '"{phone}", '), "arguments.tags[0]: there is no {phone}"),
        (("limit = 1}", "limit = 1}, id = 5"), "states.menu.on[2].call: unknown id"),
        (('{name = "hang_up"}', '"hang_up"'), "states.menu.on[6].call: must be a table"),
        (('contains = "NOT FOUND"', "contains = 4"), "states.menu.on[3] needs contains"),
        (('result = "find_order"\ncon', 'text = "x"\ncon'), "belongs to a result, not to text"),
        (("{result.no}", "{keys.no}"), "states.menu.on[4].say: there is no {keys.no}"),
        (("[[on]]", "[on]"), "[[on]]: must be a list"),
    ],
)
def test_mistakes_about_calls_name_their_place(change: tuple[str, str], said: str) -> None:
    broken = CALLS.replace(*change, 1)
    assert broken != CALLS
    with pytest.raises(DialogueError) as error:
        parse_dialogue(broken)
    assert said in str(error.value)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_dialogue_or_an_error(text: str) -> None:
    try:
        parse_dialogue(text)
    except DialogueError as error:
        assert str(error)


# The built-in dialogue.

BUILT_IN = parse_dialogue(DEFAULT_DIALOGUE.read_text())
INPUTS = st.one_of(
    st.none(),
    st.builds(Spoke, st.integers(0, 60_000)),
    st.builds(Pressed, st.text("".join(KEYS), min_size=1, max_size=8)),
    st.builds(Typed, st.text(max_size=10)),
    st.builds(Returned, st.text(max_size=10), st.text(max_size=10)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(INPUTS, max_size=12))
def test_all_that_can_be_said_is_known_in_advance(inputs: list[Input | None]) -> None:
    # Punctuation at the end does not count: prompts are the same with a comma or a full stop.
    known = {phrase.rstrip(".,") for phrase in BUILT_IN.phrases()}
    talk = DialogueRun(BUILT_IN)
    lines = [talk.greeting(), talk.idle(), *(talk.answer(heard) for heard in inputs)]
    for reply in lines:
        assert reply.line
        assert {phrase.rstrip(".,") for phrase in reply.line} <= known


def test_the_greeting_says_what_it_is_and_what_it_cannot_do() -> None:
    greeting = " ".join(DialogueRun(BUILT_IN).greeting().line)
    for part in ("built-in test agent", "not understand words", "how long", "keys"):
        assert part in greeting


@pytest.mark.parametrize("key", "0123456789*#")
def test_every_key_has_its_own_answer(key: str) -> None:
    answer = said(DialogueRun(BUILT_IN), Pressed(key))
    assert answer.startswith(f"You pressed {KEYS[key]}")
    others = {
        said(DialogueRun(BUILT_IN), Pressed(other)) for other in "0123456789*#" if other != key
    }
    assert answer not in others


def test_several_keys_are_read_back_and_speech_is_measured() -> None:
    talk = DialogueRun(BUILT_IN)
    assert said(talk, Pressed("12#")).startswith("You pressed one, two, hash.")
    assert "about three seconds" in said(talk, Spoke(3100))
    assert "Goodbye" in said(talk, Pressed("9"))
