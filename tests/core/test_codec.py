"""The codec: values are JSON by declared type, and what cannot be kept is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import CodecError
from astro.core.codec import MAX_DEPTH, MAX_SIZE, Codec, codec_of, json_schema, to_json
from tests.core.kinds import (
    CLASSES,
    FLOATS,
    JSON,
    PLAIN,
    SPECIAL,
    TEXT,
    Kept,
    Model,
    Point,
    pairs,
)

NOT_FINITE = [math.nan, math.inf, -math.inf]


@given(pairs(PLAIN + CLASSES + SPECIAL))
def test_decoding_what_was_encoded_gives_an_equal_value(pair: tuple[Any, Any]) -> None:
    kind, value = pair
    assert Codec(kind).decode(to_json(value)) == value


@given(pairs(PLAIN + CLASSES + SPECIAL))
def test_settling_a_settled_value_changes_nothing(pair: tuple[Any, Any]) -> None:
    kind, value = pair
    codec = Codec(kind)
    raw, settled = codec.settle(value)
    assert codec.settle(settled) == (raw, settled)


@given(JSON)
def test_any_json_value_is_kept_without_a_declared_type(value: Any) -> None:
    assert codec_of(Any).decode(to_json(value)) == value
    assert codec_of(object).decode(to_json(value)) == value


@given(st.dictionaries(TEXT, st.integers(), min_size=2, max_size=5))
def test_equal_values_have_the_same_json_whatever_the_order_of_their_keys(
    value: dict[str, int],
) -> None:
    assert to_json(dict(reversed(value.items()))) == to_json(value)


@given(st.sets(st.integers(), max_size=6), st.randoms())
def test_equal_sets_have_the_same_json(value: set[int], chance: Any) -> None:
    items = list(value)
    chance.shuffle(items)
    assert to_json(set(items)) == to_json(value)


@given(st.dictionaries(st.integers(), FLOATS, max_size=5))
def test_keys_that_are_numbers_are_kept_in_one_order(value: dict[int, float]) -> None:
    raw = to_json(value)
    assert to_json(dict(reversed(value.items()))) == raw
    assert Codec(dict[int, float]).decode(raw) == value


@given(st.dictionaries(st.uuids(), st.sets(st.integers(), max_size=4), max_size=3))
def test_keys_that_are_no_text_may_stand_above_anything(value: Any) -> None:
    assert to_json(value) == to_json({str(key): found for key, found in value.items()})


def test_two_keys_that_become_the_same_text_are_refused() -> None:
    with pytest.raises(CodecError, match="same text"):
        to_json({1: "a", "1": "b"})


class Weight(Enum):
    NONE = math.nan
    SOME = 1.5


@attrs.define
class Half:
    x: float
    unset: int = attrs.field(init=False)


@dataclass
class HalfToo:
    x: float
    unset: int = field(init=False)


class Dumps:
    """A model whose dump holds what JSON does not have."""

    def model_dump(self, *, mode: str = "python") -> dict[str, float]:
        return {"x": math.nan}


HIDDEN_PLACES: list[Callable[[float], Any]] = [
    lambda bad: bad,
    lambda bad: [bad],
    lambda bad: (1.0, bad),
    lambda bad: {"a": bad},
    lambda bad: {"a": [{"b": (None, bad)}]},
    lambda bad: {1: bad},
    lambda bad: {1.5: {"x": bad}},
    lambda bad: {bad},
    lambda bad: frozenset({bad}),
    lambda bad: Point(1, bad),
    lambda bad: [None, Point(1, bad)],
    lambda bad: Half(bad),
    lambda bad: HalfToo(bad),
    lambda bad: Kept(1, bad),  # type: ignore[arg-type]  # that is the point
    lambda bad: Weight.NONE,
    lambda bad: [Weight.NONE],
    lambda bad: Dumps(),
    lambda bad: Model("a", [bad]),  # type: ignore[list-item]  # that is the point
    lambda bad: {bad: 1},
]


@pytest.mark.parametrize("bad", NOT_FINITE, ids=str)
@pytest.mark.parametrize("place", range(len(HIDDEN_PLACES)))
def test_numbers_that_json_lacks_are_refused_wherever_they_hide(place: int, bad: float) -> None:
    with pytest.raises(CodecError):
        to_json(HIDDEN_PLACES[place](bad))


@given(st.lists(st.none() | FLOATS, max_size=5))
def test_null_beside_finite_numbers_is_kept(value: list[float | None]) -> None:
    assert Codec(list[float | None]).decode(to_json(value)) == value


def test_the_words_null_and_nan_in_texts_are_no_numbers() -> None:
    value = {"null": "nan", "nan": ["null", "NaN", "Infinity"]}
    assert codec_of(Any).decode(to_json(value)) == value


def test_attributes_that_were_never_set_are_left_out() -> None:
    assert to_json([Half(1.0), HalfToo(2.0), None]) == b'[{"x":1.0},{"x":2.0},null]'


def test_minus_zero_stays_minus_zero() -> None:
    assert math.copysign(1.0, Codec(float).decode(to_json(-0.0))) == -1.0


@pytest.mark.parametrize("value", [2**63, 2**64, -(2**63) - 1, 10**400, 10**4000])
def test_integers_of_any_reasonable_size_are_exact(value: int) -> None:
    assert Codec(int).decode(to_json(value)) == value
    assert codec_of(Any).decode(to_json(value)) == value


def test_an_integer_of_five_thousand_digits_is_refused() -> None:
    with pytest.raises(CodecError):
        to_json(10**5000)
    with pytest.raises(CodecError):
        Codec(int).decode(b"1" + b"0" * 5000)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("depth", [0, 1, MAX_DEPTH - 1, MAX_DEPTH])
def test_values_up_to_the_cap_of_depth_are_kept(depth: int) -> None:
    raw, settled = codec_of(Any).settle(nested(depth))
    assert settled == nested(depth)
    assert raw == b"[" * depth + b"1" + b"]" * depth


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 500, 100_000])
def test_values_deeper_than_the_cap_are_refused(depth: int) -> None:
    with pytest.raises(CodecError, match="nested"):
        to_json(nested(depth))


def test_objects_count_as_depth_too() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH + 1):
        value = {"a": value}
    with pytest.raises(CodecError, match="nested"):
        to_json(value)


def test_width_is_no_depth() -> None:
    value = [[{"[": '{"\\'}]] * 1_000
    assert codec_of(Any).decode(to_json(value)) == value


@given(st.lists(st.text(st.sampled_from('[]{}"\\ab'), max_size=6), min_size=60, max_size=120))
def test_brackets_in_texts_do_not_count(texts: list[str]) -> None:
    assert codec_of(Any).decode(to_json([texts, texts])) == [texts, texts]


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(CodecError, match="itself"):
        to_json(value)


def test_the_cap_of_size_counts_bytes_of_json() -> None:
    assert len(to_json("a" * (MAX_SIZE - 2))) == MAX_SIZE
    with pytest.raises(CodecError, match="cap"):
        to_json("a" * (MAX_SIZE - 1))


@given(st.characters(categories=["Cs"]), TEXT, TEXT)
def test_texts_that_utf_8_cannot_hold_are_refused(lone: str, before: str, after: str) -> None:
    with pytest.raises(CodecError):
        to_json(before + lone + after)
    with pytest.raises(CodecError):
        to_json({before + lone + after: 1})


def test_unknown_fields_of_a_class_are_ignored_and_doubled_ones_count_last() -> None:
    raw = b'{"x":1,"later":true,"x":2,"y":3.0}'
    assert Codec(Point).decode(raw) == Point(2, 3.0)


class Raises:
    """A model whose every part fails in its own way."""

    def model_dump(self, *, mode: str = "python") -> Any:
        raise RuntimeError("no dump today")

    @classmethod
    def model_validate(cls, value: Any) -> Any:
        raise RuntimeError("no validation today")

    @classmethod
    def model_json_schema(cls) -> Any:
        raise RuntimeError("no schema today")


def test_whatever_a_model_raises_is_a_codec_error() -> None:
    with pytest.raises(CodecError, match="no dump today"):
        to_json([Raises()])
    with pytest.raises(CodecError, match="no validation today"):
        Codec(list[Raises]).decode(b"[1]")
    with pytest.raises(CodecError, match="no schema today"):
        json_schema(Raises)


@attrs.frozen
class Picky:
    x: int

    def __attrs_post_init__(self) -> None:
        raise KeyError(self.x)  # a mistake in the user's class


def test_whatever_a_constructor_raises_is_a_codec_error() -> None:
    with pytest.raises(CodecError):
        Codec(Picky).decode(b'{"x":1}')


@attrs.define
class Unresolved:
    x: Nowhere  # type: ignore[name-defined]  # noqa: F821  # that is the point


@pytest.mark.parametrize("kind", [Unresolved, list[int] | set[int]])
def test_types_that_cannot_be_kept_are_refused_at_once(kind: Any) -> None:
    with pytest.raises(CodecError, match="cannot be kept"):
        codec_of(kind)


def test_types_without_a_schema_are_refused() -> None:
    with pytest.raises(CodecError, match="no JSON Schema"):
        json_schema(Unresolved)
    with pytest.raises(CodecError, match="no JSON Schema"):
        json_schema(complex)


def test_models_give_their_own_schema_and_object_gives_one_that_anything_fits() -> None:
    assert json_schema(Model) == Model.model_json_schema()
    assert json_schema(object).keys() == {"description"}
    assert json_schema(Any) == {}


def test_an_annotation_that_has_no_hash_has_a_codec_too() -> None:
    assert codec_of(Annotated[int, []]).decode(b"3") == 3


def test_the_codec_of_a_type_is_made_once() -> None:
    assert codec_of(Point) is codec_of(Point)


def test_an_error_of_decoding_says_where() -> None:
    with pytest.raises(CodecError, match=r"\$\.x"):
        codec_of(Point).decode(b'{"x":"one"}')
