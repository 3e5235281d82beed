"""Types of JSON as data, so that ours can be laid beside those of the official package.

Read from pydantic models and from TypedDicts alike. Names of classes do not count, nor does how an
object is cut into classes where one side tells its kinds apart and the other does not.
"""

import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Required, Union

from pydantic import BaseModel
from typing_extensions import is_typeddict

_SCALARS: dict[Any, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    NoneType: "null",
    object: "anything",
    Any: "anything",
}


@dataclass(frozen=True)
class Field:
    shape: "Shape"
    required: bool


Object = dict[str, Field]


@dataclass(frozen=True)
class Shape:
    """What a value may be: any of these."""

    scalars: frozenset[str] = frozenset()
    words: frozenset[object] = frozenset()
    """Of a Literal."""
    objects: tuple[Object, ...] = ()
    members: "Shape | None" = None
    """Of an array."""
    values: "Shape | None" = None
    """Of an object with keys of the client's own."""

    def __or__(self, other: "Shape") -> "Shape":
        return Shape(
            self.scalars | other.scalars,
            self.words | other.words,
            self.objects + other.objects,
            _either(self.members, other.members),
            _either(self.values, other.values),
        )


def _either(one: Shape | None, other: Shape | None) -> Shape | None:
    return one | other if one and other else one or other


def shape_of(hint: Any) -> Shape:
    """The shape of a type."""
    if hint in _SCALARS:
        return Shape(scalars=frozenset({_SCALARS[hint]}))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated or origin in (Required, NotRequired):
        return shape_of(arguments[0])
    if origin is Literal:
        return Shape(words=frozenset(arguments))
    if origin in (Union, UnionType):
        shape = Shape()
        for arm in arguments:
            shape |= shape_of(arm)
        return shape
    if origin is dict:
        return Shape(values=shape_of(arguments[1]))
    if isinstance(origin, type) and issubclass(list, origin):
        return Shape(members=shape_of(arguments[0]))
    if is_typeddict(hint):
        return Shape(objects=(_typed_dict(hint),))
    assert issubclass(hint, BaseModel), hint
    return Shape(objects=(_model(hint),))


def _typed_dict(hint: Any) -> Object:
    hints = typing.get_type_hints(hint, include_extras=True)
    # Not `__required_keys__`: it knows nothing where annotations are strings.
    return {
        name: Field(
            shape_of(one),
            typing.get_origin(one) is not NotRequired
            if hint.__total__
            else typing.get_origin(one) is Required,
        )
        for name, one in hints.items()
    }


def _model(model: type[BaseModel]) -> Object:
    return {
        name: Field(shape_of(info.annotation), info.is_required())
        for name, info in model.model_fields.items()
    }


# Differences.


def differences(ours: Shape, theirs: Shape, path: str) -> Iterator[str]:
    """Each difference as a line: `path: what`."""
    yield from _of_words(ours, theirs, path)
    for one, other, where in (
        (ours.members, theirs.members, f"{path}[]"),
        (ours.values, theirs.values, f"{path}.*"),
    ):
        if one and other:
            yield from differences(one, other, where)
        elif one or other:
            yield f"{where}: only {'here' if one else 'there'}"
    if ours.objects and theirs.objects:
        yield from _of_objects(ours.objects, theirs.objects, path)
    elif ours.objects or theirs.objects:
        yield f"{path}: an object of known fields only {'here' if ours.objects else 'there'}"


def _of_words(ours: Shape, theirs: Shape, path: str) -> Iterator[str]:
    for scalar in sorted(ours.scalars - theirs.scalars):
        yield f"{path}: {scalar} only here"
    for scalar in sorted(theirs.scalars - ours.scalars):
        if "anything" not in ours.scalars:
            yield f"{path}: {scalar} only there"
    for word in sorted(ours.words - theirs.words, key=repr):
        if _SCALARS[type(word)] not in theirs.scalars:
            yield f"{path}: {word!r} only here"
    for word in sorted(theirs.words - ours.words, key=repr):
        if _SCALARS[type(word)] not in ours.scalars:
            yield f"{path}: {word!r} only there"


def _of_objects(ours: tuple[Object, ...], theirs: tuple[Object, ...], path: str) -> Iterator[str]:
    here, there = _by_kind(ours), _by_kind(theirs)
    if len(here) == len(ours) and len(there) == len(theirs) and set(here) == set(there):
        for kind in here:
            where = f"{path}<{kind}>" if len(here) > 1 else path
            yield from _of_fields(here[kind], there[kind], where)
    else:
        yield from _of_fields(_merged(ours), _merged(theirs), path)


def _of_fields(ours: Object, theirs: Object, path: str) -> Iterator[str]:
    for name in ours.keys() - theirs.keys():
        yield f"{path}.{name}: field only here"
    for name in theirs.keys() - ours.keys():
        yield f"{path}.{name}: field only there"
    for name in ours.keys() & theirs.keys():
        here, there = ours[name], theirs[name]
        if here.required != there.required:
            yield f"{path}.{name}: required only {'here' if here.required else 'there'}"
        yield from differences(here.shape, there.shape, f"{path}.{name}")


def _by_kind(objects: tuple[Object, ...]) -> dict[str, Object]:
    """By the words of `type` and of `role`."""
    return {
        " ".join(
            str(word)
            for name in ("type", "role")
            if name in one
            for word in sorted(one[name].shape.words, key=str)
        ): one
        for one in objects
    }


def _merged(objects: tuple[Object, ...]) -> Object:
    names = {name for one in objects for name in one}
    merged = {}
    for name in names:
        found = [one[name] for one in objects if name in one]
        shape = Shape()
        for each in found:
            shape |= each.shape
        required = len(found) == len(objects) and all(each.required for each in found)
        merged[name] = Field(shape, required)
    return merged


# Values.


@dataclass
class Misfits:
    """Where a value is not of a shape."""

    found: list[str] = field(default_factory=list)

    def look(self, value: Any, shape: Shape, path: str) -> None:
        if not _fits(value, shape):
            self.found.append(f"{path}: {value!r}")
        elif isinstance(value, list) and shape.members:
            for index, member in enumerate(value):
                self.look(member, shape.members, f"{path}[{index}]")
        elif isinstance(value, dict) and shape.objects:
            self._look_in(value, shape, path)

    def _look_in(self, value: dict[str, Any], shape: Shape, path: str) -> None:
        of_its_kind = [one for one in shape.objects if _is_of(value, one)]
        if not of_its_kind:
            self.found.append(f"{path}: no such object")
            return
        for name in value.keys() - of_its_kind[0].keys():
            self.found.append(f"{path}.{name}: unknown")
        for name, each in of_its_kind[0].items():
            if name in value:
                self.look(value[name], each.shape, f"{path}.{name}")
            elif each.required:
                self.found.append(f"{path}.{name}: missing")


def misfits(value: Any, hint: Any) -> list[str]:
    """Where a JSON value is not what the type says; unknown fields count."""
    found = Misfits()
    found.look(value, shape_of(hint), "$")
    return found.found


def _is_of(value: dict[str, Any], one: Object) -> bool:
    return all(
        value.get(name) in one[name].shape.words
        for name in ("type", "role")
        if name in one and one[name].shape.words and one[name].required
    )


def _fits(value: Any, shape: Shape) -> bool:
    if "anything" in shape.scalars or (isinstance(value, str) and value in shape.words):
        return True
    match value:
        case None:
            return "null" in shape.scalars
        case bool():
            return "boolean" in shape.scalars
        case int():
            return bool(shape.scalars & {"integer", "number"}) or value in shape.words
        case float():
            return "number" in shape.scalars
        case str():
            return "string" in shape.scalars
        case list():
            return shape.members is not None
        case _:
            return bool(shape.objects) or shape.values is not None
