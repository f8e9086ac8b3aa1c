"""Types of JSON values with values that they have, made by chance."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, NamedTuple, NotRequired, TypeAlias, TypedDict
from uuid import UUID

import attrs
import msgspec
from hypothesis import strategies as st

Typed: TypeAlias = tuple[Any, st.SearchStrategy[Any]]


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(Enum):
    LOW = 1
    HIGH = 2


@attrs.frozen
class Point:
    x: int
    y: float = 0.0


@attrs.define(slots=False)
class Tree:
    name: str
    below: list[Tree] = attrs.field(factory=list)


@dataclasses.dataclass
class Money:
    amount: int
    currency: str = "EUR"


class Options(TypedDict):
    name: str
    size: NotRequired[int]


class Pair(NamedTuple):
    left: int
    right: str


class Kept(msgspec.Struct):
    a: int
    b: str | None = None


class Model:
    """What pydantic models look like from outside, and nothing more."""

    def __init__(self, name: str, marks: list[int]) -> None:
        self.name = name
        self.marks = marks

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # as mutable values are

    def model_dump(self, *, mode: str = "python") -> dict[str, Any]:
        return {"name": self.name, "marks": self.marks}

    @classmethod
    def model_validate(cls, value: Any) -> Model:
        if not isinstance(value, dict) or value.keys() != {"name", "marks"}:
            raise ValueError("no Model")
        return cls(value["name"], value["marks"])

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return {"type": "object", "required": ["marks", "name"]}


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTS = st.one_of(st.integers(), st.sampled_from([2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400]))

PLAIN: list[Typed] = [
    (bool, st.booleans()),
    (int, INTS),
    (float, FLOATS),
    (str, TEXT),
    (None, st.none()),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
    (Literal[1, 2], st.sampled_from([1, 2])),
]
"""Types whose JSON has the same types again."""

CLASSES: list[Typed] = [
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Point, st.builds(Point, INTS, FLOATS)),
    (Money, st.builds(Money, INTS, TEXT)),
    (Options, st.fixed_dictionaries({"name": TEXT}, optional={"size": INTS})),
    (Pair, st.builds(Pair, INTS, TEXT)),
    (Kept, st.builds(Kept, INTS, st.none() | TEXT)),
    (Model, st.builds(Model, TEXT, st.lists(st.integers(), max_size=3))),
    (
        Tree,
        st.recursive(
            st.builds(Tree, TEXT),
            lambda below: st.builds(Tree, TEXT, st.lists(below, max_size=2)),
            max_leaves=4,
        ),
    ),
]

SPECIAL: list[Typed] = [
    (bytes, st.binary(max_size=8)),
    (datetime, st.datetimes(timezones=st.just(UTC))),
    (date, st.dates()),
    (timedelta, st.timedeltas(timedelta(-(10**5)), timedelta(10**5))),
    (UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
]


def _inside(inner: Typed) -> list[Typed]:
    kind, values = inner
    found: list[Typed] = [
        (list[kind], st.lists(values, max_size=3)),
        (dict[str, kind], st.dictionaries(TEXT, values, max_size=3)),
        (tuple[kind, ...], st.lists(values, max_size=3).map(tuple)),
        (tuple[int, kind], st.tuples(INTS, values)),
    ]
    if kind is not None:
        found.append((kind | None if not _is_literal(kind) else kind, values))
    return found


def _is_literal(kind: Any) -> bool:
    return not isinstance(kind, type) and "Literal" in str(kind)


def typed(leaves: list[Typed]) -> st.SearchStrategy[Typed]:
    """Return types with their values: some leaves, and containers of them."""
    return st.recursive(
        st.sampled_from(leaves),
        lambda inner: inner.flatmap(lambda one: st.sampled_from(_inside(one))),
        max_leaves=3,
    )


@st.composite
def pairs(draw: st.DrawFn, leaves: list[Typed]) -> tuple[Any, Any]:
    """Return a type and a value of it."""
    kind, values = draw(typed(leaves))
    return kind, draw(values)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
"""Any value that JSON has."""
