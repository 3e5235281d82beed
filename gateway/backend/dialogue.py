"""A dialogue: what the agent says, and what leads to what. Written in TOML.

    start = "menu"                      # the first state; its `say` is the greeting
    otherwise = "..."                   # said when a response is asked for and nothing else fits

    [states.menu]
    say = "..."

    [[states.menu.on]]                  # a rule: one trigger, and what follows
    dtmf = "1"                          # exactly these keys, or "any"
    say = "You pressed {keys}."
    goto = "story"                      # optional; without `say` the new state's `say` is said

    [[on]]                              # rules for every state, tried after the state's own
    any_speech = true
    say = ["...", "..."]                # several: used in turn

Triggers: `dtmf` (keys), `any_speech`, `text` (part of what was typed, or "any"), `idle_s` (seconds
of silence after the agent has spoken; once, until the caller does something).

A line is spoken phrase by phrase: sentences, and the parts around `{keys}`. `{duration}` becomes a
few words within its sentence. That way everything that a dialogue can say is a finite set of
phrases, which can be rendered in advance.
"""

import re
import tomllib
from collections.abc import Iterator
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

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_MARKS: Final = ",.!?"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


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


@dataclass(frozen=True, slots=True)
class Typed:
    text: str


Input = Spoke | Pressed | Typed
Line = tuple[str, ...]
"""Phrases to be spoken one after the other; joined by spaces they are the transcript."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One trigger is set, the others are None; `say` or `goto` is set."""

    dtmf: str | None
    any_speech: bool | None
    text: str | None
    idle_s: float | None
    say: tuple[str, ...]
    goto: str | None

    def matches(self, heard: Input, keys: str) -> bool:
        """Whether this rule answers the input; `keys` is how pressed keys are to be read."""
        match heard:
            case Spoke():
                return self.any_speech is True
            case Pressed():
                return self.dtmf == keys
            case Typed(text):
                wanted = self.text
                return wanted is not None and (wanted == ANY or wanted.lower() in text.lower())


@dataclass(frozen=True, slots=True)
class State:
    say: tuple[str, ...]
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A dialogue as it is written; where one call is in it is a `DialogueRun`."""

    start: str
    otherwise: str
    states: dict[str, State]
    rules: tuple[Rule, ...]

    @classmethod
    def parse(cls, text: str) -> "Dialogue":
        """Read a dialogue.

        Raises:
            DialogueError: it is not TOML, or not a dialogue.
        """
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise DialogueError(f"not TOML: {error}") from None
        _only(table, {"start", "otherwise", "states", "on"}, "the dialogue")
        states = table.get("states")
        if not isinstance(states, dict) or not states:
            raise DialogueError("[states.<name>]: at least one is needed")
        dialogue = cls(
            start=_text(table, "start", "the dialogue"),
            otherwise=_text(table, "otherwise", "the dialogue"),
            states={name: _state(state, f"states.{name}") for name, state in states.items()},
            rules=_rules(table, "on"),
        )
        dialogue._check_targets()
        return dialogue

    def phrases(self) -> list[str]:
        """Every phrase that this dialogue may ever speak, in order, each once."""
        lines = [self.otherwise]
        for state in self.states.values():
            lines += state.say
        for rule in self.all_rules():
            lines += rule.say
        found: dict[str, None] = {}
        for line in lines:
            for duration in DURATIONS if "{duration}" in line else ("",):
                keys = "".join(KEYS) if "{keys}" in line else ""
                found |= dict.fromkeys(expand(line, duration=duration, keys=keys))
        return list(found)

    def all_rules(self) -> Iterator[Rule]:
        for state in self.states.values():
            yield from state.rules
        yield from self.rules

    def _check_targets(self) -> None:
        targets = [rule.goto for rule in self.all_rules() if rule.goto is not None]
        for target in [self.start, *targets]:
            if target not in self.states:
                raise DialogueError(f"there is no [states.{target}]")
        for rule in self.all_rules():
            if not rule.say and rule.goto is not None and not self.states[rule.goto].say:
                raise DialogueError(f"a rule leads to states.{rule.goto}, and neither says a word")
        if not self.states[self.start].say:
            raise DialogueError(f"states.{self.start} needs a say: it is the greeting")


class DialogueRun:
    """Where one call is in a dialogue."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._state = dialogue.start
        self._turns: dict[tuple[str, ...], int] = {}

    def greeting(self) -> Line:
        return self._say(self._dialogue.states[self._dialogue.start].say)

    def answer(self, heard: Input | None) -> Line:
        """What to say to the caller's latest input; None when there was nothing new."""
        for rule in self._rules_for(heard):
            keys = heard.keys if isinstance(heard, Pressed) else ""
            speech_ms = heard.speech_ms if isinstance(heard, Spoke) else 0
            return self._follow(rule, duration=spoken_duration(speech_ms), keys=keys)
        return phrases_of(self._dialogue.otherwise)

    def idle_s(self) -> float | None:
        """After how many seconds of silence `idle` is due, if ever."""
        rule = self._idle_rule()
        return None if rule is None else rule.idle_s

    def idle(self) -> Line:
        """What to say to a silent caller."""
        rule = self._idle_rule()
        return () if rule is None else self._follow(rule)

    def _rules_for(self, heard: Input | None) -> Iterator[Rule]:
        if heard is None:
            return
        readings = [""]
        if isinstance(heard, Pressed):
            # The gateway ends a line of keys with the hash: "1#" is somebody who chose 1.
            readings = [heard.keys, heard.keys.removesuffix("#") or heard.keys, ANY]
        for keys in readings:
            for rule in self._rules():
                if rule.matches(heard, keys):
                    yield rule

    def _rules(self) -> tuple[Rule, ...]:
        return self._dialogue.states[self._state].rules + self._dialogue.rules

    def _idle_rule(self) -> Rule | None:
        return next((rule for rule in self._rules() if rule.idle_s is not None), None)

    def _follow(self, rule: Rule, *, duration: str = "", keys: str = "") -> Line:
        if rule.goto is not None:
            self._state = rule.goto
        says = rule.say or self._dialogue.states[self._state].say
        return self._say(says, duration=duration, keys=keys)

    def _say(self, says: tuple[str, ...], *, duration: str = "", keys: str = "") -> Line:
        turn = self._turns.get(says, 0)
        self._turns[says] = turn + 1
        return expand(says[turn % len(says)], duration=duration, keys=keys)


def phrases_of(text: str) -> Line:
    """A text as it stands, sentence by sentence."""
    return tuple(_SENTENCE_END.split(" ".join(text.split())))


def expand(text: str, *, duration: str = "", keys: str = "") -> Line:
    """Fill in the placeholders and cut the text into phrases."""
    phrases: list[str] = []
    for sentence in phrases_of(text.replace("{duration}", duration)):
        before, placeholder, after = sentence.partition("{keys}")
        if not placeholder:
            phrases.append(sentence)
            continue
        *names, last = [KEYS[key] for key in keys] or [""]
        mark = after[:1] if after[:1] in _MARKS else ""
        phrases += [before.strip(), *(f"{name}," for name in names), last + mark]
        phrases.append(after.removeprefix(mark).strip())
    return tuple(phrase for phrase in phrases if phrase)


def spoken_duration(speech_ms: int) -> str:
    """A length of time in a few words, one of `DURATIONS`."""
    seconds = (speech_ms + 500) // 1000
    return DURATIONS[min(seconds, len(DURATIONS) - 1)]


def _state(value: object, where: str) -> State:
    table = _table(value, where)
    _only(table, {"say", "on"}, where)
    return State(_texts(table, where), _rules(table, f"{where}.on"))


def _rules(table: dict[str, Any], where: str) -> tuple[Rule, ...]:
    values = table.get("on", [])
    if not isinstance(values, list):
        raise DialogueError(f"[[{where}]]: must be a list of tables")
    return tuple(_rule(value, f"{where}[{index}]") for index, value in enumerate(values))


def _rule(value: object, where: str) -> Rule:
    table = _table(value, where)
    triggers: dict[str, type | tuple[type, ...]] = {
        "dtmf": str,
        "any_speech": bool,
        "text": str,
        "idle_s": (int, float),
    }
    _only(table, {*triggers, "say", "goto"}, where)
    present = [name for name in triggers if name in table]
    if len(present) != 1:
        raise DialogueError(f"{where}: one of {', '.join(triggers)} is needed, not {present}")
    trigger = table[present[0]]
    if not isinstance(trigger, triggers[present[0]]) or not trigger:
        raise DialogueError(f"{where}.{present[0]}: {trigger!r} is not a trigger")
    dtmf = table.get("dtmf", ANY)
    if dtmf != ANY and not set(dtmf) <= set(KEYS):
        raise DialogueError(f"{where}.dtmf: {dtmf!r} holds what is not a key")
    say, goto = _texts(table, where), table.get("goto")
    if goto is not None and not isinstance(goto, str):
        raise DialogueError(f"{where}.goto: must be the name of a state")
    if not say and goto is None:
        raise DialogueError(f"{where}: say or goto is needed")
    return Rule(
        dtmf=table.get("dtmf"),
        any_speech=table.get("any_speech"),
        text=table.get("text"),
        idle_s=table.get("idle_s"),
        say=say,
        goto=goto,
    )


def _texts(table: dict[str, Any], where: str) -> tuple[str, ...]:
    value = table.get("say", [])
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(t, str) and t.strip() for t in texts):
        raise DialogueError(f"{where}.say: must be a text, or a list of texts")
    for text in texts:
        unknown = set(_PLACEHOLDER.findall(text)) - {"duration", "keys"}
        if unknown:
            raise DialogueError(f"{where}.say: there is no {{{unknown.pop()}}}")
    return tuple(texts)


def _text(table: dict[str, Any], name: str, where: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value.strip():
        raise DialogueError(f'{where} needs {name} = "..."')
    return value


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DialogueError(f"{where}: must be a table")
    return value


def _only(table: dict[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise DialogueError(f"{where}: unknown {', '.join(unknown)}")
