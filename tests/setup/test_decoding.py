"""Decoding by type: every kind of field, and every mistake with its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import attrs
import pytest

from astro import SettingsError
from astro.setup.composing import Document
from astro.setup.decoding import FAULTY, AsWritten, Held, Place, Report, decode


class Colour(Enum):
    """A closed set of words."""

    RED = "red"
    BLUE = "blue"


class Point(TypedDict):
    """Left to the codec as a whole."""

    x: int


@dataclass
class Pair:
    """Left to the codec as a whole."""

    left: int


@attrs.frozen
class Small:
    """One number."""

    size: int


@attrs.frozen
class Named:
    """One name, with a rule about both fields."""

    name: str
    other: str = ""

    def __attrs_post_init__(self) -> None:
        if self.name == self.other:
            raise ValueError("name and other are the same")


def _absolute(value: int) -> int:
    return abs(value)


@attrs.frozen
class Converted:
    """A field that is converted before it is checked."""

    size: int = attrs.field(converter=_absolute, validator=attrs.validators.lt(10))


def _checks_another(instance: Any, attribute: Any, value: int) -> None:
    if instance.size > value:
        raise ValueError("at most must be at least size")


@attrs.frozen
class Related:
    """A field whose validator looks at another one."""

    size: int
    most: int = attrs.field(validator=_checks_another)


@attrs.frozen
class Unresolved:
    """A class whose annotation nobody can resolve."""

    other: Nowhere  # type: ignore[name-defined]  # noqa: F821


def report(document: Any = None, **variables: str) -> Report:
    places: dict[Place, str] = {(name,): variable for name, variable in variables.items()}
    return Report(Document("test", document), places, Path("folder"))


GOOD: list[tuple[Any, Any, Any]] = [
    (int, 7, 7),
    (float, 7, 7.0),
    (bool, True, True),
    (str, "a", "a"),
    (Any, {"a": [1]}, {"a": [1]}),
    (object, 7, 7),
    (int | None, None, None),
    (int | str, "a", "a"),
    (Small | str, {"size": 1}, Small(1)),
    (Annotated[int, "bytes"], 7, 7),
    (timedelta, "1h30m", timedelta(minutes=90)),
    (timedelta, 0, timedelta(0)),
    (Path, "a/b", Path("folder/a/b")),
    (Path, "/a", Path("/a")),
    (Colour, "red", Colour.RED),
    (Literal["a", 1], 1, 1),
    (list[int], [1], [1]),
    (tuple[int, ...], [1, 2], (1, 2)),
    (tuple[int, str], [1, "a"], (1, "a")),
    (Sequence[int], [1], (1,)),
    (set[str], ["a", "a"], {"a"}),
    (frozenset[str], ["a"], frozenset({"a"})),
    (list, [1], [1]),
    (dict[str, Small], {"a": {"size": 1}}, {"a": Small(1)}),
    (Mapping, {"a": 1}, {"a": 1}),
    (Point, {"x": 1}, {"x": 1}),
    (Pair, {"left": 1}, Pair(1)),
    (Converted, {"size": -3}, Converted(3)),
    (Related, {"size": 1, "most": 2}, Related(1, 2)),
]


@pytest.mark.parametrize(("kind", "value", "result"), GOOD)
def test_a_value_becomes_what_its_type_wants(kind: Any, value: Any, result: Any) -> None:
    told = report()
    assert decode(kind, value, (), told) == result
    assert told.problems == []


BAD: list[tuple[Any, Any, list[str]]] = [
    (int, "7", ["a: expected int, got '7'"]),
    (int, None, ["a: expected int, got nothing"]),
    (str, [1], ["a: expected text, got a list"]),
    (bool, {}, ["a: expected true or false, got a mapping"]),
    (Path, 7, ["a: expected a path, got 7"]),
    (Colour, "reed", ["a: expected one of red, blue, got 'reed'. Did you mean 'red'?"]),
    (int | None, "x", ["a: expected int, got 'x'"]),
    (int | bool, "x", ["a: expected int or true or false, got 'x'"]),
    (Small | Named, {"nam": "a"}, ["a.nam: 'nam' is unknown here. Did you mean 'name'?"]),
    (list[int], ["x", 1, "y"], ["a[0]: expected int, got 'x'", "a[2]: expected int, got 'y'"]),
    (list[int], 7, ["a: expected a list, got 7"]),
    (tuple[int, str], [1], ["a: expected 2 items, got 1"]),
    (dict[str, int], 7, ["a: expected a mapping, got 7"]),
    (dict[str, int], {"x": "y"}, ["a.x: expected int, got 'y'"]),
    (Small, 7, ["a: expected a mapping of size, got 7"]),
    (Small, {}, ["a: 'size' is missing"]),
    (Named, {"name": "x", "other": "x"}, ["a: name and other are the same"]),
    (Converted, {"size": -30}, ["a: 'size' must be < 10: 30"]),
    (Related, {"size": 2, "most": 1}, ["a: at most must be at least size"]),
    (Point, {"x": "y"}, ["a: expected Point, got a mapping"]),
    (Unresolved, {}, ["a: an annotation of Unresolved cannot be resolved"]),
]


@pytest.mark.parametrize(("kind", "value", "problems"), BAD)
def test_a_value_that_does_not_fit_is_told_with_its_place(
    kind: Any, value: Any, problems: list[str]
) -> None:
    told = report()
    assert decode(kind, value, ("a",), told) is FAULTY
    assert [one[: len(problem)] for one, problem in zip(told.problems, problems, strict=False)] == (
        problems
    )


def test_what_is_kept_as_written_keeps_its_variables() -> None:
    value = {"a": Held("KEY", "s3cret")}
    assert decode(AsWritten, value, (), report()) is value


HELD: list[tuple[Any, str, Any]] = [
    (str, "7", "7"),
    (int, "7", 7),
    (bool, "true", True),
    (Any, "[1]", [1]),
    (Any, "text", "text"),
    (list[int], "[1]", [1]),
    (Small, '{"size": 1}', Small(1)),
    (dict[str, Any], '{"a": 1}', {"a": 1}),
    (timedelta, "30s", timedelta(seconds=30)),
    (int | None, "7", 7),
]


@pytest.mark.parametrize(("kind", "text", "result"), HELD)
def test_what_a_variable_holds_is_read_as_its_field_wants(
    kind: Any, text: str, result: Any
) -> None:
    assert decode(kind, Held("KEY", text), ("a",), report()) == result


def test_fields_that_take_anything_get_what_variables_hold() -> None:
    value = {"list": [Held("KEY", "s3cret")]}
    assert decode(Point | dict[str, Any], value, (), report()) == {"list": ["s3cret"]}


@pytest.mark.parametrize("kind", [int, Colour, timedelta, Small, Point])
def test_what_a_variable_holds_is_never_told(kind: Any) -> None:
    told = report()
    assert decode(kind, Held("KEY", "s3cret"), ("a",), told) is FAULTY
    assert "s3cret" not in str(told.problems)
    assert "s3cret" not in repr(Held("KEY", "s3cret"))


def test_a_validator_that_quotes_a_variable_is_not_quoted() -> None:
    told = report()
    value = {"name": Held("KEY", "s3cret"), "other": Held("KEY", "s3cret")}
    assert decode(Named, value, ("a",), told) is FAULTY
    assert told.problems == ["a: ValueError about a value from the environment"]


def test_a_problem_is_told_once_and_in_the_order_of_lines() -> None:
    told = report()
    for problem in ("line 10: b", "line 9: a", "line 9: a"):
        told.say(problem)
    with pytest.raises(SettingsError) as caught:
        told.settle()
    assert caught.value.problems == ("line 9: a", "line 10: b")


def test_a_problem_of_a_variable_names_the_variable() -> None:
    told = report({"a": 1}, a="ASTRO_A")
    told.add(("a", "b"), "wrong")
    told.add(("c",), "wrong")
    assert told.problems == ["ASTRO_A: wrong", "line 1, c: wrong"]
