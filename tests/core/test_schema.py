"""The check of answers: it says what decoding would say, without having the type."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import CodecError
from astro.core.codec import codec_of, json_schema, to_json
from astro.core.schema import misfit
from tests.core.kinds import (
    CLASSES,
    INTS,
    JSON,
    PLAIN,
    SPECIAL,
    Colour,
    Money,
    Options,
    Point,
    Tree,
    pairs,
    typed,
)

Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Code = Annotated[str, msgspec.Meta(min_length=2, max_length=3, pattern="^[a-z]+$")]
Few = Annotated[list[int], msgspec.Meta(min_length=1, max_length=2)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Clock = Annotated[time, msgspec.Meta(tz=True)]
Wall = Annotated[datetime, msgspec.Meta(tz=False)]
Fives = Annotated[int, msgspec.Meta(multiple_of=5)]
Some = Annotated[dict[str, int], msgspec.Meta(min_length=1, max_length=2)]
Said = Annotated[datetime, msgspec.Meta(description="When it was said.")]

AWARE = "2026-05-01T12:00:00Z"
NAIVE = "2026-05-01T12:00:00"


@attrs.frozen
class Booking:
    """A class with a moment in it, and below it."""

    at: datetime
    above: Booking | None = None
    notes: dict[str, Said] = attrs.field(factory=dict)


class Slot(NamedTuple):
    begins: time
    ends: time | None = None


class Cat(msgspec.Struct, tag=True):
    born: datetime


class Dog(msgspec.Struct, tag=True, array_like=True):
    born: datetime


class Fish(msgspec.Struct, tag=True):
    born: date


class Model:
    """A model by shape whose schema brings classes of its own."""

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        name = {"type": "string"}
        return {"$defs": {"Name": name}, "properties": {"name": {"$ref": "#/$defs/Name"}}}


def decodes(value: Any, kind: Any) -> bool:
    try:
        codec_of(kind).decode(to_json(value))
    except CodecError:
        return False
    return True


def fits(value: Any, kind: Any) -> bool:
    return misfit(value, json_schema(kind)) is None


@given(pairs(PLAIN + CLASSES + SPECIAL))
def test_every_value_of_a_type_fits_its_schema(pair: tuple[Any, Any]) -> None:
    kind, value = pair
    assert misfit(msgspec.json.decode(to_json(value)), json_schema(kind)) is None


@given(typed(PLAIN), JSON | INTS)
def test_checking_agrees_with_decoding(one: tuple[Any, Any], value: Any) -> None:
    kind, _ = one
    assert fits(value, kind) == decodes(value, kind)


@given(
    st.sampled_from([Colour, Point, Money, Options, Tree, Percent, Share, Code, Few]),
    JSON
    | st.fixed_dictionaries({}, optional={"x": INTS, "y": JSON, "name": JSON, "amount": INTS})
    | st.fixed_dictionaries({"name": st.just("a"), "below": JSON})
    | st.lists(st.integers(), max_size=3)
    | st.integers(-10, 110)
    | st.floats(-1, 2)
    | st.text("abc", max_size=4)
    | st.sampled_from(["red", "blue", "green"]),
)
def test_checking_agrees_with_decoding_for_classes_and_bounds(kind: Any, value: Any) -> None:
    assert fits(value, kind) == decodes(value, kind)


@given(st.sampled_from([UUID, date, Clock, timedelta, bytes, Moment]), st.text(max_size=12))
def test_formats_of_texts_are_checked(kind: Any, value: str) -> None:
    assert fits(value, kind) == decodes(value, kind)


@given(st.datetimes(timezones=st.just(UTC)), st.timedeltas(timedelta(0), timedelta(999)))
def test_what_has_the_format_fits(moment: datetime, duration: timedelta) -> None:
    assert fits(moment.isoformat(), Moment)
    assert fits(msgspec.to_builtins(duration), timedelta)
    assert fits(moment.date().isoformat(), date)


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (True, int, "$: expected integer, got True"),
        (1, bool, "$: expected boolean, got 1"),
        (1.0, int, "$: expected integer, got 1.0"),
        (10**400, float, "$: expected number"),
        (True, Literal[1], "$: True is none of 1"),
        (1.0, Literal[1], "$: 1.0 is none of 1"),
        ("c", Literal["a", "b"], "$: 'c' is none of 'a', 'b'"),
        (101, Percent, "$: 101 is out of bounds"),
        (-1, Percent, "$: -1 is out of bounds"),
        (1.0, Share, "$: 1.0 is out of bounds"),
        (0.0, Share, "$: 0.0 is out of bounds"),
        ("a", Code, "$: the text has 1 characters"),
        ("A1", Code, "$: 'A1' does not match"),
        ([], Few, "$: the list has 0 items"),
        ([1, 2, 3], Few, "$: the list has 3 items"),
        ([1], tuple[int, str], "$: the list has 1 items"),
        ([1, 2], tuple[int, str], "$[1]: expected string, got 2"),
        ({"a": [1, "x"]}, dict[str, list[int]], "$.a[1]: expected integer, got 'x'"),
        ({}, Point, "$: 'x' is missing"),
        ({"x": 1, "y": "z"}, Point, "$.y: expected number, got 'z'"),
        ({"name": "a", "below": [{"name": 1}]}, Tree, "$.below[0].name: expected string"),
        (None, int | str, "$: expected integer, got None"),
        ("soon", timedelta, "$: 'soon' is no duration"),
        ("*", bytes, "$: '*' is no base64"),
    ],
)
def test_a_misfit_says_where_and_what(value: Any, kind: Any, said: str) -> None:
    found = misfit(value, json_schema(kind))
    assert found is not None
    assert found.startswith(said)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"const": 1}, 1, True),
        ({"const": "a"}, "a", "b"),
        ({"additionalProperties": False, "properties": {"a": {}}}, {"a": 1}, {"b": 1}),
        ({"prefixItems": [{"type": "integer"}], "items": False}, [1], [1, 2]),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}, None, 1),
    ],
)
def test_keywords_of_schemas_from_elsewhere_count(schema: Any, good: Any, bad: Any) -> None:
    assert misfit(good, schema) is None
    assert misfit(bad, schema) is not None


@given(JSON)
def test_unknown_keywords_accept_anything(value: Any) -> None:
    assert misfit(value, {"x-unknown": 1, "format": "mystery"}) is None
    assert misfit(value, {}) is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (dict[int, str], {"1": "one", "-20": "x"}),
        (dict[int, str], {"a": "one"}),
        (dict[int, str], {"1.5": "one"}),
        (dict[int, str], {"01": "one"}),
        (dict[UUID, int], {"x": 1}),
        (dict[date, int], {"2026-01-01": 1}),
        (dict[date, int], {"Monday": 1}),
        (dict[Colour, int], {"x": 1}),
        (dict[Literal["a", "b"], int], {"a": 1}),
        (dict[Literal["a", "b"], int], {"c": 1}),
        (list[dict[int, time]], [{"1": "10:00:00"}]),
        (list[dict[int, time]], [{"1": "noon"}]),
        (list[dict[int, time]], [{"x": "10:00:00"}]),
        (dict[int, str] | None, None),
        (dict[int, str] | None, {"a": "b"}),
        (time, "10:00"),
        (Decimal, "1.5"),
        (Decimal, "much"),
    ],
)
def test_what_a_type_refuses_does_not_fit_its_schema(kind: Any, value: Any) -> None:
    assert fits(value, kind) is decodes(value, kind)


ANSWERS: list[Any] = [
    *(
        form
        for text in (AWARE, NAIVE, "tomorrow", "", "10:00:00", "10:00:00+01:00", "P1D", "aGk=")
        for form in (
            text,
            [text],
            [1, text],
            [text, text],
            {text: 1},
            {"at": text},
            {"at": AWARE, "above": {"at": text}},
            {"at": AWARE, "notes": {"a": text}},
            [{"at": text}],
            {"type": "Cat", "born": text},
            {"type": "Fish", "born": text},
            ["Dog", text],
        )
    ),
    None,
    5,
    7,
    {},
    {"ab": 1},
    {"AB": 1, "b": 2},
    {"a": 1, "b": 2, "c": 3},
    {"1.5": 1},
    {"1e999": 1},
    [AWARE, AWARE, AWARE],
    {"type": "Fish", "born": "2026-05-01"},
]
"""What may be said to a question, of whatever type it is."""


@pytest.mark.parametrize(
    "kind",
    [
        datetime,
        Moment,
        Wall,
        Said,
        Clock,
        time,
        list[datetime],
        set[datetime],
        tuple[int, datetime],
        tuple[datetime, ...],
        datetime | None,
        int | datetime | list[datetime],
        dict[datetime, int],
        dict[Moment, int],
        dict[float, int],
        dict[bytes, int],
        dict[timedelta, int],
        dict[time, int],
        dict[Code, int],
        Booking,
        Booking | None,
        list[Booking],
        Slot,
        Cat,
        Dog,
        Cat | Fish,
        Cat | Fish | datetime | None,
        Fives,
        Some,
    ],
)
def test_what_fits_the_schema_fits_the_type_and_the_other_way_round(kind: Any) -> None:
    assert [one for one in ANSWERS if fits(one, kind) is not decodes(one, kind)] == []
    assert any(decodes(one, kind) for one in ANSWERS)


def test_a_moment_is_told_from_other_text_wherever_it_is() -> None:
    assert misfit("tomorrow", json_schema(datetime)) == "$: 'tomorrow' is no date-time"
    assert misfit({"at": "x"}, json_schema(Booking)) == "$.at: 'x' is no date-time"
    assert json_schema(datetime)["format"] == "date-time"


def test_the_definitions_that_a_model_brings_are_found() -> None:
    schema = json_schema(list[Model])
    assert misfit([{"name": "a"}], schema) is None
    assert misfit([{"name": 1}], schema) == "$[0].name: expected string, got 1"
