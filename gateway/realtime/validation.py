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
from pydantic_core import PydanticCustomError

from gateway.realtime.errors import RealtimeError, unfit
from gateway.realtime.refusals import MAX_KEY, Place, joined, place_of, told

ABSENT: Any = None
"""The default of a field that may be missing, but may not be null. Nobody reads it."""

STRING, NUMBER, OBJECT, ARRAY = "<string>", "<number>", "<object>", "<array>"
"""Tags of the arms of a union `by_kind`."""

_MAX_DEPTH: Final = 100
_MAX_SEARCH: Final = 10_000  # members that are looked at for a fault, while calls are served
_MAX_INT_BITS: Final = 1023  # what a double can hold, and so any JSON reader

_KINDS: Final[dict[type, str]] = {
    str: STRING,
    int: NUMBER,
    float: NUMBER,
    dict: OBJECT,
    list: ARRAY,
}


_Member = TypeVar("_Member")
Array = Annotated[list[_Member], Field(fail_fast=True)]
"""A list whose first fault is enough: one more for each member could be a million."""


class Model(BaseModel):
    """An object of which every field is known and has its very type: no `"1"` for 1."""

    model_config = ConfigDict(extra="forbid", strict=True)


def tag(name: str) -> str:
    """The tag of the arm of a union `by_type` or `by_field` whose field is `name`."""
    return f"<{name}>"


def by_type(*types: str, default: str | None = None) -> Discriminator:
    """Tells the arms of a union of objects by their `type`; `default` is for one without."""
    return by_field("type", *types, default=default)


def by_field(name: str, *values: str, default: str | None = None) -> Discriminator:
    """Tells the arms of a union of objects by the field of that name."""

    def arm(value: object) -> str | None:
        kind = value.get(name, default) if isinstance(value, dict) else None
        return tag(kind) if isinstance(kind, str) else None

    return Discriminator(
        arm, custom_error_type="choice", custom_error_message=" ".join((name, *values))
    )


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


def not_encoded(expected: str, got: str) -> PydanticCustomError:
    """A string that is not what it should encode; `got` says what it is instead."""
    return PydanticCustomError("encoding", "not encoded", {"expected": expected, "got": got})


def long_key(key: str, max_length: int) -> PydanticCustomError:
    """An object with a key of the client's own that is longer than `max_length`."""
    return PydanticCustomError("long_key", "long key", {"key": key, "max_length": max_length})


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
    raise told(min(faults, key=lambda fault: len(place_of(fault, value))), value, path)


def check_json(value: object, path: str) -> None:
    """Refuse what JSON cannot carry to every reader, and what is nested without end.

    Python's JSON reader lets all of it in: NaN, numbers beyond a double, halves of surrogate pairs.

    Raises:
        RealtimeError: names the place, unless it is too far in to be looked for.
    """
    if _is_sound(value):
        return
    seen = 0
    level: list[tuple[Place, object]] = [((), value)]
    for _ in range(_MAX_DEPTH):
        below: list[tuple[Place, object]] = []
        for place, one in level:
            seen += 1
            if seen > _MAX_SEARCH:
                raise RealtimeError(f"Invalid {path or 'request body'}.", code="invalid_value")
            fault = _not_json(one)
            if fault is not None:
                where = joined(path, place)
                named = f"'{where}'" if where else "request body"
                raise RealtimeError(
                    f"Invalid {named}: {fault}.", code="invalid_value", param=where or None
                )
            below.extend(((*place, key), inner) for key, inner in _members(one))
        if not below:
            return
        level = below
    where = joined(path, level[0][0][:MAX_KEY])
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
