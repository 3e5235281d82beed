"""The comparison of types sees what it is there to see."""

from typing import Any, Literal, NotRequired, Required, TypedDict

import pytest
from pydantic import BaseModel

from tests.realtime.shapes import differences, misfits, shape_of

pytestmark = pytest.mark.pure


class Ours(TypedDict):
    type: Literal["a", "b"]
    name: str
    size: NotRequired[int | None]


class Same(BaseModel):
    type: Literal["b", "a"]
    name: str
    size: int | None = None


class Longer(Same):
    more: bool = True


class Optional(BaseModel):
    type: Literal["a", "b"]
    name: str = ""
    size: int | None = None


class Wordy(BaseModel):
    type: Literal["a", "b", "c"]
    name: str
    size: int | None = None


class Never(BaseModel):
    type: Literal["a", "b"]
    name: str
    size: int = 0


class A(TypedDict, total=False):
    type: Required[Literal["a"]]
    name: Required[str]
    size: int


class B(TypedDict, total=False):
    type: Required[Literal["b"]]
    name: Required[str]
    depth: int


@pytest.mark.parametrize(
    ("theirs", "found"),
    [
        (Same, []),
        (Longer, ["$.more: field only there"]),
        (Optional, ["$.name: required only here"]),
        (Wordy, ["$.type: 'c' only there"]),
        (Never, ["$.size: null only here"]),
        (A | B, ["$.depth: field only there", "$.size: null only here"]),
        (str, ["$: an object of known fields only here", "$: string only there"]),
    ],
)
def test_each_difference_is_found(theirs: Any, found: list[str]) -> None:
    assert sorted(differences(shape_of(Ours), shape_of(theirs), "$")) == found
    deeper = differences(shape_of(list[Ours]), shape_of(list[theirs]), "$")
    assert sorted(deeper) == [line.replace("$", "$[]", 1) for line in found]


def test_objects_are_told_apart_by_their_type() -> None:
    class Other(B, total=False):
        more: str

    assert list(differences(shape_of(A | B), shape_of(Other | A), "$")) == [
        "$<b>.more: field only there"
    ]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"type": "a", "name": ""}, []),
        ({"type": "b", "name": "", "size": None}, []),
        ({"type": "c", "name": ""}, ["$: no such object"]),
        ({"type": "a"}, ["$.name: missing"]),
        ({"type": "a", "name": 1}, ["$.name: 1"]),
        ({"type": "a", "name": "", "size": "1"}, ["$.size: '1'"]),
        ({"type": "a", "name": "", "x": 1}, ["$.x: unknown"]),
        ([], ["$: []"]),
    ],
)
def test_a_value_that_is_not_as_typed_is_found(value: Any, found: list[str]) -> None:
    assert misfits(value, Ours) == found
