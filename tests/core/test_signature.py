"""Signatures: arguments in canonical form, the same however the call was spelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import CodecError, Context, InvalidArgumentsError
from astro.core.signature import Signature, signature_of
from tests.core.kinds import FLOATS, JSON, TEXT, Point

if TYPE_CHECKING:
    from decimal import Decimal


async def mixed(ctx: Context, a: int, b: str = "b", *, c: float = 1.0, d: bool = False) -> None: ...


async def placed(ctx: Context, a: int = 1, b: int = 2, /, c: int = 3) -> None: ...


async def anything(ctx: Context, value: Any = None, more: list[Any] = [1]) -> None: ...  # noqa: B006


async def one_float(ctx: Context, x: float = 1) -> None: ...


MIXED = signature_of(mixed, skip=1)
PLACED = signature_of(placed, skip=1)
ANYTHING = signature_of(anything, skip=1)
ONE_FLOAT = signature_of(one_float, skip=1)


@given(st.integers(), TEXT, FLOATS, st.booleans(), st.randoms())
def test_the_canonical_form_does_not_depend_on_the_spelling(
    a: int, b: str, c: float, d: bool, chance: Any
) -> None:
    named = [("a", a), ("b", b), ("c", c), ("d", d)]
    chance.shuffle(named)
    by_name = MIXED.bind((), dict(named))
    assert MIXED.bind((a, b), {"d": d, "c": c}).raw == by_name.raw
    assert MIXED.bind((a,), {"b": b, "c": c, "d": d}).raw == by_name.raw


@given(st.integers(), TEXT, FLOATS, st.booleans())
def test_loading_canonical_json_gives_the_arguments_again(
    a: int, b: str, c: float, d: bool
) -> None:
    bound = MIXED.bind((a, b), {"c": c, "d": d})
    assert MIXED.load(bound.raw) == bound
    assert {"b": "b", "c": 1.0, "d": False} | bound.kwargs == {"a": a, "b": b, "c": c, "d": d}


@given(JSON, st.lists(JSON, max_size=2))
def test_arguments_without_a_type_are_kept_as_they_are(value: Any, more: list[Any]) -> None:
    bound = ANYTHING.load(ANYTHING.bind((value, more), {}).raw)
    assert {"value": None, "more": [1]} | bound.kwargs == {"value": value, "more": more}


def test_default_values_are_left_out() -> None:
    assert MIXED.bind((1, "b"), {"c": 1.0, "d": False}).raw == b'{"a":1}'


def test_a_default_counts_as_a_value_of_its_parameters_type() -> None:
    assert ONE_FLOAT.bind((1,), {}).raw == ONE_FLOAT.bind((1.0,), {}).raw == b"{}"


def test_equal_values_of_other_types_are_not_the_default() -> None:
    assert ANYTHING.bind((), {"more": [True]}).raw == b'{"more":[true]}'
    assert ANYTHING.bind((), {"more": [1.0]}).raw == b'{"more":[1.0]}'
    assert MIXED.bind((1,), {"c": 1}).raw == b'{"a":1}'


def test_minus_zero_is_not_the_default_zero() -> None:
    async def zero(ctx: Context, x: float = 0.0) -> None: ...

    assert signature_of(zero, skip=1).bind((-0.0,), {}).raw == b'{"x":-0.0}'


def test_a_default_that_is_no_value_of_its_type_is_still_a_default() -> None:
    missing = object()

    async def odd(ctx: Context, x: int = None, y: str = missing) -> None: ...  # type: ignore  # noqa: RUF013

    signature = signature_of(odd, skip=1)
    assert signature.bind((), {}).raw == b"{}"
    assert signature.bind((3,), {}).raw == b'{"x":3}'
    assert signature.bind((), {"y": "a"}).raw == b'{"y":"a"}'


@given(
    st.fixed_dictionaries(
        {}, optional={"a": st.integers(0, 3), "b": st.integers(0, 3), "c": st.integers(0, 3)}
    )
)
def test_positional_only_parameters_keep_their_places(given_values: dict[str, int]) -> None:
    bound = PLACED.load(msgspec.json.encode(given_values))
    wanted = {"a": 1, "b": 2, "c": 3} | given_values
    assert bound.args == (wanted["a"], wanted["b"])
    assert {"c": 3} | bound.kwargs == {"c": wanted["c"]}


@pytest.mark.parametrize(
    ("signature", "args", "kwargs", "said"),
    [
        (MIXED, (), {}, "missing required field `a`"),
        (MIXED, (1, "b", 1.0), {}, "takes 2 positional arguments, 3 given"),
        (MIXED, (1,), {"a": 1}, "'a' is given twice"),
        (MIXED, (1,), {"e": 1}, "no parameter 'e'"),
        (MIXED, ("one",), {}, r"Expected `int`, got `str` - at `\$.a`"),
        (MIXED, (None,), {}, "got `null`"),
        (MIXED, (True,), {}, "got `bool`"),
        (MIXED, (1.0,), {}, "got `float`"),
        (MIXED, (1,), {"c": float("nan")}, "nan is not a JSON number"),
        (MIXED, (1,), {"b": "\ud800"}, "surrogates"),
        (MIXED, (object(),), {}, "object is not supported"),
        (MIXED, (10**5000,), {}, "limit"),
        (ANYTHING, ({1: 1, "1": 2},), {}, "same text"),
        (signature_of(lambda: None, skip=0), (1,), {}, "takes 0 positional arguments, 1 given"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidArgumentsError, match=said):
        signature.bind(args, kwargs)


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b'{"a":"x"}', b'{"a":1,"z":2}', b"{}"])
def test_json_that_no_longer_fits_is_a_codec_error(raw: bytes) -> None:
    with pytest.raises(CodecError):
        MIXED.load(raw)


def test_nobody_shares_a_mutable_argument_with_its_caller() -> None:
    mine = [1, 2]
    assert ANYTHING.bind((), {"more": mine}).kwargs["more"] is not mine


async def unresolved(ctx: Context, price: Decimal) -> None: ...


async def attribute(ctx: Context, x: attrs.nowhere) -> None: ...  # type: ignore[name-defined]


async def subscript(ctx: Context, x: int[3]) -> None: ...  # type: ignore[type-arg]


async def no_expression(ctx: Context, x: "1 +") -> None: ...  # type: ignore  # noqa: F722


@pytest.mark.parametrize("fn", [unresolved, attribute, subscript, no_expression])
def test_annotations_that_cannot_be_resolved_are_refused(fn: Callable[..., Any]) -> None:
    with pytest.raises(InvalidArgumentsError, match="cannot be resolved"):
        signature_of(fn, skip=1)


async def rest(ctx: Context, *texts: str) -> None: ...


async def named_rest(ctx: Context, **texts: str) -> None: ...


@pytest.mark.parametrize("fn", [rest, named_rest])
def test_parameters_without_names_are_refused(fn: Callable[..., Any]) -> None:
    with pytest.raises(InvalidArgumentsError, match="no name and no type to keep"):
        signature_of(fn, skip=1)


def test_a_type_that_cannot_be_kept_names_its_parameter() -> None:
    async def unions(ctx: Context, x: list[int] | set[int]) -> None: ...

    with pytest.raises(CodecError, match=r"Parameter 'x' of .*unions"):
        signature_of(unions, skip=1)


def test_a_signature_tells_parameters_and_schema() -> None:
    assert MIXED.names == ("a", "b", "c", "d")
    assert MIXED.required == ("a",)
    assert MIXED.kinds["c"] is float
    schema = MIXED.schema()
    properties = schema["$defs"]["Arguments"]["properties"]
    assert properties.keys() == {"a", "b", "c", "d"}


def test_results_have_the_codec_of_the_annotation() -> None:
    async def made(ctx: Context) -> Point: ...

    async def unsaid(ctx: Context): ...  # type: ignore[no-untyped-def]

    assert signature_of(made, skip=1).returns.decode(b'{"x":1}') == Point(1)
    assert signature_of(unsaid, skip=1).returns.decode(b'{"x":1}') == {"x": 1}


def test_parameters_that_come_before_the_arguments_are_skipped() -> None:
    async def method(self: object, ctx: Context, x: int) -> None: ...

    assert signature_of(method, skip=2).names == ("x",)
