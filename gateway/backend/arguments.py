"""Arguments for a function that must be called although no dialogue says with what.

They are made from the JSON schema of its parameters: the simplest value that fits, the same every
time. An object has its required properties and no others. What the schema names is taken first:
`const`, `default`, the first of `enum` and of `examples`; of alternatives the first that is not
null. Bounds of numbers, lengths and lists are kept, and references within the schema are followed.
What stands beside a reference, beside `anyOf` and beside `allOf` holds too.
Patterns are not read: a text is the word "text", repeated or cut to its bounds, or what its
`format` looks like. A schema that makes no sense gives a value that makes none, never an error.
"""

from collections.abc import Callable, Iterator
from math import ceil, floor, isfinite
from typing import Any, Final

_MAX_VALUES: Final = 1000
"""Of one example; a schema that refers to itself would have no end."""
_MAX_DEPTH: Final = 32
_MAX_LENGTH: Final = 1024
_TEXT: Final = "text"
_TEXTS: Final = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "caller@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}

_ELSEWHERE: Final = frozenset({"$ref", "anyOf", "oneOf", "allOf"})
"""Where a schema goes on."""

_Schema = dict[str, Any]


def example_arguments(parameters: dict[str, Any]) -> dict[str, Any]:
    """Arguments that fit the schema of a function's parameters."""
    value = _Example(parameters).value(parameters, 0)
    return value if isinstance(value, dict) else {}


class _Example:
    """One example of a schema."""

    def __init__(self, root: _Schema) -> None:
        self._root = root
        self._left = _MAX_VALUES

    def value(self, schema: object, depth: int) -> Any:
        self._left -= 1
        if not isinstance(schema, dict) or depth > _MAX_DEPTH or self._left < 0:
            return None
        for named in _named(schema):
            return named
        if not _ELSEWHERE.isdisjoint(schema):
            return self.value(self._whole(schema, depth + 1), depth + 1)
        match _type(schema):
            case "object":
                return self._object(schema, depth + 1)
            case "array":
                return self._array(schema, depth + 1)
            case "string":
                return _string(schema)
            case "integer":
                return _number(schema, grid=1)
            case "number":
                return _number(schema, grid=0)
            case "boolean":
                return False
        return None

    def _referred(self, reference: object) -> object:
        """What a reference like `#/$defs/Address` names."""
        found: object = self._root
        for key in str(reference).removeprefix("#").split("/")[1:]:
            key = key.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def _whole(self, schema: _Schema, depth: int) -> _Schema | None:
        """One schema of all that one says, here and elsewhere. None if that is nothing."""
        self._left -= 1
        if depth > _MAX_DEPTH or self._left < 0:
            return None
        whole = {name: value for name, value in schema.items() if name not in _ELSEWHERE}
        parts = [self._referred(schema["$ref"])] if "$ref" in schema else []
        for name in ("anyOf", "oneOf"):
            options = schema.get(name)
            if isinstance(options, list) and options:
                parts.append(_first_that_is_something(options))
        joined = schema.get("allOf")
        parts += joined if isinstance(joined, list) else []
        told = [part for part in parts if isinstance(part, dict)]
        for part in told:
            whole = _both(whole, self._whole(part, depth + 1) or {})
        return whole if whole or told else None

    def _object(self, schema: _Schema, depth: int) -> dict[str, Any]:
        properties, required = schema.get("properties"), schema.get("required")
        known: _Schema = properties if isinstance(properties, dict) else {}
        names = required if isinstance(required, list) else []
        return {
            name: self.value(known.get(name, {}), depth) for name in names if isinstance(name, str)
        }

    def _array(self, schema: _Schema, depth: int) -> list[Any]:
        least = _length(schema, "minItems")
        first = schema.get("prefixItems")
        kinds = first[:least] if isinstance(first, list) else []
        kinds = [*kinds, *[schema.get("items", {})] * (least - len(kinds))]
        return [self.value(kind, depth) for kind in kinds]


def _both(one: _Schema, other: _Schema) -> _Schema:
    """A schema for what fits both: objects have the properties of both, of the rest the first word
    counts."""
    both = other | one
    match one.get("properties"), other.get("properties"):
        case dict() as first, dict() as second:
            both["properties"] = first | {
                name: {"allOf": [first[name], schema]} if name in first else schema
                for name, schema in second.items()
            }
    match one.get("required"), other.get("required"):
        case list() as names, list() as more:
            both["required"] = names + [name for name in more if name not in names]
    return both


def _named(schema: _Schema) -> Iterator[Any]:
    """Values that the schema itself gives."""
    for name in ("const", "default"):
        if name in schema:
            yield schema[name]
    for name in ("enum", "examples"):
        values = schema.get(name)
        if isinstance(values, list):
            yield from values[:1]


def _type(schema: _Schema) -> object:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind is not None:
        return kind
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def _first_that_is_something(options: list[Any]) -> object:
    def is_null(option: object) -> bool:
        return isinstance(option, dict) and option.get("type") == "null"

    return next((option for option in options if not is_null(option)), options[0])


def _string(schema: _Schema) -> str:
    kind = schema.get("format")
    text = _TEXTS.get(kind, _TEXT) if isinstance(kind, str) else _TEXT
    least = _length(schema, "minLength")
    if len(text) < least:
        text = (text * least)[:least]
    most = _length(schema, "maxLength") if "maxLength" in schema else None
    return text[:most]


def _number(schema: _Schema, grid: float) -> float:
    """A number within the bounds: 0 if it fits, and else one next to a bound.

    Args:
        grid: the number is a multiple of it; 0 for any number.
    """
    multiple = _bound(schema, "multipleOf")
    if multiple is not None and multiple > 0 and (not grid or multiple == int(multiple)):
        grid = multiple
    lows = [b for n in ("minimum", "exclusiveMinimum") if (b := _bound(schema, n)) is not None]
    highs = [b for n in ("maximum", "exclusiveMaximum") if (b := _bound(schema, n)) is not None]
    near: list[float] = [0]
    for bound in lows:
        near += [_on_grid(bound, grid, ceil), _on_grid(bound, grid, ceil) + (grid or 1)]
    for bound in highs:
        near += [_on_grid(bound, grid, floor), _on_grid(bound, grid, floor) - (grid or 1)]
    if lows and highs and not grid:
        near.append((max(lows) + min(highs)) / 2)
    return next((number for number in near if _fits(schema, number)), 0)


def _fits(schema: _Schema, number: float) -> bool:
    low, high = _bound(schema, "minimum"), _bound(schema, "maximum")
    above, below = _bound(schema, "exclusiveMinimum"), _bound(schema, "exclusiveMaximum")
    return (
        (low is None or number >= low)
        and (high is None or number <= high)
        and (above is None or number > above)
        and (below is None or number < below)
    )


def _on_grid(bound: float, grid: float, to: Callable[[float], int]) -> float:
    steps = bound / grid if grid else bound
    return to(steps) * grid if grid and isfinite(steps) else bound


def _bound(schema: _Schema, name: str) -> float | None:
    value = schema.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _length(schema: _Schema, name: str) -> int:
    """A bound of a length, 0 where there is none, and no more than an example needs."""
    return int(min(max(_bound(schema, name) or 0, 0), _MAX_LENGTH))
