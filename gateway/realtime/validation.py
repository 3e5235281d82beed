"""What a client sent, held against a pydantic model, and the first fault told as the official
service tells it: by the path of the parameter, like `session.tools[0].name`.

Models are used for their verdict only. What the client sent is passed on as it came, so that a
field that is not there stays away and nothing is converted.
"""

import json
from collections.abc import Iterator
from math import isfinite
from typing import Annotated, Any, Final, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Discriminator, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from gateway.realtime.errors import (
    RealtimeError,
    invalid,
    invalid_type,
    invalid_value,
    missing,
    shown,
    unfit,
    unknown,
)

ABSENT: Any = None
"""The default of a field that may be missing, but may not be null. Nobody reads it."""

STRING, NUMBER, OBJECT, ARRAY = "<string>", "<number>", "<object>", "<array>"
"""Tags of the arms of a union `by_kind`."""

_MAX_DEPTH: Final = 100
_MAX_SEARCH: Final = 10_000  # members that are looked at for a fault, while calls are served
_MAX_KEY: Final = 64  # characters of a client's own key that a path shows
_MAX_INT_BITS: Final = 1023  # what a double can hold, and so any JSON reader

_KINDS: Final[dict[type, str]] = {
    str: STRING,
    int: NUMBER,
    float: NUMBER,
    dict: OBJECT,
    list: ARRAY,
}
_EXPECTED: Final = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a decimal",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
}
_Place = tuple[str | int, ...]


_Member = TypeVar("_Member")
Array = Annotated[list[_Member], Field(fail_fast=True)]
"""A list whose first fault is enough: one more for each member could be a million."""


class Model(BaseModel):
    """An object of which every field is known and has its very type: no `"1"` for 1."""

    model_config = ConfigDict(extra="forbid", strict=True)


def tag(name: str) -> str:
    """The tag of the arm of a union `by_type` whose `type` is `name`."""
    return f"<{name}>"


def by_type(*types: str, default: str | None = None) -> Discriminator:
    """Tells the arms of a union of objects by their `type`; `default` is for one without."""

    def arm(value: object) -> str | None:
        kind = value.get("type", default) if isinstance(value, dict) else None
        return tag(kind) if isinstance(kind, str) else None

    return Discriminator(arm, custom_error_type="types", custom_error_message=" ".join(types))


def by_kind(expected: str) -> Discriminator:
    """Tells the arms of a union by the kind of JSON value; `expected` names them for people."""
    return Discriminator(
        lambda value: _KINDS.get(type(value)),
        custom_error_type="kinds",
        custom_error_message=expected,
    )


def wrong_combination(supported: str) -> PydanticCustomError:
    """A list whose members are fine one by one, but not together."""
    return PydanticCustomError("combination", "no such combination", {"supported": supported})


def check(model: type[Model], value: object, path: str) -> dict[str, Any]:
    """Hold a JSON value against a model.

    Args:
        path: of the value; "" for a request body.

    Returns:
        `value` itself.

    Raises:
        RealtimeError: the fault that lies least deep, and of those the first.
    """
    check_json(value, path)
    try:
        model.model_validate(value)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
    else:
        return cast("dict[str, Any]", value)
    places = [_place(value, fault) for fault in faults]
    first = min(range(len(faults)), key=lambda index: len(places[index]))
    raise _told(faults[first], places[first], value, path)


def check_json(value: object, path: str) -> None:
    """Refuse what JSON cannot carry to every reader, and what is nested without end.

    Python's JSON reader lets all of it in: NaN, numbers beyond a double, halves of surrogate pairs.

    Raises:
        RealtimeError: names the place, unless it is too far in to be looked for.
    """
    if _is_sound(value):
        return
    seen = 0
    level: list[tuple[_Place, object]] = [((), value)]
    for _ in range(_MAX_DEPTH):
        below: list[tuple[_Place, object]] = []
        for place, one in level:
            seen += 1
            if seen > _MAX_SEARCH:
                raise RealtimeError(f"Invalid {path or 'request body'}.", code="invalid_value")
            fault = _not_json(one)
            if fault is not None:
                where = _joined(path, place)
                named = f"'{where}'" if where else "request body"
                raise RealtimeError(
                    f"Invalid {named}: {fault}.", code="invalid_value", param=where or None
                )
            below.extend(((*place, key), inner) for key, inner in _members(one))
        if not below:
            return
        level = below
    where = _joined(path, level[0][0][:_MAX_KEY])
    raise unfit(where, "nested too deeply", f"no more than {_MAX_DEPTH} levels")


def _is_sound(value: object) -> bool:
    """Whether `check_json` has nothing to refuse; quick, because it does not look where.

    A large body is checked while calls are served.
    """
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError):
        return False
    level = [value]
    for _ in range(_MAX_DEPTH):
        below: list[object] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
            elif type(one) is int and one.bit_length() > _MAX_INT_BITS:
                return False
        if not below:
            return True
        level = below
    return False


def _members(value: object) -> Iterator[tuple[str | int, object]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _not_json(value: object) -> str | None:
    match value:
        case str():
            return None if _encodable(value) else "malformed Unicode"
        case float():
            return None if isfinite(value) else "not a finite number"
        case bool() | None | list():
            return None
        case int():
            return None if value.bit_length() <= _MAX_INT_BITS else "number out of range"
        case dict():
            keys_fit = all(isinstance(key, str) and _encodable(key) for key in value)
            return None if keys_fit else "malformed key"
        case _:
            return "not a JSON value"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _place(value: object, fault: ErrorDetails) -> _Place:
    """Where a fault lies. Pydantic writes the tags of unions into its path; they go."""
    place: list[str | int] = []
    for part in fault["loc"]:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
        elif isinstance(part, str) and part.startswith("<"):
            continue
        else:  # what is missing
            value = None
        place.append(part)
    return tuple(place)


def _at(value: Any, place: _Place) -> Any:
    for part in place:
        value = value[part]
    return value


def _joined(path: str, place: _Place) -> str:
    for part in place:
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        name = part if part.isprintable() else repr(part)[1:-1]
        if len(name) > _MAX_KEY:
            name = name[:_MAX_KEY] + "..."
        path = f"{path}.{name}" if path else name
    return path


def _told(fault: ErrorDetails, place: _Place, root: object, path: str) -> RealtimeError:
    kind = fault["type"]
    param = _joined(path, place)
    context = fault.get("ctx", {})
    if kind == "missing":
        return missing(param)
    if kind == "extra_forbidden":
        return unknown(param)
    value = _at(root, place)
    if kind in _EXPECTED:
        return invalid_type(param, value, _EXPECTED[kind])
    if kind == "kinds":
        return invalid_type(param, value, fault["msg"])
    if kind == "types":
        return _no_such_type(param, value, fault["msg"].split(" "))
    if kind == "literal_error":
        return _not_listed(param, value, context["expected"])
    if kind == "combination":
        supported = context["supported"]
        return RealtimeError(
            f"Invalid modalities: {shown(value)}. Supported combinations are: {supported}.",
            code="invalid_value",
            param=param,
        )
    return _out_of_bounds(kind, param, value, context) or invalid(param, value, "another value")


def _no_such_type(param: str, value: object, types: list[str]) -> RealtimeError:
    if not isinstance(value, dict):
        return invalid_type(param, value, "an object")
    if "type" not in value:
        return missing(f"{param}.type")
    if not isinstance(value["type"], str):
        return invalid_type(f"{param}.type", value["type"], "a string")
    return invalid_value(f"{param}.type", value["type"], types)


def _not_listed(param: str, value: object, expected: str) -> RealtimeError:
    """`expected` is pydantic's list: `'a', 'b' or 'c'`."""
    head, _, last = expected.rpartition(" or ")
    listed = [*head.split(", "), last] if head else [last]
    if listed[0].startswith("'"):
        if not isinstance(value, str):
            return invalid_type(param, value, "a string")
        return invalid_value(param, value, [text.strip("'") for text in listed])
    if isinstance(value, bool) or not isinstance(value, int):
        return invalid_type(param, value, "an integer")
    return invalid_value(param, value, [int(number) for number in listed])


def _out_of_bounds(
    kind: str, param: str, value: Any, context: dict[str, Any]
) -> RealtimeError | None:
    match kind:
        case "greater_than_equal" | "less_than_equal":
            above = kind == "less_than_equal"
            bound = context["le" if above else "ge"]
            number = "decimal" if isinstance(bound, float) else "integer"
            return unfit(
                param,
                f"{number} {'above maximum' if above else 'below minimum'} value",
                f"a value {'<=' if above else '>='} {bound:g}",
                got=value if abs(value) < 1e21 else f"{value:.3g}",
                code=f"{number}_{'above_max' if above else 'below_min'}_value",
            )
        case "string_too_short":
            text = "a string with minimum length 1"
            return unfit(param, "empty string", text, got="an empty string", code="empty_string")
        case "too_short":
            text = "an array with minimum length 1"
            return unfit(param, "empty array", text, got="an empty array", code="empty_array")
        case "string_too_long":
            return unfit(
                param,
                "string too long",
                f"a string with maximum length {context['max_length']}",
                got=f"a string with length {len(value)}",
                code="string_above_max_length",
            )
        case "too_long":
            return unfit(
                param,
                "array too long",
                f"an array with maximum length {context['max_length']}",
                got=f"an array with length {len(value)}",
                code="array_above_max_length",
            )
    return None
