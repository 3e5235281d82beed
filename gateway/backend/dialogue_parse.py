"""Reads a dialogue from TOML, and says what is wrong with one, and where. Its form: `dialogue`."""

import math
import tomllib
from typing import Any, Final

from gateway.backend.dialogue import (
    ANY,
    KEYS,
    LONGEST_LINE,
    PLACEHOLDER,
    Dialogue,
    DialogueError,
    Expectation,
    Rule,
    State,
    ToolCall,
    Trigger,
    phrases_of,
)

_TRIGGERS: Final[dict[str, type | tuple[type, ...]]] = {
    "dtmf": str,
    "any_speech": bool,
    "text": str,
    "result": str,
    "idle_s": (int, float),
}
_EXPECTED: Final[dict[str, type | tuple[type, ...]]] = {
    **{name: kind for name, kind in _TRIGGERS.items() if name != "idle_s"},
    "silence_s": (int, float),
}
_PLACEHOLDERS: Final = {"keys", "duration", "text", "result"}


def parse_dialogue(text: str) -> Dialogue:
    """Read a dialogue.

    Raises:
        DialogueError: it is not TOML, or not a dialogue.
    """
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DialogueError(f"not TOML: {error}") from None
    _only(table, {"start", "otherwise", "states", "on", "expect"}, "the dialogue")
    states = table.get("states")
    if not isinstance(states, dict) or not states:
        raise DialogueError("[states.<name>]: at least one is needed")
    dialogue = Dialogue(
        start=_text(table, "start", "the dialogue"),
        otherwise=_text(table, "otherwise", "the dialogue"),
        states={name: _state(state, f"states.{name}") for name, state in states.items()},
        rules=_rules(table, "on"),
        expect=tuple(_expectation(*each) for each in _tables(table, "expect", "expect")),
    )
    _check_targets(dialogue)
    return dialogue


def _check_targets(dialogue: Dialogue) -> None:
    targets = [rule.goto for rule in dialogue.all_rules() if rule.goto is not None]
    for target in [dialogue.start, *targets]:
        if target not in dialogue.states:
            raise DialogueError(f"there is no [states.{target}]")
    for rule in dialogue.all_rules():
        if rule.say or rule.call or rule.goto is None:
            continue
        state = dialogue.states[rule.goto]
        if not state.say and state.call is None:
            raise DialogueError(f"a rule leads to states.{rule.goto}, and neither says a word")
    if not dialogue.states[dialogue.start].say:
        raise DialogueError(f"states.{dialogue.start} needs a say: it is the greeting")


def _state(value: object, where: str) -> State:
    table = _table(value, where)
    _only(table, {"say", "call", "on"}, where)
    return State(_texts(table, where), _call(table, where), _rules(table, f"{where}.on"))


def _rules(table: dict[str, Any], where: str) -> tuple[Rule, ...]:
    return tuple(_rule(*each) for each in _tables(table, "on", where))


def _rule(table: dict[str, Any], where: str) -> Rule:
    _only(table, {*_TRIGGERS, "contains", "say", "call", "goto"}, where)
    trigger = _trigger(table, _TRIGGERS, where)
    say, call, goto = _texts(table, where), _call(table, where), table.get("goto")
    if goto is not None and not isinstance(goto, str):
        raise DialogueError(f"{where}.goto: must be the name of a state")
    if not say and call is None and goto is None:
        raise DialogueError(f"{where}: say, call or goto is needed")
    return Rule(trigger, say, call, goto)


def _expectation(table: dict[str, Any], where: str) -> Expectation:
    _only(table, {*_EXPECTED, "contains", "within_s"}, where)
    within_s = table.get("within_s")
    if within_s is not None:
        _seconds(within_s, f"{where}.within_s")
    shown = ", ".join(f"{name} = {value!r}" for name, value in table.items())
    silence_s = table.get("silence_s")
    if silence_s is not None and within_s is not None:
        raise DialogueError(f"{where}: silence_s has no use for within_s")
    trigger = _trigger(table, _EXPECTED, where)
    return Expectation(
        trigger=trigger if silence_s is None else None,
        silence_s=silence_s,
        within_s=within_s,
        where=f"{where} ({shown})",
    )


def _trigger(
    table: dict[str, Any], known: dict[str, type | tuple[type, ...]], where: str
) -> Trigger:
    present = [name for name in known if name in table]
    if len(present) != 1:
        raise DialogueError(f"{where}: one of {', '.join(known)} is needed, not {present}")
    (name,) = present
    value = table[name]
    if name.endswith("_s"):
        _seconds(value, f"{where}.{name}")
    elif not isinstance(value, known[name]) or not value:
        raise DialogueError(f"{where}.{name}: {value!r} is not a trigger")
    if name == "dtmf" and value != ANY and not set(value) <= set(KEYS):
        raise DialogueError(f"{where}.dtmf: {value!r} holds what is not a key")
    contains = table.get("contains")
    if contains is not None:
        if name != "result":
            raise DialogueError(f"{where}.contains: belongs to a result, not to {name}")
        _text(table, "contains", where)
    return Trigger(
        dtmf=table.get("dtmf"),
        any_speech=table.get("any_speech"),
        text=table.get("text"),
        result=table.get("result"),
        contains=contains,
        idle_s=table.get("idle_s"),
    )


def _seconds(value: object, where: str) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < float(value) < math.inf:  # type: ignore[arg-type]
        raise DialogueError(f"{where}: {value!r} is not a number of seconds above 0")


def _call(table: dict[str, Any], where: str) -> ToolCall | None:
    if "call" not in table:
        return None
    where = f"{where}.call"
    call = _table(table["call"], where)
    _only(call, {"name", "arguments"}, where)
    arguments = _table(call.get("arguments", {}), f"{where}.arguments")
    _check_json(arguments, f"{where}.arguments")
    return ToolCall(_text(call, "name", where), arguments)


def _check_json(value: object, where: str) -> None:
    """TOML has dates and infinity, JSON has not."""
    match value:
        case dict():
            for key, one in value.items():
                _check_json(one, f"{where}.{key}")
        case list():
            for index, one in enumerate(value):
                _check_json(one, f"{where}[{index}]")
        case str():
            _check_placeholders(value, where)
        case int():
            pass
        case float() if math.isfinite(value):
            pass
        case _:
            raise DialogueError(f"{where}: {value!s} cannot be an argument; write it as a text")


def _texts(table: dict[str, Any], where: str) -> tuple[str, ...]:
    value = table.get("say", [])
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(t, str) and t.strip() for t in texts):
        raise DialogueError(f"{where}.say: must be a text, or a list of texts")
    for text in texts:
        _check_placeholders(text, f"{where}.say")
        if len(phrases_of(text)) > LONGEST_LINE:
            raise DialogueError(f"{where}.say: more than {LONGEST_LINE} sentences at a time")
    return tuple(texts)


def _check_placeholders(text: str, where: str) -> None:
    for name in PLACEHOLDER.findall(text):
        base, _, field = name.partition(".")
        if base not in _PLACEHOLDERS or (field and base != "result"):
            raise DialogueError(f"{where}: there is no {{{name}}}")


def _text(table: dict[str, Any], name: str, where: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value.strip():
        raise DialogueError(f'{where} needs {name} = "..."')
    return value


def _tables(table: dict[str, Any], name: str, where: str) -> list[tuple[dict[str, Any], str]]:
    """The tables of a list, each with its place."""
    values = table.get(name, [])
    if not isinstance(values, list):
        raise DialogueError(f"[[{where}]]: must be a list of tables")
    places = [f"{where}[{index}]" for index in range(len(values))]
    return [(_table(value, place), place) for value, place in zip(values, places, strict=True)]


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DialogueError(f"{where}: must be a table")
    return value


def _only(table: dict[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise DialogueError(f"{where}: unknown {', '.join(unknown)}")
