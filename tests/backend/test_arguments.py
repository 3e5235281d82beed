"""Arguments made from the schema of a function's parameters."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.backend.arguments import example_arguments

pytestmark = pytest.mark.pure

Schema = dict[str, Any]


def value_for(schema: Any, **root: Any) -> Any:
    """The argument `x` of a function that requires it."""
    parameters = {"type": "object", "properties": {"x": schema}, "required": ["x"], **root}
    return example_arguments(parameters)["x"]


def test_required_properties_and_no_others() -> None:
    parameters = {
        "type": "object",
        "properties": {
            "target": {"type": "string", "description": "A SIP URI."},
            "note": {"type": "string"},
            "when": {
                "type": "object",
                "properties": {"hour": {"type": "integer", "minimum": 8}},
                "required": ["hour"],
            },
        },
        "required": ["when", "target"],
    }
    assert example_arguments(parameters) == {"when": {"hour": 8}, "target": "text"}
    assert list(example_arguments(parameters)) == ["when", "target"]
    assert example_arguments({}) == {}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"const": 7, "enum": [1]}, 7),
        ({"enum": ["a", "b"]}, "a"),
        ({"type": "string", "default": "d", "enum": ["a"]}, "d"),
        ({"type": "string", "examples": ["e"]}, "e"),
        ({"type": "boolean"}, False),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 0),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 0),
        ({"anyOf": [{"type": "null"}]}, None),
        ({"oneOf": [{"type": "boolean"}, {"type": "integer"}]}, False),
        ({"allOf": [{"enum": [1, 2]}, {"type": "integer"}]}, 1),
        ({"allOf": [True, {}]}, "text"),
        ({"required": ["y"]}, {"y": "text"}),
        ({"type": "integer", "minimum": 3, "maximum": 9}, 3),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
        ({"type": "integer", "maximum": -2}, -2),
        ({"type": "integer", "minimum": 2.5, "multipleOf": 4}, 4),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5}, 0.25),
        ({"type": "number", "minimum": 0.1, "multipleOf": 0.5}, 0.5),
        ({"type": "string", "minLength": 6}, "textte"),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "string", "format": "date"}, "2026-01-31"),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        (
            {
                "type": "array",
                "prefixItems": [{"type": "boolean"}],
                "items": {"type": "integer"},
                "minItems": 2,
            },
            [False, 0],
        ),
        ({"properties": {"y": {}}}, {}),
        ({"items": {}}, []),
        ({}, "text"),
        ({"type": "teapot"}, None),
        (True, None),
    ],
)
def test_the_simplest_value(schema: Any, value: object) -> None:
    assert value_for(schema) == value


def test_references_within_the_schema() -> None:
    defs = {"a/b": {"type": "integer", "minimum": 5}}
    assert value_for({"$ref": "#/$defs/a~1b"}, **{"$defs": defs}) == 5
    assert value_for({"$ref": "#/$defs/none"}) is None


A = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
B = {"properties": {"b": {"type": "boolean"}}, "required": ["b"]}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({**A, "allOf": [B]}, {"a": 0, "b": False}),
        ({**A, "anyOf": [B, {"required": []}]}, {"a": 0, "b": False}),
        ({**A, "required": [], "oneOf": [{"required": ["a"]}]}, {"a": 0}),
        ({**A, "$ref": "#/$defs/b"}, {"a": 0, "b": False}),
        ({"allOf": [{"$ref": "#/$defs/b"}, {**A, "anyOf": [A]}]}, {"b": False, "a": 0}),
        (
            {**A, "allOf": [{"properties": {"a": {"minimum": 4}}, "required": ["a"]}]},
            {"a": 4},
        ),
        ({"type": "integer", "anyOf": [{"minimum": 7}, {"maximum": 3}]}, 7),
        ({"anyOf": [{"type": "null"}, A], "default": None}, None),
    ],
)
def test_what_stands_beside_alternatives_holds_too(schema: Schema, value: object) -> None:
    example = value_for(schema, **{"$defs": {"b": B}})
    assert example == value
    jsonschema.validate(example, {**schema, "$defs": {"b": B}})


def test_a_schema_that_is_all_of_itself_has_an_end() -> None:
    circle = {"allOf": [{"$ref": "#"}, {"$ref": "#"}], "anyOf": [{"$ref": "#"}], "type": "integer"}
    assert example_arguments(circle) == {}


def test_a_schema_without_end_has_an_example_of_some_size() -> None:
    names = [f"p{number}" for number in range(20)]
    node: dict[str, Any] = {"type": "object", "required": names}
    node["properties"] = dict.fromkeys(names, {"$ref": "#"})
    assert list(example_arguments(node)) == names
    assert len(repr(example_arguments(node))) < 100_000
    huge = {"type": "array", "minItems": 1e300, "items": {"type": "string", "minLength": 10**30}}
    assert len(repr(value_for(huge))) < 5_000_000


@st.composite
def bounded(draw: st.DrawFn, kind: str) -> Schema:
    low = draw(st.integers(-50, 50) if kind == "integer" else st.floats(-50, 50))
    room = draw(st.integers(2, 50) if kind == "integer" else st.floats(0.5, 50))
    names = [("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")]
    bounds = dict(zip(draw(st.sampled_from(names)), (low, low + room), strict=True))
    kept = draw(st.sets(st.sampled_from(list(bounds))))
    return {"type": kind} | {name: bounds[name] for name in kept}


def lengths(low: str, high: str) -> st.SearchStrategy[Schema]:
    sizes = st.tuples(st.integers(0, 9), st.integers(0, 9))
    return sizes.map(lambda size: {low: size[0], high: size[0] + size[1]})


LEAVES = st.one_of(
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"enum": [3, "x"]}, {"const": []}]),
    bounded("integer"),
    bounded("number"),
    lengths("minLength", "maxLength").map(lambda size: {"type": "string", **size}),
)
SCHEMAS: st.SearchStrategy[Schema] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"anyOf": some}),
        st.tuples(inner, lengths("minItems", "maxItems")).map(
            lambda pair: {"type": "array", "items": pair[0], **pair[1]}
        ),
        st.tuples(st.dictionaries(st.sampled_from("abc"), inner), st.booleans()).map(
            lambda pair: {
                "type": "object",
                "properties": pair[0],
                "required": list(pair[0]) if pair[1] else [],
                "additionalProperties": False,
            }
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from("xyz"), SCHEMAS))
def test_examples_fit_their_schemas(properties: dict[str, Schema]) -> None:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    arguments = example_arguments(parameters)
    jsonschema.validate(arguments, parameters)
    assert example_arguments(parameters) == arguments


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "properties", "required", "items", "minItems", "anyOf", "allOf"),
                    *("$ref", "enum", "minimum", "maximum", "multipleOf", "minLength", "x"),
                    *("exclusiveMinimum", "exclusiveMaximum", "maxLength", "format"),
                ]
            ),
            inner | st.sampled_from(["object", "array", "integer", "number", "string", "#"]),
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["type", "properties", "required", "x"]), JSON))
def test_no_schema_is_too_strange(parameters: Schema) -> None:
    assert isinstance(example_arguments(parameters), dict)
