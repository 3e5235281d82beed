"""A dialogue: what the agent says and calls, and what leads to what. Written in TOML.

    start = "menu"                      # the first state; its `say` is the greeting
    otherwise = "..."                   # said when a response is asked for and nothing else fits

    [states.menu]
    say = "..."
    call = {name = "...", arguments = {...}}    # a function that is called after it; both optional

    [[states.menu.on]]                  # a rule: one trigger, and what follows
    dtmf = "1"                          # exactly these keys, or "any"
    say = "You pressed {keys}."
    call = {name = "look_up", arguments = {number = "{keys}"}}
    goto = "story"                      # what the rule does not say or call, the new state does

    [[on]]                              # rules for every state, tried after the state's own
    any_speech = true
    say = ["...", "..."]                # several: used in turn

    [[expect]]                          # what the caller is to do: see `rehearsal`
    dtmf = "1"

Triggers: `dtmf` (keys), `any_speech`, `text` (part of what was typed, or "any"), `result` (the name
of the function that has returned, or "any"; with `contains`, a part of what it returned), `idle_s`
(seconds of silence after the agent has spoken; once, until the caller does something).

Functions belong to the application on the other side; one that the session does not offer is not
called. Nothing is done here to transfer a call or to end it: a dialogue calls what the application
offers for that, by convention `transfer` with a `target`, and `hang_up`.

Placeholders, in what is said and in the texts of arguments: `{keys}`, `{text}`, `{result}` are the
last that came; `{result.name}` is a field of a result that is a JSON object; `{duration}` is how
long the caller spoke last. In arguments keys come without the hash that ended them. No more than
300 characters are filled in, and no more than 200 phrases are said.

A line is spoken phrase by phrase: sentences, and the parts around `{keys}`. `{duration}` becomes a
few words within its sentence. That way everything that a dialogue can say without `{text}` and
`{result}` is a finite set of phrases, which can be rendered in advance.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

ANY: Final = "any"
DURATIONS: Final = (
    "less than a second",
    *(
        f"about {word} second{'s' if word != 'one' else ''}"
        for word in (
            *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
            *("eleven", "twelve", "thirteen", "fourteen", "fifteen"),
        )
    ),
    "more than fifteen seconds",
)
KEYS: Final = dict(
    zip(
        "0123456789*#ABCD",
        "zero one two three four five six seven eight nine star hash a b c d".split(),
        strict=True,
    )
)
"""Spoken names of the keys."""
PLACEHOLDER: Final = re.compile(r"\{(\w+(?:\.\w+)*)\}")
LONGEST_LINE: Final = 200
"""Phrases that are said at a time."""

_LONGEST_VALUE: Final = 300
"""Characters that a placeholder is filled with: others decide on how many come."""

_KEYS_TEXT: Final = "DTMF "
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_MARKS: Final = ",.!?"
_OPEN: Final = re.compile(r"\{(?:text|result)\b")
"""Placeholders for what nobody knows before it is said."""


class DialogueError(Exception):
    """A dialogue does not say what it means; the text names the place."""


@dataclass(frozen=True, slots=True)
class Spoke:
    """The caller spoke for this long."""

    speech_ms: int


@dataclass(frozen=True, slots=True)
class Pressed:
    """The caller pressed these keys."""

    keys: str

    @property
    def number(self) -> str:
        """The keys without the hash that ends them, where there is more than that."""
        return self.keys.removesuffix("#") or self.keys


@dataclass(frozen=True, slots=True)
class Typed:
    text: str


@dataclass(frozen=True, slots=True)
class Returned:
    """A function that was called has returned."""

    name: str
    output: str


Input = Spoke | Pressed | Typed | Returned
Line = tuple[str, ...]
"""Phrases to be spoken one after the other; joined by spaces they are the transcript."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function for the application to call. The arguments are JSON values."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a response says, and then calls; one of both may be empty."""

    line: Line = ()
    call: ToolCall | None = None


@dataclass(frozen=True, slots=True)
class Trigger:
    """One is set, the others are None; `contains` only with `result`."""

    dtmf: str | None = None
    any_speech: bool | None = None
    text: str | None = None
    result: str | None = None
    contains: str | None = None
    idle_s: float | None = None

    def matches(self, heard: Input, keys: str) -> bool:
        """Whether the input is meant; `keys` is how pressed keys are to be read."""
        match heard:
            case Spoke():
                return self.any_speech is True
            case Pressed():
                return self.dtmf == keys
            case Typed(text):
                return self.text is not None and (self.text == ANY or _in(self.text, text))
            case Returned(name, output):
                return self.result in (ANY, name) and _in(self.contains or "", output)


@dataclass(frozen=True, slots=True)
class Rule:
    """A trigger, and what follows: one of `say`, `call` and `goto` at least is set."""

    trigger: Trigger
    say: tuple[str, ...]
    call: ToolCall | None
    goto: str | None


@dataclass(frozen=True, slots=True)
class State:
    say: tuple[str, ...]
    call: ToolCall | None
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Expectation:
    """A step of a rehearsal: `trigger` or `silence_s` is set."""

    trigger: Trigger | None
    silence_s: float | None
    within_s: float | None
    where: str
    """Its place in the dialogue, and what it says."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A dialogue as it is written; where one call is in it is a `DialogueRun`."""

    start: str
    otherwise: str
    states: dict[str, State]
    rules: tuple[Rule, ...]
    expect: tuple[Expectation, ...] = ()

    def phrases(self) -> list[str]:
        """Every phrase that can be known before it is spoken, in order, each once."""
        lines = [self.otherwise]
        for state in self.states.values():
            lines += state.say
        for rule in self.all_rules():
            lines += rule.say
        found: dict[str, None] = {}
        for sentence in (sentence for line in lines for sentence in phrases_of(line)):
            if _OPEN.search(sentence):
                continue
            for duration in DURATIONS if "{duration}" in sentence else ("",):
                values = {"duration": duration, "keys": "".join(KEYS)}
                found |= dict.fromkeys(expand(sentence, values))
        return list(found)

    def all_rules(self) -> Iterator[Rule]:
        for state in self.states.values():
            yield from state.rules
        yield from self.rules


class DialogueRun:
    """Where one call is in a dialogue."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._state = dialogue.start
        self._turns: dict[tuple[str, ...], int] = {}
        self._values = {"duration": spoken_duration(0)}

    def greeting(self) -> Reply:
        state = self._dialogue.states[self._dialogue.start]
        return self._reply(state.say, state.call)

    def answer(self, heard: Input | None) -> Reply:
        """What to say to the caller's latest input; None when there was nothing new."""
        if heard is not None:
            self._remember(heard)
            for keys in readings(heard):
                for rule in self._rules():
                    if rule.trigger.matches(heard, keys):
                        return self._follow(rule)
        return Reply(phrases_of(self._dialogue.otherwise))

    def idle_s(self) -> float | None:
        """After how many seconds of silence `idle` is due, if ever."""
        rule = self._idle_rule()
        return None if rule is None else rule.trigger.idle_s

    def idle(self) -> Reply:
        """What to say to a silent caller."""
        rule = self._idle_rule()
        return Reply() if rule is None else self._follow(rule)

    def _remember(self, heard: Input) -> None:
        match heard:
            case Spoke(speech_ms):
                self._values["duration"] = spoken_duration(speech_ms)
            case Pressed(keys):
                self._values["keys"] = keys
                self._values["number"] = heard.number
            case Typed(text):
                self._values["text"] = text
            case Returned(_, output):
                self._values["result"] = output

    def _rules(self) -> tuple[Rule, ...]:
        return self._dialogue.states[self._state].rules + self._dialogue.rules

    def _idle_rule(self) -> Rule | None:
        return next((rule for rule in self._rules() if rule.trigger.idle_s is not None), None)

    def _follow(self, rule: Rule) -> Reply:
        if rule.goto is None:
            return self._reply(rule.say, rule.call)
        self._state = rule.goto
        state = self._dialogue.states[rule.goto]
        return self._reply(rule.say or state.say, rule.call or state.call)

    def _reply(self, says: tuple[str, ...], call: ToolCall | None) -> Reply:
        line: Line = ()
        if says:
            turn = self._turns.get(says, 0)
            self._turns[says] = turn + 1
            line = expand(says[turn % len(says)], self._values)[:LONGEST_LINE]
        if call is not None:
            values = self._values | {"keys": self._values.get("number", "")}
            call = ToolCall(call.name, _filled(call.arguments, values))
        return Reply(line, call)


def written(text: str) -> Pressed | Typed:
    """What a user's text is: `DTMF 12#` is how the gateway tells the model of key presses."""
    text = text.strip()
    keys = text.removeprefix(_KEYS_TEXT)
    return Pressed(keys) if keys and keys != text and set(keys) <= set(KEYS) else Typed(text)


def readings(heard: Input) -> tuple[str, ...]:
    """How an input's keys may be read, the most exact way first."""
    if isinstance(heard, Pressed):
        # The gateway ends a line of keys with the hash: "1#" is somebody who chose 1.
        return (heard.keys, heard.number, ANY)
    return ("",)


def phrases_of(text: str) -> Line:
    """A text as it stands, sentence by sentence."""
    return tuple(_SENTENCE_END.split(" ".join(text.split())))


def unsaid(line: Line, said: str) -> Line:
    """The rest of a line of which only this beginning was said, from the phrase on in which it was
    cut; nothing if it was something else, or all of it."""
    whole = " ".join(line)
    if not said or said == whole or not whole.startswith(said):
        return ()
    end = -1
    for number, phrase in enumerate(line):
        end += 1 + len(phrase)
        if len(said) < end:
            return line[number:]
    return ()


def expand(text: str, values: Mapping[str, str]) -> Line:
    """Fill in the placeholders and cut the text into phrases. What has no value is left out."""
    *names, last = [KEYS[key] for key in values.get("keys", "")[:_LONGEST_VALUE]] or [""]
    phrases: list[str] = []
    for sentence in phrases_of(text):
        first, *others = sentence.split("{keys}")
        phrases += phrases_of(_fill(first, values))
        for after in others:
            mark = after[:1] if last and after[:1] in _MARKS else ""
            phrases += [*(f"{name}," for name in names), last + mark]
            phrases += phrases_of(_fill(after.removeprefix(mark), values))
    return tuple(phrase for phrase in phrases if phrase.strip(_MARKS))


def spoken_duration(speech_ms: int) -> str:
    """A length of time in a few words, one of `DURATIONS`."""
    seconds = (speech_ms + 500) // 1000
    return DURATIONS[min(seconds, len(DURATIONS) - 1)]


def _in(part: str, text: str) -> bool:
    return part.lower() in text.lower()


def _fill(text: str, values: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: _value(found[1], values)[:_LONGEST_VALUE], text)


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    """A JSON value with the placeholders of its texts filled in."""
    match value:
        case str():
            return _fill(value, values)
        case list():
            return [_filled(one, values) for one in value]
        case dict():
            return {key: _filled(one, values) for key, one in value.items()}
    return value


def _value(name: str, values: Mapping[str, str]) -> str:
    name, *fields = name.split(".")
    text = values.get(name, "")
    if not fields:
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    for field in fields:
        value = value.get(field) if isinstance(value, dict) else None
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value)
