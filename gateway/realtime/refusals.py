"""What pydantic finds wrong with a client's JSON, told in the words of the official service."""

from typing import Any, Final

from pydantic_core import ErrorDetails

from gateway.realtime.errors import (
    RealtimeError,
    invalid,
    invalid_type,
    invalid_value,
    malformed,
    missing,
    shown,
    unfit,
    unknown,
)

MAX_KEY: Final = 64
"""Characters of a client's own key that a path shows."""

Place = tuple[str | int, ...]
"""Where in a JSON value something is: keys and indices, from the outside in."""

_EXPECTED: Final = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a decimal",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
}


def place_of(fault: ErrorDetails, value: object) -> Place:
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


def joined(path: str, place: Place) -> str:
    """The path of a place below `path`, like `session.tools[0].name`; long keys are cut."""
    for part in place:
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        name = part if part.isprintable() else repr(part)[1:-1]
        if len(name) > MAX_KEY:
            name = name[:MAX_KEY] + "..."
        path = f"{path}.{name}" if path else name
    return path


def told(fault: ErrorDetails, root: object, path: str) -> RealtimeError:
    """The error that tells a client of a fault.

    Args:
        root: the value that was held against the model.
        path: of that value.
    """
    place = place_of(fault, root)
    kind = fault["type"]
    param = joined(path, place)
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
    if kind == "choice":
        return _no_such_choice(param, value, *fault["msg"].split(" "))
    if kind == "literal_error":
        return _not_listed(param, value, context["expected"])
    if kind == "combination":
        supported = context["supported"]
        return RealtimeError(
            f"Invalid modalities: {shown(value)}. Supported combinations are: {supported}.",
            code="invalid_value",
            param=param,
        )
    if kind == "encoding":
        return malformed(param, context["expected"], context["got"])
    if kind == "long_key":
        return _long_key(param, context["key"], context["max_length"])
    return _out_of_bounds(kind, param, value, context) or invalid(param, value, "another value")


def _at(value: Any, place: Place) -> Any:
    for part in place:
        value = value[part]
    return value


def _no_such_choice(param: str, value: object, name: str, *values: str) -> RealtimeError:
    if not isinstance(value, dict):
        return invalid_type(param, value, "an object")
    where = joined(param, (name,))
    if name not in value:
        return missing(where)
    if not isinstance(value[name], str):
        return invalid_type(where, value[name], "a string")
    return invalid_value(where, value[name], values)


def _long_key(param: str, key: str, max_length: int) -> RealtimeError:
    return RealtimeError(
        f"Invalid property name in '{param}': {shown(key)} is too long. Expected a string with "
        f"maximum length {max_length}, but got a string with length {len(key)} instead.",
        code="property_name_above_max_length",
        param=param,
    )


def _not_listed(param: str, value: object, expected: str) -> RealtimeError:
    """`expected` is pydantic's list: `'a', 'b' or 'c'`."""
    if not isinstance(value, str):
        return invalid_type(param, value, "a string")
    head, _, last = expected.rpartition(" or ")
    listed = [*head.split(", "), last] if head else [last]
    return invalid_value(param, value, [text.strip("'") for text in listed])


def _out_of_bounds(
    kind: str, param: str, value: Any, context: dict[str, Any]
) -> RealtimeError | None:
    match kind:
        case "greater_than":
            return unfit(
                param,
                "decimal below minimum value",
                f"a value > {context['gt']:g}",
                got=value,
                code="decimal_below_min_value",
            )
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
        case "too_long" if isinstance(value, dict):
            return unfit(
                param,
                "too many properties",
                f"an object with at most {context['max_length']} properties",
                got=f"an object with {len(value)} properties",
                code="object_above_max_properties",
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
